-- Question: how well did each strategy work, and did it reach the advantage over round robin that it promised?
-- Grain: one row per strategy used, in order of name; the output file is one document with the row of each strategy.
-- Inputs: wave_totals, run, rules.
-- Columns: rates and accuracy [fraction]; throughput [tasks per second]; counts [tasks, retries]. baseline_success_rate
--     = success rate forecast for round robin on the same tasks. promised_advantage = planned minus baseline success
--     rate; realised_advantage = actual minus baseline. realised_advantage_slope = slope of the
--     outcomes on the promised advantage of each task (1: all of it was realised, 0: none), with its 90 % interval;
--     null where information (the promised advantage over its noise, in standard scores) is below the rule.
--     other_strategies = a note that they were not evaluated.
with

totals as (
    select
        strategy,
        list(wave order by wave) as waves,
        cast(sum(task_count) as bigint) as task_count,
        cast(sum(ran_count) as bigint) as ran_count,
        cast(sum(retry_count) as bigint) as retry_count,
        ratio(sum(planned_success_sum), sum(ran_count)) as planned_success_rate,
        ratio(sum(completed_count) filter (where ran_count > 0), sum(ran_count)) as actual_success_rate,
        ratio(sum(baseline_success_sum), sum(ran_count)) as baseline_success_rate,
        pooled(ran_count * 1e3, planned_makespan_ms) as planned_throughput,
        pooled(ran_count * 1e3, actual_makespan_ms) as actual_throughput,
        ratio(sum(planned_confidence_sum), sum(ran_count)) as planned_confidence_delta,
        ratio(sum(actual_confidence_sum), sum(ran_count)) as actual_confidence_delta,
        sum(advantage_square_sum) as advantage_square_sum,
        sum(advantage_residual_sum) as advantage_residual_sum,
        sum(advantage_variance_sum) + sum(advantage_forecast_variance) as advantage_variance,
    from wave_totals
    group by strategy
),

slopes as (
    select
        *,
        1e0 + ratio(advantage_residual_sum, advantage_square_sum) as slope,
        ratio(advantage_square_sum, sqrt(advantage_variance)) as information,
    from totals
)

select
    slopes.strategy,
    slopes.waves,
    slopes.task_count,
    slopes.ran_count,
    slopes.retry_count,
    slopes.planned_success_rate,
    slopes.actual_success_rate,
    accuracy(slopes.planned_success_rate, slopes.actual_success_rate) as prediction_accuracy,
    slopes.baseline_success_rate,
    slopes.planned_success_rate - slopes.baseline_success_rate as promised_advantage,
    slopes.actual_success_rate - slopes.baseline_success_rate as realised_advantage,
    slopes.information,
    if(slopes.information >= rules.optimization_failure_information, slopes.slope, null) as realised_advantage_slope,
    if(
        slopes.information >= rules.optimization_failure_information,
        slopes.slope - upper_quantile(0.05e0) / slopes.information,
        null
    ) as slope_low,
    if(
        slopes.information >= rules.optimization_failure_information,
        slopes.slope + upper_quantile(0.05e0) / slopes.information,
        null
    ) as slope_high,
    slopes.planned_throughput,
    slopes.actual_throughput,
    slopes.planned_confidence_delta,
    slopes.actual_confidence_delta,
    run.is_simulated as simulated,
    'Not evaluated in this run. python -m phase19 compare evaluates every strategy.' as other_strategies,
from slopes
cross join rules
cross join run
order by slopes.strategy

-- Question: what are the figures of the whole run?
-- Grain: one row, the run.
-- Inputs: wave_totals, schedule_comparisons, run_draws, optimization_metrics, system_health.
-- Columns: rates, accuracy, adherence, utilisation and coverage [fraction]. Throughput [tasks per second]. Counts
--     [tasks, retries]. skill = 1 - Brier score / Brier score of always forecasting the run's success rate.
--     interval_coverage = share of waves whose success rate lies in its 90 % interval. success_rate_low,
--     success_rate_high = 90 % interval of the run's success rate under the plan's own draws. baseline_success_rate =
--     success rate forecast for round robin on the tasks that ran, with its 90 % interval. Null if nothing ran.
--     Figures of times cover the waves whose times are known; for actual_throughput a wave's latest known end counts.
with

totals as (
    select
        cast(coalesce(sum(totals.ran_count), 0) as bigint) as ran_count,
        cast(coalesce(sum(totals.completed_count), 0) as bigint) as completed_count,
        cast(coalesce(sum(totals.retry_count), 0) as bigint) as retry_count,
        ratio(sum(totals.planned_success_sum), sum(totals.ran_count)) as expected_success_rate,
        ratio(sum(totals.completed_count), sum(totals.ran_count)) as actual_success_rate,
        ratio(sum(totals.baseline_success_sum), sum(totals.ran_count)) as baseline_success_rate,
        -- The outcomes' noise, and the forecasts' error, which the draws give for the plan only.
        upper_quantile(0.05e0) * ratio(
            sqrt(sum(totals.baseline_variance_sum + totals.success_forecast_variance)), sum(totals.ran_count)
        ) as baseline_reach,
        pooled(totals.ran_count * 1e3, totals.planned_makespan_ms) as expected_throughput,
        pooled(totals.ran_count * 1e3, totals.latest_end_ms) as actual_throughput,
        ratio(sum(totals.planned_confidence_sum), sum(totals.ran_count)) as expected_confidence_delta,
        ratio(sum(totals.actual_confidence_sum), sum(totals.ran_count)) as actual_confidence_delta,
        ratio(sum(totals.squared_error_sum), sum(totals.ran_count)) as brier_score,
        ratio(sum(totals.log_loss_sum), sum(totals.ran_count)) as log_loss,
        avg(cast(
            comparisons.actual_success_rate between comparisons.success_rate_low and comparisons.success_rate_high
            as double
        )) as interval_coverage,
    from wave_totals as totals
    inner join schedule_comparisons as comparisons on totals.wave = comparisons.wave
    where totals.ran_count > 0
),

chance as (
    select chance_interval(success_rate) as success_rates,
    from run_draws
),

metrics as (
    select
        max(value) filter (where metric_name = 'schedule_accuracy') as schedule_accuracy,
        max(value) filter (where metric_name = 'throughput_efficiency') as throughput_efficiency,
        max(value) filter (where metric_name = 'agent_utilization') as agent_utilization,
        max(value) filter (where metric_name = 'confidence_trajectory') as confidence_trajectory,
        max(value) filter (where metric_name = 'schedule_adherence') as schedule_adherence,
    from optimization_metrics
)

select
    totals.expected_success_rate,
    totals.actual_success_rate,
    accuracy(totals.expected_success_rate, totals.actual_success_rate) as prediction_accuracy,
    totals.expected_throughput,
    totals.actual_throughput,
    metrics.schedule_adherence,
    metrics.schedule_accuracy,
    metrics.throughput_efficiency,
    metrics.agent_utilization,
    metrics.confidence_trajectory,
    totals.expected_confidence_delta,
    totals.actual_confidence_delta,
    totals.baseline_success_rate,
    clip(totals.baseline_success_rate - totals.baseline_reach, 0e0, 1e0) as baseline_success_rate_low,
    clip(totals.baseline_success_rate + totals.baseline_reach, 0e0, 1e0) as baseline_success_rate_high,
    totals.brier_score,
    totals.log_loss,
    1e0 - ratio(totals.brier_score, totals.actual_success_rate * (1e0 - totals.actual_success_rate)) as skill,
    totals.interval_coverage,
    chance.success_rates[1] as success_rate_low,
    chance.success_rates[2] as success_rate_high,
    totals.ran_count,
    totals.completed_count,
    totals.retry_count,
    health.detected_anomalies as anomaly_count,
    health.overall_health_score as system_health_score,
    health.health_status,
from totals
cross join chance
cross join metrics
cross join system_health as health
order by totals.ran_count

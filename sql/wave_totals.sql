-- Question: what was planned and what happened in each wave, as sums that add up over waves?
-- Grain: one row per planned wave.
-- Inputs: wave_plans, executions, task_results, wave_draws, rules.
-- Columns: *_count [tasks, retries]. *_sum = sum over the tasks that ran of the column of task_results in the name,
--     or of a product: advantage stands for centred_advantage, sensitivity for centred_sensitivity. *_ms [ms].
--     Planned figures cover only the tasks that ran; sums, means and maxima are null if nothing ran. The actual
--     makespan and busy time are null if a time is unknown; deviation_ms and latest_end_ms cover the known times.
--     success_forecast_variance = variance over the draws of the wave's expected successes [tasks^2].
--     advantage_forecast_variance = variance over the draws of the sum of centred_advantage times success probability.
--     Both are null without draws. Each wave's forecast uses the outcomes before it, so variances add up over waves.
with

states as (
    select
        wave,
        count(*) as task_count,
        count_if(status = 'completed') as completed_count,
        count_if(status = 'failed') as failed_count,
        count_if(status = 'unobserved') as unobserved_count,
        count_if(status = 'interrupted') as interrupted_count,
    from executions
    group by wave
),

results as (
    select
        task_results.wave,
        count(*) as ran_count,
        sum(task_results.attempt_count - 1) as retry_count,
        sum(task_results.planned_success) as planned_success_sum,
        sum(task_results.baseline_success) as baseline_success_sum,
        sum(task_results.residual) as residual_sum,
        sum(task_results.residual * task_results.residual) as squared_error_sum,
        -sum(ln(clip(
            if(task_results.is_completed, task_results.planned_success, 1e0 - task_results.planned_success),
            rules.log_loss_floor,
            1e0 - rules.log_loss_floor
        ))) as log_loss_sum,
        sum(task_results.outcome_variance) as outcome_variance_sum,
        sum(task_results.centred_advantage * task_results.centred_advantage) as advantage_square_sum,
        sum(task_results.centred_advantage * task_results.residual) as advantage_residual_sum,
        sum(task_results.centred_advantage * task_results.centred_advantage * task_results.outcome_variance)
            as advantage_variance_sum,
        sum(task_results.centred_sensitivity * task_results.centred_sensitivity) as sensitivity_square_sum,
        sum(task_results.centred_sensitivity * task_results.residual) as sensitivity_residual_sum,
        sum(task_results.centred_advantage * task_results.centred_sensitivity) as advantage_sensitivity_sum,
        sum(task_results.planned_confidence_delta) as planned_confidence_sum,
        sum(task_results.actual_confidence_delta) as actual_confidence_sum,
        sum(task_results.baseline_residual) as baseline_residual_sum,
        sum(task_results.baseline_success * (1e0 - task_results.baseline_success)) as baseline_variance_sum,
        avg(task_results.deviation_ms) as deviation_ms,
        case when count(task_results.actual_end_time) = count(*) then max(task_results.actual_end_time) end
            as actual_makespan_ms,
        max(task_results.actual_end_time) as latest_end_ms,
        sum_if_known(task_results.actual_duration_ms) as actual_busy_ms,
    from task_results
    cross join rules
    group by task_results.wave
),

forecasts as (
    select
        wave,
        var_samp(expected_success_sum) as success_variance,
        var_samp(expected_advantage_sum) as advantage_variance,
    from wave_draws
    group by wave
)

select
    wave_plans.wave,
    wave_plans.strategy,
    coalesce(states.task_count, 0) as task_count,
    coalesce(results.ran_count, 0) as ran_count,
    cast(coalesce(states.completed_count, 0) as bigint) as completed_count,
    cast(coalesce(states.failed_count, 0) as bigint) as failed_count,
    cast(coalesce(states.unobserved_count, 0) as bigint) as unobserved_count,
    cast(coalesce(states.interrupted_count, 0) as bigint) as interrupted_count,
    cast(coalesce(results.retry_count, 0) as bigint) as retry_count,
    results.planned_success_sum,
    results.baseline_success_sum,
    results.residual_sum,
    results.squared_error_sum,
    results.log_loss_sum,
    results.outcome_variance_sum,
    results.advantage_square_sum,
    results.advantage_residual_sum,
    results.advantage_variance_sum,
    results.sensitivity_square_sum,
    results.sensitivity_residual_sum,
    results.advantage_sensitivity_sum,
    if(results.ran_count > 0, forecasts.success_variance, null) as success_forecast_variance,
    if(results.ran_count > 0, forecasts.advantage_variance, null) as advantage_forecast_variance,
    results.baseline_residual_sum,
    results.baseline_variance_sum,
    results.planned_confidence_sum,
    results.actual_confidence_sum,
    results.deviation_ms,
    if(results.ran_count > 0, wave_plans.planned_makespan_ms, null) as planned_makespan_ms,
    if(results.ran_count > 0, wave_plans.planned_busy_ms, null) as planned_busy_ms,
    if(results.ran_count > 0, wave_plans.timeline_end_ms, null) as timeline_end_ms,
    results.actual_makespan_ms,
    results.latest_end_ms,
    results.actual_busy_ms,
from wave_plans
left join states on wave_plans.wave = states.wave
left join results on wave_plans.wave = results.wave
left join forecasts on wave_plans.wave = forecasts.wave
order by wave_plans.wave

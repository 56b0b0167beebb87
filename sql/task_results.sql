-- Question: how did each task end, compared with its forecast?
-- Grain: one row per task that ran (completed or failed).
-- Inputs: executions.
-- Columns besides those of executions: residual = outcome - planned_success [tasks], where outcome is 1 for completed.
--     baseline_residual = outcome - baseline_success [tasks]. outcome_variance = p (1 - p) minus the variance of the
--     forecast p [tasks^2]. outcome_third_moment = p (1 - p) (1 - 2 p) [tasks^3]. centred_advantage = planned_success -
--     baseline_success, minus its mean over the wave [fraction]. centred_sensitivity = success that the task loses per
--     unit of success that every attempt loses, minus its mean over the wave [ratio]. deviation_ms = mean of the shifts
--     of start and end [ms].
with

ran_tasks as (
    select
        wave,
        task_id,
        agent_id,
        risk_level,
        heuristics_applied,
        status = 'completed' as is_completed,
        cast(status = 'completed' as double) as outcome,
        retry_count + 1 as attempt_count,
        planned_success,
        baseline_success,
        planned_success_variance,
        attempt_sensitivity(planned_success, max_attempts) as sensitivity,
        planned_confidence_delta,
        actual_confidence_delta,
        planned_duration_ms,
        actual_duration_ms,
        actual_end_time,
        (abs(actual_start_time - scheduled_start_time) + abs(actual_end_time - scheduled_end_time)) / 2 as deviation_ms,
    from executions
    where status in ('completed', 'failed')
),

-- This reads executions again, because using ran_tasks twice would keep all its columns in memory.
wave_means as (
    select
        wave as mean_wave,
        avg(planned_success - baseline_success) as mean_advantage,
        avg(attempt_sensitivity(planned_success, max_attempts)) as mean_sensitivity,
    from executions
    where status in ('completed', 'failed')
    group by wave
)

select
    wave,
    task_id,
    agent_id,
    risk_level,
    heuristics_applied,
    is_completed,
    attempt_count,
    planned_success,
    baseline_success,
    outcome - planned_success as residual,
    outcome - baseline_success as baseline_residual,
    greatest(0e0, planned_success * (1e0 - planned_success) - planned_success_variance) as outcome_variance,
    planned_success * (1e0 - planned_success) * (1e0 - 2e0 * planned_success) as outcome_third_moment,
    planned_success - baseline_success - mean_advantage as centred_advantage,
    sensitivity - mean_sensitivity as centred_sensitivity,
    planned_confidence_delta,
    actual_confidence_delta,
    planned_duration_ms,
    actual_duration_ms,
    actual_end_time,
    deviation_ms,
from ran_tasks
inner join wave_means on wave = mean_wave

-- Question: what came of each task that ran, against its forecast?
-- Grain: one row a task that ran (completed or failed).
-- Inputs: executions.
-- Columns: residual = outcome - planned_success [tasks]; baseline_residual the same against round robin's forecast;
--     outcome_variance = p (1 - p) - V [tasks^2], the noise left once the forecast's parameters are known;
--     outcome_third_moment = p (1 - p) (1 - 2 p) [tasks^3], of the outcome about its forecast;
--     centred_advantage = promised lead over round robin less its mean over the wave [fraction];
--     deviation_ms = mean shift of start and end [ms]; the rest in the units of executions.
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
        planned_confidence_delta,
        actual_confidence_delta,
        planned_duration_ms,
        actual_duration_ms,
        actual_end_time,
        (abs(actual_start_time - scheduled_start_time) + abs(actual_end_time - scheduled_end_time)) / 2 as deviation_ms,
    from executions
    where status in ('completed', 'failed')
),

wave_leads as (
    select
        wave as lead_wave,
        avg(planned_success - baseline_success) as lead,
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
    planned_success - baseline_success - lead as centred_advantage,
    planned_confidence_delta,
    actual_confidence_delta,
    planned_duration_ms,
    actual_duration_ms,
    actual_end_time,
    deviation_ms,
from ran_tasks
inner join wave_leads on wave = lead_wave

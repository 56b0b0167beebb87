-- Question: what came of each task that ran, against its forecast?
-- Grain: one row a task that ran (completed or failed).
-- Inputs: executions.
-- Columns: residual = outcome - planned_success [tasks]; baseline_residual the same against round robin's forecast;
--     outcome_variance = p (1 - p) - V [tasks^2], the noise left once the forecast's parameters are known;
--     centred_advantage = promised lead over round robin less its mean over the wave [fraction];
--     deviation_ms = mean shift of start and end [ms]; log_duration_residual = log of one attempt's actual over
--     forecast median duration, null where either is 0; the rest in the units of executions.
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
        duration_ms_p50,
    from executions
    where status in ('completed', 'failed')
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
    planned_success - baseline_success - avg(planned_success - baseline_success) over (partition by wave)
        as centred_advantage,
    planned_confidence_delta,
    actual_confidence_delta,
    planned_duration_ms,
    actual_duration_ms,
    actual_end_time,
    deviation_ms,
    case
        when actual_duration_ms > 0 and duration_ms_p50 > 0
            then ln(actual_duration_ms / attempt_count) - ln(duration_ms_p50)
    end as log_duration_residual,
from ran_tasks
order by wave, task_id

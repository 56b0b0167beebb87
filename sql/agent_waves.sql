-- Question: what was planned for each agent in each wave, and what happened?
-- Grain: one row per planned wave and agent of the run, idle agents included.
-- Inputs: wave_plans, agents, agent_evidence, executions, task_results.
-- Columns: agent_position = natural order of the agents, from 1. *_count [tasks, retries, attempts]. *_sum = sum over
--     the tasks that ran of the column of task_results in the name, or of a product. *_skew_sum = sum of the
--     third moments that lengthen the tail of a shortfall [tasks^3]. *_ms [ms]. capacity [tasks]. slot_worth [score].
--     success_variance, advantage_variance = uncertainty of the forecasts for the agent's tasks [tasks^2]. first_* and
--     log_duration_* = as in agent_evidence [tasks, log time]. Sums are null if the agent ran nothing.
--     actual_busy_ms is null too if the time of a task is unknown, and deviation_ms covers the tasks with known times.
with

positions as (
    select
        agent_id,
        row_number() over () as agent_position,
    from agents
),

places as (
    select
        wave_plans.wave,
        positions.agent_id,
        positions.agent_position,
    from wave_plans
    cross join positions
),

plans as (
    select
        wave,
        agent_id,
        count(*) as task_count,
    from executions
    group by wave, agent_id
),

results as (
    select
        wave,
        agent_id,
        count(*) as ran_count,
        cast(count_if(is_completed) as bigint) as completed_count,
        cast(sum(attempt_count - 1) as bigint) as retry_count,
        sum(planned_success) as planned_success_sum,
        sum(residual) as residual_sum,
        sum(outcome_variance) as outcome_variance_sum,
        sum(greatest(0e0, -outcome_third_moment)) as shortfall_skew_sum,
        sum(baseline_residual) as baseline_residual_sum,
        sum(baseline_success * (1e0 - baseline_success)) as baseline_variance_sum,
        sum(centred_advantage) as advantage_sum,
        sum(centred_advantage * centred_advantage) as advantage_square_sum,
        sum(centred_advantage * residual) as advantage_residual_sum,
        sum(centred_advantage * outcome_variance) as advantage_noise_sum,
        sum(centred_advantage * centred_advantage * outcome_variance) as advantage_variance_sum,
        sum(greatest(0e0, -pow(centred_advantage, 3) * outcome_third_moment)) as advantage_skew_sum,
        sum(planned_confidence_delta) as planned_confidence_sum,
        sum(actual_confidence_delta) as actual_confidence_sum,
        sum(planned_duration_ms) as planned_busy_ms,
        sum_if_known(actual_duration_ms) as actual_busy_ms,
        avg(deviation_ms) as deviation_ms,
    from task_results
    group by wave, agent_id
)

select
    places.wave,
    places.agent_id,
    places.agent_position,
    coalesce(plans.task_count, 0) as task_count,
    coalesce(results.ran_count, 0) as ran_count,
    coalesce(results.completed_count, 0) as completed_count,
    coalesce(results.retry_count, 0) as retry_count,
    results.planned_success_sum,
    results.residual_sum,
    results.outcome_variance_sum,
    results.shortfall_skew_sum,
    results.baseline_residual_sum,
    results.baseline_variance_sum,
    results.advantage_sum,
    results.advantage_square_sum,
    results.advantage_residual_sum,
    results.advantage_noise_sum,
    results.advantage_variance_sum,
    results.advantage_skew_sum,
    results.planned_confidence_sum,
    results.actual_confidence_sum,
    results.planned_busy_ms,
    results.actual_busy_ms,
    results.deviation_ms,
    evidence.capacity,
    evidence.slot_worth,
    evidence.success_variance,
    evidence.advantage_variance,
    evidence.first_planned_success_sum,
    evidence.first_success_noise,
    evidence.first_success_skew,
    evidence.first_success_agent_sd,
    evidence.first_success_shared_sd,
    evidence.log_duration_sum,
    coalesce(evidence.duration_count, 0) as duration_count,
    coalesce(evidence.first_duration_count, 0) as first_duration_count,
    evidence.log_duration_residual_sum,
    evidence.log_duration_noise,
    evidence.log_duration_agent_sd,
    evidence.log_duration_shared_sd,
    evidence.first_log_duration_residual_sum,
    evidence.first_log_duration_noise,
    evidence.first_log_duration_agent_sd,
    evidence.first_log_duration_shared_sd,
from places
left join plans on places.wave = plans.wave and places.agent_id = plans.agent_id
left join results on places.wave = results.wave and places.agent_id = results.agent_id
left join agent_evidence as evidence on places.wave = evidence.wave and places.agent_id = evidence.agent_id
order by places.wave, places.agent_position

-- Question: what was planned for each agent and risk level in each wave, what happened, and how unusual is it?
-- Grain: one row a wave, agent and risk level where a task ran.
-- Inputs: task_results, risk_evidence, agents, run.
-- Columns: task_count, planned_success_count, actual_success_count [tasks]. planned_busy_ms, actual_busy_ms [ms].
--     *_sd, *_low, *_high = standard deviation and 90 % interval under the plan. *_p_value = two-sided probability of a
--     result at least as extreme under the plan's draws (mid-p). Null without draws.
with

positions as (
    select
        agent_id,
        row_number() over () as agent_position,
    from agents
),

results as (
    select
        wave,
        agent_id,
        risk_level,
        count(*) as task_count,
        sum(planned_success) as planned_success_count,
        cast(count_if(is_completed) as bigint) as actual_success_count,
        sum(planned_duration_ms) as planned_busy_ms,
        sum(actual_duration_ms) as actual_busy_ms,
    from task_results
    group by wave, agent_id, risk_level
)

select
    results.wave,
    results.agent_id,
    results.risk_level,
    results.task_count,
    results.planned_success_count,
    results.actual_success_count,
    chances.success_sd,
    chances.success_low,
    chances.success_high,
    chances.success_p_value,
    results.planned_busy_ms,
    results.actual_busy_ms,
    chances.busy_sd_ms,
    chances.busy_low_ms,
    chances.busy_high_ms,
    chances.busy_p_value,
    run.is_simulated as simulated,
from results
inner join positions on results.agent_id = positions.agent_id
left join risk_evidence as chances
    on
        results.wave = chances.wave
        and results.agent_id = chances.agent_id
        and results.risk_level = chances.risk_level
cross join run
order by results.wave, positions.agent_position, results.risk_level

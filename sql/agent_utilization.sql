-- Question: how much of the run was each agent at work?
-- Grain: one row an agent of the run, idle ones too, in natural order.
-- Inputs: agent_waves, wave_totals.
-- Columns: agent_position (natural order, from 1); task_count [tasks assigned]; busy_ms [ms]; utilization = busy
--     time over the summed makespans of the waves in which something ran [fraction], null where nothing did. Its mean
--     is the metric agent_utilization.
with

agents as (
    select
        agent_id,
        agent_position,
        cast(sum(task_count) as bigint) as task_count,
        coalesce(sum(actual_busy_ms), 0e0) as busy_ms,
    from agent_waves
    group by agent_id, agent_position
),

spans as (
    select sum(actual_makespan_ms) as makespan_ms, from wave_totals
)

select
    agents.agent_id,
    agents.agent_position,
    agents.task_count,
    agents.busy_ms,
    ratio(agents.busy_ms, spans.makespan_ms) as utilization,
from agents
cross join spans
order by agents.agent_position

-- Question: how did each agent do in each wave, compared with its plan?
-- Grain: one row per planned wave and agent of the run, idle agents included.
-- Inputs: agent_waves, wave_totals, run.
-- Columns: *_count [tasks, retries]. Rates, accuracy_score and utilization [fraction]. Busy times and deviation [ms].
--     duration_ratio = actual over planned busy time. capacity [tasks]. slot_worth = score that one more slot would add
--     to the wave. Figures are null if the agent ran nothing.
select
    agent_waves.wave,
    agent_waves.agent_id,
    agent_waves.task_count,
    agent_waves.ran_count,
    agent_waves.completed_count,
    agent_waves.retry_count,
    ratio(agent_waves.planned_success_sum, agent_waves.ran_count) as planned_success_rate,
    ratio(agent_waves.completed_count, agent_waves.ran_count) as actual_success_rate,
    accuracy(
        ratio(agent_waves.planned_success_sum, agent_waves.ran_count),
        ratio(agent_waves.completed_count, agent_waves.ran_count)
    ) as accuracy_score,
    agent_waves.planned_busy_ms,
    agent_waves.actual_busy_ms,
    ratio(agent_waves.actual_busy_ms, agent_waves.planned_busy_ms) as duration_ratio,
    ratio(agent_waves.actual_busy_ms, wave_totals.actual_makespan_ms) as utilization,
    agent_waves.deviation_ms,
    ratio(agent_waves.planned_confidence_sum, agent_waves.ran_count) as planned_confidence_delta,
    ratio(agent_waves.actual_confidence_sum, agent_waves.ran_count) as actual_confidence_delta,
    agent_waves.capacity,
    agent_waves.slot_worth,
    iso_timestamp(run.timestamp) as timestamp,
    run.is_simulated as simulated,
from agent_waves
inner join wave_totals on agent_waves.wave = wave_totals.wave
cross join run
order by agent_waves.wave, agent_waves.agent_position

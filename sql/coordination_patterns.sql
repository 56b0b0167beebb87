-- Question: which assignment of tasks to agents did each strategy make, and how successful was it?
-- Grain: one row, one document.
-- Inputs: strategy_effectiveness, executions, wave_totals.
-- Columns: document = list of patterns. In each: pattern_type = the strategy; agent_assignments = tasks of each agent
--     in order of wave and schedule; success_rate [fraction]; confidence = 1 - width of the 90 % Wilson interval of the
--     success rate, 0 if nothing ran; waves; task_count; simulated.
-- Wilson, Probable inference, the law of succession, and statistical inference, 1927.
with

agent_tasks as (
    select
        wave_totals.strategy,
        executions.agent_id,
        list(
            executions.task_id
            order by
                executions.wave, executions.scheduled_start_time, natural_key(executions.task_id), executions.task_id
        ) as task_ids,
    from executions
    inner join wave_totals on executions.wave = wave_totals.wave
    group by wave_totals.strategy, executions.agent_id
),

assignments as (
    select
        strategy,
        map_from_entries(
            list({'key': agent_id, 'value': task_ids} order by natural_key(agent_id), agent_id)
        ) as agent_assignments,
    from agent_tasks
    group by strategy
),

patterns as (
    select
        results.strategy as pattern_type,
        coalesce(assignments.agent_assignments, map_from_entries([])) as agent_assignments,
        results.actual_success_rate as success_rate,
        1e0 - coalesce(
            wilson_width(results.actual_success_rate, results.ran_count, upper_quantile(0.05e0)), 1e0
        ) as confidence,
        results.waves,
        results.task_count,
        results.simulated,
    from strategy_effectiveness as results
    left join assignments on results.strategy = assignments.strategy
)

select coalesce(list(patterns order by patterns.pattern_type), []) as document,
from patterns
order by document

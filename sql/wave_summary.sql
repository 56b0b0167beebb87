-- Question: what was the plan of each wave, how did it go, and how busy was each agent?
-- Grain: one row per planned wave.
-- Inputs: wave_totals, wave_plans, schedule_comparisons, agent_feedback, run.
-- Columns: task_states = number of tasks by state. Figures as in schedule_comparisons. Makespans [ms]. solver =
--     algorithm, objective, its proven bound and the gap between them. unassigned_count = tasks without an agent.
--     agents = tasks, rates, utilisation, capacity and slot_worth of each agent [tasks, fraction, score].
with

agents as (
    select
        wave,
        list({
            'agent_id': agent_id,
            'task_count': task_count,
            'completed_count': completed_count,
            'planned_success_rate': planned_success_rate,
            'actual_success_rate': actual_success_rate,
            'utilization': utilization,
            'capacity': capacity,
            'slot_worth': slot_worth
        }) as agents,
    from agent_feedback
    group by wave
)

select
    totals.wave,
    totals.strategy,
    totals.task_count,
    {
        'completed': totals.completed_count,
        'failed': totals.failed_count,
        'unobserved': totals.unobserved_count,
        'interrupted': totals.interrupted_count
    } as task_states,
    totals.retry_count,
    comparisons.planned_success_rate,
    comparisons.actual_success_rate,
    comparisons.planned_throughput,
    comparisons.actual_throughput,
    comparisons.planned_confidence_delta,
    comparisons.actual_confidence_delta,
    comparisons.accuracy_score,
    comparisons.throughput_efficiency,
    comparisons.schedule_adherence,
    comparisons.agent_utilization,
    totals.planned_makespan_ms,
    totals.actual_makespan_ms,
    plans.timeline_end_ms,
    {
        'algorithm': plans.solver,
        'objective': plans.objective,
        'upper_bound': plans.upper_bound,
        'gap': plans.gap
    } as solver,
    plans.unassigned_count,
    coalesce(agents.agents, []) as agents,
    iso_timestamp(run.timestamp) as timestamp,
    run.is_simulated as simulated,
from wave_totals as totals
inner join wave_plans as plans on totals.wave = plans.wave
inner join schedule_comparisons as comparisons on totals.wave = comparisons.wave
left join agents on totals.wave = agents.wave
cross join run
order by totals.wave

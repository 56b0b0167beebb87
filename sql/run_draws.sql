-- Question: what are the run's figures in each draw of its plan?
-- Grain: one row per draw number, combining the draws of all waves with that number; draws of waves are independent.
-- Inputs: wave_draws, wave_totals, schedule_comparisons, run.
-- Columns: success_rate [fraction]; the five metrics as in optimization_metrics, over the same waves.
select
    draws.draw,
    ratio(sum(draws.ran_count * draws.success_rate), sum(draws.ran_count)) as success_rate,
    ratio(
        sum(draws.ran_count * accuracy(comparisons.planned_success_rate, draws.success_rate)), sum(draws.ran_count)
    ) as schedule_accuracy,
    ratio(
        sum(totals.planned_makespan_ms) filter (where totals.actual_makespan_ms is not null),
        sum(draws.makespan_ms) filter (where totals.actual_makespan_ms is not null)
    ) as throughput_efficiency,
    ratio(
        sum(draws.busy_ms) filter (where totals.actual_makespan_ms is not null),
        sum(run.agent_count * draws.makespan_ms) filter (where totals.actual_makespan_ms is not null)
    ) as agent_utilization,
    ratio(sum(draws.ran_count * draws.confidence_delta), sum(totals.planned_confidence_sum)) as confidence_trajectory,
    ratio(
        sum(
            if(comparisons.schedule_adherence is null, null, draws.ran_count)
            * adherence(draws.deviation_ms, totals.timeline_end_ms)
        ),
        sum(draws.ran_count) filter (where comparisons.schedule_adherence is not null)
    ) as schedule_adherence,
from wave_draws as draws
inner join wave_totals as totals on draws.wave = totals.wave
inner join schedule_comparisons as comparisons on draws.wave = comparisons.wave
cross join run
where totals.ran_count > 0
group by draws.draw
order by draws.draw

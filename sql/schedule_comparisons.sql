-- Question: how did each wave go, compared with its plan?
-- Grain: one row per planned wave.
-- Inputs: wave_totals, wave_plans, executions, wave_draws, run.
-- Columns: rates, accuracy, adherence and utilisation [fraction]. Throughput [tasks per second]. ran_count [tasks].
--     *_low and *_high = 90 % interval under the plan's own draws. Planned figures cover the tasks that ran. If
--     nothing ran, they cover all tasks of the plan, and the other figures are null. actual_throughput = tasks that
--     ran / latest known end: an upper bound where times are unknown, and there throughput_efficiency is null.
with

plans as (
    select
        wave_plans.wave,
        count(executions.task_id) as task_count,
        avg(executions.planned_success) as success_rate,
        avg(executions.planned_confidence_delta) as confidence_delta,
        any_value(wave_plans.planned_makespan_ms) as makespan_ms,
    from wave_plans
    left join executions on wave_plans.wave = executions.wave
    group by wave_plans.wave
),

chance as (
    select
        wave,
        chance_interval(success_rate) as success_rates,
        chance_interval(ratio(ran_count * 1e3, makespan_ms)) as throughputs,
    from wave_draws
    where ran_count > 0
    group by wave
)

select
    totals.wave,
    coalesce(ratio(totals.planned_success_sum, totals.ran_count), plans.success_rate) as planned_success_rate,
    ratio(totals.completed_count, totals.ran_count) as actual_success_rate,
    ratio(if(totals.ran_count > 0, totals.ran_count, plans.task_count) * 1e3, plans.makespan_ms) as planned_throughput,
    ratio(totals.ran_count * 1e3, totals.latest_end_ms) as actual_throughput,
    coalesce(ratio(totals.planned_confidence_sum, totals.ran_count), plans.confidence_delta)
        as planned_confidence_delta,
    ratio(totals.actual_confidence_sum, totals.ran_count) as actual_confidence_delta,
    accuracy(
        ratio(totals.planned_success_sum, totals.ran_count), ratio(totals.completed_count, totals.ran_count)
    ) as accuracy_score,
    totals.ran_count,
    chance.success_rates[1] as success_rate_low,
    chance.success_rates[2] as success_rate_high,
    chance.throughputs[1] as throughput_low,
    chance.throughputs[2] as throughput_high,
    ratio(totals.planned_makespan_ms, totals.actual_makespan_ms) as throughput_efficiency,
    adherence(totals.deviation_ms, totals.timeline_end_ms) as schedule_adherence,
    ratio(totals.actual_busy_ms, run.agent_count * totals.actual_makespan_ms) as agent_utilization,
    ratio(totals.squared_error_sum, totals.ran_count) as brier_score,
    ratio(totals.log_loss_sum, totals.ran_count) as log_loss,
from wave_totals as totals
inner join plans on totals.wave = plans.wave
cross join run
left join chance on totals.wave = chance.wave
order by totals.wave

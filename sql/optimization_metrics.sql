-- Question: what are the run's five metrics, and are they normal under the plan?
-- Grain: one row per metric, in the order of metric_bounds.
-- Inputs: wave_totals, schedule_comparisons, run_draws, run, metric_bounds, rules.
-- Columns: value, target_value, threshold_min, threshold_max [unit]. chance_low, chance_high = 90 % interval of the
--     value under the plan's own draws. status = insufficient_data without a value; normal inside the thresholds;
--     critical if the value is outside them by more than the rules' margin and outside the 90 % interval, but never
--     above a maximum of 1.0; else warning.
with

figures as (
    select
        ratio(sum(comparisons.accuracy_score * totals.ran_count), sum(totals.ran_count)) as schedule_accuracy,
        pooled(totals.planned_makespan_ms, totals.actual_makespan_ms) as throughput_efficiency,
        pooled(totals.actual_busy_ms, run.agent_count * totals.actual_makespan_ms) as agent_utilization,
        ratio(sum(totals.actual_confidence_sum), sum(totals.planned_confidence_sum)) as confidence_trajectory,
        pooled(
            comparisons.schedule_adherence * totals.ran_count,
            if(comparisons.schedule_adherence is not null, totals.ran_count, null)
        ) as schedule_adherence,
        abs(ratio(sum(totals.planned_confidence_sum), sum(totals.ran_count))) as planned_confidence_size,
    from wave_totals as totals
    inner join schedule_comparisons as comparisons on totals.wave = comparisons.wave
    cross join run
    where totals.ran_count > 0
),

chance as (
    select
        chance_interval(schedule_accuracy) as schedule_accuracy,
        chance_interval(throughput_efficiency) as throughput_efficiency,
        chance_interval(agent_utilization) as agent_utilization,
        chance_interval(confidence_trajectory) as confidence_trajectory,
        chance_interval(schedule_adherence) as schedule_adherence,
    from run_draws
),

candidates as (
    select
        unnest([
            {
                'metric_name': 'schedule_accuracy',
                'value': figures.schedule_accuracy,
                'interval': chance.schedule_accuracy
            },
            {
                'metric_name': 'throughput_efficiency',
                'value': figures.throughput_efficiency,
                'interval': chance.throughput_efficiency
            },
            {
                'metric_name': 'agent_utilization',
                'value': figures.agent_utilization,
                'interval': chance.agent_utilization
            },
            {
                'metric_name': 'confidence_trajectory',
                'value': if(
                    figures.planned_confidence_size >= rules.negligible_confidence_delta,
                    figures.confidence_trajectory,
                    null
                ),
                'interval': chance.confidence_trajectory
            },
            {
                'metric_name': 'schedule_adherence',
                'value': figures.schedule_adherence,
                'interval': chance.schedule_adherence
            }
        ]) as figure,
    from figures
    cross join chance
    cross join rules
),

metrics as (
    select
        bounds.position,
        bounds.metric_name,
        candidates.figure.value,
        bounds.unit,
        bounds.target_value,
        bounds.threshold_min,
        bounds.threshold_max,
        if(candidates.figure.value is not null, candidates.figure.interval[1], null) as chance_low,
        if(candidates.figure.value is not null, candidates.figure.interval[2], null) as chance_high,
    from metric_bounds as bounds
    left join candidates on bounds.metric_name = candidates.figure.metric_name
)

select
    metrics.metric_name,
    metrics.value,
    metrics.unit,
    metrics.target_value,
    metrics.threshold_min,
    metrics.threshold_max,
    case
        when metrics.value is null then 'insufficient_data'
        when metrics.value between metrics.threshold_min and metrics.threshold_max then 'normal'
        when metrics.value > metrics.threshold_max and metrics.threshold_max = 1 then 'warning'
        when
            metrics.value between metrics.threshold_min * (1 - rules.critical_margin)
            and metrics.threshold_max * (1 + rules.critical_margin) then 'warning'
        when metrics.value between metrics.chance_low and metrics.chance_high then 'warning'
        when metrics.chance_low is null then 'warning'
        else 'critical'
    end as status,
    iso_timestamp(run.timestamp) as timestamp,
    metrics.chance_low,
    metrics.chance_high,
from metrics
cross join rules
cross join run
order by metrics.position

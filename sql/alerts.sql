-- Question: what should an operator look at now?
-- Grain: one row per metric out of bounds, then one row per anomaly, each in its own order; then one row if tasks ended
--     after their deadlines, and one row if tasks were planned to.
-- Inputs: optimization_metrics, metric_bounds, scheduling_anomalies, executions, run.
-- Columns: severity = status of the metric; for an anomaly, critical if high, warning if medium, info if low.
--     source = file and name of the metric, anomaly or column. message and action = sentences for the operator.
with

metric_alerts as (
    select
        1 as source_rank,
        bounds.position,
        metrics.status as severity,
        'optimization_metrics: ' || metrics.metric_name as source,
        printf(
            case metrics.metric_name
                when 'schedule_accuracy' then 'Success was planned with an accuracy of %.1f %%'
                when 'throughput_efficiency' then 'Throughput is %.1f %% of the plan'
                when 'agent_utilization' then 'Agents were busy %.1f %% of the time'
                when 'confidence_trajectory' then 'The confidence gained is %.1f %% of the plan'
                else 'Start and end times agree with the schedule to %.1f %%'
            end || ', outside %g %% to %g %%; %s.',
            metrics.value * 100, metrics.threshold_min * 100, metrics.threshold_max * 100,
            coalesce(
                printf('%.1f %% to %.1f %% is normal', metrics.chance_low * 100, metrics.chance_high * 100),
                'its normal range is unknown'
            )
        ) as message,
        case
            when metrics.value between metrics.chance_low and metrics.chance_high
                then 'No action needed yet: the value is normal under this plan.'
            else case metrics.metric_name
                when 'agent_utilization'
                    then 'Plan larger waves or fewer agents, or use --strategy balance_load, to leave less idle time.'
                when 'confidence_trajectory'
                    then 'Act only if your strategy weighs confidence: then record the confidence of more attempts.'
                else 'Start the next run with --previous, to learn from this one.'
            end
        end as action,
    from optimization_metrics as metrics
    inner join metric_bounds as bounds on metrics.metric_name = bounds.metric_name
    where metrics.status in ('warning', 'critical')
),

anomaly_alerts as (
    select
        2 as source_rank,
        row_number() over (order by anomaly_id) as position,
        case severity when 'high' then 'critical' when 'medium' then 'warning' else 'info' end as severity,
        'scheduling_anomalies: ' || anomaly_id || ' ' || anomaly_type as source,
        description as message,
        recommendation as action,
    from scheduling_anomalies
),

late_tasks as (
    select
        1 as position,
        'is_late' as source,
        'Ended' as what,
        task_id,
        actual_end_time - deadline_ms as late_ms,
    from executions
    where deadline_ms is not null
    union all
    select
        2 as position,
        'is_planned_late' as source,
        'Planned to end' as what,
        task_id,
        scheduled_end_time - deadline_ms as late_ms,
    from executions
    where deadline_ms is not null
),

late_counts as (
    select
        position,
        source,
        what,
        count(*) as task_count,
        count(*) filter (where late_ms > 0) as late_count,
        list(printf('%s by %s', task_id, duration_text(late_ms)) order by late_ms desc, task_id asc) filter (
            where late_ms > 0
        ) as late,
    from late_tasks
    group by position, source, what
),

late_alerts as (
    select
        3 as source_rank,
        position,
        'warning' as severity,
        'scheduled_tasks: ' || source as source,
        printf(
            '%s late: %d of %s with a deadline: %s%s.',
            what, late_count, counted(task_count, 'task'), array_to_string(late[:10], ', '),
            if(late_count > 10, printf(' and %d more', late_count - 10), '')
        ) as message,
        'Unless this run did, plan with --priority deadline: early deadlines start first. Or allow more time.'
            as action,
    from late_counts
    where late_count > 0
),

alerts as (
    select
        *,
        row_number() over (order by source_rank, position) as alert_position,
    from (
        select *, from metric_alerts
        union all
        select *, from anomaly_alerts
        union all
        select *, from late_alerts
    ) as alerts
)

select
    row_id('AL', alerts.alert_position) as alert_id,
    alerts.severity,
    alerts.source,
    alerts.message,
    alerts.action,
    iso_timestamp(run.timestamp) as timestamp,
from alerts
cross join run
order by alerts.alert_position

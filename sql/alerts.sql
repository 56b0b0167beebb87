-- Question: what should an operator look at now?
-- Grain: one row a metric out of bounds or an anomaly; metrics first, each in its own order.
-- Inputs: optimization_metrics, metric_bounds, scheduling_anomalies, run.
-- Columns: severity: a metric's own status (warning, critical); of an anomaly critical where it is high, warning where
--     medium, info where low; source = file and name of what raised it; message; action.
with

metric_alerts as (
    select
        1 as source_rank,
        bounds.position,
        metrics.status as severity,
        'optimization_metrics: ' || metrics.metric_name as source,
        printf(
            '%s is %.3f, outside %.2f to %.2f; chance alone gives %s.',
            metrics.metric_name, metrics.value, metrics.threshold_min, metrics.threshold_max,
            coalesce(printf('%.3f to %.3f', metrics.chance_low, metrics.chance_high), 'an unknown range')
        ) as message,
        case
            when metrics.value between metrics.chance_low and metrics.chance_high
                then 'Watch it: chance explains where it lies.'
            else case metrics.metric_name
                when 'schedule_accuracy'
                    then 'Compare planned with actual success in schedule_comparisons.jsonl, wave by wave.'
                when 'agent_utilization'
                    then 'See in system_health.json who waited; more tasks a wave or fewer agents leave less of it.'
                when 'confidence_trajectory'
                    then 'Compare planned with actual confidence changes in schedule_comparisons.jsonl, wave by wave.'
                else 'Compare planned with actual busy times in optimization_feedback.json of each wave and agent.'
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

alerts as (
    select
        *,
        row_number() over (order by source_rank, position) as alert_position,
    from (
        select *, from metric_alerts
        union all
        select *, from anomaly_alerts
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

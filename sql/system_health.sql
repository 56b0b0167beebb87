-- Question: how healthy is the system after this run?
-- Grain: one row, the run.
-- Inputs: optimization_metrics, scheduling_anomalies, metric_bounds, agent_waves, wave_totals, convergence_trend,
--     alerts, run, rules.
-- Columns: overall_health_score = mean of the component_scores, weighted by component_weights [points, 0 to 100]; a
--     component without data is null and left out. health_status = null if no component has data. detected_anomalies =
--     number of anomalies. anomaly_costs = points that each anomaly takes from system_stability. agent_utilization =
--     tasks [tasks], busy time [ms] and busy share of the summed makespans [fraction] of each agent, idle agents
--     included; unknown times make them null. Its success_rate_low and success_rate_high = 90 % interval of the agent's
--     success rate under the plan, in whole tasks [fraction]; null if it ran nothing. convergence = trend of the
--     forecast error. alert_counts = number of alerts by severity.
with

metric_values as (
    select
        100e0 * max(metrics.value) filter (where metrics.metric_name = 'schedule_accuracy') as accuracy_score,
        100e0 * max(metrics.value) filter (where metrics.metric_name = 'schedule_adherence') as adherence_score,
        100e0 * max(metrics.value) filter (where metrics.metric_name = 'throughput_efficiency') as efficiency_score,
        list(
            {'metric_name': metrics.metric_name, 'value': metrics.value, 'status': metrics.status}
            order by bounds.position
        ) as optimization_metrics,
    from optimization_metrics as metrics
    inner join metric_bounds as bounds on metrics.metric_name = bounds.metric_name
),

costs as (
    select
        anomalies.anomaly_id,
        anomalies.anomaly_type,
        anomalies.severity,
        case anomalies.severity
            when 'high' then rules.penalty_high
            when 'medium' then rules.penalty_medium
            when 'low' then rules.penalty_low
        end as points,
    from scheduling_anomalies as anomalies
    cross join rules
),

penalties as (
    select
        count(*) as anomaly_count,
        coalesce(sum(points), 0e0) as penalty_points,
        coalesce(
            list(
                {
                    'anomaly_id': anomaly_id,
                    'anomaly_type': anomaly_type,
                    'severity': severity,
                    'points': points
                }
                order by anomaly_id
            ),
            []
        ) as anomaly_costs,
    from costs
),

agents as (
    select
        waves.agent_id,
        waves.agent_position,
        cast(sum(waves.task_count) as bigint) as task_count,
        sum_if_known(if(waves.ran_count = 0, 0e0, waves.actual_busy_ms)) as busy_ms,
        pooled(if(waves.ran_count = 0, 0e0, waves.actual_busy_ms), totals.actual_makespan_ms) as utilization,
        sum(waves.ran_count) as ran_count,
        sum(waves.planned_success_sum) as planned_success_sum,
        -- Half a task is added, because counts move in whole tasks.
        0.5e0 + upper_quantile(0.05e0) * sqrt(sum(waves.outcome_variance_sum + waves.success_variance)) as reach,
    from agent_waves as waves
    inner join wave_totals as totals on waves.wave = totals.wave
    group by waves.agent_id, waves.agent_position
),

utilizations as (
    select
        coalesce(
            list(
                {
                    'agent_id': agent_id,
                    'task_count': task_count,
                    'busy_ms': busy_ms,
                    'utilization': utilization,
                    'success_rate_low': clip(ratio(ceil(planned_success_sum - reach), ran_count), 0e0, 1e0),
                    'success_rate_high': clip(ratio(floor(planned_success_sum + reach), ran_count), 0e0, 1e0)
                }
                order by agent_position
            ),
            []
        ) as agent_utilization,
    from agents
),

alert_counts as (
    select
        {
            'info': count(*) filter (where severity = 'info'),
            'warning': count(*) filter (where severity = 'warning'),
            'critical': count(*) filter (where severity = 'critical')
        } as alert_counts,
    from alerts
),

components as (
    select
        metric_values.accuracy_score,
        clip(metric_values.adherence_score, 0e0, 100e0) as adherence_score,
        clip(metric_values.efficiency_score, 0e0, 100e0) as efficiency_score,
        case when metric_values.accuracy_score is not null then clip(100e0 - penalties.penalty_points, 0e0, 100e0) end
            as stability_score,
        metric_values.optimization_metrics,
        penalties.anomaly_count,
        penalties.anomaly_costs,
    from metric_values
    cross join penalties
),

scores as (
    select
        components.*,
        ratio(
            coalesce(accuracy_score * rules.weight_optimization_accuracy, 0)
            + coalesce(adherence_score * rules.weight_schedule_adherence, 0)
            + coalesce(efficiency_score * rules.weight_throughput_efficiency, 0)
            + coalesce(stability_score * rules.weight_system_stability, 0),
            if(accuracy_score is null, 0, rules.weight_optimization_accuracy)
            + if(adherence_score is null, 0, rules.weight_schedule_adherence)
            + if(efficiency_score is null, 0, rules.weight_throughput_efficiency)
            + if(stability_score is null, 0, rules.weight_system_stability)
        ) as health_score,
    from components
    cross join rules
)

select
    scores.health_score as overall_health_score,
    case
        when scores.health_score >= rules.health_excellent then 'EXCELLENT'
        when scores.health_score >= rules.health_good then 'GOOD'
        when scores.health_score >= rules.health_fair then 'FAIR'
        when scores.health_score is not null then 'POOR'
    end as health_status,
    {
        'optimization_accuracy': scores.accuracy_score,
        'schedule_adherence': scores.adherence_score,
        'throughput_efficiency': scores.efficiency_score,
        'system_stability': scores.stability_score
    } as component_scores,
    scores.optimization_metrics,
    scores.anomaly_count as detected_anomalies,
    iso_timestamp(run.timestamp) as timestamp,
    {
        'optimization_accuracy': rules.weight_optimization_accuracy,
        'schedule_adherence': rules.weight_schedule_adherence,
        'throughput_efficiency': rules.weight_throughput_efficiency,
        'system_stability': rules.weight_system_stability
    } as component_weights,
    scores.anomaly_costs,
    utilizations.agent_utilization,
    {
        'verdict': trend.verdict,
        'wave_count': trend.wave_count,
        'slope': trend.slope,
        'slope_low': trend.slope_low,
        'slope_high': trend.slope_high,
        'change': trend.change,
        'simulated': trend.simulated
    } as convergence,
    alert_counts.alert_counts,
from scores
cross join utilizations
cross join alert_counts
cross join convergence_trend as trend
cross join rules
cross join run
order by timestamp

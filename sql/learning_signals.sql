-- Question: what does this run teach?
-- Grain: one row a signal: the strategy's validation always, others only where the evidence carries them.
-- Inputs: overall, strategy_effectiveness, heuristic_lifts, schedule_drift_tests, prediction_error_tests,
--     optimization_failure_tests, agent_leads, run, rules.
-- Columns: confidence = schedule_accuracy for strategy_validation (0 where nothing ran), else 1 - p-value [fraction],
--     that of the best of all that were looked at (Bonferroni); supporting_evidence = counts, rates and intervals as
--     text; simulated.
with

strategies as (
    select string_agg(strategy, ', ' order by strategy) as names, from strategy_effectiveness
),

strategy_validations as (
    select
        1 as type_rank,
        '' as subject,
        'strategy_validation' as type,
        coalesce(overall.schedule_accuracy, 0e0) as confidence,
        case
            when overall.ran_count = 0 then 'Insufficient data: no task ran.'
            else printf(
                '%s: planned success %.3f, actual %.3f over %s.',
                coalesce(strategies.names, 'no strategy'), overall.expected_success_rate, overall.actual_success_rate,
                counted(overall.ran_count, 'task')
            )
        end as description,
        case
            when overall.ran_count = 0 then 'Run it before relying on it.'
            when failures.is_anomaly then 'Do not route on these forecasts; spread tasks evenly until they hold again.'
            when errors.is_anomaly then 'Keep the assignment, and plan on lower success until new records are in.'
            else 'Keep the strategy.'
        end as recommendation,
        list_filter(
            [
                printf('%d of %s completed', overall.completed_count, counted(overall.ran_count, 'task')),
                printf('Brier score %.4f', overall.brier_score),
                printf('log-loss %.4f', overall.log_loss),
                printf('skill %.3f against the base rate', overall.skill),
                printf(
                    '%.0f %% of waves inside their 90 %% predictive interval', overall.interval_coverage * 100
                )
            ],
            lambda line: line is not null
        ) as supporting_evidence,
    from overall
    cross join strategies
    cross join optimization_failure_tests as failures
    cross join prediction_error_tests as errors
),

compared_lifts as (
    select
        *,
        least(1e0, count(*) over () * p_value) as shared_p_value,
    from heuristic_lifts
    where lift is not null
),

heuristic_updates as (
    select
        2 as type_rank,
        lifts.heuristic_id as subject,
        'heuristic_update' as type,
        1e0 - lifts.shared_p_value as confidence,
        printf(
            '%s: weight %.4f to %.4f on a lift of %.1f points.',
            lifts.heuristic_id, lifts.previous_weight, lifts.weight, lifts.lift * 100
        ) as description,
        if(lifts.lift > 0, 'Apply it more readily.', 'Apply it less readily.') as recommendation,
        [
            printf('%s with it, %d without', counted(lifts.applied_count, 'task'), lifts.other_count),
            printf('90 %% interval of the lift %.1f to %.1f points', lifts.lift_low * 100, lifts.lift_high * 100),
            printf('shrunk lift %.2f points', lifts.shrunk_lift * 100)
        ] as supporting_evidence,
    from compared_lifts as lifts
    cross join rules
    where
        lifts.shared_p_value < rules.signal_probability
        and abs(lifts.weight - lifts.previous_weight) >= rules.heuristic_signal_step
),

-- Half of the drift tests' chance is the pooled one's, half all the agents'. Where all are late together, one signal
-- says so, and others only of agents whose own interval lies above that of all.
drifts as (
    select
        *,
        max(effect_high) filter (where is_anomaly and agent_id is null) over () as pooled_high,
        least(1e0, 2e0 * if(agent_id is null, 1, count(agent_id) over ()) * p_value) as shared_p_value,
    from schedule_drift_tests
),

schedule_adjustments as (
    select
        3 as type_rank,
        coalesce(agent_id, '') as subject,
        'schedule_adjustment' as type,
        1e0 - shared_p_value as confidence,
        printf(
            '%s: attempts take %.2f times their forecast duration from wave %d on.',
            coalesce(agent_id, 'all agents'), effect, first_wave
        ) as description,
        printf(
            'Multiply planned durations of %s by %.2f.',
            coalesce(agent_id, 'all agents that have no factor of their own'), effect
        ) as recommendation,
        [
            counted(duration_count, 'timed attempt'),
            printf('90 %% interval x %.2f to x %.2f', effect_low, effect_high),
            printf('standard score %.2f, threshold %.2f', statistic, threshold)
        ] as supporting_evidence,
    from drifts
    where is_anomaly and (agent_id is null or pooled_high is null or effect_low > pooled_high)
),

-- The promised advantage over round robin surely came in part; where the run's test says it failed, nothing is claimed.
advantages as (
    select
        *,
        least(1e0, count(*) over () * upper_tail(realised_advantage_slope * information)) as p_value,
    from strategy_effectiveness
    where realised_advantage_slope is not null
),

coordination_improvements as (
    select
        4 as type_rank,
        advantages.strategy as subject,
        'coordination_improvement' as type,
        1e0 - advantages.p_value as confidence,
        printf(
            '%s: of the %.1f points more success than round robin that the plan promised, %.0f %% came.',
            advantages.strategy, advantages.promised_advantage * 100, advantages.realised_advantage_slope * 100
        ) as description,
        'Keep assigning by forecast.' as recommendation,
        [
            counted(advantages.ran_count, 'task') || ' ran',
            printf(
                '90 %% interval of the part that came %.0f to %.0f %%',
                advantages.slope_low * 100, advantages.slope_high * 100
            ),
            printf(
                'actual success %.1f points above the forecast for round robin', advantages.realised_advantage * 100
            )
        ] as supporting_evidence,
    from advantages
    cross join optimization_failure_tests as failures
    cross join rules
    where
        advantages.p_value < rules.signal_probability
        and advantages.promised_advantage > 0
        and not failures.is_anomaly
),

agent_specializations as (
    select
        5 as type_rank,
        leads.agent_id || ' ' || leads.risk_level as subject,
        'agent_specialization' as type,
        1e0 - leads.p_value as confidence,
        printf(
            '%s leads its peers by %.1f points at %s risk, task for task.',
            leads.agent_id, leads.success_lead * 100, leads.risk_level
        ) as description,
        printf('Prefer %s for %s risk tasks.', leads.agent_id, leads.risk_level) as recommendation,
        [
            printf(
                '%.3f over %s, an average agent was forecast %.3f',
                leads.success_rate, counted(leads.task_count, 'task'), leads.expected_rate
            ),
            printf(
                'peers %.3f over %s, forecast %.3f',
                leads.peer_success_rate, counted(leads.peer_task_count, 'task'), leads.peer_expected_rate
            ),
            printf('90 %% interval %.1f to %.1f points', leads.lead_low * 100, leads.lead_high * 100),
            printf('standard score %.2f', leads.statistic)
        ] as supporting_evidence,
    from agent_leads as leads
    cross join rules
    where leads.p_value < rules.signal_probability
),

signals as (
    select
        *,
        row_number() over (order by type_rank, subject) as position,
    from (
        select *, from strategy_validations
        union all
        select *, from heuristic_updates
        union all
        select *, from schedule_adjustments
        union all
        select *, from coordination_improvements
        union all
        select *, from agent_specializations
    ) as signals
)

select
    row_id('P19_LS', signals.position) as signal_id,
    signals.type,
    signals.confidence,
    signals.description,
    signals.recommendation,
    row_id('FB', signals.position) as feedback_id,
    signals.type as feedback_type,
    signals.supporting_evidence,
    iso_timestamp(run.timestamp) as timestamp,
    run.is_simulated as simulated,
from signals
cross join run
order by signals.position

-- Question: what can be learned from this run?
-- Grain: one row per signal. strategy_validation is always present, the others only if their evidence is significant.
-- Inputs: overall, strategy_effectiveness, heuristic_lifts, schedule_drift_tests, prediction_error_tests,
--     optimization_failure_tests, agent_leads, run, rules.
-- Columns: confidence = schedule_accuracy for strategy_validation (0 if nothing ran), else 1 - p-value, corrected for
--     the number of signals of its kind that were tested (Bonferroni). supporting_evidence = counts, rates and
--     intervals as text. simulated = whether the outcomes are those of a dry run.
with

strategies as (
    select string_agg(strategy, ', ' order by strategy) as names,
    from strategy_effectiveness
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
                '%s: planned success %.1f %%, actual success %.1f %% over %s.',
                coalesce(strategies.names, 'no strategy'), overall.expected_success_rate * 100,
                overall.actual_success_rate * 100, counted(overall.ran_count, 'task')
            )
        end as description,
        case
            when overall.ran_count = 0 then 'Run the plan before relying on the strategy.'
            when failures.is_anomaly
                then 'Do not assign by these forecasts. Spread tasks evenly until new records are in.'
            when errors.is_anomaly then 'Keep the strategy, but expect less success until new records are in.'
            else 'Keep the strategy.'
        end as recommendation,
        list_filter(
            [
                printf('%d of %s completed', overall.completed_count, counted(overall.ran_count, 'task')),
                printf('Brier score %.4f', overall.brier_score),
                printf('log loss %.4f', overall.log_loss),
                printf('skill %.3f against forecasting the mean', overall.skill),
                printf(
                    '%.0f %% of waves within their normal range, 90 %% expected', overall.interval_coverage * 100
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
            '%s: the weight goes from %.4f to %.4f, for a lift of %.1f points.',
            lifts.heuristic_id, lifts.previous_weight, lifts.weight, lifts.lift * 100
        ) as description,
        if(lifts.lift > 0, 'Use it more often.', 'Use it less often.') as recommendation,
        [
            printf('%s with it, %d without', counted(lifts.applied_count, 'task'), lifts.other_count),
            printf('90 %% interval of the lift: %.1f to %.1f points', lifts.lift_low * 100, lifts.lift_high * 100),
            printf('shrunk for the number of tasks: %.2f points', lifts.shrunk_lift * 100)
        ] as supporting_evidence,
    from compared_lifts as lifts
    cross join rules
    where
        lifts.shared_p_value < rules.signal_probability
        and abs(lifts.weight - lifts.previous_weight) >= rules.heuristic_signal_step
),

-- Each test has its share of the false-alarm probability. Of an agent's two tests, and of the two pooled ones, the
-- stronger counts. If all agents are late, only agents whose interval lies above the pooled one get a signal of their
-- own.
late_tests as (
    select
        *,
        row_number() over (partition by agent_id order by statistic - threshold desc, baseline asc) as strength_rank,
    from schedule_drift_tests
    where is_anomaly
),

drifts as (
    select
        *,
        max(effect_high) filter (where agent_id is null) over () as pooled_high,
        least(1e0, p_value / alarm_share) as shared_p_value,
    from late_tests
    where strength_rank = 1
),

schedule_adjustments as (
    select
        3 as type_rank,
        coalesce(agent_id, '') as subject,
        'schedule_adjustment' as type,
        1e0 - shared_p_value as confidence,
        printf(
            '%s: attempts take %.2f times as long as forecast %s.',
            coalesce(agent_id, 'all agents'), effect,
            if(baseline = 'start', 'before the run', printf('from wave %d on', first_wave))
        ) as description,
        printf(
            'Multiply %s of %s by %.2f.',
            if(baseline = 'start', 'durations forecast from the records before this run', 'planned durations'),
            coalesce(agent_id, 'all agents without a factor of their own'), effect
        ) as recommendation,
        [
            counted(duration_count, 'timed attempt'),
            printf('90 %% interval: %.2f to %.2f times', effect_low, effect_high),
            printf('standard score %.2f, threshold %.2f', statistic, threshold)
        ] as supporting_evidence,
    from drifts
    where agent_id is null or pooled_high is null or effect_low > pooled_high
),

-- No signal if the run's test says that the promised advantage failed.
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
            '%s: the plan promised %.1f points more success than round robin, and %.0f %% of that was reached.',
            advantages.strategy, advantages.promised_advantage * 100, advantages.realised_advantage_slope * 100
        ) as description,
        'Keep assigning by forecast.' as recommendation,
        [
            counted(advantages.ran_count, 'task') || ' ran',
            printf(
                '90 %% interval of the part that was reached: %.0f to %.0f %%',
                advantages.slope_low * 100, advantages.slope_high * 100
            ),
            printf('actual success minus forecast for round robin: %.1f points', advantages.realised_advantage * 100)
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
            '%s succeeds %.1f points more often than its peers on comparable %s risk tasks.',
            leads.agent_id, leads.success_lead * 100, leads.risk_level
        ) as description,
        printf('Prefer %s for %s risk tasks.', leads.agent_id, leads.risk_level) as recommendation,
        [
            printf(
                '%.1f %% of its %s succeeded, %.1f %% expected of an average agent',
                leads.success_rate * 100, counted(leads.task_count, 'task'), leads.expected_rate * 100
            ),
            printf(
                'peers: %.1f %% of %s succeeded, %.1f %% expected',
                leads.peer_success_rate * 100, counted(leads.peer_task_count, 'task'), leads.peer_expected_rate * 100
            ),
            printf('90 %% interval of the lead: %.1f to %.1f points', leads.lead_low * 100, leads.lead_high * 100),
            printf('standard score %.2f', leads.statistic)
        ] as supporting_evidence,
    from agent_leads as leads
    cross join rules
    where leads.p_value < rules.signal_probability
),

signals as (
    select
        *,
        row_number() over (order by type_rank, natural_key(subject), subject) as position,
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

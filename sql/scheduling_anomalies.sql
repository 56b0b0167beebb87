-- Question: which departures from the plan are beyond chance and matter?
-- Grain: one row an anomaly type that fired, in the order of the types in the contract.
-- Inputs: prediction_error_tests, schedule_drift_tests, performance_degradation_tests, optimization_failure_tests,
--     agent_waves, wave_totals, run, rules.
-- Columns: affected_waves and affected_agents (those the departure shows in); effect [the test's own unit];
--     statistic and threshold [standard scores] of the strongest test.
-- Where the promised advantage failed, over-promise and degradation follow from it: they are kept only if they stand
-- with round robin's forecasts, and with each agent's level taken as unknown, in place of the plan's.
with

failures as (
    select is_anomaly as has_failed, from optimization_failure_tests
),

shown_waves as (
    select
        list(totals.wave order by totals.wave) filter (
            where -totals.residual_sum > rules.prediction_error_margin * totals.ran_count
        ) as over_promised,
        list(totals.wave order by totals.wave) filter (where totals.advantage_residual_sum < 0) as failed,
        list(totals.wave order by totals.wave) filter (where totals.ran_count > 0) as ran,
    from wave_totals as totals
    cross join rules
),

agent_sums as (
    select
        agent_id,
        agent_position,
        sum(residual_sum) as residual_sum,
        sum(advantage_residual_sum) as advantage_residual_sum,
        sum(ran_count) as ran_count,
    from agent_waves
    group by agent_id, agent_position
),

shown_agents as (
    select
        coalesce(list(sums.agent_id order by sums.agent_position) filter (
            where -sums.residual_sum > rules.prediction_error_margin * sums.ran_count
        ), []) as over_promised,
        coalesce(list(sums.agent_id order by sums.agent_position) filter (where sums.advantage_residual_sum < 0), [])
            as failed,
        coalesce(list(sums.agent_id order by sums.agent_position) filter (where sums.ran_count > 0), []) as ran,
    from agent_sums as sums
    cross join rules
),

prediction_errors as (
    select
        1 as type_rank,
        'prediction_error' as anomaly_type,
        severity_of(tests.effect, rules.prediction_error_medium, rules.prediction_error_high) as severity,
        printf(
            'Planned success was %.1f points above actual over %d tasks, beyond what chance and the forecasts'' own '
            || 'uncertainty give.',
            tests.effect * 100, tests.ran_count
        ) as description,
        shown_waves.over_promised as affected_waves,
        shown_agents.over_promised as affected_agents,
        'Plan on lower success for these agents until their new records are in.' as recommendation,
        tests.effect,
        tests.statistic,
        tests.threshold,
    from prediction_error_tests as tests
    cross join failures
    cross join shown_waves
    cross join shown_agents
    cross join rules
    where tests.is_anomaly and (tests.is_baseline_anomaly or not failures.has_failed)
),

drift_tests as (
    select
        list(agent_id order by agent_position) filter (where agent_id is not null) as agents,
        bool_or(agent_id is null) as is_pooled,
        any_value(first_wave) as first_wave,
        arg_max({'effect': effect, 'statistic': statistic, 'threshold': threshold}, statistic)
            as strongest,
    from schedule_drift_tests
    where is_anomaly
    having count(*) > 0
),

schedule_drifts as (
    select
        2 as type_rank,
        'schedule_drift' as anomaly_type,
        severity_of(tests.strongest.effect, rules.schedule_drift_medium, rules.schedule_drift_high) as severity,
        printf(
            'Tasks took %.2f times their forecast duration from wave %d on, beyond the scatter of durations.',
            tests.strongest.effect, tests.first_wave
        ) as description,
        list_filter(shown_waves.ran, lambda wave: wave >= tests.first_wave) as affected_waves,
        coalesce(tests.agents, shown_agents.ran) as affected_agents,
        printf('Multiply planned durations by %.2f.', tests.strongest.effect) as recommendation,
        tests.strongest.effect,
        tests.strongest.statistic,
        tests.strongest.threshold,
    from drift_tests as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
),

degradation_tests as (
    select
        list_distinct(list(tests.agent_id)) as agents,
        min(tests.next_wave) as first_wave,
        arg_max(
            {
                'agent_id': tests.agent_id,
                'next_wave': tests.next_wave,
                'effect': tests.effect,
                'statistic': tests.statistic,
                'threshold': tests.threshold
            },
            tests.statistic
        ) as strongest,
    from performance_degradation_tests as tests
    cross join failures
    where tests.is_anomaly and (tests.is_fixed_anomaly or not failures.has_failed)
    having count(*) > 0
),

performance_degradations as (
    select
        3 as type_rank,
        'performance_degradation' as anomaly_type,
        severity_of(
            tests.strongest.effect, rules.performance_degradation_medium, rules.performance_degradation_high
        ) as severity,
        printf(
            '%s succeeded %.1f points less often against its peers from wave %d on, beyond chance.',
            tests.strongest.agent_id, tests.strongest.effect * 100, tests.strongest.next_wave
        ) as description,
        list_filter(shown_waves.ran, lambda wave: wave >= tests.first_wave) as affected_waves,
        list_filter(shown_agents.ran, lambda agent: list_contains(tests.agents, agent)) as affected_agents,
        'Look into what changed for these agents, and route work around them meanwhile.' as recommendation,
        tests.strongest.effect,
        tests.strongest.statistic,
        tests.strongest.threshold,
    from degradation_tests as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
),

optimization_failures as (
    select
        4 as type_rank,
        'optimization_failure' as anomaly_type,
        severity_of(tests.effect, rules.optimization_failure_medium, rules.optimization_failure_high) as severity,
        printf(
            'Of the advantage over round robin that the plans promised, %.0f %% did not come, beyond chance.',
            tests.effect * 100
        ) as description,
        shown_waves.failed as affected_waves,
        shown_agents.failed as affected_agents,
        'Do not route on these forecasts; spread tasks evenly until they hold again.' as recommendation,
        tests.effect,
        tests.statistic,
        tests.threshold,
    from optimization_failure_tests as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
    where tests.is_anomaly
),

anomalies as (
    select *, from prediction_errors
    union all
    select *, from schedule_drifts
    union all
    select *, from performance_degradations
    union all
    select *, from optimization_failures
)

select
    row_id('AN', row_number() over (order by anomalies.type_rank)) as anomaly_id,
    anomalies.anomaly_type,
    anomalies.severity,
    anomalies.description,
    anomalies.affected_waves,
    anomalies.affected_agents,
    anomalies.recommendation,
    iso_timestamp(run.timestamp) as timestamp,
    anomalies.effect,
    anomalies.statistic,
    anomalies.threshold,
from anomalies
cross join run
order by anomaly_id

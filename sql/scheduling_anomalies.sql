-- Question: which departures from the plan are more than normal variation, and what should be done?
-- Grain: one row per anomaly type that was found, in the order of the contract.
-- Inputs: anomaly_tests, prediction_error_tests, schedule_drift_tests, performance_degradation_tests,
--     optimization_failure_tests, agent_waves, wave_totals, run, rules.
-- Columns: affected_waves, affected_agents = those that show the departure. effect [the test's unit], with its 90 %
--     interval. statistic and threshold [standard scores] of the strongest test. description, recommendation and
--     evidence (counts and rates) = sentences.
with

shown_waves as (
    select
        coalesce(list(totals.wave order by totals.wave) filter (
            where -totals.residual_sum > rules.prediction_error_margin * totals.ran_count
        ), []) as over_promised,
        coalesce(list(totals.wave order by totals.wave) filter (where totals.advantage_residual_sum < 0), []) as failed,
        coalesce(list(totals.wave order by totals.wave) filter (where totals.ran_count > 0), []) as ran,
    from wave_totals as totals
    cross join rules
),

-- Each agent has two tests, as the run: against the forecasts of the waves, and against those made before the run.
agent_sums as (
    select
        agent_waves.agent_id,
        agent_waves.agent_position,
        any_value(tests.baseline) as baseline,
        sum(agent_waves.ran_count) as ran_count,
        sum(if(tests.baseline = 'start', agent_waves.first_planned_success_sum, agent_waves.planned_success_sum))
            as planned_success_sum,
        sum(agent_waves.completed_count) filter (where agent_waves.ran_count > 0) as completed_count,
        sum(agent_waves.advantage_residual_sum) as advantage_residual_sum,
        -sum(agent_waves.residual_sum) as shortfall,
        sum(agent_waves.outcome_variance_sum + agent_waves.success_variance) as variance,
        sum(agent_waves.shortfall_skew_sum) as third_moment,
        sum(agent_waves.first_planned_success_sum - agent_waves.completed_count) as first_shortfall,
        sum(agent_waves.first_success_noise) + pow(sum(agent_waves.first_success_agent_sd), 2)
        + pow(sum(agent_waves.first_success_shared_sd), 2) as first_variance,
        sum(agent_waves.first_success_skew) as first_third_moment,
    from agent_waves
    cross join prediction_error_tests as tests
    where agent_waves.ran_count > 0
    group by agent_waves.agent_id, agent_waves.agent_position
),

agent_scores as (
    select
        sums.*,
        sums.planned_success_sum - sums.completed_count as shown_shortfall,
        coalesce(greatest(
            ratio(sums.shortfall - allowances.tasks, sqrt(sums.variance))
            - skewed_score(allowances.z, ratio(sums.third_moment, pow(sums.variance, 1.5e0))),
            ratio(sums.first_shortfall - allowances.tasks, sqrt(sums.first_variance))
            - skewed_score(allowances.z, ratio(sums.first_third_moment, pow(sums.first_variance, 1.5e0)))
        ) > 0, false) as is_short,
    from agent_sums as sums
    inner join (
        select
            agent_sums.agent_id,
            5e-1 + rules.prediction_error_margin * agent_sums.ran_count as tasks,
            upper_quantile(rules.alarm_probability / 2 / count(*) over ()) as z,
        from agent_sums
        cross join rules
    ) as allowances on sums.agent_id = allowances.agent_id
),

shown_agents as (
    select
        coalesce(list(agent_id order by agent_position) filter (where is_short), []) as short,
        coalesce(list(agent_id order by agent_position) filter (where advantage_residual_sum < 0), []) as failed,
        list(agent_id order by agent_position) as ran,
        coalesce(list(printf(
            '%s completed %d of its %s, %.1f were expected',
            agent_id, cast(completed_count as bigint), counted(cast(ran_count as bigint), 'task'), planned_success_sum
        ) order by shown_shortfall desc, agent_position asc), []) as gaps,
    from agent_scores
    having count(*) > 0
),

prediction_errors as (
    select
        'prediction_error' as anomaly_type,
        severity_of(tests.effect, rules.prediction_error_medium, rules.prediction_error_high) as severity,
        printf(
            'Success was planned too high: %.1f %% planned%s, %.1f %% actual over %s. This is more than normal '
            || 'variation. %s',
            tests.planned_rate * 100, if(tests.baseline = 'start', ' before the run', ''),
            (tests.planned_rate - tests.effect) * 100, counted(tests.ran_count, 'task'),
            if(
                len(shown_agents.short) = 0, 'No agent stands out.',
                printf('Short by themselves: %s.', array_to_string(shown_agents.short, ', '))
            )
        ) as description,
        shown_waves.over_promised as affected_waves,
        if(len(shown_agents.short) = 0, shown_agents.ran, shown_agents.short) as affected_agents,
        printf('Expect %.1f points less success of these agents until new records are in.', tests.effect * 100)
            as recommendation,
        [
            printf(
                '%.1f of %s were expected to succeed, %.0f did',
                tests.planned_rate * tests.ran_count, counted(tests.ran_count, 'task'),
                (tests.planned_rate - tests.effect) * tests.ran_count
            ),
            printf(
                'planned too high in %d of %s', len(shown_waves.over_promised), counted(len(shown_waves.ran), 'wave')
            ),
            'largest gap: ' || shown_agents.gaps[1]
        ] as evidence,
    from prediction_error_tests as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
),

-- Of an agent's two tests, and of the two pooled ones, the stronger is told. If all agents are late, an agent gets a
-- factor of its own only if its interval lies above the pooled one.
strengths as (
    select
        *,
        row_number() over (partition by agent_id order by statistic - threshold desc, baseline asc) as strength_rank,
    from schedule_drift_tests
    where is_anomaly
),

late as (
    select
        tests.*,
        bool_or(tests.agent_id is null) over () as is_pooled,
        max(tests.effect_high) filter (where tests.agent_id is null) over () as pooled_high,
    from strengths as tests
    where tests.strength_rank = 1
),

drift_tests as (
    select
        bool_or(is_pooled) as is_pooled,
        arg_max(late, statistic - threshold + if(agent_id is null, 1e6, 0e0)) as told,
        coalesce(list(agent_id order by agent_position) filter (where agent_id is not null), []) as agents,
        string_agg(printf('%s by %.2f', agent_id, effect), ', ' order by agent_position) filter (
            where agent_id is not null and (not is_pooled or effect_low > pooled_high)
        ) as own_factors,
        list(printf(
            '%s: %.2f times as long as forecast%s over %s, %s in place of %s (90 %% interval %.2f to %.2f)',
            coalesce(agent_id, 'all agents'), effect, if(baseline = 'start', ' before the run', ''),
            counted(duration_count, 'timed attempt'), duration_text(typical_ms), duration_text(forecast_ms),
            effect_low, effect_high
        ) order by statistic - threshold desc) as evidence,
    from late
    having count(*) > 0
),

-- A test of the second half. If the same agents were over half as late before it, the whole run counts as late.
earlier as (
    select ratio(sum(agent_waves.log_duration_residual_sum), sum(agent_waves.duration_count)) as log_effect,
    from agent_waves
    cross join drift_tests as tests
    where
        agent_waves.ran_count > 0
        and agent_waves.wave < tests.told.first_wave
        and (tests.is_pooled or list_contains(tests.agents, agent_waves.agent_id))
),

drift_starts as (
    select
        tests.*,
        tests.told.baseline = 'start' or coalesce(earlier.log_effect > ln(tests.told.effect) / 2, false) as is_old,
    from drift_tests as tests
    cross join earlier
),

schedule_drifts as (
    select
        'schedule_drift' as anomaly_type,
        severity_of(tests.told.effect, rules.schedule_drift_medium, rules.schedule_drift_high) as severity,
        printf(
            'Attempts of %s took %.2f times as long as forecast %s: typically %s in place of %s. This is more than '
            || 'normal variation.',
            if(tests.is_pooled, 'all agents', array_to_string(tests.agents, ', ')), tests.told.effect,
            case
                when tests.told.baseline = 'start' then 'before the run'
                when tests.is_old then 'throughout the run'
                else printf('from wave %d on', tests.told.first_wave)
            end,
            duration_text(tests.told.typical_ms), duration_text(tests.told.forecast_ms)
        ) as description,
        list_filter(shown_waves.ran, lambda wave: tests.is_old or wave >= tests.told.first_wave) as affected_waves,
        if(tests.is_pooled, shown_agents.ran, tests.agents) as affected_agents,
        if(
            tests.told.baseline = 'start',
            'Multiply durations forecast from the records before this run: ', 'Multiply planned durations: '
        )
        || if(
            tests.is_pooled,
            coalesce(tests.own_factors || ', all others', 'all agents') || printf(' by %.2f', tests.told.effect),
            tests.own_factors
        )
        || '.' as recommendation,
        tests.evidence[1:3] as evidence,
    from drift_starts as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
),

degradation_tests as (
    select
        tests.agent_id,
        tests.agent_position,
        arg_max(
            {
                'first_wave': tests.first_wave,
                'baseline': tests.baseline,
                'task_count': tests.task_count,
                'completed_count': tests.completed_count,
                'planned_rate': tests.planned_rate,
                'effect': tests.effect,
                'effect_low': tests.effect_low,
                'effect_high': tests.effect_high
            },
            tests.statistic - tests.threshold
        ) as strongest,
        max(tests.statistic - tests.threshold) as excess,
    from performance_degradation_tests as tests
    cross join optimization_failure_tests as failures
    where tests.is_anomaly and (tests.baseline = 'run' or not failures.is_anomaly)
    group by tests.agent_id, tests.agent_position
),

degraded as (
    select
        list(degradation_tests.agent_id order by degradation_tests.agent_position) as agents,
        arg_max(degradation_tests.agent_id, degradation_tests.excess) as agent_id,
        arg_max(degradation_tests.strongest, degradation_tests.excess) as strongest,
        min(degradation_tests.strongest.first_wave) as first_wave,
        list(printf(
            '%s: success rate down %.1f points against %s over %s from wave %d on, %d completed, %.1f expected '
            || '(90 %% interval %.1f to %.1f)',
            degradation_tests.agent_id, degradation_tests.strongest.effect * 100,
            baseline_text(degradation_tests.strongest.baseline),
            counted(degradation_tests.strongest.task_count, 'task'), degradation_tests.strongest.first_wave,
            degradation_tests.strongest.completed_count,
            degradation_tests.strongest.planned_rate * degradation_tests.strongest.task_count,
            degradation_tests.strongest.effect_low * 100, degradation_tests.strongest.effect_high * 100
        ) order by degradation_tests.excess desc) as evidence,
    from degradation_tests
    having count(*) > 0
),

performance_degradations as (
    select
        'performance_degradation' as anomaly_type,
        severity_of(
            tests.strongest.effect, rules.performance_degradation_medium, rules.performance_degradation_high
        ) as severity,
        printf(
            '%s completed %d of %s from wave %d on, %.1f were expected: compared with its peers, its success rate is '
            || '%.1f points below %s. This is more than normal variation.%s',
            tests.agent_id, tests.strongest.completed_count, counted(tests.strongest.task_count, 'task'),
            tests.strongest.first_wave, tests.strongest.planned_rate * tests.strongest.task_count,
            tests.strongest.effect * 100, baseline_text(tests.strongest.baseline),
            if(
                len(tests.agents) = 1, '',
                printf(
                    ' Also: %s.',
                    array_to_string(list_filter(tests.agents, lambda agent: agent != tests.agent_id), ', ')
                )
            )
        ) as description,
        list_filter(shown_waves.ran, lambda wave: wave >= tests.first_wave) as affected_waves,
        tests.agents as affected_agents,
        'Find out what changed for these agents, and give their tasks to others meanwhile.' as recommendation,
        tests.evidence[1:3] as evidence,
    from degraded as tests
    cross join shown_waves
    cross join rules
),

optimization_failures as (
    select
        'optimization_failure' as anomaly_type,
        severity_of(tests.effect, rules.optimization_failure_medium, rules.optimization_failure_high) as severity,
        printf(
            'The plans promised more success than round robin, but %.0f %% of that advantage was not reached. This is '
            || 'more than normal variation.',
            tests.effect * 100
        ) as description,
        shown_waves.failed as affected_waves,
        shown_agents.failed as affected_agents,
        'Do not assign by these forecasts. Spread tasks evenly until new records are in.' as recommendation,
        [
            printf(
                'slope of the outcomes on the promised advantage: %.2f, where 1 is all of it (90 %% interval %.2f to '
                || '%.2f)',
                tests.slope, 1e0 - tests.effect_high, 1e0 - tests.effect_low
            ),
            printf(
                'the advantage fell short in %d of %s', len(shown_waves.failed), counted(len(shown_waves.ran), 'wave')
            ),
            printf('the promised advantage is %.1f times its noise', tests.information)
        ] as evidence,
    from optimization_failure_tests as tests
    cross join shown_waves
    cross join shown_agents
    cross join rules
),

departures as (
    select *, from prediction_errors
    union all
    select *, from schedule_drifts
    union all
    select *, from performance_degradations
    union all
    select *, from optimization_failures
),

found_tests as (
    select
        *,
        row_number() over () as type_rank,
    from anomaly_tests
),

anomalies as (
    select
        found.type_rank,
        departures.*,
        found.effect,
        found.statistic,
        found.threshold,
        found.effect_low,
        found.effect_high,
    from departures
    inner join found_tests as found on departures.anomaly_type = found.anomaly_type
    where found.status = 'found'
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
    anomalies.effect_low,
    anomalies.effect_high,
    anomalies.evidence,
from anomalies
cross join run
order by anomaly_id

-- Question: what did the test for each anomaly type find, and how small a problem could it detect?
-- Grain: one row per anomaly type, always all four, in the order of the contract.
-- Inputs: prediction_error_tests, schedule_drift_tests, performance_degradation_tests, optimization_failure_tests,
--     rules.
-- Columns: status = found; explained (more than normal variation, but caused by another anomaly); not_testable (a
--     problem as large as the rules' limit could be missed); clear. effect, with its 90 % interval, and
--     detectable_effect = smallest problem that this run detects with the rules' power [unit]. largest_effect = largest
--     possible problem [unit]. statistic and threshold [standard scores]. missing_task_count = estimated number of
--     further tasks like those that ran with which a test that is not_testable would be [tasks]. reason = a sentence.
--     Figures are null without data.
-- Drift and degradation have many tests each, and one is shown. Drift shows the stronger pooled test, or the strongest
-- agent's test if only agents' tests fired. Degradation shows the strongest test. The better pooled test decides
-- whether drift is testable. For degradation, it is the median agent's test against the waves' own forecasts, from the
-- middle of the run on.
-- If success fell short on the whole, tasks that had less to lose seem to keep their advantage, even if every task
-- failed: optimization failure is then not clear.
-- The part of the detectable effect beyond the rules' margin shrinks with the square root of the number of tasks. The
-- effect of drift is a ratio, so its log does.
with

drifts as (
    select
        arg_max(
            tests,
            tests.statistic - tests.threshold
            + if(tests.is_anomaly, 1e9, 0e0) + if(tests.agent_id is null, 1e6, 0e0)
        ) as shown,
        min(tests.detectable_effect) filter (where tests.agent_id is null) as pooled_detectable_effect,
        median(tests.detectable_effect) filter (where tests.agent_id is not null and tests.baseline = 'record')
            as agent_detectable_effect,
        bool_or(tests.is_anomaly) as is_anomaly,
        cast(coalesce(
            sum(tests.duration_count) filter (where tests.agent_id is null and tests.baseline = 'record'), 0
        ) as bigint) as attempt_count,
    from schedule_drift_tests as tests
),

-- If the promised advantage failed, agents fall short of their forecasts for that reason; only a fall within the run
-- is their own.
degradation_rows as (
    select
        tests.*,
        tests.is_anomaly and (tests.baseline = 'run' or not failures.is_anomaly) as is_own,
        max(tests.first_rank) over () // 2 + 1 = tests.first_rank and tests.baseline = 'record' as is_middle,
    from performance_degradation_tests as tests
    cross join optimization_failure_tests as failures
),

degradations as (
    select
        arg_max(tests, tests.statistic - tests.threshold + if(tests.is_own, 1e9, 0e0)) as shown,
        median(tests.detectable_effect) filter (where tests.is_middle) as median_detectable_effect,
        min(tests.detectable_effect) filter (where tests.is_middle) as best_detectable_effect,
        bool_or(tests.is_anomaly) as is_beyond_chance,
        bool_or(tests.is_own) as is_anomaly,
        count(distinct tests.agent_id) as agent_count,
    from degradation_rows as tests
),

tests as (
    select
        1 as type_rank,
        'prediction_error' as anomaly_type,
        tests.effect,
        tests.effect_low,
        tests.effect_high,
        'planned - actual success' as unit,
        tests.statistic,
        tests.threshold,
        tests.detectable_effect,
        tests.detectable_effect as judged_effect,
        coalesce(tests.planned_rate, 0e0) as largest_effect,
        tests.is_beyond_chance,
        tests.is_anomaly,
        rules.prediction_error_limit as detectable_limit,
        rules.prediction_error_margin as margin,
        printf('success planned %.1f points too high', tests.detectable_effect * 100) as fault,
        if(failures.is_anomaly, 'the failed optimization', 'the agents that degraded') as cause,
        counted(tests.ran_count, 'task') || ' ran' as basis,
    from prediction_error_tests as tests
    cross join optimization_failure_tests as failures
    cross join rules
    union all
    select
        2 as type_rank,
        'schedule_drift' as anomaly_type,
        tests.shown.effect,
        tests.shown.effect_low,
        tests.shown.effect_high,
        'actual / forecast time' as unit,
        tests.shown.statistic,
        tests.shown.threshold,
        tests.shown.detectable_effect,
        tests.pooled_detectable_effect as judged_effect,
        cast(null as double) as largest_effect,
        coalesce(tests.is_anomaly, false) as is_beyond_chance,
        coalesce(tests.is_anomaly, false) as is_anomaly,
        rules.schedule_drift_limit as detectable_limit,
        rules.schedule_drift_margin as margin,
        printf('all durations %.2f times as long throughout the run', tests.pooled_detectable_effect)
        || coalesce(
            printf(
                ', or %.2f times for the median agent from the middle of the run on', tests.agent_detectable_effect
            ), ''
        ) as fault,
        '' as cause,
        counted(tests.attempt_count, 'timed attempt') || ' from the middle of the run on' as basis,
    from drifts as tests
    cross join rules
    union all
    select
        3 as type_rank,
        'performance_degradation' as anomaly_type,
        tests.shown.effect,
        tests.shown.effect_low,
        tests.shown.effect_high,
        'fall against peers' as unit,
        tests.shown.statistic,
        tests.shown.threshold,
        tests.shown.detectable_effect,
        tests.median_detectable_effect as judged_effect,
        1e0 as largest_effect,
        coalesce(tests.is_beyond_chance, false) as is_beyond_chance,
        coalesce(tests.is_anomaly, false) as is_anomaly,
        rules.performance_degradation_limit as detectable_limit,
        rules.performance_degradation_margin as margin,
        printf(
            'success %.1f points lower from the middle of the run on for the median agent, or %.1f points for the '
            || 'agent with the most evidence',
            tests.median_detectable_effect * 100, tests.best_detectable_effect * 100
        ) as fault,
        'the failed optimization' as cause,
        tests.shown.agent_id || ' stands out most of ' || counted(tests.agent_count, 'agent')
        || ' that ran tasks in waves with peers' as basis,
    from degradations as tests
    cross join rules
    union all
    select
        4 as type_rank,
        'optimization_failure' as anomaly_type,
        tests.effect,
        tests.effect_low,
        tests.effect_high,
        'share of advantage lost' as unit,
        tests.statistic,
        tests.threshold,
        tests.detectable_effect,
        if(errors.is_anomaly, null, tests.detectable_effect) as judged_effect,
        1e0 as largest_effect,
        tests.is_beyond_chance,
        tests.is_anomaly,
        rules.optimization_failure_limit as detectable_limit,
        rules.optimization_failure_margin as margin,
        printf('%.0f %% of the promised advantage lost', tests.detectable_effect * 100) as fault,
        if(tests.is_shared_loss, 'a loss that all agents share', 'the agents that degraded') as cause,
        if(
            errors.is_anomaly,
            'success fell short over the whole run, and the advantage cannot be told from that',
            printf('the promised advantage is %.1f times its noise', tests.information)
        ) as basis,
    from optimization_failure_tests as tests
    cross join prediction_error_tests as errors
    cross join rules
),

statuses as (
    select
        *,
        case
            when is_anomaly then 'found'
            when is_beyond_chance then 'explained'
            when statistic is null or coalesce(judged_effect > least(detectable_limit, largest_effect), true)
                then 'not_testable'
            else 'clear'
        end as status,
        printf('standard score %.2f, threshold %.2f', statistic, threshold) as score,
        if(anomaly_type = 'schedule_drift', ln(judged_effect), judged_effect) - margin as reach,
        if(anomaly_type = 'schedule_drift', ln(detectable_limit), least(detectable_limit, largest_effect)) - margin
            as limit_reach,
        if(
            coalesce(judged_effect > largest_effect, judged_effect is null),
            'No problem of a possible size would be detected reliably',
            printf('A problem of this size is detected %.0f %% of the time: %s', rules.detection_power * 100, fault)
        ) as seen,
    from tests
    cross join rules
),

ran_tasks as (
    select ran_count,
    from prediction_error_tests
)

select
    anomaly_type,
    status,
    effect,
    effect_low,
    effect_high,
    unit,
    statistic,
    threshold,
    detectable_effect,
    largest_effect,
    case
        when status = 'not_testable' and limit_reach > 0 and reach > limit_reach
            then cast(ceil(least(1e15, ran_tasks.ran_count * (pow(reach / limit_reach, 2) - 1e0))) as bigint)
    end as missing_task_count,
    case
        when statistic is null then 'No data: nothing that this test needs ran, or the plan has no draws.'
        when status = 'found' then 'More than normal variation: ' || score || '.'
        when status = 'explained' then 'More than normal variation, but explained by ' || cause || ': ' || score || '.'
        when status = 'not_testable' then 'Needs more data: ' || basis || '. ' || seen || '.'
        else 'Passed: ' || basis || '; ' || score || '. ' || seen || '.'
    end as reason,
from statuses
cross join ran_tasks
order by type_rank

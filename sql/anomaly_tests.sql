-- Question: what did the test of each anomaly type find, and how small a fault could it have found?
-- Grain: one row an anomaly type, always all four, in the order of the contract.
-- Inputs: prediction_error_tests, schedule_drift_tests, performance_degradation_tests, optimization_failure_tests,
--     rules.
-- Columns: status (found; explained: beyond chance, but another anomaly's cause covers it; not_testable: a fault as
--     large as the rules' limit, or as all the success there was to lose, would have gone unseen; clear); effect with
--     its 90 % interval, and detectable_effect = the smallest fault that this run would have found with the rules'
--     power [unit]; statistic and threshold [standard scores]; reason. Figures are null where there is no data.
-- Where a type has many tests, the figures are those of the strongest; detectable_effect is that of all agents' drift
-- together, and for degradation that of the median agent, from the middle of the run on against its record.
with

drifts as (
    select
        arg_max(
            {
                'effect': effect,
                'effect_low': effect_low,
                'effect_high': effect_high,
                'statistic': statistic,
                'threshold': threshold
            },
            statistic - threshold + if(is_anomaly, 1e6, 0e0)
        ) as strongest,
        max(detectable_effect) filter (where agent_id is null) as detectable_effect,
        median(detectable_effect) filter (where agent_id is not null) as agent_detectable_effect,
        bool_or(is_anomaly) as is_anomaly,
        cast(coalesce(sum(duration_count) filter (where agent_id is null), 0) as bigint) as attempt_count,
    from schedule_drift_tests
),

-- Where the promised advantage failed, agents fall short of their forecasts for that reason: only a fall within the
-- run is their own.
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
        arg_max(
            {
                'effect': effect,
                'effect_low': effect_low,
                'effect_high': effect_high,
                'statistic': statistic,
                'threshold': threshold
            },
            statistic - threshold + if(is_own, 1e6, 0e0)
        ) as strongest,
        median(detectable_effect) filter (where is_middle) as detectable_effect,
        min(detectable_effect) filter (where is_middle) as best_detectable_effect,
        bool_or(is_anomaly) as is_beyond_chance,
        bool_or(is_own) as is_anomaly,
        count(distinct agent_id) as agent_count,
    from degradation_rows
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
        tests.is_beyond_chance,
        tests.is_anomaly,
        least(rules.prediction_error_limit, coalesce(tests.planned_rate, 0e0)) as detectable_limit,
        printf('plans that promise %.2f too much', tests.detectable_effect) as fault,
        if(failures.is_anomaly, 'the promised advantage that failed', 'the agents that degraded') as cause,
        printf('%d tasks ran', tests.ran_count) as basis,
    from prediction_error_tests as tests
    cross join optimization_failure_tests as failures
    cross join rules
    union all
    select
        2 as type_rank,
        'schedule_drift' as anomaly_type,
        tests.strongest.effect,
        tests.strongest.effect_low,
        tests.strongest.effect_high,
        'actual / forecast time' as unit,
        tests.strongest.statistic,
        tests.strongest.threshold,
        tests.detectable_effect,
        coalesce(tests.is_anomaly, false) as is_beyond_chance,
        coalesce(tests.is_anomaly, false) as is_anomaly,
        rules.schedule_drift_limit as detectable_limit,
        printf(
            'all durations x %.2f, or the median agent''s x %.2f, from the middle on',
            tests.detectable_effect, tests.agent_detectable_effect
        ) as fault,
        '' as cause,
        printf('%d timed attempts from the middle on', tests.attempt_count) as basis,
    from drifts as tests
    cross join rules
    union all
    select
        3 as type_rank,
        'performance_degradation' as anomaly_type,
        tests.strongest.effect,
        tests.strongest.effect_low,
        tests.strongest.effect_high,
        'fall of success rate' as unit,
        tests.strongest.statistic,
        tests.strongest.threshold,
        tests.detectable_effect,
        coalesce(tests.is_beyond_chance, false) as is_beyond_chance,
        coalesce(tests.is_anomaly, false) as is_anomaly,
        rules.performance_degradation_limit as detectable_limit,
        printf(
            'success %.2f lower of the median agent from the middle on, %.2f of the best known',
            tests.detectable_effect, tests.best_detectable_effect
        ) as fault,
        'the promised advantage that failed' as cause,
        printf('%d agents with peers ran tasks', tests.agent_count) as basis,
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
        tests.is_beyond_chance,
        tests.is_anomaly,
        rules.optimization_failure_limit as detectable_limit,
        printf('%.0f %% of the promised advantage lost', tests.detectable_effect * 100) as fault,
        'the agents that degraded' as cause,
        printf('all of the advantage is %.1f standard scores', tests.information) as basis,
    from optimization_failure_tests as tests
    cross join rules
),

statuses as (
    select
        *,
        case
            when is_anomaly then 'found'
            when is_beyond_chance then 'explained'
            when statistic is null or coalesce(detectable_effect > detectable_limit, true) then 'not_testable'
            else 'clear'
        end as status,
        printf('standard score %.2f, threshold %.2f', statistic, threshold) as score,
        printf('90 %% sure to be found: %s', fault) as seen,
    from tests
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
    case
        when statistic is null then 'No data: nothing ran that tells, or the plan has no draws.'
        when status = 'found' then 'Beyond chance, and by more than does not matter: ' || score || '.'
        when status = 'explained' then 'Beyond chance, but explained by ' || cause || ': ' || score || '.'
        when status = 'not_testable' then 'Too little to tell: ' || basis || '; ' || seen || '.'
        else 'Nothing beyond chance: ' || basis || '; ' || seen || '.'
    end as reason,
from statuses
order by type_rank

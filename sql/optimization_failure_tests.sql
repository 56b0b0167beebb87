-- Question: did the advantage over round robin that the run's plans promised come?
-- Grain: one row, the run.
-- Inputs: wave_totals, run_draws, rules.
-- Columns: slope = outcomes' slope on the promised advantage, 1 where it came in full, 0 where none of it did;
--     effect = 1 - slope, the part lost; statistic = its standard score; threshold [standard scores];
--     information = promised advantage over its noise, too little to tell below a rule; is_testable; is_anomaly.
--     Null where nothing ran or no draws are known.
with

totals as (
    select
        sum(advantage_square_sum) as advantage_square_sum,
        sum(advantage_residual_sum) as advantage_residual_sum,
        sum(advantage_variance_sum) as advantage_variance_sum,
    from wave_totals
    where ran_count > 0
),

draws as (
    select var_samp(expected_advantage_sum) as forecast_variance, from run_draws
),

tests as (
    select
        1e0 + ratio(totals.advantage_residual_sum, totals.advantage_square_sum) as slope,
        sqrt(totals.advantage_variance_sum + draws.forecast_variance) as standard_deviation,
        totals.advantage_square_sum,
        totals.advantage_residual_sum,
    from totals
    cross join draws
),

scores as (
    select
        tests.slope,
        ratio(-tests.advantage_residual_sum, tests.standard_deviation) as statistic,
        ratio(tests.advantage_square_sum, tests.standard_deviation) as information,
        upper_quantile(rules.alarm_probability) as threshold,
        rules.optimization_failure_information as information_min,
    from tests
    cross join rules
)

select
    slope,
    1e0 - slope as effect,
    statistic,
    threshold,
    information,
    coalesce(information >= information_min, false) as is_testable,
    coalesce(information >= information_min and statistic > threshold, false) as is_anomaly,
from scores
order by threshold

-- Question: did the advantage over round robin that the run's plans promised come?
-- Grain: one row, the run.
-- Inputs: agent_waves, wave_totals, performance_degradation_tests, rules.
-- Columns: slope = outcomes' slope on the promised advantage, 1 where it came in full, 0 where none of it did;
--     effect = 1 - slope, the part lost, with a 90 % interval; statistic = its standard score past the margin;
--     peer_statistic = the same without the agents whose degradation stands beyond chance; threshold [standard
--     scores]; information = promised advantage over its noise [standard scores]; detectable_effect = part lost that is
--     found with the rules' power; is_testable where that is no more than the rules ask; is_beyond_chance; is_anomaly =
--     beyond chance without those agents too, else their degradation is the cause.
--     Null where nothing ran or no draws are known.
with

degraded_agents as (
    select distinct agent_id,
    from performance_degradation_tests
    where is_anomaly
),

waves as (
    select
        agent_waves.wave,
        any_value(totals.advantage_forecast_variance) as forecast_variance,
        sum(agent_waves.advantage_square_sum) as square,
        -sum(agent_waves.advantage_residual_sum) as lost,
        sum(agent_waves.advantage_variance_sum) as noise,
        sum(agent_waves.advantage_skew_sum) as third_moment,
        coalesce(sum(agent_waves.advantage_square_sum) filter (where degraded.agent_id is null), 0e0) as peer_square,
        -sum(agent_waves.advantage_residual_sum) filter (where degraded.agent_id is null) as peer_lost,
        sum(agent_waves.advantage_variance_sum) filter (where degraded.agent_id is null) as peer_noise,
        greatest(
            0e0,
            any_value(totals.advantage_forecast_variance)
            - coalesce(sum(agent_waves.advantage_variance) filter (where degraded.agent_id is not null), 0e0)
        ) as peer_forecast_variance,
    from agent_waves
    inner join wave_totals as totals on agent_waves.wave = totals.wave
    left join degraded_agents as degraded on agent_waves.agent_id = degraded.agent_id
    where agent_waves.ran_count > 0
    group by agent_waves.wave
),

totals as (
    select
        sum(square) as square,
        sum(lost) as lost,
        sqrt(sum(noise + forecast_variance)) as standard_deviation,
        sum(third_moment) as third_moment,
        sum(peer_square) as peer_square,
        sum(peer_lost) as peer_lost,
        sqrt(sum(peer_noise + peer_forecast_variance)) as peer_standard_deviation,
    from waves
),

tests as (
    select
        1e0 - ratio(totals.lost, totals.square) as slope,
        ratio(totals.lost, totals.square) as effect,
        ratio(totals.standard_deviation, totals.square) as effect_sd,
        ratio(totals.lost - rules.optimization_failure_margin * totals.square, totals.standard_deviation) as statistic,
        ratio(
            totals.peer_lost - rules.optimization_failure_margin * totals.peer_square, totals.peer_standard_deviation
        ) as peer_statistic,
        skewed_score(
            upper_quantile(rules.alarm_probability), ratio(totals.third_moment, pow(totals.standard_deviation, 3))
        ) as threshold,
        ratio(totals.square, totals.standard_deviation) as information,
        upper_quantile(1e0 - rules.detection_power) as power_score,
        rules.optimization_failure_margin as margin,
        rules.optimization_failure_limit as detectable_limit,
    from totals
    cross join rules
),

scores as (
    select
        *,
        margin + (threshold + power_score) * effect_sd as detectable_effect,
    from tests
)

select
    slope,
    effect,
    effect - upper_quantile(0.05e0) * effect_sd as effect_low,
    effect + upper_quantile(0.05e0) * effect_sd as effect_high,
    statistic,
    peer_statistic,
    threshold,
    information,
    detectable_effect,
    coalesce(detectable_effect <= detectable_limit, false) as is_testable,
    coalesce(detectable_effect <= detectable_limit and statistic > threshold, false) as is_beyond_chance,
    coalesce(
        detectable_effect <= detectable_limit and statistic > threshold and peer_statistic > threshold, false
    ) as is_anomaly,
from scores
order by threshold

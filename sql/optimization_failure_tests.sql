-- Question: did the run's plans reach the advantage over round robin that they promised?
-- Grain: one row, the run.
-- Inputs: agent_waves, wave_totals, performance_degradation_tests, rules.
-- Columns: slope = slope of outcomes on the promised advantage (1: all of it was realised, 0: none). effect = 1 -
--     slope = lost part, with its 90 % interval. statistic = effect beyond the margin, and threshold above which it is
--     significant [standard scores]. peer_statistic = the same without the agents that degraded. information = promised
--     advantage over its noise [standard scores]. detectable_effect = smallest lost part that this run detects with the
--     rules' power. is_testable = detectable_effect is within the rules' limit. is_beyond_chance = testable and above
--     the threshold. effect_without_shared_loss = part lost apart from a loss of success that all attempts share.
--     is_shared_loss = that part is below a half. is_anomaly = beyond chance, also without degraded agents, and no
--     shared loss. Figures are null if nothing ran or the plan has no draws.
-- If every attempt loses some success, hard tasks with few attempts lose most. The plan promised most on these tasks,
-- so such a loss looks like a failed advantage. A regression on both effects tells them apart.
with

degraded_agents as (
    select distinct agent_id,
    from performance_degradation_tests
    where is_anomaly
),

ran_places as (
    select
        agent_waves.*,
        degraded.agent_id is null as is_peer,
    from agent_waves
    left join degraded_agents as degraded on agent_waves.agent_id = degraded.agent_id
    where agent_waves.ran_count > 0
),

-- The advantage is centred over all tasks of the wave; the test without degraded agents centres it over their peers.
centres as (
    select
        wave,
        sum(advantage_sum) / sum(ran_count) as centre,
    from ran_places
    where is_peer
    group by wave
),

waves as (
    select
        places.wave,
        any_value(totals.advantage_forecast_variance) as forecast_variance,
        sum(places.advantage_square_sum) as square,
        -sum(places.advantage_residual_sum) as lost,
        sum(places.advantage_variance_sum) as noise,
        sum(places.advantage_skew_sum) as third_moment,
        coalesce(
            sum(places.advantage_square_sum - centres.centre * places.advantage_sum) filter (where places.is_peer), 0e0
        ) as peer_square,
        -sum(places.advantage_residual_sum - centres.centre * places.residual_sum)
        filter (where places.is_peer) as peer_lost,
        greatest(
            0e0,
            sum(
                places.advantage_variance_sum - 2e0 * centres.centre * places.advantage_noise_sum
                + centres.centre * centres.centre * places.outcome_variance_sum
            ) filter (where places.is_peer)
        ) as peer_noise,
        greatest(
            0e0,
            any_value(totals.advantage_forecast_variance)
            - coalesce(sum(places.advantage_variance) filter (where not places.is_peer), 0e0)
        ) as peer_forecast_variance,
    from ran_places as places
    inner join wave_totals as totals on places.wave = totals.wave
    left join centres on places.wave = centres.wave
    group by places.wave
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

shared_losses as (
    select
        sum(advantage_square_sum) as square,
        sum(advantage_residual_sum) as residual,
        sum(sensitivity_square_sum) as sensitivity_square,
        sum(sensitivity_residual_sum) as sensitivity_residual,
        sum(advantage_sensitivity_sum) as product,
    from wave_totals
),

-- Least squares of the residuals on advantage and sensitivity; null if the two are nearly collinear.
regressions as (
    select
        if(
            product * product < 0.99e0 * square * sensitivity_square,
            ratio(
                sensitivity_residual * product - residual * sensitivity_square,
                square * sensitivity_square - product * product
            ),
            null
        ) as effect_without_shared_loss,
    from shared_losses
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
        regressions.effect_without_shared_loss,
        upper_quantile(1e0 - rules.detection_power) as power_score,
        rules.optimization_failure_margin as margin,
        rules.optimization_failure_limit as detectable_limit,
    from totals
    cross join regressions
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
    effect_without_shared_loss,
    coalesce(effect_without_shared_loss < 5e-1, false) as is_shared_loss,
    coalesce(
        detectable_effect <= detectable_limit
        and statistic > threshold
        and peer_statistic > threshold
        and not coalesce(effect_without_shared_loss < 5e-1, false),
        false
    ) as is_anomaly,
from scores
order by threshold

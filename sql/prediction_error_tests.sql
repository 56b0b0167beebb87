-- Question: did the run's plans promise more success than the tasks reached?
-- Grain: one row, the run.
-- Inputs: agent_waves, wave_totals, performance_degradation_tests, optimization_failure_tests, rules.
-- Columns: baseline = the stronger of two tests. `record` compares with the forecasts of the waves, which have learned
--     from the waves before; `start` with the forecasts made before the first wave. Of that test: planned_rate
--     [fraction]. effect = planned minus actual success rate [fraction], with its 90 % interval. statistic = effect
--     beyond the rules' margin, and threshold above which it is significant [standard scores]; each test gets half of
--     the alarm probability. peer_statistic = statistic without the agents that degraded.
--     detectable_effect = smallest effect that one of the tests detects with the rules' power. Of the test `record`:
--     baseline_statistic = statistic of the forecasts for round robin in place of the plan's.
--     is_beyond_chance = a statistic is above its threshold. is_anomaly = beyond chance, also without degraded agents,
--     and, if the promised advantage failed, also by the forecasts for round robin. Figures are null if nothing ran or
--     the plan has no draws.
-- The variance is the noise of the outcomes plus the variance of expected success. For `record`, this is the variance
-- over the draws; each forecast uses the outcomes of the waves before it, so the errors of waves are independent. For
-- `start`, all waves share the errors of one forecast: standard deviations are summed before they are squared.
with

degraded_agents as (
    select distinct tests.agent_id,
    from performance_degradation_tests as tests
    cross join optimization_failure_tests as failures
    where tests.is_anomaly and (tests.baseline = 'run' or not failures.is_anomaly)
),

ran_places as (
    select
        agent_waves.*,
        degraded.agent_id is null as is_peer,
    from agent_waves
    left join degraded_agents as degraded on agent_waves.agent_id = degraded.agent_id
    where agent_waves.ran_count > 0
),

waves as (
    select
        places.wave,
        any_value(totals.success_forecast_variance) as forecast_variance,
        sum(places.ran_count) as ran_count,
        sum(places.planned_success_sum) as planned_success_sum,
        -sum(places.residual_sum) as shortfall,
        sum(places.outcome_variance_sum) as noise,
        sum(places.shortfall_skew_sum) as third_moment,
        -sum(places.baseline_residual_sum) as baseline_shortfall,
        sum(places.baseline_variance_sum) as baseline_noise,
        sum(places.ran_count) filter (where places.is_peer) as peer_count,
        -sum(places.residual_sum) filter (where places.is_peer) as peer_shortfall,
        sum(places.outcome_variance_sum) filter (where places.is_peer) as peer_noise,
        greatest(
            0e0,
            any_value(totals.success_forecast_variance)
            - coalesce(sum(places.success_variance) filter (where not places.is_peer), 0e0)
        ) as peer_forecast_variance,
    from ran_places as places
    inner join wave_totals as totals on places.wave = totals.wave
    group by places.wave
),

round_robin as (
    select
        ratio(
            sum(waves.baseline_shortfall) - any_value(rules.prediction_error_margin) * sum(waves.ran_count) - 5e-1,
            sqrt(sum(waves.baseline_noise + waves.forecast_variance))
        ) as baseline_statistic,
    from waves
    cross join rules
),

agents as (
    select
        is_peer,
        sum(ran_count) as ran_count,
        sum(first_planned_success_sum) as planned_success_sum,
        sum(first_planned_success_sum - completed_count) as shortfall,
        sum(first_success_noise) + pow(sum(first_success_agent_sd), 2) as variance,
        sum(first_success_shared_sd) as shared_sd,
        sum(first_success_skew) as third_moment,
    from ran_places
    group by agent_id, is_peer
),

totals as (
    select
        'record' as baseline,
        cast(sum(ran_count) as bigint) as n,
        sum(planned_success_sum) as planned_success_sum,
        sum(shortfall) as shortfall,
        sum(noise + forecast_variance) as variance,
        sum(third_moment) as third_moment,
        sum(peer_count) as peer_count,
        sum(peer_shortfall) as peer_shortfall,
        sum(peer_noise + peer_forecast_variance) as peer_variance,
    from waves
    union all
    select
        'start' as baseline,
        cast(sum(ran_count) as bigint) as n,
        sum(planned_success_sum) as planned_success_sum,
        sum(shortfall) as shortfall,
        sum(variance) + pow(sum(shared_sd), 2) as variance,
        sum(third_moment) as third_moment,
        sum(ran_count) filter (where is_peer) as peer_count,
        sum(shortfall) filter (where is_peer) as peer_shortfall,
        sum(variance) filter (where is_peer) + pow(sum(shared_sd) filter (where is_peer), 2) as peer_variance,
    from agents
),

tests as (
    select
        totals.*,
        ratio(totals.planned_success_sum, totals.n) as planned_rate,
        ratio(totals.shortfall, totals.n) as effect,
        5e-1 + rules.prediction_error_margin * totals.n as allowance,
        ratio(totals.shortfall - rules.prediction_error_margin * totals.n - 5e-1, sqrt(totals.variance)) as statistic,
        ratio(
            totals.peer_shortfall - rules.prediction_error_margin * totals.peer_count - 5e-1, sqrt(totals.peer_variance)
        ) as peer_statistic,
        skewed_score(
            upper_quantile(rules.alarm_probability / 2), ratio(totals.third_moment, pow(totals.variance, 1.5e0))
        ) as threshold,
        upper_quantile(1e0 - rules.detection_power) as power_score,
    from totals
    cross join rules
),

scores as (
    select
        *,
        ratio(sqrt(fallen_variance(variance, n, planned_rate, effect)), n) as effect_sd,
        detectable_fall(allowance + threshold * sqrt(variance), variance, n, planned_rate, power_score)
            as detectable_effect,
        coalesce(statistic > threshold, false) as is_beyond_chance,
        coalesce(statistic > threshold and peer_statistic > threshold, false) as is_peers_too,
    from tests
),

-- Without figures of one test, the other is shown.
strongest as (
    select
        coalesce(
            arg_max(scores, scores.statistic - scores.threshold + if(scores.is_peers_too, 1e9, 0e0)), any_value(scores)
        ) as shown,
        min(scores.detectable_effect) filter (where scores.statistic is not null) as detectable_effect,
        any_value(scores.threshold) filter (where scores.baseline = 'record') as record_threshold,
        bool_or(scores.is_beyond_chance) as is_beyond_chance,
        bool_or(scores.is_peers_too) as is_peers_too,
    from scores
)

select
    strongest.shown.n as ran_count,
    strongest.shown.baseline,
    strongest.shown.planned_rate,
    strongest.shown.effect,
    clip(strongest.shown.effect - upper_quantile(0.05e0) * strongest.shown.effect_sd, -1e0, 1e0) as effect_low,
    clip(strongest.shown.effect + upper_quantile(0.05e0) * strongest.shown.effect_sd, -1e0, 1e0) as effect_high,
    strongest.shown.statistic,
    strongest.shown.threshold,
    strongest.detectable_effect,
    round_robin.baseline_statistic,
    strongest.shown.peer_statistic,
    strongest.is_beyond_chance,
    coalesce(
        strongest.is_peers_too
        and (round_robin.baseline_statistic > strongest.record_threshold or not failures.is_anomaly),
        false
    ) as is_anomaly,
from strongest
cross join round_robin
cross join optimization_failure_tests as failures
order by ran_count

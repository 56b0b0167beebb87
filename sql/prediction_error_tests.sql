-- Question: did the run's plans promise more success than the tasks reached?
-- Grain: one row, the run.
-- Inputs: agent_waves, wave_totals, performance_degradation_tests, optimization_failure_tests, rules.
-- Columns: effect = planned minus actual success rate [fraction], with its 90 % interval. statistic = effect beyond the
--     rules' margin, and threshold above which it is significant [standard scores]. detectable_effect = smallest effect
--     that is detected with the rules' power. baseline_statistic = statistic of the forecasts for round robin in place
--     of the plan's. peer_statistic = statistic without the agents that degraded. baseline_lead_statistic = outcomes
--     above the forecasts for round robin [standard scores]. is_beyond_chance = statistic is above the threshold.
--     is_anomaly = beyond chance, also without degraded agents, and, if the promised advantage failed, also by the
--     forecasts for round robin. Figures are null if nothing ran or the plan has no draws.
-- The variance is the noise of the outcomes plus the variance of expected success over the draws. Each forecast uses
-- the outcomes of the waves before it, so the errors of waves are independent.
with

degraded_agents as (
    select distinct tests.agent_id,
    from performance_degradation_tests as tests
    cross join optimization_failure_tests as failures
    where tests.is_anomaly and (tests.baseline = 'run' or not failures.is_anomaly)
),

waves as (
    select
        agent_waves.wave,
        any_value(totals.success_forecast_variance) as forecast_variance,
        sum(agent_waves.ran_count) as ran_count,
        sum(agent_waves.planned_success_sum) as planned_success_sum,
        -sum(agent_waves.residual_sum) as shortfall,
        sum(agent_waves.outcome_variance_sum) as noise,
        sum(agent_waves.shortfall_skew_sum) as third_moment,
        -sum(agent_waves.baseline_residual_sum) as baseline_shortfall,
        sum(agent_waves.baseline_variance_sum) as baseline_noise,
        sum(agent_waves.ran_count) filter (where degraded.agent_id is null) as peer_count,
        -sum(agent_waves.residual_sum) filter (where degraded.agent_id is null) as peer_shortfall,
        sum(agent_waves.outcome_variance_sum) filter (where degraded.agent_id is null) as peer_noise,
        greatest(
            0e0,
            any_value(totals.success_forecast_variance)
            - coalesce(sum(agent_waves.success_variance) filter (where degraded.agent_id is not null), 0e0)
        ) as peer_forecast_variance,
    from agent_waves
    inner join wave_totals as totals on agent_waves.wave = totals.wave
    left join degraded_agents as degraded on agent_waves.agent_id = degraded.agent_id
    where agent_waves.ran_count > 0
    group by agent_waves.wave
),

totals as (
    select
        cast(sum(ran_count) as bigint) as n,
        ratio(sum(planned_success_sum), sum(ran_count)) as planned_rate,
        sum(shortfall) as shortfall,
        sum(noise + forecast_variance) as variance,
        sum(third_moment) as third_moment,
        sum(baseline_shortfall) as baseline_shortfall,
        sum(baseline_noise + forecast_variance) as baseline_variance,
        sum(peer_count) as peer_count,
        sum(peer_shortfall) as peer_shortfall,
        sum(peer_noise + peer_forecast_variance) as peer_variance,
    from waves
),

tests as (
    select
        totals.*,
        ratio(totals.shortfall, totals.n) as effect,
        5e-1 + rules.prediction_error_margin * totals.n as allowance,
        ratio(totals.shortfall - rules.prediction_error_margin * totals.n - 5e-1, sqrt(totals.variance)) as statistic,
        ratio(
            totals.baseline_shortfall - rules.prediction_error_margin * totals.n - 5e-1, sqrt(totals.baseline_variance)
        ) as baseline_statistic,
        ratio(-totals.baseline_shortfall, sqrt(totals.baseline_variance)) as baseline_lead_statistic,
        ratio(
            totals.peer_shortfall - rules.prediction_error_margin * totals.peer_count - 5e-1, sqrt(totals.peer_variance)
        ) as peer_statistic,
        skewed_score(upper_quantile(rules.alarm_probability), ratio(totals.third_moment, pow(totals.variance, 1.5e0)))
            as threshold,
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
    from tests
)

select
    scores.n as ran_count,
    scores.planned_rate,
    scores.effect,
    clip(scores.effect - upper_quantile(0.05e0) * scores.effect_sd, -1e0, 1e0) as effect_low,
    clip(scores.effect + upper_quantile(0.05e0) * scores.effect_sd, -1e0, 1e0) as effect_high,
    scores.statistic,
    scores.threshold,
    scores.detectable_effect,
    scores.baseline_statistic,
    scores.baseline_lead_statistic,
    scores.peer_statistic,
    coalesce(scores.statistic > scores.threshold, false) as is_beyond_chance,
    coalesce(
        scores.statistic > scores.threshold
        and scores.peer_statistic > scores.threshold
        and (scores.baseline_statistic > scores.threshold or not failures.is_anomaly),
        false
    ) as is_anomaly,
from scores
cross join optimization_failure_tests as failures
order by ran_count

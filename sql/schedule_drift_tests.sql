-- Question: do attempts in the second half of the run take longer than forecast, for one agent or for all?
-- Grain: one row per agent with timed attempts in that half, then one row for all agents together (agent_id null).
-- Inputs: agent_waves, rules.
-- Columns: effect = geometric mean of actual over forecast duration [ratio], with its 90 % interval. statistic = log of
--     the effect over its standard error. threshold [standard scores]: the pooled test gets half of the alarm
--     probability, and the agents' tests share the other half. detectable_effect = smallest slow-down that is detected
--     with the rules' power [ratio]. first_wave = first wave of the second half. duration_count [attempts]. p_value.
--     is_anomaly = above the threshold and above the margin; for the pooled row, also without the agents whose own test
--     fired.
-- Each attempt is compared with the forecast for its outcome, so that failing more often does not count as being slow.
-- The variance is the scatter of attempts plus the forecasts' uncertainty about pairs, agents and outcomes. Each
-- forecast uses the outcomes of the waves before it, so the errors of waves are independent.
with

waves as (
    select
        wave,
        row_number() over (order by wave) as wave_rank,
        count(*) over () as wave_count,
    from agent_waves
    where ran_count > 0
    group by wave
),

later_waves as (
    select
        wave,
        min(wave) over () as first_wave,
    from waves
    where wave_rank > wave_count / 2
),

places as (
    select
        agent_waves.wave,
        agent_waves.agent_id,
        agent_waves.agent_position,
        agent_waves.duration_count,
        agent_waves.log_duration_residual_sum as residual,
        agent_waves.log_duration_variance as variance,
        agent_waves.log_duration_outcome_sd as outcome_sd,
        later_waves.first_wave,
    from agent_waves
    inner join later_waves on agent_waves.wave = later_waves.wave
    where agent_waves.duration_count > 0
),

agents as (
    select
        places.agent_id,
        places.agent_position,
        any_value(places.first_wave) as first_wave,
        sum(places.duration_count) as n,
        sum(places.residual) as residual,
        sum(places.variance + places.outcome_sd * places.outcome_sd) as variance,
        any_value(rules.alarm_probability) / 2 / count(*) over () as probability,
    from places
    cross join rules
    group by places.agent_id, places.agent_position
),

late_agents as (
    select agents.agent_id,
    from agents
    cross join rules
    where
        agents.residual > rules.schedule_drift_margin * agents.n
        and ratio(agents.residual, sqrt(agents.variance))
        > upper_quantile(agents.probability)
),

-- All agents share the forecast error of the outcomes' durations, so it is summed over agents before it is squared.
pooled_waves as (
    select
        any_value(places.first_wave) as first_wave,
        sum(places.duration_count) as n,
        sum(places.residual) as residual,
        sum(places.variance) + pow(sum(places.outcome_sd), 2) as variance,
        coalesce(sum(places.duration_count) filter (where late.agent_id is null), 0) as others_n,
        sum(places.residual) filter (where late.agent_id is null) as others_residual,
        sum(places.variance) filter (where late.agent_id is null)
        + pow(sum(places.outcome_sd) filter (where late.agent_id is null), 2) as others_variance,
    from places
    left join late_agents as late on places.agent_id = late.agent_id
    group by places.wave
),

tests as (
    select
        agent_id,
        agent_position,
        first_wave,
        n,
        residual,
        variance,
        n as others_n,
        residual as others_residual,
        variance as others_variance,
        probability,
    from agents
    union all
    select
        null as agent_id,
        null as agent_position,
        min(pooled.first_wave) as first_wave,
        sum(pooled.n) as n,
        sum(pooled.residual) as residual,
        sum(pooled.variance) as variance,
        sum(pooled.others_n) as others_n,
        sum(pooled.others_residual) as others_residual,
        sum(pooled.others_variance) as others_variance,
        any_value(rules.alarm_probability) / 2 as probability,
    from pooled_waves as pooled
    cross join rules
    having count(*) > 0
),

scores as (
    select
        tests.agent_id,
        tests.agent_position,
        tests.first_wave,
        cast(tests.n as bigint) as duration_count,
        ratio(tests.residual, tests.n) as log_effect,
        ratio(sqrt(tests.variance), tests.n) as standard_error,
        rules.schedule_drift_margin as margin,
        ratio(tests.residual, sqrt(tests.variance)) as statistic,
        ratio(tests.others_residual, tests.others_n) as others_log_effect,
        ratio(tests.others_residual, sqrt(tests.others_variance)) as others_statistic,
        upper_quantile(tests.probability) as threshold,
        upper_quantile(1e0 - rules.detection_power) as power_score,
    from tests
    cross join rules
)

select
    agent_id,
    agent_position,
    first_wave,
    duration_count,
    exp(log_effect) as effect,
    exp(log_effect - upper_quantile(0.05e0) * standard_error) as effect_low,
    exp(log_effect + upper_quantile(0.05e0) * standard_error) as effect_high,
    statistic,
    threshold,
    exp(greatest(margin, threshold * standard_error) + power_score * standard_error) as detectable_effect,
    upper_tail(statistic) as p_value,
    coalesce(
        statistic > threshold
        and log_effect > margin
        and coalesce(others_statistic > threshold and others_log_effect > margin, true),
        false
    ) as is_anomaly,
from scores
order by agent_position nulls last

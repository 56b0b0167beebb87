-- Question: do attempts take longer than forecast, for one agent or for all?
-- Grain: per baseline, one row per agent with timed attempts, then one row for all agents together (agent_id null).
--     Baseline `record` compares the second half of the run with the forecasts of its waves, which have learned from
--     the waves before; `start` compares the whole run with the forecasts made before the first wave.
-- Inputs: agent_waves, rules.
-- Columns: effect = geometric mean of actual over forecast duration [ratio], with its 90 % interval. typical_ms and
--     forecast_ms = geometric means of both [ms]. statistic = log of the effect over its standard error. threshold
--     [standard scores]: each baseline gets half of the alarm probability; its pooled test gets three quarters
--     of that, and its agents' tests share the rest. alarm_share = the test's part of the alarm probability [fraction].
--     detectable_effect = smallest slow-down that is detected with the rules' power [ratio]. first_wave = first wave of
--     the compared part. duration_count [attempts]. p_value. is_anomaly = above the threshold and above the margin; for
--     a pooled row, also without the agents whose own test fired.
-- Each attempt is compared with the forecast for its outcome, so that failing more often does not count as being slow.
-- The variance is the scatter of attempts plus the forecasts' uncertainty about pairs, agents, level and outcomes. For
-- `record`, each forecast uses the outcomes of the waves before it, so the errors of waves are independent. For
-- `start`, all waves share the errors of one forecast. Standard deviations of shared errors are summed before they are
-- squared.
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

timed as (
    select
        agent_waves.*,
        waves.wave_rank > waves.wave_count / 2 as is_later,
    from agent_waves
    inner join waves on agent_waves.wave = waves.wave
    where agent_waves.duration_count > 0
),

places as (
    select
        'record' as baseline,
        wave as block,
        agent_id,
        agent_position,
        wave as first_wave,
        duration_count as n,
        log_duration_sum as log_ms,
        log_duration_residual_sum as residual,
        log_duration_noise + pow(log_duration_agent_sd, 2) as variance,
        log_duration_shared_sd as shared_sd,
    from timed
    where is_later
    union all
    select
        'start' as baseline,
        0 as block,
        agent_id,
        agent_position,
        min(wave) as first_wave,
        sum(first_duration_count) as n,
        sum(log_duration_sum) as log_ms,
        sum(first_log_duration_residual_sum) as residual,
        sum(first_log_duration_noise) + pow(sum(first_log_duration_agent_sd), 2) as variance,
        sum(first_log_duration_shared_sd) as shared_sd,
    from timed
    where first_duration_count > 0
    group by agent_id, agent_position
),

agents as (
    select
        places.baseline,
        places.agent_id,
        places.agent_position,
        min(min(places.first_wave)) over (partition by places.baseline) as first_wave,
        sum(places.n) as n,
        sum(places.log_ms) as log_ms,
        sum(places.residual) as residual,
        sum(places.variance + pow(places.shared_sd, 2)) as variance,
        125e-3 / count(*) over (partition by places.baseline) as alarm_share,
    from places
    group by places.baseline, places.agent_id, places.agent_position
),

late_agents as (
    select distinct agents.agent_id,
    from agents
    cross join rules
    where
        agents.residual > rules.schedule_drift_margin * agents.n
        and ratio(agents.residual, sqrt(agents.variance))
        > upper_quantile(agents.alarm_share * rules.alarm_probability)
),

blocks as (
    select
        places.baseline,
        min(places.first_wave) as first_wave,
        sum(places.n) as n,
        sum(places.log_ms) as log_ms,
        sum(places.residual) as residual,
        sum(places.variance) + pow(sum(places.shared_sd), 2) as variance,
        coalesce(sum(places.n) filter (where late.agent_id is null), 0) as others_n,
        sum(places.residual) filter (where late.agent_id is null) as others_residual,
        sum(places.variance) filter (where late.agent_id is null)
        + pow(sum(places.shared_sd) filter (where late.agent_id is null), 2) as others_variance,
    from places
    left join late_agents as late on places.agent_id = late.agent_id
    group by places.baseline, places.block
),

tests as (
    select
        baseline,
        agent_id,
        agent_position,
        first_wave,
        n,
        log_ms,
        residual,
        variance,
        n as others_n,
        residual as others_residual,
        variance as others_variance,
        alarm_share,
    from agents
    union all
    select
        baseline,
        null as agent_id,
        null as agent_position,
        min(first_wave) as first_wave,
        sum(n) as n,
        sum(log_ms) as log_ms,
        sum(residual) as residual,
        sum(variance) as variance,
        sum(others_n) as others_n,
        sum(others_residual) as others_residual,
        sum(others_variance) as others_variance,
        375e-3 as alarm_share,
    from blocks
    group by baseline
),

scores as (
    select
        tests.baseline,
        tests.agent_id,
        tests.agent_position,
        tests.first_wave,
        cast(tests.n as bigint) as duration_count,
        exp(ratio(tests.log_ms, tests.n)) as typical_ms,
        exp(ratio(tests.log_ms - tests.residual, tests.n)) as forecast_ms,
        ratio(tests.residual, tests.n) as log_effect,
        ratio(sqrt(tests.variance), tests.n) as standard_error,
        rules.schedule_drift_margin as margin,
        ratio(tests.residual, sqrt(tests.variance)) as statistic,
        ratio(tests.others_residual, tests.others_n) as others_log_effect,
        ratio(tests.others_residual, sqrt(tests.others_variance)) as others_statistic,
        tests.alarm_share,
        upper_quantile(tests.alarm_share * rules.alarm_probability) as threshold,
        upper_quantile(1e0 - rules.detection_power) as power_score,
    from tests
    cross join rules
)

select
    baseline,
    agent_id,
    agent_position,
    first_wave,
    duration_count,
    typical_ms,
    forecast_ms,
    exp(log_effect) as effect,
    exp(log_effect - upper_quantile(0.05e0) * standard_error) as effect_low,
    exp(log_effect + upper_quantile(0.05e0) * standard_error) as effect_high,
    statistic,
    threshold,
    alarm_share,
    exp(greatest(margin, threshold * standard_error) + power_score * standard_error) as detectable_effect,
    upper_tail(statistic) as p_value,
    coalesce(
        statistic > threshold
        and log_effect > margin
        and coalesce(others_statistic > threshold and others_log_effect > margin, true),
        false
    ) as is_anomaly,
from scores
order by baseline, agent_position nulls last

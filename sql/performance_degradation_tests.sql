-- Question: does an agent do worse than forecast, or worse than earlier in the run, compared with its peers?
-- Grain: one row per agent, baseline and window. A window is the end of the run: all waves, the last half, the last
--     quarter, and so on to the last wave. Baseline `record` compares with the forecasts of the waves, `run` with the
--     agent's waves before the window, and `start`, for all waves, with the forecasts made before the first wave.
-- Inputs: agent_waves, rules.
-- Columns: first_rank, first_wave = start of the window. task_count, completed_count [tasks]. planned_rate [fraction],
--     by the forecasts that the baseline names; for `run`, by those of the waves. shortfall =
--     planned minus completed tasks, minus the agent's share of the wave's shortfall [tasks]. effect = fall of the
--     success rate compared with the peers [fraction; can exceed 1 if theirs rose], with its 90 % interval. statistic =
--     fall beyond the rules' margin [standard scores]. threshold [standard scores], for the rules' alarm probability
--     divided by the number of rows. detectable_effect = smallest fall that is detected with the rules' power.
--     is_anomaly = statistic is above the threshold.
-- The shortfall of an agent with a share s of the wave's tasks has the variance (1 - 2 s) v + s^2 sum(v over agents),
-- where v is the noise of the outcomes plus the variance of the draws. Each forecast uses the outcomes of the waves
-- before it, so the errors of waves are independent. For `start`, all waves share the errors of one forecast: the
-- standard deviations of what it does not know of the agent, of its peers and of all agents are summed over the waves.
with

shares as (
    select
        wave,
        agent_id,
        agent_position,
        ran_count,
        completed_count,
        planned_success_sum,
        -residual_sum as shortfall,
        outcome_variance_sum + success_variance as variance,
        shortfall_skew_sum as third_moment,
        first_planned_success_sum,
        first_planned_success_sum - completed_count as first_shortfall,
        first_success_noise,
        first_success_skew,
        first_success_agent_sd,
        first_success_shared_sd,
        ratio(ran_count, sum(ran_count) over waves) as share,
        -sum(residual_sum) over waves as wave_shortfall,
        sum(outcome_variance_sum + success_variance) over waves as wave_variance,
        sum(first_planned_success_sum - completed_count) over waves as wave_first_shortfall,
        sum(first_success_noise) over waves as wave_noise,
        sum(pow(first_success_agent_sd, 2)) over waves as wave_agent_variance,
        sum(first_success_shared_sd) over waves as wave_shared_sd,
        dense_rank() over (order by wave) as wave_rank,
    from agent_waves
    where ran_count > 0
    window waves as (partition by wave)
),

relative as (
    select
        wave,
        wave_rank,
        agent_id,
        agent_position,
        ran_count,
        completed_count,
        planned_success_sum,
        ran_count * (1e0 - share) as own_count,
        shortfall - share * wave_shortfall as shortfall,
        (1e0 - 2e0 * share) * variance + share * share * wave_variance as variance,
        pow(1e0 - share, 3) * third_moment as third_moment,
        first_planned_success_sum,
        first_shortfall - share * wave_first_shortfall as first_shortfall,
        (1e0 - 2e0 * share) * first_success_noise + share * share * wave_noise as first_noise,
        pow(1e0 - share, 3) * first_success_skew as first_third_moment,
        (1e0 - share) * first_success_agent_sd as agent_sd,
        share * sqrt(greatest(0e0, wave_agent_variance - pow(first_success_agent_sd, 2))) as peer_sd,
        (1e0 - 2e0 * share) * first_success_shared_sd + share * wave_shared_sd as shared_sd,
    from shares
),

halvings as (
    select
        max(wave_rank) as wave_count,
        unnest(range(0, 32)) as halving,
    from relative
),

windows as (
    select distinct cast(wave_count - ceil(wave_count / pow(2, halving)) + 1 as bigint) as first_rank,
    from halvings
),

sums as (
    select
        relative.agent_id,
        relative.agent_position,
        windows.first_rank,
        min(relative.wave) filter (where relative.wave_rank >= windows.first_rank) as first_wave,
        sum(relative.ran_count) filter (where relative.wave_rank >= windows.first_rank) as task_count,
        sum(relative.completed_count) filter (where relative.wave_rank >= windows.first_rank) as completed_count,
        sum(relative.planned_success_sum) filter (where relative.wave_rank >= windows.first_rank) as planned_sum,
        sum(relative.own_count) filter (where relative.wave_rank >= windows.first_rank) as n,
        sum(relative.shortfall) filter (where relative.wave_rank >= windows.first_rank) as shortfall,
        sum(relative.variance) filter (where relative.wave_rank >= windows.first_rank) as variance,
        sum(relative.third_moment) filter (where relative.wave_rank >= windows.first_rank) as third_moment,
        sum(relative.own_count) filter (where relative.wave_rank < windows.first_rank) as n_before,
        sum(relative.shortfall) filter (where relative.wave_rank < windows.first_rank) as shortfall_before,
        sum(relative.variance) filter (where relative.wave_rank < windows.first_rank) as variance_before,
    from relative
    cross join windows
    group by relative.agent_id, relative.agent_position, windows.first_rank
),

-- One row per agent: the whole run, compared with the forecasts made before it.
starts as (
    select
        agent_id,
        agent_position,
        1 as first_rank,
        min(wave) as first_wave,
        sum(ran_count) as task_count,
        sum(completed_count) as completed_count,
        ratio(sum(first_planned_success_sum), sum(ran_count)) as planned_rate,
        sum(own_count) as n,
        'start' as baseline,
        sum(first_shortfall) as shortfall,
        sum(first_noise) + pow(sum(agent_sd), 2) + pow(sum(peer_sd), 2) + pow(sum(shared_sd), 2) as variance,
        sum(first_third_moment) as third_moment,
    from relative
    group by agent_id, agent_position
),

compared as (
    select
        agent_id,
        agent_position,
        first_rank,
        first_wave,
        task_count,
        completed_count,
        ratio(planned_sum, task_count) as planned_rate,
        n,
        'record' as baseline,
        shortfall,
        variance,
        third_moment,
    from sums
    where variance > 0
    union all
    select
        agent_id,
        agent_position,
        first_rank,
        first_wave,
        task_count,
        completed_count,
        ratio(planned_sum, task_count) as planned_rate,
        n,
        'run' as baseline,
        shortfall - n / n_before * shortfall_before as shortfall,
        variance + pow(n / n_before, 2) * variance_before as variance,
        third_moment,
    from sums
    where variance > 0 and variance_before > 0
    union all
    select *,
    from starts
    where variance > 0
),

thresholds as (
    select
        compared.*,
        skewed_score(
            upper_quantile(rules.alarm_probability / count(*) over ()),
            ratio(compared.third_moment, pow(compared.variance, 1.5e0))
        ) as threshold,
        5e-1 + rules.performance_degradation_margin * compared.n as allowance,
        upper_quantile(1e0 - rules.detection_power) as power_score,
    from compared
    cross join rules
),

scores as (
    select
        *,
        ratio(shortfall, n) as effect,
        ratio(sqrt(fallen_variance(variance, n, planned_rate, ratio(shortfall, n))), n) as effect_sd,
        ratio(shortfall - allowance, sqrt(variance)) as statistic,
        detectable_fall(allowance + threshold * sqrt(variance), variance, n, planned_rate, power_score)
            as detectable_effect,
    from thresholds
)

select
    agent_id,
    agent_position,
    baseline,
    first_rank,
    first_wave,
    cast(task_count as bigint) as task_count,
    cast(completed_count as bigint) as completed_count,
    planned_rate,
    shortfall,
    effect,
    effect - upper_quantile(0.05e0) * effect_sd as effect_low,
    effect + upper_quantile(0.05e0) * effect_sd as effect_high,
    statistic,
    threshold,
    detectable_effect,
    coalesce(statistic > threshold, false) as is_anomaly,
from scores
order by agent_position, first_rank, baseline

-- Question: does an agent do worse against its peers after some wave than before it?
-- Grain: one row an agent and a split between two of its waves, where enough was at stake on both sides.
-- Inputs: agent_waves, rules.
-- Columns: split_wave = last wave before; next_wave = first after; effect = drop of the success rate against peers
--     [fraction]; statistic = standard score of the drop; fixed_statistic the same with the agent's level before taken
--     as wholly unknown; threshold [standard scores], the alarm probability shared by all rows; is_anomaly.
-- An agent's residuals less its share of the wave's are R: noise v a wave and a level of variance u the forecasts do
-- not know. T = -(after - c before) / sqrt(v2 / L + u v1 / (v1 + h u)), c = u h / (v1 + h u), h and L waves each side.
with

shares as (
    select
        wave,
        agent_id,
        agent_position,
        ran_count,
        residual_sum,
        outcome_variance_sum,
        coalesce(success_variance, 0e0) as success_variance,
        ratio(ran_count, sum(ran_count) over waves) as share,
        sum(residual_sum) over waves as wave_residual,
        sum(outcome_variance_sum) over waves as wave_outcome_variance,
        sum(coalesce(success_variance, 0e0)) over waves as wave_success_variance,
    from agent_waves
    where ran_count > 0
    window waves as (partition by wave)
),

relative as (
    select
        wave,
        agent_id,
        agent_position,
        ran_count,
        residual_sum - share * wave_residual as residual,
        (1e0 - 2e0 * share) * outcome_variance_sum + share * share * wave_outcome_variance as noise,
        (1e0 - 2e0 * share) * success_variance + share * share * wave_success_variance as level_variance,
    from shares
),

running as (
    select
        wave,
        agent_id,
        agent_position,
        lead(wave) over agent_order as next_wave,
        count(*) over so_far as before_count,
        count(*) over agent - count(*) over so_far as after_count,
        sum(residual) over so_far as before_residual,
        sum(residual) over agent - sum(residual) over so_far as after_residual,
        sum(noise) over so_far as before_noise,
        sum(noise) over agent - sum(noise) over so_far as after_noise,
        avg(level_variance) over agent as level_variance,
        avg(ran_count) over agent as wave_ran_count,
    from relative
    window
        agent as (partition by agent_id),
        agent_order as (partition by agent_id order by wave),
        so_far as (partition by agent_id order by wave rows between unbounded preceding and current row)
),

splits as (
    select
        running.wave as split_wave,
        running.next_wave,
        running.agent_id,
        running.agent_position,
        running.before_residual / running.before_count as before_mean,
        running.after_residual / running.after_count as after_mean,
        running.before_noise / running.before_count as before_noise,
        running.after_noise / running.after_count / running.after_count as after_variance,
        running.before_count as h,
        running.level_variance as u,
        running.wave_ran_count,
    from running
    cross join rules
    where
        running.after_count > 0
        and least(running.before_noise, running.after_noise) >= rules.performance_degradation_variance
),

scores as (
    select
        splits.split_wave,
        splits.next_wave,
        splits.agent_id,
        splits.agent_position,
        ratio(splits.before_mean - splits.after_mean, splits.wave_ran_count) as effect,
        ratio(
            ratio(u * h, before_noise + h * u) * splits.before_mean - splits.after_mean,
            sqrt(splits.after_variance + ratio(u * before_noise, before_noise + h * u))
        ) as statistic,
        ratio(
            splits.before_mean - splits.after_mean, sqrt(splits.after_variance + splits.before_noise / splits.h)
        ) as fixed_statistic,
        upper_quantile(rules.alarm_probability / count(*) over ()) as threshold,
    from splits
    cross join rules
)

select
    agent_id,
    agent_position,
    split_wave,
    next_wave,
    effect,
    statistic,
    fixed_statistic,
    threshold,
    coalesce(statistic > threshold, false) as is_anomaly,
    coalesce(fixed_statistic > threshold, false) as is_fixed_anomaly,
from scores
order by agent_position, split_wave

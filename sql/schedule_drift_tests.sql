-- Question: do tasks of the run's second half take longer than forecast, for an agent or for all?
-- Grain: one row an agent with timed tasks there, and one pooled (agent_id null), last.
-- Inputs: agent_waves, wave_totals, rules.
-- Columns: effect = geometric mean of actual over forecast duration [ratio]; statistic = standard score of its log past
--     the margin; threshold [standard scores], the alarm probability halved between the pooled test and the agents';
--     first_wave = where the second half begins; duration_count [tasks]; is_anomaly.
-- One attempt's log duration scatters by s^2 about its forecast and the agent's own level is known to its variance. The
-- mean of k attempts has, to second order, log-mean (1 - 1 / k) s^2 / 2 above one attempt's and variance s^2 / k.
with

waves as (
    select
        wave,
        row_number() over (order by wave) as wave_rank,
        count(*) over () as wave_count,
    from wave_totals
    where ran_count > 0
),

later_waves as (
    select
        wave,
        min(wave) over () as first_wave,
    from waves
    where wave_rank > wave_count / 2
),

agents as (
    select
        agent_waves.agent_id,
        agent_waves.agent_position,
        any_value(later_waves.first_wave) as first_wave,
        sum(agent_waves.duration_count) as duration_count,
        sum(
            agent_waves.log_duration_sum
            - (agent_waves.duration_count - agent_waves.inverse_attempt_sum) * agent_waves.residual_variance / 2
        ) as residual_sum,
        sum(agent_waves.residual_variance * agent_waves.inverse_attempt_sum) as noise_variance,
        ratio(
            sum(agent_waves.duration_count * agent_waves.log_duration_variance), sum(agent_waves.duration_count)
        ) as level_variance,
    from agent_waves
    inner join later_waves on agent_waves.wave = later_waves.wave
    where agent_waves.duration_count > 0
    group by agent_waves.agent_id, agent_waves.agent_position
),

tests as (
    select
        agent_id,
        agent_position,
        first_wave,
        duration_count,
        ratio(residual_sum, duration_count) as log_effect,
        sqrt(ratio(noise_variance, duration_count * duration_count) + level_variance) as standard_error,
        count(*) over () as test_count,
    from agents
    union all
    select
        null as agent_id,
        null as agent_position,
        min(first_wave) as first_wave,
        sum(duration_count) as duration_count,
        ratio(sum(residual_sum), sum(duration_count)) as log_effect,
        ratio(
            sqrt(sum(noise_variance + duration_count * duration_count * level_variance)), sum(duration_count)
        ) as standard_error,
        1 as test_count,
    from agents
    having count(*) > 0
),

scores as (
    select
        tests.agent_id,
        tests.agent_position,
        tests.first_wave,
        cast(tests.duration_count as bigint) as duration_count,
        exp(tests.log_effect) as effect,
        ratio(tests.log_effect - rules.schedule_drift_margin, tests.standard_error) as statistic,
        upper_quantile(rules.alarm_probability / 2 / tests.test_count) as threshold,
    from tests
    cross join rules
)

select
    agent_id,
    agent_position,
    first_wave,
    duration_count,
    effect,
    statistic,
    threshold,
    upper_tail(statistic) as p_value,
    coalesce(statistic > threshold, false) as is_anomaly,
from scores
order by agent_position nulls last

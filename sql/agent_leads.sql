-- Question: which agents do better than their peers on comparable tasks of one risk level?
-- Grain: one row per agent and risk level at which both the agent and its peers ran enough tasks.
-- Inputs: task_results, rules.
-- Columns: task_count, peer_task_count [tasks]. success_rate, peer_success_rate [fraction]. expected_rate and
--     peer_expected_rate = success rate forecast for an average agent on the same tasks [fraction]. success_lead =
--     (success_rate - expected_rate) - (peer_success_rate - peer_expected_rate) [fraction], with its 90 % interval.
--     statistic = success_lead over its standard error. p_value: one-sided, times the number of rows (Bonferroni).
-- Plans give agents the tasks they are good at, so plain success rates flatter every agent. Each task is therefore
-- compared with the forecast for an average agent, p, and has the variance p (1 - p).
with

agent_levels as (
    select
        agent_id,
        risk_level,
        count(*) as task_count,
        count_if(is_completed) as completed_count,
        sum(baseline_success) as expected_sum,
        sum(baseline_success * (1e0 - baseline_success)) as variance_sum,
    from task_results
    group by agent_id, risk_level
),

levels as (
    select
        risk_level,
        sum(task_count) as task_count,
        sum(completed_count) as completed_count,
        sum(expected_sum) as expected_sum,
        sum(variance_sum) as variance_sum,
    from agent_levels
    group by risk_level
),

compared as (
    select
        own.agent_id,
        own.risk_level,
        own.task_count,
        cast(levels.task_count - own.task_count as bigint) as peer_task_count,
        own.completed_count / own.task_count as success_rate,
        own.expected_sum / own.task_count as expected_rate,
        own.variance_sum / own.task_count / own.task_count as rate_variance,
        (levels.completed_count - own.completed_count) / (levels.task_count - own.task_count) as peer_success_rate,
        (levels.expected_sum - own.expected_sum) / (levels.task_count - own.task_count) as peer_expected_rate,
        greatest(0e0, levels.variance_sum - own.variance_sum)
        / (levels.task_count - own.task_count)
        / (levels.task_count - own.task_count) as peer_rate_variance,
        count(*) over () as lead_count,
    from agent_levels as own
    inner join levels on own.risk_level = levels.risk_level
    cross join rules
    where
        own.task_count >= greatest(1e0, rules.specialization_count)
        and levels.task_count - own.task_count >= greatest(1e0, rules.specialization_count)
),

leads as (
    select
        *,
        success_rate - expected_rate - (peer_success_rate - peer_expected_rate) as success_lead,
        sqrt(rate_variance + peer_rate_variance) as standard_error,
    from compared
)

select
    agent_id,
    risk_level,
    task_count,
    peer_task_count,
    success_rate,
    expected_rate,
    peer_success_rate,
    peer_expected_rate,
    success_lead,
    success_lead - upper_quantile(0.05e0) * standard_error as lead_low,
    success_lead + upper_quantile(0.05e0) * standard_error as lead_high,
    ratio(success_lead, standard_error) as statistic,
    least(1e0, lead_count * upper_tail(ratio(success_lead, standard_error))) as p_value,
from leads
order by agent_id, risk_level

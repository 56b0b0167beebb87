-- Question: which agent leads its peers at which risk level?
-- Grain: one row an agent and risk level where both it and its peers ran enough tasks.
-- Inputs: task_results, rules.
-- Columns: task_count, peer_task_count [tasks]; success_rate, peer_success_rate, success_lead [fraction];
--     statistic of the lead [standard scores]; p_value one-sided, for the best of all rows (Bonferroni).
with

agent_levels as (
    select
        agent_id,
        risk_level,
        count(*) as task_count,
        count_if(is_completed) as completed_count,
    from task_results
    group by agent_id, risk_level
),

compared as (
    select
        agent_id,
        risk_level,
        task_count,
        completed_count,
        sum(task_count) over levels as level_task_count,
        sum(completed_count) over levels as level_completed_count,
    from agent_levels
    window levels as (partition by risk_level)
),

leads as (
    select
        compared.agent_id,
        compared.risk_level,
        compared.task_count,
        cast(compared.level_task_count - compared.task_count as bigint) as peer_task_count,
        ratio(compared.completed_count, compared.task_count) as success_rate,
        ratio(
            compared.level_completed_count - compared.completed_count, compared.level_task_count - compared.task_count
        ) as peer_success_rate,
        ratio(compared.level_completed_count, compared.level_task_count) as level_success_rate,
        count(*) over () as lead_count,
    from compared
    cross join rules
    where
        compared.task_count >= rules.specialization_count
        and compared.level_task_count - compared.task_count >= rules.specialization_count
),

scores as (
    select
        leads.*,
        ratio(
            leads.success_rate - leads.peer_success_rate,
            sqrt(
                leads.level_success_rate * (1e0 - leads.level_success_rate)
                * (1e0 / leads.task_count + 1e0 / leads.peer_task_count)
            )
        ) as statistic,
    from leads
)

select
    agent_id,
    risk_level,
    task_count,
    peer_task_count,
    success_rate,
    peer_success_rate,
    success_rate - peer_success_rate as success_lead,
    statistic,
    least(1e0, lead_count * upper_tail(statistic)) as p_value,
from scores
order by agent_id, risk_level

-- Question: what should each agent do in each wave, and why?
-- Grain: one row a wave and agent with tasks.
-- Inputs: executions.
-- Columns: task_ids in scheduled order. expected_completion_time_ms = end of the agent's timeline [ms].
--     expected_success_probability = mean planned success [fraction]. rationale = sentences. confidence = 1 - mean
--     width of the 90 % interval of the first-attempt success probabilities [fraction].
with

agent_plans as (
    select
        wave,
        agent_id,
        list(task_id order by scheduled_start_time, task_id) as task_ids,
        max(scheduled_end_time) as expected_completion_time_ms,
        avg(planned_success) as planned_success,
        avg(baseline_success) as baseline_success,
        avg(success_term) as success_term,
        avg(throughput_term) as throughput_term,
        avg(confidence_term) as confidence_term,
        avg(score) as score,
        avg(success_high - success_low) as interval_width,
    from executions
    group by wave, agent_id
)

select
    row_id('REC', row_number() over (order by wave, agent_id)) as recommendation_id,
    wave,
    agent_id,
    task_ids,
    expected_completion_time_ms,
    planned_success as expected_success_probability,
    printf(
        'Mean score %.3f (success %.3f, throughput %.3f, confidence %.3f). Planned success %.1f %%; round robin would '
        || 'reach %.1f %%.',
        score, success_term, throughput_term, confidence_term, planned_success * 100, baseline_success * 100
    ) as rationale,
    clip(1e0 - interval_width, 0e0, 1e0) as confidence,
from agent_plans
order by wave, agent_id

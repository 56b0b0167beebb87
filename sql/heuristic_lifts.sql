-- Question: what did each heuristic add to the success of its tasks?
-- Grain: one row per heuristic that Phase 16 lists, that this run applied, or that has an earlier weight.
-- Inputs: heuristics, previous_weights, executions, task_results, agent_evidence, rules.
-- Columns: applied_count, other_count = tasks that ran with and without it. lift = mean residual with it minus mean
--     residual without it [fraction], with its 90 % interval; null if one side is empty. shrunk_lift = lift n / (n +
--     k), where n = applied * other / (applied + other) and k is the rules' heuristic_shrinkage. statistic = lift over
--     its standard error. p_value = two-sided. weight = previous_weight + shrunk_lift, within the rules' step and
--     bounds. A weight that starts out of bounds stays or moves inwards.
-- The variance of the lift has two parts: p (1 - p) for each task's outcome, and the covariance of the tasks of one
-- agent in one wave, because an error in the agent's forecast affects them all. Any two such tasks have the covariance
-- (Var(sum p) - sum V) / (n (n - 1)), where V is the variance of a task's forecast. Each forecast uses the outcomes of
-- the waves before it, so the errors of waves are independent.
with

ran as (
    select
        wave,
        agent_id,
        count(*) as ran_count,
        sum(planned_success * (1e0 - planned_success) - outcome_variance) as success_variance_sum,
    from task_results
    group by wave, agent_id
),

shared as (
    select
        ran.wave,
        ran.agent_id,
        ran.ran_count,
        coalesce(
            ratio(evidence.success_variance - ran.success_variance_sum, ran.ran_count * (ran.ran_count - 1)), 0e0
        ) as covariance,
    from ran
    left join agent_evidence as evidence on ran.wave = evidence.wave and ran.agent_id = evidence.agent_id
),

shared_sums as (
    select coalesce(sum(covariance * ran_count * (ran_count - 1)), 0e0) as covariance_sum, from shared
),

-- Many tasks share a list, so summing by list before unnesting halves the time.
listed as (
    select
        wave,
        agent_id,
        heuristics_applied,
        count(*) as applied_count,
        sum(residual) as residual_sum,
        sum(planned_success * (1e0 - planned_success)) as variance_sum,
        sum(outcome_variance) as noise_sum,
    from task_results
    group by wave, agent_id, heuristics_applied
),

applied as (
    select
        wave,
        agent_id,
        unnest(list_distinct(heuristics_applied)) as heuristic_id,
        applied_count,
        residual_sum,
        variance_sum,
        noise_sum,
    from listed
),

applied_places as (
    select
        heuristic_id,
        wave,
        agent_id,
        sum(applied_count) as applied_count,
        sum(residual_sum) as residual_sum,
        sum(variance_sum) as variance_sum,
        sum(noise_sum) as noise_sum,
    from applied
    group by heuristic_id, wave, agent_id
),

applied_sums as (
    select
        places.heuristic_id,
        cast(sum(places.applied_count) as bigint) as applied_count,
        sum(places.residual_sum) as residual_sum,
        sum(places.variance_sum) as variance_sum,
        sum(places.noise_sum) as noise_sum,
        sum(shared.covariance * places.applied_count * places.applied_count) as square_sum,
        sum(shared.covariance * places.applied_count * shared.ran_count) as product_sum,
        sum(shared.covariance * places.applied_count) as single_sum,
    from applied_places as places
    inner join shared on places.wave = shared.wave and places.agent_id = shared.agent_id
    group by places.heuristic_id
),

all_sums as (
    select
        count(*) as ran_count,
        coalesce(sum(residual), 0e0) as residual_sum,
        coalesce(sum(planned_success * (1e0 - planned_success)), 0e0) as variance_sum,
        coalesce(sum(outcome_variance), 0e0) as noise_sum,
    from task_results
),

executed_lists as (
    select distinct heuristics_applied, from executions
),

known as (
    select heuristic_id, from heuristics
    union
    select unnest(heuristics_applied) as heuristic_id, from executed_lists
    union
    select heuristic_id, from previous_weights
),

-- One over the number of tasks on each side: the weight of a residual in the lift.
parts as (
    select
        known.heuristic_id,
        coalesce(applied_sums.applied_count, 0) as applied_count,
        all_sums.ran_count - coalesce(applied_sums.applied_count, 0) as other_count,
        ratio(1e0, applied_sums.applied_count) as applied_part,
        ratio(1e0, all_sums.ran_count - applied_sums.applied_count) as other_part,
        applied_sums.residual_sum,
        all_sums.residual_sum - applied_sums.residual_sum as other_residual_sum,
        applied_sums.variance_sum,
        greatest(0e0, all_sums.variance_sum - applied_sums.variance_sum) as other_variance_sum,
        applied_sums.noise_sum,
        greatest(0e0, all_sums.noise_sum - applied_sums.noise_sum) as other_noise_sum,
        applied_sums.square_sum,
        applied_sums.product_sum,
        applied_sums.single_sum,
        shared_sums.covariance_sum,
        coalesce(previous_weights.weight, 1e0) as previous_weight,
    from known
    cross join all_sums
    cross join shared_sums
    left join applied_sums on known.heuristic_id = applied_sums.heuristic_id
    left join previous_weights on known.heuristic_id = previous_weights.heuristic_id
),

-- The covariances add sum c ((sum w)^2 - sum w^2), with w the weights of an agent's tasks and c their covariance. The
-- variance is at least the noise of the outcomes.
lifts as (
    select
        heuristic_id,
        applied_count,
        other_count,
        previous_weight,
        residual_sum * applied_part - other_residual_sum * other_part as lift,
        sqrt(greatest(
            noise_sum * power(applied_part, 2) + other_noise_sum * power(other_part, 2),
            variance_sum * power(applied_part, 2)
            + other_variance_sum * power(other_part, 2)
            + covariance_sum * power(other_part, 2)
            + (applied_part + other_part) * (
                (applied_part + other_part) * square_sum
                - 2e0 * other_part * product_sum
                - (applied_part - other_part) * single_sum
            )
        )) as standard_error,
    from parts
),

shrunk as (
    select
        lifts.*,
        coalesce(ratio(
            lifts.lift * lifts.applied_count * lifts.other_count,
            lifts.applied_count * lifts.other_count
            + rules.heuristic_shrinkage * (lifts.applied_count + lifts.other_count)
        ), 0e0) as shrunk_lift,
    from lifts
    cross join rules
)

select
    shrunk.heuristic_id,
    shrunk.applied_count,
    shrunk.other_count,
    shrunk.lift,
    shrunk.lift - upper_quantile(0.05e0) * shrunk.standard_error as lift_low,
    shrunk.lift + upper_quantile(0.05e0) * shrunk.standard_error as lift_high,
    shrunk.shrunk_lift,
    ratio(shrunk.lift, shrunk.standard_error) as statistic,
    2e0 * upper_tail(abs(ratio(shrunk.lift, shrunk.standard_error))) as p_value,
    shrunk.previous_weight,
    clip(
        shrunk.previous_weight + clip(shrunk.shrunk_lift, -rules.heuristic_step, rules.heuristic_step),
        least(rules.heuristic_weight_min, shrunk.previous_weight),
        greatest(rules.heuristic_weight_max, shrunk.previous_weight)
    ) as weight,
from shrunk
cross join rules
order by shrunk.heuristic_id

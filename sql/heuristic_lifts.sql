-- Question: what did each heuristic add to the outcomes its tasks were forecast to have?
-- Grain: one row a heuristic, of Phase 16 or applied in this run.
-- Inputs: heuristics, previous_weights, executions, task_results, rules.
-- Columns: applied_count, other_count [tasks that ran]; lift = mean residual where it applied less that of the others
--     [fraction], null without both; shrunk_lift = lift n / (n + k) with n = applied other / (applied + other), the
--     tasks the difference is worth, and k of the rules; statistic [standard scores]; p_value two-sided;
--     previous_weight, weight = previous_weight + shrunk_lift, its step and its value bounded by the rules.
with

applied as (
    select
        unnest(list_distinct(heuristics_applied)) as heuristic_id,
        residual,
        planned_success * (1e0 - planned_success) as outcome_variance,
    from task_results
),

applied_sums as (
    select
        heuristic_id,
        count(*) as applied_count,
        sum(residual) as residual_sum,
        sum(outcome_variance) as variance_sum,
    from applied
    group by heuristic_id
),

all_sums as (
    select
        count(*) as ran_count,
        coalesce(sum(residual), 0e0) as residual_sum,
        coalesce(sum(planned_success * (1e0 - planned_success)), 0e0) as variance_sum,
    from task_results
),

known as (
    select heuristic_id, from heuristics
    union
    select unnest(heuristics_applied) as heuristic_id, from executions
),

lifts as (
    select
        known.heuristic_id,
        coalesce(applied_sums.applied_count, 0) as applied_count,
        all_sums.ran_count - coalesce(applied_sums.applied_count, 0) as other_count,
        applied_sums.residual_sum / applied_sums.applied_count
        - ratio(
            all_sums.residual_sum - applied_sums.residual_sum, all_sums.ran_count - applied_sums.applied_count
        ) as lift,
        sqrt(
            greatest(0e0, applied_sums.variance_sum) / applied_sums.applied_count / applied_sums.applied_count
            + ratio(
                greatest(0e0, all_sums.variance_sum - applied_sums.variance_sum),
                (all_sums.ran_count - applied_sums.applied_count) * (all_sums.ran_count - applied_sums.applied_count)
            )
        ) as standard_error,
        coalesce(previous_weights.weight, 1e0) as previous_weight,
    from known
    cross join all_sums
    left join applied_sums on known.heuristic_id = applied_sums.heuristic_id
    left join previous_weights on known.heuristic_id = previous_weights.heuristic_id
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
    shrunk.shrunk_lift,
    ratio(shrunk.lift, shrunk.standard_error) as statistic,
    2e0 * upper_tail(abs(ratio(shrunk.lift, shrunk.standard_error))) as p_value,
    shrunk.previous_weight,
    clip(
        shrunk.previous_weight + clip(shrunk.shrunk_lift, -rules.heuristic_step, rules.heuristic_step),
        rules.heuristic_weight_min,
        rules.heuristic_weight_max
    ) as weight,
from shrunk
cross join rules
order by shrunk.heuristic_id

-- Question: why does each heuristic have its weight?
-- Grain: one row per heuristic.
-- Inputs: heuristic_lifts, run, rules.
-- Columns: as heuristic_lifts. is_step_bounded = whether the shrunk lift exceeds the largest step of a weight in a run.
--     weight_bound = minimum or maximum if the weight is held there; else null. reason = sentences. simulated = whether
--     the outcomes are those of a dry run; no later run uses such weights.
with

updates as (
    select
        lifts.*,
        abs(lifts.shrunk_lift) > rules.heuristic_step as is_step_bounded,
        case
            when lifts.lift is null then null
            when
                lifts.previous_weight + clip(lifts.shrunk_lift, -rules.heuristic_step, rules.heuristic_step)
                < least(rules.heuristic_weight_min, lifts.previous_weight) then 'minimum'
            when
                lifts.previous_weight + clip(lifts.shrunk_lift, -rules.heuristic_step, rules.heuristic_step)
                > greatest(rules.heuristic_weight_max, lifts.previous_weight) then 'maximum'
        end as weight_bound,
        rules.heuristic_step,
    from heuristic_lifts as lifts
    cross join rules
)

select
    updates.heuristic_id,
    updates.previous_weight,
    updates.weight,
    updates.lift,
    updates.lift_low,
    updates.lift_high,
    updates.shrunk_lift,
    updates.applied_count,
    updates.other_count,
    updates.is_step_bounded,
    updates.weight_bound,
    case
        when updates.lift is null and updates.applied_count = 0
            then 'No task that ran used it, so its weight stays.'
        when updates.lift is null
            then 'Every task that ran used it, so there is nothing to compare with and its weight stays.'
        else printf(
            'Compared with their forecasts, %s with it did %.1f points %s than %d without it (90 %% interval %.1f to '
            || '%.1f%s). Shrunk for the number of tasks, this is %.2f points.%s%s The weight goes from %.4f to %.4f.',
            counted(updates.applied_count, 'task'),
            abs(updates.lift) * 100,
            if(updates.lift < 0, 'worse', 'better'),
            updates.other_count,
            updates.lift_low * 100,
            updates.lift_high * 100,
            if(updates.lift_low <= 0 and updates.lift_high >= 0, ', not significant', ''),
            updates.shrunk_lift * 100,
            if(updates.is_step_bounded, printf(' A run moves a weight by at most %.2f.', updates.heuristic_step), ''),
            coalesce(printf(' The weight is held at its %s.', updates.weight_bound), ''),
            updates.previous_weight,
            updates.weight
        )
    end
    || if(run.is_simulated, ' The results are simulated, so no later run uses this weight.', '') as reason,
    run.is_simulated as simulated,
    iso_timestamp(run.timestamp) as timestamp,
from updates
cross join run
order by natural_key(updates.heuristic_id), updates.heuristic_id

-- Question: why has each heuristic the weight it has?
-- Grain: one row a heuristic.
-- Inputs: heuristic_lifts, run, rules.
-- Columns: previous_weight, weight; lift, its 90 % interval (lift_low, lift_high) and shrunk_lift [fraction]: null, the
--     last 0, where there is nothing to compare; applied_count, other_count [tasks that ran]; is_step_bounded = the
--     shrunk lift is more than a weight may move in a run; weight_bound = the bound the weight was held at, minimum or
--     maximum, else null; reason, in words; simulated = the outcomes are a dry run's, whose weights no run takes over.
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
            then 'No task that ran was planned with it: the weight stays.'
        when updates.lift is null
            then 'Every task that ran was planned with it, and there is none to compare with: the weight stays.'
        else printf(
            'Against their forecasts, %s with it came out %.1f points %s than %d without (90 %% interval '
            || '%.1f to %.1f%s). Shrunk to %.2f points for their number%s%s: weight %.4f to %.4f.',
            counted(updates.applied_count, 'task'),
            abs(updates.lift) * 100,
            if(updates.lift < 0, 'worse', 'better'),
            updates.other_count,
            updates.lift_low * 100,
            updates.lift_high * 100,
            if(updates.lift_low <= 0 and updates.lift_high >= 0, ', no evidence by itself', ''),
            updates.shrunk_lift * 100,
            if(updates.is_step_bounded, printf(', held to a step of %.2f', updates.heuristic_step), ''),
            coalesce(', held at its ' || updates.weight_bound, ''),
            updates.previous_weight,
            updates.weight
        )
    end
    || if(run.is_simulated, ' The outcomes are simulated: no run takes the weight over.', '') as reason,
    run.is_simulated as simulated,
    iso_timestamp(run.timestamp) as timestamp,
from updates
cross join run
order by updates.heuristic_id

-- Question: which heuristic weights does this run give to Phase 16?
-- Grain: one row, the run.
-- Inputs: heuristic_lifts, run.
-- Columns: type; heuristic_weights = weight of each heuristic; simulated; run_id; timestamp.
with

weights as (
    select
        map_from_entries(
            coalesce(list({'key': heuristic_id, 'value': weight} order by heuristic_id), [])
        ) as heuristic_weights,
    from heuristic_lifts
)

select
    'phase19_heuristic_update' as type,
    weights.heuristic_weights,
    run.is_simulated as simulated,
    run.run_id,
    iso_timestamp(run.timestamp) as timestamp,
from weights
cross join run
order by run.run_id

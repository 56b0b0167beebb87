-- Question: which weight does each heuristic have after this run?
-- Grain: one row, one document.
-- Inputs: heuristic_lifts, run.
-- Columns: document = weight of each heuristic in order of id, then updated_at.
with

weights as (
    select
        coalesce(
            list({'key': heuristic_id, 'value': to_json(weight)} order by natural_key(heuristic_id), heuristic_id), []
        ) as entries,
    from heuristic_lifts
    where heuristic_id <> 'updated_at'
)

select
    map_from_entries(
        list_append(weights.entries, {'key': 'updated_at', 'value': to_json(iso_timestamp(run.timestamp))})
    ) as document,
from weights
cross join run
order by run.run_id

-- Question: what does this run tell Phase 18 about its strategies?
-- Grain: one row, the run.
-- Inputs: strategy_effectiveness, run.
-- Columns: type; strategy_effectiveness = figures of each strategy; simulated; run_id; timestamp.
with

strategies as (
    select
        map_from_entries(
            coalesce(list({'key': results.strategy, 'value': results} order by results.strategy), [])
        ) as strategy_effectiveness,
    from strategy_effectiveness as results
)

select
    'phase19_coordination_feedback' as type,
    strategies.strategy_effectiveness,
    run.is_simulated as simulated,
    run.run_id,
    iso_timestamp(run.timestamp) as timestamp,
from strategies
cross join run
order by run.run_id

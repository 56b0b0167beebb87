-- Question: what does Phase 18 learn about coordination from this run?
-- Grain: one row, the run.
-- Inputs: strategy_effectiveness, run.
-- Columns: type; strategy_effectiveness = strategy to its figures; simulated; run_id; timestamp.
select
    'phase19_coordination_feedback' as type,
    effectiveness.document as strategy_effectiveness,
    run.is_simulated as simulated,
    run.run_id,
    iso_timestamp(run.timestamp) as timestamp,
from strategy_effectiveness as effectiveness
cross join run
order by run.run_id

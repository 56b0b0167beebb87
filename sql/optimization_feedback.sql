-- Question: what does this run teach, in the form that readers expect?
-- Grain: one row a learning signal, in its order.
-- Inputs: learning_signals.
-- Columns: as learning_signals.
select
    feedback_id,
    feedback_type,
    confidence,
    description,
    recommendation,
    supporting_evidence,
    timestamp,
    simulated,
from learning_signals
order by length(feedback_id), feedback_id

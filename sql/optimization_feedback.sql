-- Question: which learning signals does this run feed back?
-- Grain: one row per learning signal, in the order of learning_signals.
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

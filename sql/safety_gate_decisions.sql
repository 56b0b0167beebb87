-- Question: what did the safety gates decide for each task?
-- Grain: one row per task.
-- Inputs: decisions.
-- Columns: confidence as recorded, before any boost [fraction]; decision = of this run; live_decision = that a live
--     run would make; reason = the rule that decided.
select
    task_id,
    wave,
    risk_level,
    confidence,
    decision,
    live_decision,
    reason,
from decisions
order by wave, natural_key(task_id), task_id

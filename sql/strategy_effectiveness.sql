-- Question: how effective was each strategy, as one document?
-- Grain: one row, one document.
-- Inputs: strategy_results.
-- Columns: document = strategy to its row of strategy_results, in order of name.
select
    map_from_entries(coalesce(list({'key': results.strategy, 'value': results} order by results.strategy), []))
        as document,
from strategy_results as results
order by document

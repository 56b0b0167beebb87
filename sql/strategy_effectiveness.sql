-- Question: how effective was each strategy, as one document?
-- Grain: one row, one document.
-- Inputs: strategy_results, strategy_alternatives.
-- Columns: document = strategy to its row of strategy_results, in order of name, with its alternatives: their rows of
--     strategy_alternatives.
with

alternatives as (
    select
        others.strategy,
        list(others order by others.alternative) as alternatives,
    from strategy_alternatives as others
    group by others.strategy
),

strategies as (
    select
        results.*,
        coalesce(alternatives.alternatives, []) as alternatives,
    from strategy_results as results
    left join alternatives on results.strategy = alternatives.strategy
)

select
    map_from_entries(coalesce(list({'key': strategies.strategy, 'value': strategies} order by strategies.strategy), []))
        as document,
from strategies
order by document

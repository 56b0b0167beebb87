-- Question: how large was the forecast error of each wave, in this run and the runs before it?
-- Grain: one row a run and wave: the oldest run first, this run last.
-- Inputs: previous_convergence (the rows of the run that --previous names, and of its predecessors),
--     schedule_comparisons, task_results, run, rules.
-- Columns: run_rank = rank of the run, the oldest first, from 1. success_rate_error = |planned - actual| [fraction].
--     chance_error = standard deviation of that error if the forecasts are right, sqrt(sum p (1 - p)) / n [fraction].
--     standardized_error = success_rate_error over chance_error: 0.8 on average if the forecasts are right, for easy
--     and hard waves alike, unlike Brier score and log loss. simulated = outcomes of a dry run. Null where nothing ran.
with

this_rank as (
    select coalesce(max(run_rank), 0) + 1 as run_rank, from previous_convergence
),

forecasts as (
    select
        task_results.wave,
        clip(task_results.planned_success, rules.log_loss_floor, 1e0 - rules.log_loss_floor) as chance,
    from task_results
    cross join rules
),

chance as (
    select
        wave,
        sqrt(sum(chance * (1e0 - chance))) / count(*) as error,
    from forecasts
    group by wave
),

this_run as (
    select
        run.run_id,
        this_rank.run_rank,
        comparisons.wave,
        comparisons.planned_success_rate,
        comparisons.actual_success_rate,
        abs(comparisons.planned_success_rate - comparisons.actual_success_rate) as success_rate_error,
        chance.error as chance_error,
        ratio(abs(comparisons.planned_success_rate - comparisons.actual_success_rate), chance.error)
            as standardized_error,
        comparisons.accuracy_score,
        comparisons.brier_score,
        comparisons.log_loss,
        comparisons.ran_count,
        run.is_simulated as simulated,
        run.timestamp,
    from schedule_comparisons as comparisons
    cross join run
    cross join this_rank
    left join chance on comparisons.wave = chance.wave
),

chain as (
    select *, from previous_convergence
    union all by name
    select *, from this_run
)

select
    run_id,
    run_rank,
    wave,
    planned_success_rate,
    actual_success_rate,
    success_rate_error,
    chance_error,
    standardized_error,
    accuracy_score,
    brier_score,
    log_loss,
    ran_count,
    simulated,
    iso_timestamp(timestamp) as timestamp,
from chain
order by run_rank, wave

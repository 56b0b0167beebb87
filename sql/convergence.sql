-- Question: how large was the forecast error of each wave?
-- Grain: one row per wave.
-- Inputs: schedule_comparisons, task_results, run, rules.
-- Columns: success_rate_error = |planned - actual| [fraction].
--     chance_error = standard deviation of that error if the forecasts are right, sqrt(sum p (1 - p)) / n [fraction].
--     standardized_error = success_rate_error over chance_error. If the forecasts are right, it is 0.8 on average, for
--     easy and hard waves alike; the averages of Brier score and log loss depend on the tasks. simulated = whether the
--     outcomes are those of a dry run. Figures are null if nothing ran.
with

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
)

select
    comparisons.wave,
    comparisons.planned_success_rate,
    comparisons.actual_success_rate,
    abs(comparisons.planned_success_rate - comparisons.actual_success_rate) as success_rate_error,
    chance.error as chance_error,
    ratio(abs(comparisons.planned_success_rate - comparisons.actual_success_rate), chance.error) as standardized_error,
    comparisons.accuracy_score,
    comparisons.brier_score,
    comparisons.log_loss,
    comparisons.ran_count,
    run.is_simulated as simulated,
    iso_timestamp(run.timestamp) as timestamp,
from schedule_comparisons as comparisons
cross join run
left join chance on comparisons.wave = chance.wave
order by comparisons.wave

-- Question: how did the runs of each setting of a sweep go?
-- Grain: one row per setting: a combination of the options that vary, but the seed.
-- Inputs: runs (the rows of results/runs).
-- Columns: run_count, failed_count = runs, and those without results [runs]. Means over the other runs: planned, actual
--     and round robin's (baseline) success rate [fraction], planned and actual makespan [ms], retries [retries].
--     actual_success_rate_low, actual_success_rate_high = 5 % and 95 % quantile over the runs. interval_coverage =
--     share of runs whose success rate lies in its own 90 % interval. anomaly_rate = share of runs with an anomaly.
--     A figure that no run has is null.
select
    setting,
    count(*) as run_count,
    count(error) as failed_count,
    avg(expected_success_rate) as planned_success_rate,
    avg(actual_success_rate) as actual_success_rate,
    quantile_cont(actual_success_rate, 0.05e0) as actual_success_rate_low,
    quantile_cont(actual_success_rate, 0.95e0) as actual_success_rate_high,
    avg(cast(actual_success_rate between success_rate_low and success_rate_high as double)) as interval_coverage,
    avg(baseline_success_rate) as baseline_success_rate,
    avg(planned_makespan_ms) as planned_makespan_ms,
    avg(actual_makespan_ms) as actual_makespan_ms,
    avg(retry_count) as retry_count,
    avg(cast(anomaly_count > 0 as double)) as anomaly_rate,
from runs
group by setting
order by min(run)

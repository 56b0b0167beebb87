-- Question: did the run's plans promise more success than came?
-- Grain: one row, the run.
-- Inputs: wave_totals, run_draws, rules.
-- Columns: effect = planned less actual success rate [fraction]; statistic = its standard score past the margin;
--     threshold [standard scores]; worse_share = share of the plan's own draws at least as bad;
--     baseline_statistic = the standard score with round robin's forecasts in place of the plan's; is_anomaly.
--     Null where nothing ran or no draws are known.
-- The variance is the outcomes' noise plus the draws' variance of expected success, what the forecasts do not know.
-- The normal tail is thinner than a few failures' own, so the draws must agree.
with

totals as (
    select
        cast(sum(ran_count) as bigint) as ran_count,
        cast(sum(completed_count) as bigint) as completed_count,
        sum(residual_sum) as residual_sum,
        sum(baseline_residual_sum) as baseline_residual_sum,
        sum(outcome_variance_sum) as outcome_variance_sum,
        sum(baseline_variance_sum) as baseline_variance_sum,
    from wave_totals
    where ran_count > 0
),

draws as (
    select
        count(*) as draw_count,
        var_samp(run_draws.expected_success_sum) as forecast_variance,
        count_if(
            run_draws.completed_count <= totals.completed_count + rules.prediction_error_margin * totals.ran_count
        ) as worse_count,
    from run_draws
    cross join totals
    cross join rules
),

tests as (
    select
        totals.ran_count,
        ratio(-totals.residual_sum, totals.ran_count) as effect,
        ratio(
            -totals.residual_sum - rules.prediction_error_margin * totals.ran_count,
            sqrt(totals.outcome_variance_sum + draws.forecast_variance)
        ) as statistic,
        ratio(
            -totals.baseline_residual_sum - rules.prediction_error_margin * totals.ran_count,
            sqrt(totals.baseline_variance_sum + draws.forecast_variance)
        ) as baseline_statistic,
        ratio(totals.baseline_residual_sum, sqrt(totals.baseline_variance_sum + draws.forecast_variance))
            as baseline_lead_statistic,
        upper_quantile(rules.alarm_probability) as threshold,
        (1e0 + draws.worse_count) / (1e0 + draws.draw_count) as worse_share,
        greatest(rules.alarm_probability, 1e0 / (1e0 + draws.draw_count)) as worse_share_limit,
    from totals
    cross join draws
    cross join rules
)

select
    ran_count,
    effect,
    statistic,
    threshold,
    worse_share,
    baseline_statistic,
    baseline_lead_statistic,
    coalesce(statistic > threshold and worse_share <= worse_share_limit, false) as is_anomaly,
    coalesce(baseline_statistic > threshold, false) as is_baseline_anomaly,
from tests
order by ran_count

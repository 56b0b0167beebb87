-- Question: what would each other strategy have given the waves of a strategy, in the same world?
-- Grain: one row a strategy used and an alternative to it; round robin is the mean over its rotations.
-- Inputs: alternatives.
-- Columns: *_count [tasks]; promised_success_rate over all tasks, planned_success_rate over those whose outcome the
--     world knows, as actual_success_rate [fraction]; actual_throughput [tasks per second]; retry_count [attempts];
--     reassigned_share [fraction] = tasks that another agent would have done; success_lead = success rate of the
--     strategy used less the alternative's over the paired_count tasks that ran under both [fraction], and its 90 %
--     interval over tasks; statistic of that lead [standard scores]. Actual figures are null where nothing is known.
-- The interval is of matched pairs with half a task added to each cell, so that a few tasks without a difference prove
-- nothing. Agresti, Min: Simple improved confidence intervals for comparing matched proportions, 2005.
with

totals as (
    select
        chosen_strategy as strategy,
        strategy as alternative,
        sum(task_count) as task_count,
        sum(ran_count) as ran_count,
        sum(reassigned_count) as reassigned_count,
        sum(promised_success_sum) as promised_success_sum,
        sum(planned_success_sum) as planned_success_sum,
        sum(success_sum) as success_sum,
        sum(retry_sum) as retry_sum,
        sum(confidence_sum) as confidence_sum,
        sum(makespan_ms) as makespan_ms,
        sum(paired_count) as paired_count,
        sum(lead_sum) as lead_sum,
        sum(lead_square_sum) as lead_square_sum,
    from alternatives
    group by chosen_strategy, strategy
),

leads as (
    select
        strategy,
        alternative,
        ratio(lead_sum, paired_count + 2e0) as centre,
        sqrt(lead_square_sum + 1e0 - lead_sum * lead_sum / (paired_count + 2e0)) / (paired_count + 2e0)
            as standard_error,
    from totals
    where paired_count > 0
)

select
    totals.strategy,
    totals.alternative,
    cast(totals.task_count as bigint) as task_count,
    cast(totals.ran_count as bigint) as ran_count,
    ratio(totals.promised_success_sum, totals.task_count) as promised_success_rate,
    ratio(totals.planned_success_sum, totals.ran_count) as planned_success_rate,
    ratio(totals.success_sum, totals.ran_count) as actual_success_rate,
    if(totals.ran_count > 0, ratio(totals.ran_count * 1e3, totals.makespan_ms), null) as actual_throughput,
    if(totals.ran_count > 0, totals.retry_sum, null) as retry_count,
    ratio(totals.confidence_sum, totals.ran_count) as actual_confidence_delta,
    ratio(totals.reassigned_count, totals.task_count) as reassigned_share,
    cast(totals.paired_count as bigint) as paired_count,
    ratio(totals.lead_sum, totals.paired_count) as success_lead,
    clip(leads.centre - upper_quantile(0.05e0) * leads.standard_error, -1e0, 1e0) as success_lead_low,
    clip(leads.centre + upper_quantile(0.05e0) * leads.standard_error, -1e0, 1e0) as success_lead_high,
    ratio(leads.centre, leads.standard_error) as statistic,
from totals
left join leads on totals.strategy = leads.strategy and totals.alternative = leads.alternative
order by totals.strategy, totals.alternative

"""The schemas of what a run's analysis reads beside its executions: draws, evidence, alternatives, convergence."""

from __future__ import annotations

import polars as pl

from phase19.columns import RISK_LEVEL, count, identifier, milliseconds, number, rate
from phase19.schema import Column, Schema

__all__ = ["AGENT_EVIDENCE", "ALTERNATIVES", "CONVERGENCE", "RISK_EVIDENCE", "WAVE_DRAWS", "WAVE_PLANS"]

# Planned figures of a wave are over the tasks that ran, or all where none did, from draws frozen before the wave ran.
WAVE_PLANS = Schema(
    "wave_plans",
    ("wave",),
    {
        "wave": count("wave, from 1", low=1),
        "strategy": identifier("strategy the wave was planned with"),
        "planned_makespan_ms": milliseconds(
            "mean over draws of the last agent's end; null without tasks", nullable=True
        ),
        "planned_busy_ms": milliseconds(
            "mean over draws of the agents' summed busy time; null without tasks", nullable=True
        ),
        "timeline_end_ms": milliseconds("end of the longest scheduled timeline"),
        "solver": identifier("algorithm that solved the assignment"),
        "objective": number(
            "what the plan maximises: its scores, for throughput the makespan of planned times in ms, negative"
        ),
        "upper_bound": number("proved bound on the objective"),
        "gap": number("upper_bound - objective, 0 where that is rounding"),
        "moved_count": count("tasks moved off the optimal assignment to even out the load"),
        "is_load_limit_met": Column(
            pl.Boolean, "whether all agents keep to --max-load-factor; null where none is given", nullable=True
        ),
        "unassigned_count": Column(pl.Int64, "tasks of the wave left out for lack of room", "count", low=0, default=0),
        "learned_attempt_count": count(
            "attempts of the wave before that were learned from; null before any", nullable=True
        ),
        "learned_forecast_shift": number("mean absolute change of planned success over all pairs", nullable=True),
        "learned_reassigned_share": rate("tasks that another agent does because of it", nullable=True),
        "learned_reassignment_gain": number("successes a task that the reassignment is worth", nullable=True),
    },
)

WAVE_DRAWS = Schema(
    "wave_draws",
    ("wave", "draw"),
    {
        "wave": count("wave, from 1", low=1),
        "draw": count("number of the draw from the plan's predictive distribution"),
        "ran_count": count("tasks that ran in reality, over which the draw counts"),
        "success_rate": rate("success rate in this draw"),
        "makespan_ms": milliseconds("last agent's end in this draw"),
        "busy_ms": milliseconds("summed busy time in this draw"),
        "confidence_delta": number("mean confidence change in this draw"),
        "deviation_ms": milliseconds("mean of (|start shift| + |end shift|) / 2 in this draw"),
        "expected_success_sum": number("summed success probability under this draw's parameters"),
        "expected_advantage_sum": number("sum(centred advantage x success probability) under this draw's parameters"),
    },
)

AGENT_EVIDENCE = Schema(
    "agent_evidence",
    ("wave", "agent_id"),
    {
        "wave": count("wave, from 1", low=1),
        "agent_id": identifier("agent"),
        "capacity": count("tasks it may take"),
        "slot_worth": number("what room for one task more would add to the wave's score"),
        "success_variance": number("variance over draws of the summed success probability of its tasks that ran"),
        "advantage_variance": number("the same of their sum(centred advantage x success probability)"),
        "duration_count": count("its attempts with a recorded time"),
        "log_duration_residual_sum": number("their log times less what was forecast of each outcome, summed"),
        "log_duration_variance": number("variance of that sum: scatter, and what is not known of pairs and agent"),
        "log_duration_outcome_sd": number(
            "its standard deviation, signed, for what is not known of outcomes: one figure for all agents"
        ),
        "log_duration_third_moment": number("third central moment of that sum"),
    },
)

# What chance may do to an agent's tasks of one risk level, by the plan's draws over the tasks that ran.
RISK_EVIDENCE = Schema(
    "risk_evidence",
    ("wave", "agent_id", "risk_level"),
    {
        "wave": count("wave, from 1", low=1),
        "agent_id": identifier("agent"),
        "risk_level": RISK_LEVEL,
        "success_sd": number("predictive standard deviation of its completed tasks", "tasks"),
        "success_low": number("5 % quantile of its completed tasks", "tasks"),
        "success_high": number("95 % quantile of its completed tasks", "tasks"),
        "success_p_value": rate("two-sided mid-p of what was completed"),
        "busy_sd_ms": milliseconds("predictive standard deviation of its busy time"),
        "busy_low_ms": milliseconds("5 % quantile of its busy time"),
        "busy_high_ms": milliseconds("95 % quantile of its busy time"),
        "busy_p_value": rate("two-sided mid-p of the time it spent"),
    },
)

# One wave by a strategy it was not carried out by, in the world it was carried out in.
ALTERNATIVES = Schema(
    "alternatives",
    ("wave", "strategy"),
    {
        "wave": count("wave, from 1", low=1),
        "chosen_strategy": identifier("strategy the wave was carried out by"),
        "strategy": identifier("the other strategy, or round_robin: the mean over its rotations"),
        "task_count": count("tasks planned"),
        "reassigned_count": count("tasks that another agent would have done; null for round_robin", nullable=True),
        "ran_count": count("tasks whose outcome the world knows"),
        "promised_success_sum": number("summed planned success"),
        "planned_success_sum": number("summed planned success of the tasks counted in ran_count"),
        "success_sum": number("tasks that would have been completed"),
        "retry_sum": number("attempts after the first"),
        "confidence_sum": number("summed change of confidence"),
        "makespan_ms": milliseconds("last agent's end; null for round_robin", nullable=True),
        "paired_count": count("tasks that ran here and there"),
        "lead_sum": number("sum over those of the outcome here less the outcome there"),
        "lead_square_sum": number("sum of that difference's square"),
    },
)

CONVERGENCE = Schema(
    "previous_convergence",
    ("run_rank", "wave"),
    {
        "run_id": identifier("run of the chain that --previous makes"),
        "run_rank": count("rank of the run, the oldest first, from 1", low=1),
        "wave": count("wave, from 1", low=1),
        "planned_success_rate": rate("mean planned success; null without tasks", nullable=True),
        "actual_success_rate": rate("completed of the tasks that ran; null where none did", nullable=True),
        "success_rate_error": rate("|planned - actual|", nullable=True),
        "chance_error": rate("its standard deviation were the forecasts right", nullable=True),
        "standardized_error": number("the one over the other", "standard deviations", nullable=True),
        "accuracy_score": rate("1 - |planned - actual| / planned, within [0, 1]", nullable=True),
        "brier_score": rate("mean squared error of planned success", nullable=True),
        "log_loss": number("mean -log of what was forecast for what happened", nullable=True),
        "ran_count": count("tasks that ran"),
        "simulated": Column(pl.Boolean, "whether the outcomes are a dry run's"),
        "timestamp": Column(pl.Datetime("us", "UTC"), "moment of the run"),
    },
)

"""Every frame's schema, declared once: column, dtype, unit, bounds and grain.

Stages meet through these frames. A column is named by its schema, validated where data crosses the
package's boundary, and trusted inside it.
"""

from __future__ import annotations

import polars as pl

from phase19.schema import Column, Schema

__all__ = [
    "AGENTS",
    "AGENT_EVIDENCE",
    "ATTEMPTS",
    "CONVERGENCE",
    "DECISIONS",
    "EXECUTIONS",
    "HEURISTICS",
    "ORDERS",
    "OUTCOMES",
    "PATTERNS",
    "PLANS",
    "RISK_EVIDENCE",
    "RISK_LEVELS",
    "SIGNALS",
    "SOURCES",
    "TASKS",
    "UNASSIGNED",
    "WAVE_DRAWS",
    "WAVE_PLANS",
]

RISK_LEVELS = ("LOW", "MEDIUM", "HIGH", "UNKNOWN")
STRINGS = pl.List(pl.String)


def _id(doc: str, *, nullable: bool = False) -> Column:
    return Column(pl.String, doc, nullable=nullable)


def _rate(doc: str, *, nullable: bool = False) -> Column:
    return Column(pl.Float64, doc, "fraction", nullable=nullable, low=0.0, high=1.0)


def _ms(doc: str, *, nullable: bool = False) -> Column:
    return Column(pl.Float64, doc, "ms", nullable=nullable, low=0.0)


def _number(doc: str, unit: str = "", *, nullable: bool = False) -> Column:
    return Column(pl.Float64, doc, unit, nullable=nullable)


def _count(doc: str, *, low: int = 0, nullable: bool = False) -> Column:
    return Column(pl.Int64, doc, "count", nullable=nullable, low=low)


def _text(doc: str) -> Column:
    return Column(pl.String, doc, nullable=True)


_RISK = Column(pl.String, "LOW, MEDIUM, HIGH or UNKNOWN", values=RISK_LEVELS, default="MEDIUM")
_HEURISTICS_APPLIED = Column(STRINGS, "ids of the Phase 16 heuristics applied", default=[])

_BOOST = Column(pl.Float64, "what a heuristic adds to the confidence", "fraction", low=-1.0, high=1.0, default=0.0)

TASKS = Schema(
    "tasks",
    ("task_id",),
    {
        "task_id": _id("unique task id"),
        "wave": Column(pl.Int64, "wave the task belongs to, from 1; null until dealt", nullable=True, low=0),
        "risk_level": _RISK,
        "category": _text("kind of task"),
        "confidence": _rate("recorded confidence; null where none is recorded", nullable=True),
        "confidence_boost": _BOOST,
        "priority": Column(pl.Int64, "rank Phase 16 gave, 1 first", nullable=True),
        "heuristics_applied": _HEURISTICS_APPLIED,
        "predicted_success_rate": _rate("Phase 16's own prediction", nullable=True),
        "predicted_confidence_delta": _number("Phase 16's own prediction", nullable=True),
        "approval_status": _text("Phase 16's approval status; never an approval here"),
        "reason": _text("why Phase 16 planned it"),
        "deadline_ms": _ms("deadline from the start of the wave", nullable=True),
        "estimated_duration_ms": _ms("estimated duration of one attempt", nullable=True),
        "required_agents": Column(STRINGS, "agents allowed to do it; null or empty for any", nullable=True),
        "excluded_agents": Column(STRINGS, "agents that may not do it; null or empty for none", nullable=True),
    },
)

ATTEMPTS = Schema(
    "attempts",
    (),
    {
        "task_id": _id("task attempted"),
        "agent_id": _id("agent that attempted it; null where not recorded", nullable=True),
        "wave": Column(pl.Int64, "wave of the attempt", nullable=True, low=0),
        "risk_level": Column(pl.String, "risk level; null where not recorded", nullable=True, values=RISK_LEVELS),
        "category": _text("kind of task"),
        "is_success": Column(pl.Boolean, "whether the attempt succeeded"),
        "confidence_before": _rate("confidence before the attempt", nullable=True),
        "confidence_after": _rate("confidence after the attempt", nullable=True),
        "confidence_delta": _number("change of confidence", nullable=True),
        "confidence_boost": _BOOST,
        "duration_ms": _ms("execution time; null where not recorded", nullable=True),
        "is_censored": Column(pl.Boolean, "stopped by a limit", default=False),
        "attempt": Column(pl.Int64, "number of the attempt, from 1", low=1, default=1),
        "heuristics_applied": _HEURISTICS_APPLIED,
        "error_message": _text("what went wrong"),
        "timestamp": Column(pl.Datetime("us", "UTC"), "end of the attempt", nullable=True),
        "source": Column(pl.String, "where the record is from", values=("phase17", "phase18", "previous", "run")),
    },
)

AGENTS = Schema(
    "agents",
    ("agent_id",),
    {
        "agent_id": _id("agent, in natural order"),
        "record_count": _count("attempts recorded with this agent's id"),
        "summary_task_count": _count("tasks in agent_performance; null where absent", nullable=True),
        "summary_success_rate": _rate("success rate in agent_performance", nullable=True),
        "summary_duration_ms": _ms("avg_execution_time_ms in agent_performance", nullable=True),
        "summary_confidence_delta": _number("avg_confidence_delta in agent_performance", nullable=True),
        "capacity": _count("tasks it may take in a wave; null for no limit of its own", nullable=True),
        "evidence": Column(pl.String, "what the agent is judged by", values=("records", "summary", "none")),
    },
)

HEURISTICS = Schema(
    "heuristics",
    ("heuristic_id",),
    {
        "heuristic_id": _id("Phase 16 heuristic"),
        "category": _text("category"),
        "rule": _text("its rule, as JSON text"),
        "confidence": _rate("Phase 16's confidence in it", nullable=True),
        "expected_improvement": _number("Phase 16's expected improvement", nullable=True),
    },
)

PATTERNS = Schema(
    "patterns",
    (),
    {
        "pattern_type": _id("name of the coordination pattern"),
        "success_rate": _rate("its recorded success rate", nullable=True),
        "confidence": _rate("Phase 18's confidence in it", nullable=True),
        "task_count": _count("tasks in its assignments"),
        "agent_count": _count("agents in its assignments"),
    },
)

SIGNALS = Schema(
    "signals",
    ("signal_id",),
    {
        "signal_id": _id("Phase 18 learning signal"),
        "type": _text("kind of signal"),
        "confidence": _rate("Phase 18's confidence in it", nullable=True),
        "description": _text("what it says"),
    },
)

SOURCES = Schema(
    "sources",
    ("file",),
    {
        "file": _id("file name relative to its phase's directory"),
        "row_count": _count("rows read from it"),
        "status": Column(
            pl.String, "used, empty, or absent (its default was taken)", values=("used", "empty", "absent")
        ),
        "ignored_fields": Column(STRINGS, "fields left out because the contract does not know them", default=[]),
    },
)

DECISIONS = Schema(
    "decisions",
    ("task_id",),
    {
        "task_id": _id("task"),
        "wave": _count("wave, from 1", low=1),
        "risk_level": _RISK,
        "confidence": _rate("recorded confidence, before any boost", nullable=True),
        "decision": Column(pl.String, "what this run did", values=("approved", "deferred")),
        "live_decision": Column(pl.String, "what a live run does", values=("approved", "deferred")),
        "reason": _id("the rule that decided"),
        "relaxed_by": _text("heuristic that lowered the threshold for it; null where none did"),
    },
)

_PLAN_COLUMNS = {
    "wave": _count("wave, from 1", low=1),
    "task_id": _id("task"),
    "agent_id": _id("agent it is assigned to"),
    "priority": _count("rank in its wave, from 1", low=1),
    "risk_level": _RISK,
    "category": _text("kind of task"),
    "confidence": _rate("recorded confidence"),
    "confidence_boost": _BOOST,
    "updated_confidence": _rate("confidence after boosts and what the waves before showed"),
    "heuristics_applied": _HEURISTICS_APPLIED,
    "record_count": _count("recorded attempts of this (task, agent) pair"),
    "max_attempts": _count("attempts allowed in the wave", low=1),
    "success_probability": _rate("probability that the first attempt succeeds"),
    "success_low": _rate("5 % quantile of the first attempt's success probability"),
    "success_high": _rate("95 % quantile of the first attempt's success probability"),
    "planned_success": _rate("probability that the task succeeds within its attempts"),
    "planned_success_variance": _number("posterior variance of planned_success, what the forecast does not know"),
    "baseline_success": _rate("planned success averaged over all agents: what round robin would give"),
    "planned_attempts": _number("expected number of attempts", "attempts"),
    "duration_ms_p50": _ms("median duration of one attempt"),
    "duration_ms_p90": _ms("90 % quantile of the duration of one attempt"),
    "planned_duration_ms": _ms("expected busy time of all attempts it may need"),
    "planned_confidence_delta": _number("expected change of confidence"),
    "success_term": _rate("success term of the score, scaled"),
    "throughput_term": _rate("throughput term of the score, scaled"),
    "confidence_term": _rate("confidence term of the score, scaled"),
    "score": _number("score the assignment maximised"),
    "agent_price": _number("what room for one task more at its agent would add to the wave's score"),
    "runner_up_agent_id": _id("agent that would have had it next; null where no other may", nullable=True),
    "runner_up_score": _number("the runner-up's score", nullable=True),
    "score_margin": _number("what the wave's score would lose were the runner-up to do it", nullable=True),
    "scheduled_start_time": _ms("planned start, from the start of the wave"),
    "scheduled_end_time": _ms("planned end, from the start of the wave"),
}
PLANS = Schema("plans", ("task_id",), _PLAN_COLUMNS)

UNASSIGNED = Schema(
    "unassigned",
    ("task_id",),
    {
        "task_id": _id("task that no agent got"),
        "wave": _count("wave, from 1", low=1),
        "reason": _id("why it was left out"),
    },
)

# What an executor may know of a wave: who does what, and no forecast.
ORDERS = Schema(
    "orders",
    ("task_id",),
    {
        name: _PLAN_COLUMNS[name]
        for name in (
            "wave",
            "task_id",
            "agent_id",
            "priority",
            "risk_level",
            "category",
            "confidence",
            "confidence_boost",
            "heuristics_applied",
            "max_attempts",
        )
    },
)

OUTCOMES = Schema(
    "outcomes",
    ("task_id",),
    {
        "task_id": _id("task, as planned"),
        "agent_id": _id("agent, as planned"),
        "status": Column(pl.String, "row state", values=("completed", "failed", "unobserved", "interrupted")),
        "attempt_count": _count("attempts made; 0 where it did not run"),
        "actual_duration_ms": _ms("busy time over its attempts; null where it did not run", nullable=True),
        "actual_confidence_delta": _number("change of confidence; null where it did not run", nullable=True),
        "is_duration_measured": Column(
            pl.Boolean, "whether the time of every attempt was recorded; false where some were filled in", default=True
        ),
        "is_censored": Column(
            pl.Boolean, "whether a limit stopped an attempt: it lasted this long at least", default=False
        ),
    },
)

EXECUTIONS = Schema(
    "executions",
    ("task_id",),
    {
        **_PLAN_COLUMNS,
        "actual_start_time": _ms("actual start, from the start of the wave", nullable=True),
        "actual_end_time": _ms("actual end, from the start of the wave", nullable=True),
        "status": OUTCOMES.columns["status"],
        "retry_count": _count("attempts after the first"),
        "actual_duration_ms": OUTCOMES.columns["actual_duration_ms"],
        "actual_confidence_delta": OUTCOMES.columns["actual_confidence_delta"],
        "is_duration_measured": OUTCOMES.columns["is_duration_measured"],
        "is_censored": OUTCOMES.columns["is_censored"],
    },
)

# Planned figures of a wave are over the tasks that ran, or all where none did, from draws frozen before the wave ran.
WAVE_PLANS = Schema(
    "wave_plans",
    ("wave",),
    {
        "wave": _count("wave, from 1", low=1),
        "strategy": _id("strategy the wave was planned with"),
        "planned_makespan_ms": _ms("mean over draws of the last agent's end; null without tasks", nullable=True),
        "planned_busy_ms": _ms("mean over draws of the agents' summed busy time; null without tasks", nullable=True),
        "timeline_end_ms": _ms("end of the longest scheduled timeline"),
        "solver": _id("algorithm that solved the assignment"),
        "objective": _number(
            "what the plan maximises: its scores, for throughput the makespan of planned times in ms, negative"
        ),
        "upper_bound": _number("proved bound on the objective"),
        "gap": _number("upper_bound - objective, 0 where that is rounding"),
        "moved_count": _count("tasks moved off the optimal assignment to even out the load"),
        "is_load_limit_met": Column(
            pl.Boolean, "whether all agents keep to --max-load-factor; null where none is given", nullable=True
        ),
        "unassigned_count": Column(pl.Int64, "tasks of the wave left out for lack of room", "count", low=0, default=0),
        "learned_attempt_count": _count(
            "attempts of the wave before that were learned from; null before any", nullable=True
        ),
        "learned_forecast_shift": _number("mean absolute change of planned success over all pairs", nullable=True),
        "learned_reassigned_share": _rate("tasks that another agent does because of it", nullable=True),
        "learned_reassignment_gain": _number("successes a task that the reassignment is worth", nullable=True),
    },
)

WAVE_DRAWS = Schema(
    "wave_draws",
    ("wave", "draw"),
    {
        "wave": _count("wave, from 1", low=1),
        "draw": _count("number of the draw from the plan's predictive distribution"),
        "ran_count": _count("tasks that ran in reality, over which the draw counts"),
        "success_rate": _rate("success rate in this draw"),
        "makespan_ms": _ms("last agent's end in this draw"),
        "busy_ms": _ms("summed busy time in this draw"),
        "confidence_delta": _number("mean confidence change in this draw"),
        "deviation_ms": _ms("mean of (|start shift| + |end shift|) / 2 in this draw"),
        "expected_success_sum": _number("summed success probability under this draw's parameters"),
        "expected_advantage_sum": _number("sum(centred advantage x success probability) under this draw's parameters"),
    },
)

AGENT_EVIDENCE = Schema(
    "agent_evidence",
    ("wave", "agent_id"),
    {
        "wave": _count("wave, from 1", low=1),
        "agent_id": _id("agent"),
        "capacity": _count("tasks it may take"),
        "slot_worth": _number("what room for one task more would add to the wave's score"),
        "success_variance": _number("variance over draws of the summed success probability of its tasks that ran"),
        "advantage_variance": _number("the same of their sum(centred advantage x success probability)"),
        "duration_count": _count("its attempts with a recorded time"),
        "log_duration_residual_sum": _number("their log times less what was forecast of each outcome, summed"),
        "log_duration_variance": _number("variance of that sum: scatter, and what is not known of pairs and agent"),
        "log_duration_outcome_sd": _number(
            "its standard deviation, signed, for what is not known of outcomes: one figure for all agents"
        ),
        "log_duration_third_moment": _number("third central moment of that sum"),
    },
)

# What chance may do to an agent's tasks of one risk level, by the plan's draws over the tasks that ran.
RISK_EVIDENCE = Schema(
    "risk_evidence",
    ("wave", "agent_id", "risk_level"),
    {
        "wave": _count("wave, from 1", low=1),
        "agent_id": _id("agent"),
        "risk_level": _RISK,
        "success_sd": _number("predictive standard deviation of its completed tasks", "tasks"),
        "success_low": _number("5 % quantile of its completed tasks", "tasks"),
        "success_high": _number("95 % quantile of its completed tasks", "tasks"),
        "success_p_value": _rate("two-sided mid-p of what was completed"),
        "busy_sd_ms": _ms("predictive standard deviation of its busy time"),
        "busy_low_ms": _ms("5 % quantile of its busy time"),
        "busy_high_ms": _ms("95 % quantile of its busy time"),
        "busy_p_value": _rate("two-sided mid-p of the time it spent"),
    },
)

# One wave by a strategy it was not carried out by, in the world it was carried out in.
ALTERNATIVES = Schema(
    "alternatives",
    ("wave", "strategy"),
    {
        "wave": _count("wave, from 1", low=1),
        "chosen_strategy": _id("strategy the wave was carried out by"),
        "strategy": _id("the other strategy, or round_robin: the mean over its rotations"),
        "task_count": _count("tasks planned"),
        "reassigned_count": _count("tasks that another agent would have done; null for round_robin", nullable=True),
        "ran_count": _count("tasks whose outcome the world knows"),
        "promised_success_sum": _number("summed planned success"),
        "planned_success_sum": _number("summed planned success of the tasks counted in ran_count"),
        "success_sum": _number("tasks that would have been completed"),
        "retry_sum": _number("attempts after the first"),
        "confidence_sum": _number("summed change of confidence"),
        "makespan_ms": _ms("last agent's end; null for round_robin", nullable=True),
        "paired_count": _count("tasks that ran here and there"),
        "lead_sum": _number("sum over those of the outcome here less the outcome there"),
        "lead_square_sum": _number("sum of that difference's square"),
    },
)

CONVERGENCE = Schema(
    "previous_convergence",
    ("run_rank", "wave"),
    {
        "run_id": _id("run of the chain that --previous makes"),
        "run_rank": _count("rank of the run, the oldest first, from 1", low=1),
        "wave": _count("wave, from 1", low=1),
        "planned_success_rate": _rate("mean planned success; null without tasks", nullable=True),
        "actual_success_rate": _rate("completed of the tasks that ran; null where none did", nullable=True),
        "success_rate_error": _rate("|planned - actual|", nullable=True),
        "chance_error": _rate("its standard deviation were the forecasts right", nullable=True),
        "standardized_error": _number("the one over the other", "standard deviations", nullable=True),
        "accuracy_score": _rate("1 - |planned - actual| / planned, within [0, 1]", nullable=True),
        "brier_score": _rate("mean squared error of planned success", nullable=True),
        "log_loss": _number("mean -log of what was forecast for what happened", nullable=True),
        "ran_count": _count("tasks that ran"),
        "simulated": Column(pl.Boolean, "whether the outcomes are a dry run's"),
        "timestamp": Column(pl.Datetime("us", "UTC"), "moment of the run"),
    },
)

"""The schema of every frame that goes through a run: column, dtype, unit, bounds and grain, declared once.

Stages meet through these frames. A column is named by its schema, validated where data crosses the
package's boundary, and trusted inside it. What a run's analysis reads beside them is in
:mod:`phase19.evidence_frames`.
"""

from __future__ import annotations

import polars as pl

from phase19.columns import RISK_LEVEL, RISK_LEVELS, STRINGS, count, identifier, milliseconds, number, rate, text
from phase19.schema import Column, Schema

__all__ = [
    "AGENTS",
    "ATTEMPTS",
    "DECISIONS",
    "EXECUTIONS",
    "HEURISTICS",
    "ORDERS",
    "OUTCOMES",
    "PATTERNS",
    "PLANS",
    "RAN",
    "RISK_LEVELS",
    "SIGNALS",
    "SOURCES",
    "TASKS",
    "UNASSIGNED",
    "has_run",
]

RAN = ("completed", "failed")  # statuses of tasks that ran


def has_run() -> pl.Expr:
    """Whether the task of a row ran, by its `status`."""
    return pl.col("status").is_in(RAN)


_HEURISTICS_APPLIED = Column(STRINGS, "ids of the Phase 16 heuristics applied", default=[])

_BOOST = Column(pl.Float64, "what a heuristic adds to the confidence", "fraction", low=-1.0, high=1.0, default=0.0)

TASKS = Schema(
    "tasks",
    ("task_id",),
    {
        "task_id": identifier("unique task id"),
        "wave": Column(pl.Int64, "wave the task belongs to, from 1; null until dealt", nullable=True, low=0),
        "risk_level": RISK_LEVEL,
        "category": text("kind of task"),
        "confidence": rate("recorded confidence; null where none is recorded", nullable=True),
        "confidence_boost": _BOOST,
        "priority": Column(pl.Int64, "rank Phase 16 gave, 1 first", nullable=True),
        "heuristics_applied": _HEURISTICS_APPLIED,
        "predicted_success_rate": rate("Phase 16's own prediction", nullable=True),
        "predicted_confidence_delta": number("Phase 16's own prediction", nullable=True),
        "approval_status": text("Phase 16's approval status; never an approval here"),
        "reason": text("why Phase 16 planned it"),
        "deadline_ms": milliseconds("deadline from the start of the wave", nullable=True),
        "estimated_duration_ms": milliseconds("estimated duration of one attempt", nullable=True),
        "required_agents": Column(STRINGS, "agents allowed to do it; null or empty for any", nullable=True),
        "excluded_agents": Column(STRINGS, "agents that may not do it; null or empty for none", nullable=True),
    },
)

ATTEMPTS = Schema(
    "attempts",
    (),
    {
        "task_id": identifier("task attempted"),
        "agent_id": identifier("agent that attempted it; null where not recorded", nullable=True),
        "wave": Column(pl.Int64, "wave of the attempt", nullable=True, low=0),
        "risk_level": Column(pl.String, "risk level; null where not recorded", nullable=True, values=RISK_LEVELS),
        "category": text("kind of task"),
        "is_success": Column(pl.Boolean, "whether the attempt succeeded"),
        "confidence_before": rate("confidence before the attempt", nullable=True),
        "confidence_after": rate("confidence after the attempt", nullable=True),
        "confidence_delta": number("change of confidence", nullable=True),
        "confidence_boost": _BOOST,
        "duration_ms": milliseconds("execution time; null where not recorded", nullable=True),
        "is_censored": Column(pl.Boolean, "stopped by a limit", default=False),
        "attempt": Column(pl.Int64, "number of the attempt, from 1", low=1, default=1),
        "heuristics_applied": _HEURISTICS_APPLIED,
        "error_message": text("what went wrong"),
        "timestamp": Column(pl.Datetime("us", "UTC"), "end of the attempt", nullable=True),
        "source": Column(pl.String, "where the record is from", values=("phase17", "phase18", "previous", "run")),
    },
)

AGENTS = Schema(
    "agents",
    ("agent_id",),
    {
        "agent_id": identifier("agent, in natural order"),
        "record_count": count("attempts recorded with this agent's id"),
        "summary_task_count": count("tasks in agent_performance; null where absent", nullable=True),
        "summary_success_rate": rate("success rate in agent_performance", nullable=True),
        "summary_duration_ms": milliseconds("avg_execution_time_ms in agent_performance", nullable=True),
        "summary_confidence_delta": number("avg_confidence_delta in agent_performance", nullable=True),
        "capacity": count("tasks it may take in a wave; null for no limit of its own", nullable=True),
        "evidence": Column(pl.String, "what the agent is judged by", values=("records", "summary", "none")),
    },
)

HEURISTICS = Schema(
    "heuristics",
    ("heuristic_id",),
    {
        "heuristic_id": identifier("Phase 16 heuristic"),
        "category": text("category"),
        "rule": text("its rule, as JSON text"),
        "confidence": rate("Phase 16's confidence in it", nullable=True),
        "expected_improvement": number("Phase 16's expected improvement", nullable=True),
    },
)

PATTERNS = Schema(
    "patterns",
    (),
    {
        "pattern_type": identifier("name of the coordination pattern"),
        "success_rate": rate("its recorded success rate", nullable=True),
        "confidence": rate("Phase 18's confidence in it", nullable=True),
        "task_count": count("tasks in its assignments"),
        "agent_count": count("agents in its assignments"),
    },
)

SIGNALS = Schema(
    "signals",
    ("signal_id",),
    {
        "signal_id": identifier("Phase 18 learning signal"),
        "type": text("kind of signal"),
        "confidence": rate("Phase 18's confidence in it", nullable=True),
        "description": text("what it says"),
    },
)

SOURCES = Schema(
    "sources",
    ("file",),
    {
        "file": identifier("file name relative to its phase's directory"),
        "row_count": count("rows read from it"),
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
        "task_id": identifier("task"),
        "wave": count("wave, from 1", low=1),
        "risk_level": RISK_LEVEL,
        "confidence": rate("recorded confidence, before any boost", nullable=True),
        "decision": Column(pl.String, "what this run did", values=("approved", "deferred")),
        "live_decision": Column(pl.String, "what a live run does", values=("approved", "deferred")),
        "reason": identifier("the rule that decided"),
        "relaxed_by": text("heuristic that lowered the threshold for it; null where none did"),
    },
)

_PLAN_COLUMNS = {
    "wave": count("wave, from 1", low=1),
    "task_id": identifier("task"),
    "agent_id": identifier("agent it is assigned to"),
    "priority": count("rank in its wave, from 1", low=1),
    "risk_level": RISK_LEVEL,
    "category": text("kind of task"),
    "confidence": rate("recorded confidence"),
    "confidence_boost": _BOOST,
    "updated_confidence": rate("confidence after boosts and what the waves before showed"),
    "heuristics_applied": _HEURISTICS_APPLIED,
    "record_count": count("recorded attempts of this (task, agent) pair"),
    "max_attempts": count("attempts allowed in the wave", low=1),
    "success_probability": rate("probability that the first attempt succeeds"),
    "success_low": rate("5 % quantile of the first attempt's success probability"),
    "success_high": rate("95 % quantile of the first attempt's success probability"),
    "planned_success": rate("probability that the task succeeds within its attempts"),
    "planned_success_variance": number("posterior variance of planned_success, what the forecast does not know"),
    "baseline_success": rate("planned success averaged over all agents: what round robin would give"),
    "planned_attempts": number("expected number of attempts", "attempts"),
    "duration_ms_p50": milliseconds("median duration of one attempt"),
    "duration_ms_p90": milliseconds("90 % quantile of the duration of one attempt"),
    "planned_duration_ms": milliseconds("expected busy time of all attempts it may need"),
    "planned_confidence_delta": number("expected change of confidence"),
    "success_term": rate("success term of the score, scaled"),
    "throughput_term": rate("throughput term of the score, scaled"),
    "confidence_term": rate("confidence term of the score, scaled"),
    "score": number("score the assignment maximised"),
    "agent_price": number("what room for one task more at its agent would add to the wave's score"),
    "runner_up_agent_id": identifier("agent that would have had it next; null where no other may", nullable=True),
    "runner_up_score": number("the runner-up's score", nullable=True),
    "score_margin": number("what the wave's score would lose were the runner-up to do it", nullable=True),
    "scheduled_start_time": milliseconds("planned start, from the start of the wave"),
    "scheduled_end_time": milliseconds("planned end, from the start of the wave"),
}
PLANS = Schema("plans", ("task_id",), _PLAN_COLUMNS)

UNASSIGNED = Schema(
    "unassigned",
    ("task_id",),
    {
        "task_id": identifier("task that no agent got"),
        "wave": count("wave, from 1", low=1),
        "reason": identifier("why it was left out"),
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
        "task_id": identifier("task, as planned"),
        "agent_id": identifier("agent, as planned"),
        "status": Column(pl.String, "row state", values=("completed", "failed", "unobserved", "interrupted")),
        "attempt_count": count("attempts made; 0 where it did not run"),
        "actual_duration_ms": milliseconds("busy time over its attempts; null where it did not run", nullable=True),
        "actual_confidence_delta": number("change of confidence; null where it did not run", nullable=True),
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
        "actual_start_time": milliseconds("actual start, from the start of the wave", nullable=True),
        "actual_end_time": milliseconds("actual end, from the start of the wave", nullable=True),
        "status": OUTCOMES.columns["status"],
        "retry_count": count("attempts after the first"),
        "actual_duration_ms": OUTCOMES.columns["actual_duration_ms"],
        "actual_confidence_delta": OUTCOMES.columns["actual_confidence_delta"],
        "is_duration_measured": OUTCOMES.columns["is_duration_measured"],
        "is_censored": OUTCOMES.columns["is_censored"],
    },
)

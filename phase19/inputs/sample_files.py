"""What Phases 16 and 18 would write about an execution: heuristics, summary, patterns, health and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["HEURISTICS", "phase18_documents"]

HEURISTICS: list[dict[str, Any]] = [
    {
        "heuristic_id": "H16_001",
        "category": "task_prioritization",
        "name": "Sure things first",
        "description": "Do tasks of low risk and high confidence before the others",
        "rule": {
            "priority_order": [
                {"risk_level": "LOW", "confidence_min": 0.85},
                {"risk_level": "LOW", "confidence_min": 0.7},
                {"risk_level": "MEDIUM", "confidence_min": 0.85},
                {"risk_level": "MEDIUM", "confidence_min": 0.75},
                {"risk_level": "HIGH", "confidence_min": 0.9},
            ]
        },
        "confidence": 0.92,
        "expected_improvement": 0.08,
    },
    {
        "heuristic_id": "H16_002",
        "category": "confidence_elevation",
        "name": "Benefit of the doubt",
        "description": "Raise the confidence of medium-risk tasks that fall just short by 0.05",
        "rule": {
            "condition": {"risk_level": "MEDIUM", "confidence_range": [0.7, 0.75]},
            "action": "boost_confidence_by",
            "amount": 0.05,
        },
        "confidence": 0.85,
        "expected_improvement": 0.05,
    },
    {
        "heuristic_id": "H16_003",
        "category": "risk_assessment",
        "name": "Try again, less sure",
        "description": "Repeat failed tasks of low and medium risk, with 0.05 less confidence each time",
        "rule": {
            "condition": {"status": "failed", "risk_level": ["LOW", "MEDIUM"]},
            "action": "retry_with_confidence_recalibration",
            "max_retries": 3,
            "confidence_penalty": -0.05,
        },
        "confidence": 0.88,
        "expected_improvement": 0.03,
    },
    {
        "heuristic_id": "H16_004",
        "category": "policy_tuning",
        "name": "Looser after a good wave",
        "description": "After a wave above 90 % success, let medium-risk tasks through from 0.70",
        "rule": {
            "condition": {"success_rate_previous_wave": 0.9},
            "action": "adjust_policy",
            "parameters": {"high_risk_threshold": 0.7},
        },
        "confidence": 0.82,
        "expected_improvement": 0.12,
    },
]


def phase18_documents(outcomes: pl.DataFrame, agent_count: int, timestamp: datetime) -> dict[str, Any]:
    """Summarise an execution as Phase 18 does.

    Parameters
    ----------
    outcomes
        Rows of task_outcomes.jsonl.
    agent_count
        Agents of the system, with records or without.
    timestamp
        When the summary is made, UTC.

    Returns
    -------
    dict
        File name -> document (a list of rows for a JSONL file). Rates are over attempts.
    """
    means = (
        (pl.col("status") == "success").mean().round(4).alias("success_rate"),
        pl.len().alias("tasks"),
        pl.col("execution_time_ms").mean().round(3).alias("avg_execution_time_ms"),
        pl.col("confidence_delta").mean().round(4).alias("avg_confidence_delta"),
        (pl.col("attempts") > 1).mean().round(4).alias("retry_rate"),
    )
    number = pl.col("agent_id").str.strip_prefix("agent_").cast(pl.Int64)
    performance = (
        outcomes.group_by("agent_id", maintain_order=True)
        .agg(*means, busy_ms=pl.col("execution_time_ms").sum())
        .sort(number)
    )
    overall = outcomes.select(*means).row(0, named=True)
    written = timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    first_wave = outcomes.filter(pl.col("wave") == 1).select("agent_id", "task_id").unique(maintain_order=True)
    assigned = first_wave.group_by("agent_id", maintain_order=True).agg("task_id").sort(number)
    balance = round(100 * performance.select(pl.col("busy_ms").mean() / pl.col("busy_ms").max()).item(), 1)
    execution = round(100 * overall["success_rate"], 1)
    health = round((balance + execution) / 2, 1)
    best = performance.sort("success_rate", "tasks", number, descending=[True, True, False]).row(0, named=True)
    agents = performance.drop("agent_id", "busy_ms").to_dicts()
    return {
        "multi_agent_summary.json": {
            "total_agents": agent_count,
            "total_tasks": outcomes["task_id"].n_unique(),
            "total_waves": outcomes["wave"].max(),
            **{name: value for name, value in overall.items() if name != "tasks"},
            "agent_performance": dict(zip(performance["agent_id"], agents, strict=True)),
            "timestamp": written,
        },
        "coordination_patterns.json": [
            {
                "pattern_type": "round_robin",
                "agent_assignments": dict(zip(assigned["agent_id"], assigned["task_id"].to_list(), strict=True)),
                "success_rate": outcomes.filter(pl.col("wave") == 1).select(means[0]).item(),
                "confidence": 0.8,
            }
        ],
        "system_health.json": {
            "overall_health_score": health,
            "health_status": next(
                name for name, low in (("EXCELLENT", 85), ("GOOD", 70), ("FAIR", 50), ("POOR", 0)) if health >= low
            ),
            "component_scores": {"coordination": balance, "execution": execution},
            "timestamp": written,
        },
        "learning_signals.jsonl": [
            {
                "signal_id": "LS_001",
                "type": "agent_specialization",
                "confidence": 0.9,
                "description": f"{best['agent_id']} succeeds most often ({best['success_rate']:.3f})",
            },
            {
                "signal_id": "LS_002",
                "type": "coordination_improvement",
                "confidence": 0.8,
                "description": "Round robin gives agents tasks of categories they are weak in",
            },
        ],
    }

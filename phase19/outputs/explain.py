"""Why a task of a run went to its agent, by how much, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from phase19.analysis.querying import json_lines
from phase19.errors import UsageError, plural
from phase19.outputs.rendering import Table
from phase19.outputs.text import interval, number, percent, significant

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain", "explanation_tables", "sentences"]

_QUESTION = """
select
    decisions.task_id,
    decisions.wave,
    decisions.risk_level,
    tasks.category,
    decisions.confidence,
    plans.confidence_boost,
    plans.updated_confidence,
    tasks.heuristics_applied,
    decisions.decision,
    decisions.live_decision,
    decisions.reason,
    unassigned.reason as unassigned_reason,
    tasks.agent_id,
    tasks.priority,
    plans.score,
    plans.success_term,
    plans.throughput_term,
    plans.confidence_term,
    plans.runner_up_agent_id,
    plans.runner_up_score,
    plans.score_margin,
    plans.agent_price,
    plans.success_probability,
    plans.success_low,
    plans.success_high,
    plans.planned_success,
    plans.baseline_success,
    plans.planned_attempts,
    plans.max_attempts,
    plans.duration_ms_p50,
    plans.duration_ms_p90,
    plans.planned_duration_ms,
    plans.planned_confidence_delta,
    plans.record_count,
    tasks.scheduled_start_time,
    tasks.scheduled_end_time,
    tasks.status,
    tasks.retry_count,
    tasks.actual_start_time,
    tasks.actual_end_time,
    tasks.actual_confidence_delta
from decisions
left join tasks on decisions.task_id = tasks.task_id
left join plans on decisions.task_id = plans.task_id
left join unassigned on decisions.task_id = unassigned.task_id
where decisions.task_id = $task_id
"""


def explain(run_dir: Path, task_id: str) -> dict[str, Any]:
    """All that a run's files say of one task.

    Raises
    ------
    OutputError
        `run_dir` is no run directory.
    UsageError
        The run has no such task.
    """
    found = json_lines(run_dir, _QUESTION, task_id=task_id)
    if not found:
        raise UsageError(f"explain: expected a task of {run_dir}, found {task_id!r}")
    return dict(json.loads(found))


def sentences(task: dict[str, Any]) -> list[str]:
    """Where the task went, why, and what came of it."""
    name, agent = task["task_id"], task["agent_id"]
    if agent is None:
        why = task["unassigned_reason"] or f"its gate said {task['decision']} ({task['reason']})"
        return [f"{name} went to nobody: {why}."]
    told = [f"{name} went to {agent} in wave {task['wave']}, number {task['priority']} in its order of priority."]
    runner_up, margin = task["runner_up_agent_id"], task["score_margin"]
    if runner_up is None:
        told.append("No other agent may do it, or could without another task finding no room.")
    elif margin < 0:
        told.append(f"{runner_up} was the best for it, by {significant(-margin)}; it was moved to even out the load.")
    else:
        own, other = significant(task["score"]), significant(task["runner_up_score"])
        told.append(
            f"{runner_up} came next ({other} against {own}): with it there, the wave's score would be "
            f"{significant(margin)} less at best."
        )
    if task["agent_price"] > 0:
        told.append(f"Room for one task more at {agent} would add {significant(task['agent_price'])} to that score.")
    if task["status"] in {"completed", "failed"}:
        retries = f" after {plural(task['retry_count'], 'retry', 'retries')}" if task["retry_count"] else ""
        told.append(f"It {task['status']}{retries}.")
    else:
        told.append(f"It did not run ({task['status']}).")
    return told


def explanation_tables(task: dict[str, Any]) -> tuple[Table, ...]:
    """The figures behind the sentences; none for a task that went to nobody."""
    if task["agent_id"] is None:
        return ()
    heuristics = ", ".join(task["heuristics_applied"]) or "none"
    planned_end, actual_end = task["scheduled_end_time"], task["actual_end_time"]
    return (
        Table(
            ("forecast", "value", "90 % interval"),
            (
                (
                    "first attempt succeeds",
                    percent(task["success_probability"]),
                    interval(task["success_low"], task["success_high"]),
                ),
                (f"succeeds within {plural(task['max_attempts'], 'attempt')}", percent(task["planned_success"]), ""),
                ("the same by round robin", percent(task["baseline_success"]), ""),
                ("attempts", number(task["planned_attempts"], 2), ""),
                ("one attempt, median ms", significant(task["duration_ms_p50"]), ""),
                ("one attempt, 90 % below ms", significant(task["duration_ms_p90"]), ""),
                ("records of this pair", number(task["record_count"], 0), ""),
            ),
        ),
        Table(
            ("term of the score", "value"),
            tuple((term, number(task[f"{term}_term"])) for term in ("success", "throughput", "confidence")),
        ),
        Table(
            ("", "planned", "actual"),
            (
                ("end, ms from the wave's start", significant(planned_end), significant(actual_end)),
                (
                    "confidence change",
                    number(task["planned_confidence_delta"]),
                    number(task["actual_confidence_delta"]),
                ),
            ),
        ),
        Table(
            ("confidence", "value"),
            (
                ("recorded", number(task["confidence"])),
                ("added by heuristics", number(task["confidence_boost"])),
                ("after what earlier waves showed", number(task["updated_confidence"])),
                ("heuristics applied", heuristics),
                ("a live run's gate", f"{task['live_decision']}: {task['reason']}"),
            ),
        ),
    )

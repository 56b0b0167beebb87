"""When: priorities, each agent's timeline, and how it was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19 import frames
from phase19.inputs.tasks import by_priority
from phase19.options import PriorityStrategy

if TYPE_CHECKING:
    from phase19.inputs.heuristics import Heuristics

__all__ = ["adherence", "largest", "mean", "schedule", "settle", "success_rate", "timeline", "utilization"]

_ACTUAL_COLUMNS = tuple(name for name in frames.EXECUTIONS.columns if name not in frames.PLANS.columns)


def schedule(
    tasks: pl.DataFrame,
    planned: pl.DataFrame,
    strategy: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE,
    heuristics: Heuristics | None = None,
) -> pl.DataFrame:
    """Rank a wave's tasks and lay them on their agents' timelines.

    Parameters
    ----------
    tasks
        The wave's `frames.TASKS`.
    planned
        One row a task: task_id, agent_id, `agent` (the agent's place in natural order), planned_duration_ms,
        planned_success and baseline_success.
    strategy, heuristics
        What comes first, and the rules in force.

    Returns
    -------
    polars.DataFrame
        The rows with `priority` and scheduled times in ms from the wave's start; agents in their order, each
        in the order of its timeline.
    """
    advantage = planned.select("task_id", advantage=pl.col("planned_success") - pl.col("baseline_success"))
    ranked = by_priority(tasks.join(advantage, on="task_id"), strategy, heuristics).select("task_id")
    return timeline(planned.join(ranked.with_row_index("priority", offset=1), on="task_id"))


def timeline(planned: pl.DataFrame) -> pl.DataFrame:
    """Put planned times end to end on each agent's timeline, in the order of priority."""
    end = pl.col("planned_duration_ms").cum_sum().over("agent_id")
    return (
        planned.sort("agent", "priority")
        .with_columns(pl.col("priority").cast(pl.Int64), scheduled_end_time=end)
        .with_columns(scheduled_start_time=pl.col("scheduled_end_time").shift(1, fill_value=0.0).over("agent_id"))
    )


def settle(plans: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Set what happened beside what was planned, on the agents' actual timelines.

    Parameters
    ----------
    plans
        A wave's scheduled rows, `frames.PLANS` in a run: agents together, in the order of their timelines.
    outcomes
        `frames.OUTCOMES` of the same tasks, in any order.

    Returns
    -------
    polars.DataFrame
        The rows with what happened, `frames.EXECUTIONS` in a run: each agent takes its next task as soon as it
        is free; a task that did not run takes no time and has null actual times.
    """
    joined = plans.join(outcomes.drop("agent_id"), on="task_id", maintain_order="left")
    ran = frames.has_run()
    end = pl.col("actual_duration_ms").fill_null(0.0).cum_sum().over("agent_id")
    return joined.with_columns(
        retry_count=(pl.col("attempt_count") - 1).clip(0),
        actual_start_time=pl.when(ran).then(end.shift(1, fill_value=0.0).over("agent_id")),
        actual_end_time=pl.when(ran).then(end),
    ).select(*plans.columns, *_ACTUAL_COLUMNS)


def adherence(executions: pl.DataFrame) -> float | None:
    """How closely a wave kept its schedule, in [0, 1]; None where nothing ran.

    Notes
    -----
    Phase 19 definition: 1 - mean(|actual_start - scheduled_start| + |actual_end - scheduled_end|) / 2 over
    tasks that ran, divided by the end of the wave's timeline.
    """
    late_start = (pl.col("actual_start_time") - pl.col("scheduled_start_time")).abs()
    late_end = (pl.col("actual_end_time") - pl.col("scheduled_end_time")).abs()
    mean, end = executions.select(
        ((late_start + late_end) / 2).mean().alias("mean"), pl.col("scheduled_end_time").max().alias("end")
    ).row(0)
    if mean is None:
        return None
    return float(np.clip(1.0 - mean / end, 0.0, 1.0)) if end > 0 else float(mean == 0)


def success_rate(executions: pl.DataFrame) -> float | None:
    """Completed share of the tasks that ran; None where nothing ran."""
    ran = executions.filter(frames.has_run())
    return mean(ran["status"] == "completed")


def mean(values: pl.Series) -> float | None:
    """Mean of a column of numbers as a float; None where it is empty or all null."""
    value = values.cast(pl.Float64).mean()
    return value if isinstance(value, float) else None


def largest(values: pl.Series) -> float | None:
    """Largest of a column of numbers as a float; None where it is empty or all null."""
    value = values.cast(pl.Float64).max()
    return value if isinstance(value, float) else None


def utilization(executions: pl.DataFrame, agents: list[str]) -> dict[str, float]:
    """Busy share of the wave's makespan by agent, fraction; 0 for idle agents, empty where nothing ran."""
    makespan = largest(executions["actual_end_time"])
    if makespan is None or makespan <= 0:
        return {}
    busy = executions.group_by("agent_id").agg(pl.col("actual_duration_ms").sum())
    share = dict(zip(busy["agent_id"], busy["actual_duration_ms"], strict=True))
    return {agent: share.get(agent, 0.0) / makespan for agent in agents}

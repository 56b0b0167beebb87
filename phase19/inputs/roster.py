"""Who and when: the run's agents, the order of tasks, and the tasks of each wave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.inputs.heuristics import Heuristics
from phase19.inputs.natural import natural_order
from phase19.options import PriorityStrategy

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["by_priority", "check_any", "deal_waves", "fill_confidence", "select_agents"]


def by_priority(
    tasks: pl.DataFrame,
    strategy: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE,
    heuristics: Heuristics | None = None,
) -> pl.DataFrame:
    """Sort tasks, the one to do first on top.

    Parameters
    ----------
    tasks
        `frames.TASKS`; for `agent_specialization` with a column `advantage`, what the task's own agent is
        forecast to do better than the mean of all (fraction).
    strategy
        `risk_confidence`: the order of priority Phase 16 states (H16_001), then its own priority, then confidence.
        `deadline`: the
        earliest first, tasks without one last. `agent_specialization`: the largest advantage first. Ties
        fall to the next rule, and at last to the task id.
    heuristics
        The rules in force; Phase 16's usual ones by default.
    """
    keys = [(heuristics or Heuristics()).bucket(), pl.col("priority"), -pl.col("confidence"), pl.col("task_id")]
    if strategy is PriorityStrategy.DEADLINE:
        keys.insert(0, pl.col("deadline_ms"))
    elif strategy is PriorityStrategy.AGENT_SPECIALIZATION:
        keys.insert(0, -pl.col("advantage"))
    return tasks.sort(keys, nulls_last=True)


def check_any(tasks: pl.DataFrame) -> None:
    """Refuse a run without tasks, and say where they come from."""
    if tasks.is_empty():
        raise UsageError(
            "no tasks to schedule: expected some in Phase 18's tasks.jsonl, in Phase 16's planned_tasks.jsonl, or as "
            "total_tasks of multi_agent_summary.json"
        )


def deal_waves(
    tasks: pl.DataFrame,
    waves: int | None,
    recorded_waves: int | None = None,
    heuristics: Heuristics | None = None,
) -> pl.DataFrame:
    """Give every task a wave, numbered 1, 2, ... without gaps.

    Parameters
    ----------
    tasks
        `frames.TASKS`, `wave` as recorded or null.
    waves
        Deal all tasks over so many waves, whatever was recorded.
    recorded_waves
        Waves Phase 18's summary speaks of, used where no task names one.
    heuristics
        The rules in force.

    Returns
    -------
    polars.DataFrame
        `frames.TASKS` sorted by task id. Tasks to be dealt fall in priority order into even blocks.
    """
    loose = tasks if waves is not None else tasks.filter(pl.col("wave").is_null())
    fixed = tasks.clear() if waves is not None else tasks.filter(pl.col("wave").is_not_null())
    count = waves or (fixed["wave"].n_unique() if fixed.height else None) or recorded_waves or 1
    fixed = fixed.with_columns(wave=pl.col("wave").rank("dense").cast(pl.Int64))
    dealt = by_priority(loose, heuristics=heuristics).with_columns(
        wave=(pl.int_range(pl.len()) * count // pl.len() + 1).cast(pl.Int64)
    )
    return pl.concat([fixed, dealt]).with_columns(wave=pl.col("wave").rank("dense").cast(pl.Int64)).sort("task_id")


def fill_confidence(tasks: pl.DataFrame, attempts: pl.DataFrame, success_rate: float) -> pl.DataFrame:
    """Give tasks without a recorded confidence the population's: of the tasks, else the records, else the rate."""
    # Sorted, so that the order of the records changes no digit.
    stated = (tasks["confidence"].sort().mean(), attempts["confidence_before"].sort().mean(), success_rate)
    default = next(value for value in stated if value is not None)
    return tasks.with_columns(pl.col("confidence").fill_null(pl.lit(default, dtype=pl.Float64)))


def select_agents(agents: pl.DataFrame, count: int | None) -> pl.DataFrame:
    """Take the first `count` agents in natural order, adding `agent_0`, `agent_1`, ... where there are fewer."""
    if count is None or count <= agents.height:
        return agents if count is None else agents.head(count)
    taken = set(agents["agent_id"].to_list())
    names = (f"agent_{i}" for i in range(count))  # at most `taken` of them are taken: enough remain
    added: Sequence[str] = [name for name in names if name not in taken][: count - agents.height]
    new = frames.AGENTS.conform([{"agent_id": name, "record_count": 0, "evidence": "none"} for name in added])
    everyone = pl.concat([agents, new])
    order = pl.DataFrame({"agent_id": natural_order(everyone["agent_id"].to_list())})
    return order.join(everyone, on="agent_id", maintain_order="left")

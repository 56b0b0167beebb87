"""Tasks and agents as a caller passes them: frames, dicts or ids, checked and completed."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.inputs.loading import Inputs
from phase19.inputs.wire import Population

Rows = pl.DataFrame | Sequence[Mapping[str, Any]]

# Without any records: even odds, and no times.
_UNKNOWN_POPULATION = Population(success_rate=0.5, agent_count=0, task_count=0)


def no_inputs() -> Inputs:
    """The inputs of a caller who has no records."""
    kinds = ("tasks", "attempts", "agents", "heuristics", "patterns", "signals", "sources")
    empty = {name: getattr(frames, name.upper()).empty() for name in kinds}
    return Inputs(**empty, population=_UNKNOWN_POPULATION, task_source="", warnings=(), digest="")


def task_rows(tasks: Rows, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """Tasks as `frames.TASKS`, in the order given.

    Parameters
    ----------
    tasks
        A frame or dicts with task_id and any other field of `frames.TASKS`. A frame may be empty, a list may not.
    known
        `frames.TASKS` that complete the fields which are not given.

    Raises
    ------
    UsageError
        There is no task, or no task_id.
    Phase19Error
        A value breaks the schema, or a task is given twice.
    """
    given = tasks if isinstance(tasks, pl.DataFrame) else rows_of(tasks, "tasks")
    if "task_id" not in given.columns:
        raise UsageError("tasks: expected a task_id in every row, found none")
    missing = [name for name in frames.TASKS.columns if name not in given.columns]
    if known is not None and missing:
        given = given.join(known.select("task_id", *missing), on="task_id", how="left", maintain_order="left")
    return frames.TASKS.conform(given)


def agent_rows(agents: pl.DataFrame | Sequence[str], known: pl.DataFrame) -> pl.DataFrame:
    """Agents as `frames.AGENTS`, in the order given.

    Parameters
    ----------
    agents
        `frames.AGENTS`, or ids.
    known
        `frames.AGENTS` of the records, which say what each named agent is judged by.

    Raises
    ------
    UsageError
        There is no agent.
    """
    if isinstance(agents, pl.DataFrame):
        return frames.AGENTS.conform(agents)
    if not all(isinstance(name, str) for name in agents) or not len(agents):
        raise UsageError(f"agents: expected at least one agent id, found {list(agents)!r:.100}")
    named = frames.AGENTS.conform([{"agent_id": name, "record_count": 0, "evidence": "none"} for name in agents])
    return named.update(known, on="agent_id", how="left")


def rows_of(rows: Sequence[Mapping[str, Any]], name: str) -> pl.DataFrame:
    """A frame of dicts, or :class:`UsageError` if there are none."""
    if not len(rows) or not all(isinstance(row, Mapping) for row in rows):
        raise UsageError(f"{name}: expected a frame or at least one dict, found {rows!r:.100}")
    try:
        return pl.DataFrame(list(rows), infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError) as problem:
        raise UsageError(f"{name}: expected values of one type in every field, found {problem}") from problem

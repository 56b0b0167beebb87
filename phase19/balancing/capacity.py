"""How many tasks each agent may take in a wave, and why a task is left out."""

from bisect import bisect_left

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.assignment.solver import solve
from phase19.options import Capacity

_SHARES = 2  # even shares of a wave that an agent may take by default
_NAMED = 5  # most agents named in a reason; others are counted


def agent_capacity(
    task_count: int,
    own: pl.Series,
    limit: Capacity | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Compute how many of a wave's n tasks each of m agents may take.

    Parameters
    ----------
    task_count
        Number of tasks n.
    own
        Each agent's own capacity, null if it has none, shape (m,).
    limit
        Limit for every agent: a number, of which and the own capacity the smaller applies; `even`, ceil(n / m), for
        agents without a capacity of their own; `none`, no limit for them; by default twice `even`.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Shape (m,). If not all tasks can be placed within the default or `even`, agents without a capacity of their own
        get the smallest larger common limit that allows as many tasks to be placed as any limit does.
    """
    if limit == "none":
        return own.fill_null(task_count).to_numpy()
    if isinstance(limit, int):
        return np.asarray(np.minimum(own.fill_null(limit).to_numpy(), limit))

    def shared(default: int) -> NDArray[np.int64]:
        return own.fill_null(default).to_numpy()

    def placed(default: int) -> int:
        capacity = np.minimum(shared(default), task_count)
        if allowed is None:
            return min(task_count, int(capacity.sum()))
        return int((solve(np.zeros(allowed.shape), capacity, allowed, allow_unassigned=True).agent_index >= 0).sum())

    first = -(-task_count // own.len()) * (1 if limit == "even" else _SHARES)
    if not own.has_nulls() or placed(first) == task_count:
        return shared(first)
    return shared(first + bisect_left(range(first, task_count), placed(task_count), key=placed))


def left_out(
    tasks: pl.DataFrame, agents: pl.DataFrame, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> pl.DataFrame:
    """Give the reason why `strategies.placed_tasks` left out each of these tasks.

    Parameters
    ----------
    tasks
        `frames.TASKS` of the tasks left out.
    agents
        `frames.AGENTS` of the run.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that these tasks may use; None for all.

    Returns
    -------
    polars.DataFrame
        `frames.UNASSIGNED`, in the order of the tasks.
    """
    choice = np.ones((tasks.height, agents.height), dtype=np.bool_) if allowed is None else allowed
    row, agent = np.nonzero(choice & (np.cumsum(choice, axis=1) <= _NAMED))
    named = agents.select(pl.format("{} ({})", "agent_id", pl.Series(capacity))).to_series().gather(agent)
    full = pl.DataFrame({"row": row, "full": named}).group_by("row").agg(pl.col("full").str.join(", "))
    more = pl.Series(choice.sum(axis=1) - _NAMED)
    rest = pl.when(more > 0).then(pl.format(" and {} more", more)).otherwise(pl.lit(""))
    return (
        tasks.select("task_id", "wave", row=pl.int_range(pl.len()))
        .join(full.cast({"row": pl.Int64}), on="row", how="left", maintain_order="left")
        .select(
            "task_id",
            "wave",
            reason=pl.when(pl.col("full").is_null())
            .then(pl.lit("it allows no agent of this run"))
            .otherwise(pl.format("every agent it allows is full: {}{}", "full", rest)),
        )
    )


def never_planned(decisions: pl.DataFrame) -> pl.DataFrame:
    """List the approved tasks of a wave that an interrupted run did not reach, as `frames.UNASSIGNED`."""
    return decisions.filter(pl.col("decision") == "approved").select(
        "task_id", "wave", reason=pl.lit("the run was interrupted before its wave")
    )

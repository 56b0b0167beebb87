"""Where a wave has no room for all its tasks: which of them are placed, and why the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19.assignment.solver import solve
from phase19.balancing.strategies import placement_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.balancing.strategies import SolverParameters
    from phase19.forecasting.model import Forecast

__all__ = ["left_out", "never_planned", "placed_tasks"]

_NAMED = 5  # agents in one reason; further ones are counted


def placed_tasks(
    forecast: Forecast,
    parameters: SolverParameters,
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Which of a wave's tasks to place: as many as can be, and of all such sets one that scores best.

    Parameters
    ----------
    forecast
        Of all pairs, shape (n, m), rows sorted by task id.
    parameters
        The strategy, whose scores decide; for throughput the sum of planned times does.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Shape (n,). All of them can be placed together, and none beside them: whatever plan places them, every agent
        that a task left out allows is full.

    Notes
    -----
    Terms are scaled over all tasks here, and over those placed when these are planned, which are then planned as if
    they were all: what was left out moves none of them. So where several terms weigh (`weighted`), who is placed and
    where are each best on a scale of their own, and the plan need not be the best of both on either.
    """
    n = forecast.planned_success.shape[0]
    if allowed is None and np.minimum(capacity, n).sum() >= n:
        return np.ones(n, dtype=np.bool_)
    scores = placement_scores(forecast, parameters)
    return np.asarray(solve(scores, capacity, allowed, allow_unassigned=True).agent_index >= 0)


def left_out(
    tasks: pl.DataFrame, agents: pl.DataFrame, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> pl.DataFrame:
    """Say of tasks that `placed_tasks` left out why they were.

    Parameters
    ----------
    tasks
        `frames.TASKS` of the tasks left out.
    agents
        `frames.AGENTS` of the run.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that those tasks may use; None for all.

    Returns
    -------
    polars.DataFrame
        `frames.UNASSIGNED`, in the order of the tasks.
    """
    choice = np.ones((tasks.height, agents.height), dtype=np.bool_) if allowed is None else allowed
    row, agent = np.nonzero(choice & (np.cumsum(choice, axis=1) <= _NAMED))
    named = agents.select(pl.format("{} ({})", "agent_id", pl.Series(capacity)))["agent_id"].gather(agent)
    full = pl.DataFrame({"row": row, "full": named}).group_by("row", maintain_order=True).agg("full")
    return (
        tasks.select("task_id", "wave", "required_agents", "excluded_agents")
        .with_columns(row=pl.int_range(pl.len()), full_count=pl.Series(choice.sum(axis=1), dtype=pl.Int64))
        .join(full.cast({"row": pl.Int64}), on="row", how="left", maintain_order="left")
        .select(
            "task_id",
            "wave",
            reason=pl.concat_str(
                pl.when(pl.col("full_count") > 0)
                .then(pl.format("every agent it allows is full: {}", _listed("full", pl.col("full_count"))))
                .otherwise(pl.lit("it allows no agent of this run")),
                _choice("required_agents", "required: {}"),
                _choice("excluded_agents", "excluded: {}"),
                separator="; ",
                ignore_nulls=True,
            ),
        )
    )


def never_planned(decisions: pl.DataFrame) -> pl.DataFrame:
    """`frames.UNASSIGNED` of the tasks of a wave that an interrupted run did not come to, given its decisions."""
    return decisions.filter(pl.col("decision") == "approved").select(
        "task_id", "wave", reason=pl.lit("the run was interrupted before its wave")
    )


def _choice(name: str, words: str) -> pl.Expr:
    """What a task says of its agents; null where it says nothing."""
    count = pl.col(name).list.len()
    return pl.when(count > 0).then(pl.format(words, _listed(name, count)))


def _listed(name: str, count: pl.Expr) -> pl.Expr:
    """The first few texts of a list, and how many more there are."""
    more = pl.when(count > _NAMED).then(pl.format(" and {} more", count.cast(pl.Int64) - _NAMED)).otherwise(pl.lit(""))
    return pl.concat_str(pl.col(name).list.head(_NAMED).list.join(", "), more)

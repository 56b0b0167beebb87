"""What the records say of every (task, agent) pair, as arrays: the outcomes a plan is judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19.execution.replay import ReplayExecutor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.model import ForecastModel

__all__ = ["PairRecords", "pair_records"]


class PairRecords(NamedTuple):
    """Recorded outcomes of n x m pairs; arrays of shape (n, m), zero where `is_observed` is not.

    Attributes
    ----------
    is_observed
        Whether the pair has a record to replay.
    first_success, success
        1 where the first attempt, and where any of the attempts allowed succeeded.
    duration_ms
        Busy time of the attempts made.
    chance
        Best estimate of the chance that `success` had: with the mean r of all attempts ever recorded of the pair,
        and k the attempts it could make, 1 - (1 - r)^k.
    """

    is_observed: NDArray[np.bool_]
    first_success: NDArray[np.float64]
    success: NDArray[np.float64]
    duration_ms: NDArray[np.float64]
    chance: NDArray[np.float64]


def pair_records(model: ForecastModel, executions: pl.DataFrame, allowed: NDArray[np.int64]) -> PairRecords:
    """Gather what would have happened to every pair.

    Parameters
    ----------
    model
        Before the first wave: its tasks and agents are the rows and columns, its attempts the history.
    executions
        `frames.ATTEMPTS` to replay; those of other tasks and agents are left out.
    allowed
        Attempts each task may have, shape (n,).

    Returns
    -------
    PairRecords
        By the rules of :class:`phase19.execution.replay.ReplayExecutor`.
    """
    n, m = model.tasks.height, model.agents.height
    pair = ["task_id", "agent_id"]
    tasks = model.tasks.select("task_id", max_attempts=pl.Series(allowed)).with_row_index("task")
    agents = model.agents.select("agent_id").with_row_index("agent")
    ever = (
        pl.concat([model.attempts, executions])
        .group_by(pair)
        .agg(pl.col("is_success").mean().alias("rate"))
        .join(executions.group_by(pair).agg(pl.len().alias("recorded")), on=pair)
        .join(tasks, on="task_id")
        .join(agents, on="agent_id")
    )
    seen = (
        ReplayExecutor(executions)
        .attempts(ever)
        .group_by("task", "agent")
        .agg(
            pl.col("is_success").first().cast(pl.Float64).alias("first_success"),
            pl.col("is_success").any().cast(pl.Float64).alias("success"),
            pl.col("spent_ms").sum().alias("duration_ms"),
            chance=1.0 - (1.0 - pl.col("rate").first()) ** pl.min_horizontal("max_attempts", "recorded").first(),
        )
    )
    place = (seen["task"].to_numpy(), seen["agent"].to_numpy())

    def matrix(name: str) -> NDArray[np.float64]:
        values = np.zeros((n, m))
        values[place] = seen[name].to_numpy()
        return values

    is_observed = np.zeros((n, m), dtype=bool)
    is_observed[place] = True
    return PairRecords(is_observed, *(matrix(name) for name in PairRecords._fields[1:]))

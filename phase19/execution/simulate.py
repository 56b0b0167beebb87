"""The dry run: one world drawn from the forecast's posterior, played once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19.execution.protocol import Execution, attempt_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.retries import Played
    from phase19.forecasting.simulation import World

__all__ = ["SimulateExecutor"]


class SimulateExecutor:
    """Plays orders in a world; it sees the world's truth, never what the planner believes.

    Parameters
    ----------
    world
        The run's world.
    task_ids, agent_ids
        Ids in the order of the world's indices.
    """

    is_simulated = True
    most_attempts: int | None = None

    def __init__(self, world: World, task_ids: pl.Series, agent_ids: pl.Series) -> None:
        self.world = world
        self._tasks = pl.DataFrame({"task_id": task_ids, "task": pl.int_range(task_ids.len(), eager=True)})
        self._agents = pl.DataFrame({"agent_id": agent_ids, "agent": pl.int_range(agent_ids.len(), eager=True)})

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Play a wave; the same (task, agent, attempt) has the same luck whatever else is ordered."""
        task, played, attempt_ms, change = self._play(orders)
        row = np.repeat(np.arange(task.size), played.attempts)
        attempt = np.arange(row.size) - np.repeat(np.cumsum(played.attempts) - played.attempts, played.attempts)
        is_last = attempt + 1 == played.attempts[row]
        made = pl.DataFrame(
            {
                "task_id": orders["task_id"].gather(row),
                "attempt": attempt + 1,
                "is_success": is_last & played.succeeded[row],
                "duration_ms": attempt_ms[attempt, row],
                "is_censored": attempt_ms[attempt, row] >= self.world.limit_ms[task[row]],
                "confidence_delta": pl.Series(np.where(is_last, change[row], np.nan)).fill_nan(None),
            }
        )
        return Execution(attempt_rows(orders, made), is_interrupted=False)

    def what_if(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What pairs would come to, with the luck they have whoever orders them."""
        _, played, _, change = self._play(pairs)
        return pl.DataFrame(
            {
                "is_success": played.succeeded,
                "attempt_count": played.attempts,
                "spent_ms": played.busy_ms,
                "confidence_delta": change,
            },
            schema_overrides={"attempt_count": pl.Int64},
        )

    def _play(self, pairs: pl.DataFrame) -> tuple[NDArray[np.int64], Played, NDArray[np.float64], NDArray[np.float64]]:
        """Each pair's task, what happened, the duration of every attempt in ms, and the change of confidence."""
        indexed = pairs.join(self._tasks, on="task_id", maintain_order="left").join(
            self._agents, on="agent_id", maintain_order="left"
        )
        task, agent = indexed["task"].to_numpy(), indexed["agent"].to_numpy()
        played, attempt_ms = self.world.play(task, agent, pairs["max_attempts"].to_numpy())
        change = self.world.confidence_change(task, agent, played.succeeded, pairs["confidence"].to_numpy())
        return task, played, attempt_ms, change

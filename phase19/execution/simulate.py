"""Dry run: outcomes come from one world, drawn from the posterior of the forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19.execution.protocol import Execution, attempt_rows

if TYPE_CHECKING:
    from phase19.forecasting.simulation import World


class SimulateExecutor:
    """Draws outcomes from a world; it never sees the planner's forecasts. Without any known time, it draws no times.

    Parameters
    ----------
    world
        True parameters of the run: a (task, agent, attempt) always has the same outcome.
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
        """Simulate a wave; the outcome of a (task, agent, attempt) does not depend on the other orders."""
        indexed = orders.join(self._tasks, on="task_id", maintain_order="left").join(
            self._agents, on="agent_id", maintain_order="left"
        )
        task, agent = indexed["task"].to_numpy(), indexed["agent"].to_numpy()
        played, attempt_ms = self.world.play(task, agent, orders["max_attempts"].to_numpy())
        change = self.world.confidence_change(task, agent, played.succeeded, orders["confidence"].to_numpy())
        row = np.repeat(np.arange(task.size), played.attempts)
        attempt = np.arange(row.size) - np.repeat(np.cumsum(played.attempts) - played.attempts, played.attempts)
        is_last = attempt + 1 == played.attempts[row]
        made = pl.DataFrame(
            {
                "task_id": orders["task_id"].gather(row),
                "attempt": attempt + 1,
                "is_success": is_last & played.succeeded[row],
                "duration_ms": pl.Series(attempt_ms[attempt, row]).fill_nan(None),
                "is_censored": attempt_ms[attempt, row] >= self.world.residuals.limit_ms[task[row]],
                "confidence_delta": pl.Series(np.where(is_last, change[row], np.nan)).fill_nan(None),
            }
        )
        return Execution(attempt_rows(orders, made))

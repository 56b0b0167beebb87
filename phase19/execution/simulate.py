"""Dry run: outcomes follow one world drawn from the forecast's posterior."""

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.execution.protocol import Execution, attempt_rows


class World(Protocol):
    """True parameters of all tasks and agents in one run, such as `phase19.forecasting.simulation.World`.

    The outcome of a (task, agent, attempt) is the same whenever it is asked for.
    """

    @property
    def limit_ms(self) -> NDArray[np.float64]:
        """Time at which an attempt at each task is stopped, shape (n,)."""
        ...

    def play(
        self, task: NDArray[np.int64], agent: NDArray[np.int64], allowed: NDArray[np.int64]
    ) -> tuple[Any, NDArray[np.float64]]:
        """Pairs' `succeeded`, `attempts` and `busy_ms`, shape (p,), and each attempt's time in ms, shape (k, p)."""
        ...

    def confidence_change(
        self,
        task: NDArray[np.int64],
        agent: NDArray[np.int64],
        succeeded: NDArray[np.bool_],
        confidence: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Change of confidence after the tasks' outcomes, shape (p,)."""
        ...


class SimulateExecutor:
    """Draws outcomes from a world; it never sees the planner's forecasts.

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
        """Simulate a wave; a (task, agent, attempt) has the same outcome whatever else is ordered."""
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
                "duration_ms": attempt_ms[attempt, row],
                "is_censored": attempt_ms[attempt, row] >= self.world.limit_ms[task[row]],
                "confidence_delta": pl.Series(np.where(is_last, change[row], np.nan)).fill_nan(None),
            }
        )
        return Execution(attempt_rows(orders, made))

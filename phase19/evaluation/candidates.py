"""Who is compared: every strategy, `auto` and two baselines, each with the plan it makes on one forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.assignment.baselines import best_agents_first, round_robin
from phase19.options import OptimizationStrategy
from phase19.planning import CANDIDATES, assign_each, positions, recommended
from phase19.waves import waves_of

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from phase19.forecasting.model import Forecast, ForecastModel
    from phase19.planning import AssignedWave, PlanParameters

__all__ = ["BASELINES", "BEST_AGENT", "LINES", "ROUND_ROBIN", "ComparedWave", "line_up"]

BASELINES = ("round_robin", "best_single_agent_capped")
LINES = (*map(str, OptimizationStrategy), *BASELINES)  # the candidates come first, in the enum's order
ROUND_ROBIN, BEST_AGENT = map(LINES.index, BASELINES)


class ComparedWave(NamedTuple):
    """A wave of n tasks as each line plans it.

    Attributes
    ----------
    tasks
        `frames.TASKS` of the wave, sorted by task id.
    task
        Their indices in the model, shape (n,).
    allowed
        Attempts each may have, shape (n,).
    forecast
        Of all pairs, shape (n, m).
    agent
        Agent of each task by line, shape (len(LINES), n); round robin's first rotation.
    """

    tasks: pl.DataFrame
    task: NDArray[np.int64]
    allowed: NDArray[np.int64]
    forecast: Forecast
    agent: NDArray[np.int64]

    def rotated(self, rotation: int) -> NDArray[np.int64]:
        """`agent`, round robin's row at another rotation."""
        agent = self.agent.copy()
        agent[ROUND_ROBIN] = round_robin(agent.shape[1], self.forecast.planned_success.shape[1], rotation)
        return agent


def line_up(model: ForecastModel, parameters: PlanParameters) -> list[ComparedWave]:
    """Plan every wave by every line, on what is known before the first wave.

    Notes
    -----
    The best single agent is the one that promises most over all tasks of the run; it is filled up to the wave's
    capacity, then the next best (`best_agents_first`).
    """
    waves = [assign_each(model, tasks, parameters, CANDIDATES) for tasks in waves_of(model.tasks)]
    standing = np.sum([wave[0].forecast.planned_success.sum(axis=0) for wave in waves], axis=0)
    return [_compared(model, wave, standing) for wave in waves]


def _compared(model: ForecastModel, waves: list[AssignedWave], standing: NDArray[np.float64]) -> ComparedWave:
    own, (n, m) = waves[0], waves[0].forecast.planned_success.shape
    agent = [
        *(wave.agent_index for wave in waves),
        waves[recommended(waves)].agent_index,
        round_robin(n, m, 0),
        best_agents_first(standing, n, own.assigned.capacity, own.pairs),
    ]
    task = positions(own.tasks["task_id"], model.tasks["task_id"])
    return ComparedWave(own.tasks, task, own.allowed, own.forecast, np.array(agent))

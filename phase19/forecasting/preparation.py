"""What a plan begins with: the inputs' tasks dealt to waves, the roster, and what their records teach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from phase19.forecasting.model import ForecastModel
from phase19.inputs.heuristics import Heuristics, read_heuristics
from phase19.inputs.tasks import check_any, deal_waves, fill_confidence, select_agents

if TYPE_CHECKING:
    from phase19.inputs.history import Previous
    from phase19.inputs.loading import Inputs

__all__ = ["Preparation", "first_model", "prepare"]


class Preparation(NamedTuple):
    """What the first wave is planned on: the forecast, and the heuristics in force.

    The model's `tasks` are sorted by task id, each with its wave and a confidence; its `agents` are in natural order.
    """

    model: ForecastModel
    heuristics: Heuristics


def prepare(
    inputs: Inputs, previous: Previous | None = None, *, waves: int | None = None, agents: int | None = None
) -> Preparation:
    """Prepare the first wave.

    Parameters
    ----------
    previous
        An earlier run, whose real outcomes and weights teach too.
    waves
        Deal all tasks over so many waves, whatever was recorded.
    agents
        Take the first so many agents.

    Raises
    ------
    UsageError
        There are no tasks.
    """
    check_any(inputs.tasks)
    population = inputs.population
    heuristics = read_heuristics(inputs.heuristics, previous.weights if previous is not None else None)
    tasks = fill_confidence(inputs.tasks, inputs.attempts, population.success_rate)
    tasks = heuristics.ordered(heuristics.boosted(tasks))
    tasks = deal_waves(tasks, waves, population.wave_count, heuristics)
    attempts = inputs.attempts if previous is None else pl.concat([inputs.attempts, previous.attempts])
    claimed = heuristics.claims(attempts)
    return Preparation(ForecastModel.fit(tasks, select_agents(inputs.agents, agents), claimed, population), heuristics)


def first_model(
    inputs: Inputs, previous: Previous | None = None, *, waves: int | None = None, agents: int | None = None
) -> ForecastModel:
    """Fit the forecast that the first wave is planned on; parameters as :func:`prepare`."""
    return prepare(inputs, previous, waves=waves, agents=agents).model

"""What a plan begins with: the inputs' tasks dealt to waves, the roster, and what their records teach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from phase19.forecast import ForecastModel
from phase19.roster import check_any, deal_waves, fill_confidence, select_agents

if TYPE_CHECKING:
    from phase19.inputs import Inputs
    from phase19.reading.history import Previous

__all__ = ["first_model"]


def first_model(
    inputs: Inputs, previous: Previous | None = None, *, waves: int | None = None, agents: int | None = None
) -> ForecastModel:
    """Fit the forecast that the first wave is planned on.

    Parameters
    ----------
    previous
        An earlier run, whose real outcomes teach too.
    waves
        Deal all tasks over so many waves, whatever was recorded.
    agents
        Take the first so many agents.

    Returns
    -------
    ForecastModel
        Its `tasks` are sorted by task id, each with its wave and a confidence; its `agents` are in natural order.

    Raises
    ------
    UsageError
        There are no tasks.
    """
    check_any(inputs.tasks)
    population = inputs.population
    tasks = fill_confidence(inputs.tasks, inputs.attempts, population.success_rate)
    tasks = deal_waves(tasks, waves, population.wave_count)
    attempts = inputs.attempts if previous is None else pl.concat([inputs.attempts, previous.attempts])
    return ForecastModel.fit(tasks, select_agents(inputs.agents, agents), attempts, population)

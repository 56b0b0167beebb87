"""A backtest from end to end: plan every wave on what was known, replay it, measure.

Nothing is gated, for nothing is carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19.balancing.strategies import allowed_pairs
from phase19.evaluation.hindsight import PlannedWave, look_back
from phase19.evaluation.measures import ReplayedWave, measure, score_forecasts
from phase19.evaluation.pair_records import pair_records
from phase19.execution.replay import ReplayExecutor
from phase19.forecasting.retries import attempts_allowed
from phase19.outputs.forecast_table import first_attempts
from phase19.safety import SafetyGate
from phase19.timelines import mean
from phase19.waves import WaveLoop, plan_indices

if TYPE_CHECKING:
    from collections.abc import Callable

    from phase19.evaluation.measures import Backtest, ForecastScores
    from phase19.evaluation.pair_records import PairRecords
    from phase19.forecasting.model import ForecastModel
    from phase19.planning import PlanParameters
    from phase19.waves import PlayedWave

__all__ = ["Rehearsal", "rehearse"]


class Rehearsal(NamedTuple):
    """What a backtest found, and what it was found in: `frames.EXECUTIONS` of all waves, planned beside actual."""

    found: Backtest
    executions: pl.DataFrame


def rehearse(
    model: ForecastModel,
    executions: pl.DataFrame,
    parameters: PlanParameters,
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> Rehearsal:
    """Plan every wave, replay it, and measure what came of it.

    Parameters
    ----------
    model
        What was known before the first wave; its tasks, sorted by id, have their waves.
    executions
        `frames.ATTEMPTS`: what happened.
    parameters
        What the plans are asked for.
    seed
        Fixes the predictive draws; the plans draw nothing.
    progress
        Called as `progress(stage, done, total)`.

    Notes
    -----
    A wave's planned figures are frozen before it is replayed, and learning sees only the attempts of the pairs
    that were planned. The forecasts scored are those before the first wave, of all pairs that have a record.
    """
    allowed = attempts_allowed(model.tasks["risk_level"], parameters.max_retries)
    records = pair_records(model, executions, allowed)
    loop = WaveLoop(
        ReplayExecutor(executions), parameters, lambda tasks, _: SafetyGate().decide(tasks), seed, progress=progress
    )
    replayed = [_replayed(wave, records) for wave in loop.play(model)]
    found = measure(replayed, model.agents["agent_id"].to_list(), _scores(model, records))
    return Rehearsal(found, pl.concat([wave.executions for wave in replayed]))


def _replayed(wave: PlayedWave, records: PairRecords) -> ReplayedWave:
    task, agent, _ = plan_indices(wave.model, wave.plan.plans)
    by_id, solved = np.argsort(task), wave.plan.assigned
    planned = PlannedWave(
        task[by_id], agent[by_id], solved.terms.success, solved.capacity, allowed_pairs(wave.tasks, wave.model.agents)
    )
    summary = wave.draws.summary(int(wave.tasks["wave"][0]), wave.executions)
    return ReplayedWave(wave.executions, summary, look_back(planned, records))


def _scores(model: ForecastModel, records: PairRecords) -> ForecastScores:
    base_rate = mean(model.attempts["is_success"])
    return score_forecasts(
        first_attempts(model).success_probability[records.is_observed],
        records.first_success[records.is_observed],
        model.population.success_rate if base_rate is None else base_rate,
    )

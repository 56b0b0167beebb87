"""A backtest from end to end: plan every wave on what was known, replay it, measure.

Waves are planned, drawn and learned from as the harness does it; nothing is gated, for nothing is carried out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19 import frames
from phase19.backtesting.hindsight import PlannedWave, look_back
from phase19.backtesting.measures import ReplayedWave, measure, score_forecasts
from phase19.backtesting.pair_records import pair_records
from phase19.executors import outcomes
from phase19.executors.replay import ReplayExecutor
from phase19.forecast_table import first_attempts
from phase19.models.predictive import draw_count, draw_wave
from phase19.models.retries import attempts_allowed
from phase19.planning import plan_wave, positions
from phase19.strategies import allowed_pairs
from phase19.timelines import mean, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from phase19.backtesting.measures import Backtest, ForecastScores
    from phase19.backtesting.pair_records import PairRecords
    from phase19.forecast import ForecastModel
    from phase19.planning import PlanParameters

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
    scores = _scores(model, records)
    executor = ReplayExecutor(executions)
    waves = model.tasks.sort("wave", "task_id").partition_by("wave", maintain_order=True)
    rng = np.random.default_rng([seed, 19])
    shared = model.shared_normals(draw_count(max(wave.height for wave in waves)), rng)
    agent_ids = model.agents["agent_id"]
    replayed: list[ReplayedWave] = []
    for wave in waves:
        progress("waves", len(replayed), len(waves))
        plan = plan_wave(model, wave, parameters)
        task, agent = (
            positions(plan.plans["task_id"], model.tasks["task_id"]),
            positions(plan.plans["agent_id"], agent_ids),
        )
        draws = draw_wave(model, task, agent, plan.plans["max_attempts"].to_numpy(), shared=shared, rng=rng)
        by_id = np.argsort(task)
        planned = PlannedWave(
            task[by_id],
            agent[by_id],
            plan.assigned.terms.success,
            plan.assigned.capacity,
            allowed_pairs(wave, model.agents),
        )
        orders = plan.plans.select(*frames.ORDERS.columns)
        execution = executor.execute(orders)
        mean_change = (model.gains.population_failure, model.gains.population_success)
        settled = settle(plan.plans, outcomes(orders, execution, mean_change))
        summary = draws.summary(int(wave["wave"][0]), settled)
        replayed.append(ReplayedWave(settled, summary, look_back(planned, records)))
        if wave is not waves[-1]:
            model = model.observe(execution.attempts)
    progress("waves", len(waves), len(waves))
    found = measure(replayed, agent_ids.to_list(), scores)
    return Rehearsal(found, pl.concat([wave.executions for wave in replayed]))


def _scores(model: ForecastModel, records: PairRecords) -> ForecastScores:
    base_rate = mean(model.attempts["is_success"])
    return score_forecasts(
        first_attempts(model).success_probability[records.is_observed],
        records.first_success[records.is_observed],
        model.population.success_rate if base_rate is None else base_rate,
    )

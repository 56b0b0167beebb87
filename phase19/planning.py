"""A wave's plan: forecast every pair, assign, even out, lay on timelines."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from phase19 import frames
from phase19.load import adjust_load
from phase19.models.retries import attempts_allowed
from phase19.options import DEFAULT_WEIGHTS, OptimizationStrategy
from phase19.roster import PriorityStrategy
from phase19.strategies import SolverParameters, WaveAssignment, allowed_pairs, optimize
from phase19.timelines import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from phase19.forecast import Forecast, ForecastModel
    from phase19.options import RunOptions

__all__ = ["PlanParameters", "WavePlan", "plan_wave", "positions"]

# Loads are evened out by default only where evenness is the aim (Phase 19 definition, "Planning").
_LOAD_FACTORS = {OptimizationStrategy.MAXIMIZE_THROUGHPUT: 1.25, OptimizationStrategy.BALANCE_LOAD: 1.25}


@dataclass(frozen=True, slots=True)
class PlanParameters:
    """What a plan is asked for; the defaults are the command's.

    `max_load_factor` bounds an agent's planned time as a multiple of the mean; None is 1.25 for throughput and
    balance and no limit for the others.
    """

    strategy: OptimizationStrategy = OptimizationStrategy.MAXIMIZE_SUCCESS
    weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    capacity: int | None = None
    max_load_factor: float | None = None
    max_retries: int = 2
    explore: bool = False
    priority: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE

    @classmethod
    def of(cls, options: RunOptions) -> Self:
        """What a run's options ask of its plans."""
        names = ("strategy", "weights", "capacity", "max_load_factor", "max_retries", "explore")
        return cls(**{name: getattr(options, name) for name in names})


@dataclass(frozen=True, slots=True)
class WavePlan:
    """A wave's plan: `frames.PLANS` grouped by agent, the assignment behind it, and how often load moved a task."""

    plans: pl.DataFrame
    assigned: WaveAssignment
    moved_count: int


def positions(ids: pl.Series, among: pl.Series) -> NDArray[np.int64]:
    """Index of each of `ids` in `among`, whose ids are distinct; the shape of `ids`."""
    return ids.replace_strict(among, pl.int_range(among.len(), eager=True), return_dtype=pl.Int64).to_numpy()


def plan_wave(
    model: ForecastModel,
    tasks: pl.DataFrame,
    parameters: PlanParameters,
    stage: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> WavePlan:
    """Plan a wave.

    Parameters
    ----------
    model
        What is believed before the wave.
    tasks
        `frames.TASKS` of the wave, sorted by task id; all of them known to the model.
    parameters
        What is asked for.
    stage
        Gives a context for each stage by name, to time it.
    """
    with stage("forecast"):
        allowed = attempts_allowed(tasks["risk_level"], parameters.max_retries)
        task = positions(tasks["task_id"], model.tasks["task_id"])[:, None]
        forecast = model.forecast(task, np.arange(model.agents.height)[None, :], allowed[:, None])
    with stage("optimize"):
        pairs = allowed_pairs(tasks, model.agents)
        solver = SolverParameters(parameters.strategy, parameters.weights, parameters.capacity, parameters.explore)
        assigned = optimize(forecast, solver, pairs, tasks)
        agent_index, moved_count = assigned.assignment.agent_index, 0
        factor = parameters.max_load_factor or _LOAD_FACTORS.get(assigned.strategy)
        if factor is not None:
            agent_index, moved_count, _ = adjust_load(
                agent_index,
                assigned.scores,
                forecast.planned_duration_ms,
                capacity=assigned.capacity,
                max_load_factor=factor,
                allowed=pairs,
            )
    with stage("schedule"):
        rows = plan_rows(model, tasks, forecast, assigned, agent_index=agent_index, allowed=allowed)
        plans = schedule(tasks, rows, parameters.priority).select(*frames.PLANS.columns)
    return WavePlan(plans, assigned, moved_count)


def plan_rows(
    model: ForecastModel,
    tasks: pl.DataFrame,
    forecast: Forecast,
    assigned: WaveAssignment,
    *,
    agent_index: NDArray[np.int64],
    allowed: NDArray[np.int64],
) -> pl.DataFrame:
    """Rows of a wave's plan, before its timeline.

    Parameters
    ----------
    tasks
        The wave's n tasks, sorted by task id.
    forecast, assigned
        Of all pairs, shape (n, m).
    agent_index, allowed
        Agent and attempts allowed of each task, shape (n,).

    Returns
    -------
    polars.DataFrame
        `frames.PLANS` without priority and scheduled times, and `agent`, the agent's index.
    """
    pair = (np.arange(tasks.height), agent_index)
    chosen = {name: values[pair] for name, values in forecast._asdict().items()}
    return tasks.select(
        "wave",
        "task_id",
        model.agents["agent_id"].gather(agent_index).alias("agent_id"),
        "risk_level",
        "category",
        "confidence",
        "heuristics_applied",
    ).with_columns(
        pl.Series("agent", agent_index),
        pl.Series("max_attempts", allowed),
        *(pl.Series(name, values) for name, values in chosen.items()),
        pl.Series("baseline_success", forecast.planned_success.mean(axis=1)),
        *(pl.Series(f"{name}_term", values[pair]) for name, values in assigned.terms._asdict().items()),
        pl.Series("score", assigned.scores[pair]),
    )

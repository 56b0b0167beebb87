"""A wave's plan: forecast every pair, assign, even out, lay on timelines."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from phase19 import frames
from phase19.assignment.sensitivity import ChoiceReasons, explain_choices
from phase19.balancing.capacity import agent_capacity, left_out
from phase19.balancing.load_limit import adjust_load
from phase19.balancing.recommendation import recommend_wave
from phase19.balancing.strategies import SolverParameters, WaveAssignment, allowed_pairs, optimize, placed_tasks
from phase19.forecasting.retries import attempts_allowed
from phase19.options import OptimizationStrategy
from phase19.plan_parameters import PlanParameters
from phase19.timelines import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from phase19.forecasting.model import Forecast, ForecastModel

__all__ = [
    "CANDIDATES",
    "AssignedWave",
    "PlanParameters",
    "WavePlan",
    "assign_each",
    "assign_wave",
    "plan_rows",
    "plan_wave",
    "positions",
    "recommended",
    "schedule_wave",
]

# What may be recommended, and what `auto` takes wave by wave.
CANDIDATES = tuple(strategy for strategy in OptimizationStrategy if strategy is not OptimizationStrategy.AUTO)


@dataclass(frozen=True, slots=True)
class AssignedWave:
    """Who does what in a wave of n tasks, before it is laid on timelines.

    Attributes
    ----------
    tasks
        `frames.TASKS` of the wave's tasks that an agent has, sorted by task id.
    allowed
        Attempts each task may have, shape (n,).
    forecast
        Of all pairs, shape (n, m).
    assigned
        The strategy's plan.
    agent_index
        Agent of each task once the load limit was seen to, shape (n,).
    moved_count
        Tasks that are not where the best assignment by score has them.
    is_limit_met
        Whether all agents keep to the load limit; None where there is none.
    pairs
        Pairs that may be used, shape (n, m); None for all.
    unassigned
        `frames.UNASSIGNED`: the wave's tasks left out, and why.
    """

    tasks: pl.DataFrame
    allowed: NDArray[np.int64]
    forecast: Forecast
    assigned: WaveAssignment
    agent_index: NDArray[np.int64]
    moved_count: int
    is_limit_met: bool | None = None
    pairs: NDArray[np.bool_] | None = None
    unassigned: pl.DataFrame = field(default_factory=frames.UNASSIGNED.empty)


@dataclass(frozen=True, slots=True)
class WavePlan:
    """A wave's plan.

    Attributes
    ----------
    plans
        `frames.PLANS` grouped by agent.
    assigned
        The assignment behind it.
    objective
        What the plan maximises (`WaveAssignment.objective`), its moves included.
    moved_count
        Tasks that were moved off the best assignment, for a shorter makespan, evener loads or a load limit.
    is_limit_met
        Whether all agents keep to the load limit; None where there is none.
    slot_worth
        What room for one task more would add to the assignment's score, by agent, shape (m,).
    """

    plans: pl.DataFrame
    assigned: WaveAssignment
    objective: float
    moved_count: int
    is_limit_met: bool | None
    slot_worth: NDArray[np.float64]


def positions(ids: pl.Series, among: pl.Series) -> NDArray[np.int64]:
    """Index of each of `ids` in `among`, whose ids are distinct; the shape of `ids`."""
    found = ids.replace_strict(among, pl.int_range(among.len(), eager=True), return_dtype=pl.Int64)
    return found.cast(pl.Int64).to_numpy()  # among no ids at all, Polars leaves the type as it was


def plan_wave(model: ForecastModel, tasks: pl.DataFrame, parameters: PlanParameters) -> WavePlan:
    """Plan a wave.

    Parameters
    ----------
    model
        What is believed before the wave.
    tasks
        `frames.TASKS` of the wave, sorted by task id; all of them known to the model.
    parameters
        What is asked for.
    """
    return schedule_wave(model, assign_wave(model, tasks, parameters), parameters)


def assign_wave(
    model: ForecastModel,
    tasks: pl.DataFrame,
    parameters: PlanParameters,
    stage: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> AssignedWave:
    """Forecast every pair, assign, and even out the load where that is asked for; `stage` times the two by name."""
    if parameters.strategy is not OptimizationStrategy.AUTO:
        return assign_each(model, tasks, parameters, (parameters.strategy,), stage)[0]
    waves = assign_each(model, tasks, parameters, CANDIDATES, stage)
    with stage("optimize"):
        return waves[recommended(waves)]


def assign_each(
    model: ForecastModel,
    tasks: pl.DataFrame,
    parameters: PlanParameters,
    strategies: Sequence[OptimizationStrategy],
    stage: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> list[AssignedWave]:
    """Assign a wave by several strategies in place of the parameters' own; else as `assign_wave`."""
    with stage("forecast"):
        allowed = attempts_allowed(tasks["risk_level"], parameters.max_retries)
        tasks = parameters.heuristics.retried(tasks, pl.Series(allowed > 1))
        task = positions(tasks["task_id"], model.tasks["task_id"])[:, None]
        forecast = model.forecast(task, np.arange(model.agents.height)[None, :], allowed[:, None])
    with stage("optimize"):
        pairs = allowed_pairs(tasks, model.agents)
        capacity = agent_capacity(tasks.height, model.agents["capacity"], parameters.capacity, pairs)
        parameters = replace(parameters, capacity=capacity)
        unassigned = frames.UNASSIGNED.empty()
        if parameters.allow_unassigned:
            # Strategies side by side work on the tasks of the first: for `auto` those of the most successes.
            is_placed = placed_tasks(forecast, _solver(parameters, strategies[0]), capacity, pairs)
            rest = None if pairs is None else pairs[~is_placed]
            unassigned = left_out(tasks.filter(~is_placed), model.agents, capacity, rest)
            tasks, allowed, pairs = (
                tasks.filter(is_placed),
                allowed[is_placed],
                None if pairs is None else pairs[is_placed],
            )
            forecast = forecast._replace(**{name: values[is_placed] for name, values in forecast._asdict().items()})
        waves = [
            _assigned(model, tasks, parameters, strategy, allowed=allowed, forecast=forecast, pairs=pairs)
            for strategy in strategies
        ]
        return [replace(wave, unassigned=unassigned) for wave in waves]


def _assigned(
    model: ForecastModel,
    tasks: pl.DataFrame,
    parameters: PlanParameters,
    strategy: OptimizationStrategy,
    *,
    allowed: NDArray[np.int64],
    forecast: Forecast,
    pairs: NDArray[np.bool_] | None,
) -> AssignedWave:
    """Assign by one strategy in place of the parameters' own."""
    assigned = optimize(forecast, _solver(parameters, strategy), pairs, tasks, model.agents)
    return AssignedWave(tasks, allowed, forecast, assigned, *_evened(forecast, assigned, pairs, parameters), pairs)


def _solver(parameters: PlanParameters, strategy: OptimizationStrategy) -> SolverParameters:
    return SolverParameters(strategy, parameters.weights, parameters.capacity, parameters.explore)


def recommended(waves: Sequence[AssignedWave]) -> int:
    """Index of the assignment to take among those of one wave by every candidate, on one forecast."""
    own = waves[0]
    agent_index = np.array([wave.agent_index for wave in waves])
    return recommend_wave(own.forecast, agent_index, own.assigned.capacity, own.pairs)


def _evened(
    forecast: Forecast, assigned: WaveAssignment, pairs: NDArray[np.bool_] | None, parameters: PlanParameters
) -> tuple[NDArray[np.int64], int, bool | None]:
    """Agent of each task once the load limit was seen to, how many tasks moved in all, and whether it is met."""
    agent_index, is_met = assigned.agent_index, None
    if parameters.max_load_factor is not None:
        evened = adjust_load(
            agent_index,
            assigned.scores,
            forecast.planned_duration_ms,
            capacity=assigned.capacity,
            max_load_factor=parameters.max_load_factor,
            allowed=pairs,
        )
        agent_index, is_met = evened.agent_index, evened.is_met
    return agent_index, int((agent_index != assigned.assignment.agent_index).sum()), is_met


def schedule_wave(model: ForecastModel, wave: AssignedWave, parameters: PlanParameters) -> WavePlan:
    """Lay an assignment on the agents' timelines."""
    assigned = wave.assigned
    why = explain_choices(assigned.scores, assigned.assignment.agent_index, assigned.capacity, wave.pairs)
    plans = schedule(wave.tasks, plan_rows(model, wave, why), parameters.priority, parameters.heuristics)
    return WavePlan(
        plans=plans.select(*frames.PLANS.columns),
        assigned=assigned,
        objective=assigned.objective(wave.agent_index, wave.forecast.planned_duration_ms),
        moved_count=wave.moved_count,
        is_limit_met=wave.is_limit_met,
        slot_worth=why.slot_value,
    )


def plan_rows(model: ForecastModel, wave: AssignedWave, why: ChoiceReasons) -> pl.DataFrame:
    """Rows of a wave's plan, before its timeline.

    Returns
    -------
    polars.DataFrame
        `frames.PLANS` without priority and scheduled times, and `agent`, the agent's index.
    """
    pair = (np.arange(wave.tasks.height), wave.agent_index)
    scores, optimal = wave.assigned.scores, wave.assigned.assignment.agent_index
    is_moved = optimal != wave.agent_index  # off its best agent, to even out the load
    runner_up = np.where(is_moved, optimal, why.runner_up)
    runner_up_score = np.where(runner_up >= 0, scores[pair[0], runner_up], np.nan)
    margin = np.where(is_moved, scores[pair] - runner_up_score, why.score_margin)
    chosen = {name: values[pair] for name, values in wave.forecast._asdict().items()}
    return wave.tasks.select(
        "wave",
        "task_id",
        model.agents["agent_id"].gather(wave.agent_index).alias("agent_id"),
        "risk_level",
        "category",
        "confidence",
        "confidence_boost",
        "heuristics_applied",
    ).with_columns(
        pl.Series(
            "updated_confidence", model.updated_confidence()[positions(wave.tasks["task_id"], model.tasks["task_id"])]
        ),
        pl.Series("agent", wave.agent_index),
        pl.Series("max_attempts", wave.allowed),
        *(pl.Series(name, values) for name, values in chosen.items()),
        pl.Series("baseline_success", wave.forecast.planned_success.mean(axis=1)),
        *(pl.Series(f"{name}_term", values[pair]) for name, values in wave.assigned.terms._asdict().items()),
        pl.Series("score", scores[pair]),
        pl.Series("agent_price", why.slot_value[wave.agent_index]),
        model.agents["agent_id"].gather(pl.Series(runner_up).replace(-1, None)).alias("runner_up_agent_id"),
        pl.Series("runner_up_score", runner_up_score).fill_nan(None),
        pl.Series("score_margin", margin).fill_nan(None),
    )

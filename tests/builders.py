"""Small frames and models for the tests of the planning core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from phase19 import frames
from phase19.execution.protocol import Executor
from phase19.forecasting.model import Forecast, ForecastModel
from phase19.forecasting.posterior import JointPosterior
from phase19.harness import Phase19Harness
from phase19.inputs.heuristics import Heuristics
from phase19.inputs.loading import Inputs
from phase19.inputs.wire import Population
from phase19.optimizer import CANDIDATES, AdaptiveOptimizer, assign_wave, recommended
from phase19.options import OptimizationStrategy, PlanOptions, RunOptions
from phase19.wave import ExecutedWave, PlannedWave, Wave

POPULATION = Population(
    success_rate=0.8, duration_ms=1000.0, confidence_delta=0.02, agent_count=3, task_count=12, wave_count=None
)


def tasks(*rows: dict[str, Any], count: int = 0) -> pl.DataFrame:
    """Task frame of `rows`, or of `count` plain ones `t0 ...` at LOW, MEDIUM and HIGH risk in turn."""
    plain = [{"task_id": f"t{i}", "risk_level": frames.RISK_LEVELS[i % 3]} for i in range(count)]
    return frames.TASKS.conform([{"confidence": 0.7, **row} for row in (*plain, *rows)])


def agents(*names: str, **columns: Any) -> pl.DataFrame:
    """Agent frame with `evidence` from records, or as `columns` say for all of them."""
    plain = {"record_count": 0, "evidence": "records"}
    return frames.AGENTS.conform([{"agent_id": name, **plain, **columns} for name in names])


def attempts(*rows: dict[str, Any]) -> pl.DataFrame:
    """Attempt frame of `rows`, each a success of agent a0 unless it says otherwise."""
    return frames.ATTEMPTS.conform([{"agent_id": "a0", "is_success": True, "source": "phase18", **r} for r in rows])


def random_attempts(seed: int, count: int, *, task_count: int = 6, agent_count: int = 3) -> list[dict[str, Any]]:
    """Rows of records drawn from a plain world: agent i succeeds in 90 - 15 i % and takes some seconds."""
    rng = np.random.default_rng(seed)
    agent = rng.integers(agent_count, size=count)
    return [
        {
            "task_id": f"t{rng.integers(task_count)}",
            "agent_id": f"a{a}",
            "is_success": bool(rng.random() < 0.9 - 0.15 * a),
            "duration_ms": float(rng.lognormal(7.0 + 0.2 * a, 0.5)),
            "confidence_before": float(rng.uniform(0.3, 0.95)),
            "confidence_delta": float(rng.normal(0.02, 0.03)),
        }
        for a in agent.tolist()
    ]


def model(
    records: list[dict[str, Any]] | None = None,
    *,
    task_count: int = 4,
    agent_count: int = 3,
    population: Population = POPULATION,
) -> ForecastModel:
    """Fit a model to `records` for tasks `t0 ...` and agents `a0 ...`."""
    names = [f"a{i}" for i in range(agent_count)]
    return ForecastModel.fit(tasks(count=task_count), agents(*names), attempts(*(records or [])), population)


def optimizer(
    records: list[dict[str, Any]] | None = None,
    *,
    task_count: int = 4,
    agent_count: int = 3,
    waves: int = 1,
    options: PlanOptions | None = None,
) -> AdaptiveOptimizer:
    """Optimizer of tasks `t0 ...`, dealt to waves in turn, and agents `a0 ...`, with `records` and no heuristics."""
    inputs = Inputs(
        tasks=tasks(count=task_count).with_columns(wave=pl.int_range(task_count) % waves + 1),
        attempts=attempts(*(records or [])),
        agents=agents(*(f"a{i}" for i in range(agent_count))),
        heuristics=frames.HEURISTICS.empty(),
        sources=frames.SOURCES.empty(),
        population=POPULATION,
        task_source="tasks.jsonl",
        warnings=(),
        digest="",
    )
    return AdaptiveOptimizer(inputs=inputs, options=options)


def run_waves(planner: AdaptiveOptimizer, executor: Executor) -> list[ExecutedWave]:
    """Plan and execute every wave, each with what was learned from the waves before."""
    harness = Phase19Harness(RunOptions(input=Path("none"), **vars(planner.options)))
    harness.prepare_waves(planner, executor)
    return list(harness.run_waves(planner))


def assigned(
    fitted: ForecastModel, rows: pl.DataFrame, heuristics: Heuristics | None = None, **options: Any
) -> PlannedWave:
    """A wave of tasks with their agents, by one strategy."""
    chosen = PlanOptions(**options)
    strategies = CANDIDATES if chosen.strategy is OptimizationStrategy.AUTO else (chosen.strategy,)
    wave = Wave(number=1, tasks=rows)
    found = assign_wave(wave, fitted, chosen, heuristics or Heuristics(), strategies)
    return found[recommended(found, chosen.max_load_factor)].limited(chosen.max_load_factor)


def all_pairs(fitted: ForecastModel, allowed: int = 3) -> Forecast:
    """Forecast of every (task, agent) pair."""
    n, m = fitted.tasks.height, fitted.agents.height
    return fitted.forecast(np.arange(n)[:, None], np.arange(m)[None, :], np.full((n, 1), allowed))


def center(posterior: JointPosterior) -> np.ndarray:
    """Mean of the predictors of every (task, agent) pair."""
    return posterior.mean(*_every_pair(posterior))


def spread(posterior: JointPosterior) -> np.ndarray:
    """Standard deviation of the predictors of every (task, agent) pair."""
    return posterior.sd(*_every_pair(posterior))


def _every_pair(posterior: JointPosterior) -> tuple[np.ndarray, np.ndarray]:
    n, m = posterior.known.starts.size - 1, posterior.known.agents
    return np.arange(n)[:, None], np.arange(m)[None, :]


def parts(forecast: Forecast) -> list[Any]:
    """The arrays of a forecast."""
    return list(vars(forecast).values())


def forecast_of(**parts: Any) -> Forecast:
    """Forecast of (n, m) pairs from the parts that matter; the others are plain and equal for all pairs."""
    arrays = {name: np.asarray(values, dtype=float) for name, values in parts.items()}
    shape = next(iter(arrays.values())).shape
    plain = {
        "success_probability": 0.5,
        "success_low": 0.4,
        "success_high": 0.6,
        "planned_success": 0.5,
        "planned_success_variance": 0.0,
        "planned_attempts": 1.5,
        "duration_ms_p50": 100.0,
        "duration_ms_p90": 200.0,
        "planned_duration_ms": 150.0,
        "planned_confidence_delta": 0.01,
    }
    filled = {name: np.full(shape, value) for name, value in plain.items()} | arrays
    return Forecast(**filled, record_count=np.zeros(shape, dtype=np.int64))


def orders(*rows: dict[str, Any]) -> pl.DataFrame:
    """Order frame of `rows`, agent a0 with up to 3 attempts unless they say otherwise."""
    plain = {"wave": 1, "agent_id": "a0", "confidence": 0.6, "max_attempts": 3}
    return frames.ORDERS.conform([{**plain, "priority": i + 1, **row} for i, row in enumerate(rows)])


def every_plan(task_count: int, agent_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every way to give each task an agent, (plans, tasks), and who takes what, (plans, tasks, agents)."""
    plans = np.indices((agent_count,) * task_count).reshape(task_count, -1).T
    return plans, plans[:, :, None] == np.arange(agent_count)

"""Simulated truths for the detection benchmark, the records they produce, and the faults they can have."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19 import frames
from phase19.forecasting.attempt_times import Residuals
from phase19.forecasting.confidence import ConfidenceChanges
from phase19.forecasting.keyed_random import id_keys
from phase19.forecasting.records import sigmoid
from phase19.forecasting.retries import attempts_allowed, within_attempts
from phase19.forecasting.simulation import World
from phase19.inputs.loading import Inputs
from phase19.inputs.wire import Population
from phase19.optimizer import AdaptiveOptimizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RECORDS_A_PAIR, RETRIES, CATEGORIES = 3, 2, 5
GAINS = (-0.04, 0.03)  # change of confidence after a failure and after a success
GRID = np.linspace(0.0, 1.0, 20_001)


class Size(NamedTuple):
    """Waves of a run, tasks per wave, agents, agents that have records of a task, and attempts recorded in total.

    Without a total, all three attempts of each recording agent are known.
    """

    waves: int
    tasks: int
    agents: int
    recorders: int
    records: int | None = None


@dataclass(frozen=True, slots=True)
class HarderWorld(World):
    """A world in which every attempt succeeds less often, by `loss` [fraction]."""

    loss: float

    def success_probability(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Success probability of first attempts; that of later attempts follows from it."""
        return np.maximum(World.success_probability(self, task, agent) - self.loss, 0.0)


@dataclass(frozen=True, slots=True)
class FaultyWorld(World):
    """A world where `success` maps tasks, agents and task success probabilities, shapes (p,), to faulty ones."""

    success: Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]], NDArray[np.float64]]
    allowed: NDArray[np.int64]

    def success_probability(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Success probability of first attempts for which the tasks, after retries, have the faulty probability."""
        first = World.success_probability(self, task, agent)
        allowed = self.allowed[task]
        have = within_attempts(first, allowed)[0]
        want = self.success(task, agent, have)
        for attempts in np.unique(allowed):
            here = (allowed == attempts) & (want != have)
            first[here] = np.interp(want[here], within_attempts(GRID, attempts)[0], GRID)
        return first


def draw_world(size: Size, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, World]:
    """Draw tasks, agents and the truth about them; recorded confidence is correlated with a task's difficulty."""
    rng = np.random.default_rng([seed, size.tasks, 1])
    n, m = size.waves * size.tasks, size.agents
    risk, category = rng.integers(3, size=n), rng.integers(CATEGORIES, size=n)
    difficulty = 0.8 + np.array([0.2, 0.0, -0.3])[risk] + rng.normal(0.0, 0.8, n)
    special, pair = rng.normal(0.0, 0.3, (CATEGORIES, m)), rng.normal(0.0, 0.6, (n, m))
    tasks = frames.TASKS.conform(
        pl.DataFrame(
            {
                "task_id": [f"task_{i:05d}" for i in range(n)],
                "wave": 1 + np.arange(n) // size.tasks,
                "risk_level": np.array(["LOW", "MEDIUM", "HIGH"])[risk],
                "category": np.array(list("abcde"))[category],
                "confidence": sigmoid(0.5 * difficulty + rng.normal(0.0, 0.5, n)),
            }
        )
    )
    agents = frames.AGENTS.conform(
        [{"agent_id": f"agent_{i:02d}", "record_count": 0, "evidence": "records"} for i in range(m)]
    )
    log_odds = difficulty[:, None] + rng.normal(0.0, 0.5, m) + special[category] + pair
    log_ms = rng.normal(7.0, 0.4, n)[:, None] + rng.normal(0.0, 0.3, m) + rng.normal(0.0, 0.2, (n, m))
    return (
        tasks,
        agents,
        World(
            seed=seed,
            task_keys=id_keys(tasks["task_id"]),
            agent_keys=id_keys(agents["agent_id"]),
            log_odds=lambda task, agent: log_odds[task, agent],
            log_ms=lambda task, agent: log_ms[task, agent],
            outcome_log_ms=np.array([0.3, 0.0]),  # failures take a third longer
            residuals=Residuals(np.full((2, m), 0.5), np.zeros(2), np.ones(2), np.full(n, np.inf)),
            gains=ConfidenceChanges(np.full(m, GAINS[1]), np.full(m, GAINS[0]), 0.02, GAINS[1], GAINS[0]),
            retry_success=np.full(m, np.nan),
        ),
    )


def fit_history(size: Size, tasks: pl.DataFrame, agents: pl.DataFrame, world: World) -> AdaptiveOptimizer:
    """Let some agents attempt each task three times, and fit the forecast to all these records or to some of them."""
    rng = np.random.default_rng([world.seed, size.tasks, 2])
    task = np.repeat(np.arange(tasks.height), size.recorders)
    agent = rng.permuted(np.tile(np.arange(size.agents), (tasks.height, 1)), axis=1)[:, : size.recorders].ravel()
    won = rng.random((RECORDS_A_PAIR, task.size)) < world.success_probability(task, agent)
    times = world.residuals.times(world.log_ms(task, agent), world.outcome_log_ms, task, agent)
    duration_ms = times.drawn_ms(won, rng.standard_normal(won.shape))
    records = pl.DataFrame(
        {
            "task_id": tasks["task_id"].gather(np.tile(task, RECORDS_A_PAIR)),
            "agent_id": agents["agent_id"].gather(np.tile(agent, RECORDS_A_PAIR)),
            "is_success": won.ravel(),
            "duration_ms": duration_ms.ravel(),
            "confidence_delta": np.array(GAINS)[won.ravel().astype(int)],
            "source": "phase18",
        }
    )
    if size.records is not None:
        records = records[rng.choice(records.height, size.records, replace=False)]
    population = Population(
        success_rate=float(records["is_success"].mean()),
        duration_ms=float(records["duration_ms"].mean()),
        confidence_delta=float(records["confidence_delta"].mean()),
        agent_count=size.agents,
        task_count=tasks.height,
        wave_count=None,
    )
    inputs = Inputs(
        tasks=tasks,
        attempts=frames.ATTEMPTS.conform(records),
        agents=agents,
        heuristics=frames.HEURISTICS.empty(),
        sources=frames.SOURCES.empty(),
        population=population,
        task_source="tasks.jsonl",
        warnings=(),
        digest="",
    )
    optimizer = AdaptiveOptimizer(inputs=inputs, seed=world.seed)
    _ = optimizer.model  # fitted once: the runs of a world start from copies
    return optimizer


def with_fault(world: World, fault: str, tasks: pl.DataFrame, agent: int, drop: float) -> World:
    """Return the world with one fault, unchanged for `none`; `agent` has the faults that concern one agent."""
    allowed = attempts_allowed(tasks["risk_level"], RETRIES)
    is_late = tasks["wave"].to_numpy() > tasks["wave"].max() / 2

    parts = {part.name: getattr(world, part.name) for part in fields(World)}

    def failing(success: Callable[..., NDArray[np.float64]]) -> World:
        return FaultyWorld(**parts, success=success, allowed=allowed)

    def slower(applies: Callable[..., NDArray[np.bool_]], factor: float = 1.5) -> World:
        return replace(
            world, log_ms=lambda task, agent: world.log_ms(task, agent) + np.log(factor) * applies(task, agent)
        )

    def alike(task: NDArray[np.int64], _agent: NDArray[np.int64], _p: NDArray[np.float64]) -> NDArray[np.float64]:
        every = World.success_probability(world, task[:, None], np.arange(world.agent_keys.size))
        return within_attempts(every, allowed[task][:, None])[0].mean(axis=1)

    if fault == "bias":
        return failing(lambda _t, _a, p: np.maximum(p - 0.10, 0.0))
    if fault == "harder":
        return HarderWorld(**parts, loss=0.20)
    if fault == "drop":
        return failing(lambda t, a, p: np.where(is_late[t] & (a == agent), np.maximum(p - drop, 0.0), p))
    if fault == "fails":
        return failing(lambda _t, a, p: np.where(a == agent, 0.0, p))
    if fault == "alike":
        return failing(alike)
    if fault == "slow_agent":
        return slower(lambda t, a: is_late[t] & (a == agent))
    if fault == "slow_late":
        return slower(lambda t, _a: is_late[t])
    factor = {"slow": 1.5, "slow_ten": 10.0}.get(fault)
    return world if factor is None else slower(lambda t, _a: np.ones(t.shape, dtype=bool), factor)

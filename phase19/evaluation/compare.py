"""Compare all strategies and two baselines on one input: plan, simulate and execute each, and recommend one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19 import frames
from phase19.balancing.recommendation import (
    Promises,
    best_agents_first,
    dominators,
    load_imbalance,
    recommend,
    round_robin,
)
from phase19.evaluation.compare_report import comparison_section, rationale
from phase19.execution import make_executor
from phase19.execution.protocol import Executor, execute_orders
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import draw_count, draw_wave
from phase19.harness import Phase19Harness
from phase19.inputs.loading import load_inputs
from phase19.optimizer import CANDIDATES as SINGLE_STRATEGIES
from phase19.optimizer import AdaptiveOptimizer, assign_wave, recommended
from phase19.options import CompareOptions, OptimizationStrategy, RunOptions
from phase19.outputs.rendering import Section
from phase19.publishing.files import check_file_target, write_files
from phase19.wave import ExecutedWave, mean, positions

BASELINES = ("round_robin", "best_single_agent_capped")
CANDIDATES = (*map(str, OptimizationStrategy), *BASELINES)  # single strategies first, then auto
ROUND_ROBIN, BEST_AGENT = map(CANDIDATES.index, BASELINES)
MEASURES = ("success_rate", "throughput", "makespan_ms", "load_imbalance", "retry_count", "confidence_delta")
_SINGLE = slice(0, len(SINGLE_STRATEGIES))  # auto and the baselines are never recommended
_SAME = 1e-9  # success rates that differ by less are equal

Measures = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing all strategies.

    Attributes
    ----------
    table
        One row a candidate: the content of strategy_comparison.jsonl.
    section
        The comparison as people read it: headline, tables, recommendation.
    warnings
        Parts of the inputs that were not used.
    """

    table: pl.DataFrame
    section: Section
    warnings: tuple[str, ...]


def compare(
    options: CompareOptions | None = None,
    /,
    *,
    output: Path | str | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    **settings: Any,
) -> Comparison:
    """Compare all strategies on one input.

    Parameters
    ----------
    options
        What to compare; or leave it out and name the fields of :class:`phase19.options.CompareOptions` as keywords.
    output
        The JSONL file to write; None writes nothing.
    progress
        Called as `progress(stage, done, total)`.

    Raises
    ------
    Phase19Error
        An input breaks the contract, or a wave has no assignment within its limits; nothing is written.

    Examples
    --------
    >>> import phase19
    >>> found = phase19.compare(input="data/phase18")  # doctest: +SKIP
    >>> found.table.filter(pl.col("is_recommended"))["strategy"].item()  # doctest: +SKIP
    """
    options = options or CompareOptions.of(**settings)
    target, started = None if output is None else Path(output), options.timestamp or datetime.now(UTC)
    sources = (options.input, options.phase16_dir, options.phase17_dir)
    if target is not None:
        check_file_target(target, (*sources, options.executions))
    inputs = load_inputs(*sources, options.censored_errors)
    optimizer = AdaptiveOptimizer(
        inputs=inputs, options=options, waves=options.waves, agents=options.agents, seed=options.seed
    )
    model = optimizer.model
    executor = make_executor(options, model.world, model.tasks["task_id"], model.agents["agent_id"])
    Phase19Harness(options).prepare_waves(optimizer, executor)
    plans = plan_candidates(optimizer)
    planned, draws = simulate_candidates(plans, options.seed)
    actual = execute_candidates(optimizer, executor, plans, options, progress)
    columns: dict[str, Any] = {"strategy": CANDIDATES, "is_baseline": [name in BASELINES for name in CANDIDATES]}
    for name in MEASURES:
        low, high = np.quantile(draws[name], [0.05, 0.95], axis=1)
        columns |= {f"planned_{name}": planned[name], f"{name}_low": low, f"{name}_high": high}
        columns[f"actual_{name}"] = [measures[name] for measures in actual]
    columns["observed_share"] = [measures["observed_share"] for measures in actual]
    table = pl.DataFrame(columns | judge(planned, draws, model.tasks.height))
    rows = table.to_dicts()
    table = table.with_columns(
        pl.Series("rationale", [rationale(row, rows) for row in rows]),
        executor=pl.lit(options.executor),
        simulated=executor.is_simulated,
        seed=options.seed,
        timestamp=pl.lit(f"{started:%Y-%m-%dT%H:%M:%SZ}"),
    )
    if target is not None:
        write_files(target.parent, {target.name: table})
    sizes = {"task": model.tasks.height, "agent": model.agents.height, "wave": len(plans.starts) + 1}
    return Comparison(table, comparison_section(table, sizes), inputs.warnings)


class CandidatePlans(NamedTuple):
    """Plans of k candidates for the n tasks of a run and m agents, all made before the first wave.

    Attributes
    ----------
    model
        The forecast before the first wave.
    tasks
        `frames.TASKS`, wave after wave, sorted by task id within a wave.
    starts
        Positions of the first task of each wave but the first.
    task
        Index of each task in the model, shape (n,).
    max_attempts
        Attempts each task may have, shape (n,).
    expected
        Expected successes, attempts and confidence change of every pair, shape (3, n, m).
    agent
        Agent of each task by candidate, shape (k, n); round robin in its first rotation.
    """

    model: ForecastModel
    tasks: pl.DataFrame
    starts: NDArray[np.int64]
    task: NDArray[np.int64]
    max_attempts: NDArray[np.int64]
    expected: NDArray[np.float64]
    agent: NDArray[np.int64]

    def rotated(self, rotation: int) -> NDArray[np.int64]:
        """`agent` with round robin in another rotation."""
        agent = self.agent.copy()
        agent[ROUND_ROBIN] = (agent[ROUND_ROBIN] + rotation) % self.expected.shape[2]
        return agent


def plan_candidates(optimizer: AdaptiveOptimizer) -> CandidatePlans:
    """Plan every wave by every candidate, all on the forecast before the first wave.

    Notes
    -----
    The best single agent is the one with most expected successes over all tasks; it gets as many tasks of each wave as
    its capacity allows, then the next best agent (`best_agents_first`).
    """
    model, options = optimizer.model, optimizer.options
    waves = [
        [
            plan.limited(options.max_load_factor)
            for plan in assign_wave(wave, model, options, optimizer.heuristics, SINGLE_STRATEGIES)
        ]
        for wave in optimizer.waves
    ]
    first = [wave[0] for wave in waves]
    parts = ("planned_success", "planned_attempts", "planned_confidence_delta")
    expected = np.hstack([[getattr(wave.forecast, part) for part in parts] for wave in first])
    standing = expected[0].sum(axis=0)
    agent = [
        [
            *(own.agent_index for own in wave),
            wave[recommended(wave)].agent_index,
            round_robin(own.tasks.height, standing.size, 0),
            best_agents_first(standing, own.tasks.height, own.assignment.capacity, own.allowed),
        ]
        for wave, own in zip(waves, first, strict=True)
    ]
    tasks = pl.concat([own.tasks for own in first])
    return CandidatePlans(
        model=model,
        tasks=tasks,
        starts=np.cumsum([own.tasks.height for own in first])[:-1],
        task=positions(tasks["task_id"], model.tasks["task_id"]),
        max_attempts=np.concatenate([own.max_attempts for own in first]),
        expected=expected,
        agent=np.hstack(agent),
    )


def simulate_candidates(plans: CandidatePlans, seed: int) -> tuple[Measures, Measures]:
    """Simulate every candidate's plan in the same worlds.

    Parameters
    ----------
    plans
        Plans of k candidates.
    seed
        Fixes the draws.

    Returns
    -------
    planned, draws
        Expected measures, shape (k,), and measures in each of s draws, shape (k, s).

    Notes
    -----
    Every draw is one world from the posterior, the same for all candidates: agents, tasks, and the outcome of each
    (task, agent) pair and attempt. Differences between candidates thus come from their plans alone. In draw i round
    robin is in rotation i mod m. Success, retries and confidence are expected values of the forecast; makespan and load
    imbalance are means over the draws; throughput is tasks over planned makespan.
    """
    (k, n), m = plans.agent.shape, plans.expected.shape[2]
    max_attempts = np.zeros(n, dtype=np.int64)
    max_attempts[plans.task] = plans.max_attempts
    count = draw_count(k * max(map(len, np.split(plans.task, plans.starts))))
    sums, makespan_ms = np.zeros((3, k, count)), np.zeros((k, count))
    busy_ms = np.zeros((k, count, m))
    for rotation in range(min(m, count)):
        rows, size = slice(rotation, None, m), len(range(rotation, count, m))
        pair, place = np.unique(plans.task * m + plans.rotated(rotation), return_inverse=True)
        task, agent = np.divmod(pair, m)
        drawn = draw_wave(plans.model, task, agent, max_attempts[task], seed=seed, wave=rotation, draws=size)
        for candidate, own in enumerate(place.reshape(k, n)):
            for total, values in zip(sums, (drawn.succeeded, drawn.attempts, drawn.confidence_delta), strict=True):
                total[candidate, rows] = values[:, own].sum(axis=1)
            for wave in np.split(own, plans.starts):
                wave_ms = drawn.busy_ms[:, wave] @ np.eye(m)[agent[wave]]
                makespan_ms[candidate, rows] += wave_ms.max(axis=1)
                busy_ms[candidate, rows] += wave_ms
    imbalance = load_imbalance(busy_ms)
    expected = plans.expected[:, np.arange(n), plans.agent].sum(axis=2)
    expected[:, ROUND_ROBIN] = plans.expected.mean(axis=2).sum(axis=1)
    planned = _measures(n, expected, makespan_ms.mean(axis=1), imbalance.mean(axis=1))
    return planned, _measures(n, sums, makespan_ms, imbalance)


def _measures(
    task_count: int, sums: NDArray[np.float64], makespan_ms: NDArray[np.float64], imbalance: NDArray[np.float64]
) -> Measures:
    """Measures by name; `sums` are successes, attempts and confidence changes over the tasks."""
    success, attempts, confidence = sums
    values = (
        success / task_count,
        task_count * 1000.0 / makespan_ms,
        makespan_ms,
        imbalance,
        attempts - task_count,
        confidence / task_count,
    )
    return dict(zip(MEASURES, values, strict=True))


def execute_candidates(
    optimizer: AdaptiveOptimizer,
    executor: Executor,
    plans: CandidatePlans,
    options: RunOptions,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> list[dict[str, float | None]]:
    """Execute every candidate with the same executor, each from the same first model.

    Parameters
    ----------
    optimizer
        Has planned nothing and learned nothing yet.
    executor
        Gives the same outcome to the same (task, agent, attempt) whichever candidate asks.
    plans
        Plans of all candidates, of which those of the baselines are executed; they learn nothing.
    options
        Those of the run, in which each strategy plans wave by wave and learns from its own outcomes.
    progress
        Called as `progress(stage, done, total)`.

    Returns
    -------
    list of dict
        `measure_executions` of each candidate; for round robin the means over its rotations.
    """
    agent_ids, found = plans.model.agents["agent_id"], []
    for done, strategy in enumerate(OptimizationStrategy):
        progress("strategies", done, len(CANDIDATES))
        run = Phase19Harness(replace(options, strategy=strategy))
        own = optimizer.copy_with(run.options)
        run.prepare_waves(own, executor)
        waves = [wave.executions for wave in run.run_waves(own) if isinstance(wave, ExecutedWave)]
        found.append(measure_executions(pl.concat(waves), agent_ids))
    rotations = [
        measure_executions(_execute_plan(executor, plans, plans.rotated(rotation)[ROUND_ROBIN]), agent_ids)
        for rotation in range(agent_ids.len())
    ]
    best_agent = measure_executions(_execute_plan(executor, plans, plans.agent[BEST_AGENT]), agent_ids)
    return [*found, pl.DataFrame(rotations).mean().row(0, named=True), best_agent]


def _execute_plan(executor: Executor, plans: CandidatePlans, agent: NDArray[np.int64]) -> pl.DataFrame:
    """Execute a fixed plan: `frames.OUTCOMES` with wave and retry_count."""
    orders = plans.tasks.with_columns(
        plans.model.agents["agent_id"].gather(agent).alias("agent_id"),
        pl.Series("max_attempts", plans.max_attempts),
        priority=pl.int_range(1, pl.len() + 1).over("wave"),
    ).sort("wave", "agent_id", "priority")
    gains = plans.model.gains
    outcomes, _ = execute_orders(executor, orders, (gains.population_failure, gains.population_success))
    return outcomes.with_columns(orders["wave"], retry_count=(pl.col("attempt_count") - 1).clip(0))


def measure_executions(executions: pl.DataFrame, agent_ids: pl.Series) -> dict[str, float | None]:
    """Measure what was executed.

    Parameters
    ----------
    executions
        wave, agent_id, status, retry_count, actual_duration_ms and actual_confidence_delta of every task.
    agent_ids
        All agents, idle ones too.

    Returns
    -------
    dict
        `MEASURES` over the tasks that ran, None where none did, and `observed_share`, the share of tasks that ran.
    """
    ran = executions.filter(frames.has_run())
    share = mean(executions.select(frames.has_run()).to_series())
    if ran.is_empty():
        return {**dict.fromkeys(MEASURES), "observed_share": share}
    waves, wave = np.unique(ran["wave"].to_numpy(), return_inverse=True)
    busy_ms = np.zeros((waves.size, agent_ids.len()))
    np.add.at(busy_ms, (wave, positions(ran["agent_id"], agent_ids)), ran["actual_duration_ms"].to_numpy())
    attempts, change = ran.height + ran["retry_count"].sum(), ran["actual_confidence_delta"].sum()
    sums = np.array([(ran["status"] == "completed").sum(), attempts, change])
    with np.errstate(divide="ignore"):
        measures = _measures(ran.height, sums, busy_ms.max(axis=1).sum(), load_imbalance(busy_ms.sum(axis=0)))
    finite = {name: float(value) if np.isfinite(value) else None for name, value in measures.items()}
    return {**finite, "observed_share": share}


def judge(planned: Measures, draws: Measures, task_count: int) -> dict[str, Any]:
    """Recommend one candidate, and compare each with another.

    Parameters
    ----------
    planned, draws
        See `simulate_candidates`.
    task_count
        Number of tasks in the run.

    Returns
    -------
    dict
        Columns by name, one value a candidate. `success_margin` is its planned success rate minus that of the candidate
        it is `compared_with`: the recommended strategy with the best of the other strategies, all others with the
        recommended one. Its 90 % interval is that of the difference in the same draws. `dominated_by` and
        `expects_less_than` name other candidates.
    """
    rate, number = planned["success_rate"], np.arange(len(CANDIDATES))
    costs = ("makespan_ms", "retry_count", "confidence_delta", "load_imbalance")
    promises = Promises(rate * task_count, *(planned[name] for name in costs))
    counts = draws["success_rate"][_SINGLE] * task_count

    def least_shortfall(best: int) -> NDArray[np.float64]:
        return np.asarray(np.quantile(counts[best] - counts, 0.05, axis=1))

    floor = promises.success_count[len(OptimizationStrategy) :].max()
    single = Promises(*(values[_SINGLE] for values in promises))
    chosen = recommend(single, task_count, least_shortfall, floor=float(floor))
    runner_up = int(np.argmax(np.where(number == chosen, -np.inf, rate.round(9))[_SINGLE]))  # rounded: ties are exact
    other = np.where(number == chosen, runner_up, chosen)
    low, high = np.quantile(draws["success_rate"] - draws["success_rate"][other], [0.05, 0.95], axis=1)
    dominated = dominators(promises)
    return {
        "is_recommended": number == chosen,
        "compared_with": [CANDIDATES[i] for i in other],
        "success_margin": rate - rate[other],
        "success_margin_low": low,
        "success_margin_high": high,
        "dominated_by": [[CANDIDATES[j] for j in np.flatnonzero(row)] for row in dominated],
        "expects_less_than": [
            [name for name in BASELINES if row not in BASELINES and rate[CANDIDATES.index(name)] > own + _SAME]
            for row, own in zip(CANDIDATES, rate, strict=True)
        ],
    }

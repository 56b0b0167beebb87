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
from phase19.balancing.recommendation import recommend
from phase19.errors import plural
from phase19.execution import make_executor
from phase19.execution.protocol import Executor, execute_orders
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import draw_count, draw_wave
from phase19.harness import Phase19Harness
from phase19.inputs.loading import load_inputs
from phase19.optimizer import CANDIDATES as SINGLE_STRATEGIES
from phase19.optimizer import AdaptiveOptimizer, assign_wave, recommended
from phase19.options import CompareOptions, OptimizationStrategy, RunOptions
from phase19.outputs.rendering import Block, Section, Table
from phase19.outputs.text import cell, percent
from phase19.publishing.files import check_file_target, write_files
from phase19.wave import ExecutedWave, mean, positions

BASELINES = ("round_robin", "best_single_agent_capped")
CANDIDATES = (*map(str, OptimizationStrategy), *BASELINES)  # single strategies first, then auto
ROUND_ROBIN, BEST_AGENT = map(CANDIDATES.index, BASELINES)
MEASURES = ("success_rate", "throughput", "makespan_ms", "load_imbalance", "retry_count", "confidence_delta")
_SINGLE = slice(0, len(SINGLE_STRATEGIES))  # auto and the baselines are never recommended
_VISIBLE = 0.0005  # of a success rate; less is printed as 0.0 points
_LEGEND = (
    "Imbalance: standard deviation of the agents' busy time over its mean. Actual figures are over the tasks that ran."
)

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
    if target is not None:
        check_file_target(target, (*options.sources, options.executions))
    inputs = load_inputs(*options.sources, options.censored_errors)
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
    table = pl.DataFrame(columns | compare_success(planned, draws)).with_columns(
        executor=pl.lit(options.executor),
        simulated=executor.is_simulated,
        seed=options.seed,
        timestamp=pl.lit(f"{started:%Y-%m-%dT%H:%M:%SZ}"),
    )
    if target is not None:
        write_files(target.parent, {target.name: table})
    sizes = {"task": model.tasks.height, "agent": model.agents.height, "wave": len(optimizer.waves)}
    title = f"Comparison: {', '.join(plural(count, noun) for noun, count in sizes.items())}, {options.executor}"
    return Comparison(table, Section(title, _blocks(table.to_dicts())), inputs.warnings)


class CandidatePlans(NamedTuple):
    """Plans of k candidates for the n tasks of a run and m agents, all made before the first wave.

    Attributes
    ----------
    model
        The forecast before the first wave.
    tasks
        `frames.TASKS` and max_attempts, wave after wave, sorted by task id within a wave.
    expected
        Expected successes, attempts and confidence change of every pair, shape (3, n, m).
    agent
        Agent of each task by candidate, shape (k, n); round robin in its first rotation.
    """

    model: ForecastModel
    tasks: pl.DataFrame
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
    Round robin gives tasks in id order to agents in turn. The best single agent is the one with most expected successes
    over all tasks; it gets as many tasks of each wave, in id order, as its capacity allows, then the next best agent.
    Both ignore which agents the tasks allow.
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
    best_first = np.argsort(-expected[0].sum(axis=0), kind="stable")
    agent = [
        [
            *(own.agent_index for own in wave),
            wave[recommended(wave)].agent_index,
            np.arange(own.tasks.height) % best_first.size,
            np.repeat(best_first, own.assignment.capacity[best_first].clip(max=own.tasks.height))[: own.tasks.height],
        ]
        for wave, own in zip(waves, first, strict=True)
    ]
    tasks = pl.concat([own.tasks.with_columns(max_attempts=pl.Series(own.max_attempts)) for own in first])
    return CandidatePlans(model, tasks, expected, np.hstack(agent))


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
    tasks = positions(plans.tasks["task_id"], plans.model.tasks["task_id"])
    max_attempts = plans.tasks["max_attempts"].to_numpy()[np.argsort(tasks)]
    starts = np.flatnonzero(np.diff(plans.tasks["wave"])) + 1
    count = draw_count(k * max(map(len, np.split(tasks, starts))))
    sums, makespan_ms = np.zeros((3, k, count)), np.zeros((k, count))
    busy_ms = np.zeros((k, count, m))
    for rotation in range(min(m, count)):
        rows, size = slice(rotation, None, m), len(range(rotation, count, m))
        pair, place = np.unique(tasks * m + plans.rotated(rotation), return_inverse=True)
        task, agent = np.divmod(pair, m)
        drawn = draw_wave(plans.model, task, agent, max_attempts[task], seed=seed, wave=rotation, draws=size)
        for candidate, own in enumerate(place.reshape(k, n)):
            for total, values in zip(sums, (drawn.succeeded, drawn.attempts, drawn.confidence_delta), strict=True):
                total[candidate, rows] = values[:, own].sum(axis=1)
            for wave in np.split(own, starts):
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
        priority=pl.int_range(1, pl.len() + 1).over("wave"),
    ).sort("wave", "agent_id", "priority")
    gains = plans.model.gains
    outcomes = execute_orders(executor, orders, (gains.population_failure, gains.population_success))
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


def load_imbalance(busy_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficient of variation of the agents' busy time: 0 where all are equally busy, larger the less even.

    Parameters
    ----------
    busy_ms
        Busy time of each agent, idle ones at 0, shape (..., m).

    Returns
    -------
    numpy.ndarray
        Shape (...): population standard deviation over mean; 0 where nobody is busy.
    """
    mean = busy_ms.mean(axis=-1)
    return np.asarray(np.divide(busy_ms.std(axis=-1), mean, out=np.zeros_like(mean), where=mean > 0))


def compare_success(planned: Measures, draws: Measures) -> dict[str, Any]:
    """Recommend one candidate, and compare the success of each with another's.

    Parameters
    ----------
    planned, draws
        See `simulate_candidates`.

    Returns
    -------
    dict
        Columns by name, one value a candidate. `success_margin` is its planned success rate minus that of the candidate
        it is `compared_with`: the recommended strategy with the best of the other strategies, all others with the
        recommended one. Its 90 % interval is that of the difference in the same draws.
    """
    rate, makespan_ms, number = planned["success_rate"], planned["makespan_ms"], np.arange(len(CANDIDATES))
    chosen = recommend(rate[_SINGLE], makespan_ms[_SINGLE])
    runner_up = int(np.argmax(np.where(number == chosen, -np.inf, rate.round(9))[_SINGLE]))  # rounded: ties are exact
    other = np.where(number == chosen, runner_up, chosen)
    low, high = np.quantile(draws["success_rate"] - draws["success_rate"][other], [0.05, 0.95], axis=1)
    columns = {
        "is_recommended": number == chosen,
        "compared_with": [CANDIDATES[i] for i in other],
        "success_margin": rate - rate[other],
        "success_margin_low": low,
        "success_margin_high": high,
    }
    margins = pl.DataFrame(columns).to_dicts()
    shorter = 1.0 - makespan_ms / makespan_ms[other]
    return columns | {"rationale": [_rationale(row, part) for row, part in zip(margins, shorter, strict=True)]}


def _rationale(row: dict[str, Any], shorter: float) -> str:
    """How a candidate compares, without subject; `shorter` is the share by which its makespan is."""
    margin = row["success_margin"]
    more_or_less = f"{100 * abs(margin):.1f} points {'more' if margin > 0 else 'less'} success than"
    amount = more_or_less if abs(margin) >= _VISIBLE else "as much success as"
    text = f"expects {amount} {row['compared_with']} (90 % interval {_interval(row)} points)"
    return f"{text}; its makespan is {percent(shorter)} shorter" if row["is_recommended"] and shorter > 0 else text


def _interval(row: dict[str, Any]) -> str:
    return f"{100 * row['success_margin_low']:+.1f} to {100 * row['success_margin_high']:+.1f}"


def _blocks(rows: list[dict[str, Any]]) -> list[Block]:
    """The planned and the actual measures, success compared, and the recommendation."""
    chosen = next(row for row in rows if row["is_recommended"])
    margins = tuple(
        (row["strategy"], row["compared_with"], f"{100 * row['success_margin']:+.1f}", _interval(row)) for row in rows
    )
    return [
        *(_measures_table(kind, rows) for kind in ("planned", "actual")),
        Table(("planned success", "less that of", "points", "90 % interval"), margins, labels=2),
        _LEGEND,
        f"Recommended: {chosen['strategy']}. It {chosen['rationale']}.",
    ]


def _measures_table(kind: str, rows: list[dict[str, Any]]) -> Table:
    cells = tuple((row["strategy"], *(cell(name, row[f"{kind}_{name}"]) for name in MEASURES)) for row in rows)
    return Table((kind, "success", "throughput", "makespan", "imbalance", "retries", "confidence"), cells)

"""Compare all strategies and two baselines on one input: plan each, simulate or replay it, and recommend one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.balancing.recommendation import recommend
from phase19.errors import plural
from phase19.evaluation.backtest import replay_pairs
from phase19.execution.replay import ReplayExecutor
from phase19.forecasting import Floats, Ints
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import draw_count, draw_wave
from phase19.harness import Phase19Harness
from phase19.inputs.history import read_executions
from phase19.inputs.loading import load_inputs
from phase19.optimizer import CANDIDATES as SINGLE_STRATEGIES
from phase19.optimizer import AdaptiveOptimizer, assign_wave, recommended
from phase19.options import CompareOptions, OptimizationStrategy
from phase19.outputs.rendering import Block, Section, Table
from phase19.outputs.text import cell, percent
from phase19.publishing.files import check_file_target, write_files
from phase19.wave import positions

BASELINES = ("round_robin", "best_single_agent_capped")
CANDIDATES = (*map(str, OptimizationStrategy), *BASELINES)  # single strategies first, then auto
ROUND_ROBIN, BEST_AGENT = map(CANDIDATES.index, BASELINES)
MEASURES = ("success_rate", "throughput", "makespan_ms", "load_imbalance", "retry_count", "confidence_delta")
_SINGLE = slice(0, len(SINGLE_STRATEGIES))  # auto and the baselines are never recommended
_VISIBLE = 0.0005  # of a success rate; less is printed as 0.0 points
_LEGEND = (
    "Imbalance: standard deviation of the agents' busy time over its mean. "
    "Actual figures of a replay are over the tasks with records."
)

Measures = dict[str, Floats]
# Of p pairs in s draws, shape (s, p): successes, attempts, confidence changes, busy times in ms.
Outcomes = Sequence[NDArray[Any]]


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
    **settings: Any,
) -> Comparison:
    """Compare all strategies on one input.

    Parameters
    ----------
    options
        What to compare; or leave it out and name the fields of :class:`phase19.options.CompareOptions` as keywords.
    output
        The JSONL file to write; None writes nothing.

    Raises
    ------
    Phase19Error
        An input breaks the contract, or a wave has no assignment within its limits; nothing is written.

    Examples
    --------
    >>> import phase19, polars as pl
    >>> found = phase19.compare(input="data/phase18")  # doctest: +SKIP
    >>> found.table.filter(pl.col("is_recommended"))["strategy"].item()  # doctest: +SKIP
    """
    options = CompareOptions.either(options, settings)
    target, started = None if output is None else Path(output), options.timestamp or datetime.now(UTC)
    if target is not None:
        check_file_target(target, (*options.sources, options.executions))
    inputs = load_inputs(*options.sources)
    optimizer = AdaptiveOptimizer(
        inputs=inputs, options=options, waves=options.waves, agents=options.agents, seed=options.seed
    )
    model, records = optimizer.model, None
    if options.executions is not None:
        records = read_executions(options.executions)
        Phase19Harness(options).prepare_waves(optimizer, ReplayExecutor(records))  # limits retries to the records
    plans = plan_candidates(optimizer)
    planned, draws = simulate_candidates(plans, options.seed)
    columns: dict[str, Any] = {"strategy": CANDIDATES, "is_baseline": [name in BASELINES for name in CANDIDATES]}
    for name in MEASURES:
        low, high = np.quantile(draws[name], [0.05, 0.95], axis=1)
        columns |= {f"planned_{name}": planned[name], f"{name}_low": low, f"{name}_high": high}
    if records is not None:
        columns |= replay_candidates(plans, records)
    columns |= compare_success(planned, draws)
    columns |= {"executor": options.executor, "simulated": records is None, "seed": options.seed}
    table = pl.DataFrame(columns | {"timestamp": f"{started:%Y-%m-%dT%H:%M:%SZ}"})
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
    expected: Floats
    agent: Ints

    @property
    def max_attempts(self) -> Ints:
        """Attempts that each task of the model may have, shape (n,)."""
        order = positions(self.model.tasks["task_id"], self.tasks["task_id"])
        return self.tasks["max_attempts"].to_numpy()[order]

    def rotated(self, rotation: int) -> Ints:
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
    k, n = plans.agent.shape
    count = draw_count(k * int(plans.tasks["wave"].value_counts()["count"].to_numpy().max(initial=0)))

    def draw(task: Ints, agent: Ints, rotation: int, size: int) -> Outcomes:
        allowed = plans.max_attempts[task]
        drawn = draw_wave(plans.model, task, agent, allowed, seed=seed, wave=rotation, draws=size)
        return drawn.succeeded, drawn.attempts, drawn.confidence_delta, drawn.busy_ms

    draws = _measure_plans(plans, draw, count)
    expected = plans.expected[:, np.arange(n), plans.agent].sum(axis=2)
    expected[:, ROUND_ROBIN] = plans.expected.mean(axis=2).sum(axis=1)
    times = (draws[name].mean(axis=1) for name in ("makespan_ms", "load_imbalance"))
    return _measures(n, expected, *times), draws


def replay_candidates(plans: CandidatePlans, records: pl.DataFrame) -> dict[str, list[float | None]]:
    """Replay every candidate's plan: no plan learns from an outcome.

    Parameters
    ----------
    plans
        Plans of k candidates.
    records
        `frames.ATTEMPTS`: the recorded outcomes.

    Returns
    -------
    dict
        `actual_` and the name of each of `MEASURES`, over the tasks with records, and `observed_share`, the share of
        tasks with records: k values, None where nothing was recorded. Round robin has the means over its m rotations.
    """
    pairs = replay_pairs(plans.model, records, plans.max_attempts)

    def look_up(task: Ints, agent: Ints, _rotation: int, _size: int) -> Outcomes:
        return [values[task, agent][None] for values in pairs[2:]]  # success and the three parts after it

    measured = _measure_plans(plans, look_up, plans.expected.shape[2])
    means = {name: pl.DataFrame(values.T).fill_nan(None).mean().row(0) for name, values in measured.items()}
    return {name if name == "observed_share" else f"actual_{name}": list(values) for name, values in means.items()}


def _measure_plans(plans: CandidatePlans, outcomes: Callable[[Ints, Ints, int, int], Outcomes], count: int) -> Measures:
    """Measures and observed share of k plans in s draws, shape (k, s); round robin is in rotation i mod m in draw i.

    `outcomes(task, agent, rotation, size)` gives the draws of a rotation for p distinct pairs, shape (size, p); a task
    without attempts did not run.
    """
    (k, n), m = plans.agent.shape, plans.expected.shape[2]
    tasks = positions(plans.tasks["task_id"], plans.model.tasks["task_id"])
    starts = np.flatnonzero(np.diff(plans.tasks["wave"])) + 1
    ran, sums, makespan_ms = np.zeros((k, count)), np.zeros((3, k, count)), np.zeros((k, count))
    busy_ms = np.zeros((k, count, m))
    for rotation in range(min(m, count)):
        rows, size = slice(rotation, None, m), len(range(rotation, count, m))
        pair, place = np.unique(tasks * m + plans.rotated(rotation), return_inverse=True)
        task, agent = np.divmod(pair, m)
        *summed, spent_ms = outcomes(task, agent, rotation, size)
        for candidate, own in enumerate(place.reshape(k, n)):
            ran[candidate, rows] = (summed[1][:, own] > 0).sum(axis=1)
            for total, values in zip(sums, summed, strict=True):
                total[candidate, rows] = values[:, own].sum(axis=1)
            for wave in np.split(own, starts):
                wave_ms = spent_ms[:, wave] @ np.eye(m)[agent[wave]]
                makespan_ms[candidate, rows] += wave_ms.max(axis=1)
                busy_ms[candidate, rows] += wave_ms
    found = _measures(ran, sums, makespan_ms, load_imbalance(busy_ms))
    return {name: np.where(ran > 0, values, np.nan) for name, values in found.items()} | {"observed_share": ran / n}


def _measures(ran: Floats | int, sums: Floats, makespan_ms: Floats, imbalance: Floats) -> Measures:
    """Measures by name over the tasks that ran; `sums` are their successes, attempts and confidence changes."""
    success, attempts, confidence = sums
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing ran, or in no time
        throughput = np.where(makespan_ms > 0, ran * 1000.0 / makespan_ms, np.nan)
        values = (success / ran, throughput, makespan_ms, imbalance, attempts - ran, confidence / ran)
    return dict(zip(MEASURES, values, strict=True))


def load_imbalance(busy_ms: Floats) -> Floats:
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
        it is `compared_with`: for the recommended strategy the most successful other one, for all others the
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
        *(_measures_table(kind, rows) for kind in ("planned", "actual") if f"{kind}_success_rate" in rows[0]),
        Table(("planned success", "less that of", "points", "90 % interval"), margins, labels=2),
        _LEGEND,
        f"Recommended: {chosen['strategy']}. It {chosen['rationale']}.",
    ]


def _measures_table(kind: str, rows: list[dict[str, Any]]) -> Table:
    cells = tuple((row["strategy"], *(cell(name, row[f"{kind}_{name}"]) for name in MEASURES)) for row in rows)
    return Table((kind, "success", "throughput", "makespan", "imbalance", "retries", "confidence"), cells)

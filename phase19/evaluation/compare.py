"""Compare all strategies and two baselines on one input: plan each, simulate it, and recommend one."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np
import polars as pl

from phase19.balancing.recommendation import INDIFFERENCE, SAME, WORTH_MAKESPAN, recommend
from phase19.errors import plural
from phase19.forecasting import Floats, Ints
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import draw_count, draw_wave
from phase19.inputs.loading import load_inputs
from phase19.optimizer import CANDIDATES as SINGLE_STRATEGIES
from phase19.optimizer import AdaptiveOptimizer, assign_wave, recommended
from phase19.options import CompareOptions, OptimizationStrategy, takes_settings
from phase19.outputs.html.markup import blocks_html
from phase19.outputs.rendering import Block, Section, Table
from phase19.outputs.text import cell, percent
from phase19.wave import positions

if TYPE_CHECKING:
    from phase19.settings import CompareSettings

BASELINES = ("round_robin", "best_single_agent_capped")
CANDIDATES = (*map(str, OptimizationStrategy), *BASELINES)  # single strategies, auto, baselines
ROUND_ROBIN = CANDIDATES.index("round_robin")
MEASURES = ("success_rate", "throughput", "makespan_ms", "load_imbalance", "retry_count", "confidence_delta")
_SINGLE = slice(0, len(SINGLE_STRATEGIES))  # auto and the baselines are never recommended
_Z_90 = 1.645  # standard deviations of half a 90 % interval
_VISIBLE = 0.0005  # smallest difference of success rates that does not print as 0.0 points
_LEGEND = "Imbalance: standard deviation of the agents' busy time divided by its mean."

Measures = dict[str, Floats]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Result of comparing all strategies.

    Attributes
    ----------
    table
        One row per candidate: the content of strategy_comparison.jsonl.
    section
        The comparison as text and tables, with the recommendation.
    warnings
        Parts of the inputs that were not used.
    """

    table: pl.DataFrame
    section: Section
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.section.title}\n{self.section.blocks[-1]}"

    def _repr_html_(self) -> str:
        return blocks_html(self.section.title, *self.section.blocks)


@takes_settings(CompareOptions)
def compare(input: CompareOptions | Path | str | None = None, **settings: "Unpack[CompareSettings]") -> Comparison:
    """Compare all strategies on one input.

    Parameters
    ----------
    input
        The input directory, outputs/phase18 by default; or a :class:`phase19.options.CompareOptions`.
    **settings
        Fields of :class:`phase19.options.CompareOptions`.

    Returns
    -------
    Comparison
        Planned and simulated figures of every candidate, and the recommendation.

    Raises
    ------
    Phase19Error
        An input breaks the contract, or a wave has no assignment within its limits.

    Examples
    --------
    >>> import phase19
    >>> phase19.compare("outputs/phase18", seed=7)  # doctest: +ELLIPSIS
    Comparison: 12 tasks, 4 agents, 3 waves, simulated
    Recommended: maximize_success. ...
    """
    options = CompareOptions.of(input, **settings)
    started = options.timestamp or datetime.now(UTC)
    inputs = load_inputs(*options.sources)
    optimizer = AdaptiveOptimizer(
        inputs=inputs, options=options, waves=options.waves, agents=options.agents, seed=options.seed
    )
    planned, draws = simulate_candidates(plan_candidates(optimizer), options.seed)
    columns: dict[str, Any] = {"strategy": CANDIDATES, "is_baseline": [name in BASELINES for name in CANDIDATES]}
    for name in MEASURES:
        low, high = np.quantile(draws[name], [0.05, 0.95], axis=1)
        columns |= {f"planned_{name}": planned[name], f"{name}_low": low, f"{name}_high": high}
    columns |= compare_success(planned, draws)
    columns |= {"simulated": True, "seed": options.seed, "timestamp": f"{started:%Y-%m-%dT%H:%M:%SZ}"}
    table = pl.DataFrame(columns).fill_nan(None)
    sizes = {"task": optimizer.model.tasks.height, "agent": optimizer.model.agents.height, "wave": len(optimizer.waves)}
    title = f"Comparison: {', '.join(plural(count, noun) for noun, count in sizes.items())}, simulated"
    return Comparison(table, Section(title, _blocks(table.to_dicts())), inputs.warnings)


class CandidatePlans(NamedTuple):
    """Plans of k candidates for the n tasks and m agents of a run, all made before the first wave.

    Attributes
    ----------
    model
        The forecast before the first wave.
    tasks
        `frames.TASKS` with `max_attempts`, sorted by wave, in the order of each wave's plan.
    expected
        Expected successes, attempts and confidence change of every pair, shape (3, n, m).
    agent
        Agent of each task by candidate, shape (k, n); first rotation for round robin.
    """

    model: ForecastModel
    tasks: pl.DataFrame
    expected: Floats
    agent: Ints


def plan_candidates(optimizer: AdaptiveOptimizer) -> CandidatePlans:
    """Plan every wave with every candidate, using the forecast before the first wave.

    Notes
    -----
    Round robin gives tasks in id order to agents in turn. The best single agent has the most expected successes over
    all tasks. In each wave it takes tasks in id order up to its capacity; the next best agent takes the following ones,
    and so on. Both baselines ignore which agents the tasks allow.
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
    agent = []
    for wave, own in zip(waves, first, strict=True):
        rank = np.argsort(np.argsort(positions(own.tasks["task_id"], model.tasks["task_id"])))  # in id order
        agent.append(
            [
                *(plan.agent_index for plan in wave),
                wave[recommended(wave)].agent_index,
                rank % best_first.size,
                np.repeat(best_first, own.assignment.capacity[best_first].clip(max=rank.size))[rank],
            ]
        )
    tasks = pl.concat([own.tasks.with_columns(max_attempts=pl.Series(own.max_attempts)) for own in first])
    return CandidatePlans(model, tasks, expected, np.hstack(agent))


def simulate_candidates(plans: CandidatePlans, seed: int) -> tuple[Measures, Measures]:
    """Simulate every candidate's plan on the same random draws.

    Parameters
    ----------
    plans
        Plans of k candidates.
    seed
        Seed of the draws.

    Returns
    -------
    planned, draws
        Expected value of each measure, shape (k,), and its values in s draws, shape (k, s), by name.

    Notes
    -----
    Each draw takes agents, tasks and the outcome of each (task, agent) pair and attempt from the posterior. All
    candidates share the draws, so their differences come from their plans alone. In draw i, round robin uses rotation
    i mod m. Success, retries and confidence are expected values of the forecast; makespan and load
    imbalance are means over the draws; throughput is tasks divided by planned makespan.
    """
    (k, n), m = plans.agent.shape, plans.expected.shape[2]
    waves = np.flatnonzero(np.diff(plans.tasks["wave"])) + 1
    count = draw_count(k * int(np.diff([0, *waves, n]).max()))
    task = positions(plans.tasks["task_id"], plans.model.tasks["task_id"])
    max_attempts = plans.tasks["max_attempts"].to_numpy()
    sums, makespan_ms, busy_ms = np.zeros((3, k, count)), np.zeros((k, count)), np.zeros((k, count, m))
    for rotation in range(min(m, count)):
        rows = range(rotation, count, m)
        agent_of = plans.agent.copy()
        agent_of[ROUND_ROBIN] = (agent_of[ROUND_ROBIN] + rotation) % m
        pair, place = np.unique(np.arange(n) * m + agent_of, return_inverse=True)
        own, agent = np.divmod(pair, m)
        drawn = draw_wave(plans.model, task[own], agent, max_attempts[own], seed=seed, wave=rotation, draws=len(rows))
        summed = (drawn.succeeded, drawn.attempts, drawn.confidence_delta)
        for candidate, chosen in enumerate(place.reshape(k, n)):
            sums[:, candidate, rows] = [values[:, chosen].sum(axis=1) for values in summed]
            for wave in np.split(chosen, waves):
                wave_ms = drawn.busy_ms[:, wave] @ (agent[wave, None] == np.arange(m))
                makespan_ms[candidate, rows] += wave_ms.max(axis=1)
                busy_ms[candidate, rows] += wave_ms
    imbalance = busy_ms.std(axis=2) / busy_ms.mean(axis=2)
    expected = plans.expected[:, np.arange(n), plans.agent].sum(axis=2)
    expected[:, ROUND_ROBIN] = plans.expected.mean(axis=2).sum(axis=1)
    planned = _measures(n, expected, makespan_ms.mean(axis=1), imbalance.mean(axis=1))
    return planned, _measures(n, sums, makespan_ms, imbalance)


def _measures(n: int, sums: Floats, makespan_ms: Floats, imbalance: Floats) -> Measures:
    """Compute the measures of n tasks from their summed successes, attempts and confidence changes, shape (3, ...)."""
    success, attempts, confidence = sums
    values = (success / n, n * 1000.0 / makespan_ms, makespan_ms, imbalance, attempts - n, confidence / n)
    return dict(zip(MEASURES, values, strict=True))


def compare_success(planned: Measures, draws: Measures) -> dict[str, Any]:
    """Recommend one candidate, and compare the success of each candidate with that of another.

    Parameters
    ----------
    planned, draws
        See `simulate_candidates`.

    Returns
    -------
    dict
        Columns by name, one value per candidate. `success_margin` is its planned success rate minus that of the
        candidate in `compared_with`. The recommended strategy is compared with the most successful other single
        strategy, all other candidates with the recommended one. The 90 % interval is that of the difference over the
        draws. `makespan_saving` is the share of the other's planned makespan that the candidate saves;
        `makespan_saving_error` is half the width of its 90 % interval, which more draws would narrow.
    """
    rate, makespan_ms, number = planned["success_rate"], planned["makespan_ms"], np.arange(len(CANDIDATES))
    chosen = recommend(rate[_SINGLE], makespan_ms[_SINGLE])
    runner_up = int(np.argmax(np.where(number == chosen, -np.inf, rate.round(9))[_SINGLE]))  # rounded: exact ties
    other = np.where(number == chosen, runner_up, chosen)
    low, high = np.quantile(draws["success_rate"] - draws["success_rate"][other], [0.05, 0.95], axis=1)
    ratio, drawn_ms = makespan_ms / makespan_ms[other], draws["makespan_ms"]
    unexplained = (drawn_ms - ratio[:, None] * drawn_ms[other]) / makespan_ms[other, None]  # of the ratio, by draw
    return {
        "is_recommended": number == chosen,
        "compared_with": [CANDIDATES[i] for i in other],
        "success_margin": rate - rate[other],
        "success_margin_low": low,
        "success_margin_high": high,
        "makespan_saving": 1.0 - ratio,
        "makespan_saving_error": _Z_90 * unexplained.std(axis=1) / np.sqrt(drawn_ms.shape[1]),
    }


def recommendation(rows: list[dict[str, Any]]) -> str:
    """Say which strategy is recommended, and how it compares with the most successful other strategy."""
    known = ("makespan_saving", "makespan_saving_error")
    rows = [row | {key: row[key] or 0.0 for key in known} for row in rows]  # null if no time is known
    row = next(row for row in rows if row["is_recommended"])
    margin, saving, other = row["success_margin"], row["makespan_saving"], row["compared_with"]
    close = -INDIFFERENCE - min(margin, 0.0) - SAME
    rivals = [each for each in rows[_SINGLE] if each["success_margin"] >= close and each is not row]
    is_faster = margin <= SAME and saving > WORTH_MAKESPAN
    amount = f"{100 * margin:.1f} points more success than" if margin >= _VISIBLE else "as much success as"
    amount = f"as many successes within half a point as {other}" if is_faster else f"{amount} {other}"
    text = f"Recommended: {row['strategy']}. It expects {amount} (90 % interval {_interval(row)} points)"
    if saving >= _VISIBLE:
        text += f", and its makespan is {percent(saving)} shorter"
    nearest = max(rivals, key=lambda each: each["makespan_saving"], default=row)
    if nearest is not row and nearest["makespan_saving"] >= _VISIBLE:
        shorter = percent(nearest["makespan_saving"])
        text += f"; {nearest['strategy']} is within half a point of it, but only {shorter} shorter"
    needed = 0.0 if is_faster else WORTH_MAKESPAN
    possible = [e["strategy"] for e in rivals if e["makespan_saving"] + e["makespan_saving_error"] > needed]
    possible += [other] * (is_faster and saving - row["makespan_saving_error"] <= WORTH_MAKESPAN)
    if possible:
        text += f"; makespans are simulated, and another seed may recommend {' or '.join(possible)}"
    return f"{text}."


def _interval(row: dict[str, Any]) -> str:
    return f"{100 * row['success_margin_low']:+.1f} to {100 * row['success_margin_high']:+.1f}"


def _blocks(rows: list[dict[str, Any]]) -> list[Block]:
    """The planned measures, success compared, and the recommendation."""
    measures = tuple((row["strategy"], *(cell(name, row[f"planned_{name}"]) for name in MEASURES)) for row in rows)
    margins = tuple(
        (row["strategy"], row["compared_with"], f"{100 * row['success_margin']:+.1f}", _interval(row)) for row in rows
    )
    return [
        Table(("planned", "success", "throughput", "makespan", "imbalance", "retries", "confidence"), measures),
        Table(("planned success of", "minus that of", "points", "90 % interval"), margins, labels=2),
        _LEGEND,
        recommendation(rows),
    ]

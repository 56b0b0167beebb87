"""Calibration of the forecasts in worlds drawn from them: `python -m benchmarks calibration [WORLDS]`.

World k is drawn from the first model's posterior with seed k. A dry run in it plans, executes and learns from every
wave. Inputs are the committed sample, which has hardly any records, and a generated one (60 tasks, 6 agents, 3 waves,
sample seed 19). The first wave shows whether draws and forecasts agree, the later waves whether the uncertainty after
learning is right:

- prediction accuracy of a run is 1 - |planned - actual| / planned of its success rate, clipped to [0, 1];
- intervals are the central 90 % of the duration of each task's first attempt and, over the plan's own draws, of a
  wave's makespan. The 90 % quantile is the one in planned_tasks.jsonl;
- transforms are randomised probability integral transforms, u = F(x - 1) + v (F(x) - F(x - 1)) with uniform v: exactly
  uniform where the forecast F is right, although x is discrete. F of a single success is planned; F of a wave's count
  is its rank among the draws. The Kolmogorov-Smirnov test needs independent values, but tasks and waves of one world
  share its agents. Each test therefore takes one transform per world, of a random task and a random later wave;
- bias is the mean of planned minus actual success in standard errors. Standard errors are of means over worlds, which
  are independent.

A third input judges forecasts of what was never recorded, by a truth that is not the model's: log odds with parts for
agents, tasks, categories, agents by category, pairs, and two dimensions in which tasks ask and agents offer different
things. A third of the pairs of 120 of 160 tasks is recorded once or twice; the rest of their pairs are "cells never
seen", and the other 40 tasks "tasks never seen". There, the interval of a pair's success probability should hold the
true one, and the slope of a logistic regression of outcomes on the forecast's log odds should be 1: below, forecasts
are too bold, above, too timid.

Even if the forecast is right, each test fails by chance once in a hundred times, so check a narrow miss with more
worlds. The table goes to docs/benchmarks.md. Exits with 1 if a figure misses its aim.

References
----------
Czado, Gneiting, Held: Predictive model assessment for count data, 2009.
Talts, Betancourt, Simpson, Vehtari, Gelman: Validating Bayesian inference algorithms with simulation-based
calibration, 2018.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar
from scipy.stats import kstest

from benchmarks._document import machine, missed_aims, replace_section, table
from phase19 import frames
from phase19.execution.simulate import SimulateExecutor
from phase19.forecasting.model import forecast_table
from phase19.forecasting.records import logit, sigmoid
from phase19.harness import Phase19Harness
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.sample import write_sample
from phase19.inputs.wire import Population
from phase19.optimizer import AdaptiveOptimizer
from phase19.wave import ExecutedWave, positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


ROOT = Path(__file__).resolve().parent.parent
WORLDS, PROCESSES = 1_000, 2
MEANING = """Whether forecasts hold what they promise, in worlds drawn from them (`sample`, `generated`) and in worlds
drawn from another model (`unseen`). The script explains each measure; `holds` says whether its figure is within the
aim."""
ONE_THREAD = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # of each process
GENERATED = {"tasks": 60, "agents": 6, "waves": 3, "seed": 19}
TAILS = (0.05, 0.95)
LEAST_ACCURACY, LEAST_COVERAGE, LARGEST_COVERAGE, LEAST_P = 0.90, 0.88, 0.92, 0.01
LARGEST_BIAS = 2.576  # standard errors: a two-sided test at 1 %, like the others
UNSEEN_WORLDS = 60
UNSEEN_TASKS, NEW_TASKS, UNSEEN_AGENTS, UNSEEN_CATEGORIES = 160, 40, 10, 8
LEAST_SLOPE, LARGEST_SLOPE = 0.9, 1.1
LEAST_UNSEEN, LARGEST_UNSEEN = 0.86, 0.94  # of intervals: the truth has other parts than the model
COVERAGES = {
    "duration_covered": "single durations in their 90 % interval",
    "duration_below": "single durations below their 90 % quantile",
    "makespan_covered": "makespans in their 90 % interval",
}
TRANSFORMS = {
    "success_transform": "transforms of single successes uniform, p",
    "count_transform": "transforms of success counts uniform, p",
}


class Measured(NamedTuple):
    """One wave of one world; rates are means over its tasks."""

    world: int
    wave: int
    task_count: int
    planned: float
    actual: float
    duration_covered: float
    duration_below: float
    makespan_covered: float
    success_transform: float
    count_transform: float


class Finding(NamedTuple):
    """A line of the table."""

    waves: str
    measure: str
    figure: str
    aim: str
    holds: bool


def measure(world: int, wave: ExecutedWave, rng: np.random.Generator) -> Measured:
    """Compare a wave's plan with what happened; `rng` breaks ties and chooses the single task."""
    executions, model = wave.executions, wave.model
    planned = executions["planned_success"].to_numpy()
    succeeded = (executions["status"] == "completed").to_numpy()
    first = wave.attempts.filter(pl.col("attempt") == 1).select("task_id", "duration_ms")
    durations = executions.join(first, on="task_id", maintain_order="left")["duration_ms"].to_numpy()
    task = positions(executions["task_id"], model.tasks["task_id"])
    agent = positions(executions["agent_id"], model.agents["agent_id"])
    low, high = model.duration.times(task, agent).quantiles_ms(executions["success_probability"].to_numpy(), *TAILS)
    draws = wave.scheduled_draws.summary(wave.number, executions)
    makespan = executions["actual_end_time"].max()
    least, most = np.quantile(draws["makespan_ms"], TAILS)
    one = rng.integers(planned.size)
    failure = 1.0 - planned[one]
    drawn, count = wave.draws.succeeded.sum(axis=1), succeeded.sum()
    below, same = (drawn < count).sum(), (drawn == count).sum()
    return Measured(
        world=world,
        wave=wave.number,
        task_count=planned.size,
        planned=float(planned.mean()),
        actual=float(succeeded.mean()),
        duration_covered=float(((low <= durations) & (durations <= high)).mean()),
        duration_below=float((durations <= executions["duration_ms_p90"].to_numpy()).mean()),
        makespan_covered=float(least <= makespan <= most),
        success_transform=failure + rng.random() * planned[one] if succeeded[one] else rng.random() * failure,
        # The count is one more draw from the same distribution, so its rank among all 1 + s is uniform.
        count_transform=(below + rng.random() * (same + 1)) / (drawn.size + 1),
    )


def play_worlds(phase18: Path, seeds: range) -> pl.DataFrame:
    """Run the worlds with these seeds; return a row of `Measured` for each of their waves."""
    inputs = load_inputs(phase18, phase18.parent / "phase16", phase18.parent / "phase17")
    model, rows = AdaptiveOptimizer(inputs=inputs).model, []
    for seed in seeds:
        rng = np.random.default_rng([seed, 88, model.tasks.height])  # used for nothing else
        optimizer, run = AdaptiveOptimizer(inputs=inputs, seed=seed), Phase19Harness(phase18_dir=phase18)
        executor = SimulateExecutor(model.world(seed), model.tasks["task_id"], model.agents["agent_id"])
        run.prepare_waves(optimizer, executor)
        rows += [measure(seed, wave, rng) for wave in run.run_waves(optimizer) if isinstance(wave, ExecutedWave)]
    return pl.DataFrame(rows, orient="row", schema=Measured._fields)


def share_out(phase18: Path, worlds: int) -> pl.DataFrame:
    """Run `play_worlds` for seeds 0, 1, ... in parallel processes."""
    command, environment = [sys.executable, __file__, phase18], {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    parts = [
        subprocess.Popen([*command, str(place), str(worlds)], env=environment, stdout=subprocess.PIPE)
        for place in range(PROCESSES)
    ]
    printed = [part.communicate()[0] for part in parts]
    if any(part.returncode for part in parts):
        sys.exit("a process failed: see its message above")
    return pl.concat(pl.read_ndjson(BytesIO(rows)) for rows in printed if rows).sort("world", "wave")


def findings(rows: pl.DataFrame) -> Iterator[Finding]:
    """Compute the figures over all worlds, in the order of the table."""
    rate = [(pl.col(name) * pl.col("task_count")).sum() / pl.col("task_count").sum() for name in ("planned", "actual")]
    runs = rows.group_by("world", maintain_order=True).agg(planned=rate[0], actual=rate[1])
    accuracy = runs.select((1 - (pl.col("planned") - pl.col("actual")).abs() / pl.col("planned")).clip(0, 1))
    mean, error = over_worlds(accuracy.to_series())
    yield Finding(
        "all", "prediction accuracy", f"{mean:.4f} ± {error:.4f}", f"> {LEAST_ACCURACY:.2f}", mean > LEAST_ACCURACY
    )
    for waves, part in (("first", rows.filter(pl.col("wave") == 1)), ("later", rows.filter(pl.col("wave") > 1))):
        by_world = part.group_by("world", maintain_order=True)
        means = by_world.mean()
        for name, text in COVERAGES.items():
            mean, error = over_worlds(means[name])
            yield Finding(
                waves,
                text,
                f"{mean:.4f} ± {error:.4f}",
                f"{LEAST_COVERAGE:.2f} to {LARGEST_COVERAGE:.2f}",
                LEAST_COVERAGE <= mean <= LARGEST_COVERAGE,
            )
        chosen = np.random.default_rng(88).random(part.height)
        singles = part.with_columns(order=chosen).sort("world", "order").unique("world", keep="first")
        for name, text in TRANSFORMS.items():
            p = float(kstest(singles[name].to_numpy(), "uniform").pvalue)
            yield Finding(waves, text, f"{p:.3f}", f"> {LEAST_P:.2f}", p > LEAST_P)
        mean, error = over_worlds(means["planned"] - means["actual"])
        yield Finding(
            waves,
            "bias of planned success, standard errors",
            f"{mean / error:+.2f}",
            f"within {LARGEST_BIAS:.2f}",
            abs(mean) < LARGEST_BIAS * error,
        )


def unseen_world(seed: int) -> pl.DataFrame:
    """Forecast a world from part of its records; return its pairs without records: forecast, interval and truth."""
    rng = np.random.default_rng([seed, 89])
    n, m = UNSEEN_TASKS, UNSEEN_AGENTS
    category = rng.integers(UNSEEN_CATEGORIES, size=n)
    by_task = rng.normal(0.5, 0.9, n) + rng.normal(0.0, 0.6, UNSEEN_CATEGORIES)[category]
    by_pair = rng.normal(0.0, 0.4, (UNSEEN_CATEGORIES, m))[category] + rng.normal(0.0, 0.3, (n, m))
    dimensions = rng.normal(0.0, 1.0, (n, 2)) @ rng.normal(0.0, 0.5, (2, m))
    truth = sigmoid(rng.normal(0.0, 0.6, m) + by_task[:, None] + by_pair + dimensions)
    tries = np.where(rng.random((n, m)) < 1 / 3, rng.integers(1, 3, (n, m)), 0)
    tries[:NEW_TASKS] = 0
    task, agent = (np.repeat(place, tries.ravel()) for place in np.indices((n, m)).reshape(2, -1))
    names = pl.Series([f"task_{i}" for i in range(n)])
    agents = pl.Series([f"agent_{i}" for i in range(m)])
    kinds = pl.Series([f"kind_{i}" for i in category])
    won = rng.random(task.size) < truth[task, agent]
    records = {"task_id": names.gather(task), "agent_id": agents.gather(agent), "is_success": won, "source": "phase18"}
    inputs = Inputs(
        tasks=frames.TASKS.conform(pl.DataFrame({"task_id": names, "wave": 1, "category": kinds})),
        attempts=frames.ATTEMPTS.conform(pl.DataFrame(records)),
        agents=frames.AGENTS.conform(pl.DataFrame({"agent_id": agents, "record_count": 0, "evidence": "records"})),
        population=Population(success_rate=float(won.mean()), agent_count=m, task_count=n),
    )
    found = forecast_table(AdaptiveOptimizer(inputs=inputs).model)
    place = [positions(found[f"{name}_id"], known) for name, known in (("task", names), ("agent", agents))]
    return found.select(
        world=pl.lit(seed),
        is_new=pl.Series(place[0] < NEW_TASKS),
        forecast="success_probability",
        low="success_low",
        high="success_high",
        truth=pl.Series(truth[*place]),
        is_success=pl.Series(rng.random(found.height) < truth[*place]),
    ).filter(pl.Series(tries[*place] == 0))


def unseen_findings(rows: pl.DataFrame) -> Iterator[Finding]:
    """Compute the figures of pairs without records, for known and for new tasks."""
    for part, own in (("cells", rows.filter(~pl.col("is_new"))), ("tasks", rows.filter("is_new"))):
        by_world = own.group_by("world", maintain_order=True)
        covered = pl.col("truth").is_between("low", "high").mean()
        mean, error = over_worlds(by_world.agg(covered)["truth"])
        aim = f"{LEAST_UNSEEN:.2f} to {LARGEST_UNSEEN:.2f}"
        holds = LEAST_UNSEEN <= mean <= LARGEST_UNSEEN
        yield Finding(part, "true probabilities in their 90 % interval", f"{mean:.4f} ± {error:.4f}", aim, holds)
        mean, error = over_worlds(pl.Series([slope(world) for _, world in by_world]))
        holds = LEAST_SLOPE <= mean <= LARGEST_SLOPE
        aim = f"{LEAST_SLOPE:.1f} to {LARGEST_SLOPE:.1f}"
        yield Finding(part, "calibration slope", f"{mean:.3f} ± {error:.3f}", aim, holds)
        gap = (pl.col("forecast") - pl.col("truth")).mean()
        mean, error = over_worlds(by_world.agg(gap)["forecast"])
        within = abs(mean) < LARGEST_BIAS * error
        yield Finding(
            part, "bias of the forecast, standard errors", f"{mean / error:+.2f}", f"within {LARGEST_BIAS:.2f}", within
        )


def slope(rows: pl.DataFrame) -> float:
    """Slope of a logistic regression, without intercept, of outcomes on the log odds of their forecasts."""
    log_odds, won = logit(rows["forecast"].to_numpy()), rows["is_success"].to_numpy()
    return float(
        minimize_scalar(
            lambda slope: (np.logaddexp(0.0, slope * log_odds) - won * slope * log_odds).mean(),
            bounds=(0.0, 5.0),
            method="bounded",
        ).x
    )


def over_worlds(values: pl.Series) -> tuple[float, float]:
    """Mean over worlds, and its standard error."""
    array = values.to_numpy()
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(array.size))


def rows_of(name: str, found: Iterable[Finding]) -> list[list[str]]:
    """Print the rows of an input, and return them; the last cell says whether the aim is met."""
    rows = []
    for each in found:
        rows.append([name, each.waves, each.measure, each.figure, each.aim, "yes" if each.holds else "NO"])
        print("{:<10} {:<6} {:<44} {:<16} {:<14} {}".format(*rows[-1]), flush=True)
    return rows


def main(worlds: int) -> int:
    print(
        f"{worlds:,} worlds per input, seeds 0 to {worlds - 1:,}; {UNSEEN_WORLDS} of pairs never recorded; ± is one "
        "standard error\n"
    )
    head = ["input", "waves", "measure", "figure", "aim", "holds"]
    print("{:<10} {:<6} {:<44} {:<16} {:<14} {}".format(*head))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        write_sample(Path(scratch), **GENERATED)
        for name, phase18 in (("sample", ROOT / "outputs" / "phase18"), ("generated", Path(scratch, "phase18"))):
            rows += rows_of(name, findings(share_out(phase18, worlds)))
    unseen = pl.concat(map(unseen_world, range(UNSEEN_WORLDS)))
    rows += rows_of("unseen", unseen_findings(unseen))
    missed = [f"{row[2]} ({row[0]}, {row[1]})" for row in rows if row[-1] == "NO"]
    if worlds == WORLDS:
        about = f"{worlds:,} worlds of `sample` and `generated`, {UNSEEN_WORLDS} of `unseen`. {machine('polars')}"
        replace_section(
            "Calibration of forecasts", "calibration", MEANING, [about, "", *table(head, rows), "", missed_aims(missed)]
        )
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:  # one process: the input, its index among the processes, the number of worlds
        place, count = map(int, sys.argv[2:])
        sys.stdout.write(play_worlds(Path(sys.argv[1]), range(place, count, PROCESSES)).write_ndjson())
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else WORLDS))

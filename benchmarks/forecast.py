"""Time to fit the forecast, first and after one more wave: `python -m benchmarks forecast`.

Records are drawn from abilities, difficulties, three risk levels and six categories; the run has all tasks of the
records. `first` fits success to all but the last 1 % of the records and chooses the scales; `refit` continues from that
fit with all records. `model` is a first :meth:`ForecastModel.fit`, including durations, confidence changes and reading
the frames; `observe` learns from the last 1 % of the records. Times are medians over the runs [s], wall time or CPU
time. `MB` is the peak memory above what the process held before the fits. Each row has its own process. The table goes
to docs/benchmarks.md. Exits with 1 if a refit exceeds its bound.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from phase19 import frames
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import read_records
from phase19.forecasting.success import SuccessPriors, fit_success
from phase19.inputs.wire import Population

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")
MEANING = """How long it takes to fit the forecast to records, and how much memory; less is better. `first` is the fit
of success, `refit` the fit after one more wave, `model` the first fit of everything that is forecast, and
`observe` what a run does after each wave. All are seconds, wall time or CPU time. The aims are for
`refit`, which takes less than 2 s for 100,000 records and 15 s for a million."""

ROOT = Path(__file__).resolve().parent.parent
SIZES = (  # records, agents, tasks, runs, seconds that a refit may take
    (36, 4, 12, 15, 0.02),
    (100_000, 100, 1_000, 5, 2.0),
    (100_000, 100, 10_000, 5, 2.0),
    (100_000, 100, 45_000, 5, 2.0),
    (1_000_000, 100, 10_000, 3, 15.0),
    (1_000_000, 100, 100_000, 3, 15.0),
)
COLUMNS = ("first", "refit", "refit CPU", "model", "observe", "observe CPU", "MB")
POPULATION = Population(
    success_rate=0.7, duration_ms=1000.0, confidence_delta=0.02, agent_count=100, task_count=1000, wave_count=None
)


def world(records: int, agents: int, tasks: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Draw frames of tasks, agents and attempts."""
    rng = np.random.default_rng(19)
    task, agent = rng.integers(tasks, size=records), rng.integers(agents, size=records)
    level, category = rng.integers(3, size=tasks), rng.integers(6, size=tasks)
    confidence = rng.uniform(0.4, 0.95, tasks)
    difficulty = rng.normal(0.5 * level, 1.0)
    log_odds = 1.0 + rng.normal(0.0, 0.8, agents)[agent] - difficulty[task]
    log_odds += rng.normal(0.0, 0.4, (agents, 6))[agent, category[task]]
    rate = 1.0 / (1.0 + np.exp(-log_odds))
    pair, of_row = np.unique(task * agents + agent, return_inverse=True)
    first = np.zeros(pair.size)
    first[of_row] = rate
    rate = rng.beta(4.0 * first, 4.0 * (1.0 - first))[of_row]
    named = {
        "task_id": pl.Series([f"task-{i}" for i in range(tasks)]),
        "risk_level": pl.Series(frames.RISK_LEVELS)[level],
        "category": pl.Series([f"kind-{i}" for i in range(6)])[category],
        "confidence": confidence,
    }
    frame = pl.DataFrame(named)
    agent_id = pl.Series([f"agent-{i}" for i in range(agents)])
    attempts = frame[task].rename({"confidence": "confidence_before"})
    attempts = attempts.with_columns(
        agent_id=agent_id[agent],
        is_success=pl.Series(rng.random(records) < rate),
        duration_ms=pl.Series(rng.lognormal(7.0, 0.6, records)),
        confidence_delta=pl.Series(rng.normal(0.02, 0.03, records)),
        source=pl.lit("phase18"),
    )
    roster = pl.DataFrame({"agent_id": agent_id, "record_count": np.bincount(agent, minlength=agents)})
    return (
        frames.TASKS.conform(frame),
        frames.AGENTS.conform(roster.with_columns(evidence=pl.lit("records"))),
        frames.ATTEMPTS.conform(attempts),
    )


def timed(work: Callable[[], Value], runs: int) -> tuple[float, float, Value]:
    """Return median wall and CPU seconds of the runs, and the last result."""
    wall, cpu = [], []
    for _ in range(runs):
        began, spent = time.perf_counter(), time.process_time()
        found = work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    return statistics.median(wall), statistics.median(cpu), found


def peak_mb() -> float:
    """Peak resident memory of this process [MB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(records: int, agents: int, tasks: int, runs: int) -> list[float]:
    """Measure one size in this process: a number for each of `COLUMNS`."""
    task_frame, agent_frame, attempts = world(records, agents, tasks)
    wave = max(1, records // 100)
    before, seen = attempts[:-wave], attempts[-wave:]
    fit_success(read_records(attempts[:36], task_frame[:12], agent_frame, POPULATION), 0.7, SuccessPriors())  # imports
    held, priors = peak_mb(), SuccessPriors()
    known, more = (read_records(rows, task_frame, agent_frame, POPULATION) for rows in (before, attempts))
    first, _, posterior = timed(lambda: fit_success(known, 0.7, priors), runs)
    refit, refit_cpu, _ = timed(lambda: fit_success(more, 0.7, priors, posterior), runs)
    whole, _, model = timed(lambda: ForecastModel.fit(task_frame, agent_frame, before, POPULATION), runs)
    observe, observe_cpu, _ = timed(lambda: model.observe(seen), runs)
    return [first, refit, refit_cpu, whole, observe, observe_cpu, peak_mb() - held]


def main() -> int:
    rows, missed, spent, before = [], [], {}, calibrate()
    for *size, bound in SIZES:
        call = [sys.executable, "-m", "benchmarks.forecast", *map(str, size)]
        done = subprocess.run(call, check=True, capture_output=True, text=True, cwd=ROOT)
        found = dict(zip(COLUMNS, json.loads(done.stdout), strict=True))
        shown = [f"{found[name]:.3g}" for name in COLUMNS[:-1]]
        rows.append([*(f"{count:,}" for count in size[:3]), *shown, f"{found['MB']:,.0f}"])
        print("  ".join(f"{cell:>9}" for cell in rows[-1]), flush=True)
        name = f"{size[0]:,} records, {size[2]:,} tasks"
        missed += [f"{name}: refit in {found['refit']:.2f} s, aim {bound} s"] * (found["refit"] >= bound)
        spent |= {f"{step}, {name}": found[f"{step} CPU"] for step in ("refit", "observe")}
    missed += compare("forecast", spent, before)
    head = ["records", "agents", "tasks", *COLUMNS]
    lines = [machine("polars", threads=os.cpu_count() or 1), "", *table(head, rows), "", missed_aims(missed)]
    replace_section("Forecast", "forecast", MEANING, lines)
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(*map(int, sys.argv[1:]))))
    else:
        sys.exit(main())

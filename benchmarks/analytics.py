"""Time and memory of a run's analysis: `python -m benchmarks analytics [TASKS]`.

Runs `phase19.analysis.session.analyse` in a fresh process on a generated run of 1,000,000 executed tasks, 100 agents
and 30 waves, with as many draws as a real run. This includes moving the frames to DuckDB, every query of `sql/`, every
analytical file, and the results back as frames. The aim is in wall time. The steps are in processor time, which other
processes disturb little. Memory is the peak above what the process held once all frames existed. The table lists the
slowest steps; a query includes writing its file, and `frames in` and `tables out` are the transfers between the
libraries. The agents' files, which `phase19.publishing.files.write_agent_rows` writes, are measured separately. The
table goes to docs/benchmarks.md if the default number of tasks is run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from benchmarks.assignment import memory_mb
from phase19 import frames
from phase19.analysis.queries import QUERIES, Query
from phase19.analysis.results import FEEDBACK_FILE
from phase19.analysis.session import analyse
from phase19.forecasting.predictive import draw_count
from phase19.inputs.thresholds import Thresholds
from phase19.publishing.files import agent_directories, write_agent_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

MEANING = """How long the figures, checks and files of a large run take once it has been executed; less is better. The
table lists the slowest steps."""
ROOT = Path(__file__).resolve().parent.parent
TASKS, AGENTS, WAVES = 1_000_000, 100, 30
SECONDS, MEGABYTES = 5.0, 1_000.0  # aims: wall time, and memory above the frames
SHOWN = 12  # steps in the table
RISKS = ("LOW", "MEDIUM", "HIGH")
HEURISTICS = ("H_1", "H_2", "H_3", "H_4")


class Timed(tuple[Query, ...]):
    """Queries that note the processor time whenever one is taken; the first pass runs them, the second reads them."""

    __slots__ = ()
    marks: list[float] = []  # noqa: RUF012 (a process does one analysis)

    def __iter__(self) -> Iterator[Query]:
        for query in super().__iter__():
            self.marks.append(time.process_time())
            yield query
        self.marks.append(time.process_time())


def made_run(n: int) -> dict[str, pl.DataFrame]:
    """Make the frames of a run of n tasks, sorted by id; outcomes follow the forecasts."""
    rng = np.random.default_rng(19)
    at = np.arange(n)
    wave, agent = at * WAVES // n + 1, rng.integers(AGENTS, size=n)
    success = rng.beta(6.0, 1.5, n)
    median, sigma = 1000.0 * np.exp(rng.normal(0.0, 0.5, n)), 0.4
    is_success, retries = rng.random(n) < success, rng.binomial(2, 0.1, n)
    planned, actual = median * np.exp(sigma**2 / 2), median * np.exp(sigma * rng.normal(size=n)) * (retries + 1)
    applied = [[], ["H_1"], ["H_1", "H_3"], ["H_2", "H_3"], ["H_1", "H_2", "H_4"]]
    ends = [pl.col(name).cum_sum().over("wave", "agent_id") for name in ("planned_duration_ms", "actual_duration_ms")]
    executions = (
        pl.DataFrame(
            {
                "wave": wave,
                "task_id": np.char.add("task_", np.char.zfill(at.astype(str), 7)),
                "agent_id": np.char.add("agent_", agent.astype(str)),
                "priority": at + 1,
                "risk_level": np.array(RISKS)[rng.integers(3, size=n)],
                "heuristics_applied": pl.Series(applied).gather(rng.integers(len(applied), size=n)),
                "success_probability": success,
                "planned_success": success,
                "planned_success_variance": 0.1 * success * (1.0 - success),
                "baseline_success": np.clip(success - rng.normal(0.05, 0.1, n), 0.0, 1.0),
                "duration_ms_p50": median,
                "duration_ms_p90": median * np.exp(1.2816 * sigma),
                "planned_duration_ms": planned,
                "planned_confidence_delta": 0.1 * success - 0.03,
                "score": success,
                "status": np.where(is_success, "completed", "failed"),
                "retry_count": retries,
                "actual_duration_ms": actual,
                "actual_confidence_delta": np.where(is_success, 0.07, -0.03),
            }
        )
        .with_columns(
            pl.lit(0.7).alias(name)
            for name in (
                *("confidence", "updated_confidence", "success_low", "success_high", "success_term"),
                *("throughput_term", "confidence_term", "agent_price", "runner_up_score", "score_margin"),
                *("best_score", "best_margin"),
            )
        )
        .with_columns(
            category=pl.lit("parse"),
            record_count=pl.lit(5),
            max_attempts=pl.lit(3),
            planned_attempts=pl.lit(1.2),
            runner_up_agent_id=pl.lit("agent_0"),
            best_agent_id=pl.lit("agent_0"),
            wave_strategy=pl.lit("maximize_success"),
            is_best_agent_full=pl.lit(value=False),
            scheduled_end_time=ends[0],
            actual_end_time=ends[1],
        )
        .with_columns(
            scheduled_start_time=pl.col("scheduled_end_time") - pl.col("planned_duration_ms"),
            actual_start_time=pl.col("actual_end_time") - pl.col("actual_duration_ms"),
        )
    )
    waves = executions.group_by("wave", maintain_order=True).agg(
        count=pl.len(),
        makespan_ms=pl.col("scheduled_end_time").max(),
        busy_ms=pl.col("planned_duration_ms").sum(),
        success=pl.col("planned_success").sum(),
    )
    return {
        "executions": frames.EXECUTIONS.conform(executions),
        "agents": frames.AGENTS.conform(
            [{"agent_id": f"agent_{a}", "record_count": 10, "evidence": "records"} for a in range(AGENTS)]
        ),
        "decisions": frames.DECISIONS.conform(
            executions.select(
                *("task_id", "wave", "risk_level", "confidence"),
                decision=pl.lit("approved"),
                live_decision=pl.lit("approved"),
                reason=pl.lit("LOW needs confidence >= 0.5: 0.70"),
            )
        ),
        **wave_frames(waves, rng),
        "heuristics": frames.HEURISTICS.conform([{"heuristic_id": name} for name in HEURISTICS]),
        "previous_weights": pl.DataFrame({"heuristic_id": ["H_1"], "weight": [1.2]}),
        **Thresholds().frames(),
        "run": pl.DataFrame(
            {
                "run_id": "made",
                "timestamp": dt.datetime(2026, 2, 5, 12, tzinfo=dt.UTC),
                "strategy": "maximize_success",
                "executor": "simulate",
                "is_simulated": True,
                "seed": 19,
                "agent_count": AGENTS,
                "task_count": n,
                "wave_count": WAVES,
            }
        ),
    }


def wave_frames(waves: pl.DataFrame, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Make plans, draws and evidence of the waves."""
    draws = waves.join(pl.DataFrame({"draw": np.arange(draw_count(waves["count"].max()))}), how="cross")
    noise = [pl.Series(1.0 + 0.02 * rng.normal(size=draws.height)) for _ in range(3)]
    cells = waves.join(pl.DataFrame({"agent_id": [f"agent_{a}" for a in range(AGENTS)]}), how="cross")
    share = pl.col("count") / AGENTS
    return {
        "wave_plans": frames.WAVE_PLANS.conform(
            waves.select(
                "wave",
                strategy=pl.lit("maximize_success"),
                planned_makespan_ms="makespan_ms",
                planned_busy_ms="busy_ms",
                timeline_end_ms="makespan_ms",
                solver=pl.lit("linear_sum_assignment"),
                objective="success",
                upper_bound="success",
                gap=pl.lit(0.0),
                moved_count=pl.lit(0),
            )
        ),
        "wave_draws": frames.WAVE_DRAWS.conform(
            draws.select(
                *("wave", "draw"),
                ran_count="count",
                success_rate=(pl.col("success") / pl.col("count") * noise[0]).clip(0.0, 1.0),
                makespan_ms=pl.col("makespan_ms") * noise[1],
                busy_ms=pl.col("busy_ms") * noise[2],
                confidence_delta=0.05 * noise[0],
                deviation_ms=100.0 * noise[1],
                expected_success_sum=pl.col("success") * noise[0],
                expected_advantage_sum=0.01 * pl.col("count") * noise[2],
            )
        ),
        "agent_evidence": frames.AGENT_EVIDENCE.conform(
            cells.select(
                *("wave", "agent_id"),
                capacity="count",
                slot_worth=pl.lit(0.01),
                success_variance=0.01 * share,
                advantage_variance=0.001 * share,
                first_planned_success_sum=0.6 * share,
                first_success_noise=0.2 * share,
                first_success_skew=0.05 * share,
                first_success_agent_sd=0.01 * share,
                first_success_shared_sd=0.01 * share,
                duration_count=share.cast(pl.Int64),
                first_duration_count=share.cast(pl.Int64),
                log_duration_sum=7.0 * share,
                **{
                    f"{prefix}log_duration_{name}": value * share
                    for prefix in ("", "first_")
                    for name, value in {
                        "residual_sum": 0.01,
                        "noise": 0.16,
                        "agent_sd": 0.01,
                        "shared_sd": 0.01,
                    }.items()
                },
            )
        ),
    }


def measure(n: int) -> None:
    """Print one JSON object: seconds by step, and memory [MB]."""
    run, queries = made_run(n), Timed(QUERIES)
    held_mb = sum(frame.estimated_size() for frame in run.values()) / 2**20
    with tempfile.TemporaryDirectory() as scratch:
        staging = Path(scratch)
        began, before, wall = start()
        found = analyse(run, staging, queries)
        total, peak, elapsed = time.process_time() - began, memory_mb("VmHWM") - before, time.perf_counter() - wall
        steps = np.diff([began, *queries.marks[: len(queries) + 1]])
        seconds = dict(zip(["frames in", *(query.stem for query in queries)], steps.tolist(), strict=True))
        seconds["tables out"] = total - steps.sum()
        names = agent_directories(run["agents"]["agent_id"].to_list())
        began, before, wall = start()
        files = {"scheduled_tasks.jsonl": run["executions"], FEEDBACK_FILE: found["agent_feedback"]}
        for file_name, rows in files.items():
            write_agent_rows(rows, staging, file_name, waves=range(1, WAVES + 1), directories=names)
        writing = {"cpu": time.process_time() - began, "wall": time.perf_counter() - wall}
        writing["mb"] = memory_mb("VmHWM") - before
    analysis = {"cpu": total, "wall": elapsed, "mb": peak}
    print(json.dumps({"held_mb": held_mb, "seconds": seconds, "analysis": analysis, "writing": writing}))


def start() -> tuple[float, float, float]:
    """Reset the memory peak; return processor time [s], memory held [MB] and wall time [s]."""
    Path("/proc/self/clear_refs").write_text("5")
    return time.process_time(), memory_mb("VmRSS"), time.perf_counter()


def described(figures: dict[str, float]) -> str:
    return f"{figures['cpu']:.1f} s CPU ({figures['wall']:.1f} s wall), {figures['mb']:,.0f} MB over the frames"


def main(n: int) -> int:
    before = calibrate()
    call = [sys.executable, __file__, "measure", str(n)]
    done = subprocess.run(call, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, check=True)
    figures = json.loads(done.stdout)
    seconds = sorted(figures["seconds"].items(), key=lambda step: -step[1])
    for name, spent in seconds:
        print(f"{name:<32} {spent:>8.3f} s")
    shown = [[name, f"{spent:.2f}"] for name, spent in seconds[:SHOWN]]
    others = sum(spent for _, spent in seconds[SHOWN:])
    missed = [
        f"{figures['analysis'][key]:.1f} {unit}, aim {aim:.0f} {unit}"
        for key, aim, unit in (("wall", SECONDS, "s"), ("mb", MEGABYTES, "MB"))
        if figures["analysis"][key] >= aim
    ]
    if n == TASKS:
        missed += compare("analytics", {step: figures[step]["cpu"] for step in ("analysis", "writing")}, before)
    lines = [
        machine("duckdb", "polars"),
        f"{n:,} executed tasks, {AGENTS} agents, {WAVES} waves: frames of {figures['held_mb']:,.0f} MB.",
        "",
        *table(["step", "seconds"], [*shown, [f"the {len(seconds) - SHOWN} others", f"{others:.2f}"]]),
        "",
        f"Whole analysis: {described(figures['analysis'])}.",
        f"Writing the agents' {2 * AGENTS * WAVES:,} files: {described(figures['writing'])}.",
        "",
        missed_aims(missed),
    ]
    print("", *lines[-4:], sep="\n")
    if n == TASKS:
        replace_section("Analysis of a run", "analytics", MEANING, lines)
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(int(sys.argv[2]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else TASKS))

"""False alarms and power of the four checks: `python -m benchmarks detection [RUNS]`.

Writes docs/detection.md, which describes the simulation. RUNS is the number of runs without a fault at the smallest
size, by default 1,000; all other numbers of runs are in proportion. Exits with 1 if an aim is missed.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the script also runs by itself, as one of the processes

from benchmarks._detection_document import FAULTS, TYPES, document  # noqa: E402
from benchmarks._faults import Size, draw_world, fit_history, with_fault  # noqa: E402
from phase19 import frames  # noqa: E402
from phase19.analysis.evidence import analysis_frames, wave_frames  # noqa: E402
from phase19.analysis.queries import QUERIES  # noqa: E402
from phase19.analysis.session import analyse  # noqa: E402
from phase19.execution.simulate import SimulateExecutor  # noqa: E402
from phase19.inputs.thresholds import Thresholds  # noqa: E402
from phase19.optimizer import AdaptiveOptimizer  # noqa: E402
from phase19.safety import SafetyGate  # noqa: E402
from phase19.scheduler import AdaptiveScheduler  # noqa: E402
from phase19.wave import ExecutedWave  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phase19.forecasting.simulation import World

RUNS, PROCESSES = 1_000, 2
ONE_THREAD = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # of each process
NEEDED = {"task_results", "wave_totals", "agent_waves", "anomaly_tests", "scheduling_anomalies"}
NEEDED |= {f"{kind}_tests" for kind in TYPES}
MOMENT = dt.datetime(2026, 2, 5, 12, tzinfo=dt.UTC)


class Plan(NamedTuple):
    """Runs at one size: how many without a fault and with each fault, and how far one agent's success drops."""

    name: str
    size: Size
    calm: int
    faulty: int
    drop: float
    is_learning: bool = True

    def faults(self, seed: int, share: float) -> list[str]:
        """List the faults to run with this seed if a share of all runs is wanted; each fault has at least one run."""
        counts = {"none": self.calm, **dict.fromkeys(FAULTS, self.faulty)}
        return [fault for fault, count in counts.items() if seed < max(round(share * count), 1)]


PLANS = (
    Plan("3 x 12 x 4", Size(3, 12, 4, 4), 1_000, 200, 0.37),
    Plan("3 x 12 x 4, 12 records", Size(3, 12, 4, 4, records=12), 1_000, 200, 0.37),
    Plan("10 x 100 x 10", Size(10, 100, 10, 10), 400, 100, 0.37),
    Plan("10 x 100 x 10, 100 records", Size(10, 100, 10, 10, records=100), 100, 20, 0.37),
    Plan("30 x 1,000 x 50", Size(30, 1_000, 50, 5), 16, 4, 0.20),
    Plan("30 x 1,000 x 50, not learning", Size(30, 1_000, 50, 5), 100, 10, 0.20, is_learning=False),
)


class Found(NamedTuple):
    """Result of the test of one type in one run; `is_exact` if it named only the agent at fault."""

    plan: int
    fault: str
    seed: int
    seconds: float
    anomaly_type: str
    status: str
    detectable_effect: float | None
    is_exact: bool


def play(plan: Plan, fitted: AdaptiveOptimizer, world: World, staging: Path) -> dict[str, pl.DataFrame]:
    """Run one plan in a world and return the tables of the needed queries."""
    optimizer, gate, model = deepcopy(fitted), SafetyGate(), fitted.model
    executor = SimulateExecutor(world, model.tasks["task_id"], model.agents["agent_id"])
    scheduler = AdaptiveScheduler(executor=executor, max_load_factor=None)
    finished = []
    for wave in optimizer.waves:
        approved = gate.approve(wave)
        planned = optimizer.calculate_optimal_schedule(approved).wave
        plans = scheduler.assign_tasks_to_agents(
            planned.tasks, planned.agent_assignments, wave.number, plans=planned.plans
        )
        done = scheduler.execute_schedule(wave.number, plans)
        executed = ExecutedWave.grown_from(
            replace(planned, plans=plans),
            executions=done.executions,
            attempts=done.attempts,
            is_interrupted=False,
        )
        if plan.is_learning:
            optimizer.observe(executed)
        finished.append(wave_frames(executed, model))
    run = {
        "run_id": str(world.seed),
        "timestamp": MOMENT,
        "strategy": "maximize_success",
        "executor": "simulate",
        "is_simulated": True,
        "seed": world.seed,
        "agent_count": plan.size.agents,
        "task_count": model.tasks.height,
        "wave_count": plan.size.waves,
    }
    tables = analysis_frames(finished, frames.HEURISTICS.empty(), None)
    tables |= {"agents": model.agents, "run": pl.DataFrame([run]), **Thresholds().frames()}
    return analyse(tables, staging, [query for query in QUERIES if query.stem in NEEDED])


def measure(place: int, seed: int, faults: list[str], staging: Path) -> Iterator[Found]:
    """Run one world with each of the faults, on the same history and random numbers."""
    plan = PLANS[place]
    tasks, agents, world = draw_world(plan.size, seed)
    fitted = fit_history(plan.size, tasks, agents, world)
    # With the default capacity, plans leave some agents idle; a fault of such an agent has no effect.
    planned = deepcopy(fitted).calculate_optimal_schedule(fitted.waves[0]).wave
    agent = int(np.random.default_rng([seed, 3]).choice(planned.agent_index))
    for fault in faults:
        began = time.perf_counter()
        tables = play(plan, fitted, with_fault(world, fault, tasks, agent, plan.drop), staging)
        seconds = time.perf_counter() - began
        named = dict(tables["scheduling_anomalies"].select("anomaly_type", "affected_agents").iter_rows())
        for row in tables["anomaly_tests"].to_dicts():
            kind = row["anomaly_type"]
            is_exact = named.get(kind) == [agents["agent_id"][agent]]
            yield Found(place, fault, seed, seconds, kind, row["status"], row["detectable_effect"], is_exact)


def part(first: int, runs: int) -> pl.DataFrame:
    """Do the runs of one process: its share of the seeds."""
    rows: list[Found] = []
    with tempfile.TemporaryDirectory() as staging:
        for place, plan in enumerate(PLANS):
            seed = first
            while faults := plan.faults(seed, runs / RUNS):
                rows += measure(place, seed, faults, Path(staging))
                seed += PROCESSES
            print(f"{plan.name}: process {first} is done", file=sys.stderr, flush=True)
    schema = {"detectable_effect": pl.Float64, "seconds": pl.Float64}
    return pl.DataFrame(rows, schema=list(Found._fields), schema_overrides=schema, orient="row")


def share_out(runs: int) -> pl.DataFrame:
    """Do all runs in parallel processes."""
    command, environment = [sys.executable, __file__, "part"], {**os.environ, **ONE_THREAD}
    parts = [
        subprocess.Popen([*command, str(first), str(runs)], env=environment, stdout=subprocess.PIPE)
        for first in range(PROCESSES)
    ]
    printed = [process.communicate()[0] for process in parts]
    if any(process.returncode for process in parts):
        sys.exit("a process failed: see above")
    schema = {"detectable_effect": pl.Float64}
    return pl.concat(pl.read_ndjson(BytesIO(rows), schema_overrides=schema) for rows in printed if rows)


def main(runs: int) -> int:
    page, is_met = document(share_out(runs), {plan.name: plan.drop for plan in PLANS})
    print(page)
    (ROOT / "docs" / "detection.md").write_text(page, "utf-8")
    return 0 if is_met else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        sys.stdout.write(part(int(sys.argv[2]), int(sys.argv[3])).write_ndjson())
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))

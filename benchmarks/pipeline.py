"""Time, memory and time per stage of whole runs: `python -m benchmarks pipeline [TASKS]`.

Each run is a process of its own on a generated sample. TASKS is the largest number of tasks, 100,000 by default: a run
of 1,000,000 takes minutes and some GB. The first row of the table is a process that only imports the libraries. Figures
are medians over the runs. Stages are wall times of the harness's steps. `forecast` is the first fit. `optimize` learns
from the waves before, forecasts all pairs, draws outcomes and assigns. `rest` is start-up and putting the files in
place. The table goes to docs/benchmarks.md. Exits with 1 if an aim is missed.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from benchmarks._process import Measured, measure
from phase19.inputs.sample import write_sample

SIZES = (  # tasks, agents, waves, runs
    (12, 4, 3, 5),
    (1_000, 20, 3, 3),
    (10_000, 20, 3, 3),
    (30_000, 50, 3, 1),
    (100_000, 50, 3, 1),
    (1_000_000, 100, 10, 1),
)
LARGEST = 100_000
AIMS = {30_000: (9.0, 400.0), 100_000: (18.0, 700.0), 1_000_000: (150.0, 3_500.0)}  # tasks: wall s, MB
GROWTH = 1.2  # aim: ms per task of the largest size, as a multiple of those at 100,000 tasks
MEANING = f"""How long a run takes from the command to the last file, and how much memory at its peak; less is better.
The first row only imports the libraries, which no run can avoid. Aims:
{"; ".join(f"{tasks:,} tasks in {wall:.0f} s and {mb / 1000:.1f} GB" for tasks, (wall, mb) in AIMS.items())}; and a task
of the million costs at most {GROWTH} times as much time as one of {LARGEST:,}. `python -m benchmarks pipeline 1000000`
adds the row of a million tasks. [How far one machine goes](explanation/scale.md) says what to do beyond."""
IMPORTS = "import cyclopts, duckdb, msgspec, numpy, polars, rich, scipy.optimize"
STAGES = {  # the harness's steps
    "load": "_load_phase18_data",
    "forecast": "_initialize_optimizer",
    "approve": "_apply_safety_gates",
    "optimize": "_optimize_wave",
    "schedule": "_apply_scheduler",
    "execute": "_execute_wave",
    "analyse": "_analyse",
    "feed back": "_generate_feedback",
    "monitor": "_monitor_optimization",
    "report": "_generate_reports",
}
RUN = f"""
import json, sys, time
import phase19
seconds = dict.fromkeys({list(STAGES)}, 0.0)

def timed(stage, step):
    def call(*args, **settings):
        started = time.perf_counter()
        try:
            return step(*args, **settings)
        finally:
            seconds[stage] += time.perf_counter() - started
    return call

for stage, name in {STAGES}.items():
    setattr(phase19.Phase19Harness, name, timed(stage, getattr(phase19.Phase19Harness, name)))
phase19.run(input=sys.argv[1], output=sys.argv[2], timestamp="2026-02-05T12:00:00Z")
print(json.dumps(seconds))
"""


def medians(runs: list[Measured]) -> tuple[float, float, float]:
    """Median wall s, CPU s and peak MB."""
    return tuple(statistics.median(run[place] for run in runs) for place in range(3))


def missed_by(found: dict[int, tuple[float, float, float]]) -> list[str]:
    """Name the aims that these sizes miss; values are wall s, CPU s and MB by number of tasks."""
    missed = []
    for tasks, (wall_aim, mb_aim) in AIMS.items():
        wall, _, mb = found.get(tasks, (0.0, 0.0, 0.0))
        missed += [f"{tasks:,} tasks in {wall:.1f} s, aim {wall_aim:.0f} s"] * (wall > wall_aim)
        missed += [f"{tasks:,} tasks in {mb / 1000:.2f} GB, aim {mb_aim / 1000:.1f} GB"] * (mb > mb_aim)
    per_task = {tasks: wall / tasks for tasks, (wall, _, _) in found.items()}
    growth = per_task.get(1_000_000, 0.0) / per_task.get(LARGEST, 1.0)
    missed += [f"{growth:.2f} times the time per task of {LARGEST:,} tasks, aim {GROWTH}"] * (growth > GROWTH)
    return missed


def main(largest: int) -> int:
    before = calibrate()
    wall, cpu, mb = medians([measure("-c", IMPORTS) for _ in range(5)])
    head = ["tasks", "agents", "waves", "wall s", "CPU s", "ms per task", "peak MB", *STAGES, "rest"]
    rows = [["imports only", "", "", f"{wall:.2f}", f"{cpu:.2f}", "", f"{mb:,.0f}", *[""] * (len(STAGES) + 1)]]
    found, spent = {}, {}
    for tasks, agents, waves, runs in SIZES:
        if tasks > largest:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            write_sample(Path(scratch), tasks=tasks, agents=agents, waves=waves, seed=19)
            done = [measure("-c", RUN, f"{scratch}/phase18", f"{scratch}/phase19") for _ in range(runs)]
        found[tasks] = wall, cpu, mb = medians(done)
        spent[f"{tasks:,} tasks"] = cpu
        stages = [statistics.median(json.loads(run.out)[name] for run in done) for name in STAGES]
        shown = [f"{wall:.2f}", f"{cpu:.2f}", f"{1000 * wall / tasks:.3g}", f"{mb:,.0f}"]
        stages = [f"{seconds:.2f}" for seconds in (*stages, wall - sum(stages))]
        rows.append([f"{tasks:,}", f"{agents:,}", f"{waves:,}", *shown, *stages])
        print("  ".join(rows[-1]), flush=True)
    missed = missed_by(found) + compare("pipeline", spent, before)
    about = machine("polars", "duckdb", threads=os.cpu_count() or 1)
    explained = "Stages in seconds, over all waves; `optimize` includes learning from the waves before."
    lines = [about, explained, "", *table(head, rows), "", missed_aims(missed)]
    replace_section("Whole runs", "pipeline", MEANING, lines)
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else LARGEST))

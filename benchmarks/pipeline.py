"""Wall time, time per stage and peak memory of whole runs: `python -m benchmarks pipeline`.

Each run is a process of its own on a generated sample with 3 waves. It is compared with a process that only imports
polars, numpy, scipy.optimize, duckdb, msgspec and cyclopts: `x imports` is the ratio of wall times, `added MB` the peak
memory above that process. All figures are medians over the runs. The table goes to docs/benchmarks.md.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._document import machine, replace_section, table
from phase19.inputs.sample import write_sample

MEANING = """How long a run takes from the command to the last file; less is better. `x imports` compares it with only
importing the libraries, which no run can avoid, and `added MB` is the memory above theirs."""
ROOT = Path(__file__).resolve().parent.parent
SIZES = ((12, 4, 5), (1_000, 20, 3), (10_000, 20, 1))  # tasks per wave, agents, runs
WAVES = 3
PEAK = "import resource; peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024"
IMPORTS = f"import cyclopts, duckdb, msgspec, numpy, polars, scipy.optimize; {PEAK}; print(peak)"
STAGES = {  # the harness's steps
    "load": "_load_phase18_data",
    "forecast": "_initialize_optimizer",
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
import duckdb, scipy.optimize, phase19
seconds = dict.fromkeys({STAGES}, 0.0)

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
{PEAK}
print(json.dumps({{"peak": peak, "stages": seconds}}))
"""


def measure(code: str, *args: str) -> tuple[float, str]:
    """Run the code in a new process; return its seconds and what it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, check=True, text=True, cwd=ROOT)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    bare = [measure(IMPORTS) for _ in range(5)]
    bare_seconds = statistics.median(seconds for seconds, _ in bare)
    bare_mb = statistics.median(float(out) for _, out in bare)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for tasks, agents, runs in SIZES:
            place = Path(scratch, str(tasks))
            write_sample(place, tasks=tasks * WAVES, agents=agents, waves=WAVES, seed=19)
            found = [measure(RUN, str(place / "phase18"), str(place / "phase19")) for _ in range(runs)]
            wall = statistics.median(seconds for seconds, _ in found)
            reports = [json.loads(out) for _, out in found]
            added = statistics.median(report["peak"] for report in reports) - bare_mb
            names = list(reports[0]["stages"])
            stages = [statistics.median(report["stages"][name] for report in reports) for name in names]
            figures = [f"{wall:.2f}", f"{wall / bare_seconds:.2f}", f"{added:.0f}"]
            rows.append([f"{tasks:,}", f"{agents:,}", *figures, *(f"{seconds:.3f}" for seconds in stages)])
            print("  ".join(rows[-1]), flush=True)
    head = ["tasks per wave", "agents", "wall s", "x imports", "added MB", *names]
    lines = [
        machine("polars", "duckdb", threads=os.cpu_count() or 1),
        f"Imports alone: {bare_seconds:.2f} s, {bare_mb:.0f} MB. Stages in seconds, over the run's {WAVES} waves.",
        "",
        *table(head, rows),
    ]
    replace_section("Whole runs", "pipeline", MEANING, lines)


if __name__ == "__main__":
    main()

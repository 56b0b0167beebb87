"""Time and memory of load_inputs on many lines of task_outcomes.jsonl: `python -m benchmarks inputs [LINES]`.

Each row of the table has its own process. `plain` is a generated sample. `unknown` has the same lines, each with an
unknown field, so that every line is checked field by field. Exits with 1 if an aim is missed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from phase19.inputs.sample import write_sample

LINES = 1_000_000
SECONDS, MEGABYTES = 12, 550  # the aims for a million lines: processor time, and peak memory over the imports

MEASURE = """
import resource, sys, time
from pathlib import Path
from phase19.inputs.loading import load_inputs
import polars
polars.DataFrame({"a": [1]}).select(polars.col("a") + 1)
peak = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
imports, began, busy = peak(), time.perf_counter(), time.process_time()
inputs = load_inputs(Path(sys.argv[1]))
print(inputs.attempts.height, time.perf_counter() - began, time.process_time() - busy, peak() - imports)
"""


def measure(name: str, phase18: Path) -> bool:
    """Print one row; return whether both aims are met."""
    run = subprocess.run([sys.executable, "-c", MEASURE, str(phase18)], check=True, capture_output=True, text=True)
    rows, seconds, busy, megabytes = run.stdout.split()
    size = (phase18 / "task_outcomes.jsonl").stat().st_size / 1e6
    times = f"{float(seconds):>10.2f} {float(busy):>10.2f}"
    print(f"{name:<10} {int(rows):>10,} {size:>10,.0f} {times} {float(megabytes):>14.0f}", flush=True)
    return float(busy) < SECONDS and float(megabytes) < MEGABYTES


def main(lines: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_sample(root, tasks=lines, agents=100, waves=10, seed=19)
        path = root / "phase18" / "task_outcomes.jsonl"
        outcomes = pl.read_ndjson(path).head(lines)
        outcomes.write_ndjson(path)
        print(f"{'input':<10} {'lines':>10} {'MB':>10} {'seconds':>10} {'CPU s':>10} {'MB over import':>14}")
        is_fast = measure("plain", root / "phase18")
        outcomes.with_columns(mood=pl.lit("calm")).write_ndjson(path)
        return 0 if measure("unknown", root / "phase18") and is_fast else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else LINES))

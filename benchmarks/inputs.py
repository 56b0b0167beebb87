"""Time and memory of load_inputs on many lines of task_outcomes.jsonl: `python -m benchmarks inputs [LINES]`.

Each row of the table has its own process. `plain` is a generated sample. `unknown` has the same lines, each with an
unknown field, so that every line is checked field by field. The table goes to docs/benchmarks.md. Exits with 1 if an
aim is missed.
"""

import os
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from benchmarks._process import measure
from phase19.inputs.sample import write_sample

LINES = 1_000_000
SECONDS, MEGABYTES = 12, 550  # the aims for a million lines: processor time, and peak memory over the imports
MEANING = f"""How long it takes to read and check a million lines of task_outcomes.jsonl, and how much memory; less is
better. The aim is less than {SECONDS} s of processor time and {MEGABYTES} MB above the imports. In `unknown`, each line
has an unknown field, so that every line is checked field by field."""

MEASURE = """
import sys, time
from pathlib import Path
from phase19.inputs.loading import load_inputs
import polars
polars.DataFrame({"a": [1]}).select(polars.col("a") + 1)
peak = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
imports, began, spent = peak(), time.perf_counter(), time.process_time()
inputs = load_inputs(Path(sys.argv[1]))
print(inputs.attempts.height, time.perf_counter() - began, time.process_time() - spent, peak() - imports)
"""


def main(lines: int) -> int:
    rows, missed, spent, before = [], [], {}, calibrate()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_sample(root, tasks=lines, agents=100, waves=10, seed=19)
        path = root / "phase18" / "task_outcomes.jsonl"
        outcomes = pl.read_ndjson(path).head(lines)
        for name, frame in (("plain", outcomes), ("unknown", outcomes.with_columns(mood=pl.lit("calm")))):
            frame.write_ndjson(path)
            read, seconds, spent[name], megabytes = map(
                float, measure("-c", MEASURE, str(root / "phase18")).out.split()
            )
            size = path.stat().st_size / 1e6
            rows.append(
                [name, f"{read:,.0f}", f"{size:,.0f}", f"{seconds:.1f}", f"{spent[name]:.1f}", f"{megabytes:,.0f}"]
            )
            print("  ".join(rows[-1]), flush=True)
            missed += [f"{name} in {SECONDS} s"] * (spent[name] >= SECONDS)
            missed += [f"{name} in {MEGABYTES} MB"] * (megabytes >= MEGABYTES)
    if lines == LINES:
        missed += compare("inputs", spent, before)
        head = ["input", "lines", "MB", "seconds", "CPU s", "MB over the imports"]
        about = machine("polars", "duckdb", threads=os.cpu_count() or 1)
        replace_section("Inputs", "inputs", MEANING, [about, "", *table(head, rows), "", missed_aims(missed)])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else LINES))

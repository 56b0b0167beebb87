"""Time and memory of `phase19 import table` on a large log: `python -m benchmarks import [ROWS]`.

The log has task, agent, outcome, seconds, time and category of each attempt. The figures are those of the whole
process. Writes docs/benchmarks.md. Exits with 1 if an aim is missed: a million rows of CSV in less than 20 s and 1 GB.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks._document import machine, missed_aims, replace_section, table

MEANING = """How long it takes to import a log of a million attempts, and how much memory; less is better. The aim is
less than 20 s and 1 GB for the CSV file."""
ROWS = 1_000_000
SECONDS, MEGABYTES = 20, 1000  # the aims for a million rows of CSV
COLUMNS = "--task task --agent agent --success passed --duration seconds:s --timestamp started --category kind"


def log(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(19)
    started = pl.from_epoch(pl.Series(rng.integers(1_700_000_000, 1_760_000_000, rows)), "s")
    return pl.DataFrame({"seconds": rng.lognormal(2, 1, rows).round(3)}).select(
        task=pl.format("task_{}", pl.Series(rng.integers(rows // 5, size=rows))),
        agent=pl.format("agent_{}", pl.Series(rng.integers(50, size=rows))),
        passed=pl.Series(rng.random(rows) < 0.8),
        seconds="seconds",
        started=started.dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
        kind=pl.format("kind_{}", pl.Series(rng.integers(20, size=rows))),
    )


def measure(path: Path, output: Path) -> tuple[float, float]:
    """Seconds and MB of one import."""
    command = [sys.executable, "-m", "phase19", "import", "table", path, "--output", output, *COLUMNS.split()]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"the import of {path} failed"
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main(rows: int) -> int:
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        frame = log(rows)
        for kind, write in (("csv", frame.write_csv), ("jsonl", frame.write_ndjson), ("parquet", frame.write_parquet)):
            path = Path(scratch, f"log.{kind}")
            write(path)
            seconds, megabytes = measure(path, Path(scratch, kind))
            found.append((kind, path.stat().st_size / 1e6, seconds, megabytes))
            print(f"{kind:<8} {rows:>10,} rows {seconds:>6.1f} s {megabytes:>6,.0f} MB", flush=True)
    _, _, seconds, megabytes = found[0]
    missed = [f"csv in {SECONDS} s"] * (seconds >= SECONDS) + [f"csv in {MEGABYTES} MB"] * (megabytes >= MEGABYTES)
    if rows == ROWS:
        cells = [[kind, f"{size:,.0f}", f"{took:.1f}", f"{peak:,.0f}"] for kind, size, took, peak in found]
        lines = [f"{rows:,} rows. {machine('polars', 'duckdb', threads=os.cpu_count() or 1)}", ""]
        lines += [*table(["file", "MB", "seconds", "MB in memory"], cells), "", missed_aims(missed)]
        replace_section("Import of a table", "import", MEANING, lines)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))

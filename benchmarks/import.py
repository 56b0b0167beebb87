"""Time and memory of `phase19 import table` on a large log: `python -m benchmarks import [ROWS]`.

The log has task, agent, outcome, seconds, time and category of each attempt. The figures are those of the whole
process. Writes docs/benchmarks.md. Exits with 1 if an aim is missed: a million rows of CSV in less than 20 s and 1 GB.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from benchmarks._process import measure

MEANING = """How long it takes to import a log of a million attempts, and how much memory; less is better. The aim is
less than 20 s and 1 GB for the CSV file."""
ROWS = 1_000_000
SECONDS, MEGABYTES = 20, 1000  # the aims for a million rows of CSV
COMMAND = ("-m", "phase19", "import", "table")
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


def main(rows: int) -> int:
    found, before = {}, calibrate()
    with tempfile.TemporaryDirectory() as scratch:
        frame = log(rows)
        for kind, write in (("csv", frame.write_csv), ("jsonl", frame.write_ndjson), ("parquet", frame.write_parquet)):
            path = Path(scratch, f"log.{kind}")
            write(path)
            size, output = path.stat().st_size / 1e6, Path(scratch, kind)
            found[kind] = size, measure(*COMMAND, str(path), "--output", str(output), *COLUMNS.split())
            print(f"{kind:<8} {rows:>10,} rows {found[kind][1].wall:>6.1f} s {found[kind][1].mb:>6,.0f} MB", flush=True)
    csv = found["csv"][1]
    missed = [f"csv in {SECONDS} s"] * (csv.wall >= SECONDS) + [f"csv in {MEGABYTES} MB"] * (csv.mb >= MEGABYTES)
    if rows == ROWS:
        missed += compare("import", {kind: run.cpu for kind, (_, run) in found.items()}, before)
        cells = [[kind, f"{mb:,.0f}", f"{run.wall:.1f}", f"{run.mb:,.0f}"] for kind, (mb, run) in found.items()]
        lines = [f"{rows:,} rows. {machine('polars', 'duckdb', threads=os.cpu_count() or 1)}", ""]
        lines += [*table(["file", "MB", "seconds", "MB in memory"], cells), "", missed_aims(missed)]
        replace_section("Import of a table", "import", MEANING, lines)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))

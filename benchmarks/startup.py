"""CPU time and memory of the smallest run compared with its libraries' imports: `python -m benchmarks startup`.

Two processes take turns, 15 times after a first turn that writes Python's compiled files: a run of the committed sample
(12 tasks), and an import of the libraries that a run uses. `x imports` is the median ratio of their CPU times (user and
system), and `added MB` the difference of the medians of their peak memory. The figures go to docs/benchmarks.md. Exits
with 1 if an aim is missed: a ratio below 1.3 and less than 90 MB.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from benchmarks._process import Measured, measure

MEANING = """How much time of a processor and how much memory a run of 12 tasks takes; less is better. `x imports`
compares it with only importing the libraries, and `added MB` is the memory above theirs."""
TURNS = 15
RATIO, MEGABYTES = 1.3, 90.0  # the aims
IMPORTS = ["-c", "import cyclopts, duckdb, msgspec, numpy, polars, rich, scipy.optimize"]
RUN = ["-m", "phase19", "--input", "outputs/phase18", "--output"]


def medians(runs: Sequence[Measured]) -> tuple[float, float]:
    """Median CPU seconds and peak MB."""
    return statistics.median(run.cpu for run in runs), statistics.median(run.mb for run in runs)


def main() -> int:
    before = calibrate()
    with tempfile.TemporaryDirectory() as scratch:
        command = [*RUN, str(Path(scratch, "run"))]
        turns = [(measure(*IMPORTS), measure(*command)) for _ in range(1 + TURNS)][1:]
    ratio = statistics.median(run.cpu / bare.cpu for bare, run in turns)
    (bare_s, bare_mb), (run_s, run_mb) = map(medians, zip(*turns, strict=True))
    added = run_mb - bare_mb
    missed = [f"{ratio:.2f} times the imports, aim {RATIO}"] * (ratio >= RATIO)
    missed += [f"{added:.0f} MB above the imports, aim {MEGABYTES:.0f} MB"] * (added >= MEGABYTES)
    missed += compare("startup", {"run of 12 tasks": run_s}, before)
    cells = [f"{run_s:.2f}", f"{bare_s:.2f}", f"{ratio:.2f}", f"{run_mb:.0f}", f"{added:.0f}"]
    head = ["CPU s", "of imports", "x imports", "MB", "added MB"]
    print("  ".join(f"{name} {cell}" for name, cell in zip(head, cells, strict=True)))
    lines = [
        machine("polars", "duckdb", threads=os.cpu_count() or 1),
        "",
        *table(head, [cells]),
        "",
        missed_aims(missed),
    ]
    replace_section("Start-up", "startup", MEANING, lines)
    print(*missed, sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

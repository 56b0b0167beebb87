"""Wall time of a sweep with one and with two workers: `python -m benchmarks sweep [RUNS]`.

Each engine runs the same grid of small runs. The clock starts when each worker has finished a run: start-up does not
count. With two workers, the aim is at most 0.6 times the time with one. Exits with 1 if an aim is missed, or if
the results differ. The table goes to docs/benchmarks.md.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from phase19.evaluation.engines import run_locally, run_on_dask
from phase19.evaluation.sweep import sweep
from phase19.inputs.sample import write_sample

MEANING = """How much faster a sweep of small runs is with two workers than with one, start-up apart; 0.5 is the best
possible on two processors."""
RUNS, ROUNDS = 40, 3
AIM = 0.6
ENGINES = {"local": run_locally, "dask": partial(run_on_dask, scheduler=None)}


def children_seconds() -> float:
    """CPU seconds of the worker processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(grid: Path, engine: str, workers: int) -> tuple[float, dict[str, bytes]]:
    """Run the grid; return the seconds a run after the first ones, and the files by name."""
    ended: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        chosen = partial(ENGINES[engine], workers=workers)
        sweep(grid, chosen, output=Path(place), progress=lambda *_: ended.append(time.perf_counter()))
        files = {str(path.relative_to(place)): path.read_bytes() for path in Path(place).rglob("*") if path.is_file()}
    first = workers + 1  # until each worker has finished a run; the entry before is the start
    return (ended[-1] - ended[first]) / (len(ended) - 1 - first), files


def main() -> None:
    runs = int(next(iter(sys.argv[1:]), RUNS))
    rows, missed, spent, before = [], [], [], calibrate()
    with tempfile.TemporaryDirectory() as scratch:
        write_sample(Path(scratch), tasks=12, agents=4, waves=1, seed=19)
        grid = Path(scratch, "grid.toml")
        grid.write_text(f'[options]\ninput = "{scratch}/phase18"\n[vary]\nseed = {{from = 1, to = {runs}}}\n')
        expected: dict[str, bytes] = {}
        for engine in ENGINES:
            found: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(ROUNDS):
                for workers, seconds in found.items():
                    began = children_seconds()
                    per_run, files = measure(grid, engine, workers)
                    expected = expected or files
                    assert files == expected, "the results differ"
                    seconds.append(per_run)
                    if (engine, workers) == ("local", 1):
                        spent.append((children_seconds() - began) / runs)
            one, two = (statistics.median(seconds) for seconds in found.values())
            rows.append([engine, f"{1000 * one:.0f}", f"{1000 * two:.0f}", f"{two / one:.2f}"])
            print("  ".join(rows[-1]), flush=True)
            if two / one > AIM:
                missed.append(f"{engine} {two / one:.2f}")
    if runs == RUNS:
        missed += compare("sweep", {"a run": statistics.median(spent)}, before)
    head = ["engine", "ms a run, 1 worker", "2 workers", f"ratio (aim {AIM})"]
    about = machine("polars", "duckdb", "distributed", threads=os.cpu_count() or 1)
    lines = [f"{runs} runs of 12 tasks and 4 agents. {about}", *table(head, rows), "", missed_aims(missed)]
    replace_section("Sweeps", "sweep", MEANING, lines)
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()

"""Compare the times of a benchmark with committed ones: figures.json has them as multiples of a calibration loop.

Times are CPU seconds (user and system): other processes disturb them less than wall time. The loop is a fixed mix of
Python, numpy and Polars work. It runs before and after a benchmark, so that a slower processor is not taken for slower
code. A figure may exceed the committed one by 25 %. Figures that were not committed before are added to the file.
`python -m benchmarks --commit NAME ...` replaces all figures of these benchmarks that it measures.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

FILE = Path(__file__).resolve().parent / "figures.json"
COMMIT = "--commit"
LARGEST_RATIO = 1.25
ROUNDS = 3


def mix() -> None:
    """Do the work of one round: dictionaries and text, sorting and arithmetic, a join and an aggregation."""
    places = {f"task_{place}": place for place in range(50_000)}
    order = sorted(places, key=lambda name: name[::-1])
    scores = np.random.default_rng(19).random((50_000, 10))
    ranks = np.argsort(np.exp(scores), axis=0)
    frame = pl.DataFrame({"task": order, "agent": ranks[:, 0] % 50, "score": scores.sum(axis=1)})
    means = frame.group_by("agent").agg(mean=pl.col("score").mean())
    frame.join(means, on="agent").sort("mean", "task")


def calibrate() -> float:
    """CPU seconds of the calibration loop, about 0.3; a first round, which starts the threads, does not count."""
    mix()
    began = time.process_time()
    for _ in range(ROUNDS):
        mix()
    return time.process_time() - began


def compare(benchmark: str, seconds: Mapping[str, float], before: float) -> list[str]:
    """Compare a benchmark's times with the committed ones, and write the file.

    Parameters
    ----------
    benchmark
        Its name.
    seconds
        CPU seconds by name. A name contains the size if there are several.
    before
        What :func:`calibrate` returned before the benchmark.

    Returns
    -------
    list of str
        A text for each figure that lost more than 25 %, which counts as a missed aim.
    """
    loop = (before + calibrate()) / 2.0
    ratios = {name: spent / loop for name, spent in seconds.items()}
    return record(FILE, benchmark, ratios, is_replacing=COMMIT in sys.orig_argv)  # each benchmark has its own argv


def record(file: Path, benchmark: str, ratios: Mapping[str, float], *, is_replacing: bool) -> list[str]:
    """Print the figures beside the committed ones, write the file, and return the losses; see :func:`compare`."""
    figures = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    committed = figures.get(benchmark, {})
    for name, ratio in ratios.items():
        change = f"{ratio / committed[name] - 1.0:+.0%}" if name in committed else "new"
        print(f"{name}: {ratio:.3g} times the calibration loop ({change})")
    lost = [
        f"{name}: {ratio / committed[name]:.2f} times the committed figure, aim {LARGEST_RATIO}"
        for name, ratio in ratios.items()
        if ratio > LARGEST_RATIO * committed.get(name, ratio)
    ]
    found = {name: float(f"{ratio:.3g}") for name, ratio in ratios.items()}
    figures[benchmark] = committed | found if is_replacing else found | committed
    file.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", "utf-8")
    return [] if is_replacing else lost

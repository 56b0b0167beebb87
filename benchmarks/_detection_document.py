"""docs/detection.md: what the runs of the benchmark say of the tests, and whether that meets the aims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks._document import machine, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TYPES", "document"]

TYPES = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")
FAULTS = {
    "bias": ("forecasts 0.10 too high", TYPES[0]),
    "harder": ("every attempt's success 0.20 lower", TYPES[0]),
    "slow_agent": ("one agent's durations x 1.5 from the middle on", TYPES[1]),
    "slow": ("all durations x 1.5 from the start", TYPES[1]),
    "slow_late": ("all durations x 1.5 from the middle on", TYPES[1]),
    "drop": ("one agent's success {drop:.2f} lower from the middle on", TYPES[2]),
    "alike": ("every agent succeeds as the mean of all", TYPES[3]),
}
ONE_AGENT = {"slow_agent", "drop"}
# Largest share of runs without a fault that raise an alarm, and least share in which a fault's own type is found.
MIDDLE = {
    "bias": 0.95,
    "harder": 0.95,
    "slow_agent": 0.95,
    "slow": 0.99,
    "slow_late": 0.99,
    "drop": 0.90,
    "alike": 0.85,
}
LARGE = {"bias": 0.99, "harder": 0.99, "slow_agent": 0.99, "slow": 0.99, "slow_late": 0.99, "drop": 0.90, "alike": 0.99}
ALARM_AIMS, POWER_AIMS = (0.05, 0.05, 0.06, 0.06), ({}, MIDDLE, LARGE, LARGE)
RUN = "waves x tasks x agents"

HEAD = """# What the anomalies detect

How often each of the four tests of a run fires where nothing is wrong, and how often where one thing is. Written by
`python -m benchmarks detection`, which exits with 1 where an aim is missed.

## What was simulated

Every run is drawn, recorded, forecast, planned, carried out, learned from and analysed anew, by the package's own
forecast, assignment, predictive draws, executor and SQL; only the truth and the fault are the benchmark's.

- The truth is drawn apart from the forecast: log odds of success are 0.8 + risk (0.2, 0, -0.3) + task (standard
  deviation 0.8) + agent (0.5) + agent by category (0.3, five categories) + pair (0.6); log durations task (0.4) + agent
  (0.3) + pair (0.2) + attempt (0.5), a failure 0.3 longer. A task's recorded confidence knows something of its
  difficulty.
- Forecasts are fitted on 3 records a pair drawn from that truth, so they err as forecasts do. At 30 waves, 5 of the 50
  agents, others for each task, have records of a task: all pairs would be 4.5 million records, and a minute's fit a
  run. Pairs without a record are forecast from the rest, so errors of estimation are larger there, not smaller.
- LOW and MEDIUM risk tasks have up to 3 attempts. What is said of success is that of tasks, retries and all; the fault
  gives the first attempt the chance that leaves it so.
- Learning is on, as in every run of the package. At 30 waves it takes most of the time: fewer runs have it, and more
  are played with the first forecast throughout, which history has made too sure for 29 waves to move it much.
- Run k of a size has seed k: its world, its records and its luck, the same with and without each fault. From the middle
  on is from the first wave of the second half. One agent is one at random.
- ± is one standard error; counts of runs stand in brackets. Where a share is 0 or 1, n runs exclude at 95 % what is
  3 / n away.
"""


POWER_NOTE = (
    "Share of runs with a fault in which its own type was found; of an advantage that did not come, among the runs in "
    "which it was testable. Named: of those found, the runs that named the agent at fault and no other."
)
SEEN_NOTE = (
    "Median detectable effect of the runs without a fault, and the share of them that said of a type that it was not "
    "testable."
)


def document(rows: pl.DataFrame, plans: Mapping[str, float]) -> tuple[str, bool]:
    """The page, and whether every aim is met.

    `rows` has a line a run and type: plan (its place in `plans`), fault (`none` for none), seed, seconds, anomaly_type,
    status, detectable_effect and is_exact. `plans` maps each plan's name to how far one agent's success drops in it.
    """
    rows = rows.with_columns(is_found=pl.col("status") == "found")
    calm = [rows.filter(plan=place, fault="none") for place in range(len(plans))]
    alarms, powers = list(_alarms(calm, plans)), list(_powers(rows, plans))
    costs = rows.group_by("plan").agg(pl.col("seconds").median()).sort("plan")["seconds"]
    cost = "; ".join(f"{name}: {seconds:.2f} s" for name, seconds in zip(plans, costs, strict=True))
    lines = [
        HEAD,
        f"{machine('polars', 'duckdb')} A run costs, beside its history and the first fit, in the median: {cost}.",
        "",
        "## False alarms",
        "",
        "Share of runs without a fault in which a type was found.",
        "",
        *table([RUN, *TYPES, "any of them", "aim", "holds"], alarms),
        "",
        "## Power",
        "",
        POWER_NOTE,
        "",
        *table([RUN, "fault", "type", "found", "named", "aim", "holds"], powers),
        "",
        "## One cause, one report",
        "",
        "Per cent of the runs with a fault in which each type was found: its own in one column, little in the others.",
        "",
        *table([RUN, "fault", *TYPES], list(_crossed(rows, plans))),
        "",
        "## What a run could have seen",
        "",
        SEEN_NOTE,
        "",
        *table([RUN, *TYPES], list(_seen(calm, plans))),
    ]
    return "\n".join(lines) + "\n", not any(row[-1] == _holds(is_met=False) for row in (*alarms, *powers))


def _alarms(calm: list[pl.DataFrame], plans: Mapping[str, float]) -> Iterator[list[str]]:
    for name, here, aim in zip(plans, calm, ALARM_AIMS, strict=True):
        types = [_share(here.filter(anomaly_type=kind)["is_found"])[1] for kind in TYPES]
        share, text = _share(here.group_by("seed").agg(pl.col("is_found").any())["is_found"])
        yield [name, *types, text, f"<= {100 * aim:.0f} %", _holds(is_met=share <= aim)]


def _powers(rows: pl.DataFrame, plans: Mapping[str, float]) -> Iterator[list[str]]:
    for place, (name, drop) in enumerate(plans.items()):
        for fault, (text, kind) in FAULTS.items():
            own = rows.filter(plan=place, fault=fault, anomaly_type=kind)
            own = own.filter(pl.col("status") != "not_testable") if fault == "alike" else own
            named = own.filter("is_found")["is_exact"] if fault in ONE_AGENT else own["is_exact"].clear()
            share, figure = _share(own["is_found"])
            aim = POWER_AIMS[place].get(fault)
            wanted = ["", ""] if aim is None else [f">= {100 * aim:.0f} %", _holds(is_met=share >= aim)]
            yield [name, text.format(drop=drop), kind, figure, _share(named)[1] if named.len() else "", *wanted]


def _crossed(rows: pl.DataFrame, plans: Mapping[str, float]) -> Iterator[list[str]]:
    for place, (name, drop) in enumerate(plans.items()):
        for fault, (text, _) in FAULTS.items():
            here = rows.filter(plan=place, fault=fault)
            found = [here.filter(anomaly_type=kind)["is_found"] for kind in TYPES]
            yield [name, text.format(drop=drop), *(f"{100 * hits.sum() / max(hits.len(), 1):.1f}" for hits in found)]


def _seen(calm: list[pl.DataFrame], plans: Mapping[str, float]) -> Iterator[list[str]]:
    for name, here in zip(plans, calm, strict=True):
        types = [here.filter(anomaly_type=kind) for kind in TYPES]
        effects = [f"{rows['detectable_effect'].median():.2f}" for rows in types]
        untested = [100 * (rows["status"] == "not_testable").sum() / max(rows.height, 1) for rows in types]
        yield [name, *(f"{effect}, {share:.0f} % not" for effect, share in zip(effects, untested, strict=True))]


def _share(hits: pl.Series) -> tuple[float, str]:
    """A share, and as text with its standard error and count of runs; 0 and "never testable" of none."""
    if not hits.len():
        return 0.0, "never testable"
    share = hits.sum() / hits.len()
    error = np.sqrt(share * (1.0 - share) / hits.len())
    return share, f"{100 * share:.1f} % ± {100 * error:.1f} ({hits.len():,})"


def _holds(*, is_met: bool) -> str:
    return "yes" if is_met else "**no**"

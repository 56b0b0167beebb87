"""Write docs/detection.md from the results of the benchmark, and compare them with the aims."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from benchmarks._document import machine, table

TYPES = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")
FAULTS = {
    "bias": ("forecasts 0.10 too high", TYPES[0]),
    "harder": ("every attempt's success 0.20 lower", TYPES[0]),
    "slow_agent": ("one agent's durations x 1.5 from the middle on", TYPES[1]),
    "slow": ("all durations x 1.5 from the start", TYPES[1]),
    "slow_late": ("all durations x 1.5 from the middle on", TYPES[1]),
    "slow_ten": ("all durations x 10 from the start", TYPES[1]),
    "fails": ("one agent always fails", TYPES[2]),
    "drop": ("one agent's success {drop:.2f} lower from the middle on", TYPES[2]),
    "alike": ("every agent succeeds at the mean rate", TYPES[3]),
}
ONE_AGENT = {"slow_agent", "fails", "drop"}
# Aims: the largest share of false alarms, and the smallest share of faults whose type is reported.
SPARSE = {"slow_ten": 0.95}
SPARSE_MIDDLE = {"slow_ten": 0.95, "fails": 0.80}
MIDDLE = {
    "slow_ten": 0.99,
    "fails": 0.80,
    "bias": 0.95,
    "harder": 0.95,
    "slow_agent": 0.95,
    "slow": 0.99,
    "slow_late": 0.99,
    "drop": 0.90,
    "alike": 0.85,
}
LARGE = {
    "slow_ten": 0.99,
    "fails": 0.95,
    "bias": 0.99,
    "harder": 0.99,
    "slow_agent": 0.99,
    "slow": 0.99,
    "slow_late": 0.99,
    "drop": 0.90,
    "alike": 0.99,
}
ALARM_AIMS = (0.05, 0.05, 0.05, 0.05, 0.06, 0.06)
POWER_AIMS = (SPARSE, SPARSE, MIDDLE, SPARSE_MIDDLE, LARGE, LARGE)
RUN = "waves x tasks x agents"

HEAD = """# What the checks detect

How often each of the four checks of a run reports a problem when there is none, and how often when there is one.
`python -m benchmarks detection` writes this page, and exits with 1 if it misses an aim.

## What is simulated

Every run is complete: the package forecasts, assigns, draws, executes, learns and analyses. Only the truth and the
fault come from the benchmark.

- The truth does not use the forecast model. Log odds of success are 0.8 + risk (0.2, 0, -0.3) + task (standard
  deviation 0.8) + agent (0.5) + agent by category (0.3, five categories) + pair (0.6). Log durations are task (0.4) +
  agent (0.3) + pair (0.2) + attempt (0.5); a failure adds 0.3. A task's recorded confidence is correlated with its
  difficulty.
- Forecasts are fitted to 3 records per pair drawn from that truth, so they have realistic errors. At 30 waves only 5 of
  the 50 agents have records of a task, different agents for each task, because all pairs would be 4.5 million records.
  This makes errors of estimation larger, not smaller. "12 records" and "100 records" are sizes with only so many
  attempts recorded in total, each of a random pair.
- LOW and MEDIUM risk tasks have up to 3 attempts. Faults in success refer to the task after its retries, except where
  every attempt's success is lower.
- Learning is on, as in every run of the package. At 30 waves it takes most of the time, so fewer runs use it. The other
  runs keep the first forecast, which learning changes little.
- Run k of a size has seed k: the same truth, records and random numbers with and without each fault. "From the middle
  on" means from the first wave of the second half. "One agent" is the agent planned for a random task of the first
  wave, since plans may leave other agents idle.
- ± is one standard error, and the number of runs is in brackets. If a share of n runs is 0 or 1, the true share is
  within 3 / n of it with 95 % confidence.
"""


ALARM_NOTE = (
    "How often a good run is reported as bad; less is better. Share of runs without a fault that report a problem "
    "of each type, and of any."
)
POWER_NOTE = (
    "How often a real problem is found; more is better. Share of runs with a fault that report its type; for "
    'optimization_failure, among the runs that could test it. "Named": among the reports, the share that names '
    "the agent at fault and no other."
)
CROSSED_NOTE = (
    "Whether one problem leads to one report. Percentage of runs with a fault that report each type: high for the "
    "fault's own type and near 0 for the others is good."
)
SEEN_NOTE = (
    "How small a problem a run of each size can find; less is better. Median detectable effect in runs without a "
    "fault, and the share that could not test the type: runs with too few tasks to rule a fault out. A fault that "
    "shows even so, such as an agent that always fails, is still reported: see the tables above."
)


def document(rows: pl.DataFrame, plans: Mapping[str, float]) -> tuple[str, bool]:
    """Return the page and whether every aim is met.

    `rows` has a row per run and type: plan (its index in `plans`), fault (or `none`), seed, seconds, anomaly_type,
    status, detectable_effect and is_exact. `plans` maps a plan's name to the drop of one agent's success in it.
    """
    rows = rows.with_columns(is_found=pl.col("status") == "found")
    calm = [rows.filter(plan=place, fault="none") for place in range(len(plans))]
    alarms, powers = list(_alarms(calm, plans)), list(_powers(rows, plans))
    costs = rows.group_by("plan").agg(pl.col("seconds").median()).sort("plan")["seconds"]
    cost = "; ".join(f"{name}: {seconds:.2f} s" for name, seconds in zip(plans, costs, strict=True))
    lines = [
        HEAD,
        f"{machine('polars', 'duckdb')} Median seconds of a run, without its history and the first fit: {cost}.",
        "",
        "## False alarms",
        "",
        ALARM_NOTE,
        "",
        *table([RUN, *TYPES, "any", "aim", "holds"], alarms),
        "",
        "## Power",
        "",
        POWER_NOTE,
        "",
        *table([RUN, "fault", "type", "found", "named", "aim", "holds"], powers),
        "",
        "## One cause, one report",
        "",
        CROSSED_NOTE,
        "",
        *table([RUN, "fault", *TYPES], list(_crossed(rows, plans))),
        "",
        "## What a run could detect",
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
        yield [name, *(f"{effect}, {share:.0f} % untestable" for effect, share in zip(effects, untested, strict=True))]


def _share(hits: pl.Series) -> tuple[float, str]:
    """Return a share, and its text with standard error and number of runs; 0 and "never testable" without runs."""
    if not hits.len():
        return 0.0, "never testable"
    share = hits.sum() / hits.len()
    error = np.sqrt(share * (1.0 - share) / hits.len())
    return share, f"{100 * share:.1f} % ± {100 * error:.1f} ({hits.len():,})"


def _holds(*, is_met: bool) -> str:
    return "yes" if is_met else "**no**"

"""What the summaries of Phases 17 and 18 say: weak evidence about success, and figures to compare a run with."""

from collections.abc import Mapping, Sequence

import polars as pl

from phase19.frames import BASELINES, EVIDENCE, STATEMENTS
from phase19.inputs.wire import HeuristicPerformance, Pattern, SystemHealth

PATTERNS, SIGNALS = "coordination_patterns.json", "learning_signals.jsonl"
HEALTH, METRICS, PERFORMANCE = "system_health.json", "realtime_metrics.jsonl", "heuristic_performance.json"
HEALTH_SCORE = "overall_health_score"


def read_statements(
    patterns: Sequence[Pattern], signals: pl.DataFrame, attempts: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Convert patterns and signals to what is shown of them, and to weak evidence about success.

    Parameters
    ----------
    patterns
        A pattern is evidence about each of its (task, agent) pairs without records.
    signals
        Rows of learning_signals.jsonl. A signal with an agent and a success rate is evidence about that agent at a task
        of its own, of the risk level and category that it names.
    attempts
        `frames.ATTEMPTS`: the records at the start.

    Returns
    -------
    polars.DataFrame, polars.DataFrame
        `frames.STATEMENTS`, patterns first, and `frames.EVIDENCE`, each row of which counts as `confidence` attempts.
    """
    stated = [
        (PATTERNS, number, pattern.pattern_type, pattern.success_rate, pattern.confidence, agent, tasks)
        for number, pattern in enumerate(patterns, 1)
        for agent, tasks in (pattern.agent_assignments or {"": []}).items()
    ]
    known = STATEMENTS.dtypes | EVIDENCE.dtypes | {"task_id": pl.List(pl.String)}
    names = ("file", "number", "type", "success_rate", "confidence", "agent_id", "task_id")
    paired = pl.DataFrame(stated, schema={name: known[name] for name in names}, orient="row")
    paired = paired.explode("task_id", empty_as_null=True)
    own = signals.with_columns(
        file=pl.lit(SIGNALS),
        number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        task_id=pl.lit("\0") + pl.col("signal_id"),  # no id of a file contains a control character
    )
    rows = pl.concat([paired.unique(maintain_order=True), own], how="diagonal")
    counts = rows.drop_nulls(["task_id", "agent_id", "success_rate"]).filter(pl.col("confidence") > 0)
    evidence = counts.join(attempts, on=["task_id", "agent_id"], how="anti", maintain_order="left")
    used = evidence.select("file", "number", used_for=pl.lit("forecast")).unique()
    first = rows.unique(["file", "number"], keep="first", maintain_order=True)
    statements = first.join(used, on=["file", "number"], how="left", maintain_order="left")
    return statements.select(STATEMENTS.fill(statements.columns)), evidence.select(EVIDENCE.fill(evidence.columns))


def baselines(
    health: Mapping[int, SystemHealth], metrics: pl.DataFrame, performance: Mapping[str, HeuristicPerformance]
) -> pl.DataFrame:
    """Collect the figures that a run is compared with: `frames.BASELINES`.

    Parameters
    ----------
    health
        system_health.json by phase.
    metrics
        Rows of realtime_metrics.jsonl; of several values of a metric, the last one counts.
    performance
        heuristic_performance.json: counts by heuristic.
    """
    rows = [
        (phase, HEALTH, HEALTH_SCORE, "points", found.overall_health_score)
        for phase, found in health.items()
        if found.overall_health_score is not None
    ]
    last = metrics.unique("metric_name", keep="last", maintain_order=True).select("metric_name", "unit", "value")
    rows += [(17, METRICS, name, unit or "", value) for name, unit, value in last.rows()]
    rows += [
        (17, PERFORMANCE, success_with(name), "ratio", found.successes / found.applications)
        for name, found in performance.items()
        if found.applications
    ]
    return pl.DataFrame(rows, schema=BASELINES.dtypes, orient="row")


def success_with(heuristic_id: str) -> str:
    """Name the success rate of tasks to which a heuristic applied."""
    return f"success rate with {heuristic_id}"

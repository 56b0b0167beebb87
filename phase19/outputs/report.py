"""The report of a run: what was planned, what happened, and how far to believe it, read from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phase19.errors import OutputError, plural
from phase19.outputs.health_section import health_blocks, weights_table
from phase19.outputs.provenance import lineage_sentences
from phase19.outputs.rendering import Chart, Page, Section, Table, WavePoint, to_html, to_markdown
from phase19.outputs.sensitivity_section import sensitivity_section, untested
from phase19.outputs.text import NO_DATA, interval, number, percent, significant
from phase19.publishing.files import SUMMARY_FILE, read_run

if TYPE_CHECKING:
    from pathlib import Path

    from phase19.publishing.files import Row, RunFiles

__all__ = [
    "HTML_FILE",
    "MARKDOWN_FILE",
    "anomalies_table",
    "build_page",
    "headline",
    "metrics_table",
    "verdict",
    "waves_table",
    "write_report",
]

MARKDOWN_FILE = "PHASE_19_AUTONOMOUS_OPTIMIZATION.md"
HTML_FILE = "report.html"
UNASSIGNED_FILE = "unassigned_tasks.jsonl"
MAX_LEFT_OUT = 50  # rows of the table of tasks left out; the file lists them all
MAX_AGENTS = 50  # rows of the table of who did what; the summary lists them all


def write_report(run_dir: Path) -> list[Path]:
    """Write the report of a run into its directory, as Markdown and as one self-contained HTML file.

    Parameters
    ----------
    run_dir
        A run directory, or the staging directory of one whose other files are written.

    Returns
    -------
    list of Path
        The two files written.

    Raises
    ------
    OutputError
        `run_dir` is no Phase 19 run, or cannot be read or written.

    Notes
    -----
    The same files give the same report, byte for byte.
    """
    page = build_page(read_run(run_dir))
    files = {run_dir / MARKDOWN_FILE: to_markdown(page), run_dir / HTML_FILE: to_html(page)}
    try:
        for path, text in files.items():
            path.write_text(text, "utf-8")
    except OSError as problem:
        raise OutputError(f"{run_dir}: the report cannot be written: {problem.strerror}") from problem
    return list(files)


def build_page(run: RunFiles) -> Page:
    """Say what a run's files say, in the order a reader asks: is it good, can I believe it, what next."""
    return Page(
        "Phase 19: autonomous optimisation",
        (
            Section(
                "In short",
                (_provenance(run), *lineage_sentences(run.optimization_summary), verdict(run), _overall_table(run)),
            ),
            Section("Waves", (_chart(run), waves_table(run))),
            Section("Metrics", (_METRICS_NOTE, metrics_table(run))),
            Section("Anomalies", (anomalies_table(run) or "None beyond what chance explains.",)),
            *sensitivity_section(run),
            Section("Health", health_blocks(run)),
            Section("Who did what", (*_assignments(run), *_left_out(run))),
            Section("What was learned", (_signals_table(run), weights_table(run))),
            Section("Safety gates", (_decisions(run),)),
            Section("How it was made", _making(run)),
        ),
    )


_METRICS_NOTE = (
    "The interval is what chance alone would give 90 % of the time if the plan were right: a value outside its "
    "bounds but inside the interval is no evidence against the plan."
)
_EVIDENCE = {
    "simulate": "This was a dry run: every actual figure is simulated, drawn from the forecast's own uncertainty. It "
    "shows what the plan's assumptions lead to, and is no evidence about the agents.",
    "replay": "Actual figures are recorded outcomes, replayed: pairs without a record are unobserved, and rates are "
    "over the tasks that ran.",
    "live": "Actual figures are of live executions.",
}


def headline(run: RunFiles) -> str:
    """What was run, in one line."""
    summary = run.optimization_summary
    kind = "simulated" if summary["simulated"] else summary["executor"]
    return (
        f"Phase 19: {plural(summary['total_tasks'], 'task')}, {plural(summary['total_agents'], 'agent')}, "
        f"{plural(summary['total_waves_optimized'], 'wave')}, {summary['optimization_strategy']}, {kind}"
    )


def verdict(run: RunFiles) -> str:
    """How it went, in one line."""
    health, counts = run.system_health, run.optimization_summary["task_counts"]
    states = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count and state != "total")
    score = health["overall_health_score"]
    state = NO_DATA if score is None else f"{number(score, 1)} of 100 ({health['health_status']})"
    found = plural(len(run.scheduling_anomalies), "anomaly", "anomalies")
    told = f"Health {state}, {found}; tasks: {states or 'none'}. {untested(run.anomaly_tests)}".rstrip()
    return f"{told} Why tasks are unassigned stands in {UNASSIGNED_FILE}." if run.unassigned_tasks else told


def _provenance(run: RunFiles) -> str:
    summary = run.optimization_summary
    return (
        f"{headline(run)}. Seed {summary['seed']}, run {summary['run_id']}, {summary['timestamp']}. "
        f"{_EVIDENCE[summary['executor']]}"
    )


def _overall_table(run: RunFiles) -> Table:
    overall = run.optimization_summary["overall_metrics"]
    return Table(
        ("", "expected", "actual"),
        (
            ("success rate", percent(overall["expected_success_rate"]), percent(overall["actual_success_rate"])),
            ("tasks/s", significant(overall["expected_throughput"]), significant(overall["actual_throughput"])),
            ("prediction accuracy", "", percent(overall["prediction_accuracy"])),
            ("schedule adherence", "", percent(overall["schedule_adherence"])),
        ),
    )


def _chart(run: RunFiles) -> Chart:
    keys = ("planned_success_rate", "actual_success_rate", "success_rate_low", "success_rate_high")
    points = tuple(WavePoint(row["wave"], *(row.get(key) for key in keys)) for row in run.schedule_comparisons)
    return Chart("Success rate by wave", points)


def waves_table(run: RunFiles) -> Table:
    """Planned against actual, a row a wave."""
    return Table(
        ("wave", "planned success", "actual success", "planned tasks/s", "actual tasks/s", "accuracy"),
        tuple(
            (
                str(row["wave"]),
                percent(row["planned_success_rate"]),
                percent(row["actual_success_rate"]),
                significant(row["planned_throughput"]),
                significant(row["actual_throughput"]),
                number(row["accuracy_score"]),
            )
            for row in run.schedule_comparisons
        ),
    )


def metrics_table(run: RunFiles) -> Table:
    """The metrics with their targets, bounds, what chance gives, and status."""
    return Table(
        ("metric", "status", "value", "target", "bounds", "by chance"),
        tuple(
            (
                row["metric_name"],
                row["status"].replace("_", " "),
                number(row["value"]),
                number(row["target_value"]),
                interval(row["threshold_min"], row["threshold_max"]),
                interval(row.get("chance_low"), row.get("chance_high")),
            )
            for row in run.optimization_metrics
        ),
        labels=2,
    )


def anomalies_table(run: RunFiles) -> Table | None:
    """The anomalies, what they say and what to do; None where there are none."""
    if not run.scheduling_anomalies:
        return None
    keys = ("anomaly_type", "severity", "description", "recommendation")
    return Table(
        ("anomaly", "severity", "what", "what to do"),
        tuple(tuple(str(row[key]) for key in keys) for row in run.scheduling_anomalies),
        labels=4,
    )


def _assignments(run: RunFiles) -> tuple[str | Table, ...]:
    results = run.optimization_summary["optimization_results"]
    agents = list(dict.fromkeys(agent for result in results for agent in result["agent_assignments"]))
    rows = tuple(
        (agent, *(str(len(result["agent_assignments"].get(agent, ()))) for result in results))
        for agent in agents[:MAX_AGENTS]
    )
    table = Table(("tasks of", *(f"wave {result['wave']}" for result in results)), rows)
    left_out = len(agents) - len(rows)
    return (table, f"And {plural(left_out, 'more agent')} in {SUMMARY_FILE}.") if left_out else (table,)


def _left_out(run: RunFiles) -> tuple[str | Table, ...]:
    """The tasks that no agent got, and why; nothing where there are none."""
    tasks = run.unassigned_tasks
    if not tasks:
        return ()
    rows = tuple((row["task_id"], str(row["wave"]), row["reason"]) for row in tasks[:MAX_LEFT_OUT])
    table = Table(("task left out", "wave", "why"), rows, labels=3)
    more = len(tasks) - len(rows)
    return (table, f"And {plural(more, 'more task')} in {UNASSIGNED_FILE}.") if more else (table,)


def _signals_table(run: RunFiles) -> Table:
    rows = (
        (row["type"], row["description"], row["recommendation"], number(row["confidence"]))
        for row in run.learning_signals
    )
    return Table(("signal", "what was seen", "recommendation", "confidence"), tuple(rows), labels=3)


def _decisions(run: RunFiles) -> str:
    decisions = run.safety_gate_decisions
    deferred = sum(row["decision"] == "deferred" for row in decisions)
    live = sum(row["live_decision"] == "deferred" for row in decisions)
    return (
        f"{deferred:,} of {plural(len(decisions), 'task')} deferred in this run; a live run with the same approvals "
        f"would defer {live:,}. Each stands with its reason in safety_gate_decisions.jsonl."
    )


def _making(run: RunFiles) -> tuple[str | Table, ...]:
    summary = run.optimization_summary
    inputs, solver = (_records_table(summary[key]) for key in ("inputs", "solver"))
    figures = {**_flat(summary["forecast_scores"], "forecast "), **_flat(summary["yardsticks"], "yardstick ")}
    scores = Table(("figure", "value"), tuple((name.replace("_", " "), _cell(v)) for name, v in figures.items()))
    return tuple(block for block in (inputs, solver, scores) if block.rows)


def _records_table(records: list[Row]) -> Table:
    header = tuple(records[0]) if records else ()
    rows = tuple(tuple(_cell(record[name]) for name in header) for record in records)
    return Table(tuple(name.replace("_", " ") for name in header), rows, labels=len(header))


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{name}{key} ").items()}
    return {name.strip(): value}


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | list | None):
        return str(value)
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value) if isinstance(value, int) else number(value)

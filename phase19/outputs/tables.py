"""Sentences and tables of the report and of the screen after a run, made from the run's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phase19.analysis.results import Results
from phase19.errors import plural
from phase19.inputs.summaries import HEALTH_SCORE
from phase19.outputs import chart_data, text
from phase19.outputs.answers import NOTHING, Run, attention, check_result, checks_sentence, side_of, verdict
from phase19.outputs.rendering import Block, Section, Table, figures_table, records_table

_DOCUMENTS = ("optimization_summary", "system_health")
_ROWS = (
    *("schedule_comparisons", "optimization_metrics", "scheduling_anomalies", "anomaly_tests", "alerts"),
    *("learning_signals", "heuristic_updates", "unassigned_tasks"),
)
MAX_ROWS = 50  # most rows shown of a table; the files of the run have all rows
_FEW_WAVES = 5  # that the screen lists
_EXACT = 1e-6  # largest gap of an assignment that is called the best, as a share of its objective
_VISIBLE = 0.0005  # smallest difference of success rates that does not print as 0.0 points
# Section of the report, the file and key that it shows, and its columns; all columns if empty.
_TABLES = (
    ("Anomalies", "scheduling_anomalies", "anomaly_type severity description recommendation"),
    ("Trend of the forecasts", "system_health.convergence", ""),
    ("Unassigned tasks", "unassigned_tasks", "task_id wave reason"),
    ("What was learned", "learning_signals", "type description recommendation confidence"),
    ("Heuristic weights", "heuristic_updates", "heuristic_id reason previous_weight weight"),
    ("Inputs", "optimization_summary.inputs", "phase file status used_for ignored_fields rows"),
    ("Compared with earlier phases", "optimization_summary.baselines", "figure unit recorded this_run phase"),
    ("Patterns and signals of Phase 18", "optimization_summary.statements", ""),
    ("Earlier run", "optimization_summary.previous", ""),
    ("Changed thresholds", "optimization_summary.thresholds.changed", ""),
    ("Solver", "optimization_summary.solver", ""),
    ("Forecast scores", "optimization_summary.forecast_scores", ""),
    ("Yardsticks", "optimization_summary.yardsticks", ""),
)
SIDES = {-1: ", below", 0: "", 1: ", above"}  # of a normal range
_STATUS = {"normal": "within bounds"}  # of a metric, whose normal range is another matter; others are said as they are
_EXECUTORS = {
    "simulate": "Dry run: every actual figure is simulated.",
    "replay": "Replay of recorded outcomes.",
    "live": "Live run.",
}
_NOTES = {
    "optimization_summary.forecast_scores": (
        "Skill: how much better the forecasts were than one success rate for all tasks; 1 is perfect, 0 no better.",
        "Interval coverage: the share of waves that ended in their normal range; 90 % is right over many waves.",
    )
}
CHECK_NOTES = (
    "If the plan is correct, a value lies in its normal range 90 % of the time. The last column of the checks is the "
    "smallest problem that this run detects with the required power, 90 % by default; 'none' means too few tasks to "
    "detect any. An explained effect is caused by what another check found. A check that needs more data says nothing "
    "about the plan. Of many agents, one is always furthest behind: a check fails only beyond its threshold, which "
    "allows for that, so that the interval of a passed check need not include 0."
)
# How the effect of a check is written: factor, significant digits, unit, and what it and a negative one measure.
_EFFECTS = {
    "prediction_error": (100.0, 2, "points", ("below plan", "above plan")),
    "schedule_drift": (1.0, 3, "x", ("forecast time", "")),
    "performance_degradation": (100.0, 2, "points", ("below peers", "above peers")),
    "optimization_failure": (100.0, 2, "%", ("of gain lost", "more gain")),
}


def read_run(run_dir: Path) -> Run:
    """Read the files of a run that the report and the screen show, by name without suffix.

    Raises
    ------
    OutputError
        `run_dir` is not a Phase 19 run, or a file cannot be read or is not JSON of the right kind.
    """
    results = Results(run_dir)
    documents = {name: results.document(f"{name}.json", dict[str, Any]) for name in _DOCUMENTS}
    return documents | {name: results.records(f"{name}.jsonl", dict[str, Any]) for name in _ROWS}


def report_sections(run: Run) -> list[Section]:
    """Return the report's sections in the order in which a reader asks: did it work, can I trust it, what next."""
    return [
        Section("In short", [*opening(run), checks_sentence(run), health_sentence(run), origin(run)]),
        Section("Waves", [waves_table(run)]),
        Section("Checks", checks_blocks(run)),
        Section("Agents", _shown(run, "system_health.agent_utilization", "agent_id task_count busy_ms utilization")),
        *detail_sections(run),
    ]


def detail_sections(run: Run) -> list[Section]:
    """Return the sections for readers who look for one figure, with its origin."""
    scores = run["system_health"]["component_scores"]
    components = [{"component": text.words(name), "score": score} for name, score in scores.items()]
    return [
        Section("Needs attention", [attention_table(run)]),
        Section("Metrics", [metrics_table(run)]),
        Section("Health", [records_table(components)]),
        *(Section(title, found) for title, source, columns in _TABLES if (found := _shown(run, source, columns))),
    ]


def origin(run: Run) -> str:
    """Name the run, its seed and its time."""
    summary = run["optimization_summary"]
    return f"Seed {summary['seed']}, run {summary['run_id']}, {summary['timestamp']}."


def _shown(run: Run, source: str, columns: str) -> list[Block]:
    """Show a part of a run's files as a table: the first rows of many, or the figures of one record."""
    content: Any = run
    for key in source.split("."):
        content = content[key]
    if not content:
        return []
    if isinstance(content, Mapping):
        return [figures_table("figure", content), *_NOTES.get(source, ())]
    more = [f"{len(content) - MAX_ROWS:,} more in the files of the run."] if len(content) > MAX_ROWS else []
    proof = [_proof(content)] if source == "optimization_summary.solver" else []
    return [*proof, records_table(content[:MAX_ROWS], columns), *more]


def _proof(solver: Sequence[Mapping[str, Any]]) -> str:
    """Say how far the assignments may be from the best ones."""
    gaps = [row["gap"] for row in solver]
    if None in gaps:
        return "Of a wave without a gap, nothing is known about better assignments."
    is_best = all(row["gap"] <= _EXACT * max(1.0, abs(row["objective"])) for row in solver)
    said = "Proved best: no" if is_best else "Not proved best, but no"
    more = "a millionth" if is_best else text.significant(max(gaps))
    return f"{said} assignment of a wave has an objective more than {more} higher."


def opening(run: Run) -> list[str]:
    """Say whether the plan held, with counts; then what kind of run it was, its size, and what the capacities cost."""
    summary = run["optimization_summary"]
    cost = summary["yardsticks"]["capacity_cost"] or 0.0
    return [
        verdict(run),
        f"{_EXECUTORS[summary['executor']]} {size(run)}",
        *([f"The agents' capacities cost {100 * cost:.1f} points of planned success."] if cost >= _VISIBLE else []),
    ]


def size(run: Run) -> str:
    """Say how large a run was, and what its strategy and its retries were."""
    summary = run["optimization_summary"]
    totals = {"task": "total_tasks", "agent": "total_agents", "wave": "total_waves_optimized"}
    sizes = ", ".join(plural(summary[key], noun) for noun, key in totals.items())
    retries = plural(summary["max_retries"], "retry", "retries")
    allowed = f", up to {retries} of LOW and MEDIUM risk tasks" if summary["max_retries"] else ""
    return f"{sizes}, strategy {summary['optimization_strategy']}{allowed}."


def health_sentence(run: Run) -> str:
    """Say how healthy the run was, and how many of the checks had enough data."""
    health, tests = run["system_health"], run["anomaly_tests"]
    score = health["overall_health_score"]
    state = text.NO_DATA if score is None else f"{text.number(score, 1)} of 100 ({health['health_status']})"
    baselines = run["optimization_summary"]["baselines"]
    before = [row["recorded"] for row in baselines if (row["phase"], row["figure"]) == (18, HEALTH_SCORE)]
    state += f", {text.number(before[0], 1)} in Phase 18" if before else ""
    ready = sum(row["status"] != "not_testable" for row in tests)
    share = {0: "none of ", len(tests): "all "}.get(ready, f"only {ready} of ")
    return f"Health {state}; {share}{len(tests)} checks had enough data."


def attention_table(run: Run) -> Block:
    """List what needs attention, with what to do."""
    found = attention(run)
    if not found:
        return NOTHING
    return Table(("needs attention", "what happened", "what to do"), tuple(found), labels=3)


def waves_table(run: Run) -> Table:
    """Compare planned with actual success and time by wave."""
    rows = []
    for row, (_, *times) in zip(run["schedule_comparisons"], chart_data.wave_times(run).iter_rows(), strict=True):
        ran, low, high = row["ran_count"], row["success_rate_low"], row["success_rate_high"]
        won = round(row["actual_success_rate"] * ran) if ran else 0
        cells = (
            f"{row['wave']:,}",
            text.percent(row["planned_success_rate"]),
            f"{won:,} of {ran:,}" if ran else text.NO_DATA,
            text.NO_DATA if low is None else text.count_range(low, high, ran) + SIDES[side_of(won, ran, low, high)],
            *map(text.duration, times),
        )
        rows.append(cells)
    header = ("wave", "planned success", "succeeded", "normal range", "planned time", "actual time")
    return Table(header, tuple(rows))


def waves_overview(run: Run) -> Block:
    """Compare planned with actual by wave; of many waves, name only the one furthest below its plan."""
    table = waves_table(run)
    compared = zip(run["schedule_comparisons"], table.rows, strict=True)
    known = [(row, cells) for row, cells in compared if row["success_rate_low"] is not None]
    if not known or len(table.rows) <= _FEW_WAVES:
        return table
    inside = sum(not cells[3].endswith(tuple(filter(None, SIDES.values()))) for _, cells in known)
    _, worst = min(known, key=lambda wave: wave[0]["actual_success_rate"] - wave[0]["planned_success_rate"])
    return (
        f"{inside:,} of {len(known):,} waves ended in their normal range. Wave {worst[0]} was furthest below its plan: "
        f"{worst[2]} tasks succeeded, normal range {worst[3]}. --verbose lists all waves."
    )


def metrics_table(run: Run) -> Table:
    """List the five metrics with their targets, bounds, normal ranges and status."""
    rows = tuple(
        (
            row["metric_name"],
            _STATUS.get(row["status"], text.words(row["status"])),
            text.significant(row["value"]),
            text.significant(row["target_value"]),
            text.interval(row["threshold_min"], row["threshold_max"]),
            text.interval(row["chance_low"], row["chance_high"]),
        )
        for row in run["optimization_metrics"]
    )
    return Table(("metric", "status", "value", "target", "bounds", "normal range"), rows, labels=2)


def checks_blocks(run: Run) -> list[Block]:
    """Show the four checks: their table, the reason of each result, and what the columns mean."""
    reasons = (f"{text.words(row['anomaly_type']).capitalize()}. {row['reason']}" for row in run["anomaly_tests"])
    return [checks_table(run), *reasons, CHECK_NOTES]


def checks_table(run: Run) -> Table:
    """List the four checks: the result, the effect if there is enough data, and the smallest detectable problem."""
    rows = []
    for row in run["anomaly_tests"]:
        factor, digits, unit, meaning = _EFFECTS[row["anomaly_type"]]
        smallest, largest = row["detectable_effect"], row["largest_effect"]
        effect = effect_range = ""
        if row["status"] != "not_testable" and row["effect"] is not None:
            is_negative = row["effect"] < 0
            keys = ("effect", "effect_high", "effect_low") if is_negative else ("effect", "effect_low", "effect_high")
            figures = ((-factor if is_negative else factor) * row[key] for key in keys)
            size, low, high = (text.significant(figure, digits) for figure in figures)
            effect, effect_range = f"{size} {unit} {meaning[is_negative]}", f"{low} to {high}"
        is_detectable = smallest is not None and (largest is None or smallest <= largest)
        detectable = f"{text.significant(factor * smallest, 2)} {unit}" if is_detectable else "none"
        result = "needs more data" if row["status"] == "not_testable" else check_result(run, row)
        rows.append((text.words(row["anomaly_type"]), result, effect, effect_range, detectable))
    header = ("check", "result", "effect", "90 % interval", "smallest\nproblem this\nrun could\ndetect")
    return Table(header, tuple(rows), labels=3)

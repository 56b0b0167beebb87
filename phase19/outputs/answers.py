"""The answers after a run, made from its files: did the plan hold, what needs attention, and what to do next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from phase19.errors import plural, program
from phase19.outputs import text

Run = Mapping[str, Any]  # the files of a run by name without suffix, as tables.read_run returns them
_FEW_TASKS = 100  # below this, an expected number of tasks has one decimal


class Attention(NamedTuple):
    """Something that needs attention: how severe it is, what happened, and what to do."""

    severity: str
    message: str
    action: str


def verdict(run: Run) -> str:
    """Say in one sentence whether the plan held, with counts and normal range, and compare it with round robin."""
    counts, overall = run["optimization_summary"]["task_counts"], run["optimization_summary"]["overall_metrics"]
    completed, ran = counts["completed"], counts["completed"] + counts["failed"]
    if not ran:
        return "No task ran, so the plan could not be checked."
    tasks = plural(ran, "task") + (" that ran" if ran < counts["total"] else "")
    side, counted = outcome(completed, ran, tasks, overall, overall["expected_success_rate"])
    failed = sum(row["status"] == "found" for row in run["anomaly_tests"])
    where, who = (" in the dry run", "dry run") if run["optimization_summary"]["simulated"] else ("", "run")
    answers = f"The plan held{where}", f"The {who} did better than planned", f"The plan fell short{where}"
    checks = f", {'and' if side < 0 else 'but'} {plural(failed, 'check')} failed" if failed else ""
    return f"{answers[side]}{checks}: {counted}; {_gain(completed, ran, overall)}."


def outcome(completed: int, ran: int, tasks: str, rates: Mapping[str, Any], expected: float) -> tuple[int, str]:
    """Compare successes with their normal range: -1, 0 or 1 for below, inside or above it, and the counts in words."""
    low, high = rates["success_rate_low"], rates["success_rate_high"]
    side = side_of(completed, ran, low, high)
    normal = f"normal range {text.count_range(low, high, ran)}"
    return side, f"{completed:,} of {tasks} succeeded ({_expected(expected, ran)} expected, {normal})"


def _gain(completed: int, ran: int, overall: Mapping[str, Any]) -> str:
    """Compare the number of completed tasks with the forecast and the normal range of round robin."""
    points, side = gain(completed, ran, overall)
    other = f"round robin would expect {_expected(overall['baseline_success_rate'], ran)}"
    if side is None:
        return f"{other}, and nothing says how far chance may move that"
    if side == 0:
        return f"{other}: a tie, since chance explains the difference"
    return f"{other}: the {'gain' if points > 0 else 'loss'} of {abs(points):.1f} points is more than chance explains"


def gain(completed: int, ran: int, rates: Mapping[str, Any]) -> tuple[float, int | None]:
    """Compare successes with round robin: points above it, and -1, 0 or 1 for below, inside or above its range."""
    low, high = (rates[f"baseline_success_rate_{end}"] for end in ("low", "high"))
    points = 100 * (completed / ran - rates["baseline_success_rate"])
    if low is None or high is None:
        return points, None
    return points, side_of(completed, ran, low, high)


def side_of(completed: int, ran: int, low: float, high: float) -> int:
    """Return -1, 0 or 1 if successes are below, inside or above a range of success rates."""
    return (completed > round(high * ran)) - (completed < round(low * ran))


def _expected(rate: float, ran: int) -> str:
    return text.number(rate * ran, 1 if ran < _FEW_TASKS else 0)


NOTHING = "Nothing needs attention: no check failed, and chance explains every metric out of bounds."


def attention(run: Run) -> list[Attention]:
    """List what needs attention: failed checks and late tasks first, metrics last.

    A metric is listed if it is outside its bounds and outside its normal range; not after a dry run, whose outcomes are
    drawn from the forecasts, so that only chance moves a metric.
    """
    counts, joins, is_simulated = (run["optimization_summary"][key] for key in ("task_counts", "joins", "simulated"))
    metrics = {f"optimization_metrics: {row['metric_name']}": row for row in run["optimization_metrics"]}
    found: list[Attention] = []
    beyond: list[Attention] = []
    for row in run["alerts"]:
        metric = metrics.get(row["source"], {})
        value, low, high = (metric.get(key) for key in ("value", "chance_low", "chance_high"))
        is_chance = metric and (is_simulated or (None not in (low, high) and low <= value <= high))
        if not is_chance:
            (beyond if metric else found).append(Attention(row["severity"], row["message"], row["action"]))
    tasks, agents, rows = counts["total"], joins["agents"], joins["replayed_rows"] or 0
    unknown, unused = agents - joins["agents_with_records"], rows - (joins["replayed_rows_in_plan"] or 0)
    missing = (
        ("warning", "Tasks without an outcome to replay", counts["unobserved"], tasks, "Record them by their agents."),
        ("warning", "Interrupted tasks", counts["interrupted"], tasks, "Run them again."),
        ("warning", "Tasks stopped by a gate", counts["deferred"], tasks, "See safety_gate_decisions."),
        ("warning", "Tasks without an agent", counts["unassigned"], tasks, "See unassigned_tasks.jsonl."),
        ("info", "Agents without records", unknown, agents, "Compare their names with the records."),
        ("info", "Recorded outcomes outside the plan", unused, rows, "Compare their names with the plan."),
    )
    found += [Attention(how, f"{what}: {n:,} of {of:,}.", action) for how, what, n, of, action in missing if n]
    return found + beyond


_RESULTS = {"found": "failed", "explained": "explained by another check", "clear": "passed"}
# What a check needs if more tasks like those that ran would not do.
_NEEDS = {
    "schedule_drift": "attempts with known times",
    "performance_degradation": "agents that work side by side",
    "optimization_failure": "tasks on which the agents differ",
}
_MANY = 100  # times the tasks that ran: an estimate beyond that says no more than that


def check_result(run: Run, check: Mapping[str, Any]) -> str:
    """Say how a check ended, or how much more data it needs."""
    counts, missing = run["optimization_summary"]["task_counts"], check["missing_task_count"]
    ran = counts["completed"] + counts["failed"]
    if check["status"] != "not_testable":
        return _RESULTS[check["status"]]
    if missing is None:
        kind, found = check["anomaly_type"], {row["anomaly_type"] for row in run["scheduling_anomalies"]}
        if kind == "optimization_failure" and "prediction_error" in found:
            return "needs a run without prediction error"
        return f"needs {_NEEDS.get(kind if ran else '', 'tasks that ran')}"
    if missing > _MANY * ran:
        return f"needs over {_MANY} times as many tasks"
    return f"needs about {plural(round(float(f'{missing:.1e}')), 'more task')}"


def checks_sentence(run: Run) -> str:
    """Say how each check ended, those with the same result together."""
    names: dict[str, list[str]] = {}
    for row in run["anomaly_tests"]:
        names.setdefault(check_result(run, row), []).append(text.words(row["anomaly_type"]))
    said = [
        f"{', '.join(some)} {end if len(some) == 1 else end.replace('needs', 'need')}" for end, some in names.items()
    ]
    return f"Checks: {'; '.join(said)}."


def next_steps(run: Run, run_dir: Path, input_dir: Path | None) -> list[tuple[str, str]]:
    """Say what to do next, most useful first, each with the command to type.

    Parameters
    ----------
    run
        The files of the run.
    run_dir, input_dir
        Its directory, and that of its inputs; commands that need unknown inputs are left out.
    """
    summary, place = run["optimization_summary"], f"--run {shlex.quote(str(run_dir))}"
    steps = []
    if input_dir is not None and is_untested(run):
        why = "Test the forecasts on recorded outcomes before you trust the plan:"
        steps.append((why, f"backtest --input {shlex.quote(str(input_dir))}"))
    if run["scheduling_anomalies"]:
        agent = run["scheduling_anomalies"][0]["affected_agents"][0]
        quoted = agent.replace("'", "''")
        sql = f"select * from attempts where agent_id = '{quoted}'"  # noqa: S608 (shown, not run)
        steps.append((f"See the attempts of {agent}:", f"query {_quoted_sql(sql)} {place}"))
    elif task := summary["least_expected"]:
        steps.append((f"{surprise(task)}:", f"explain {shlex.quote(task['task_id'])} {place}"))
    if input_dir is not None and not run["scheduling_anomalies"]:
        is_joined = not any(row.severity == "info" for row in attention(run))
        why, command = ("Compare all strategies:", "compare") if is_joined else ("Check the inputs:", "validate")
        steps.append((why, f"{command} --input {shlex.quote(str(input_dir))}"))
    return [(why, f"{program()} {command}") for why, command in steps]


def is_untested(run: Run) -> bool:
    """Whether the run says nothing about its forecasts, as a dry run, but its records can test them."""
    summary = run["optimization_summary"]
    return bool(summary["simulated"] and summary["joins"]["agents_with_records"])


def surprise(task: Mapping[str, Any]) -> str:
    """Name the task whose outcome surprises most, `least_expected` of the summary."""
    how = f"{task['status']}; planned success {text.percent(task['planned_success'])}"
    return f"See why {task['task_id']} was given to {task['agent_id']} ({how})"


def _quoted_sql(sql: str) -> str:
    """Quote SQL for a shell, in double quotes unless a shell would change what is inside."""
    return shlex.quote(sql) if set(sql) & set('"$`\\!') else f'"{sql}"'

"""The answers after a run, made from its files: did the plan hold, what needs attention, and what to do next."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from phase19.errors import plural
from phase19.outputs import text

Run = Mapping[str, Any]  # the files of a run by name without suffix, as report.read_run returns them
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
    low, high = (overall[f"success_rate_{end}"] for end in ("low", "high"))
    failed = sum(row["status"] == "found" for row in run["anomaly_tests"])
    if completed < round(low * ran):
        answer, joint = "The plan fell short", "and"
    elif completed > round(high * ran):
        answer, joint = "The run did better than planned", "but"
    else:
        answer, joint = "The plan held", "but"
    if failed:
        answer += f", {joint} {plural(failed, 'check')} failed"
    tasks = plural(ran, "task") + (" that ran" if ran < counts["total"] else "")
    expected = f"{_expected(overall['expected_success_rate'], ran)} expected"
    normal = f"normal range {text.count_range(low, high, ran)}"
    return f"{answer}: {completed:,} of {tasks} succeeded ({expected}, {normal}); {_gain(completed, ran, overall)}."


def _gain(completed: int, ran: int, overall: Mapping[str, Any]) -> str:
    """Compare the number of completed tasks with the forecast and the normal range of round robin."""
    rate, low, high = (overall[f"baseline_success_rate{end}"] for end in ("", "_low", "_high"))
    other = f"round robin would expect {_expected(rate, ran)}"
    if low is None or high is None:
        return f"{other}, and nothing says how far chance may move that"
    if round(low * ran) <= completed <= round(high * ran):
        return f"{other}: a tie, since chance explains the difference"
    points = 100 * (completed / ran - rate)
    return f"{other}: the {'gain' if points > 0 else 'loss'} of {abs(points):.1f} points is more than chance explains"


def _expected(rate: float, ran: int) -> str:
    return text.number(rate * ran, 1 if ran < _FEW_TASKS else 0)


# What to do about tasks that did not run, by their state in the summary's `task_counts`.
_IDLE = {
    "unobserved": "The recorded outcomes have none of these tasks with its agent. Record more pairs to replay them.",
    "interrupted": "Run them again.",
    "deferred": "safety_gate_decisions.jsonl gives the reasons. Name the tasks that may run in the file of --approve.",
    "unassigned": "unassigned_tasks.jsonl gives the reasons.",
}
# What did not join: a name, a noun, the keys of all and of those that joined in the summary's `joins`, and an action.
_JOINS = (
    (
        *("Without records", "agent", "agents", "agents_with_records"),
        "Compare their names with those in the records, or record some attempts.",
    ),
    (
        *("Of tasks or agents outside the plan", "recorded outcome", "replayed_rows", "replayed_rows_in_plan"),
        "Compare the names in the plan and in the recorded outcomes.",
    ),
)


def attention(run: Run) -> list[Attention]:
    """List what needs attention, failed checks first.

    A metric is listed if it is outside its bounds and outside its normal range.
    """
    summary = run["optimization_summary"]
    normal = {
        f"optimization_metrics: {row['metric_name']}"
        for row in run["optimization_metrics"]
        if None not in (low := row["chance_low"], value := row["value"], high := row["chance_high"])
        and low <= value <= high
    }
    alerts = [row for row in run["alerts"] if row["source"] not in normal]
    alerts.sort(key=lambda row: row["source"].startswith("optimization_metrics"))  # stable: metrics come last
    found = [Attention(row["severity"], row["message"], row["action"]) for row in alerts]
    found += [
        Attention("warning", f"{plural(count, 'task')} did not run: {state}.", action)
        for state, action in _IDLE.items()
        if (count := summary["task_counts"].get(state, 0))
    ]
    joins = summary["joins"]
    found += [
        Attention("info", f"{what}: {joins[total] - joined:,} of {plural(joins[total], noun)}.", action)
        for what, noun, total, part, action in _JOINS
        if (joined := joins[part]) is not None and joined < joins[total]
    ]
    return found

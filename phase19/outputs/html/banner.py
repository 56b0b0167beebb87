"""The top of the report: the verdict, three figures and what to do."""

from pathlib import Path
from typing import Any

import polars as pl

from phase19.errors import plural
from phase19.frames import has_run
from phase19.outputs import answers, chart_data, tables, text
from phase19.outputs.html.markup import anchor, escaped, paragraph, section

_MOST_ACTIONS = 3
_RUN, _INPUT = Path("RUN"), Path("INPUT")  # in commands, since a report may be read elsewhere
_BADGES = {"simulate": "Dry run", "replay": "Replay", "live": "Live"}
_NOTES = {
    "simulate": "Nothing was executed: every outcome is drawn from the forecasts.",
    "replay": "Outcomes are taken from records.",
    "live": "Real agents did the tasks.",
}
_PARTS = {
    "timeline": "Timeline",
    "agents": "Agents",
    "tasks": "Tasks",
    "plan": "Did the plan hold?",
    "checks": "Checks",
}
_LINKS = (f'<a href="#{name}">{title}</a>' for name, title in (_PARTS | {"details": "Details"}).items())
_NAVIGATION = f'<nav aria-label="Parts of this page">{"".join(_LINKS)}</nav>'


def banner(run: answers.Run, assigned: pl.DataFrame) -> str:
    """Make the banner.

    Parameters
    ----------
    run
        The files of the run, as `tables.read_run` returns them.
    assigned
        The tasks with an agent (`frames.EXECUTIONS`).
    """
    kind = run["optimization_summary"]["executor"]
    head, _, rest = answers.verdict(run).partition(": ")
    tiles = "".join(
        f'<div class="tile"><h2>{escaped(title)}</h2><p class="big">{escaped(big)}</p>{paragraph(note)}</div>'
        for title, big, note in (_success(run), _time(run, assigned), _gain(run))
    )
    return (
        f'<header><p class="badge {kind}">{_BADGES[kind]}</p><h1>{escaped(head)}</h1>'
        f"{paragraph(rest[0].upper() + rest[1:]) if rest else ''}"
        f"{paragraph(f'{_NOTES[kind]} {tables.size(run)}', 'soft')}</header>"
        f'<div class="tiles">{tiles}</div>{_actions(run)}{_NAVIGATION}'
    )


def _success(run: answers.Run) -> tuple[str, str, str]:
    completed, ran, rates = _counts(run)
    if not ran:
        planned = run["optimization_summary"]["yardsticks"]["planned_success_rate"]
        return "Success", text.NO_DATA, f"{text.percent(planned)} planned; no task ran"
    planned, normal = rates["expected_success_rate"], (rates["success_rate_low"], rates["success_rate_high"])
    said = f"{text.percent(planned)} planned, normal range {text.count_range(*normal, ran)}"
    return "Success", text.percent(completed / ran), f"{completed:,} of {plural(ran, 'task')}; {said}"


def _counts(run: answers.Run) -> tuple[int, int, dict[str, Any]]:
    counts = run["optimization_summary"]["task_counts"]
    return counts["completed"], counts["completed"] + counts["failed"], run["optimization_summary"]["overall_metrics"]


def _time(run: answers.Run, assigned: pl.DataFrame) -> tuple[str, str, str]:
    actual, planned = chart_data.run_time(run)
    if actual is None:
        return "Time", text.NO_DATA, "no time of a task is known"
    missing = assigned.filter(~has_run() | pl.col("actual_end_time").is_null()).height
    unknown = f"; without {plural(missing, 'task')} of unknown time" if missing else ""
    return "Time", text.duration(actual), f"sum over the waves; {text.duration(planned)} planned{unknown}"


def _gain(run: answers.Run) -> tuple[str, str, str]:
    """Say what the plan gains: as planned if nothing was executed, since an outcome that is drawn shows only chance."""
    completed, ran, rates = _counts(run)
    points, side = answers.gain(completed, ran, rates) if ran else (0.0, None)
    if not ran or run["optimization_summary"]["simulated"]:
        planned, rate = (chart_data.strategies(run)["planned"][row] for row in (0, 1))
        gain = text.NO_DATA if planned is None or rate is None else _points(100 * (planned - rate))
        drawn = f"; {_points(points)} with the outcomes drawn{', a tie' if side == 0 else ''}" if ran else ""
        return "Planned gain over round robin", gain, _expects(rate) + drawn
    if side == 0:
        figure = f"{_points(points)}, which chance explains"
        return "Gain over round robin", "A tie", f"{figure}; {_expects(rates['baseline_success_rate'])}"
    judged = "; more than chance explains" if side else ""
    return "Gain over round robin", _points(points), _expects(rates["baseline_success_rate"]) + judged


def _points(points: float) -> str:
    return f"{points:+.1f} points"


def _expects(rate: float | None) -> str:
    return "no task was planned" if rate is None else f"round robin would expect {text.percent(rate)}"


def _actions(run: answers.Run) -> str:
    """List what to do: after a dry run, test the forecasts first; a task is a link to what the page says about it."""
    found, task, is_first = (
        answers.attention(run),
        run["optimization_summary"]["least_expected"],
        answers.is_untested(run),
    )
    steps = [
        f"{escaped(why)} <code>{escaped(command)}</code>" for why, command in answers.next_steps(run, _RUN, _INPUT)
    ]
    if task and not run["scheduling_anomalies"]:
        steps[is_first] = f'<a href="#{anchor("task", task["task_id"])}">{escaped(answers.surprise(task))}</a>.'
    alerts = [f"<strong>{escaped(row.message)}</strong> {escaped(row.action)}" for row in found]
    items = (steps[:is_first] + alerts + steps[is_first:])[:_MOST_ACTIONS]
    more = is_first + len(found) - _MOST_ACTIONS
    return section(
        "actions",
        "What to do",
        "" if found else paragraph(answers.NOTHING),
        f"<ol>{''.join(f'<li>{item}</li>' for item in items)}</ol>",
        paragraph("INPUT and RUN: the directories of the inputs and of the run.", "soft"),
        f'<p>{more:,} more: see <a href="#details">Details</a>.</p>' if more > 0 else "",
    )

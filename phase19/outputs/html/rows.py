"""The tables of agents and of tasks, which sort, filter and open."""

from collections.abc import Mapping, Sequence

import polars as pl

from phase19.errors import plural
from phase19.frames import RAN
from phase19.inputs.tasks import natural_key
from phase19.outputs import text
from phase19.outputs.answers import side_of
from phase19.outputs.explain import sentences
from phase19.outputs.html.charts import Row
from phase19.outputs.html.markup import anchor, cell, escaped, paragraph, scrolling, section, table
from phase19.outputs.tables import SIDES

MOST_TASKS = 2_000  # that the page shows; further ones are a query away
_CLOSE = 0.001  # change of score from which on a task is no close call: one more failure in 1,000 such waves
# What tasks can be filtered by, and how the filter is called.
_KINDS = {"failed": "failed", "late": "late", "slow": "slower than planned", "close": "close calls", "idle": "not run"}
_AGENTS_NOTE = (
    "If the plan is correct, an agent's successes lie in its normal range 90 % of the time: of 20 agents, one falls "
    "short by chance. Time against plan: 2 x means twice the planned time."
)
_TASKS_NOTE = (
    "The tasks whose outcome surprises most come first. A task opens to say why this agent has it. Late: ended after "
    "its deadline. Slower than planned: its attempts took longer, on average, than nine of ten attempts should. "
    "Close call: another agent would be nearly as good."
)
_AGENT_COLUMNS = (
    *(("agent", False), ("succeeded", True), ("normal range", True), ("success", True), ("planned success", True)),
    *(("tasks", True), ("busy", True), ("time against plan", True)),
)
_OUTCOMES = {"completed": "succeeded", "": "not assigned"}  # others are called like their status


def agents_section(agents: pl.DataFrame) -> str:
    """Make the table of agents, and say which fell short; `agents` is `chart_data.agent_success`."""
    rows, behind, short = [], [], 0
    for row in agents.iter_rows(named=True):
        ran = row["ran_count"]
        won = round(row["actual"] * ran) if ran else None
        normal, side = "", 0
        if won is not None and row["low"] is not None:
            normal = text.count_range(row["low"], row["high"], ran)
            side = side_of(won, ran, row["low"], row["high"])
            short += side < 0
            said = (
                f"{row['agent_id']}: {won:,} of {ran:,} succeeded, {row['planned'] * ran:.1f} planned, {normal} normal"
            )
            behind.append((won - row["planned"] * ran, said))
        rows.append(_agent(row, won, normal, side))
    answer = ""
    if behind and min(behind)[0] < 0:
        fell = plural(short, "agent") if short else "No agent"
        answer = paragraph(f"{fell} fell short of the normal range. Furthest below plan is {min(behind)[1]}.")
    content = table(_AGENT_COLUMNS, f"<tbody>{''.join(rows)}</tbody>", "agents-table")
    note = paragraph(_AGENTS_NOTE, "soft")
    return section("agents", "Agents", answer, note, scrolling(content, "Agents, scrolls sideways"))


def _agent(row: Row, won: int | None, normal: str, side: int) -> str:
    ratio = row["time_ratio"]
    cells = (
        cell("" if won is None else f"{won:,} of {row['ran_count']:,}", won),
        cell(normal + SIDES[side], row["low"]),
        cell("" if won is None else text.percent(row["actual"]), row["actual"]),
        cell("" if row["planned"] is None else text.percent(row["planned"]), row["planned"]),
        cell(f"{row['task_count']:,}", row["task_count"]),
        cell(text.percent(row["utilization"]), row["utilization"]),
        cell("" if ratio is None else f"{text.significant(ratio)} x", ratio),
    )
    mark = ' class="off"' if side < 0 else ""
    name = f'<th scope="row">{escaped(row["agent_id"])}</th>'
    return f'<tr id="{anchor("agent", row["agent_id"])}"{mark}>{name}{"".join(cells)}</tr>'


def of_interest(tasks: pl.DataFrame) -> pl.DataFrame:
    """Choose the tasks to show: those without an outcome, then those whose outcome surprises most, then close calls.

    Parameters
    ----------
    tasks
        One row per task, as :func:`phase19.outputs.explain.task_rows` returns them.

    Returns
    -------
    polars.DataFrame
        At most `MOST_TASKS` rows, with one more flag for each kind of task that the page can filter by.
    """
    status, planned = pl.col("status"), pl.col("planned_success")
    surprise = pl.when(status == "completed").then(1.0 - planned).when(status == "failed").then(1.0 + planned)
    kinds = {
        "failed": status == "failed",
        "late": pl.col("is_late"),
        "slow": pl.col("actual_duration_ms") > pl.col("duration_ms_p90") * (pl.col("retry_count") + 1),
        # Throughput looks at the end of the wave, so that its scores say nothing of a single task.
        "close": (pl.col("score_margin").abs() < _CLOSE) & (pl.col("wave_strategy") != "maximize_throughput"),
        "idle": ~status.is_in(RAN) | status.is_null(),
    }
    flags = {kind: test.fill_null(value=False) for kind, test in kinds.items()}
    order = (-surprise.fill_null(3.0), "score_margin", "wave", natural_key("task_id"), "task_id")
    return tasks.with_columns(**flags).sort(order, nulls_last=True).head(MOST_TASKS)


def tasks_section(
    shown: pl.DataFrame, agents: Sequence[str], attempts: Mapping[str, Sequence[Row]], task_count: int
) -> str:
    """Make the table of tasks and the form that filters it.

    Parameters
    ----------
    shown
        As :func:`of_interest` returns them.
    agents
        All agents, in the order of their table.
    attempts
        The attempts of tasks that failed or were tried again.
    task_count
        Number of tasks of the run.
    """
    heads = [("task", False), ("outcome", False), ("agent", False), ("planned success", True), ("wave", True)]
    heads += [("risk", False), ("category", False), ("time", True), ("planned time", True)]
    bodies = (_task(row, attempts.get(row["task_id"], ()), len(heads)) for row in shown.iter_rows(named=True))
    few = f"These are {shown.height:,} of {task_count:,} tasks; python -m phase19 query reads all."
    note = f"{_TASKS_NOTE} {few}" if shown.height < task_count else _TASKS_NOTE
    content = scrolling(table(heads, "\n".join(bodies), "tasks-table"), "Tasks, scrolls sideways")
    return section("tasks", "Tasks", paragraph(note, "soft"), _filters(shown, agents), content)


def _filters(shown: pl.DataFrame, agents: Sequence[str]) -> str:
    """Make the form, which a script shows."""
    names = {"agent": agents} | {
        name: shown[column].drop_nulls().unique().sort().to_list()
        for name, column in (("risk", "risk_level"), ("category", "category"))
    }
    options = {name: "".join(f"<option>{escaped(each)}</option>" for each in some) for name, some in names.items()}
    counts = {kind: shown[kind].sum() for kind in _KINDS}
    options["show"] = "".join(
        f'<option value="{kind}"{"" if counts[kind] else " disabled"}>{title} ({counts[kind]:,})</option>'
        for kind, title in _KINDS.items()
    )
    selects = "".join(
        f'<label>{name} <select name="{name}"><option value="">all</option>{each}</select></label>'
        for name, each in options.items()
    )
    return (
        f'<form id="filters" hidden><label>search <input type="search" name="search"></label>{selects}'
        f'<button type="reset">Clear</button> <output>{plural(shown.height, "task")}</output></form>'
    )


def _task(row: Row, attempts: Sequence[Row], width: int) -> str:
    ran = row["status"] in RAN
    planned, time, planned_time = row["planned_success"], row["actual_duration_ms"], row["planned_duration_ms"]
    status = row["status"] or ""
    outcome = _OUTCOMES.get(status, status) + (", late" if row["late"] else "")
    cells = (
        cell(outcome, is_figure=False),
        cell(row["agent_id"] or "", is_figure=False),
        cell("" if planned is None else text.percent(planned), planned),
        cell(f"{row['wave']:,}", row["wave"]),
        *(cell(row[name] or "", is_figure=False) for name in ("risk_level", "category")),
        cell("" if time is None or not ran else text.duration(time), time),
        cell("" if planned_time is None else text.duration(planned_time), planned_time),
    )
    # The row itself says which agent has the task and, if it was not tried again, how it ended.
    said = sentences(row)[row["agent_id"] is not None : None if attempts or not ran else -1]
    tries = f"<ul>{''.join(map(_attempt, attempts))}</ul>" if attempts else ""
    kinds = " ".join(kind for kind in _KINDS if row[kind])
    mark = f' class="{kinds}"' if kinds else ""
    first = f'<tr><th scope="row">{escaped(row["task_id"])}</th>{"".join(cells)}</tr>'
    more = f'<tr class="more"><td colspan="{width}">{paragraph(" ".join(said))}{tries}</td></tr>'
    return f'<tbody id="{anchor("task", row["task_id"])}"{mark}>{first}{more}</tbody>'


def _attempt(row: Row) -> str:
    ended = "succeeded" if row["status"] == "success" else "failed"
    time = "" if row["execution_time_ms"] is None else f" after {text.duration(row['execution_time_ms'])}"
    error = f": {row['error_message']}" if row["error_message"] else "."
    said = f"Attempt {row['attempt']} {ended}{time}{error}"
    return f"<li>{escaped(said)}</li>"

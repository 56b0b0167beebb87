"""Two runs side by side, as one HTML page."""

from collections.abc import Sequence
from urllib.parse import quote

import polars as pl

from phase19.errors import plural
from phase19.outputs import chart_data, comparison, tables, text
from phase19.outputs.answers import Run
from phase19.outputs.html import charts
from phase19.outputs.html.charts import Row
from phase19.outputs.html.frame import framed
from phase19.outputs.html.markup import blocks_html, cell, escaped, paragraph, scrolling, section, table

_MOST_TASKS = 2_000  # that the page shows
_PAIRS_NOTE = "Tasks that ended differently come first."
_DRY_RUNS = "Outcomes of a dry run are drawn from its forecasts: compare what the runs planned, not what happened."


def link_to(report: str) -> str:
    """Open a link to a report."""
    return f'<a href="{quote(report)}">'


def to_html(runs: Sequence[Run], tasks: Sequence[pl.DataFrame], names: Sequence[str], links: Sequence[str]) -> str:
    """Make the page.

    Parameters
    ----------
    runs
        The files of runs A and B, as `tables.read_run` returns them.
    tasks
        Their tasks, as :func:`phase19.outputs.explain.task_rows` returns them.
    names, links
        Their directories, and the paths from the page to their reports.
    """
    a, b = runs
    assigned = [rows.filter(pl.col("agent_id").is_not_null()) for rows in tasks]
    pairs = comparison.paired_tasks(*tasks)
    head, _, rest = comparison.verdict(a, b, pairs).partition(": ")
    is_dry = any(run["optimization_summary"]["simulated"] for run in runs)
    figures, settings = comparison.figures_table(a, b), comparison.settings_table(a, b, names)
    parts = (
        f'<header><p class="badge">Two runs</p><h1>{escaped(head)}</h1>',
        paragraph(rest[0].upper() + rest[1:]) if rest else "",
        *(
            f"<p>{run}: {link_to(link)}{escaped(name)}</a>. {escaped(tables.size(own))}</p>"
            for run, link, name, own in zip("AB", links, names, runs, strict=True)
        ),
        f"{paragraph(_DRY_RUNS) if is_dry else ''}</header>",
        section("figures", "Figures", blocks_html(figures, label="Figures")),
        section("waves", "Success of each wave", _waves(runs)),
        section("agents", "Agents", _agents(runs, assigned)),
        section("tasks", "Tasks that differ", _tasks(pairs)),
        section("settings", "Settings", blocks_html(settings, label="Settings")),
    )
    return framed(f"A and B: {head}", "\n".join(parts), "page")


def _waves(runs: Sequence[Run]) -> str:
    a, b = (chart_data.wave_success(run).to_dicts() for run in runs)
    figures = (
        charts.figure(
            f"waves-{name.lower()}",
            f"Run {name}",
            charts.wave_success(own, {}, beside=other),
            "Dots: share of tasks that succeeded; dashes: planned; bars: normal range, if the plan is correct.",
            blocks_html(tables.waves_table(run), label=f"Waves of run {name}"),
        )
        for name, run, own, other in zip("AB", runs, (a, b), (b, a), strict=True)
    )
    return f'<div class="grid">{"".join(figures)}</div>'


def _agents(runs: Sequence[Run], assigned: Sequence[pl.DataFrame]) -> str:
    a, b = (
        {row["agent_id"]: row for row in chart_data.agent_success(run, rows).iter_rows(named=True)}
        for run, rows in zip(runs, assigned, strict=True)
    )
    heads = [("agent", False)]
    heads += [(f"{title} {run}", True) for title in ("success", "planned success", "tasks", "busy") for run in "AB"]
    rows = (
        f'<tr><th scope="row">{escaped(agent)}</th>{"".join(_agent((a.get(agent), b.get(agent))))}</tr>'
        for agent in a | b
    )
    content = table(heads, f"<tbody>{''.join(rows)}</tbody>", "agents-table")
    return scrolling(content, "Agents, scrolls sideways")


def _agent(of_runs: Sequence[Row | None]) -> list[str]:
    """Make the cells of an agent: each figure in run A and in run B."""
    cells = []
    for key in ("actual", "planned", "task_count", "utilization"):
        for row in of_runs:
            value = None if row is None else row[key]
            written = "" if value is None else f"{value:,}" if key == "task_count" else text.percent(value)
            cells.append(cell(written, value))
    return cells


def _tasks(pairs: pl.DataFrame) -> str:
    """Make the table of the tasks that had another agent or another outcome."""
    is_same_outcome, is_same_agent = (pl.col(f"{of}_a").eq_missing(pl.col(f"{of}_b")) for of in ("status", "agent_id"))
    is_alone = pl.any_horizontal(pl.col("in_a", "in_b").is_null())
    differing = pairs.filter(is_alone | ~(is_same_outcome & is_same_agent)).sort(
        is_alone, is_same_outcome, maintain_order=True
    )
    alone, ended = pairs.filter(is_alone).height, pairs.filter(~is_alone & ~is_same_outcome).height
    said = (
        f"Of {plural(pairs.height, 'task')}, {alone:,} are in one run only, {ended:,} ended differently, and "
        f"{differing.height - alone - ended:,} had another agent but ended alike."
    )
    if differing.is_empty():
        return paragraph(said)
    more = f" These are the first {_MOST_TASKS:,}." if differing.height > _MOST_TASKS else ""
    heads = [("task", False)]
    heads += [
        (f"{title}\n{run}", title == "planned success")
        for title in ("outcome", "agent", "planned success")
        for run in "AB"
    ]
    rows = "".join(map(_task, differing.head(_MOST_TASKS).iter_rows(named=True)))
    content = scrolling(table(heads, f"<tbody>{rows}</tbody>", "tasks-table"), "Tasks, scrolls sideways")
    return paragraph(said) + paragraph(_PAIRS_NOTE + more, "soft") + content


def _task(row: Row) -> str:
    planned = (row["planned_success_a"], row["planned_success_b"])
    statuses = ((row[f"status_{run}"] or "no outcome") if row[f"in_{run}"] else "not in this run" for run in "ab")
    cells = (
        *(cell("succeeded" if status == "completed" else status, is_figure=False) for status in statuses),
        *(cell(row[f"agent_id_{run}"] or "", is_figure=False) for run in "ab"),
        *(cell("" if value is None else text.percent(value), value) for value in planned),
    )
    return f'<tr><th scope="row">{escaped(row["task_id"])}</th>{"".join(cells)}</tr>'

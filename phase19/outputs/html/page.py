"""The report of a run as one HTML page that needs no network, and no script to be read."""

import polars as pl

from phase19.outputs import answers, chart_data, tables
from phase19.outputs.html.banner import banner
from phase19.outputs.html.charts import Row
from phase19.outputs.html.frame import framed
from phase19.outputs.html.markup import blocks_html, escaped, paragraph, section
from phase19.outputs.html.plan import plan_section
from phase19.outputs.html.rows import agents_section, of_interest, tasks_section
from phase19.outputs.html.timelines import timelines


def to_html(run: answers.Run, tasks: pl.DataFrame, attempts: pl.DataFrame) -> str:
    """Make the page.

    Parameters
    ----------
    run
        The files of the run, as `tables.read_run` returns them.
    tasks
        One row per task, as :func:`phase19.outputs.explain.task_rows` returns them.
    attempts
        The rows of attempts.jsonl.
    """
    assigned, shown = tasks.filter(pl.col("agent_id").is_not_null()), of_interest(tasks)
    agents = chart_data.agent_success(run, assigned)
    order = {agent: number for number, agent in enumerate(agents["agent_id"])}
    parts = (
        banner(run, assigned),
        timelines(run, assigned, shown, order),
        agents_section(agents),
        tasks_section(shown, list(order), _tries(attempts, shown), tasks.height),
        plan_section(run, assigned, order),
        _checks(run),
        _details(run),
    )
    return framed(answers.verdict(run).partition(":")[0], "\n".join(parts), "page", "report")


def _tries(attempts: pl.DataFrame, shown: pl.DataFrame) -> dict[str, list[Row]]:
    """Return the attempts of the tasks that failed or were tried again."""
    told = (attempts["status"] == "failed") | (attempts["attempt"] > 1)
    tasks = shown.join(attempts.filter(told), on="task_id", how="semi")
    found: dict[str, list[Row]] = {}
    rows = attempts.join(tasks, on="task_id", how="semi").sort("task_id", "attempt", maintain_order=True)
    for row in rows.iter_rows(named=True):
        found.setdefault(row["task_id"], []).append(row)
    return found


def _checks(run: answers.Run) -> str:
    said = answers.checks_sentence(run), tables.health_sentence(run)
    return section("checks", "Checks", blocks_html(*said, *tables.checks_blocks(run), label="Checks"))


def _details(run: answers.Run) -> str:
    parts = (
        f"<details><summary>{escaped(each.title)}</summary>{blocks_html(*each.blocks, label=each.title)}</details>"
        for each in tables.detail_sections(run)
    )
    return section("details", "Details", *parts, paragraph(tables.origin(run), "soft"))

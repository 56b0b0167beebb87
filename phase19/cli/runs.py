"""The commands that read a run: `query`, `explain` and `report`."""

# The parser reads the annotations of a command when it is made, so they are not postponed in this module.
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from phase19.cli.options import DEFAULT_RUN, DONE, Flag

__all__ = ["explain", "query", "report"]


def explain(task: str, /, *, run: Path = DEFAULT_RUN, json: Flag = False) -> int:
    """Say why a task of a run went to its agent, by how much, and what came of it.

    Parameters
    ----------
    task
        The task's id.
    run
        The run directory.
    json
        Print one JSON object instead.
    """
    import msgspec

    from phase19.outputs import explain as explaining

    found = explaining.explain(run, task)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        from phase19.cli.screen import print_explanation

        print_explanation(found, sys.stdout)
    return DONE


def query(
    sql: str | None = None,
    /,
    *,
    run: Annotated[tuple[Path, ...], Parameter(show_default=lambda runs: " ".join(map(str, runs)))] = (DEFAULT_RUN,),
    format: Literal["table", "csv", "jsonl"] = "table",
) -> int:
    """Ask runs a question in SQL, over the views of sql/views.sql; nothing is changed.

    Parameters
    ----------
    sql
        One select; without it, the views and their columns are listed.
    run
        A run directory; may be given several times.
    format
        A table, comma-separated values or one JSON object a line.
    """
    from phase19.analysis.querying import flat, json_lines, list_views, select

    found = list_views(run) if sql is None else select(run, sql)
    if format == "csv":
        print(flat(found).write_csv(), end="")
    elif format == "jsonl":
        print(json_lines(found), end="")
    else:
        from phase19.cli.screen import print_frame

        print_frame(found, sys.stdout)
    return DONE


def report(*, run: Path = DEFAULT_RUN) -> int:
    """Build a run's report anew: Markdown, and one HTML file.

    Parameters
    ----------
    run
        The run directory.
    """
    from phase19.outputs.report import write_report

    for path in write_report(run):
        print(path)
    return DONE

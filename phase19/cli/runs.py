"""Commands that make a run or read finished ones. Each imports what it needs when it runs."""

import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, Flag, OutputFile, print_errors, takes_options, warn
from phase19.cli.rows import Format, Limit, first_rows, print_rows
from phase19.errors import UsageError, printable, suggestion
from phase19.options import DEFAULT_RUN, RunOptions

DONE, CONDITION_HOLDS, INTERRUPTED = 0, 3, 130
MANY_TASKS = 100_000  # beyond which a run advises --format parquet


@takes_options
def run(
    options: RunOptions,
    *,
    fail_on: Annotated[Literal["anomaly", "critical"] | None, OUTPUT] = None,
    json: Flag = False,
    quiet: Flag = False,
    verbose: Flag = False,
) -> int:
    """Plan, execute and compare the next waves; the default command.

    Parameters
    ----------
    fail_on
        Exit with code 3 if the run has an anomaly; with critical, one of high severity. Metrics do not count.
    json
        Print the summary as one JSON object.
    quiet
        Print nothing but errors.
    verbose
        Also print all waves, the five metrics and the checks.
    """
    if quiet and (json or verbose):
        raise UsageError("--quiet cannot be combined with --json or --verbose")
    from phase19 import harness
    from phase19.publishing.files import SUMMARY_FILE

    with screen.wave_progress(sys.stderr) as progress:
        result = harness.run(options, progress=progress)
    if not quiet:
        warn(result.warnings)
        if json:
            print((result.run_dir / SUMMARY_FILE).read_text("utf-8"), end="")
        else:
            screen.print_run(result.run_dir, is_verbose=verbose, input_dir=options.input)
            if options.format == "jsonl" and result["total_tasks"] > MANY_TASKS:
                print("Hint: with so many tasks, --format parquet takes an eighth of the space.")
    if result.is_interrupted:
        return INTERRUPTED
    counted = [one for one in result.anomalies if fail_on == "anomaly" or (fail_on and one.severity == "high")]
    found = [anomaly.description for anomaly in counted]
    if not found:
        return DONE
    print_errors([f"exit code 3, because of --fail-on {fail_on}: {' '.join(found)}"])
    return CONDITION_HOLDS


def query(
    sql: str | None = None,
    /,
    *,
    describe: Annotated[str | None, Parameter(show_default=False)] = None,
    run: Annotated[tuple[Path, ...], Parameter(show_default=lambda runs: " ".join(map(str, runs)))] = (DEFAULT_RUN,),
    format: Format = "table",
    limit: Limit = None,
) -> None:
    """Query runs in SQL, using the views of sql/views.sql; runs are not changed.

    Parameters
    ----------
    sql
        One select statement; by default, list the views.
    describe
        List the columns of this view, with their types, units and meanings.
    run
        A run directory; may be given several times.
    format
        Print a table, comma-separated values or one JSON object per line.
    limit
        Print at most this many rows, 0 for all; by default 100 in a table, all otherwise.
    """
    from phase19.analysis.querying import json_lines, select

    if sql is not None and describe is not None:
        raise UsageError("expected SQL or --describe, found both")
    question = "from views" if sql is None else sql
    if describe is not None:
        views = select(run, question)["view"].to_list()
        if describe not in views:
            known = f"one of {', '.join(views)}, found {describe!r}{suggestion(describe, views)}"
            raise UsageError(f"--describe: expected {known}")
        question = f"select * exclude (view) from view_columns where view = '{describe}'"  # noqa: S608 (a known view)
    if format == "jsonl":  # with numbers and lists as DuckDB writes them
        lines = json_lines(run, question).split("\n")[:-1]
        print("".join(f"{line}\n" for line in lines[: first_rows(limit, format)]), end="")
        return
    note = "`phase19 query --describe VIEW` lists the columns of a view." if sql is describe is None else ""
    print_rows(select(run, question), format, limit, note=note)


def explain(task: str, /, *, run: Path = DEFAULT_RUN, json: Flag = False) -> None:
    """Explain why a task was assigned to its agent, what others would cost, and how it ended.

    Parameters
    ----------
    task
        The task's id.
    run
        The run directory.
    json
        Print all figures of the task as one JSON object instead.
    """
    from phase19.outputs import explain as explaining

    found = explaining.explain(run, task)
    if json:
        print(dumps(found))
    else:
        screen.show(explaining.sentences(found))


def report(*, run: Path = DEFAULT_RUN, compare: tuple[Path, Path] | None = None, output: OutputFile = None) -> None:
    """Rebuild a run's report, as Markdown and HTML, or set two runs side by side.

    Parameters
    ----------
    run
        The run directory.
    compare
        Two run directories: say which run did better, and write a page that compares them.
    output
        The page to write with --compare; comparison-A-B.html beside run B by default.
    """
    from phase19.outputs.report import compare_runs, rebuild_report

    if compare is None:
        if output is not None:
            raise UsageError("--output needs --compare")
        print(*(printable(str(path)) for path in rebuild_report(run)), sep="\n")
    else:
        if run != DEFAULT_RUN:
            raise UsageError("--run cannot be combined with --compare")
        verdict, page = compare_runs(*compare, output)
        print(verdict, printable(str(page)), sep="\n")

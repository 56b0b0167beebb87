"""What the command shows: results on stdout, a progress bar on stderr, and plain text without a terminal."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from phase19.errors import printable, program
from phase19.outputs.rendering import Table, records_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from rich.console import Console, JustifyMethod
    from rich.table import Table as RichTable
    from rich.text import Text

    from phase19.inputs.importers.importing import ImportResult
    from phase19.inputs.loading import Inputs
    from phase19.outputs.rendering import Block

MOST_ALERTS = 3  # on the screen
PIPED_WIDTH = 100  # columns of output without a terminal
_LONG = 24  # characters from which on the cells of a column wrap
STYLES = {
    **dict.fromkeys(("within bounds", "passed"), "green"),
    **dict.fromkeys(("warning", "low"), "yellow"),
    **dict.fromkeys(("critical", "high", "failed"), "bold red"),
    "medium": "dark_orange",
    "info": "cyan",
    "needs more data": "dim",
}


def console_for(stream: TextIO) -> Console:
    """Make a console as wide as the terminal; without one it has a fixed width and no colour or animation."""
    from rich.console import Console

    class BrokenPipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # main() handles it; rich would exit with code 1

    is_terminal = stream.isatty()
    return BrokenPipeConsole(
        file=stream,
        force_terminal=is_terminal,
        color_system="auto" if is_terminal else None,
        width=None if is_terminal else PIPED_WIDTH,
        markup=False,  # ids may look like markup
        emoji=False,
        highlight=False,
    )


def print_run(run_dir: Path, *, is_verbose: bool = False, input_dir: Path | None = None) -> None:
    """Print whether the plan held, what needs attention, and what to do next.

    Parameters
    ----------
    run_dir
        The run directory.
    is_verbose
        Also print all waves, metrics and checks as tables.
    input_dir
        The inputs of the run, for the commands to type next.
    """
    from phase19.outputs import answers, tables
    from phase19.outputs.report import HTML_FILE

    run = tables.read_run(run_dir)
    answer, *details = tables.opening(run)
    shown_tables: list[Block] = [tables.waves_overview(run)]
    if is_verbose:
        shown_tables = [tables.waves_table(run), tables.metrics_table(run), tables.checks_table(run)]
    found = answers.attention(run)
    shown = [
        _text(row.severity, STYLES[row.severity]) + _text(f": {row.message} {row.action}")
        for row in found[:MOST_ALERTS]
    ]
    more = f" ({MOST_ALERTS} of {len(found)}; the report lists all)" if len(found) > MOST_ALERTS else ""
    needs = [f"Needs attention{more}:", *shown] if found else [answers.NOTHING]
    checks = f"{answers.checks_sentence(run)}\n{tables.health_sentence(run)}"
    show([*details, *shown_tables, *needs, "", checks], title=answer)
    results, page = (shlex.quote(str(path)) for path in (run_dir, run_dir / HTML_FILE))
    print(printable(f"Results are in {results}; the report is {page}"))
    for why, command in answers.next_steps(run, run_dir, input_dir):
        print(printable(why), f"  {printable(command)}", sep="\n")


def print_inputs(inputs: Inputs) -> None:
    """Print a row for each input file, then the number of tasks, agents and recorded attempts."""
    table = records_table(inputs.sources.to_dicts(), "phase file status used_for ignored_fields row_count")
    show([table, repr(inputs)])


def print_import(result: ImportResult) -> None:
    """Print what was read, what could not be used, and the command to type next."""
    rows = tuple((name, f"{count:,}") for name, count in result.counts.items())
    notes = [f"Not understood in {column}: {', '.join(map(repr, few))}." for column, few in result.unmapped.items()]
    if result.unused:
        notes.append(f"Columns not used: {', '.join(result.unused)}.")
    if not result.counts["tasks to do"]:
        notes.append("No row is a task to do: a run will plan the recorded tasks. Name others with --tasks FILE.")
    if beside := [path for name in ("phase16", "phase17") if (path := result.directory.with_name(name)).exists()]:
        notes.append(f"A run also reads {' and '.join(map(str, beside))}: if these are not yours, import elsewhere.")
    show([Table(("found", "count"), rows, labels=1), *result.notes, *notes])
    print_next("run", "--input", result.directory)


def print_next(*command: str | Path) -> None:
    """Print the command to type next."""
    print(printable(f"Next: {program()} {shlex.join(map(str, command))}"))


def show(blocks: Iterable[Block | Text], *, title: str = "", results: str = "") -> None:
    """Print a title, paragraphs, tables (between empty lines) and the path of the results."""
    from rich.text import Text

    console = console_for(sys.stdout)
    parts: list[RichTable | Text] = [_text(title, "bold")] if title else []
    for block in blocks:
        if isinstance(block, Table):
            parts += _fitting(block, console)
        else:
            parts.append(_text(block) if isinstance(block, str) else block)
    for before, part in zip([None, *parts], parts, strict=False):
        if before is not None and not (isinstance(before, Text) and isinstance(part, Text)):
            console.print()
        console.print(part)
    if results:
        console.print(_text(f"Results are in {results}"), soft_wrap=True)


def _text(text: str, style: str = "") -> Text:
    """Make styled text without characters that a terminal would interpret; its line breaks are kept."""
    from rich.text import Text

    return Text("\n".join(map(printable, text.split("\n"))), style=style)


def _fitting(table: Table, console: Console) -> list[RichTable]:
    """Lay out a table without breaking words, if need be with stacked titles, or else as a table for each row."""
    stacked = tuple(title.replace(" ", "\n") for title in table.header)
    unlimited = console.options.update_width(sys.maxsize)
    for shown in (_rich_table(table), _rich_table(replace(table, header=stacked))):
        if console.measure(shown, options=unlimited).minimum <= console.width:
            return [shown]
    titles = [" ".join(title.split()) for title in table.header]
    rows = (tuple(zip(titles, row, strict=True)) for row in table.rows)
    return [_rich_table(Table((f"row {number}", ""), row, labels=2)) for number, row in enumerate(rows, 1)]


def _rich_table(table: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for position, column in enumerate(zip(table.header, *table.rows, strict=True)):
        longest = max(len(line) for cell in column for line in cell.split("\n"))
        is_label = position < table.labels and longest > _LONG
        justify: JustifyMethod = "left" if position < table.labels else "right"
        shown.add_column(_text(column[0]), justify=justify, overflow="fold", min_width=None if is_label else longest)
    for row in table.rows:
        shown.add_row(*(_text(cell, STYLES.get(cell, "")) for cell in row))
    return shown


@contextmanager
def wave_progress(stream: TextIO) -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar while the body runs, if the stream is a terminal."""
    if not stream.isatty():
        yield lambda _stage, _done, _total: None
        return
    from rich.progress import Progress

    with Progress(console=console_for(stream), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None)

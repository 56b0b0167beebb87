"""What the command shows: tables on stdout, progress on stderr, plain wherever nobody is watching."""

from __future__ import annotations

import sys
from itertools import takewhile
from threading import Timer
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from phase19.inputs.loading import Inputs
    from phase19.outputs.rendering import Section, Table
    from phase19.publishing.files import RunFiles

__all__ = [
    "PIPED_WIDTH",
    "WaveProgress",
    "console_for",
    "print_explanation",
    "print_frame",
    "print_inputs",
    "print_run",
    "print_section",
]

PIPED_WIDTH = 100  # columns of output that no terminal shows
PROGRESS_DELAY_S = 1.0  # shorter work shows no progress
STYLES = {
    "normal": "green",
    "warning": "yellow",
    "critical": "bold red",
    "low": "yellow",
    "medium": "dark_orange",
    "high": "bold red",
    "recommended": "bold green",
    "dominated": "dim",
}


def console_for(stream: TextIO) -> Console:
    """A console as wide as the terminal; of fixed width, without colour or animation where there is none."""
    from rich.console import Console

    class QuietlyBrokenConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # what that means is the command line's to say, not exit code 1

    is_terminal = stream.isatty()
    return QuietlyBrokenConsole(
        file=stream,
        force_terminal=is_terminal,
        color_system="auto" if is_terminal else None,
        width=None if is_terminal else PIPED_WIDTH,
        markup=False,  # ids are any text
        emoji=False,
        highlight=False,
    )


def print_run(run: RunFiles, run_dir: Path, stream: TextIO) -> None:
    """Print the closing table of a run: waves, metrics, anomalies, health and where the outputs are."""
    from phase19.outputs.provenance import lineage_sentences
    from phase19.outputs.report import HTML_FILE, anomalies_table, headline, metrics_table, verdict, waves_table
    from phase19.outputs.sensitivity_section import sensitivity_table

    console = console_for(stream)
    console.print(headline(run), style="bold")
    for sentence in lineage_sentences(run.optimization_summary):
        console.print(sentence)
    for table in (waves_table(run), metrics_table(run), anomalies_table(run), sensitivity_table(run)):
        if table is not None:
            console.print()
            _print_table(table, console)
    console.print()
    console.print(verdict(run))
    console.print(f"Results are in {run_dir}, the report is {run_dir / HTML_FILE}", soft_wrap=True)


def print_inputs(inputs: Inputs, stream: TextIO) -> None:
    """Print what the inputs hold: a row a file, then what a run would plan with."""
    from phase19.errors import plural
    from phase19.outputs.rendering import Table

    console = console_for(stream)
    rows = tuple(
        (row["file"], row["status"], ", ".join(row["ignored_fields"]), f"{row['row_count']:,}")
        for row in inputs.sources.to_dicts()
    )
    _print_table(Table(("file", "status", "ignored fields", "rows"), rows, labels=3), console)
    console.print(
        f"\nThe inputs are good: {plural(inputs.tasks.height, 'task')} ({inputs.task_source}), "
        f"{plural(inputs.agents.height, 'agent')}, {plural(inputs.attempts.height, 'recorded attempt')}."
    )


def print_section(section: Section, target: Path, stream: TextIO) -> None:
    """Print the title, tables and sentences of a section, and the file that holds its figures."""
    from phase19.outputs.rendering import Table

    console = console_for(stream)
    console.print(section.title, style="bold")
    for block in section.blocks:
        console.print()
        if isinstance(block, Table):
            _print_table(block, console)
        else:
            console.print(block)
    console.print(f"Results are in {target}", soft_wrap=True)


def print_explanation(task: dict[str, Any], stream: TextIO) -> None:
    """Print why a task went to its agent, and the figures behind it."""
    from phase19.outputs.explain import explanation_tables, sentences

    console = console_for(stream)
    for sentence in sentences(task):
        console.print(sentence, soft_wrap=True)
    for table in explanation_tables(task):
        console.print()
        _print_table(table, console)


def print_frame(frame: pl.DataFrame, stream: TextIO) -> None:
    """Print the rows of a frame as a table, nothing left out; figures as they are."""
    from phase19.outputs.rendering import Table

    words = sum(1 for _ in takewhile(lambda dtype: not dtype.is_numeric(), frame.dtypes))
    rows = tuple(tuple("" if value is None else str(value) for value in row) for row in frame.rows())
    _print_table(Table(tuple(frame.columns), rows, labels=words), console_for(stream))


def _print_table(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for position, title in enumerate(table.header):
        shown.add_column(title, justify="left" if position < table.labels else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console.print(shown)


class WaveProgress:
    """A progress bar on a terminal, shown once the work has taken a second, and gone when it is done.

    Parameters
    ----------
    stream
        Where to show it; nothing is shown where that is no terminal.
    delay_s
        Seconds to wait before it is shown.
    """

    def __init__(self, stream: TextIO = sys.stderr, *, delay_s: float = PROGRESS_DELAY_S) -> None:
        self._stream = stream
        self._state = ("starting", 0, 0)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._timer = Timer(delay_s, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._timer.ident is not None:
            self._timer.join()
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of how far the work is."""
        self._state = (stage, done, total)
        self._update()

    def _show(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=console_for(self._stream), transient=True)
        self._task = bar.add_task(self._state[0], total=None)
        bar.start()
        self._bar = bar
        self._update()

    def _update(self) -> None:
        if self._bar is not None and self._task is not None:
            stage, done, total = self._state
            self._bar.update(self._task, description=stage, completed=done, total=total or None)

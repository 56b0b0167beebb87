"""Print the rows of a frame: as a table, as one record below the other if a table is too wide, as CSV or as JSONL."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from msgspec import Meta

from phase19.arguments import converted
from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, Count
from phase19.errors import UsageError
from phase19.outputs.rendering import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    AsTable = Callable[[pl.DataFrame], Table]

MOST_ROWS = 10_000  # of a table, however many are asked for
_FEW_ROWS = 100  # of a table, if no number is asked for

Format = Annotated[Literal["table", "csv", "jsonl"], Parameter(group=OUTPUT.group)]
Limit = Annotated[Count | None, OUTPUT]


def first_rows(limit: int | None, form: str) -> int | None:
    """Number of rows to print, None for all: `limit`, where 0 means all; without it 100 in a table, otherwise all."""
    if limit is None:
        return _FEW_ROWS if form == "table" else None
    return converted("--limit", Annotated[int, Meta(ge=0)], limit) or None


def plain_table(frame: pl.DataFrame) -> Table:
    """Make a table of a frame without rounding; columns up to the first number align left."""
    labels = sum(1 for _ in takewhile(lambda dtype: not dtype.is_numeric(), frame.dtypes))
    rows = tuple(tuple("" if value is None else str(value) for value in row) for row in frame.rows())
    return Table(tuple(frame.columns), rows, labels)


def print_rows(
    frame: pl.DataFrame, form: str, limit: int | None, *, as_table: AsTable = plain_table, note: str = ""
) -> None:
    """Print a frame in a format; for a table, `as_table` makes it and `note` is a sentence below it.

    Raises
    ------
    UsageError
        `limit` is no count, or a table would have more than :data:`MOST_ROWS` rows.
    """
    shown = frame.head(first_rows(limit, form) or frame.height)
    if form != "table":
        print(shown.write_csv() if form == "csv" else shown.write_ndjson(), end="")
        return
    if shown.height > MOST_ROWS:
        found = f"{shown.height:,}; use --format csv or jsonl"
        raise UsageError(f"--limit: a table has at most {MOST_ROWS:,} rows, found {found}")
    if shown.height < frame.height:
        count = f"{shown.height:,} of {frame.height:,} rows"
        note = f"{count}. --limit N shows more; --format csv or jsonl prints all."
    screen.show([as_table(shown), *filter(None, [note])])

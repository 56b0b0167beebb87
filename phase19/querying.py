"""A run directory as tables to ask: the views of `views.sql`, opened read-only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from phase19.analytics import sql_directory
from phase19.arrow import ArrowStream
from phase19.errors import OutputError, UsageError
from phase19.publishing.run_files import SUMMARY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

__all__ = ["flat", "select"]


def select(run_dir: Path, sql: str, **values: object) -> pl.DataFrame:
    """Ask a run one question.

    Parameters
    ----------
    run_dir
        A run directory.
    sql
        One statement that only reads, over the views of `views.sql`; `$name` stands for a value.
    values
        The values, by name.

    Raises
    ------
    OutputError
        `run_dir` is no run directory.
    UsageError
        The statement is none, more than one, does not only read, or fails.

    Notes
    -----
    The session reaches no file outside the run directory and changes none in it.
    """
    with _session(run_dir) as connection:
        import duckdb

        try:
            statements = connection.extract_statements(sql)
            kinds = [statement.type.name for statement in statements]
            if kinds != ["SELECT"]:
                raise UsageError(f"query: expected one select, found {', '.join(kinds).lower() or 'nothing'}")
            # Of the one statement only, and typed as it is: an unused value is refused by name.
            return pl.DataFrame(ArrowStream(connection.sql(sql, params=values or None)))
        except duckdb.Error as problem:
            raise UsageError(f"query: {problem}") from problem


@contextmanager
def _session(run_dir: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    if not (run_dir / SUMMARY_FILE).is_file():
        raise OutputError(f"{run_dir}: expected a Phase 19 run, found no {SUMMARY_FILE} in it")
    place = str(run_dir.resolve())
    with duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    ) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set allowed_directories = [$place]", {"place": place})
        connection.execute("set enable_external_access = false")
        connection.execute("set variable run = $place", {"place": place})
        connection.execute((sql_directory() / "views.sql").read_text("utf-8"))
        connection.execute("set lock_configuration = true")
        yield connection


def flat(table: pl.DataFrame) -> pl.DataFrame:
    """The table with lists and structs as JSON text, for files that hold plain values only."""
    nested = [name for name, dtype in table.schema.items() if dtype.is_nested()]
    return table.with_columns(
        pl.struct(name).struct.json_encode().str.json_path_match(f'$["{name}"]').alias(name) for name in nested
    )

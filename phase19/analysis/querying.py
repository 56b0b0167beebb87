"""Run directories as tables to ask: the views of `views.sql`, opened read-only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19.analysis.arrow import ArrowStream
from phase19.analysis.session import sql_directory
from phase19.errors import OutputError, UsageError
from phase19.publishing.files import SUMMARY_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

__all__ = ["flat", "json_lines", "list_views", "select"]

_VIEWS = """
select
    table_name as view,
    string_agg(column_name || ' ' || lower(data_type), ', ' order by column_index) as columns
from duckdb_columns()
where not internal
group by table_oid, table_name
order by table_oid
"""

# What Polars does not read, or cannot write; a map only with keys of text.
_NESTED = {"list", "array", "struct", "map"}
_NOT_SHOWN = {"interval", "blob", "bit", "bignum", "uhugeint", "union"}

# The views name files by patterns that match them alone: both forms of a directory are allowed.
_ALLOWED = """
set variable allowed = list_concat(
    getvariable('run_names'), list_transform(getvariable('run_names'), lambda run: as_pattern(run))
)
"""


def select(runs: Path | Sequence[Path], sql: str, **values: object) -> pl.DataFrame:
    """Ask one run or several one question.

    Parameters
    ----------
    runs
        Run directories; each row's `run` is its directory as given here. A run named twice is read once.
    sql
        One statement that only reads, over the views of `views.sql`; `$name` stands for a value.
    values
        The values, by name.

    Raises
    ------
    OutputError
        One of `runs` is no run directory.
    UsageError
        The statement is none, more than one, does not only read, or fails; or columns share a name, or hold what
        has no form in a file, such as bytes.

    Notes
    -----
    The session reaches no file outside the run directories and changes none in them.
    """
    with _session(runs) as connection:
        import duckdb

        try:
            statements = connection.extract_statements(sql)
            kinds = [statement.type.name for statement in statements]
            if kinds != ["SELECT"]:
                raise UsageError(f"query: expected one select, found {', '.join(kinds).lower() or 'nothing'}")
            # Of the one statement only, and typed as it is: an unused value is refused by name.
            found = connection.sql(sql, params=values or None)
            _check_columns(found.columns, found.types)
            return _narrow(pl.DataFrame(ArrowStream(found)))
        except (duckdb.BinderException, duckdb.CatalogException) as problem:
            raise UsageError(f"query: {problem}\nA query without SQL lists the views and their columns.") from problem
        except duckdb.Error as problem:
            raise UsageError(f"query: {problem}") from problem


def _check_columns(names: Sequence[str], kinds: Sequence[DuckDBPyType]) -> None:
    """Refuse columns of one name, and what has no form in a table or a file."""
    for name, kind in zip(names, kinds, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"query: {names.count(name)} columns are called {name}; name them apart with `as`")
        if not _is_shown(kind):
            raise UsageError(f"query: {name} is {kind}: expected numbers, texts, times; cast it to varchar")


def _is_shown(kind: DuckDBPyType) -> bool:
    from duckdb.sqltypes import DuckDBPyType

    if kind.id not in _NESTED:
        return kind.id not in _NOT_SHOWN
    inner = {name: child for name, child in kind.children if isinstance(child, DuckDBPyType)}  # not an array's size
    return all(map(_is_shown, inner.values())) and (kind.id != "map" or inner["key"].id == "varchar")


def list_views(runs: Path | Sequence[Path]) -> pl.DataFrame:
    """The views there are to ask, in the order of `views.sql`: `view`, and its `columns` with their types."""
    return select(runs, _VIEWS)


@contextmanager
def _session(runs: Path | Sequence[Path]) -> Iterator[DuckDBPyConnection]:
    import duckdb

    run_dirs = runs if isinstance(runs, Sequence) else [runs]
    for run_dir in run_dirs:
        if not (run_dir / SUMMARY_FILE).is_file():
            raise OutputError(f"{run_dir}: expected a Phase 19 run, found no {SUMMARY_FILE} in it")
    places = [str(run_dir) for run_dir in run_dirs]
    with duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    ) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set variable runs = $places", {"places": places})
        try:
            connection.execute((sql_directory() / "views.sql").read_text("utf-8"))
        except duckdb.Error as problem:
            raise OutputError(f"{', '.join(places)}: cannot be read as Phase 19 runs: {problem}") from problem
        connection.execute(_ALLOWED)
        connection.execute("set allowed_directories = getvariable('allowed')")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection


def flat(table: pl.DataFrame) -> pl.DataFrame:
    """The table with lists and structs as JSON text, for files that hold plain values only."""
    nested = [name for name, dtype in table.schema.items() if dtype.is_nested()]
    return _retyped(table, nested, _number).with_columns(
        pl.struct(pl.col(name).alias("it")).struct.json_encode().str.json_path_match("$.it").alias(name)
        for name in nested
    )


def json_lines(table: pl.DataFrame) -> str:
    """The table as one JSON object a line, its decimals as numbers, as DuckDB writes them."""
    return _retyped(table, table.columns, _number).write_ndjson()


def _narrow(table: pl.DataFrame) -> pl.DataFrame:
    """The table with sums of integers as integers, of 64 bits where they fit.

    DuckDB sums integers to 128 bits and hands them on as decimals without places, alone and in lists and structs.
    """
    table = _retyped(table, table.columns, _integer)
    wide = [column for column in table if column.dtype == pl.Int128]
    fits = [column.name for column in wide if column.cast(pl.Int64, strict=False).null_count() == column.null_count()]
    return table.cast(dict.fromkeys(fits, pl.Int64))


def _retyped(table: pl.DataFrame, names: Iterable[str], leaf: Callable[[pl.DataType], pl.DataType]) -> pl.DataFrame:
    """The table with another type for what the columns hold, in lists and structs too."""

    def within(dtype: Any) -> Any:
        match dtype:
            case pl.List():
                return pl.List(within(dtype.inner))
            case pl.Array():
                return pl.Array(within(dtype.inner), dtype.size)
            case pl.Map():
                return pl.Map(dtype.key, within(dtype.value))
            case pl.Struct():
                return pl.Struct({field.name: within(field.dtype) for field in dtype.fields})
        return leaf(dtype)

    return table.cast({name: within(table.schema[name]) for name in names})


def _integer(dtype: pl.DataType) -> pl.DataType:
    return pl.Int128() if isinstance(dtype, pl.Decimal) and dtype.scale == 0 else dtype


def _number(dtype: pl.DataType) -> pl.DataType:
    return pl.Float64() if isinstance(dtype, pl.Decimal) and dtype.scale > 0 else _integer(dtype)

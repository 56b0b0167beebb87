"""SQL questions to finished run directories, over the views of `views.sql`, read-only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from duckdb.sqltypes import DuckDBPyType

from phase19.analysis.session import ArrowStream, sql_directory
from phase19.errors import OutputError, UsageError
from phase19.publishing.files import SUMMARY_FILE

# The views in the order of views.sql, and their columns with their types.
VIEWS = """
select
    table_name as view,
    string_agg(column_name || ' ' || lower(data_type), ', ' order by column_index) as columns
from duckdb_columns()
where not internal
group by table_oid, table_name
order by table_oid
"""
# The views name files by patterns in which the special characters of a directory's name are escaped: allow both forms.
_ALLOWED = """
set variable allowed = list_concat(
    getvariable('run_names'), list_transform(getvariable('run_names'), lambda run: as_pattern(run))
)
"""
_NESTED = {"list", "array", "struct", "map", "union", "variant"}
_READ_BY_POLARS = {
    *("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "decimal"),
    *("float", "double", "varchar", "uuid", "enum", "date", "time", "timestamp", "timestamp with time zone", "null"),
}


def select(runs: Path | Sequence[Path], sql: str, **values: object) -> pl.DataFrame:
    """Ask one run or several one question.

    Parameters
    ----------
    runs
        Run directories; each row's `run` is its directory as given here. A run named twice is read once.
    sql
        One select over the views of `views.sql`; `$name` is replaced by a value.
    values
        The values, by name.

    Returns
    -------
    polars.DataFrame
        A plain value per cell: lists, structs and maps are JSON text, 128-bit integers, such as sums, have 64 bits, and
        types that neither Polars nor CSV knows, such as intervals, are text.

    Raises
    ------
    OutputError
        One of `runs` is no run directory.
    UsageError
        `sql` is not exactly one select, or fails; columns share a name; or an integer needs more than 64 bits.

    Notes
    -----
    The session reaches no file outside the run directories and changes none in them.
    """
    with _ask(runs, sql, values) as found:
        cells = map(_plain, map(_quoted, found.columns), found.types)
        return pl.DataFrame(ArrowStream(found.project(", ".join(cells))))


def json_lines(runs: Path | Sequence[Path], sql: str, **values: object) -> str:
    """Ask as :func:`select` does, and return a line with a JSON object per row; NaN and infinity are null."""
    with _ask(runs, sql, values) as found:
        cells = (
            f"{name}: case when isfinite({name}) then {name} end"
            if kind.id in {"float", "double"}
            else f"{name}: {name}"
            for name, kind in zip(map(_quoted, found.columns), found.types, strict=True)
        )
        rows = found.project(f"to_json({{{', '.join(cells)}}})").fetchall()
        return "".join(f"{row}\n" for (row,) in rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(name: str, kind: DuckDBPyType) -> str:
    """Return the SQL of a column as plain values."""
    if kind.id in _NESTED:
        return f"to_json({name})::varchar as {name}"
    if kind.id in _READ_BY_POLARS:
        return name
    return f"{name}::{'bigint' if kind.id == 'hugeint' else 'varchar'} as {name}"


@contextmanager
def _ask(runs: Path | Sequence[Path], sql: str, values: Mapping[str, object]) -> Iterator[duckdb.DuckDBPyRelation]:
    with _session(runs) as connection:
        try:
            kinds = [statement.type.name for statement in connection.extract_statements(sql)]
            if kinds != ["SELECT"]:
                raise UsageError(f"query: expected one select, found {', '.join(kinds).lower() or 'nothing'}")
            found = connection.sql(sql, params=values or None)
            for name in found.columns:
                if (count := found.columns.count(name)) > 1:
                    raise UsageError(f"query: {count} columns are called {name}; rename them with `as`")
            yield found
        except (duckdb.BinderException, duckdb.CatalogException) as problem:
            raise UsageError(f"query: {problem}\nA query without SQL lists the views and their columns.") from problem
        except duckdb.Error as problem:
            raise UsageError(f"query: {problem}") from problem


@contextmanager
def _session(runs: Path | Sequence[Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    run_dirs = runs if isinstance(runs, Sequence) else [runs]
    for run_dir in run_dirs:
        if not (run_dir / SUMMARY_FILE).is_file():
            raise OutputError(f"{run_dir}: expected a Phase 19 run, found no {SUMMARY_FILE} in it")
    places = [str(run_dir) for run_dir in run_dirs]
    config: dict[str, Any] = {"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with duckdb.connect(config=config) as connection:
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

"""Read-only SQL queries on finished run directories, over the views of `views.sql`."""

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl

from phase19.analysis.session import connect, lock, read_sql
from phase19.errors import OutputError, UsageError
from phase19.publishing.run_directory import open_run
from phase19.schema import ArrowStream

MEMORY_LIMIT = "2 GB"  # most that DuckDB may use for one query
# DuckDB types that both Polars and CSV support.
_PLAIN = {
    *("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "decimal"),
    *("float", "double", "varchar", "uuid", "enum", "date", "time", "timestamp", "timestamp with time zone", "null"),
}


def select(runs: Path | Sequence[Path], sql: str, **values: object) -> pl.DataFrame:
    """Query one run or several.

    Parameters
    ----------
    runs
        Run directories; each row's `run` is its directory as given here. A run named twice is read once.
    sql
        One select over the views of `views.sql`; `$name` stands for a value.
    values
        Values for each `$name` in `sql`.

    Returns
    -------
    polars.DataFrame
        One plain value per cell. 128-bit integers, such as sums, become 64-bit. Lists, structs, maps and other types
        that Polars or CSV lacks, such as intervals, become JSON text.

    Raises
    ------
    OutputError
        One of `runs` is not a run directory.
    UsageError
        `sql` is not exactly one select, fails, or needs more than 2 GB of memory; columns share a name; or an integer
        needs more than 64 bits.

    Notes
    -----
    The query can read only the run directories and cannot change any file.
    """
    plain = {"hugeint": "{0}::bigint as {0}", **dict.fromkeys(_PLAIN, "{0}")}
    return _ask(runs, sql, values, lambda found: _cells(found, plain, "to_json({0}) ->> '$' as {0}"))


def json_lines(runs: Path | Sequence[Path], sql: str, **values: object) -> str:
    """Query like :func:`select`, and return one JSON object per row and line; NaN and infinity become null."""
    finite = dict.fromkeys(("float", "double"), "{0}: case when isfinite({0}) then {0} end")
    rows = _ask(runs, sql, values, lambda found: f"to_json({{{_cells(found, finite, '{0}: {0}')}}}) as row")
    return "".join(f"{row}\n" for row in rows["row"])


def _cells(found: duckdb.DuckDBPyRelation, forms: Mapping[str, str], default: str) -> str:
    """List all columns of a relation, each in the form for its type; `{0}` in a form stands for the column's name."""
    names = ('"' + name.replace('"', '""') + '"' for name in found.columns)
    return ", ".join(forms.get(kind.id, default).format(name) for name, kind in zip(names, found.types, strict=True))


def _ask(
    runs: Path | Sequence[Path],
    sql: str,
    values: Mapping[str, object],
    columns: Callable[[duckdb.DuckDBPyRelation], str],
) -> pl.DataFrame:
    """Query runs; `columns` makes the list of columns to return from the relation found."""
    with _session(runs) as connection:
        try:
            kinds = [statement.type.name for statement in connection.extract_statements(sql)]
            if kinds != ["SELECT"]:
                raise UsageError(f"query: expected one select, found {', '.join(kinds).lower() or 'nothing'}")
            found = connection.sql(sql, params=values or None)
            for name in found.columns:
                if (count := found.columns.count(name)) > 1:
                    raise UsageError(f"query: {count} columns are called {name}; rename them with `as`")
            found.project(columns(found)).create("found_rows")  # unlike other results, tables count towards the limit
            return pl.DataFrame(ArrowStream(connection.table("found_rows")))
        except duckdb.OutOfMemoryException as problem:
            raise UsageError(
                f"query: needs more than {MEMORY_LIMIT} of memory; select fewer rows or columns, or use DuckDB itself "
                "with sql/views.sql"
            ) from problem
        except (duckdb.BinderException, duckdb.CatalogException) as problem:
            raise UsageError(
                f"query: {problem}\nA query without SQL lists the views, and --describe VIEW the columns of one."
            ) from problem
        except duckdb.Error as problem:
            raise UsageError(f"query: {problem}") from problem


def _session(runs: Path | Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """Open a connection that has the views of runs and can access only their directories."""
    places = [str(open_run(run_dir)) for run_dir in (runs if isinstance(runs, Sequence) else [runs])]
    connection = connect()
    connection.execute("set memory_limit = $limit", {"limit": MEMORY_LIMIT})
    connection.execute("set temp_directory = ''")  # without it, nothing is moved to disk
    connection.execute("set variable runs = $places", {"places": places})
    try:
        connection.execute(read_sql("views"))
    except duckdb.Error as problem:
        raise OutputError(f"{', '.join(places)}: cannot be read as Phase 19 runs: {problem}") from problem
    ((names,),) = connection.execute("select getvariable('run_names')").fetchall()
    lock(connection, [*names, *map(glob.escape, names)])  # the views read files by glob patterns
    return connection

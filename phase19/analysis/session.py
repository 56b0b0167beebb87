"""The DuckDB session that runs `sql/`: one connection, one thread, UTC, locked down.

Each query of `sql/` is one SELECT. Its result becomes a table with the file's name, which later queries may read, and
is copied to the query's output files.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from phase19.analysis.queries import QUERIES, Query
from phase19.errors import OutputError
from phase19.options import TaskFormat
from phase19.schema import ArrowStream

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The rows of a query as JSON lines or as Parquet, or one pretty JSON document.
_ROWS = "copy (from {source}) to $path (format json)"
_PARQUET = "copy (from {source}) to $path (format parquet, compression zstd)"
_DOCUMENT = "copy (select encode(json_pretty(to_json({document})) || chr(10)) from {source}) to $path (format blob)"


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run in progress: the directory of its files, and its tables (frames and query results) by name."""

    directory: Path
    tables: Mapping[str, pl.DataFrame]


def analyse(
    frames: Mapping[str, pl.DataFrame],
    staging: Path | None,
    queries: Sequence[Query] = QUERIES,
    task_format: TaskFormat = "jsonl",
) -> dict[str, pl.DataFrame]:
    """Run every query over the frames of a run, and write the analytical outputs into a directory.

    Parameters
    ----------
    frames
        Those of :func:`phase19.analysis.evidence.analysis_frames`, and `agents`, `run` (one row: run_id, timestamp in
        UTC, strategy, executor, is_simulated, seed, agent_count, task_count, wave_count), `metric_bounds` and `rules`.
    staging
        Existing directory to write to; the session can access nothing else. None writes nothing.
    queries
        All of :data:`QUERIES`, or some in the same order that include the queries they read.
    task_format
        Format and suffix of files with one row per task.

    Returns
    -------
    dict of polars.DataFrame
        Result of each query by its stem, without the tables that have one row per task.

    Raises
    ------
    OutputError
        A file cannot be written.

    Notes
    -----
    With one thread and UTC, the result depends only on the frames. DuckDB's parallel sums would differ in the last
    digits from run to run.
    """
    with connect() as connection:
        define_functions(connection)
        lock(connection, [] if staging is None else [str(staging.resolve())])
        for name, frame in frames.items():
            connection.register(name, ArrowStream(frame))
        connection.begin()  # one transaction for all tables
        for query in queries:
            if query.condition is None or connection.execute(f"{query.condition} limit 1").fetchone():
                connection.execute(f"create table {query.stem} as {read_sql(query.stem)}")
            else:
                connection.execute(f"create table {query.stem} ({query.columns})")
            if staging is not None:
                _write(connection, query, frames["wave_plans"]["wave"].to_list(), staging, task_format)
        results = [query.stem for query in queries if not query.is_per_task]
        return {stem: pl.DataFrame(ArrowStream(connection.table(stem))) for stem in results}


def sql_directory() -> Path:
    """Return the directory of the SQL files: `sql/` beside the package in a checkout, inside it once installed."""
    return _sql_beside(__file__)


@cache
def _sql_beside(module: str) -> Path:
    package = Path(module).resolve().parent.parent
    return next(path for path in (package / "sql", package.parent / "sql") if (path / "macros.sql").is_file())


@cache
def read_sql(stem: str) -> str:
    """Read a file of `sql/`."""
    return (sql_directory() / f"{stem}.sql").read_text("utf-8")


def connect() -> DuckDBPyConnection:
    """Open an in-memory connection with one thread, in UTC."""
    import duckdb  # takes 0.15 s, so only where it is needed

    connection = duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("pragma disable_optimizer")  # these queries run in less time than the optimizer takes
    return connection


def lock(connection: DuckDBPyConnection, directories: Sequence[str]) -> None:
    """Restrict a connection to these directories for the rest of its life."""
    connection.execute("set allowed_directories = $directories", {"directories": directories})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def define_functions(connection: DuckDBPyConnection) -> None:
    """Define the macros, and the normal and t distributions that DuckDB lacks (slow: never call them per task)."""
    from scipy.special import ndtr, ndtri, stdtrit

    def upper_tail(z: float) -> float:
        """Probability that a standard normal exceeds z."""
        return float(ndtr(-z))

    def upper_quantile(p: float) -> float:
        """Value z that a standard normal exceeds with probability p in (0, 1)."""
        return -float(ndtri(p))

    def upper_t_quantile(p: float, degrees: float) -> float:
        """Value that Student's t with these degrees of freedom exceeds with probability p in (0, 1)."""
        return float(stdtrit(degrees, 1.0 - p))

    connection.create_function("upper_tail", upper_tail, ["DOUBLE"], "DOUBLE")
    connection.create_function("upper_quantile", upper_quantile, ["DOUBLE"], "DOUBLE")
    connection.create_function("upper_t_quantile", upper_t_quantile, ["DOUBLE", "DOUBLE"], "DOUBLE")
    connection.execute(read_sql("macros"))


def _write(
    connection: DuckDBPyConnection, query: Query, waves: Sequence[int], staging: Path, task_format: TaskFormat
) -> None:
    """Copy the table of a query to its files."""
    import duckdb  # already loaded by the connection

    copy = _ROWS if query.document is None else _DOCUMENT.replace("{document}", query.document)
    outputs, written = query.outputs, None
    if query.is_per_task and task_format == "parquet":
        copy, outputs = _PARQUET, tuple(output.replace(".jsonl", ".parquet") for output in outputs)
    for output in outputs:
        for wave in waves if "{wave}" in output else [0]:
            path = staging.resolve() / output.format(wave=wave)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if written is not None and "{wave}" not in output:
                    shutil.copyfile(written, path)
                else:
                    connection.execute(copy.format(source=query.stem, wave=wave), {"path": str(path)})
            except (OSError, duckdb.IOException) as problem:
                raise OutputError(f"{path}: cannot be written: {problem}") from problem
            written = path

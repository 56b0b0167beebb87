"""The DuckDB session that runs `sql/`: one connection, one thread, UTC, locked down.

Each file of `sql/` is one SELECT. Its result becomes a table of the file's name, which later files may read, and
is copied straight to its output file.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19 import frames as schemas
from phase19.analysis.queries import QUERIES, Query
from phase19.errors import OutputError, Phase19Error
from phase19.inputs.thresholds import Rules, metric_bounds

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_REQUIRED = ("executions", "agents", "wave_plans", "run")
_OPTIONAL = (
    schemas.WAVE_DRAWS,
    schemas.AGENT_EVIDENCE,
    schemas.RISK_EVIDENCE,
    schemas.DECISIONS,
    schemas.HEURISTICS,
    schemas.PREVIOUS_WEIGHTS,
    schemas.CONVERGENCE,
)
_SMALL_RUN = 1_000  # tasks


class ArrowStream:
    """Show nothing of a Polars frame or a DuckDB relation but its Arrow C stream.

    Both libraries ask for pyarrow when they recognise the other's class; of this one they know only the protocol. Its
    module never imports duckdb: Polars caches the types it has met, and a cached DuckDB type outlives the interpreter's
    clean-up.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the source's stream; zero-copy where both sides allow it."""
        return self._source.__arrow_c_stream__(requested_schema)


class Analysis:
    """The tables and files of a run, computed once, when first asked for.

    Parameters
    ----------
    frames
        As :func:`analyse` takes them.
    rules
        Thresholds; the defaults of :class:`Rules`.
    directory
        Existing directory to write the files to; a temporary one by default, which lives as long as this object.
    """

    def __init__(
        self, frames: Mapping[str, pl.DataFrame], rules: Rules | None = None, directory: Path | None = None
    ) -> None:
        self.frames = {**frames, **({} if rules is None else {"rules": rules.frame()})}
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="phase19-"))
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        self._directory = directory

    @cached_property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The result of each query under its stem, but for those with a row for each task."""
        return analyse(self.frames, self._directory)

    @property
    def directory(self) -> Path:
        """Where the files of the analysis are."""
        _ = self.tables  # they are written when the tables are computed
        return self._directory


def analyse(
    frames: Mapping[str, pl.DataFrame], staging: Path, queries: Sequence[Query] = QUERIES
) -> dict[str, pl.DataFrame]:
    """Run every query over the frames of a run, and write the analytical outputs into a directory.

    Parameters
    ----------
    frames
        `executions`, `agents`, `wave_plans` and `run` (one row: run_id, timestamp in UTC, strategy, executor,
        is_simulated, seed, agent_count, task_count, wave_count); empty by default: `wave_draws`, `agent_evidence`,
        `risk_evidence`, `decisions`, `heuristics`, `previous_weights` and `previous_convergence`; `metric_bounds` and
        `rules` to replace the default thresholds.
    staging
        Existing directory to write to; nothing outside it can be reached.
    queries
        Some of :data:`QUERIES`, in their order, with what they read among them.

    Returns
    -------
    dict of polars.DataFrame
        The result of each query under its stem, but for those with a row for each task.

    Raises
    ------
    Phase19Error
        A required frame is missing.
    OutputError
        A file cannot be written.

    Notes
    -----
    One thread and UTC make the result a function of the frames alone: parallel sums of DuckDB differ in their last
    digits from run to run.
    """
    missing = [name for name in _REQUIRED if name not in frames]
    if missing:
        raise Phase19Error(f"analyse: expected the frames {', '.join(_REQUIRED)}, found no {', '.join(missing)}")
    defaults = {"metric_bounds": metric_bounds(), "rules": Rules().frame()}
    named = {**defaults, **{schema.name: schema.empty() for schema in _OPTIONAL}, **frames}
    connection = _connect(staging, is_small=named["executions"].height <= _SMALL_RUN)
    try:
        for name, frame in named.items():
            if frame.height > _SMALL_RUN:  # less to read where it is, by every query that names it, than to copy
                connection.register(name, ArrowStream(frame))
                continue
            connection.register("frame", ArrowStream(frame))
            connection.execute(f"create table {name} as from frame")
            connection.unregister("frame")
        connection.execute(_read_sql("macros"))
        waves = named["wave_plans"].get_column("wave").sort().to_list()
        for query in queries:
            source = f"({_read_sql(query.stem)})"
            if query.output is None or not query.is_per_task:
                connection.execute(f"create table {query.stem} as {source}")
                source = query.stem
            _write(connection, query, source, waves, staging)
        results = [query.stem for query in queries if not query.is_per_task]
        return {stem: pl.DataFrame(ArrowStream(connection.table(stem))) for stem in results}
    finally:
        connection.close()


def query(stem: str, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Run one query of `sql/` over the frames it reads, under their names; nothing is written."""
    with _connect(None) as connection:
        for name, frame in frames.items():
            connection.register(name, ArrowStream(frame))
        connection.execute(_read_sql("macros"))
        return pl.DataFrame(ArrowStream(connection.sql(_read_sql(stem))))


def sql_directory() -> Path:
    """Where the SQL files are: `sql/` beside the package in a checkout, inside the package where it is installed."""
    package = Path(__file__).resolve().parent.parent
    return next(path for path in (package / "sql", package.parent / "sql") if (path / "macros.sql").is_file())


@cache
def _read_sql(stem: str) -> str:
    return (sql_directory() / f"{stem}.sql").read_text("utf-8")


def _connect(staging: Path | None, *, is_small: bool = False) -> DuckDBPyConnection:
    """Open a connection that computes on one thread in UTC and reaches nothing but `staging`, if that.

    Over a small run's tables any plan of a query is quick, and to look for the best takes longer than to run it.
    """
    import duckdb  # 0.15 s, and only runs need it

    connection = duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    # The normal and the t distribution are what DuckDB lacks; they see aggregates, never tasks.
    connection.create_function("upper_tail", _upper_tail, ["DOUBLE"], "DOUBLE")
    connection.create_function("upper_quantile", _upper_quantile, ["DOUBLE"], "DOUBLE")
    connection.create_function("upper_t_quantile", _upper_t_quantile, ["DOUBLE", "DOUBLE"], "DOUBLE")
    connection.execute("set TimeZone = 'UTC'")
    if is_small:
        connection.execute("pragma disable_optimizer")
    if staging is not None:
        connection.execute("set allowed_directories = [$staging]", {"staging": str(staging.resolve())})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _upper_tail(z: float) -> float:
    """Probability that a standard normal exceeds z."""
    from scipy.special import ndtr

    return float(ndtr(-z))


def _upper_quantile(p: float) -> float:
    """The z that a standard normal exceeds with probability p in (0, 1)."""
    from scipy.special import ndtri

    return -float(ndtri(p))


def _upper_t_quantile(p: float, degrees: float) -> float:
    """What Student's t of so many degrees of freedom exceeds with probability p in (0, 1)."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1.0 - p))


def _write(connection: DuckDBPyConnection, query: Query, source: str, waves: list[int], staging: Path) -> None:
    """Copy a query's result, a table or the query itself, to its file, or to a file a wave."""
    import duckdb  # already loaded by the connection

    for name, parameters in _targets(query, waves):
        path = staging.resolve() / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(query.copy.format(table=source), {"path": str(path), **parameters})
            if query.twin is not None:
                shutil.copyfile(path, path.with_name(query.twin))
        except (OSError, duckdb.IOException) as problem:
            raise OutputError(f"{path}: cannot be written: {problem}") from problem


def _targets(query: Query, waves: list[int]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the files of a query, relative to the run directory, and the parameters each is bound to."""
    if query.output is None:
        return
    if "{wave}" not in query.output:
        yield query.output, {}
        return
    for wave in waves:
        yield query.output.format(wave=wave), {"wave": wave}

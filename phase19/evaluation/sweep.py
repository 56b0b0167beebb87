"""Run a grid of inputs and options without writing run directories: results as Parquet files, and a summary."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from phase19 import __version__
from phase19.analysis.session import connect, read_sql
from phase19.errors import InputError, OutputError, Phase19Error, plural
from phase19.evaluation.grid import Grid, read_grid
from phase19.execution.protocol import sum_if_known
from phase19.harness import Phase19Harness
from phase19.inputs.decoding import decode_document
from phase19.options import SweepOptions, beside
from phase19.outputs.rendering import Section, Table
from phase19.outputs.text import duration, percent
from phase19.publishing.files import check_file_target, locked, write_errors, write_files
from phase19.schema import ArrowStream

GRID_FILE = "sweep.json"  # the grid, in the directory of its results
SUMMARY_FILE = "summary.jsonl"
LEVELS = ("agents", "waves", "runs")  # in the order in which a shard writes them: its runs come last
MOST_SHARDS = 256
_LEVEL_TABLES = {"agents": "agent_feedback", "waves": "schedule_comparisons"}
_HEADER = ("setting", "runs", "planned\nsuccess", "actual\nsuccess", "in 90 %\nof runs", "round\nrobin", "makespan")


Engine = Callable[[Callable[["Shard"], int], Sequence["Shard"]], Iterator[int]]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Consecutive runs of a sweep, and where their results go: all that a worker has to know.

    Attributes
    ----------
    number
        Number of the shard from 1.
    directory
        Directory of the results.
    labels
        See :class:`phase19.evaluation.grid.Grid`.
    runs
        Options of each run; paths are absolute.
    """

    number: int
    directory: Path
    labels: pl.DataFrame
    runs: tuple[SweepOptions, ...]

    @property
    def files(self) -> dict[str, str]:
        """Name of the file of each level, relative to the directory."""
        return {level: f"{level}/{self.number:05}.parquet" for level in LEVELS}

    @property
    def is_finished(self) -> bool:
        """Whether the results are complete."""
        return (self.directory / self.files["runs"]).exists()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Result of a sweep.

    Attributes
    ----------
    summary
        One row per setting: the content of summary.jsonl.
    section
        The summary as text and a table.
    warnings
        What is to be known about runs that failed.
    directory
        The directory of the results.
    """

    summary: pl.DataFrame
    section: Section
    warnings: tuple[str, ...]
    directory: Path


def sweep(
    grid_file: Path,
    engine: Engine,
    *,
    output: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> SweepResult:
    """Run every combination of a grid.

    Parameters
    ----------
    grid_file
        See :func:`phase19.evaluation.grid.read_grid`.
    engine
        Calls a function for each item of a list, and yields the results: see :mod:`phase19.evaluation.engines`.
    output
        Directory of the results; NAME-sweep beside the grid NAME.toml by default. Shards that an earlier start of the
        same sweep finished are not computed again.
    progress
        Called as `progress(stage, done, total)`, with numbers of runs.

    Raises
    ------
    Phase19Error
        The grid breaks the contract, its files cannot be read, `output` contains anything else, workers are lost again
        and again, or every run failed.

    Notes
    -----
    A run is a function of its options and files. The grid alone decides which runs form a shard, and each shard writes
    files of its own. So neither the number of workers nor the order in which they finish changes a byte.
    """
    grid = read_grid(grid_file)
    directory = output or beside(grid_file, f"{grid_file.stem}-sweep")
    sources = sorted({path for run in grid.runs for path in run.files().values()})
    check_file_target(directory / GRID_FILE, sources)
    with _sweep_directory(directory, _described(grid, sources)):
        shards = make_shards(grid, directory / "results")
        waiting = [shard for shard in shards if not shard.is_finished]
        total = len(grid.runs)
        done = earlier = total - sum(len(shard.runs) for shard in waiting)
        progress("runs", done, total)
        for count in engine(run_shard, waiting):
            done += count
            progress("runs", done, total)
        if missing := [shard.number for shard in shards if not shard.is_finished]:
            found = f"results of {len(shards) - len(missing)} of {plural(len(shards), 'shard')}"
            raise OutputError(f"{directory}: expected a file system that all workers share, found {found}")
        for partial in directory.glob("results/*/.*.partial"):  # of lost workers
            partial.unlink(missing_ok=True)
        runs = pl.concat([pl.read_parquet(shard.directory / shard.files["runs"]) for shard in shards], how="diagonal")
        failed = runs.drop_nulls("error")
        if failed.height == total:
            raise OutputError(f"{directory}: every run failed; the first: {failed['error'][0]}")
        summary = summarize(runs)
        write_files(directory, {SUMMARY_FILE: summary})
    counts = ", ".join((plural(total, "run"), plural(summary.height, "setting")))
    title = f"Sweep: {counts}" + (f"; {earlier:,} of the runs finished in an earlier start" if earlier else "")
    warnings = [f"{len(failed):,} of {total:,} runs failed; the first: {failed['error'][0]}"] if len(failed) else []
    section = Section(title, [Table(_HEADER, tuple(map(_cells, summary.to_dicts())))])
    return SweepResult(summary, section, tuple(warnings), directory)


def make_shards(grid: Grid, directory: Path) -> list[Shard]:
    """Split the runs of a grid into at most `MOST_SHARDS` shards of consecutive runs, all but the last of one size."""
    size = -(-len(grid.runs) // MOST_SHARDS)
    runs = [run.with_absolute_paths() for run in grid.runs]
    return [
        Shard(number, directory.absolute(), grid.labels[start : start + size], tuple(runs[start : start + size]))
        for number, start in enumerate(range(0, len(runs), size), 1)
    ]


def run_shard(shard: Shard) -> int:
    """Compute the runs of a shard, write their results, and return their number."""
    rows: dict[str, list[pl.DataFrame]] = {level: [pl.DataFrame(schema={"run": pl.Int64})] for level in LEVELS}
    for label, options in zip(shard.labels.iter_slices(1), shard.runs, strict=True):
        try:
            tables = Phase19Harness(options).run_in_memory()
        except Phase19Error as problem:
            rows["runs"].append(label.with_columns(error=pl.lit(str(problem))))
            continue
        makespans = tables["wave_totals"].select(map(sum_if_known, ("planned_makespan_ms", "actual_makespan_ms")))
        parts = [label, tables["run"].drop("strategy", "seed", "timestamp"), tables["overall"], makespans]
        rows["runs"].append(pl.concat(parts, how="horizontal").with_columns(error=pl.lit(None, pl.String)))
        for level, name in _LEVEL_TABLES.items():
            rows[level].append(
                tables[name].select(pl.lit(label["run"].item(), pl.Int64).alias("run"), pl.exclude("timestamp"))
            )
    write_files(shard.directory, {shard.files[level]: pl.concat(rows[level], how="diagonal") for level in LEVELS})
    return len(shard.runs)


def summarize(runs: pl.DataFrame) -> pl.DataFrame:
    """Compute the rows of sql/sweep_summary.sql from those of the runs."""
    with connect() as connection:
        connection.register("runs", ArrowStream(runs))
        return pl.DataFrame(ArrowStream(connection.sql(read_sql("sweep_summary"))))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = (percent(row[f"actual_success_rate_{end}"]) for end in ("low", "high"))
    planned, actual, baseline = (percent(row[f"{kind}_success_rate"]) for kind in ("planned", "actual", "baseline"))
    runs = f"{row['run_count'] - row['failed_count']:,}"
    return row["setting"], runs, planned, actual, f"{low} to {high}", baseline, duration(row["actual_makespan_ms"])


def _described(grid: Grid, sources: Sequence[Path]) -> dict[str, Any]:
    """Describe everything that decides the results of a sweep, the contents of its files included."""
    described = {
        "version": __version__,
        "options": grid.options,
        "vary": grid.vary,
        "files": {str(path): _digest(path) for path in sources},
    }
    text = json.dumps(described, sort_keys=True)
    return {"sweep_id": f"p19-sweep-{hashlib.sha256(text.encode()).hexdigest()[:16]}", **described}


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of all files in a directory and their names."""
    digest = hashlib.sha256()
    try:
        for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    except OSError as problem:
        found = "nothing" if isinstance(problem, FileNotFoundError) else problem.strerror or str(problem)
        raise InputError(str(path), expected="a file or directory to read", found=found) from problem
    return digest.hexdigest()


@contextmanager
def _sweep_directory(directory: Path, description: dict[str, Any]) -> Iterator[None]:
    """Let the body alone write the results of a sweep, to a new directory or to that of an earlier start."""
    path, advice = directory / GRID_FILE, "remove it, or choose another --output"
    with ExitStack() as held:
        with write_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(directory, wait=False))
            except BlockingIOError:
                raise OutputError(f"{directory}: another process is writing to it") from None
            if path.exists():
                known = decode_document(path, dict[str, Any]).value
                if known != description:
                    found = f"those of another ({_difference(known, description)} differs)"
                    raise OutputError(f"{directory}: expected results of this grid, found {found}; {advice}")
            elif any(directory.iterdir()):
                raise OutputError(
                    f"{directory}: expected an empty directory or results of this grid, found other files"
                )
            else:
                write_files(directory, {GRID_FILE: description})
        yield


def _difference(known: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name the first part in which the grids of two sweeps differ, such as `vary.seed`."""
    part = next((name for name in list(wanted)[1:] if known.get(name) != wanted[name]), "sweep_id")
    one, other = known.get(part), wanted[part]
    if not isinstance(one, dict) or not isinstance(other, dict):
        return part
    key = next((key for key in {**other, **one} if one.get(key) != other.get(key)), "the order of its keys")
    return f"{part}.{key}"

"""Results of a run, finished or in progress: its files as records, documents and frames."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl

from phase19.errors import OutputError, UsageError
from phase19.inputs.history import natural_paths
from phase19.publishing.files import output_directory, write_errors
from phase19.publishing.run_directory import open_run

Record = TypeVar("Record")
Decoded = TypeVar("Decoded")

FEEDBACK_FILE = "optimization_feedback.json"  # one per agent and wave


@dataclass(frozen=True, slots=True)
class AnomalyTest:
    """The check for one type of anomaly; a line of anomaly_tests.jsonl.

    `status` is found, explained (by another anomaly), clear or not_testable (needs more data). `effect` is the measured
    size in `unit`, with its 90 % interval. The check fires if `statistic` exceeds `threshold`. `detectable_effect` is
    the smallest size that this run detects with the required power, 90 % by default. `missing_task_count` is the
    estimated number of further tasks that a check needs which needs more data; None if it is not known.
    """

    anomaly_type: str
    status: str
    unit: str
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    statistic: float | None
    threshold: float | None
    detectable_effect: float | None
    missing_task_count: int | None
    reason: str


class Results:
    """Reader of the results of a run.

    Parameters
    ----------
    source
        A run directory, a `RunResult`, or the :class:`~phase19.analysis.session.Analysis` of a run in progress.

    Raises
    ------
    UsageError
        `source` is none of these.
    OutputError
        `source` is not the directory of a Phase 19 run.
    """

    def __init__(self, source: Any) -> None:
        self._tables: Mapping[str, pl.DataFrame] = getattr(source, "tables", {})
        place = getattr(source, "directory", getattr(source, "run_dir", source))
        if not isinstance(place, Path | str):
            raise UsageError(f"expected a run directory, a RunResult or an Analysis, found {type(source).__name__}")
        self.directory = Path(place)
        if not self._tables:
            open_run(self.directory)

    def records(self, name: str, kind: type[Record]) -> list[Record]:
        """Read the lines of a JSONL file as records; keys without a field in `kind` are ignored."""
        return self._read(name, msgspec.json.Decoder(kind).decode_lines)

    def document(self, name: str, kind: type[Record]) -> Record:
        """Read the value of a JSON file."""
        return self._read(name, msgspec.json.Decoder(kind).decode)

    def frame(self, name: str) -> pl.DataFrame:
        """Read the lines of a JSONL file as a frame; each line must have a wave number in `wave`."""
        rows = pl.DataFrame(self.records(name, dict[str, Any]), infer_schema_length=None)
        if rows.get_column("wave", default=pl.Series([""])).dtype != pl.Int64:
            raise OutputError(f"{self.directory / name}: expected rows with a wave number in `wave`, found none")
        return rows

    def agent_feedback(self) -> pl.DataFrame:
        """Read the planned and actual figures of each agent in each wave."""
        if "agent_feedback" in self._tables:
            return self._tables["agent_feedback"]
        paths = natural_paths(self.directory, f"wave_*/*/{FEEDBACK_FILE}")
        if not paths:
            raise OutputError(f"{self.directory}: expected wave_*/*/{FEEDBACK_FILE}, found no such file")
        rows = [self.frame(path.relative_to(self.directory).as_posix()) for path in paths]
        return pl.concat(rows, how="vertical_relaxed")

    def copy(self, names: Sequence[str], directory: Path | str | None) -> list[Path]:
        """Copy files to a directory, by default the run's own; return the new paths in the order given.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        target = output_directory(directory, self.directory)
        for name in names:
            with write_errors(target / name):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                if (self.directory / name).resolve() != (target / name).resolve():
                    shutil.copyfile(self.directory / name, target / name)
        return [target / name for name in names]

    def _read(self, name: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        path = self.directory / name
        try:
            return decode(path.read_bytes())
        except OSError as problem:
            raise OutputError(f"{path}: cannot be read: {problem.strerror}") from problem
        except msgspec.DecodeError as problem:
            raise OutputError(f"{path}: expected the output of a Phase 19 run, found {problem}") from problem

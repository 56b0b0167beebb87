"""One function a file of Phases 16, 17 and 18: what its rows mean, in the frames of frames.py.

Every reader notes what it read in a :class:`SourceLog`, which makes the sources frame, the warnings and the digest.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from msgspec import UNSET

from phase19.errors import InputError, plural
from phase19.frames import AGENTS, ATTEMPTS, HEURISTICS, PATTERNS, RISK_LEVELS, SIGNALS, SOURCES, STRINGS, TASKS
from phase19.inputs import wire
from phase19.inputs.decoding import LINE, Decoded, decode_document, decode_lines
from phase19.inputs.natural import natural_order
from phase19.inputs.rules import decode_rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phase19.schema import Schema

__all__ = [
    "SourceLog",
    "attempt_columns",
    "check_unique",
    "given",
    "read_agents",
    "read_document",
    "read_heuristics",
    "read_patterns",
    "read_phase17_attempts",
    "read_phase18_attempts",
    "read_signals",
    "read_tasks",
    "synthetic_tasks",
]

TASK_OUTCOMES = "task_outcomes.jsonl"
WAVE_OUTCOMES = f"wave_*/*/{TASK_OUTCOMES}"
NAMED_AGENTS = 5  # in one error
WARNED_FIELDS = 10  # names in one warning; further ones are counted


@dataclass(slots=True)
class SourceLog:
    """What was read so far: rows a file, warnings and the digest."""

    sources: list[tuple[str, int, str, list[str]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, phase: str, name: str, *files: Decoded, within: Sequence[str] = ()) -> Any:
        """Note the files that make up the source `name`, at paths `within` their phase, and return the last's value."""
        unknown: Counter[str] = Counter()
        for file, place in zip(files, within or (name,), strict=True):
            self.digest.update(f"{phase}/{place}\0".encode() + file.digest)
            unknown += file.unknown
        row_count = sum(1 if not isinstance(file.value, (list, pl.DataFrame)) else len(file.value) for file in files)
        self.sources.append((name, row_count, "used" if row_count else "empty", sorted(unknown)))
        if unknown:
            shown = ", ".join(f"{field!r} ({unknown[field]})" for field in sorted(unknown)[:WARNED_FIELDS])
            more = f" and {len(unknown) - WARNED_FIELDS} more" if len(unknown) > WARNED_FIELDS else ""
            self.warnings.append(
                f"{name}: {plural(unknown.total(), 'value')} of unknown fields left out: {shown}{more}"
            )
        return files[-1].value

    def absent(self, name: str) -> None:
        """Note that an optional file is not there."""
        self.sources.append((name, 0, "absent", []))

    def frame(self) -> pl.DataFrame:
        """SOURCES, in the order read."""
        return pl.DataFrame(self.sources, schema=SOURCES.dtypes, orient="row")


def read_document(log: SourceLog, path: Path, shape: Any) -> Any:
    """Read a required JSON document of Phase 18."""
    return log.add("phase18", path.name, decode_document(path, shape))


def read_heuristics(log: SourceLog, phase16: Path | None) -> pl.DataFrame:
    """Phase 16's heuristics, their rules checked where this phase can follow them."""
    path = _within(phase16, "heuristics.jsonl")
    if path is None:
        log.absent("heuristics.jsonl")
        return HEURISTICS.empty()
    frame = _keyed(log, "phase16", path, wire.Heuristic, HEURISTICS)
    for name, rule, line in zip(frame["heuristic_id"], frame["rule"], frame[LINE], strict=True):
        decode_rule(name, rule, str(path), line)
    return frame.select(list(HEURISTICS.columns))


def read_signals(log: SourceLog, phase18: Path) -> pl.DataFrame:
    """Phase 18's learning signals; the file is required, rows in it are not."""
    frame = _keyed(log, "phase18", phase18 / "learning_signals.jsonl", wire.LearningSignal, SIGNALS)
    return frame.select(list(SIGNALS.columns))


def read_patterns(log: SourceLog, phase18: Path) -> tuple[pl.DataFrame, set[str]]:
    """Coordination patterns, and the agents they name."""
    decoded = decode_document(phase18 / "coordination_patterns.json", wire.Patterns)
    if isinstance(decoded.value, wire.Pattern):
        decoded.value = [decoded.value]
    patterns: list[wire.Pattern] = log.add("phase18", "coordination_patterns.json", decoded)
    assignments = [given(pattern.agent_assignments) or {} for pattern in patterns]
    frame = pl.DataFrame(
        {
            "pattern_type": [pattern.pattern_type for pattern in patterns],
            "success_rate": [given(pattern.success_rate) for pattern in patterns],
            "confidence": [given(pattern.confidence) for pattern in patterns],
            "task_count": [sum(map(len, agents.values())) for agents in assignments],
            "agent_count": [len(agents) for agents in assignments],
        },
        schema=PATTERNS.dtypes,
    )
    return frame, set().union(*assignments)


def read_phase17_attempts(log: SourceLog, phase17: Path | None) -> pl.DataFrame:
    """Phase 17's attempts."""
    return _attempts(log, "phase17", "execution_outcomes.jsonl", phase17, wire.ExecutionOutcome)


def _attempts(log: SourceLog, phase: str, name: str, directory: Path | None, shape: Any) -> pl.DataFrame:
    path = _within(directory, name)
    if path is None:
        log.absent(name)
        return ATTEMPTS.empty()
    frame: pl.DataFrame = log.add(phase, name, decode_lines(path, shape, attempt_columns(phase)))
    return frame


def read_phase18_attempts(log: SourceLog, phase18: Path) -> pl.DataFrame:
    """Phase 18's attempts: the file at the top where there is one, for it is the whole, else those of the waves."""
    below = {path.relative_to(phase18).as_posix(): path for path in phase18.glob(WAVE_OUTCOMES)}
    if not below or _within(phase18, TASK_OUTCOMES) is not None:
        if below:
            log.warnings.append(f"{TASK_OUTCOMES} is used, {WAVE_OUTCOMES} passed over ({len(below)} found)")
        return _attempts(log, "phase18", TASK_OUTCOMES, phase18, wire.TaskOutcome)
    order = natural_order(below)
    files = [decode_lines(below[name], wire.TaskOutcome, attempt_columns("phase18")) for name in order]
    log.add("phase18", WAVE_OUTCOMES, *files, within=order)
    frames: list[pl.DataFrame] = [file.value for file in files]
    return pl.concat(frames)


def read_tasks(
    log: SourceLog,
    phase18: Path,
    phase16: Path | None,
    attempts: pl.DataFrame,
    total_tasks: int,
    *,
    allow_unassigned: bool = False,
) -> tuple[pl.DataFrame, str]:
    """The tasks to schedule and where they are from: the first file with rows, else synthetic ones."""
    for phase, directory, name in (("phase18", phase18, "tasks.jsonl"), ("phase16", phase16, "planned_tasks.jsonl")):
        path = _within(directory, name)
        if path is None:
            log.absent(name)
            continue
        frame = _keyed(log, phase, path, wire.PlannedTask, TASKS)
        if not allow_unassigned:
            _check_choice(path, frame)
        if frame.height:
            filled = frame.with_columns(
                pl.col("risk_level").fill_null("MEDIUM"),
                pl.col("heuristics_applied").fill_null(pl.lit([], dtype=STRINGS)),
                confidence_boost=pl.lit(0.0),
            )
            return filled.select(list(TASKS.columns)), name
        log.warnings.append(f"{name} is empty; tasks are taken from elsewhere")
    return synthetic_tasks(attempts, total_tasks), "synthetic"


def _check_choice(path: Path, tasks: pl.DataFrame) -> None:
    """Raise InputError at the first task that excludes all the agents it requires."""
    required, excluded = pl.col("required_agents"), pl.col("excluded_agents")
    is_left = required.list.set_difference(excluded.fill_null(pl.lit([], dtype=STRINGS))).list.len() > 0
    stuck = tasks.filter((required.list.len() > 0) & ~is_left)
    if stuck.is_empty():
        return
    row = stuck.row(0, named=True)
    raise InputError(
        str(path),
        line=row[LINE],
        field="excluded_agents",
        expected=f"one of the required_agents of {row['task_id']!r} left (or --allow-unassigned, to leave it out)",
        found=f"all of them excluded: {', '.join(map(repr, row['required_agents'][:NAMED_AGENTS]))}",
    )


def read_agents(log: SourceLog, phase18: Path) -> dict[str, int | None]:
    """Tasks that each agent of agents.jsonl may take in a wave, None for those without a limit of their own."""
    path = _within(phase18, "agents.jsonl")
    if path is None:
        log.absent("agents.jsonl")
        return {}
    frame = _keyed(log, "phase18", path, wire.Agent, AGENTS)
    return dict(zip(frame["agent_id"], frame["capacity"], strict=True))


def synthetic_tasks(attempts: pl.DataFrame, count: int) -> pl.DataFrame:
    """Tasks task_0 ... of the risk level recorded most often, MEDIUM where none is."""
    recorded = dict(zip(*attempts["risk_level"].drop_nulls().value_counts(), strict=True))
    risk = max(RISK_LEVELS, key=lambda level: recorded.get(level, 0)) if recorded else "MEDIUM"
    made = {
        "task_id": pl.format("task_{}", pl.int_range(count)),
        "risk_level": pl.lit(risk),
        "confidence_boost": pl.lit(0.0),
        "heuristics_applied": pl.lit([], dtype=STRINGS),
    }
    return pl.select(
        made.get(name, pl.lit(None, dtype=column.dtype)).alias(name) for name, column in TASKS.columns.items()
    )


def attempt_columns(source: str, attempt: pl.Expr | None = None) -> list[pl.Expr]:
    """Expressions that make ATTEMPTS of the columns of a decoded attempt, whichever file it is from."""
    change = pl.col("confidence_after") - pl.col("confidence_before")
    made = {
        "is_success": pl.col("status") == "success",
        "confidence_delta": pl.col("confidence_delta").fill_null(change),
        "confidence_boost": pl.lit(0.0),
        "duration_ms": pl.col("execution_time_ms"),
        "is_censored": pl.col("is_censored").fill_null(False),
        "attempt": pl.col("attempts").fill_null(1) if attempt is None else attempt,
        "heuristics_applied": pl.col("heuristics_applied").fill_null(pl.lit([], dtype=STRINGS)),
        "source": pl.lit(source),
    }
    return [made.get(name, pl.col(name)).alias(name) for name in ATTEMPTS.columns]


def mark_censored(attempts: pl.DataFrame, errors: Sequence[str]) -> pl.DataFrame:
    """ATTEMPTS in which those with one of the error messages count as stopped by a limit."""
    if not errors:
        return attempts
    is_named = pl.col("error_message").is_in(list(errors)).fill_null(value=False)
    return attempts.with_columns(is_censored=pl.col("is_censored") | is_named)


def check_unique(path: Path, frame: pl.DataFrame, keys: Sequence[str]) -> None:
    """Raise InputError at the first row whose `keys` stand on an earlier row of `frame`, which has a line column."""
    repeated = ~frame.select(pl.struct(*keys).is_first_distinct()).to_series()
    if not repeated.any():
        return
    row = frame.row(repeated.arg_max() or 0, named=True)
    match = pl.all_horizontal(pl.col(key) == pl.lit(row[key]) for key in keys)
    first = frame.filter(match)[LINE][0]
    found = f"{', '.join(repr(row[key]) for key in keys)} again (first on line {first})"
    raise InputError(str(path), line=row[LINE], field=", ".join(keys), expected="each one once", found=found)


def given(value: Any) -> Any:
    """The value of an optional field, None where it is absent."""
    return None if value is UNSET else value


def _keyed(log: SourceLog, phase: str, path: Path, shape: Any, schema: Schema) -> pl.DataFrame:
    """Rows of a file in which the schema's key may stand once."""
    frame: pl.DataFrame = log.add(phase, path.name, decode_lines(path, shape))
    check_unique(path, frame, schema.grain)
    return frame


def _within(directory: Path | None, name: str) -> Path | None:
    """The path of an optional file, or None where it does not exist; a link that leads nowhere does."""
    return directory / name if directory is not None and os.path.lexists(directory / name) else None

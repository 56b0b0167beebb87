"""Read the directories of Phases 16, 17 and 18 into validated frames."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from phase19.errors import InputError, plural, suggestion
from phase19.frames import AGENTS, ATTEMPTS, HEURISTICS, SIGNALS, SOURCES, TASKS
from phase19.inputs import wire
from phase19.inputs.decoding import LINE, TEXT_HASH, Decoded, decode_document, decode_lines
from phase19.inputs.heuristics import read_heuristics
from phase19.inputs.history import attempt_columns, judged_attempts, natural_paths
from phase19.inputs.tasks import check_names, natural_order
from phase19.inputs.wire import Pattern, Population

_TASK_OUTCOMES = "task_outcomes.jsonl"
_WAVE_OUTCOMES = f"wave_*/*/{_TASK_OUTCOMES}"
_EVEN_ODDS = Population(success_rate=0.5, agent_count=0, task_count=0)
_WARNED_FIELDS = 10  # names in one warning; further ones are counted


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs of a run, as frames; by default there are no records and the success rate is 0.5.

    Attributes
    ----------
    tasks
        TASKS, in file order; `wave` and `confidence` as recorded, null if not recorded.
    attempts
        ATTEMPTS: Phase 17's rows (source ``phase17``), then Phase 18's (source ``phase18``), each in file order.
    agents
        AGENTS in natural order: all agents named in a file, and further ``agent_i`` until there are total_agents.
    heuristics, signals, sources
        HEURISTICS, SIGNALS, SOURCES, in file order.
    patterns
        The coordination patterns, in file order.
    population
        The figures of multi_agent_summary.json.
    task_source
        ``tasks.jsonl``, ``planned_tasks.jsonl``, ``records`` or ``synthetic``.
    warnings
        One text per file with unknown fields, and one per file that was empty or ignored.
    digest
        SHA-256 of the names and bytes of all files read; it does not depend on the paths of the directories.
    """

    tasks: pl.DataFrame = field(default_factory=TASKS.empty)
    attempts: pl.DataFrame = field(default_factory=ATTEMPTS.empty)
    agents: pl.DataFrame = field(default_factory=AGENTS.empty)
    heuristics: pl.DataFrame = field(default_factory=HEURISTICS.empty)
    patterns: tuple[Pattern, ...] = ()
    signals: pl.DataFrame = field(default_factory=SIGNALS.empty)
    sources: pl.DataFrame = field(default_factory=SOURCES.empty)
    population: Population = _EVEN_ODDS
    task_source: str = ""
    warnings: tuple[str, ...] = ()
    digest: str = ""


def load_inputs(phase18: Path, phase16: Path | None = None, phase17: Path | None = None) -> Inputs:
    """Read and check every input of a run.

    Parameters
    ----------
    phase18
        Directory with the four required Phase 18 files.
    phase16, phase17
        Directories of the earlier phases; None if there is none.

    Returns
    -------
    Inputs
        The same files give the same inputs.

    Raises
    ------
    InputError
        A directory or required file is missing, or a file breaks the contract; the error names file, line and field.
    """
    directories = {"phase18": phase18, "phase16": phase16, "phase17": phase17}
    for directory in filter(None, directories.values()):
        if not directory.is_dir():
            found = "a file" if directory.exists() else "nothing"
            raise InputError(str(directory), expected="a directory", found=found)
    log = _Log(directories)
    population: Population = log.document("multi_agent_summary.json", Population)
    patterns: list[Pattern] = log.document("coordination_patterns.json", list[Pattern] | Pattern)
    log.document("system_health.json", wire.SystemHealth)
    signals = log.lines("phase18", "learning_signals.jsonl", wire.SIGNAL_ROWS, is_required=True)
    heuristics = log.lines("phase16", "heuristics.jsonl", wire.HEURISTIC_ROWS)
    read_heuristics(heuristics, path=f"{phase16}/heuristics.jsonl")  # raises at the first rule that breaks its format
    recorded = pl.concat(_attempts(log, phase18))
    attempts = judged_attempts(recorded, "records", log.warnings)
    limits = log.lines("phase18", "agents.jsonl", wire.AGENT_ROWS)
    capacity: dict[str, int | None] = dict(limits.select("agent_id", "capacity").rows())
    tasks, task_source = _tasks(log, recorded, population.task_count)
    named = capacity.keys() | {agent for pattern in patterns for agent in pattern.agent_assignments or ()}
    others = (recorded["agent_id"], tasks["excluded_agents"].explode())
    agents = _agents(phase18, population, attempts, named.union(*(ids.drop_nulls() for ids in others)), capacity)
    required = tasks.explode("required_agents").drop_nulls("required_agents")
    for row in required.filter(~pl.col("required_agents").is_in(agents["agent_id"].implode())).head(1).to_dicts():
        path = log.path("phase18", task_source) or log.path("phase16", task_source)
        expected = "an agent of the records, the summary, the coordination patterns or agents.jsonl"
        found = f"{row['required_agents']!r}{suggestion(row['required_agents'], agents['agent_id'])}"
        raise InputError(str(path), line=row[LINE], field="required_agents", expected=expected, found=found)
    log.warnings += check_names("task", tasks["task_id"], attempts["task_id"], "records")
    return Inputs(
        tasks=tasks.drop(LINE, strict=False),
        attempts=attempts,
        agents=agents,
        heuristics=heuristics.select(HEURISTICS.columns.keys()),
        patterns=tuple(patterns),
        signals=signals.select(SIGNALS.columns.keys()),
        sources=pl.DataFrame(log.sources, schema=SOURCES.dtypes, orient="row"),
        population=population,
        task_source=task_source,
        warnings=tuple(log.warnings),
        digest=log.digest.hexdigest(),
    )


@dataclass(slots=True)
class _Log:
    """Reads files, and keeps the row counts, the warnings and the digest."""

    directories: Mapping[str, Path | None]
    sources: list[tuple[str, int, str, list[str]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def path(self, phase: str, name: str) -> Path | None:
        """The path of an optional file; None if it does not exist. A dangling link counts as existing."""
        directory = self.directories[phase]
        return directory / name if directory is not None and os.path.lexists(directory / name) else None

    def document(self, name: str, shape: Any) -> Any:
        """A required JSON document of Phase 18; a single pattern becomes a list of one."""
        path = Path(self.directories["phase18"] or "", name)
        decoded = decode_document(path, shape)
        if isinstance(decoded.value, Pattern):
            decoded.value = [decoded.value]
        row_count = len(decoded.value) if isinstance(decoded.value, list) else 1
        self.note("phase18", name, row_count, {name: decoded})
        return decoded.value

    def lines(
        self, phase: str, name: str, rows: wire.Rows, select: Sequence[pl.Expr] = (), *, is_required: bool = False
    ) -> pl.DataFrame:
        """The rows of a JSONL file; no rows if an optional file does not exist."""
        path = Path(self.directories[phase] or "", name)
        if self.path(phase, name) is None and not is_required:
            self.sources.append((name, 0, "absent", []))
            return pl.DataFrame(schema=rows.dtypes | {LINE: pl.UInt32, TEXT_HASH: pl.UInt64}).select(select or pl.all())
        decoded = decode_lines(path, rows, select)
        frame: pl.DataFrame = decoded.value
        self.note(phase, name, frame.height, {name: decoded})
        return frame

    def note(self, phase: str, name: str, row_count: int, files: Mapping[str, Decoded]) -> None:
        """Record one source made of these files, which are keyed by their paths in the phase's directory."""
        unknown: Counter[str] = Counter()
        for place, file in files.items():
            self.digest.update(f"{phase}/{place}\0".encode() + file.digest)
            unknown += file.unknown
        self.sources.append((name, row_count, "used" if row_count else "empty", sorted(unknown)))
        if unknown:
            shown = ", ".join(f"{field!r} ({unknown[field]})" for field in sorted(unknown)[:_WARNED_FIELDS])
            more = f" and {len(unknown) - _WARNED_FIELDS} more" if len(unknown) > _WARNED_FIELDS else ""
            self.warnings.append(f"{name}: {plural(unknown.total(), 'value')} of unknown fields ignored: {shown}{more}")


def _attempts(log: _Log, phase18: Path) -> Iterable[pl.DataFrame]:
    """Phase 17's attempts, then Phase 18's: from its top-level file if there is one, otherwise from those of waves."""
    rows = wire.EXECUTION_OUTCOMES
    yield log.lines("phase17", "execution_outcomes.jsonl", rows, select=attempt_columns(rows, "phase17"))
    rows, below = wire.TASK_OUTCOMES, natural_paths(phase18, _WAVE_OUTCOMES)
    columns = attempt_columns(rows, "phase18")
    if not below or log.path("phase18", _TASK_OUTCOMES) is not None:
        if below:
            log.warnings.append(f"{_TASK_OUTCOMES} is used, {_WAVE_OUTCOMES} is ignored ({plural(len(below), 'file')})")
        yield log.lines("phase18", _TASK_OUTCOMES, rows, select=columns)
    else:
        files = {path.relative_to(phase18).as_posix(): decode_lines(path, rows, columns) for path in below}
        log.note("phase18", _WAVE_OUTCOMES, sum(file.value.height for file in files.values()), files)
        yield from (file.value for file in files.values())


def _tasks(log: _Log, attempts: pl.DataFrame, total_tasks: int) -> tuple[pl.DataFrame, str]:
    """The tasks to schedule and their source: the first file with rows, else the records, else as many as stated."""
    for phase, name in (("phase18", "tasks.jsonl"), ("phase16", "planned_tasks.jsonl")):
        frame = log.lines(phase, name, wire.TASK_ROWS)
        if frame.height:
            return frame.select(*TASKS.fill(wire.TASK_ROWS.dtypes), LINE), name
        if log.path(phase, name) is not None:
            log.warnings.append(f"{name} is empty; the next source of tasks is used")
    if attempts.is_empty():
        names = pl.select(task_id=pl.format("task_{}", pl.int_range(total_tasks)))
        return names.select(TASKS.fill(names.columns)), "synthetic"
    last = attempts.group_by("task_id").agg(pl.col("risk_level", "category").drop_nulls().last())
    names = pl.DataFrame({"task_id": natural_order(last["task_id"])})
    return names.join(last, on="task_id", maintain_order="left").select(TASKS.fill(last.columns)), "records"


def _agents(
    phase18: Path, population: Population, attempts: pl.DataFrame, named: set[str], capacity: Mapping[str, int | None]
) -> pl.DataFrame:
    """All agents, and the basis of each one's forecast: its records, else its summary, else none."""
    records = dict(attempts["agent_id"].drop_nulls().value_counts().rows())
    performance = population.agent_performance or {}
    names = named | records.keys() | performance.keys()
    spare = (name for i in range(population.agent_count) if (name := f"agent_{i}") not in names)
    agents = [*names, *(next(spare) for _ in range(population.agent_count - len(names)))]
    if not agents:
        expected = "at least one agent, here or in the records"
        raise InputError(str(phase18 / "multi_agent_summary.json"), field="total_agents", expected=expected, found="0")
    rows = []
    for name in natural_order(agents):
        entry = performance.get(name, wire.AgentPerformance())
        figures = (entry.tasks, entry.success_rate, entry.avg_execution_time_ms, entry.avg_confidence_delta)
        evidence = "summary" if entry.tasks and entry.success_rate is not None else "none"
        evidence = "records" if name in records else evidence
        rows.append((name, records.get(name, 0), *figures, capacity.get(name), evidence))
    return pl.DataFrame(rows, schema=AGENTS.dtypes, orient="row")

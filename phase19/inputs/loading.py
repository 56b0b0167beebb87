"""Read the directories of Phases 16, 17 and 18 into validated frames."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import polars as pl

from phase19.errors import InputError, InvalidInputsError, plural, suggestion
from phase19.frames import AGENTS, ATTEMPTS, BASELINES, EVIDENCE, FEATURES, HEURISTICS, SOURCES, STATEMENTS, TASKS
from phase19.inputs import features, summaries, wire
from phase19.inputs.decoding import LINE, TEXT_HASH, Decoded, decode_document, decode_lines, key_names
from phase19.inputs.directories import Directory, list_directory, unread_records
from phase19.inputs.heuristics import read_heuristics
from phase19.inputs.history import attempt_columns, judged_attempts
from phase19.inputs.refusals import shorten
from phase19.inputs.tasks import check_names, check_records, joined_counts, natural_order, recorded_tasks
from phase19.inputs.wire import Pattern, Population

P = ParamSpec("P")
T = TypeVar("T")

_TASK_OUTCOMES = "task_outcomes.jsonl"
_WAVE_OUTCOMES = f"wave_*/*/{_TASK_OUTCOMES}"
_IN_WAVE = re.compile(rf"wave_[^/]*/[^/]+/{re.escape(_TASK_OUTCOMES)}")
_EVEN_ODDS = Population(success_rate=0.5, agent_count=0, task_count=0)
_MOST_FEATURES = 4096
_NAMED = 10  # names in one warning; further ones are counted


@dataclass(frozen=True, slots=True, repr=False)
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
    features
        FEATURES: numbers that describe tasks, which may be planned or recorded; sorted by task id.
    heuristics, sources
        HEURISTICS, SOURCES, in file order.
    statements, evidence, baselines
        STATEMENTS of patterns and signals, their EVIDENCE about success, and BASELINES to compare the run with.
    population
        The figures of multi_agent_summary.json.
    task_source
        ``tasks.jsonl``, ``planned_tasks.jsonl``, ``records`` or ``synthetic``.
    warnings
        What the user should know of the inputs: ignored fields and files, attempts left out, names without records.
    digest
        SHA-256 of the names and bytes of all files read; it does not depend on the paths of the directories.
    """

    tasks: pl.DataFrame = field(default_factory=TASKS.empty)
    attempts: pl.DataFrame = field(default_factory=ATTEMPTS.empty)
    agents: pl.DataFrame = field(default_factory=AGENTS.empty)
    features: pl.DataFrame = field(default_factory=FEATURES.empty)
    heuristics: pl.DataFrame = field(default_factory=HEURISTICS.empty)
    statements: pl.DataFrame = field(default_factory=STATEMENTS.empty)
    evidence: pl.DataFrame = field(default_factory=EVIDENCE.empty)
    baselines: pl.DataFrame = field(default_factory=BASELINES.empty)
    sources: pl.DataFrame = field(default_factory=SOURCES.empty)
    population: Population = _EVEN_ODDS
    task_source: str = ""
    warnings: tuple[str, ...] = ()
    digest: str = ""

    @property
    def joins(self) -> dict[str, int | None]:
        """Numbers of tasks, agents and features, and how many of the tasks and agents have records or features."""
        return joined_counts(self.tasks, self.agents, self.attempts, self.features)

    def __repr__(self) -> str:
        tasks, agents, joins = plural(self.tasks.height, "task"), plural(self.agents.height, "agent"), self.joins
        return (
            f"The inputs are valid: {tasks} ({self.task_source}), {agents}, "
            f"{plural(self.attempts.height, 'recorded attempt')}. {joins['tasks_with_records']} of {tasks} and "
            f"{joins['agents_with_records']} of {agents} have records.{features.sentence(joins)}"
        )


def load_inputs(
    phase18: Path | str, phase16: Path | str | None = None, phase17: Path | str | None = None, *, most_errors: int = 1
) -> Inputs:
    """Read and check every input of a run.

    Parameters
    ----------
    phase18
        Directory with the four required Phase 18 files.
    phase16, phase17
        Directories of the earlier phases; None if there is none.
    most_errors
        Number of errors to find before raising.

    Returns
    -------
    Inputs
        The same files give the same inputs.

    Raises
    ------
    InputError
        A directory or required file is missing, or a file breaks the contract; the error names file, line and field.
    InvalidInputsError
        There are several such errors, and `most_errors` is more than 1.

    Examples
    --------
    >>> load_inputs("outputs/phase18").agents.height
    4
    """
    paths = {"phase18": phase18, "phase16": phase16, "phase17": phase17}
    log = _Log({phase: list_directory(Path(path)) for phase, path in paths.items() if path is not None}, most_errors)
    population: Population = log.document("phase18", "multi_agent_summary.json", Population, _EVEN_ODDS)
    patterns: list[Pattern] = log.document("phase18", summaries.PATTERNS, list[Pattern] | Pattern, [])
    health = {18: log.document("phase18", summaries.HEALTH, wire.SystemHealth, wire.SystemHealth())}
    signals = log.lines("phase18", summaries.SIGNALS, wire.SIGNAL_ROWS, is_required=True)
    heuristics = log.lines("phase16", "heuristics.jsonl", wire.HEURISTIC_ROWS)
    rules = log.check(read_heuristics, heuristics, path=f"{phase16}/heuristics.jsonl")
    recorded = pl.concat(_attempts(log))
    attempts = judged_attempts(recorded, "records", log.warnings)
    recorded = recorded.select("task_id", "agent_id", "risk_level", "category", "source")
    metrics = log.lines("phase17", summaries.METRICS, wire.METRIC_ROWS)
    health[17] = log.document("phase17", summaries.HEALTH, wire.SystemHealth, wire.SystemHealth())
    performance = log.document("phase17", summaries.PERFORMANCE, dict[wire.Id, wire.HeuristicPerformance], {})
    log.skip("phase17", summaries.SIGNALS)
    limits = log.lines("phase18", "agents.jsonl", wire.AGENT_ROWS)
    capacity: dict[str, int | None] = dict(limits.select("agent_id", "capacity").rows())
    tasks, task_source = _tasks(log, recorded, population.task_count)
    described = _features(log, tasks, task_source)
    log.raise_errors()  # what follows compares files, so it needs all of them
    statements, evidence = summaries.read_statements(patterns, signals, attempts)
    baselines = summaries.baselines(health, metrics, performance)
    # Void attempts decide nothing but which agents there are, and which tasks where no file lists them.
    naming = recorded.filter(pl.col("agent_id").is_not_null() | (task_source == "records"))
    deciding = {*statements.filter(used_for="forecast")["file"], *attempts["source"], *naming["source"]}
    named = {*recorded["agent_id"].drop_nulls(), *evidence["agent_id"], *capacity}
    in_patterns = {agent for pattern in patterns for agent in pattern.agent_assignments or ()}
    if in_patterns - named - {*(population.agent_performance or ())}:
        deciding.add(summaries.PATTERNS)  # agents of the run come from it
    named |= in_patterns
    agents = _agents(Path(phase18), population, attempts, named, capacity)
    _check_agents_of_tasks(log, tasks, task_source, agents["agent_id"])
    log.raise_errors()
    summarised_ms = agents.filter(pl.col("evidence") == "summary")["summary_duration_ms"]
    times = (attempts["duration_ms"], summarised_ms, tasks["estimated_duration_ms"])
    if not any((population.duration_ms, *(values.max() for values in times))):
        log.warnings.append(
            "no record, summary or estimate has a time; plans count each task as 1,000 ms, and a dry run has no times"
        )
    log.warnings += check_records(tasks, attempts, described)
    log.warnings += check_names("agent", pl.Series(list(capacity), dtype=pl.String), attempts["agent_id"], "records")
    unjoined = features.check_joined(described, tasks, attempts)
    log.warnings += unjoined
    if described.height and not unjoined:
        deciding.add(features.FILE)
    log.warn_of_unread()
    return Inputs(
        tasks=tasks.drop(LINE, features.COLUMN),
        attempts=attempts,
        agents=agents,
        features=described,
        heuristics=heuristics.select(HEURISTICS.columns.keys()),
        statements=statements,
        evidence=evidence,
        baselines=baselines,
        sources=_sources(log, deciding, baselines, has_rules=bool(rules and rules.rules)),
        population=population,
        task_source=task_source,
        warnings=tuple(log.warnings),
        digest=log.digest.hexdigest(),
    )


def _sources(log: "_Log", deciding: Collection[str], baselines: pl.DataFrame, *, has_rules: bool) -> pl.DataFrame:
    """SOURCES of all files; `deciding` names patterns, signals, features and sources of attempts, if they decide."""
    used = {
        **{(18, name): "forecast" if name in deciding else "shown" for name in (summaries.PATTERNS, summaries.SIGNALS)},
        (18, features.FILE): "forecast" if features.FILE in deciding else "nothing",
        (16, "heuristics.jsonl"): "forecast" if has_rules else "shown",
        (17, "execution_outcomes.jsonl"): "forecast" if "phase17" in deciding else "nothing",
        **{(18, name): "forecast" if "phase18" in deciding else "nothing" for name in (_TASK_OUTCOMES, _WAVE_OUTCOMES)},
        **dict.fromkeys([(18, summaries.HEALTH), (17, summaries.HEALTH), (17, summaries.PERFORMANCE)], "nothing"),
        **dict.fromkeys(baselines.select("phase", "file").rows(), "baseline"),
    }
    rows = [
        (phase, name, row_count, status, used.get((phase, name), "forecast") if row_count else "nothing", ignored)
        for phase, name, row_count, status, ignored in log.sources
    ]
    return pl.DataFrame(rows, schema=SOURCES.dtypes, orient="row")


@dataclass(slots=True)
class _Log:
    """Reads files, and keeps the row counts, the warnings and the digest."""

    directories: Mapping[str, Directory]
    most_errors: int = 1
    errors: list[InputError] = field(default_factory=list)
    read: set[tuple[str, str]] = field(default_factory=set)  # phases and paths of files read, or ignored with a warning
    sources: list[tuple[int, str, int, str, list[str]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def path(self, phase: str, name: str) -> Path | None:
        """The path of an optional file; None if it does not exist. A dangling link counts as existing."""
        directory = self.directories.get(phase)
        return directory.path / name if directory is not None and name in directory.entries else None

    def place(self, task_source: str) -> Path | None:
        """The path of the file that lists the tasks; None if none does."""
        return self.path("phase18", task_source) or self.path("phase16", task_source)

    def report(self, error: InputError) -> None:
        """Keep an error; raise when there are enough."""
        if self.most_errors == 1:
            raise error
        self.errors.append(error)
        if len(self.errors) == self.most_errors:
            self.raise_errors()

    def raise_errors(self) -> None:
        """Raise the errors found so far, if any."""
        if self.errors:
            raise InvalidInputsError(self.errors)

    def check(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call a function that reads or checks a file; report its error and return None if it raises one."""
        try:
            return read(*args, **kwargs)
        except InputError as problem:
            self.report(problem)
            return None

    def warn_of_unread(self) -> None:
        """Warn of files that look like input files but are not read."""
        names = {name for _, name, *_ in self.sources if "/" not in name}
        for phase, directory in self.directories.items():
            read = {path for owner, path in self.read if owner == phase}
            self.warnings += unread_records(directory, read, names, _WAVE_OUTCOMES)

    def skip(self, phase: str, name: str) -> None:
        """Record a file that is not read, or does not exist."""
        is_there = self.path(phase, name) is not None
        if is_there:
            self.read.add((phase, name))
        self.sources.append((_number(phase), name, 0, "ignored" if is_there else "absent", []))

    def document(self, phase: str, name: str, shape: Any, default: Any) -> Any:
        """A JSON document, required of Phase 18; the default if it is bad or absent. One pattern becomes a list."""
        if phase != "phase18" and self.path(phase, name) is None:
            self.skip(phase, name)
            return default
        decoded = self.check(decode_document, self.directories[phase].path / name, shape)
        if decoded is None:
            return default
        if isinstance(decoded.value, Pattern):
            decoded.value = [decoded.value]
        row_count = len(decoded.value) if isinstance(decoded.value, list | dict) else 1
        self.note(phase, name, row_count, {name: decoded})
        return decoded.value

    def lines(
        self, phase: str, name: str, rows: wire.Rows, select: Sequence[pl.Expr] = (), *, is_required: bool = False
    ) -> pl.DataFrame:
        """The rows of a JSONL file; no rows if an optional file does not exist."""
        empty = pl.DataFrame(schema=rows.dtypes | {LINE: pl.UInt32, TEXT_HASH: pl.UInt64}).select(select or pl.all())
        if self.path(phase, name) is None and not is_required:
            self.skip(phase, name)
            return empty
        decoded = self.check(decode_lines, self.directories[phase].path / name, rows, select, self.report)
        if decoded is None:
            return empty
        self.note(phase, name, decoded.value.height, {name: decoded})
        return cast("pl.DataFrame", decoded.value)

    def note(self, phase: str, name: str, row_count: int, files: Mapping[str, Decoded]) -> None:
        """Record one source made of these files, which are keyed by their paths in the phase's directory."""
        unknown: Counter[str] = Counter()
        naive = sum(file.naive_count for file in files.values())
        for place, file in files.items():
            self.digest.update(f"{phase}/{place}\0".encode() + file.digest)
            self.read.add((phase, place))
            unknown += file.unknown
        self.sources.append((_number(phase), name, row_count, "used" if row_count else "empty", sorted(unknown)))
        if naive:
            self.warnings.append(f"{name}: {plural(naive, 'timestamp')} without an offset taken as UTC")
        if unknown:
            shown = ", ".join(f"{field!r} ({unknown[field]})" for field in sorted(unknown)[:_NAMED])
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            self.warnings.append(f"{name}: {plural(unknown.total(), 'value')} of unknown fields ignored: {shown}{more}")


def _number(phase: str) -> int:
    return int(phase.removeprefix("phase"))


def _attempts(log: _Log) -> Iterable[pl.DataFrame]:
    """Phase 17's attempts, then Phase 18's: from its top-level file if there is one, otherwise from those of waves."""
    rows = wire.EXECUTION_OUTCOMES
    yield log.lines("phase17", "execution_outcomes.jsonl", rows, select=attempt_columns(rows, "phase17"))
    rows, phase18 = wire.TASK_OUTCOMES, log.directories["phase18"]
    below = natural_order(path for path in phase18.files if _IN_WAVE.fullmatch(path))
    columns = attempt_columns(rows, "phase18")
    if not below or log.path("phase18", _TASK_OUTCOMES) is not None:
        if below:
            log.read.update(("phase18", path) for path in below)
            log.sources.append((18, _WAVE_OUTCOMES, 0, "ignored", []))
            log.warnings.append(f"{_TASK_OUTCOMES} is used, {_WAVE_OUTCOMES} is ignored ({plural(len(below), 'file')})")
        yield log.lines("phase18", _TASK_OUTCOMES, rows, select=columns)
    else:
        found = {path: log.check(decode_lines, phase18.path / path, rows, columns, log.report) for path in below}
        files = {path: file for path, file in found.items() if file is not None}
        log.note("phase18", _WAVE_OUTCOMES, sum(file.value.height for file in files.values()), files)
        yield from (file.value for file in files.values())


def _tasks(log: _Log, attempts: pl.DataFrame, total_tasks: int) -> tuple[pl.DataFrame, str]:
    """The tasks to schedule and their source: the first file with rows, else the records, else as many as stated."""
    files = (("phase18", "tasks.jsonl"), ("phase16", "planned_tasks.jsonl"))
    for number, (phase, name) in enumerate(files, 1):
        frame = log.lines(phase, name, wire.TASK_ROWS)
        if frame.height:
            for other in files[number:]:
                log.skip(*other)
            return frame.select(*TASKS.fill(wire.TASK_ROWS.dtypes), LINE, features.COLUMN), name
        if log.path(phase, name) is not None:
            log.warnings.append(f"{name} is empty; the next source of tasks is used")
    unknown = pl.lit(None, dtype=pl.UInt32).alias(LINE), pl.lit(None, dtype=pl.String).alias(features.COLUMN)
    if attempts.is_empty():
        names = pl.select(task_id=pl.format("task_{}", pl.int_range(total_tasks)))
        return names.select(*TASKS.fill(names.columns), *unknown), "synthetic"
    return recorded_tasks(attempts).with_columns(unknown), "records"


def _features(log: _Log, tasks: pl.DataFrame, task_source: str) -> pl.DataFrame:
    """The numbers that features.jsonl and the lines of the tasks have for each task."""
    path = log.path("phase18", features.FILE)
    names = [] if path is None else log.check(key_names, path)
    if names is None:
        return FEATURES.empty()
    names = [name for name in names if name != "task_id"]
    if len(names) > _MOST_FEATURES:  # each one takes memory for every task
        expected, found = f"at most {_MOST_FEATURES:,} features", f"{len(names):,}, such as {shorten(names[0])!r}"
        log.report(InputError(str(path), expected=expected, found=found))
        return FEATURES.empty()
    rows = log.lines("phase18", features.FILE, wire.feature_rows(names)).drop(LINE, TEXT_HASH)
    separate = rows.rename(dict(zip(rows.columns, ["task_id", *names], strict=True)))
    return features.join_features(separate, tasks, log.place(task_source), log.report)


def _check_agents_of_tasks(log: _Log, tasks: pl.DataFrame, task_source: str, known: pl.Series) -> None:
    """Report required agents that nothing else names, and warn of such excluded agents."""
    path = log.place(task_source)
    for name in ("required_agents", "excluded_agents"):
        named = tasks.explode(name).drop_nulls(name)
        unknown = named.filter(~pl.col(name).is_in(known.implode())).unique(name, keep="first", maintain_order=True)
        for line, agent in unknown.head(_NAMED).select(pl.col(LINE), name).rows():
            expected = "an agent of the records, the summary, the coordination patterns or agents.jsonl"
            found = f"{agent!r}{suggestion(agent, known)}"
            problem = InputError(str(path), line=line, field=name, expected=expected, found=found)
            if name == "required_agents":
                log.report(problem)
            else:
                log.warnings.append(f"{problem}; the exclusion has no effect")


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
        figures = (entry.tasks, entry.success_rate, entry.retry_rate)
        means = (entry.avg_execution_time_ms, entry.avg_confidence_delta)
        evidence = "summary" if entry.tasks and entry.success_rate is not None else "none"
        evidence = "records" if name in records else evidence
        rows.append((name, records.get(name, 0), *figures, *means, capacity.get(name), evidence))
    return pl.DataFrame(rows, schema=AGENTS.dtypes, orient="row")

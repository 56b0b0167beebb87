"""Every option of the commands, declared once: its name, type, default, bounds, help text and group."""

# ruff: noqa: RUF009 - the calls in dataclass bodies declare fields

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from phase19.errors import UsageError, suggestion

DEFAULT_WEIGHTS = {"success": 0.6, "throughput": 0.3, "confidence": 0.1}
_LARGEST_WEIGHT = 1e6  # sums and products of weights stay far from overflow
_LONGEST_SHOWN = 10**30  # Python refuses to print numbers of 5,000 digits
_FIRST_YEAR = 1000  # earlier years have fewer than four digits
_INPUTS, _PLANNING, _EXECUTING, _OUTPUT = "Inputs", "Planning", "Executing", "Output"


class OptimizationStrategy(StrEnum):
    """What an assignment maximises; `weighted` and `auto` are the command's additions."""

    MAXIMIZE_SUCCESS = "maximize_success"
    MAXIMIZE_THROUGHPUT = "maximize_throughput"
    BALANCE_LOAD = "balance_load"
    MINIMIZE_RETRIES = "minimize_retries"
    CONFIDENCE_OPTIMIZATION = "confidence_optimization"
    WEIGHTED = "weighted"
    AUTO = "auto"


class PriorityStrategy(StrEnum):
    """What decides which task comes first."""

    RISK_CONFIDENCE = "risk_confidence"
    DEADLINE = "deadline"
    AGENT_SPECIALIZATION = "agent_specialization"


class _Kind(NamedTuple):
    """What values an option takes: what to call them, how to convert one, and which of the converted ones to accept."""

    expected: str
    convert: Callable[[Any], Any]
    accepts: Callable[[Any], bool] = lambda _: True
    names: tuple[str, ...] = ()


def _whole_number(low: int, high: int) -> _Kind:
    expected = f"a whole number from {low:,} to {high:,}"
    return _Kind(expected, lambda v: int(v) if isinstance(v, str) else index(v), lambda number: low <= number <= high)


def _choice(convert: Callable[[Any], str], *names: str) -> _Kind:
    return _Kind(f"one of {', '.join(names)}", convert, names.__contains__, names)


def _read_moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _read_weights(value: Any) -> dict[str, float]:
    terms = [term.partition("=")[::2] for term in value.split(",")] if isinstance(value, str) else value.items()
    weights = {name.strip(): float(weight) for name, weight in terms}
    if len(weights) < len(terms) or not weights.keys() <= DEFAULT_WEIGHTS.keys():
        raise ValueError
    return dict.fromkeys(DEFAULT_WEIGHTS, 0.0) | weights


_PATH = _Kind("a path", Path)
_SWITCH = _Kind("True or False", bool)
_MOMENT = _Kind(
    "ISO 8601 such as 2026-02-05T12:00:00Z, in the years 1000 to 9999", _read_moment, lambda m: m.year >= _FIRST_YEAR
)
_FACTOR = _Kind("a finite number >= 1", float, lambda factor: 1 <= factor < math.inf)
_WEIGHTS = _Kind(
    f"weights from 0 to 1,000,000, not all zero, of {', '.join(DEFAULT_WEIGHTS)}, each once, such as success=1",
    _read_weights,
    lambda weights: any(weights.values()) and all(0 <= weight <= _LARGEST_WEIGHT for weight in weights.values()),
)


def _option(group: str, default: Any, kind: _Kind, *, decides_run: bool = True) -> Any:
    """Declare an option; one that decides what a run computes is part of its id. Files count by their contents."""
    return field(default=default, metadata={"group": group, "kind": kind, "decides_run": decides_run})


def _file(group: str, default: Any = None) -> Any:
    return _option(group, default, _PATH, decides_run=False)


class _Options:
    """Converts and checks every option of a dataclass as it is declared."""

    not_taken: ClassVar[tuple[str, ...]] = ()  # options that keep their defaults, for the command takes no others

    def __post_init__(self) -> None:
        for option in fields(self):  # type: ignore[arg-type]  # the subclasses are dataclasses
            value, kind = getattr(self, option.name), option.metadata["kind"]
            if value is not None or option.default is not None:
                object.__setattr__(self, option.name, _read(kind, value, f"--{option.name.replace('_', '-')}"))

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Options from settings as a user writes them: values may be text; None leaves an option at its default.

        Raises
        ------
        UsageError
            An option is unknown, missing or out of bounds.
        """
        known = {option.name: option for option in fields(cls) if option.name not in cls.not_taken}  # type: ignore[arg-type]
        given = {name: value for name, value in settings.items() if value is not None}
        for name in given.keys() - known.keys():
            raise UsageError(f"expected an option of the command, found {name}{suggestion(name, known)}")
        for name, option in known.items():
            if option.default is MISSING and name not in given:
                raise UsageError(f"--{name}: expected a value, found nothing")
        return cls(**given)

    @classmethod
    def either(cls, options: Self | None, settings: Mapping[str, Any]) -> Self:
        """The options given, or those that single settings make; :class:`UsageError` where both are given."""
        if not isinstance(options, cls | None):
            raise UsageError(f"options: expected {cls.__name__}, found {options!r:.100}")
        if options is not None and settings:
            raise UsageError(f"expected options or single settings, found both: {', '.join(settings)}")
        return cls.of(**settings) if options is None else options


def _read(kind: _Kind, value: Any, option: str) -> Any:
    try:
        # An empty text is never meant, and neither is True as a number.
        if value != "" and isinstance(value, bool) == (kind is _SWITCH) and kind.accepts(read := kind.convert(value)):
            return read
    except (AttributeError, OverflowError, TypeError, ValueError):
        pass
    is_long = isinstance(value, int) and abs(value) > _LONGEST_SHOWN
    found = "a number too long to print" if is_long else repr(value)
    raise UsageError(f"{option}: expected {kind.expected}, found {found}{suggestion(value, kind.names)}")


@dataclass(frozen=True, kw_only=True)
class InputOptions(_Options):
    """What is read; paths left out follow `input`."""

    input: Path = _file(_INPUTS, MISSING)
    """Phase 18's directory."""
    phase16: Path | None = _file(_INPUTS)
    """Phase 16's directory; phase16 beside the input by default."""
    phase17: Path | None = _file(_INPUTS)
    """Phase 17's directory; phase17 beside the input by default."""

    @property
    def sources(self) -> tuple[Path, Path | None, Path | None]:
        """Phase 18's, 16's and 17's directories; `phase16` and `phase17` beside the input by default, if they exist."""
        beside = (self.beside_input(name) for name in ("phase16", "phase17"))
        phase16, phase17 = (path if path.is_dir() else None for path in beside)
        return self.input, self.phase16 or phase16, self.phase17 or phase17

    def beside_input(self, name: str) -> Path:
        """The path of this name in the directory that holds the input."""
        is_named = self.input.name not in {"", ".."}  # `.` and `..` have no parent by name
        return (self.input if is_named else self.input.resolve()).parent / name


@dataclass(frozen=True, kw_only=True)
class PlanOptions(_Options):
    """What a plan maximises, and its limits."""

    strategy: OptimizationStrategy = _option(
        _PLANNING, OptimizationStrategy.MAXIMIZE_SUCCESS, _choice(OptimizationStrategy, *OptimizationStrategy)
    )
    """What the assignment maximises."""
    weights: Mapping[str, float] = _option(
        _PLANNING, ",".join(f"{name}={weight}" for name, weight in DEFAULT_WEIGHTS.items()), _WEIGHTS
    )
    """Weights of the score's terms, for the weighted strategy."""
    capacity: int | None = _option(_PLANNING, None, _whole_number(1, 2**31))
    """Assign at most this many tasks to an agent in a wave."""
    allow_unassigned: bool = _option(_PLANNING, False, _SWITCH)
    """Leave out tasks that no agent has room for, and list them with the reason."""
    max_load_factor: float | None = _option(_PLANNING, None, _FACTOR)
    """Limit an agent's planned time to this multiple of the average, for example 1.5."""
    max_retries: int = _option(_PLANNING, 2, _whole_number(0, 100))
    """Retry a failed task of LOW or MEDIUM risk at most this often."""
    explore: bool = _option(_PLANNING, False, _SWITCH)
    """Prefer agents with few records, to learn about them."""


@dataclass(frozen=True, kw_only=True)
class WaveOptions(InputOptions, PlanOptions):
    """What every command that plans waves takes."""

    waves: int | None = _option(_PLANNING, None, _whole_number(1, 1_000_000))
    """Split the tasks into this many waves of about equal size."""
    agents: int | None = _option(_PLANNING, None, _whole_number(1, 100_000))
    """Use the first N agents."""
    seed: int = _option(_EXECUTING, 0, _whole_number(0, 2**63 - 1))
    """Seed of the random numbers: the same seed gives the same result."""
    timestamp: datetime | None = _option(_EXECUTING, None, _MOMENT, decides_run=False)
    """Write this time instead of the current one, for example 2026-02-05T12:00:00Z."""


@dataclass(frozen=True, kw_only=True)
class BacktestOptions(WaveOptions):
    """Options of `backtest`, which replays recorded outcomes."""

    not_taken = ("allow_unassigned", "explore")
    max_retries: int = _option(_PLANNING, 0, _whole_number(0, 100))
    executions: Path | None = _file(_INPUTS)
    """A file of recorded outcomes to replay; forecasts use all records of the inputs."""
    split_at: datetime | None = _option(_INPUTS, None, _MOMENT)
    """Replay the inputs' records from this time on; forecasts use only those before it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.executions is None) == (self.split_at is None):
            found = "neither" if self.executions is None else "both"
            raise UsageError(f"expected one of --executions and --split-at, found {found}")


@dataclass(frozen=True, kw_only=True)
class RunOptions(WaveOptions):
    """Options of one run, as `python -m phase19 run` takes them.

    Raises
    ------
    UsageError
        An option is out of bounds.
    """

    previous: Path | None = _file(_INPUTS)
    """An earlier run, whose heuristic weights, outcomes and convergence this run continues."""
    thresholds: Path | None = _file(_INPUTS)
    """A TOML file that replaces thresholds; phase19/inputs/thresholds.toml lists them all."""
    executor: Literal["simulate", "replay", "live"] = _option(
        _EXECUTING, "simulate", _choice(str, "simulate", "replay", "live")
    )
    """Simulate outcomes (a dry run), replay recorded ones, or run tasks live (from Python only)."""
    executions: Path | None = _file(_EXECUTING)
    """A file of recorded outcomes to replay."""
    approve: Path | None = _file(_EXECUTING)
    """A file with the ids of approved tasks, one per line."""
    require_approval: bool = _option(_EXECUTING, False, _SWITCH)
    """Require approval of MEDIUM risk tasks too."""
    output: Path | None = _file(_OUTPUT)
    """The run directory; phase19 beside the input by default."""
    deliver_feedback: bool = _option(_OUTPUT, False, _SWITCH, decides_run=False)
    """Append the feedback to files in Phase 16's and Phase 18's directories."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.executor == "replay") != (self.executions is not None):
            raise UsageError("--executions FILE and --executor replay go together, found only one of them")

    @property
    def output_dir(self) -> Path:
        """Where the run directory appears: `--output`, else `phase19` beside the input."""
        return self.output or self.beside_input("phase19")

    def deciding(self) -> dict[str, object]:
        """The options that decide what a run computes, by name; files decide by their contents, not by their paths."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.metadata["decides_run"]}


@dataclass(frozen=True, kw_only=True)
class CompareOptions(WaveOptions):
    """Options of `compare`, which plans by every strategy."""

    not_taken = ("strategy", "allow_unassigned")

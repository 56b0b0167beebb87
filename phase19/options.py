"""Every option of the commands, declared once: its name, type, default, bounds, help text and group."""

# ruff: noqa: RUF009 - the calls in dataclass bodies declare fields

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from msgspec import Meta

from phase19.arguments import converted, in_words
from phase19.errors import UsageError, suggestion

DEFAULT_WEIGHTS = {"success": 0.6, "throughput": 0.3, "confidence": 0.1}
DEFAULT_RUN = Path("outputs/phase19")  # the run that queries read
_FIRST_YEAR = 1000  # earlier years have fewer than four digits
_INPUTS, _PLANNING, _EXECUTING, _OUTPUT = "Inputs", "Planning", "Executing", "Output"


def beside(directory: Path, name: str) -> Path:
    """The path of `name` in the parent of a directory."""
    is_named = directory.name not in {"", ".."}  # `.` and `..` have no parent by name
    return (directory if is_named else directory.resolve()).parent / name


class OptimizationStrategy(StrEnum):
    """What an assignment maximises; `weighted` and `auto` are additions to the specification."""

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


_Weight = Annotated[float, Meta(ge=0, le=1_000_000)]  # sums and products of weights cannot overflow
_WEIGHTS = f"weights of {', '.join(DEFAULT_WEIGHTS)} from 0 to 1,000,000, none repeated, not all 0, such as success=1"
_Weights = Annotated[Mapping[str, _Weight], Meta(description=_WEIGHTS)]
_MOMENT = "ISO 8601 such as 2026-02-05T12:00:00Z, in the years 1000 to 9999"
_Moment = Annotated[datetime, Meta(description=_MOMENT)]
Capacity = Annotated[int, Meta(ge=1, le=2**31)] | Literal["even", "none"]
TaskFormat = Literal["jsonl", "parquet"]  # of the files with a row per task or attempt
_Retries = Annotated[int, Meta(ge=0, le=100)]
_Names = tuple[str, ...]


def _read_moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.year < _FIRST_YEAR:
        raise ValueError
    return moment


def _read_weights(value: Any) -> dict[str, float]:
    terms = [term.partition("=")[::2] for term in value.split(",")] if isinstance(value, str) else value.items()
    weights = {name.strip(): float(weight) for name, weight in terms}
    if len(weights) < len(terms) or not weights.keys() <= DEFAULT_WEIGHTS.keys() or not any(weights.values()):
        raise ValueError
    return dict.fromkeys(DEFAULT_WEIGHTS, 0.0) | weights


def _read_names(value: Any) -> tuple[str, ...]:
    return tuple(sorted({value} if isinstance(value, str) else set(value)))


# Functions that read options of these types from text.
READERS: dict[Any, Callable[[Any], Any]] = {
    _Weights: _read_weights,
    _Moment | None: _read_moment,
    _Names: _read_names,
}


def _option(group: str, default: Any, *, decides_run: bool = True) -> Any:
    """Declare an option. If it `decides_run`, its value is part of the run's id; for a file, its content is."""
    return field(default=default, metadata={"group": group, "decides_run": decides_run})


def _file(group: str, default: Any = None) -> Any:
    return _option(group, default, decides_run=False)


class Options:
    """Converts and checks every option of a dataclass by its declared type."""

    not_taken: ClassVar[tuple[str, ...]] = ()  # options that the command does not offer

    def __post_init__(self) -> None:
        for option in fields(self):  # type: ignore[arg-type]  # the subclasses are dataclasses
            value, reader = getattr(self, option.name), READERS.get(option.type)
            named = f"--{option.name.replace('_', '-')}"
            object.__setattr__(self, option.name, converted(named, option.type, value, reader))

    @classmethod
    def taken(cls) -> dict[str, Field[Any]]:
        """The options that the command offers, by name."""
        return {option.name: option for option in fields(cls) if option.name not in cls.not_taken}  # type: ignore[arg-type]

    @classmethod
    def of(cls, options: Self | Path | str | None = None, /, **settings: Any) -> Self:
        """Return `options`, or make them from single settings: values may be text, and None means the default.

        Instead of options, the input directory may be given.

        Raises
        ------
        UsageError
            An option is unknown or out of bounds, or both options and settings are given.
        """
        if isinstance(options, Path | str):
            options, settings = None, {"input": options, **settings}
        if not isinstance(options, cls | None):
            raise UsageError(f"options: expected {cls.__name__}, found {options!r:.100}")
        if options is not None and settings:
            raise UsageError(f"expected options or single settings, found both: {', '.join(settings)}")
        if options is not None:
            return options
        known = cls.taken()
        given = {name: value for name, value in settings.items() if value is not None}
        for name in given.keys() - known.keys():
            raise UsageError(f"expected an option of the command, found {name}{suggestion(name, known)}")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class InputOptions(Options):
    """Input directories; by default phase16 and phase17 are beside `input`."""

    input: Path = _file(_INPUTS, Path("outputs/phase18"))
    """Phase 18's directory."""
    phase16: Path | None = _file(_INPUTS)
    """Phase 16's directory; phase16 beside the input by default."""
    phase17: Path | None = _file(_INPUTS)
    """Phase 17's directory; phase17 beside the input by default."""

    @property
    def sources(self) -> tuple[Path, Path | None, Path | None]:
        """Phase 18's, 16's and 17's directories; `phase16` and `phase17` beside the input by default, if they exist."""
        beside = (self.beside_input(name) for name in ("phase16", "phase17"))
        phase16, phase17 = (path if os.path.lexists(path) else None for path in beside)
        return self.input, self.phase16 or phase16, self.phase17 or phase17

    def beside_input(self, name: str) -> Path:
        """The path of `name` in the parent directory of the input."""
        return beside(self.input, name)


@dataclass(frozen=True, kw_only=True)
class PlanOptions(Options):
    """What a plan maximises, and its limits."""

    strategy: OptimizationStrategy = _option(_PLANNING, OptimizationStrategy.MAXIMIZE_SUCCESS)
    """What the assignment maximises."""
    weights: _Weights = _option(_PLANNING, ",".join(f"{name}={weight}" for name, weight in DEFAULT_WEIGHTS.items()))
    """Weights of the score's terms, for the weighted strategy."""
    capacity: Capacity | None = _option(_PLANNING, None)
    """Most tasks of an agent in a wave; by default twice an even share."""
    allow_unassigned: bool = _option(_PLANNING, False)
    """Leave out tasks that no agent has room for, and list them with the reason."""
    max_load_factor: Annotated[float, Meta(ge=1, le=1_000_000)] | None = _option(_PLANNING, None)
    """Limit an agent's planned time to this multiple of the average, for example 1.5."""
    max_retries: _Retries = _option(_PLANNING, 2)
    """Retry a failed task of LOW or MEDIUM risk at most this many times."""
    explore: bool = _option(_PLANNING, False)
    """Prefer agents with few records, to learn about them."""
    exclude_agent: _Names = _option(_PLANNING, ())
    """Agents that get no task; repeat the option for each."""
    exclude_task: _Names = _option(_PLANNING, ())
    """Tasks that are left out of the run; repeat the option for each."""


@dataclass(frozen=True, kw_only=True)
class WaveOptions(InputOptions, PlanOptions):
    """Options of every command that plans waves."""

    waves: Annotated[int, Meta(ge=1, le=1_000_000)] | None = _option(_PLANNING, None)
    """Split the tasks into this many waves of about equal size."""
    agents: Annotated[int, Meta(ge=1, le=100_000)] | None = _option(_PLANNING, None)
    """Use the first N agents; if fewer are known, add agents without records."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = _option(_EXECUTING, 0)
    """Seed of the random numbers: the same seed gives the same result."""
    timestamp: _Moment | None = _option(_EXECUTING, None, decides_run=False)
    """Write this time instead of the current one, for example 2026-02-05T12:00:00Z."""


@dataclass(frozen=True, kw_only=True)
class BacktestOptions(WaveOptions):
    """Options of `backtest`, which replays recorded outcomes."""

    not_taken = ("allow_unassigned", "explore")
    max_retries: _Retries = _option(_PLANNING, 0)
    executions: Path | None = _file(_INPUTS)
    """A file of recorded outcomes to replay; forecasts use all records of the inputs."""
    split_at: _Moment | None = _option(_INPUTS, None)
    """Replay records from this time on (default: last 20 %); forecasts use earlier ones."""
    leave_out: Literal["trials", "tasks"] | None = _option(_INPUTS, None)
    """Replay the last trial of each task and agent, or half of the tasks, whatever their time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        sources = ("executions", "split_at", "leave_out")
        given = [f"--{name.replace('_', '-')}" for name in sources if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"expected one source of outcomes to replay, found {' and '.join(given)}")


@dataclass(frozen=True, kw_only=True)
class RunOptions(WaveOptions):
    """Options of one run, as `python -m phase19 run` takes them.

    Raises
    ------
    UsageError
        An option is out of bounds.
    """

    priority: PriorityStrategy = _option(_PLANNING, PriorityStrategy.RISK_CONFIDENCE)
    """What decides which of an agent's tasks comes first."""
    previous: Path | None = _file(_INPUTS)
    """An earlier run to continue from, with its heuristic weights and outcomes."""
    thresholds: Path | None = _file(_INPUTS)
    """A TOML file that replaces thresholds; phase19/inputs/thresholds.toml lists them all."""
    executor: Literal["simulate", "replay", "live"] = _option(_EXECUTING, "simulate")
    """Simulate outcomes (a dry run), replay recorded ones, or run tasks live (from Python only)."""
    executions: Path | None = _file(_EXECUTING)
    """A file of recorded outcomes to replay."""
    approve: Path | None = _file(_EXECUTING)
    """A file with the ids of approved tasks, one per line."""
    require_approval: bool = _option(_EXECUTING, False)
    """Require approval of MEDIUM risk tasks too."""
    output: Path | None = _file(_OUTPUT)
    """The run directory; phase19 beside the input by default."""
    format: TaskFormat = _option(_OUTPUT, "jsonl", decides_run=False)
    """Write the files with a row per task or attempt as JSON lines or as Parquet."""
    deliver_feedback: bool = _option(_OUTPUT, False, decides_run=False)
    """Append the feedback to files in Phase 16's and Phase 18's directories."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.executor == "replay") != (self.executions is not None):
            raise UsageError("expected both --executor replay and --executions FILE, or neither; found only one")

    @property
    def output_dir(self) -> Path:
        """Where the run directory appears: `--output`, else `phase19` beside the input."""
        return self.output or self.beside_input("phase19")

    def deciding(self) -> dict[str, object]:
        """The options that decide what a run computes, by name, without paths of files."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.metadata["decides_run"]}


@dataclass(frozen=True, kw_only=True)
class CompareOptions(WaveOptions):
    """Options of `compare`, which plans with every strategy."""

    not_taken = ("strategy", "allow_unassigned")


@dataclass(frozen=True, kw_only=True)
class SweepOptions(RunOptions):
    """Options of one run of a sweep, which writes no run directory."""

    not_taken = ("timestamp", "output", "format", "deliver_feedback")
    executor: Literal["simulate", "replay"] = _option(_EXECUTING, "simulate")
    """Simulate outcomes (a dry run), or replay recorded ones."""

    def files(self) -> dict[str, Path]:
        """The files and directories that the run reads, by option."""
        named = dict(zip(("input", "phase16", "phase17"), self.sources, strict=True))
        named |= {name: getattr(self, name) for name in ("previous", "thresholds", "executions", "approve")}
        return {name: path for name, path in named.items() if path is not None}

    def with_absolute_paths(self) -> Self:
        """The same options, independent of the current directory."""
        paths: dict[str, Any] = {name: path.absolute() for name, path in self.files().items()}
        return replace(self, **paths)


F = TypeVar("F", bound=Callable[..., Any])
# A class, or an option and the text below it. Unlike `ast`, this takes no time when the command starts.
_DECLARED = re.compile(r'^class (\w+)|^    (\w+): .*\n    """(.+)"""$', re.MULTILINE)


def takes_settings(declared: type[Options], *, has_defaults: bool = True) -> Callable[[F], F]:
    """Decorate a function to show the declared options as its own keywords instead of `**settings`.

    Its signature and the section Parameters of its docstring, from which notebooks complete, then list every option,
    with its declared default or None. settings.pyi says the same to type checkers.
    """

    def show(function: F) -> F:
        own = signature(function)
        parameters = [each for each in own.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        options = {name: each for name, each in declared.taken().items() if name not in own.parameters}
        defaults = {name: each.default if has_defaults else None for name, each in options.items()}
        parameters += [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in defaults.items()]
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        texts = {f"{name} : {in_words(each.type)}": _text(declared, name) for name, each in options.items()}
        function.__doc__ = re.sub(
            r"( *)\*\*settings\n.*",
            lambda found: "\n".join(f"{found[1]}{title}\n{found[1]}    {text}" for title, text in texts.items()),
            function.__doc__ or "",
        )
        return function

    return show


def _text(declared: type, name: str) -> str:
    """The text below the declaration of an option."""
    return next(text for owner in declared.__mro__ if (text := _texts(owner.__module__).get((owner.__name__, name))))


@cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    """The texts below the declarations of options, by class and name."""
    found, owner = {}, ""
    for name, option, text in _DECLARED.findall(Path(str(sys.modules[module].__file__)).read_text("utf-8")):
        owner = name or owner
        found[owner, option] = text
    return found

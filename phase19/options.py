"""What a run is asked to do: every option of the command, its default and its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from phase19.errors import UsageError
from phase19.moments import parse_moment

__all__ = ["DEFAULT_WEIGHTS", "EXECUTORS", "OptimizationStrategy", "RunOptions", "parse_weights"]

EXECUTORS = ("simulate", "replay", "live")
DEFAULT_WEIGHTS = {"success": 0.6, "throughput": 0.3, "confidence": 0.1}
_LARGEST_WEIGHT = 1e6  # their sum and products stay far from overflow
# Least and largest; seeds are 64-bit in every file, and more of the others than these is a slip of the keyboard.
_WHOLE_NUMBERS = {
    "waves": (1, 1_000_000),
    "agents": (1, 100_000),
    "capacity": (1, 2**31),
    "max_retries": (0, 100),
    "seed": (0, 2**63 - 1),
}


class OptimizationStrategy(StrEnum):
    """What an assignment maximises; `weighted` and `auto` are the command's additions."""

    MAXIMIZE_SUCCESS = "maximize_success"
    MAXIMIZE_THROUGHPUT = "maximize_throughput"
    BALANCE_LOAD = "balance_load"
    MINIMIZE_RETRIES = "minimize_retries"
    CONFIDENCE_OPTIMIZATION = "confidence_optimization"
    WEIGHTED = "weighted"
    AUTO = "auto"


def parse_weights(text: str) -> dict[str, float]:
    """Read `success=0.6,throughput=0.3,confidence=0.1`; terms left out weigh nothing.

    Raises
    ------
    UsageError
        A term is unknown, a weight is not a finite number >= 0, or all are zero.
    """
    weights = dict.fromkeys(DEFAULT_WEIGHTS, 0.0)
    given: set[str] = set()
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() in given:
            raise UsageError(f"--weights: expected each term once, found {name.strip()} twice")
        given.add(name.strip())
        if name.strip() not in weights:
            raise UsageError(f"--weights: expected terms among {', '.join(weights)}, found {part.strip()!r}")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--weights: expected a number after {name.strip()}=, found {value!r}") from None
    _check_weights(weights, text)
    return weights


def _check_weights(weights: dict[str, float], given: object) -> None:
    if not all(math.isfinite(w) and w >= 0 for w in weights.values()) or not sum(weights.values()) > 0:
        raise UsageError(f"--weights: expected finite weights >= 0 that are not all zero, found {given!r}")
    if max(weights.values()) > _LARGEST_WEIGHT:
        raise UsageError(f"--weights: expected weights of at most {_LARGEST_WEIGHT:,.0f}, found {given!r}")


def _check_whole_number(option: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{option}: expected a whole number, found {value!r}")
    if value < low:
        raise UsageError(f"{option}: expected {low} or more, found {value}")
    if value > high:
        found = str(value) if value < 10**30 else "a far larger one"  # Python itself refuses to print 5,000 digits
        raise UsageError(f"{option}: expected {high} or less, found {found}")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one run, as `python -m phase19 run` takes them; paths left out follow `input`.

    Raises
    ------
    UsageError
        An option is out of bounds.
    """

    input: Path
    output: Path | None = None
    phase16: Path | None = None
    phase17: Path | None = None
    strategy: OptimizationStrategy = OptimizationStrategy.MAXIMIZE_SUCCESS
    weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    waves: int | None = None
    agents: int | None = None
    capacity: int | None = None
    allow_unassigned: bool = False
    max_load_factor: float | None = None
    max_retries: int = 2
    explore: bool = False
    previous: Path | None = None
    thresholds: Path | None = None
    censored_errors: tuple[str, ...] = ()
    executor: str = "simulate"
    executions: Path | None = None
    approve: Path | None = None
    require_approval: bool = False
    deliver_feedback: bool = False
    seed: int = 0
    timestamp: str | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _WHOLE_NUMBERS.items():
            value = getattr(self, name)
            if value is not None or self.__dataclass_fields__[name].default is not None:
                _check_whole_number(f"--{name.replace('_', '-')}", value, low, high)
        factor: object = self.max_load_factor
        is_number = isinstance(factor, int | float) and not isinstance(factor, bool) and 1 <= factor < math.inf
        if factor is not None and not is_number:
            raise UsageError(f"--max-load-factor: expected a finite number >= 1, found {factor}")
        _check_weights(self.weights, self.weights)
        errors: object = self.censored_errors
        if not isinstance(errors, tuple) or not all(isinstance(name, str) and name for name in errors):
            raise UsageError(f"--censored-errors: expected error messages, none of them empty, found {errors!r}")
        if self.timestamp is not None:
            parse_moment(self.timestamp, "--timestamp")
        if self.executor not in EXECUTORS:
            raise UsageError(f"--executor: expected one of {', '.join(EXECUTORS)}, found {self.executor!r}")
        if (self.executor == "replay") != (self.executions is not None):
            raise UsageError("--executions FILE and --executor replay go together, found only one of them")

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Options from settings as a user writes them: paths and the strategy as text, weights as text or dict.

        Censored errors may be a text, parted by commas, or a list of messages that may hold commas.
        """
        unknown = settings.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise UsageError(f"expected options of a run, found {', '.join(sorted(unknown))}")
        if "input" not in settings:
            raise UsageError("input: expected Phase 18's directory, found nothing")
        for name in ("input", "output", "phase16", "phase17", "previous", "thresholds", "executions", "approve"):
            if settings.get(name) is not None:
                if settings[name] == "":
                    raise UsageError(f"--{name}: expected a path, found an empty text")
                settings[name] = Path(settings[name])
        if "strategy" in settings:
            try:
                settings["strategy"] = OptimizationStrategy(settings["strategy"])
            except ValueError:
                names = ", ".join(OptimizationStrategy)
                raise UsageError(f"--strategy: expected one of {names}, found {settings['strategy']!r}") from None
        errors = settings.pop("censored_errors", None)
        if errors is not None:
            parts = (name.strip() for name in errors.split(",")) if isinstance(errors, str) else errors
            settings["censored_errors"] = tuple(parts)
        weights = settings.pop("weights", None)
        if weights is not None:
            text = weights if isinstance(weights, str) else ",".join(f"{k}={weight}" for k, weight in weights.items())
            settings["weights"] = parse_weights(text)
        return cls(**settings)

    @property
    def output_dir(self) -> Path:
        """Where the run directory appears: `--output`, else `phase19` beside the input."""
        return self.output if self.output is not None else self._beside("phase19")

    @property
    def phase16_dir(self) -> Path | None:
        """Phase 16's directory: `--phase16`, else `phase16` beside the input where it is there."""
        return self._given_or_there(self.phase16, "phase16")

    @property
    def phase17_dir(self) -> Path | None:
        """Phase 17's directory: `--phase17`, else `phase17` beside the input where it is there."""
        return self._given_or_there(self.phase17, "phase17")

    def _beside(self, name: str) -> Path:
        # `.` and `..` have themselves or nothing as their parent's text: only their real place has a neighbour.
        is_named = self.input.name not in {"", ".."}
        return (self.input if is_named else self.input.resolve()).parent / name

    def _given_or_there(self, given: Path | None, name: str) -> Path | None:
        beside = self._beside(name)
        return given if given is not None else (beside if beside.is_dir() else None)

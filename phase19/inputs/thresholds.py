"""Every threshold that the SQL compares with: metric bounds and rules, their defaults, and a `--thresholds` file."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta

from phase19.errors import InputError
from phase19.inputs.decoding import decode_text, mismatch

Threshold = Annotated[float, Meta(ge=0.0, le=1e6)]  # far above any that means something, and far from overflow
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
LogMargin = Annotated[float, Meta(ge=0.0, le=10.0)]  # on the log scale: at most 22,000 times as long
# Shared among the tests of a run, the smallest probability still has a quantile; above one half it is not in the tail.
TailProbability = Annotated[float, Meta(ge=1e-9, le=0.5)]
Power = Annotated[float, Meta(ge=0.5, le=1 - 1e-9)]

# The bounds of the metrics (Phase 19 definition): unit, target, min, max.
_METRICS: dict[str, tuple[str, float, float, float]] = {
    "schedule_accuracy": ("fraction", 0.90, 0.85, 1.0),
    "throughput_efficiency": ("ratio", 0.95, 0.90, 1.0),
    "agent_utilization": ("fraction", 0.80, 0.60, 1.0),
    "confidence_trajectory": ("ratio", 1.0, 0.90, 1.1),
    "schedule_adherence": ("fraction", 0.90, 0.85, 1.0),
}
_CHECKS = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")
_ORDERED = (
    *((f"{check}_medium", f"{check}_high") for check in _CHECKS),
    ("heuristic_weight_min", "heuristic_weight_max"),
    ("health_fair", "health_good"),
    ("health_good", "health_excellent"),
)


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of metrics, anomalies, health, weights and signals.

    Severities compare an anomaly's effect with `<type>_medium` and `<type>_high`; below medium it is low.
    """

    # A metric is critical when it is outside its bounds by more than this part of the bound (Phase 19 definition).
    critical_margin: Threshold = 0.10
    # Planned confidence change below which the trajectory has no meaning (Phase 19 definition).
    negligible_confidence_delta: Threshold = 1e-6
    # Forecasts are kept this far from 0 and 1 in the log loss, which is infinite there.
    log_loss_floor: TailProbability = 1e-6
    # False-alarm probability of each anomaly type in a calibrated run, one-sided.
    alarm_probability: TailProbability = 0.0125
    # Probability of detecting a problem of the size that a test calls detectable.
    detection_power: Power = 0.90
    # Overestimate of the success rate that does not matter, even if significant.
    prediction_error_margin: Threshold = 0.01
    # Overestimate of the success rate.
    prediction_error_medium: Threshold = 0.05
    prediction_error_high: Threshold = 0.15
    # Delay that does not matter, on the log scale: log(1.05) is 5 % longer than forecast.
    schedule_drift_margin: LogMargin = math.log(1.05)
    # Duration as a multiple of its forecast.
    schedule_drift_medium: Threshold = 1.25
    schedule_drift_high: Threshold = 1.5
    # Drop of an agent's success rate against its peers.
    performance_degradation_medium: Threshold = 0.10
    performance_degradation_high: Threshold = 0.25
    # Drop that does not matter, even if significant.
    performance_degradation_margin: Threshold = 0.02
    # Information about the promised advantage below which its slope is not reported.
    optimization_failure_information: Threshold = 3.0
    # Part of the promised advantage whose loss does not matter: the best of many forecasts promises too much.
    optimization_failure_margin: Threshold = 0.10
    # Missing part of the promised advantage; 1 if all of it is missing.
    optimization_failure_medium: Threshold = 0.5
    optimization_failure_high: Threshold = 1.0
    # Smallest detectable problem above which a check needs more data: no run passes that cannot detect that a fifth
    # of all tasks fail, times double, half of an agent's tasks fail, or the whole advantage is lost.
    prediction_error_limit: Threshold = 0.20
    schedule_drift_limit: Threshold = 2.0
    performance_degradation_limit: Threshold = 0.5
    optimization_failure_limit: Threshold = 1.0
    # Points that an anomaly takes from system stability (Phase 19 definition).
    penalty_low: Threshold = 5.0
    penalty_medium: Threshold = 15.0
    penalty_high: Threshold = 30.0
    # Lowest health score of each status; below fair it is poor (Phase 19 definition).
    health_excellent: Threshold = 85.0
    health_good: Threshold = 70.0
    health_fair: Threshold = 50.0
    # Weights of the health components; those without data are left out of the mean.
    weight_optimization_accuracy: Threshold = 1.0
    weight_schedule_adherence: Threshold = 1.0
    weight_throughput_efficiency: Threshold = 1.0
    weight_system_stability: Threshold = 1.0
    # Change of the error over all waves, in standard deviations of chance, up to which forecasts count as stable.
    convergence_margin: Threshold = 1.0
    # Tasks of evidence at which a lift counts half: outcome variance over the variance of true lifts, 0.2 / 0.1^2
    # where lifts of 10 points are typical.
    heuristic_shrinkage: Threshold = 20.0
    # Largest change of a weight in a run (Phase 19 definition).
    heuristic_step: Threshold = 0.05
    # Bounds of a weight (Phase 19 definition).
    heuristic_weight_min: Threshold = 0.5
    heuristic_weight_max: Threshold = 1.5
    # Smallest change of a weight that becomes a learning signal.
    heuristic_signal_step: Threshold = 0.01
    # Probability of one false signal among all signals of one kind.
    signal_probability: TailProbability = 0.05
    # Tasks that an agent and its peers must each have at a risk level before they are compared.
    specialization_count: Threshold = 10.0

    def __post_init__(self) -> None:
        for low, high in _ORDERED:
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} <= {high}, found {getattr(self, low):g} and {getattr(self, high):g}")
        if not any(getattr(self, name) > 0 for name in self.__struct_fields__ if name.startswith("weight_")):
            raise ValueError("at least one weight_* above 0, found none")

    def frame(self) -> pl.DataFrame:
        """The rules as one row, a column a rule, the way the SQL reads them."""
        return pl.DataFrame([msgspec.structs.asdict(self)])


def _check_order(bounds: Any) -> None:
    if not bounds.min <= bounds.target <= bounds.max:
        raise ValueError(f"min <= target <= max, found {bounds.min:g}, {bounds.target:g} and {bounds.max:g}")


def _table(name: str, *fields: tuple[str, Any, Any], check: Callable[[Any], None] | None = None) -> Any:
    """A TOML table with these keys, their types and defaults."""
    namespace = {"__post_init__": check} if check else {}
    return msgspec.defstruct(name, fields, namespace=namespace, kw_only=True, forbid_unknown_fields=True)


def _bounds(name: str, unit: str, *values: float) -> tuple[str, Any, Any]:
    kind = Fraction if unit == "fraction" else Threshold
    keys = ((key, kind, value) for key, value in zip(("target", "min", "max"), values, strict=True))
    table = _table(name, *keys, check=_check_order)
    return name, table, msgspec.field(default_factory=table)


_Metrics = _table("Metrics", *(_bounds(name, *bounds) for name, bounds in _METRICS.items()))
_Document = _table(
    "Thresholds",
    ("rules", Rules, msgspec.field(default_factory=Rules)),
    ("metrics", _Metrics, msgspec.field(default_factory=_Metrics)),
)


def metric_bounds(metrics: Any = None) -> pl.DataFrame:
    """Target and bounds of the five metrics, one row each, in the order they are reported.

    Returns
    -------
    polars.DataFrame
        position (from 1), metric_name, unit, target_value, threshold_min, threshold_max.

    References
    ----------
    Phase 19 definition, "Bounds".
    """
    tables = msgspec.to_builtins(_Metrics() if metrics is None else metrics)
    return pl.DataFrame(
        [
            (position, name, unit, *tables[name].values())
            for position, (name, (unit, *_)) in enumerate(_METRICS.items(), 1)
        ],
        schema={"position": pl.Int64, "metric_name": pl.String, "unit": pl.String}
        | dict.fromkeys(("target_value", "threshold_min", "threshold_max"), pl.Float64),
        orient="row",
    )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds in force.

    Attributes
    ----------
    rules
        The rules.
    bounds
        The metrics' bounds, as :func:`metric_bounds` gives them.
    changed
        What differs from the defaults, as `rules.alarm_probability` or `metrics.schedule_accuracy.min`, and its value.
    file
        Name of the file they are from; None where there is none.
    """

    rules: Rules = field(default_factory=Rules)
    bounds: pl.DataFrame = field(default_factory=metric_bounds)
    changed: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None

    def frames(self) -> dict[str, pl.DataFrame]:
        """The frames that the SQL reads them from."""
        return {"rules": self.rules.frame(), "metric_bounds": self.bounds}


def read_thresholds(path: Path) -> Thresholds:
    """Read a `--thresholds` file; what it leaves out keeps its default.

    Parameters
    ----------
    path
        TOML: a table `rules` with fields of :class:`Rules`, and tables `metrics.NAME` with any of `target`, `min` and
        `max`, in the unit of the metric.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML, a key is unknown, a value is of the wrong type or out of bounds, or two
        values contradict each other.
    """
    import tomllib  # 10 ms, and few runs have a file

    text = decode_text(path).replace("\r\n", "\n")  # TOML refuses a part that ends with a carriage return
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # also integers of thousands of digits, nesting as deep
        at = re.search(r" \(at line (\d+), column \d+\)$", str(problem))
        last = int(at[1]) if at else text.count("\n") + 1
        raise InputError(str(path), line=last, expected="TOML", found=f"an error ({problem})") from problem
    defaults = _flat(msgspec.to_builtins(_Document()))
    try:
        found = msgspec.convert(document, _Document)
    except msgspec.ValidationError as problem:
        expected, shown, keys = mismatch(document, _Document, str(problem), defaults)
        expected = expected.replace("an object", "a table")
        name, line = ".".join(map(str, keys)), _line_of(text, keys)
        raise InputError(str(path), line=line, field=name, expected=expected, found=shown) from problem
    bounds = metric_bounds(found.metrics)
    values = _flat(msgspec.to_builtins(found))
    changed = {".".join(keys): value for keys, value in values.items() if value != defaults[keys]}
    return Thresholds(found.rules, bounds, changed, path.name)


def _flat(tables: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The values of nested tables by their keys."""
    flat: dict[tuple[str, ...], Any] = {}
    for name, value in tables.items():
        flat |= _flat(value, (*prefix, name)) if isinstance(value, dict) else {(*prefix, name): value}
    return flat


def _line_of(text: str, keys: tuple[str | int, ...]) -> int:
    """The line of the last of these keys, each of which is searched for after the one before."""
    code, place = re.sub("#.*", "", text), 0
    for key in keys:
        found = re.compile(rf"\b{re.escape(str(key))}\b").search(code, place)
        place = found.end() if found else place
    return code.count("\n", 0, place) + 1

"""Thresholds that the SQL uses: the defaults in thresholds.toml, and a `--thresholds` file that replaces some."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from phase19.errors import InputError, suggestion
from phase19.inputs.decoding import decode_toml
from phase19.inputs.refusals import line_of, shorten

_DEFAULTS = Path(__file__).with_name("thresholds.toml")
_UNBOUNDED = ("throughput_efficiency", "confidence_trajectory")  # metrics that may exceed 1
# Smallest and largest value, by suffix of the dotted name; the first match applies.
_LIMITS = {
    # A run divides the probability among its tests: from 1e-9 on, each part has a finite quantile. Above 0.5, no tail.
    "_probability": (1e-9, 0.5),
    "log_loss_floor": (1e-9, 0.5),
    "detection_power": (0.5, 1 - 1e-9),
    "schedule_drift_margin": (0.0, 10.0),  # on the log scale: at most 22,000 times as long
    **{f"{name}.{key}": (0.0, 1e6) for name in _UNBOUNDED for key in ("target", "min", "max")},
    **dict.fromkeys((".target", ".min", ".max"), (0.0, 1.0)),
    "": (0.0, 1e6),  # above any useful value, and safe from overflow
}
_CHECKS = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")
_ORDERED = (
    *((f"{check}_medium", f"{check}_high") for check in _CHECKS),
    ("heuristic_weight_min", "heuristic_weight_max"),
    ("health_fair", "health_good"),
    ("health_good", "health_excellent"),
)


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_DEFAULTS.read_text("utf-8"))


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds in force.

    Attributes
    ----------
    rules
        Thresholds of metrics, anomalies, health, weights and signals by name.
    metrics
        `target`, `min` and `max` of the metrics by name, in the order of the reports.
    changed
        Values that differ from the defaults, by dotted name such as `metrics.schedule_accuracy.min`.
    file
        Name of the `--thresholds` file; None without one.
    """

    rules: Mapping[str, float] = field(default_factory=lambda: _defaults()["rules"])
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: _defaults()["metrics"])
    changed: Mapping[str, float] = field(default_factory=dict)
    file: str | None = None

    def frames(self) -> dict[str, pl.DataFrame]:
        """Frames for the SQL: `rules` with one row, and `metric_bounds` with one row per metric."""
        rows = [{"metric_name": name, "unit": "ratio", **bounds} for name, bounds in self.metrics.items()]
        names = {"target": "target_value", "min": "threshold_min", "max": "threshold_max"}
        metric_bounds = pl.DataFrame(rows).rename(names).with_columns(position=pl.int_range(1, pl.len() + 1))
        return {"rules": pl.DataFrame([self.rules]), "metric_bounds": metric_bounds}


def read_thresholds(path: Path) -> Thresholds:
    """Read a `--thresholds` file; missing keys keep their defaults.

    Parameters
    ----------
    path
        TOML with any of the tables and keys of `thresholds.toml`.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML; a key is unknown; a value has the wrong type or is out of bounds; or two
        values contradict each other.
    """
    text, document = decode_toml(path)
    changed: dict[str, float] = {}

    def error(keys: tuple[str, ...], expected: str, found: str) -> InputError:
        line = line_of(re.sub("#.*", "", text), keys, key_form=r"\b{}\b")
        return InputError(str(path), line=line, field=".".join(keys), expected=expected, found=found)

    def replace(default: Any, value: Any, keys: tuple[str, ...]) -> Any:
        """Replace a default with the file's value; in a table, keys missing from the file keep their defaults."""
        if isinstance(default, dict):
            if not isinstance(value, dict):
                raise error(keys, "a table", shorten(repr(value)))
            for key in value:
                if key not in default:
                    raise error((*keys, key), f"one of {', '.join(default)}", f"{key!r}{suggestion(key, default)}")
            return default | {key: replace(default[key], value[key], (*keys, key)) for key in value}
        name = ".".join(keys)
        low, high = next(limits for end, limits in _LIMITS.items() if name.endswith(end))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise error(keys, f"a number from {low:.9g} to {high:.9g}", shorten(repr(value)))
        if value != default:
            changed[name] = float(value)
        return float(value)

    tables = replace(_defaults(), document, ())
    rules, metrics = tables["rules"], tables["metrics"]
    for low, high in _ORDERED:
        if rules[low] > rules[high]:
            raise error(("rules",), f"{low} <= {high}", f"{rules[low]:g} and {rules[high]:g}")
    if not any(value > 0 for name, value in rules.items() if name.startswith("weight_")):
        raise error(("rules",), "at least one weight_* above 0", "none")
    for name, bounds in metrics.items():
        if not bounds["min"] <= bounds["target"] <= bounds["max"]:
            found = f"{bounds['min']:g}, {bounds['target']:g} and {bounds['max']:g}"
            raise error(("metrics", name), "min <= target <= max", found)
    return Thresholds(rules, metrics, changed, path.name)

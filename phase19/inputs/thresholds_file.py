"""A `--thresholds` file: TOML that replaces some of the rules and of the metrics' bounds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19.errors import InputError, UsageError
from phase19.inputs.decoding import decode_text
from phase19.inputs.thresholds import LARGEST_THRESHOLD, Rules, metric_bounds

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["BOUND_KEYS", "Thresholds", "read_thresholds"]

BOUND_KEYS = {"target": "target_value", "min": "threshold_min", "max": "threshold_max"}
_REFUSED = (ValueError, RecursionError)  # beside its own errors: integers of thousands of digits, nesting as deep
_PLACE = re.compile(r"^(?P<reason>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$", re.DOTALL)
_FOUND_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a run's figures are judged by.

    Attributes
    ----------
    rules
        The rules in force.
    bounds
        The metrics' bounds in force, as :func:`phase19.inputs.thresholds.metric_bounds` gives them.
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
        TOML: a table `rules` with fields of :class:`~phase19.inputs.thresholds.Rules`, and tables `metrics.NAME` with
        any of `target`, `min` and `max`, in the unit of the metric.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML, a key is unknown, or a value of the wrong type or out of bounds.
    UsageError
        Two rules contradict each other; the message names the file too.
    """
    source = _Source(path)
    document = source.parse()
    source.check_keys((), document, ("rules", "metrics"))
    overridden = source.table(("rules",), document)
    defaults = {rule.name: rule.default for rule in fields(Rules)}
    source.check_keys(("rules",), overridden, defaults)
    for name, value in overridden.items():
        source.check_type(("rules", name), value, type(defaults[name]))
    rules = source.rules(overridden)
    bounds, moved = source.bounds(source.table(("metrics",), document))
    changed = {f"rules.{name}": value for name, value in overridden.items() if value != defaults[name]}
    return Thresholds(rules, bounds, changed | moved, path.name)


class _Source:
    """The text of a file, and what is said about a place in it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.text = decode_text(path)

    def parse(self) -> dict[str, Any]:
        import tomllib  # 10 ms, and few runs have a file

        try:
            return tomllib.loads(self.text)
        except _REFUSED as problem:
            place = _PLACE.match(str(problem))
            reason = place["reason"] if place else str(problem)
            line = int(place["line"]) if place and place["line"] else self.text.count("\n") + 1
            raise InputError(self.path, line=line, expected="TOML", found=f"an error ({reason})") from problem

    def refuse(self, key: tuple[str, ...], expected: str, found: str) -> InputError:
        return InputError(self.path, line=self.line_of(key), field=".".join(key), expected=expected, found=found)

    def line_of(self, key: tuple[str, ...]) -> int | None:
        """Where the statement begins that first gives a key: after the longest part of the file without it."""
        import tomllib

        lines = self.text.split("\n")
        before = 0
        for count in range(1, len(lines) + 1):
            try:
                node: Any = tomllib.loads("\n".join(lines[:count]))
            except _REFUSED:  # the part ends within a statement
                continue
            for name in key:
                node = node.get(name) if isinstance(node, dict) else None
            if node is not None:
                return before + 1
            before = count
        return None

    def check_keys(self, at: tuple[str, ...], table: Mapping[str, Any], known: Collection[str]) -> None:
        for name in table:
            if name not in known:
                raise self.refuse((*at, name), f"one of {', '.join(known)}", repr(name))

    def table(self, key: tuple[str, ...], within: Mapping[str, Any]) -> dict[str, Any]:
        found = within.get(key[-1], {})
        if not isinstance(found, dict):
            raise self.refuse(key, "a table", _shown(found))
        return found

    def check_type(self, key: tuple[str, ...], value: object, wanted: type) -> None:
        """A number may be written without a point; nothing else stands for what it is not."""
        accepted = (int, float) if wanted is float else wanted
        names = {float: "a number", int: "a whole number", bool: "true or false"}
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            raise self.refuse(key, names.get(wanted, wanted.__name__), _shown(value))
        if isinstance(value, int | float) and value > LARGEST_THRESHOLD:
            raise self.refuse(key, f"a number of at most {LARGEST_THRESHOLD:,.0f}", _shown(value))

    def rules(self, overridden: Mapping[str, Any]) -> Rules:
        defaults = Rules()
        values = {k: float(v) if isinstance(getattr(defaults, k), float) else v for k, v in overridden.items()}
        try:
            return Rules(**values)
        except UsageError as problem:
            named = (name for name in values if re.search(rf"\b{name}\b", str(problem)))
            line = next((self.line_of(("rules", name)) for name in named), None)
            place = self.path if line is None else f"{self.path}, line {line}"
            raise UsageError(f"{place}: {problem}") from problem

    def bounds(self, metrics: Mapping[str, Any]) -> tuple[pl.DataFrame, dict[str, float]]:
        """The bounds of all metrics, and those that differ from their defaults."""
        rows = {row["metric_name"]: row for row in metric_bounds().to_dicts()}
        self.check_keys(("metrics",), metrics, rows)
        changed: dict[str, float] = {}
        for metric in metrics:
            at, row = ("metrics", metric), rows[metric]
            given = self.table(at, metrics)
            self.check_keys(at, given, BOUND_KEYS)
            largest = 1.0 if row["unit"] == "fraction" else LARGEST_THRESHOLD
            for name, value in given.items():
                self.check_type((*at, name), value, float)
                if not 0 <= value <= largest:
                    raise self.refuse((*at, name), f"a number in [0, {largest:g}]", _shown(value))
                if value != row[BOUND_KEYS[name]]:
                    changed[".".join((*at, name))] = float(value)
                row[BOUND_KEYS[name]] = float(value)
            if given and not row["threshold_min"] <= row["target_value"] <= row["threshold_max"]:
                found = ", ".join(f"{name} {row[column]:g}" for name, column in BOUND_KEYS.items())
                raise self.refuse((*at, next(iter(given))), "min <= target <= max", found)
        return pl.DataFrame(list(rows.values()), schema=metric_bounds().schema), changed


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _FOUND_LENGTH else f"{text[: _FOUND_LENGTH - 3]}..."

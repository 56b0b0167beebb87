"""The oracle beside `sql/`: each table once more, in plain Python, from a run's input frames and the definitions alone.

A function under :func:`recomputes` gives the rows a file of `sql/` should give, in their order, every column of them.
The modules `tests/recomputed_*.py` hold them; a test compares them with what DuckDB gives.
"""

from __future__ import annotations

import json
import math
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from tests.rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

Rows = list[dict[str, Any]]
RECOMPUTED: dict[str, Callable[[World], Rows]] = {}
_DTYPES = dict.fromkeys(("actual_duration_ms", "actual_end_time", "deviation_ms"), object)  # None where unknown


def natural(name: str) -> tuple[str, str]:
    """What ids are sorted by: numbers by their size, ids that differ only in leading zeros as text."""
    return re.sub(r"[0-9]+", lambda digits: digits[0].lstrip("0").rjust(40, "0"), name), name


Z90 = 1.6448536269514722  # what a standard normal exceeds one time in twenty
STAMP = "2026-02-05T12:00:00Z"


def recomputes(stem: str) -> Callable[[Callable[[World], Rows]], Callable[[World], Rows]]:
    """Say which file of `sql/` a function recomputes."""

    def keep(function: Callable[[World], Rows]) -> Callable[[World], Rows]:
        assert stem not in RECOMPUTED
        RECOMPUTED[stem] = function
        return function

    return keep


class Says(tuple):
    """What a text should say: these parts, in this order, and no other figure with a decimal point."""

    __slots__ = ()


class Json(float):
    """A number that a column holds as JSON text."""


class World:
    """A run's input frames, and the tables recomputed from them, each once."""

    def __init__(self, frames: dict[str, pl.DataFrame], rules: Rules | None = None) -> None:
        self.frames, self.rules = frames, rules or Rules()
        self.run = frames["run"].row(0, named=True)
        self.agents: list[str] = frames["agents"]["agent_id"].to_list()
        self.plans = sorted(frames["wave_plans"].to_dicts(), key=lambda row: row["wave"])
        self.is_simulated = self.run["is_simulated"]
        self._tables: dict[str, Rows] = {}

    def __getitem__(self, stem: str) -> Rows:
        if stem not in self._tables:
            self._tables[stem] = RECOMPUTED[stem](self)
        return self._tables[stem]

    def one(self, stem: str) -> dict[str, Any]:
        (row,) = self[stem]
        return row

    @cached_property
    def tasks(self) -> Rows:
        """Every task of the run."""
        return self.frames["executions"].to_dicts()

    @cached_property
    def results(self) -> dict[str, np.ndarray]:
        """The recomputed `task_results`, a column an array."""
        rows = self["task_results"]
        names = [name for name in (rows[0] if rows else ()) if name != "heuristics_applied"]
        return {name: np.array([row[name] for row in rows], dtype=_DTYPES.get(name)) for name in names}

    @property
    def ran_waves(self) -> list[int]:
        """Numbers of the waves in which something ran."""
        return [row["wave"] for row in self.waves_that_ran()]

    def waves_that_ran(self) -> Rows:
        return [row for row in self["wave_totals"] if row["ran_count"] > 0]

    def draws(self, wave: int, column: str) -> np.ndarray:
        """A column of a wave's draws, in the order of their numbers."""
        return self._draws.get(wave, {}).get(column, np.zeros(0))

    @cached_property
    def _draws(self) -> dict[int, dict[str, np.ndarray]]:
        frame = self.frames["wave_draws"].sort("wave", "draw")
        return {
            int(wave): {name: frame.filter(wave=wave)[name].to_numpy() for name in frame.columns}
            for wave in frame["wave"].unique()
        }

    @cached_property
    def evidence(self) -> dict[tuple[int, str], dict[str, Any]]:
        """Rows of `agent_evidence` by wave and agent."""
        return {(row["wave"], row["agent_id"]): row for row in self.frames["agent_evidence"].to_dicts()}


def over(a: float | None, b: float | None) -> float | None:
    """A quotient, None where there is none."""
    return None if a is None or b is None or b == 0 else a / b


def over_known(rows: Rows, a: str, b: str) -> float | None:
    """Section 4, null is unknown: the quotient of two sums over the rows that know both."""
    known = [row for row in rows if row[a] is not None and row[b] is not None]
    return over(math.fsum(row[a] for row in known), math.fsum(row[b] for row in known))


def adherence(deviation_ms: float | None, end_ms: float | None) -> float | None:
    """Section 5: 1 - deviation / end, clipped; with an end of 0, as accuracy with a plan of 0: 1 if on time, else 0."""
    if deviation_ms is None or end_ms is None:
        return None
    return max(0.0, 1 - deviation_ms / end_ms) if end_ms else float(deviation_ms == 0)


def accuracy(planned: float | None, actual: float | None) -> float | None:
    """Section 5: 1 - |planned - actual| / planned, clipped; with planned 0: 1 if actual is 0, else 0."""
    if planned is None or actual is None:
        return None
    if planned == 0:
        return 1.0 if actual == 0 else 0.0
    return min(1.0, max(0.0, 1 - abs(planned - actual) / planned))


def chance(values: np.ndarray) -> tuple[float | None, float | None]:
    """90 % of what draws give."""
    if not len(values):
        return None, None
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)


def score(found: float | None, variance: float | None) -> float | None:
    return None if found is None or variance is None else over(found, math.sqrt(variance))


def threshold(probability: float, third_moment: float, variance: float) -> float:
    """What a standard score of that skewness exceeds so often, by Cornish and Fisher to first order."""
    z = stats.norm.isf(probability)
    skewness = third_moment / variance**1.5 if variance else 0.0
    return float(z + (z**2 - 1) * max(0.0, skewness) / 6)


def problems(found: pl.DataFrame, wanted: Rows, limit: int = 10) -> list[str]:
    """Where a table of DuckDB's differs from the oracle's rows, a line each."""
    rows = found.to_dicts()
    if len(rows) != len(wanted):
        return [f"{len(rows)} rows, expected {len(wanted)}"]
    lines: list[str] = []
    for position, (row, expected) in enumerate(zip(rows, wanted, strict=True)):
        lines += _differences(row, expected, f"row {position}")
        if len(lines) >= limit:
            break
    return lines[:limit]


def _differences(found: Any, wanted: Any, where: str) -> list[str]:
    if isinstance(wanted, np.generic):
        wanted = wanted.item()
    if isinstance(wanted, Says):
        return [] if _says(found, wanted) else [f"{where}: {found!r} does not say {tuple(wanted)!r}"]
    if isinstance(wanted, Json):
        found, wanted = json.loads(found), float(wanted)
    if isinstance(wanted, dict):
        if isinstance(found, list):  # a map
            found = {item["key"]: item["value"] for item in found}
        if not isinstance(found, dict) or list(found) != list(wanted):
            return [f"{where}: keys {list(found) if isinstance(found, dict) else found!r}, expected {list(wanted)}"]
        return [line for key in wanted for line in _differences(found[key], wanted[key], f"{where}.{key}")]
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return [f"{where}: {found!r}, expected {wanted!r}"]
        pairs = enumerate(zip(found, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in _differences(a, b, f"{where}[{i}]")]
    if isinstance(wanted, float) and isinstance(found, int | float) and not isinstance(found, bool):
        return [] if math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9) else [f"{where}: {found}, want {wanted}"]
    return [] if found == wanted and type(found) is type(wanted) else [f"{where}: {found!r}, expected {wanted!r}"]


def _says(text: Any, parts: Says) -> bool:
    if not isinstance(text, str):
        return False
    rest = text
    for part in parts:
        before, found, rest = rest.partition(part)
        if not found or re.search(r"\d\.\d", before):
            return False
    return re.search(r"\d\.\d", rest) is None

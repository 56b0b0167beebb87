"""Numbers as people read them, in tables and sentences: units people use, at most three significant digits."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

NO_DATA = "no data"
_THREE_DIGITS = 100  # amounts from here on have three significant digits, smaller ones two
_TINY = 1e-6  # smaller numbers are written with an exponent
# Units from the largest, and their sizes.
DURATIONS_MS = {"days": 86_400_000.0, "h": 3_600_000.0, "min": 60_000.0, "s": 1_000.0, "ms": 1.0}
_TWO_SECONDS_MS = 2_000.0
_TASKS_PER_S = {"tasks/s": 1.0, "tasks/min": 1 / 60, "tasks/h": 1 / 3_600, "tasks/day": 1 / 86_400}


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with thousands separators and a fixed number of decimals."""
    return NO_DATA if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Write a number of any size with `digits` significant digits."""
    if value is None or value == 0:
        return NO_DATA if value is None else "0"
    if abs(value) < _TINY:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits - 1}e}")
    return number(rounded, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))


def percent(value: float | None) -> str:
    """Write a fraction in percent with one decimal, except for 100 %."""
    return NO_DATA if value is None else f"{value:.1%}".replace("100.0", "100").replace("%", " %")


def interval(low: float | None, high: float | None) -> str:
    """Write a range with two decimals."""
    return NO_DATA if low is None or high is None else f"{low:.2f} to {high:.2f}"


def duration(ms: float | None) -> str:
    """Write a duration [ms] in the largest unit in which it is at least 2: 90 s, not 1.5 min. Seconds start at 1."""
    return _in_unit(ms, DURATIONS_MS, 1.0 if ms is not None and ms < _TWO_SECONDS_MS else 2.0)


def throughput(tasks_per_s: float | None) -> str:
    """Write a throughput [tasks/s] per second, minute, hour or day: the first in which it is at least 1."""
    return _in_unit(tasks_per_s, _TASKS_PER_S, 1.0)


def _in_unit(value: float | None, units: Mapping[str, float], least: float) -> str:
    if value is None:
        return NO_DATA
    unit, size = next((item for item in units.items() if value >= least * item[1]), list(units.items())[-1])
    amount = value / size
    return f"{significant(amount, 2 if abs(amount) < _THREE_DIGITS else 3)} {unit}"


def count_range(low: float, high: float, total: int) -> str:
    """Write a range of success rates over `total` tasks as a range of successes."""
    first, last = round(low * total), round(high * total)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def words(key: str) -> str:
    """Write a key as words, without its unit."""
    return re.sub(r"_ms(?=_|$)", "", key).replace("_", " ")


def cell(key: str, value: Any) -> str:
    """Write a value of a run's files in the unit that its key names."""
    if value is None:
        return NO_DATA
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, str | bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return next((write for pattern, write in _UNITS if re.search(pattern, key)), significant)(value)


_UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    (r"_ms(_|$)|_time$", duration),
    (r"throughput$", throughput),
    (r"weight$", number),
    (r"capacity_cost$", percent),
    (r"(rate|success|probability|confidence|accuracy|adherence|utilization|coverage)(_low|_high)?$", percent),
)

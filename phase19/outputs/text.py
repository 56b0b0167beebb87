"""Numbers as people read them, in tables and sentences: units people use, at most three significant digits."""

import math
import re
from collections.abc import Callable, Collection
from typing import Any

NO_DATA = "no data"
_TINY = 1e-6  # smaller numbers are written with an exponent
_UNITS_MS = {"days": 86_400_000.0, "h": 3_600_000.0, "min": 60_000.0, "s": 1_000.0, "ms": 1.0}
_RATES_S = {"s": 1.0, "min": 60.0, "h": 3_600.0, "day": 86_400.0}
_FEW = 2.0  # of the larger unit: below it the smaller one is used, so 90 s and not 1.5 min


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with thousands separators and a fixed number of decimals."""
    return NO_DATA if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Write a number of any size to so many significant digits."""
    if value is None or value == 0:
        return NO_DATA if value is None else "0"
    if abs(value) < _TINY:
        return f"{value:.{digits}g}"
    rounded = float(f"{value:.{digits - 1}e}")
    return number(rounded, max(0, digits - 1 - math.floor(math.log10(abs(rounded)))))


def percent(value: float | None) -> str:
    """Write a fraction in percent, with one decimal at most."""
    return NO_DATA if value is None else f"{value:.1%}".replace("100.0", "100").replace("%", " %")


def signed(value: float) -> str:
    """Write a difference to three significant digits, with its sign."""
    return f"{'-' if value < 0 else '+'}{significant(abs(value))}"


def interval(low: float | None, high: float | None) -> str:
    """Write a range with two decimals."""
    return NO_DATA if low is None or high is None else f"{low:.2f} to {high:.2f}"


def duration(ms: float | None, like: float | None = None) -> str:
    """Write a duration [ms] in the unit people use for it, or for a duration `like` it, such as a column's largest."""
    if ms is None:
        return NO_DATA
    like = ms if like is None else like
    unit, size = next((item for item in _UNITS_MS.items() if like >= _FEW * item[1]), ("ms", 1.0))
    return f"{_trimmed(ms / size)} {unit}"


def throughput(tasks_per_s: float | None, like: float | None = None) -> str:
    """Write a throughput [tasks/s] per second, minute, hour or day: the first in which it, or `like`, is at least 1."""
    if tasks_per_s is None:
        return NO_DATA
    like = tasks_per_s if like is None else like
    unit, size = next((item for item in _RATES_S.items() if like * item[1] >= 1), ("day", 86_400.0))
    return f"{_trimmed(tasks_per_s * size)} tasks/{unit}"


def count_range(low: float, high: float, total: int) -> str:
    """Write the whole numbers of tasks that two success rates over `total` tasks mean."""
    first, last = round(low * total), round(high * total)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def listed(names: Collection[str], last: str = "and") -> str:
    """Join names as a sentence does."""
    *most, final = names
    return f"{', '.join(most)} {last} {final}" if most else final


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


def _trimmed(value: float) -> str:
    """Write a number to two significant digits after 10, three after 100: what people say."""
    return significant(value, 2 if abs(value) < 100 else 3)  # noqa: PLR2004


_UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    (r"_ms(_|$)|_time$", duration),
    (r"throughput$", throughput),
    (r"weight$", number),
    (
        r"(rate|success|probability|confidence|accuracy|adherence|utilization|coverage)(_low|_high)?$",
        percent,
    ),
)

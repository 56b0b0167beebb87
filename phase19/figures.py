"""Figures as people read them, in tables and sentences."""

from __future__ import annotations

import math

__all__ = ["NO_DATA", "interval", "number", "percent", "plural", "signed", "significant"]

NO_DATA = "no data"
_TINY = 1e-4  # below it digits are harder to count than an exponent is to read


def number(value: float | None, digits: int = 3) -> str:
    """A number with thousands apart."""
    return NO_DATA if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """A number of any size to so many significant digits, its whole part in full."""
    if value is None or value == 0:
        return NO_DATA if value is None else "0"
    if abs(value) < _TINY:
        return f"{value:.{digits}g}"
    place = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))  # of the rounded one: 9.999 is 10.0
    return number(value, max(0, digits - 1 - place))


def percent(value: float | None) -> str:
    """A fraction in percent."""
    return NO_DATA if value is None else f"{value:.1%}".replace("%", " %")


def signed(value: float) -> str:
    """A difference to three significant digits, with its sign."""
    return f"{'-' if value < 0 else '+'}{significant(abs(value))}"


def interval(low: float | None, high: float | None) -> str:
    """Two bounds."""
    return NO_DATA if low is None or high is None else f"{low:.2f}–{high:.2f}"


def plural(count: int, one: str, many: str = "") -> str:
    """So many of something."""
    noun = one if count == 1 else many or f"{one}s"
    return f"{count:,} {noun}" if count else f"no {noun}"

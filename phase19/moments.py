"""Moments in time as users write them."""

from __future__ import annotations

from datetime import UTC, datetime

from phase19.errors import UsageError

__all__ = ["parse_moment"]

_FIRST_YEAR = 1000  # from here on a year has four digits wherever it is written


def parse_moment(text: str, option: str) -> datetime:
    """Read ISO 8601, in UTC where it names no zone.

    Raises
    ------
    UsageError
        `text`, given for `option`, is none, or is not of the years 1000 to 9999 in UTC.

    Examples
    --------
    >>> parse_moment("2026-02-05T13:00:00+01:00", "--timestamp").isoformat()
    '2026-02-05T12:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise UsageError(f"{option}: expected ISO 8601 such as 2026-02-05T12:00:00Z, found {text!r}") from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # the first or last hours of what Python's calendar holds
        moment = datetime.min.replace(tzinfo=UTC)
    if moment.year < _FIRST_YEAR:
        raise UsageError(f"{option}: expected a moment of the years {_FIRST_YEAR} to 9999 in UTC, found {text!r}")
    return moment

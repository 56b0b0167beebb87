"""Kinds of column that many frames have: ids, rates, times, counts, each with its unit and bounds."""

from __future__ import annotations

import polars as pl

from phase19.schema import Column

__all__ = [
    "RISK_LEVEL",
    "RISK_LEVELS",
    "STRINGS",
    "count",
    "identifier",
    "milliseconds",
    "number",
    "rate",
    "text",
]

RISK_LEVELS = ("LOW", "MEDIUM", "HIGH", "UNKNOWN")
STRINGS = pl.List(pl.String)


def identifier(doc: str, *, nullable: bool = False) -> Column:
    """An id."""
    return Column(pl.String, doc, nullable=nullable)


def rate(doc: str, *, nullable: bool = False) -> Column:
    """A fraction in [0, 1]."""
    return Column(pl.Float64, doc, "fraction", nullable=nullable, low=0.0, high=1.0)


def milliseconds(doc: str, *, nullable: bool = False) -> Column:
    """A duration or a moment of a wave [ms], >= 0."""
    return Column(pl.Float64, doc, "ms", nullable=nullable, low=0.0)


def number(doc: str, unit: str = "", *, nullable: bool = False) -> Column:
    """Any finite number."""
    return Column(pl.Float64, doc, unit, nullable=nullable)


def count(doc: str, *, low: int = 0, nullable: bool = False) -> Column:
    """A whole number of at least `low`."""
    return Column(pl.Int64, doc, "count", nullable=nullable, low=low)


def text(doc: str) -> Column:
    """Text, or null."""
    return Column(pl.String, doc, nullable=True)


RISK_LEVEL = Column(pl.String, "LOW, MEDIUM, HIGH or UNKNOWN", values=RISK_LEVELS, default="MEDIUM")

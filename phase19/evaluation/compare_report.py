"""A comparison as people read it: why each candidate is recommended or not, tables, and the recommendation."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from phase19.errors import plural
from phase19.outputs.rendering import Section, Table
from phase19.outputs.text import NO_DATA, duration, listed, number, percent, throughput

_VISIBLE = 0.05  # percentage points; less is printed as 0.0
_LESS_IS_BETTER = {"makespan_ms", "load_imbalance", "retry_count"}
# Heading, and the text of a value in the unit of its column's best.
_COLUMNS: dict[str, tuple[str, Callable[[float | None, float], str]]] = {
    "success_rate": ("success", lambda value, _: percent(value)),
    "throughput": ("throughput", throughput),
    "makespan_ms": ("makespan", duration),
    "load_imbalance": ("imbalance", lambda value, _: number(value)),
    "retry_count": ("retries", lambda value, _: number(value, 1)),
    "confidence_delta": ("confidence", lambda value, _: NO_DATA if value is None else f"{value:+.4f}"),
}


def rationale(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """How a candidate compares, without subject, such as "expects 5.0 points more success than balance_load"."""
    other = next(known for known in rows if known["strategy"] == row["compared_with"])
    points, name = 100 * row["success_margin"], other["strategy"]
    if _is_equal(row):
        parts = [f"has the same success as {name} in every simulation"]
    else:
        margin = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} success than"
        amount = margin if abs(points) >= _VISIBLE else "as much success as"
        parts = [f"expects {amount} {name} ({_difference(row)}, 90 % interval {_interval(row)})"]
    if row["is_recommended"] and points <= -_VISIBLE:
        shorter = percent(1.0 - row["planned_makespan_ms"] / other["planned_makespan_ms"])
        parts.append(f"this counts as equal, and its makespan is {shorter} shorter")
    if row["dominated_by"]:
        parts.append(f"dominated by {listed(row['dominated_by'])}")
    if row["expects_less_than"]:
        parts.append(f"expects less success than {listed(row['expects_less_than'])}")
    return "; ".join(parts)


def comparison_section(table: pl.DataFrame, sizes: Mapping[str, int]) -> Section:
    """What was compared, tables of planned and actual measures, and the recommendation."""
    rows = table.to_dicts()
    margins = tuple(
        (row["strategy"], row["compared_with"], f"{100 * row['success_margin']:+.1f}", _interval(row), _verdict(row))
        for row in rows
    )
    legend = "* marks the best of a column. Imbalance: standard deviation of the agents' busy time over its mean."
    if not _all_ran(rows):
        legend += " Ran: share of tasks with recorded outcomes; actual figures are over those tasks alone."
    chosen = next(row for row in rows if row["is_recommended"])
    return Section(
        f"Comparison: {', '.join(plural(count, noun) for noun, count in sizes.items())}, {rows[0]['executor']}",
        (
            _measures("planned", rows),
            Table(("planned success", "against", "points", "90 % interval", ""), margins, labels=2),
            _measures("actual", rows),
            legend,
            f"Recommended: {chosen['strategy']}. It {chosen['rationale']}.",
        ),
    )


def _measures(kind: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Table of the planned or of the actual measures."""
    is_comparable = kind == "planned" or _all_ran(rows)  # candidates that ran different tasks are not ranked
    header, columns = [kind], [[row["strategy"] for row in rows]]
    for name, (title, text) in _COLUMNS.items():
        values = [row[f"{kind}_{name}"] for row in rows]
        known = [value for value in values if value is not None]
        best = (min if name in _LESS_IS_BETTER else max)(known, default=0.0)
        is_best = [is_comparable and value is not None and math.isclose(value, best, rel_tol=1e-9) for value in values]
        header.append(title)
        columns.append(["* " * mark + text(value, best) for mark, value in zip(is_best, values, strict=True)])
    if not is_comparable:
        header.append("ran")
        columns.append([percent(row["observed_share"]) for row in rows])
    return Table(tuple(header), tuple(zip(*columns, strict=True)))


def _all_ran(rows: Sequence[dict[str, Any]]) -> bool:
    return all(row["observed_share"] == 1.0 for row in rows)


def _verdict(row: dict[str, Any]) -> str:
    if row["is_recommended"]:
        return "recommended"
    if row["dominated_by"]:
        return "dominated"
    return "equal" if _is_equal(row) else _difference(row)


def _difference(row: dict[str, Any]) -> str:
    is_clear = not row["success_margin_low"] <= 0.0 <= row["success_margin_high"]
    return "clear difference" if is_clear else "no clear difference"


def _interval(row: dict[str, Any]) -> str:
    return f"{100 * row['success_margin_low']:+.1f} to {100 * row['success_margin_high']:+.1f}"


def _is_equal(row: dict[str, Any]) -> bool:
    """Whether success is the same in every draw, as it is if the plans are."""
    return not any(row[name] for name in ("success_margin", "success_margin_low", "success_margin_high"))

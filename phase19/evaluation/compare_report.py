"""A comparison as people read it: the reason for each verdict, tables, and the recommendation as a sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phase19.errors import plural
from phase19.evaluation.executed import OBSERVED
from phase19.evaluation.simulated import MEASURES
from phase19.outputs.rendering import Table
from phase19.outputs.text import NO_DATA, number, percent, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phase19.evaluation.compare import Comparison

__all__ = ["comparison_tables", "headline", "legend", "rationale", "recommendation"]

_VISIBLE = 0.05  # points; less is printed as 0.0
_LESS_IS_BETTER = {"makespan_ms", "load_imbalance", "retry_count"}
_COLUMNS: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "success_rate": ("success", percent),
    "throughput": ("tasks/s", significant),
    "makespan_ms": ("makespan ms", lambda value: number(value, 0)),
    "load_imbalance": ("imbalance", number),
    "retry_count": ("retries", lambda value: number(value, 1)),
    "confidence_delta": ("confidence", lambda value: NO_DATA if value is None else f"{value:+.4f}"),
}


def rationale(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Why a line is recommended or not."""
    other = next(known for known in rows if known["strategy"] == row["compared_with"])
    margin, name = row["success_margin"], other["strategy"]
    low, high = row["success_margin_low"], row["success_margin_high"]
    if _is_same(row):
        said = f"promises what {name} does: their plans give the same"
    else:
        kind = "within" if low <= 0.0 <= high else "beyond"
        points = 100 * abs(margin)
        much = f"{points:.1f} points {'more' if margin > 0 else 'less'} success than"
        said = (
            f"promises {much if points >= _VISIBLE else 'as much success as'} {name} "
            f"(90 % interval {100 * low:+.1f} to {100 * high:+.1f}), {kind} chance"
        )
    if row["is_recommended"] and 100 * margin <= -_VISIBLE:
        shorter = 1.0 - row["planned_makespan_ms"] / other["planned_makespan_ms"]
        said += f", which counts as equal, and has a makespan {percent(shorter)} shorter"
    parts = [
        said,
        "dominated by " + ", ".join(row["dominated_by"]) if row["dominated_by"] else "",
        "promises less than " + " and ".join(row["promises_less_than"]) if row["promises_less_than"] else "",
    ]
    return "; ".join(filter(None, parts))


def recommendation(comparison: Comparison) -> str:
    """The recommendation as a sentence."""
    row = next(row for row in comparison.rows if row["is_recommended"])
    return f"Recommended: {row['strategy']}. It {row['rationale']}."


def headline(comparison: Comparison) -> str:
    """What was compared, in one line."""
    sizes = ", ".join(
        plural(count, noun)
        for count, noun in (
            (comparison.task_count, "task"),
            (comparison.agent_count, "agent"),
            (comparison.wave_count, "wave"),
        )
    )
    return f"Comparison: {sizes}, {comparison.rows[0]['executor']}"


def comparison_tables(comparison: Comparison) -> tuple[Table, ...]:
    """What the lines promise, how far apart they are, and what came of them."""
    rows = comparison.rows
    margins = tuple(
        (
            row["strategy"],
            row["compared_with"],
            f"{100 * row['success_margin']:+.1f}",
            f"{100 * row['success_margin_low']:+.1f} to {100 * row['success_margin_high']:+.1f}",
            _verdict(row),
        )
        for row in rows
    )
    return (
        _measures("promised", "planned", rows),
        Table(("promised success", "against", "points", "90 % interval", ""), margins, labels=2),
        _measures("in one world" if rows[0]["simulated"] else "in the records", "actual", rows),
    )


def legend(comparison: Comparison) -> str:
    """What the tables do not explain themselves."""
    text = "* is the column's best; imbalance is the standard deviation of the agents' busy time over its mean"
    if _all_ran(comparison.rows):
        return f"{text}."
    return f"{text}; ran is the share of tasks that the records could answer, and what came is over those alone."


def _all_ran(rows: Sequence[dict[str, Any]]) -> bool:
    return all(row[OBSERVED] == 1.0 for row in rows)


def _measures(title: str, kind: str, rows: Sequence[dict[str, Any]]) -> Table:
    # Lines that ran on different tasks are not told apart by what came.
    is_comparable = kind == "planned" or _all_ran(rows)
    columns = [_cells([row[f"{kind}_{name}"] for row in rows], name, is_comparable) for name in MEASURES]
    header = [title, *(_COLUMNS[name][0] for name in MEASURES)]
    if not is_comparable:
        header.append("ran")
        columns.append([number(row[OBSERVED], 2) for row in rows])
    return Table(tuple(header), tuple((row["strategy"], *cells) for row, *cells in zip(rows, *columns, strict=True)))


def _cells(values: Sequence[float | None], name: str, is_marked: bool) -> list[str]:
    """A column, its best values marked where that is asked for."""
    known = [value for value in values if value is not None]
    best = (min if name in _LESS_IS_BETTER else max)(known, default=None)
    marks = (
        "* " if is_marked and value is not None and best is not None and math.isclose(value, best, rel_tol=1e-9) else ""
        for value in values
    )
    return [mark + _COLUMNS[name][1](value) for mark, value in zip(marks, values, strict=True)]


def _verdict(row: dict[str, Any]) -> str:
    if row["is_recommended"]:
        return "recommended"
    if row["dominated_by"]:
        return "dominated"
    if _is_same(row):
        return "the same"
    return "within chance" if row["success_margin_low"] <= 0.0 <= row["success_margin_high"] else "beyond chance"


def _is_same(row: dict[str, Any]) -> bool:
    """Whether success is the same in every world, as it is where plans are alike."""
    return not any(row[name] for name in ("success_margin", "success_margin_low", "success_margin_high"))

"""What a run's tests could have seen: the report's section on its own sensitivity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phase19.outputs.rendering import Section, Table
from phase19.outputs.text import NO_DATA, interval, number

if TYPE_CHECKING:
    from phase19.publishing.files import Row, RunFiles

__all__ = ["sensitivity_section", "sensitivity_table", "untested"]

_NOTE = (
    "A fault as large as the last column says, or larger, is found with the power that the rules ask, 90 % by default; "
    "of a smaller one a run of this size may say nothing; none is a run too small for any. Too little to tell is not "
    "the same as nothing wrong. Reasons stand in anomaly_tests.jsonl."
)


def sensitivity_section(run: RunFiles) -> tuple[Section, ...]:
    """What the four tests saw, and what they could have seen; no section of a run of before they were written down."""
    table = sensitivity_table(run)
    return () if table is None else (Section("What this run could have seen", (_NOTE, table)),)


def sensitivity_table(run: RunFiles) -> Table | None:
    """A row an anomaly type: its status, what was seen and the smallest fault sure to be found; None without tests."""
    if not run.anomaly_tests:
        return None
    return Table(
        ("test for", "status", "measured as", "seen", "90 % interval", "found from"),
        tuple(
            (
                row["anomaly_type"].replace("_", " "),
                row["status"].replace("_", " "),
                row["unit"],
                number(row["effect"], 2),
                interval(row["effect_low"], row["effect_high"]),
                _found_from(row),
            )
            for row in run.anomaly_tests
        ),
        labels=3,
    )


def _found_from(row: Row) -> str:
    """The smallest fault sure to be found; none where it would be larger than a fault can be."""
    smallest, largest = row["detectable_effect"], row.get("largest_effect")
    if smallest is None:
        return NO_DATA
    return "none" if largest is not None and smallest > largest else number(smallest, 2)


def untested(tests: list[Row]) -> str:
    """A sentence that names the types that could not be tested; empty where all could."""
    names = [row["anomaly_type"].replace("_", " ") for row in tests if row["status"] == "not_testable"]
    return f"Too little ran to tell: {', '.join(names)}." if names else ""

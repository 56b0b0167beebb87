"""Parts that generated pages have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; a `|` inside a cell is escaped."""
    lines = [header, ("---",) * len(header), *rows]
    escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in lines]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


def anchor(title: str) -> str:
    """The anchor of a title, as the hosting site and the documentation site name it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")

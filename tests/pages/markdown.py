"""Parts that generated pages have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def anchor(title: str) -> str:
    """The anchor of a title, as the hosting site and the documentation site name it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")

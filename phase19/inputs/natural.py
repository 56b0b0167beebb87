"""Natural order: the order in which a person sorts names with numbers in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["natural_order"]

_DIGITS = re.compile(r"([0-9]+)")


def natural_order(ids: Iterable[str]) -> list[str]:
    """Sort ids so that numbers in them count: ``agent_2`` before ``agent_10``.

    A total order: ids that differ only in leading zeros go by their text.

    Examples
    --------
    >>> natural_order(["agent_10", "agent_2", "agent_02"])
    ['agent_02', 'agent_2', 'agent_10']
    """

    def key(text: str) -> tuple[list[Any], str]:
        parts: list[Any] = _DIGITS.split(text)
        # By length, then text: exact for numbers of any length.
        parts[1::2] = [(len(number := digits.lstrip("0")), number) for digits in parts[1::2]]
        return parts, text

    return sorted(ids, key=key)

"""What the commands share: how options are read, grouped and named, and how a line is told."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from phase19.errors import UsageError, printable
from phase19.options import DEFAULT_WEIGHTS, OptimizationStrategy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from cyclopts import Token

__all__ = [
    "DEFAULT_RUN",
    "DONE",
    "EXECUTING",
    "INPUTS",
    "OUTPUT",
    "PLANNING",
    "WEIGHTS",
    "CensoredErrors",
    "Count",
    "Factor",
    "Flag",
    "InputDir",
    "InputPath",
    "Limit",
    "Strategy",
    "Switch",
    "Whole",
    "discard",
    "refuse_empty",
    "tell",
]

DONE = 0
DEFAULT_RUN = Path("outputs/phase19")
WEIGHTS = ",".join(f"{name}={weight}" for name, weight in DEFAULT_WEIGHTS.items())

INPUTS = Group("Inputs", sort_key=1)
PLANNING = Group("Planning", sort_key=2)
EXECUTING = Group("Executing", sort_key=3)
OUTPUT = Group("Output", sort_key=4)


def _whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Refuse 1.5, which the library would round."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"expected a whole number, found {tokens[0].value!r}") from None


Whole = Parameter(converter=_whole_number)
Switch = Parameter(show_default=False)
InputDir = Annotated[Path, Parameter(group=INPUTS)]
InputPath = Annotated[Path | None, Parameter(group=INPUTS)]
CensoredErrors = Annotated[str | None, Parameter(group=INPUTS)]
Strategy = Annotated[OptimizationStrategy, Parameter(group=PLANNING, name_transform=str.lower)]
Limit = Annotated[int | None, Whole, Parameter(group=PLANNING)]
Factor = Annotated[float | None, Parameter(group=PLANNING)]
Count = Annotated[int, Whole]
Flag = Annotated[bool, Switch, Parameter(group=OUTPUT)]


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse arguments without text, such as an unset variable leaves: an empty path would mean this directory."""
    for before, argument in pairwise(("", *arguments)):
        option, is_joined, value = argument.partition("=")
        if not argument or (option.startswith("--") and is_joined and not value):
            raise UsageError(f"{(before if not argument else option) or 'command'}: expected a value, found nothing")


def tell(lines: Iterable[str]) -> None:
    """Print lines on stderr; where that takes none, the exit code has to say it."""
    try:
        for line in lines:
            print(*map(printable, line.split("\n")), sep="\n", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Let what Python still holds for a stream, and all that follows, go nowhere, for there it cannot go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

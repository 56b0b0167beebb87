"""How the command line reads options: the declarations of `phase19.options` as parameters of the parser."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from typing import Annotated, Any, TextIO

from cyclopts import Group, Parameter, Token

from phase19.errors import printable
from phase19.options import READERS

_GROUPS = {name: Group(name, sort_key=i) for i, name in enumerate(("Inputs", "Planning", "Executing", "Output"))}
OUTPUT = Parameter(group=_GROUPS["Output"], show_default=False)
Flag = Annotated[bool, OUTPUT]


def _as_written(_: object, tokens: Sequence[Token]) -> str:
    return tokens[0].value  # what takes it converts it, and words what is wrong with it


Count = Annotated[int, Parameter(converter=_as_written)]


def takes_options(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Let the parser fill a command's parameter `options`, a dataclass of `phase19.options`, option by option."""
    declared = command.__annotations__["options"]
    annotations: dict[str, Any] = {}
    for option in fields(declared):
        kind = str if option.type in READERS else option.type
        parameter = Parameter(
            group=_GROUPS[option.metadata["group"]],
            parse=option.name not in declared.not_taken,
            show_default=None if kind is not bool else False,
            converter=None if kind is bool else _as_written,
            name_transform=lambda name: name.lower() if name.isupper() else name.replace("_", "-"),
        )
        annotations[option.name] = Annotated[kind, parameter]
    parsed = type(declared.__name__, (declared,), {"__annotations__": annotations, "__doc__": None})
    command.__annotations__["options"] = Annotated[parsed, Parameter(name="*")]
    return command


def print_errors(lines: Iterable[str]) -> None:
    """Print lines on stderr; if it cannot be written, the exit code still shows the error."""
    try:
        for line in lines:
            print(*map(printable, line.split("\n")), sep="\n", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Send what a stream still buffers, and all that follows, to the null device."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

"""Turn the options declared in `phase19.options` into parameters of the command-line parser."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TextIO, get_origin

from cyclopts import Group, Parameter, Token

from phase19.errors import printable
from phase19.options import READERS

_GROUPS = {name: Group(name, sort_key=i) for i, name in enumerate(("Inputs", "Planning", "Executing", "Output"))}
OUTPUT = Parameter(group=_GROUPS["Output"], show_default=False)
Flag = Annotated[bool, OUTPUT]
OutputFile = Annotated[Path | None, OUTPUT]


def _as_written(kind: object, tokens: Sequence[Token]) -> str | tuple[str, ...]:
    # The command converts the text and reports errors.
    return tuple(token.value for token in tokens) if get_origin(kind) is tuple else tokens[0].value


Count = Annotated[int, Parameter(converter=_as_written)]


def takes_options(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Decorate a command so that the parser fills each field of its parameter `options` from an option."""
    declared = command.__annotations__["options"]
    annotations: dict[str, Any] = {}
    for option in fields(declared):
        is_repeatable = get_origin(option.type) is tuple
        kind = str if option.type in READERS and not is_repeatable else option.type
        parameter = Parameter(
            group=_GROUPS[option.metadata["group"]],
            parse=option.name not in declared.not_taken,
            show_default=False if kind is bool or is_repeatable else None,
            converter=None if kind is bool else _as_written,
            name_transform=lambda name: name.lower() if name.isupper() else name.replace("_", "-"),
        )
        annotations[option.name] = Annotated[kind, parameter]
    parsed = type(declared.__name__, (declared,), {"__annotations__": annotations, "__doc__": None})
    command.__annotations__["options"] = Annotated[parsed | None, Parameter(name="*")]
    command.__defaults__ = (None,)  # the parser passes nothing if no option is typed

    @wraps(command)
    def call(options: Any = None, **others: Any) -> int | None:
        return command(parsed() if options is None else options, **others)

    return call


def print_errors(lines: Iterable[str]) -> None:
    """Print lines on stderr; if that fails, the exit code still shows the error."""
    try:
        for line in lines:
            print(*map(printable, line.split("\n")), sep="\n", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def warn(warnings: Iterable[str]) -> None:
    """Print warnings on stderr."""
    print_errors(f"warning: {warning}" for warning in warnings)


def discard(stream: TextIO) -> None:
    """Redirect a stream to the null device, including text that it has buffered."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

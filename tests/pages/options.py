"""Write the tables of commands and options in docs/reference/commands.md from the commands themselves."""

from __future__ import annotations

import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from cyclopts.help import format_usage

from phase19.cli.app import app
from tests.pages.markdown import table

SECTION = re.compile(r"(<!-- From the program: (.+?) -->\n).*?(<!-- End -->\n)", re.DOTALL)
GROUPS = ("Arguments", "Parameters", "Inputs", "Planning", "Executing", "Output")
VALUES = {str: "text", int: "whole number", float: "number", Path: "path", bool: ""}


def page(text: str) -> str:
    """Return the page with its tables of commands and options as they are now."""
    return SECTION.sub(lambda part: f"{part[1]}\n{described(part[2])}\n{part[3]}", text)


def described(command: str) -> str:
    return commands() if command == "all" else options(command)


def commands() -> str:
    """List the commands with what each does."""
    names = [name for name in app if name not in {"--help", "-h", "--version"}]
    rows = [(f"[`{name}`](#phase19-{name})" if name.isalpha() else f"`{name}`", summary(name)) for name in names]
    return table(("command", "what it does"), rows)


def summary(command: str) -> str:
    return app[command].help.splitlines()[0]


def options(command: str) -> str:
    """Describe a command's arguments and options, a table for each group."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for argument in app[command].assemble_argument_collection(parse_docstring=True):
        if argument.name == "*":  # a dataclass, whose fields follow
            continue
        (group,) = argument.parameter.group
        groups.setdefault(group.name, []).append(row(argument))
    order = sorted(groups, key=lambda name: GROUPS.index(name) if name in GROUPS else len(GROUPS))
    titles = {name: f"**{'Options' if name == 'Parameters' else name}**\n\n" for name in order}
    header = ("option", "value", "default", "meaning")
    usage = format_usage(app, [command]).plain.strip()
    tables = [titles[name] + table(header, groups[name]) for name in order]
    return "\n".join([f"`{usage}`: {summary(command)}\n", *tables])


def row(argument: Any) -> tuple[str, ...]:
    names = [name for name in argument.names if not name.startswith(("--no-", "--empty-"))]
    default = argument.field_info.default
    if isinstance(default, tuple):
        default = default[0] if default else None
    has_default = not argument.required and default not in {None, argument.field_info.empty} and default is not False
    shown = f"`{getattr(default, 'value', default)}`" if has_default else "required" if argument.required else ""
    return ", ".join(f"`{name}`" for name in names), value(argument), shown, argument.parameter.help


def value(argument: Any) -> str:
    kinds = [argument.hint]
    if get_origin(argument.hint) in {Union, UnionType}:
        kinds = [kind for kind in get_args(argument.hint) if kind is not NoneType]
    words = [VALUES[kind] for kind in kinds if kind in VALUES]
    words += [f"`{choice}`" for choice in argument.get_choices() or ()]
    for parts in [get_args(kind) for kind in kinds if get_origin(kind) is tuple]:
        words = [f"{VALUES[parts[0]]}, repeatable" if ... in parts else f"{len(parts)} {VALUES[parts[0]]}s"]
    assert words, argument.hint
    return ", ".join(words)

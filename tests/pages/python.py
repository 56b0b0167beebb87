"""Write docs/reference/python.md from the docstrings and signatures of the public names."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import griffe

import phase19
from phase19 import errors
from phase19.outputs.plots import Plots
from tests.pages.markdown import anchor, table

GROUPS = {
    "Plan and run": "run plan compare backtest forecast validate import_records load_inputs",
    "Finished runs": "open_run explain query",
    "Results": "RunResult Plan WhatIf Comparison BacktestResult Inputs ImportResult",
    "Options": "RunOptions PlanOptions OptimizationStrategy PriorityStrategy",
    "The five classes": "Phase19Harness AdaptiveOptimizer AdaptiveScheduler OptimizationFeedbackLoop "
    "OptimizationMonitor",
    "What the five classes return": "OptimizationResult ScheduleRecommendation ScheduledTask ScheduleExecution "
    "ScheduleStatus SafetyGate LiveResult ScheduleComparison OptimizationFeedback OptimizationMetric SchedulingAnomaly "
    "AnomalyTest",
}
PUBLIC = {name: getattr(phase19, name) for names in GROUPS.values() for name in names.split()}
ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.Phase19Error)
}
INTRODUCTION = """# Python

`import phase19` gives the names on this page. They are imported on first use, so the import itself is fast. All frames
are Polars frames. The page is made from the docstrings; `help(phase19.run)` shows the same.

"""


def page(_shown: str) -> str:
    """Return the page as the docstrings and signatures are now."""
    groups = {group: {name: PUBLIC[name] for name in names.split()} for group, names in GROUPS.items()}
    groups["Errors"] = ERRORS
    parts = [INTRODUCTION]
    for group, members in groups.items():
        rows = [(linked_code(name), linked(summary(member))) for name, member in members.items()]
        parts.append(f"**{group}**\n\n{table(('name', 'what it is'), rows)}\n")
    for group, members in groups.items():
        parts.append(f"## {group}\n\n")
        if group == "Errors":
            parts.append("They are in `phase19.errors`; `phase19.Phase19Error` is the first.\n\n")
        for name, member in members.items():
            parts += [f"{part}\n" for part in described(title(name), member)]
    return "".join(parts).rstrip() + "\n"


def title(name: str) -> str:
    """The title of a public name: `plan` and `Plan` would have the same anchor."""
    return name if name[0].isupper() else f"phase19.{name}"


def summary(member: Any) -> str:
    return inspect.cleandoc(member.__doc__).split("\n\n")[0].replace("\n", " ")


def described(name: str, member: Any, depth: int = 3) -> Iterator[str]:
    """The parts of a function's, class's or property's description."""
    yield f"{'#' * depth} {name}\n"
    if not inspect.isclass(member) and not isinstance(member, property):
        yield f"`{name}{call(member)}`\n"
    sections = griffe.parse(griffe.Docstring(inspect.cleandoc(member.__doc__)), "numpy", warnings=False)
    for section in sections:
        yield from rendered(section, member)
    if not inspect.isclass(member):
        return
    documented = {each.name for section in sections if isinstance(section.value, list) for each in attributes(section)}
    fields = [field for field in annotations(member) if field not in documented and not field.startswith("_")]
    if issubclass(member, enum.Enum):
        yield table(("member", "value"), ((f"`{each.name}`", f"`{each.value}`") for each in member))
    elif fields and documented.isdisjoint(annotations(member)):
        yield table(("attribute", "type"), ((f"`{field}`", kind(annotations(member)[field])) for field in fields))
    for method, value in methods(member):
        yield from described(f"{name}.{method}", value, depth + 1)
        for chart, draw in methods(Plots) if value is phase19.RunResult.plot else ():
            yield from described(f"{name}.{method}.{chart}", draw, depth + 1)


def attributes(section: Any) -> Iterable[Any]:
    return section.value if section.kind.value in {"attributes", "parameters"} else ()


def annotations(member: type) -> dict[str, Any]:
    return {name: hint for base in reversed(member.__mro__) if is_ours(base) for name, hint in hints(base).items()}


def hints(base: type) -> dict[str, Any]:
    return vars(base).get("__annotations__", {})


def methods(member: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, in order."""
    seen = set()
    for base in member.__mro__:
        for name, value in vars(base).items() if is_ours(base) else ():
            plain = getattr(value, "__func__", value)
            is_described = isinstance(plain, property) or inspect.isfunction(plain)
            if is_described and not name.startswith("_") and name not in seen and plain.__doc__:
                seen.add(name)
                yield name, plain


def is_ours(base: type) -> bool:
    return base.__module__.startswith("phase19")


def call(function: Any) -> str:
    """How a function is called: its parameters by name."""
    words, is_keyword = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword:
            is_keyword = True
            words.append("*")
        words.append(
            {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name
        )
    return f"({', '.join(words)})"


def rendered(section: Any, member: Any) -> Iterator[str]:
    """A section of a docstring as Markdown."""
    name = section.kind.value
    if name == "text":
        yield f"{linked(section.value)}\n"
    elif name in {"parameters", "attributes", "other parameters"}:
        yield f"**{name.capitalize()}**\n"
        yield table(*rows_of(section, member))
    elif name in {"returns", "raises", "yields"}:
        yield f"**{name.capitalize()}**\n"
        for each in section.value:
            label = kind(each.annotation) if each.annotation else ""
            yield f"- {label}{': ' if label else ''}{linked(' '.join(each.description.split()))}"
        yield ""
    elif name == "examples":
        yield "**Examples**\n"
        for of, text in section.value:
            yield f"{linked(text)}\n" if of.value == "text" else f"```pycon\n{text}\n```\n"
    else:
        assert name == "admonition", name
        yield f"**{section.title}**\n"
        yield f"{linked(section.value.description)}\n"


def rows_of(section: Any, member: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names with their types, defaults and meanings; names that share a meaning share a row."""
    try:
        defaults = {name: each.default for name, each in inspect.signature(member).parameters.items()}
    except (TypeError, ValueError):
        defaults = {}
    known = annotations(member) if inspect.isclass(member) else {}
    grouped: dict[tuple[str, ...], list[str]] = {}
    for each in section.value:
        names = each.name.split(", ")
        text = linked(" ".join(each.description.split()))
        values = ", ".join(kind(known[name]) for name in names if name in known) or str(each.annotation or "")
        shown = ", ".join(f"`{name}`" for name in names)
        grouped.setdefault((values, default(defaults.get(names[0])), text), []).append(shown)
    rows = [(", ".join(names), *cells) for cells, names in grouped.items()]
    columns = ("name", "value", "default", "meaning")
    filled = [i for i, _ in enumerate(columns) if any(row[i] for row in rows)]
    return tuple(columns[i] for i in filled), [tuple(row[i] for i in filled) for row in rows]


def default(value: Any) -> str:
    if value is None or value == () or callable(value):  # `Parameter.empty` is a class
        return ""
    return f"`{getattr(value, 'value', value)}`"


def kind(hint: Any) -> str:
    """A type without the modules it is from; public names lead to their description."""
    text = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    text = re.sub(r"Annotated\[(.+?), msgspec\.Meta\(.*?\)\]", r"\1", text.replace("typing.", ""))
    return linked_code(re.sub(r"(?:\w+\.)+(?=\w)", "", text).strip("'"))


def linked_code(text: str) -> str:
    is_known = text in PUBLIC or text in ERRORS
    return f"[`{text}`](#{anchor(title(text))})" if is_known else f"`{text}`"


def linked(text: str) -> str:
    """Replace the roles of Sphinx by code, which leads to the description of a public name."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", lambda role: linked_code(role[1]), text)
    return text.replace("``", "`")

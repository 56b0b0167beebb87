"""Write docs/reference/inputs.md from the formats in `phase19.inputs.wire`."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from phase19.inputs import wire
from tests.pages.markdown import anchor, table

NEEDED, OPTIONAL = "needed", "optional"
USED_AS_IT_IS = {"rule": "what it does, as an object; the report shows rules of an unknown kind"}


class File(NamedTuple):
    phase: int
    name: str
    shape: object
    need: str
    use: str


FILES = (
    File(18, "multi_agent_summary.json", wire.Population, NEEDED, "the forecast of agents without records"),
    File(
        18,
        "coordination_patterns.json",
        list[wire.Pattern],
        NEEDED,
        "weak evidence: for each (task, agent) pair without records, `confidence` attempts at `success_rate`; may be "
        "`[]`",
    ),
    File(18, "system_health.json", wire.SystemHealth, NEEDED, "baseline of the health score; may be `{}`"),
    File(
        18,
        "learning_signals.jsonl",
        wire.SIGNAL_ROWS.struct,
        NEEDED,
        "with `agent_id` and `success_rate`: `confidence` attempts at that rate by this agent, at a task of its "
        "`risk_level` and `category`; otherwise shown; may be empty",
    ),
    File(
        18,
        "task_outcomes.jsonl",
        wire.TASK_OUTCOMES.struct,
        OPTIONAL,
        "the records: the forecast of every agent in them. Without it, `wave_*/*/task_outcomes.jsonl` are read. Files "
        "for `--executions` have this format too",
    ),
    File(18, "tasks.jsonl", wire.TASK_ROWS.struct, OPTIONAL, "the tasks to plan"),
    File(
        18,
        "features.jsonl",
        wire.feature_rows(["any other name"]).struct,
        OPTIONAL,
        "numbers that describe planned or recorded tasks; the field `features` of `tasks.jsonl` may state them instead",
    ),
    File(18, "agents.jsonl", wire.AGENT_ROWS.struct, OPTIONAL, "the capacity of agents, and agents without records"),
    File(
        17, "execution_outcomes.jsonl", wire.EXECUTION_OUTCOMES.struct, OPTIONAL, "records, as in `task_outcomes.jsonl`"
    ),
    File(17, "realtime_metrics.jsonl", wire.METRIC_ROWS.struct, OPTIONAL, "baselines of metrics"),
    File(17, "system_health.json", wire.SystemHealth, OPTIONAL, "baseline of the health score"),
    File(
        17,
        "heuristic_performance.json",
        dict[str, wire.HeuristicPerformance],
        OPTIONAL,
        "baselines of success where a heuristic applied, by its id",
    ),
    File(17, "learning_signals.jsonl", None, OPTIONAL, "nothing"),
    File(
        16,
        "heuristics.jsonl",
        wire.HEURISTIC_ROWS.struct,
        OPTIONAL,
        "rules of a known kind change the plan, others are listed with their weights",
    ),
    File(16, "planned_tasks.jsonl", wire.TASK_ROWS.struct, OPTIONAL, "the tasks, if there is no `tasks.jsonl`"),
)
INNER = "AgentPerformance"  # an object inside another
INTRODUCTION = """# Input files

`python -m phase19 import` writes these files from a log of your own, and `python -m phase19 init DIR` writes a minimal
example, to run and to edit. This page lists every file and field, whether it is needed, and what it decides. It is made
from the formats that the command checks.

`--input` names the directory of Phase 18. `phase17` and `phase16` beside it are read if they exist. In a file whose
name ends in `.jsonl`, every line is one JSON object. Unknown fields are ignored with a warning; null means the same as
a missing field.

Under `inputs`, a run's summary says what each file was used for: `forecast` (it changes the plan), `baseline` (the run
is compared with it), `shown` (the report repeats it) or `nothing`.
"""


def page(_shown: str) -> str:
    """Return the page as the formats are now."""
    rows = [(f"`{file.name}`", str(file.phase), file.need, file.use) for file in FILES]
    parts = [INTRODUCTION, table(("file", "phase", "", "what it decides"), rows)]
    seen: dict[str, str] = {}
    for file in FILES:
        if file.shape is None:
            continue
        _, components = msgspec.json.schema_components([file.shape])
        parts.append(f"\n## {file.name} of Phase {file.phase}\n")
        for name, schema in sorted(components.items(), key=lambda component: component[0] == INNER):
            text = fields(schema)
            if name == INNER:
                parts.append("\nEach value of `agent_performance`:\n")
            parts.append(f"As in [{seen[text]}](#{anchor(seen[text])}).\n" if text in seen else text)
            seen.setdefault(text, f"{file.name} of Phase {file.phase}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def fields(schema: dict) -> str:
    rows, ignored = [], []
    for name, value in schema["properties"].items():
        description = described(value) or USED_AS_IT_IS.get(name)
        if description is None:
            ignored.append(f"`{name}`")
        else:
            rows.append((f"`{name}`", NEEDED if name in schema["required"] else "", kind(value), description))
    shown = table(("field", "", "value", "meaning"), rows)
    return shown + (f"\nKnown and not used: {', '.join(ignored)}.\n" if ignored else "")


def described(value: dict) -> str | None:
    return value.get("description") or next(
        (found for choice in value.get("anyOf", ()) if (found := described(choice))), None
    )


def kind(value: dict) -> str:
    """The type of a value in words, with its bounds."""
    if "anyOf" in value:
        return kind(value["anyOf"][0])
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "additionalProperties" in value and "anyOf" in value["additionalProperties"]:
        return "object of numbers"
    if value.get("type") == "array":
        return f"list of {kind(value['items'])}s"
    low, high = value.get("minimum"), value.get("maximum")
    low = "" if low is None or low < -(10**15) else f" from {low:,.6g}"
    high = "" if high is None or high > 10**14 else f" to {high:,.0f}"
    names = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "object by id"}
    return names.get(value.get("type"), value.get("type", "object")) + low + high

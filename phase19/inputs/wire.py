"""Formats of all input files: their fields, types and bounds.

Rows that become a frame take their fields from the frame's schema. Fields that are not used are declared too, so that
they cause no warning.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import polars as pl
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct, field

from phase19 import frames
from phase19.frames import ATTEMPTS
from phase19.schema import Column

_MAX_INTEGER = 2**63 - 1
MAX_DURATION_MS = 1e15  # above any real duration; sums cannot overflow

# Control characters are those of the general category Cc: C0, DEL and C1.
ID_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+\Z"
Id = Annotated[str, Meta(pattern=ID_PATTERN)]
Rate = Annotated[float, Meta(ge=0.0, le=1.0)]
Change = Annotated[float, Meta(ge=-1.0, le=1.0)]
Duration = Annotated[float, Meta(ge=0.0, le=MAX_DURATION_MS)]
Count = Annotated[int, Meta(ge=0, le=_MAX_INTEGER)]
Weight = Annotated[float, Meta(ge=0.0)]
Anything = Raw | UnsetType  # Raw accepts null too


class Rows(NamedTuple):
    """Format of a file's lines: the Struct of a line, the dtypes of its columns, and the key columns."""

    struct: type[Struct]
    dtypes: dict[str, Any]
    key: tuple[str, ...]


def _rows(columns: Mapping[str, Column | None], required: str, names: Mapping[str, str] | None = None) -> Rows:
    """Rows of these columns; a column of None accepts any JSON and keeps it as text. `names` gives names in the file.

    Optional fields default to ``UNSET``, so that an encoded row has exactly the fields of its line. decoding.py relies
    on this to find unknown fields.
    """
    fields: list[Any] = []
    for column_name, column in columns.items():
        kind = Raw if column is None else Annotated[_type(column_name, column), Meta(description=column.doc)]
        if column_name in required.split():
            fields.append((column_name, kind | None if column and column.nullable else kind))
        else:
            encoded = field(default=UNSET, name=(names or {}).get(column_name))
            fields.append((column_name, kind | UnsetType | None if column else Anything, encoded))
    dtypes = {name: column.dtype if column else pl.Binary for name, column in columns.items()}
    key = tuple(name for name, column in columns.items() if column and column.key)
    return Rows(defstruct("Row", fields, kw_only=True, gc=False), dtypes, key)


def _type(name: str, column: Column) -> Any:
    """The type of a column's values in JSON, with its bounds."""
    if column.values:
        return Literal[column.values]
    if column.dtype in (pl.Int64, pl.Float64):
        is_whole = column.dtype == pl.Int64
        largest = _MAX_INTEGER if is_whole else MAX_DURATION_MS if column.unit == "ms" else None
        low = -_MAX_INTEGER if is_whole and column.low is None else column.low
        bounds = Meta(ge=low, le=largest if column.high is None else column.high)
        return Annotated[int if is_whole else float, bounds]
    text = Id if name.endswith("_id") else str
    others = {frames.STRINGS: list[Id], pl.String: text, pl.Boolean: bool, pl.Object: dict[str, float | None]}
    return others.get(column.dtype, datetime)


# How an attempt ended, and whether it succeeded; None for a void one, which nobody could judge.
STATUSES: dict[str, bool | None] = {
    **dict.fromkeys(("success", "completed", "passed"), True),
    **dict.fromkeys(("failed", "failure", "timeout"), False),
    **dict.fromkeys(("void", "error", "cancelled", "skipped"), None),
}
_ATTEMPT = ATTEMPTS.without("attempt", "is_success confidence_boost duration_ms attempt source").columns | {
    "status": frames.choice("how it ended; void, error, cancelled and skipped: nobody could judge it", *STATUSES),
    "execution_time_ms": ATTEMPTS.columns["duration_ms"],
    **dict.fromkeys(("attempt", "attempts"), ATTEMPTS.columns["attempt"]),
    "simulated": frames.ATTEMPT_LOG.columns["simulated"],
}
_AGENT_ATTEMPT = _ATTEMPT | {"agent_id": frames.identifier("agent that attempted it")}

# Phase 18
TASK_OUTCOMES = _rows(_AGENT_ATTEMPT, "task_id agent_id status")
# Phase 18's tasks.jsonl and Phase 16's planned_tasks.jsonl
TASK_ROWS = _rows(
    frames.TASKS.without("task", "confidence_boost").columns
    | {"features": Column(pl.Object, "numbers that describe the task, by name")},
    "task_id",
)
AGENT_ROWS = _rows(frames.AGENTS.select("agents", "agent_id capacity").columns, "agent_id")
SIGNAL_ROWS = _rows(
    frames.SIGNALS.columns | dict.fromkeys(("recommendation", "supporting_evidence", "timestamp")),
    "signal_id",
)


def feature_rows(names: Sequence[str]) -> Rows:
    """Rows of features.jsonl with features of these names; the columns after task_id are in their order."""
    named = {f"feature_{position}": name for position, name in enumerate(names)}
    feature = frames.number("a number that describes the task")
    return _rows(frames.FEATURES.columns | dict.fromkeys(named, feature), "task_id", named)


# Phase 17
EXECUTION_OUTCOMES = _rows(
    _ATTEMPT,
    "task_id status",
    {"confidence_before": "initial_confidence", "confidence_after": "final_confidence"},
)
METRIC_ROWS = _rows(
    {
        "metric_name": frames.identifier("metric"),
        "value": frames.number("its value"),
        "unit": frames.text("its unit"),
        **dict.fromkeys(("target_value", "threshold_min", "threshold_max", "status", "timestamp")),
    },
    "metric_name value",
)
# Phase 16
HEURISTIC_ROWS = _rows(
    frames.HEURISTICS.columns | dict.fromkeys(("rule", "name", "description", "applicability", "timestamp")),
    "heuristic_id",
)
# Phase 19
EXECUTIONS = TASK_OUTCOMES
PREVIOUS_TASKS = _rows(
    frames.SCHEDULED_TASKS.select(
        "previous_tasks",
        "task_id agent_id wave status actual_start_time actual_end_time retry_count risk_level category "
        "heuristics_applied actual_duration_ms is_duration_measured is_censored",
        retry_count=frames.count("attempts after the first", high=1000),
    ).columns,
    "task_id agent_id wave status",
)


_AGENT_COUNT = "least number of agents: agent_0, agent_1, ... join those that are named"
_TASK_COUNT = "number of tasks to plan if no file names any: task_0, task_1, ..."
_MeanTime = Annotated[Duration | None, Meta(description="mean time of an attempt, ms")]
_MeanChange = Annotated[Change | None, Meta(description="mean change of confidence")]
_RetryRate = Annotated[Rate | None, Meta(description="share of the tasks that were retried")]
_Waves = Annotated[Count | None, Meta(description="number of waves if no task has one")]


class AgentPerformance(Struct, kw_only=True):
    """One agent in multi_agent_summary.json: `tasks` tasks at `success_rate`, after retries of `retry_rate` of them."""

    success_rate: Annotated[Rate | None, Meta(description="share of the tasks that succeeded, after retries")] = None
    tasks: Annotated[Count | None, Meta(description="its number of tasks")] = None
    avg_execution_time_ms: _MeanTime = None
    avg_confidence_delta: _MeanChange = None
    retry_rate: _RetryRate = None


class Population(Struct, kw_only=True, frozen=True):
    """Phase 18's multi_agent_summary.json: figures of all agents together and of each agent; None if absent."""

    success_rate: Annotated[Rate, Meta(description="share of the tasks that succeeded, after retries")]
    agent_count: Annotated[int, Meta(ge=0, le=100_000, description=_AGENT_COUNT)] = field(name="total_agents")
    task_count: Annotated[int, Meta(ge=0, le=10_000_000, description=_TASK_COUNT)] = field(name="total_tasks")
    wave_count: _Waves = field(default=None, name="total_waves")
    duration_ms: _MeanTime = field(default=None, name="avg_execution_time_ms")
    confidence_delta: _MeanChange = field(default=None, name="avg_confidence_delta")
    retry_rate: _RetryRate = None
    agent_performance: Annotated[dict[Id, AgentPerformance] | None, Meta(description="figures by agent")] = None
    timestamp: datetime | None = None


class Pattern(Struct, kw_only=True):
    """One entry of Phase 18's coordination_patterns.json."""

    pattern_type: Annotated[Id, Meta(description="kind of pattern, shown in the report")]
    agent_assignments: Annotated[dict[Id, list[Id]] | None, Meta(description="ids of tasks by agent")] = None
    success_rate: Annotated[Rate | None, Meta(description="share of these tasks that succeeded")] = None
    confidence: Annotated[Rate | None, Meta(description="how many attempts the pattern counts as")] = None
    description: Anything = UNSET
    timestamp: Anything = UNSET


class HeuristicPerformance(Struct, kw_only=True):
    """One heuristic in Phase 17's heuristic_performance.json."""

    applications: Annotated[Count, Meta(description="number of tasks to which it applied")]
    successes: Annotated[Count, Meta(description="number of these that succeeded")]
    failures: Anything = UNSET
    success_rate: Anything = UNSET
    total_confidence_delta: Anything = UNSET
    avg_confidence_delta: Anything = UNSET

    def __post_init__(self) -> None:
        if self.successes > self.applications:
            raise ValueError(f"Expected `successes` <= {self.applications}, the `applications`")


class SystemHealth(Struct, kw_only=True):
    """The system_health.json of Phases 17 and 18; only the score is used."""

    overall_health_score: Annotated[
        Annotated[float, Meta(ge=0.0, le=100.0)] | None,
        Meta(description="score with which the run's health is compared"),
    ] = None
    health_status: str | None = None
    component_scores: dict[str, float | None] | None = None
    weights: Anything = UNSET
    detected_anomalies: Anything = UNSET
    timestamp: datetime | None = None


class OptimizationSummary(Struct, kw_only=True):
    """The fields of a run's optimization_summary.json that ``--previous`` needs."""

    run_id: Id
    simulated: bool

"""The shapes of every file read, as msgspec Structs: which fields the contract knows, their types and bounds.

Optional fields default to ``UNSET``, so that a row re-encodes to exactly the fields it came with (decoding.py
uses that to find fields the contract does not know). Fields that are known but unused are declared all the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

__all__ = [
    "Agent",
    "AgentPerformance",
    "Approval",
    "ConvergenceRow",
    "Execution",
    "ExecutionOutcome",
    "Heuristic",
    "HeuristicWeights",
    "LearningSignal",
    "MultiAgentSummary",
    "OptimizationSummary",
    "Pattern",
    "Patterns",
    "PlannedTask",
    "ScheduledTask",
    "SystemHealth",
    "TaskOutcome",
]

MAX_INTEGER = 2**63 - 1
# Bounds that keep a slip of the pen from allocating for hours or overflowing a sum: far above any real system.
MAX_AGENTS = 100_000
MAX_TASKS = 10_000_000
MAX_DURATION_MS = 1e15
MAX_RETRIES = 1000
MAX_CAPACITY = 2**31
MAX_RANK = 10_000_000
MAX_ERROR = 1e100  # standard deviations: its square is still a number

Id = Annotated[
    str,
    # General category Cc: C0, DEL and C1.
    Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", description="text of one character or more without control characters"),
]
Rate = Annotated[float, Meta(ge=0.0, le=1.0, description="a number in [0, 1]")]
Delta = Annotated[float, Meta(ge=-1.0, le=1.0, description="a number in [-1, 1]")]
Duration = Annotated[float, Meta(ge=0.0, le=MAX_DURATION_MS, description="a number in [0, 1e15]")]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER, description="an integer >= 0")]
Positive = Annotated[int, Meta(ge=1, le=MAX_INTEGER, description="an integer >= 1")]
Integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER, description="an integer of 64 bits")]
AgentCount = Annotated[int, Meta(ge=0, le=MAX_AGENTS, description=f"an integer in [0, {MAX_AGENTS}]")]
TaskCount = Annotated[int, Meta(ge=0, le=MAX_TASKS, description=f"an integer in [0, {MAX_TASKS}]")]
Capacity = Annotated[int, Meta(ge=0, le=MAX_CAPACITY, description=f"an integer in [0, {MAX_CAPACITY}]")]
RetryCount = Annotated[int, Meta(ge=0, le=MAX_RETRIES, description=f"an integer in [0, {MAX_RETRIES}]")]
Weight = Annotated[float, Meta(ge=0.0, description="a number >= 0")]
Rank = Annotated[int, Meta(ge=1, le=MAX_RANK, description=f"an integer in [1, {MAX_RANK}]")]
Loss = Annotated[float, Meta(ge=0.0, description="a number >= 0")]
Error = Annotated[float, Meta(ge=0.0, le=MAX_ERROR, description=f"a number in [0, {MAX_ERROR:g}]")]
Risk = Literal["LOW", "MEDIUM", "HIGH", "UNKNOWN"]

MaybeText = str | UnsetType | None
MaybeIds = list[Id] | UnsetType | None
MaybeRate = Rate | UnsetType | None
MaybeDelta = Delta | UnsetType | None
MaybeDuration = Duration | UnsetType | None
MaybeCount = Count | UnsetType | None
MaybePositive = Positive | UnsetType | None
MaybeInteger = Integer | UnsetType | None
MaybeNumber = float | UnsetType | None
MaybeFlag = bool | UnsetType | None
MaybeRisk = Risk | UnsetType | None
MaybeTime = datetime | UnsetType | None
MaybeAnything = Raw | UnsetType  # Raw takes null too


class _Attempt(Struct, kw_only=True, gc=False):
    """What one attempt's row says, whichever phase wrote it."""

    task_id: Id
    status: Literal["success", "failed"]
    wave: MaybeCount = UNSET
    risk_level: MaybeRisk = UNSET
    category: MaybeText = UNSET
    confidence_delta: MaybeDelta = UNSET
    execution_time_ms: MaybeDuration = UNSET
    is_censored: MaybeFlag = UNSET
    attempts: MaybePositive = UNSET
    heuristics_applied: MaybeIds = UNSET
    error_message: MaybeText = UNSET
    timestamp: MaybeTime = UNSET


class TaskOutcome(_Attempt, kw_only=True, gc=False):
    """A row of Phase 18's task_outcomes.jsonl."""

    agent_id: Id
    confidence_before: MaybeRate = UNSET
    confidence_after: MaybeRate = UNSET


class ExecutionOutcome(_Attempt, kw_only=True, gc=False):
    """A row of Phase 17's execution_outcomes.jsonl."""

    agent_id: Id | UnsetType | None = UNSET
    confidence_before: MaybeRate = field(default=UNSET, name="initial_confidence")
    confidence_after: MaybeRate = field(default=UNSET, name="final_confidence")


class Execution(TaskOutcome, kw_only=True, gc=False):
    """A row of an ``--executions`` file: a task outcome whose attempt number is called attempt."""

    attempt: MaybePositive = UNSET


class PlannedTask(Struct, kw_only=True, gc=False):
    """A row of tasks.jsonl or of Phase 16's planned_tasks.jsonl."""

    task_id: Id
    wave: MaybeCount = UNSET
    risk_level: MaybeRisk = UNSET
    category: MaybeText = UNSET
    confidence: MaybeRate = UNSET
    priority: MaybeInteger = UNSET
    heuristics_applied: MaybeIds = UNSET
    predicted_success_rate: MaybeRate = UNSET
    predicted_confidence_delta: MaybeDelta = UNSET
    approval_status: MaybeText = UNSET
    reason: MaybeText = UNSET
    deadline_ms: MaybeDuration = UNSET
    estimated_duration_ms: MaybeDuration = UNSET
    required_agents: MaybeIds = UNSET
    excluded_agents: MaybeIds = UNSET


class Agent(Struct, kw_only=True, gc=False):
    """A row of Phase 18's agents.jsonl."""

    agent_id: Id
    capacity: Capacity | UnsetType | None = UNSET


class Heuristic(Struct, kw_only=True, gc=False):
    """A row of Phase 16's heuristics.jsonl; its rule is kept as JSON text."""

    heuristic_id: Id
    category: MaybeText = UNSET
    rule: MaybeAnything = UNSET
    confidence: MaybeRate = UNSET
    expected_improvement: MaybeNumber = UNSET
    name: MaybeAnything = UNSET
    description: MaybeAnything = UNSET
    applicability: MaybeAnything = UNSET
    timestamp: MaybeAnything = UNSET


class LearningSignal(Struct, kw_only=True, gc=False):
    """A row of Phase 18's learning_signals.jsonl."""

    signal_id: Id
    type: MaybeText = UNSET
    confidence: MaybeRate = UNSET
    description: MaybeText = UNSET
    recommendation: MaybeAnything = UNSET
    supporting_evidence: MaybeAnything = UNSET
    timestamp: MaybeAnything = UNSET


class AgentPerformance(Struct, kw_only=True):
    """One agent in multi_agent_summary.json: `tasks` attempts at `success_rate`."""

    success_rate: MaybeRate = UNSET
    tasks: MaybeCount = UNSET
    avg_execution_time_ms: MaybeDuration = UNSET
    avg_confidence_delta: MaybeDelta = UNSET
    retry_rate: MaybeNumber = UNSET


class MultiAgentSummary(Struct, kw_only=True):
    """Phase 18's multi_agent_summary.json."""

    total_agents: AgentCount
    total_tasks: TaskCount
    success_rate: Rate
    total_waves: MaybeCount = UNSET
    avg_execution_time_ms: MaybeDuration = UNSET
    avg_confidence_delta: MaybeDelta = UNSET
    retry_rate: MaybeNumber = UNSET
    agent_performance: dict[Id, AgentPerformance] | UnsetType | None = UNSET
    timestamp: MaybeTime = UNSET


class Pattern(Struct, kw_only=True):
    """One entry of Phase 18's coordination_patterns.json."""

    pattern_type: Id
    agent_assignments: dict[Id, list[Id]] | UnsetType | None = UNSET
    success_rate: MaybeRate = UNSET
    confidence: MaybeRate = UNSET
    description: MaybeAnything = UNSET
    timestamp: MaybeAnything = UNSET


Patterns = list[Pattern] | Pattern


class SystemHealth(Struct, kw_only=True):
    """Phase 18's system_health.json: checked, and read by no stage."""

    overall_health_score: MaybeNumber = UNSET
    health_status: MaybeText = UNSET
    component_scores: dict[str, float | None] | UnsetType | None = UNSET
    weights: MaybeAnything = UNSET
    detected_anomalies: MaybeAnything = UNSET
    timestamp: MaybeTime = UNSET


class OptimizationSummary(Struct, kw_only=True):
    """What ``--previous`` needs of a run's optimization_summary.json."""

    run_id: Id
    simulated: bool


# A weight a heuristic, and updated_at.
HeuristicWeights = dict[Id, Weight | str]


class ScheduledTask(Struct, kw_only=True, gc=False):
    """What ``--previous`` needs of a run's scheduled_tasks.jsonl."""

    task_id: Id
    agent_id: Id
    wave: Positive
    status: Literal["completed", "failed", "unobserved", "interrupted"]
    actual_start_time: MaybeDuration = UNSET
    actual_end_time: MaybeDuration = UNSET
    retry_count: RetryCount | UnsetType | None = UNSET
    risk_level: MaybeRisk = UNSET
    category: MaybeText = UNSET
    heuristics_applied: MaybeIds = UNSET
    is_duration_measured: MaybeFlag = UNSET
    is_censored: MaybeFlag = UNSET


class ConvergenceRow(Struct, kw_only=True, gc=False):
    """A row of a run's convergence.jsonl."""

    run_id: Id
    run_rank: Rank
    wave: Positive
    planned_success_rate: Rate | None
    actual_success_rate: Rate | None
    success_rate_error: Rate | None
    chance_error: Rate | None
    standardized_error: Error | None
    accuracy_score: Rate | None
    brier_score: Rate | None
    log_loss: Loss | None
    ran_count: Count
    simulated: bool
    timestamp: datetime


class Approval(Struct, kw_only=True, gc=False):
    """A line of an ``--approve`` file in JSON form."""

    task_id: Id

# Keywords of the public functions, for type checkers; `make golden` writes this file from options.py.

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypedDict

from .options import OptimizationStrategy, PriorityStrategy

class InputSettings(TypedDict, total=False):
    phase16: Path | str | None
    phase17: Path | str | None

class PlanSettings(TypedDict, total=False):
    strategy: OptimizationStrategy | str
    weights: Mapping[str, float] | str
    capacity: int | Literal["even", "none"] | None
    allow_unassigned: bool
    max_load_factor: float | None
    max_retries: int
    explore: bool
    exclude_agent: Sequence[str] | str
    exclude_task: Sequence[str] | str

class CompareSettings(TypedDict, total=False):
    weights: Mapping[str, float] | str
    capacity: int | Literal["even", "none"] | None
    max_load_factor: float | None
    max_retries: int
    explore: bool
    exclude_agent: Sequence[str] | str
    exclude_task: Sequence[str] | str
    phase16: Path | str | None
    phase17: Path | str | None
    waves: int | None
    agents: int | None
    seed: int
    timestamp: datetime | str | None

class BacktestSettings(TypedDict, total=False):
    strategy: OptimizationStrategy | str
    weights: Mapping[str, float] | str
    capacity: int | Literal["even", "none"] | None
    max_load_factor: float | None
    max_retries: int
    exclude_agent: Sequence[str] | str
    exclude_task: Sequence[str] | str
    phase16: Path | str | None
    phase17: Path | str | None
    waves: int | None
    agents: int | None
    seed: int
    timestamp: datetime | str | None
    executions: Path | str | None
    split_at: datetime | str | None
    leave_out: Literal["trials", "tasks"] | None

class RunSettings(TypedDict, total=False):
    strategy: OptimizationStrategy | str
    weights: Mapping[str, float] | str
    capacity: int | Literal["even", "none"] | None
    allow_unassigned: bool
    max_load_factor: float | None
    max_retries: int
    explore: bool
    exclude_agent: Sequence[str] | str
    exclude_task: Sequence[str] | str
    phase16: Path | str | None
    phase17: Path | str | None
    waves: int | None
    agents: int | None
    seed: int
    timestamp: datetime | str | None
    priority: PriorityStrategy | str
    previous: Path | str | None
    thresholds: Path | str | None
    executor: Literal["simulate", "replay", "live"]
    executions: Path | str | None
    approve: Path | str | None
    require_approval: bool
    output: Path | str | None
    format: Literal["jsonl", "parquet"]
    deliver_feedback: bool

class TableSettings(TypedDict, total=False):
    task: str | None
    agent: str | None
    success: str | None
    duration: str | None
    category: str | None
    timestamp: str | None
    attempt: str | None
    trial: str | None
    void: str | None
    error: str | None
    threshold: float | None

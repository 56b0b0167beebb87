"""AdaptiveScheduler: queues, priorities, loads, execution and failures of one wave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from phase19 import frames
from phase19.balancing.load_limit import adjust_load
from phase19.errors import UsageError
from phase19.execution.protocol import execute_orders
from phase19.forecasting.retries import attempt_probability, attempts_allowed
from phase19.inputs.roster import by_priority
from phase19.options import PriorityStrategy
from phase19.publishing.files import write_files
from phase19.timelines import adherence, largest, mean, schedule, settle, timeline, utilization

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phase19.execution.protocol import Executor

__all__ = ["AdaptiveScheduler", "ScheduleExecution", "SchedulerParameters"]

_FORECAST_COLUMNS = ("planned_duration_ms", "planned_success", "baseline_success")
_SCHEDULED_COLUMNS = ("scheduled_start_time", "scheduled_end_time")
_NEUTRAL_MS = 1000.0  # an unknown duration; equal for all tasks it only fixes the order


@dataclass(frozen=True, slots=True)
class SchedulerParameters:
    """How a wave is scheduled; the command's defaults."""

    priority: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE
    max_retries: int = 2
    max_load_factor: float = 1.25
    mean_change: tuple[float, float] = (-0.02, 0.05)

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise UsageError(f"max_retries: expected 0 or more, found {self.max_retries}")
        if not self.max_load_factor >= 1:
            raise UsageError(f"max_load_factor: expected 1 or more, found {self.max_load_factor}")


class ScheduleExecution(NamedTuple):
    """A wave carried out: rows planned and actual side by side, and its measures."""

    executions: pl.DataFrame
    success_rate: float | None
    makespan_ms: float | None
    schedule_adherence: float | None
    agent_utilization: dict[str, float]


class AdaptiveScheduler:
    """Lays assigned tasks on timelines and carries them out.

    Parameters
    ----------
    parameters
        How to schedule.

    Notes
    -----
    Scheduled rows are `frames.PLANS` where a plan is given, or the columns of :meth:`assign_tasks_to_agents`.
    """

    def __init__(self, parameters: SchedulerParameters | None = None) -> None:
        self.parameters = parameters or SchedulerParameters()

    def assign_tasks_to_agents(
        self,
        tasks: pl.DataFrame | Sequence[dict[str, Any]],
        agent_assignments: Mapping[str, Sequence[str]],
        forecasts: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """Lay tasks on their agents' timelines, in the order of priority.

        Parameters
        ----------
        tasks
            `frames.TASKS`, or dicts of its fields.
        agent_assignments
            Task ids by agent; every task once.
        forecasts
            Rows with task_id, planned_duration_ms, planned_success and baseline_success, such as
            `frames.PLANS`; without them a task takes its estimated_duration_ms, and its confidence is its chance.

        Returns
        -------
        polars.DataFrame
            The columns of `frames.ORDERS`, then planned_duration_ms, planned_success, baseline_success,
            scheduled_start_time and scheduled_end_time; agents in the order given.
        """
        wave = frames.TASKS.conform(tasks)
        pairs = [(agent, place, task) for place, (agent, own) in enumerate(agent_assignments.items()) for task in own]
        assigned = pl.DataFrame(
            pairs, schema={"agent_id": pl.String, "agent": pl.Int64, "task_id": pl.String}, orient="row"
        )
        if assigned["task_id"].is_duplicated().any() or set(assigned["task_id"]) != set(wave["task_id"]):
            raise UsageError("agent_assignments: expected every task exactly once")
        rows = (
            wave.drop("priority")
            .join(assigned, on="task_id")
            .with_columns(pl.col("wave").fill_null(1), max_attempts=pl.lit(1, dtype=pl.Int64))
        )
        rows = rows.with_columns(max_attempts=attempts_allowed(rows["risk_level"], self.parameters.max_retries))
        if forecasts is None:
            chance = pl.col("confidence").fill_null(pl.col("confidence").mean()).fill_null(0.5)
            rows = rows.with_columns(
                planned_duration_ms=pl.col("estimated_duration_ms").fill_null(_NEUTRAL_MS),
                planned_success=chance,
                baseline_success=chance,
            )
        else:
            rows = rows.join(forecasts.select("task_id", *_FORECAST_COLUMNS), on="task_id")
        columns = [*frames.ORDERS.columns, *_FORECAST_COLUMNS, *_SCHEDULED_COLUMNS]
        return schedule(wave, rows, self.parameters.priority).select(columns)

    def prioritize_tasks(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], strategy: PriorityStrategy | str | None = None
    ) -> pl.DataFrame:
        """Rank tasks: `frames.TASKS` in the order of priority, `priority` counting from 1.

        For `agent_specialization` the tasks carry a column `advantage`.
        """
        chosen = self.parameters.priority if strategy is None else PriorityStrategy(strategy)
        frame = frames.TASKS.conform(tasks)
        if chosen is PriorityStrategy.AGENT_SPECIALIZATION:
            given = tasks["advantage"] if isinstance(tasks, pl.DataFrame) else [row["advantage"] for row in tasks]
            frame = frame.with_columns(pl.Series("advantage", given, dtype=pl.Float64))
        ranked = by_priority(frame, chosen)
        return ranked.with_columns(priority=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))

    def adjust_for_agent_load(
        self,
        scheduled: pl.DataFrame,
        agents: Sequence[str],
        scores: np.ndarray[Any, np.dtype[np.float64]] | None = None,
    ) -> pl.DataFrame:
        """Move tasks off agents whose planned time exceeds the load limit, each time losing least score.

        Parameters
        ----------
        scheduled
            Scheduled rows.
        agents
            Agents a task may move to, natural order.
        scores
            Score of every (row, agent), shape (n, m); all moves are equally good by default.
        """
        place = pl.DataFrame({"agent_id": list(agents), "agent": range(len(agents))})
        rows = scheduled.join(place, on="agent_id", maintain_order="left")
        n, m = rows.height, len(agents)
        planned_ms = np.repeat(rows["planned_duration_ms"].to_numpy()[:, None], m, axis=1)
        adjusted = adjust_load(
            rows["agent"].to_numpy(),
            np.zeros((n, m)) if scores is None else scores,
            planned_ms,
            capacity=np.full(m, n, dtype=np.int64),
            max_load_factor=self.parameters.max_load_factor,
        )
        moved = rows.with_columns(
            pl.Series("agent", adjusted.agent_index),
            pl.Series("agent_id", np.array(agents, dtype=object)[adjusted.agent_index], dtype=pl.String),
        )
        return timeline(moved).select(scheduled.columns)

    def optimize_task_ordering(
        self, scheduled: pl.DataFrame, tasks: pl.DataFrame | Sequence[dict[str, Any]], strategy: PriorityStrategy | str
    ) -> pl.DataFrame:
        """Rank scheduled rows anew by their tasks and lay their timelines again; agents keep their tasks."""
        place = scheduled.select("agent_id").unique(maintain_order=True).with_row_index("agent")
        rows = scheduled.drop("priority", *_SCHEDULED_COLUMNS).join(place, on="agent_id", maintain_order="left")
        return schedule(frames.TASKS.conform(tasks), rows, PriorityStrategy(strategy)).select(scheduled.columns)

    def execute_schedule(self, scheduled: pl.DataFrame, executor: Executor) -> ScheduleExecution:
        """Carry out scheduled rows and set what happened beside what was planned."""
        executed = settle(scheduled, execute_orders(executor, scheduled, self.parameters.mean_change)[0])
        ran = executed.filter(frames.has_run())
        return ScheduleExecution(
            executions=executed,
            success_rate=mean(ran["status"] == "completed"),
            makespan_ms=largest(ran["actual_end_time"]),
            schedule_adherence=adherence(executed),
            agent_utilization=self.get_agent_utilization(executed, executed["agent_id"].unique(maintain_order=True)),
        )

    def simulate_task_execution(self, scheduled: pl.DataFrame, task_id: str, executor: Executor) -> dict[str, Any]:
        """Carry out one task alone; its row of `frames.OUTCOMES` as a dict."""
        rows = scheduled.filter(pl.col("task_id") == task_id)
        if rows.is_empty():
            raise UsageError(f"task {task_id!r}: expected a scheduled task, found none of that id")
        return execute_orders(executor, rows, self.parameters.mean_change)[0].row(0, named=True)

    def calculate_schedule_adherence(self, executions: pl.DataFrame) -> float | None:
        """How closely the schedule was kept, in [0, 1]; None where nothing ran."""
        return adherence(executions)

    def handle_task_failure(self, failed: pl.DataFrame | Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Decide what follows failed attempts (H16_003).

        Parameters
        ----------
        failed
            Rows with task_id, risk_level, attempt (the one that failed, from 1) and confidence.

        Returns
        -------
        polars.DataFrame
            The rows with `is_retried`, `next_attempt` (null where there is none) and `next_confidence`: 0.05
            less with every retry, never below 0.05.
        """
        rows = failed if isinstance(failed, pl.DataFrame) else pl.DataFrame(list(failed))
        allowed = attempts_allowed(rows["risk_level"], self.parameters.max_retries)
        confidence = rows["confidence"].to_numpy()
        return rows.with_columns(pl.Series("is_retried", rows["attempt"].to_numpy() < allowed)).with_columns(
            next_attempt=pl.when("is_retried").then(pl.col("attempt") + 1),
            next_confidence=pl.when("is_retried").then(pl.lit(attempt_probability(confidence, 2))),
        )

    def get_agent_utilization(self, executions: pl.DataFrame, agents: Sequence[str] | pl.Series) -> dict[str, float]:
        """Busy share of the makespan by agent, fraction; idle agents have 0."""
        return utilization(executions, list(agents))

    def write_schedule_outputs(self, execution: ScheduleExecution, directory: Path) -> list[Path]:
        """Write scheduled_tasks.jsonl and schedule_execution.json."""
        measures = execution._asdict()
        rows = measures.pop("executions")
        return write_files(directory, {"scheduled_tasks.jsonl": rows, "schedule_execution.json": measures})

"""AdaptiveScheduler: put planned tasks on timelines, execute them, and measure the outcome."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypedDict, overload

import numpy as np
import polars as pl
from msgspec import Meta

from phase19 import frames
from phase19.arguments import WaveNumber, checked
from phase19.balancing.load_limit import adjust_load
from phase19.errors import UsageError, suggestion
from phase19.execution.live import LiveExecutor
from phase19.execution.protocol import Execution, Executor, task_outcomes
from phase19.execution.simulate import SimulateExecutor
from phase19.forecasting.durations import ASSUMED_MS
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.retries import attempt_probability, attempts_allowed
from phase19.inputs.heuristics import Heuristics
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.tasks import Rows, agent_rows, by_priority, natural_order, rows_of, task_rows
from phase19.options import PriorityStrategy, TaskFormat
from phase19.publishing.files import agent_directories, output_directory, write_agent_rows
from phase19.schema import Schema
from phase19.wave import PlannedWave, largest, mean, positions

_FORECAST_COLUMNS = ("planned_duration_ms", "planned_success", "baseline_success")
_PLANNED_COLUMNS = (*frames.ORDERS.columns, *_FORECAST_COLUMNS, "deadline_ms")
_SCHEDULED_COLUMNS = ("scheduled_start_time", "scheduled_end_time")
_PLAN_COLUMNS = tuple(name for name in frames.PLANS.columns if name not in _SCHEDULED_COLUMNS)
_ACTUAL_COLUMNS = tuple(name for name in frames.EXECUTIONS.columns if name not in frames.PLANS.columns)
_FAILURES = Schema(
    "failures",
    task_id=frames.identifier("task that failed", key=True),
    agent_id=frames.identifier("agent that failed", nullable=True),
    attempt=frames.count("number of the attempt that failed", low=1),
    risk_level=frames.TASKS.columns["risk_level"],
    confidence=frames.rate("confidence before the attempt", nullable=True),
    tried_agents=frames.strings("agents that failed before", default=[]),
    required_agents=frames.TASKS.columns["required_agents"],
    excluded_agents=frames.TASKS.columns["excluded_agents"],
)
_Change = Annotated[float, Meta(ge=-1, le=1)]
_DEFAULT_CHANGES = (-0.02, 0.05)  # confidence after a failure and after a success, as Phase 17 changes it


class ScheduleStatus(StrEnum):
    """State of a scheduled task."""

    SCHEDULED = "scheduled"
    COMPLETED = "completed"
    FAILED = "failed"
    UNOBSERVED = "unobserved"
    INTERRUPTED = "interrupted"


class ScheduledTask(TypedDict):
    """A row of scheduled_tasks.jsonl; `frames.SCHEDULED_TASKS` has its further columns."""

    task_id: str
    agent_id: str
    wave: int
    scheduled_start_time: float
    scheduled_end_time: float
    actual_start_time: float | None
    actual_end_time: float | None
    priority: int
    status: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ScheduleExecution:
    """An executed wave and its measures.

    Attributes
    ----------
    wave
        Number of the wave.
    executions
        The scheduled rows with their outcomes; `frames.EXECUTIONS` if the rows were `frames.PLANS`.
    attempts
        `frames.ATTEMPTS` that were made.
    is_interrupted
        Whether the execution was stopped before its end.
    success_rate, makespan_ms, schedule_adherence
        Rate and adherence are fractions. None if nothing ran. The makespan is None too if the time of a task that ran
        is unknown, the adherence if no such time is known.
    agent_utilization
        Busy share of the makespan by agent, fraction.
    """

    wave: int
    executions: pl.DataFrame
    attempts: pl.DataFrame
    is_interrupted: bool
    success_rate: float | None
    makespan_ms: float | None
    schedule_adherence: float | None
    agent_utilization: dict[str, float]


@checked
class AdaptiveScheduler:
    """Puts assigned tasks on timelines and executes them.

    Parameters
    ----------
    phase18_dir
        Directory of Phase 18's records, instead of `inputs`.
    phase19_output_dir
        Where :meth:`write_schedule_outputs` writes by default.
    dry_run
        True refuses an executor that reaches real agents. False requires an `executor` of real or recorded tasks.
    executor
        Executes waves. Without one, a dry run simulates outcomes from a forecast fitted to `inputs`.
    inputs
        Records of the agents.
    heuristics
        Phase 16's rules for priorities.
    priority
        Rule that decides which task comes first.
    max_retries
        Most retries of a task of LOW or MEDIUM risk.
    max_load_factor
        Limit on each agent's planned time, as a multiple of the average, at least 1; None for no limit.
    seed
        Seed of a dry run without an executor.

    Examples
    --------
    >>> scheduler = AdaptiveScheduler()
    >>> rows = scheduler.assign_tasks_to_agents([{"task_id": "a"}, {"task_id": "b"}], {"x": ["a", "b"], "y": []})
    >>> rows["scheduled_start_time"].to_list()
    [0.0, 1000.0]
    """

    def __init__(
        self,
        phase18_dir: Path | str | None = None,
        phase19_output_dir: Path | str | None = None,
        *,
        dry_run: bool = True,
        executor: Executor | None = None,
        inputs: Inputs | None = None,
        heuristics: Heuristics | None = None,
        priority: PriorityStrategy | str = PriorityStrategy.RISK_CONFIDENCE,
        max_retries: Annotated[int, Meta(ge=0)] = 2,
        max_load_factor: Annotated[float, Meta(ge=1)] | None = 1.25,
        seed: Annotated[int, Meta(ge=0)] = 0,
    ) -> None:
        if not dry_run and (executor is None or executor.is_simulated):
            raise UsageError("AdaptiveScheduler: expected an executor of real or recorded tasks with dry_run=False")
        if dry_run and isinstance(executor, LiveExecutor):
            raise UsageError("AdaptiveScheduler: expected dry_run=False with a live executor, found a dry run")
        self.output_dir = phase19_output_dir
        if inputs is None:
            inputs = Inputs() if phase18_dir is None else load_inputs(Path(phase18_dir))
        self.dry_run, self.executor, self.inputs = dry_run, executor, inputs
        self.heuristics = heuristics or Heuristics()
        self.priority = _priority(priority)
        self.max_retries, self.max_load_factor, self.seed = max_retries, max_load_factor, seed
        if isinstance(executor, LiveExecutor):
            executor.handle_failure = self.handle_task_failure
        self.agents: list[str] = []
        self.executed: dict[int, ScheduleExecution] = {}

    def assign_tasks_to_agents(
        self,
        tasks: Rows,
        agent_assignments: Mapping[str, Sequence[str]],
        wave: WaveNumber = 1,
        *,
        plans: Rows | None = None,
    ) -> pl.DataFrame:
        """Put tasks on the timelines of their agents, in order of priority.

        Parameters
        ----------
        tasks
            `frames.TASKS`, or dicts of its fields.
        agent_assignments
            Task ids by agent; every task exactly once.
        wave
            Number of the wave, for tasks without one.
        plans
            `frames.PLANS` of the same tasks without scheduled times. By default a task takes its estimated_duration_ms
            (1,000 ms if unknown), and its probability of success is its confidence.

        Returns
        -------
        polars.DataFrame
            `frames.PLANS` where plans are given; else the columns of `frames.ORDERS`, then planned_duration_ms,
            planned_success, baseline_success, scheduled_start_time and scheduled_end_time. Agents in the order
            given, each agent's rows in the order of its timeline.
        """
        known = task_rows(tasks).with_columns(pl.col("wave").fill_null(wave))
        pairs = [(agent, task) for agent, own in agent_assignments.items() for task in own]
        assigned = pl.DataFrame(pairs, schema={"agent_id": pl.String, "task_id": pl.String}, orient="row")
        _same_tasks("agent_assignments", assigned, known)
        self._know_agents(agent_assignments)
        planned = self._without_forecast(known) if plans is None else rows_of(plans, "plans", *_PLAN_COLUMNS)
        _same_tasks("plans", planned, known)
        rows = planned.drop("agent_id", strict=False).join(assigned, on="task_id")
        columns = frames.PLANS.columns if plans is not None else [*_PLANNED_COLUMNS, *_SCHEDULED_COLUMNS]
        return self.optimize_task_ordering(rows, known).select(*columns)

    def prioritize_tasks(self, tasks: Rows, strategy: PriorityStrategy | str | None = None) -> pl.DataFrame:
        """Sort tasks by priority, and number them from 1 in the column `priority`.

        Parameters
        ----------
        tasks
            `frames.TASKS` or dicts of its fields. `agent_specialization` also needs the column `advantage`: the success
            forecast of the task's agent minus the mean over all agents (fraction).
        strategy
            One of :class:`PriorityStrategy`; by default that of the scheduler.
        """
        chosen = self.priority if strategy is None else _priority(strategy)
        rows = task_rows(tasks)
        if chosen is PriorityStrategy.AGENT_SPECIALIZATION:
            given = tasks if isinstance(tasks, pl.DataFrame) else pl.DataFrame(list(tasks), infer_schema_length=None)
            if not given.get_column("advantage", default=pl.Series([""])).dtype.is_numeric():
                raise UsageError("tasks: expected a column 'advantage' of numbers for agent_specialization, found none")
            rows = rows.join(given.select("task_id", "advantage"), on="task_id", maintain_order="left")
        ranked = by_priority(rows, chosen, self.heuristics)
        return ranked.with_columns(priority=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))

    def optimize_task_ordering(
        self, scheduled: Rows, tasks: Rows, strategy: PriorityStrategy | str | None = None
    ) -> pl.DataFrame:
        """Sort each agent's tasks by priority and recompute its timeline; no task changes its agent.

        Parameters
        ----------
        scheduled
            Rows with task_id, agent_id, planned_duration_ms, planned_success and baseline_success.
        tasks
            `frames.TASKS` of the same tasks, or dicts of its fields.
        strategy
            One of :class:`PriorityStrategy`; by default that of the scheduler.
        """
        scheduled = rows_of(scheduled, "scheduled", "task_id", "agent_id", *_FORECAST_COLUMNS)
        advantage = scheduled.select("task_id", advantage=pl.col("planned_success") - pl.col("baseline_success"))
        known = task_rows(tasks)
        positions(scheduled["task_id"], known["task_id"])  # refuses rows whose task is not given
        known = known.join(advantage, on="task_id")
        ranked = self.prioritize_tasks(known, strategy).select("task_id", "priority")
        rows = self._timeline(scheduled.drop("priority", strict=False).join(ranked, on="task_id"))
        return rows.select(*scheduled.columns, *(name for name in rows.columns if name not in scheduled.columns))

    def adjust_for_agent_load(self, scheduled: Rows, wave: PlannedWave | None = None) -> pl.DataFrame:
        """Move tasks off agents whose planned time exceeds the load limit, at a small loss of score.

        Parameters
        ----------
        scheduled
            Rows with task_id, agent_id and planned_duration_ms.
        wave
            The planned wave of these rows, with the score and duration of every pair. Without it, a task takes the same
            time on every agent, and all moves cost the same.

        Returns
        -------
        polars.DataFrame
            The rows in the order given, with their new agents. Scheduled times are not updated: call
            :meth:`assign_tasks_to_agents` or :meth:`optimize_task_ordering` next.
        """
        scheduled = rows_of(scheduled, "scheduled", "task_id", "agent_id", "planned_duration_ms")
        if self.max_load_factor is None or scheduled.is_empty():
            return scheduled
        if wave is not None:
            moved = wave.limited(self.max_load_factor).agent_index
            row = positions(scheduled["task_id"], wave.tasks["task_id"])
            return scheduled.with_columns(wave.model.agents["agent_id"].gather(moved[row]))
        self._know_agents(scheduled["agent_id"])
        agents = pl.Series("agent_id", self.agents)
        n, m = scheduled.height, agents.len()
        found = adjust_load(
            positions(scheduled["agent_id"], agents),
            np.zeros((n, m)),
            np.repeat(scheduled["planned_duration_ms"].to_numpy()[:, None], m, axis=1),
            capacity=np.full(m, n),
            max_load_factor=self.max_load_factor,
        )
        return scheduled.with_columns(agents.gather(found))

    def execute_schedule(
        self, wave: WaveNumber, scheduled: Rows, *, confidence_changes: tuple[_Change, _Change] = _DEFAULT_CHANGES
    ) -> ScheduleExecution:
        """Execute scheduled rows.

        Parameters
        ----------
        wave
            Number of the wave.
        scheduled
            Rows from :meth:`assign_tasks_to_agents`.
        confidence_changes
            Mean change of confidence after a failure and after a success, used for attempts that report none.
        """
        needed = (*frames.ORDERS.columns, "planned_duration_ms", *_SCHEDULED_COLUMNS)
        scheduled = rows_of(scheduled, "scheduled", *needed)
        if (others := scheduled.filter(pl.col("wave") != wave)).height:
            raise UsageError(f"scheduled: expected rows of wave {wave}, found one of wave {others['wave'][0]}")
        self._know_agents(scheduled["agent_id"])
        orders = scheduled.select(*frames.ORDERS.columns)
        if self.executor is None or self.executor.is_simulated:
            execution = Execution(self.simulate_task_execution(scheduled))
        else:
            execution = self.executor.execute(orders)
        executions = _with_actual_times(scheduled, task_outcomes(orders, execution, confidence_changes))
        ran = executions.filter(frames.has_run())
        self.executed[wave] = ScheduleExecution(
            wave=wave,
            executions=executions,
            attempts=execution.attempts,
            is_interrupted=execution.is_interrupted,
            success_rate=mean(ran["status"] == ScheduleStatus.COMPLETED),
            makespan_ms=_makespan_ms(executions),
            schedule_adherence=self.calculate_schedule_adherence(executions),
            agent_utilization=self.get_agent_utilization(executions),
        )
        return self.executed[wave]

    def simulate_task_execution(self, task: Rows | Mapping[str, Any]) -> pl.DataFrame:
        """Simulate one scheduled task or many, and return the attempts made (`frames.ATTEMPTS`).

        Parameters
        ----------
        task
            One row, or rows, from :meth:`assign_tasks_to_agents`.

        Notes
        -----
        The outcome of an attempt depends on the world, the task, the agent and the number of the attempt. Without an
        executor, the world is drawn from a forecast fitted to the rows given, so pass all rows of a wave at once.
        """
        rows = rows_of([task], "task") if isinstance(task, Mapping) else task
        rows = rows_of(rows, "task")
        orders = frames.ORDERS.conform(rows)
        executor = self._simulator(rows) if self.executor is None else self.executor
        if not executor.is_simulated:
            raise UsageError(
                "simulate_task_execution: expected a simulating executor, found one of real or recorded tasks"
            )
        return executor.execute(orders).attempts

    def calculate_schedule_adherence(self, executions: Rows) -> float | None:
        """Measure how closely a wave kept to its schedule, in [0, 1]; None if no actual time is known.

        Notes
        -----
        1 - mean(|actual_start - scheduled_start| + |actual_end - scheduled_end|) / 2 over the tasks with known times,
        divided by the end of the wave's timeline.
        """
        edges = [f"{kind}_{edge}_time" for kind in ("actual", "scheduled") for edge in ("start", "end")]
        executions = rows_of(executions, "executions", *edges)
        shift = [(pl.col(f"actual_{edge}_time") - pl.col(f"scheduled_{edge}_time")).abs() for edge in ("start", "end")]
        deviation = mean(executions.select((shift[0] + shift[1]) / 2).to_series())
        end = largest(executions["scheduled_end_time"])
        if deviation is None or end is None:
            return None
        return float(np.clip(1.0 - deviation / end, 0.0, 1.0)) if end > 0 else float(deviation == 0)

    @overload
    def handle_task_failure(self, task: Mapping[str, Any]) -> dict[str, Any]: ...

    @overload
    def handle_task_failure(self, task: Rows) -> pl.DataFrame: ...

    def handle_task_failure(self, task: Mapping[str, Any] | Rows) -> dict[str, Any] | pl.DataFrame:
        """Decide what follows a failed attempt: a retry, otherwise another agent, otherwise giving up.

        Parameters
        ----------
        task
            One dict or rows with task_id, agent_id and attempt (the one that failed, from 1). Optional: risk_level
            (default MEDIUM), confidence, `tried_agents` (those that failed earlier), required_agents and
            excluded_agents (by default those of the inputs' task).

        Returns
        -------
        dict or polars.DataFrame
            The task with `action` (retry, reassign or give_up), `next_agent_id`, `next_attempt` and
            `next_confidence`; the last three are null after give_up. A dict for a dict, a frame for rows.

        Notes
        -----
        A task of LOW or MEDIUM risk is retried up to `max_retries` times. A retry lowers the confidence by 0.05, but
        not below 0.05 (H16_003). Without retries left, the task goes to the first agent that has not tried it and may
        do it: one of those with scheduled tasks or, before any task is scheduled, of the inputs' agents. Capacities are
        not considered. A reassignment does not replan the wave. The live executor only retries.
        """
        rows = rows_of(rows_of([task], "task") if isinstance(task, Mapping) else task, "task", "task_id")
        limits = [name for name in ("required_agents", "excluded_agents") if name not in rows.columns]
        known = self.inputs.tasks.select("task_id", *limits)
        failed = _FAILURES.conform(rows.join(known, on="task_id", how="left", maintain_order="left"))
        everyone = pl.DataFrame({"other": self.agents or self.inputs.agents["agent_id"].to_list()})
        other, required = pl.col("other"), pl.col("required_agents").fill_null([])
        tried = pl.concat_list("tried_agents", "agent_id", pl.col("excluded_agents").fill_null([]))
        may_do = (required.list.len() == 0) | other.is_in(required)
        allowed = failed.select("task_id", required, tried=tried).join(everyone, how="cross")
        others = allowed.filter(may_do & ~other.is_in("tried")).unique("task_id", keep="first", maintain_order=True)
        failed = failed.join(others.select("task_id", "other"), on="task_id", how="left", maintain_order="left")
        is_retried = failed["attempt"] < pl.Series(attempts_allowed(failed["risk_level"], self.max_retries))
        confidence = failed["confidence"].to_numpy()
        is_reassigned = other.is_not_null()
        decided = failed.with_columns(
            action=pl.when(is_retried)
            .then(pl.lit("retry"))
            .when(is_reassigned)
            .then(pl.lit("reassign"))
            .otherwise(pl.lit("give_up")),
            next_agent_id=pl.when(is_retried).then("agent_id").otherwise("other"),
            next_attempt=pl.when(is_retried).then(pl.col("attempt") + 1).when(is_reassigned).then(1),
            next_confidence=pl.when(is_retried)
            .then(pl.Series(attempt_probability(confidence, 2), nan_to_null=True))
            .when(is_reassigned)
            .then("confidence"),
        ).drop("other", "required_agents", "excluded_agents")
        return decided.row(0, named=True) if isinstance(task, Mapping) else decided

    def get_agent_utilization(self, executions: Rows, agents: Sequence[str] | None = None) -> dict[str, float]:
        """Busy share of the wave's makespan by agent, fraction; 0 for idle agents, empty if the makespan is unknown.

        Parameters
        ----------
        executions
            Rows with agent_id, status, actual_duration_ms and actual_end_time.
        agents
            All agents; by default those known to the scheduler.
        """
        executions = rows_of(executions, "executions", "agent_id", "status", "actual_duration_ms", "actual_end_time")
        makespan = _makespan_ms(executions)
        if not makespan:
            return {}
        busy = executions.group_by("agent_id").agg(pl.col("actual_duration_ms").sum() / makespan)
        share = dict(busy.rows())
        return {agent: share.get(agent, 0.0) for agent in (agents or self.agents or sorted(share))}

    def write_schedule_outputs(
        self, wave: WaveNumber, directory: Path | str | None = None, *, task_format: TaskFormat = "jsonl"
    ) -> Path:
        """Write `wave_N/AGENT/scheduled_tasks.jsonl` of an executed wave, a file for every agent.

        Parameters
        ----------
        wave
            Number of a wave that was executed.
        directory
            The run directory; `phase19_output_dir` by default.
        task_format
            With parquet, the tasks of all agents are in `wave_N/scheduled_tasks.parquet`.

        Returns
        -------
        Path
            The directory of the wave.

        Raises
        ------
        UsageError
            The wave was not executed, or there is no directory.
        """
        place = output_directory(directory, self.output_dir)
        if wave not in self.executed:
            raise UsageError(f"wave {wave}: expected one of the executed waves, {sorted(self.executed)}")
        rows = self.executed[wave].executions
        known = "updated_confidence" if "updated_confidence" in rows.columns else "confidence"
        after = (pl.col(known) + pl.col("actual_confidence_delta")).clip(0.0, 1.0)
        keys = [name for name in frames.SCHEDULED_TASKS.columns if name in rows.columns or name == "confidence_after"]
        write_agent_rows(
            rows.with_columns(confidence_after=after).select(keys),
            place,
            f"scheduled_tasks.{task_format}",
            waves=[wave],
            directories=agent_directories(self.agents),
        )
        return place / f"wave_{wave}"

    def _timeline(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Sort rows by agent and priority, and schedule each agent's tasks one directly after another."""
        self._know_agents(rows["agent_id"])
        place = pl.Series("place", positions(rows["agent_id"], pl.Series(self.agents)))
        end = pl.col("planned_duration_ms").cum_sum().over("agent_id")
        return (
            rows.with_columns(place)
            .sort("place", "priority")
            .drop("place")
            .with_columns(scheduled_end_time=end)
            .with_columns(scheduled_start_time=pl.col("scheduled_end_time").shift(1, fill_value=0.0).over("agent_id"))
        )

    def _know_agents(self, agent_ids: Iterable[str]) -> None:
        """Add new agents to the known ones, in the order given."""
        self.agents = list(dict.fromkeys([*self.agents, *agent_ids]))

    def _without_forecast(self, tasks: pl.DataFrame) -> pl.DataFrame:
        chance = pl.col("confidence").fill_null(pl.col("confidence").mean()).fill_null(0.5)
        return tasks.with_columns(
            pl.Series("max_attempts", attempts_allowed(tasks["risk_level"], self.max_retries)),
            planned_duration_ms=pl.col("estimated_duration_ms").fill_null(ASSUMED_MS),
            planned_success=chance,
            baseline_success=chance,
        )

    def _simulator(self, rows: pl.DataFrame) -> SimulateExecutor:
        """An executor of these rows, in a world drawn from a forecast fitted to the records."""
        inputs, rows = self.inputs, rows_of(rows, "task", "planned_duration_ms")
        tasks = task_rows(rows.with_columns(estimated_duration_ms="planned_duration_ms"))
        agents = agent_rows(natural_order(set(rows["agent_id"])), inputs.agents)
        model = ForecastModel.fit(tasks, agents, inputs.attempts, inputs.population, features=inputs.features)
        return SimulateExecutor(model.world(self.seed), tasks["task_id"], agents["agent_id"])


def _same_tasks(argument: str, rows: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Refuse rows that do not have every expected task exactly once."""
    found, once = Counter(rows["task_id"]), Counter(expected["task_id"])
    if wrong := (found - once) + (once - found):
        raise UsageError(
            f"{argument}: expected every task exactly once, found {min(wrong)!r} missing, unknown or repeated"
        )


def _priority(name: PriorityStrategy | str) -> PriorityStrategy:
    if name not in list(PriorityStrategy):
        expected, hint = ", ".join(PriorityStrategy), suggestion(name, PriorityStrategy)
        raise UsageError(f"priority: expected one of {expected}, found {name!r}{hint}")
    return PriorityStrategy(name)


def _makespan_ms(executions: pl.DataFrame) -> float | None:
    """End of the last task that ran; None if nothing ran or an end is unknown."""
    ends = executions.filter(frames.has_run())["actual_end_time"]
    return None if ends.null_count() else largest(ends)


def _with_actual_times(scheduled: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Scheduled rows with their outcomes: each agent takes its next task as soon as it is free.

    A task that did not run takes no time and has null actual times. After a task of unknown time, it is not known when
    its agent's other tasks ran.
    """
    joined = scheduled.join(outcomes.drop("agent_id"), on="task_id", maintain_order="left")
    ran = frames.has_run()
    taken = pl.when(ran).then("actual_duration_ms").otherwise(0.0)
    end, is_known = taken.cum_sum().over("agent_id"), taken.is_null().cum_sum().over("agent_id") == 0
    timed = joined.with_columns(
        retry_count=(pl.col("attempt_count") - 1).clip(0),
        actual_start_time=pl.when(ran & is_known).then(end.shift(1, fill_value=0.0).over("agent_id")),
        actual_end_time=pl.when(ran & is_known).then(end),
    )
    deadline = pl.col("deadline_ms") if "deadline_ms" in timed.columns else pl.lit(None, dtype=pl.Float64)
    return timed.with_columns(
        is_planned_late=(pl.col("scheduled_end_time") > deadline).fill_null(value=False),
        is_late=pl.when(deadline.is_not_null())
        .then(pl.col("actual_end_time") > deadline)
        .otherwise(pl.lit(value=False)),
    ).select(*scheduled.columns, *_ACTUAL_COLUMNS)

"""The state of a wave: its tasks, then its plan, then its outcomes."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19 import frames
from phase19.assignment.solver import gap_between
from phase19.balancing.load_limit import adjust_load
from phase19.balancing.strategies import WaveAssignment
from phase19.errors import UsageError, suggestion
from phase19.forecasting.model import Expected, ForecastModel
from phase19.forecasting.predictive import NO_DRAWS, WaveDraws


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A wave of n tasks.

    Attributes
    ----------
    number
        Number of the wave, from 1.
    tasks
        `frames.TASKS`: first all tasks of the wave, then the approved ones, both sorted by task id; then those with an
        agent, sorted by the SHA-256 of the task id. `decisions` and `unassigned` give the reasons for the rest.
    decisions
        `frames.DECISIONS`, one row per task, deferred tasks included.
    unassigned
        `frames.UNASSIGNED`: approved tasks without an agent, and why.
    """

    number: int
    tasks: pl.DataFrame
    decisions: pl.DataFrame = field(default_factory=frames.DECISIONS.empty)
    unassigned: pl.DataFrame = field(default_factory=frames.UNASSIGNED.empty)

    @classmethod
    def grown_from(cls, wave: "Wave", **more: Any) -> Self:
        """Make this stage of a wave from the fields of the earlier stage and from `more`."""
        return cls(**{**{part.name: getattr(wave, part.name) for part in fields(wave)}, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWave(Wave):
    """A wave with an agent for each of its n tasks.

    Attributes
    ----------
    model
        The forecast model that the wave was planned with; its m agents are the columns of every pair matrix.
    max_attempts
        Attempts that each task may have, shape (n,).
    forecast
        Expectations for every pair, shape (n, m).
    allowed
        Pairs that may be used, shape (n, m); None for all.
    assignment
        The strategy's assignment, with its scores and its certificate.
    agent_index
        Agent of each task, shape (n,); differs from the assignment's where a load limit moved tasks.
    plans
        One row per task. After planning: in the order of `tasks`, without scheduled times. After scheduling:
        `frames.PLANS`, grouped by agent, in the order of each agent's timeline.
    slot_value
        Gain in the wave's score from one more slot of each agent, shape (m,).
    draws
        Draws of the plan's outcome, in the order of `tasks`; made before the wave runs.
    max_load_factor
        Limit on each agent's planned time, as a multiple of the average; None for no limit.
    """

    model: ForecastModel
    max_attempts: NDArray[np.int64]
    forecast: Expected
    allowed: NDArray[np.bool_] | None
    assignment: WaveAssignment
    agent_index: NDArray[np.int64]
    plans: pl.DataFrame = field(default_factory=frames.PLANS.empty)
    slot_value: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    draws: WaveDraws = NO_DRAWS
    max_load_factor: float | None = None

    def limited(self, max_load_factor: float | None) -> Self:
        """Move tasks off agents whose planned time exceeds this multiple of the average, at a small loss of score."""
        if max_load_factor is None:
            return self
        agent_index = adjust_load(
            self.agent_index,
            self.assignment.scores,
            self.forecast.planned_duration_ms,
            capacity=self.assignment.capacity,
            max_load_factor=max_load_factor,
            allowed=self.allowed,
        )
        return replace(self, agent_index=agent_index)

    @property
    def agent_assignments(self) -> dict[str, list[str]]:
        """Task ids by agent, in order of priority; idle agents have an empty list."""
        return agent_assignments(self.plans.sort("priority"), self.model.agents["agent_id"])

    @property
    def objective(self) -> float:
        """Value that the plan maximises: summed scores, or for throughput the negative planned makespan [ms]."""
        return self.assignment.objective(self.agent_index, self.forecast.planned_duration_ms)

    @property
    def gap(self) -> float | None:
        """Distance of the objective from its proven upper bound; 0 proves that the plan is optimal, None nothing."""
        return gap_between(self.assignment.upper_bound, self.objective)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedWave(PlannedWave):
    """A wave that was executed.

    Attributes
    ----------
    executions
        `frames.EXECUTIONS`, in the order of `plans`.
    attempts
        `frames.ATTEMPTS` that were made.
    is_interrupted
        Whether the run was stopped in this wave.
    """

    executions: pl.DataFrame
    attempts: pl.DataFrame
    is_interrupted: bool

    @property
    def scheduled_draws(self) -> WaveDraws:
        """The draws, with tasks in the order of `executions`."""
        return self.draws.reordered(positions(self.executions["task_id"], self.tasks["task_id"]))


def positions(ids: pl.Series, among: pl.Series) -> NDArray[np.int64]:
    """Index of each of `ids` in `among`, which contains no id twice.

    Raises
    ------
    UsageError
        One of `ids` is not in `among`.
    """
    places = among.alias("id").to_frame().with_row_index("place")
    named = ids.cast(among.dtype).alias("id").to_frame()  # without ids, the type may be Null
    found = named.join(places, on="id", how="left", maintain_order="left").get_column("place")
    if found.null_count():
        unknown = ids[found.is_null().arg_max() or 0]
        raise UsageError(f"{ids.name}: found {unknown!r}, which is not known{suggestion(unknown, among)}")
    return found.cast(pl.Int64).to_numpy()


def agent_assignments(rows: pl.DataFrame, agents: pl.Series) -> dict[str, list[str]]:
    """Task ids by agent in the order of `rows`; idle agents have an empty list."""
    grouped = rows.group_by("agent_id", maintain_order=True).agg("task_id")
    chosen = dict(zip(grouped["agent_id"].to_list(), grouped["task_id"].to_list(), strict=True))
    return {agent: chosen.get(agent, []) for agent in agents.to_list()}


def mean(values: pl.Series) -> float | None:
    """Mean of a column of numbers; None if it is empty or all null."""
    value = values.cast(pl.Float64).mean()
    return value if isinstance(value, float) else None


def largest(values: pl.Series) -> float | None:
    """Largest of a column of numbers; None if it is empty or all null."""
    value = values.cast(pl.Float64).max()
    return value if isinstance(value, float) else None

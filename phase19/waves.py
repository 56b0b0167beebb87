"""One wave after another: gate, plan, draw, carry out, learn. Runs, backtests and comparisons all go through here."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phase19.execution.protocol import Execution, execute_orders
from phase19.forecasting.predictive import WaveDraws, draw_count, draw_wave
from phase19.inputs.heuristics import append_heuristic
from phase19.planning import AssignedWave, WavePlan, assign_wave, positions, schedule_wave
from phase19.timelines import settle, success_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl
    from numpy.typing import NDArray

    from phase19.execution.protocol import Executor
    from phase19.forecasting.model import ForecastModel
    from phase19.planning import PlanParameters

__all__ = ["PlayedWave", "WaveLoop", "plan_indices", "waves_of"]


@dataclass(frozen=True, slots=True)
class PlayedWave:
    """A wave that was planned and carried out.

    Attributes
    ----------
    model
        What was believed when it was planned.
    tasks, decisions
        `frames.TASKS` and `frames.DECISIONS` of the wave, the tasks deferred among them.
    plan, draws
        Frozen before anything of the wave ran.
    executions
        `frames.EXECUTIONS`: planned beside actual, in the plan's order.
    execution
        The attempts that were made.
    assigned
        Who does what, before it was laid on timelines.
    learned_attempt_count
        Attempts of the wave before that the forecast learned from; None for the first wave.
    """

    model: ForecastModel
    tasks: pl.DataFrame
    decisions: pl.DataFrame
    plan: WavePlan
    draws: WaveDraws
    executions: pl.DataFrame
    execution: Execution
    assigned: AssignedWave
    learned_attempt_count: int | None


@dataclass(frozen=True, slots=True)
class WaveLoop:
    """Plays waves, each planned on what was known before it.

    Attributes
    ----------
    executor
        Carries a wave out; it sees orders, never a forecast.
    parameters
        What plans are asked for.
    gate
        Decides which of a wave's tasks may start, given the success rate of the wave before (None before the
        first, or where nothing ran); `frames.DECISIONS`.
    seed
        Fixes the predictive draws; the plans draw nothing.
    stage
        Gives a context for each stage by name, to time it.
    progress
        Called as `progress(stage, done, total)`.
    """

    executor: Executor
    parameters: PlanParameters
    gate: Callable[[pl.DataFrame, float | None], pl.DataFrame]
    seed: int = 0
    stage: Callable[[str], AbstractContextManager[Any]] = nullcontext
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None

    def play(self, model: ForecastModel) -> Iterator[PlayedWave]:
        """Play the waves of the model's tasks in order, up to and with one that is interrupted.

        Notes
        -----
        A wave's planned figures are frozen before it is carried out, and learning sees its attempts only.
        """
        waves = waves_of(model.tasks)
        draw_number = draw_count(max(wave.height for wave in waves))
        learned_attempt_count, rate = None, None
        for done, wave in enumerate(waves):
            self.progress("waves", done, len(waves))
            decisions = self.gate(wave, rate)
            relaxed = wave.with_columns(heuristics_applied=append_heuristic(decisions["relaxed_by"]))
            tasks = relaxed.filter(decisions["decision"] == "approved")
            assigned = self.assign(model, tasks)
            with self.stage("schedule"):
                plan = schedule_wave(model, assigned, self.parameters)
            with self.stage("draw"):
                # Redrawn per wave: given earlier outcomes, forecast errors are independent.
                pairs = plan_indices(model, plan.plans)
                draws = draw_wave(model, *pairs, seed=self.seed, wave=int(wave["wave"][0]), draws=draw_number)
            executions, execution = self.carry_out(model, plan.plans)
            yield PlayedWave(
                model, wave, decisions, plan, draws, executions, execution, assigned, learned_attempt_count
            )
            if execution.is_interrupted:
                return
            if wave is not waves[-1]:
                learned_attempt_count, rate = execution.attempts.height, success_rate(executions)
                with self.stage("learn"):
                    model = model.observe(execution.attempts)
        self.progress("waves", len(waves), len(waves))

    def assign(self, model: ForecastModel, tasks: pl.DataFrame) -> AssignedWave:
        """Assign a wave's tasks on what is believed."""
        return assign_wave(model, tasks, self.parameters, self.stage)

    def carry_out(self, model: ForecastModel, plans: pl.DataFrame) -> tuple[pl.DataFrame, Execution]:
        """Carry a plan out: `frames.EXECUTIONS`, and the attempts made."""
        with self.stage("execute"):
            mean_change = (model.gains.population_failure, model.gains.population_success)
            outcomes, execution = execute_orders(self.executor, plans, mean_change)
            return settle(plans, outcomes), execution


def waves_of(tasks: pl.DataFrame) -> list[pl.DataFrame]:
    """Tasks by wave, the first wave first, in the order given."""
    return tasks.sort("wave", maintain_order=True).partition_by("wave", maintain_order=True)


def plan_indices(
    model: ForecastModel, plans: pl.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Task, agent and attempts allowed of each row of a plan, tasks and agents as the model's indices."""
    return (
        positions(plans["task_id"], model.tasks["task_id"]),
        positions(plans["agent_id"], model.agents["agent_id"]),
        plans["max_attempts"].to_numpy(),
    )

"""AdaptiveOptimizer: what Phase 18 knows, turned into who does what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.execution.protocol import execute_orders
from phase19.execution.simulate import SimulateExecutor
from phase19.forecasting.model import ForecastModel
from phase19.inputs.loading import Inputs, Population, load_inputs
from phase19.inputs.roster import fill_confidence
from phase19.options import OptimizationStrategy
from phase19.planning import PlanParameters, WavePlan, plan_wave
from phase19.publishing.files import write_files
from phase19.timelines import largest, mean, settle, utilization

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["AdaptiveOptimizer", "OptimizationResult"]

# Nothing is known before records are loaded: an even chance, and no times.
_UNKNOWN_POPULATION = Population(
    success_rate=0.5, duration_ms=None, confidence_delta=None, agent_count=0, task_count=0, wave_count=None
)


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """A wave's plan and what it promises.

    Attributes
    ----------
    strategy
        Strategy the plan was made with.
    plans
        `frames.PLANS`: one row a task, agents together, in the order of their timelines.
    expected_success_rate
        Mean planned success, fraction.
    expected_throughput
        Tasks over the end of the longest timeline, per second.
    expected_confidence_delta
        Mean planned change of confidence.
    objective, upper_bound, gap
        Of the plan (`WaveAssignment.objective`); a gap of 0 proves it optimal.
    """

    strategy: OptimizationStrategy
    plans: pl.DataFrame
    expected_success_rate: float
    expected_throughput: float
    expected_confidence_delta: float
    objective: float
    upper_bound: float
    gap: float
    model: ForecastModel = field(repr=False)

    @property
    def agent_assignments(self) -> dict[str, list[str]]:
        """Task ids by agent, in the order of the agent's timeline; every agent, idle ones too."""
        grouped = self.plans.group_by("agent_id", maintain_order=True).agg("task_id")
        chosen = dict(zip(grouped["agent_id"].to_list(), grouped["task_id"].to_list(), strict=True))
        return {agent: chosen.get(agent, []) for agent in self.model.agents["agent_id"].to_list()}


class AdaptiveOptimizer:
    """Plans waves on what was recorded, and learns from what came of them.

    Parameters
    ----------
    parameters
        What plans are asked for; the command's defaults.

    Examples
    --------
    >>> optimizer = AdaptiveOptimizer()
    >>> result = optimizer.calculate_optimal_schedule(
    ...     [{"task_id": "a", "confidence": 0.8}, {"task_id": "b", "confidence": 0.6}], ["x", "y"]
    ... )
    >>> sorted(task for tasks in result.agent_assignments.values() for task in tasks)
    ['a', 'b']
    """

    def __init__(self, parameters: PlanParameters | None = None) -> None:
        self.parameters = parameters or PlanParameters()
        self.inputs: Inputs | None = None
        self.observed = frames.ATTEMPTS.empty()

    def load_phase18_data(
        self, phase18: Path, phase16: Path | None = None, phase17: Path | None = None
    ) -> dict[str, int]:
        """Read the neighbours' records; later plans rest on them.

        Returns
        -------
        dict
            agents_loaded, patterns_loaded, signals_loaded.
        """
        self.inputs = load_inputs(phase18, phase16, phase17)
        return {
            "agents_loaded": self.inputs.agents.height,
            "patterns_loaded": self.inputs.patterns.height,
            "signals_loaded": self.inputs.signals.height,
        }

    def calculate_optimal_schedule(
        self,
        tasks: pl.DataFrame | Sequence[dict[str, Any]],
        agents: pl.DataFrame | Sequence[str],
        strategy: OptimizationStrategy | str | None = None,
    ) -> OptimizationResult:
        """Assign one wave's tasks, optimally for the strategy.

        Parameters
        ----------
        tasks
            `frames.TASKS`, or dicts of its fields.
        agents
            `frames.AGENTS`, or agent ids; those known from the records are judged by them.
        strategy
            One of :class:`OptimizationStrategy`; that of the parameters by default.
        """
        model = self.forecast_model(tasks, agents)
        parameters = self.parameters
        if strategy is not None:
            parameters = replace(parameters, strategy=OptimizationStrategy(strategy))
        return _result(model, plan_wave(model, model.tasks, parameters))

    def optimize_for_success(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], agents: pl.DataFrame | Sequence[str]
    ) -> OptimizationResult:
        """Maximise the expected number of successes."""
        return self.calculate_optimal_schedule(tasks, agents, OptimizationStrategy.MAXIMIZE_SUCCESS)

    def optimize_for_throughput(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], agents: pl.DataFrame | Sequence[str]
    ) -> OptimizationResult:
        """Minimise the makespan."""
        return self.calculate_optimal_schedule(tasks, agents, OptimizationStrategy.MAXIMIZE_THROUGHPUT)

    def optimize_for_minimize_retries(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], agents: pl.DataFrame | Sequence[str]
    ) -> OptimizationResult:
        """Minimise the expected number of retries."""
        return self.calculate_optimal_schedule(tasks, agents, OptimizationStrategy.MINIMIZE_RETRIES)

    def optimize_for_confidence(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], agents: pl.DataFrame | Sequence[str]
    ) -> OptimizationResult:
        """Maximise the expected gain of confidence."""
        return self.calculate_optimal_schedule(tasks, agents, OptimizationStrategy.CONFIDENCE_OPTIMIZATION)

    def simulate_schedule(self, result: OptimizationResult, seed: int = 0) -> dict[str, Any]:
        """Play a plan once in a world drawn from what is believed.

        Returns
        -------
        dict
            simulated_success_rate, simulated_completion_time_ms (the last agent's end),
            simulated_confidence_delta, agent_utilization (fraction by agent).
        """
        model = result.model
        executor = SimulateExecutor(model.world(seed), model.tasks["task_id"], model.agents["agent_id"])
        changes = (model.gains.population_failure, model.gains.population_success)
        executed = settle(result.plans, execute_orders(executor, result.plans, changes)[0])
        return {
            "simulated_success_rate": mean(executed["status"] == "completed"),
            "simulated_completion_time_ms": largest(executed["actual_end_time"]),
            "simulated_confidence_delta": mean(executed["actual_confidence_delta"]),
            "agent_utilization": utilization(executed, model.agents["agent_id"].to_list()),
        }

    def update_confidence_estimates(self, attempts: pl.DataFrame | Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Learn from attempts: later plans rest on them too.

        Parameters
        ----------
        attempts
            `frames.ATTEMPTS`, or dicts of its fields (source `run` where none is given).

        Returns
        -------
        polars.DataFrame
            task_id and the task's new confidence, sorted by task id: after the last attempt where recorded,
            else what was before it changed by its delta.
        """
        given = attempts if isinstance(attempts, pl.DataFrame) else [{"source": "run", **row} for row in attempts]
        learned = frames.ATTEMPTS.conform(given)
        self.observed = pl.concat([self.observed, learned])
        changed = (pl.col("confidence_before") + pl.col("confidence_delta").fill_null(0.0)).clip(0.0, 1.0)
        return (
            learned.sort("task_id", "attempt")
            .group_by("task_id", maintain_order=True)
            .agg(pl.coalesce("confidence_after", changed).last().alias("confidence"))
        )

    def generate_schedule_recommendations(self, result: OptimizationResult) -> pl.DataFrame:
        """One recommendation for each agent with tasks (`schedule_recommendations.jsonl`), its rationale in words."""
        from phase19.analysis.session import query

        return query("schedule_recommendations", {"executions": _planned_only(result.plans)})

    def calculate_optimization_metrics(self, result: OptimizationResult) -> dict[str, float]:
        """What the plan promises, beside round robin: the average over all rotations of natural order."""
        baseline = mean(result.plans["baseline_success"]) or 0.0
        return {
            "expected_success_rate": result.expected_success_rate,
            "round_robin_success_rate": baseline,
            "success_advantage": result.expected_success_rate - baseline,
            "expected_throughput": result.expected_throughput,
            "expected_confidence_delta": result.expected_confidence_delta,
            "objective": result.objective,
            "gap": result.gap,
        }

    def write_optimization_outputs(self, result: OptimizationResult, directory: Path) -> list[Path]:
        """Write planned_tasks.jsonl, schedule_recommendations.jsonl and optimization_metrics.json."""
        return write_files(
            directory,
            {
                "planned_tasks.jsonl": result.plans,
                "schedule_recommendations.jsonl": self.generate_schedule_recommendations(result),
                "optimization_metrics.json": self.calculate_optimization_metrics(result),
            },
        )

    def forecast_model(
        self, tasks: pl.DataFrame | Sequence[dict[str, Any]], agents: pl.DataFrame | Sequence[str]
    ) -> ForecastModel:
        """What is believed of these tasks and agents, from the records loaded and observed."""
        wave = frames.TASKS.conform(tasks).with_columns(pl.col("wave").fill_null(1)).sort("task_id")
        if wave.is_empty():
            raise UsageError("expected at least one task, found none")
        known = self.inputs.attempts if self.inputs is not None else frames.ATTEMPTS.empty()
        population = self.inputs.population if self.inputs is not None else _UNKNOWN_POPULATION
        attempts = pl.concat([known, self.observed])
        wave = fill_confidence(wave, attempts, population.success_rate)
        return ForecastModel.fit(wave, self._agent_frame(agents), attempts, population)

    def _agent_frame(self, agents: pl.DataFrame | Sequence[str]) -> pl.DataFrame:
        if isinstance(agents, pl.DataFrame):
            return frames.AGENTS.conform(agents)
        named = frames.AGENTS.conform([{"agent_id": name, "record_count": 0, "evidence": "none"} for name in agents])
        if self.inputs is None:
            return named
        return named.update(self.inputs.agents, on="agent_id", how="left")


def _result(model: ForecastModel, plan: WavePlan) -> OptimizationResult:
    plans, solved = plan.plans, plan.assigned
    end_ms = largest(plans["scheduled_end_time"]) or 0.0
    return OptimizationResult(
        strategy=solved.strategy,
        plans=plans,
        expected_success_rate=mean(plans["planned_success"]) or 0.0,
        expected_throughput=plans.height / end_ms * 1000.0 if end_ms > 0 else 0.0,
        expected_confidence_delta=mean(plans["planned_confidence_delta"]) or 0.0,
        objective=plan.objective,
        upper_bound=solved.upper_bound,
        gap=max(0.0, solved.upper_bound - plan.objective),
        model=model,
    )


def _planned_only(plans: pl.DataFrame) -> pl.DataFrame:
    """A plan as executions of which nothing ran."""
    idle = plans.select(
        "task_id",
        "agent_id",
        status=pl.lit("unobserved"),
        attempt_count=pl.lit(0, dtype=pl.Int64),
        actual_duration_ms=pl.lit(None, dtype=pl.Float64),
        actual_confidence_delta=pl.lit(None, dtype=pl.Float64),
        is_duration_measured=pl.lit(False),
        is_censored=pl.lit(False),
    )
    return settle(plans, idle)

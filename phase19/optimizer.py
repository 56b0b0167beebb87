"""AdaptiveOptimizer: plan waves from records, and learn from the outcomes of earlier waves."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from phase19 import frames
from phase19.arguments import WaveNumber, checked
from phase19.assignment.sensitivity import ChoiceReasons, explain_choices
from phase19.balancing.capacity import agent_capacity, left_out
from phase19.balancing.recommendation import recommend_wave
from phase19.balancing.strategies import allowed_pairs, check_feasible, name_conflict, optimize, placed_tasks
from phase19.errors import InfeasibleError, UsageError
from phase19.execution.protocol import sum_if_known, task_outcomes
from phase19.execution.simulate import SimulateExecutor
from phase19.forecasting.keyed_random import id_keys
from phase19.forecasting.model import Forecast, ForecastModel
from phase19.forecasting.predictive import draw_count, draw_wave
from phase19.forecasting.retries import attempts_allowed
from phase19.inputs.heuristics import Heuristics, read_heuristics
from phase19.inputs.history import Previous
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.summaries import PATTERNS, SIGNALS
from phase19.inputs.tasks import (
    Rows,
    agent_rows,
    by_priority,
    check_any,
    deal_waves,
    fill_confidence,
    leave_out,
    natural_order,
    rows_of,
    select_agents,
    sorted_by_id,
    task_rows,
)
from phase19.options import OptimizationStrategy, PlanOptions, TaskFormat, WaveOptions
from phase19.publishing.files import agent_directories, output_directory, write_agent_rows, write_files
from phase19.schema import Schema
from phase19.wave import ExecutedWave, PlannedWave, Wave, largest, mean, positions

Agents = pl.DataFrame | pl.Series | Sequence[str] | None
Tasks = Rows | Wave | None

# The strategies with plans of their own; `auto` picks one of these plans for each wave.
CANDIDATES = tuple(strategy for strategy in OptimizationStrategy if strategy is not OptimizationStrategy.AUTO)

_MOST_DIRECTORIES = 30_000  # agents times waves: 90,000 files take some minutes
_MOST_PAIRS = 100_000_000  # in a wave
_FORECAST_INPUTS = ("task_id", "risk_level", "category", "confidence", "confidence_boost", "estimated_duration_ms")


@dataclass(frozen=True, slots=True)
class OptimizationResult:
    """A wave's plan and its expected results.

    Attributes
    ----------
    strategy
        The strategy of the plan; under `auto`, the one that was chosen.
    expected_success_rate
        Mean planned success, fraction; None without tasks.
    expected_throughput
        Tasks per second of expected makespan; None without tasks.
    expected_confidence_delta
        Mean planned change of confidence; None without tasks.
    confidence
        1 minus the mean width of the 90 % intervals of first-attempt success, fraction; None without tasks.
    timestamp
        When the plan was made.
    wave
        The planned wave, with its forecast, scores and certificate.
    """

    strategy: OptimizationStrategy
    expected_success_rate: float | None
    expected_throughput: float | None
    expected_confidence_delta: float | None
    confidence: float | None
    timestamp: datetime
    wave: PlannedWave = field(repr=False)

    @property
    def plans(self) -> pl.DataFrame:
        """One row per task, sorted by task id: `frames.PLANS` without scheduled times."""
        return self.wave.plans.sort("task_id")

    @property
    def agent_assignments(self) -> dict[str, list[str]]:
        """Task ids by agent, in order of priority; idle agents have an empty list."""
        return self.wave.agent_assignments

    @property
    def task_priorities(self) -> dict[str, int]:
        """Rank of each task in the wave, 1 first."""
        return dict(self.wave.plans.sort("priority").select("task_id", "priority").rows())


@dataclass(frozen=True, slots=True)
class ScheduleRecommendation:
    """What one agent should do in one wave, and why; a line of schedule_recommendations.jsonl."""

    recommendation_id: str
    wave: int
    agent_id: str
    task_ids: list[str]
    expected_completion_time_ms: float
    expected_success_probability: float
    rationale: str
    confidence: float


@dataclass(frozen=True, slots=True)
class _KeptPlan:
    """The part of a wave's plan that the optimizer keeps; it holds no matrix of tasks by agents."""

    plans: pl.DataFrame
    unassigned: pl.DataFrame
    agents: pl.Series
    solo_success: pl.DataFrame  # expected successes if one agent did every task, by agent_id
    makespan_ms: float
    gap: float | None
    capacity_cost: float | None
    recommendations: list[ScheduleRecommendation]


@checked
class AdaptiveOptimizer:
    """Plans waves from records, and learns from their outcomes.

    Parameters
    ----------
    phase18_dir, phase16_dir, phase17_dir
        Directories with the records of the earlier phases; read by :meth:`load_phase18_data`.
    phase19_output_dir
        Where :meth:`write_optimization_outputs` writes by default.
    options
        Strategy and limits of the plans; by default those of the command.
    inputs
        Records already read, instead of directories.
    previous
        An earlier run; its heuristic weights and outcomes are used too.
    waves, agents
        Number of waves and number of agents; by default as recorded.
    seed
        Seed of the draws of plans and simulations.
    timestamp
        Time of the plans; now by default.

    Examples
    --------
    >>> optimizer = AdaptiveOptimizer()
    >>> result = optimizer.calculate_optimal_schedule(
    ...     [{"task_id": "a", "confidence": 0.8}, {"task_id": "b", "confidence": 0.6}], ["x", "y"]
    ... )
    >>> sorted(task for tasks in result.agent_assignments.values() for task in tasks)
    ['a', 'b']
    """

    def __init__(
        self,
        phase18_dir: Path | str | None = None,
        phase19_output_dir: Path | str | None = None,
        *,
        phase16_dir: Path | str | None = None,
        phase17_dir: Path | str | None = None,
        options: PlanOptions | None = None,
        inputs: Inputs | None = None,
        previous: Previous | None = None,
        waves: int | None = None,
        agents: int | None = None,
        seed: int = 0,
        timestamp: datetime | str | None = None,
    ) -> None:
        checked = WaveOptions.of(input=phase18_dir or ".", waves=waves, agents=agents, seed=seed, timestamp=timestamp)
        self.directories = tuple(
            None if place is None else Path(place) for place in (phase18_dir, phase16_dir, phase17_dir)
        )
        self.output_dir = None if phase19_output_dir is None else Path(phase19_output_dir)
        self.options = PlanOptions() if options is None else options
        self.inputs, self.previous = inputs or Inputs(), previous
        self.wave_count, self.agent_count, self.seed = checked.waves, checked.agents, checked.seed
        self.timestamp = checked.timestamp or datetime.now(UTC)
        self._plans: dict[int, _KeptPlan] = {}
        self._heuristics: Heuristics | None = None
        self._model: ForecastModel | None = None
        self._observed: list[pl.DataFrame] = []
        self._learned_count = 0  # how many of the observed frames the model has learned from

    def restarted(self, options: PlanOptions | None = None) -> "AdaptiveOptimizer":
        """Return an optimizer with the same records and settings, without plans and outcomes.

        Parameters
        ----------
        options
            Other options of the plans.
        """
        other = copy(self)
        vars(other).update(options=options or self.options, _plans={}, _observed=[], _learned_count=0, _model=None)
        return other

    def load_phase18_data(self) -> dict[str, int]:
        """Read and check the records; later plans use them.

        Returns
        -------
        dict
            The counts agents_loaded, patterns_loaded and signals_loaded.

        Raises
        ------
        InputError
            A file is missing or breaks the contract.
        UsageError
            The optimizer has neither directories nor inputs.
        """
        phase18, phase16, phase17 = self.directories
        if phase18 is not None:
            self._model = self._heuristics = None
            self.inputs = load_inputs(phase18, phase16, phase17)
        elif self.inputs.agents.is_empty():
            raise UsageError("AdaptiveOptimizer: expected phase18_dir or inputs, found neither")
        return {
            "agents_loaded": self.inputs.agents.height,
            "patterns_loaded": self.inputs.statements.filter(file=PATTERNS).height,
            "signals_loaded": self.inputs.statements.filter(file=SIGNALS).height,
        }

    @property
    def heuristics(self) -> Heuristics:
        """Phase 16's rules, with the weights of the earlier run."""
        if self._heuristics is None:
            weights = None if self.previous is None else self.previous.weights
            self._heuristics = read_heuristics(self.inputs.heuristics, weights)
        return self._heuristics

    @property
    def model(self) -> ForecastModel:
        """The forecast model of the run's tasks and agents, fitted to all records and observed outcomes."""
        if self._model is None:
            self._model = self._fit(*self._tasks_and_agents())
        elif self._learned_count < len(self._observed):
            self._model = self._model.observe(pl.concat(self._observed[self._learned_count :]))
        self._learned_count = len(self._observed)
        return self._model

    def check_waves(self) -> None:
        """Check what a run would cost, and that every wave has a feasible plan.

        Raises
        ------
        UsageError
            The run has too many agents in too many waves, or a wave has too many pairs.
        InfeasibleError
            A wave has no feasible plan; names the wave and tasks.
        """
        tasks, agents = self._tasks_and_agents()
        waves = tasks["wave"].value_counts()["count"]
        if (count := agents.height * waves.len()) > _MOST_DIRECTORIES:
            raise UsageError(
                f"expected at most {_MOST_DIRECTORIES:,} agents times waves, because a run writes 3 files for each, "
                f"found {agents.height:,} x {waves.len():,} = {count:,}; lower --agents or --waves"
            )
        if (count := agents.height * int(waves.to_numpy().max())) > _MOST_PAIRS:
            raise UsageError(
                f"expected at most {_MOST_PAIRS:,} pairs of a task and an agent in a wave, about 100 bytes each, "
                f"found {count:,}; raise --waves or lower --agents"
            )
        if not self.options.allow_unassigned:
            check_feasible(tasks, agents, self.options.capacity)

    @property
    def waves(self) -> list[Wave]:
        """The run's waves in order, each with all its tasks sorted by task id."""
        by_wave = self.model.tasks.sort("wave", maintain_order=True).partition_by("wave", maintain_order=True)
        return [Wave(number=int(tasks["wave"][0]), tasks=tasks) for tasks in by_wave]

    def calculate_optimal_schedule(
        self, tasks: Tasks = None, agents: Agents = None, strategy: OptimizationStrategy | str | None = None
    ) -> OptimizationResult:
        """Assign the tasks of one wave by a strategy; `wave.gap` of the result bounds its distance from the optimum.

        Parameters
        ----------
        tasks
            A wave, `frames.TASKS`, or dicts of its fields; the records supply missing fields. By default the first of
            :attr:`waves` without a plan.
        agents
            Agent ids or `frames.AGENTS`; by default the run's agents.
        strategy
            One of :class:`OptimizationStrategy`; by default that of the options.

        Raises
        ------
        UsageError
            There are no tasks or no agents, or the strategy is unknown.
        InfeasibleError
            The tasks do not fit the agents' capacities.
        """
        chosen = self.options.strategy if strategy is None else PlanOptions.of(strategy=strategy).strategy
        match chosen:
            case OptimizationStrategy.MAXIMIZE_SUCCESS:
                return self.optimize_for_success(tasks, agents)
            case OptimizationStrategy.MAXIMIZE_THROUGHPUT:
                return self.optimize_for_throughput(tasks, agents)
            case OptimizationStrategy.MINIMIZE_RETRIES:
                return self.optimize_for_minimize_retries(tasks, agents)
            case OptimizationStrategy.CONFIDENCE_OPTIMIZATION:
                return self.optimize_for_confidence(tasks, agents)
        return self._optimize(tasks, agents, chosen)

    def optimize_for_success(self, tasks: Tasks = None, agents: Agents = None) -> OptimizationResult:
        """Maximise the expected number of successes; parameters as :meth:`calculate_optimal_schedule`."""
        return self._optimize(tasks, agents, OptimizationStrategy.MAXIMIZE_SUCCESS)

    def optimize_for_throughput(self, tasks: Tasks = None, agents: Agents = None) -> OptimizationResult:
        """Minimise the makespan; parameters as :meth:`calculate_optimal_schedule`."""
        return self._optimize(tasks, agents, OptimizationStrategy.MAXIMIZE_THROUGHPUT)

    def optimize_for_minimize_retries(self, tasks: Tasks = None, agents: Agents = None) -> OptimizationResult:
        """Minimise the expected number of retries; parameters as :meth:`calculate_optimal_schedule`."""
        return self._optimize(tasks, agents, OptimizationStrategy.MINIMIZE_RETRIES)

    def optimize_for_confidence(self, tasks: Tasks = None, agents: Agents = None) -> OptimizationResult:
        """Maximise the expected gain of confidence; parameters as :meth:`calculate_optimal_schedule`."""
        return self._optimize(tasks, agents, OptimizationStrategy.CONFIDENCE_OPTIMIZATION)

    def reassign(self, wave: PlannedWave, agent_ids: pl.Series | Sequence[str]) -> PlannedWave:
        """Give the tasks of a planned wave to other agents, for example to keep a load limit.

        Parameters
        ----------
        wave
            The planned wave.
        agent_ids
            New agent of each task, in the order of the wave's tasks.

        Raises
        ------
        UsageError
            An agent is unknown, or the number of agents is not the number of tasks.
        """
        agent_index = positions(pl.Series("agent_ids", agent_ids), wave.model.agents["agent_id"])
        if agent_index.size != wave.tasks.height:
            raise UsageError(f"agent_ids: expected one for each of {wave.tasks.height} tasks, found {agent_index.size}")
        return self._complete(replace(wave, agent_index=agent_index)).wave

    def observe(self, outcomes: ExecutedWave | Rows) -> None:
        """Learn from outcomes; later plans use them.

        Parameters
        ----------
        outcomes
            An executed wave, `frames.ATTEMPTS`, or dicts of its fields (source `run` by default).
        """
        if isinstance(outcomes, Wave):
            self._observed.append(outcomes.attempts)
            return
        rows = rows_of(outcomes, "outcomes")
        if "source" not in rows.columns:
            rows = rows.with_columns(source=pl.lit("run"))
        self._observed.append(frames.ATTEMPTS.conform(rows))

    def update_confidence_estimates(
        self,
        tasks: Rows,
        agent_performance: Mapping[str, Mapping[str, float]] | Rows | None = None,
        *,
        model: ForecastModel | None = None,
    ) -> pl.DataFrame:
        """Update the tasks' confidence with the outcomes learned since the run's first wave.

        Parameters
        ----------
        tasks
            `frames.TASKS`, or dicts of its fields.
        agent_performance
            New evidence: outcomes as in :meth:`observe`, or by agent id the agent's `success_rate` and `tasks`.
        model
            The forecast model; by default the one that :meth:`calculate_optimal_schedule` would use.

        Returns
        -------
        polars.DataFrame
            task_id and confidence [fraction], sorted by task id; in the order given where `model` is given.

        Notes
        -----
        The log odds of a task's confidence, with heuristic boosts, change by as much as the log odds of its success
        forecast, averaged over the agents.
        """
        if isinstance(agent_performance, Mapping):
            agent_performance = _attempts_of(agent_performance)
        if agent_performance is not None:
            self.observe(agent_performance)
        model, known = self._model_for(tasks, None) if model is None else (model, task_rows(tasks))
        confidence = model.updated_confidence(positions(known["task_id"], model.tasks["task_id"]))
        return known.select("task_id", confidence=pl.Series(confidence, dtype=pl.Float64))

    def simulate_schedule(self, result: OptimizationResult, seed: int | None = None) -> dict[str, Any]:
        """Execute a plan once in a world drawn from the forecast, as a dry run does.

        Parameters
        ----------
        result
            The plan.
        seed
            Seed of the world; by default that of the optimizer.

        Returns
        -------
        dict
            simulated_success_rate [fraction], simulated_completion_time_ms (when the last agent ends),
            simulated_confidence_delta, and agent_utilization (busy share of the completion time by agent). Times and
            shares are None if no time is known.
        """
        model = result.wave.model
        world = model.world(self.seed if seed is None else seed)
        executor = SimulateExecutor(world, model.tasks["task_id"], model.agents["agent_id"])
        changes = (model.gains.population_failure, model.gains.population_success)
        orders = result.plans.select(*frames.ORDERS.columns)
        done = task_outcomes(orders, executor.execute(orders), changes)
        busy = done.group_by("agent_id").agg(sum_if_known("actual_duration_ms"))
        end_ms = largest(busy["actual_duration_ms"])
        share = dict(busy.with_columns(pl.col("actual_duration_ms") / end_ms).rows())
        return {
            "simulated_success_rate": mean(done["status"] == "completed"),
            "simulated_completion_time_ms": end_ms,
            "simulated_confidence_delta": mean(done["actual_confidence_delta"]),
            "agent_utilization": {agent: share.get(agent, 0.0) for agent in model.agents["agent_id"].to_list()},
        }

    def generate_schedule_recommendations(
        self, wave: WaveNumber | None = None, result: OptimizationResult | None = None
    ) -> list[ScheduleRecommendation]:
        """Recommend to each agent, unless it is idle, what to do in a wave.

        Parameters
        ----------
        wave
            Number of a planned wave; all planned waves by default.
        result
            A plan to use instead of the wave's latest one.
        """
        plans = self._kept(wave) if result is None else [_kept_plan(result.wave)]
        return [recommendation for plan in plans for recommendation in plan.recommendations]

    def calculate_optimization_metrics(self, result: OptimizationResult | None = None) -> dict[str, float | None]:
        """Expected results of a plan, or of all plans so far, beside those of simpler assignments.

        Parameters
        ----------
        result
            A plan; by default all plans so far together.

        Returns
        -------
        dict
            expected_success_rate, round_robin_success_rate (mean over all rotations of the agents),
            best_single_agent_success_rate (one agent does every task) and success_advantage (over round robin), all
            from the same forecast [fraction]; expected_throughput [tasks/s]; expected_confidence_delta; gap (largest
            distance of a plan's objective from its bound); capacity_cost (planned success lost to the capacities
            [fraction], over the plans for which it is known). Without tasks, all but gap are
            None; gap is None if a bound overflowed.
        """
        kept = self._kept() if result is None else [_kept_plan(result.wave)]
        plans = pl.concat([plan.plans.select(*_MEASURED) for plan in kept])
        expected, round_robin = mean(plans["planned_success"]), mean(plans["baseline_success"])
        solo = pl.concat([plan.solo_success for plan in kept]).group_by("agent_id").sum()
        best = largest(solo["success_count"])
        makespan_ms = sum(plan.makespan_ms for plan in kept)
        gaps = [plan.gap for plan in kept if plan.gap is not None]
        limited = [(plan.capacity_cost, plan.plans.height) for plan in kept if plan.capacity_cost is not None]
        limited_count = sum(count for _, count in limited)
        return {
            "expected_success_rate": expected,
            "round_robin_success_rate": round_robin,
            "best_single_agent_success_rate": best / plans.height if best is not None and plans.height else None,
            "success_advantage": None if expected is None or round_robin is None else expected - round_robin,
            "expected_throughput": plans.height * 1000.0 / makespan_ms if makespan_ms > 0 else None,
            "expected_confidence_delta": mean(plans["planned_confidence_delta"]),
            "gap": max(gaps) if len(gaps) == len(kept) else None,
            "capacity_cost": sum(cost * count for cost, count in limited) / limited_count if limited_count else None,
        }

    def write_optimization_outputs(
        self,
        directory: Path | str | None = None,
        *,
        scheduled: pl.DataFrame | None = None,
        unassigned: pl.DataFrame | None = None,
        task_format: TaskFormat = "jsonl",
    ) -> list[Path]:
        """Write the plans: `wave_N/AGENT/planned_tasks.jsonl`, schedule_recommendations.jsonl, unassigned_tasks.jsonl.

        Parameters
        ----------
        directory
            The run directory; `phase19_output_dir` by default.
        scheduled
            Scheduled plans of all waves, `frames.PLANS` and any further columns; by default the plans without scheduled
            times.
        unassigned
            `frames.UNASSIGNED` of all waves, including waves without a plan; by default that of the plans.
        task_format
            With parquet, the planned tasks of all agents are in `wave_N/planned_tasks.parquet`.

        Returns
        -------
        list of Path
            schedule_recommendations.jsonl and unassigned_tasks.jsonl.

        Raises
        ------
        UsageError
            There is no plan, or no directory.
        """
        place, kept = output_directory(directory, self.output_dir), self._kept()
        rows = pl.concat([plan.plans for plan in kept]) if scheduled is None else scheduled
        rows = rows_of(rows, "scheduled", "task_id", "agent_id", "wave")
        keys = [name for name in frames.PLANNED_TASKS.columns if name in rows.columns]
        agents = pl.concat([plan.agents for plan in kept]).unique(maintain_order=True).to_list()
        write_agent_rows(
            rows.select(keys),
            place,
            f"planned_tasks.{task_format}",
            waves=sorted(self._plans),
            directories=agent_directories(agents),
        )
        if unassigned is None:
            unassigned = pl.concat([plan.unassigned for plan in kept])
        stamp = pl.lit(self.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return write_files(
            place,
            {
                "schedule_recommendations.jsonl": self.generate_schedule_recommendations(),
                "unassigned_tasks.jsonl": sorted_by_id(unassigned)
                .sort("wave", maintain_order=True)
                .with_columns(timestamp=stamp),
            },
        )

    def _tasks_and_agents(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The run's tasks, each with a wave and sorted by id, and its agents."""
        inputs = self.inputs
        if inputs.agents.is_empty():
            raise UsageError("AdaptiveOptimizer: expected records, found none; call load_phase18_data first")
        check_any(inputs.tasks)
        chosen = leave_out(inputs.tasks, "task", self.options.exclude_task)
        filled = fill_confidence(chosen, inputs.attempts, inputs.population.success_rate)
        prepared = self.heuristics.ordered(self.heuristics.boosted(filled))
        tasks = deal_waves(prepared, self.wave_count, inputs.population.wave_count, self.heuristics)
        agents = select_agents(self._agents, self.agent_count)
        return tasks, leave_out(agents, "agent", self.options.exclude_agent)

    def _kept(self, wave: int | None = None) -> list[_KeptPlan]:
        found = [plan for number, plan in sorted(self._plans.items()) if wave in {None, number}]
        if not found and self._plans:
            raise UsageError(f"wave: expected one of the planned waves, {sorted(self._plans)}, found {wave}")
        if not found:
            raise UsageError("expected a plan, found none; call calculate_optimal_schedule first")
        return found

    def _optimize(self, tasks: Tasks, agents: Agents, strategy: OptimizationStrategy) -> OptimizationResult:
        if tasks is None:
            tasks = next((wave for wave in self.waves if wave.number not in self._plans), None)
        if tasks is None:
            raise UsageError("tasks: expected tasks, because every wave of the run has a plan already, found none")
        model, known = self._model_for(tasks.tasks if isinstance(tasks, Wave) else tasks, agents)
        if isinstance(tasks, Wave):
            wave = replace(tasks, tasks=known)
        else:
            wave = Wave(number=int(known["wave"][0]) if known.height else len(self._plans) + 1, tasks=known)
        strategies = CANDIDATES if strategy is OptimizationStrategy.AUTO else (strategy,)
        candidates = assign_wave(wave, model, self.options, self.heuristics, strategies)
        chosen = candidates[recommended(candidates, self.options.max_load_factor)]
        return self._complete(chosen)

    def _complete(self, wave: PlannedWave) -> OptimizationResult:
        """Complete an assigned wave: draw its outcome, make the rows of its plan, and sum up the result."""
        model = wave.model
        task = positions(wave.tasks["task_id"], model.tasks["task_id"])
        largest_wave = int(model.tasks["wave"].value_counts()["count"].to_numpy().max(initial=0))
        draws = draw_wave(
            model,
            task,
            wave.agent_index,
            wave.max_attempts,
            seed=self.seed,
            wave=wave.number,
            draws=draw_count(largest_wave),
        )
        solved = wave.assignment
        why = explain_choices(solved.scores, solved.assignment.agent_index, solved.capacity, wave.allowed)
        confidence = self.update_confidence_estimates(wave.tasks, model=model)["confidence"]
        ranked = by_priority(wave.tasks, heuristics=self.heuristics)["task_id"]
        forecast = model.forecast(task, wave.agent_index, wave.max_attempts)
        plans = _plan_rows(wave, forecast, why, confidence, ranked)
        plans = plans.with_columns(model.feature_columns(task, wave.agent_index))
        wave = replace(wave, draws=draws, slot_value=why.slot_value, plans=plans)
        kept = self._plans[wave.number] = _kept_plan(wave)
        width = mean(wave.plans["success_high"] - wave.plans["success_low"])
        return OptimizationResult(
            strategy=solved.strategy,
            expected_success_rate=mean(wave.plans["planned_success"]),
            expected_throughput=wave.tasks.height * 1000.0 / kept.makespan_ms if kept.makespan_ms > 0 else None,
            expected_confidence_delta=mean(wave.plans["planned_confidence_delta"]),
            confidence=None if width is None else max(0.0, 1.0 - width),
            timestamp=self.timestamp,
            wave=wave,
        )

    def _model_for(self, tasks: Rows, agents: Agents) -> tuple[ForecastModel, pl.DataFrame]:
        """A model of these tasks and agents, and the tasks as `frames.TASKS` sorted by id.

        The run's own model if it was fitted to the same tasks and agents, otherwise a new one.
        """
        own = None if self.inputs.agents.is_empty() else self.model
        known = sorted_by_id(self._prepared(task_rows(tasks, None if own is None else own.tasks)))
        named = None if agents is None else agent_rows(agents, self._agents)
        if own is None:
            if named is None:
                seen = [name for attempts in self._observed for name in attempts["agent_id"].drop_nulls().to_list()]
                named = agent_rows(natural_order(set(seen)), self._agents)
            return self._fit(known, named), known
        is_own_agents = named is None or named.equals(own.agents)
        same = own.tasks.filter(pl.col("task_id").is_in(known["task_id"].implode())).select(*_FORECAST_INPUTS)
        if is_own_agents and same.equals(known.select(*_FORECAST_INPUTS)):
            return own, known
        others = own.tasks.join(known, on="task_id", how="anti")
        everything = sorted_by_id(pl.concat([others, known]))
        return self._fit(everything, own.agents if named is None else named), known

    def _prepared(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Fill in missing waves and confidences; if no task has a confidence boost, the heuristics set the boosts."""
        filled = fill_confidence(tasks, self.inputs.attempts, self.inputs.population.success_rate)
        filled = filled.with_columns(pl.col("wave").fill_null(1))
        boosted = self.heuristics.boosted(filled)
        is_boosted = filled["confidence_boost"] != 0
        return filled if is_boosted.any() else boosted

    def _fit(self, tasks: pl.DataFrame, agents: pl.DataFrame) -> ForecastModel:
        inputs, evidence = self.inputs, self.inputs.evidence
        records = [inputs.attempts, *([] if self.previous is None else [self.previous.attempts])]
        if self.previous is not None:
            evidence = evidence.join(records[-1], on=["task_id", "agent_id"], how="anti", maintain_order="left")
        known = pl.concat([self.heuristics.claims(pl.concat(records)), *self._observed])
        return ForecastModel.fit(tasks, agents, known, inputs.population, evidence=evidence, features=inputs.features)

    @property
    def _agents(self) -> pl.DataFrame:
        """The agents of the inputs; those with outcomes of an earlier run are judged by these records."""
        earlier = [] if self.previous is None else self.previous.attempts["agent_id"].drop_nulls().unique().to_list()
        has_records = pl.col("agent_id").is_in(earlier)
        evidence = pl.when(has_records).then(pl.lit("records")).otherwise("evidence")
        return self.inputs.agents.with_columns(evidence.alias("evidence"))


def assign_wave(
    wave: Wave,
    model: ForecastModel,
    options: PlanOptions,
    heuristics: Heuristics,
    strategies: Sequence[OptimizationStrategy],
) -> list[PlannedWave]:
    """Assign the tasks of a wave by each of several strategies, with the same forecast.

    Parameters
    ----------
    wave
        A wave with approved tasks, all known to the model.
    model
        The forecast model.
    options
        Limits and weights; the strategy in them is not used.
    heuristics
        Phase 16's rules in force.
    strategies
        The strategies, without `auto`.

    Returns
    -------
    list of PlannedWave
        One per strategy, in the order given, without plan rows and draws. With `allow_unassigned`, every strategy
        assigns the tasks that the first one places.

    Raises
    ------
    InfeasibleError
        The tasks do not fit the agents' capacities.
    """
    # The order of the solver's rows decides between equal plans: neighbouring ids, often alike, must not stay together.
    tasks = wave.tasks[np.argsort(id_keys(wave.tasks["task_id"]).byteswap(), kind="stable")]
    max_attempts = attempts_allowed(tasks["risk_level"], options.max_retries)
    tasks = heuristics.retried(tasks, pl.Series(max_attempts > 1))
    task = positions(tasks["task_id"], model.tasks["task_id"])[:, None]
    forecast = model.expected(task, np.arange(model.agents.height)[None, :], max_attempts[:, None])
    allowed = allowed_pairs(tasks, model.agents)
    capacity = agent_capacity(tasks.height, model.agents["capacity"], options.capacity, allowed)
    unassigned = frames.UNASSIGNED.empty()
    each = [replace(options, strategy=strategy) for strategy in strategies]
    if options.allow_unassigned:
        is_placed = placed_tasks(forecast, each[0], capacity, allowed)
        unassigned = left_out(
            tasks.filter(~is_placed), model.agents, capacity, None if allowed is None else allowed[~is_placed]
        )
        tasks, max_attempts = tasks.filter(is_placed), max_attempts[is_placed]
        allowed = None if allowed is None else allowed[is_placed]
        forecast = forecast.part(is_placed)
    try:
        found = [optimize(forecast, own, capacity, allowed) for own in each]
    except InfeasibleError as problem:
        raise name_conflict(problem, tasks, model.agents) from problem
    return [
        PlannedWave.grown_from(
            wave,
            tasks=tasks,
            unassigned=unassigned,
            model=model,
            max_attempts=max_attempts,
            forecast=forecast,
            allowed=allowed,
            assignment=assignment,
            agent_index=assignment.agent_index,
        )
        for assignment in found
    ]


def recommended(waves: Sequence[PlannedWave], max_load_factor: float | None = None) -> int:
    """Index of the recommended plan among plans of one wave, compared after the load limit is applied."""
    if len(waves) == 1:
        return 0
    agent_index = np.array([wave.limited(max_load_factor).agent_index for wave in waves])
    return recommend_wave(waves[0].forecast, agent_index)


_MEASURED = ("planned_success", "baseline_success", "planned_confidence_delta")


def _plan_rows(
    wave: PlannedWave, forecast: Forecast, why: ChoiceReasons, updated_confidence: pl.Series, ranked: pl.Series
) -> pl.DataFrame:
    """`frames.PLANS` without scheduled times, in the order of the wave's tasks."""
    agents, tasks, agent_index = wave.model.agents["agent_id"], wave.tasks, wave.agent_index
    row = np.arange(tasks.height)
    scores, optimal = wave.assignment.scores, wave.assignment.assignment.agent_index
    is_moved = optimal != agent_index  # to keep a load limit
    runner_up = np.where(is_moved, optimal, why.runner_up)
    runner_up_score = np.where(runner_up >= 0, scores[row, runner_up], np.nan)
    margin = np.where(is_moved, scores[row, agent_index] - runner_up_score, why.score_margin)
    is_best = scores[row, agent_index] >= scores[row, why.best]
    best = np.where(is_best, agent_index, why.best)
    is_full = np.bincount(agent_index, minlength=agents.len()) >= wave.assignment.capacity
    plans = tasks.select(
        *("wave", "task_id", "risk_level", "category", "confidence", "confidence_boost", "heuristics_applied"),
        "deadline_ms",
    ).with_columns(
        agents.gather(agent_index).alias("agent_id"),
        pl.Series("priority", positions(tasks["task_id"], ranked) + 1),
        updated_confidence.alias("updated_confidence"),
        pl.Series("max_attempts", wave.max_attempts),
        *(pl.Series(name, values, nan_to_null=True) for name, values in vars(forecast).items()),
        pl.Series("baseline_success", wave.forecast.planned_success.mean(axis=1)),
        *(
            pl.Series(f"{name}_term", values[row, agent_index])
            for name, values in wave.assignment.terms._asdict().items()
        ),
        pl.lit(str(wave.assignment.strategy)).alias("wave_strategy"),
        pl.Series("score", scores[row, agent_index]),
        pl.Series("agent_price", why.slot_value[agent_index]),
        agents.gather(pl.Series(runner_up).replace(-1, None)).alias("runner_up_agent_id"),
        pl.Series("runner_up_score", runner_up_score).fill_nan(None),
        pl.Series("score_margin", margin).fill_nan(None),
        agents.gather(best).alias("best_agent_id"),
        pl.Series("is_best_agent_full", is_full[best]),
        pl.Series("best_score", scores[row, best]),
        pl.Series("best_margin", np.where(is_best, 0.0, why.best_margin)).fill_nan(None),
    )
    return plans.select(name for name in frames.PLANS.columns if name in plans.columns)


def _kept_plan(wave: PlannedWave) -> _KeptPlan:
    agents = wave.model.agents["agent_id"]
    used, place = np.unique(wave.agent_index, return_inverse=True)
    busy_ms = wave.draws.busy_ms @ (place[:, None] == np.arange(used.size))
    return _KeptPlan(
        plans=wave.plans.sort("task_id"),
        unassigned=wave.unassigned,
        agents=agents,
        solo_success=pl.DataFrame({"agent_id": agents, "success_count": wave.forecast.planned_success.sum(axis=0)}),
        makespan_ms=float(busy_ms.max(axis=1, initial=0.0).mean()),
        gap=wave.gap,
        capacity_cost=wave.assignment.capacity_cost,
        recommendations=_recommendations(wave),
    )


def _recommendations(wave: PlannedWave) -> list[ScheduleRecommendation]:
    """One recommendation for each agent with tasks, in the order of the agents."""
    planned, round_robin = ((100 * pl.col(f"{name}_success").mean()).round(1) for name in ("planned", "baseline"))
    by_agent = (
        wave.plans.sort("priority")
        .group_by("agent_id")
        .agg(
            task_ids="task_id",
            expected_completion_time_ms=pl.col("planned_duration_ms").sum(),
            expected_success_probability=pl.col("planned_success").mean(),
            rationale=pl.format("Planned success {} %; round robin would reach {} %.", planned, round_robin),
            confidence=(1.0 - (pl.col("success_high") - pl.col("success_low")).mean()).clip(0.0, 1.0),
        )
    )
    ordered = wave.model.agents.select("agent_id").join(by_agent, on="agent_id", maintain_order="left")
    return [
        ScheduleRecommendation(recommendation_id=f"REC_{wave.number}_{number:03d}", wave=wave.number, **row)
        for number, row in enumerate(ordered.to_dicts(), 1)
    ]


def _attempts_of(agent_performance: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    """Attempts that reproduce the count and success rate of each agent's summary."""
    rows = [{"agent_id": agent, **figures} for agent, figures in agent_performance.items()]
    numbered = _PERFORMANCE.conform(rows).with_columns(number=pl.int_ranges(1, pl.col("tasks") + 1)).explode("number")
    return frames.ATTEMPTS.conform(
        numbered.drop_nulls("number").select(
            "agent_id",
            task_id=pl.format("summary of {}, task {}", "agent_id", "number"),
            is_success=pl.col("number") <= (pl.col("tasks") * pl.col("success_rate")).round(),
            source=pl.lit("run"),
        )
    )


_PERFORMANCE = Schema(
    "agent_performance",
    agent_id=frames.identifier("agent", key=True),
    tasks=frames.count("tasks it did", high=1_000_000),
    success_rate=frames.rate("share of them that succeeded"),
)

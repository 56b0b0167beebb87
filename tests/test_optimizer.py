"""AdaptiveOptimizer: plans on records, promises, simulations and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from phase19 import AdaptiveOptimizer, OptimizationStrategy, Phase19Error
from phase19.errors import UsageError
from phase19.options import PlanOptions

if TYPE_CHECKING:
    from phase19.forecasting.model import ForecastModel

SAMPLE = Path(__file__).parent.parent / "outputs"
AGENTS = ["agent_0", "agent_1", "agent_2", "agent_3"]
TASKS = [
    {"task_id": f"t{i}", "risk_level": risk, "confidence": confidence}
    for i, (risk, confidence) in enumerate(
        [("LOW", 0.9), ("LOW", 0.8), ("MEDIUM", 0.8), ("MEDIUM", 0.7), ("HIGH", 0.6), ("HIGH", 0.9)]
    )
]


def record(
    task: str, agent: str, *, success: bool, duration_ms: float = 30.0, delta: float = 0.05
) -> dict[str, object]:
    return {
        "task_id": task,
        "agent_id": agent,
        "is_success": success,
        "duration_ms": duration_ms,
        "confidence_delta": delta if success else -0.02,
        "source": "phase17",
    }


@pytest.fixture
def informed() -> AdaptiveOptimizer:
    """Ten records an agent: `good` succeeds always and slowly, `quick` half the time and fast, `poor` never."""
    optimizer = AdaptiveOptimizer(options=PlanOptions(capacity=6))
    history = [record(f"h{i}", "good", success=True, duration_ms=90.0, delta=0.02) for i in range(10)]
    history += [record(f"h{i}", "quick", success=i % 2 == 0, duration_ms=10.0, delta=0.09) for i in range(10)]
    history += [record(f"h{i}", "poor", success=False, duration_ms=30.0) for i in range(10)]
    optimizer.observe(history)
    return optimizer


class TestAdaptiveOptimizer:
    def test_load_phase18_data(self):
        optimizer = AdaptiveOptimizer(str(SAMPLE / "phase18"))
        counts = optimizer.load_phase18_data()
        # multi_agent_summary.json: total_agents 4; one pattern; two learning signals.
        assert counts == {"agents_loaded": 4, "patterns_loaded": 1, "signals_loaded": 2}
        assert optimizer.inputs.population.success_rate == 0.917
        with pytest.raises(UsageError, match="expected phase18_dir or inputs, found neither"):
            AdaptiveOptimizer().load_phase18_data()

    def test_calculate_optimal_schedule_maximize_success(self, informed):
        result = informed.calculate_optimal_schedule(TASKS, ["good", "quick", "poor"], "maximize_success")
        assert result.strategy is OptimizationStrategy.MAXIMIZE_SUCCESS
        assert sorted(result.agent_assignments["good"]) == result.plans["task_id"].to_list()  # capacity for all six
        assert result.expected_success_rate == pytest.approx(result.plans["planned_success"].mean(), abs=1e-12)
        assert result.wave.gap == pytest.approx(0.0, abs=1e-9)
        assert sorted(result.task_priorities.values()) == [1, 2, 3, 4, 5, 6]

    def test_calculate_optimal_schedule_maximize_throughput(self, informed):
        fast = informed.calculate_optimal_schedule(TASKS, ["good", "quick", "poor"], "maximize_throughput")
        sure = informed.optimize_for_success(TASKS, ["good", "quick", "poor"])
        assert len(fast.agent_assignments["quick"]) > len(sure.agent_assignments["quick"])
        assert fast.plans["planned_duration_ms"].sum() < sure.plans["planned_duration_ms"].sum()

    def test_optimize_for_confidence(self, informed):
        agents = ["good", "quick", "poor"]
        plans = {
            strategy: informed.calculate_optimal_schedule(TASKS, agents, strategy) for strategy in OptimizationStrategy
        }
        gains = {strategy: plan.expected_confidence_delta for strategy, plan in plans.items()}
        del gains[OptimizationStrategy.AUTO]
        best = OptimizationStrategy.CONFIDENCE_OPTIMIZATION
        assert informed.optimize_for_confidence(TASKS, agents).expected_confidence_delta == gains[best]
        assert gains[best] == max(gains.values())
        assert gains[best] > gains[OptimizationStrategy.MAXIMIZE_SUCCESS]

    def test_minimize_retries_plans_fewest_attempts(self, informed):
        agents = ["good", "quick", "poor"]
        few = informed.optimize_for_minimize_retries(TASKS, agents).plans["planned_attempts"].sum()
        fast = informed.optimize_for_throughput(TASKS, agents).plans["planned_attempts"].sum()
        assert few < fast

    def test_simulate_schedule(self, informed):
        result = informed.optimize_for_success(TASKS, ["good", "quick", "poor"])
        first, again, other = (informed.simulate_schedule(result, seed) for seed in (1, 1, 2))
        assert first == again
        assert first["simulated_completion_time_ms"] != other["simulated_completion_time_ms"]
        assert 0 <= first["simulated_success_rate"] <= 1
        # One agent does everything, one task after another: it is busy throughout, the others never.
        assert first["agent_utilization"] == pytest.approx({"good": 1.0, "quick": 0.0, "poor": 0.0})

    def test_update_confidence_estimates(self):
        optimizer = AdaptiveOptimizer(SAMPLE / "phase18", phase16_dir=SAMPLE / "phase16")
        optimizer.load_phase18_data()
        tasks = optimizer.waves[1].tasks
        before = optimizer.update_confidence_estimates(tasks)
        # H16_002 adds 0.05 to LOW tasks between 0.70 and 0.85; nothing else moves before the first outcome.
        assert before["confidence"].to_list() == (tasks["confidence"] + tasks["confidence_boost"]).to_list()
        failures = [
            record(task, agent, success=False) for task in optimizer.waves[0].tasks["task_id"] for agent in AGENTS
        ]
        worse = optimizer.update_confidence_estimates(tasks, failures)
        assert (worse["confidence"] < before["confidence"]).all()
        assert optimizer.update_confidence_estimates(tasks).equals(worse)  # it was learned
        other = AdaptiveOptimizer(SAMPLE / "phase18", phase16_dir=SAMPLE / "phase16")
        other.load_phase18_data()
        other.update_confidence_estimates(tasks)
        summary = {agent: {"tasks": 100, "success_rate": 1.0} for agent in AGENTS}
        better = other.update_confidence_estimates(tasks, summary)
        assert (better["confidence"] > before["confidence"]).all()
        with pytest.raises(Phase19Error, match="agent_performance"):
            optimizer.update_confidence_estimates(tasks, {"agent_0": {"tasks": 1, "success_rate": 1.2}})

    def test_learns_from_observed_outcomes(self):
        optimizer = AdaptiveOptimizer()
        optimizer.observe([record("t1", "a", success=True), record("t2", "b", success=False)])
        model = optimizer.calculate_optimal_schedule(TASKS, ["a", "b", "c"]).wave.model
        assert forecast_of(model, "a") > forecast_of(model, "c") > forecast_of(model, "b")

    def test_generate_schedule_recommendations(self, informed):
        result = informed.optimize_for_success(TASKS[:3], ["good", "poor"])
        (found,) = informed.generate_schedule_recommendations(1, result)
        assert informed.generate_schedule_recommendations(1) == [found]
        assert (found.agent_id, found.task_ids) == ("good", result.agent_assignments["good"])
        assert found.expected_success_probability == pytest.approx(result.expected_success_rate)
        assert found.expected_completion_time_ms == pytest.approx(result.plans["planned_duration_ms"].sum())
        assert found.confidence == pytest.approx(result.confidence)
        planned, round_robin = (100 * result.plans[f"{name}_success"].mean() for name in ("planned", "baseline"))
        assert found.rationale == f"Planned success {planned:.1f} %; round robin would reach {round_robin:.1f} %."
        with pytest.raises(UsageError, match=r"expected one of the planned waves, \[1\], found 2"):
            informed.generate_schedule_recommendations(2)

    def test_write_optimization_outputs(self, informed, tmp_path):
        result = informed.optimize_for_success(TASKS, ["good", "quick", "poor"])
        paths = informed.write_optimization_outputs(str(tmp_path / "plan"))
        assert [path.name for path in paths] == ["schedule_recommendations.jsonl", "unassigned_tasks.jsonl"]
        rows = [
            json.loads(line) for line in (tmp_path / "plan/wave_1/good/planned_tasks.jsonl").read_text().splitlines()
        ]
        assert [row["task_id"] for row in rows] == result.plans["task_id"].to_list()
        assert (tmp_path / "plan/wave_1/poor/planned_tasks.jsonl").read_text() == ""
        (line,) = paths[0].read_text().splitlines()
        assert json.loads(line)["agent_id"] == "good"
        with pytest.raises(UsageError, match="expected a directory to write to, found None"):
            informed.write_optimization_outputs()
        with pytest.raises(UsageError, match="expected a plan, found none"):
            AdaptiveOptimizer().write_optimization_outputs(tmp_path)

    def test_calculate_optimization_metrics(self, informed):
        result = informed.optimize_for_success(TASKS, ["good", "quick", "poor"])
        metrics = informed.calculate_optimization_metrics()
        assert metrics == informed.calculate_optimization_metrics(result)
        assert metrics["success_advantage"] == pytest.approx(
            result.expected_success_rate - result.plans["baseline_success"].mean()
        )
        assert metrics["success_advantage"] > 0
        assert metrics["best_single_agent_success_rate"] == pytest.approx(result.expected_success_rate)
        assert metrics["gap"] == pytest.approx(0.0, abs=1e-9)

    def test_knows_recorded_agents_by_their_records(self):
        optimizer = AdaptiveOptimizer(SAMPLE / "phase18")
        optimizer.load_phase18_data()
        model = optimizer.calculate_optimal_schedule(TASKS, ["agent_0", "agent_1", "newcomer"]).wave.model
        evidence = dict(zip(model.agents["agent_id"], model.agents["evidence"], strict=True))
        assert evidence == {"agent_0": "summary", "agent_1": "summary", "newcomer": "none"}
        assert forecast_of(model, "agent_0") > forecast_of(model, "agent_1")

    def test_ids_alone_are_completed_from_the_records(self):
        optimizer = AdaptiveOptimizer(SAMPLE / "phase18", phase16_dir=SAMPLE / "phase16")
        optimizer.load_phase18_data()
        first = optimizer.waves[0].tasks
        whole = optimizer.calculate_optimal_schedule(first)
        by_id = optimizer.calculate_optimal_schedule([{"task_id": task} for task in first["task_id"]], AGENTS)
        assert by_id.plans.equals(whole.plans)
        assert optimizer.calculate_optimal_schedule().wave.number == 2  # the first wave without a plan

    @pytest.mark.parametrize(
        ("tasks", "message"),
        [
            ([], "expected a frame or a list of dicts|expected a frame or at least one dict"),
            (["a"], "expected a frame or a list of dicts|expected a frame or at least one dict"),
            ([{"confidence": 0.5}], "expected task_id in every row"),
            ([{"task_id": "a"}, {"task_id": "a"}], "twice"),
            ([{"task_id": "a", "confidence": 1.5}], "'confidence'"),
            ([{"task_id": "a", "risk_level": "EXTREME"}], "'risk_level'"),
        ],
    )
    def test_refuses_what_it_cannot_plan(self, tasks, message):
        with pytest.raises(Phase19Error, match=message):
            AdaptiveOptimizer().calculate_optimal_schedule(tasks, ["a"])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((TASKS, []), "agents: expected"),
            ((TASKS, [1]), "agents: expected"),
            ((TASKS, None), "agents: expected"),
            ((TASKS, ["a"], "maximise_success"), "did you mean maximize_success"),
            ((None, ["a"]), "expected records, found none"),
        ],
    )
    def test_refuses_other_arguments_with_a_clear_answer(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            AdaptiveOptimizer().calculate_optimal_schedule(*arguments)


def forecast_of(model: ForecastModel, agent: str) -> float:
    """First-attempt success of the last task by an agent."""
    index = pl.Series([model.agents["agent_id"].to_list().index(agent)]).to_numpy()
    last = pl.Series([model.tasks.height - 1]).to_numpy()
    return float(model.forecast(last, index, last * 0 + 1).success_probability[0])


@pytest.mark.parametrize(
    ("waves", "agents", "message"),
    [
        (1, 100_000, r"found 100,000 x 1 = 100,000; lower --agents or --waves"),
        (3, 10_001, r"at most 30,000 agents times waves, .* found 10,001 x 3 = 30,003"),
    ],
)
def test_too_many_agents_are_refused_before_they_are_planned(waves, agents, message):
    planner = AdaptiveOptimizer("outputs/phase18", waves=waves, agents=agents)
    planner.load_phase18_data()
    with pytest.raises(UsageError, match=message):
        planner.check_waves()


def test_twelve_tasks_for_many_agents_are_planned():
    planner = AdaptiveOptimizer("outputs/phase18", waves=1, agents=5_000)
    planner.load_phase18_data()
    planner.check_waves()
    assert planner.calculate_optimal_schedule().plans.height == 12

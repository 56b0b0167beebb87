"""AdaptiveOptimizer: plans on records, promises, simulations and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from phase19 import AdaptiveOptimizer, OptimizationStrategy, Phase19Error
from phase19.planning import PlanParameters

if TYPE_CHECKING:
    from phase19.forecasting.model import ForecastModel

SAMPLE = Path(__file__).parent.parent / "outputs"
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
    optimizer = AdaptiveOptimizer(PlanParameters(capacity=6))
    history = [record(f"h{i}", "good", success=True, duration_ms=90.0, delta=0.02) for i in range(10)]
    history += [record(f"h{i}", "quick", success=i % 2 == 0, duration_ms=10.0, delta=0.09) for i in range(10)]
    history += [record(f"h{i}", "poor", success=False, duration_ms=30.0) for i in range(10)]
    optimizer.update_confidence_estimates(history)
    return optimizer


class TestAdaptiveOptimizer:
    def test_load_phase18_data(self):
        optimizer = AdaptiveOptimizer()
        counts = optimizer.load_phase18_data(SAMPLE / "phase18")
        # multi_agent_summary.json: total_agents 4; one pattern; two learning signals.
        assert counts == {"agents_loaded": 4, "patterns_loaded": 1, "signals_loaded": 2}
        assert optimizer.inputs is not None
        assert optimizer.inputs.population.success_rate == 0.917

    def test_calculate_optimal_schedule_maximize_success(self, informed):
        result = informed.calculate_optimal_schedule(TASKS, ["good", "quick", "poor"], "maximize_success")
        assert result.strategy is OptimizationStrategy.MAXIMIZE_SUCCESS
        assert result.agent_assignments["good"] == result.plans["task_id"].to_list()  # capacity for all six
        assert result.expected_success_rate == pytest.approx(result.plans["planned_success"].mean(), abs=1e-12)
        assert result.gap == pytest.approx(0.0, abs=1e-9)

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
        optimizer = AdaptiveOptimizer()
        attempts = [
            {"task_id": "t0", "agent_id": "a", "is_success": False, "attempt": 1, "confidence_before": 0.9},
            {"task_id": "t0", "agent_id": "a", "is_success": True, "attempt": 2, "confidence_before": 0.85,
             "confidence_delta": 0.05},
            {"task_id": "t1", "agent_id": "a", "is_success": True, "confidence_before": 0.99, "confidence_delta": 0.05},
        ]  # fmt: skip
        updated = optimizer.update_confidence_estimates(attempts)
        # t0 ends at 0.85 + 0.05; t1 at 0.99 + 0.05, which no confidence can exceed.
        assert updated.to_dicts() == [
            {"task_id": "t0", "confidence": pytest.approx(0.9)},
            {"task_id": "t1", "confidence": 1.0},
        ]
        optimizer.update_confidence_estimates([record("t2", "b", success=False)])
        later = optimizer.calculate_optimal_schedule(TASKS, ["a", "b", "c"]).model
        assert forecast_of(later, "a") > forecast_of(later, "c") > forecast_of(later, "b")

    def test_generate_schedule_recommendations(self, informed):
        result = informed.optimize_for_success(TASKS[:3], ["good", "poor"])
        rows = informed.generate_schedule_recommendations(result).to_dicts()
        assert [row["agent_id"] for row in rows] == ["good"]
        (row,) = rows
        assert row["task_ids"] == result.agent_assignments["good"]
        assert row["expected_success_probability"] == pytest.approx(result.expected_success_rate)
        assert row["expected_completion_time_ms"] == result.plans["scheduled_end_time"].max()
        for term in ("success", "throughput", "confidence"):
            assert term in row["rationale"]

    def test_write_optimization_outputs(self, informed, tmp_path):
        result = informed.optimize_for_success(TASKS, ["good", "quick", "poor"])
        paths = informed.write_optimization_outputs(result, tmp_path / "plan")
        assert [path.name for path in paths] == [
            "planned_tasks.jsonl",
            "schedule_recommendations.jsonl",
            "optimization_metrics.json",
        ]
        rows = [json.loads(line) for line in paths[0].read_text().splitlines()]
        assert [row["task_id"] for row in rows] == result.plans["task_id"].to_list()
        metrics = json.loads(paths[2].read_text())
        assert metrics["success_advantage"] == pytest.approx(
            result.expected_success_rate - result.plans["baseline_success"].mean()
        )
        assert metrics["success_advantage"] > 0

    def test_knows_recorded_agents_by_their_records(self):
        optimizer = AdaptiveOptimizer()
        optimizer.load_phase18_data(SAMPLE / "phase18")
        result = optimizer.calculate_optimal_schedule(TASKS, ["agent_0", "agent_1", "newcomer"])
        evidence = dict(zip(result.model.agents["agent_id"], result.model.agents["evidence"], strict=True))
        assert evidence == {"agent_0": "summary", "agent_1": "summary", "newcomer": "none"}
        assert forecast_of(result.model, "agent_0") > forecast_of(result.model, "agent_1")

    @pytest.mark.parametrize(
        ("tasks", "message"),
        [
            ([], "expected at least one task"),
            ([{"task_id": "a"}, {"task_id": "a"}], "stands twice"),
            ([{"task_id": "a", "confidence": 1.5}], "'confidence'"),
            ([{"task_id": "a", "risk_level": "EXTREME"}], "'risk_level'"),
        ],
    )
    def test_refuses_what_it_cannot_plan(self, tasks, message):
        with pytest.raises(Phase19Error, match=message):
            AdaptiveOptimizer().calculate_optimal_schedule(tasks, ["a"])


def forecast_of(model: ForecastModel, agent: str) -> float:
    """First-attempt success of the last task by an agent."""
    index = pl.Series([model.agents["agent_id"].to_list().index(agent)]).to_numpy()
    last = pl.Series([model.tasks.height - 1]).to_numpy()
    return float(model.forecast(last, index, last * 0 + 1).success_probability[0])

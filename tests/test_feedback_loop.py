"""OptimizationFeedbackLoop: comparisons, signals, weights, strategies and delivery."""

from __future__ import annotations

import json

import polars as pl
import pytest

from phase19.analysis.session import Analysis
from phase19.feedback_loop import OptimizationFeedbackLoop
from tests.synthetic import execution, hand_frames, sure_draws, synthetic_run, wave_plan

LARGE = {"wave_count": 10, "tasks_a_wave": 100, "agent_count": 5, "draw_count": 256, "forecast_sd": 0.15}


def loop(**options):
    return OptimizationFeedbackLoop(Analysis(synthetic_run(**options)))


class TestOptimizationFeedbackLoop:
    def test_evaluate_schedule_outcome(self):
        rows = [execution("a"), execution("b", status="failed", agent_id="agent_1")]
        row = OptimizationFeedbackLoop(Analysis(hand_frames(rows, [wave_plan(1)]))).evaluate_schedule_outcome()
        assert row.columns[:8] == [
            "wave", "planned_success_rate", "actual_success_rate", "planned_throughput", "actual_throughput",
            "planned_confidence_delta", "actual_confidence_delta", "accuracy_score",
        ]  # fmt: skip
        # planned 0.9, actual 1 of 2: accuracy 1 - 0.4 / 0.9; 2 tasks a second; Brier (0.1^2 + 0.9^2) / 2
        assert row.row(0)[1:5] == pytest.approx((0.9, 0.5, 2.0, 2.0))
        assert row["accuracy_score"].item() == pytest.approx(1 - 0.4 / 0.9)
        assert row["brier_score"].item() == pytest.approx(0.41)

    def test_generate_feedback_events(self):
        rows = [execution("a"), execution("b", status="failed", retry_count=2)]
        run = hand_frames(rows, [wave_plan(1), wave_plan(2)])
        events = OptimizationFeedbackLoop(Analysis(run)).generate_feedback_events()
        assert events.select("wave", "agent_id", "task_count", "completed_count", "retry_count").rows() == [
            (1, "agent_0", 2, 1, 2),
            (2, "agent_0", 0, 0, 0),
        ]
        assert events["actual_success_rate"].to_list() == [0.5, None]

    def test_generate_learning_signals(self):
        feedback = loop(**LARGE, slowdown=2.0)
        signals = feedback.generate_learning_signals()
        validation = signals.filter(pl.col("type") == "strategy_validation").row(0, named=True)
        assert (signals["type"] == "strategy_validation").sum() == 1
        metrics = feedback.analysis.tables["optimization_metrics"]
        assert validation["confidence"] == metrics["value"][0]
        adjustment = signals.filter(pl.col("type") == "schedule_adjustment").row(0, named=True)
        assert adjustment["confidence"] > 0.99
        assert "agent_0" in adjustment["description"]
        assert signals["signal_id"].to_list() == [f"P19_LS_{i:03d}" for i in range(1, signals.height + 1)]
        assert signals["simulated"].all()
        assert signals["supporting_evidence"].list.len().min() >= 2

    def test_a_lead_beyond_chance_is_a_specialization_and_a_small_one_is_not(self):
        # agent_0 succeeds 30 of 30, agent_1 15 of 30; at MEDIUM 3 of 3 against 1 of 3 says nothing.
        rows = [
            execution(f"{risk}{agent}{i}", agent_id=f"agent_{agent}", risk_level=risk, planned_success=0.75,
                      status="completed" if agent == 0 or i < half else "failed")
            for risk, n, half in (("LOW", 30, 15), ("MEDIUM", 3, 1))
            for agent in (0, 1)
            for i in range(n)
        ]  # fmt: skip
        signals = OptimizationFeedbackLoop(Analysis(hand_frames(rows, [wave_plan(1)]))).generate_learning_signals()
        found = signals.filter(pl.col("type") == "agent_specialization")
        assert found["description"].to_list() == ["agent_0 leads its peers by 50.0 points at LOW risk, task for task."]
        # Round robin was forecast 0.8: z = (0.2 + 0.3) / sqrt(2 * 0.8 * 0.2 / 30) = 4.841, two rows: 6.46e-7 each
        assert found["confidence"].item() == pytest.approx(1 - 2 * 6.46e-7, abs=1e-8)

    def test_an_agent_with_the_easier_tasks_is_no_specialist(self):
        # Both do as well as an average agent was forecast to on their tasks: 0.9 and 0.5.
        rows = [
            execution(f"{agent}{i}", agent_id=f"agent_{agent}", baseline_success=rate,
                      status="completed" if i < 30 * rate else "failed")
            for agent, rate in ((0, 0.9), (1, 0.5))
            for i in range(30)
        ]  # fmt: skip
        analysis = Analysis(hand_frames(rows, [wave_plan(1)]))
        assert analysis.tables["agent_leads"]["success_lead"].to_list() == pytest.approx([0.0, 0.0])
        assert "agent_specialization" not in analysis.tables["learning_signals"]["type"]

    def test_an_advantage_that_came_is_a_signal_and_one_that_failed_is_not(self):
        for is_real in (True, False):
            signals = loop(**LARGE, is_advantage_real=is_real).generate_learning_signals()
            assert ("coordination_improvement" in signals["type"]) is is_real

    def test_a_realised_advantage_by_hand(self):
        # 100 tasks of agent_0 promised 0.9, 100 of agent_1 0.5; round robin 0.6: advantages 0.3 and -0.1, 0.2 above
        # and below their mean 0.1. As many completed as planned: slope 1. Sum A^2 is 200 x 0.04 = 8; its noise
        # 0.04 x (100 x 0.09 + 100 x 0.25) = 1.36: information 8 / sqrt(1.36) = 6.860, the 90 % interval 1 -+ 0.240.
        rows = [
            execution(f"{agent}{i}", agent_id=f"agent_{agent}", planned_success=rate, baseline_success=0.6,
                      status="completed" if i < 100 * rate else "failed")
            for agent, rate in ((0, 0.9), (1, 0.5))
            for i in range(100)
        ]  # fmt: skip
        run = hand_frames(rows, [wave_plan(1)], wave_draws=sure_draws(1))
        signals = OptimizationFeedbackLoop(Analysis(run)).generate_learning_signals()
        found = signals.filter(pl.col("type") == "coordination_improvement").row(0, named=True)
        assert found["description"].startswith("maximize_success: of the 10.0 points more success than round robin")
        assert found["description"].endswith("100 % came.")
        assert "76 to 124 %" in found["supporting_evidence"][1]
        assert found["confidence"] == pytest.approx(1 - 3.44e-12, abs=1e-13)

    def test_update_heuristic_weights(self):
        weights = loop().update_heuristic_weights()
        assert weights["heuristic_id"].to_list() == ["H_1", "H_2", "H_3"]
        by_id = {row["heuristic_id"]: row for row in weights.to_dicts()}
        assert by_id["H_1"]["previous_weight"] == 1.2
        assert (by_id["H_3"]["applied_count"], by_id["H_3"]["weight"]) == (0, 1.0)
        assert all(abs(row["weight"] - row["previous_weight"]) <= 0.05 + 1e-12 for row in by_id.values())

    @pytest.mark.parametrize(("failed", "told"), [(3, 0), (12, 1)])
    def test_a_lift_is_a_signal_only_where_the_evidence_carries_it(self, failed, told):
        # 40 tasks with H and 40 without, all forecast 0.9; of those with it some fail, of the others 4. Without what
        # forecasts share the lift's standard error is sqrt(2 * 0.09 / 40) = 0.067: 12 failures are 0.2 / 0.067 = 2.98.
        rows = [
            execution(f"{kind}{i}", heuristics_applied=["H"] if kind == "with" else [],
                      status="failed" if i < lost else "completed")
            for kind, lost in (("with", failed), ("without", 4))
            for i in range(40)
        ]  # fmt: skip
        signals = OptimizationFeedbackLoop(Analysis(hand_frames(rows, [wave_plan(1)]))).generate_learning_signals()
        found = signals.filter(pl.col("type") == "heuristic_update")
        assert found.height == told
        if told:
            assert found["confidence"].item() == pytest.approx(1 - 0.00287, abs=1e-5)
            assert "90 % interval of the lift -31.0 to -9.0 points" in found["supporting_evidence"].item()

    def test_a_heuristic_that_always_applied_has_no_lift(self):
        run = hand_frames([execution("a", heuristics_applied=["H"])], [wave_plan(1)])
        row = OptimizationFeedbackLoop(Analysis(run)).update_heuristic_weights().row(0, named=True)
        assert (row["lift"], row["weight"]) == (None, 1.0)

    def test_evaluate_strategy_effectiveness(self):
        rows = [execution("a"), execution("b", status="failed"), execution("c", wave=2)]
        plans = [wave_plan(1), wave_plan(2, strategy="balance_load")]
        found = OptimizationFeedbackLoop(Analysis(hand_frames(rows, plans))).evaluate_strategy_effectiveness()
        # planned 0.9, round robin 0.8: promised 0.1; actual 1 of 1 is 0.2 above it, 1 of 2 is 0.3 below it
        columns = ("strategy", "waves", "promised_advantage", "realised_advantage", "realised_advantage_slope")
        assert found.select(columns).rows() == [
            ("balance_load", [2], pytest.approx(0.1), pytest.approx(0.2), None),
            ("maximize_success", [1], pytest.approx(0.1), pytest.approx(-0.3), None),
        ]

    def test_a_real_advantage_shows_a_slope_near_one(self):
        row = loop(**LARGE).evaluate_strategy_effectiveness().row(0, named=True)
        assert row["slope_low"] < 1 < row["slope_high"]
        assert not loop(**LARGE).identify_optimization_failures()["is_anomaly"].item()

    def test_recommendations_are_the_signals_on_strategy_and_schedule(self):
        advice = loop(**LARGE, slowdown=2.0).recommend_strategy_adjustments()
        assert {"strategy_validation", "schedule_adjustment"} <= set(advice["type"])

    def test_feedback_is_delivered_to_each_neighbour_once(self, tmp_path):
        feedback = loop()
        feedback.write_feedback_outputs(tmp_path)
        for neighbour, update in (
            ("phase16", feedback.update_phase16_heuristics),
            ("phase18", feedback.update_phase18_coordination),
        ):
            (tmp_path / neighbour).mkdir()
            target = tmp_path / neighbour / "phase19_feedback.jsonl"
            assert update(tmp_path, tmp_path / neighbour) == [target]
            assert update(tmp_path, tmp_path / neighbour) == []
            assert target.read_bytes() == (tmp_path / "feedback" / f"{neighbour}_feedback.jsonl").read_bytes()

    def test_write_feedback_outputs(self, tmp_path):
        feedback = loop()
        paths = feedback.write_feedback_outputs(tmp_path)
        assert all(path.is_file() for path in paths)
        weights = json.loads((tmp_path / "heuristic_weights.json").read_text())
        assert list(weights) == ["H_1", "H_2", "H_3", "updated_at"]
        line = json.loads((tmp_path / "feedback" / "phase16_feedback.jsonl").read_text())
        assert list(line) == ["type", "heuristic_weights", "simulated", "run_id", "timestamp"]
        assert line["heuristic_weights"] == {k: v for k, v in weights.items() if k != "updated_at"}

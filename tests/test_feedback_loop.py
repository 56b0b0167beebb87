"""OptimizationFeedbackLoop: comparisons, signals, weights, strategies and delivery."""

from __future__ import annotations

import json

import pytest

from phase19.errors import UsageError
from phase19.feedback_loop import OptimizationFeedbackLoop
from phase19.monitor import OptimizationMonitor
from tests.synthetic import analysis_of, execution, hand_frames, sure_draws, synthetic_analysis, wave_plan

LARGE = {"wave_count": 10, "tasks_a_wave": 100, "agent_count": 5, "draw_count": 256, "forecast_sd": 0.15}


def loop(**options):
    return OptimizationFeedbackLoop(synthetic_analysis(**options))


def signals_of(run):
    return OptimizationFeedbackLoop(analysis_of(run, "learning_signals")).generate_learning_signals()


def of_type(signals, kind):
    return [signal for signal in signals if signal.feedback_type == kind]


class TestOptimizationFeedbackLoop:
    def test_evaluate_schedule_outcome(self):
        rows = [execution("a"), execution("b", status="failed", agent_id="agent_1")]
        feedback = OptimizationFeedbackLoop(analysis_of(hand_frames(rows, [wave_plan(1)]), "schedule_comparisons"))
        outcome = feedback.evaluate_schedule_outcome(1)
        # planned 0.9, actual 1 of 2: accuracy 1 - 0.4 / 0.9; 2 tasks per second
        assert (outcome.wave, outcome.planned_success_rate, outcome.actual_success_rate) == (1, pytest.approx(0.9), 0.5)
        assert (outcome.planned_throughput, outcome.actual_throughput) == pytest.approx((2.0, 2.0))
        assert outcome.accuracy_score == pytest.approx(1 - 0.4 / 0.9)
        planned, actual = {"success_rate": 0.8, "throughput": 3.0}, {"success_rate": 0.6, "throughput": 2.0}
        by_hand = feedback.evaluate_schedule_outcome(7, planned, actual)
        assert (by_hand.wave, by_hand.actual_throughput, by_hand.planned_confidence_delta) == (7, 2.0, None)
        assert by_hand.accuracy_score == pytest.approx(0.75)
        with pytest.raises(UsageError, match=r"wave 2: expected one of the run's waves, \[1\]"):
            feedback.evaluate_schedule_outcome(2)
        with pytest.raises(UsageError, match="expected both or neither"):
            feedback.evaluate_schedule_outcome(1, planned_metrics=planned)

    def test_generate_feedback_events(self):
        rows = [execution("a"), execution("b", status="failed", retry_count=2)]
        run = hand_frames(rows, [wave_plan(1), wave_plan(2)])
        events = OptimizationFeedbackLoop(analysis_of(run, "agent_feedback")).generate_feedback_events()
        assert events.select("wave", "agent_id", "task_count", "completed_count", "retry_count").rows() == [
            (1, "agent_0", 2, 1, 2),
            (2, "agent_0", 0, 0, 0),
        ]
        assert events["actual_success_rate"].to_list() == [0.5, None]

    def test_generate_learning_signals(self):
        analysis = synthetic_analysis(**LARGE, slowdown=2.0)
        signals = OptimizationFeedbackLoop(analysis).generate_learning_signals()
        (validation,) = of_type(signals, "strategy_validation")
        accuracy = OptimizationMonitor(analysis).calculate_metrics()[0]
        assert (accuracy.metric_name, accuracy.value) == ("schedule_accuracy", validation.confidence)
        adjustment = of_type(signals, "schedule_adjustment")[0]
        assert adjustment.confidence > 0.99
        assert "agent_0" in adjustment.description
        assert [signal.signal_id for signal in signals] == [f"P19_LS_{i:03d}" for i in range(1, len(signals) + 1)]
        assert min(len(signal.supporting_evidence) for signal in signals) >= 2

    def test_a_lead_beyond_chance_is_a_specialization_and_a_small_one_is_not(self):
        # agent_0 succeeds 30 of 30, agent_1 15 of 30; at MEDIUM 3 of 3 against 1 of 3 says nothing.
        rows = [
            execution(f"{risk}{agent}{i}", agent_id=f"agent_{agent}", risk_level=risk, planned_success=0.75,
                      status="completed" if agent == 0 or i < half else "failed")
            for risk, n, half in (("LOW", 30, 15), ("MEDIUM", 3, 1))
            for agent in (0, 1)
            for i in range(n)
        ]  # fmt: skip
        signals = signals_of(hand_frames(rows, [wave_plan(1)]))
        (found,) = of_type(signals, "agent_specialization")
        assert "agent_0" in found.description
        assert "50.0 points" in found.description
        # Round robin was forecast 0.8: z = (0.2 + 0.3) / sqrt(2 * 0.8 * 0.2 / 30) = 4.841, two rows: 6.46e-7 each
        assert found.confidence == pytest.approx(1 - 2 * 6.46e-7, abs=1e-8)

    def test_an_agent_with_the_easier_tasks_is_no_specialist(self):
        # Both do as well as an average agent was forecast to on their tasks: 0.9 and 0.5.
        rows = [
            execution(f"{agent}{i}", agent_id=f"agent_{agent}", baseline_success=rate,
                      status="completed" if i < 30 * rate else "failed")
            for agent, rate in ((0, 0.9), (1, 0.5))
            for i in range(30)
        ]  # fmt: skip
        signals = signals_of(hand_frames(rows, [wave_plan(1)]))
        assert of_type(signals, "agent_specialization") == []

    def test_an_advantage_that_came_is_a_signal_and_one_that_failed_is_not(self):
        for is_real in (True, False):
            signals = loop(**LARGE, is_advantage_real=is_real).generate_learning_signals()
            assert bool(of_type(signals, "coordination_improvement")) is is_real

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
        signals = signals_of(run)
        (found,) = of_type(signals, "coordination_improvement")
        assert "10.0 points" in found.description
        assert "76 to 124 %" in found.supporting_evidence[1]
        assert found.confidence == pytest.approx(1 - 3.44e-12, abs=1e-13)

    def test_update_heuristic_weights(self):
        feedback = loop()
        weights = feedback.update_heuristic_weights()
        assert list(weights) == ["H_1", "H_2", "H_3"]
        assert weights["H_1"] == pytest.approx(1.2, abs=0.05 + 1e-12)  # 1.2 before this run
        assert weights["H_3"] == 1.0  # never applied
        # 30 of 40 against 10 of 20: lift 0.25, shrunk by 40 / (40 + 20) to 0.167, more than a step of 0.05.
        performance = {"A": {"applications": 40, "successes": 30}, "B": {"applications": 20, "successes": 10}}
        assert feedback.update_heuristic_weights(performance) == pytest.approx({"A": 1.05, "B": 0.95})
        assert feedback.update_heuristic_weights({"A": {"applications": 0, "successes": 0}}) == {"A": 1.0}

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
        signals = signals_of(hand_frames(rows, [wave_plan(1)]))
        found = of_type(signals, "heuristic_update")
        assert len(found) == told
        if told:
            assert found[0].confidence == pytest.approx(1 - 0.00287, abs=1e-5)
            assert any("-31.0" in line and "-9.0 points" in line for line in found[0].supporting_evidence)

    def test_a_heuristic_that_always_applied_has_no_lift(self):
        run = hand_frames([execution("a", heuristics_applied=["H"])], [wave_plan(1)])
        assert OptimizationFeedbackLoop(analysis_of(run, "heuristic_weights")).update_heuristic_weights() == {"H": 1.0}

    def test_evaluate_strategy_effectiveness(self):
        rows = [execution("a"), execution("b", status="failed"), execution("c", wave=2)]
        plans = [wave_plan(1), wave_plan(2, strategy="balance_load")]
        feedback = OptimizationFeedbackLoop(analysis_of(hand_frames(rows, plans), "strategy_effectiveness"))
        found = feedback.evaluate_strategy_effectiveness()
        # planned 0.9, round robin 0.8: promised 0.1; actual 1 of 1 is 0.2 above it, 1 of 2 is 0.3 below it
        keys = ("waves", "promised_advantage", "realised_advantage", "realised_advantage_slope")
        assert {name: tuple(row[key] for key in keys) for name, row in found.items()} == {
            "balance_load": ([2], pytest.approx(0.1), pytest.approx(0.2), None),
            "maximize_success": ([1], pytest.approx(0.1), pytest.approx(-0.3), None),
        }
        assert feedback.evaluate_strategy_effectiveness("balance_load") == found["balance_load"]
        with pytest.raises(UsageError, match="'auto': expected one that the run used"):
            feedback.evaluate_strategy_effectiveness("auto")

    def test_a_real_advantage_shows_a_slope_near_one(self):
        feedback = loop(**LARGE)
        (row,) = feedback.evaluate_strategy_effectiveness().values()
        assert row["slope_low"] < 1 < row["slope_high"]
        assert feedback.identify_optimization_failures() == []

    def test_a_missing_advantage_is_an_optimization_failure(self):
        (failure,) = loop(**LARGE, is_advantage_real=False).identify_optimization_failures()
        assert (failure.anomaly_type, failure.status) == ("optimization_failure", "found")
        assert failure.effect == pytest.approx(1.0, abs=0.5)

    def test_recommendations_are_the_signals_on_strategy_and_schedule(self):
        advice = loop(**LARGE, slowdown=2.0).recommend_strategy_adjustments()
        assert {"strategy_validation", "schedule_adjustment"} <= {signal.feedback_type for signal in advice}

    def test_feedback_is_delivered_to_each_neighbour_once(self, tmp_path):
        feedback = loop()
        feedback.write_feedback_outputs(tmp_path)
        for neighbour, update in (
            ("phase16", feedback.update_phase16_heuristics),
            ("phase18", feedback.update_phase18_coordination),
        ):
            (tmp_path / neighbour).mkdir()
            target = tmp_path / neighbour / "phase19_feedback.jsonl"
            assert update(tmp_path / neighbour) == [target]
            assert update(tmp_path / neighbour) == []
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

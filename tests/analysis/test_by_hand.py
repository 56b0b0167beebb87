"""One run of four tasks worked by hand through every file of `sql/`, and the names of the cases that stand elsewhere.

Wave 1, maximize_success, planned to end at 4,000 ms:
    t1 agent_0 LOW  p 0.8 (V 0.06) round robin 0.6, planned 0-1000, was 0-2000, completed at the 2nd attempt, H_1
    t2 agent_0 HIGH p 0.5          round robin 0.5, planned 1000-3000, was 2000-4000, failed
    t3 agent_1 LOW  p 0.9          round robin 0.7, planned 0-4000, was 0-5000, completed, H_1 and H_2
Wave 2, balance_load, planned to end at 1,000 ms:
    t4 agent_1 LOW  p 0.6          round robin 0.6, planned 0-1000, was 0-500, completed
    t5 agent_0 LOW  p 0.7          interrupted
Wave 3, balance_load, planned to end at 2,000 ms: t6 agent_1, p 0.4, unobserved. agent_2 is idle throughout.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from phase19 import frames
from phase19.analysis.session import sql_directory
from tests import test_feedback_loop, test_monitor
from tests.analysis import test_anomaly_tests, test_convergence, test_heuristic_updates, test_queries
from tests.evaluation import test_sweep
from tests.rules import Rules
from tests.synthetic import (
    TIMESTAMP,
    agents_frame,
    every_table,
    execution,
    hand_frames,
    run_frame,
    tables_of,
    wave_plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STAMP = "2026-02-05T12:00:00Z"
FEEDBACK = test_feedback_loop.TestOptimizationFeedbackLoop
# Files of `sql/` and the tests that work them by hand: those of other modules here, those below by their decorator.
BY_HAND: dict[str, Callable] = {
    "macros": test_queries.test_macros_give_their_golden_rows,
    "schedule_drift_tests": test_anomaly_tests.TestScheduleDrift.test_by_hand,
    "performance_degradation_tests": test_anomaly_tests.TestPerformanceDegradation.test_by_hand,
    "optimization_failure_tests": test_anomaly_tests.TestOptimizationFailure.test_by_hand,
    "prediction_error_tests": test_anomaly_tests.TestPredictionError.test_by_hand,
    "convergence": test_convergence.TestTheErrors.test_a_wave_by_hand,
    "convergence_trend": test_convergence.TestTheTrend.test_by_hand,
    "system_health": test_monitor.TestOptimizationMonitor.test_generate_system_health,
    "agent_leads": FEEDBACK.test_a_lead_beyond_chance_is_a_specialization_and_a_small_one_is_not,
    "heuristic_lifts": test_queries.test_heuristic_weight_moves_by_the_shrunk_lift,
    "heuristic_updates": test_heuristic_updates.test_an_update_by_hand,
    "sweep_summary": test_sweep.test_a_summary_by_hand,
}


def by_hand(stem):
    def keep(function):
        assert stem not in BY_HAND
        BY_HAND[stem] = function
        return function

    return keep


def times(start, end, was_start, was_end):
    return {
        "scheduled_start_time": start,
        "scheduled_end_time": end,
        "planned_duration_ms": end - start,
        "actual_start_time": was_start,
        "actual_end_time": was_end,
        "actual_duration_ms": was_end - was_start,
    }


def chances(p, base, width, planned, actual):
    deltas = {"planned_confidence_delta": planned, "actual_confidence_delta": actual}
    return {
        "planned_success": p,
        "baseline_success": base,
        "success_low": p - width / 2,
        "success_high": p + width / 2,
        **deltas,
    }


def draws(wave, ran_count, *rows):
    names = ("success_rate", "makespan_ms", "busy_ms", "confidence_delta", "deviation_ms")
    told = {"wave": wave, "ran_count": ran_count, "expected_success_sum": 1.0, "expected_advantage_sum": 0.0}
    return [told | {"draw": i} | dict(zip(names, row, strict=True)) for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    first, second = {"agent_id": "agent_0"}, {"agent_id": "agent_1"}
    rows = [
        execution("t1", **first, **chances(0.8, 0.6, 0.2, 0.1, 0.2), **times(0.0, 1000.0, 0.0, 2000.0), retry_count=1,
                  heuristics_applied=["H_1"], planned_success_variance=0.06),
        execution("t2", **first, **chances(0.5, 0.5, 0.4, 0.0, -0.1), **times(1000.0, 3000.0, 2000.0, 4000.0),
                  risk_level="HIGH", status="failed"),
        execution("t3", **second, **chances(0.9, 0.7, 0.1, 0.05, 0.05), **times(0.0, 4000.0, 0.0, 5000.0),
                  heuristics_applied=["H_1", "H_2", "H_1"]),
        execution("t4", **second, **chances(0.6, 0.6, 0.1, 0.06, 0.12), **times(0.0, 1000.0, 0.0, 500.0), wave=2),
        execution("t5", **first, planned_success=0.7, baseline_success=0.7, wave=2, status="interrupted"),
        execution("t6", **second, planned_success=0.4, planned_confidence_delta=0.04, wave=3, status="unobserved"),
    ]  # fmt: skip
    plans = [
        wave_plan(1, planned_makespan_ms=4000.0, timeline_end_ms=4000.0),
        wave_plan(2, strategy="balance_load", planned_makespan_ms=1000.0),
        wave_plan(3, strategy="balance_load", planned_makespan_ms=2000.0, timeline_end_ms=2000.0, unassigned_count=7),
    ]
    told = [
        *draws(1, 3, (1 / 3, 4000.0, 8000.0, 0.05, 0.0), (1.0, 6000.0, 10000.0, 0.03, 2000.0)),
        *draws(2, 1, (0.0, 1000.0, 1000.0, 0.06, 0.0), (1.0, 1000.0, 500.0, 0.06, 0.0)),
    ]
    gate = {"task_id": "t1", "wave": 1, "risk_level": "LOW", "confidence": 0.4, "decision": "approved"}
    hand = hand_frames(
        rows,
        plans,
        agents=agents_frame(3),
        wave_draws=frames.WAVE_DRAWS.conform(told),
        decisions=frames.DECISIONS.conform([gate | {"live_decision": "deferred", "reason": "dry run"}]),
        run=run_frame(agent_count=3, task_count=6, wave_count=3),
        rules=Rules(optimization_failure_information=0.3).frame(),
    )
    directory = tmp_path_factory.mktemp("hand")
    return every_table(hand, directory), directory


@pytest.fixture
def tables(analysed):
    return analysed[0]


@pytest.fixture
def directory(analysed):
    return analysed[1]


@by_hand("task_results")
def test_a_task(tables):
    # Leads over round robin 0.2, 0 and 0.2, on average 0.4 / 3; t2 started and ended 1,000 ms late.
    table = tables["task_results"]
    assert table["task_id"].to_list() == ["t1", "t2", "t3", "t4"]
    assert table["attempt_count"].to_list() == [2, 1, 1, 1]
    assert table["residual"].to_list() == pytest.approx([0.2, -0.5, 0.1, 0.4])
    assert table["baseline_residual"].to_list() == pytest.approx([0.4, -0.5, 0.3, 0.4])
    assert table["outcome_variance"].to_list() == pytest.approx([0.16 - 0.06, 0.25, 0.09, 0.24])
    assert table["centred_advantage"].to_list() == pytest.approx([0.2 / 3, -0.4 / 3, 0.2 / 3, 0.0])
    # Sensitivities 3 x 0.2^(2/3), 3 x 0.5^(2/3) and 3 x 0.1^(2/3), on average 1.18740.
    assert table["centred_sensitivity"].to_list() == pytest.approx([-0.16141, 0.70248, -0.54107, 0.0], abs=1e-5)
    assert table["deviation_ms"].to_list() == pytest.approx([500, 1000, 500, 250])


@by_hand("wave_totals")
def test_a_waves_sums(tables):
    # Squares 0.04 + 0.25 + 0.01; log-loss -ln(0.8 x 0.5 x 0.9) = 1.0217; A^2 (0.04 + 0.16 + 0.04) / 9;
    # A e (0.2 x 0.2 + 0.4 x 0.5 + 0.2 x 0.1) / 3; A^2 noise (0.04 x 0.1 + 0.16 x 0.25 + 0.04 x 0.09) / 9.
    row = tables["wave_totals"].row(0, named=True)
    counts = [row[f"{name}_count"] for name in ("task", "ran", "completed", "failed", "unobserved", "retry")]
    assert counts == [3, 3, 2, 1, 0, 1]
    sums = [row[f"{name}_sum"] for name in ("planned_success", "baseline_success", "residual", "squared_error")]
    assert sums == pytest.approx([2.2, 1.8, -0.2, 0.3])
    assert [row["log_loss_sum"], row["outcome_variance_sum"]] == pytest.approx([1.02165, 0.44], rel=1e-5)
    advantages = [row[f"advantage_{name}_sum"] for name in ("square", "residual", "variance")]
    assert advantages == pytest.approx([0.24 / 9, 0.26 / 3, 0.0476 / 9])
    assert [row[f"{name}_confidence_sum"] for name in ("planned", "actual")] == pytest.approx([0.15, 0.15])
    assert [row["deviation_ms"], row["actual_makespan_ms"], row["actual_busy_ms"]] == pytest.approx(
        [2000 / 3, 5000, 9000]
    )
    states = tables["wave_totals"].select("task_count", "interrupted_count", "unobserved_count", "residual_sum").rows()
    assert states[1:] == [(2, 1, 0, pytest.approx(0.4)), (1, 0, 1, None)]


@by_hand("schedule_comparisons")
def test_a_wave_against_its_plan(tables):
    # Planned 2.2 / 3 at 3 tasks in 4 s, was 2 / 3 in 5 s: accuracy 1 - (0.2 / 3) / (2.2 / 3) = 10 / 11.
    # Late by 666.7 of 4,000 ms; 9 s of 3 x 5 s at work. Draws: a third and all, 0.05 and 0.95 of the way between.
    row = tables["schedule_comparisons"].row(0, named=True)
    assert [row["planned_success_rate"], row["actual_success_rate"]] == pytest.approx([2.2 / 3, 2 / 3])
    assert [row["planned_throughput"], row["actual_throughput"]] == pytest.approx([0.75, 0.6])
    assert [row["accuracy_score"], row["throughput_efficiency"]] == pytest.approx([10 / 11, 0.8])
    assert [row["schedule_adherence"], row["agent_utilization"]] == pytest.approx([5 / 6, 0.6])
    assert [row["success_rate_low"], row["success_rate_high"]] == pytest.approx([1.1 / 3, 2.9 / 3])
    assert [row["throughput_low"], row["throughput_high"]] == pytest.approx([0.5 + 0.05 * 0.25, 0.75 - 0.05 * 0.25])
    assert [row["brier_score"], row["log_loss"]] == pytest.approx([0.1, 0.34055], rel=1e-4)
    # Nothing of wave 3 ran: what it promised stands, 1 task of 0.4 in 2 s, and nothing else.
    row = tables["schedule_comparisons"].row(2, named=True)
    assert (row["planned_success_rate"], row["planned_throughput"], row["ran_count"]) == (0.4, 0.5, 0)
    assert {row[name] for name in ("actual_success_rate", "accuracy_score", "brier_score", "throughput_low")} == {None}


@by_hand("run_draws")
def test_a_draw_of_the_run(tables):
    # Draw 0: (3 x (1 - 0.4 / 0.7333) + 1 x 0) / 4; 5 s planned, 4 + 1 drawn; (8 + 1) / (3 x 5);
    # (3 x 0.05 + 0.06) / 0.21; always on time. Draw 1: (3 x (1 - 0.2667 / 0.7333) + 1 / 3) / 4; 5 / 7; 10.5 / 21;
    # (0.09 + 0.06) / 0.21; (3 x 0.5 + 1) / 4. Success is (3 x 1 / 3 + 0) / 4 in draw 0, all of it in draw 1.
    assert tables["run_draws"]["success_rate"].to_list() == pytest.approx([0.25, 1.0])
    rows = tables["run_draws"].select(
        "schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory", "schedule_adherence"
    )
    assert rows.row(0) == pytest.approx((3 * (1 - 6 / 11) / 4, 1.0, 0.6, 1.0, 1.0))
    assert rows.row(1) == pytest.approx(((3 * 7 / 11 + 1 / 3) / 4, 5 / 7, 0.5, 5 / 7, 0.625))


@by_hand("optimization_metrics")
def test_the_five_metrics(tables):
    # (3 x 10 / 11 + 1 / 3) / 4 = 0.76515, just above 0.9 x 0.85 = 0.765; 5 / 5.5; 9.5 / (3 x 5.5) = 0.5758, below 0.6;
    # 0.27 / 0.21, above 1.1 x 1.1 and the 0.73 to 0.99 of the draws; (3 x 5 / 6 + 0.75) / 4 = 0.8125.
    table = tables["optimization_metrics"]
    values = [(30 / 11 + 1 / 3) / 4, 5 / 5.5, 9.5 / 16.5, 0.27 / 0.21, 0.8125]
    assert table["value"].to_list() == pytest.approx(values)
    assert table["status"].to_list() == ["warning", "normal", "warning", "critical", "warning"]
    lows = [15 / 44, 5 / 7, 0.5, 5 / 7, 0.625]
    highs = [(21 / 11 + 1 / 3) / 4, 1.0, 0.6, 1.0, 1.0]
    spans = [high - low for low, high in zip(lows, highs, strict=True)]
    assert table["chance_low"].to_list() == pytest.approx([a + 0.05 * b for a, b in zip(lows, spans, strict=True)])
    assert table["chance_high"].to_list() == pytest.approx([a - 0.05 * b for a, b in zip(highs, spans, strict=True)])


@by_hand("overall")
def test_the_runs_figures(tables):
    # Planned (2.2 + 0.6) / 4, was 3 / 4; 4 tasks in 5 s planned, 5.5 s taken; Brier (0.3 + 0.16) / 4, the rate's own
    # 0.75 x 0.25; log-loss (1.02165 - ln 0.6) / 4. Wave 1 lay inside its draws, wave 2, all of it, above 0.95.
    row = tables["overall"].row(0, named=True)
    rates = [row[f"{name}_success_rate"] for name in ("expected", "actual", "baseline")]
    assert rates == pytest.approx([0.7, 0.75, 0.6])
    assert row["prediction_accuracy"] == pytest.approx(1 - 0.05 / 0.7)
    assert [row["expected_throughput"], row["actual_throughput"]] == pytest.approx([0.8, 4 / 5.5])
    assert [row["brier_score"], row["skill"]] == pytest.approx([0.115, 1 - 0.115 / 0.1875])
    assert row["log_loss"] == pytest.approx(0.383119, rel=1e-5)
    assert row["interval_coverage"] == 0.5
    # Between the draws' 0.25 and 1: 0.25 + 0.05 x 0.75 and 1 - 0.05 x 0.75.
    assert [row["success_rate_low"], row["success_rate_high"]] == pytest.approx([0.2875, 0.9625])
    assert [row["expected_confidence_delta"], row["actual_confidence_delta"]] == pytest.approx([0.0525, 0.0675])
    assert [row[f"{name}_count"] for name in ("ran", "completed", "retry", "anomaly")] == [4, 3, 1, 0]
    # Health is the mean of 76.515, 81.25, 90.909 and 100.
    assert row["system_health_score"] == pytest.approx((76.51515 + 81.25 + 90.90909 + 100) / 4)
    assert row["health_status"] == "EXCELLENT"


@by_hand("alerts")
def test_alerts_of_metrics(tables):
    rows = tables["alerts"].rows(named=True)
    assert [row["alert_id"] for row in rows] == ["AL_001", "AL_002", "AL_003", "AL_004"]
    assert [row["severity"] for row in rows] == ["warning", "warning", "critical", "warning"]
    # Below its draws' 0.341 + 0.05 x 0.220 = 0.352 it is not: it lies above their 0.550.
    assert rows[0]["message"] == (
        "Success was planned with an accuracy of 76.5 %, outside 85 % to 100 %; 35.2 % to 55.0 % is normal."
    )
    # 0.576 lies within the draws' 0.505 and 0.595.
    assert (rows[1]["source"], rows[1]["action"]) == (
        "optimization_metrics: agent_utilization",
        "No action needed yet: the value is normal under this plan.",
    )


@by_hand("agent_waves")
def test_an_agents_wave(tables):
    # t1 and t2 are agent_0's in wave 1: A^2 (0.04 + 0.16) / 9; A e (0.2 x 0.2 + 0.4 x 0.5) / 3.
    rows = tables["agent_waves"].rows_by_key(["wave", "agent_id"], named=True, unique=True)
    row = rows[1, "agent_0"]
    assert [row[f"{name}_count"] for name in ("task", "ran", "completed", "retry")] == [2, 2, 1, 1]
    sums = [row[f"{name}_sum"] for name in ("planned_success", "residual", "outcome_variance", "baseline_residual")]
    assert sums == pytest.approx([1.3, -0.3, 0.35, -0.1])
    assert row["baseline_variance_sum"] == pytest.approx(0.24 + 0.25)
    assert [row["advantage_square_sum"], row["advantage_residual_sum"]] == pytest.approx([0.2 / 9, 0.08])
    assert [row["planned_busy_ms"], row["actual_busy_ms"], row["deviation_ms"]] == [3000, 4000, 750]
    assert (rows[2, "agent_0"]["task_count"], rows[2, "agent_0"]["ran_count"]) == (1, 0)
    assert (rows[1, "agent_2"]["task_count"], rows[1, "agent_2"]["residual_sum"]) == (0, None)
    assert len(rows) == 9


@by_hand("agent_feedback")
def test_feedback_of_an_agents_wave(tables):
    # agent_0 in wave 1: planned 1.3 / 2, was 1 / 2: accuracy 1 - 0.15 / 0.65; 4 s for 3, of the wave's 5.
    rows = tables["agent_feedback"].rows_by_key(["wave", "agent_id"], named=True, unique=True)
    row = rows[1, "agent_0"]
    assert [row["planned_success_rate"], row["actual_success_rate"]] == pytest.approx([0.65, 0.5])
    assert [row["accuracy_score"], row["duration_ratio"], row["utilization"]] == pytest.approx([10 / 13, 4 / 3, 0.8])
    assert [row["planned_confidence_delta"], row["actual_confidence_delta"]] == pytest.approx([0.05, 0.05])
    assert {rows[3, "agent_1"][name] for name in ("accuracy_score", "duration_ratio", "utilization")} == {None}


def test_utilization_over_the_run(tables):
    # 4 s, and 5 + 0.5 s, of 5 + 0.5 s; the mean is the metric's 9.5 / 16.5.
    rows = tables["system_health"]["agent_utilization"][0]
    assert [tuple(row.values())[:4] for row in rows] == [
        ("agent_0", 3, 4000.0, pytest.approx(4 / 5.5)),
        ("agent_1", 3, 5500.0, pytest.approx(1.0)),
        ("agent_2", 0, 0.0, 0.0),
    ]


def test_the_normal_success_of_an_agent(tmp_path):
    # agent_0: 7.2 of 8 expected; variance 8 x 0.9 x 0.1 + 0.02 = 0.74, so 1.415 + 0.5 each way: 5.285 to 9.115.
    # agent_1: 0.8 of 1; variance 0.16 + 0.01, so 0.678 + 0.5: none or one. agent_2 ran nothing.
    rows = [execution(f"t{i}", agent_id="agent_0", planned_success=0.9, wave=1 + i % 2) for i in range(8)]
    rows += [execution("t8", agent_id="agent_1", planned_success=0.8)]
    rows += [execution("t9", agent_id="agent_2", planned_success=0.8, status="unobserved")]
    plain = dict.fromkeys(frames.AGENT_EVIDENCE.columns, 0)
    doubts = {"agent_0": 0.01, "agent_1": 0.01, "agent_2": 0.0}
    evidence = [
        plain | {"wave": wave, "agent_id": agent, "success_variance": doubt}
        for wave in (1, 2)
        for agent, doubt in doubts.items()
    ]
    hand = hand_frames(rows, [wave_plan(1), wave_plan(2)], agent_evidence=frames.AGENT_EVIDENCE.conform(evidence))
    agents = tables_of(hand, tmp_path, "system_health")["system_health"]["agent_utilization"][0]
    ranges = [(row["success_rate_low"], row["success_rate_high"]) for row in agents]
    assert ranges == [(6 / 8, 1.0), (0.0, 1.0), (None, None)]


@by_hand("wave_summary")
def test_a_waves_summary(directory):
    rows = [json.loads((directory / f"wave_{w}" / "wave_summary.json").read_text()) for w in (1, 2, 3)]
    assert rows[0]["task_states"] == {"completed": 2, "failed": 1, "unobserved": 0, "interrupted": 0}
    assert [row["unassigned_count"] for row in rows] == [0, 0, 7]
    assert [row["timeline_end_ms"] for row in rows] == [4000, 1000, 2000]
    assert [row["actual_makespan_ms"] for row in rows] == [5000, 500, None]
    assert [agent["utilization"] for agent in rows[0]["agents"]] == [0.8, 1.0, None]
    assert [agent["task_count"] for agent in rows[1]["agents"]] == [1, 1, 0]


@by_hand("strategy_effectiveness")
def test_a_strategy(tables):
    # Round robin was to give 1.8 / 3: promised 2.2 / 3 less that, realised 2 / 3 less that. Slope 1 + 0.2600 / 0.0800
    # = 4.25; information 0.026667 / sqrt(0.0052889) = 0.36668, so 1.64485 / 0.36668 each way.
    balance, success = tables["strategy_effectiveness"].rows(named=True)
    assert (balance["strategy"], balance["waves"], balance["task_count"]) == ("balance_load", [2, 3], 3)
    assert (balance["ran_count"], balance["realised_advantage_slope"]) == (1, None)  # nothing was promised
    assert [success["promised_advantage"], success["realised_advantage"]] == pytest.approx([0.4 / 3, 0.2 / 3])
    assert success["prediction_accuracy"] == pytest.approx(10 / 11)
    assert [success["information"], success["realised_advantage_slope"]] == pytest.approx([0.36668, 4.25], rel=1e-4)
    assert [success["slope_low"], success["slope_high"]] == pytest.approx([-0.2358, 8.7358], abs=1e-3)
    assert [success["planned_throughput"], success["actual_throughput"]] == pytest.approx([0.75, 0.6])


def test_strategies_as_a_document(tables, directory):
    document = json.loads((directory / "strategy_effectiveness.json").read_text())
    assert list(document) == ["balance_load", "maximize_success"]
    assert list(document.values()) == tables["strategy_effectiveness"].to_dicts()


@by_hand("phase18_feedback")
def test_feedback_for_phase_18(directory):
    line = json.loads((directory / "feedback" / "phase18_feedback.jsonl").read_text())
    document = json.loads((directory / "strategy_effectiveness.json").read_text())
    assert line == {
        "type": "phase19_coordination_feedback",
        "strategy_effectiveness": document,
        "simulated": True,
        "run_id": "r-1",
        "timestamp": STAMP,
    }


@by_hand("coordination_patterns")
def test_who_did_what(directory):
    # 2 of 3: Wilson's width 2 x 1.64485 sqrt(2 / 27 + 2.70554 / 36) / (1 + 2.70554 / 3) = 0.6682.
    balance, success = json.loads((directory / "coordination_patterns.json").read_text())
    assert (success["pattern_type"], success["waves"], success["task_count"]) == ("maximize_success", [1], 3)
    assert success["agent_assignments"] == {"agent_0": ["t1", "t2"], "agent_1": ["t3"]}
    assert [success["success_rate"], success["confidence"]] == pytest.approx([2 / 3, 0.3318], abs=1e-4)
    assert balance["agent_assignments"] == {"agent_0": ["t5"], "agent_1": ["t4", "t6"]}


@by_hand("heuristic_weights")
def test_weights_as_a_document(directory):
    # H_1 on t1 and t3: (0.2 + 0.1) / 2 - (-0.5 + 0.4) / 2 = 0.2, worth 2 x 2 / 4 = 1 task: 0.2 x 1 / 21.
    # H_2 on t3: 0.1 - (0.2 - 0.5 + 0.4) / 3 = 0.0667, worth 3 / 4: 0.0667 x 0.75 / 20.75.
    weights = json.loads((directory / "heuristic_weights.json").read_text())
    assert list(weights) == ["H_1", "H_2", "updated_at"]
    assert [weights["H_1"], weights["H_2"]] == pytest.approx([1 + 0.2 / 21, 1 + 0.05 / 20.75])
    assert weights["updated_at"] == STAMP


@by_hand("phase16_feedback")
def test_feedback_for_phase_16(directory):
    line = json.loads((directory / "feedback" / "phase16_feedback.jsonl").read_text())
    assert line.pop("heuristic_weights") == {"H_1": pytest.approx(1 + 0.2 / 21), "H_2": pytest.approx(1 + 0.05 / 20.75)}
    assert line == {"type": "phase19_heuristic_update", "simulated": True, "run_id": "r-1", "timestamp": STAMP}


@by_hand("learning_signals")
def test_what_the_run_teaches(tables):
    # The weights moved by less than 0.01, balance_load led by 2 of 8 tasks: 2 / sqrt(4 + 1 - 4 / 10) = 0.93, by chance.
    (row,) = tables["learning_signals"].rows(named=True)
    assert (row["signal_id"], row["type"]) == ("P19_LS_001", "strategy_validation")
    assert row["confidence"] == pytest.approx((30 / 11 + 1 / 3) / 4)
    assert row["description"] == (
        "balance_load, maximize_success: planned success 70.0 %, actual success 75.0 % over 4 tasks."
    )
    assert row["supporting_evidence"] == [
        "3 of 4 tasks completed",
        "Brier score 0.1150",
        "log loss 0.3831",
        "skill 0.387 against forecasting the mean",
        "50 % of waves within their normal range, 90 % expected",
    ]


@by_hand("optimization_feedback")
def test_the_same_for_readers(tables):
    (row,), (signal,) = (tables[name].rows(named=True) for name in ("optimization_feedback", "learning_signals"))
    assert (row["feedback_id"], row["feedback_type"]) == ("FB_001", "strategy_validation")
    assert row["confidence"] == pytest.approx((30 / 11 + 1 / 3) / 4)
    assert row == {name: signal[name] for name in row}


@by_hand("safety_gate_decisions")
def test_a_gates_decision(tables):
    keys = ["task_id", "wave", "risk_level", "confidence", "decision", "live_decision", "reason"]
    assert tables["safety_gate_decisions"].to_dicts() == [
        dict(zip(keys, ("t1", 1, "LOW", 0.4, "approved", "deferred", "dry run"), strict=True))
    ]


@by_hand("views")
def test_views_of_a_run_directory(directory):
    (directory / "optimization_summary.json").write_text(json.dumps({"run_id": "r-1", "seed": 0}))
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set variable runs = $runs", {"runs": [str(directory)]})
        connection.execute((sql_directory() / "views.sql").read_text())
        rows = connection.sql(
            "select wave, accuracy_score, planned_throughput from comparisons order by wave"
        ).fetchall()
        assert rows == [(1, pytest.approx(10 / 11), 0.75), (2, pytest.approx(1 / 3), 1.0), (3, None, 0.5)]
        metric = "select value, epoch(timestamp) from metrics where metric_name = 'schedule_adherence'"
        assert connection.sql(metric).fetchall() == [(0.8125, TIMESTAMP.timestamp())]


def over_promised():
    """100 tasks of chance 0.9 by one agent, 80 of them completed, in a wave of whose forecasts all is known."""
    rows = [execution(f"{i:03}", status="completed" if i < 80 else "failed", baseline_success=0.9) for i in range(100)]
    told = draws(1, 100, *[(0.9, 1000.0, 1000.0, 0.05, 0.0)] * 2)
    plain = dict.fromkeys(frames.AGENT_EVIDENCE.columns, 0) | {"wave": 1, "agent_id": "agent_0"}
    return hand_frames(
        rows,
        [wave_plan(1)],
        wave_draws=frames.WAVE_DRAWS.conform(told),
        agent_evidence=frames.AGENT_EVIDENCE.conform([plain]),
    )


@by_hand("anomaly_tests")
def test_what_each_test_found(tmp_path):
    # 90 promised, 80 came: (10 - 1.5) / 3 = 2.8333, beyond the threshold (worked in TestPredictionError). The plan
    # promised as much as round robin, the agent has no peers, and no attempt was timed: nothing else can be tested.
    table = tables_of(over_promised(), tmp_path, "anomaly_tests")["anomaly_tests"]
    assert table["status"].to_list() == ["found", *["not_testable"] * 3]
    assert table["effect"].to_list()[0] == pytest.approx(0.1)
    assert table["statistic"].to_list() == [pytest.approx(8.5 / 3), None, None, None]
    assert table["reason"][0].startswith("More than normal variation: standard score 2.83,")
    assert set(table["reason"][1:]) == {"No data: nothing that this test needs ran, or the plan has no draws."}


@by_hand("scheduling_anomalies")
def test_an_anomaly(tmp_path):
    # 0.10 over-promised is more than 0.05 and less than 0.15: medium, which takes 15 points of 100.
    found = tables_of(over_promised(), tmp_path, "scheduling_anomalies", "system_health")
    (row,) = found["scheduling_anomalies"].rows(named=True)
    assert (row["anomaly_id"], row["anomaly_type"], row["severity"]) == ("AN_001", "prediction_error", "medium")
    assert (row["affected_waves"], row["affected_agents"]) == ([1], ["agent_0"])
    assert (row["effect"], row["statistic"]) == (pytest.approx(0.1), pytest.approx(8.5 / 3))
    assert "90.0 % planned, 80.0 % actual over 100 tasks" in row["description"]
    assert row["evidence"] == [
        "90.0 of 100 tasks were expected to succeed, 80 did",
        "planned too high in 1 of 1 wave",
        "largest gap: agent_0 completed 80 of its 100 tasks, 90.0 were expected",
    ]
    assert found["system_health"]["component_scores"][0]["system_stability"] == 85


def test_every_file_of_sql_is_worked_by_hand():
    assert set(BY_HAND) == {path.stem for path in sql_directory().glob("*.sql")}

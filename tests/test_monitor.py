"""OptimizationMonitor: metrics with chance intervals, anomalies that mean something, health."""

from __future__ import annotations

import json

import pytest

from phase19.analysis.session import Analysis
from phase19.inputs.thresholds import Rules
from phase19.monitor import OptimizationMonitor
from tests.synthetic import execution, hand_frames, synthetic_run, wave_plan


def monitor(rules=None, **options):
    return OptimizationMonitor(Analysis(synthetic_run(**options), rules))


LARGE = {"wave_count": 10, "tasks_a_wave": 100, "agent_count": 5, "draw_count": 256, "forecast_sd": 0.15}
DRAW = {
    "wave": 1,
    "ran_count": 1,
    "success_rate": 1.0,
    "busy_ms": 1000.0,
    "confidence_delta": 0.05,
    "deviation_ms": 0.0,
    "expected_success_sum": 0.9,
    "expected_advantage_sum": 0.0,
}


class TestOptimizationMonitor:
    def test_calculate_metrics(self):
        metrics = monitor().calculate_metrics()
        names = ["schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory"]
        assert metrics["metric_name"].to_list() == [*names, "schedule_adherence"]
        assert (metrics["chance_low"] <= metrics["chance_high"]).all()
        assert metrics["timestamp"].unique().to_list() == ["2026-02-05T12:00:00Z"]

    @pytest.mark.parametrize(
        ("makespan_ms", "status"),
        # planned 1,000 ms; the bound is 0.90, critical below 0.81
        [(1000.0, "normal"), (1000 / 0.90, "normal"), (1000 / 0.82, "warning"), (1000 / 0.80, "critical"),
         (800.0, "warning")],
        ids=["inside", "at the bound", "just outside", "far outside", "above a maximum of 1.0"],
    )  # fmt: skip
    def test_status_follows_the_bounds(self, makespan_ms, status):
        run = hand_frames([execution("a", actual_end_time=makespan_ms)], [wave_plan(1)])
        # every draw says 1,000 ms: chance gives 1.0 and explains nothing else
        run["wave_draws"] = [DRAW | {"draw": d, "makespan_ms": 1000.0} for d in range(20)]
        assert OptimizationMonitor(Analysis(run)).calculate_metrics()["status"][1] == status
        # every second draw says 2,000 ms: chance gives 0.5 to 1.0 and explains what lies between
        run["wave_draws"] = [DRAW | {"draw": d, "makespan_ms": 1000.0 * (1 + d % 2)} for d in range(20)]
        explained = "warning" if status == "critical" else status
        assert OptimizationMonitor(Analysis(run)).calculate_metrics()["status"][1] == explained

    def test_negligible_planned_confidence_gives_no_trajectory(self):
        run = hand_frames([execution("a", planned_confidence_delta=9e-7)], [wave_plan(1)])
        row = OptimizationMonitor(Analysis(run)).calculate_metrics().row(3, named=True)
        assert (row["value"], row["status"], row["chance_low"]) == (None, "insufficient_data", None)

    def test_detect_anomalies_prediction_error(self):
        watched = monitor(**LARGE, success_bias=0.15)
        row = watched.detect_anomalies().row(0, named=True)
        assert (row["anomaly_id"], row["anomaly_type"], row["severity"]) == ("AN_001", "prediction_error", "medium")
        assert row["effect"] == pytest.approx(0.13, abs=0.05)
        assert row["statistic"] > row["threshold"] > 2.2414  # the normal quantile, and what failures are skewed by
        assert row["effect_low"] < row["effect"] < row["effect_high"]
        assert set(row["affected_waves"]) <= set(range(1, 11))
        assert len(row["affected_agents"]) > 0
        assert watched.detect_prediction_errors()["is_anomaly"].item()

    def test_detect_anomalies_schedule_drift(self):
        watched = monitor(**LARGE, slowdown=2.0, slow_agent=3)
        row = watched.detect_anomalies().row(0, named=True)
        assert (row["anomaly_type"], row["affected_agents"]) == ("schedule_drift", ["agent_3"])
        assert row["affected_waves"] == [6, 7, 8, 9, 10]
        assert row["effect"] == pytest.approx(2.0, rel=0.3)
        assert row["severity"] == "high"
        tests = watched.detect_schedule_drift()
        assert tests["agent_id"].to_list() == [*(f"agent_{i}" for i in range(5)), None]

    def test_detect_anomalies_performance_degradation(self):
        anomalies = monitor(**LARGE, drop=0.5, slow_agent=2).detect_anomalies()
        row = anomalies.filter(anomalies["anomaly_type"] == "performance_degradation").row(0, named=True)
        assert row["affected_agents"] == ["agent_2"]
        assert row["effect"] == pytest.approx(0.5, abs=0.2)
        assert row["affected_waves"][-1] == 10

    def test_detect_anomalies_optimization_failure(self):
        anomalies = monitor(**LARGE, is_advantage_real=False).detect_anomalies()
        row = anomalies.filter(anomalies["anomaly_type"] == "optimization_failure").row(0, named=True)
        assert row["effect"] == pytest.approx(1.0, abs=0.5)
        assert "prediction_error" not in anomalies["anomaly_type"].to_list()

    def test_calibrated_runs_rarely_raise_alarms(self):
        # Each of four types fires with probability 0.0125: 40 runs give 2 on average, more than 6 with 0.5 %.
        options = LARGE | {"wave_count": 6, "tasks_a_wave": 40, "agent_count": 4}
        fired = [monitor(**options, seed=seed).detect_anomalies().height for seed in range(40)]
        assert sum(fired) <= 6

    def test_a_few_failures_among_confident_tasks_are_no_anomaly(self):
        small = [monitor(seed=seed, tasks_a_wave=4, draw_count=256).detect_anomalies().height for seed in range(10)]
        assert sum(small) <= 1

    def test_generate_system_health(self):
        # accuracy 0.91: planned 1.0, 91 of 100; adherence 0.94: shift 60 ms of 1,000; throughput 0.88: 1000 / 1136.36.
        # 9 failures where the draws expect none, give or take 1, are a medium anomaly: stability 100 - 15 = 85.
        # (91 + 94 + 88 + 85) / 4 = 89.5.
        makespan_ms = 1000 / 0.88
        rows = [
            execution(f"t{i}", planned_success=1.0, status="completed" if i < 91 else "failed",
                      actual_end_time=makespan_ms, scheduled_end_time=makespan_ms - 120)
            for i in range(100)
        ]  # fmt: skip
        run = hand_frames(rows, [wave_plan(1)])
        run["wave_draws"] = [
            DRAW | {"draw": d, "ran_count": 100, "makespan_ms": 1000.0, "expected_success_sum": 99.0 + d % 3}
            for d in range(99)
        ]
        row = OptimizationMonitor(Analysis(run)).generate_system_health().row(0, named=True)
        assert list(row["component_scores"].values()) == pytest.approx([91, 94, 88, 85])
        assert (row["overall_health_score"], row["health_status"]) == (pytest.approx(89.5), "EXCELLENT")

    @pytest.mark.parametrize("points", [5.0, 40.0])
    def test_anomalies_take_the_points_of_their_severity_from_stability(self, points):
        row = (
            monitor(Rules(penalty_medium=points), **LARGE, success_bias=0.15)
            .generate_system_health()
            .row(0, named=True)
        )
        scores = list(row["component_scores"].values())
        assert scores[3] == 100 - points * row["detected_anomalies"]
        assert row["overall_health_score"] == pytest.approx(sum(scores) / 4)

    def test_health_weights_are_configurable(self):
        weights = {"optimization_accuracy": 0, "schedule_adherence": 0, "throughput_efficiency": 0}
        only = Rules(**{f"weight_{name}": value for name, value in weights.items()})
        assert monitor(only).generate_system_health()["overall_health_score"].item() == 100.0

    def test_alerts_are_the_metrics_out_of_bounds_then_the_anomalies(self):
        watched = monitor(**LARGE, success_bias=0.3)
        alerts = watched.generate_alerts()
        out = watched.calculate_metrics()["status"].is_in(["warning", "critical"]).sum()
        assert alerts.height == out + watched.detect_anomalies().height
        assert alerts["source"].to_list()[out].startswith("scheduling_anomalies: AN_001")

    def test_utilization_has_a_row_an_agent_and_convergence_a_row_a_wave(self):
        watched = monitor()
        assert watched.monitor_agent_utilization()["agent_id"].to_list() == ["agent_0", "agent_1", "agent_2"]
        assert watched.monitor_optimization_convergence()["wave"].to_list() == [1, 2, 3]

    def test_write_monitoring_outputs(self, tmp_path):
        watched = monitor()
        paths = watched.write_monitoring_outputs(tmp_path)
        lines = [json.loads(line) for line in (tmp_path / "optimization_metrics.jsonl").read_text().splitlines()]
        assert lines == watched.calculate_metrics().to_dicts()
        assert (tmp_path / "metrics.jsonl").read_bytes() == (tmp_path / "optimization_metrics.jsonl").read_bytes()
        assert sorted(paths) == sorted(tmp_path.iterdir())

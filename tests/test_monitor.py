"""OptimizationMonitor: metrics with chance intervals, anomalies that mean something, health."""

from __future__ import annotations

import json

import pytest

import phase19
from phase19 import frames
from phase19.monitor import OptimizationMonitor
from tests.rules import Rules
from tests.synthetic import analysis_of, execution, hand_frames, synthetic_analysis, synthetic_run, wave_plan


def monitor(**options):
    return OptimizationMonitor(synthetic_analysis(**options))


def health(rules, **options):
    run = synthetic_run(**options) | {"rules": rules.frame()}
    return OptimizationMonitor(analysis_of(run, "system_health")).generate_system_health()


def metrics_of(run):
    return OptimizationMonitor(analysis_of(run, "optimization_metrics")).calculate_metrics()


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


def draws_of(rows):
    return frames.WAVE_DRAWS.conform(rows)


@pytest.fixture
def replayed(tmp_path):
    """Replay 3 waves x 12 tasks x 4 agents after 12 recorded attempts, all successes of about a second."""

    def replay(factor=1.0, failing=None):
        phase18, names = tmp_path / "phase18", [f"agent_{i}" for i in range(4)]
        phase18.mkdir()
        scatter = [0.5, 0.8, 1.0, 1.25, 2.0]
        attempts = [
            {
                "task_id": f"task_{i}",
                "agent_id": names[(i + k) % 4],
                "execution_time_ms": 1000 * scatter[(7 * i + 3 * k) % 5],
            }
            for k in range(4)
            for i in range(36)
        ]
        recorded = [row | {"status": "success"} for row in attempts[:12]]
        done = [
            row
            | {
                "status": "failed" if row["agent_id"] == failing else "success",
                "execution_time_ms": factor * row["execution_time_ms"],
            }
            for row in attempts
        ]
        summary = {"total_agents": 4, "total_tasks": 36, "success_rate": 1.0}
        files = {
            phase18 / "multi_agent_summary.json": json.dumps(summary),
            phase18 / "coordination_patterns.json": "[]",
            phase18 / "system_health.json": json.dumps({"overall_health_score": 90.0, "health_status": "EXCELLENT"}),
            phase18 / "learning_signals.jsonl": "",
            phase18 / "task_outcomes.jsonl": lines(recorded),
            phase18 / "tasks.jsonl": lines({"task_id": f"task_{i}", "wave": i // 12 + 1} for i in range(36)),
            tmp_path / "executions.jsonl": lines(done),
        }
        for path, content in files.items():
            path.write_text(content)
        return phase19.run(
            input=phase18, output=tmp_path / "out", executor="replay", executions=tmp_path / "executions.jsonl"
        )

    return replay


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


class TestRunAfterFewRecords:
    def test_a_run_as_recorded_raises_no_alarm(self, replayed):
        assert replayed().anomalies == []

    def test_everything_ten_times_as_slow_is_found(self, replayed):
        result = replayed(factor=10.0)
        (anomaly,) = result.anomalies
        assert (anomaly.anomaly_type, anomaly.severity) == ("schedule_drift", "high")
        assert anomaly.affected_agents == [f"agent_{i}" for i in range(4)]
        assert "times as long as forecast before the run: typically" in anomaly.description
        assert result.health["health_status"] != "EXCELLENT"

    def test_an_agent_that_always_fails_is_named_with_what_was_expected_of_it(self, replayed):
        result = replayed(failing="agent_2")
        assert ["agent_2"] in [anomaly.affected_agents for anomaly in result.anomalies]
        (anomaly,) = (found for found in result.anomalies if found.anomaly_type == "performance_degradation")
        assert anomaly.description.startswith("agent_2 completed 0 of ")


class TestOptimizationMonitor:
    def test_calculate_metrics(self):
        metrics = monitor().calculate_metrics()
        names = ["schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory"]
        assert [metric.metric_name for metric in metrics] == [*names, "schedule_adherence"]
        assert all(metric.chance_low <= metric.chance_high for metric in metrics)
        assert {metric.timestamp for metric in metrics} == {"2026-02-05T12:00:00Z"}

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
        run["wave_draws"] = draws_of([DRAW | {"draw": d, "makespan_ms": 1000.0} for d in range(20)])
        assert metrics_of(run)[1].status == status
        # every second draw says 2,000 ms: chance gives 0.5 to 1.0 and explains what lies between
        run["wave_draws"] = draws_of([DRAW | {"draw": d, "makespan_ms": 1000.0 * (1 + d % 2)} for d in range(20)])
        explained = "warning" if status == "critical" else status
        assert metrics_of(run)[1].status == explained

    def test_negligible_planned_confidence_gives_no_trajectory(self):
        run = hand_frames([execution("a", planned_confidence_delta=9e-7)], [wave_plan(1)])
        metric = metrics_of(run)[3]
        assert (metric.value, metric.status, metric.chance_low) == (None, "insufficient_data", None)

    def test_detect_anomalies_prediction_error(self):
        watched = monitor(**LARGE, success_bias=0.15)
        found = watched.detect_anomalies()[0]
        assert (found.anomaly_id, found.anomaly_type, found.severity) == ("AN_001", "prediction_error", "medium")
        assert set(found.affected_waves) <= set(range(1, 11))
        assert len(found.affected_agents) > 0
        check = watched.detect_prediction_errors()
        assert check.status == "found"
        assert check.effect == pytest.approx(0.13, abs=0.05)
        assert check.statistic > check.threshold > 2.2414  # the normal quantile, and the skewness of failures
        assert check.effect_low < check.effect < check.effect_high

    def test_detect_anomalies_schedule_drift(self):
        watched = monitor(**LARGE, slowdown=2.0, slow_agent=3)
        found = watched.detect_anomalies()[0]
        assert (found.anomaly_type, found.affected_agents) == ("schedule_drift", ["agent_3"])
        assert found.affected_waves == [6, 7, 8, 9, 10]
        assert found.severity == "high"
        check = watched.detect_schedule_drift()
        assert (check.status, check.effect) == ("found", pytest.approx(2.0, rel=0.3))

    def test_detect_anomalies_performance_degradation(self):
        watched = monitor(**LARGE, drop=0.5, slow_agent=2)
        anomalies = {found.anomaly_type: found for found in watched.detect_anomalies()}
        assert anomalies["performance_degradation"].affected_agents == ["agent_2"]
        assert anomalies["performance_degradation"].affected_waves[-1] == 10
        check = {check.anomaly_type: check for check in watched.run_checks()}["performance_degradation"]
        assert check.effect == pytest.approx(0.5, abs=0.2)

    def test_detect_anomalies_optimization_failure(self):
        anomalies = monitor(**LARGE, is_advantage_real=False).detect_anomalies()
        assert [found.anomaly_type for found in anomalies] == ["optimization_failure"]

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
        run["wave_draws"] = draws_of(
            [
                DRAW | {"draw": d, "ran_count": 100, "makespan_ms": 1000.0, "expected_success_sum": 99.0 + d % 3}
                for d in range(99)
            ]
        )
        row = OptimizationMonitor(analysis_of(run, "system_health")).generate_system_health()
        assert list(row["component_scores"].values()) == pytest.approx([91, 94, 88, 85])
        assert (row["overall_health_score"], row["health_status"]) == (pytest.approx(89.5), "EXCELLENT")

    @pytest.mark.parametrize("points", [5.0, 40.0])
    def test_anomalies_take_the_points_of_their_severity_from_stability(self, points):
        row = health(Rules(penalty_medium=points), **LARGE, success_bias=0.15)
        scores = list(row["component_scores"].values())
        assert scores[3] == 100 - points * row["detected_anomalies"]
        assert row["overall_health_score"] == pytest.approx(sum(scores) / 4)

    def test_health_weights_are_configurable(self):
        weights = {"optimization_accuracy": 0, "schedule_adherence": 0, "throughput_efficiency": 0}
        only = Rules(**{f"weight_{name}": value for name, value in weights.items()})
        assert health(only)["overall_health_score"] == 100.0

    def test_alerts_are_the_metrics_out_of_bounds_then_the_anomalies(self):
        watched = monitor(**LARGE, success_bias=0.3)
        alerts = watched.generate_alerts()
        out = sum(metric.status in {"warning", "critical"} for metric in watched.calculate_metrics())
        assert len(alerts) == out + len(watched.detect_anomalies())
        assert alerts[out]["source"].startswith("scheduling_anomalies: AN_001")

    def test_utilization_has_a_row_an_agent_and_convergence_a_row_a_wave(self):
        watched = monitor()
        assert list(watched.monitor_agent_utilization()) == ["agent_0", "agent_1", "agent_2"]
        assert watched.monitor_optimization_convergence()["wave"].to_list() == [1, 2, 3]

    def test_write_monitoring_outputs(self, tmp_path):
        watched = monitor()
        paths = watched.write_monitoring_outputs(tmp_path)
        lines = [json.loads(line) for line in (tmp_path / "optimization_metrics.jsonl").read_text().splitlines()]
        assert [line["value"] for line in lines] == [metric.value for metric in watched.calculate_metrics()]
        assert (tmp_path / "metrics.jsonl").read_bytes() == (tmp_path / "optimization_metrics.jsonl").read_bytes()
        assert sorted(paths) == sorted(tmp_path.iterdir())

"""Convergence: the error of every wave, the trend of the forecast error, and the health document it stands in."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import stats

from tests.rules import Rules
from tests.synthetic import execution, hand_frames, query, run_frame, synthetic_analysis, tables_of, wave_plan


def wave_row(wave, error):
    return {"wave": wave, "standardized_error": error}


def trend(rows, rules=None, **run):
    tables = {
        "convergence": pl.DataFrame(rows, schema={"wave": pl.Int64, "standardized_error": pl.Float64}),
        "rules": (rules or Rules()).frame(),
        "run": run_frame(**run),
    }
    return query("convergence_trend", tables).row(0, named=True)


class TestTheErrors:
    def test_a_wave_by_hand(self, tmp_path):
        # a, b planned 0.9 and completed, c planned 0.9 and failed: |0.9 - 2/3| = 7/30, by chance sqrt(3 * 0.09) / 3.
        rows = [execution("a"), execution("b"), execution("c", status="failed"), execution("d", wave=2)]
        tables_of(hand_frames(rows, [wave_plan(1), wave_plan(2), wave_plan(3)]), tmp_path, "convergence")
        found = [json.loads(line) for line in (tmp_path / "convergence.jsonl").read_text().splitlines()]
        assert [row["wave"] for row in found] == [1, 2, 3]
        assert found[0]["success_rate_error"] == pytest.approx(7 / 30)
        assert found[0]["chance_error"] == pytest.approx(0.27**0.5 / 3)
        assert found[0]["standardized_error"] == pytest.approx(0.7 / 0.27**0.5)
        assert (found[1]["brier_score"], found[1]["standardized_error"]) == pytest.approx((0.01, 1 / 3))
        assert (found[2]["ran_count"], found[2]["brier_score"], found[2]["standardized_error"]) == (0, None, None)
        assert {row["simulated"] for row in found} == {True}

    @pytest.mark.parametrize(("planned", "standardized"), [(1.0, 1000.0), (0.0, 0.001)])
    def test_a_forecast_without_doubt_still_leaves_room_for_chance(self, tmp_path, planned, standardized):
        rows = [execution("a", planned_success=planned, status="failed")]
        tables_of(hand_frames(rows, [wave_plan(1)]), tmp_path, "convergence")
        row = json.loads((tmp_path / "convergence.jsonl").read_text())
        assert row["chance_error"] == pytest.approx(0.001, rel=1e-5)
        assert row["standardized_error"] == pytest.approx(planned * standardized, rel=1e-5)

    def test_waves_of_any_difficulty_have_the_same_error_by_chance(self):
        # Easy waves, then hard ones, all forecast rightly: the mean of |z| is sqrt(2 / pi) = 0.798 in both.
        rng = np.random.default_rng(5)
        waves, size = 2_000, 50
        p = np.where(np.arange(waves)[:, None] < waves / 2, 0.9, 0.5) * np.ones((waves, size))
        actual = (rng.random(p.shape) < p).mean(axis=1)
        numbers = np.arange(1, waves + 1)
        nothing = {"accuracy_score": 1.0, "brier_score": 0.1, "log_loss": 0.5, "ran_count": size}
        tables = {
            "schedule_comparisons": pl.DataFrame(
                {"wave": numbers, "planned_success_rate": p.mean(axis=1), "actual_success_rate": actual}
            ).with_columns(**{name: pl.lit(value) for name, value in nothing.items()}),
            "task_results": pl.DataFrame({"wave": np.repeat(numbers, size), "planned_success": p.ravel()}),
            "run": run_frame(),
            "rules": Rules().frame(),
        }
        found = query("convergence", tables)["standardized_error"].to_numpy()
        assert found[0] == pytest.approx(abs(actual[0] - 0.9) / (0.09 / size) ** 0.5, rel=1e-9)
        by_difficulty = found.reshape(2, -1).mean(axis=1)
        assert by_difficulty == pytest.approx([(2 / np.pi) ** 0.5] * 2, abs=4 * 0.603 / (waves / 2) ** 0.5)


class TestTheTrend:
    def test_by_hand(self):
        # Slope (0.2 - 0.3) / 2 = -0.05; residuals 0.05, -0.1, 0.05; one degree of freedom: sqrt(0.015 / 2) = 0.0866,
        # times t = 6.3138.
        found = trend([wave_row(1, 0.3), wave_row(2, 0.1), wave_row(3, 0.2)])
        margin = 6.313752 * 0.0075**0.5
        assert found["slope"] == pytest.approx(-0.05)
        assert (found["slope_low"], found["slope_high"]) == pytest.approx((-0.05 - margin, -0.05 + margin), rel=1e-6)
        assert (found["change"], found["verdict"]) == (pytest.approx(-0.1), "insufficient_data")
        assert found["wave_count"] == 3

    def test_matches_an_independent_recomputation(self):
        rng = np.random.default_rng(3)
        n = 10_000
        y = np.abs(rng.normal(0, 1, n))
        rows = pl.DataFrame({"wave": np.arange(1, n + 1), "standardized_error": y})
        found = trend(rows.sample(fraction=1, shuffle=True, seed=1))
        design = np.column_stack([np.ones(n), np.arange(1, n + 1)])
        gram = np.linalg.inv(design.T @ design)
        fit = gram @ design.T @ y
        variance = ((y - design @ fit) ** 2).sum() / (n - 2) * gram[1, 1]
        margin = stats.t.ppf(0.95, n - 2) * variance**0.5
        assert found["slope"] == pytest.approx(fit[1], rel=1e-9)
        assert found["slope_high"] - found["slope"] == pytest.approx(margin, rel=1e-9)
        assert found["wave_count"] == n

    @pytest.mark.parametrize(
        ("errors", "verdict"),
        [
            ([0.3, 0.21, 0.1, 0.0], "improving"),
            ([0.0, 0.1, 0.21, 0.3], "worsening"),
            ([0.8, 0.81, 0.79, 0.8], "steady"),
            ([0.8, 0.8, 0.8], "steady"),
            ([2.1, 0.1, 2.2, 0.2], "insufficient_data"),
            ([0.3, 0.1], "insufficient_data"),
            ([0.3, None, 0.1], "insufficient_data"),
            ([], "insufficient_data"),
        ],
    )
    def test_the_verdict_follows_the_interval(self, errors, verdict):
        found = trend([wave_row(i, value) for i, value in enumerate(errors, 1)])
        assert found["verdict"] == verdict
        assert (found["slope"] is None) == (sum(value is not None for value in errors) < 3)

    def test_what_is_steady_is_for_the_margin_to_say(self):
        rows = [wave_row(i, value) for i, value in enumerate([0.8, 0.81, 0.79, 0.8], 1)]
        assert trend(rows, Rules(convergence_margin=0.01))["verdict"] == "insufficient_data"

    def test_calibrated_forecasts_are_rarely_said_to_change_though_waves_grow_harder(self):
        # Each verdict is wrong 5 times in 100: of 400 chains of 6 waves, 20 each, more than 36 with chance 2 in 10,000.
        rng = np.random.default_rng(8)
        said = []
        for _ in range(400):
            p = 1 / (1 + np.exp(-rng.normal(np.linspace(2.2, 0.0, 6)[:, None], 1.2, (6, 12))))
            y = rng.random((6, 12)) < p
            error = abs((y - p).sum(axis=1)) / np.sqrt((p * (1 - p)).sum(axis=1))
            slope, _, _, _, deviation = stats.linregress(np.arange(6), error)
            said.append(slope / deviation)
        limit = stats.t.ppf(0.95, 4)
        assert max((np.array(said) > limit).sum(), (np.array(said) < -limit).sum()) <= 36


class TestHealth:
    @pytest.fixture
    def document(self):
        found = synthetic_analysis(seed=3, success_bias=0.35, slowdown=2.5, tasks_a_wave=12, wave_count=4)
        return json.loads((found.directory / "system_health.json").read_text()), found.tables

    def test_the_parts_add_up_to_the_whole(self, document):
        health, tables = document
        scores, weights = health["component_scores"], health["component_weights"]
        assert list(scores) == list(weights)
        total = sum(scores[name] * weights[name] for name in scores) / sum(weights.values())
        assert health["overall_health_score"] == pytest.approx(total)
        costs = health["anomaly_costs"]
        assert [cost["anomaly_id"] for cost in costs] == tables["scheduling_anomalies"]["anomaly_id"].to_list()
        assert len(costs) == health["detected_anomalies"] > 0
        assert scores["system_stability"] == max(0, 100 - sum(cost["points"] for cost in costs))
        points = {"low": 5.0, "medium": 15.0, "high": 30.0}
        assert [cost["points"] for cost in costs] == [points[cost["severity"]] for cost in costs]

    def test_agents_add_up_to_the_run(self, document):
        health, tables = document
        agents = health["agent_utilization"]
        metric = {row["metric_name"]: row["value"] for row in health["optimization_metrics"]}
        assert np.mean([agent["utilization"] for agent in agents]) == pytest.approx(metric["agent_utilization"])
        assert sum(agent["task_count"] for agent in agents) == 48
        assert sum(agent["busy_ms"] for agent in agents) == pytest.approx(tables["wave_totals"]["actual_busy_ms"].sum())

    def test_alerts_are_counted_by_severity(self, document):
        health, tables = document
        severities = tables["alerts"]["severity"].to_list()
        assert health["alert_counts"] == {name: severities.count(name) for name in ("info", "warning", "critical")}
        assert len(severities) > 0

    def test_an_idle_agent_is_idle_and_a_run_where_nothing_ran_has_no_utilization(self, tmp_path):
        rows = [execution("a"), execution("b", agent_id="agent_1", status="unobserved")]
        found = tables_of(hand_frames(rows, [wave_plan(1)]), tmp_path, "system_health")["system_health"][
            "agent_utilization"
        ][0]
        assert [tuple(row.values())[:4] for row in found] == [("agent_0", 1, 1000.0, 1.0), ("agent_1", 1, 0.0, 0.0)]
        found = tables_of(hand_frames(rows[1:], [wave_plan(1)]), tmp_path, "system_health")["system_health"][
            "agent_utilization"
        ][0]
        assert [row["utilization"] for row in found] == [None]

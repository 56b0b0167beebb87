"""The four tests for anomalies: worked by hand, one cause reported once, and as sure of themselves as they say."""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from benchmarks.detection import measure
from phase19 import frames
from tests.rules import Rules
from tests.synthetic import agents_frame, execution, hand_frames, sure_draws, synthetic_run, tables_of, wave_plan

TYPES = ["prediction_error", "schedule_drift", "performance_degradation", "optimization_failure"]
LARGE = {"wave_count": 10, "tasks_a_wave": 100, "agent_count": 5, "draw_count": 256, "forecast_sd": 0.15}


def z(p):
    return -NormalDist().inv_cdf(p)


@pytest.fixture
def detect(tmp_path):
    def run(tables, **rules):
        named = tables | {"rules": Rules(**rules).frame()}
        return tables_of(named, tmp_path, "scheduling_anomalies")

    return run


def evidence(*rows):
    """Evidence of agents of which all is known, but for what `rows` say of them."""
    plain = dict.fromkeys(frames.AGENT_EVIDENCE.columns, 0) | {"wave": 1, "agent_id": "agent_0"}
    return frames.AGENT_EVIDENCE.conform([plain | row for row in rows])


def outcomes(count, completed, *, prefix="", **changes):
    return [
        execution(f"{prefix}{i}", status="completed" if i < completed else "failed", **changes) for i in range(count)
    ]


def status_of(tables):
    return dict(tables["anomaly_tests"].select("anomaly_type", "status").iter_rows())


def over_promise(completed, success=(90.0,)):
    rows = outcomes(100, completed, planned_success=0.9, baseline_success=0.9)
    return hand_frames(rows, [wave_plan(1)], wave_draws=sure_draws(1, success=success), agent_evidence=evidence({}))


class TestPredictionError:
    def test_by_hand(self, detect):
        # 90 planned, 80 came. Noise 100 x 0.09 = 9, third moment 100 x 0.09 x 0.8 = 7.2, skewness 7.2 / 27 = 0.2667.
        # Half of the alarm probability, z(0.00625) = 2.4977, is that of the forecasts before the run: threshold
        # 2.4977 + (2.4977^2 - 1) x 0.2667 / 6 = 2.7305; (10 - 0.5 - 0.01 x 100) / 3 = 2.8333 is above it.
        row = detect(over_promise(80))["prediction_error_tests"].row(0, named=True)
        assert row["effect"] == pytest.approx(0.10)
        assert row["threshold"] == pytest.approx(2.7305, abs=1e-4)
        assert row["statistic"] == pytest.approx(2.8333, abs=1e-4)
        assert row["is_anomaly"]
        # Were it so, 100 x 0.8 x 0.2 = 16 would be the noise: 0.10 less and more 1.6449 x 4 / 100.
        assert (row["effect_low"], row["effect_high"]) == pytest.approx((0.0342, 0.1658), abs=1e-4)
        # Found nine times in ten, 1.2816 scores past 1.5 + 2.7305 x 3 = 9.6915: with 1.2816^2 = 1.6424,
        # B = 2 x 9.6915 + 1.6424 x 0.8 = 20.6969, B^2 - 4 (1 + 0.0164) (9.6915^2 - 1.6424 x 9) = 10.3248^2, and
        # (20.6969 + 10.3248) / (2 x 101.6424) = 0.1526.
        assert row["detectable_effect"] == pytest.approx(0.1526, abs=1e-4)
        # 82 came: (8 - 1.5) / 3 = 2.1667.
        row = detect(over_promise(82))["prediction_error_tests"].row(0, named=True)
        assert (row["statistic"], row["is_anomaly"]) == (pytest.approx(2.1667, abs=1e-4), False)

    def test_tasks_that_hardly_ever_succeed_do_not_shorten_the_tail_of_failures(self, detect):
        # 100 tasks at 0.9 lengthen it by 7.2, 100 at 0.1 by nothing: 2.4977 + 5.2385 x (7.2 / 18^1.5) / 6 = 2.5800.
        rows = outcomes(100, 90, planned_success=0.9) + outcomes(100, 10, prefix="b", planned_success=0.1)
        run = over_promise(90) | hand_frames(rows, [wave_plan(1)])
        run |= {"wave_draws": sure_draws(1), "agent_evidence": evidence({})}
        assert detect(run)["prediction_error_tests"]["threshold"].item() == pytest.approx(2.5800, abs=1e-4)

    def test_what_the_forecasts_do_not_know_explains_what_noise_does_not(self, detect):
        # Draws 86 and 94 apart have the variance 32: (10 - 1.5) / sqrt(9 + 32) = 1.3275.
        found = detect(over_promise(80, success=(86.0, 94.0)))
        row = found["prediction_error_tests"].row(0, named=True)
        assert (row["statistic"], row["is_anomaly"]) == (pytest.approx(1.3275, abs=1e-4), False)
        assert found["scheduling_anomalies"].height == 0

    def test_the_detectable_effect_is_found_nine_times_in_ten(self, detect):
        row = detect(over_promise(90))["prediction_error_tests"].row(0, named=True)
        worst = next(k for k in range(90, 0, -1) if (90 - k - 1.5) / 3 > row["threshold"])
        assert 0.88 < binom.cdf(worst, 100, 0.9 - row["detectable_effect"]) < 0.95
        assert binom.cdf(worst, 100, 0.9) < Rules().alarm_probability

    def test_success_above_plan_is_no_anomaly(self, detect):
        assert status_of(detect(over_promise(100)))["prediction_error"] == "clear"


def halves(*completed, agents=2, tasks=40):
    """Two waves in which every agent has `tasks` tasks of chance 0.5; `completed` of each agent, wave by wave."""
    rows = [
        row
        for w in (1, 2)
        for a in range(agents)
        for row in outcomes(
            tasks,
            completed[(w - 1) * agents + a],
            prefix=f"{w}{a}_",
            wave=w,
            agent_id=f"agent_{a}",
            planned_success=0.5,
            baseline_success=0.5,
        )
    ]
    told = [{"wave": w, "agent_id": f"agent_{a}"} for w in (1, 2) for a in range(agents)]
    return hand_frames(
        rows,
        [wave_plan(1), wave_plan(2)],
        wave_draws=sure_draws(1, 2),
        agent_evidence=evidence(*told),
        agents=agents_frame(agents),
    )


class TestPerformanceDegradation:
    def test_by_hand(self, detect):
        # agent_0 fails all 40 of wave 2, planned 20: 20 short, its peer 0. Half of 20 is the wave's: R = 10.
        # Noise 40 x 0.25 = 10 an agent and wave, so var R = (1 - 2 x 0.5) 10 + 0.25 x 20 = 5; no skewness at 0.5.
        # Wave 2 against the record: (10 - 0.5 - 0.02 x 20) / sqrt(5) = 4.0696, a fall of 10 / 20 = 0.5.
        # Wave 2 against wave 1: (10 - 0.9) / sqrt(5 + 5) = 2.8777. Both waves: (10 - 0.5 - 0.8) / sqrt(10) = 2.7512.
        # 2 agents x (2 windows and 1 before and after) = 6 tests: threshold z(0.0125 / 6) = 2.8653.
        found = detect(halves(20, 20, 0, 20))
        rows = found["performance_degradation_tests"].filter(agent_id="agent_0")
        keys = rows.select("first_wave", "baseline").rows()
        assert keys == [(1, "record"), (2, "record"), (2, "run")]
        assert rows["statistic"].to_list() == pytest.approx([2.7512, 4.0696, 2.8777], abs=1e-4)
        assert rows["threshold"].to_list() == pytest.approx([z(0.0125 / 6)] * 3)
        assert rows["is_anomaly"].to_list() == [False, True, True]
        assert rows["effect"].to_list() == pytest.approx([0.25, 0.5, 0.5])
        anomaly = found["scheduling_anomalies"].filter(anomaly_type="performance_degradation").row(0, named=True)
        assert (anomaly["affected_agents"], anomaly["affected_waves"]) == (["agent_0"], [2])
        assert anomaly["evidence"][0].startswith(
            "agent_0: success rate down 50.0 points against its forecast over 40 tasks from wave 2 on, 0 completed, "
            "20.0 expected"
        )
        assert anomaly["description"].startswith(
            "agent_0 completed 0 of 40 tasks from wave 2 on, 20.0 were expected: compared with its peers, its success "
            "rate is 50.0 points below its forecast."
        )

    def test_what_is_shown_is_of_the_strongest_and_what_could_be_seen_the_median_agents(self, detect):
        found = detect(halves(20, 20, 20, 20, 20, 19, agents=3))
        rows = found["performance_degradation_tests"]
        middle = rows.filter(first_wave=2, baseline="record")["detectable_effect"]
        strongest = rows.sort(pl.col("statistic") - pl.col("threshold")).row(-1, named=True)
        told = found["anomaly_tests"].row(2, named=True)
        assert middle.len() == 3
        assert told["effect"] == strongest["effect"] > 0
        assert told["detectable_effect"] == strongest["detectable_effect"]
        assert f"success {middle.median() * 100:.1f} points lower" in told["reason"]

    def test_peers_that_fall_alike_are_no_degradation(self, detect):
        found = detect(halves(20, 20, 0, 0))
        assert not found["performance_degradation_tests"]["is_anomaly"].any()
        assert status_of(found)["prediction_error"] == "found"

    def test_an_agent_alone_has_no_peers_to_be_held_against(self, detect):
        assert status_of(detect(halves(20, 0, agents=1)))["performance_degradation"] == "not_testable"

    def test_the_detectable_effect_is_found_nine_times_in_ten(self, detect):
        rows = detect(halves(100, 100, 100, 100, tasks=200))["performance_degradation_tests"]
        row = rows.filter(agent_id="agent_0", first_wave=2, baseline="record").row(0, named=True)
        rng = np.random.default_rng(0)
        short = 100 - rng.binomial(200, [[0.5 - row["detectable_effect"]], [0.5]], (2, 20_000))
        statistic = (short[0] - short.sum(axis=0) / 2 - 0.5 - 0.02 * 100) / 5.0  # var R = 0.25 x 100 = 25
        assert 0.87 < (statistic > row["threshold"]).mean() < 0.93


def late(first, second, sd=0.0):
    """Two agents of 25 timed attempts in the second of two waves, whose log durations scatter by 0.4."""
    rows = [execution(f"{w}{a}", wave=w, agent_id=f"agent_{a}") for w in (1, 2) for a in (0, 1)]
    timed = {"duration_count": 25, "log_duration_noise": 25 * 0.16, "log_duration_shared_sd": sd}
    told = [
        {"wave": w, "agent_id": f"agent_{a}", "log_duration_residual_sum": (w - 1) * 25 * math.log(factor), **timed}
        for w in (1, 2)
        for a, factor in enumerate((first, second))
    ]
    draws = sure_draws(1, 2)
    return hand_frames(rows, [wave_plan(1), wave_plan(2)], wave_draws=draws, agent_evidence=evidence(*told))


class TestScheduleDrift:
    def test_by_hand(self, detect):
        # agent_0 takes 1.5 times as long: 25 ln 1.5 / sqrt(4) = 5.0683, above z(0.0125 / 8 / 2) = 3.1632.
        # Both: 25 ln 1.5 / sqrt(8) = 3.5838, above z(0.0125 x 3 / 8) = 2.5983, but nothing without agent_0.
        found = detect(late(1.5, 1.0))
        rows = found["schedule_drift_tests"]
        assert rows["agent_id"].to_list() == ["agent_0", "agent_1", None]
        assert rows["statistic"].to_list() == pytest.approx([5.0683, 0.0, 3.5838], abs=1e-4)
        assert rows["threshold"].to_list() == pytest.approx([z(0.00078125)] * 2 + [z(0.0046875)])
        assert rows["is_anomaly"].to_list() == [True, False, False]
        # 1.5 in a standard error of 2 / 25 = 0.08 each way: x exp(1.6449 x 0.08) = 1.1406.
        assert rows.row(0, named=True)["effect_high"] == pytest.approx(1.5 * 1.1406, abs=1e-3)
        assert rows["detectable_effect"][0] == pytest.approx(math.exp(0.08 * (z(0.00078125) + z(0.1))))
        anomaly = found["scheduling_anomalies"].row(0, named=True)
        assert (anomaly["affected_agents"], anomaly["affected_waves"]) == (["agent_0"], [2])
        assert anomaly["effect"] == pytest.approx(1.5)

    def test_the_lateness_of_one_agent_is_not_that_of_all_though_the_others_are_a_little_late(self, detect):
        # Without agent_0, 25 ln 1.06 / sqrt(4) = 0.73 standard scores are left.
        assert detect(late(1.5, 1.06))["schedule_drift_tests"]["is_anomaly"].to_list() == [True, False, False]

    def test_all_agents_late_by_themselves_are_late_together(self, detect):
        found = detect(late(1.5, 1.6))
        assert found["schedule_drift_tests"]["is_anomaly"].to_list() == [True, True, True]
        assert found["anomaly_tests"]["effect"][1] == pytest.approx(math.sqrt(1.5 * 1.6))  # the strongest: 7.0 scores

    def test_all_agents_late_together_are_named_together(self, detect):
        # 25 ln 1.22 is 2.4857 standard scores for each, 3.5153 for both.
        found = detect(late(1.22, 1.22))
        assert found["schedule_drift_tests"]["is_anomaly"].to_list() == [False, False, True]
        assert found["scheduling_anomalies"]["affected_agents"].to_list() == [["agent_0", "agent_1"]]

    def test_lateness_as_old_as_the_run_names_all_its_waves(self, detect):
        run = late(1.5, 1.0)
        old = run["agent_evidence"].with_columns(
            log_duration_residual_sum=pl.when(agent_id="agent_0").then(25 * math.log(1.5)).otherwise(0.0)
        )
        anomaly = detect({**run, "agent_evidence": old})["scheduling_anomalies"].row(0, named=True)
        assert anomaly["affected_waves"] == [1, 2]
        assert "agent_0 took 1.50 times as long as forecast throughout the run" in anomaly["description"]

    def test_each_late_agent_has_a_factor_of_its_own(self, detect):
        (apart,) = detect(late(3.0, 1.5))["scheduling_anomalies"]["recommendation"].to_list()
        # Both are late, so all are: x 2.12, up to 2.12 exp(1.6449 sqrt(8) / 50) = 2.33, which agent_0's 3.00 exceeds
        # from 3 / 1.1406 = 2.63 on.
        assert apart == "Multiply planned durations: agent_0 by 3.00, all others by 2.12."
        assert "agent_0 by 1.50." in detect(late(1.5, 1.0))["scheduling_anomalies"]["recommendation"].item()

    def test_what_is_not_known_of_outcomes_is_shared_by_all(self, detect):
        # Variance 4 + 3^2 = 13 for an agent, 8 + 6^2 = 44 for both.
        rows = detect(late(1.5, 1.0, sd=3.0))["schedule_drift_tests"]
        lateness = 25 * math.log(1.5)
        assert [rows["statistic"][0], rows["statistic"][2]] == pytest.approx([lateness / 13**0.5, lateness / 44**0.5])

    def test_lateness_that_does_not_matter_is_no_anomaly_however_sure(self, detect):
        # 10,000 attempts 4 % late are 9.8 standard scores, but less than the 5 % that matter; 6 % are more.
        for factor, is_anomaly in ((1.04, False), (1.06, True)):
            run = late(1.0, 1.0)
            many = run["agent_evidence"].with_columns(
                duration_count=pl.lit(10_000, pl.Int64),
                log_duration_noise=pl.lit(1600.0),
                log_duration_residual_sum=10_000 * math.log(factor) * (pl.col("wave") - 1),
            )
            rows = detect(run | {"agent_evidence": many})["schedule_drift_tests"]
            assert rows["is_anomaly"].to_list()[:2] == [is_anomaly] * 2

    def test_the_detectable_effect_is_found_nine_times_in_ten(self, detect):
        row = detect(late(1.0, 1.0))["schedule_drift_tests"].row(2, named=True)
        noise = np.random.default_rng(0).normal(math.log(row["detectable_effect"]), 8**0.5 / 50, 20_000)
        is_found = (noise / (8**0.5 / 50) > row["threshold"]) & (noise > Rules().schedule_drift_margin)
        assert 0.89 < is_found.mean() < 0.91

    def test_a_record_without_times_is_not_testable(self, detect):
        run = late(1.5, 1.5) | {"agent_evidence": evidence({"agent_id": "agent_0"})}
        row = detect(run)["anomaly_tests"].row(1, named=True)
        assert (row["status"], row["effect"], row["detectable_effect"]) == ("not_testable", None, None)


def before(*agents, waves=2):
    """Agents whose waves went as forecast once the waves before were known; `agents` say what was forecast at first."""
    plain = {"first_success_noise": 1e-9, "duration_count": 20, "log_duration_noise": 20 * 0.16}
    told = [
        {"wave": w, "agent_id": f"agent_{a}", **plain, **row}
        for w in range(1, waves + 1)
        for a, row in enumerate(agents)
    ]
    rows = [
        row
        for w in range(1, waves + 1)
        for a in range(len(agents))
        for row in outcomes(20, 10, prefix=f"{w}{a}_", wave=w, agent_id=f"agent_{a}", planned_success=0.5)
    ]
    plans, draws = [wave_plan(w) for w in range(1, waves + 1)], sure_draws(*range(1, waves + 1))
    return hand_frames(rows, plans, wave_draws=draws, agent_evidence=evidence(*told), agents=agents_frame(len(agents)))


def timed(factor, agent_sd=0.0, shared_sd=0.0):
    """20 attempts a wave that took `factor` times as long as forecast before the run, 2 s in place of 2 s / factor."""
    return {
        "log_duration_sum": 20 * math.log(2000.0),
        "first_duration_count": 20,
        "first_log_duration_residual_sum": 20 * math.log(factor),
        "first_log_duration_noise": 20 * 0.16,
        "first_log_duration_agent_sd": agent_sd,
        "first_log_duration_shared_sd": shared_sd,
    }


class TestBeforeTheRun:
    """The waves kept to their plans, which had learned from the waves before. What was forecast at first was wrong."""

    def test_times_by_hand(self, detect):
        # Two waves of 20 attempts: variance 2 x 3.2 = 6.4. What was not known of the agent, 4 a wave, is the same in
        # both: 8^2 = 64. What was not known of anybody, 3 a wave and agent: 6^2 = 36 of one, 12^2 = 144 of both.
        # agent_0: 40 ln 10 / sqrt(6.4 + 64 + 36) = 8.9291; agent_1: 0. All: 40 ln 10 / sqrt(12.8 + 128 + 144) = 5.4576.
        found = detect(before(timed(10.0, 4.0, 3.0), timed(1.0, 4.0, 3.0)))
        rows = found["schedule_drift_tests"].filter(baseline="start")
        assert rows["agent_id"].to_list() == ["agent_0", "agent_1", None]
        assert rows["statistic"].to_list() == pytest.approx([8.9291, 0.0, 5.4576], abs=1e-4)
        assert rows["threshold"].to_list() == pytest.approx([z(0.00078125)] * 2 + [z(0.0046875)])
        assert rows["is_anomaly"].to_list() == [True, False, False]
        assert rows.select("typical_ms", "forecast_ms").row(0) == pytest.approx((2000.0, 200.0))
        assert not found["schedule_drift_tests"].filter(baseline="record")["is_anomaly"].any()
        anomaly = found["scheduling_anomalies"].row(0, named=True)
        assert (anomaly["affected_agents"], anomaly["affected_waves"]) == (["agent_0"], [1, 2])
        assert anomaly["description"].startswith(
            "Attempts of agent_0 took 10.00 times as long as forecast before the run: typically 2.0 s in place of "
            "200 ms."
        )

    def test_a_run_ten_times_as_slow_as_its_records_is_found_though_its_plans_adapt(self, detect, tmp_path):
        run = before(timed(10.0, 4.0, 3.0), timed(10.0, 4.0, 3.0))
        found = detect(run)
        assert status_of(found)["schedule_drift"] == "found"
        assert found["scheduling_anomalies"]["description"][0].startswith("Attempts of all agents took 10.00 times")
        signals = tables_of(run, tmp_path, "learning_signals")["learning_signals"].filter(type="schedule_adjustment")
        assert signals["description"].to_list() == [
            "all agents: attempts take 10.00 times as long as forecast before the run."
        ]

    def test_few_records_explain_what_many_would_not(self, detect):
        # 40 ln 2 / sqrt(6.4) = 10.96 if all of the agents is known. If nothing is: 40 ln 2 / sqrt(6.4 + 20^2) = 1.38.
        statistic = pl.col("statistic").filter(agent_id="agent_0", baseline="start").first()
        for sd, expected, status in ((0.0, 10.9596, "found"), (10.0, 1.3753, "clear")):
            found = detect(before(timed(2.0, sd), timed(2.0, sd)))
            assert found["schedule_drift_tests"].select(statistic).item() == pytest.approx(expected, abs=1e-4)
            assert status_of(found)["schedule_drift"] == status

    def test_times_of_which_nothing_was_known_before_the_run_are_held_against_nothing(self, detect):
        found = detect(before({}, {}))
        assert found["schedule_drift_tests"]["baseline"].unique().to_list() == ["record"]
        assert status_of(found)["schedule_drift"] == "clear"

    def test_success_by_hand(self, detect):
        # 18 of 20 planned by each of 2 agents in each of 2 waves, 10 came: 72 - 40 = 32 short of 80, and 0.4 a task.
        # Noise 4 x 1.8 = 7.2; of each agent 1 a wave is not known, 2 x 2^2 = 8, of all 1.5 a wave and agent, 6^2 = 36:
        # (32 - 0.5 - 0.8) / sqrt(51.2) = 4.2905. Without skewness the threshold is z(0.00625).
        first = {"first_planned_success_sum": 18, "first_success_noise": 1.8, "first_success_agent_sd": 1}
        found = detect(before(*[first | {"first_success_shared_sd": 1.5}] * 2))
        row = found["prediction_error_tests"].row(0, named=True)
        assert (row["baseline"], row["planned_rate"], row["effect"]) == ("start", 0.9, pytest.approx(0.4))
        assert (row["statistic"], row["threshold"]) == pytest.approx((4.2905, z(0.00625)), abs=1e-4)
        # Each alone: (16 - 0.5 - 0.4) / sqrt(3.6 + 4 + 9) = 3.7061, above z(0.0125 / 2 / 2) = 2.7344.
        anomaly = found["scheduling_anomalies"].row(0, named=True)
        assert anomaly["anomaly_type"] == "prediction_error"
        assert "90.0 % planned before the run, 50.0 % actual over 80 tasks" in anomaly["description"]
        assert "Short by themselves: agent_0, agent_1." in anomaly["description"]
        assert anomaly["evidence"][2] == "largest gap: agent_0 completed 20 of its 40 tasks, 36.0 were expected"

    def test_agents_that_are_not_short_by_themselves_are_all_named(self, detect):
        # 12 of 20: 4 short of each of 8 agents in two waves; (4 - 0.5 - 0.4) / sqrt(3) = 1.79 each, and for all
        # (32 - 0.5 - 3.2) / sqrt(24) = 5.78.
        found = detect(before(*[{"first_planned_success_sum": 12, "first_success_noise": 1.5}] * 8))
        anomaly = found["scheduling_anomalies"].row(0, named=True)
        assert "No agent stands out." in anomaly["description"]
        assert anomaly["affected_agents"] == [f"agent_{a}" for a in range(8)]

    def test_an_agent_that_fails_is_named_by_hand(self, detect):
        # agent_0 was planned 16 a wave, its 3 peers 10; all complete 10. It is 6 short a wave, with a quarter of the
        # tasks: R = 12 x 0.75 = 9. Noise 1.8 a wave: (1 - 0.5) 1.8 + 4 x 1.8 / 16 = 1.35. Of each agent 1 a wave is not
        # known: 0.75 of its own in both waves, 1.5^2 = 2.25, and a quarter of sqrt(3) of its peers', 0.8660^2 = 0.75.
        # (9 - 0.5 - 0.02 x 30) / sqrt(2.7 + 2.25 + 0.75) = 3.3090, above z(0.0125 / (4 x 4)) = 3.1620: each agent has a
        # test before the run, two windows, and one against its waves before.
        first = {"first_success_noise": 1.8, "first_success_agent_sd": 1}
        planned = [{"first_planned_success_sum": count, **first} for count in (16, 10, 10, 10)]
        rows = detect(before(*planned))["performance_degradation_tests"].filter(agent_id="agent_0", baseline="start")
        row = rows.row(0, named=True)
        assert (row["task_count"], row["completed_count"], row["planned_rate"]) == (40, 20, 0.8)
        assert (row["statistic"], row["threshold"]) == pytest.approx((3.3090, z(0.0125 / 16)), abs=1e-4)
        assert row["is_anomaly"]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """Runs of 3 waves x 12 tasks x 4 agents after 12 recorded attempts, with and without faults."""
    staging = tmp_path_factory.mktemp("sparse")
    faults = {seed: ["none"] if seed > 3 else ["none", "slow_ten"] for seed in range(8)}
    return [row for seed in faults for row in measure(1, seed, faults[seed], staging)]


def test_after_few_records_times_ten_are_found_and_no_fault_raises_no_alarm(sparse):
    # The benchmark aims at 5 % of runs with a false alarm: of 8 more than 2 with a probability of 0.6 %.
    found = Counter((row.fault, row.anomaly_type) for row in sparse if row.status == "found")
    assert sum(count for (fault, _), count in found.items() if fault == "none") <= 2
    assert found["slow_ten", "schedule_drift"] == 4


def advantage(first, second):
    """50 tasks planned 0.2 above round robin and 50 planned 0.2 below; how many of each completed."""
    rows = outcomes(50, first, prefix="a", planned_success=0.8, baseline_success=0.6)
    rows += outcomes(50, second, prefix="b", planned_success=0.6, baseline_success=0.8)
    return hand_frames(rows, [wave_plan(1)], wave_draws=sure_draws(1), agent_evidence=evidence({}))


class TestOptimizationFailure:
    def test_by_hand(self, detect):
        # Sum A^2 = 100 x 0.04 = 4, its noise 0.04 (50 x 0.16 + 50 x 0.24) = 0.8. 30 of 40 and 40 of 30 came: lost
        # 0.2 x 10 + 0.2 x 10 = 4, all of it; (4 - 0.1 x 4) / sqrt(0.8) = 4.0249. What lengthens the tail of the loss is
        # 50 x 0.2^3 x 0.16 x 0.6 = 0.0384 of the first 50: threshold 2.2414 + 4.0239 x (0.0384 / 0.8^1.5) / 6 = 2.2774.
        # Found nine times in ten from 0.1 + (2.2774 + 1.2816) / (4 / sqrt(0.8)) = 0.8958: less than all of it.
        row = detect(advantage(30, 40))["optimization_failure_tests"].row(0, named=True)
        assert (row["effect"], row["slope"]) == pytest.approx((1.0, 0.0))
        assert row["statistic"] == pytest.approx(4.0249, abs=1e-4)
        assert row["threshold"] == pytest.approx(2.2774, abs=1e-4)
        assert row["detectable_effect"] == pytest.approx(0.8958, abs=1e-4)
        assert row["is_testable"] and row["is_anomaly"]

    @pytest.mark.parametrize(("attempts", "effect", "status"), [(3, 0.0, "explained"), (1, None, "found")])
    def test_a_loss_that_all_attempts_share_is_no_failed_advantage(self, detect, attempts, effect, status):
        # Tasks of one attempt planned 0.6 lose 0.24, so those of three attempts, planned 0.992, lose 3 x 0.2^2 x 0.24.
        # Of the former 150 of 200 were promised 0.2 more than by round robin, of the latter 50. Centred: A is 0.1 or
        # -0.1, the sensitivity 0.44 or -0.44. A loss of 0.1 x (36 + 1.6) - 0.1 x (12 + 4.8) = 2.08 of Sum A^2 = 4, and
        # (2.08 - 0.4) / 0.7042 = 2.386. On both: (2.08 x 77.44 - 0.44 x (48 - 6.4) x 8.8) / (4 x 77.44 - 8.8^2) = 0.
        rows = []
        for count, completed, planned, lead, allowed in (
            (150, 54, 0.6, 0.2, 1), (50, 18, 0.6, 0.0, 1), (50, 48, 0.992, 0.2, attempts),
            (150, 144, 0.992, 0.0, attempts),
        ):  # fmt: skip
            rows += outcomes(count, completed, prefix=f"{planned}{lead}", planned_success=planned,
                             baseline_success=planned - lead, max_attempts=allowed)  # fmt: skip
        found = detect(hand_frames(rows, [wave_plan(1)], wave_draws=sure_draws(1), agent_evidence=evidence({})))
        test = found["optimization_failure_tests"].row(0, named=True)
        assert (test["effect"], test["statistic"]) == (pytest.approx(0.52), pytest.approx(2.386, abs=1e-3))
        assert test["effect_without_shared_loss"] == (None if effect is None else pytest.approx(effect, abs=1e-9))
        assert status_of(found)["optimization_failure"] == status
        assert ("a loss that all agents share" in found["anomaly_tests"]["reason"][3]) is (status == "explained")

    def test_an_advantage_that_came_is_clear(self, detect):
        assert status_of(detect(advantage(40, 30)))["optimization_failure"] == "clear"

    def test_where_every_task_fails_no_advantage_is_said_to_have_come(self, detect):
        # The tasks that gain from the plan had less to lose: lost 0.2 x 60 - 0.2 x 80 = -4 of Sum A^2 = 200 x 0.04 = 8,
        # as if half more than promised had come.
        rows = outcomes(100, 0, prefix="a", planned_success=0.6, baseline_success=0.4)
        rows += outcomes(100, 0, prefix="b", planned_success=0.8, baseline_success=1.0)
        found = detect(hand_frames(rows, [wave_plan(1)], wave_draws=sure_draws(1), agent_evidence=evidence({})))
        test = found["optimization_failure_tests"].row(0, named=True)
        assert (test["effect"], test["is_testable"]) == (pytest.approx(-0.5), True)
        assert status_of(found)["prediction_error"] == "found"
        assert status_of(found)["optimization_failure"] == "not_testable"
        assert "cannot be told from that" in found["anomaly_tests"]["reason"][3]
        assert found["anomaly_tests"]["missing_task_count"][3] is None

    def test_too_small_a_promise_is_not_testable_whatever_came(self, detect):
        found = detect(advantage(30, 40), optimization_failure_limit=0.8)
        assert found["optimization_failure_tests"]["is_testable"].to_list() == [False]
        assert status_of(found)["optimization_failure"] == "not_testable"


class TestPrecedence:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            ({}, None),
            ({"success_bias": 0.15}, "prediction_error"),
            ({"slowdown": 2.0, "slow_agent": 3}, "schedule_drift"),
            ({"drop": 0.5, "slow_agent": 2}, "performance_degradation"),
            ({"is_advantage_real": False}, "optimization_failure"),
        ],
        ids=["none", "bias", "slow agent", "falling agent", "no advantage"],
    )
    def test_one_cause_is_reported_once(self, detect, fault, kind):
        found = detect(synthetic_run(**LARGE, **fault))
        assert found["scheduling_anomalies"]["anomaly_type"].to_list() == [kind] * (kind is not None)

    def test_the_over_promise_of_a_falling_agent_is_explained_by_it(self, detect):
        # 20 of 160 short: beyond chance on its own, gone without agent_0.
        found = detect(halves(20, 20, 0, 20))
        assert found["prediction_error_tests"]["is_beyond_chance"].to_list() == [True]
        assert status_of(found)["prediction_error"] == "explained"
        assert "agents that degraded" in found["anomaly_tests"]["reason"][0]
        # With the peer 20 short too, over both waves, the rest is beyond chance as well.
        assert status_of(detect(halves(20, 8, 0, 8)))["prediction_error"] == "found"

    def test_the_over_promise_of_an_advantage_that_did_not_come_is_explained_by_it(self, detect):
        # 200 tasks planned 0.8 and 200 planned 0.6, all of chance 0.6 as round robin would have it: 40 short of 280,
        # (40 - 0.5 - 4) / sqrt(80) = 3.97, but as many as round robin's 240. A is 0.1 and -0.1: lost is 0.1 x 40 of 4.
        rows = outcomes(200, 120, planned_success=0.8, baseline_success=0.6)
        rows += outcomes(200, 120, prefix="b", planned_success=0.6, baseline_success=0.6)
        draws = {"wave_draws": sure_draws(1), "agent_evidence": evidence({})}
        found = detect(hand_frames(rows, [wave_plan(1)], **draws))
        assert found["optimization_failure_tests"]["effect"].to_list() == pytest.approx([1.0])
        assert status_of(found)["optimization_failure"] == "found"
        assert status_of(found)["prediction_error"] == "explained"
        assert "the failed optimization" in found["anomaly_tests"]["reason"][0]

    def test_agents_short_of_an_advantage_that_did_not_come_have_not_fallen(self, detect):
        # Of 60 tasks promised 0.9, not 0.5, agent_0 completes 12 and agent_1 36 in both waves; of 60 at 0.5 half.
        # agent_0 is 42 short a wave, agent_1 18: both fail their promise, and neither falls within the run.
        rows = [
            row
            for w in (1, 2)
            for a, came in enumerate((12, 36))
            for planned, completed in ((0.9, came), (0.5, 30))
            for row in outcomes(
                60, completed, prefix=f"{w}{a}{planned}", wave=w, agent_id=f"agent_{a}", planned_success=planned,
                baseline_success=0.5,
            )
        ]  # fmt: skip
        told = [{"wave": w, "agent_id": f"agent_{a}"} for w in (1, 2) for a in (0, 1)]
        draws = {"wave_draws": sure_draws(1, 2), "agent_evidence": evidence(*told)}
        found = detect(hand_frames(rows, [wave_plan(1), wave_plan(2)], **draws))
        fired = found["performance_degradation_tests"].filter("is_anomaly")
        assert set(fired.select("agent_id", "baseline").rows()) == {("agent_0", "record")}
        assert status_of(found) == {
            "prediction_error": "explained",
            "schedule_drift": "not_testable",
            "performance_degradation": "explained",
            "optimization_failure": "found",
        }

    def test_an_advantage_lost_by_a_falling_agent_alone_is_explained_by_it(self, detect):
        run = halves(20, 20, 0, 20)
        # agent_0's tasks were promised 0.2 above round robin, its peer's 0.2 below.
        lead = pl.when(agent_id="agent_0").then(0.3).otherwise(0.7)
        found = detect(run | {"executions": run["executions"].with_columns(baseline_success=lead)})
        row = found["optimization_failure_tests"].row(0, named=True)
        assert (row["is_beyond_chance"], row["is_anomaly"]) == (True, False)
        assert status_of(found) == {
            "prediction_error": "explained",
            "schedule_drift": "not_testable",
            "performance_degradation": "found",
            "optimization_failure": "explained",
        }


def test_a_run_of_three_waves_of_twelve_tasks_says_that_it_cannot_tell(detect):
    found = detect(synthetic_run(wave_count=3, tasks_a_wave=12, agent_count=4))
    told = dict(found["anomaly_tests"].select("anomaly_type", "detectable_effect").iter_rows())
    assert [name for name, status in status_of(found).items() if status == "not_testable"] == [
        "prediction_error",
        "performance_degradation",
        "optimization_failure",
    ]
    assert told["prediction_error"] > 0.2
    assert told["performance_degradation"] > 0.5
    assert told["optimization_failure"] > 1.0
    assert "No problem of a possible size would be detected reliably" in found["anomaly_tests"]["reason"][3]


def test_the_four_types_are_always_there_in_order_and_agree_with_the_anomalies(detect):
    for run in (synthetic_run(), synthetic_run(**LARGE, success_bias=0.3), over_promise(80)):
        found = detect(run)
        assert found["anomaly_tests"]["anomaly_type"].to_list() == TYPES
        for row in found["scheduling_anomalies"].to_dicts():
            test = found["anomaly_tests"].filter(anomaly_type=row["anomaly_type"]).row(0, named=True)
            assert test["status"] == "found"
            keys = ("effect", "effect_low", "effect_high", "statistic", "threshold")
            assert [row[key] for key in keys] == [test[key] for key in keys]
            assert row["effect_low"] <= row["effect"] <= row["effect_high"]
            assert row["evidence"] and row["affected_agents"] and row["affected_waves"]


def test_runs_without_a_fault_rarely_raise_alarms(detect):
    # Each of four types fires with probability 0.0125: 10 runs give 0.5 on average, more than 2 with 1.4 %.
    options = LARGE | {"wave_count": 6, "tasks_a_wave": 40, "agent_count": 4}
    found = [detect(synthetic_run(**options, seed=seed))["scheduling_anomalies"].height for seed in range(10)]
    assert sum(found) <= 2


def test_a_few_failures_among_confident_tasks_are_no_anomaly(detect):
    runs = (synthetic_run(seed=seed, tasks_a_wave=4, draw_count=256) for seed in range(6))
    assert sum(detect(run)["scheduling_anomalies"].height for run in runs) <= 1


def test_the_benchmark_plays_a_run_with_a_fault(tmp_path):
    found = list(measure(0, 0, ["slow"], tmp_path))
    assert [row.anomaly_type for row in found] == TYPES
    assert {row.fault for row in found} == {"slow"}

"""The data of the charts: cases worked by hand, and sums that add up on a real run."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phase19 import frames
from phase19.outputs import chart_data
from tests.synthetic import execution

IDLE = {
    "actual_start_time": None,
    "actual_end_time": None,
    "actual_duration_ms": None,
    "actual_confidence_delta": None,
}


def executions(*rows):
    return frames.EXECUTIONS.conform([execution(name, **figures) for name, figures in rows])


@pytest.fixture
def by_hand():
    """Two waves: agent_2 fails one of two tasks, agent_10 does one whose time is unknown, and one did not run."""
    failed = {"status": "failed", "actual_duration_ms": 4000.0, "actual_end_time": 4000.0, "is_censored": True}
    return executions(
        ("t10", {"agent_id": "agent_10", "planned_success": 0.5} | dict.fromkeys(list(IDLE)[:3])),
        ("t2", {"agent_id": "agent_2", "planned_success": 0.9, "scheduled_start_time": 1000.0}),
        ("t1", {"agent_id": "agent_2", "planned_success": 0.7, "planned_duration_ms": 2000.0} | failed),
        ("t3", {"agent_id": "agent_2", "planned_success": 0.8, "wave": 2, "status": "unobserved"} | IDLE),
    )


def test_a_timeline_is_sorted_as_a_person_reads_it(by_hand):
    rows = chart_data.timeline(by_hand)
    columns = "wave agent_id task_id status outcome planned_start_ms planned_end_ms actual_start_ms actual_end_ms"
    assert rows.columns == [*columns.split(), "planned_success"]
    assert rows["task_id"].to_list() == ["t1", "t2", "t10", "t3"]  # agent_2 before agent_10, t1 first of agent_2
    assert rows["outcome"].to_list() == ["failed", "succeeded", "succeeded", "not run"]
    assert rows["planned_start_ms"].to_list() == [0.0, 1000.0, 0.0, 0.0]
    assert rows["actual_end_ms"].to_list() == [4000.0, 1000.0, None, None]


def test_success_of_an_agents_wave(by_hand):
    rows = chart_data.agent_wave_success(by_hand).rows()
    # agent_2 in wave 1: (0.9 + 0.7) / 2 planned, 1 of 2; in wave 2 its only task did not run.
    assert rows == [(1, "agent_2", 2, 0.8, 0.5), (1, "agent_10", 1, 0.5, 1.0), (2, "agent_2", 0, 0.8, None)]


def test_success_of_waves_is_that_of_the_comparisons():
    ran = {"wave": 1, "ran_count": 4, "planned_success_rate": 0.9, "actual_success_rate": 0.75, "x": 1}
    ends = {"success_rate_low": 0.5, "success_rate_high": 1.0}
    idle = ran | {"wave": 2, "ran_count": 0, "actual_success_rate": None}
    rows = chart_data.wave_success({"schedule_comparisons": [ran | ends, idle | dict.fromkeys(ends)]})
    assert rows.columns == ["wave", "ran_count", "planned", "actual", "low", "high"]
    assert rows.rows() == [(1, 4, 0.9, 0.75, 0.5, 1.0), (2, 0, 0.9, None, None, None)]


def test_durations_are_those_of_tasks_with_a_known_time(by_hand):
    rows = chart_data.durations(by_hand)
    assert rows.rows() == [
        ("t2", "agent_2", "completed", 1000.0, 1000.0, False, True),
        ("t1", "agent_2", "failed", 2000.0, 4000.0, True, True),
    ]
    assert rows.columns[3:] == ["planned_ms", "actual_ms", "is_censored", "is_duration_measured"]


def test_success_of_agents(by_hand):
    names = ("agent_id", "task_count", "busy_ms", "utilization", "success_rate_low", "success_rate_high")
    told = [
        ("agent_2", 3, 5000.0, 0.5, 0.5, 1.0),
        ("agent_10", 1, None, None, 0.0, 1.0),
        ("a", 0, 0.0, 0.0, None, None),
    ]
    health = {"agent_utilization": [dict(zip(names, row, strict=True)) for row in told]}
    rows = chart_data.agent_success({"system_health": health}, by_hand)
    columns = "agent_id task_count ran_count planned actual low high utilization time_ratio"
    assert rows.columns == columns.split()
    assert rows.rows() == [
        ("agent_2", 3, 2, 0.8, 0.5, 0.5, 1.0, 0.5, pytest.approx(5 / 3)),  # 5 s for 1 + 2 s
        ("agent_10", 1, 1, 0.5, 1.0, 0.0, 1.0, None, None),
        ("a", 0, 0, None, None, None, None, 0.0, None),
    ]


def test_strategies_cover_the_tasks_that_ran_or_all():
    metrics = {"expected_success_rate": 0.8, "actual_success_rate": 0.75, "baseline_success_rate": 0.7}
    metrics |= {"success_rate_low": 0.6, "success_rate_high": 0.9}
    metrics |= {"baseline_success_rate_low": 0.5, "baseline_success_rate_high": 0.85}
    yardsticks = {"planned_success_rate": 0.81, "round_robin_success_rate": 0.71}
    yardsticks |= {"best_single_agent_success_rate": 0.78}
    ran, idle = (
        chart_data.strategies({"optimization_summary": {"overall_metrics": figures, "yardsticks": yardsticks}})
        for figures in (metrics, dict.fromkeys(metrics))
    )
    assert ran.columns == ["name", "planned", "low", "high", "actual"]
    assert ran.rows() == [
        ("this plan", 0.8, 0.6, 0.9, 0.75),
        ("round robin", 0.7, 0.5, 0.85, None),
        ("best single agent", 0.78, None, None, None),
    ]
    assert idle["planned"].to_list() == [0.81, 0.71, 0.78]
    assert idle.drop("name", "planned").null_count().row(0) == (3, 3, 3)


class TestReliability:
    def test_by_hand(self):
        # 12 tasks make two bins of six. Four of the first and all of the second succeed.
        rows = [
            (f"t{i}", {"planned_success": 0.5 + i / 24, "status": "failed" if i in {1, 4} else "completed"})
            for i in range(12)
        ]
        found = chart_data.reliability(executions(*rows))
        assert found.columns == ["count", "planned", "actual", "low", "high"]
        assert found["count"].to_list() == [6, 6]
        assert found["planned"].to_list() == pytest.approx([0.5 + 2.5 / 24, 0.5 + 8.5 / 24])
        assert found["actual"].to_list() == pytest.approx([4 / 6, 1.0])
        assert found["low"].to_list() == pytest.approx([stats.beta.ppf(0.05, 4.5, 2.5), stats.beta.ppf(0.05, 6.5, 0.5)])
        assert found["high"].to_list() == pytest.approx([stats.beta.ppf(0.95, 4.5, 2.5), 1.0])

    def test_the_interval_of_no_success_starts_at_0(self):
        found = chart_data.reliability(executions(*((f"t{i}", {"status": "failed"}) for i in range(5))))
        assert found.row(0) == (5, pytest.approx(0.9), 0.0, 0.0, pytest.approx(stats.beta.ppf(0.95, 0.5, 5.5)))

    def test_equal_forecasts_stay_in_one_bin(self):
        rows = [(f"t{i}", {"planned_success": 0.3 if i < 15 else 0.6 + i / 100}) for i in range(25)]
        assert chart_data.reliability(executions(*rows))["count"].to_list() == [15, 5, 5]

    def test_groups_have_the_bins_of_all_tasks(self):
        # The five tasks with the lowest forecasts are of one agent, and so are two of the others.
        low, high = ("agent_10", "agent_2"), (0.4, 0.9)
        rows = [
            (f"t{i}", {"agent_id": low[i >= 7], "planned_success": high[i >= 5] + i / 1000, "risk_level": "HIGH"})
            for i in range(10)
        ]
        found = chart_data.reliability(executions(*rows), by=("agent_id",))
        assert found.select("agent_id", "count").rows() == [("agent_2", 3), ("agent_10", 5), ("agent_10", 2)]
        assert found["planned"].to_list() == pytest.approx([0.908, 0.402, 0.9055])
        assert chart_data.reliability(executions(*rows), by=("wave", "risk_level"))["wave"].to_list() == [1, 1]

    def test_no_task_that_ran_is_no_bin(self):
        idle = executions(("t1", {"status": "interrupted"} | IDLE))
        assert chart_data.reliability(idle).height == chart_data.durations(idle).height == 0
        assert chart_data.reliability(idle).schema["low"] == pl.Float64

    @given(st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.8, 0.91, 0.92, 0.99]), st.booleans()), max_size=80))
    def test_bins_add_up(self, outcomes):
        rows = pl.DataFrame(
            {
                "planned_success": [p for p, _ in outcomes],
                "status": ["completed" if won else "failed" for _, won in outcomes],
            },
            {"planned_success": pl.Float64, "status": pl.String},
        )
        found = chart_data.reliability(rows)
        assert found["count"].sum() == len(outcomes)
        assert found.height <= min(10, max(1, len(outcomes) // 5))
        assert found["planned"].is_sorted()
        for rate, total in (("planned", sum(p for p, _ in outcomes)), ("actual", sum(won for _, won in outcomes))):
            assert (found[rate] * found["count"]).sum() == pytest.approx(total)
        assert (
            found.select((pl.col("low") <= pl.col("actual")) & (pl.col("actual") <= pl.col("high"))).to_series().all()
        )


def test_counts_add_up_in_a_run(sample_run):
    rows, files = sample_run.executions, sample_run.files
    ran = rows.filter(frames.has_run()).height
    assert chart_data.timeline(rows).height == rows.height
    agents, waves = chart_data.agent_success(files, rows), chart_data.agent_wave_success(rows)
    for frame in (chart_data.wave_success(files), waves, agents):
        assert frame["ran_count"].sum() == ran
        assert (frame["ran_count"] * frame["actual"]).sum() == files["optimization_summary"]["task_counts"]["completed"]
    assert agents["task_count"].sum() == rows.height
    assert chart_data.reliability(rows)["count"].sum() == chart_data.durations(rows).height == ran
    assert chart_data.strategies(files)["planned"][0] == pytest.approx(rows["planned_success"].mean())
    assert agents.select((pl.col("low") <= pl.col("planned")) | (pl.col("low") == 1.0)).to_series().all()

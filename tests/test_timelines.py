"""Timelines by hand: end to end, never overlapping, and what did not run takes no time."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19 import frames
from phase19.options import PriorityStrategy
from phase19.timelines import adherence, largest, mean, schedule, settle, utilization
from tests.builders import tasks

RAN = ["completed", "failed"]


def planned(*rows):
    """Rows (task, agent, duration, success) as planning hands them over; an agent's place is its number."""
    return pl.DataFrame(
        [
            {
                "task_id": task,
                "agent_id": f"a{agent}",
                "agent": agent,
                "planned_duration_ms": float(ms),
                "planned_success": success,
                "baseline_success": 0.5,
            }
            for task, agent, ms, success in rows
        ]
    )


def scheduled(*rows, strategy=PriorityStrategy.RISK_CONFIDENCE):
    frame = planned(*rows)
    return schedule(tasks(*({"task_id": task} for task in frame["task_id"])), frame, strategy)


def happened(*rows):
    """Rows (task, agent, status, attempts, duration)."""
    return frames.OUTCOMES.conform(
        [
            {
                "task_id": task,
                "agent_id": f"a{agent}",
                "status": status,
                "attempt_count": attempts,
                "actual_duration_ms": ms,
                "actual_confidence_delta": None if ms is None else 0.01,
            }
            for task, agent, status, attempts, ms in rows
        ]
    )


def times(frame, kind, task):
    row = frame.row(by_predicate=pl.col("task_id") == task, named=True)
    return row[f"{kind}_start_time"], row[f"{kind}_end_time"]


@pytest.fixture
def plan():
    # Agent 1 does b then d, agent 0 does a, c, e in order of id: all tasks are alike.
    return scheduled(("d", 1, 40, 0.5), ("a", 0, 100, 0.5), ("c", 0, 50, 0.5), ("b", 1, 300, 0.5), ("e", 0, 25, 0.5))


def test_a_schedule_by_hand(plan):
    assert plan["task_id"].to_list() == ["a", "c", "e", "b", "d"]
    assert plan["priority"].to_list() == [1, 3, 5, 2, 4]
    assert plan["scheduled_start_time"].to_list() == [0.0, 100.0, 150.0, 0.0, 300.0]
    assert plan["scheduled_end_time"].to_list() == [100.0, 150.0, 175.0, 300.0, 340.0]


def test_agents_stand_in_natural_order_not_in_the_order_of_their_names():
    rows = planned(("a", 10, 1, 0.5), ("b", 2, 1, 0.5)).with_columns(agent_id=pl.format("agent_{}", "agent"))
    assert schedule(tasks({"task_id": "a"}, {"task_id": "b"}), rows)["agent_id"].to_list() == ["agent_2", "agent_10"]


def test_specialization_ranks_by_the_advantage_over_round_robin():
    rows = (("a", 0, 10, 0.4), ("b", 0, 20, 0.9), ("c", 0, 40, 0.6))
    plan = scheduled(*rows, strategy=PriorityStrategy.AGENT_SPECIALIZATION)
    assert plan["task_id"].to_list() == ["b", "c", "a"]
    assert plan["scheduled_end_time"].to_list() == [20.0, 60.0, 70.0]


def test_settling_by_hand_an_unobserved_task_in_the_middle_takes_no_time(plan):
    settled = settle(
        plan,
        happened(
            ("d", 1, "failed", 3, 60.0),
            ("b", 1, "completed", 1, 200.0),
            ("c", 0, "unobserved", 0, None),
            ("e", 0, "completed", 2, 30.0),
            ("a", 0, "completed", 1, 80.0),
        ),
    )
    assert settled["task_id"].to_list() == plan["task_id"].to_list()
    assert times(settled, "actual", "a") == (0.0, 80.0)
    assert times(settled, "actual", "c") == (None, None)
    assert times(settled, "actual", "e") == (80.0, 110.0)
    assert times(settled, "actual", "b") == (0.0, 200.0)
    assert times(settled, "actual", "d") == (200.0, 260.0)
    assert dict(zip(settled["task_id"], settled["retry_count"], strict=True)) == {
        "a": 0,
        "c": 0,
        "e": 1,
        "b": 0,
        "d": 2,
    }
    # |start| + |end| shifts: a 0 + 20, e 70 + 65, b 0 + 100, d 100 + 80; halves 10 + 67.5 + 50 + 90 = 217.5;
    # mean 54.375 over four; the timeline ends at 340: 1 - 54.375 / 340.
    assert adherence(settled) == pytest.approx(1 - 54.375 / 340)
    # Makespan 260; busy: a0 80 + 30, a1 200 + 60, a2 idle.
    assert utilization(settled, ["a0", "a1", "a2"]) == pytest.approx({"a0": 110 / 260, "a1": 1.0, "a2": 0.0})


def test_a_plan_kept_to_the_millisecond_has_adherence_1(plan):
    rows = plan.select("task_id", "agent", status=pl.lit("completed"), n=1, ms="planned_duration_ms").rows()
    settled = settle(plan, happened(*rows))
    assert adherence(settled) == 1.0


def test_adherence_is_never_below_0(plan):
    rows = plan.select("task_id", "agent", status=pl.lit("completed"), n=1, ms=pl.lit(1e6)).rows()
    assert adherence(settle(plan, happened(*rows))) == 0.0


@pytest.mark.parametrize("status", ["unobserved", "interrupted"])
def test_where_nothing_ran_there_is_no_figure(plan, status):
    rows = plan.select("task_id", "agent", status=pl.lit(status), n=0, ms=pl.lit(None, pl.Float64)).rows()
    settled = settle(plan, happened(*rows))
    assert adherence(settled) is None
    assert utilization(settled, ["a0", "a1"]) == {}
    assert mean(settled["actual_duration_ms"]) is None
    assert largest(settled["actual_end_time"]) is None


def test_a_wave_of_no_length():
    plan = scheduled(("a", 0, 0, 0.5))
    assert adherence(settle(plan, happened(("a", 0, "completed", 1, 0.0)))) == 1.0
    assert adherence(settle(plan, happened(("a", 0, "completed", 1, 5.0)))) == 0.0
    assert utilization(settle(plan, happened(("a", 0, "completed", 1, 0.0))), ["a0"]) == {}


def test_means_and_maxima_of_integers_are_floats():
    assert (mean(pl.Series([1, 2])), largest(pl.Series([1, 2]))) == (1.5, 2.0)
    assert isinstance(largest(pl.Series([1, 2])), float)
    assert mean(pl.Series([], dtype=pl.Int64)) is None


ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.floats(0.0, 1e6),
        st.sampled_from([*RAN, "unobserved", "interrupted"]),
        st.floats(0.0, 1e6),
    ),
    min_size=1,
    max_size=12,
)


@given(ROWS)
def test_timelines_never_overlap_and_leave_no_gap(rows):
    plan = scheduled(*((f"t{i:02}", agent, ms, 0.5) for i, (agent, ms, _, _) in enumerate(rows)))
    settled = settle(
        plan,
        happened(
            *(
                (f"t{i:02}", agent, status, *((1, ms) if status in RAN else (0, None)))
                for i, (agent, _, status, ms) in enumerate(rows)
            )
        ),
    )
    ran = settled.filter(pl.col("status").is_in(RAN))
    for frame, kind, duration in (
        (settled, "scheduled", "planned_duration_ms"),
        (ran, "actual", "actual_duration_ms"),
    ):
        for queue in frame.partition_by("agent_id"):
            starts, ends = (queue[f"{kind}_{edge}_time"].to_list() for edge in ("start", "end"))
            assert starts == [0.0, *ends[:-1]]
            assert ends == pytest.approx(queue[duration].cum_sum().to_list())
            assert queue["priority"].is_sorted()
    idle = settled.filter(~pl.col("status").is_in(RAN))
    assert idle["actual_start_time"].null_count() == idle["actual_end_time"].null_count() == idle.height
    assert sorted(settled["priority"]) == list(range(1, len(rows) + 1))
    kept = adherence(settled)
    assert (kept is None) == ran.is_empty()
    assert kept is None or 0.0 <= kept <= 1.0
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in utilization(settled, ["a0", "a1", "a2", "a3"]).values())

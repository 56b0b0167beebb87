"""Timelines by hand: end to end, never overlapping, and a task that did not run takes no time."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19 import AdaptiveScheduler, frames
from phase19.execution.protocol import Execution, attempt_rows

RAN = ["completed", "failed"]


class Told:
    """An executor whose outcomes are given: (task, attempts, success, duration of each attempt)."""

    is_simulated = False
    most_attempts = None

    def __init__(self, *outcomes, is_interrupted=False):
        self.outcomes, self.is_interrupted = outcomes, is_interrupted

    def execute(self, orders):
        rows = [
            {
                "task_id": task,
                "attempt": k,
                "is_success": won and k == count,
                "duration_ms": ms,
                "confidence_delta": None,
            }
            for task, count, won, ms in self.outcomes
            for k in range(1, count + 1)
        ]
        schema = {
            name: frames.ATTEMPTS.columns[name].dtype for name in ("task_id", "attempt", "is_success", "duration_ms")
        }
        made = pl.DataFrame(rows, schema={**schema, "confidence_delta": pl.Float64})
        return Execution(attempt_rows(orders, made), is_interrupted=self.is_interrupted)


def schedule(*rows, priority="risk_confidence"):
    """A scheduler, and the scheduled rows of (task, agent, duration, planned success)."""
    scheduler = AdaptiveScheduler(priority=priority, max_retries=2)
    tasks = [{"task_id": task, "risk_level": "LOW"} for task, *_ in rows]
    plans = pl.DataFrame(
        [
            {
                "task_id": task,
                "wave": 1,
                "planned_duration_ms": float(ms),
                "planned_success": p,
                "baseline_success": 0.5,
            }
            for task, _, ms, p in rows
        ]
    )
    missing = [name for name in frames.PLANS.columns if name not in plans.columns]
    filled = {"wave": 1, "max_attempts": 3, "confidence": 0.7, "confidence_boost": 0.0, "updated_confidence": 0.7}
    plans = plans.with_columns(
        pl.lit(filled.get(name)).cast(frames.PLANS.columns[name].dtype).alias(name) for name in missing
    ).with_columns(risk_level=pl.lit("LOW"), heuristics_applied=pl.lit([], dtype=pl.List(pl.String)))
    agents = sorted({agent for _, agent, *_ in rows})
    assigned = {f"agent_{agent}": [task for task, own, *_ in rows if own == agent] for agent in agents}
    return scheduler, scheduler.assign_tasks_to_agents(tasks, assigned, plans=plans)


def times(frame, kind, task):
    row = frame.row(by_predicate=pl.col("task_id") == task, named=True)
    return row[f"{kind}_start_time"], row[f"{kind}_end_time"]


@pytest.fixture
def plan():
    # agent_1 does b then d, agent_0 does a, c, e in the order of their ids: all tasks are alike.
    return schedule(("d", 1, 40, 0.5), ("a", 0, 100, 0.5), ("c", 0, 50, 0.5), ("b", 1, 300, 0.5), ("e", 0, 25, 0.5))


def test_a_schedule_by_hand(plan):
    _, rows = plan
    assert rows["task_id"].to_list() == ["a", "c", "e", "b", "d"]
    assert rows["priority"].to_list() == [1, 3, 5, 2, 4]
    assert rows["scheduled_start_time"].to_list() == [0.0, 100.0, 150.0, 0.0, 300.0]
    assert rows["scheduled_end_time"].to_list() == [100.0, 150.0, 175.0, 300.0, 340.0]


def test_agents_keep_the_order_of_the_assignment_not_of_their_names():
    _, rows = schedule(("a", 10, 1, 0.5), ("b", 2, 1, 0.5))
    assert rows["agent_id"].to_list() == ["agent_2", "agent_10"]


def test_specialization_ranks_by_the_advantage_over_round_robin():
    _, rows = schedule(("a", 0, 10, 0.4), ("b", 0, 20, 0.9), ("c", 0, 40, 0.6), priority="agent_specialization")
    assert rows["task_id"].to_list() == ["b", "c", "a"]
    assert rows["scheduled_end_time"].to_list() == [20.0, 60.0, 70.0]


def test_an_unobserved_task_in_the_middle_takes_no_time(plan):
    scheduler, rows = plan
    scheduler.executor = Told(("d", 3, False, 20.0), ("b", 1, True, 200.0), ("e", 2, True, 15.0), ("a", 1, True, 80.0))
    scheduler.agents = ["agent_0", "agent_1", "agent_2"]
    done = scheduler.execute_schedule(1, rows)
    assert done.executions["task_id"].to_list() == rows["task_id"].to_list()
    assert times(done.executions, "actual", "a") == (0.0, 80.0)
    assert times(done.executions, "actual", "c") == (None, None)
    assert times(done.executions, "actual", "e") == (80.0, 110.0)
    assert times(done.executions, "actual", "b") == (0.0, 200.0)
    assert times(done.executions, "actual", "d") == (200.0, 260.0)
    retries = dict(done.executions.select("task_id", "retry_count").rows())
    assert retries == {"a": 0, "c": 0, "e": 1, "b": 0, "d": 2}
    # |start| + |end| shifts: a 0 + 20, e 70 + 65, b 0 + 100, d 100 + 80; halves 10 + 67.5 + 50 + 90 = 217.5;
    # mean 54.375 over four; the timeline ends at 340: 1 - 54.375 / 340.
    assert done.schedule_adherence == pytest.approx(1 - 54.375 / 340)
    # Makespan 260; busy: agent_0 80 + 30, agent_1 200 + 60, agent_2 idle.
    assert done.agent_utilization == pytest.approx({"agent_0": 110 / 260, "agent_1": 1.0, "agent_2": 0.0})


@pytest.mark.parametrize(("factor", "adherence"), [(1.0, 1.0), (1e4, 0.0)])
def test_adherence_is_1_where_the_plan_is_kept_and_never_below_0(plan, factor, adherence):
    scheduler, rows = plan
    kept = rows.select("task_id", n=1, won=True, ms=pl.col("planned_duration_ms") * factor).rows()
    scheduler.executor = Told(*kept)
    assert scheduler.execute_schedule(1, rows).schedule_adherence == adherence


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_where_nothing_ran_there_is_no_figure(plan, is_interrupted):
    scheduler, rows = plan
    scheduler.executor = Told(is_interrupted=is_interrupted)
    done = scheduler.execute_schedule(1, rows)
    assert set(done.executions["status"]) == {"interrupted" if is_interrupted else "unobserved"}
    assert (done.success_rate, done.makespan_ms, done.schedule_adherence, done.agent_utilization) == (
        None,
        None,
        None,
        {},
    )
    assert done.is_interrupted is is_interrupted


@pytest.mark.parametrize(("actual_ms", "adherence"), [(0.0, 1.0), (5.0, 0.0)])
def test_a_wave_of_no_length(actual_ms, adherence):
    scheduler, rows = schedule(("a", 0, 0, 0.5))
    scheduler.executor = Told(("a", 1, True, actual_ms))
    done = scheduler.execute_schedule(1, rows)
    assert done.schedule_adherence == adherence
    assert done.agent_utilization == ({} if actual_ms == 0 else {"agent_0": 1.0})


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0.0, 1e6), st.sampled_from([*RAN, "unobserved"]), st.floats(0.0, 1e6)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20)
@given(ROWS)
def test_timelines_never_overlap_and_leave_no_gap(rows):
    scheduler, plan = schedule(*((f"t{i:02}", agent, ms, 0.5) for i, (agent, ms, _, _) in enumerate(rows)))
    scheduler.executor = Told(
        *((f"t{i:02}", 1, status == "completed", ms) for i, (_, _, status, ms) in enumerate(rows) if status in RAN)
    )
    done = scheduler.execute_schedule(1, plan)
    ran = done.executions.filter(pl.col("status").is_in(RAN))
    for frame, kind, duration in (
        (done.executions, "scheduled", "planned_duration_ms"),
        (ran, "actual", "actual_duration_ms"),
    ):
        for queue in frame.partition_by("agent_id"):
            starts, ends = (queue[f"{kind}_{edge}_time"].to_list() for edge in ("start", "end"))
            assert starts == [0.0, *ends[:-1]]
            assert ends == pytest.approx(queue[duration].cum_sum().to_list())
            assert queue["priority"].is_sorted()
    idle = done.executions.filter(~pl.col("status").is_in(RAN))
    assert idle["actual_start_time"].null_count() == idle["actual_end_time"].null_count() == idle.height
    assert sorted(done.executions["priority"]) == list(range(1, len(rows) + 1))
    kept = done.schedule_adherence
    assert (kept is None) == ran.is_empty()
    assert kept is None or 0.0 <= kept <= 1.0
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in done.agent_utilization.values())

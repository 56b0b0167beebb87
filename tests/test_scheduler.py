"""AdaptiveScheduler: timelines, priorities, loads, failures and adherence, worked by hand."""

from __future__ import annotations

import json

import polars as pl
import pytest

from phase19 import AdaptiveScheduler
from phase19.errors import UsageError
from phase19.execution.replay import ReplayExecutor
from phase19.frames import ATTEMPTS
from phase19.scheduler import SchedulerParameters

TASKS = [
    {"task_id": "low", "risk_level": "LOW", "confidence": 0.9, "estimated_duration_ms": 10.0, "deadline_ms": 90.0},
    {"task_id": "mid", "risk_level": "MEDIUM", "confidence": 0.8, "estimated_duration_ms": 20.0, "deadline_ms": 40.0},
    {"task_id": "top", "risk_level": "HIGH", "confidence": 0.95, "estimated_duration_ms": 30.0},
]


def executor(*rows: tuple[str, str, int, bool, float]) -> ReplayExecutor:
    keys = ("task_id", "agent_id", "attempt", "is_success", "duration_ms")
    return ReplayExecutor(ATTEMPTS.conform([{**dict(zip(keys, row, strict=True)), "source": "run"} for row in rows]))


@pytest.fixture
def scheduler() -> AdaptiveScheduler:
    return AdaptiveScheduler()


@pytest.fixture
def scheduled(scheduler) -> pl.DataFrame:
    return scheduler.assign_tasks_to_agents(TASKS, {"a": ["top", "low"], "b": ["mid"]})


class TestAdaptiveScheduler:
    def test_assign_tasks_to_agents(self, scheduled):
        rows = scheduled.select("agent_id", "task_id", "priority", "scheduled_start_time", "scheduled_end_time").rows()
        # LOW at 0.9 comes first, then MEDIUM at 0.8, then HIGH at 0.95; a does low (10 ms), then top (30 ms).
        assert rows == [("a", "low", 1, 0.0, 10.0), ("a", "top", 3, 10.0, 40.0), ("b", "mid", 2, 0.0, 20.0)]

    def test_refuses_an_assignment_that_is_not_one(self, scheduler):
        for wrong in ({"a": ["low", "mid"]}, {"a": ["low", "mid", "top"], "b": ["low"]}):
            with pytest.raises(UsageError, match="every task exactly once"):
                scheduler.assign_tasks_to_agents(TASKS, wrong)

    def test_prioritize_tasks_risk_confidence(self, scheduler):
        tasks = [
            {"task_id": "high", "risk_level": "HIGH", "confidence": 0.92},
            {"task_id": "unsure", "risk_level": "LOW", "confidence": 0.6},
            {"task_id": "medium", "risk_level": "MEDIUM", "confidence": 0.76},
            {"task_id": "sure", "risk_level": "LOW", "confidence": 0.9},
            {"task_id": "fair", "risk_level": "LOW", "confidence": 0.75},
        ]
        ranked = scheduler.prioritize_tasks(tasks)
        assert ranked["task_id"].to_list() == ["sure", "fair", "medium", "high", "unsure"]
        assert ranked["priority"].to_list() == [1, 2, 3, 4, 5]

    def test_prioritize_tasks_by_deadline_and_by_specialization(self, scheduler):
        assert scheduler.prioritize_tasks(TASKS, "deadline")["task_id"].to_list() == ["mid", "low", "top"]
        advantage = [{**task, "advantage": value} for task, value in zip(TASKS, (0.1, 0.0, 0.3), strict=True)]
        assert scheduler.prioritize_tasks(advantage, "agent_specialization")["task_id"].to_list() == [
            "top",
            "low",
            "mid",
        ]

    def test_adjust_for_agent_load(self, scheduler):
        tasks = [
            {"task_id": f"t{i}", "risk_level": "LOW", "confidence": 0.9, "estimated_duration_ms": 10.0}
            for i in range(4)
        ]
        lopsided = scheduler.assign_tasks_to_agents(tasks, {"a": ["t0", "t1", "t2", "t3"], "b": []})
        adjusted = scheduler.adjust_for_agent_load(lopsided, ["a", "b"])
        # 40 ms on a against a mean of 20: over 1.25 x 20 = 25, so tasks move until a holds 20.
        loads = adjusted.group_by("agent_id").agg(pl.col("planned_duration_ms").sum()).sort("agent_id")
        assert loads.rows() == [("a", 20.0), ("b", 20.0)]
        assert sorted(adjusted["task_id"]) == [task["task_id"] for task in tasks]
        assert (
            adjusted.group_by("agent_id").agg(pl.col("scheduled_end_time").max()).sort("agent_id").rows()
            == loads.rows()
        )

    def test_optimize_task_ordering(self, scheduler, scheduled):
        reordered = scheduler.optimize_task_ordering(scheduled.filter(pl.col("agent_id") == "a"), TASKS, "deadline")
        assert reordered["task_id"].to_list() == ["low", "top"]  # low is due at 90 ms, top never
        assert reordered.columns == scheduled.columns

    def test_execute_schedule_dry_run(self, scheduler, scheduled):
        records = executor(("low", "a", 1, True, 15.0), ("top", "a", 1, False, 25.0), ("mid", "b", 1, False, 20.0),
                           ("mid", "b", 2, True, 10.0))  # fmt: skip
        run = scheduler.execute_schedule(scheduled, records)
        # low 0-15, top 15-40 (HIGH is not retried), mid fails for 20 ms and succeeds in 10 more.
        found = run.executions.select("task_id", "status", "actual_start_time", "actual_end_time", "retry_count").rows()
        assert found == [
            ("low", "completed", 0.0, 15.0, 0),
            ("top", "failed", 15.0, 40.0, 0),
            ("mid", "completed", 0.0, 30.0, 1),
        ]
        assert run.success_rate == pytest.approx(2 / 3)
        assert run.makespan_ms == 40.0
        assert run.agent_utilization == {"a": 1.0, "b": 0.75}

    def test_simulate_task_execution(self, scheduler, scheduled):
        records = executor(("low", "a", 1, False, 5.0), ("low", "a", 2, True, 6.0))
        row = scheduler.simulate_task_execution(scheduled, "low", records)
        assert (row["status"], row["attempt_count"], row["actual_duration_ms"]) == ("completed", 2, 11.0)
        with pytest.raises(UsageError, match="'nowhere'"):
            scheduler.simulate_task_execution(scheduled, "nowhere", records)

    def test_calculate_schedule_adherence(self, scheduler, scheduled):
        records = executor(("low", "a", 1, True, 15.0), ("top", "a", 1, True, 30.0), ("mid", "b", 1, True, 20.0))
        run = scheduler.execute_schedule(scheduled, records)
        # low 0-15 for 0-10: (0 + 5) / 2; top 15-45 for 10-40: (5 + 5) / 2; mid as planned: mean 7.5 / 3 = 2.5;
        # the timeline ends at 40: 1 - 2.5 / 40 = 0.9375.
        assert scheduler.calculate_schedule_adherence(run.executions) == pytest.approx(0.9375)
        nothing = scheduler.execute_schedule(scheduled, executor(("other", "a", 1, True, 1.0)))
        assert nothing.schedule_adherence is None
        assert nothing.success_rate is None
        assert set(nothing.executions["status"]) == {"unobserved"}

    def test_handle_task_failure_retry(self):
        scheduler = AdaptiveScheduler(SchedulerParameters(max_retries=2))
        failed = [
            {"task_id": "first", "risk_level": "LOW", "attempt": 1, "confidence": 0.8},
            {"task_id": "last", "risk_level": "MEDIUM", "attempt": 3, "confidence": 0.7},
            {"task_id": "never", "risk_level": "HIGH", "attempt": 1, "confidence": 0.9},
            {"task_id": "floor", "risk_level": "LOW", "attempt": 2, "confidence": 0.07},
        ]
        decided = scheduler.handle_task_failure(failed).select(
            "task_id", "is_retried", "next_attempt", "next_confidence"
        )
        # 0.8 - 0.05 = 0.75; the third attempt was the last; HIGH is never retried; 0.07 - 0.05 stays at 0.05.
        assert decided.rows() == [
            ("first", True, 2, pytest.approx(0.75)),
            ("last", False, None, None),
            ("never", False, None, None),
            ("floor", True, 3, 0.05),
        ]

    def test_get_agent_utilization_counts_idle_agents(self, scheduler, scheduled):
        run = scheduler.execute_schedule(scheduled, executor(("low", "a", 1, True, 8.0), ("mid", "b", 1, True, 16.0)))
        assert scheduler.get_agent_utilization(run.executions, ["a", "b", "c"]) == {"a": 0.5, "b": 1.0, "c": 0.0}

    def test_write_schedule_outputs(self, scheduler, scheduled, tmp_path):
        run = scheduler.execute_schedule(scheduled, executor(("low", "a", 1, True, 10.0)))
        rows_path, document_path = scheduler.write_schedule_outputs(run, tmp_path / "schedule")
        rows = [json.loads(line) for line in rows_path.read_text().splitlines()]
        assert [(row["task_id"], row["status"]) for row in rows] == [
            ("low", "completed"),
            ("top", "unobserved"),
            ("mid", "unobserved"),
        ]
        assert rows[1]["actual_start_time"] is None
        document = json.loads(document_path.read_text())
        assert document["success_rate"] == 1.0
        assert document["makespan_ms"] == 10.0

    @pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"max_load_factor": 0.9}])
    def test_parameters_are_bounded(self, wrong):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            SchedulerParameters(**wrong)

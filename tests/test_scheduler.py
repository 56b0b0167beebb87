"""AdaptiveScheduler: timelines, priorities, loads, failures and adherence, worked by hand."""

from __future__ import annotations

import json

import polars as pl
import pytest

from phase19 import AdaptiveOptimizer, AdaptiveScheduler, PlanOptions
from phase19.errors import UsageError
from phase19.execution.replay import ReplayExecutor
from phase19.frames import ATTEMPTS
from phase19.inputs.loading import Inputs
from tests.builders import agents, tasks

AGENTS = ["good", "poor", "idle"]
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
        adjusted = scheduler.adjust_for_agent_load(lopsided)
        # 40 ms on a against a mean of 20: over 1.25 x 20 = 25, so tasks move until a holds 20.
        loads = adjusted.group_by("agent_id").agg(pl.col("planned_duration_ms").sum()).sort("agent_id")
        assert loads.rows() == [("a", 20.0), ("b", 20.0)]
        assert sorted(adjusted["task_id"]) == [task["task_id"] for task in tasks]

    def test_adjust_for_agent_load_of_a_planned_wave_takes_its_rows_in_any_order(self, scheduler):
        tasks = [
            {"task_id": f"t{i}", "confidence": 0.9 - i / 50, "estimated_duration_ms": 10.0 + 9 * i} for i in range(9)
        ]
        optimizer = AdaptiveOptimizer(options=PlanOptions(capacity=8))
        optimizer.observe(
            [
                {"task_id": f"old{i}", "agent_id": agent, "is_success": agent == "good"}
                for i in range(9)
                for agent in AGENTS
            ]
        )
        planned = optimizer.calculate_optimal_schedule(tasks, AGENTS)
        moved = scheduler.adjust_for_agent_load(planned.plans, planned.wave)
        assert not moved["agent_id"].equals(planned.plans["agent_id"])
        backwards = scheduler.adjust_for_agent_load(planned.plans.reverse(), planned.wave)
        assert backwards["agent_id"].equals(moved["agent_id"].reverse())

    def test_optimize_task_ordering(self, scheduler, scheduled):
        reordered = scheduler.optimize_task_ordering(scheduled.filter(pl.col("agent_id") == "a"), TASKS, "deadline")
        assert reordered["task_id"].to_list() == ["low", "top"]  # low is due at 90 ms, top never
        assert reordered.columns == scheduled.columns

    def test_execute_schedule_measures_what_happened(self, scheduler, scheduled):
        records = executor(("low", "a", 1, True, 15.0), ("top", "a", 1, False, 25.0), ("mid", "b", 1, False, 20.0),
                           ("mid", "b", 2, True, 10.0))  # fmt: skip
        scheduler.executor = records
        run = scheduler.execute_schedule(1, scheduled)
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

    def test_execute_schedule_dry_run(self, scheduler, scheduled):
        """Without records a task's chance is about its confidence, and the same seed gives the same outcomes."""
        first, again = (scheduler.execute_schedule(1, scheduled) for _ in range(2))
        assert first.executions.equals(again.executions)
        assert set(first.executions["status"]) <= {"completed", "failed"}
        assert first.executions["actual_duration_ms"].to_list() != scheduled["planned_duration_ms"].to_list()
        other = AdaptiveScheduler(seed=1).execute_schedule(1, scheduled)
        assert not other.executions.equals(first.executions)
        assert first.schedule_adherence == scheduler.calculate_schedule_adherence(first.executions)
        assert not first.is_interrupted

    def test_simulate_task_execution(self, scheduler, scheduled):
        wave = scheduler.execute_schedule(1, scheduled)
        row = scheduled.row(0, named=True)
        attempts = scheduler.simulate_task_execution(row)
        assert attempts["attempt"].to_list() == list(range(1, attempts.height + 1))
        assert attempts["is_success"].sum() <= 1
        # One task of the wave at a time: each task fails or succeeds as it does alone in a world of its own forecast.
        assert set(wave.attempts["task_id"]) == set(scheduled["task_id"])
        scheduler.executor = executor(("low", "a", 1, False, 5.0))
        with pytest.raises(UsageError, match="expected a simulating executor"):
            scheduler.simulate_task_execution(row)

    def test_a_dry_run_never_reaches_real_agents(self):
        with pytest.raises(UsageError, match="expected an executor of real or recorded tasks with dry_run=False"):
            AdaptiveScheduler(dry_run=False)

    def test_calculate_schedule_adherence(self, scheduler, scheduled):
        records = executor(("low", "a", 1, True, 15.0), ("top", "a", 1, True, 30.0), ("mid", "b", 1, True, 20.0))
        scheduler.executor = records
        run = scheduler.execute_schedule(1, scheduled)
        # low 0-15 for 0-10: (0 + 5) / 2; top 15-45 for 10-40: (5 + 5) / 2; mid as planned: mean 7.5 / 3 = 2.5;
        # the timeline ends at 40: 1 - 2.5 / 40 = 0.9375.
        assert scheduler.calculate_schedule_adherence(run.executions) == pytest.approx(0.9375)
        scheduler.executor = executor(("other", "a", 1, True, 1.0))
        nothing = scheduler.execute_schedule(1, scheduled)
        assert nothing.schedule_adherence is None
        assert nothing.success_rate is None
        assert set(nothing.executions["status"]) == {"unobserved"}

    def test_handle_task_failure_retry(self):
        scheduler = AdaptiveScheduler(max_retries=2)
        failed = [
            {"task_id": "first", "agent_id": "a", "risk_level": "LOW", "attempt": 1, "confidence": 0.8},
            {"task_id": "last", "agent_id": "a", "risk_level": "MEDIUM", "attempt": 3, "confidence": 0.7},
            {"task_id": "never", "agent_id": "a", "risk_level": "HIGH", "attempt": 1, "confidence": 0.9},
            {"task_id": "floor", "agent_id": "a", "risk_level": "LOW", "attempt": 2, "confidence": 0.07},
        ]
        columns = ("task_id", "action", "next_agent_id", "next_attempt", "next_confidence")
        # 0.8 - 0.05 = 0.75; the third attempt was the last; HIGH is never retried; 0.07 - 0.05 stays at 0.05.
        assert scheduler.handle_task_failure(failed).select(columns).rows() == [
            ("first", "retry", "a", 2, pytest.approx(0.75)),
            ("last", "give_up", None, None, None),
            ("never", "give_up", None, None, None),
            ("floor", "retry", "a", 3, 0.05),
        ]

    @pytest.mark.usefixtures("scheduled")
    def test_a_task_without_retries_goes_to_another_agent_until_all_have_tried(self, scheduler):
        failed = {"task_id": "top", "agent_id": "a", "risk_level": "HIGH", "attempt": 1, "confidence": 0.95}
        decision = scheduler.handle_task_failure(failed)
        assert (decision["action"], decision["next_agent_id"], decision["next_attempt"]) == ("reassign", "b", 1)
        decision = scheduler.handle_task_failure({**failed, "agent_id": "b", "tried_agents": ["a"]})
        assert (decision["action"], decision["next_agent_id"]) == ("give_up", None)
        with pytest.raises(UsageError, match="expected a frame or at least one dict"):
            scheduler.handle_task_failure([])

    def test_a_failed_task_goes_only_to_agents_that_may_do_it(self):
        names = {"required_agents": ["c", "a"], "excluded_agents": None}, {"excluded_agents": ["b", "c"]}
        planned = [{"task_id": f"t{i}", **limits} for i, limits in enumerate(names)]
        scheduler = AdaptiveScheduler(inputs=Inputs(tasks=tasks(*planned), agents=agents("a", "b", "c", "d")))
        failed = [{"task_id": f"t{i}", "agent_id": "a", "risk_level": "HIGH", "attempt": 1} for i in range(3)]
        assert scheduler.handle_task_failure(failed)["next_agent_id"].to_list() == ["c", "d", "b"]
        # What the row says comes before the inputs; without another agent, the task is given up.
        failed[0]["required_agents"] = ["a"]
        assert scheduler.handle_task_failure(failed[0])["action"] == "give_up"

    def test_get_agent_utilization_counts_idle_agents(self, scheduler, scheduled):
        scheduler.executor = executor(("low", "a", 1, True, 8.0), ("mid", "b", 1, True, 16.0))
        run = scheduler.execute_schedule(1, scheduled)
        assert scheduler.get_agent_utilization(run.executions, ["a", "b", "c"]) == {"a": 0.5, "b": 1.0, "c": 0.0}

    def test_write_schedule_outputs(self, scheduler, scheduled, tmp_path):
        scheduler.executor = executor(("low", "a", 1, True, 10.0))
        scheduler.execute_schedule(1, scheduled)
        assert scheduler.write_schedule_outputs(1, str(tmp_path)) == tmp_path / "wave_1"
        rows = [json.loads(line) for line in (tmp_path / "wave_1/a/scheduled_tasks.jsonl").read_text().splitlines()]
        assert [(row["task_id"], row["status"]) for row in rows] == [("low", "completed"), ("top", "unobserved")]
        assert rows[1]["actual_start_time"] is None
        assert list(rows[0])[:10] == [
            "task_id", "agent_id", "wave", "scheduled_start_time", "scheduled_end_time", "actual_start_time",
            "actual_end_time", "priority", "status", "confidence",
        ]  # fmt: skip
        with pytest.raises(UsageError, match=r"wave 2: expected one of the executed waves, \[1\]"):
            scheduler.write_schedule_outputs(2, tmp_path)
        with pytest.raises(UsageError, match="expected a directory to write to, found None"):
            scheduler.write_schedule_outputs(1)

    @pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"max_load_factor": 0.9}, {"priority": "deadlines"}])
    def test_parameters_are_bounded(self, wrong):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            AdaptiveScheduler(**wrong)

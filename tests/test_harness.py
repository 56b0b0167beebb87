"""Phase19Harness: the whole run, its parts, and what must hold of every run."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import phase19
from phase19 import OptimizationStrategy, Phase19Harness, RunOptions
from phase19.errors import InfeasibleError, InputError, OutputError, UsageError
from phase19.execution.live import LiveResult
from phase19.inputs.sample import write_sample
from phase19.wave import ExecutedWave

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "outputs" / "phase18"
FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 7}
STATES = ("completed", "failed", "unobserved", "interrupted", "deferred", "unassigned")


@pytest.fixture
def result(sample_run):
    return sample_run


@pytest.fixture
def copied(tmp_path) -> Path:
    """The committed sample in a place of its own; the input directory."""
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def harness(tmp_path: Path, **settings) -> Phase19Harness:
    return Phase19Harness(RunOptions.of(input=SAMPLE, output=tmp_path / "phase19", **{**FIXED, **settings}))


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def without_clock(content: dict[str, bytes]) -> dict[str, bytes]:
    """Files of a run less the one figure that may differ."""
    summary = json.loads(content["optimization_summary.json"])
    summary.pop("execution_time_ms")
    return {**content, "optimization_summary.json": json.dumps(summary).encode()}


def planned(tmp_path: Path, **settings):
    """A harness, and its first wave planned."""
    run = harness(tmp_path, **settings)
    optimizer = run._initialize_optimizer(run._load_phase18_data())
    return run, run._optimize_wave(run._apply_safety_gates(optimizer.waves[0]))


class TestPhase19Harness:
    def test_harness_initialization(self, tmp_path):
        run = harness(tmp_path)
        assert run.options.strategy is OptimizationStrategy.MAXIMIZE_SUCCESS
        assert run.options.max_retries == 2
        assert run.options.sources[1] == SAMPLE.parent / "phase16"
        with pytest.raises(UsageError, match="expected both --executor live and a runner"):
            harness(tmp_path, executor="live")

    def test_load_phase18_data(self, tmp_path):
        inputs = harness(tmp_path)._load_phase18_data()
        assert inputs.agents["agent_id"].to_list() == ["agent_0", "agent_1", "agent_2", "agent_3"]
        assert inputs.tasks.height == 12
        assert inputs.task_source == "planned_tasks.jsonl"

    def test_optimize_wave(self, tmp_path):
        _, wave = planned(tmp_path)
        assert wave.plans.height == 4
        assert wave.plans["agent_id"].n_unique() == 4  # capacity ceil(4 / 4) = 1
        assert wave.gap == pytest.approx(0.0, abs=1e-9)

    def test_execute_wave_dry_run(self, tmp_path):
        run, wave = planned(tmp_path)
        executed = run._execute_wave(run._apply_scheduler(wave))
        assert not executed.is_interrupted
        assert set(executed.executions["status"]) <= {"completed", "failed"}
        assert executed.executions["actual_duration_ms"].to_list() != wave.plans["planned_duration_ms"].to_list()
        made = executed.attempts.group_by("task_id").len().sort("task_id")["len"]
        assert (executed.executions.sort("task_id")["retry_count"] + 1).to_list() == made.to_list()

    def test_generate_feedback(self, result):
        (validation,) = [signal for signal in result.signals if signal.feedback_type == "strategy_validation"]
        (accuracy,) = [metric for metric in result.metrics if metric.metric_name == "schedule_accuracy"]
        assert validation.confidence == accuracy.value

    def test_monitor_optimization(self, result):
        health = json.loads((result.run_dir / "system_health.json").read_text())
        scores = [value for value in health["component_scores"].values() if value is not None]
        assert health["overall_health_score"] == pytest.approx(sum(scores) / len(scores))
        assert result.summary["system_health_score"] == health["overall_health_score"]
        assert [metric["metric_name"] for metric in health["optimization_metrics"]] == [
            "schedule_accuracy",
            "throughput_efficiency",
            "agent_utilization",
            "confidence_trajectory",
            "schedule_adherence",
        ]

    def test_run_phase19_complete_pipeline(self, result):
        summary = result.summary
        assert (summary["phase"], summary["total_waves_optimized"], summary["total_tasks"]) == (19, 3, 12)
        assert summary["simulated"] is True
        ran = result.executions.filter(pl.col("status").is_in(["completed", "failed"]))
        overall = summary["overall_metrics"]
        assert overall["actual_success_rate"] == pytest.approx((ran["status"] == "completed").mean())
        assert overall["expected_success_rate"] == pytest.approx(ran["planned_success"].mean())
        assert overall["actual_success_rate"] != overall["expected_success_rate"]
        makespans = ran.group_by("wave").agg(pl.col("actual_end_time").max())["actual_end_time"]
        assert overall["actual_throughput"] == pytest.approx(ran.height / makespans.sum() * 1000)
        assert overall["actual_throughput"] > 30  # the specification's own aim for the sample

    def test_output_files_generated(self, result):
        found = set(files(result.run_dir))
        for name in (
            "optimization_summary.json", "schedule_comparisons.jsonl", "optimization_metrics.jsonl", "metrics.jsonl",
            "scheduling_anomalies.jsonl", "anomalies.jsonl", "system_health.json", "learning_signals.jsonl",
            "optimization_feedback.jsonl", "heuristic_weights.json", "schedule_recommendations.jsonl",
            "safety_gate_decisions.jsonl", "alerts.jsonl", "coordination_patterns.json", "strategy_effectiveness.json",
            "PHASE_19_AUTONOMOUS_OPTIMIZATION.md", "report.html", "feedback/phase16_feedback.jsonl",
            "feedback/phase18_feedback.jsonl",
        ):  # fmt: skip
            assert name in found
        per_agent = {"scheduled_tasks.jsonl", "planned_tasks.jsonl", "optimization_feedback.json"}
        for wave in (1, 2, 3):
            assert f"wave_{wave}/wave_summary.json" in found
            assert {f"wave_{wave}/agent_{i}/{name}" for i in range(4) for name in per_agent} <= found


class TestPhase19Integration:
    @pytest.mark.no_cover
    def test_end_to_end_optimization(self, tmp_path):
        """The plan promises more than round robin, and over many seeds it keeps its promise."""
        write_sample(tmp_path / "in", tasks=120, agents=5, waves=3, seed=3)
        found = [
            phase19.run(input=tmp_path / "in/phase18", output=tmp_path / "out", seed=seed).summary for seed in range(3)
        ]
        for summary in found:
            yardsticks = summary["yardsticks"]
            assert yardsticks["planned_success_rate"] > yardsticks["round_robin_success_rate"]
        accuracy = [summary["overall_metrics"]["prediction_accuracy"] for summary in found]
        assert sum(accuracy) / len(accuracy) > 0.9
        errors = [
            s["overall_metrics"]["actual_success_rate"] - s["overall_metrics"]["expected_success_rate"] for s in found
        ]
        # 120 tasks: chance alone moves a run by about 0.03, the mean of 3 runs by about 0.017.
        assert abs(sum(errors) / len(errors)) < 0.045

    @pytest.mark.no_cover
    def test_feedback_loop_integration(self, copied, tmp_path):
        """A replay teaches the next run; delivery happens once per run."""
        executions = tmp_path / "executions.jsonl"
        even = {"capacity": "even", **FIXED}  # agent_0 gets tasks although it fails
        first = phase19.run(input=copied, output=tmp_path / "dry", **even)
        rows = [
            {"task_id": task, "agent_id": f"agent_{i}", "attempt": k, "status": "failed" if i == 0 else "success",
             "execution_time_ms": 20.0 + i}
            for task in first.executions["task_id"] for i in range(4) for k in (1, 2, 3)
        ]  # fmt: skip
        executions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        replay = {"executor": "replay", "executions": executions, "deliver_feedback": True}
        replayed = phase19.run(input=copied, output=tmp_path / "replayed", **replay, **even)
        assert replayed.summary["simulated"] is False
        assert replayed["joins"] == {
            "tasks": 12, "tasks_with_records": 12, "tasks_with_features": 0, "recorded_tasks": 12,
            "recorded_tasks_with_features": 0, "other_tasks_with_features": 0, "features": 0,
            "agents": 4, "agents_with_records": 4,
            "replayed_rows": 144, "replayed_rows_in_plan": 144,
        }  # fmt: skip
        done = replayed.executions
        assert (done.filter(pl.col("agent_id") != "agent_0")["status"] == "completed").all()
        assert (done.filter(pl.col("agent_id") == "agent_0")["status"] == "failed").all()

        taught_run = phase19.run(input=copied, output=tmp_path / "next", previous=tmp_path / "replayed", **even)
        assert not [warning for warning in taught_run.warnings if "simulated run" in warning]
        plain, taught = first.executions, taught_run.executions
        own = pl.col("agent_id") == "agent_0"
        assert taught.filter(own)["success_probability"].mean() < plain.filter(own)["success_probability"].mean()

        delivered = copied.parent / "phase16" / "phase19_feedback.jsonl"
        assert len(delivered.read_text().splitlines()) == 1
        again = phase19.run(input=copied, output=tmp_path / "again", **replay, **even)
        told = [warning for warning in again.warnings if "was delivered before; nothing was added" in warning]
        assert len(told) == 2 and replayed.summary["run_id"] in told[0]
        assert not any("was delivered before" in warning for warning in replayed.warnings)
        assert len(delivered.read_text().splitlines()) == 1
        assert json.loads(delivered.read_text())["run_id"] == replayed.summary["run_id"]


class TestWhatHoldsOfEveryRun:
    def test_late_tasks_are_counted_marked_and_named(self, copied, tmp_path):
        # One agent: b ends at 40 ms where 30 are planned; then a, whose deadline no plan can meet.
        tasks = [
            {"task_id": "task_10", "deadline_ms": 5.0, "confidence": 0.2},
            {"task_id": "task_2", "deadline_ms": 35.0, "confidence": 0.9},
            {"task_id": "task_3", "deadline_ms": 500.0, "confidence": 0.5},
            {"task_id": "task_4", "confidence": 0.4},
        ]
        (copied / "tasks.jsonl").write_text("".join(json.dumps(task | {"wave": 1}) + "\n" for task in tasks))
        rows = [{"task_id": task["task_id"], "agent_id": "agent_0", "status": "success"} for task in tasks]
        (copied / "task_outcomes.jsonl").write_text(
            "".join(json.dumps(row | {"execution_time_ms": 30, "trial": i}) + "\n" for row in rows for i in range(200))
        )
        (tmp_path / "executions.jsonl").write_text(
            "".join(json.dumps(row | {"execution_time_ms": 40}) + "\n" for row in rows[:-1])
        )
        options = {"input": copied, "executor": "replay", "executions": tmp_path / "executions.jsonl", "agents": 1}

        def late(**more):
            run = phase19.run(output=tmp_path / str(more), **options, **more, **FIXED)
            rows = pl.read_ndjson(run.run_dir / "wave_1/agent_0/scheduled_tasks.jsonl")
            marks = rows.select("task_id", "deadline_ms", "is_planned_late", "is_late").rows()
            return run["deadlines"], marks, [alert for alert in run.alerts if "deadline" in alert["message"]]

        counts, marks, alerts = late()
        assert counts == {"tasks": 3, "planned_late": 1, "actual_late": 2}
        assert marks == [
            ("task_2", 35.0, False, True),  # first by confidence
            ("task_3", 500.0, False, False),
            ("task_4", None, False, False),  # never ran, and has no deadline
            ("task_10", 5.0, True, True),
        ]
        assert [alert["source"] for alert in alerts] == ["scheduled_tasks: is_late", "scheduled_tasks: is_planned_late"]
        assert alerts[0]["message"] == ("Ended late: 2 of 3 tasks with a deadline: task_10 by 115 ms, task_2 by 5 ms.")
        # By deadline, task_10 is first, and still late; task_2 is second, and now planned late.
        counts, marks, _ = late(priority="deadline")
        assert [mark[0] for mark in marks] == ["task_10", "task_2", "task_3", "task_4"]
        assert counts == {"tasks": 3, "planned_late": 2, "actual_late": 2}
        (tmp_path / "executions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))  # without times
        assert late(max_retries=0)[0] == {"tasks": 3, "planned_late": 1, "actual_late": None}

    def test_without_heuristics_the_weights_are_their_time_alone(self, copied, tmp_path):
        shutil.rmtree(copied.parent / "phase16")
        for name in ("task_outcomes.jsonl", "tasks.jsonl"):
            (copied / name).unlink(missing_ok=True)
        run = phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert json.loads((run.run_dir / "heuristic_weights.json").read_text()) == {"updated_at": FIXED["timestamp"]}

    def test_ids_come_in_natural_order(self, result):
        decisions = pl.read_ndjson(result.run_dir / "safety_gate_decisions.jsonl")
        assert decisions["task_id"].to_list() == [f"task_{i}" for i in range(12)]
        patterns = json.loads((result.run_dir / "coordination_patterns.json").read_text())
        assert list(patterns[0]["agent_assignments"]) == [f"agent_{i}" for i in range(4)]

    def test_replayed_rows_of_other_names_are_counted_and_said(self, copied, tmp_path):
        rows = [{"task_id": "task_0", "agent_id": name, "status": "success"} for name in ("AGENT_0", "AGENT_1")]
        (tmp_path / "executions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run = phase19.run(
            input=copied, output=tmp_path / "out", executor="replay", executions=tmp_path / "executions.jsonl"
        )
        assert (run["joins"]["replayed_rows"], run["joins"]["replayed_rows_in_plan"]) == (2, 0)
        assert run.warnings[0] == (
            "executions.jsonl: no record names one of the 4 agents to plan, such as 'agent_0' "
            "(the records name 'AGENT_0'); if these are the same agents, make the names equal"
        )
        assert run["task_counts"]["unobserved"] == 12

    @pytest.mark.no_cover
    def test_the_command_with_the_same_seed_and_time_gives_the_same_bytes(self, result, run_cli, tmp_path):
        fixed = ("--seed", FIXED["seed"], "--timestamp", FIXED["timestamp"])
        assert run_cli("run", "--input", SAMPLE, "--output", tmp_path / "again", "--quiet", *fixed).returncode == 0
        assert without_clock(files(tmp_path / "again")) == without_clock(files(result.run_dir))

    @pytest.mark.no_cover
    def test_another_seed_changes_luck_and_not_the_first_plan(self, result, tmp_path):
        other = phase19.run(input=SAMPLE, output=tmp_path / "phase19", timestamp=FIXED["timestamp"], seed=8)
        first = pl.col("wave") == 1
        keys = ("task_id", "agent_id", "planned_success", "scheduled_end_time")
        assert other.executions.filter(first).select(keys).equals(result.executions.filter(first).select(keys))
        assert not other.executions["actual_end_time"].equals(result.executions["actual_end_time"])

    @pytest.mark.no_cover
    def test_shuffled_input_gives_the_same_plan(self, result, copied, tmp_path):
        for path in (*copied.parent.glob("phase16/planned_tasks.jsonl"), *copied.parent.glob("phase17/*.jsonl")):
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        shuffled = phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert shuffled.executions.equals(result.executions)

    @pytest.mark.no_cover
    def test_luck_belongs_to_the_pair_whatever_the_strategy(self, result, tmp_path):
        others = [
            phase19.run(input=SAMPLE, output=tmp_path / "out", strategy=strategy, **FIXED).executions
            for strategy in ("maximize_throughput", "balance_load")
        ]
        runs = [result.executions, *others]
        keys = ["task_id", "agent_id"]
        pairs = ((0, 1), (0, 2), (1, 2))
        both = pl.concat([runs[i].join(runs[j], on=keys, suffix="_other") for i, j in pairs])
        assert both.height > 0
        assert both["actual_duration_ms"].equals(both["actual_duration_ms_other"].alias("actual_duration_ms"))
        assert both["status"].equals(both["status_other"].alias("status"))

    @pytest.mark.no_cover
    @pytest.mark.parametrize("strategy", list(OptimizationStrategy))
    def test_every_strategy_keeps_the_rules(self, strategy, tmp_path):
        write_sample(tmp_path / "in", tasks=23, agents=4, waves=2, seed=5)
        run = phase19.run(input=tmp_path / "in/phase18", output=tmp_path / "out", strategy=strategy, **FIXED)
        keeps_the_rules(run, capacity=2 * -(-12 // 4))

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(
        tasks=st.integers(1, 30),
        agents=st.integers(1, 6),
        waves=st.integers(1, 4),
        seed=st.integers(0, 10**6),
        strategy=st.sampled_from(list(OptimizationStrategy)),
        max_retries=st.integers(0, 3),
    )
    @example(tasks=6, agents=2, waves=4, seed=0, strategy="maximize_success", max_retries=0)  # no agent can be tested
    def test_rules_hold_of_any_size(self, tmp_path_factory, tasks, agents, waves, seed, strategy, max_retries):
        place = tmp_path_factory.mktemp("any")
        write_sample(place / "in", tasks=tasks, agents=agents, waves=min(waves, tasks), seed=seed)
        run = phase19.run(
            input=place / "in/phase18", output=place / "out", seed=seed, strategy=strategy, max_retries=max_retries
        )
        largest = max(run.executions.group_by("wave").len()["len"])
        keeps_the_rules(run, capacity=2 * -(-largest // agents))
        assert run.executions["retry_count"].max() <= max_retries
        assert run.summary["total_tasks"] == tasks

    def test_waves_and_agents_can_be_overridden(self, tmp_path):
        run = phase19.run(input=SAMPLE, output=tmp_path / "out", waves=5, agents=6, **FIXED)
        # 12 tasks in 5 even blocks: 3, 2, 3, 2, 2.
        assert run.executions.group_by("wave").len().sort("wave").rows() == [(1, 3), (2, 2), (3, 3), (4, 2), (5, 2)]
        assert run.summary["total_agents"] == 6
        assert "agent_5" in run.summary["optimization_results"][0]["agent_assignments"]

    @pytest.mark.no_cover
    def test_overriding_when_running_is_the_same_as_asking_before(self, result, tmp_path):
        asked = harness(tmp_path, waves=2, agents=3).run_phase19()
        overridden = harness(tmp_path, waves=1).run_phase19(waves=2, agents=3)
        assert overridden.summary["run_id"] == asked.summary["run_id"] != result.summary["run_id"]
        with pytest.raises(UsageError, match="--waves: expected a whole number from 1"):
            harness(tmp_path).run_phase19(waves=0)

    def test_a_replay_of_nothing_still_tells_what_was_planned(self, tmp_path):
        (tmp_path / "none.jsonl").touch()
        run = phase19.run(
            input=SAMPLE, output=tmp_path / "out", executor="replay", executions=tmp_path / "none.jsonl", **FIXED
        )
        planned = run.executions.group_by("wave", maintain_order=True).agg(pl.col("planned_success").mean())
        comparisons = run.tables["schedule_comparisons"]
        assert comparisons["planned_success_rate"].to_list() == pytest.approx(planned["planned_success"].to_list())
        assert all(value and value > 0 for value in comparisons["planned_throughput"].to_list())
        assert comparisons["actual_success_rate"].to_list() == [None] * 3
        assert json.loads((run.run_dir / "system_health.json").read_text())["health_status"] is None
        report = (run.run_dir / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text()
        assert "Health no data, 88.3 in Phase 18; none of 4 checks had enough data." in report

    @pytest.mark.parametrize("most", [1, 2, 5])
    def test_a_replay_promises_no_retries_that_no_record_holds(self, tmp_path, most):
        """Of each pair `most` attempts are recorded, all lost: with one, a plan of retries would be held to it."""
        asked = 3  # attempts, by default
        rows = [
            {"task_id": f"task_{t}", "agent_id": f"agent_{a}", "attempt": k, "status": "failed"}
            for t in range(12)
            for a in range(4)
            for k in range(1, most + 1)
        ]
        (tmp_path / "lost.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run = phase19.run(
            input=SAMPLE, output=tmp_path / "out", executor="replay", executions=tmp_path / "lost.jsonl", **FIXED
        )
        assert run.executions["max_attempts"].max() == min(most, asked)
        assert (run.executions["retry_count"] + 1).to_list() == run.executions["max_attempts"].to_list()
        told = [warning for warning in run.warnings if "--max-retries" in warning]
        assert len(told) == (most < asked)
        if told:
            assert f"at most {most} attempt" in told[0]
        if most == 1:
            planned = run.executions.select("planned_success", "success_probability")
            assert planned["planned_success"].to_list() == pytest.approx(planned["success_probability"].to_list())

    def test_evening_out_the_load_is_told_of_and_paid_for(self, tmp_path):
        run = phase19.run(input=SAMPLE, output=tmp_path / "out", strategy="balance_load", agents=3, **FIXED)
        moved = [solved for solved in run.summary["solver"] if solved["moved_count"]]
        assert moved
        assert all(solved["gap"] > 0 for solved in moved)


class TestLive:
    def test_two_live_runs_are_two_and_one_at_a_given_time_is_one(self, copied, tmp_path):
        places = (tmp_path / name for name in "abcde")

        def run_at(timestamp):
            return phase19.run(
                input=copied,
                output=next(places),
                executor="live",
                runner=lambda *_: LiveResult(is_success=True),
                timestamp=timestamp,
            ).summary["run_id"]

        now, later, day = run_at(None), run_at(None), run_at("2026-02-05")
        assert day == run_at("2026-02-05T01:00+01:00")
        assert len({now, later, day}) == 3

    def test_gates_defer_what_is_not_safe(self, copied, tmp_path):
        tasks = [
            {"task_id": "safe", "wave": 1, "risk_level": "LOW", "confidence": 0.5},
            {"task_id": "unsure", "wave": 1, "risk_level": "LOW", "confidence": 0.49},
            {"task_id": "high", "wave": 1, "risk_level": "HIGH", "confidence": 0.95},
            {"task_id": "approved", "wave": 1, "risk_level": "HIGH", "confidence": 0.95},
            {"task_id": "blocked", "wave": 2, "risk_level": "HIGH", "confidence": 0.2},
        ]
        (copied / "tasks.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks))
        (tmp_path / "approved.txt").write_text("approved\nhihg\n")
        seen = []

        def runner(order, attempt):
            seen.append((order["task_id"], attempt))
            return LiveResult(is_success=order["task_id"] == "approved")

        run = phase19.run(
            input=copied, output=tmp_path / "out", executor="live", runner=runner, approve=tmp_path / "approved.txt"
        )
        unknown = f"{tmp_path / 'approved.txt'}: no task is named 'hihg'; did you mean high?"
        assert unknown in run.warnings
        assert sorted(seen) == [("approved", 1), ("safe", 1), ("safe", 2), ("safe", 3)]
        counts = run.summary["task_counts"]
        assert {state: counts[state] for state in STATES} == {
            "completed": 1, "failed": 1, "unobserved": 0, "interrupted": 0, "deferred": 3, "unassigned": 0,
        }  # fmt: skip
        # Every task of wave 2 was deferred: nothing ran, nothing is claimed.
        empty = run.tables["schedule_comparisons"].filter(pl.col("wave") == 2).row(0, named=True)
        assert empty["actual_success_rate"] is None
        assert empty["accuracy_score"] is None

    def test_interrupt_leaves_the_rest_undone_and_says_so(self, copied, tmp_path):
        def runner(order, _attempt):
            if order["wave"] == 1:
                raise KeyboardInterrupt
            raise AssertionError("no wave starts after an interrupt")

        run = phase19.run(
            input=copied, output=tmp_path / "out", executor="live", runner=runner, agents=1, max_retries=0
        )
        assert run.is_interrupted
        counts = run.summary["task_counts"]
        assert counts["interrupted"] > 0
        assert sum(counts[state] for state in STATES) == counts["total"] == 12


class TestRefusals:
    @pytest.mark.parametrize("file", ["executions.jsonl", "approved.txt"])
    def test_what_names_a_run_is_read_before_anything_runs(self, copied, tmp_path, file):
        ran = []
        missing = {"executions": tmp_path / file} if file == "executions.jsonl" else {"approve": tmp_path / file}
        executor = "replay" if "executions" in missing else "live"
        with pytest.raises(InputError, match=file):
            phase19.run(
                input=copied,
                output=tmp_path / "out",
                executor=executor,
                runner=(lambda order, _: ran.append(order)) if executor == "live" else None,
                **missing,
            )
        assert ran == []

    def test_no_tasks_are_refused(self, copied, tmp_path):
        shutil.rmtree(copied.parent / "phase16")
        shutil.rmtree(copied.parent / "phase17")
        for path in copied.rglob("task_outcomes.jsonl"):
            path.unlink()
        summary = json.loads((copied / "multi_agent_summary.json").read_text()) | {"total_tasks": 0}
        (copied / "multi_agent_summary.json").write_text(json.dumps(summary))
        (copied / "tasks.jsonl").write_text("")
        with pytest.raises(UsageError, match="no tasks to schedule"):
            phase19.run(input=copied, output=tmp_path / "out")

    def test_output_may_not_lie_in_the_input(self, copied):
        with pytest.raises(UsageError, match=r"--output: .* is inside the input"):
            phase19.run(input=copied, output=copied / "deep" / "phase19")

    def test_output_may_not_hold_the_input(self, copied):
        for wrong in (copied, copied.parent):
            with pytest.raises(UsageError, match="is or contains the input"):
                phase19.run(input=copied, output=wrong)

    def test_other_directories_are_left_alone(self, copied, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("keep")
        with pytest.raises(OutputError, match=r"1 file added, changed or missing \(notes.txt\)"):
            phase19.run(input=copied, output=tmp_path / "mine")
        assert files(tmp_path / "mine") == {"notes.txt": b"keep"}

    def test_a_note_in_the_last_run_is_kept(self, copied, tmp_path):
        before = phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        (before.run_dir / "wave_1" / "note.txt").write_text("keep")
        kept = files(before.run_dir)
        with pytest.raises(OutputError, match=r"\(wave_1/note.txt\); move it away, or choose another --output"):
            phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert files(before.run_dir) == kept

    @pytest.mark.parametrize(
        "manifest", ["my notes", '{"name": "an app"}', '{"files": []}', '{"files": {}}', '{"files": {"a": 1}}', None]
    )
    def test_a_manifest_that_no_run_wrote_is_kept(self, copied, tmp_path, manifest):
        place = tmp_path / "mine" / "manifest.json"
        place.parent.mkdir()
        if manifest is None:
            place.symlink_to("elsewhere")
        else:
            place.write_text(manifest)
        with pytest.raises(OutputError, match=r"found .* added, changed or missing \(.*manifest.json\)"):
            phase19.run(input=copied, output=place.parent, **FIXED)
        assert place.is_symlink() if manifest is None else place.read_text() == manifest

    def test_links_that_lead_to_themselves_are_no_bug(self, copied, tmp_path):
        for link in (copied / "loop", tmp_path / "loop"):
            link.symlink_to(link)
        run = phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert f"{copied / 'loop'}: this link leads nowhere" in run.warnings
        with pytest.raises(OutputError, match="found a link that leads nowhere"):
            phase19.run(input=copied, output=tmp_path / "loop", **FIXED)
        for name in ("input", "executions", "thresholds", "approve"):
            options = {"input": copied, "output": tmp_path / "new", name: tmp_path / "loop"}
            more = {"executor": "replay"} if name == "executions" else {}
            with pytest.raises(InputError, match="found a link that leads nowhere"):
                phase19.run(**options, **more)

    def test_inputs_behind_links_to_directories_are_kept(self, copied, tmp_path):
        run_dir = phase19.run(input=copied, output=tmp_path / "out", **FIXED).run_dir
        (tmp_path / "far" / "agent_0").mkdir(parents=True)
        (tmp_path / "far/agent_0/task_outcomes.jsonl").symlink_to(run_dir / "attempts.jsonl")
        (copied / "wave_1").symlink_to(tmp_path / "far")
        kept = files(run_dir)
        with pytest.raises(UsageError, match=r"out is or contains the input .*wave_1/agent_0/task_outcomes.jsonl"):
            phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert files(run_dir) == kept
        with pytest.raises(UsageError, match=r"new is inside the input .*wave_1"):
            phase19.run(input=copied, output=tmp_path / "far" / "new", **FIXED)

    def test_an_input_that_is_a_link_into_the_output_is_kept(self, copied, tmp_path):
        run_dir = phase19.run(input=copied, output=tmp_path / "out", **FIXED).run_dir
        (copied / "learning_signals.jsonl").unlink()
        (copied / "learning_signals.jsonl").symlink_to(run_dir / "learning_signals.jsonl")
        kept = files(run_dir)
        with pytest.raises(UsageError, match=r"out is or contains the input .*learning_signals.jsonl"):
            phase19.run(input=copied, output=run_dir, **FIXED)
        assert files(run_dir) == kept

    def test_feedback_that_cannot_be_delivered_is_reported_beside_a_complete_run(self, copied, tmp_path):
        (copied / "phase19_feedback.jsonl").mkdir()
        with pytest.raises(OutputError, match=r"is complete in .*out, but not all of its feedback was delivered"):
            phase19.run(input=copied, output=tmp_path / "out", deliver_feedback=True, **FIXED)
        assert (tmp_path / "out" / "optimization_summary.json").is_file()

    def test_a_live_run_is_never_replaced(self, copied):
        live = phase19.run(
            input=copied, executor="live", runner=lambda *_: LiveResult(is_success=True), timestamp=FIXED["timestamp"]
        )
        kept = files(live.run_dir)
        assert live.run_dir == copied.parent / "phase19"
        with pytest.raises(OutputError, match="phase19: contains a live run, which is never replaced"):
            phase19.run(input=copied, output=live.run_dir, **FIXED)
        for _ in range(2):  # a dry run replaces the dry run before it
            dry = phase19.run(input=copied, **FIXED)
            assert dry.run_dir == copied.parent / f"phase19-{dry['run_id']}"
            assert any("contains a live run" in warning for warning in dry.warnings)
        assert files(live.run_dir) == kept

    def test_a_failing_run_leaves_the_last_one(self, result, copied, tmp_path):
        shutil.copytree(result.run_dir, tmp_path / "out")
        before = files(tmp_path / "out")
        (copied / "system_health.json").write_text("{")
        with pytest.raises(InputError, match=r"system_health\.json"):
            phase19.run(input=copied, output=tmp_path / "out", **FIXED)
        assert files(tmp_path / "out") == before

    def test_too_little_capacity_is_named(self, copied, tmp_path):
        with pytest.raises(InfeasibleError, match=r"4 tasks for a total capacity of 3 .*--capacity"):
            phase19.run(input=copied, output=tmp_path / "out", agents=3, capacity=1)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("settings_", "message"),
        [
            ({"strategy": "best"}, "--strategy: expected one of maximize_success"),
            ({"timestamp": "yesterday"}, "--timestamp: expected ISO 8601"),
            ({"waves": 0}, "--waves: expected a whole number"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_options_out_of_bounds(self, copied, tmp_path, settings_, message):
        with pytest.raises(UsageError, match=message):
            phase19.run(input=copied, output=tmp_path / "out", **settings_)
        assert not (tmp_path / "out").exists()


def keeps_the_rules(run: phase19.RunResult, capacity: int) -> None:
    """Every task once and in one state, capacity kept, timelines without overlap, proved optimal."""
    rows, counts = run.executions, run.summary["task_counts"]
    assert rows["task_id"].n_unique() == rows.height
    assert sum(counts[state] for state in STATES) == counts["total"] == run.summary["total_tasks"]
    assert rows.group_by("wave", "agent_id").len()["len"].max() <= capacity
    for start, end in (("scheduled_start_time", "scheduled_end_time"), ("actual_start_time", "actual_end_time")):
        line = rows.sort("wave", "agent_id", start, end)
        gap = line.select((pl.col(start) - pl.col(end).shift(1).over("wave", "agent_id")).fill_null(0.0)).to_series()
        assert gap.min() >= -1e-6
        assert (rows[end] >= rows[start]).all()
    for solved in run.summary["solver"]:
        wave = rows.filter(pl.col("wave") == solved["wave"])
        is_makespan = solved["algorithm"] == "makespan_local_search"
        objective = -wave["scheduled_end_time"].max() if is_makespan else wave["score"].sum()
        assert solved["objective"] == pytest.approx(objective)
        assert solved["gap"] == pytest.approx(solved["upper_bound"] - solved["objective"], abs=1e-9)
        assert solved["gap"] < 1e-7 or solved["moved_count"] > 0 or is_makespan


def test_a_wave_is_freed_before_the_next_one_is_planned(copied, tmp_path):
    alive = []

    def progress(stage, *_):
        if stage == "waves":
            gc.collect()
            alive.append(sum(type(thing) is ExecutedWave for thing in gc.get_objects()))

    phase19.run(copied, output=tmp_path / "run", progress=progress)
    assert set(alive) == {alive[0]}
    assert len(alive) > 2

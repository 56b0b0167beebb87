"""Unknown times stay unknown: in replays, backtests and dry runs where some or all times were never recorded."""

import json

import polars as pl
import pytest

import phase19
from phase19.inputs.history import read_previous
from phase19.scheduler import AdaptiveScheduler
from tests.scheduler.test_timelines import Told, schedule, times

CAPACITY = {"capacity": 8, "max_retries": 0, "strategy": "maximize_success"}
WARNING = "no record, summary or estimate has a time; plans count each task as 1,000 ms, and a dry run has no times"
TIMED = ("throughput_efficiency", "agent_utilization", "schedule_adherence")


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def recorded(task, agent, ms, *, is_success=True, **columns):
    row = {"task_id": task, "agent_id": agent, "status": "success" if is_success else "failed", **columns}
    return row if ms is None else {**row, "execution_time_ms": ms}


@pytest.fixture
def inputs(tmp_path):
    """Write an input directory: eight tasks in two waves; red does the first four best, blue the others."""

    def write(history_ms, played_ms, **summary):
        place = tmp_path / "phase18"
        place.mkdir()
        documents = {
            "multi_agent_summary": {"total_agents": 2, "total_tasks": 8, "success_rate": 0.5, **summary},
            "coordination_patterns": [],
            "system_health": {},
        }
        for name, content in documents.items():
            (place / f"{name}.json").write_text(json.dumps(content), "utf-8")
        lines(place / "learning_signals.jsonl", [])
        lines(place / "tasks.jsonl", [{"task_id": f"t{i}", "wave": 1 + i % 2} for i in range(8)])
        good = {f"t{i}": "red" if i < 4 else "blue" for i in range(8)}
        pairs = [(task, agent) for task in good for agent in ("red", "blue")]
        history = [
            recorded(task, agent, history_ms(task, agent), is_success=agent == good[task])
            for task, agent in pairs
            for _ in range(8)
        ]
        lines(place / "task_outcomes.jsonl", history)
        lines(tmp_path / "executions.jsonl", [recorded(task, agent, played_ms(task, agent)) for task, agent in pairs])
        return place

    return write


def replay(inputs, **options):
    settings = {**CAPACITY, "executor": "replay", "executions": inputs.parent / "executions.jsonl", **options}
    return phase19.run(input=inputs, output=inputs.parent / "run", seed=1, **settings)


def metrics(result):
    return {metric.metric_name: metric for metric in result.metrics}


def nothing(_task, _agent):
    return None


def clock(_task, _agent):
    return 100.0


def test_a_task_of_unknown_time_leaves_the_end_of_its_agents_later_tasks_unknown():
    _, rows = schedule(*((task, agent, 50, 0.5) for task, agent in (("a", 0), ("b", 0), ("c", 0), ("d", 1))))
    scheduler = AdaptiveScheduler(
        executor=Told(("a", 1, True, 30.0), ("b", 2, True, None), ("c", 1, True, 20.0), ("d", 1, True, 40.0))
    )
    done = scheduler.execute_schedule(1, rows)
    found = done.executions
    assert [times(found, "actual", task) for task in "abcd"] == [(0, 30), (None, None), (None, None), (0, 40)]
    assert dict(found.select("task_id", "actual_duration_ms").rows()) == {"a": 30, "b": None, "c": 20, "d": 40}
    assert done.makespan_ms is None
    assert done.agent_utilization == {}
    # a ends 20 early, d 10 early: a mean shift of (10 + 5) / 2 of a timeline of 150.
    assert done.schedule_adherence == pytest.approx(1 - 7.5 / 150)


def test_a_replay_without_any_time_has_none(inputs):
    result = replay(inputs(nothing, nothing))
    assert WARNING in result.warnings
    rows = result.executions
    unknown = ["actual_start_time", "actual_end_time", "actual_duration_ms", "duration_ms_p50", "duration_ms_p90"]
    assert rows.select(pl.col(unknown).null_count()).row(0) == (8,) * 5
    assert (rows["scheduled_end_time"] - rows["scheduled_start_time"]).to_list() == [1000.0] * 8
    for name in TIMED:
        assert (metrics(result)[name].value, metrics(result)[name].status) == (None, "insufficient_data")
    overall = result["overall_metrics"]
    assert {overall[name] for name in ("expected_throughput", "actual_throughput", "schedule_adherence")} == {None}
    assert result["overall_metrics"]["actual_success_rate"] == 1.0
    assert {check.status for check in result.checks if check.anomaly_type == "schedule_drift"} == {"not_testable"}
    assert set(result.utilization.values()) == {None}
    text = " ".join(path.read_text("utf-8") for path in result.run_dir.rglob("*.json*"))
    assert '"actual_makespan_ms":null' in text.replace(" ", "") and "NaN" not in text
    report = (result.run_dir / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text("utf-8")
    assert report.count("| no data | no data |") >= 2  # planned and actual time of both waves


@pytest.mark.parametrize("known", [{"avg_execution_time_ms": 40.0}, {}], ids=["summary", "history"])
def test_known_times_are_planned_whatever_the_replay_lacks(inputs, known):
    result = replay(inputs(nothing if known else clock, nothing, **known))
    assert WARNING not in result.warnings
    planned = result["overall_metrics"]["expected_throughput"]
    # Four tasks a wave, two for each agent: 2 x 40 ms or 2 x 100 ms.
    assert planned == pytest.approx(4 / (0.08 if known else 0.2), rel=0.35)
    assert result["overall_metrics"]["actual_throughput"] is None


def test_a_backtest_without_any_time_prints_no_makespan(inputs, run_cli):
    place = inputs(nothing, nothing)
    done = run_cli("backtest", "--input", place, "--executions", place.parent / "executions.jsonl", cwd=place.parent)
    assert done.returncode == 0, done.stderr
    assert "Makespan" not in done.stdout
    assert WARNING in done.stderr
    document = json.loads((place.parent / "backtest.json").read_text("utf-8"))
    spans = [wave["makespan_ms"] for wave in (*document["waves"], document["overall"])]
    assert (spans, document["round_robin_makespan_ms"]) == ([None] * 3, None)


def test_one_wave_without_times_leaves_the_others_their_figures(inputs):
    """Wave 1 has t0, t2, t4 and t6, wave 2 the others; only the tasks of wave 2 have times."""
    result = replay(inputs(clock, lambda task, _: 50.0 * (int(task[1]) % 2) or None))
    compared = result.tables["schedule_comparisons"]
    assert compared["actual_throughput"].to_list() == [None, pytest.approx(4 / 0.1)]
    assert compared["schedule_adherence"].is_null().to_list() == [True, False]
    assert result["overall_metrics"]["actual_throughput"] == pytest.approx(4 / 0.1)
    assert result["overall_metrics"]["schedule_adherence"] == compared["schedule_adherence"][1]
    found = metrics(result)
    assert found["agent_utilization"].value == 1.0
    assert found["throughput_efficiency"].value == pytest.approx(compared["throughput_efficiency"][1])
    assert found["throughput_efficiency"].chance_low > 0
    assert result.utilization == {"blue": 1.0, "red": 1.0}
    busy = {row["agent_id"]: row["busy_ms"] for row in result.health["agent_utilization"]}
    assert busy == {"blue": None, "red": None}


def test_the_last_wave_may_have_no_times(inputs):
    result = replay(inputs(clock, lambda task, _: None if int(task[1]) % 2 else 50.0))
    drift = next(check for check in result.checks if check.anomaly_type == "schedule_drift")
    assert drift.reason.startswith("Passed: ")


def test_an_agent_without_times_leaves_the_others_their_times(inputs):
    place = inputs(
        lambda _, agent: 100.0 if agent == "red" else None, lambda _, agent: 50.0 if agent == "red" else None
    )
    result = replay(place)
    rows = result.executions
    assert rows.group_by("agent_id").agg(pl.col("actual_end_time").is_null().unique()).sort("agent_id").rows() == [
        ("blue", [True]),
        ("red", [False]),
    ]
    # 4 tasks a wave, and red's 2 end after 100 ms: an upper bound, since blue's ends are unknown.
    assert result["overall_metrics"]["actual_throughput"] == pytest.approx(4 / 0.1)
    assert metrics(result)["throughput_efficiency"].value is None
    assert metrics(result)["schedule_adherence"].value > 0
    busy = {row["agent_id"]: row["busy_ms"] for row in result.health["agent_utilization"]}
    assert busy == {"blue": None, "red": 200.0}
    executions = place.parent / "executions.jsonl"
    tested = phase19.backtest(input=place, executions=executions, capacity=8).document
    assert (tested["overall"]["makespan_ms"], tested["round_robin_makespan_ms"]) == (None, None)


def test_a_dry_run_invents_no_times(inputs, tmp_path):
    place = inputs(nothing, nothing)
    result = phase19.run(input=place, output=tmp_path / "dry", strategy="auto", seed=1)
    assert result.executions["actual_end_time"].null_count() == 8
    assert metrics(result)["throughput_efficiency"].status == "insufficient_data"
    table = phase19.compare(input=place).table
    assert table.select(pl.col("planned_makespan_ms", "planned_throughput").null_count()).row(0) == (9, 9)
    assert table["planned_success_rate"].null_count() == 0
    optimizer = phase19.AdaptiveOptimizer(place)
    optimizer.load_phase18_data()
    plan = optimizer.calculate_optimal_schedule()
    assert plan.expected_throughput is None
    simulated = optimizer.simulate_schedule(plan)
    assert simulated["simulated_completion_time_ms"] is None
    assert set(simulated["agent_utilization"].values()) == {None}


def test_estimates_are_times_if_nothing_else_is(inputs, tmp_path):
    place = inputs(nothing, nothing)
    lines(place / "tasks.jsonl", [{"task_id": f"t{i}", "estimated_duration_ms": 5000.0 + 100 * i} for i in range(8)])
    result = phase19.run(input=place, output=tmp_path / "dry", seed=1, max_retries=0)
    assert WARNING not in result.warnings
    planned = result.executions.sort("task_id")["planned_duration_ms"]
    assert planned.to_list() == pytest.approx([5000.0 + 100 * i for i in range(8)], rel=0.05)
    assert result.executions["actual_end_time"].null_count() == 0


def test_a_later_run_learns_the_durations_that_are_known(inputs, tmp_path):
    """t0 has no time, so it is unknown when red began t2; that t2 took 50 ms is known."""
    place = inputs(clock, lambda task, _: None if task == "t0" else 50.0)
    first = replay(place)
    row = first.executions.row(by_predicate=pl.col("task_id") == "t2", named=True)
    assert (row["actual_start_time"], row["actual_duration_ms"]) == (None, 50.0)
    again = phase19.run(input=place, output=tmp_path / "again", previous=first.run_dir, seed=1)
    assert again["previous"]["attempt_count"] == 8
    known = read_previous(first.run_dir).attempts
    assert known.filter(pl.col("duration_ms").is_not_null())["task_id"].n_unique() == 7

"""A plan in one call from records in memory, the same plan with other options, and checks of inputs."""

import json
import re
from datetime import UTC, datetime

import polars as pl
import pytest

import phase19

# red did all of its 20 tasks, in 2 s each; blue did none of them, in 1 s each.
HISTORY = [
    {
        "task_id": f"old_{i}",
        "agent_id": agent,
        "success": agent == "red",
        "execution_time_ms": 2000.0 if agent == "red" else 1000.0,
        "category": "web",
        "timestamp": datetime(2026, 1, 1 + i, tzinfo=UTC),
    }
    for i in range(20)
    for agent in ("red", "blue")
]
TASKS = [{"task_id": f"new_{i}", "category": "web"} for i in range(4)]


def test_tasks_go_to_the_agent_that_succeeds_as_far_as_it_has_room():
    plan = phase19.plan(TASKS, history=HISTORY, capacity=3)
    assert plan.assignments["agent_id"].value_counts().rows_by_key("agent_id") == {"red": [(3,)], "blue": [(1,)]}
    success = dict(plan.assignments.group_by("agent_id").agg(pl.col("planned_success").mean()).rows())
    assert success["red"] > 0.9
    assert success["blue"] < 0.5
    expected = (3 * success["red"] + success["blue"]) / 4
    assert plan.expected_success_rate == pytest.approx(expected)
    # Round robin gives each agent half of the tasks.
    assert plan.round_robin_success_rate == pytest.approx((success["red"] + success["blue"]) / 2)
    assert plan.assignments.columns[:2] == ["task_id", "agent_id"]
    assert plan.assignments["task_id"].to_list() == [f"new_{i}" for i in range(4)]
    assert plan.forecasts.height == 8
    assert plan.agents.select("agent_id", "task_count").rows() == [("blue", 1), ("red", 3)]
    # red is busy longest: with 3 tasks of about 2 s, and retries of those that fail.
    busy_ms = dict(plan.agents.select("agent_id", "planned_duration_ms").rows())
    assert 3 * 2000 < busy_ms["red"] < 3 * 3000
    assert plan.makespan_ms == pytest.approx(busy_ms["red"], rel=0.1)


@pytest.mark.parametrize(
    "convert",
    [pl.DataFrame, lambda rows: [dict(reversed(row.items())) for row in rows], lambda rows: pl.DataFrame(rows[::-1])],
    ids=["frame", "other order of fields", "other order of rows"],
)
def test_a_frame_gives_the_plan_that_dicts_give(convert):
    plans = [phase19.plan(rows(TASKS), history=rows(HISTORY), seed=3) for rows in (list, convert)]
    assert plans[0].assignments.equals(plans[1].assignments)
    assert plans[0].makespan_ms == plans[1].makespan_ms != phase19.plan(TASKS, history=HISTORY, seed=4).makespan_ms


def test_a_plan_in_memory_is_the_plan_of_a_run_of_the_same_files(tmp_path):
    place, few = tmp_path / "phase18", HISTORY[:5]  # 3 of 5 succeeded, in 8 s
    place.mkdir()
    summary = {"total_agents": 0, "total_tasks": 3, "success_rate": 0.6, "retry_rate": 0.0}
    summary["avg_execution_time_ms"] = 1600.0
    rows = [{**row, "timestamp": row["timestamp"].isoformat()} for row in few]
    rows = [{"status": "success" if row.pop("success") else "failed"} | row for row in rows]
    files = {
        "multi_agent_summary.json": json.dumps(summary),
        "coordination_patterns.json": "[]",
        "system_health.json": "{}",
        "learning_signals.jsonl": "",
        "task_outcomes.jsonl": "\n".join(map(json.dumps, rows)),
        "tasks.jsonl": "\n".join(map(json.dumps, TASKS)),
    }
    for name, text in files.items():
        (place / name).write_text(text, "utf-8")
    options = {"strategy": "balance_load", "max_load_factor": 1.2, "max_retries": 1}
    run, plan = phase19.run(place, seed=5, **options), phase19.plan(TASKS, history=few, seed=5, **options)
    columns = ["task_id", "agent_id", "planned_success", "planned_duration_ms", "score"]
    assert plan.assignments.select(columns).equals(run.plans.sort("task_id").select(columns))
    other = run.what_if(strategy="maximize_success", max_load_factor=1_000_000, max_retries=None)
    assert other.before.assignments.select(columns).equals(plan.assignments.select(columns))
    again = phase19.plan(TASKS, history=few, seed=5, max_retries=1)
    assert other.plan.assignments.select(columns).equals(again.assignments.select(columns))


def test_ids_are_enough_and_the_agents_not_given_do_nothing():
    plan = phase19.plan(["a", "b"], ["blue"], HISTORY)
    assert plan.assignments.select("task_id", "agent_id").rows() == [("a", "blue"), ("b", "blue")]
    assert phase19.plan(None, None, HISTORY).assignments.height == 20
    alone = phase19.plan(["a"], pl.Series(["green"]))
    assert alone.assignments["agent_id"].to_list() == ["green"]
    assert (alone.makespan_ms, alone.agents.columns) == (None, ["agent_id", "task_count", "expected_count"])


@pytest.mark.parametrize("words", [(1, 0), (1.0, 0.0), ("passed", "failure")])
@pytest.mark.parametrize("convert", [list, pl.DataFrame])
def test_success_may_be_a_number_or_a_word_of_status(words, convert):
    rows = [row | {"success": words[0] if row["success"] else words[1]} for row in HISTORY]
    found = phase19.plan(TASKS, history=convert(rows)).assignments
    assert found.equals(phase19.plan(TASKS, history=HISTORY).assignments)


@pytest.mark.parametrize("convert", [list, pl.DataFrame])
def test_ids_that_are_whole_numbers_become_text(convert):
    history = convert([{"task_id": 1, "agent_id": 7, "success": True}])
    plan = phase19.plan(convert([{"task_id": 1}]), history=history)
    assert plan.assignments.select("task_id", "agent_id").row(0) == ("1", "7")
    assert phase19.plan([1, 2], [7], history).assignments["task_id"].to_list() == ["1", "2"]


def test_agents_have_capacities_of_their_own_and_a_task_without_room_says_why():
    agents = [{"agent_id": "red", "capacity": 1}, {"agent_id": "blue", "capacity": 1}]
    plan = phase19.plan(TASKS, agents, HISTORY, allow_unassigned=True)
    assert (plan.assignments.height, plan.unassigned.height) == (2, 2)
    left_out = plan.unassigned["task_id"][0]
    assert plan.explain(left_out).startswith(f"{left_out} was not assigned: ")
    assert "Without an agent: 2 tasks" in repr(plan)
    with pytest.raises(phase19.Phase19Error, match="capacity"):
        phase19.plan(TASKS, agents, HISTORY)


def test_a_plan_is_explained_in_sentences_and_shown_in_a_few_lines():
    plan = phase19.plan(TASKS, history=HISTORY)
    said = plan.explain("new_1").splitlines()
    assert re.match(r"new_1 was assigned to red \(wave 1, priority \d of 4\)\.$", said[0])
    assert said[-1].startswith(("No agent has a higher chance of success. ", "If red could take one more task, "))
    assert repr(plan).splitlines()[0] == "Plan: 4 tasks for 2 agents, strategy maximize_success."
    assert len(repr(plan).splitlines()) <= 10
    assert "<table>" in plan._repr_html_()
    with pytest.raises(phase19.Phase19Error, match="expected a task of the plan, found 'new1'; did you mean new_"):
        plan.explain("new1")


def test_another_plan_moves_tasks_and_says_how_much_it_costs():
    plan = phase19.plan(TASKS, history=HISTORY)
    other = plan.what_if(exclude="red")
    assert set(other.plan.assignments["agent_id"]) == {"blue"}
    assert other.moved["agent_id_after"].to_list() == ["blue"] * 4
    assert other.plan.expected_success_rate < plan.expected_success_rate
    lines = repr(other).splitlines()
    assert lines[0] == "What if: exclude_agent=red"
    assert lines[-1] == "4 tasks of 4 would move."
    assert "<table>" in other._repr_html_()
    assert plan.what_if().moved.is_empty()
    assert repr(plan.what_if()).startswith("What if: nothing changed\n")
    less = plan.what_if(exclude_task="new_0").moved
    assert less.select("task_id", "agent_id_after").rows() == [("new_0", None)]


BAD = {"task_id": "t", "agent_id": "red", "success": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"history": [BAD, BAD | {"success": "yes"}]},
            "^history, row 2: field 'success': expected True, False, 1, 0 or a word of .* void, found \"yes\"",
        ),
        ({"history": [BAD | {"success": None}]}, "^history, row 1: field 'success': .* found null"),
        ({"history": [BAD | {"success": float("nan")}]}, "^history, row 1: field 'success': .* found null"),
        ({"history": pl.DataFrame([BAD | {"success": None}])}, "^history, row 1: field 'success': .* found null"),
        ({"history": pl.DataFrame([BAD | {"success": 2}])}, "^history, row 1: field 'success': .* found \"?2"),
        ({"history": [BAD | {"status": "yes"}]}, "^history, row 1: field 'status': expected [^T]*, found \"yes\""),
        ({"history": [1]}, "^history: expected a Polars or pandas frame or a list of dicts"),
        ({"history": [BAD | {"execution_time_ms": -1}]}, "^history, row 1: field 'execution_time_ms': .* found -1"),
        ({"history": [BAD | {"cost": {1}}, 5]}, "^history: expected a Polars or pandas frame or a list of dicts"),
        ({"history": [BAD | {"cost": object()}]}, "^history, row 1: expected values that JSON can hold"),
        ({"tasks": pl.DataFrame({"task_id": [object()]})}, "^tasks: expected values that JSON can hold"),
        ({"tasks": ["\ud800"]}, "^tasks: expected values that JSON can hold"),
        ({"tasks": [{"task": "a"}]}, "^tasks, row 1: field 'task_id': .* did you mean task"),
        ({"tasks": ["a", "b", "a"]}, "^tasks, row 3: field 'task_id': expected no repeated key, found 'a' again"),
        ({"tasks": []}, r"^tasks: expected .*, found \[\]"),
        ({"tasks": "a"}, "^tasks: expected .*, found 'a'"),
        ({"tasks": ["a"], "agents": [], "history": [BAD]}, "^agents: expected "),
        ({"tasks": ["a"]}, "^agents: expected at least one agent"),
        ({"tasks": ["a"], "history": []}, "^history: expected "),
        ({"agents": ["red"]}, "^tasks: expected at least one task"),
        (
            {"tasks": [{"task_id": "a", "required_agents": ["rad"]}], "history": [BAD]},
            "^tasks, row 1: field 'required_agents': .* found 'rad'; did you mean red",
        ),
        ({"tasks": ["a"], "history": [BAD], "exclude_agent": "rad"}, "exclude-agent: .* did you mean red"),
        ({"tasks": ["a"], "history": [BAD], "capacty": 2}, "found capacty; did you mean capacity"),
        ({"tasks": ["a"], "history": [BAD], "waves": 0}, "--waves: expected"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_bad_rows_and_options_are_named(arguments, message):
    with pytest.raises(phase19.Phase19Error, match=message):
        phase19.plan(**arguments)


def test_warnings_name_the_argument():
    plan = phase19.plan(["a"], history=[BAD | {"colour": "red"}])
    assert any(text.startswith("history: 1 value of unknown fields ignored: 'colour'") for text in plan.warnings)


def test_whole_numbers_that_became_fractions_are_whole():
    rows = pl.DataFrame([BAD | {"attempt": 1.0}, BAD | {"attempt": float("nan"), "task_id": "u"}])
    assert phase19.plan(["a"], history=rows).optimizer.inputs.attempts["attempt"].to_list() == [1, 1]
    with pytest.raises(phase19.Phase19Error, match="history, row 1: field 'attempt'"):
        phase19.plan(["a"], history=pl.DataFrame([BAD | {"attempt": 1.5}]))


def test_a_pandas_frame_needs_no_pyarrow():
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame(HISTORY)
    rows["attempt"] = [1.0, float("nan")] * 20
    found = phase19.plan(TASKS, history=rows)
    assert found.assignments.equals(phase19.plan(TASKS, history=HISTORY).assignments)


def test_frames_convert_to_pandas_with_the_extra():
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    assert phase19.plan(TASKS, history=HISTORY).assignments.to_pandas().shape[0] == 4


def test_validation_says_what_there_is_and_what_is_missing(tmp_path):
    found = phase19.validate("outputs/phase18")
    assert (found.tasks.height, found.agents.height, found.attempts.height) == (12, 4, 13)
    assert found.joins["agents_with_records"] == 4
    assert repr(found).startswith(
        "The inputs are valid: 12 tasks (planned_tasks.jsonl), 4 agents, 13 recorded attempts."
    )
    assert found.sources.filter(file="heuristics.jsonl")["used_for"].item() == "forecast"
    with pytest.raises(phase19.Phase19Error, match=r"multi_agent_summary\.json.*\n.*coordination_patterns\.json"):
        phase19.validate(tmp_path)


def test_forecasts_are_those_of_the_command(run_cli):
    done = run_cli("forecast", "--input", "outputs/phase18", "--format", "jsonl")
    rows = pl.read_ndjson(done.stdout.encode())
    assert phase19.forecast("outputs/phase18").select(rows.columns).equals(rows)


def test_what_a_plan_excludes_stays_excluded():
    plan = phase19.plan(["a"], ["red", "blue", "green"], HISTORY, exclude_agent="red")
    assert plan.what_if(exclude="blue").plan.assignments["agent_id"].to_list() == ["green"]
    other = plan.what_if(exclude_agent="blue").plan  # in place of red
    assert set(other.agents["agent_id"]) == {"red", "green"}

"""`explain` and `query`: a run's files asked, by the task and in SQL."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import phase19
from phase19.analysis.querying import select
from phase19.assignment.solver import solve
from phase19.errors import OutputError, UsageError
from phase19.inputs.sample import write_sample
from phase19.optimizer import AdaptiveOptimizer
from phase19.outputs.explain import explain, sentences

FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_sample(directory, tasks=18, agents=4, waves=2, seed=5)
    phase19.run(input=directory / "phase18", output=directory / "phase19", **FIXED)
    return directory


@pytest.fixture(scope="module")
def run_dir(place):
    return place / "phase19"


# explain


@pytest.mark.no_cover
def test_what_a_task_would_cost_elsewhere_is_what_planning_again_without_its_agent_says(place, run_dir):
    """The margin of every task of the first wave, against a plan in which the task may not go to its agent."""
    optimizer = AdaptiveOptimizer(place / "phase18", phase16_dir=place / "phase16", phase17_dir=place / "phase17")
    optimizer.load_phase18_data()
    plan = optimizer.calculate_optimal_schedule().wave
    names, solved = plan.model.agents["agent_id"].to_list(), plan.assignment
    scores = solved.scores
    for row, task_id in enumerate(plan.tasks["task_id"]):
        told = explain(run_dir, task_id)
        allowed = np.ones_like(scores, dtype=bool)
        allowed[row, names.index(told["agent_id"])] = False
        again = solve(scores, solved.capacity, allowed)
        assert told["score_margin"] == pytest.approx(solved.assignment.objective - again.objective, abs=1e-9)
        assert told["score"] == pytest.approx(scores[row, names.index(told["agent_id"])])
        assert told["runner_up_score"] == pytest.approx(scores[row, names.index(told["runner_up_agent_id"])])


TASK = {
    "task_id": "task_3", "agent_id": "agent_1", "wave": 1, "priority": 3, "status": "completed", "retry_count": 1,
    "error_message": None, "runner_up_agent_id": "agent_17", "score": 0.994, "runner_up_score": 0.996,
    "planned_success": 0.994, "score_margin": 0.000545, "agent_price": 0.02,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "agent_17 would be slightly better (99.6 % against 99.4 %), but it is full: {}less than 0.001 expected"),
        ({"score_margin": 0.04, "runner_up_score": 0.994012},
         "agent_17 would be slightly better (99.401 % against 99.400 %), but it is full: {}0.040 expected"),
        ({"score_margin": 0.194, "runner_up_score": 0.8},
         "agent_17 is next best (80.0 % against 99.4 %); it would cost the wave 0.19 expected"),
        ({"score_margin": 0.194, "runner_up_score": 0.8, "planned_success": 0.9},
         "agent_17 is next best (0.800 against 0.994); it would cost the wave 0.19 of its total score."),
        ({"score_margin": -0.25, "runner_up_score": 0.999},
         "agent_17 would be better (99.9 % against 99.4 %), but the task was moved to balance the load."),
        ({"runner_up_agent_id": None}, "No other agent can take it without leaving another task unassigned."),
    ],
)  # fmt: skip
def test_the_second_sentence_compares_with_the_runner_up(changed, sentence):
    wanted = sentence.format("moving another task off it would cost more than this gains, by ")
    assert sentences({**TASK, **changed})[1] == wanted.replace("expected", "expected successes.")


def test_the_other_sentences_say_where_the_task_went_and_what_happened():
    assert [*sentences(TASK)[:1], *sentences(TASK)[2:]] == [
        "task_3 was assigned to agent_1 in wave 1, with priority 3 and 99.4 % planned success.",
        "Room for one more task at agent_1 would add 0.020 expected successes.",
        "It completed after 1 retry.",
    ]
    assert sentences({**TASK, "status": "failed", "retry_count": 0})[-1] == "It failed."
    idle = sentences({**TASK, "status": "unobserved", "agent_price": 0.0})
    assert (len(idle), idle[-1]) == (3, "It did not run (unobserved).")
    unassigned = {**TASK, "agent_id": None, "unassigned_reason": None, "decision": "deferred", "reason": "HIGH risk"}
    assert sentences(unassigned) == ["task_3 was not assigned: its safety gate deferred it (HIGH risk)."]
    assert sentences({**unassigned, "unassigned_reason": "no room"}) == ["task_3 was not assigned: no room."]


def test_the_worth_of_a_slot_stands_with_each_agent(run_dir):
    wave = json.loads((run_dir / "wave_1" / "wave_summary.json").read_text())
    worth = {agent["agent_id"]: agent["slot_worth"] for agent in wave["agents"]}
    assert all(value >= 0 for value in worth.values())
    plans = select(run_dir, "select agent_id, agent_price from plans where wave = 1")
    assert all(worth[agent] == price for agent, price in plans.rows())


def test_explain_answers_on_the_command_line(run_cli, run_dir):
    shown = run_cli("explain", "task_3", "--run", run_dir)
    assert shown.returncode == 0
    assert shown.stdout.startswith("task_3 was assigned to ")
    as_json = run_cli("explain", "task_3", "--run", run_dir, "--json")
    assert json.loads(as_json.stdout)["task_id"] == "task_3"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["explain", "task_99"], "expected a task of"),
        (["query", "select nothing"], "query: Binder Error"),
        (["query", "copy (select 1) to 'x.csv'"], "query: expected one select, found copy"),
        (["query", "select 1; select 2"], "query: expected one select, found select, select"),
        (["query", "select * from read_text('/etc/hostname')"], "query: Permission Error"),
    ],
)
def test_what_cannot_be_asked_is_refused(run_cli, run_dir, args, message):
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    refused = run_cli(*args, "--run", run_dir)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


# query


def test_a_query_sees_typed_views_of_the_run(run_dir):
    found = select(run_dir, "select count(*) as tasks, sum(planned_success) as planned from plans where wave = $w", w=1)
    rows = pl.read_ndjson(sorted(run_dir.glob("wave_1/*/planned_tasks.jsonl")))
    assert found.row(0) == (rows.height, pytest.approx(rows["planned_success"].sum()))
    assert found.schema == pl.Schema({"tasks": pl.Int64, "planned": pl.Float64})


def test_nested_columns_become_json_text_where_only_plain_values_fit(run_dir):
    nested = select(run_dir, "select 1 as a, ['x', 'y,z'] as b, {'k': 2} as c")
    assert nested.row(0) == (1, '["x","y,z"]', '{"k":2}')


@pytest.mark.parametrize(
    ("form", "expected"),
    [("csv", "a,b\n1,\n2,y\n"), ("jsonl", '{"a":1,"b":null}\n{"a":2,"b":"y"}\n')],
)
def test_a_query_prints_what_other_programs_read(run_cli, run_dir, form, expected):
    sql = "select * from (values (1, null), (2, 'y')) t (a, b) order by a"
    assert run_cli("query", sql, "--run", run_dir, "--format", form).stdout == expected


def test_a_query_prints_a_table(run_cli, run_dir):
    shown = run_cli("query", "select wave, count(*) as tasks from tasks group by wave", "--run", run_dir)
    assert shown.stdout.splitlines()[0].split() == ["wave", "tasks"]
    assert len(shown.stdout.splitlines()) == 4


def test_a_directory_that_is_no_run_and_an_empty_query_are_named(run_dir, tmp_path):
    with pytest.raises(OutputError, match="expected a Phase 19 run"):
        select(tmp_path, "select 1")
    with pytest.raises(UsageError, match="found nothing"):
        select(run_dir, "")

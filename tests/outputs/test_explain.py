"""`explain` and `query`: a run's files asked, by the task and in SQL."""

from __future__ import annotations

import json
import re

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
    "error_message": None, "max_attempts": 3, "record_count": 2, "planned_success": 0.994, "planned_duration_ms": 90e3,
    "score": 0.994, "score_margin": 0.194, "runner_up_agent_id": "agent_17", "runner_up_score": 0.8,
    "best_agent_id": "agent_1", "best_score": 0.994, "best_margin": 0.0, "best_agent_task_count": 5,
    "is_best_agent_full": True, "agent_price": 0.0, "wave_strategy": "maximize_success", "wave_task_count": 12,
    "simulated": False, "success_probability": 0.9, "success_without_features": None, "main_features": [],
}  # fmt: skip
FULL = {**TASK, "best_agent_id": "agent_9", "best_score": 0.996, "best_margin": 0.025}
BEST = "No agent has a higher {}. The best other choice is agent_17 ({}): with task_3 there, {}"
BETTER = (
    "agent_9 has a higher {} ({}), but it already has the 5 tasks that it may take in this wave, and they need it "
    "more: with task_3 there, even if others moved to make room, {}"
)
EVEN = "{} has a higher chance of success ({}), but the plan also keeps the load of the agents even."
SCORED = "{} scores each task with each agent ({}) and maximises the sum over the wave. "
RETRIES = SCORED.format("minimize_retries", "from 0 to 1, higher for fewer expected retries")
EXPLORED = SCORED.format("maximize_success", "the chance of success plus a bonus for agents with few records")
CHANCE = "chance of success"
USUAL = BEST.format(CHANCE, "80.0 % against 99.4 %", "about one more task would fail in 5 waves like this.")
SPREAD = (
    "maximize_throughput looks for a plan whose last agent ends early, not for each task's best agent; "
    "agent_1 is planned to need 90 s for task_3."
)
FEW = "less than one more task would fail in 1,000 waves like this."


@pytest.mark.parametrize(
    ("task", "changed", "expected"),
    [
        (TASK, {}, USUAL),
        (
            TASK,
            {"score_margin": 0.0, "runner_up_score": 0.994},
            BEST.format(CHANCE, "99.4 % against 99.4 %", FEW),
        ),
        (
            TASK,
            {"score_margin": 1.3},
            BEST.format(CHANCE, "80.0 % against 99.4 %", "about 1.3 more tasks of the wave would fail."),
        ),
        (TASK, {"score_margin": -0.25, "runner_up_score": 0.999}, EVEN.format("agent_17", "99.9 % against 99.4 %")),
        (
            TASK,
            {"runner_up_agent_id": None},
            "No other agent may do it without leaving another task without an agent.",
        ),
        (
            TASK,
            {"agent_price": 0.02},
            f"{USUAL} If agent_1 could take one more task, about one more task would succeed in 50 waves like this.",
        ),
        (
            FULL,
            {},
            BETTER.format(CHANCE, "99.6 % against 99.4 %", "about one more task would fail in 40 waves like this."),
        ),
        (
            FULL,
            {"best_score": 0.994012, "best_margin": 0.0004},
            BETTER.format(CHANCE, "99.401 % against 99.400 %", FEW),
        ),
        (
            FULL,
            {"best_score": 0.9940004, "best_margin": 0.0004},
            BETTER.format(CHANCE, "", FEW).replace("a higher chance of success ()", "the same chance of success"),
        ),
        (
            FULL,
            {"best_margin": None},
            BETTER.format(CHANCE, "99.6 % against 99.4 %", "another task would have no agent."),
        ),
        (FULL, {"is_best_agent_full": False}, EVEN.format("agent_9", "99.6 % against 99.4 %")),
        (
            FULL,
            {"wave_strategy": "minimize_retries"},
            RETRIES + BETTER.format("score", "0.996 against 0.994", "the sum over the wave would fall by 0.025."),
        ),
        (
            TASK,
            {"planned_success": 0.9, "score_margin": 0.0001},
            EXPLORED + BEST.format("score", "0.8 against 1.0", "the sum over the wave would fall by less than 0.001."),
        ),
        (
            TASK,
            {"wave_strategy": "maximize_throughput"},
            SPREAD,
        ),
    ],
)
def test_the_reasons_say_whether_another_agent_is_better_and_what_moving_would_cost(task, changed, expected):
    assert " ".join(sentences({**task, **changed})[2:-1]) == expected


def test_the_other_sentences_say_where_the_task_went_and_what_happened():
    assert [*sentences(TASK)[:2], sentences(TASK)[-1]] == [
        "task_3 was assigned to agent_1 (wave 1, priority 3 of 12).",
        "Its chance of success there is 99.4 %, retries included; agent_1 has 2 recorded attempts at this task.",
        "It succeeded after 1 retry.",
    ]
    once = sentences({**TASK, "max_attempts": 1, "record_count": 0})[1]
    assert once == "Its chance of success there is 99.4 %; agent_1 has no recorded attempts at this task."
    failed = {**TASK, "status": "failed", "retry_count": 0, "error_message": "no disk", "simulated": True}
    assert sentences(failed)[-1] == "In the dry run, it failed: no disk"
    assert sentences({**TASK, "status": "unobserved"})[-1] == (
        "It did not run: the records that were replayed have no attempt of it by this agent."
    )
    assert sentences({**TASK, "status": "interrupted"})[-1] == "It did not run: the run was interrupted."
    unassigned = {**TASK, "agent_id": None, "unassigned_reason": None, "decision": "deferred", "reason": "HIGH risk"}
    assert sentences(unassigned) == ["task_3 was not assigned: its safety gate deferred it (HIGH risk)."]
    assert sentences({**unassigned, "unassigned_reason": "no room"}) == ["task_3 was not assigned: no room."]


@pytest.mark.parametrize(
    ("without", "names", "expected"),
    [
        (0.5, ["size", "depth"], "raise the chance of its first attempt from 50.0 % to 80.0 %; main: size, depth."),
        (0.9, ["size"], "lower the chance of its first attempt from 90.0 % to 80.0 %; main: size."),
        (0.8, [], None),
        (None, [], None),
    ],
)
def test_features_that_change_the_chance_are_named(without, names, expected):
    task = {**TASK, "success_probability": 0.8, "success_without_features": without, "main_features": names}
    found = [sentence for sentence in sentences(task) if "features" in sentence]
    assert found == ([] if expected is None else [f"The features of the task {expected}"])


def test_a_task_whose_best_agent_is_full_is_told_with_the_numbers_of_its_wave(tmp_path):
    """Agent x is best at both tasks and may take one: 'b' gains more from it, so 'a' goes to y."""
    source = tmp_path / "phase18"
    source.mkdir()
    summary = {"total_agents": 2, "total_tasks": 2, "success_rate": 0.8}
    for name, content in (("multi_agent_summary", summary), ("coordination_patterns", []), ("system_health", {})):
        (source / f"{name}.json").write_text(json.dumps(content))
    (source / "learning_signals.jsonl").write_text("")
    tries = {("a", "x"): 39, ("a", "y"): 36, ("b", "x"): 39, ("b", "y"): 4}
    rows = [
        {"task_id": task, "agent_id": agent, "status": "success" if number < count else "failed", "trial": number}
        for (task, agent), count in tries.items()
        for number in range(40)
    ]
    (source / "task_outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source / "tasks.jsonl").write_text('{"task_id": "a"}\n{"task_id": "b"}\n')
    run_dir = tmp_path / "run"
    phase19.run(input=source, output=run_dir, capacity=1, max_retries=0, **FIXED)
    told = {task: explain(run_dir, task) for task in "ab"}
    assert [(told[task]["agent_id"], told[task]["best_agent_id"]) for task in "ab"] == [("y", "x"), ("x", "x")]
    at = {(task, agent): row for task in "ab" for agent, row in [(told[task]["agent_id"], told[task]["score"])]}
    swapped = told["a"]["best_score"] + told["b"]["runner_up_score"]
    assert told["a"]["best_margin"] == pytest.approx(at["a", "y"] + at["b", "x"] - swapped, abs=1e-12)
    counts = ("best_agent_task_count", "is_best_agent_full", "wave_task_count", "wave_strategy")
    assert [told["a"][name] for name in counts] == [1, True, 2, "maximize_success"]
    said = " ".join(sentences(told["a"]))
    assert re.search(
        r"x has a higher chance of success \(9\d\.\d % against \d\d\.\d %\), but it already has the 1 task", said
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("task_99", "did you mean task_9?"), ("x", "its first tasks are task_0, task_1, task_2")]
)
def test_a_task_that_the_run_does_not_know_is_answered_with_one_that_it_does(run_dir, name, hint):
    with pytest.raises(UsageError) as refused:
        explain(run_dir, name)
    assert str(refused.value) == f"explain: expected a task of {run_dir}, found {name!r}; {hint}"


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

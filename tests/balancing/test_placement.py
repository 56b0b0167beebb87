"""Hard constraints: what agents may take, whom tasks allow, and tasks left out where there is no room for all."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

import phase19
from phase19.balancing.capacity import agent_capacity, left_out
from phase19.balancing.strategies import allowed_pairs, optimize, placed_tasks
from phase19.errors import InfeasibleError, InputError
from phase19.forecasting.model import ForecastModel
from phase19.inputs.loading import load_inputs
from phase19.options import OptimizationStrategy, PlanOptions
from phase19.wave import positions
from tests.builders import POPULATION, agents, assigned, attempts, forecast_of, random_attempts, tasks

S = OptimizationStrategy
SMALL = Path(__file__).parents[1] / "data" / "small"
FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 1}


def roster(*capacity: int | None) -> pl.DataFrame:
    """Agents a0, a1, ... with capacities of their own, None for none."""
    frame = agents(*(f"a{i}" for i in range(len(capacity))))
    return frame.with_columns(capacity=pl.Series(capacity, dtype=pl.Int64))


def fitted(frame: pl.DataFrame, team: pl.DataFrame) -> ForecastModel:
    """Model of tasks and agents whose records tell the agents apart."""
    records = attempts(*random_attempts(2, 30, agent_count=team.height))
    return ForecastModel.fit(frame.with_columns(wave=pl.lit(1, dtype=pl.Int64)), team, records, POPULATION)


def most_placed(capacity: list[int], allowed: np.ndarray) -> int:
    """Tasks that can be placed at most: the maximum flow from tasks through allowed pairs to agents with room."""
    n, m = allowed.shape
    flow = np.zeros((n + m + 2, n + m + 2), dtype=np.int32)
    flow[0, 1 : n + 1] = 1
    flow[1 : n + 1, n + 1 : n + m + 1] = allowed
    flow[n + 1 : n + m + 1, -1] = capacity
    return int(maximum_flow(csr_array(flow), 0, n + m + 1).flow_value)


# What agents may take


@pytest.mark.parametrize(
    ("n", "own", "limit", "expected"),
    [
        pytest.param(5, [None] * 4, "even", [2, 2, 2, 2], id="the even share"),
        pytest.param(5, [None] * 4, None, [4, 4, 4, 4], id="twice the even share"),
        pytest.param(9, [1, None, None], "even", [1, 4, 4], id="others rise: 1 + 4 + 4 is the least that holds 9"),
        pytest.param(18, [1, 1, None], None, [1, 1, 16], id="the default rises: 1 + 1 + 16 is the least that holds 18"),
        pytest.param(4, [5, None], "even", [5, 2], id="an agent may take more than the even share"),
        pytest.param(4, [1, None], "none", [1, 4], id="no limit but the agents' own"),
        pytest.param(9, [1, 5, None], 2, [1, 2, 2], id="the smaller of both limits rules"),
        pytest.param(4, [1, 1], None, [1, 1], id="no agent is left to rise"),
        pytest.param(3, [0, None], "even", [0, 3], id="one that may take nothing"),
        pytest.param(0, [2, None], None, [2, 0], id="no tasks"),
    ],
)
def test_capacity_is_an_agents_own_and_the_others_share_the_rest(n, own, limit, expected):
    assert agent_capacity(n, pl.Series(own, dtype=pl.Int64), limit).tolist() == expected


def test_the_even_share_rises_for_the_tasks_that_it_helps_and_for_no_other():
    # Tasks 0 and 1 need a0, which takes one whatever the others may; 2 and 3 need a1: a limit of 2 places them.
    allowed = np.zeros((4, 4), dtype=bool)
    allowed[[0, 1], 0] = allowed[[2, 3], 1] = True
    own = pl.Series([1, None, None, None], dtype=pl.Int64)
    assert agent_capacity(4, own, "even", allowed).tolist() == [1, 2, 2, 2]
    assert agent_capacity(4, own, 1, allowed).tolist() == [1, 1, 1, 1]


# Whom tasks allow


def test_excluded_agents_are_taken_from_the_required_ones_or_from_all():
    frame = tasks(
        {"task_id": "a", "excluded_agents": ["a0"]},
        {"task_id": "b", "required_agents": ["a0", "a1"], "excluded_agents": ["a1", "nobody"]},
        {"task_id": "c", "required_agents": [], "excluded_agents": []},
        {"task_id": "d", "required_agents": ["a2"], "excluded_agents": ["a2"]},
    )
    assert allowed_pairs(frame, roster(None, None, None)).tolist() == [
        [False, True, True],
        [True, False, False],
        [True, True, True],
        [False, False, False],
    ]


# Which tasks are placed


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (S.MAXIMIZE_SUCCESS, 0),
        (S.BALANCE_LOAD, 0),
        (S.MAXIMIZE_THROUGHPUT, 1),
        (S.MINIMIZE_RETRIES, 2),
        (S.CONFIDENCE_OPTIMIZATION, 3),
        (S.WEIGHTED, 3),
    ],
)
def test_with_room_for_one_task_the_strategy_says_which(strategy, expected):
    forecast = forecast_of(
        planned_success=[[0.9], [0.8], [0.8], [0.8]],
        planned_duration_ms=[[100.0], [50.0], [100.0], [100.0]],
        planned_attempts=[[1.5], [1.5], [1.2], [1.5]],
        planned_confidence_delta=[[0.01], [0.01], [0.01], [0.03]],
    )
    # Weighted: 0.6 x success + 0.3 x (1 - time / 100) + 0.1 x gain is 0.54, 0.63, 0.48 and 0.58; with confidence
    # alone it is the last one.
    weights = {"success": 0.0, "throughput": 0.0, "confidence": 1.0}
    found = placed_tasks(forecast, PlanOptions(strategy=strategy, weights=weights), np.array([1]))
    assert np.flatnonzero(found).tolist() == [expected]


def test_more_tasks_go_before_a_better_score():
    # a0 alone would get 0.9 for task 1; with both placed the sum is 0.1 + 0.2.
    forecast = forecast_of(planned_success=[[0.1, 0.8], [0.9, 0.2]])
    allowed = np.array([[True, False], [True, True]])
    assert placed_tasks(forecast, PlanOptions(), np.array([1, 1]), allowed).all()
    assert placed_tasks(forecast, PlanOptions(), np.array([1, 0]), allowed).tolist() == [False, True]


@given(st.data())
@settings(max_examples=30)
def test_the_tasks_placed_are_as_many_as_can_be_with_the_largest_sum(data):
    n, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    cells = st.lists(st.integers(0, 10), min_size=n * m, max_size=n * m)
    success = np.array(data.draw(cells), dtype=float).reshape(n, m) / 10
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n * m, max_size=n * m))).reshape(n, m)
    capacity = np.array(data.draw(st.lists(st.integers(0, 2), min_size=m, max_size=m)))
    is_placed = placed_tasks(forecast_of(planned_success=success), PlanOptions(), capacity, allowed)
    # Brute force: every way to give each task an agent or none, as (tasks placed, sum of scores).
    worth = {}
    for plan in product(range(-1, m), repeat=n):
        rows = [row for row in range(n) if plan[row] >= 0]
        load = np.bincount([plan[row] for row in rows], minlength=m)
        if all(allowed[row, plan[row]] for row in rows) and (load <= capacity).all():
            key = tuple(row in rows for row in range(n))
            value = (len(rows), sum(success[row, plan[row]] for row in rows))
            worth[key] = max(worth.get(key, value), value)
    best = max(worth.values())
    assert worth[tuple(is_placed.tolist())] == (best[0], pytest.approx(best[1]))


def test_auto_chooses_among_plans_for_the_tasks_of_the_most_successes():
    frame = tasks(count=6)
    model = fitted(frame, roster(1, 1, 1))

    def left(strategy):
        found = assigned(model, model.tasks, strategy=strategy, allow_unassigned=True)
        return found.unassigned["task_id"].to_list()

    assert left(S.AUTO) == left(S.MAXIMIZE_SUCCESS) != left(S.MAXIMIZE_THROUGHPUT)


@pytest.mark.parametrize("strategy", list(S))
def test_the_rest_is_planned_as_if_it_were_all(strategy):
    """Under capacities of their own, which do not ask how many tasks there are; whatever was left out."""
    model = fitted(tasks(*({"task_id": f"t{i}", "confidence": 0.1 * i} for i in range(10))), roster(2, 2, 1))
    parameters = {"strategy": strategy, "allow_unassigned": True}
    found = assigned(model, model.tasks, **parameters)
    alone = assigned(model, found.tasks, **parameters)
    assert (found.unassigned.height, alone.unassigned.height) == (5, 0)
    assert found.agent_index.tolist() == alone.agent_index.tolist()
    assert found.assignment.scores.tolist() == alone.assignment.scores.tolist()


def test_terms_of_the_rest_are_scaled_without_what_was_left_out():
    # Task 2 is left out, and its 1,000 ms with it: of 100 ms the 50 saved weigh 0.5 x 0.5, more than the success of
    # 0.5 x 0.3 lost. As a share of 1,000 ms they would weigh 0.5 x 0.05, less.
    forecast = forecast_of(
        planned_success=[[0.9, 0.6], [0.5, 0.5], [0.1, 0.1]],
        planned_duration_ms=[[100.0, 50.0], [100.0, 100.0], [1000.0, 1000.0]],
    )
    options = PlanOptions(strategy=S.WEIGHTED, weights={"success": 0.5, "throughput": 0.5})
    is_placed = placed_tasks(forecast, options, np.array([1, 1]))
    assert is_placed.tolist() == [True, True, False]
    rest = forecast.part(is_placed)
    assert optimize(rest, options, np.array([1, 1])).agent_index.tolist() == [1, 0]


# Why a task is left out


def test_a_reason_names_who_is_full():
    frame = tasks(
        {"task_id": "any"},
        {"task_id": "some", "required_agents": ["a1", "a0"]},
        {"task_id": "else", "excluded_agents": ["a0"]},
        {"task_id": "none", "required_agents": ["a1"], "excluded_agents": ["a1"]},
        {"task_id": "gone", "required_agents": ["b"]},
    ).with_columns(wave=pl.lit(2, dtype=pl.Int64))
    team = roster(2, 0)
    rows = left_out(frame, team, np.array([2, 0]), allowed_pairs(frame, team)).rows()
    assert rows == [
        ("any", 2, "every agent it allows is full: a0 (2), a1 (0)"),
        ("some", 2, "every agent it allows is full: a0 (2), a1 (0)"),
        ("else", 2, "every agent it allows is full: a1 (0)"),
        ("none", 2, "it allows no agent of this run"),
        ("gone", 2, "it allows no agent of this run"),
    ]


def test_a_long_reason_names_five_and_counts_the_rest():
    frame = tasks({"task_id": "t"}).with_columns(wave=1)
    found = left_out(frame, roster(*[0] * 7), np.zeros(7, dtype=np.int64), None)["reason"].item()
    assert found == "every agent it allows is full: a0 (0), a1 (0), a2 (0), a3 (0), a4 (0) and 2 more"


# A wave from end to end


def test_positions_among_no_ids_are_none_and_still_indices():
    none = pl.Series([], dtype=pl.String)
    assert positions(none, none).dtype == np.int64
    assert positions(pl.Series(["b", "a", "b"]), pl.Series(["a", "b"])).tolist() == [1, 0, 1]


@st.composite
def waves(draw):
    """A wave, its agents and what its plan is asked for; often without room for all."""
    n, m = draw(st.integers(1, 7)), draw(st.integers(1, 4))
    names = st.lists(st.sampled_from([f"a{i}" for i in range(m)] + ["nobody"]), unique=True, max_size=2)
    rows = [
        {"task_id": f"t{i}", "required_agents": draw(names), "excluded_agents": draw(st.none() | names)}
        for i in range(n)
    ]
    team = roster(*draw(st.lists(st.none() | st.integers(0, 3), min_size=m, max_size=m)))
    parameters = {
        "strategy": draw(st.sampled_from(list(S))),
        "capacity": draw(st.none() | st.integers(1, 3)),
        "max_load_factor": draw(st.sampled_from([None, 1.1])),
        "explore": draw(st.booleans()),
        "allow_unassigned": True,
    }
    return tasks(*rows), team, parameters


@given(waves())
@settings(max_examples=40)
def test_as_many_tasks_as_can_be_are_planned_and_no_constraint_is_broken(wave):
    frame, team, parameters = wave
    model = fitted(frame, team)
    found = assigned(model, model.tasks, **parameters)
    limit = frame.height if parameters["capacity"] is None else parameters["capacity"]
    room = [
        limit if own is None else own if parameters["capacity"] is None else min(own, limit) for own in team["capacity"]
    ]
    names = team["agent_id"].to_list()
    required, excluded = frame["required_agents"].to_list(), [each or [] for each in frame["excluded_agents"].to_list()]
    allowed = np.array(
        [[(not r or a in r) and a not in x for a in names] for r, x in zip(required, excluded, strict=True)]
    )
    assert found.tasks.height == most_placed(room, allowed)
    assert sorted([*found.tasks["task_id"], *found.unassigned["task_id"]]) == sorted(frame["task_id"])
    load = np.bincount(found.agent_index, minlength=team.height)
    assert (load <= found.assignment.capacity).all()
    assert (load <= room).all()
    row = {name: i for i, name in enumerate(frame["task_id"])}
    assert all(allowed[row[t], a] for t, a in zip(found.tasks["task_id"], found.agent_index, strict=True))
    # What is left out truly has no room: every agent it allows is full.
    assert all(
        load[a] == found.assignment.capacity[a]
        for t in found.unassigned["task_id"]
        for a in np.flatnonzero(allowed[row[t]])
    )
    if found.unassigned.height:
        with pytest.raises(InfeasibleError, match="--allow-unassigned"):
            assigned(model, model.tasks, **{**parameters, "allow_unassigned": False})


def test_other_plans_of_a_wave_keep_the_capacity_it_was_planned_with():
    # Seven tasks for three agents: an even share of 3. Three need a0, which takes one, so that four tasks are placed
    # whose own share would be 2; every record is a success of a1, which gets three.
    only = [{"task_id": f"x{i}", "required_agents": ["a0"]} for i in range(3)]
    frame = tasks(*only, *({"task_id": f"y{i}", "excluded_agents": ["a0"]} for i in range(4)))
    team = roster(1, None, None)
    records = attempts(
        *({"task_id": f"y{i}", "agent_id": "a1", "is_success": True} for i in range(4)),
        *({"task_id": f"y{i}", "agent_id": "a2", "is_success": False} for i in range(4)),
    )
    model = ForecastModel.fit(frame.with_columns(wave=pl.lit(1, dtype=pl.Int64)), team, records, POPULATION)
    wave = assigned(model, model.tasks, capacity="even", allow_unassigned=True)
    assert wave.assignment.capacity.tolist() == [1, 3, 3]
    assert np.bincount(wave.agent_index).tolist() == [1, 3, 1]


# The command


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def copied(tmp_path):
    """Inputs with the agents agent_0 and agent_1, and none else but those a test names."""
    phase18 = tmp_path / "in/phase18"
    shutil.copytree(SMALL / "phase18", phase18)
    for name in ("task_outcomes.jsonl", "learning_signals.jsonl"):
        (phase18 / name).write_text("")
    (phase18 / "coordination_patterns.json").write_text("[]")
    summary = {"total_agents": 2, "total_tasks": 4, "success_rate": 0.8}
    (phase18 / "multi_agent_summary.json").write_text(json.dumps(summary))
    return phase18


def give(phase18: Path, name: str, *rows: dict) -> None:
    (phase18 / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


CROWD = (
    {"task_id": "a", "wave": 1, "required_agents": ["agent_1"]},
    {"task_id": "b", "wave": 1, "required_agents": ["agent_1"]},
    {"task_id": "c", "wave": 2, "excluded_agents": ["agent_1"]},
)


def test_without_the_option_the_conflict_is_named_and_nothing_is_written(copied, tmp_path, run_cli):
    give(copied, "tasks.jsonl", *CROWD)
    give(copied, "agents.jsonl", {"agent_id": "agent_1", "capacity": 1})
    done = run_cli("--input", copied, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "2 tasks may use only 1 agent, whose total capacity is 1" in done.stderr
    assert "(wave 1; tasks 'a', 'b'; agent 'agent_1')" in done.stderr
    assert "--allow-unassigned" in done.stderr
    assert not (tmp_path / "out").exists()


def test_with_the_option_the_rest_is_planned_and_the_left_out_say_why(copied, tmp_path, run_cli):
    give(copied, "tasks.jsonl", *CROWD)
    give(copied, "agents.jsonl", {"agent_id": "agent_1", "capacity": 1})
    out = tmp_path / "out"
    fixed = ("--timestamp", FIXED["timestamp"], "--seed", 1)
    done = run_cli("--input", copied, "--output", out, "--allow-unassigned", *fixed)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)  # the inputs have no times
    assert "no record, summary or estimate has a time" in done.stderr
    assert "Tasks without an agent: 1 of 3." in done.stdout
    assert "unassigned_tasks.jsonl" in done.stdout
    (row,) = lines(out / "unassigned_tasks.jsonl")
    assert row["task_id"] in {"a", "b"}
    assert row == {
        "task_id": row["task_id"],
        "wave": 1,
        "reason": "every agent it allows is full: agent_1 (1)",
        "timestamp": FIXED["timestamp"],
    }
    summary = json.loads((out / "optimization_summary.json").read_text())
    counts = summary["task_counts"]
    assert (counts.pop("total"), sum(counts.values()), counts["unassigned"]) == (3, 3, 1)
    unassigned = [
        json.loads((out / f"wave_{wave}/wave_summary.json").read_text())["unassigned_count"] for wave in (1, 2)
    ]
    assert unassigned == [1, 0]
    scheduled = [task["task_id"] for path in out.rglob("scheduled_tasks.jsonl") for task in lines(path)]
    assert sorted([*scheduled, row["task_id"]]) == ["a", "b", "c"]
    used = {"phase": 18, "file": "agents.jsonl", "rows": 1, "status": "used", "used_for": "forecast"}
    assert used | {"ignored_fields": []} in summary["inputs"]
    assert "every agent it allows is full" in (out / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text()
    told = run_cli("explain", row["task_id"], "--run", out).stdout
    assert row["task_id"] in told
    assert row["reason"] in told


@pytest.mark.no_cover
def test_an_agent_takes_the_smaller_of_its_own_capacity_and_the_options(copied, tmp_path):
    give(copied, "tasks.jsonl", *({"task_id": f"t{i}"} for i in range(4)))
    give(copied, "agents.jsonl", {"agent_id": "agent_0", "capacity": 3}, {"agent_id": "agent_1"}, {"agent_id": "late"})

    def capacity(**options):
        run = phase19.run(input=copied, output=tmp_path / "out", **FIXED, **options)
        return dict(run.tables["agent_evidence"].select("agent_id", "capacity").rows())

    assert capacity() == {"agent_0": 3, "agent_1": 4, "late": 4}  # twice the even share of 4 tasks over 3 agents
    assert capacity(capacity="even") == {"agent_0": 3, "agent_1": 2, "late": 2}
    assert capacity(capacity=2) == {"agent_0": 2, "agent_1": 2, "late": 2}
    give(copied, "agents.jsonl", {"agent_id": "agent_0", "capacity": 1}, {"agent_id": "agent_1", "capacity": None})
    with pytest.raises(InfeasibleError, match="4 tasks for a total capacity of 3 over 2 agents"):
        capacity(capacity=2)
    assert capacity(capacity=2, allow_unassigned=True) == {"agent_0": 1, "agent_1": 2}


@pytest.mark.parametrize("strategy", list(S))
def test_a_wave_in_which_nothing_can_be_placed_has_an_empty_plan(strategy):
    model = fitted(tasks(count=2), roster(0, 0))
    found = assigned(model, model.tasks, strategy=strategy, max_load_factor=1.5, allow_unassigned=True)
    assert (found.tasks.height, found.agent_index.size, found.unassigned.height) == (0, 0, 2)


@pytest.mark.parametrize("strategy", [S.AUTO, S.MAXIMIZE_THROUGHPUT])
def test_a_run_goes_on_after_a_wave_in_which_nothing_can_be_placed(copied, tmp_path, strategy):
    give(copied, "tasks.jsonl", *CROWD[:2], {"task_id": "c", "wave": 2, "required_agents": ["agent_0"]})
    give(copied, "agents.jsonl", {"agent_id": "agent_1", "capacity": 0})
    run = phase19.run(
        input=copied, output=tmp_path / "out", strategy=strategy, max_load_factor=1.5, allow_unassigned=True, **FIXED
    )
    assert run.executions["task_id"].to_list() == ["c"]
    empty = run.tables["schedule_comparisons"].row(0, named=True)
    assert (empty["wave"], empty["actual_success_rate"], empty["accuracy_score"]) == (1, None, None)
    assert run.tables["wave_plans"]["unassigned_count"].to_list() == [2, 0]
    assert run.summary["task_counts"]["unassigned"] == 2


def test_a_run_in_which_nothing_can_be_placed_says_so(copied, tmp_path):
    give(copied, "tasks.jsonl", *CROWD[:2])
    give(copied, "agents.jsonl", {"agent_id": "agent_1", "capacity": 0})
    run = phase19.run(input=copied, output=tmp_path / "out", allow_unassigned=True, **FIXED)
    assert run.executions.is_empty()
    assert run.summary["task_counts"]["unassigned"] == run.summary["task_counts"]["total"] == 2


@pytest.mark.no_cover
def test_room_for_all_makes_the_option_change_nothing_but_the_run_id(copied, tmp_path):
    give(copied, "tasks.jsonl", *({"task_id": f"t{i}"} for i in range(4)))
    plain = phase19.run(input=copied, output=tmp_path / "plain", **FIXED)
    allowed = phase19.run(input=copied, output=tmp_path / "allowed", allow_unassigned=True, **FIXED)
    assert allowed.executions.equals(plain.executions)
    assert allowed.summary["run_id"] != plain.summary["run_id"]
    assert (tmp_path / "plain/unassigned_tasks.jsonl").read_text() == ""
    give(copied, "agents.jsonl", {"agent_id": "agent_0"})
    named = phase19.run(input=copied, output=tmp_path / "named", **FIXED)
    assert named.executions.equals(plain.executions)
    assert named.summary["run_id"] != plain.summary["run_id"]


def test_a_wave_without_a_plan_is_refused_before_the_first_task_of_a_live_run_starts(copied, tmp_path, run_cli):
    stuck = {"task_id": "s", "wave": 2, "required_agents": ["agent_0"], "excluded_agents": ["agent_0"]}
    give(copied, "tasks.jsonl", {"task_id": "t", "wave": 1, "risk_level": "LOW", "confidence": 0.9}, stuck)
    started = []
    with pytest.raises(InfeasibleError, match=r"which may use no agent \(wave 2; task 's'\)"):
        phase19.run(input=copied, output=tmp_path / "out", executor="live", runner=lambda *order: started.append(order))
    assert started == []
    done = run_cli("validate", "--input", copied)
    assert done.returncode == 2 and "which may use no agent (wave 2; task 's')" in done.stderr


def test_a_task_that_excludes_all_it_requires_is_an_error_or_left_out(copied, tmp_path):
    stuck = {"task_id": "s", "required_agents": ["agent_0"], "excluded_agents": ["agent_0", "agent_1"]}
    give(copied, "tasks.jsonl", {"task_id": "t"}, stuck)
    with pytest.raises(InfeasibleError, match=r"which may use no agent \(wave 1; task 's'\).* --allow-unassigned"):
        phase19.run(input=copied, output=tmp_path / "out", **FIXED)
    assert not (tmp_path / "out").exists()
    run = phase19.run(input=copied, output=tmp_path / "out", allow_unassigned=True, **FIXED)
    assert lines(tmp_path / "out/unassigned_tasks.jsonl")[0]["reason"] == "it allows no agent of this run"
    assert run.executions["task_id"].to_list() == ["t"]


def test_agents_named_in_agents_join_the_roster_and_those_only_excluded_do_not(copied):
    give(copied, "tasks.jsonl", {"task_id": "t", "excluded_agents": ["banned"]})
    give(copied, "agents.jsonl", {"agent_id": "agent_7", "capacity": 2, "mood": "good"}, {"agent_id": "agent_0"})
    inputs = load_inputs(copied)
    found = dict(inputs.agents.select("agent_id", "capacity").rows())
    assert found == {"agent_0": None, "agent_7": 2}
    assert inputs.warnings[0] == "agents.jsonl: 1 value of unknown fields ignored: 'mood' (1)"
    assert inputs.warnings[1].endswith("found 'banned'; the exclusion has no effect")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        pytest.param('{"agent_id": "a"}\n{"agent_id": "a"}', 2, "no repeated key", id="twice"),
        pytest.param('{"capacity": 1}', 1, "agent_id", id="no id"),
        pytest.param('{"agent_id": "a", "capacity": -1}', 1, "an integer", id="negative"),
        pytest.param('{"agent_id": "a", "capacity": 1.5}', 1, "an integer", id="half a task"),
        pytest.param('{"agent_id": "a", "capacity": 3000000000}', 1, "an integer", id="absurd"),
    ],
)
def test_a_bad_agents_file_is_refused_by_its_line(copied, text, line, message):
    (copied / "agents.jsonl").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_inputs(copied)
    assert (caught.value.file, caught.value.line) == (str(copied / "agents.jsonl"), line)


def test_tasks_that_an_interrupted_run_did_not_come_to_say_so(copied, tmp_path):
    give(copied, "tasks.jsonl", *({"task_id": f"t{i}", "wave": i + 1, "risk_level": "LOW"} for i in range(3)))

    def runner(_order, _attempt):
        raise KeyboardInterrupt

    run = phase19.run(input=copied, output=tmp_path / "out", executor="live", runner=runner, **FIXED)
    rows = lines(tmp_path / "out/unassigned_tasks.jsonl")
    assert [(row["task_id"], row["reason"]) for row in rows] == [
        (name, "the run was interrupted before its wave") for name in ("t1", "t2")
    ]
    assert run.summary["task_counts"]["unassigned"] == 2


def test_a_wave_after_one_in_which_nothing_ran_learned_from_no_attempt(copied, tmp_path):
    only = [{"task_id": f"x{i}", "wave": 2, "required_agents": ["agent_0"]} for i in range(3)]
    free = [{"task_id": f"y{i}", "wave": 2, "excluded_agents": ["agent_0"]} for i in range(4)]
    give(copied, "tasks.jsonl", {"task_id": "first", "wave": 1}, *only, *free)
    give(copied, "agents.jsonl", {"agent_id": "agent_0", "capacity": 1}, {"agent_id": "agent_2"})
    records = [
        {"task_id": f"y{i}", "agent_id": f"agent_{a}", "status": status, "execution_time_ms": 10.0}
        for i in range(4)
        for a, status in ((1, "success"), (2, "failed"))
    ]
    give(copied, "task_outcomes.jsonl", *records)
    executions = tmp_path / "executions.jsonl"
    executions.write_text(json.dumps({"task_id": "other", "agent_id": "agent_1", "status": "success"}) + "\n")
    run = phase19.run(
        input=copied,
        output=tmp_path / "out",
        executor="replay",
        executions=executions,
        capacity="even",
        allow_unassigned=True,
        **FIXED,
    )
    assert run.tables["wave_plans"]["unassigned_count"][1] == 2
    by_agent = run.executions.filter(wave=2)["agent_id"].value_counts().rows()
    assert dict(by_agent) == {"agent_0": 1, "agent_1": 3, "agent_2": 1}

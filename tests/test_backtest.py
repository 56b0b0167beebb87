"""Backtest: yardsticks by hand, parts that add up, a past that knows nothing of the future, and the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phase19
from phase19.errors import OutputError, UsageError
from phase19.evaluation.hindsight import PlannedWave, add_up, look_back
from phase19.evaluation.measures import score_forecasts
from phase19.evaluation.pair_records import PairRecords, pair_records
from phase19.evaluation.replay_plan import rehearse
from phase19.evaluation.time_split import split_inputs
from phase19.forecasting.model import ForecastModel
from phase19.inputs.history import read_executions
from phase19.inputs.loading import Population, load_inputs
from phase19.inputs.preparation import first_model
from phase19.inputs.sample import write_sample
from phase19.planning import PlanParameters
from phase19.publishing.files import publish_file
from tests.builders import agents, attempts, tasks

ROOT = Path(__file__).parent.parent
LOSSES = ("forecast_error", "constraints", "luck")

# Looking back: three tasks, two agents, by hand


def recorded(success, chance, duration_ms=0.0, is_observed=True) -> PairRecords:
    outcome = np.array(success, dtype=float)
    seen, times = np.broadcast_to(is_observed, outcome.shape), np.broadcast_to(duration_ms, outcome.shape)
    return PairRecords(seen, outcome, outcome, times, np.array(chance, dtype=float))


def planned(agent, promised, capacity, usable=None) -> PlannedWave:
    chosen, limits = np.array(agent), np.array(capacity)
    return PlannedWave(np.arange(chosen.size), chosen, np.array(promised, dtype=float), limits, usable)


BY_HAND = recorded(
    success=[[1, 0], [0, 1], [0, 1]],
    chance=[[0.75, 0.5], [0.5, 0.5], [0.5, 0.75]],
    duration_ms=[[10, 20], [30, 40], [50, 60]],
)


def test_yardsticks_of_three_tasks_and_two_agents():
    # The plan: t0 -> a0 (1), t1 -> a1 (1), t2 -> a0 (0). Each task succeeds with one agent of two: round robin 3/2.
    # Alone, a0 does 1 and a1 does 2. The oracle, two tasks an agent at most: t0 -> a0, t1 -> a1, t2 -> a1.
    found = look_back(planned([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.3]], [2, 2]), BY_HAND)
    assert (found.observed_count, found.plan, found.round_robin, found.oracle) == (3, 2, 1.5, 3)
    assert found.solo.tolist() == [1, 2]
    # Rotation 0: a0 has 10 + 50, a1 40. Rotation 1: a0 has 30, a1 20 + 60. Mean of 60 and 80.
    assert found.round_robin_makespan_ms == 70


@pytest.mark.parametrize(
    ("third", "error", "constraints"),
    [
        # Chances are 2 at best (0.75 + 0.5 + 0.75), 1.75 in the plan. Luck is (3 - 2) - (2 - 1.75) = 0.75 in both.
        pytest.param([0.6, 0.3], 0.25, 0.0, id="the forecast wanted a0 for t2"),
        pytest.param([0.3, 0.6], 0.0, 0.25, id="something else put t2 on a0"),
    ],
)
def test_what_was_lost_is_told_apart_by_who_lost_it(third, error, constraints):
    found = look_back(planned([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], third], [2, 2]), BY_HAND)
    assert [getattr(found, name) for name in LOSSES] == [error, constraints, 0.75]
    assert found.oracle - found.plan == 1.0


def test_capacity_binds_the_oracle_and_its_cost_is_told_beside():
    # All want a0, which may take one task: the best by chances is 0.9 + 0.5 of 0.9 + 0.8 without the limit.
    records = recorded([[1, 0], [1, 0]], [[0.9, 0.5], [0.8, 0.5]])
    found = look_back(planned([0, 1], [[0.9, 0.5], [0.8, 0.5]], [1, 1]), records)
    assert (found.oracle, found.solo.tolist()) == (1, [2, 0])
    assert found.capacity_cost == pytest.approx(0.3)


def test_a_plan_that_promises_as_much_as_any_lost_nothing_to_constraints():
    found = look_back(planned([1, 0], np.full((2, 2), 0.5), [1, 1]), recorded([[1, 0], [0, 1]], [[0.9, 0], [0, 0.9]]))
    assert (found.forecast_error, found.constraints) == (1.8, 0.0)


def test_tasks_the_records_cannot_answer_stay_out_and_keep_their_place():
    # t0 went to a0 and has no record there: a0, full with it, is closed to t1, whose only choice is then a1.
    records = recorded([[0, 1], [1, 0]], [[0, 1], [1, 0]], is_observed=[[False, True], [True, True]])
    found = look_back(planned([0, 1], np.full((2, 2), 0.5), [1, 1]), records)
    assert (found.observed_count, found.plan, found.oracle, found.round_robin) == (1, 0, 0, 0.5)
    nothing = look_back(planned([0], [[0.5, 0.5]], [1, 1]), recorded([[0, 1]], [[0, 1]], is_observed=[[False, True]]))
    assert (nothing.observed_count, nothing.solo.tolist()) == (0, [0, 0])


def test_an_agent_a_task_does_not_allow_is_closed_to_the_oracle_too():
    usable = np.array([[True, False]])
    found = look_back(planned([0], [[0.1, 0.9]], [1, 1], usable), recorded([[0, 1]], [[0, 1]]))
    assert (found.oracle, found.forecast_error) == (0, 0)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3))
def test_parts_add_up_and_the_oracle_is_the_best_there_is(seed, n, m):
    rng = np.random.default_rng(seed)
    promised, chance = rng.random((n, m)), rng.random((n, m))
    seen = rng.random((n, m)) < 0.7
    records = PairRecords(
        seen, *(seen * values for values in (*(rng.integers(2, size=(2, n, m))), rng.random((n, m)), chance))
    )
    capacity = np.full(m, -(-n // m))
    plans = np.array([p for p in product(range(m), repeat=n) if np.bincount(p, minlength=m).max() <= capacity[0]])
    row = np.arange(n)
    agent = plans[np.argmax([promised[row, plan].sum() for plan in plans])]
    found = look_back(planned(agent, promised, capacity), records)
    assert sum(getattr(found, name) for name in LOSSES) == pytest.approx(found.oracle - found.plan, abs=1e-9)
    assert found.constraints == 0  # the plan is its own promise's best
    assert found.forecast_error >= -1e-9
    kept = seen[row, agent]
    same = [plan for plan in plans if (plan[~kept] == agent[~kept]).all() and seen[row, plan][kept].all()]
    best = max((records.success[row, plan][kept].sum() for plan in same), default=0)
    assert found.oracle == pytest.approx(best)
    assert add_up([found, found]).oracle == 2 * found.oracle


# Scores


def test_scores_of_three_forecasts():
    found = score_forecasts(np.array([0.9, 0.2, 1.0]), np.array([1.0, 0.0, 0.0]), 0.5)
    # (0.01 + 0.04 + 1) / 3; the base rate alone has 0.25; log-loss keeps the forecast of 1 off it by 1e-6.
    assert found.brier_score == pytest.approx(0.35)
    assert found.skill == pytest.approx(1 - 0.35 / 0.25)
    assert found.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.8) + np.log(1e-6)) / 3)
    assert [row.count for row in found.reliability] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    last = found.reliability[-1]
    assert (last.low, last.high, last.mean_outcome) == (0.9, 1.0, 0.5)
    assert last.mean_forecast == pytest.approx(0.95)
    assert found.reliability[0].mean_outcome is None


def test_nothing_scored_is_no_score():
    found = score_forecasts(np.zeros(0), np.zeros(0), 0.5)
    assert (found.pair_count, found.brier_score, found.log_loss, found.skill) == (0, None, None, None)


# Records of pairs


def test_records_of_pairs_follow_the_rules_of_replay():
    population = Population(0.5, None, None, 2, 2, None)
    history = [{"task_id": "t0", "agent_id": "a0", "is_success": False}]
    model = ForecastModel.fit(tasks(count=2), agents("a0", "a1"), attempts(*history), population)
    happened = [
        {"task_id": "t0", "agent_id": "a0", "attempt": 2, "is_success": True, "duration_ms": 5.0},
        {"task_id": "t0", "agent_id": "a0", "attempt": 1, "is_success": False, "duration_ms": 3.0},
        {"task_id": "t1", "agent_id": "a1", "is_success": True, "duration_ms": 7.0},
        {"task_id": "t1", "agent_id": "a1", "attempt": 2, "is_success": False, "duration_ms": 9.0},
        {"task_id": "t9", "agent_id": "a1"},
        {"task_id": "t0", "agent_id": None},
    ]
    found = pair_records(model, attempts(*happened), np.array([2, 1]))
    assert found.is_observed.tolist() == [[True, False], [False, True]]
    assert found.first_success.tolist() == [[0, 0], [0, 1]]
    assert found.success.tolist() == [[1, 0], [0, 1]]
    assert found.duration_ms.tolist() == [[8, 0], [0, 7]]
    # (t0, a0): one of three attempts ever succeeded, two are allowed: 1 - (2/3)^2. (t1, a1): one of two, one allowed.
    assert found.chance == pytest.approx(np.array([[5 / 9, 0], [0, 0.5]]))


# From end to end


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A generated sample, and outcomes of two thirds of its pairs; (input directory, executions file)."""
    place = tmp_path_factory.mktemp("case")
    write_sample(place, tasks=24, agents=3, waves=2, seed=4)
    rng = np.random.default_rng(0)
    rows = [
        {
            "task_id": f"task_{t}",
            "agent_id": f"agent_{a}",
            "status": "success" if rng.random() < 0.9 - 0.3 * a else "failed",
            "execution_time_ms": float(rng.uniform(10, 40)),
        }
        for t in range(24)
        for a in range(3)
        if (t + a) % 3
    ]
    (place / "executions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place / "phase18", place / "executions.jsonl"


def first_of(case):
    return load_inputs(case[0], case[0].parent / "phase16", case[0].parent / "phase17")


def test_a_backtest_plans_replays_and_learns_as_the_run_does(case, tmp_path):
    found, executions = rehearse(
        first_model(first_of(case)), read_executions(case[1]), PlanParameters(max_retries=0), seed=3
    )
    settings = {"executor": "replay", "executions": case[1], "max_retries": 0, "seed": 3}
    run = phase19.run(input=case[0], output=tmp_path / "run", **settings)
    keys = ["wave", "planned_success_rate", "actual_success_rate", "success_rate_low", "success_rate_high"]
    rows = [[getattr(wave, key) for key in keys] for wave in found.waves]
    wanted = run.tables["schedule_comparisons"].select(keys).rows()
    assert np.array(rows) == pytest.approx(np.array(wanted))
    pairs = ["task_id", "agent_id", "status"]
    assert executions.select(pairs).sort(pairs).equals(run.executions.select(pairs).sort(pairs))
    ran = executions.filter(pl.col("status") != "unobserved")
    assert 0 < ran.height < executions.height
    assert found.observed_share == run.summary["observed_share"] == ran.height / 24
    assert found.success.plan == pytest.approx((ran["status"] == "completed").mean())
    assert found.overall.makespan_ms == pytest.approx(
        ran.group_by("wave").agg(pl.col("actual_end_time").max())["actual_end_time"].sum()
    )
    assert found.scores.pair_count == 48


def test_success_is_measured_on_every_task_when_every_pair_is_recorded(tmp_path):
    """The yardsticks of a whole backtest, recomputed without the package."""
    write_sample(tmp_path, tasks=9, agents=3, waves=1, seed=1)
    inputs = load_inputs(tmp_path / "phase18", tmp_path / "phase16", tmp_path / "phase17")
    outcome = np.random.default_rng(5).integers(2, size=(9, 3))
    times = np.random.default_rng(6).random((9, 3))
    model = first_model(inputs)
    rows = [
        {"task_id": task, "agent_id": agent, "is_success": bool(outcome[i, j]), "duration_ms": times[i, j]}
        for i, task in enumerate(model.tasks["task_id"])
        for j, agent in enumerate(model.agents["agent_id"])
    ]
    found, executions = rehearse(model, attempts(*rows), PlanParameters(max_retries=0))
    assert found.success.round_robin == pytest.approx(outcome.mean())
    assert found.success.best_single_agent == pytest.approx(outcome.mean(axis=0).max())
    assert found.success.best_single_agent_id == f"agent_{outcome.mean(axis=0).argmax()}"
    plans = (plan for plan in product(range(3), repeat=9) if max(np.bincount(plan)) <= 3)
    best = max(outcome[np.arange(9), plan].sum() for plan in plans)
    assert found.success.oracle == pytest.approx(best / 9)
    plan = (executions["status"] == "completed").mean()
    gap = (plan - outcome.mean()) / (best / 9 - outcome.mean())
    assert found.success.gap_closed == pytest.approx(gap)
    ends = [max(sum(times[i, a] for i in range(9) if (i + r) % 3 == a) for a in range(3)) for r in range(3)]
    assert found.round_robin_makespan_ms == pytest.approx(np.mean(ends))
    losses = found.losses
    assert losses.constraints == 0  # success is the plan's only aim, capacity binds the oracle too
    assert losses.forecast_error + losses.constraints + losses.luck == pytest.approx(losses.total, abs=1e-12)
    assert losses.total == pytest.approx(best / 9 - plan)


# Splitting


SPLIT = datetime(2026, 1, 12, tzinfo=UTC)  # the generated sample's Phase 17 before, its Phase 18 after it


def test_what_came_after_changes_nothing_of_what_was_known(case):
    inputs = first_of(case)
    is_later = pl.col("timestamp") >= SPLIT
    other = inputs.attempts.with_columns(
        is_success=pl.col("is_success") ^ is_later,
        duration_ms=pl.when(is_later).then(pl.col("duration_ms") * 7).otherwise("duration_ms"),
        confidence_delta=pl.when(is_later).then(-0.5).otherwise("confidence_delta"),
    )
    told = inputs.agents.with_columns(summary_success_rate=0.01, summary_task_count=1000)
    population = Population(0.01, 9.0, 0.5, 3, 24, inputs.population.wave_count)
    changed = replace(inputs, attempts=other, agents=told, population=population)
    fewer = replace(inputs, attempts=pl.concat([other.filter(~is_later), other.filter(is_later).head(1)]))
    pasts = [split_inputs(version, SPLIT)[0] for version in (inputs, changed, fewer)]
    plans = []
    for past in pasts:
        assert past.attempts.height > 0
        assert past.population == pasts[0].population
        assert past.agents.equals(pasts[0].agents)
        assert past.attempts.equals(pasts[0].attempts)
        model = first_model(past, waves=1)
        _, executions = rehearse(model, split_inputs(inputs, SPLIT)[1], PlanParameters(max_retries=0))
        plans.append(executions.select("task_id", "agent_id", "planned_success", "scheduled_end_time"))
    assert plans[0].equals(plans[1])
    assert plans[0].equals(plans[2])


def test_a_split_rebuilds_what_is_said_of_agents_and_population(case):
    inputs = first_of(case)
    past, later = split_inputs(inputs, SPLIT)
    assert past.attempts["source"].unique().to_list() == ["phase17"]
    assert later["source"].unique().to_list() == ["run"]
    assert past.attempts.height + later.height == inputs.attempts.height
    assert past.population.success_rate == pytest.approx(past.attempts["is_success"].mean())
    assert past.population.duration_ms == pytest.approx(past.attempts["duration_ms"].mean())
    assert past.agents["record_count"].sum() == past.attempts["agent_id"].drop_nulls().len()
    assert past.agents["summary_success_rate"].null_count() == past.agents.height
    numbers = later.group_by("task_id", "agent_id").agg(
        pl.col("attempt").sort(), pl.col("timestamp").sort_by("attempt")
    )
    assert all(row == list(range(1, len(row) + 1)) for row in numbers["attempt"].to_list())
    assert all(row == sorted(row) for row in numbers["timestamp"].to_list())


def test_a_split_before_every_record_leaves_wide_forecasts(case):
    past, later = split_inputs(first_of(case), datetime(2020, 1, 1, tzinfo=UTC))
    assert past.agents["evidence"].unique().to_list() == ["none"]
    assert (past.population.success_rate, past.population.duration_ms) == (0.5, None)
    found, executions = rehearse(first_model(past), later, PlanParameters(max_retries=0))
    first = executions.filter(pl.col("wave") == 1)  # the second has learned from it
    assert (first["success_high"] - first["success_low"]).min() > 0.5
    assert found.scores.base_rate == 0.5


def test_a_split_needs_a_time_for_every_record_and_something_after_it(case):
    inputs = first_of(case)
    with pytest.raises(UsageError, match="expected records of agents at or after 2030-01-01T00:00:00"):
        split_inputs(inputs, datetime(2030, 1, 1, tzinfo=UTC))
    first_two = pl.int_range(pl.len()) < 2
    undated = inputs.attempts.with_columns(timestamp=pl.when(~first_two).then("timestamp"))
    with pytest.raises(UsageError, match=rf"every record, found 2 of {inputs.attempts.height} without one"):
        split_inputs(replace(inputs, attempts=undated), SPLIT)


# The command


@pytest.fixture
def place(case, tmp_path):
    """The case in a place of its own; its input directory."""
    shutil.copytree(case[0].parent, tmp_path / "case")
    return tmp_path / "case" / "phase18"


def test_backtest_writes_beside_its_input_and_prints_tables(run_cli, place):
    done = run_cli("backtest", "--input", place, "--executions", place.parent / "executions.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Backtest: 24 tasks, 3 agents, 2 waves, maximize_success; ")
    for text in ("round robin", "oracle, hindsight with luck", "forecast error", "brier score"):
        assert text in done.stdout
    target = place.parent / "backtest.json"
    assert done.stdout.endswith(f"Results are in {target}\n")
    found = json.loads(target.read_text())
    losses = found["losses"]
    assert sum(losses[name] for name in LOSSES) == pytest.approx(losses["total"], abs=1e-12)
    assert losses["total"] == pytest.approx(found["success"]["oracle"] - found["success"]["plan"])
    assert found["max_retries"] == 0
    assert [wave["wave"] for wave in found["waves"]] == [1, 2]
    assert len(found["scores"]["reliability"]) == 10
    assigned = [task for wave in found["plan"] for names in wave["agent_assignments"].values() for task in names]
    assert sorted(assigned) == sorted(f"task_{i}" for i in range(24))


def test_a_seed_and_a_timestamp_fix_every_byte_of_a_backtest(run_cli, place):
    fixed = ("--split-at", "2026-01-12T01:00:00+01:00", "--seed", "3", "--timestamp", "2026-02-05T12:00:00Z", "--json")
    printed = [run_cli("backtest", "--input", place, *fixed, "--output", place.parent / name) for name in ("a", "b")]
    assert printed[0].stdout == printed[1].stdout == (place.parent / "a").read_text()
    found = json.loads(printed[0].stdout)
    assert (found["timestamp"], found["seed"]) == ("2026-02-05T12:00:00Z", 3)
    assert found["split_at"] == "2026-01-12T00:00:00Z"


@pytest.mark.parametrize("what", ["executions", "split_at"])
def test_from_python_a_backtest_is_the_command_s_and_writes_nothing(run_cli, place, what):
    settings = {"seed": 3, "strategy": "balance_load", "timestamp": "2026-02-05T12:00:00Z"}
    settings[what] = str(place.parent / "executions.jsonl") if what == "executions" else "2026-01-12"
    before = set(place.parent.rglob("*"))
    result = phase19.backtest(input=str(place), **settings)
    assert set(place.parent.rglob("*")) == before
    arguments = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]
    printed = run_cli("backtest", "--input", place, *map(str, arguments), "--json").stdout
    assert json.loads(printed) == json.loads(json.dumps(result.document))
    assert result.document["max_retries"] == 0
    ran = result.executions.filter(pl.col("status") != "unobserved")
    assert ran["planned_success"].mean() == pytest.approx(result.document["overall"]["planned_success_rate"])
    history = result.document["history_record_count"]
    assert result.forecasts.height == 72 and result.forecasts["record_count"].sum() == history
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "expected one of --executions and --split-at, found neither", id="neither"),
        pytest.param(
            ["--executions", "{executions}", "--split-at", "2026-01-12"],
            "expected one of --executions and --split-at, found both",
            id="both",
        ),
        pytest.param(["--split-at", "soon"], "--split-at: expected ISO 8601 such as", id="no moment"),
        pytest.param(
            ["--split-at", "2030-01-01"], "--split-at: expected records of agents at or after", id="no future"
        ),
        pytest.param(["--split-at", "2026-01-12", "--waves", "0"], "--waves: expected a whole number", id="bound"),
        pytest.param(["--executions", "{input}/none"], "none", id="no executions"),
        pytest.param(
            ["--split-at", "2026-01-12", "--output", "{input}/tasks.jsonl"], "is or lies in the input", id="inside"
        ),
        pytest.param(
            ["--executions", "{executions}", "--output", "{executions}"], "is or lies in the input", id="over"
        ),
        pytest.param(
            ["--split-at", "2026-01-12", "--output", "{input}/.."],
            "expected a file to write or nothing",
            id="directory",
        ),
        pytest.param(
            ["--split-at", "2026-01-12", "--output", "{executions}/x.json"], "cannot be written", id="below a file"
        ),
        pytest.param(["--split-at", "2026-01-12", "--timestamp", "now"], "--timestamp: expected ISO 8601", id="stamp"),
    ],
)
def test_bad_usage_of_backtest_is_one_message_and_writes_nothing(run_cli, place, arguments, message):
    def tree():
        return {path: path.read_bytes() for path in place.parent.rglob("*") if path.is_file()}

    before = tree()
    names = {"input": place, "executions": place.parent / "executions.jsonl"}
    done = run_cli("backtest", "--input", place, *(argument.format(**names) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree() == before


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "file.json"
    with pytest.raises(ZeroDivisionError), publish_file(target) as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert list(target.parent.iterdir()) == []
    with publish_file(target) as path:
        path.write_text("whole")
        assert not target.exists()
    assert [entry.name for entry in target.parent.iterdir()] == ["file.json"]
    assert target.read_text() == "whole"
    with pytest.raises(OutputError, match="cannot be written"), publish_file(target / "below"):
        pass


def test_records_of_nobody_planned_are_nothing_to_replay(case, tmp_path):
    path = tmp_path / "executions.jsonl"
    path.write_text('{"task_id": "elsewhere", "agent_id": "agent_0", "status": "success"}\n')
    with pytest.raises(UsageError, match=r"executions\.jsonl: expected records of the run.s tasks"):
        phase19.backtest(input=case[0], executions=path)


@pytest.mark.parametrize(
    "setting", [{"approve": "x"}, {"previous": "x"}, {"deliver_feedback": True}, {"explore": True}]
)
def test_what_a_backtest_would_not_do_is_refused(case, setting):
    with pytest.raises(UsageError, match=f"expected an option of the command, found {next(iter(setting))}"):
        phase19.backtest(input=case[0], executions=case[1], **setting)

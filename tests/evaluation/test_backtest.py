"""Backtests: scores by hand, a past that knows nothing of the future, and the command."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phase19
from phase19 import frames
from phase19.errors import UsageError
from phase19.evaluation.backtest import (
    PairOutcomes,
    count_successes,
    default_split,
    leave_out_records,
    replay_pairs,
    replay_plan,
    score_forecasts,
    split_inputs,
)
from phase19.forecasting.model import ForecastModel
from phase19.inputs.history import read_executions
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.sample import write_sample
from phase19.inputs.wire import Population
from phase19.optimizer import AdaptiveOptimizer
from phase19.options import BacktestOptions
from tests.builders import agents, attempts, tasks

# Scores


def test_scores_of_three_forecasts():
    found = score_forecasts(np.array([0.9, 0.2, 1.0]), np.array([1.0, 0.0, 0.0]), 0.5)
    # (0.01 + 0.04 + 1) / 3; the base rate alone has 0.25; log-loss keeps the forecast of 1 off it by 1e-6.
    assert found["brier_score"] == pytest.approx(0.35)
    assert found["skill"] == pytest.approx(1 - 0.35 / 0.25)
    # Of the guess's error of 0.25, the forecasts save 0.24, 0.21 and -0.75: with 2 degrees of freedom, t is 2.92.
    margin = 2.91999 * np.std([0.96, 0.84, -3.0], ddof=1) / np.sqrt(3)
    assert [found["skill_low"], found["skill_high"]] == pytest.approx([-0.4 - margin, -0.4 + margin], rel=1e-5)
    assert found["log_loss"] == pytest.approx(-(np.log(0.9) + np.log(0.8) + np.log(1e-6)) / 3)
    assert [row["count"] for row in found["reliability"]] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    last = found["reliability"][-1]
    assert (last["low"], last["high"], last["mean_outcome"]) == (0.9, 1.0, 0.5)
    assert last["mean_forecast"] == pytest.approx(0.95)
    assert found["reliability"][0]["mean_outcome"] is None


def test_one_forecast_has_no_interval_and_a_guess_without_error_leaves_no_skill():
    one = score_forecasts(np.array([0.9]), np.array([1.0]), 0.5)
    assert (one["skill"], one["skill_low"], one["skill_high"]) == (pytest.approx(0.96), None, None)
    sure = score_forecasts(np.array([0.9, 0.8]), np.array([1.0, 1.0]), 1.0)
    assert (sure["skill"], sure["skill_low"], sure["skill_high"]) == (None, None, None)


# The first sentence


@pytest.mark.parametrize(
    ("completed", "skill", "said"),
    [
        pytest.param(
            65,
            (0.1, 0.3),
            "The forecasts held: 65 of 72 tasks succeeded (63.1 expected, normal range 58 to 68); over 200 recorded "
            "pairs they are better than always guessing the mean rate, 80.0 %.",
            id="held, better",
        ),
        pytest.param(57, (-0.1, 0.3), "The forecasts were too high: 57 of 72", id="too high"),
        pytest.param(69, (-0.3, -0.1), "The forecasts were too low: 69 of 72", id="too low"),
    ],
)
def test_the_first_sentence_says_whether_the_forecasts_held(case, completed, skill, said):
    result = replay_plan(first_of(case), read_executions(case[1], []), options())
    rates = {"planned": 63.1 / 72, "actual": completed / 72}
    overall = {f"{name}_success_rate": rate for name, rate in rates.items()} | {
        "observed_count": 72,
        "success_rate_low": 58 / 72,
        "success_rate_high": 68 / 72,
    }
    scores = {"pair_count": 200, "base_rate": 0.8, "skill_low": skill[0], "skill_high": skill[1]}
    document = {**result.document, "overall": overall, "scores": result.document["scores"] | scores}
    document["overall"] = result.document["overall"] | overall
    sentence = replace(result, document=document).section.title
    assert sentence.startswith(said)
    kind = "better" if skill[0] > 0 else "worse" if skill[1] < 0 else "not clearly better"
    assert f"they are {kind} than always guessing the mean rate, 80.0 %." in sentence
    unobserved = document | {"overall": document["overall"] | {"observed_count": 0}}
    assert replace(result, document=unobserved).section.title.startswith(
        f"No planned pair has a record to check the plan with; over 200 recorded pairs the forecasts are {kind} than"
    )


# Replaying a plan


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


def options(**settings) -> BacktestOptions:
    """Options of a backtest without files."""
    return BacktestOptions.of(input="phase18", executions="executions.jsonl", **settings)


def first_of(case):
    return load_inputs(case[0], case[0].parent / "phase16", case[0].parent / "phase17")


def test_a_backtest_plans_replays_and_learns_as_the_run_does(case, tmp_path):
    result = replay_plan(first_of(case), read_executions(case[1], []), options(seed=3))
    found, executions = result.document, result.executions
    settings = {"executor": "replay", "executions": case[1], "max_retries": 0, "seed": 3}
    run = phase19.run(input=case[0], output=tmp_path / "run", **settings)
    keys = ["wave", "planned_success_rate", "actual_success_rate", "success_rate_low", "success_rate_high"]
    rows = [[wave[key] for key in keys] for wave in found["waves"]]
    wanted = run.tables["schedule_comparisons"].select(keys).rows()
    assert np.array(rows) == pytest.approx(np.array(wanted))
    pairs = ["task_id", "agent_id", "status"]
    assert executions.select(pairs).sort(pairs).equals(run.executions.select(pairs).sort(pairs))
    ran = executions.filter(pl.col("status") != "unobserved")
    assert 0 < ran.height < executions.height
    assert found["observed_share"] == ran.height / 24 == (24 - run["task_counts"]["unobserved"]) / 24
    assert found["success"]["plan"] == pytest.approx((ran["status"] == "completed").mean())
    assert found["overall"]["makespan_ms"] == pytest.approx(
        ran.group_by("wave").agg(pl.col("actual_end_time").max())["actual_end_time"].sum()
    )
    assert found["scores"]["pair_count"] == 48


def test_success_is_measured_on_every_task_when_every_pair_is_recorded(tmp_path):
    """The success rates of a whole backtest, recomputed without the package."""
    write_sample(tmp_path, tasks=9, agents=3, waves=1, seed=1)
    inputs = load_inputs(tmp_path / "phase18", tmp_path / "phase16", tmp_path / "phase17")
    outcome = np.random.default_rng(5).integers(2, size=(9, 3))
    times = np.random.default_rng(6).random((9, 3))
    model = AdaptiveOptimizer(inputs=inputs).model
    rows = [
        {"task_id": task, "agent_id": agent, "is_success": bool(outcome[i, j]), "duration_ms": times[i, j]}
        for i, task in enumerate(model.tasks["task_id"])
        for j, agent in enumerate(model.agents["agent_id"])
    ]
    result = replay_plan(inputs, attempts(*rows), options())
    found, executions = result.document, result.executions
    assert found["success"]["round_robin"] == pytest.approx(outcome.mean())
    assert found["success"]["best_single_agent"] == pytest.approx(outcome.mean(axis=0).max())
    assert found["success"]["best_single_agent_id"] == f"agent_{outcome.mean(axis=0).argmax()}"
    plans = (plan for plan in product(range(3), repeat=9) if max(np.bincount(plan)) <= 3)
    best = max(outcome[np.arange(9), plan].sum() for plan in plans)
    assert found["success"]["oracle"] == pytest.approx(best / 9)
    plan = (executions["status"] == "completed").mean()
    gap = (plan - outcome.mean()) / (best / 9 - outcome.mean())
    assert found["success"]["gap_closed"] == pytest.approx(gap)
    ends = [max(sum(times[i, a] for i in range(9) if (i + r) % 3 == a) for a in range(3)) for r in range(3)]
    assert found["round_robin_makespan_ms"] == pytest.approx(np.mean(ends))
    assert found["success"]["regret"] == pytest.approx(best / 9 - plan)


# The plan beside other assignments of the same tasks


def outcomes(success, duration_ms=0.0, is_observed=True) -> PairOutcomes:
    won = np.array(success, dtype=float)
    return PairOutcomes(*(np.broadcast_to(part, won.shape) for part in (is_observed, won, won, duration_ms)))


def successes(agent, pairs, capacity, allowed=None):
    return count_successes(np.arange(len(agent)), np.array(agent), pairs, np.array(capacity), allowed)


def test_successes_of_three_tasks_and_two_agents():
    # Each task succeeds with one agent of two: round robin 3/2.
    # Alone, a0 does 1 and a1 does 2. The oracle, two tasks an agent at most: t0 -> a0, t1 -> a1, t2 -> a1.
    found = successes([0, 1, 0], outcomes([[1, 0], [0, 1], [0, 1]], [[10, 20], [30, 40], [50, 60]]), [2, 2])
    assert (found["round_robin"], found["oracle"]) == (1.5, 3)
    assert found["single_agent"].tolist() == [1, 2]
    # Rotation 0: a0 has 10 + 50, a1 40. Rotation 1: a0 has 30, a1 20 + 60. Mean of 60 and 80.
    assert found["round_robin_makespan_ms"] == 70


def test_capacity_and_the_tasks_own_agents_limit_the_oracle_too():
    found = successes([0, 1], outcomes([[1, 0], [1, 0]]), [1, 1])
    assert (found["oracle"], found["single_agent"].tolist()) == (1, [2, 0])
    assert successes([0], outcomes([[0, 1]]), [1, 1], np.array([[True, False]]))["oracle"] == 0


def test_tasks_without_records_are_left_out_and_keep_their_agent_s_capacity():
    # t0 went to a0 and has no record there: a0, full with it, cannot take t1, whose only choice is then a1.
    found = successes([0, 1], outcomes([[0, 1], [1, 0]], is_observed=[[False, True], [True, True]]), [1, 1])
    assert (found["oracle"], found["round_robin"]) == (0, 0.5)
    nothing = successes([0], outcomes([[0, 1]], is_observed=[[False, True]]), [1, 1])
    assert (nothing["oracle"], nothing["single_agent"].tolist()) == (0, [0, 0])


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3))
def test_the_oracle_is_the_best_of_all_assignments(seed, n, m):
    rng = np.random.default_rng(seed)
    seen = rng.random((n, m)) < 0.7
    won = seen * rng.integers(2, size=(n, m))
    capacity = np.full(m, -(-n // m))
    plans = np.array([p for p in product(range(m), repeat=n) if np.bincount(p, minlength=m).max() <= capacity[0]])
    row, agent = np.arange(n), plans[rng.integers(len(plans))]
    found = successes(agent, PairOutcomes(seen, won, won, seen * rng.random((n, m))), capacity)
    kept = seen[row, agent]
    same = [plan for plan in plans if (plan[~kept] == agent[~kept]).all() and seen[row, plan][kept].all()]
    assert found["oracle"] == max((won[row, plan][kept].sum() for plan in same), default=0)


def test_pairs_follow_the_rules_of_replay():
    population = Population(success_rate=0.5, agent_count=2, task_count=2)
    model = ForecastModel.fit(tasks(count=2), agents("a0", "a1"), attempts(), population)
    happened = [
        {"task_id": "t0", "agent_id": "a0", "attempt": 2, "is_success": True, "duration_ms": 5.0},
        {"task_id": "t0", "agent_id": "a0", "attempt": 1, "is_success": False, "duration_ms": 3.0},
        {"task_id": "t1", "agent_id": "a1", "is_success": True, "duration_ms": 7.0},
        {"task_id": "t1", "agent_id": "a1", "attempt": 2, "is_success": False, "duration_ms": 9.0},
        {"task_id": "t9", "agent_id": "a1"},
        {"task_id": "t0", "agent_id": None},
    ]
    found = replay_pairs(model, attempts(*happened), np.array([2, 1]))
    assert found.is_observed.tolist() == [[True, False], [False, True]]
    assert found.first_success.tolist() == [[0, 0], [0, 1]]
    assert found.success.tolist() == [[1, 0], [0, 1]]
    assert found.duration_ms.tolist() == [[8, 0], [0, 7]]


# Splitting the records at a moment


SPLIT = datetime(2026, 1, 12, tzinfo=UTC)  # the generated sample's Phase 17 before, its Phase 18 after it


def test_later_records_change_nothing_that_was_known(case):
    inputs = first_of(case)
    is_later = pl.col("timestamp") >= SPLIT
    other = inputs.attempts.with_columns(
        is_success=pl.col("is_success") ^ is_later,
        duration_ms=pl.when(is_later).then(pl.col("duration_ms") * 7).otherwise("duration_ms"),
        confidence_delta=pl.when(is_later).then(-0.5).otherwise("confidence_delta"),
    )
    summaries = inputs.agents.with_columns(summary_success_rate=0.01, summary_task_count=1000)
    population = Population(
        success_rate=0.01,
        duration_ms=9.0,
        confidence_delta=0.5,
        agent_count=3,
        task_count=24,
        wave_count=inputs.population.wave_count,
    )
    stated = {"task_id": "t0", "agent_id": inputs.agents["agent_id"][0], "success_rate": 0.0, "confidence": 1.0}
    evidence = frames.EVIDENCE.conform([stated])
    changed = replace(inputs, attempts=other, agents=summaries, population=population, evidence=evidence)
    fewer = replace(inputs, attempts=pl.concat([other.filter(~is_later), other.filter(is_later).head(1)]))
    pasts = [split_inputs(version, SPLIT)[0] for version in (inputs, changed, fewer)]
    assert pasts[2].tasks.height == 1  # later records decide which tasks are planned, and nothing else
    pasts[2] = replace(pasts[2], tasks=pasts[0].tasks)
    plans = []
    for past in pasts:
        assert past.attempts.height > 0
        assert past.population == pasts[0].population
        assert past.evidence.is_empty()
        assert past.agents.equals(pasts[0].agents)
        assert past.attempts.equals(pasts[0].attempts)
        executions = replay_plan(past, split_inputs(inputs, SPLIT)[1], options(waves=1)).executions
        plans.append(executions.select("task_id", "agent_id", "planned_success", "scheduled_end_time"))
    assert plans[0].equals(plans[1])
    assert plans[0].equals(plans[2])


def test_a_split_derives_agents_and_population_from_earlier_records(case):
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


def test_a_split_keeps_the_capacity_of_an_agent(case):
    inputs = first_of(case)
    limited = replace(inputs, agents=inputs.agents.with_columns(capacity=pl.lit(5, dtype=pl.Int64)))
    assert split_inputs(limited, SPLIT)[0].agents["capacity"].to_list() == [5] * inputs.agents.height


def test_a_split_before_every_record_leaves_wide_forecasts(case):
    past, later = split_inputs(first_of(case), datetime(2020, 1, 1, tzinfo=UTC))
    assert past.agents["evidence"].unique().to_list() == ["none"]
    assert (past.population.success_rate, past.population.duration_ms) == (0.5, None)
    result = replay_plan(past, later, options())
    found, executions = result.document, result.executions
    first = executions.filter(pl.col("wave") == 1)  # the second has learned from it
    assert (first["success_high"] - first["success_low"]).min() > 0.5
    assert found["scores"]["base_rate"] == 0.5


def test_a_split_needs_a_later_record_and_leaves_out_those_without_a_time(case):
    inputs = first_of(case)
    with pytest.raises(UsageError, match="expected records with an agent at or after 2030-01-01T00:00:00"):
        split_inputs(inputs, datetime(2030, 1, 1, tzinfo=UTC))
    first_two = pl.int_range(pl.len()) < 2
    undated = inputs.attempts.with_columns(timestamp=pl.when(~first_two).then("timestamp"))
    past, later = split_inputs(replace(inputs, attempts=undated), SPLIT)
    assert past.attempts.height + later.height == inputs.attempts.height - 2
    assert past.warnings == (f"records: 2 attempts of {inputs.attempts.height} left out, since no timestamp says when",)


def dated(*hours, task="t{}", agent="a"):
    """Attempts at these hours of a day, None for no timestamp."""
    moments = [hour and datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in hours]
    rows = [{"task_id": task.format(i), "agent_id": agent, "timestamp": moment} for i, moment in enumerate(moments)]
    return attempts(*rows)


@pytest.mark.parametrize(
    ("hours", "first_later"),
    [
        pytest.param(range(1, 11), 9, id="8 of 10 before"),
        pytest.param([9, 1, 8, 2, 7, 3, 6, 4, 5, 10], 9, id="in any order"),
        pytest.param([1, 2, None, None], 2, id="records without a time do not count"),
        pytest.param([1, 2, 3, 3, 3], 3, id="ties stay together, later"),
        pytest.param([1, 1, 1, 1, 1, 1, 1, 1, 1, 2], 2, id="at least one record is later"),
        pytest.param([1, 1, 2], 2, id="at least one record is earlier"),
        pytest.param([1, 1, 1, 1, 2, 3, 4], 3, id="5 of 7 before"),
    ],
)
def test_by_default_the_last_fifth_of_the_records_is_replayed(hours, first_later):
    assert default_split(dated(*hours)) == datetime(2026, 3, 1, first_later, tzinfo=UTC)


@pytest.mark.parametrize("hours", [[None, None, None], [5, 5, 5], [5, None, None]])
def test_records_at_fewer_than_two_times_cannot_be_split(hours):
    count = len({hour for hour in hours if hour})
    with pytest.raises(
        UsageError,
        match=f"^expected records with at least two timestamps, found {count} in 3 records; leave out records by "
        r"another rule \(--leave-out trials or --leave-out tasks\), or import the log again with --timestamp COLUMN$",
    ):
        default_split(dated(*hours))


def test_the_tasks_of_a_split_are_those_with_later_records_whatever_is_to_do():
    # To do: the open task n0, and t1, which is recorded too. Later records: t1, t2 and t3; t0 is recorded earlier only.
    history = attempts(
        {"task_id": "t0", "agent_id": "a", "timestamp": datetime(2026, 3, 1, tzinfo=UTC)},
        {"task_id": "t2", "agent_id": "a", "timestamp": datetime(2026, 3, 1, tzinfo=UTC), "category": "ui"},
        {"task_id": "t3", "agent_id": "a", "timestamp": datetime(2026, 3, 2, tzinfo=UTC), "risk_level": "HIGH"},
        {"task_id": "t2", "agent_id": "b", "timestamp": datetime(2026, 3, 2, tzinfo=UTC)},
        {"task_id": "t1", "agent_id": "a", "timestamp": datetime(2026, 3, 3, tzinfo=UTC), "category": "db"},
        {"task_id": "t9", "agent_id": None, "timestamp": datetime(2026, 3, 3, tzinfo=UTC)},
    )
    listed = frames.TASKS.conform(
        [
            {"task_id": "n0", "category": "api"},
            {"task_id": "t1", "category": "listed", "deadline_ms": 5.0, "required_agents": ["a"]},
        ]
    )
    inputs = Inputs(tasks=listed, attempts=history, agents=agents("a", "b"))
    past, later = split_inputs(inputs, datetime(2026, 3, 2, tzinfo=UTC))
    assert later["task_id"].to_list() == ["t1", "t2", "t3"]
    names = ["task_id", "category", "risk_level", "deadline_ms"]
    assert past.tasks.select(names).rows() == [
        ("t1", "listed", "MEDIUM", 5.0),
        ("t2", "ui", "MEDIUM", None),
        ("t3", None, "HIGH", None),
    ]
    assert past.tasks["required_agents"].to_list()[0] == ["a"]
    assert past.attempts["task_id"].to_list() == ["t0", "t2"]


# Leaving out trials or tasks


def recorded(*rows):
    """Inputs of records: task, agent, attempt, trial, hour, whether it succeeded."""
    names = ("task_id", "agent_id", "attempt", "trial", "timestamp", "is_success")
    made = [(*row[:4], row[4] and datetime(2026, 3, 1, row[4], tzinfo=UTC), row[5]) for row in rows]
    happened = attempts(*(dict(zip(names, row, strict=True)) for row in made))
    return Inputs(tasks=tasks(), attempts=happened, agents=agents("a", "b"))


@pytest.mark.parametrize(
    ("rows", "left_out"),
    [
        pytest.param(
            [("t", "a", 1, None, 9, True), ("t", "a", 1, None, 7, False)], [("t", "a", 1, True)], id="latest by time"
        ),
        pytest.param(
            [("t", "a", 1, 2, None, True), ("t", "a", 1, 1, None, False)], [("t", "a", 1, True)], id="else by number"
        ),
        pytest.param(
            [("t", "a", 1, None, None, True), ("t", "a", 1, None, None, False)], [("t", "a", 1, False)], id="else order"
        ),
        pytest.param(
            [("t", "a", 1, 1, None, True), ("t", "a", 1, 2, None, False), ("t", "a", 2, 2, None, True)],
            [("t", "a", 1, False), ("t", "a", 2, True)],
            id="a trial is left out with its retries",
        ),
        pytest.param(
            [*(("t", "b", 1, trial, None, True) for trial in (1, 2)), ("t", "a", 1, 3, None, True)],
            [("t", "b", 1, True)],
            id="a pair tried once is kept",
        ),
    ],
)
def test_the_last_trial_of_each_pair_is_left_out(rows, left_out):
    past, later = leave_out_records(recorded(*rows), "trials")
    assert later.select("task_id", "agent_id", "attempt", "is_success").rows() == left_out
    assert past.attempts.height == len(rows) - len(left_out)
    assert past.tasks["task_id"].to_list() == ["t"]


def test_half_of_the_tasks_are_left_out_wholly_and_keep_category_and_risk():
    # An agent left the category empty and the other the risk; records of nobody say nothing that a replay could use.
    cells = {"a": {"category": "ui"}, "b": {"risk_level": "HIGH"}, None: {}}
    happened = attempts(*({"task_id": f"t{i}", "agent_id": name, **cells[name]} for i in range(5) for name in cells))
    inputs = Inputs(tasks=tasks(), attempts=happened, agents=agents("a", "b"))
    chosen = set()
    for seed in range(5):
        past, later = leave_out_records(inputs, "tasks", seed)
        assert past.tasks.select("category", "risk_level").rows() == [("ui", "HIGH")] * 2
        assert later.select("task_id", "agent_id").rows() == [(t, a) for t in past.tasks["task_id"] for a in "ab"]
        assert sorted([*past.tasks["task_id"], *past.attempts["task_id"].unique()]) == [f"t{i}" for i in range(5)]
        assert past.attempts.height == 9
        again = leave_out_records(replace(inputs, attempts=happened.reverse()), "tasks", seed)[0]
        assert again.tasks.equals(past.tasks)
        chosen.add(tuple(past.tasks["task_id"]))
    assert len(chosen) > 1


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("trials", "trials: expected an agent with several trials of a task, found none; --leave-out tasks needs no"),
        ("tasks", "tasks: expected records of at least two tasks, found none$"),
    ],
)
def test_nothing_to_leave_out_is_an_error(part, message):
    retried = recorded(("t", "a", 1, None, None, False), ("t", "a", 2, None, None, True))
    with pytest.raises(UsageError, match=f"^--leave-out {message}"):
        leave_out_records(retried, part)


@pytest.mark.parametrize(("part", "count"), [("trials", 4), ("tasks", 2)])
def test_a_plain_table_without_times_is_backtested_by_leaving_out(run_cli, tmp_path, part, count):
    cells = ["t,w,kind,ok", "1,a,x,1", "1,a,,0", "1,b,x,1", "1,b,x,1", "2,a,,1", "2,a,,1", "2,b,,0", "2,b,x,1"]
    cells += ["3,a,y,1", "3,a,y,0", "4,a,y,1", "4,a,,1"]
    (tmp_path / "log.csv").write_text("\n".join(cells) + "\n")
    columns = ["--task", "t", "--agent", "w", "--success", "ok", "--category", "kind"]
    run_cli("import", "table", tmp_path / "log.csv", "--output", tmp_path / "in", *columns)
    done = run_cli("backtest", "--input", tmp_path / "in", "--leave-out", part)
    assert done.returncode == 0
    assert f"Backtest: {count} tasks, 2 agents" in done.stdout
    document = json.loads((tmp_path / "backtest.json").read_text())
    assert (document["left_out"], document["split_at"]) == (part, None)
    assert document["history_record_count"] + document["replayed_record_count"] == 12
    said = {"trials": "6 records of the last trial of each task and agent with several; forecasts use the 6 others"}
    assert said.get(part, "records of half of the tasks") in " ".join(done.stdout.split())


def test_a_backtest_says_that_it_does_not_test_retries(case):
    said = "what retries add is not tested"
    assert said in str(phase19.backtest(case[0], split_at=SPLIT).section)
    assert said not in str(phase19.backtest(case[0], split_at=SPLIT, max_retries=1).section)


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (60_000, "60 s by round robin, 6.0 s by the plan."),
        (None, "no data by round robin, 6.0 s by the plan, since some records have no time."),
    ],
)
def test_an_unknown_makespan_says_why(case, span, said):
    result = phase19.backtest(case[0], executions=case[1])
    document = result.document | {"round_robin_makespan_ms": span}
    document["overall"] = document["overall"] | {"makespan_ms": 6_000}
    assert f"Makespan: {said}" in replace(result, document=document).section.blocks


def test_from_a_table_with_open_rows_to_a_backtest_without_a_date(run_cli, tmp_path):
    """Red always passes and blue never: of 10 tasks tried by both, hour by hour, the last two are replayed."""
    passed = {"red": "yes", "blue": "no"}
    rows = [f"t{i},{agent},{passed[agent]},12,2026-01-05T{i + 8:02}:00" for i in range(10) for agent in passed]
    lines = ["task,agent,passed,seconds,started", *rows, "n1,,,,", "n2,,,,", ""]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    columns = ["--task=task", "--agent=agent", "--success=passed", "--duration=seconds:s", "--timestamp=started"]
    assert run_cli("import", "table", tmp_path / "log.csv", "--output", tmp_path / "mine", *columns).returncode == 0
    done = run_cli("backtest", "--input", tmp_path / "mine")
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    assert said.startswith("The forecasts held: 2 of 2 tasks succeeded (1.3 expected, normal range 0 to 2); over 4 ")
    assert "Backtest: 2 tasks, 2 agents, 1 wave, maximize_success; 100 % of the plan and 4 of 4 pairs have" in said
    assert "Replayed: 4 records from 2026-01-05T16:00:00Z on; forecasts use the 16 before it." in said
    found = json.loads((tmp_path / "backtest.json").read_text())
    assert found["split_at"] == "2026-01-05T16:00:00Z"
    asked = run_cli("backtest", "--input", tmp_path / "mine", "--split-at", "2026-01-05T10:00")
    assert "Backtest: 8 tasks, 2 agents" in asked.stdout


# The command


@pytest.fixture
def place(case, tmp_path):
    """The case in a place of its own; its input directory."""
    shutil.copytree(case[0].parent, tmp_path / "case")
    return tmp_path / "case" / "phase18"


def test_backtest_writes_beside_its_input_and_prints_tables(run_cli, place):
    done = run_cli("backtest", "--input", place, "--executions", place.parent / "executions.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The forecasts ")
    title = "Backtest: 24 tasks, 3 agents, 2 waves, maximize_success; "
    for text in (title, "mean squared error; 0 is perfect", "round robin", "oracle, which knows every outcome"):
        assert text in done.stdout
    target = place.parent / "backtest.json"
    assert done.stdout.endswith(f"Results are in {target}\n")
    found = json.loads(target.read_text())
    success = found["success"]
    assert success["regret"] == pytest.approx(success["oracle"] - success["plan"])
    assert found["max_retries"] == 0
    assert [wave["wave"] for wave in found["waves"]] == [1, 2]
    assert len(found["scores"]["reliability"]) == 10


def test_a_seed_and_a_timestamp_fix_every_byte_of_a_backtest(run_cli, place):
    fixed = ("--split-at", "2026-01-12T01:00:00+01:00", "--seed", "3", "--timestamp", "2026-02-05T12:00:00Z")
    for name in ("a", "b"):
        run_cli("backtest", "--input", place, *fixed, "--output", place.parent / name)
    written = (place.parent / "a").read_text()
    assert written == (place.parent / "b").read_text()
    found = json.loads(written)
    assert (found["timestamp"], found["seed"]) == ("2026-02-05T12:00:00Z", 3)
    assert found["split_at"] == "2026-01-12T00:00:00Z"


@pytest.mark.parametrize("what", ["executions", "split_at"])
def test_from_python_a_backtest_gives_the_command_s_document_and_writes_nothing_unasked(run_cli, place, what):
    settings = {"seed": 3, "strategy": "balance_load", "timestamp": "2026-02-05T12:00:00Z"}
    settings[what] = str(place.parent / "executions.jsonl") if what == "executions" else "2026-01-12"
    before = set(place.parent.rglob("*"))
    result = phase19.backtest(input=str(place), **settings)
    assert set(place.parent.rglob("*")) == before
    arguments = [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", value)]
    run_cli("backtest", "--input", place, *map(str, arguments))
    assert json.loads((place.parent / "backtest.json").read_text()) == json.loads(json.dumps(result.document))
    assert result.document["max_retries"] == 0
    ran = result.executions.filter(pl.col("status") != "unobserved")
    assert ran["planned_success"].mean() == pytest.approx(result.document["overall"]["planned_success_rate"])
    history = result.document["history_record_count"]
    assert result.forecasts.height == 72 and result.forecasts["record_count"].sum() == history
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--executions", "{executions}", "--split-at", "2026-01-12"],
            "expected one source of outcomes to replay, found --executions and --split-at",
            id="both",
        ),
        pytest.param(["--split-at", "soon"], "--split-at: expected ISO 8601 such as", id="no moment"),
        pytest.param(
            ["--split-at", "2030-01-01"], "--split-at: expected records with an agent at or after", id="no future"
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
            "expected a file or nothing",
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


def test_records_of_other_tasks_are_nothing_to_replay(case, tmp_path):
    path = tmp_path / "executions.jsonl"
    path.write_text('{"task_id": "elsewhere", "agent_id": "agent_0", "status": "success"}\n')
    with pytest.raises(
        UsageError,
        match="expected records of the run's tasks and agents to replay, found none; "
        r"replay: no record names one of the \d+ tasks to plan, such as '.*' \(the records name 'elsewhere'\); "
        "if these are the same tasks, make the names equal$",
    ):
        phase19.backtest(input=case[0], executions=path)


@pytest.mark.parametrize(
    "setting", [{"approve": "x"}, {"previous": "x"}, {"deliver_feedback": True}, {"explore": True}]
)
def test_settings_that_backtest_does_not_take_are_refused(case, setting):
    with pytest.raises(UsageError, match=f"expected an option of the command, found {next(iter(setting))}"):
        phase19.backtest(input=case[0], executions=case[1], **setting)

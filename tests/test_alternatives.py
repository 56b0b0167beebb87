"""What other strategies would have given: by hand, and as carrying them out gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from phase19 import frames
from phase19.alternatives import ROUND_ROBIN, alternatives
from phase19.analysis import session as analytics
from phase19.assignment.baselines import round_robin
from phase19.execution.live import LiveExecutor, LiveResult
from phase19.execution.protocol import execute_orders
from phase19.execution.replay import ReplayExecutor
from phase19.execution.simulate import SimulateExecutor
from phase19.options import OptimizationStrategy
from phase19.planning import CANDIDATES, PlanParameters
from phase19.safety import SafetyGate
from phase19.waves import WaveLoop
from tests.builders import attempts, model, orders, random_attempts
from tests.synthetic import alternative

if TYPE_CHECKING:
    from phase19.execution.protocol import Executor
    from phase19.forecasting.model import ForecastModel
    from phase19.waves import PlayedWave


def play(fitted: ForecastModel, executor: Executor, **parameters) -> tuple[PlayedWave, pl.DataFrame]:
    """The first wave, and its alternatives."""
    loop = WaveLoop(executor, PlanParameters(**parameters), lambda wave, _: SafetyGate().decide(wave), seed=5)
    played = next(iter(loop.play(fitted)))
    return played, alternatives(played, loop.parameters, executor)


def simulator(fitted: ForecastModel) -> SimulateExecutor:
    return SimulateExecutor(fitted.world(7), fitted.tasks["task_id"], fitted.agents["agent_id"])


def one_wave(task_count: int) -> ForecastModel:
    made = model(random_attempts(0, 60), task_count=task_count)
    tasks = made.tasks.with_columns(wave=pl.lit(1, dtype=pl.Int64))
    return type(made).fit(tasks, made.agents, made.attempts, made.population)


@pytest.fixture(scope="module")
def fitted() -> ForecastModel:
    return one_wave(12)


def test_the_world_answers_as_it_would_have_acted(fitted):
    executor = simulator(fitted)
    played, _ = play(fitted, executor)
    told = executor.what_if(played.executions.select("task_id", "agent_id", "confidence", "max_attempts"))
    assert told["is_success"].to_list() == (played.executions["status"] == "completed").to_list()
    assert told["attempt_count"].to_list() == (played.executions["retry_count"] + 1).to_list()
    assert told["spent_ms"].to_numpy() == pytest.approx(played.executions["actual_duration_ms"].to_numpy())
    assert told["confidence_delta"].to_list() == played.executions["actual_confidence_delta"].to_list()


def test_the_records_answer_as_they_are_replayed():
    ordered = orders({"task_id": "t0"}, {"task_id": "t1"}, {"task_id": "t2", "max_attempts": 1}, {"task_id": "silent"})
    rows = [
        {"task_id": "t0", "is_success": False, "duration_ms": 10.0},
        {"task_id": "t0", "attempt": 2, "duration_ms": 20.0, "confidence_delta": 0.1},
        {"task_id": "t1", "duration_ms": None},
        {"task_id": "t2", "is_success": False, "duration_ms": 30.0},
        {"task_id": "t2", "attempt": 2, "duration_ms": 40.0},
    ]
    executor = ReplayExecutor(attempts(*rows))
    told = executor.what_if(ordered)
    assert told["is_success"].to_list() == [True, True, False, None]
    assert told["attempt_count"].to_list() == [2, 1, 1, 0]
    assert told["spent_ms"].to_list() == [30.0, 25.0, 30.0, None]  # the unrecorded one takes the mean of 10 ... 40
    assert told["confidence_delta"].to_list() == [0.1, None, None, None]
    came, _ = execute_orders(executor, ordered, (0.0, 0.0))
    assert came["attempt_count"].to_list() == told["attempt_count"].to_list()
    assert came["actual_duration_ms"].to_list() == told["spent_ms"].to_list()


@pytest.mark.parametrize("strategy", [OptimizationStrategy.MAXIMIZE_SUCCESS, OptimizationStrategy.BALANCE_LOAD])
def test_each_alternative_is_what_carrying_it_out_gives(fitted, strategy):
    """Every strategy played on its own, in the same world, from the same forecast."""
    executor = simulator(fitted)
    played, told = play(fitted, executor, strategy=strategy)
    others = [str(each) for each in CANDIDATES if each is not strategy]
    assert told["strategy"].to_list() == [*others, ROUND_ROBIN]
    assert told["chosen_strategy"].unique().to_list() == [str(strategy)]
    own = played.executions.select("task_id", "agent_id", did=pl.col("status") == "completed")
    for row in told.filter(pl.col("strategy") != ROUND_ROBIN).to_dicts():
        rows = play(fitted, executor, strategy=OptimizationStrategy(row["strategy"]))[0].executions
        both = rows.join(own, on="task_id", suffix="_own")
        lead = both["did"].cast(pl.Float64) - (both["status"] == "completed").cast(pl.Float64)
        busy = rows.group_by("agent_id").agg(pl.col("actual_duration_ms").sum())["actual_duration_ms"]
        assert row["success_sum"] == (rows["status"] == "completed").sum()
        assert row["promised_success_sum"] == pytest.approx(rows["planned_success"].sum())
        assert row["planned_success_sum"] == row["promised_success_sum"]
        assert row["retry_sum"] == rows["retry_count"].sum()
        assert row["confidence_sum"] == pytest.approx(rows["actual_confidence_delta"].sum())
        assert row["makespan_ms"] == pytest.approx(busy.max())
        assert row["reassigned_count"] == (both["agent_id"] != both["agent_id_own"]).sum()
        assert (row["lead_sum"], row["lead_square_sum"]) == (lead.sum(), (lead * lead).sum())
    assert told["reassigned_count"].max() > 0


def test_round_robin_is_the_mean_over_its_rotations(fitted):
    executor = simulator(fitted)
    played, told = play(fitted, executor)
    tasks, agents = played.assigned.tasks, fitted.agents["agent_id"]
    n, m = tasks.height, agents.len()
    completed, retries = [], []
    for rotation in range(m):
        pairs = tasks.select("task_id", "confidence").with_columns(
            agent_id=agents.gather(round_robin(n, m, rotation)), max_attempts=pl.Series(played.assigned.allowed)
        )
        came = executor.what_if(pairs)
        completed.append(came["is_success"].sum())
        retries.append((came["attempt_count"] - 1).sum())
    row = told.row(by_predicate=pl.col("strategy") == ROUND_ROBIN, named=True)
    assert row["success_sum"] == pytest.approx(np.mean(completed))
    assert row["retry_sum"] == pytest.approx(np.mean(retries))
    assert row["promised_success_sum"] == pytest.approx(played.executions["baseline_success"].sum())
    assert row["makespan_ms"] is row["reassigned_count"] is None


def test_what_the_records_are_silent_about_is_not_counted():
    fitted = one_wave(3)
    # Of t0 all agents are recorded, of t1 a1 alone, of t2 none; a1 and a2 fail.
    known = [{"task_id": task, "agent_id": agent} for task, agent in (("t0", "a0"), ("t0", "a1"), ("t0", "a2"))]
    rows = attempts(*({**row, "is_success": row["agent_id"] == "a0"} for row in known))
    rows = pl.concat([rows, attempts({"task_id": "t1", "agent_id": "a1", "is_success": False})])
    played, told = play(fitted, ReplayExecutor(rows), max_retries=0)
    row = told.row(by_predicate=pl.col("strategy") == ROUND_ROBIN, named=True)
    planned = played.assigned.forecast.planned_success
    assert row["ran_count"] == 2  # t0 and t1
    assert row["success_sum"] == pytest.approx(1 / 3)  # one agent of three on t0, none of one on t1
    assert row["planned_success_sum"] == pytest.approx(planned[0].mean() + planned[1, 1])
    assert row["promised_success_sum"] == pytest.approx(planned.mean(axis=1).sum())
    ran = played.executions["status"].is_in(["completed", "failed"]).sum()
    assert row["paired_count"] == ran <= 2
    for other in told.filter(pl.col("strategy") != ROUND_ROBIN).to_dicts():
        assert other["ran_count"] <= 2


def test_the_real_world_cannot_be_asked(fitted):
    _, told = play(fitted, LiveExecutor(lambda _order, _attempt: LiveResult(is_success=True)))
    assert told["ran_count"].to_list() == [0] * told.height
    assert (told["promised_success_sum"] > 0).all()
    shown = analytics.query("strategy_alternatives", {"alternatives": told})
    assert shown["actual_success_rate"].null_count() == shown["success_lead"].null_count() == told.height
    assert shown["retry_count"].null_count() == shown["actual_throughput"].null_count() == told.height


def test_large_waves_leave_out_what_would_take_long(fitted, monkeypatch):
    monkeypatch.setattr("phase19.alternatives._SEARCHED_TASKS", 11)
    monkeypatch.setattr("phase19.alternatives._ASKED_PAIRS", 35)  # of 12 x 3
    executor = simulator(fitted)
    _, some = play(fitted, executor)
    monkeypatch.undo()
    _, whole = play(fitted, executor)
    left_out = {"maximize_throughput", "balance_load", ROUND_ROBIN}
    assert set(whole["strategy"]) - set(some["strategy"]) == left_out
    assert some.equals(whole.filter(~pl.col("strategy").is_in(left_out)))


def test_a_wave_without_tasks_has_none(fitted):
    executor = simulator(fitted)
    loop = WaveLoop(
        executor, PlanParameters(), lambda wave, _: SafetyGate().decide(wave).with_columns(decision=pl.lit("deferred"))
    )
    played = next(iter(loop.play(fitted)))
    assert alternatives(played, loop.parameters, executor).equals(frames.ALTERNATIVES.empty())


def test_alternatives_by_hand():
    rows = [
        alternative(1),
        alternative(2, makespan_ms=3000.0, lead_sum=1.0),
        alternative(1, strategy=ROUND_ROBIN, makespan_ms=None, reassigned_count=None, paired_count=0, lead_sum=0.0),
    ]
    told = analytics.query("strategy_alternatives", {"alternatives": frames.ALTERNATIVES.conform(rows)})
    balance, robin = told.to_dicts()
    assert (balance["task_count"], balance["ran_count"], balance["paired_count"]) == (20, 16, 16)
    assert balance["promised_success_rate"] == pytest.approx(14 / 20)
    assert balance["planned_success_rate"] == pytest.approx(12 / 16)
    assert balance["actual_success_rate"] == pytest.approx(10 / 16)
    assert balance["actual_throughput"] == pytest.approx(16 * 1000 / 5000)
    assert balance["retry_count"] == 6
    assert balance["actual_confidence_delta"] == pytest.approx(0.8 / 16)
    assert balance["reassigned_share"] == pytest.approx(8 / 20)
    # 16 pairs and 2 added: 3 / 18 +- 1.6449 sqrt(8 + 1 - 9 / 18) / 18 = 0.1667 +- 0.2664
    assert balance["success_lead"] == pytest.approx(3 / 16)
    assert balance["success_lead_low"] == pytest.approx(-0.0998, abs=1e-4)
    assert balance["success_lead_high"] == pytest.approx(0.4331, abs=1e-4)
    assert balance["statistic"] == pytest.approx(3 / 8.5**0.5)
    assert robin["actual_throughput"] is robin["reassigned_share"] is robin["success_lead"] is None

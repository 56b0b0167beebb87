"""Executors: the attempts that each makes of orders, and the outcomes of tasks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from phase19 import frames
from phase19.execution.protocol import Execution, task_outcomes
from phase19.execution.replay import ReplayExecutor
from phase19.execution.simulate import SimulateExecutor
from tests.builders import attempts, center, model, orders, random_attempts, spread

CHANGES = (-0.02, 0.05)


def results(ordered, execution):
    """Outcomes by task as (status, attempts, duration, change), their frame checked against its schema."""
    frame = task_outcomes(ordered, execution, CHANGES)
    frames.OUTCOMES.validate(frame)
    frames.ATTEMPTS.validate(execution.attempts)
    assert frame["task_id"].to_list() == ordered["task_id"].to_list()
    rows = frame.drop("is_duration_measured", "is_censored", "error_message").rows()
    return {task: tuple(rest) for task, _, *rest in rows}


def test_orders_hold_no_forecast():
    believed = {"success", "duration", "score", "term", "planned", "advantage", "baseline", "scheduled", "record"}
    assert not [name for name in frames.ORDERS.columns if any(word in name for word in believed)]


# Replay


def replay(ordered, *rows):
    return results(ordered, ReplayExecutor(attempts(*rows)).execute(ordered))


def lost(task, attempt=1, **changes):
    return {"task_id": task, "is_success": False, "attempt": attempt, "duration_ms": 10.0 * attempt, **changes}


def won(task, attempt=1, **changes):
    return lost(task, attempt, **{"is_success": True, **changes})


def test_replay_by_hand():
    ordered = orders(
        {"task_id": "unobserved"},
        {"task_id": "other_agent"},
        {"task_id": "runs_out"},
        {"task_id": "stops"},
        {"task_id": "limited", "max_attempts": 1},
        {"task_id": "three", "max_attempts": 3},
    )
    found = replay(
        ordered,
        won("other_agent", agent_id="a1"),
        lost("runs_out"),
        lost("runs_out", 2),
        # Out of order, and a failure recorded after the success: only attempts 1 and 2 are taken.
        lost("stops", 3),
        won("stops", 2),
        lost("stops", 1),
        lost("limited"),
        won("limited", 2),
        *(lost("three", k) for k in (1, 2, 3)),
        won("three", 4),
        won("not_ordered"),
    )
    assert found == {
        "unobserved": ("unobserved", 0, None, None),
        "other_agent": ("unobserved", 0, None, None),
        "runs_out": ("failed", 2, 30.0, -0.02),
        "stops": ("completed", 2, 30.0, 0.05),
        "limited": ("failed", 1, 10.0, -0.02),
        "three": ("failed", 3, 60.0, -0.02),
    }


def test_replay_takes_attempts_of_the_same_number_in_file_order():
    rows = [
        lost("t", duration_ms=1.0),
        lost("t", duration_ms=2.0),
        won("t", duration_ms=4.0),
        won("t", duration_ms=8.0),
    ]
    ordered = orders({"task_id": "t"})
    made = ReplayExecutor(attempts(*rows)).execute(ordered).attempts
    assert made["duration_ms"].to_list() == [1.0, 2.0, 4.0]
    assert made["attempt"].to_list() == [1, 2, 3]


def test_replay_takes_confidence_and_marks_from_the_records():
    row = won("t", confidence_delta=0.125, is_censored=True, error_message="slow")
    made = ReplayExecutor(attempts(row)).execute(orders({"task_id": "t", "confidence": 0.5})).attempts
    facts = made.select(
        "confidence_before", "confidence_delta", "confidence_after", "is_censored", "error_message", "source"
    )
    assert facts.row(0) == (0.5, 0.125, 0.625, True, "slow", "run")
    assert replay(orders({"task_id": "t"}), row)["t"] == ("completed", 1, 10.0, 0.125)


def test_replay_invents_no_time():
    # The agent took 10 ms elsewhere, which says nothing of t and u.
    ordered = orders({"task_id": "t"}, {"task_id": "u", "agent_id": "a1"})
    found = replay(
        ordered,
        won("x", duration_ms=10.0),
        won("t", duration_ms=None),
        won("u", duration_ms=None, agent_id="a1"),
    )
    assert found == {"t": ("completed", 1, None, 0.05), "u": ("completed", 1, None, 0.05)}


def test_a_task_with_one_attempt_of_unknown_time_has_an_unknown_time():
    ordered = orders({"task_id": "t"}, {"task_id": "u"})
    executor = ReplayExecutor(
        attempts(lost("t", duration_ms=None), won("t", 2, duration_ms=8.0), won("u", duration_ms=4.0))
    )
    execution = executor.execute(ordered)
    assert execution.attempts.sort("task_id", "attempt")["duration_ms"].to_list() == [None, 8.0, 4.0]
    assert {task: found[2] for task, found in results(ordered, execution).items()} == {"t": None, "u": 4.0}
    known = model(random_attempts(0, 60), agent_count=1, task_count=2)
    timed = execution.attempts.filter(pl.col("duration_ms").is_not_null())
    learned, measured = (known.observe(rows).duration for rows in (execution.attempts, timed))
    assert np.array_equal(center(learned), center(measured)) and np.array_equal(spread(learned), spread(measured))


def test_replay_ignores_records_without_an_agent():
    assert replay(orders({"task_id": "t"}), won("t", agent_id=None))["t"][0] == "unobserved"


def test_replay_of_nothing():
    assert replay(orders({"task_id": "t"}))["t"][0] == "unobserved"
    assert replay(orders(), won("t")) == {}


# Simulate


@pytest.fixture(scope="module")
def simulator():
    fitted = model(random_attempts(0, 40), task_count=40)
    return SimulateExecutor(fitted.world(7), fitted.tasks["task_id"], fitted.agents["agent_id"])


def wave(*pairs, **columns):
    return orders(*({"task_id": f"t{t}", "agent_id": f"a{a}", **columns} for t, a in pairs))


def test_an_outcome_is_the_same_whatever_else_is_ordered(simulator):
    whole = wave(*((t, t % 3) for t in range(40)))
    together = simulator.execute(whole).attempts.sort("task_id", "attempt")
    some = whole.sample(fraction=0.5, seed=1, shuffle=True)
    alone = simulator.execute(some).attempts.sort("task_id", "attempt")
    same = together.filter(pl.col("task_id").is_in(some["task_id"].implode()))
    columns = ["task_id", "agent_id", "attempt", "is_success", "duration_ms", "confidence_delta"]
    assert alone.select(columns).equals(same.select(columns))
    assert alone.height > some.height, "the case must hold retries"


def test_outcomes_differ_by_agent_and_by_attempt(simulator):
    mine, other = (simulator.execute(wave(*((t, a) for t in range(40)))).attempts for a in (0, 1))
    first = [frame.filter(pl.col("attempt") == 1)["duration_ms"] for frame in (mine, other)]
    assert abs(np.corrcoef(*(np.log(times.to_numpy()) for times in first))[0, 1]) < 0.9
    assert mine["duration_ms"].n_unique() == mine.height


def test_fewer_allowed_attempts_are_the_first_of_the_same_attempts(simulator):
    pairs = [(t, 2) for t in range(40)]
    one, three = (simulator.execute(wave(*pairs, max_attempts=k)).attempts for k in (1, 3))
    assert one.equals(
        three.filter(pl.col("attempt") == 1).with_columns(
            confidence_delta=one["confidence_delta"], confidence_after=one["confidence_after"]
        )
    )


def test_simulated_attempts_add_up(simulator):
    ordered = wave(*((t, 2) for t in range(40)))
    execution = simulator.execute(ordered)
    found = results(ordered, execution)
    assert not execution.is_interrupted
    assert {status for status, *_ in found.values()} == {"completed", "failed"}
    for task, (status, count, busy, change) in found.items():
        rows = execution.attempts.filter(pl.col("task_id") == task)
        assert rows["attempt"].to_list() == list(range(1, count + 1)) and 1 <= count <= 3
        assert rows["is_success"].to_list() == [False] * (count - 1) + [status == "completed"]
        assert count == 3 or status == "completed"
        assert busy == pytest.approx(rows["duration_ms"].sum())
        assert change == rows["confidence_delta"][-1]
        assert 0.0 <= rows["confidence_after"][-1] <= 1.0


def test_outcomes_are_those_of_the_world(simulator):
    world = simulator.world
    task, agent = np.arange(40), np.full(40, 1)
    played, attempt_ms = world.play(task, agent, np.full(40, 3))
    found = results(wave(*((t, 1) for t in range(40))), simulator.execute(wave(*((t, 1) for t in range(40)))))
    assert [status == "completed" for status, *_ in found.values()] == played.succeeded.tolist()
    assert [busy for *_, busy, _ in found.values()] == pytest.approx(played.busy_ms.tolist())
    assert attempt_ms.shape == (3, 40)


def test_a_simulated_attempt_stopped_by_a_limit_is_censored():
    rows = [{**row, "duration_ms": min(row["duration_ms"], 1000.0)} for row in random_attempts(1, 80, task_count=40)]
    fitted = model([{**row, "is_censored": row["duration_ms"] == 1000.0} for row in rows], task_count=40)
    simulator = SimulateExecutor(fitted.world(7), fitted.tasks["task_id"], fitted.agents["agent_id"])
    made = simulator.execute(wave(*((t, t % 3) for t in range(40)))).attempts
    stopped = made["is_censored"]
    assert 0 < stopped.sum() < made.height
    # exp(log(1000)) is 1000 to rounding.
    assert made.filter(stopped)["duration_ms"].to_numpy() == pytest.approx(1000.0)
    assert (made.filter(~stopped)["duration_ms"] < 1000.0 * (1 - 1e-9)).all()


def test_no_attempt_is_censored_without_limits(simulator):
    assert not simulator.execute(wave(*((t, 2) for t in range(40)))).attempts["is_censored"].any()


def test_simulating_no_orders(simulator):
    assert simulator.execute(orders()).attempts.height == 0
    assert results(orders(), simulator.execute(orders())) == {}


# Outcomes


def test_a_recorded_confidence_change_is_preferred_to_the_population_s():
    ordered = orders({"task_id": "a"}, {"task_id": "b"})
    made = attempts(won("a", confidence_delta=-0.3), lost("b"))
    found = results(ordered, Execution(made, is_interrupted=False))
    assert (found["a"][3], found["b"][3]) == (-0.3, -0.02)


def test_a_task_that_did_not_run_is_unobserved_or_interrupted():
    ordered = orders({"task_id": "a"})
    none = frames.ATTEMPTS.empty()
    assert results(ordered, Execution(none, is_interrupted=False))["a"] == ("unobserved", 0, None, None)
    assert results(ordered, Execution(none, is_interrupted=True))["a"] == ("interrupted", 0, None, None)


def test_a_task_has_the_error_of_its_last_attempt():
    ordered = orders({"task_id": "failed"}, {"task_id": "retried"})
    rows = [
        lost("failed", error_message="first"),
        lost("failed", 2, error_message="second"),
        lost("retried", error_message="x"),
    ]
    found = task_outcomes(ordered, Execution(attempts(*rows, won("retried", 2))), CHANGES)
    assert dict(found.select("task_id", "error_message").rows()) == {"failed": "second", "retried": None}


def test_a_task_stopped_between_its_attempts_has_no_outcome():
    ordered = orders({"task_id": "stopped"}, {"task_id": "spent", "max_attempts": 1}, {"task_id": "done"})
    made = attempts(lost("stopped"), lost("spent"), won("done"))
    found = results(ordered, Execution(made, is_interrupted=True))
    assert found["stopped"] == ("interrupted", 1, None, None)
    assert found["spent"][0] == "failed"
    assert found["done"][0] == "completed"

"""Regret: success rates and losses of three tasks by hand, and parts that add up."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.evaluation.regret import PairRecords, decompose_regret, pair_records, sum_regrets
from phase19.forecasting.model import ForecastModel
from phase19.inputs.wire import Population
from tests.builders import agents, attempts, tasks

LOSSES = ("forecast_error", "constraints", "outcome_noise")


def recorded(success, probability, duration_ms=0.0, is_observed=True) -> PairRecords:
    outcome = np.array(success, dtype=float)
    seen, times = np.broadcast_to(is_observed, outcome.shape), np.broadcast_to(duration_ms, outcome.shape)
    return PairRecords(seen, outcome, outcome, times, np.array(probability, dtype=float))


def regret_of(agent, planned_success, capacity, records, usable=None):
    chosen = np.array(agent)
    return decompose_regret(
        np.arange(chosen.size),
        chosen,
        records,
        planned_success=np.array(planned_success, dtype=float),
        capacity=np.array(capacity),
        usable=usable,
    )


BY_HAND = recorded(
    success=[[1, 0], [0, 1], [0, 1]],
    probability=[[0.75, 0.5], [0.5, 0.5], [0.5, 0.75]],
    duration_ms=[[10, 20], [30, 40], [50, 60]],
)


def test_successes_of_three_tasks_and_two_agents():
    # The plan: t0 -> a0 (1), t1 -> a1 (1), t2 -> a0 (0). Each task succeeds with one agent of two: round robin 3/2.
    # Alone, a0 does 1 and a1 does 2. The oracle, two tasks an agent at most: t0 -> a0, t1 -> a1, t2 -> a1.
    found = regret_of([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.3]], [2, 2], BY_HAND)
    assert (found.observed_count, found.plan, found.round_robin, found.oracle) == (3, 2, 1.5, 3)
    assert found.single_agent.tolist() == [1, 2]
    # Rotation 0: a0 has 10 + 50, a1 40. Rotation 1: a0 has 30, a1 20 + 60. Mean of 60 and 80.
    assert found.round_robin_makespan_ms == 70


@pytest.mark.parametrize(
    ("third", "error", "constraints"),
    [
        # Expected successes are 2 at best (0.75 + 0.5 + 0.75), 1.75 in the plan. Noise is (3 - 2) - (2 - 1.75) = 0.75.
        pytest.param([0.6, 0.3], 0.25, 0.0, id="the forecast preferred a0 for t2"),
        pytest.param([0.3, 0.6], 0.0, 0.25, id="a constraint put t2 on a0"),
    ],
)
def test_each_loss_is_assigned_to_its_cause(third, error, constraints):
    found = regret_of([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], third], [2, 2], BY_HAND)
    assert [getattr(found, name) for name in LOSSES] == [error, constraints, 0.75]
    assert found.oracle - found.plan == 1.0


def test_capacity_limits_the_oracle_too_and_its_cost_is_separate():
    # All want a0, which may take one task: the best expected sum is 0.9 + 0.5 instead of 0.9 + 0.8.
    records = recorded([[1, 0], [1, 0]], [[0.9, 0.5], [0.8, 0.5]])
    found = regret_of([0, 1], [[0.9, 0.5], [0.8, 0.5]], [1, 1], records)
    assert (found.oracle, found.single_agent.tolist()) == (1, [2, 0])
    assert found.capacity_cost == pytest.approx(0.3)


def test_a_plan_that_is_best_by_its_own_forecast_loses_nothing_to_constraints():
    found = regret_of([1, 0], np.full((2, 2), 0.5), [1, 1], recorded([[1, 0], [0, 1]], [[0.9, 0], [0, 0.9]]))
    assert (found.forecast_error, found.constraints) == (1.8, 0.0)


def test_tasks_without_records_are_left_out_and_keep_their_agent_s_capacity():
    # t0 went to a0 and has no record there: a0, full with it, cannot take t1, whose only choice is then a1.
    records = recorded([[0, 1], [1, 0]], [[0, 1], [1, 0]], is_observed=[[False, True], [True, True]])
    found = regret_of([0, 1], np.full((2, 2), 0.5), [1, 1], records)
    assert (found.observed_count, found.plan, found.oracle, found.round_robin) == (1, 0, 0, 0.5)
    nothing = regret_of([0], [[0.5, 0.5]], [1, 1], recorded([[0, 1]], [[0, 1]], is_observed=[[False, True]]))
    assert (nothing.observed_count, nothing.single_agent.tolist()) == (0, [0, 0])


def test_the_oracle_uses_only_agents_that_a_task_allows():
    found = regret_of([0], [[0.1, 0.9]], [1, 1], recorded([[0, 1]], [[0, 1]]), usable=np.array([[True, False]]))
    assert (found.oracle, found.forecast_error) == (0, 0)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3))
def test_parts_add_up_and_the_oracle_is_the_best_of_all_assignments(seed, n, m):
    rng = np.random.default_rng(seed)
    forecast, probability = rng.random((n, m)), rng.random((n, m))
    seen = rng.random((n, m)) < 0.7
    records = PairRecords(
        seen, *(seen * values for values in (*(rng.integers(2, size=(2, n, m))), rng.random((n, m)), probability))
    )
    capacity = np.full(m, -(-n // m))
    plans = np.array([p for p in product(range(m), repeat=n) if np.bincount(p, minlength=m).max() <= capacity[0]])
    row = np.arange(n)
    agent = plans[np.argmax([forecast[row, plan].sum() for plan in plans])]
    found = regret_of(agent, forecast, capacity, records)
    assert sum(getattr(found, name) for name in LOSSES) == pytest.approx(found.oracle - found.plan, abs=1e-9)
    assert found.constraints == 0  # the plan is the best by its own forecast
    assert found.forecast_error >= -1e-9
    kept = seen[row, agent]
    same = [plan for plan in plans if (plan[~kept] == agent[~kept]).all() and seen[row, plan][kept].all()]
    best = max((records.success[row, plan][kept].sum() for plan in same), default=0)
    assert found.oracle == pytest.approx(best)
    assert sum_regrets([found, found]).oracle == 2 * found.oracle


def test_records_of_pairs_follow_the_rules_of_replay():
    population = Population(success_rate=0.5, agent_count=2, task_count=2)
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
    assert found.success_probability == pytest.approx(np.array([[5 / 9, 0], [0, 0.5]]))

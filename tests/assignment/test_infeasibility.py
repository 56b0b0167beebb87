"""Where tasks cannot all be placed, those that say why."""

from __future__ import annotations

import numpy as np
import pytest

from phase19.assignment.solver import solve
from phase19.errors import InfeasibleError

LARGEST = (12, 6)  # tasks and agents of which all sets can be looked at


def problems(seed, count):
    """Allowed pairs and capacities for which there is no plan though every task allows an agent with room."""
    rng = np.random.default_rng(seed)
    while count:
        n, m = (int(rng.integers(1, most + 1)) for most in LARGEST)
        capacity = np.minimum(rng.integers(0, 4, m), n)
        allowed = rng.random((n, m)) < rng.uniform(0.15, 0.9)
        kinds = allowed[rng.integers(0, n, n)] if rng.random() < 0.5 else allowed
        if kinds[:, capacity > 0].any(axis=1).all() and in_conflict(kinds, capacity).any():
            yield kinds, capacity
            count -= 1


def in_conflict(allowed, capacity):
    """Whether the tasks of each set, by its bits, are more than the agents that they allow take, shape (2**n,)."""
    sets = np.arange(1 << len(allowed))[:, None] >> np.arange(len(allowed)) & 1
    return sets.sum(axis=1) > (sets @ allowed > 0) @ capacity


def named(allowed, capacity):
    with pytest.raises(InfeasibleError) as caught:
        solve(np.zeros(allowed.shape), capacity, allowed)
    return caught.value


def test_tasks_named_are_in_conflict_and_no_part_of_them_is():
    parts = 0
    for allowed, capacity in problems(seed=0, count=300):
        problem = named(allowed, capacity)
        if not problem.rows:
            continue
        parts += 1
        is_named = np.isin(np.arange(len(allowed)), problem.rows)
        assert problem.columns == tuple(np.flatnonzero(allowed[is_named].any(axis=0)))
        among_them = in_conflict(allowed[is_named], capacity)
        assert among_them[-1] and not among_them[:-1].any()
    assert parts > 100


def test_mostly_the_smallest_conflict_of_all_is_named():
    """To find it always is NP-hard."""
    smallest = []
    for allowed, capacity in problems(seed=2, count=300):
        tasks = (np.arange(1 << len(allowed))[:, None] >> np.arange(len(allowed)) & 1).sum(axis=1)
        least = tasks[in_conflict(allowed, capacity)].min()
        smallest.append((len(named(allowed, capacity).rows) or capacity.sum() + 1) == least)
    assert np.mean(smallest) > 0.97


def test_of_too_little_room_in_all_the_part_that_has_too_little_by_itself_is_named():
    """Of six tasks for four places, 0 to 2 may not use agent 2 and have two places between them."""
    allowed = np.ones((6, 3), dtype=bool)
    allowed[:3, 2] = False
    problem = named(allowed, np.array([1, 1, 2]))
    assert (problem.rows, problem.columns) == ((0, 1, 2), (0, 1))


@pytest.mark.parametrize("algorithm", ["linear_sum_assignment", "prices_and_paths"])
def test_each_algorithm_names_the_same_conflicts(monkeypatch, algorithm):
    limit = 1 << 40 if algorithm == "linear_sum_assignment" else 0
    monkeypatch.setattr("phase19.assignment.solver._SMALL", limit)
    for allowed, capacity in problems(seed=3, count=100):
        problem = named(allowed, capacity)
        if problem.rows:
            among_them = in_conflict(allowed[list(problem.rows)], capacity)
            assert among_them[-1] and not among_them[:-1].any()


def test_one_of_each_is_not_many():
    allowed = np.array([[True, False], [True, False], [False, True]])
    message = "no room for 1 task, because 2 tasks may use only 1 agent, whose total capacity is 1"
    assert str(named(allowed, np.array([1, 2]))) == f"no feasible plan: {message}"

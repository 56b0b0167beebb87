"""The assignment is the best there is, and its certificate proves it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19 import assignment
from phase19.assignment import solve
from phase19.errors import InfeasibleError, UsageError

# Few values, so that ties are common; and awkward ones.
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-1.0, 1.0), st.sampled_from([-1e6, 1e6, 1e-12]))


@st.composite
def problems(draw):
    n, m = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    scores = draw(st.lists(st.lists(SCORES, min_size=m, max_size=m), min_size=n, max_size=n))
    capacity = draw(st.lists(st.integers(0, n + 2), min_size=m, max_size=m))
    pairs = draw(st.lists(st.lists(st.integers(0, 3), min_size=m, max_size=m), min_size=n, max_size=n))
    allowed = np.array(pairs) > 0 if draw(st.booleans()) else None
    return np.array(scores), np.array(capacity), allowed


def best(scores, capacity, allowed):
    """Largest sum over all m^n assignments; None where none is feasible."""
    n, m = scores.shape
    sums = [
        scores[np.arange(n), list(choice)].sum()
        for choice in itertools.product(range(m), repeat=n)
        if (np.bincount(choice, minlength=m) <= capacity).all()
        and (allowed is None or allowed[np.arange(n), list(choice)].all())
    ]
    return max(sums, default=None)


@pytest.fixture(params=["linear_sum_assignment", "augmenting"], scope="module", autouse=True)
def algorithm(request):
    """Every case is solved by the algorithm of small waves and by that of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_SMALL_WAVE", 10**9 if request.param == "linear_sum_assignment" else 1)
        yield request.param


@settings(max_examples=200)
@given(problems())
def test_brute_force_finds_nothing_better(problem):
    scores, capacity, allowed = problem
    wanted = best(scores, capacity, allowed)
    if wanted is None:
        with pytest.raises(InfeasibleError):
            solve(scores, capacity, allowed)
        return
    found = solve(scores, capacity, allowed)
    n, m = scores.shape
    tolerance = 1e-9 * max(1.0, np.abs(scores).max())
    assert found.objective == pytest.approx(wanted, abs=tolerance)
    assert found.objective == scores[np.arange(n), found.agent_index].sum()
    assert (np.bincount(found.agent_index, minlength=m) <= capacity).all()
    assert allowed is None or allowed[np.arange(n), found.agent_index].all()
    assert found.gap < tolerance
    assert found.upper_bound >= found.objective - tolerance
    assert (found.prices >= 0).all() and np.isfinite(found.prices).all()


@given(problems())
def test_the_prices_alone_bound_every_assignment(problem):
    """For p >= 0 no feasible assignment exceeds sum_t max_a (S_ta - p_a) + sum_a cap_a p_a (weak duality)."""
    scores, capacity, _ = problem
    if (wanted := best(scores, capacity, None)) is None:
        return
    prices = solve(scores, capacity).prices
    bound = (scores - prices).max(axis=1).sum() + (prices * capacity).sum()
    tolerance = 1e-9 * max(1.0, np.abs(scores).max())
    assert wanted <= bound + tolerance


def test_a_larger_problem_is_proved_optimal():
    rng = np.random.default_rng(0)
    scores = 1 / (1 + np.exp(-(rng.normal(size=(300, 1)) + rng.normal(size=12) + 0.3 * rng.normal(size=(300, 12)))))
    allowed = rng.random((300, 12)) < 0.8
    found = solve(scores, np.full(12, 25), allowed)
    assert found.gap < 1e-9
    assert found.upper_bound >= found.objective - 1e-9
    assert np.bincount(found.agent_index).tolist() == [25] * 12


def test_capacity_forces_the_second_best_by_hand():
    # Both tasks like agent 0; task 1 loses only 0.9 - 0.8 = 0.1 by going to agent 1: 0.9 + 0.8 = 1.7.
    found = solve(np.array([[0.9, 0.2], [0.9, 0.8]]), np.array([1, 1]))
    assert found.agent_index.tolist() == [0, 1]
    assert found.objective == pytest.approx(1.7)
    # One more place at agent 0 is worth 0.1 at least and 0.7 at most, the losses of moving one task or the other.
    assert 0.1 - 1e-12 <= found.prices[0] - found.prices[1] <= 0.7 + 1e-12


def test_without_binding_capacities_each_task_takes_its_best_and_prices_are_zero():
    scores = np.array([[0.1, 0.9], [0.3, 0.2], [0.5, 0.6]])
    found = solve(scores, np.array([5, 2**62]))
    assert found.agent_index.tolist() == [1, 0, 1]
    assert found.prices.tolist() == [0.0, 0.0]
    assert found.upper_bound == pytest.approx(found.objective)


def test_forbidden_pairs_hold_against_any_score():
    scores = np.array([[1e9, 0.0], [0.0, -1e9]])
    allowed = np.array([[False, True], [True, True]])
    assert solve(scores, np.array([2, 2]), allowed).agent_index.tolist() == [1, 0]


def test_far_more_agents_than_tasks_take_no_more_memory_than_their_pairs():
    rng = np.random.default_rng(5)
    m = 50_000  # an (m, m) array would be 20 GB
    for capacity in (np.ones(m, dtype=int), np.r_[np.ones(6, int), np.zeros(m - 6, int)]):
        found = solve(rng.random((6, m)), capacity)
        assert found.gap < 1e-12
        assert (found.prices >= 0).all() and np.isfinite(found.prices).all()


def test_no_tasks():
    found = solve(np.zeros((0, 3)), np.array([1, 0, 2]))
    assert found.agent_index.shape == (0,)
    assert (found.objective, found.upper_bound, found.gap) == (0.0, 0.0, 0.0)
    assert found.prices.shape == (3,)


@pytest.mark.parametrize(
    ("scores", "capacity", "allowed", "message"),
    [
        (np.zeros((3, 2)), np.array([1, 1]), None, "3 tasks for a total capacity of 2 over 2 agents"),
        (np.zeros((2, 2)), np.array([0, 0]), None, "2 tasks for a total capacity of 0"),
        (np.zeros((1, 0)), np.zeros(0, int), None, "1 tasks for a total capacity of 0 over 0 agents"),
        (np.zeros((2, 2)), np.array([5, 5]), np.array([[True, True], [False, False]]), "1 tasks find no room"),
        (np.zeros((2, 2)), np.array([1, 5]), np.array([[True, False], [True, False]]), "1 tasks find no room"),
    ],
    ids=["too little capacity", "no capacity", "no agents", "a task allows nobody", "both need one place"],
)
def test_what_cannot_be_assigned_is_named(scores, capacity, allowed, message):
    with pytest.raises(InfeasibleError, match=message):
        solve(scores, capacity, allowed)


@pytest.mark.parametrize(
    ("scores", "capacity", "allowed", "message"),
    [
        (np.array([[0.1, np.nan]]), np.array([1, 1]), None, "expected finite scores"),
        (np.array([[0.1, np.inf]]), np.array([1, 1]), None, "expected finite scores"),
        (np.array([[0.1, -np.inf]]), np.array([1, 1]), None, "expected finite scores"),
        (np.zeros((1, 2)), np.array([1, -3]), None, "expected capacities >= 0, found -3"),
        (np.zeros((1, 2)), np.array([1, 1, 1]), None, r"found \(1, 2\), \(3,\)"),
        (np.zeros(2), np.array([1, 1]), None, r"found \(2,\), \(2,\)"),
        (np.zeros((1, 2)), np.array([[1, 1]]), None, r"found \(1, 2\), \(1, 2\)"),
        (np.zeros((1, 2)), np.array([1, 1]), np.ones((2, 1), bool), r"and \(2, 1\)"),
    ],
    ids=["NaN", "infinity", "-infinity", "negative capacity", "capacities", "vector", "matrix", "allowed"],
)
def test_bad_arguments_are_named(scores, capacity, allowed, message):
    with pytest.raises(UsageError, match=message):
        solve(scores, capacity, allowed)

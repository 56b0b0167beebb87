"""Why a task went where it did, by hand and by solving again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.assignment.sensitivity import explain_choices
from phase19.assignment.solver import solve
from phase19.errors import InfeasibleError


def test_the_margin_is_what_the_whole_plan_would_lose():
    """Both tasks are best at agent 0, which takes one: the second gives way, for it loses less."""
    found = explain_choices(np.array([[0.9, 0.2], [0.8, 0.6]]), np.array([0, 1]), np.array([1, 1]))
    assert found.runner_up.tolist() == [1, 0]
    assert found.score_margin == pytest.approx([0.5, 0.5])  # changing places: 0.9 + 0.6 against 0.2 + 0.8
    assert found.best.tolist() == [0, 0]
    assert found.best_margin == pytest.approx([0.0, 0.5])
    assert found.slot_value == pytest.approx([0.2, 0.0])  # the second task would move to agent 0


def test_where_no_other_agent_may_there_is_no_runner_up():
    allowed = np.array([[True, False, False], [True, True, False]])
    found = explain_choices(np.full((2, 3), 0.5), np.array([0, 1]), np.array([1, 1, 1]), allowed)
    assert found.runner_up.tolist() == [-1, -1]  # the second could go to 0, were the first not bound to it
    assert np.isnan(found.score_margin).all()
    assert found.best.tolist() == [0, 0]
    assert found.best_margin == pytest.approx([0.0, np.nan], nan_ok=True)
    alone = explain_choices(np.full((2, 1), 0.5), np.array([0, 0]), np.array([2]))
    assert alone.runner_up.tolist() == [-1, -1]


def test_one_more_slot_is_worth_the_best_chain_that_ends_in_it():
    # A slot at 0 brings the second task there, 0.3 more; the third then takes its place at 1, 0.2 more.
    scores = np.array([[0.9, 0.1, 0.1], [0.8, 0.5, 0.1], [0.1, 0.6, 0.4]])
    assert explain_choices(scores, np.array([0, 1, 2]), np.ones(3, int)).slot_value == pytest.approx([0.5, 0.2, 0.0])


def case(seed: int):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 10)), int(rng.integers(1, 5))
    scores = np.round(rng.random((n, m)), 1 if seed % 2 else 9)
    allowed = rng.random((n, m)) < 0.7 if seed % 3 == 0 else None
    capacity = rng.integers(0, n + 1, m)
    if allowed is not None:
        allowed[:, 0] = True
    capacity[0] = n if allowed is not None and seed % 2 else max(int(capacity[0]), n - int(capacity[1:].sum()))
    return scores, capacity, allowed


@settings(max_examples=100)
@given(st.integers(0, 100_000))
def test_margins_and_slots_are_what_solving_again_says(seed):
    scores, capacity, allowed = case(seed)
    n, m = scores.shape
    try:
        found = solve(scores, capacity, allowed)
    except InfeasibleError:
        return
    told = explain_choices(scores, found.agent_index, capacity, allowed)
    more = [solve(scores, capacity + (np.arange(m) == a), allowed).objective - found.objective for a in range(m)]
    assert told.slot_value == pytest.approx(more, abs=1e-9)
    may = np.ones((n, m), bool) if allowed is None else allowed
    for task in range(n):
        lost = np.full(m, np.inf)
        for agent in set(range(m)) - {int(found.agent_index[task])}:
            bound = may.copy()
            bound[task] = (np.arange(m) == agent) & may[task]
            try:
                lost[agent] = found.objective - solve(scores, capacity, bound).objective
            except InfeasibleError:
                continue
        best = int(np.where(may[task], scores[task], -np.inf).argmax())
        lost_at_best = 0.0 if best == found.agent_index[task] else lost[best] if np.isfinite(lost[best]) else np.nan
        assert told.best[task] == best
        assert told.best_margin[task] == pytest.approx(lost_at_best, abs=1e-9, nan_ok=True)
        if np.isinf(lost.min()):
            assert told.runner_up[task] == -1
        else:
            assert told.score_margin[task] == pytest.approx(lost.min(), abs=1e-9)
            assert lost[told.runner_up[task]] == pytest.approx(lost.min(), abs=1e-9)

"""Tests of `phase19.balancing.ties`, and of the order in which a wave's tasks enter the solver."""

import hashlib
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.assignment.solver import solve
from phase19.balancing.local_search import busy_time
from phase19.balancing.ties import share_ties
from phase19.forecasting.model import ForecastModel
from phase19.options import OptimizationStrategy
from tests.builders import POPULATION, agents, assigned, attempts, tasks


def shared(scores, planned, capacity, allowed=None):
    scores, planned = np.array(scores, dtype=float), np.array(planned, dtype=float)
    room = np.broadcast_to(np.array(capacity), scores.shape[1]).copy()
    return share_ties(solve(scores, room, allowed), planned)


def test_tasks_that_score_the_same_everywhere_go_where_the_makespan_is_shortest():
    # Times 6, 5, 4, 3 for two agents alike: 6 + 3 and 5 + 4.
    found = shared(np.full((4, 2), 0.7), np.tile([[6.0], [5.0], [4.0], [3.0]], (1, 2)), 4)
    assert busy_time(np.tile([[6.0], [5.0], [4.0], [3.0]], (1, 2)), found.agent_index).tolist() == [9.0, 9.0]
    assert found.gap == 0.0


def test_tasks_of_the_same_scores_change_places_although_their_agents_differ():
    # a0 is the better agent for every task and takes two; which two the score leaves open.
    planned = np.tile([[8.0], [8.0], [1.0], [1.0]], (1, 2))
    found = shared(np.tile([0.9, 0.5], (4, 1)), planned, 2)
    assert found.objective == pytest.approx(2.8) and found.gap == pytest.approx(0.0)
    assert busy_time(planned, found.agent_index).tolist() == [9.0, 9.0]


def test_a_shorter_makespan_that_costs_score_is_left_alone():
    found = shared([[0.9, 0.8], [0.9, 0.8]], [[5.0, 5.0], [5.0, 5.0]], 2)
    assert found.agent_index.tolist() == [0, 0]


def test_agents_without_tasks_share_those_of_agents_alike():
    # 2,000 tasks for 10 agents alike, at most 400 each: all take part, within one task of the even share.
    planned = np.full((2000, 10), 3.0)
    found = shared(np.full((2000, 10), 0.7), planned, 400)
    assert busy_time(planned, found.agent_index).max() == 600.0


def test_a_bound_that_overflows_proves_nothing():
    # All tasks gain 1.6e308 with the first agent, so that is its price, and its two slots are worth 3.2e308.
    found = shared(np.tile([8e307, -8e307], (3, 1)), np.ones((3, 2)), [2, 1])
    assert np.bincount(found.agent_index).tolist() == [2, 1]
    assert not np.isfinite(found.upper_bound) and found.gap is None


@st.composite
def waves(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, m = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    scores, planned = rng.integers(0, 3, (n, m)) / 4, rng.integers(0, 5, (n, m)).astype(float)
    allowed = rng.random((n, m)) < 0.8
    allowed[np.arange(n), rng.integers(0, m, n)] = True
    return scores, planned, np.full(m, n) - rng.integers(0, 2, m) * (n > 2), allowed


@given(waves())
def test_the_score_stays_the_largest_and_no_single_move_or_swap_helps_the_busiest(wave):
    scores, planned, capacity, allowed = wave
    n, m = scores.shape
    plans = np.array(list(itertools.product(range(m), repeat=n)))
    fits = ((plans[:, :, None] == np.arange(m)).sum(axis=1) <= capacity).all(axis=1)
    fits &= allowed[np.arange(n), plans].all(axis=1)
    if not fits.any():
        return
    value = np.where(fits, scores[np.arange(n), plans].sum(axis=1), -np.inf)
    found = shared(scores, planned, capacity, allowed)
    assert value[(plans == found.agent_index).all(axis=1)].item() == pytest.approx(value.max())
    own = busy_time(planned, found.agent_index).max()
    assert own <= busy_time(planned, solve(scores, capacity, allowed).agent_index).max()
    for plan in plans[value >= value.max() - 1e-12]:
        changed = np.flatnonzero(plan != found.agent_index)
        is_swap = changed.size == 2 and (plan[changed] == found.agent_index[changed[::-1]]).all()
        assert changed.size not in {1, 2} or not (changed.size == 1 or is_swap) or own <= busy_time(planned, plan).max()


FAMILIES = [*(f"long_{i:02}" for i in range(30)), *(f"short_{i:02}" for i in range(30))]


def assign_families(strategy, order=None, **options):
    """Assign 60 tasks of two families of ids, without records, to four agents alike."""
    frame = tasks(*({"task_id": name, "risk_level": "LOW", "wave": 1} for name in order or FAMILIES))
    team = agents("a0", "a1", "a2", "a3")
    model = ForecastModel.fit(frame.sort("task_id"), team, attempts(), POPULATION)
    return assigned(model, frame, strategy=strategy, **options)


@pytest.mark.parametrize("strategy", [name for name in OptimizationStrategy if name != "auto"])
@pytest.mark.parametrize("capacity", [None, "even"])
def test_no_agent_gets_the_whole_of_a_family_of_ids(strategy, capacity):
    wave = assign_families(strategy, capacity=capacity)
    is_long = wave.tasks["task_id"].str.starts_with("long").to_numpy()
    count = np.bincount(wave.agent_index, minlength=4)
    assert count.tolist() == [15, 15, 15, 15]
    # Dealt at random: 7.5 of 15 with a standard deviation of 1.7.
    assert (np.abs(np.bincount(wave.agent_index[is_long], minlength=4) - 7.5) <= 5).all()


def test_tasks_enter_the_solver_in_the_order_of_the_hash_of_their_ids():
    wave = assign_families("maximize_success")
    assert wave.tasks["task_id"].to_list() == sorted(FAMILIES, key=lambda name: hashlib.sha256(name.encode()).digest())


@given(st.permutations(FAMILIES[25:35]))
def test_the_order_of_the_input_changes_no_plan(order):
    plans = [assign_families("maximize_success", names) for names in (FAMILIES[25:35], order)]
    first, other = (plan.tasks.with_columns(agent=pl.Series(plan.agent_index)) for plan in plans)
    assert first.equals(other)

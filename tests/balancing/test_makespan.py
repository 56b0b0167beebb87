"""The shortest makespan: exact on small waves, near its bound on large ones, the same in any unit of time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from phase19.balancing import local_search
from phase19.balancing.local_search import LocalSearch, busy_time
from phase19.balancing.makespan import minimize_makespan
from phase19.errors import InfeasibleError
from tests.builders import every_plan


def durations(n, m, seed, *, scatter=0.3):
    """Tasks of different length, agents of different speed, in ms."""
    rng = np.random.default_rng(seed)
    return 1000.0 * np.exp(rng.normal(0, 0.6, (n, 1)) + rng.normal(0, 0.4, m) + rng.normal(0, scatter, (n, m)))


def brute_force(planned, capacity, allowed=None):
    """The shortest makespan of all plans that keep the rules, None where there is none."""
    plans, is_taken = every_plan(*planned.shape)
    fits = (is_taken.sum(axis=1) <= capacity).all(axis=1)
    if allowed is not None:
        fits &= allowed[np.arange(len(planned)), plans].all(axis=1)
    makespans = (is_taken * planned).sum(axis=1).max(axis=1)[fits]
    return makespans.min() if makespans.size else None


@st.composite
def waves(draw, largest=7):
    """Up to 7 tasks, up to 3 agents; durations with ties and zeros, capacities and pairs that may leave no plan."""
    n, m = draw(st.integers(1, largest)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    planned = rng.exponential(100.0, (n, m)).round(draw(st.sampled_from([-2, -1, 6])))
    capacity = rng.integers(0, n + 1, m)
    allowed = rng.random((n, m)) < 0.8 if draw(st.booleans()) else None
    return planned, capacity, allowed


# By hand


def test_three_tasks_on_two_agents():
    # 300 | 200 + 100 ends at 300; every other split at 400 or later.
    found = minimize_makespan(np.array([[300.0, 300.0], [200.0, 200.0], [100.0, 100.0]]), np.array([3, 3]))
    assert (found.makespan_ms, found.lower_bound_ms) == (300.0, 300.0)
    assert found.agent_index[0] != found.agent_index[1] == found.agent_index[2]


def test_a_fast_agent_takes_as_much_as_its_capacity():
    # Agent 0 takes 100 a task, agent 1 300: three and one end at 300. Two and two end at 600.
    planned = np.array([[100.0, 300.0]] * 4)
    assert np.bincount(minimize_makespan(planned, np.array([4, 4])).agent_index).tolist() == [3, 1]
    found = minimize_makespan(planned, np.array([2, 2]))
    assert np.bincount(found.agent_index).tolist() == [2, 2]
    assert found.makespan_ms == 600.0


def test_the_bound_by_hand():
    # Shared out, 4 tasks of 100 on 3 agents end at 400 / 3; whole, at 200. The prices are 1/3 each.
    planned = np.full((4, 3), 100.0)
    found = minimize_makespan(planned, np.full(3, 4))
    assert found.makespan_ms == 200.0
    assert found.scores == pytest.approx(np.full((4, 3), -1 / 4), rel=1e-6)  # 1/3 x 100 / (400 / 3)
    assert found.priced.upper_bound == pytest.approx(-1.0, rel=1e-4)  # in units of 4 x 100 / 3


def test_of_equal_makespans_the_evener_and_then_the_preferred_is_taken():
    # Task 0 takes 500 wherever it is. Tasks 1 and 2 take 100: beside each other or not, it ends at 500; the agents
    # 1 and 2 with 100 each have the lesser sum of powers, and task 1 prefers agent 2.
    planned = np.array([[500.0, 900.0, 900.0], [900.0, 100.0, 100.0], [900.0, 100.0, 100.0]])
    preference = np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.9], [0.0, 0.5, 0.5]])
    found = minimize_makespan(planned, np.full(3, 3), preference=preference)
    assert found.agent_index.tolist() == [0, 2, 1]
    assert minimize_makespan(planned, np.full(3, 3), preference=preference[:, [0, 2, 1]]).agent_index.tolist() == [
        0,
        1,
        2,
    ]


def test_the_shortest_makespan_comes_before_the_evenest_powers():
    # 100 | 100 against 101 | 10: the sum of 8th powers of the latter is half as large, and its makespan longer.
    planned = np.array([[101.0, 100.0], [100.0, 10.0]])
    assert minimize_makespan(planned, np.array([2, 2])).agent_index.tolist() == [1, 0]


def test_a_preference_never_lengthens_a_wave_that_is_searched():
    planned = np.array([[300.0, 310.0], [200.0, 200.0], [100.0, 100.0]])
    found = minimize_makespan(planned, np.array([3, 3]), preference=np.array([[0.0, 1.0]] * 3))
    assert found.makespan_ms == 300.0


def test_five_tasks_on_two_agents():
    # 5 + 4 against 3 + 3 + 3.
    planned = np.repeat([[5.0], [3.0], [4.0], [3.0], [3.0]], 2, axis=1)
    assert minimize_makespan(planned, np.array([5, 5])).makespan_ms == 9.0


def test_a_task_that_allows_one_agent_gets_it():
    planned, allowed = np.array([[5.0, 6.0], [1.0, 1.0]]), np.array([[True, True], [True, False]])
    assert minimize_makespan(planned, np.array([1, 1]), allowed).agent_index.tolist() == [1, 0]


@pytest.mark.parametrize("planned", [np.zeros((0, 2)), np.zeros((3, 2)), np.array([[0.0, 5.0], [0.0, 5.0]])])
def test_waves_that_may_take_no_time(planned):
    found = minimize_makespan(planned, np.array([3, 3]), preference=np.ones(planned.shape))
    assert (found.makespan_ms, found.lower_bound_ms) == (0.0, 0.0)
    assert found.agent_index.shape == planned.shape[:1]


def test_tasks_that_take_no_time_with_an_agent_that_has_no_room_for_all():
    found = minimize_makespan(np.array([[0.0, 5.0], [0.0, 9.0]]), np.array([1, 2]))
    assert found.agent_index.tolist() == [1, 0]
    assert found.lower_bound_ms <= found.makespan_ms == 5.0


def test_what_has_no_plan_is_refused():
    with pytest.raises(InfeasibleError):
        minimize_makespan(np.ones((3, 2)), np.array([1, 1]))
    with pytest.raises(InfeasibleError):
        minimize_makespan(np.ones((2, 2)), np.array([1, 1]), np.array([[True, False], [True, False]]))


# Against brute force


@settings(max_examples=60)
@given(waves(largest=6))
def test_small_waves_keep_the_rules_and_the_bound_never_exceeds_the_best(wave):
    planned, capacity, allowed = wave
    best = brute_force(planned, capacity, allowed)
    if best is None:
        with pytest.raises(InfeasibleError):
            minimize_makespan(planned, capacity, allowed)
        return
    found = minimize_makespan(planned, capacity, allowed)
    assert found.lower_bound_ms <= best * (1 + 1e-9)
    assert found.makespan_ms >= best * (1 - 1e-9)
    assert (np.bincount(found.agent_index, minlength=capacity.size) <= capacity).all()
    assert allowed is None or allowed[np.arange(len(planned)), found.agent_index].all()


@pytest.mark.no_cover
def test_the_search_finds_nearly_all_small_optima():
    rng = np.random.default_rng(0)
    excess = []
    for seed in range(25):
        n, m = int(rng.integers(4, 8)), int(rng.integers(2, 4))
        planned, capacity = durations(n, m, seed), np.full(m, -(-n // m) + int(rng.integers(0, 2)))
        excess.append(minimize_makespan(planned, capacity).makespan_ms / brute_force(planned, capacity) - 1)
    assert min(excess) > -1e-9
    assert np.mean(np.array(excess) < 1e-9) >= 0.95
    assert np.mean(excess) < 0.002


# Larger waves


def linear_program(planned, capacity):
    """The relaxation by scipy's linear programming."""
    n, m = planned.shape
    task, agent = np.divmod(np.arange(n * m), m)
    equal = np.zeros((n, n * m + 1))
    equal[task, np.arange(n * m)] = 1.0
    below = np.zeros((2 * m, n * m + 1))
    below[agent, np.arange(n * m)] = planned.ravel()
    below[m + agent, np.arange(n * m)] = 1.0
    below[:m, -1] = -1.0
    cost = np.append(np.zeros(n * m), 1.0)
    limits = np.concatenate([np.zeros(m), capacity])
    return linprog(cost, below, limits, equal, np.ones(n), method="highs").fun


@pytest.mark.parametrize(("n", "m", "capacity"), [(27, 10, 3), (60, 6, 10), (60, 6, 60), (40, 8, 7)])
def test_the_bound_is_the_linear_program_s(n, m, capacity):
    planned = durations(n, m, 1)
    found = minimize_makespan(planned, np.full(m, capacity))
    exact = max(linear_program(planned, np.full(m, capacity)), planned.min(axis=1).max())
    assert found.lower_bound_ms == pytest.approx(exact, rel=1e-3)
    assert found.lower_bound_ms <= exact * (1 + 1e-6)


@pytest.mark.parametrize("capacity", [50, 65, 500])
@pytest.mark.parametrize("scatter", [0.0, 0.3])
def test_within_a_hundredth_of_the_bound_where_agents_have_fifty_tasks(capacity, scatter):
    planned = durations(500, 10, 2, scatter=scatter)
    found = minimize_makespan(planned, np.full(10, capacity), preference=np.ones((500, 10)))
    assert found.makespan_ms <= 1.01 * found.lower_bound_ms
    assert np.bincount(found.agent_index, minlength=10).max() <= capacity
    assert found.makespan_ms == pytest.approx(busy_time(planned, found.agent_index).max())


def test_identical_agents_and_identical_tasks_are_shared_out_evenly():
    # 103 alike tasks on 10 alike agents: 11 on the busiest.
    found = minimize_makespan(np.full((103, 10), 70.0), np.full(10, 103))
    assert found.makespan_ms == 770.0
    lengths = np.random.default_rng(3).exponential(100.0, 300)
    found = minimize_makespan(np.repeat(lengths[:, None], 10, axis=1), np.full(10, 300))
    assert found.makespan_ms <= 1.01 * lengths.sum() / 10


@pytest.mark.parametrize(("capacity", "scatter"), [(50, 0.02), (75, 0.3)])
def test_prices_of_a_sample_are_made_good_on_all_tasks(monkeypatch, capacity, scatter):
    planned = durations(500, 10, 4, scatter=scatter)
    room = np.full(10, capacity)
    whole = minimize_makespan(planned, room)
    monkeypatch.setattr("phase19.balancing.makespan._MOST_PAIRS", 4_999)
    monkeypatch.setattr("phase19.balancing.makespan._SAMPLED_PAIRS", 1_000)
    sampled = minimize_makespan(planned, room)
    assert 0.99 * whole.lower_bound_ms <= sampled.lower_bound_ms <= whole.makespan_ms
    assert sampled.makespan_ms <= 1.01 * sampled.lower_bound_ms
    monkeypatch.setattr("phase19.balancing.makespan._MOST_REFINEMENTS", 0)
    assert minimize_makespan(planned, room).lower_bound_ms < sampled.lower_bound_ms


@pytest.mark.no_cover
@pytest.mark.parametrize(("n", "m", "capacity"), [(7, 3, 3), (30, 6, 5), (200, 8, 40)])
def test_the_unit_of_time_changes_no_plan(n, m, capacity):
    planned = durations(n, m, 0).round(-1)  # with ties
    preference = np.random.default_rng(0).random((n, m))
    found = minimize_makespan(planned, np.full(m, capacity), preference=preference)
    for unit in (1000.0, 1e-3, 60_000.0):
        other = minimize_makespan(planned * unit, np.full(m, capacity), preference=preference)
        assert other.agent_index.tolist() == found.agent_index.tolist()
        assert other.lower_bound_ms == pytest.approx(found.lower_bound_ms * unit, rel=1e-9)


# Its parts


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_steps_say_what_every_step_makes_of_loads_and_scores(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    planned, values = rng.integers(0, 9, (n, m)).astype(float), rng.random((n, m))
    chosen = rng.integers(m, size=n)
    capacity, allowed = np.bincount(chosen, minlength=m) + rng.integers(0, 2, m), rng.random((n, m)) < 0.8
    allowed[np.arange(n), chosen] = True
    before = values[np.arange(n), chosen].sum()
    reached = set()
    for agent in range(m):
        search = LocalSearch(planned, capacity, allowed, chosen)
        near = search.steps(agent)
        for place in np.flatnonzero(near.is_possible).tolist():
            trial = LocalSearch(planned, capacity, allowed, chosen)
            trial.take(near, place)
            assert trial.load.tolist() == busy_time(planned, trial.agent_index).tolist()
            assert trial.count.tolist() == np.bincount(trial.agent_index, minlength=m).tolist()
            after = values[np.arange(n), trial.agent_index].sum()
            assert near.change(values).flat[place] == pytest.approx(after - before, abs=1e-12)
            reached.add(tuple(trial.agent_index.tolist()))
        assert search.agent_index.tolist() == chosen.tolist()
    assert reached == set(map(tuple, _one_step_away(chosen, capacity, allowed)))


def _one_step_away(chosen, capacity, allowed):
    """Plans with one task moved or two tasks of different agents swapped."""
    plans, is_taken = every_plan(*allowed.shape)
    fits = (is_taken.sum(axis=1) <= capacity).all(axis=1) & allowed[np.arange(len(allowed)), plans].all(axis=1)
    for plan in plans[fits]:
        moved = np.flatnonzero(plan != chosen)
        is_swap = moved.size == 2 and plan[moved].tolist() == chosen[moved][::-1].tolist()
        if moved.size == 1 or is_swap:
            yield tuple(plan.tolist())


def evened(planned, capacity):
    """A plan after steps that relieve the busier of two agents."""
    search = LocalSearch(planned, capacity, None, np.zeros(len(planned), dtype=np.int64))
    search.improve(
        lambda steps: (
            np.maximum(search.load[steps.agent], search.load[steps.partner])
            - np.maximum(steps.agent_after, steps.partner_after)
        )
    )
    return search


def test_a_search_ends_where_no_step_helps():
    search = evened(durations(40, 5, 6), np.full(5, 40))
    steps = search.steps(int(np.argmax(search.load)))
    busiest = np.maximum(steps.agent_after, steps.partner_after)[steps.is_possible]
    assert busiest.min() >= search.load.max()


def test_agents_with_many_tasks_are_looked_at_in_part(monkeypatch):
    monkeypatch.setattr(local_search, "_MOST_OWN", 5)
    monkeypatch.setattr(local_search, "_MOST_OTHER", 5)
    planned = durations(60, 3, 7)
    search = evened(planned, np.full(3, 60))
    assert search.load.max() < 1.05 * planned.sum() / 9
    assert search.load.tolist() == pytest.approx(busy_time(planned, search.agent_index).tolist())


def test_the_work_does_not_grow_with_the_number_of_idle_agents(monkeypatch):
    rng, asked, steps = np.random.default_rng(1), [], LocalSearch.steps
    monkeypatch.setattr(LocalSearch, "steps", lambda search, agent: (asked.append(agent), steps(search, agent))[1])
    planned = rng.lognormal(3.0, 0.5, (4, 1)) * rng.lognormal(0.0, 0.3, (4, 400))
    found = minimize_makespan(planned, np.full(400, 2))
    assert found.makespan_ms == pytest.approx(planned.min(axis=1).max())
    assert len(asked) < 100

"""The assignment is the best there is, and its certificate proves it."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from phase19.assignment import solver as assignment
from phase19.assignment.pairs import Pairs
from phase19.assignment.prices import price
from phase19.assignment.solver import solve
from phase19.errors import InfeasibleError, UsageError

# Few values, so that ties are common; and awkward ones.
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-1.0, 1.0), st.sampled_from([-1e6, 1e6, 1e-12]))
IS_SMALL = assignment._is_small


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


@pytest.fixture(params=["linear_sum_assignment", "prices_and_paths"], scope="module", autouse=True)
def algorithm(request):
    """Every case is solved by the algorithm of small waves and by that of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "_is_small", lambda n, *_: n == 0 or request.param == "linear_sum_assignment")
        yield request.param


def skill(rng, n, m, noise=0.3):
    """Chances as real forecasts have them: tasks agree on who is able, agents on what is hard."""
    return 1 / (1 + np.exp(rng.normal(size=(n, 1)) - rng.normal(size=m) + noise * rng.normal(size=(n, m))))


FAMILIES = {
    "skill": skill,
    "uniform": lambda rng, n, m: rng.random((n, m)),
    "rounded to 0.1": lambda rng, n, m: np.round(skill(rng, n, m), 1),
    "3 classes of tasks": lambda rng, n, m: skill(rng, 3, m)[rng.integers(3, size=n)],
    "twin agents": lambda rng, n, m: np.repeat(skill(rng, n, m), 2, axis=1)[:, :m],
    "one order of agents": lambda rng, n, m: skill(rng, n, m, noise=0.0),
    "all equal": lambda rng, n, m: np.full((n, m), float(rng.normal())),
    "any scale": lambda rng, n, m: rng.normal(size=(n, m)) * 10.0 ** rng.integers(-9, 9),
}
CAPACITIES = {
    "even": lambda _, n, m: np.full(m, -(-n // m)),
    "exact": lambda rng, n, m: rng.multinomial(n, rng.dirichlet(np.ones(m))),
    "slack": lambda rng, n, m: rng.multinomial(n, np.ones(m) / m) + rng.integers(0, 3, m),
    "any": lambda rng, n, m: rng.integers(0, n + 3, m) * (rng.random(m) < 0.7),
}


def by_slots(scores, capacity, allowed):
    """Largest sum by scipy's linear_sum_assignment on repeated columns; None where none is feasible."""
    slots = np.repeat(np.arange(capacity.size), np.minimum(capacity, len(scores)))
    if slots.size < len(scores):
        return None
    weight = scores if allowed is None else np.where(allowed, scores, -np.inf)
    try:
        row, slot = linear_sum_assignment(weight[:, slots], maximize=True)
    except ValueError:
        return None
    return scores[row, slots[slot]].sum()


def is_plan(agent_index, capacity, allowed):
    """Whether an assignment keeps to the capacities and the pairs allowed."""
    placed = np.flatnonzero(agent_index >= 0)
    is_kept = allowed is None or allowed[placed, agent_index[placed]].all()
    return is_kept and (np.bincount(agent_index[placed], minlength=capacity.size) <= capacity).all()


def cases(seed, count, largest):
    """Problems of every family and kind of capacity, half of them with forbidden pairs."""
    rng = np.random.default_rng(seed)
    kinds = itertools.cycle(itertools.product(FAMILIES.values(), CAPACITIES.values(), (None, 0.3, 0.6, 0.9)))
    for family, kind, share in itertools.islice(kinds, count):
        n, m = int(rng.integers(1, largest)), int(rng.integers(1, 13))
        allowed = None if share is None or rng.random() < 0.3 else rng.random((n, m)) < share
        yield rng, family(rng, n, m), kind(rng, n, m).astype(np.int64), allowed


@settings(max_examples=100)
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


def test_far_more_agents_than_tasks_take_no_more_memory_than_their_pairs(monkeypatch):
    monkeypatch.setattr(assignment, "_is_small", IS_SMALL)
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
        (np.zeros((1, 0)), np.zeros(0, int), None, "1 task for a total capacity of 0 over no agents"),
        (
            np.zeros((2, 2)),
            np.array([5, 5]),
            np.array([[True, True], [False, False]]),
            "no room for 1 task, which may use no agent",
        ),
        (
            np.zeros((2, 2)),
            np.array([1, 5]),
            np.array([[True, False]] * 2),
            "no room for 1 task, because 2 tasks may use only 1 agent, whose total capacity is 1",
        ),
        (
            np.zeros((4, 3)),
            np.array([0, 1, 1]),
            np.array([[True] * 3, [True, False, False], [True, False, False], [True] * 3]),
            "no room for 2 tasks, because 1 task may use only 1 agent, whose total capacity is 0",
        ),
        (
            np.zeros((4, 2)),
            np.array([1, 1]),
            np.array([[True, True], [True, True], [False, False], [True, True]]),
            "no room for 1 task, which may use no agent",
        ),
        (
            np.zeros((7, 4)),
            np.array([1, 1, 1, 2]),
            np.array([[True] * 4] * 5 + [[True, False, False, False]] * 2),
            "no room for 2 tasks, because 2 tasks may use only 1 agent, whose total capacity is 1",
        ),
        (
            np.zeros((7, 4)),
            np.array([1, 1, 1, 2]),
            np.array([[True] * 4] * 6 + [[True, False, False, True]]),
            "7 tasks for a total capacity of 5 over 4 agents",
        ),
        (
            np.zeros((102, 3)),
            np.array([1, 20, 20]),
            np.array([[False, True, True], [True, True, True]] * 50 + [[True, False, False]] * 2),
            "no room for 61 tasks, because 2 tasks may use only 1 agent, whose total capacity is 1",
        ),
        (
            np.zeros((67, 34)),
            np.array([1] * 33 + [0]),
            np.eye(34, dtype=bool)[np.arange(67) // 2],
            "no room for 34 tasks, because 1 task may use only 1 agent, whose total capacity is 0",
        ),
    ],
    ids=[
        *("too little capacity", "no capacity", "no agents", "a task allows nobody", "both need one place"),
        *("a task allows nobody with room", "too little capacity, and a task allows nobody"),
        *("too little capacity, and in part", "too little capacity, in part no less"),
        *("too little capacity, in part among many", "a task allows nobody with room, after many conflicts"),
    ],
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
        (np.array([[1e308, 1e308, np.nan]]), np.array([1, 1, 1]), None, "expected finite scores"),
        (np.full((1, 2), 1.5e308), np.array([1, 1]), None, "found scores too large to add up"),
        (np.zeros((1, 2), int), np.array([1, 1]), None, "expected scores as an array of float64, found int64"),
        ([[0.5, 0.1]], np.array([1, 1]), None, "expected scores as an array of float64, found list"),
        (np.zeros((1, 2), np.float32), np.array([1, 1]), None, "expected scores as an array of float64, found float32"),
        (np.zeros((1, 2)), np.array([1.0, 1.5]), None, "expected capacity as an array of integers, found float64"),
        (np.zeros((1, 2)), np.array([1, 2**70]), None, "expected capacity as an array of integers, found object"),
        (np.zeros((1, 2)), np.array([1, 1]), np.ones((1, 2)), "expected allowed as an array of booleans"),
    ],
    ids=[
        *("NaN", "infinity", "-infinity", "negative capacity", "capacities", "vector", "matrix", "allowed"),
        *(
            "NaN beside an overflow",
            "overflow",
            "integer scores",
            "list",
            "single precision",
            "fractions",
            "absurd capacity",
            "no booleans",
        ),
    ],
)
def test_bad_arguments_are_named(scores, capacity, allowed, message):
    with pytest.raises(UsageError, match=message):
        solve(scores, capacity, allowed)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_capacities_may_be_integers_of_any_kind(kind):
    scores = skill(np.random.default_rng(61), 300, 3)
    wanted = solve(scores, np.array([100, 100, 100]))
    assert solve(scores, np.array([100, 100, 100], kind)).agent_index.tolist() == wanted.agent_index.tolist()


def test_scores_that_leave_no_room_below_them_are_refused_where_a_task_may_be_left_out():
    scores = np.array([[2e307, -2e307]] * 3)
    assert solve(scores, np.array([2, 1])).gap <= 1e-12 * 2e307
    with pytest.raises(UsageError, match="too large to add up with one left out"):
        solve(scores, np.array([1, 1]), allow_unassigned=True)


def test_without_agents_every_task_may_be_left_out():
    assert solve(np.zeros((3, 0)), np.zeros(0, int), allow_unassigned=True).agent_index.tolist() == [-1, -1, -1]


def test_rounding_leaves_no_gap():
    """Of two agents as good as each other but for a thousandth: differences of scores near 1 are known to 1e-16."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores = rng.random((60, 1)) + 0.5 + np.hstack([np.zeros((60, 1)), 1e-3 * rng.random((60, 1))])
        assert solve(scores, np.array([30, 30])).gap <= 1e-14 * scores.sum()


def test_every_family_equals_linear_sum_assignment_and_is_proved():
    feasible = 0
    for _, scores, capacity, allowed in cases(seed=1, count=512, largest=60):
        wanted = by_slots(scores, capacity, allowed)
        if wanted is None:
            with pytest.raises(InfeasibleError):
                solve(scores, capacity, allowed)
            continue
        feasible += 1
        found = solve(scores, capacity, allowed)
        tolerance = 1e-12 * np.abs(scores).max() * len(scores)
        assert found.objective == pytest.approx(wanted, abs=tolerance)
        assert is_plan(found.agent_index, capacity, allowed)
        assert found.upper_bound == pytest.approx(wanted, abs=tolerance) and found.gap <= tolerance
    assert feasible > 200


@pytest.mark.parametrize("family", FAMILIES)
def test_four_hundred_tasks_equal_linear_sum_assignment(family):
    rng = np.random.default_rng(7)
    scores = FAMILIES[family](rng, 400, 10)
    for capacity in (np.full(10, 40), np.full(10, 55), rng.multinomial(400, rng.dirichlet(np.ones(10)))):
        found = solve(scores, capacity)
        assert found.objective == pytest.approx(by_slots(scores, capacity, None), rel=1e-12)
        assert found.gap <= 1e-12 * np.abs(scores).sum()


@pytest.mark.parametrize("family", ["skill", "rounded to 0.1", "3 classes of tasks"])
def test_thousands_of_tasks_are_proved_optimal(family, monkeypatch):
    """Enough for prices from samples, contests of some tasks only and reading in several blocks."""
    monkeypatch.setattr(assignment, "_is_small", IS_SMALL)
    rng = np.random.default_rng(11)
    scores = FAMILIES[family](rng, 12_000, 30)
    allowed = rng.random(scores.shape) < 0.8 if family == "skill" else None
    for capacity in (np.full(30, 400), np.full(30, 450)):
        found = solve(scores, capacity, allowed)
        assert found.algorithm == "prices_and_paths"
        assert is_plan(found.agent_index, capacity, allowed)
        assert found.gap <= 1e-12 * scores.sum()


def test_prices_are_what_one_more_unit_of_capacity_adds():
    for _, scores, capacity, allowed in cases(seed=2, count=64, largest=25):
        base = by_slots(scores, capacity, allowed)
        if base is None:
            continue
        found = solve(scores, capacity, allowed)
        more = [by_slots(scores, capacity + one, allowed) for one in np.eye(capacity.size, dtype=int)]
        assert found.prices == pytest.approx(np.array(more) - base, abs=1e-10 * np.abs(scores).max() * len(scores))


def test_a_conflict_names_tasks_and_agents_and_has_no_part_in_conflict():
    conflicts = 0
    for _, scores, capacity, allowed in cases(seed=4, count=256, largest=30):
        if allowed is None or by_slots(scores, capacity, allowed) is not None:
            continue
        with pytest.raises(InfeasibleError) as caught:
            solve(scores, capacity, allowed)
        rows, agents = np.array(caught.value.rows, int), np.array(caught.value.columns, int)
        if not agents.size:  # too little capacity in all, or tasks that allow nobody
            assert "total capacity" in str(caught.value) or not allowed[rows].any()
            continue
        conflicts += 1
        assert agents.tolist() == np.flatnonzero(allowed[rows].any(axis=0)).tolist()
        assert rows.size == np.minimum(capacity, len(scores))[agents].sum() + 1
        for row in rows:
            rest = rows[rows != row]
            assert by_slots(np.zeros((rest.size, capacity.size)), capacity, allowed[rest]) is not None
    assert conflicts > 10


def test_where_a_part_has_too_little_by_itself_the_whole_is_not_blamed():
    """Of too little capacity in all, against every set of agents in turn."""
    parts = missed = 0
    rng = np.random.default_rng(8)
    for _ in range(300):
        n, m = int(rng.integers(2, 12)), int(rng.integers(1, 5))
        capacity, allowed = rng.integers(0, 4, m), rng.random((n, m)) < rng.uniform(0.3, 1.0)
        total = np.minimum(capacity, n).sum()
        if not 0 < total < n:
            continue
        with pytest.raises(InfeasibleError) as caught:
            solve(rng.random((n, m)), capacity, allowed)
        # The sets of agents that are too few for the tasks that allow only them, but for those that take everything.
        sets = [np.array([mask >> a & 1 for a in range(m)], bool) for mask in range(2**m)]
        blamed = [s for s in sets if (~allowed[:, ~s].any(axis=1)).sum() > np.minimum(capacity, n)[s].sum() < total]
        assert bool(caught.value.rows) <= bool(blamed)
        parts += bool(blamed)
        missed += bool(blamed) and not caught.value.rows
    assert parts > 100 and missed <= 0.01 * parts


def test_as_few_as_possible_are_left_out_and_then_as_little_score():
    left_out = 0
    for _, scores, capacity, allowed in cases(seed=5, count=192, largest=30):
        found = solve(scores, capacity, allowed, allow_unassigned=True)
        scale = np.abs(scores).max() or 1.0
        slots = np.repeat(np.arange(capacity.size), np.minimum(capacity, len(scores)))
        usable = np.ones(scores.shape, bool) if allowed is None else allowed
        weight = np.where(usable, scores / scale + 1e4, 0.0)[:, slots]  # a task placed outweighs all scores
        wanted = weight[linear_sum_assignment(weight, maximize=True)].sum() if slots.size else 0.0
        placed = int((found.agent_index >= 0).sum())
        assert is_plan(found.agent_index, capacity, allowed)
        assert placed * 1e4 + found.objective / scale == pytest.approx(wanted, abs=1e-7)
        assert found.gap <= 1e-10 * scale * scores.size
        assert found.prices.shape == capacity.shape
        left_out += placed < len(scores)
    assert left_out > 30


def test_the_order_of_tasks_changes_nothing_but_the_order():
    rng = np.random.default_rng(17)
    scores, capacity = skill(rng, 900, 12), np.full(12, 75)
    order = rng.permutation(900)
    found, shuffled = solve(scores, capacity), solve(scores[order], capacity)
    assert shuffled.agent_index.tolist() == found.agent_index[order].tolist()  # no two plans are equally good
    assert shuffled.objective == pytest.approx(found.objective, rel=1e-14)
    again = solve(np.asfortranarray(scores), capacity)
    assert (again.agent_index.tolist(), again.prices.tolist()) == (found.agent_index.tolist(), found.prices.tolist())


def test_the_scores_are_not_written_to():
    scores = skill(np.random.default_rng(19), 300, 5)
    scores.setflags(write=False)
    assert solve(scores, np.full(5, 60)).gap < 1e-11


def test_no_score_is_worth_leaving_out_a_task_that_can_be_placed():
    # Task 2 fits only if 0 and 1 move on, which costs 2 each and 1 of its own; task 3 allows nobody.
    scores = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    allowed = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=bool)
    found = solve(scores, np.array([1, 1, 1]), allowed, allow_unassigned=True)
    assert found.agent_index.tolist() == [1, 2, 0, -1]
    assert (found.objective, found.upper_bound) == (-3.0, pytest.approx(-3.0))


@pytest.mark.parametrize(("seed", "n", "m"), [(1, 12_000, 30), (2, 40_000, 20)])
def test_contests_that_grow_end_in_an_optimum(seed, n, m, monkeypatch):
    """Scores rounded to 0.01 move prices farther than the first contest reaches."""
    monkeypatch.setattr(assignment, "_is_small", IS_SMALL)
    scores, capacity = skill(np.random.default_rng(seed), n, m).round(2), np.full(m, n // m)
    assert solve(scores, capacity).gap < 1e-9


@pytest.mark.parametrize("before", ["", "import scipy.optimize; "], ids=["alone", "with scipy.optimize"])
def test_a_small_problem_is_solved_whether_or_not_scipy_optimize_is_imported(before):
    code = (
        f"{before}import sys; import numpy as np; from phase19.assignment.solver import solve; "
        "found = solve(np.eye(3)[[2, 0, 1]], np.ones(3, dtype=np.int64)); "
        "print(found.agent_index.tolist(), found.algorithm, 'scipy.optimize' in sys.modules); "
        "from scipy.optimize import linear_sum_assignment; print(linear_sum_assignment(np.eye(2))[1].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[2, 0, 1] linear_sum_assignment {bool(before)}\n[1, 0]\n"


def forecasts(n, m):
    """Chances as the forecasts of a large wave have them: within a category, tasks differ by little but difficulty."""
    rng = np.random.default_rng(19)
    level = rng.normal(3.0, 0.5, m) + rng.normal(0.0, 0.6, (6, m))
    difficulty, loading = rng.normal(size=n).round(3), rng.normal(1.0, 0.03, m)
    return 1 / (1 + np.exp(np.outer(difficulty, loading) - level[rng.integers(6, size=n)]))


def test_prices_leave_few_of_many_alike_tasks_over_capacity():
    """Each of them costs a search of all agents."""
    capacity = np.full(50, 240)
    choices = price(Pairs(forecasts(6_000, 50)), capacity)
    assert np.maximum(choices.load() - capacity, 0).sum() <= 50


@pytest.mark.parametrize(("n", "room"), [(2_000, 100), (2_000, 200), (3_333, 167)])
def test_many_alike_tasks_are_assigned_optimally(n, room, algorithm):
    """In the last case, steps of the prices promise an increase."""
    if algorithm == "linear_sum_assignment":
        pytest.skip("takes minutes")
    found = solve(forecasts(n, 20), np.full(20, room))
    assert found.gap <= 1e-9

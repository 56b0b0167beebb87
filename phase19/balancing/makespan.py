"""The shortest makespan: a plan whose busiest agent is done soonest, and a bound that no plan goes below."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.solver import Assignment, solve
from phase19.balancing.local_search import (
    LocalSearch,
    Neighbours,
    busy_time,
    every_plan,
    improve,
    relieve,
    shake,
    total,
)

_GRID = 2.0**32  # durations are counted in 2^-32 of a makespan: their sums are exact, so that ties are ties in any unit
_CLOSE = 1e-3  # of the bound; no forecast of a duration is as accurate
_GOOD = 5e-3  # of the bound, from where no other start is tried
_POWER = 8  # with some twenty agents whose loads scatter by a fifth, the 8-norm is about the expected maximum
_ROUNDING, _TIE_BREAK = 1e-12, 1e-9  # of one agent's term at the limit
_NO_PRICE = 1e-6
_MOST_PAIRS, _SAMPLED_PAIRS = 50_000, 20_000  # above so many pairs a sample of the tasks gives the first prices
_MOST_REFINEMENTS, _FIRST_LENGTH = 24, 0.1  # the length is a power of an agent's busy time over the mean


@dataclass(frozen=True, eq=False)
class Makespan:
    """A plan of n tasks by m agents and the bound of its makespan.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    makespan_ms, lower_bound_ms
        Of the plan, and a bound that no plan within the capacities and the allowed pairs goes below.
    algorithm
        `enumeration` where all plans were compared, else `makespan_local_search`; `makespan_assignment` where every
        task has an agent that takes no time for it.
    scores
        Minus the planned time of each pair, times the price of the agent's time: the increase of the makespan by one
        more ms of it. In units of the makespan that the tasks would have if each went to its quickest agent and their
        time could be shared evenly; shape (n, m).
    priced
        The best assignment by these scores; it proves the bound.
    """

    agent_index: NDArray[np.int64]
    makespan_ms: float
    lower_bound_ms: float
    algorithm: str
    scores: NDArray[np.float64]
    priced: Assignment


def minimize_makespan(
    planned_ms: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
    preference: NDArray[np.float64] | None = None,
) -> Makespan:
    """Plan a wave so that the busiest agent's time is least.

    Parameters
    ----------
    planned_ms
        Busy time of every pair in ms, >= 0, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.
    preference
        Among plans with the same busy times the one with the larger sum of these is taken, shape (n, m).

    Returns
    -------
    Makespan
        Optimal where all plans can be listed; else a local optimum, never worse than `longest_first`.

    Raises
    ------
    InfeasibleError
        No plan keeps to the capacities and the allowed pairs.

    Notes
    -----
    Unrelated machines. A plan's busy times weighted by prices that sum to 1 never exceed its makespan, and the smallest
    such sum is an assignment: a bound, largest at the dual prices of the linear relaxation. Starts are the relaxed
    shares and the prices, both rounded by assignment, and longest first; each is followed by moves and swaps that
    relieve the busiest agent. Among plans with the same makespan the one with the smallest sum of 8th powers of busy
    times is taken: actual durations scatter around the planned ones, and any agent that is nearly as busy as the
    busiest may be the last. Where not all plans can be listed, a makespan counts as the same within half a percent of
    the bound and no longer than any start's. The unit of time changes nothing.

    References
    ----------
    Lenstra, Shmoys, Tardos, Approximation algorithms for scheduling unrelated parallel machines, 1990.
    """
    n, m = planned_ms.shape
    usable_ms = planned_ms if allowed is None else np.where(allowed, planned_ms, np.inf)
    quickest_ms = usable_ms.min(axis=1, initial=np.inf)
    unit_ms = float(quickest_ms.sum()) / m
    solve(np.zeros((n, m)), capacity, allowed)  # refuses a wave without a plan
    if not 0.0 < unit_ms < np.inf:  # no time to share out: the smallest total time
        scores = -planned_ms / (planned_ms.max(initial=0.0) or 1.0)
        priced = solve(scores if preference is None else scores + _TIE_BREAK * preference, capacity, allowed)
        makespan_ms = float(busy_time(planned_ms, priced.agent_index).max(initial=0.0))
        return Makespan(priced.agent_index, makespan_ms, 0.0, "makespan_assignment", scores, priced)
    planned = np.rint(planned_ms / unit_ms * _GRID)
    price, share = _prices(planned / _GRID, capacity, allowed)
    scores = -price * (planned / _GRID)
    priced = solve(scores, capacity, allowed)
    bound = max(-priced.upper_bound, float(quickest_ms.max()) / unit_ms)
    plans = every_plan(n, capacity, allowed)
    if plans is not None:
        found, algorithm = _best_of(plans, planned, preference), "enumeration"
    else:
        starts = [priced.agent_index, longest_first(planned, capacity, allowed)]
        starts += [] if share is None else [solve(share, capacity, allowed).agent_index]
        searches = [LocalSearch(planned, capacity, allowed, start) for start in starts if start is not None]
        enough = min(bound * (1 + _GOOD) * _GRID, *(float(search.load.max()) for search in searches))
        search = _search(searches, bound * _GRID)
        _level(search, preference, max(enough, float(search.load.max())))
        found, algorithm = search.agent_index, "makespan_local_search"
    makespan_ms = float(busy_time(planned_ms, found).max())
    lower_bound_ms = makespan_ms if plans is not None else min(bound * unit_ms, makespan_ms)
    return Makespan(found, makespan_ms, lower_bound_ms, algorithm, scores, priced)


def longest_first(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64] | None:
    """Give the longest task, by its quickest agent, to the agent that is done with it first, and so on.

    Returns
    -------
    numpy.ndarray or None
        Agent of each task, shape (n,); None where that leaves a task without an agent.

    Notes
    -----
    O(n m), a loop over tasks by nature: each choice depends on those before it. Ties go to the first.

    References
    ----------
    Graham, Bounds on multiprocessing timing anomalies, 1969.
    """
    usable = planned if allowed is None else np.where(allowed, planned, np.inf)
    chosen, load = np.zeros(planned.shape[0], dtype=np.int64), np.where(capacity > 0, 0.0, np.inf)
    room = capacity.tolist()
    for task in np.argsort(-usable.min(axis=1), kind="stable").tolist():
        done = load + usable[task]
        agent = int(done.argmin())
        if done[agent] == np.inf:
            return None
        chosen[task] = agent
        room[agent] -= 1
        load[agent] = done[agent] if room[agent] else np.inf
    return chosen


def _prices(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Prices of the agents' time, (m,), and the relaxed shares, (n, m), or None where a sample gave the first prices.

    A sample's prices are refined on all tasks: raised where they leave an agent too busy, by ever smaller steps. How
    far depends on how alike agents are: further while the busiest agent gets less busy, else back.
    """
    if planned.size <= _MOST_PAIRS:
        return _relax(planned, capacity, allowed)
    every = -(-planned.size // _SAMPLED_PAIRS)
    part = None if allowed is None else allowed[::every]
    price, _ = _relax(planned[::every] * every, -(-capacity // every), part)
    best, load, lowest, length = price, np.ones_like(price), np.inf, _FIRST_LENGTH
    for _ in range(_MOST_REFINEMENTS):
        priced = solve(-price * planned, capacity, allowed)
        found = busy_time(planned, priced.agent_index)
        if found.max() < lowest:
            best, load, lowest, length = price, found, float(found.max()), length * 1.2
        else:
            length *= 0.5
        if lowest <= -priced.upper_bound * (1 + _GOOD):
            break
        price = _rounded(np.maximum(best, _NO_PRICE) * np.maximum(load / load.mean(), _NO_PRICE) ** length)
    return best, None


def _relax(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Minimise the makespan T where tasks may be shared out, by the simplex method of HiGHS; prices and shares.

    min T, such that the shares of a task sum to 1, sum_t planned_ta share_ta <= T and sum_t share_ta <= capacity_a.
    Equal prices and no shares where a sample has no plan within the sampled capacities.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    n, m = planned.shape
    task, agent = np.nonzero(np.ones_like(planned) if allowed is None else allowed)
    pair, one, k = np.arange(task.size), np.ones(task.size), task.size
    of_task = coo_array((one, (task, pair)), shape=(n, k + 1))
    loads_and_counts = coo_array(
        (
            np.concatenate([planned[task, agent], one, -np.ones(m)]),
            (np.concatenate([agent, m + agent, np.arange(m)]), np.concatenate([pair, pair, np.full(m, k)])),
        ),
        shape=(2 * m, k + 1),
    )
    limits = np.concatenate([np.zeros(m), np.minimum(capacity, n)])
    cost = np.append(np.zeros(k), 1.0)
    found = linprog(cost, loads_and_counts.tocsc(), limits, of_task.tocsc(), np.ones(n), method="highs-ds")
    if found.x is None or found.ineqlin.marginals[:m].sum() == 0.0:
        return np.full(m, 1.0 / m), None
    share = np.zeros((n, m))
    share[task, agent] = found.x[:-1]
    return _rounded(-found.ineqlin.marginals[:m]), share.round(6)


def _rounded(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices that sum to 1, rounded so that identical agents tie exactly on every CPU."""
    price = np.where(price < _NO_PRICE, 0.0, price.round(9))
    return np.asarray(price / price.sum())


def _search(searches: list[LocalSearch], bound: float) -> LocalSearch:
    """The best of several starts, each relieved until one is good: never worse than the best start."""
    searches = sorted(searches, key=lambda search: float(search.load.max()))
    best = searches[0]
    for search in searches:
        best = min(best, relieve(search, bound * (1 + _CLOSE)), key=lambda search: float(search.load.max()))
        if best.load.max() <= bound * (1 + _GOOD):
            return best
    return shake(best, bound * (1 + _GOOD))


def _level(search: LocalSearch, preference: NDArray[np.float64] | None, limit: float) -> None:
    """Lower the sum of powers of the busy times, all within the limit; the preference resolves ties."""
    scale = _TIE_BREAK / max(1.0, 0.0 if preference is None else float(np.abs(preference).max()))

    def gain(near: Neighbours) -> NDArray[np.float64]:
        before = (search.load[near.agent] / limit) ** _POWER + (search.load[near.partner] / limit) ** _POWER
        fall = before - (near.agent_after / limit) ** _POWER - (near.partner_after / limit) ** _POWER
        return np.asarray(fall if preference is None else fall + scale * near.change(preference))

    improve(search, gain, limit, _ROUNDING)


def _best_of(
    plans: NDArray[np.int64], planned: NDArray[np.float64], preference: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The plan with the smallest makespan, then the smallest sum of powers, then the largest preference."""
    load = busy_time(planned, plans)
    makespan = load.max(axis=1)
    is_shortest = makespan == makespan.min()
    plans, level = plans[is_shortest], ((load[is_shortest] / makespan.min()) ** _POWER).sum(axis=1)
    plans = plans[level <= level.min() + _ROUNDING]
    return np.asarray(plans[0 if preference is None else int(np.argmax(total(preference, plans)))])

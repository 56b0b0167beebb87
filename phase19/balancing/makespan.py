"""The shortest makespan: who does what so that the last agent is done soonest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.solver import Assignment, solve
from phase19.balancing.enumeration import busy_times, every_plan, totals
from phase19.balancing.local_search import LocalSearch, busy_time, improve, relieve, shake
from phase19.balancing.relaxation import relax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.balancing.local_search import Neighbours

__all__ = ["Makespan", "longest_first", "minimize_makespan"]

# Durations are counted in 2^-32 of a makespan: their sums are exact, so that ties are ties in any unit of time.
_GRID = 2.0**32
_CLOSE = 1e-3  # of the bound; no forecast of a duration is as good
_GOOD = 5e-3  # of the bound, from where no other start is tried
_POWER = 8  # with some twenty agents and loads that scatter by a fifth, the 8-norm is about the expected maximum
_ROUNDING, _TIE_BREAK = 1e-12, 1e-9  # of one agent's term at the limit
_NO_PRICE = 1e-6
_MOST_PAIRS = 2_000_000  # from which prices are found on a sample of the tasks
_SAMPLED_PAIRS = 500_000
_MOST_REFINEMENTS, _FIRST_LENGTH = 24, 0.1  # the length a power of an agent's busy time over the mean


@dataclass(frozen=True, eq=False)
class Makespan:
    """A plan of n tasks by m agents and what bounds its makespan.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    makespan_ms, lower_bound_ms
        Of the plan, and what no plan within the capacities and the pairs allowed goes below.
    algorithm
        `enumeration` where all plans were compared, else `makespan_local_search`; `makespan_assignment` where every
        task has an agent that takes no time for it.
    scores
        What each pair spares of the makespan at the agents' prices, shape (n, m): less the planned time, times what
        a ms of the agent's busy time adds to the makespan, in units of the makespan there were if every task went to
        its quickest agent and their time could be shared evenly.
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
        Of plans alike in all busy times the one with the larger sum of these is taken, shape (n, m).

    Returns
    -------
    Makespan
        Optimal where all plans can be listed; else a local optimum, never worse than `longest_first`.

    Raises
    ------
    InfeasibleError
        No plan keeps to the capacities and the pairs allowed.

    Notes
    -----
    Unrelated machines. The bound is the linear relaxation's: the dearest of the agents' prices, for a plan's
    busy times weighted by prices that sum to 1 never exceed its makespan, and the least such sum is an assignment.
    Starts are the relaxed shares and the prices, both rounded by assignment, and longest first; each is followed by
    moves and swaps that relieve the busiest agent. Of plans with the same makespan the one with the least sum of 8th
    powers of busy times is taken: durations scatter about what is planned, and any agent that is nearly as busy as
    the busiest may be the last. Where not all plans can be listed, the same is a makespan within half a percent of the
    bound and no longer than any start's. The unit of time changes nothing.

    References
    ----------
    Lenstra, Shmoys, Tardos, Approximation algorithms for scheduling unrelated parallel machines, 1990.
    """
    n, m = planned_ms.shape
    usable = np.ones((n, m), dtype=bool) if allowed is None else allowed
    quickest_ms = np.where(usable, planned_ms, np.inf).min(axis=1, initial=np.inf)
    unit_ms = float(quickest_ms.sum()) / m
    solve(np.zeros((n, m)), capacity, allowed)  # refuses what has no plan
    if not 0.0 < unit_ms < np.inf:
        return _timeless(planned_ms, capacity, allowed, preference)
    planned = np.rint(planned_ms / unit_ms * _GRID)
    price, share = _relaxed(planned / _GRID, capacity, allowed)
    if share is None:
        price = _refined(planned / _GRID, price, capacity, allowed)
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
    O(n m), a loop over tasks by nature: each choice rests on those before it. Ties go to the first.

    References
    ----------
    Graham, Bounds on multiprocessing timing anomalies, 1969.
    """
    n = planned.shape[0]
    usable = planned if allowed is None else np.where(allowed, planned, np.inf)
    chosen, load = np.zeros(n, dtype=np.int64), np.where(capacity > 0, 0.0, np.inf)
    room = capacity.tolist()
    for task in np.argsort(-usable.min(axis=1), kind="stable").tolist():
        done = load + usable[task]
        agent = int(done.argmin())
        if done[agent] == np.inf:
            return None
        chosen[task], load[agent] = agent, done[agent]
        room[agent] -= 1
        if room[agent] == 0:
            load[agent] = np.inf
    return chosen


def _timeless(
    planned_ms: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
    preference: NDArray[np.float64] | None,
) -> Makespan:
    """Without tasks, or where each has an agent that takes no time for it: no time to share out, so least in all."""
    longest = planned_ms.max(initial=0.0) or 1.0
    scores = -planned_ms / longest
    ranked = scores if preference is None else scores * 1e9 + preference
    priced = solve(scores, capacity, allowed)
    found = solve(ranked, capacity, allowed).agent_index
    makespan_ms = float(busy_time(planned_ms, found).max(initial=0.0))
    return Makespan(found, makespan_ms, 0.0, "makespan_assignment", scores, priced)


def _relaxed(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Prices of the agents' time, (m,), and the relaxed shares, (n, m), or None where a sample gave the prices.

    Rounded, that agents or tasks which are alike be so to the last digit, however the processor sums.
    """
    n = planned.shape[0]
    if planned.size <= _MOST_PAIRS:
        found = relax(planned, capacity, allowed)
        return _rounded(found.price), found.share.round(6)
    every = -(-planned.size // _SAMPLED_PAIRS)
    row = np.arange(0, n, every)
    found = relax(planned[row] * every, -(-capacity // every), None if allowed is None else allowed[row])
    return _rounded(found.price), None


def _refined(
    planned: NDArray[np.float64],
    price: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Prices of a sample, (m,), made good on all tasks: raised where they leave an agent too busy, by ever less.

    How far to go depends on how alike agents are: further while the busiest agent is less busy for it, else back.
    """
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
    return best


def _rounded(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices that sum to 1, without what the interior point leaves of a price of nothing."""
    price = np.where(price < _NO_PRICE, 0.0, price.round(9))
    return np.asarray(price / price.sum())


def _search(searches: list[LocalSearch], bound: float) -> LocalSearch:
    """The best of several starts, each relieved until one is good; so the best start bounds what is found."""
    searches = sorted(searches, key=lambda search: float(search.load.max()))
    best = searches[0]
    for search in searches:
        best = min(best, relieve(search, bound * (1 + _CLOSE)), key=lambda search: float(search.load.max()))
        if best.load.max() <= bound * (1 + _GOOD):
            return best
    return shake(best, bound * (1 + _GOOD))


def _level(search: LocalSearch, preference: NDArray[np.float64] | None, limit: float) -> None:
    """Lower the sum of powers of the busy times, all within the limit; ties are told apart by preference."""
    scale = _TIE_BREAK / max(1.0, 0.0 if preference is None else float(np.abs(preference).max()))

    def gain(near: Neighbours) -> NDArray[np.float64]:
        before = (search.load[near.agent] / limit) ** _POWER + (search.load[near.partner] / limit) ** _POWER
        fall = before - (near.agent_after / limit) ** _POWER - (near.partner_after / limit) ** _POWER
        return np.asarray(fall if preference is None else fall + scale * near.change(preference))

    improve(search, gain, limit, _ROUNDING)


def _best_of(
    plans: NDArray[np.int64], planned: NDArray[np.float64], preference: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The plan with the least makespan, then the least sum of powers, then the largest preference."""
    load = busy_times(planned, plans)
    makespan = load.max(axis=1)
    is_shortest = makespan == makespan.min()
    plans, level = plans[is_shortest], ((load[is_shortest] / makespan.min()) ** _POWER).sum(axis=1)
    plans = plans[level <= level.min() + _ROUNDING]
    return np.asarray(plans[0 if preference is None else int(np.argmax(totals(preference, plans)))])

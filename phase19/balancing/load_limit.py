"""Even loads at nearly the same score, and plans that keep to a limit of the agents' load."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phase19.balancing.local_search import LocalSearch, Neighbours, busy_time, every_plan, improve, total
from phase19.balancing.makespan import minimize_makespan

_GRID = 2.0**32  # durations are counted in 2^-32 of the longest: their sums are exact, so that ties are ties
_ROUNDING = 1e-12  # relative; spreads and sums that differ by less are equal
_AT_LIMIT = 1e-9  # relative; a load that exceeds the limit by less is at the limit
_EVEN = 5e-3  # coefficient of variation at which a search ends; no forecast of a duration is as accurate
_LEAST_FALL = 1e-5  # of Q / S^2; a smaller improvement is not worth a step
_LEAST_COST = 1e-6  # of the largest score; a smaller cost counts as this
_MOST_SEEN = 20_000_000  # steps considered


class LoadAdjustment(NamedTuple):
    """A plan after tasks were moved off overloaded agents.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    is_met
        Whether no agent exceeds the limit. Where one does, and all plans could be listed, none keeps to it.
    """

    agent_index: NDArray[np.int64]
    is_met: bool


def adjust_load(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    max_load_factor: float,
    allowed: NDArray[np.bool_] | None = None,
) -> LoadAdjustment:
    """Move tasks off agents whose planned time exceeds `max_load_factor` times the mean.

    Parameters
    ----------
    agent_index
        Agent of each task, shape (n,); within the capacities and the allowed pairs.
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Notes
    -----
    Each step takes the most loaded agent over the limit, and the move or swap that loses least score and leaves both
    agents below its load; the largest load falls with every step, so it ends. A step costs O(k (m + n)) for k tasks
    on the agent. Where that ends above the limit, all plans are listed if they are few: of those that keep to it one
    that makes nobody busier than before is preferred, then the one with the largest score. If they are many, the
    search starts again from the shortest makespan and from the most even loads. Where nothing helps, the first
    steps' plan is kept.
    """
    planned = np.rint(planned_ms / (float(planned_ms.max(initial=0.0)) or 1.0) * _GRID)
    first = LocalSearch(planned, capacity, allowed, agent_index)
    _unload(first, scores, max_load_factor)
    if _is_within(first.load, max_load_factor):
        return LoadAdjustment(first.agent_index, True)
    plans = every_plan(agent_index.size, capacity, allowed)
    if plans is None:
        found = _search_elsewhere(first, scores, max_load_factor)
    else:
        load = busy_time(planned, plans)
        is_within = _is_within(load, max_load_factor)
        plans, is_busier = plans[is_within], load[is_within].max(axis=1) > busy_time(planned, agent_index).max()
        found = plans[np.lexsort((-total(scores, plans), is_busier))[0]] if plans.size else None
    return LoadAdjustment(first.agent_index if found is None else found, found is not None)


def _is_within(load: NDArray[np.float64], factor: float) -> NDArray[np.bool_]:
    """Whether loads, shape (..., m), keep to the limit, shape (...)."""
    return np.asarray(load.max(axis=-1) <= factor * load.mean(axis=-1) * (1 + _AT_LIMIT))


def _unload(search: LocalSearch, scores: NDArray[np.float64], factor: float) -> None:
    """Relieve agents over the limit, step by step."""
    is_stuck = np.zeros(search.load.size, dtype=bool)
    while True:
        is_over = (search.load > factor * search.load.mean() * (1 + _AT_LIMIT)) & ~is_stuck
        if not is_over.any():
            return
        giver = int(np.argmax(np.where(is_over, search.load, -np.inf)))
        near, before = search.neighbours(giver), search.load[giver]
        relieves = (near.agent_after < before) & (near.partner_after < before)
        if search.take_best(near, relieves, near.change(scores)) is None:
            is_stuck[giver] = True
        else:
            is_stuck[:] = False


def _search_elsewhere(first: LocalSearch, scores: NDArray[np.float64], factor: float) -> NDArray[np.int64] | None:
    """The plan of largest score that keeps to the limit, from other starts; None where none is found."""
    planned, capacity, allowed = first.planned, first.capacity, first.allowed
    shortest = minimize_makespan(planned, capacity, allowed).agent_index
    starts = [shortest] + [
        even_out(start, scores, planned, capacity=capacity, least_score=-np.inf, allowed=allowed)
        for start in (first.agent_index, shortest)
    ]
    least = _AT_LIMIT * float(np.abs(scores).max(initial=0.0))
    plans = []
    for start in starts:
        search = LocalSearch(planned, capacity, allowed, start)
        _unload(search, scores, factor)
        if _is_within(search.load, factor):
            limit = factor * float(search.load.mean())
            better = improve(search.copy(), lambda near: near.change(scores), limit, least)
            plans.append((better if _is_within(better.load, factor) else search).agent_index)
    return max(plans, key=lambda plan: float(total(scores, plan)), default=None)


def even_out(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    least_score: float,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Make the agents' busy times as even as possible while the scores sum to at least `least_score`.

    Parameters
    ----------
    agent_index
        The first plan, whose scores sum to `least_score` at least, shape (n,).
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    least_score
        Least sum of the scores.
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,). Where all plans can be listed: of those with the smallest coefficient of
        variation of busy times the one with the largest score. Else the more even of two searches' local optima, whose
        steps balance the load most, or most for the score they cost; they end at 0.005.

    Notes
    -----
    With Q the sum of squares of the m busy times and S their sum, the coefficient of variation is
    sqrt(m Q / S^2 - 1); a move or swap changes two terms of each. The unit of time changes nothing.
    """
    longest = float(planned_ms.max(initial=0.0))
    if longest <= 0.0:
        return agent_index
    planned = np.rint(planned_ms / longest * _GRID)
    least_score -= _ROUNDING * max(1.0, abs(least_score))
    plans = every_plan(agent_index.size, capacity, allowed)
    if plans is not None:
        score = total(scores, plans)
        plans, score = plans[score >= least_score], score[score >= least_score]
        unevenness = _unevenness(busy_time(planned, plans))
        best = unevenness <= unevenness.min() * (1 + _ROUNDING)
        return np.asarray(plans[best][int(np.argmax(score[best]))])
    slack = least_score - float(total(scores, agent_index))
    searches = [LocalSearch(planned, capacity, allowed, agent_index) for _ in range(2)]
    for search, is_thrifty in zip(searches, (False, True), strict=True):
        _descend(search, scores, slack, is_thrifty=is_thrifty)
        if _is_even(search.load):
            break
    return min(searches, key=lambda search: float(_unevenness(search.load))).agent_index


def _is_even(load: NDArray[np.float64]) -> bool:
    return float(_unevenness(load)) <= (1 + _EVEN**2) / load.size


def _unevenness(load: NDArray[np.float64]) -> NDArray[np.float64]:
    """Q / S^2 of busy times, shape (..., m): 1 / m where they are equal, up to 1; 1 where nobody is busy."""
    time = load.sum(axis=-1)
    return np.asarray(np.divide((load**2).sum(axis=-1), time**2, out=np.ones_like(time), where=time > 0))


def _descend(search: LocalSearch, scores: NDArray[np.float64], slack: float, *, is_thrifty: bool) -> None:
    """Take steps that balance the load, of the busiest and the idlest agent's, then of anyone's, while there is one.

    The best step balances the load most, or where `is_thrifty` most for the score that it costs. `slack`, not above 0,
    is the change of the scores' sum that is left to spend.
    """
    least_cost = _LEAST_COST * float(np.abs(scores).max(initial=0.0)) or 1.0
    while search.seen_count < _MOST_SEEN and not _is_even(search.load):
        by_load = np.argsort(search.load, kind="stable").tolist()
        busiest, idlest = by_load[-1], by_load[0]
        looks = [(busiest, search.few_agents(search.load)), (idlest, search.few_agents(-search.load))]
        now = float(_unevenness(search.load))
        for agent, among in [*looks, *((agent, None) for agent in (busiest, idlest, *by_load[1:-1][::-1]))]:
            near = search.neighbours(agent, among)
            change, fall = near.change(scores), now - _after(search, near)
            cost = np.maximum(-change, least_cost) if is_thrifty else 1.0
            place = search.take_best(near, (change >= slack) & (fall > _LEAST_FALL * now), fall / cost)
            if place is not None:
                slack -= float(change.flat[place])
                break
        else:
            return


def _after(search: LocalSearch, near: Neighbours) -> NDArray[np.float64]:
    """Unevenness after every step, shape (r, c)."""
    agent, partner = search.load[near.agent], search.load[near.partner]
    square = (search.load**2).sum() - agent**2 - partner**2 + near.agent_after**2 + near.partner_after**2
    time = search.load.sum() - agent - partner + near.agent_after + near.partner_after
    return np.asarray(np.divide(square, time**2, out=np.ones_like(square), where=time > 0))

"""The evenest loads at nearly the same score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.balancing.enumeration import busy_times, every_plan, totals
from phase19.balancing.local_search import LocalSearch, few_agents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.balancing.local_search import Neighbours

__all__ = ["even_out"]

_ROUNDING = 1e-12  # relative; spreads and sums that differ by less are equal
_EVEN = 5e-3  # coefficient of variation at which a search ends; no forecast of a duration is as good
_LEAST_FALL = 1e-5  # of Q / S^2; what evens out less is not worth a step
_LEAST_COST = 1e-6  # of the largest score; what costs less is free
_MOST_SEEN = 20_000_000  # steps to look at


def even_out(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    least_score: float,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Make the agents' busy times as alike as can be, for a sum of scores of at least so much.

    Parameters
    ----------
    agent_index
        The plan to begin with, whose scores sum to `least_score` at least, shape (n,).
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    least_score
        What the scores sum to at least.
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,): of all plans with the least coefficient of variation of busy times the one
        with the largest score where all can be listed. Else the evener of two searches' local optima, whose steps
        even out most in all, and most for the score they cost; they end at 0.005.

    Notes
    -----
    With Q the sum of squares of the m busy times and S their sum, the coefficient of variation is
    sqrt(m Q / S^2 - 1); a move or swap changes two terms of each. The unit of time changes nothing.
    """
    n = scores.shape[0]
    longest = float(planned_ms.max(initial=0.0))
    if n == 0 or longest <= 0.0:
        return agent_index
    planned = np.rint(planned_ms / longest * 2.0**32)  # sums are exact, so that ties are ties in any unit of time
    least_score -= _ROUNDING * max(1.0, abs(least_score))
    plans = every_plan(n, capacity, allowed)
    if plans is not None:
        score = totals(scores, plans)
        plans, score = plans[score >= least_score], score[score >= least_score]
        unevenness = _unevenness(busy_times(planned, plans))
        best = unevenness <= unevenness.min() * (1 + _ROUNDING)
        return np.asarray(plans[best][int(np.argmax(score[best]))])
    slack = least_score - float(scores[np.arange(n), agent_index].sum())
    searches = [LocalSearch(planned, capacity, allowed, agent_index) for _ in range(2)]
    for search, is_thrifty in zip(searches, (False, True), strict=True):
        _descend(search, scores, slack, is_thrifty=is_thrifty)
        if _is_even(search.load):
            break
    return min(searches, key=lambda search: float(_unevenness(search.load))).agent_index


def _is_even(load: NDArray[np.float64]) -> bool:
    return float(_unevenness(load)) <= (1 + _EVEN**2) / load.size


def _unevenness(load: NDArray[np.float64]) -> NDArray[np.float64]:
    """Q / S^2 of busy times, shape (..., m): 1 / m where they are alike, up to 1; 1 where nobody is busy."""
    total = load.sum(axis=-1)
    return np.asarray(np.divide((load**2).sum(axis=-1), total**2, out=np.ones_like(total), where=total > 0))


def _descend(search: LocalSearch, scores: NDArray[np.float64], slack: float, *, is_thrifty: bool) -> None:
    """Take steps that even out, of the busiest and the idlest agent's, then of anyone's, while there is one.

    The best step evens out most, or where `is_thrifty` most for the score that it costs. `slack`, not above 0, is the
    change of the score's sum that is left to spend.
    """
    least_cost = _LEAST_COST * float(np.abs(scores).max(initial=0.0)) or 1.0
    while search.seen_count < _MOST_SEEN and not _is_even(search.load):
        by_load = np.argsort(search.load, kind="stable").tolist()
        busiest, idlest = by_load[-1], by_load[0]
        looks = [(busiest, few_agents(search, search.load)), (idlest, few_agents(search, -search.load))]
        now = float(_unevenness(search.load))
        for agent, among in [*looks, *((agent, None) for agent in (busiest, idlest, *by_load[1:-1][::-1]))]:
            near = search.neighbours(agent, among)
            change, fall = near.change(scores), now - _after(search, near)
            helps = near.is_possible & (change >= slack) & (fall > _LEAST_FALL * now)
            if helps.any():
                cost = np.maximum(-change, least_cost) if is_thrifty else 1.0
                place = int(np.argmax(np.where(helps, fall / cost, -np.inf)))
                slack -= float(change.flat[place])
                search.take(near, place)
                break
        else:
            return


def _after(search: LocalSearch, near: Neighbours) -> NDArray[np.float64]:
    """Unevenness after every step, shape (r, c)."""
    agent, partner = search.load[near.agent], search.load[near.partner]
    square = (search.load**2).sum() - agent**2 - partner**2 + near.agent_after**2 + near.partner_after**2
    total = search.load.sum() - agent - partner + near.agent_after + near.partner_after
    return np.asarray(np.divide(square, total**2, out=np.ones_like(square), where=total > 0))

"""Keeping to a load limit: the moves and swaps that lose the least score."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.balancing.enumeration import busy_times, every_plan, totals
from phase19.balancing.evenness import even_out
from phase19.balancing.local_search import LocalSearch, improve
from phase19.balancing.makespan import minimize_makespan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoadAdjustment", "adjust_load"]

_ROUNDING = 1e-9  # relative; a load that exceeds the limit by less is at the limit


class LoadAdjustment(NamedTuple):
    """A plan after tasks were moved off overloaded agents.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    moved_count
        Tasks that another agent has now.
    score_lost
        What the moves cost in score.
    is_met
        Whether no agent exceeds the limit. Where one does, and all plans could be listed, none keeps to it.
    """

    agent_index: NDArray[np.int64]
    moved_count: int
    score_lost: float
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
        Agent of each task, shape (n,); within the capacities and the pairs allowed.
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
    search starts anew from the shortest makespan and from the evenest loads. Where nothing helps, the first
    steps' plan stays.
    """
    n = scores.shape[0]
    longest = float(planned_ms.max(initial=0.0)) or 1.0
    planned = np.rint(planned_ms / longest * 2.0**32)  # sums are exact, so that ties are ties in any unit of time
    first = LocalSearch(planned, capacity, allowed, agent_index)
    _unload(first, scores, max_load_factor)
    found = first.agent_index
    is_met = bool(_keeps(first.load, max_load_factor))
    if not is_met:
        other = _otherwise(first, agent_index, scores, max_load_factor)
        is_met = other is not None
        found = found if other is None else other
    row = np.arange(n)
    return LoadAdjustment(
        agent_index=found,
        moved_count=int((found != agent_index).sum()),
        score_lost=float(scores[row, agent_index].sum() - scores[row, found].sum()),
        is_met=is_met,
    )


def _keeps(load: NDArray[np.float64], factor: float) -> NDArray[np.bool_]:
    """Whether loads, shape (..., m), keep to the limit, shape (...)."""
    return np.asarray(load.max(axis=-1) <= factor * load.mean(axis=-1) * (1 + _ROUNDING))


def _unload(search: LocalSearch, scores: NDArray[np.float64], factor: float) -> None:
    """Relieve agents over the limit, step by step."""
    is_stuck = np.zeros(search.load.size, dtype=bool)
    while True:
        over = (search.load > factor * search.load.mean() * (1 + _ROUNDING)) & ~is_stuck
        if not over.any():
            return
        giver = int(np.argmax(np.where(over, search.load, -np.inf)))
        near, before = search.neighbours(giver), search.load[giver]
        relieves = near.is_possible & (near.agent_after < before) & (near.partner_after < before)
        if relieves.any():
            search.take(near, int(np.argmax(np.where(relieves, near.change(scores), -np.inf))))
            is_stuck[:] = False
        else:
            is_stuck[giver] = True


def _otherwise(
    first: LocalSearch, agent_index: NDArray[np.int64], scores: NDArray[np.float64], factor: float
) -> NDArray[np.int64] | None:
    """Another plan, which keeps to the limit; None where none is found."""
    planned, capacity, allowed = first.planned, first.capacity, first.allowed
    plans = every_plan(agent_index.size, capacity, allowed)
    if plans is not None:
        load = busy_times(planned, plans)
        keeps = _keeps(load, factor)
        plans, load = plans[keeps], load[keeps]
        if not plans.size:
            return None
        before = LocalSearch(planned, capacity, allowed, agent_index).load.max()
        return np.asarray(plans[int(np.lexsort((-totals(scores, plans), load.max(axis=1) > before))[0])])
    shortest = minimize_makespan(planned, capacity, allowed).agent_index
    starts = [shortest] + [
        even_out(start, scores, planned, capacity=capacity, least_score=-np.inf, allowed=allowed)
        for start in (first.agent_index, shortest)
    ]
    best, best_score = None, -np.inf
    least = _ROUNDING * float(np.abs(scores).max(initial=0.0))
    for start in starts:
        search = LocalSearch(planned, capacity, allowed, start)
        _unload(search, scores, factor)
        if not _keeps(search.load, factor):
            continue
        better = improve(search.copy(), lambda near: near.change(scores), factor * float(search.load.mean()), least)
        found = better.agent_index if _keeps(better.load, factor) else search.agent_index
        score = float(scores[np.arange(found.size), found].sum())
        if score > best_score:
            best, best_score = found, score
    return best

"""Exact assignment of many tasks to few agents: prices first, then the tasks that are contested at those prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.contest import Contest
from phase19.assignment.grouping import alike_agents, alike_tasks
from phase19.assignment.near import Near
from phase19.assignment.prices import price

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.bids import Bids
    from phase19.assignment.pairs import Pairs

__all__ = ["transport"]

_SMALL_CONTEST = 1 << 16  # scores; up to here it is not worth a thought whom to leave out
_GROWTH = 2  # of the contest while what it could reach is not enough


def transport(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Assign every task to one agent with the largest sum of scores.

    Parameters
    ----------
    pairs
        Scores, shape (n, m); each task has an agent it allows.
    capacity
        Shape (m,), each between 0 and n, with a sum of at least n.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,): optimal, or where the pairs allowed leave no way, beyond some capacities.

    Notes
    -----
    Equal agents are solved as one, and equal tasks. The others: prices (:func:`phase19.assignment.prices.price`) leave
    about m/2 tasks beyond capacity. The tasks with the smallest margins contest for the room there is, by those pairs
    alone that prices can make the best (:class:`phase19.assignment.near.Near`), while a task with a margin above what
    prices move apart by stays with its agent. Unused capacity is filled by dummy tasks that score 0 with every agent.
    Memory beside the scores is O(n + m^2), the samples and the pairs in contest.
    """
    if (leader := alike_agents(pairs)) is None:
        return _assign_kinds(pairs, capacity)
    agents, group = np.unique(leader, return_inverse=True)
    shared = np.bincount(group, weights=capacity).astype(np.int64)
    distinct = replace(pairs, agents=agents[agents < pairs.scores.shape[1]])  # leaving out is the last, and no column
    chosen = _assign_kinds(distinct, np.minimum(shared, pairs.shape[0]))
    return _share(chosen, group, capacity)


def _share(chosen: NDArray[np.int64], group: NDArray[np.int64], capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Deal each group's tasks, in order, to its agents up to their capacities; the last takes what is beyond."""
    order, members = np.argsort(chosen, kind="stable"), np.argsort(group, kind="stable")
    load = np.bincount(chosen, minlength=int(group.max()) + 1)
    rank = np.arange(chosen.size) - (np.cumsum(load) - load)[chosen[order]]
    ends = np.cumsum(capacity[members])
    before = np.concatenate([[0], ends])[np.searchsorted(group[members], chosen[order])]
    last = np.searchsorted(group[members], chosen[order], side="right") - 1
    shared = np.empty_like(chosen)
    shared[order] = members[np.minimum(np.searchsorted(ends, before + rank, side="right"), last)]
    return shared


def _assign_kinds(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    if (groups := alike_tasks(pairs)) is None:
        return _assign_each(pairs, capacity)
    kind, first, count = groups
    bids = price(pairs.select(first), count, capacity)
    contest = _contest(bids, np.arange(first.size), None, *_fill(bids, capacity))
    contest.settle()
    real = np.flatnonzero(contest.row >= 0)
    real = real[np.lexsort((contest.agent[real], contest.row[real]))]
    chosen = np.empty(kind.size, dtype=np.int64)
    chosen[np.argsort(kind, kind="stable")] = np.repeat(contest.agent[real], contest.count[real])
    return chosen


def _assign_each(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    n, m = pairs.shape
    bids = price(pairs, np.ones(n, dtype=np.int64), capacity)
    dummies, surplus = _fill(bids, capacity)
    contested, reach = max(8 * int(np.maximum(surplus, 0).sum()) + 16 * m, _SMALL_CONTEST // m), -np.inf
    while reach < np.inf and (surplus > 0).any():
        rows, near = _near(bids, contested, reach)
        reach = near.reach if near else np.inf
        contest = _contest(bids, rows, near, dummies, surplus)
        contest.settle()
        # Rows of one task each are never split, so that their entries keep their place.
        bids.hold(rows, contest.agent[: rows.size], contest.prices)
        surplus = contest.surplus
        idle = slice(rows.size, None)
        dummies = np.bincount(contest.agent[idle], contest.count[idle], minlength=m).astype(np.int64)
        contested = min(_GROWTH * contested, n - 1)
    return bids.best


def _near(bids: Bids, contested: int, least: float) -> tuple[NDArray[np.int64], Near | None]:
    """About so many rows with the smallest margins, and their near pairs, of a reach above `least`.

    All rows and None where those would be nearly all, or no reach above `least` has few enough pairs.
    """
    n = bids.margin.size
    if contested < n:
        reach = min(
            float(np.partition(bids.margin, contested)[contested]), Near.widest(bids.pairs, bids.prices, contested)
        )
        rows = np.flatnonzero(bids.margin <= reach)
        if rows.size and reach > least and (near := Near.find(bids.pairs, rows, bids.best[rows], bids.prices, reach)):
            return rows, near
    return np.arange(n), None


def _fill(bids: Bids, capacity: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dummies by agent, at the lowest price and there first where there is room; and what is above capacity then."""
    surplus = bids.load() - capacity
    cheapest = np.flatnonzero(bids.prices == bids.prices.min())
    free, count = np.maximum(-surplus[cheapest], 0), -int(surplus.sum())
    dummies = np.zeros_like(surplus)
    dummies[cheapest] = np.clip(count - (np.cumsum(free) - free), 0, free)
    dummies[cheapest[0]] += count - int(dummies.sum())
    return dummies, surplus + dummies


def _contest(
    bids: Bids, rows: NDArray[np.int64], near: Near | None, dummies: NDArray[np.int64], surplus: NDArray[np.int64]
) -> Contest:
    """A contest of some rows by their near pairs, or of all, with an entry each, and of the dummies."""
    holders = np.flatnonzero(dummies)
    return Contest(
        near or bids.pairs,
        row=np.concatenate([np.arange(rows.size), np.full(holders.size, -1)]),
        agent=np.concatenate([bids.best[rows], holders]),
        count=np.concatenate([bids.supply[rows], dummies[holders]]),
        prices=bids.prices,
        surplus=surplus,
        reach=near.reach if near else np.inf,
    )

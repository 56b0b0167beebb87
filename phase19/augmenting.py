"""Assignment of many tasks to few agents: prices from a sample, then shortest augmenting paths between agents."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["assign", "dual_prices"]

_SAMPLING = 4  # every fourth task; its prices misplace about the square root of the tasks


def assign(
    weight: NDArray[np.float64],
    capacity: NDArray[np.int64],
    *,
    base: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.int64]],
    base_size: int,
) -> NDArray[np.int64]:
    """Assign n tasks to m agents with the largest sum of weights.

    Parameters
    ----------
    weight
        Finite weights, shape (n, m).
    capacity
        Shape (m,), each between 0 and n, with a sum of at least n.
    base
        Solver for up to `base_size` tasks.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,); optimal.

    Notes
    -----
    The prices of every fourth task's optimal assignment, found the same way, place nearly every task right:
    each goes to its best agent after prices, which is optimal for the loads that result. What agents then
    hold above capacity moves to agents with room along shortest paths over the m agents, where the step from
    a to b costs the least that moving one of a's tasks to b loses; each path keeps the assignment optimal for
    its loads (successive shortest paths: Ahuja, Magnanti, Orlin, Network Flows, 1993, section 9.7). Tasks that
    are tied move together. Unused capacity is filled with dummies of weight zero, counted and not stored.
    O(sqrt(n) (n + m^2)) for weights in general position.
    """
    n, m = weight.shape
    if n <= base_size:
        return base(weight, capacity)
    sample = weight[::_SAMPLING]
    room = _shares(capacity, sample.shape[0], n)
    prices = dual_prices(sample, assign(sample, room, base=base, base_size=base_size), room)
    chosen: NDArray[np.int64] = np.argmax(weight - prices, axis=1)
    dummies = _place_dummies(prices, capacity - np.bincount(chosen, minlength=m), int(capacity.sum()) - n)
    _settle(weight, capacity, chosen, dummies)
    return chosen


def dual_prices(
    weight: NDArray[np.float64], chosen: NDArray[np.int64], capacity: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Prices under which each chosen pair is its task's best: shortest paths over agents (Bellman-Ford).

    Prices with p_a <= p_b + w_ab, where w_ab is the least that moving a task from a to b loses, and 0 where there
    is room, prove the assignment optimal by complementary slackness; shape (m,), >= 0. Only agents with tasks
    have steps, so that memory is O(min(n, m) m).
    """
    m = weight.shape[1]
    if weight.shape[0] == 0:
        return np.zeros(m)
    used = np.unique(chosen)
    step = np.empty((used.size, m))
    for row, agent in enumerate(used):
        step[row] = _losses(weight, np.flatnonzero(chosen == agent), agent).min(axis=0)
    has_room = np.bincount(chosen, minlength=m) < capacity
    prices = np.where(has_room, 0.0, np.inf) if has_room.any() else np.zeros(m)
    for _ in used:
        relaxed = np.minimum(prices[used], (step + prices).min(axis=1))
        if np.array_equal(relaxed, prices[used]):
            break
        prices[used] = relaxed
    if not has_room.any():
        prices = prices - prices.min()
    # An agent without tasks and without capacity has no path; any price above all its offers will do.
    ceiling = float(np.abs(weight).max()) * 2.0 + 1.0
    return np.asarray(np.maximum(np.where(np.isinf(prices), ceiling, prices), 0.0))


def _losses(weight: NDArray[np.float64], tasks: NDArray[np.int64], agent: int) -> NDArray[np.float64]:
    """What moving each of an agent's tasks to each other agent loses, shape (tasks, m)."""
    own = weight[tasks]
    return np.asarray(own[:, agent][:, None] - own)


def _shares(capacity: NDArray[np.int64], sampled: int, n: int) -> NDArray[np.int64]:
    """Capacities for a sample: in proportion, rounded by largest remainder, with a sum of at least `sampled`."""
    share = capacity * (sampled / n)
    whole = np.floor(share).astype(np.int64)
    missing = max(sampled, round(float(share.sum()))) - int(whole.sum())
    order = np.argsort(-np.where(capacity > 0, share - whole, -1.0), kind="stable")
    whole[order[np.arange(missing) % max(1, int((capacity > 0).sum()))]] += 1
    return np.asarray(np.minimum(whole, sampled))


def _place_dummies(prices: NDArray[np.float64], room: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Dummies by agent, shape (m,): at the lowest price, first where there is room."""
    cheapest = np.flatnonzero(prices == prices.min())
    free = np.maximum(room[cheapest], 0)
    before = np.cumsum(free) - free
    dummies = np.zeros(prices.size, dtype=np.int64)
    dummies[cheapest] = np.clip(count - before, 0, free)
    dummies[cheapest[0]] += count - int(dummies.sum())
    return dummies


def _settle(
    weight: NDArray[np.float64], capacity: NDArray[np.int64], chosen: NDArray[np.int64], dummies: NDArray[np.int64]
) -> None:
    """Move tasks and dummies (both in place) along shortest paths until every agent holds its capacity exactly."""
    m = capacity.size
    step = np.full((m, m), np.inf)
    stale = set(range(m))
    while True:
        excess = np.bincount(chosen, minlength=m) + dummies - capacity
        if not (excess > 0).any():
            return
        for agent in stale:
            own = np.flatnonzero(chosen == agent)
            lost = _losses(weight, own, agent).min(axis=0, initial=np.inf)
            step[agent] = np.minimum(lost, 0.0) if dummies[agent] else lost
        path = _shortest_path(step, excess > 0, excess < 0)
        stale = set(path)
        most = int(min(excess[path[0]], -excess[path[-1]]))
        _shift(weight, step=step, chosen=chosen, dummies=dummies, path=path, most=most)


def _shortest_path(step: NDArray[np.float64], sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> list[int]:
    """Agents along the cheapest path from any source to any target (Bellman-Ford; no cycle is negative)."""
    m = sources.size
    distance = np.where(sources, 0.0, np.inf)
    before = np.full(m, -1)
    tolerance = 1e-12 * (1.0 + float(np.abs(step[np.isfinite(step)]).max(initial=0.0)))  # a cycle of rounding is none
    for _ in range(m):
        through = distance[:, None] + step
        best = np.argmin(through, axis=0)
        reached = through[best, np.arange(m)]
        better = reached < distance - tolerance
        if not better.any():
            break
        distance, before = np.where(better, reached, distance), np.where(better, best, before)
    path = [int(np.argmin(np.where(targets, distance, np.inf)))]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _shift(
    weight: NDArray[np.float64],
    *,
    step: NDArray[np.float64],
    chosen: NDArray[np.int64],
    dummies: NDArray[np.int64],
    path: list[int],
    most: int,
) -> None:
    """Move as many tasks as are tied on every step of the path, at most `most`, one agent further each."""
    moves: list[tuple[int, int, NDArray[np.int64] | None]] = []
    for giver, receiver in pairwise(path):
        own = np.flatnonzero(chosen == giver)
        tied = own[weight[own, giver] - weight[own, receiver] <= step[giver, receiver]]
        moves.append((giver, receiver, tied if tied.size else None))
        most = min(most, tied.size or int(dummies[giver]))
    for giver, receiver, tied in moves:
        if tied is None:
            dummies[giver] -= most
            dummies[receiver] += most
        else:
            chosen[tied[:most]] = receiver

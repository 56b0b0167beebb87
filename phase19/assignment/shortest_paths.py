"""Cheapest chains of task moves between agents, and the repair of overloaded agents by such chains."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.pairs import Pairs

_REFRESHED_SCORES = 1 << 15  # reading this many scores takes about as long as one search among few agents


def shortest_paths(
    givers: NDArray[np.int64], step: NDArray[np.float64], start: NDArray[np.float64], tolerance: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Compute the cheapest chain of moves that ends at each agent (Bellman-Ford).

    Parameters
    ----------
    givers, step
        Agents that tasks can move from, and the loss of moving one to each agent, shapes (k,) and (k, m).
    start
        Loss of a chain that begins at each agent, infinity where none may begin, shape (m,).
    tolerance
        Improvements up to this size are ignored as rounding.

    Returns
    -------
    tuple
        Loss of the cheapest chain to each agent, and the agent before it on that chain (-1 at the start); shapes (m,).
    """
    to = np.arange(start.size)
    distance, before = start.copy(), np.full(start.size, -1)
    active = np.flatnonzero(np.isfinite(start[givers]))
    for _ in range(start.size):  # no chain is longer
        if not active.size:
            break
        through = step[active] + distance[givers[active], None]
        best = through.argmin(axis=0)
        reached = through[best, to]
        is_improved = reached < distance - tolerance
        distance[is_improved], before[is_improved] = reached[is_improved], givers[active[best[is_improved]]]
        active = np.flatnonzero(is_improved[givers])
    return distance, before


def _chain_to(end: int, before: NDArray[np.int64]) -> list[int]:
    """List the agents along the chain that ends at an agent, from its start."""
    chain = [end]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return chain[::-1]


class ShortestPathRepair:
    """Move tasks from overloaded agents to agents with room along cheapest chains, keeping the assignment optimal.

    Parameters
    ----------
    pairs
        Scores, shape (n, m).
    agent_index
        One of each task's best agents at `prices`, shape (n,); changed by `run`.
    prices
        Prices of the agents' capacity, shape (m,); replaced by `run`.
    capacity
        Tasks each agent may take, shape (m,), at least n in total.

    Notes
    -----
    At the prices, no move between agents gains. The step from a to b is the smallest loss of moving one of a's tasks to
    b. The cheapest repair is a shortest path from an overloaded agent to one with room. Prices are then updated by the
    distances, so that again no move gains. Dummy tasks, which score 0 with every agent, fill the spare capacity, first
    at the agents with the lowest price. One search serves all disjoint paths, and tasks tied on every step of a path
    move together. After tasks have left, a stored step may be too low; it is recomputed when a path uses it.

    References
    ----------
    Ahuja, Magnanti, Orlin, Network Flows, 1993, section 9.7: successive shortest paths.
    """

    def __init__(
        self,
        pairs: Pairs,
        agent_index: NDArray[np.int64],
        prices: NDArray[np.float64],
        capacity: NDArray[np.int64],
    ) -> None:
        n, m = pairs.shape
        self.pairs, self.agent_index, self.prices = pairs, agent_index, prices
        load = np.bincount(agent_index, minlength=m)
        self._held = np.split(np.argsort(agent_index, kind="stable"), np.cumsum(load)[:-1])  # tasks by agent, ascending
        self._dummies = _place_dummies(capacity - load, prices)
        self.surplus = load + self._dummies - capacity
        self._step = np.full((m, m), np.inf)
        self._lower_steps(np.arange(n))
        largest = np.abs(self._step).max(initial=0.0, where=np.isfinite(self._step)) + np.abs(prices).max()
        self._rounding = 4.0 * float(np.finfo(np.float64).eps * largest)

    def run(self) -> None:
        """Move tasks until no agent is overloaded, or no chain leads from an overloaded agent to one with room."""
        agents = np.arange(self.prices.size)
        while (self.surplus > 0).any():
            cost = self._steps(agents) + (self.prices - self.prices[:, None])
            cost[cost <= self._rounding] = 0.0
            distance, before = shortest_paths(agents, cost, np.where(self.surplus > 0, 0.0, np.inf))
            ends = np.flatnonzero((self.surplus < 0) & np.isfinite(distance))
            if not ends.size:
                return
            is_used = np.zeros(agents.size, dtype=np.bool_)
            changed, farthest = [], 0.0
            for end in ends[np.argsort(distance[ends], kind="stable")].tolist():
                path = _chain_to(end, before)
                if not is_used[path].any():
                    is_used[path] = True
                    is_moved, tasks = self._move(path)
                    changed += tasks
                    if is_moved:
                        farthest = float(distance[end])
            self.prices = self.prices + np.maximum(farthest - distance, 0.0)
            if changed:
                self._lower_steps(np.concatenate(changed))

    def _steps(self, givers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the least loss of moving a task or a dummy from some agents to each agent, shape (givers, m)."""
        step = self._step[givers]
        return np.where(self._dummies[givers, None] > 0, np.minimum(step, 0.0), step)

    def _lower_steps(self, tasks: NDArray[np.int64]) -> None:
        """Lower the steps from some tasks' agents to the loss of moving those tasks."""
        used, lost = self.pairs.exchanges(tasks, self.agent_index[tasks])
        self._step[used] = np.minimum(self._step[used], lost)

    def _move(self, path: list[int]) -> tuple[bool, list[NDArray[np.int64]]]:
        """Move as many tasks along a path as surplus, room and ties on every step allow.

        Return whether any task moved, and the tasks whose steps must be recomputed. No task moves if the tasks of a
        stored step have left.
        """
        most = min(int(self.surplus[path[0]]), -int(self.surplus[path[-1]]))
        moves, stale = [], []
        for giver, receiver in pairwise(path):
            held = self._held[giver]
            lost = self.pairs.column(held, giver) - self.pairs.column(held, receiver)
            limit = self._steps(np.array([giver]))[0, receiver] + self._rounding
            tied, dummies = np.flatnonzero(lost <= limit), int(self._dummies[giver]) if limit >= 0.0 else 0
            if tied.size + dummies == 0:
                self._step[giver] = np.inf
                stale.append(held)
            moves.append((giver, receiver, lost, tied))
            most = min(most, tied.size + dummies)
        if stale:
            return False, stale
        changed = []
        for giver, receiver, lost, tied in reversed(moves):  # positions in `held` refer to the state before these moves
            held, is_kept = self._held[giver], np.ones(lost.size, dtype=np.bool_)
            is_kept[tied[:most]] = False
            moved = held[~is_kept]
            self.agent_index[moved] = receiver
            self._dummies[[giver, receiver]] += np.array([-1, 1]) * (most - moved.size)
            self._held[giver] = held[is_kept]
            self._held[receiver] = np.sort(np.concatenate([self._held[receiver], moved]), kind="stable")
            changed.append(moved)
            self._step[giver, receiver] = lost[is_kept].min(initial=np.inf)
            if self._held[giver].size <= max(_REFRESHED_SCORES // self.prices.size, self.prices.size):
                self._step[giver] = np.inf
                changed.append(self._held[giver])
        self.surplus[path[0]] -= most
        self.surplus[path[-1]] += most
        return True, changed


def _place_dummies(room: NDArray[np.int64], prices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place one dummy per unit of spare capacity, at agents with the lowest price and there first in free room."""
    cheapest = np.flatnonzero(prices == prices.min())
    free, spare = np.maximum(room[cheapest], 0), int(room.sum())
    dummies = np.zeros_like(room)
    dummies[cheapest] = np.clip(spare - (np.cumsum(free) - free), 0, free)
    dummies[cheapest[0]] += spare - int(dummies.sum())
    return dummies

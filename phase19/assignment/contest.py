"""Moving tasks from agents beyond their capacity to agents with room, each way the cheapest there is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.exchanges import shortest_paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.near import Near
    from phase19.assignment.pairs import Pairs

__all__ = ["Contest"]

_FEW_SCORES = 1 << 15  # are looked at in the time that a search takes among few agents


class Contest:
    """Tasks that may change agents, by successive shortest paths between agents.

    Parameters
    ----------
    pairs
        Scores, m agents.
    row, agent, count
        Which row of `pairs` an entry is of, -1 for dummies, the agent it is with, one of the row's best at
        `prices`, and how many alike tasks it stands for, shape (entries,).
    prices
        Of the agents' capacity, shape (m,).
    surplus
        What each agent holds, all tasks counted, above its capacity, shape (m,); sums to 0.
    reach
        How far prices may part while every task left out of the contest keeps its agent.

    Notes
    -----
    At the prices no move between agents gains. The step from a to b is what moving one of a's tasks there loses
    at least; a shortest path from an agent with surplus to one with room is the cheapest repair, and raising the
    prices by the distances keeps it true that no move gains (successive shortest paths: Ahuja, Magnanti, Orlin,
    Network Flows, 1993, section 9.7). One search serves all disjoint paths, and tasks tied on all of a path's
    steps move together.
    """

    def __init__(
        self,
        pairs: Pairs | Near,
        *,
        row: NDArray[np.int64],
        agent: NDArray[np.int64],
        count: NDArray[np.int64],
        prices: NDArray[np.float64],
        surplus: NDArray[np.int64],
        reach: float,
    ) -> None:
        self.pairs, self.row, self.agent, self.count = pairs, row, agent, count
        self.prices, self.surplus = prices, surplus
        self._start, self._reach = prices, reach
        self._few = max(_FEW_SCORES // prices.size, prices.size)
        order, ends = np.argsort(agent, kind="stable"), np.cumsum(np.bincount(agent, minlength=prices.size))
        self._held = np.split(order, ends[:-1])  # entries by agent, ascending
        self._step = np.full((prices.size, prices.size), np.inf)
        self._refresh(order)
        largest = np.abs(self._step).max(initial=0.0, where=np.isfinite(self._step)) + np.abs(prices).max()
        self._rounding = 4.0 * float(np.finfo(np.float64).eps * largest)

    def settle(self) -> None:
        """Move tasks until no agent is beyond its capacity or no way within reach is left."""
        while (self.surplus > 0).any():
            cost = self._step + (self.prices - self.prices[:, None])
            cost[cost <= self._rounding] = 0.0
            distance, before = shortest_paths(cost, self.surplus > 0)
            drift = self.prices - self._start
            ends = np.flatnonzero((self.surplus < 0) & (distance <= self._reach - (drift.max() - drift.min())))
            ends = ends[np.isfinite(distance[ends])]
            if not ends.size:
                return
            is_used = np.zeros(distance.size, dtype=np.bool_)
            moved, farthest = [], 0.0
            for end in ends[np.argsort(distance[ends], kind="stable")].tolist():
                path = [end]
                while before[path[-1]] >= 0:
                    path.append(int(before[path[-1]]))
                if not is_used[path].any():
                    is_used[path] = True
                    is_moved, gained = self._move(path[::-1])
                    moved += gained
                    if is_moved:
                        farthest = float(distance[end])
            self.prices = self.prices + np.maximum(farthest - distance, 0.0)
            if moved:
                self._refresh(np.concatenate(moved))

    def _refresh(self, entries: NDArray[np.int64]) -> None:
        """Lower the steps from some entries' agents to what those entries lose."""
        is_real = self.row[entries] >= 0
        idle, entries = self.agent[entries[~is_real]], entries[is_real]
        used, lost = self.pairs.exchanges(self.row[entries], self.agent[entries])
        self._step[used] = np.minimum(self._step[used], lost)
        self._step[idle] = np.minimum(self._step[idle], 0.0)

    def _move(self, path: list[int]) -> tuple[bool, list[NDArray[np.int64]]]:
        """Move as many tasks as surplus, room and ties on every step of a path allow one agent further each.

        Returns whether they moved, not so where tasks that made a step have left, and the entries to look at again.
        """
        most = min(int(self.surplus[path[0]]), -int(self.surplus[path[-1]]))
        moves, stale = [], []
        for giver, receiver in pairwise(path):
            held = self._held[giver]
            is_real = self.row[held] >= 0
            rows, lost = self.row[held[is_real]], np.zeros(held.size)
            lost[is_real] = self.pairs.losses(rows, giver, receiver)
            tied = np.flatnonzero(lost <= self._step[giver, receiver] + self._rounding)
            if tied.size:
                before = np.cumsum(self.count[held[tied]])
                moves.append((giver, receiver, lost, tied, before))
                most = min(most, int(before[-1]))
            else:
                self._step[giver] = np.inf
                stale.append(held)
        if stale:
            return False, stale
        gained = []
        for giver, receiver, lost, tied, before in reversed(moves):  # the places of those tied are of before any move
            held, whole = self._held[giver], int(np.searchsorted(before, most, side="right"))
            moved = held[tied[:whole]]
            rest = most - int(before[whole - 1] if whole else 0)
            if rest:
                moved = np.append(moved, self._split(int(held[tied[whole]]), rest))
            self.agent[moved] = receiver
            gained.append(moved)
            is_kept = np.ones(held.size, dtype=np.bool_)
            is_kept[tied[:whole]] = False
            kept = held[is_kept]
            self._step[giver, receiver] = lost[is_kept].min(initial=np.inf)
            if kept.size <= self._few:
                self._step[giver] = np.inf
                gained.append(kept)
            self._held[giver] = kept
            self._held[receiver] = np.sort(np.concatenate([self._held[receiver], moved]), kind="stable")
        self.surplus[path[0]] -= most
        self.surplus[path[-1]] += most
        return True, gained

    def _split(self, entry: int, count: int) -> int:
        """A new entry for some of an entry's tasks."""
        self.count[entry] -= count
        self.row = np.append(self.row, self.row[entry])
        self.agent = np.append(self.agent, self.agent[entry])
        self.count = np.append(self.count, count)
        return self.row.size - 1

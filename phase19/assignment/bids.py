"""Each task's best agent after prices, kept up to date without looking at every task at every change of prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.pairs import Pairs

__all__ = ["Bids"]


class Bids:
    """The agent that every task would choose at the current prices.

    Parameters
    ----------
    pairs
        Scores, shape (n, m).
    supply
        How many alike tasks each row stands for, shape (n,).
    prices
        Of one unit of each agent's capacity, shape (m,).

    Attributes
    ----------
    best, second
        Best agent of each row and, as of the last look, its runner-up, shape (n,).
    margin
        Lower bound on what a row's best agent is ahead of every other by, shape (n,); >= 0.
    own
        Score of each row with its best agent, shape (n,).

    Notes
    -----
    When prices change by d, a row's margin shrinks by at most d[best] - min(d): only rows whose bound is used up
    are looked at again (as bounds on distances save work in k-means: Hamerly, "Making k-means even faster", 2010).
    """

    def __init__(self, pairs: Pairs, supply: NDArray[np.int64], prices: NDArray[np.float64]) -> None:
        n = pairs.shape[0]
        self.pairs, self.supply, self.prices = pairs, supply, prices
        self.best, self.second = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        self.margin, self.own = np.empty(n), np.empty(n)
        for block in pairs.blocks(n):
            self._look(block)

    def move(self, prices: NDArray[np.float64]) -> None:
        """Change the prices."""
        self._shrink(prices)
        self.look(np.flatnonzero(self.margin <= 0.0))

    def look(self, rows: NDArray[np.int64]) -> None:
        """Find best, runner-up and margin of some rows exactly."""
        for block in self.pairs.blocks(rows.size):
            self._look(rows[block])

    def hold(self, rows: NDArray[np.int64], agents: NDArray[np.int64], prices: NDArray[np.float64]) -> None:
        """Change the prices and give some rows one of their best agents there, where others may be tied.

        From then on `own`, and so `dual`, are those of before.
        """
        self.best[rows] = agents
        self._shrink(prices)
        self.margin[rows] = 0.0

    def load(self) -> NDArray[np.int64]:
        """Tasks by agent, shape (m,)."""
        return np.bincount(self.best, weights=self.supply, minlength=self.prices.size).astype(np.int64)

    def dual(self, capacity: NDArray[np.float64], load: NDArray[np.int64]) -> float:
        """D(p) = sum_t max_a (S_ta - p_a) + sum_a cap_a p_a."""
        return float((self.own * self.supply).sum() + ((capacity - load) * self.prices).sum())

    def closest(self, count: int) -> tuple[NDArray[np.int64], float]:
        """All rows whose margin is under some width, about `count` or fewer, and the width."""
        if count < self.margin.size:
            rows = np.argpartition(self.margin, count)
            width, rows = float(self.margin[rows[count]]), rows[:count]
        else:
            width, rows = np.inf, np.arange(self.margin.size)
        if not np.isfinite(width):
            width = float(self.margin.max(initial=0.0, where=np.isfinite(self.margin)))
        self.look(rows)
        return rows[self.margin[rows] <= width], width

    def _shrink(self, prices: NDArray[np.float64]) -> None:
        drift = prices - self.prices
        drift -= drift.min()
        self.margin -= drift[self.best]
        self.prices = prices

    def _look(self, rows: slice | NDArray[np.int64]) -> None:
        after = self.pairs.less(rows, self.prices)
        count, m = after.shape
        flat, first = after.ravel(), np.arange(count) * m
        best = after.argmax(axis=1)
        ahead = flat[first + best]
        flat[first + best] = -np.inf
        second = after.argmax(axis=1)
        self.best[rows], self.second[rows] = best, second
        self.margin[rows] = ahead - flat[first + second]
        self.own[rows] = ahead + self.prices[best]

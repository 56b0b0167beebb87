"""Prices of the agents' capacity: if each task chooses its best agent at these prices, loads nearly fit."""

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.pairs import Pairs
from phase19.assignment.shortest_paths import ShortestPathRepair

_SAMPLE_GROWTH = 4  # ratio of the sizes of successive samples
_SAMPLE_FIRST = 4  # minimum tasks per agent in the first sample
_FAILED = 0.05  # with more than this share of a sample's tasks over capacity, compute its prices exactly
_STEPS = 40  # most Newton steps per sample
_STALLED = 2  # steps without progress before stopping: prices cannot even out the loads of tied tasks
_EASIER, _HARDER = 0.25, 8.0  # factors on the damping after an accepted and after a rejected step
_FARTHEST = 16.0  # largest spread of a step, in widths of the margins it was computed from
_DIGITS = 6  # decimals of a step in widths, rounded so that the number of threads does not matter
_STIFFEST = 1e6  # damping at which a step is too short to matter


class PricedChoices:
    """The best agent of each task at the current prices.

    Parameters
    ----------
    pairs
        Scores, shape (n, m).
    prices
        Price of one unit of each agent's capacity, shape (m,).

    Attributes
    ----------
    best, second
        Best agent of each task, and its runner-up when the choice was last computed, shape (n,).
    margin
        Lower bound on the difference between a task's best agent and every other, shape (n,); >= 0.
    score
        Score of each task with its best agent, shape (n,).

    Notes
    -----
    When prices change by d, a task's margin shrinks by at most d[best] - min(d). Only tasks whose margin may have
    reached zero are recomputed.

    References
    ----------
    Hamerly, Making k-means even faster, 2010 (the same bounds, on distances).
    """

    def __init__(self, pairs: Pairs, prices: NDArray[np.float64]) -> None:
        n = pairs.shape[0]
        self.pairs, self.prices = pairs, prices
        self.best, self.second = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
        self.margin, self.score = np.empty(n), np.empty(n)
        for block in pairs.blocks(n):
            self._compute(block)

    def set_prices(self, prices: NDArray[np.float64]) -> None:
        """Change the prices and recompute the choices that may have changed."""
        drift = prices - self.prices
        drift -= drift.min()
        self.margin -= drift[self.best]
        self.prices = prices
        self._recompute(np.flatnonzero(self.margin <= 0.0))

    def load(self) -> NDArray[np.int64]:
        """Count the tasks that choose each agent, shape (m,)."""
        return np.bincount(self.best, minlength=self.prices.size)

    def dual(self, capacity: NDArray[np.float64], load: NDArray[np.int64]) -> float:
        """Compute the dual objective D(p) = sum_t max_a (S_ta - p_a) + sum_a cap_a p_a."""
        return float(self.score.sum() + ((capacity - load) * self.prices).sum())

    def closest(self, count: int) -> tuple[NDArray[np.int64], float]:
        """Return the tasks with the smallest margins, at most `count`, and a width that bounds these margins."""
        if count < self.margin.size:
            rows = np.argpartition(self.margin, count)
            width, rows = float(self.margin[rows[count]]), rows[:count]
        else:
            width, rows = np.inf, np.arange(self.margin.size)
        if not np.isfinite(width):
            width = float(self.margin.max(initial=0.0, where=np.isfinite(self.margin)))
        self._recompute(rows)
        return rows[self.margin[rows] <= width], width

    def _recompute(self, rows: NDArray[np.int64]) -> None:
        for block in self.pairs.blocks(rows.size):
            self._compute(rows[block])

    def _compute(self, rows: slice | NDArray[np.int64]) -> None:
        after = self.pairs.after_prices(rows, self.prices)
        count, m = after.shape
        flat, first = after.ravel(), np.arange(count) * m
        best = after.argmax(axis=1)
        ahead = flat[first + best]
        flat[first + best] = -np.inf
        second = after.argmax(axis=1)
        self.best[rows], self.second[rows] = best, second
        self.margin[rows] = ahead - flat[first + second]
        self.score[rows] = ahead + self.prices[best]


def price(pairs: Pairs, capacity: NDArray[np.int64]) -> PricedChoices:
    """Compute prices by Newton's method on the dual problem, first on samples of the tasks, then on all.

    Parameters
    ----------
    pairs
        Scores, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,), at least n in total.

    Returns
    -------
    PricedChoices
        The choices at these prices. About m/2 tasks are over capacity, or more if many are tied.

    Notes
    -----
    A random sample, drawn with a fixed seed, has nearly the same prices as all tasks, so each sample starts from the
    prices of the smaller one before it.
    """
    n, m = pairs.shape
    sizes = [n]
    while sizes[-1] > 2 * (first := max(_SAMPLE_FIRST * m, 128)):
        sizes.append(max(first, sizes[-1] // _SAMPLE_GROWTH))
    order = np.random.default_rng(0).permutation(n) if len(sizes) > 1 else np.arange(n)
    has_slack, prices = int(capacity.sum()) > n, None
    for size in reversed(sizes):
        rows = np.sort(order[:size])
        allowed = None if pairs.allowed is None else pairs.allowed[rows]
        part = pairs if size == n else Pairs(pairs.scores[rows], allowed)
        room = capacity.astype(np.float64) * (size / n)
        choices = _start(part, room) if prices is None else PricedChoices(part, prices)
        _descend(choices, room, has_slack=has_slack)
        prices = choices.prices
        if size < n and np.maximum(choices.load() - room, 0.0).sum() > _FAILED * size:
            prices = _exact_prices(choices, room)
    return choices


def _exact_prices(choices: PricedChoices, room: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the prices of a sample's optimal assignment, shape (m,), after Newton's method has failed.

    It fails if all tasks rank the agents alike and scores have little noise: loads then jump as prices change.
    """
    whole = np.floor(room).astype(np.int64)
    missing = max(0, choices.best.size - int(whole.sum()))
    whole[np.argsort(whole - room, kind="stable")[np.arange(missing) % room.size]] += 1
    repair = ShortestPathRepair(choices.pairs, choices.best, choices.prices, whole)
    repair.run()
    return np.asarray(repair.prices - repair.prices.min())


def _start(pairs: Pairs, room: NDArray[np.float64]) -> PricedChoices:
    """Start from zero prices or from the agents' mean scores, whichever has the lower dual objective."""
    scores = pairs.after_prices(slice(None))
    is_finite = np.isfinite(scores)
    mean = scores.sum(axis=0, where=is_finite) / np.maximum(is_finite.sum(axis=0), 1)
    starts = [PricedChoices(pairs, prices) for prices in (np.zeros(room.size), mean - mean.min())]
    return min(starts, key=lambda choices: choices.dual(room, choices.load()))


def _descend(choices: PricedChoices, room: NDArray[np.float64], *, has_slack: bool) -> None:
    """Lower D(p) until about half a task per agent is over capacity.

    The gradient of D is capacity minus load. A graph Laplacian approximates the Hessian: two agents exchange load at
    the density of tasks between them, counted among the smallest margins. If a step would leave the range of these
    margins or does not lower D, damping grows (Levenberg-Marquardt). With spare capacity, prices stay >= 0, and a price
    of 0 does not change while its agent has room.
    """
    m = room.size
    damping, load = 1e-3, choices.load()
    value, least, stalled = choices.dual(room, load), np.inf, 0
    for _ in range(_STEPS):
        surplus = load - room
        prices = choices.prices
        is_free = (prices > 0.0) | (surplus > 0.0) if has_slack else np.ones(m, dtype=np.bool_)
        excess = float(np.maximum(surplus, 0.0).sum())
        stalled = 0 if excess < 0.9 * least else stalled + 1
        least = min(least, excess)
        if excess <= 0.5 * m or stalled == _STALLED:
            return
        pulls, width = _pulls(choices, int(3.0 * excess) + 4 * m)
        if width <= 0.0:
            return
        weight = pulls.sum(axis=1)
        mean = max(float(weight.mean()), 1.0)
        while damping < _STIFFEST:
            stiffness = weight * (1.0 + 1e-2 * damping) + mean * damping
            step = np.zeros(m)
            hessian = (np.diag(stiffness) - pulls)[np.ix_(is_free, is_free)]
            step[is_free] = width * np.linalg.solve(hessian, surplus[is_free]).round(_DIGITS)
            if np.ptp(step) > _FARTHEST * width:
                damping *= _HARDER
                continue
            choices.set_prices(np.maximum(prices + step, 0.0) if has_slack else prices + step)
            load = choices.load()
            if (found := choices.dual(room, load)) < value:
                value, damping = found, max(damping * _EASIER, 1e-6)
                break
            damping *= _HARDER
        else:
            choices.set_prices(prices)
            return


def _pulls(choices: PricedChoices, count: int) -> tuple[NDArray[np.float64], float]:
    """Count the tasks with the smallest margins by best agent and runner-up, shape (m, m); also return the width."""
    m = choices.prices.size
    rows, width = choices.closest(count)
    pair = choices.best[rows] * m + choices.second[rows]
    pulls = np.bincount(pair, minlength=m * m).astype(np.float64).reshape(m, m)
    return pulls + pulls.T, width

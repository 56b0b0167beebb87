"""Prices of the agents' capacity: if each task chooses its best agent at these prices, loads nearly fit."""

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.pairs import Pairs
from phase19.assignment.shortest_paths import ShortestPathRepair

_SAMPLE_GROWTH = 4  # ratio of the sizes of successive samples
_SAMPLE_FIRST = 4  # minimum tasks per agent in the first sample
_FAILED = 0.25  # with more than this share of a sample's tasks over capacity, compute its prices exactly
_STEPS = 40  # most Newton steps per sample
_STALLED, _STALLED_BY_PAIR = 2, 9  # steps without progress before stopping: prices cannot even out loads of tied tasks
_EASIER, _HARDER = 0.25, 8.0  # factors on the damping after a good and after a bad step
_GOOD, _BAD = 0.5, 0.1  # least share of the promised decrease that a good step has, and one that is not bad
_FARTHEST = 16.0  # largest spread of a step, in widths of the margins it was computed from
_STIFFEST = 1e6  # damping at which a step is too short to matter
_PAIR_TASKS, _PAIR_SURPLUS = 8, 0.3  # tasks that give a pair's density: a few, and a share of what one has to give
_LOOSE, _STIFF = 1e-3, 1e3  # stiffness of every agent without damping, and per damping, in least weights
_NARROWEST = 1e-14  # smallest width of a pair, in widths of the widest


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

    def closest_by_pair(self, count: int, most: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the tasks with the smallest margins of each pair of best agent and runner-up.

        They are at most `most`, shape (m,), of either agent, and among about `count` tasks in all with the smallest
        margins.
        """
        near, m = np.arange(self.margin.size), self.prices.size
        if count < near.size:
            near = np.flatnonzero(self.margin <= np.partition(self.margin, count)[count])
        pair = self.best[near] * m + self.second[near]
        order = np.lexsort((self.margin[near], pair))
        first = np.flatnonzero(np.diff(pair[order], prepend=-1))
        size = np.diff(first, append=order.size)
        best, second = np.divmod(pair[order[first]], m)
        rank = np.arange(order.size) - np.repeat(first, size)
        rows = near[order[rank < np.repeat(np.maximum(most[best], most[second]), size)]]
        self._recompute(rows)
        return rows[np.isfinite(self.margin[rows])]

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
    prices of the smaller one before it. If a single width of margins leaves a sample far from its capacities, and one
    width per pair of agents does not, later samples use one per pair. That happens if all tasks rank the agents nearly
    alike: some pairs of agents then differ by 1e-7, others by 0.1.
    """
    n, m = pairs.shape
    sizes = [n]
    while sizes[-1] > 2 * (first := max(_SAMPLE_FIRST * m, 128)):
        sizes.append(max(first, sizes[-1] // _SAMPLE_GROWTH))
    order = np.random.default_rng(0).permutation(n) if len(sizes) > 1 else np.arange(n)
    has_slack, by_pair, prices = int(capacity.sum()) > n, False, None
    for size in reversed(sizes):
        rows = np.sort(order[:size])
        allowed = None if pairs.allowed is None else pairs.allowed[rows]
        part = pairs if size == n else Pairs(pairs.scores[rows], allowed)
        room = capacity.astype(np.float64) * (size / n)
        choices = _start(part, room) if prices is None else PricedChoices(part, prices)
        excess = _descend(choices, room, has_slack=has_slack, by_pair=by_pair)
        if excess > m and size < n and not by_pair:
            before, excess = excess, _descend(choices, room, has_slack=has_slack, by_pair=True)
            by_pair = excess < 0.5 * before
        prices = choices.prices
        if excess > _FAILED * size and size < n:
            prices = _exact_prices(choices, room)
    return choices


def _exact_prices(choices: PricedChoices, room: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the prices of a sample's optimal assignment, shape (m,), after Newton's method has failed.

    It fails if tasks that are alike tie, and if all tasks rank the agents alike and many agents have spare capacity.
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


def _descend(choices: PricedChoices, room: NDArray[np.float64], *, has_slack: bool, by_pair: bool) -> float:
    """Lower D(p) until about half a task per agent is over capacity, and return how many tasks are.

    The gradient of D is capacity minus load. A graph Laplacian approximates the Hessian: two agents exchange load at
    the density of tasks between them, counted among the smallest margins. If a step would leave the range of these
    margins or lowers D by much less than promised, damping grows (Levenberg-Marquardt). With spare capacity, prices
    stay >= 0, and a price of 0 does not change while its agent has room.
    """
    m = room.size
    damping, load = 1e-3, choices.load()
    value, least, stalled = choices.dual(room, load), np.inf, 0
    for _ in range(_STEPS):
        surplus, prices = load - room, choices.prices
        excess = float(np.maximum(surplus, 0.0).sum())
        stalled = 0 if excess < 0.9 * least else stalled + 1
        least = min(least, excess)
        if excess <= 0.5 * m or stalled == (_STALLED_BY_PAIR if by_pair else _STALLED):
            break
        density, width = (_density_by_pair if by_pair else _density)(choices, surplus)
        if width <= 0.0:
            break
        is_free = (prices > 0.0) | (surplus > 0.0) if has_slack else np.ones(m, dtype=np.bool_)
        while damping < _STIFFEST:
            step = _newton_step(density, surplus, is_free, damping, width)
            if not by_pair and np.ptp(step) > _FARTHEST * width:
                damping *= _HARDER
                continue
            choices.set_prices(np.maximum(prices + step, 0.0) if has_slack else prices + step)
            load = choices.load()
            found = choices.dual(room, load)
            step = choices.prices - prices
            promised = surplus @ step - 0.5 * (step @ (density.sum(axis=1) * step - density @ step))
            if not value - found > max(_BAD * promised, 0.0):  # also if the step is zero, or promised an increase
                damping *= _HARDER
            elif value - found > _GOOD * promised:
                damping = max(damping * _EASIER, 1e-6)
            if found < value:
                value = found
                break
        else:
            choices.set_prices(prices)
            break
    return float(np.maximum(choices.load() - room, 0.0).sum())


def _newton_step(
    density: NDArray[np.float64],
    surplus: NDArray[np.float64],
    is_free: NDArray[np.bool_],
    damping: float,
    width: float,
) -> NDArray[np.float64]:
    """Change of the prices that would move the surplus if the densities held everywhere, damped, shape (m,)."""
    weight, step = density.sum(axis=1), np.zeros(surplus.size)
    least = weight[weight > 0.0].min(initial=np.inf)  # agents without near tasks must not move far either
    stiffness = weight * (1.0 + damping) + least * (_LOOSE + _STIFF * damping)
    hessian = (np.diag(stiffness) - density)[np.ix_(is_free, is_free)]
    # Single precision, so that the number of threads does not matter.
    step[is_free] = width * (np.linalg.solve(hessian, surplus[is_free]) / width).astype(np.float32)
    return step


def _density(choices: PricedChoices, surplus: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Tasks between two agents per unit of price, shape (m, m), within one width, which is also returned."""
    m = choices.prices.size
    rows, width = choices.closest(int(3.0 * np.maximum(surplus, 0.0).sum()) + 4 * m)
    count = np.bincount(choices.best[rows] * m + choices.second[rows], minlength=m * m).reshape(m, m)
    return (count + count.T) / (width or 1.0), width


def _density_by_pair(choices: PricedChoices, surplus: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Tasks between two agents per unit of price, shape (m, m), each within a width of its own; return the largest."""
    m, most = choices.prices.size, _PAIR_TASKS + _PAIR_SURPLUS * np.abs(surplus)
    rows = choices.closest_by_pair(int(8.0 * np.maximum(surplus, 0.0).sum()) + 64 * m, most)
    pair = choices.best[rows] * m + choices.second[rows]
    count, width = np.bincount(pair, minlength=m * m).reshape(m, m), np.zeros((m, m))
    np.maximum.at(width.ravel(), pair, choices.margin[rows])
    widest = float(width.max(initial=0.0))
    return (count + count.T) / np.maximum(np.maximum(width, width.T), _NARROWEST * widest or 1.0), widest

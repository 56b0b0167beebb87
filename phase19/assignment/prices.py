"""Prices of the agents' capacity, by Newton's method on the dual of the assignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.bids import Bids
from phase19.assignment.contest import Contest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.pairs import Pairs

__all__ = ["price"]

_SAMPLE_GROWTH = 4  # each sample is so many times larger than the one before
_SAMPLE_FIRST = 4  # tasks an agent in the first sample, at least
_FAILED = 0.05  # share of a sample's tasks beyond capacity from which its prices are no start for the next
_STEPS = 40
_STALLED = 2  # steps without progress after which ties, not prices, are what keeps the loads uneven
_EASIER, _HARDER = 0.25, 8.0  # factors on the damping after a step that was taken, or was not
_FARTHEST = 16.0  # spread of a step, in margins looked at: beyond, what is known there says nothing, and steps fail
_STIFFEST = 1e6  # damping at which a step is too short to matter


def price(pairs: Pairs, supply: NDArray[np.int64], capacity: NDArray[np.int64]) -> Bids:
    """Prices under which the tasks' own choices nearly meet the capacities.

    Parameters
    ----------
    pairs
        Scores, shape (n, m).
    supply
        How many alike tasks each row stands for, shape (n,).
    capacity
        Shape (m,), with a sum of at least that of `supply`.

    Returns
    -------
    Bids
        The choices at those prices, where about m/2 tasks are beyond capacity unless many are tied.

    Notes
    -----
    A random sample has nearly the prices of the whole, so each sample starts where a smaller one ended. It is
    drawn with a fixed seed, and no routine is used whose sums depend on the number of threads.
    """
    n, m = pairs.shape
    sizes = [n]
    while sizes[-1] > 2 * (first := max(_SAMPLE_FIRST * m, 128)):
        sizes.append(max(first, sizes[-1] // _SAMPLE_GROWTH))
    order = np.random.default_rng(0).permutation(n) if len(sizes) > 1 else np.arange(n)
    total, prices = int(supply.sum()), None
    for size in reversed(sizes):
        rows = np.sort(order[:size])
        part, alike = (pairs, supply) if size == n else (pairs.select(rows), supply[rows])
        room = capacity.astype(np.float64) * (float(alike.sum()) / total)
        bids = _start(part, alike, room) if prices is None else Bids(part, alike, prices)
        _descend(bids, room, has_slack=int(capacity.sum()) > total)
        prices = bids.prices
        if size < n and np.maximum(bids.load() - room, 0.0).sum() > _FAILED * float(alike.sum()):
            prices = _settled(bids, room)
    return bids


def _settled(bids: Bids, room: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices of a sample's optimal assignment, shape (m,), by a contest of all its tasks: for where Newton fails.

    It does where every task ranks the agents alike and scores have no noise: agents a price apart share few tasks,
    so that the loads jump as prices change.
    """
    count, m = int(bids.supply.sum()), room.size
    whole = np.floor(room).astype(np.int64)
    most = np.argsort(whole - room, kind="stable")
    whole[most[np.arange(max(0, count - int(whole.sum()))) % m]] += 1
    surplus = bids.load() - whole
    spare, cheapest = -int(surplus.sum()), int(bids.prices.argmin())
    surplus[cheapest] += spare
    contest = Contest(
        bids.pairs,
        row=np.append(np.arange(bids.best.size), -1),
        agent=np.append(bids.best, cheapest),
        count=np.append(bids.supply, spare),
        prices=bids.prices,
        surplus=surplus,
        reach=np.inf,
    )
    contest.settle()
    return np.asarray(contest.prices - contest.prices.min())


def _start(pairs: Pairs, supply: NDArray[np.int64], room: NDArray[np.float64]) -> Bids:
    """The better of no prices and of the agents' mean scores."""
    free = Bids(pairs, supply, np.zeros(room.size))
    if (free.load() <= room).all():
        return free
    scores = pairs.take(np.arange(pairs.shape[0]))
    finite = np.isfinite(scores)
    mean = np.where(finite, scores, 0.0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
    ranked = Bids(pairs, supply, mean - mean.min())
    return min(free, ranked, key=lambda bids: bids.dual(room, bids.load()))


def _descend(bids: Bids, room: NDArray[np.float64], *, has_slack: bool) -> None:
    """Lower D(p), whose gradient is capacity less load, until about half a task an agent is beyond capacity.

    The rate at which load moves between two agents as their prices part is the density of tasks between them,
    counted among the smallest margins: a graph Laplacian stands for the Hessian. Damping is raised where a step would
    go farther than those margins tell, or does not lower D, as by Levenberg and Marquardt. With spare capacity prices
    stay >= 0, and where they are 0 and there is room they stay.
    """
    m = room.size
    damping, load = 1e-3, bids.load()
    value, least, stalled = bids.dual(room, load), np.inf, 0
    for _ in range(_STEPS):
        surplus = load - room
        prices = bids.prices
        is_free = (prices > 0.0) | (surplus > 0.0) if has_slack else np.ones(m, dtype=np.bool_)
        beyond = float(np.maximum(surplus, 0.0).sum())
        stalled = 0 if beyond < 0.9 * least else stalled + 1
        least = min(least, beyond)
        if beyond <= 0.5 * m or stalled == _STALLED:
            return
        pulls, width = _pulls(bids, int(3.0 * beyond) + 4 * m)
        if width <= 0.0:
            return
        weight = pulls.sum(axis=1)
        mean = max(float(weight.mean()), 1.0)
        while damping < _STIFFEST:
            stiffness = weight * (1.0 + 1e-2 * damping) + mean * damping
            step = width * _solve(pulls, stiffness, np.where(is_free, surplus, 0.0), is_free)
            if np.ptp(step) > _FARTHEST * width:
                damping *= _HARDER
                continue
            moved = np.maximum(prices + step, 0.0) if has_slack else prices + step
            bids.move(moved)
            load = bids.load()
            if (found := bids.dual(room, load)) < value:
                value, damping = found, max(damping * _EASIER, 1e-6)
                break
            damping *= _HARDER
        else:
            bids.move(prices)
            return


def _pulls(bids: Bids, count: int) -> tuple[NDArray[np.float64], float]:
    """Tasks between each two agents among those with the smallest margins, shape (m, m), and the widest margin."""
    m = bids.prices.size
    rows, width = bids.closest(count)
    pair = bids.best[rows] * m + bids.second[rows]
    pulls = np.bincount(pair, bids.supply[rows], m * m).astype(np.float64, copy=False).reshape(m, m)
    return pulls + pulls.T, width


def _solve(
    pulls: NDArray[np.float64], stiffness: NDArray[np.float64], force: NDArray[np.float64], is_free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Solve (diag(stiffness) - pulls) x = force by conjugate gradients, x = 0 where not free.

    A hundredth is accurate enough for a direction. einsum, because a matrix product's rounding may depend on the
    number of threads.
    """
    found, rest = np.zeros_like(force), force.copy()
    scaled = rest / stiffness
    direction, energy = scaled.copy(), float((rest * scaled).sum())
    enough = 1e-4 * energy
    for _ in range(50):
        if energy <= enough:
            break
        image = np.where(is_free, stiffness * direction - np.einsum("ij,j->i", pulls, direction), 0.0)
        pace = energy / float((direction * image).sum())
        found += pace * direction
        rest -= pace * image
        scaled = rest / stiffness
        energy, before = float((rest * scaled).sum()), energy
        direction = scaled + (energy / before) * direction
    return found

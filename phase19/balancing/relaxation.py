"""The makespan's linear relaxation, where a task may be shared out: an interior-point method of its own.

Of the program's n + 2m rows the n of the tasks are eliminated, so that a step solves 2m equations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Relaxation", "relax"]

_PRECISION = 1e-4  # of the makespan; what is left is made good by rounding and its certificate
_MOST_STEPS = 150
_ROOM = 1e-3  # tasks added to capacities, that the program has an inside even where all slots are needed
_SHORT_OF_EDGE = 0.99


class Relaxation(NamedTuple):
    """Solution of the relaxed problem of n tasks and m agents.

    Attributes
    ----------
    share
        Share of each task that each agent takes, shape (n, m).
    price
        What one more ms of each agent's busy time adds to the makespan, shape (m,); they sum to 1.
    """

    share: NDArray[np.float64]
    price: NDArray[np.float64]


def relax(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> Relaxation:
    """Minimise the makespan where tasks may be shared out.

    Parameters
    ----------
    planned
        Busy time of every pair, in units of about the makespan, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m). A plan exists within them and the capacities.

    Notes
    -----
    min T, such that the shares of a task sum to 1, sum_t planned_ta share_ta <= T and sum_t share_ta <= capacity_a.
    Mehrotra's predictor-corrector method; O(n m^2) a step and some 15 steps, whatever n.

    References
    ----------
    Mehrotra, On the implementation of a primal-dual interior point method, 1992.
    """
    live = np.broadcast_to(capacity > 0, planned.shape)
    program = _Program(planned, capacity, live if allowed is None else live & allowed)
    primal, free, dual = program.start()
    for _ in range(_MOST_STEPS):
        row_gap = program.right - program.rows(primal)
        column_gap = program.cost - program.columns(free) - dual
        product = float(primal @ dual)
        if product < _PRECISION * primal[-1] and max(np.abs(row_gap).max(), np.abs(column_gap).max()) < _PRECISION:
            break
        solve = program.normal_equations(primal / dual)

        def step(target: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
            ratio, along = primal / dual, target / dual  # noqa: B023 - called within the iteration
            d_free = solve(row_gap - program.rows(along - ratio * column_gap))  # noqa: B023
            d_dual = column_gap - program.columns(d_free)  # noqa: B023
            return along - ratio * d_dual, d_free, d_dual

        d_primal, _, d_dual = step(-primal * dual)
        ahead = (primal + _length(primal, d_primal) * d_primal) @ (dual + _length(dual, d_dual) * d_dual)
        centre = (ahead / product) ** 3 * product / primal.size
        d_primal, d_free, d_dual = step(centre - primal * dual - d_primal * d_dual)
        primal = primal + _SHORT_OF_EDGE * _length(primal, d_primal) * d_primal
        length = _SHORT_OF_EDGE * _length(dual, d_dual)
        free, dual = free + length * d_free, dual + length * d_dual
    m = capacity.size
    price = dual[-2 * m - 1 : -m - 1]
    return Relaxation(program.matrix(primal[: -2 * m - 1]), price / price.sum())


class _Program:
    """The program in standard form: rows(v) = right, v >= 0, cost v least.

    v holds the shares of the live pairs, then each agent's slack of time and of room, then the makespan. Its rows are
    the n tasks, the m loads and the m rooms.
    """

    def __init__(self, planned: NDArray[np.float64], capacity: NDArray[np.int64], live: NDArray[np.bool_]) -> None:
        n, m = planned.shape
        self.planned, self.live, self.is_full = planned, live, bool(live.all())
        self.right = np.concatenate([np.ones(n), np.zeros(m), np.minimum(capacity, n) + _ROOM])
        self.cost = np.zeros(int(live.sum()) + 2 * m + 1)
        self.cost[-1] = 1.0

    def start(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """An interior point: everything shared out evenly, all agents' time of the same price."""
        n, m = self.planned.shape
        share = self.live / self.live.sum(axis=1, keepdims=True)
        load = (self.planned * share).sum(axis=0)
        makespan = 1.5 * float(load.max())
        time = np.maximum(makespan - load, 0.1 * makespan)
        room = np.maximum(self.right[n + m :] - share.sum(axis=0), 0.1 * n / m)
        load_price, room_price = np.full(m, 1.0 / m), np.full(m, 0.5 / n)
        cost = load_price * self.planned + room_price
        task_price = 0.5 * np.where(self.live, cost, np.inf).min(axis=1)
        primal = np.concatenate([self.pairs(share), time, room, [makespan]])
        free = np.concatenate([task_price, -load_price, -room_price])
        dual = np.concatenate([self.pairs(cost - task_price[:, None]), load_price, room_price, [0.1]])
        return primal, free, dual

    def matrix(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the live pairs as (n, m), 0 elsewhere."""
        if self.is_full:
            return values.reshape(self.live.shape)
        full = np.zeros(self.live.shape)
        full[self.live] = values
        return full

    def pairs(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values, (n, m), of the live pairs alone."""
        return values.ravel() if self.is_full else values[self.live]

    def rows(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows' values, shape (n + 2 m,)."""
        m = self.live.shape[1]
        share, time, room = self.matrix(v[: -2 * m - 1]), v[-2 * m - 1 : -m - 1], v[-m - 1 : -1]
        load = np.einsum("ta,ta->a", self.planned, share) + time - v[-1]
        return np.concatenate([share.sum(axis=1), load, share.sum(axis=0) + room])

    def columns(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The transpose: what the rows' prices make each variable cost, in the order of v."""
        n, m = self.live.shape
        task, load, room = y[:n], y[n : n + m], y[n + m :]
        pair = load * self.planned
        pair += task[:, None]
        pair += room
        return np.concatenate([self.pairs(pair), load, room, [-load.sum()]])

    def normal_equations(self, ratio: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """A solver of rows(ratio columns(y)) = right side, its tasks eliminated beforehand."""
        n, m = self.live.shape
        pair = self.matrix(ratio[: -2 * m - 1])
        timed = pair * self.planned
        border = np.hstack([timed, pair])
        task = pair.sum(axis=1)
        corner = np.zeros((2 * m, 2 * m))
        agent = np.arange(m)
        corner[agent, agent] = np.einsum("ta,ta->a", timed, self.planned)
        corner[agent, m + agent] = corner[m + agent, agent] = timed.sum(axis=0)
        corner[m + agent, m + agent] = pair.sum(axis=0)
        corner[np.arange(2 * m), np.arange(2 * m)] += ratio[-2 * m - 1 : -1]
        corner[:m, :m] += ratio[-1]
        corner -= (border / task[:, None]).T @ border

        def solve(right: NDArray[np.float64]) -> NDArray[np.float64]:
            own = right[:n] / task
            agents = np.linalg.solve(corner, right[n:] - border.T @ own)
            return np.concatenate([own - (border @ agents) / task, agents])

        return solve


def _length(values: NDArray[np.float64], step: NDArray[np.float64]) -> float:
    """The longest step, at most 1, that leaves no value below zero."""
    return float(min(1.0, -1.0 / np.min(step / values, initial=-1e-300)))

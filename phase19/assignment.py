"""Exact assignment of tasks to agents with capacities, and the prices that prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.augmenting import assign, dual_prices
from phase19.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Assignment", "solve"]

_SMALL_WAVE = 256  # tasks up to which linear_sum_assignment is the faster one


@dataclass(frozen=True, slots=True)
class Assignment:
    """An assignment of n tasks to m agents and its certificate.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    objective
        Sum of the chosen scores.
    upper_bound
        Dual bound no assignment can exceed, found from `prices` alone.
    prices
        Price of one unit of each agent's capacity, >= 0, shape (m,).
    algorithm
        Name of the algorithm.
    """

    agent_index: NDArray[np.int64]
    objective: float
    upper_bound: float
    prices: NDArray[np.float64]
    algorithm: str

    @property
    def gap(self) -> float:
        """Distance to the bound; 0 to rounding for an optimal assignment."""
        return max(0.0, self.upper_bound - self.objective)


def solve(
    scores: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> Assignment:
    """Assign every task to one agent, at most `capacity` tasks an agent, with the largest sum of scores.

    Parameters
    ----------
    scores
        Finite scores, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,), >= 0.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    Assignment
        Optimal, and proved so by `upper_bound`. Rows in the order given; equal optima are resolved by row
        order, which the caller fixes by sorting by task id.

    Raises
    ------
    UsageError
        Shapes do not match, a score is not finite or a capacity is negative.
    InfeasibleError
        The capacities or the allowed pairs leave a task without an agent.

    Notes
    -----
    Small waves go to `scipy.optimize.linear_sum_assignment` (Crouse, 2016) on agent columns repeated into slots,
    which is cubic; larger ones to :func:`phase19.augmenting.assign`, near-linear in n.
    """
    n = _checked(scores, capacity, allowed)
    capacity = np.minimum(capacity, n)  # more than n is as good as n, and its sum cannot overflow
    # A forbidden pair costs more than all the scores together can make good.
    weight = scores if allowed is None else np.where(allowed, scores, -(2.0 * n * (np.abs(scores).max() + 1.0)))
    if n <= _SMALL_WAVE or capacity.size > n:  # with few tasks an agent there are few slots
        chosen, algorithm = _slots(weight, capacity), "linear_sum_assignment"
    else:
        chosen, algorithm = assign(weight, capacity, base=_slots, base_size=_SMALL_WAVE), "augmenting_paths"
    row = np.arange(n)
    if allowed is not None and not allowed[row, chosen].all():
        misplaced = np.flatnonzero(~allowed[row, chosen])
        found = f"no feasible plan: {misplaced.size} tasks find no room among the agents they allow"
        raise InfeasibleError(found, tuple(misplaced.tolist()))
    prices = dual_prices(weight, chosen, capacity)
    bound = float((weight - prices).max(axis=1, initial=-np.inf).sum() + (prices * capacity).sum()) if n else 0.0
    return Assignment(chosen, float(scores[row, chosen].sum()), bound, prices, algorithm)


def _slots(weight: NDArray[np.float64], capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Agents of the tasks, by linear assignment to agents repeated into slots."""
    from scipy.optimize import linear_sum_assignment

    slots = np.repeat(np.arange(capacity.size), np.minimum(capacity, weight.shape[0]))
    return np.asarray(slots[linear_sum_assignment(weight[:, slots], maximize=True)[1]])


def _checked(scores: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> int:
    is_matrix = capacity.ndim == 1 and scores.shape[1:] == capacity.shape
    if not is_matrix or (allowed is not None and allowed.shape != scores.shape):
        raise UsageError(
            f"assignment: expected scores (n, m), capacity (m,) and allowed (n, m), found {scores.shape}, "
            f"{capacity.shape} and {None if allowed is None else allowed.shape}"
        )
    if not np.isfinite(scores).all():
        raise UsageError("assignment: expected finite scores, found NaN or infinity")
    if (capacity < 0).any():
        raise UsageError(f"assignment: expected capacities >= 0, found {int(capacity.min())}")
    n, m = scores.shape
    # Capacities above n mean n; so bounded their sum cannot overflow.
    if np.minimum(capacity, n).sum() < n:
        raise InfeasibleError(
            f"no feasible plan: {n} tasks for a total capacity of {int(np.minimum(capacity, n).sum())} over {m} agents"
        )
    return int(n)

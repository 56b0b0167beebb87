"""Every plan of a small wave, to be exact where that costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["busy_times", "every_plan", "totals"]

_MOST_PLANS = 20_000  # some milliseconds; a wave of 7 tasks on 7 agents of capacity 1 has 5,040


def every_plan(
    n: int, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64] | None:
    """List the plans that keep to the capacities and the pairs allowed.

    Parameters
    ----------
    n
        Tasks.
    capacity
        Tasks each of m agents may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    numpy.ndarray or None
        Agent of each task, shape (k, n), in lexicographic order; None where there are too many to list.
    """
    m = capacity.size
    plans, count = np.zeros((1, 0), dtype=np.int64), np.zeros((1, m), dtype=np.int64)
    for task in range(n):
        room = count < capacity
        if allowed is not None:
            room &= allowed[task]
        plan, agent = np.nonzero(room)
        if plan.size > _MOST_PLANS:
            return None
        plans = np.column_stack([plans[plan], agent])
        count = count[plan]
        count[np.arange(plan.size), agent] += 1
    return plans


def totals(values: NDArray[np.float64], plans: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the pairs' values, (n, m), over each of k plans, shape (k,)."""
    return np.asarray(values[np.arange(values.shape[0]), plans].sum(axis=1))


def busy_times(planned: NDArray[np.float64], plans: NDArray[np.int64]) -> NDArray[np.float64]:
    """Busy time of each agent in each of k plans, shape (k, m)."""
    n, m = planned.shape
    time = planned[np.arange(n), plans]
    return np.column_stack([np.where(plans == agent, time, 0.0).sum(axis=1) for agent in range(m)])

"""How many tasks each agent may take in a wave: a limit for all, the agents' own, and what is left to a default."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.solver import solve

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["agent_capacity"]


def agent_capacity(
    task_count: int,
    own: pl.Series,
    limit: int | NDArray[np.int64] | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Tasks each of m agents may take of a wave of n.

    Parameters
    ----------
    task_count
        n.
    own
        Each agent's own capacity, null where it has none, shape (m,).
    limit
        Holds for every agent, beside its own capacity; the smaller one rules. An array, shape (m,), is the capacity.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Shape (m,). Without a limit, agents without a capacity of their own share one default: the even share
        ceil(n / m), or the smallest above it with which as many tasks find an agent as could with any.
    """
    if isinstance(limit, np.ndarray):
        return limit
    if limit is not None:
        return np.asarray(np.minimum(own.fill_null(limit).to_numpy(), limit))
    n, is_free = task_count, own.is_null().to_numpy()
    given = own.fill_null(0).to_numpy()

    def shared(default: int) -> NDArray[np.int64]:
        return np.where(is_free, default, given)

    def placed(default: int) -> int:
        return _placed_count(n, shared(default), allowed)

    even = -(-n // own.len())
    if not is_free.any() or placed(even) == n:
        return shared(even)
    return shared(even + bisect_left(range(even, n), placed(n), key=placed))


def _placed_count(n: int, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> int:
    """Tasks that find an agent."""
    if allowed is None:
        return min(n, int(np.minimum(capacity, n).sum()))
    return int((solve(np.zeros(allowed.shape), capacity, allowed, allow_unassigned=True).agent_index >= 0).sum())

"""What takes no forecast of pairs to plan: round robin, and the best agents first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.solver import solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_agents_first", "round_robin"]


def round_robin(n: int, m: int, rotation: int) -> NDArray[np.int64]:
    """Agent of each of n tasks in id order, shape (n,): m agents in turn, beginning with the `rotation`-th.

    Round robin is the mean over all m rotations (Phase 19 definition), blind to the agents that tasks allow.
    """
    return (np.arange(n) + rotation) % m


def best_agents_first(
    standing: NDArray[np.float64], n: int, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Give the best single agent all it may take, the next best all that of the rest, and so on.

    Parameters
    ----------
    standing
        How good each agent is overall, shape (m,); ties are the first agent's.
    n
        Tasks, in id order: who is taken for a task has nothing to do with the task.
    capacity
        Tasks each agent may take, shape (m,), n or more in all.
    allowed
        Pairs that may be used, shape (n, m); then the agents' ranks are summed and the least sum is taken, which
        without this limit is the same.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,).

    Raises
    ------
    InfeasibleError
        No assignment keeps to the capacity and the pairs allowed.
    """
    order = np.argsort(-standing, kind="stable")
    if allowed is None:
        return np.repeat(order, np.minimum(capacity[order], n))[:n]
    rank = np.empty(order.size)
    rank[order] = np.arange(order.size)
    return solve(np.broadcast_to(-rank, (n, order.size)), capacity, allowed).agent_index

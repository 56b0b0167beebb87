"""Why a wave has no feasible plan: tasks that together allow too few agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.errors import InfeasibleError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["conflict", "place_most"]

_STARTS = 32  # kinds of unplaced tasks from which a conflict is traced; the smallest is named


def place_most(allowed: NDArray[np.bool_], capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Agents of the tasks with as many tasks placed as can be, -1 for the others, shape (n,)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    slots = np.repeat(np.arange(capacity.size), capacity)
    matched = maximum_bipartite_matching(csr_array(allowed[:, slots]), perm_type="column").astype(np.int64)
    return np.where(matched >= 0, slots[matched], -1)


def conflict(allowed: NDArray[np.bool_], capacity: NDArray[np.int64], placed: NDArray[np.int64]) -> InfeasibleError:
    """The error that names a smallest set of tasks which cannot all be placed.

    Parameters
    ----------
    allowed
        Pairs that may be used, shape (n, m).
    capacity
        Shape (m,).
    placed
        Agents of the tasks with as many placed as can be, -1 for the others, shape (n,).

    Notes
    -----
    An unplaced task, the tasks placed with the agents it allows, the tasks placed with the agents those allow and
    so on are one task more than their agents take, by Hall's theorem the reason why a task is left over. Leave
    any one of them out, and the others can be placed: the set is smallest in that none of its own parts is in
    conflict.
    """
    unplaced = np.flatnonzero(placed < 0)
    # Tasks that allow the same agents reach the same.
    kinds = np.unique(np.packbits(allowed[unplaced], axis=1), axis=0, return_index=True)[1]
    starts = unplaced[np.sort(kinds)[:_STARTS]]
    agents = min((_reached(allowed, placed, start) for start in starts), key=lambda a: int(capacity[a].sum()))
    start = next(row for row in unplaced if np.isin(np.flatnonzero(allowed[row]), agents).all())
    rows = np.sort(np.append(np.flatnonzero(np.isin(placed, agents)), start))
    found = (
        f"no feasible plan: {unplaced.size} tasks find no room because {rows.size} tasks allow only {agents.size} "
        f"agents, whose total capacity is {int(capacity[agents].sum())}"
    )
    return InfeasibleError(found, tuple(rows.tolist()), tuple(agents.tolist()))


def _reached(allowed: NDArray[np.bool_], placed: NDArray[np.int64], start: np.int64) -> NDArray[np.int64]:
    """Agents reached from a task by allowed pairs and, from agents, by the tasks placed with them."""
    reached, tasks = np.zeros(allowed.shape[1], dtype=np.bool_), np.array([start])
    while tasks.size:
        found = allowed[tasks].any(axis=0) & ~reached
        reached |= found
        tasks = np.flatnonzero(np.isin(placed, np.flatnonzero(found)))
    return np.flatnonzero(reached)

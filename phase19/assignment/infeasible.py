"""Why a wave has no feasible plan: tasks that together allow too few agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.errors import InfeasibleError, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["conflict", "place_most"]

_STARTS = 32  # kinds of unplaced tasks from which a conflict is traced; the smallest is narrowed further


class _Demand(NamedTuple):
    """Tasks by kind, those of one kind allowing the same agents, and agents by class, allowed by the same kinds.

    `allowed` says which classes a kind allows, shape (k, c), `task_count` how many tasks it has, shape (k,), and
    `capacity` how many a class takes, shape (c,).
    """

    allowed: NDArray[np.bool_]
    task_count: NDArray[np.int64]
    capacity: NDArray[np.int64]


def place_most(allowed: NDArray[np.bool_], capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Agents of the tasks with as many tasks placed as can be, -1 for the others, shape (n,)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    slots = np.repeat(np.arange(capacity.size), capacity)
    matched = maximum_bipartite_matching(csr_array(allowed[:, slots]), perm_type="column").astype(np.int64)
    return np.where(matched >= 0, slots[matched], -1)


def conflict(allowed: NDArray[np.bool_], capacity: NDArray[np.int64], placed: NDArray[np.int64]) -> InfeasibleError:
    """The error that names tasks which cannot all be placed, though they could without any one of them.

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
    Tasks are in conflict where they are more than the agents that they allow take; without a conflict all can be
    placed (Hall, On representatives of subsets, 1935). An unplaced task, the tasks placed with the agents it allows,
    the tasks placed with the agents those allow and so on are in conflict. Of the agents found so, the smallest set
    from a few unplaced tasks, each is left out in turn if the tasks that allow only the others are in conflict too.
    In the end any such tasks, one more than the agents take, are in conflict, and no part of them is.

    No conflict is among a part of the agents named; one among other agents may be smaller. To find the smallest of
    all is NP-hard (McCormick, A combinatorial approach to some sparse matrix problems, 1983).
    """
    has_room = capacity > 0
    first, kind, count = _alike(allowed[:, has_room])
    some, column, _ = _alike(allowed[np.ix_(first, has_room)].T)
    demand = _Demand(
        allowed[first][:, np.flatnonzero(has_room)[some]],
        count,
        np.bincount(column, capacity[has_room], some.size).astype(np.int64),
    )
    is_placed = placed >= 0
    load = np.zeros(demand.allowed.shape, dtype=np.int64)
    np.add.at(load, (kind[is_placed], column[(np.cumsum(has_room) - 1)[placed[is_placed]]]), 1)
    classes = _narrowed(demand, _traced(demand, load))
    conflicting = np.flatnonzero(~demand.allowed[:, ~classes].any(axis=1))
    rows = np.flatnonzero(np.isin(kind, conflicting))
    fewest = np.argsort(allowed[rows].sum(axis=1), kind="stable")  # not least those that agents without room allow
    rows = np.sort(rows[fewest[: int(demand.capacity[classes].sum()) + 1]])
    agents = np.flatnonzero(allowed[rows].any(axis=0))
    found = (
        f"no feasible plan: no room for {plural(int((~is_placed).sum()), 'task')}, because {plural(rows.size, 'task')} "
        f"may use only {plural(agents.size, 'agent')}, whose total capacity is {int(capacity[agents].sum()):,}"
    )
    return InfeasibleError(found, tuple(rows.tolist()), tuple(agents.tolist()))


def _alike(rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The first of each kind of equal rows, the kind of each row, and how many are of each kind."""
    packed = np.packbits(rows, axis=1)
    _, first, kind, count = np.unique(packed, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return first, kind, count


def _traced(demand: _Demand, load: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The classes with the least room that unplaced tasks reach, shape (c,), given the tasks placed, shape (k, c)."""
    starts = np.flatnonzero(demand.task_count > load.sum(axis=1))[:_STARTS]
    return min((_reached(demand, load, start) for start in starts), key=lambda found: int(demand.capacity[found].sum()))


def _reached(demand: _Demand, load: NDArray[np.int64], start: np.int64) -> NDArray[np.bool_]:
    """Classes reached from a kind by allowed pairs and, from classes, by the tasks placed with them, shape (c,)."""
    reached = np.zeros(demand.capacity.size, dtype=np.bool_)
    kinds = np.array([start])
    while (found := demand.allowed[kinds].any(axis=0) & ~reached).any():
        reached |= found
        kinds = np.flatnonzero(load[:, found].any(axis=1))
    return reached


def _narrowed(demand: _Demand, classes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the classes of a conflict that no conflict among them can do without, shape (c,)."""
    for left_out in np.argsort(-demand.capacity, kind="stable"):
        if classes[left_out]:
            others = classes.copy()
            others[left_out] = False
            smaller = _conflicting(demand, others)
            classes = classes if smaller is None else smaller
    return classes


def _conflicting(demand: _Demand, classes: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Classes, all of them among those given, of a conflict among the tasks that allow only those; None without one."""
    kinds = np.flatnonzero(~demand.allowed[:, ~classes].any(axis=1))
    room = (demand.allowed[kinds] * demand.capacity).sum(axis=1)
    # Tasks in conflict are more than what any one of them allows takes.
    order = np.argsort(room, kind="stable")
    is_short = np.cumsum(demand.task_count[kinds][order]) > room[order]
    if not is_short.any():
        return None
    kinds = kinds[order[: int(np.flatnonzero(is_short)[-1]) + 1]]
    part = _Demand(demand.allowed[kinds], demand.task_count[kinds], demand.capacity)
    load = _most_placed(part)
    return _traced(part, load) if int(load.sum()) < int(part.task_count.sum()) else None


def _most_placed(demand: _Demand) -> NDArray[np.int64]:
    """Tasks by kind and class with as many placed as can be, shape (k, c): a maximum flow from kinds to classes."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    k, c = demand.allowed.shape
    kinds, classes = np.nonzero(demand.allowed)
    source, sink = k + c, k + c + 1
    tail = np.concatenate([np.full(k, source), kinds, k + np.arange(c)])
    head = np.concatenate([np.arange(k), k + classes, np.full(c, sink)])
    room = np.concatenate([demand.task_count, demand.task_count[kinds], demand.capacity]).astype(np.int32)
    network = csr_array((room, (tail, head)), shape=(k + c + 2, k + c + 2))
    flow = maximum_flow(network, source, sink).flow
    return np.asarray(flow[:k, k : k + c].toarray(), dtype=np.int64)

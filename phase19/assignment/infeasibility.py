"""Why a wave has no feasible plan: tasks that together allow too few agents."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phase19.errors import InfeasibleError, plural


class _Demand(NamedTuple):
    """Tasks by kind, those of one kind allowing the same agents, and agents by class, allowed by the same kinds.

    `allowed` says which classes a kind allows, shape (k, c), `task_count` how many tasks it has, shape (k,), and
    `capacity` how many tasks a class takes, shape (c,).
    """

    allowed: NDArray[np.bool_]
    task_count: NDArray[np.int64]
    capacity: NDArray[np.int64]


def check_each_task(allowed: NDArray[np.bool_], capacity: NDArray[np.int64]) -> None:
    """Refuse tasks that allow no agent, or none with room: no conflict is smaller."""
    if (rows := np.flatnonzero(~allowed.any(axis=1))).size:
        found = f"no feasible plan: no room for {plural(rows.size, 'task')}, which may use no agent"
        raise InfeasibleError(found, tuple(rows.tolist()))
    has_room = capacity > 0
    if not has_room.all() and (rows := np.flatnonzero(~allowed[:, has_room].any(axis=1))).size:
        raise _error(rows.size, rows[:1], allowed, capacity)


def find_conflict(allowed: NDArray[np.bool_], capacity: NDArray[np.int64]) -> InfeasibleError:
    """Make the error that names tasks which cannot all be placed, though they could without any one of them.

    Parameters
    ----------
    allowed
        Pairs that may be used, shape (n, m), by which not all tasks can be placed.
    capacity
        Tasks each agent may take, shape (m,).

    Notes
    -----
    Tasks are in conflict where they are more than the agents that they allow take; without a conflict all can be
    placed (Hall, On representatives of subsets, 1935). Beginning with all agents, each is left out in turn if the
    tasks that allow only the others are in conflict too. In the end any such tasks, one more than the agents take,
    are in conflict, and no part of them is.

    No conflict is among a part of the agents named; one among other agents may be smaller. To find the smallest of
    all is NP-hard (McCormick, A combinatorial approach to some sparse matrix problems, 1983).
    """
    has_room = capacity > 0
    first, kind, count = _distinct(allowed[:, has_room])
    some, column, _ = _distinct(allowed[np.ix_(first, has_room)].T)
    room = np.bincount(column, capacity[has_room], some.size).astype(np.int64)
    demand = _Demand(allowed[first][:, np.flatnonzero(has_room)[some]], count, room)
    unplaced = int(count.sum() - _most_placed(demand).sum())
    classes = np.ones(room.size, dtype=np.bool_)
    for left_out in np.argsort(-room, kind="stable"):
        classes[left_out] = False
        classes[left_out] = not _has_conflict(demand, classes)
    conflicting = np.flatnonzero(~demand.allowed[:, ~classes].any(axis=1))
    rows = np.flatnonzero(np.isin(kind, conflicting))
    fewest = np.argsort(allowed[rows].sum(axis=1), kind="stable")  # counts agents without room too
    return _error(unplaced, np.sort(rows[fewest[: int(room[classes].sum()) + 1]]), allowed, capacity)


def _error(
    unplaced: int, rows: NDArray[np.int64], allowed: NDArray[np.bool_], capacity: NDArray[np.int64]
) -> InfeasibleError:
    agents = np.flatnonzero(allowed[rows].any(axis=0))
    found = (
        f"no feasible plan: no room for {plural(unplaced, 'task')}, because {plural(rows.size, 'task')} "
        f"may use only {plural(agents.size, 'agent')}, whose total capacity is {int(capacity[agents].sum()):,}"
    )
    return InfeasibleError(found, tuple(rows.tolist()), tuple(agents.tolist()))


def _distinct(rows: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The first of each kind of equal rows, the kind of each row, and how many are of each kind."""
    packed = np.packbits(rows, axis=1)
    _, first, kind, count = np.unique(packed, axis=0, return_index=True, return_inverse=True, return_counts=True)
    return first, kind, count


def _has_conflict(demand: _Demand, classes: NDArray[np.bool_]) -> bool:
    """Whether the tasks that allow only the given classes of agents are in conflict."""
    kinds = np.flatnonzero(~demand.allowed[:, ~classes].any(axis=1))
    room = (demand.allowed[kinds] * demand.capacity).sum(axis=1)
    order = np.argsort(room, kind="stable")  # tasks in conflict are more than any one of them has room for
    is_short = np.cumsum(demand.task_count[kinds][order]) > room[order]
    if not is_short.any():
        return False
    kinds = kinds[order[: int(np.flatnonzero(is_short)[-1]) + 1]]
    part = _Demand(demand.allowed[kinds], demand.task_count[kinds], demand.capacity)
    return int(_most_placed(part).sum()) < int(part.task_count.sum())


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

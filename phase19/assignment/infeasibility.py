"""Why a wave has no feasible plan: a set of tasks whose allowed agents have too little capacity."""

import numpy as np
from numpy.typing import NDArray

from phase19.errors import InfeasibleError, plural


def conflict_error(
    allowed: NDArray[np.bool_], capacity: NDArray[np.int64], placed: NDArray[np.int64]
) -> InfeasibleError:
    """Make the error that names tasks that cannot all be placed; without any one of them, the others can.

    Parameters
    ----------
    allowed
        Pairs that may be used, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    placed
        Agent of each task when as many tasks as possible are placed, -1 for tasks left out, shape (n,).

    Notes
    -----
    If some tasks allow no agent at all, the error names those. Otherwise start at a task left out. Its agents are full,
    and so is every agent to which one of their tasks could move, and so on. None of their tasks may use another agent,
    so together with the task left out there is one too many (Hall, On representatives of subsets, 1935). The error
    names the smallest such set over all tasks left out.
    """
    left_out = np.flatnonzero(placed < 0)
    if (rows := np.flatnonzero(~allowed.any(axis=1))).size:
        found = f"no feasible plan: no room for {plural(rows.size, 'task')}, which may use no agent"
        return InfeasibleError(found, tuple(rows.tolist()))
    used, place = np.unique(placed[placed >= 0], return_inverse=True)
    leads_to = np.zeros((used.size, used.size), dtype=np.bool_)  # whether a task of one agent may move to another
    np.logical_or.at(leads_to, place, allowed[np.ix_(placed >= 0, used)])
    for through in range(used.size):
        leads_to |= leads_to[:, [through]] & leads_to[through]
    first = allowed[np.ix_(left_out, used)]
    reached = first | (first @ leads_to)
    fewest = int(np.argmin(reached @ capacity[used]))
    rows = np.sort(np.append(np.flatnonzero(np.isin(placed, used[reached[fewest]])), left_out[fewest]))
    agents = np.flatnonzero(allowed[rows].any(axis=0))
    found = (
        f"no feasible plan: no room for {plural(left_out.size, 'task')}, because {plural(rows.size, 'task')} "
        f"may use only {plural(agents.size, 'agent')}, whose total capacity is {int(capacity[agents].sum()):,}"
    )
    return InfeasibleError(found, tuple(rows.tolist()), tuple(agents.tolist()))

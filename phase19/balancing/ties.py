"""Deal tasks fairly among agents that score the same: the makespan falls, and the score does not."""

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.solver import Assignment
from phase19.balancing.local_search import LocalSearch, Steps, busy_time, on_grid, total

_LOSS = 1e-9  # share of the summed scores that all steps together may lose


def share_ties(solved: Assignment, planned_ms: NDArray[np.float64]) -> Assignment:
    """Move and swap tasks at no loss of score, while a step makes the busier of two agents less busy.

    Parameters
    ----------
    solved
        Optimal assignment of all n tasks to m agents.
    planned_ms
        Planned busy time of every pair in ms, shape (n, m).

    Returns
    -------
    Assignment
        No agent is busier than the busiest before. The scores sum to at most 1e-9 of their sum less; the bound stays.

    Notes
    -----
    After prices, each task's own agent is its best, so a step without loss needs tasks with another agent as good. Only
    these are searched: first many of the busiest agent's tasks move at once, then single moves and swaps follow.
    """
    if not np.isfinite(solved.upper_bound):  # sums of such scores overflow
        return solved
    pairs, agent_index, tolerance = solved.pairs, solved.agent_index.copy(), _LOSS * abs(solved.objective)
    is_tied = np.zeros(agent_index.size, dtype=np.bool_)
    for block in pairs.blocks(agent_index.size):
        after, own = pairs.after_prices(block, solved.prices), agent_index[block, None]
        is_tied[block] = (after >= np.take_along_axis(after, own, axis=1) - tolerance).sum(axis=1) > 1
    rows = np.flatnonzero(is_tied)
    if not rows.size:
        return solved
    planned = on_grid(planned_ms)
    fixed, others = agent_index[~is_tied], planned[~is_tied]
    scores, allowed = pairs.scores[rows], None if pairs.allowed is None else pairs.allowed[rows]
    room = solved.capacity - np.bincount(fixed, minlength=solved.capacity.size)
    search = LocalSearch(planned[rows], room, allowed, agent_index[rows])
    search.load += busy_time(others, fixed)
    least = total(scores, search.agent_index) - tolerance
    _move_many(search, pairs.after_prices(rows) >= pairs.at(agent_index)[rows, None] - tolerance / agent_index.size)

    def relief(steps: Steps) -> NDArray[np.float64]:
        before = np.maximum(search.load[steps.agent], search.load[steps.partner])
        is_free = total(scores, search.agent_index) + steps.change(scores) >= least
        return np.where(is_free, before - np.maximum(steps.agent_after, steps.partner_after), 0.0)

    search.improve(relief, skip_idle=True)
    agent_index[rows] = search.agent_index
    return solved.with_agents(agent_index)


def _move_many(search: LocalSearch, is_free: NDArray[np.bool_]) -> None:
    """Move tasks from the busiest agent to the least busy one that may take them, until their busy times meet.

    `is_free`, shape (n, m), says where a task may go. The first tasks in the order of the rows move.
    """
    is_done = search.count == 0
    while not is_done.all():
        agent = int(np.argmax(np.where(is_done, -1.0, search.load)))
        own = np.flatnonzero(search.agent_index == agent)
        is_open = is_free[own].any(axis=0) & (search.count < search.capacity)
        is_open[agent] = False
        partner = int(np.argmin(np.where(is_open, search.load, np.inf)))
        moved = own[is_free[own, partner] & is_open[partner]][: search.capacity[partner] - search.count[partner]]
        left = search.load[agent] - np.cumsum(search.planned[moved, agent])
        grown = search.load[partner] + np.cumsum(search.planned[moved, partner])
        count = int(np.searchsorted(grown - left, 0.0, side="right"))
        is_done[agent] = count == 0 or left[count - 1] == search.load[agent]
        if not is_done[agent]:
            search.agent_index[moved[:count]] = partner
            search.load[[agent, partner]] = left[count - 1], grown[count - 1]
            search.count[[agent, partner]] += [-count, count]
            is_done[partner] = False

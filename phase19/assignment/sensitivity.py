"""Why each task went to its agent: what other agents would cost the plan, and the value of one more slot."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.pairs import Pairs


class ChoiceReasons(NamedTuple):
    """Why n tasks went to their agents.

    Attributes
    ----------
    runner_up
        Other agent to which the task could move at the least loss for the whole assignment, -1 if there is none; shape
        (n,).
    score_margin
        Score that the assignment loses if the runner-up does the task and all other tasks are reassigned optimally, NaN
        if there is no runner-up; shape (n,).
    best
        Agent with the largest score for the task of those that may do it, full or not; shape (n,).
    best_margin
        Score that the assignment loses if that agent does the task, like `score_margin`; 0 if it does, NaN if then
        another task could not be assigned; shape (n,).
    slot_value
        Score that the assignment gains if the agent may take one more task, shape (m,).
    """

    runner_up: NDArray[np.int64]
    score_margin: NDArray[np.float64]
    best: NDArray[np.int64]
    best_margin: NDArray[np.float64]
    slot_value: NDArray[np.float64]


def explain_choices(
    scores: NDArray[np.float64],
    agent_index: NDArray[np.int64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> ChoiceReasons:
    """Compute why each task went to its agent.

    Parameters
    ----------
    scores
        Shape (n, m).
    agent_index
        Agent of each task in an assignment with the largest sum of scores, shape (n,).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    ChoiceReasons
        Runner-up, best agent and margins of each task, and slot value of each agent.

    Notes
    -----
    If a task moves from agent a to agent b, then a has room and b one task too many, which returns to a along the
    cheapest chain of moves. A step from b to c costs the smallest loss of moving one of b's tasks to c, and nothing if
    b has room. The assignment is optimal, so no cycle gains and cheapest chains exist (Floyd, Algorithm 97: shortest
    path, 1962). The value of one more slot at a is the cost of the cheapest chain from any agent to a, with its sign
    reversed. Time is O(n m + k^2 (k + m)) for k agents with tasks.
    """
    n, m = scores.shape
    pairs = Pairs(scores, allowed)
    has_room = np.bincount(agent_index, minlength=m) < capacity
    used, chain = pairs.exchanges(np.arange(n), agent_index)
    chain[has_room[used]] = np.minimum(chain[has_room[used]], 0.0)
    between = np.arange(used.size)
    for through, agent in enumerate(used):
        chain[between, used] = 0.0  # any gain of a cycle is rounding
        chain = np.minimum(chain, chain[:, agent, None] + chain[through])
    chain[between, used] = 0.0
    # A chain may begin anywhere, and one that reaches an agent with room may continue from anywhere.
    to_agent = np.minimum(chain.min(axis=0, initial=0.0), 0.0)
    to_room = chain[:, has_room].min(axis=1, initial=np.inf)
    back = np.where(capacity > 0, to_agent[used, None], np.inf)  # from each agent to each agent with tasks, (k, m)
    back[:, used] = np.minimum(chain[:, used].T, to_room + to_agent[used, None])
    place = np.searchsorted(used, agent_index)
    runner_up, margin = np.full(n, -1), np.full(n, np.nan)
    best, best_margin = np.empty(n, dtype=np.int64), np.empty(n)
    for block in pairs.blocks(n):
        own = np.arange(n)[block], agent_index[block]
        values, rows = pairs.after_prices(block), np.arange(own[0].size)
        best[block] = values.argmax(axis=1)
        loss = scores[own][:, None] - values + back[place[block]]
        loss[rows, own[1]] = 0.0
        at_best = np.maximum(loss[rows, best[block]], 0.0)
        best_margin[block] = np.where(np.isfinite(at_best), at_best, np.nan)
        loss[rows, own[1]] = np.inf
        least = loss.min(axis=1)
        exists = np.isfinite(least)
        runner_up[block] = np.where(exists, loss.argmin(axis=1), -1)
        margin[block] = np.where(exists, np.maximum(least, 0.0), np.nan)
    return ChoiceReasons(runner_up, margin, best, best_margin, 0.0 - to_agent)

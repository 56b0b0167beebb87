"""Why a task went where it did: the runner-up, by how much it lost, and what capacity is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Reasons", "reasons"]


class Reasons(NamedTuple):
    """Why n tasks went to their agents.

    Attributes
    ----------
    runner_up
        The agent that would have had each task next, -1 where no other may; shape (n,).
    score_margin
        What the whole assignment loses if the runner-up does the task and all others go where they then do best,
        NaN where there is none; shape (n,).
    slot_worth
        What the whole assignment gains from room for one task more, by agent, shape (m,).
    """

    runner_up: NDArray[np.int64]
    score_margin: NDArray[np.float64]
    slot_worth: NDArray[np.float64]


def reasons(
    scores: NDArray[np.float64],
    agent_index: NDArray[np.int64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> Reasons:
    """Tell why each task went to its agent.

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

    Notes
    -----
    A task given to b leaves its own agent a with room and b with one task too many, which goes back to a along the
    cheapest chain of moves. The step from b to c costs the least that moving one of b's tasks to c loses, and nothing
    where b has room; no cycle gains, the assignment being optimal, so that cheapest chains exist (Floyd, 1962). A slot
    more at a is worth the cheapest chain from anywhere to a, its sign turned. O(n m + k^2 (k + m)) for k agents with
    tasks.
    """
    n = agent_index.size
    used, place = np.unique(agent_index, return_inverse=True)
    chain = _chains(scores, agent_index, used, capacity, allowed)
    # A chain may begin anywhere, and one that comes to an agent with room goes on from anywhere.
    room = np.minimum(chain.min(axis=0, initial=0.0), 0.0)
    to_room = chain[:, _has_room(agent_index, capacity)].min(axis=1, initial=np.inf)
    runner_up, margin = np.full(n, -1), np.full(n, np.nan)
    for position, agent in enumerate(used):
        own = np.flatnonzero(place == position)
        back = np.where(capacity > 0, room[agent], np.inf)
        back[used] = np.minimum(chain[:, agent], to_room + room[agent])
        loss = scores[own, agent][:, None] - scores[own] + back
        loss[:, agent] = np.inf
        if allowed is not None:
            loss[~allowed[own]] = np.inf
        next_best = np.argmin(loss, axis=1)
        least = loss[np.arange(own.size), next_best]
        exists = np.isfinite(least)
        runner_up[own[exists]], margin[own[exists]] = next_best[exists], np.maximum(least[exists], 0.0)
    return Reasons(runner_up, margin, 0.0 - room)


def _has_room(agent_index: NDArray[np.int64], capacity: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(agent_index, minlength=capacity.size) < capacity)


def _chains(
    scores: NDArray[np.float64],
    agent_index: NDArray[np.int64],
    used: NDArray[np.int64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Least loss of a chain of moves from each of k agents with tasks to each agent, shape (k, m)."""
    step = np.empty((used.size, scores.shape[1]))
    for position, agent in enumerate(used):
        own = np.flatnonzero(agent_index == agent)
        loss = scores[own, agent][:, None] - scores[own]
        step[position] = (loss if allowed is None else np.where(allowed[own], loss, np.inf)).min(axis=0)
    has_room = _has_room(agent_index, capacity)[used]
    step[has_room] = np.minimum(step[has_room], 0.0)
    between = np.arange(used.size)
    for through in between:
        step[between, used] = 0.0  # a cycle that gains is one of rounding
        step = np.minimum(step, step[:, used[through]][:, None] + step[through])
    step[between, used] = 0.0
    return step

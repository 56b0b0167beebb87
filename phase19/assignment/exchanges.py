"""The cheapest ways from agents to agents, by what moving one task between each two of them loses at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["least_potentials", "shortest_paths"]

_ROUNDS = 8  # between searches for a cycle
_ULPS, _SCORE_ULPS = 64.0, 4.0  # of the largest loss, and score: what rounding may make of a way that loses nothing


def least_potentials(
    used: NDArray[np.int64], step: NDArray[np.float64], largest: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    """What the cheapest chain of moves that ends at each agent loses, 0 or less (Bellman-Ford).

    Parameters
    ----------
    used, step
        Agents with tasks, and the least losses of moves from them, shapes (used,) and (used, m).
    largest
        Size of the scores that the losses are differences of: what is below their rounding gains nothing.

    Returns
    -------
    tuple
        The losses, shape (m,); the agent before each on its chain, -1 at the start, shape (m,); and the agents
        along a cycle of moves that gains, by which the losses have no bound, or an empty list.
    """
    m = step.shape[1]
    to = np.arange(m)
    loss, before = np.zeros(m), np.full(m, -1)
    lost = float(np.abs(step).max(initial=0.0, where=np.isfinite(step)))
    eps = float(np.finfo(np.float64).eps)
    tolerance = max(_ULPS * (eps * lost), _SCORE_ULPS * (eps * largest))  # in this order none overflows
    lower, rounds = np.arange(used.size), 0
    while lower.size:
        through = step[lower] + loss[used[lower], None]
        best = through.argmin(axis=0)
        reached = through[best, to]
        improved = reached < loss - tolerance
        loss[improved], before[improved] = reached[improved], used[lower[best[improved]]]
        lower = np.flatnonzero(improved[used])
        rounds += 1
        if rounds % _ROUNDS == 0 and (cycle := _cycle(before)):
            return loss, before, cycle
    return loss, before, []


def _cycle(before: NDArray[np.int64]) -> list[int]:
    """Agents along a cycle of `before`, in the order of the moves; empty where there is none."""
    ahead = before
    for _ in range(before.size.bit_length()):  # after 2^k >= m steps only cycles are left
        ahead = np.where(ahead >= 0, ahead[ahead], -1)
    inside = np.flatnonzero(ahead >= 0)
    if inside.size == 0:
        return []
    cycle = [int(ahead[inside[0]])]
    while (agent := int(before[cycle[-1]])) != cycle[0]:
        cycle.append(agent)
    return cycle[::-1]


def shortest_paths(
    step: NDArray[np.float64], sources: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances from the nearest source, and the agent before each on the way, -1 for none (Bellman-Ford).

    `step` is shape (m, m), >= 0; both results are shape (m,).
    """
    to = np.arange(sources.size)
    distance, before = np.where(sources, 0.0, np.inf), np.full(sources.size, -1)
    nearer = np.flatnonzero(sources)
    while nearer.size:
        through = step[nearer]
        through += distance[nearer, None]
        best = through.argmin(axis=0)
        reached = through[best, to]
        improved = np.flatnonzero(reached < distance)
        distance[improved], before[improved] = reached[improved], nearer[best[improved]]
        nearer = improved
    return distance, before

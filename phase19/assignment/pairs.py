"""Scores of (task, agent) pairs, checked once and read in blocks of rows to save memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.errors import UsageError

_BLOCK_BYTES = 1 << 19  # of scores read at once; they and their temporaries fit into a core's cache


@dataclass(frozen=True, slots=True)
class Pairs:
    """A score for each task and agent, -inf where the pair is forbidden.

    Parameters
    ----------
    scores
        Shape (n, m), finite; not written to.
    allowed
        Pairs that may be used, shape (n, m); all by default.
    """

    scores: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of tasks and agents, (n, m)."""
        n, m = self.scores.shape
        return n, m

    def after_prices(
        self, rows: slice | NDArray[np.int64], prices: NDArray[np.float64] | float = 0.0
    ) -> NDArray[np.float64]:
        """Return the scores of some tasks minus the agents' prices as a new array, shape (rows, m)."""
        values = np.subtract(self.scores[rows], prices, order="C")
        if self.allowed is not None:
            values[~self.allowed[rows]] = -np.inf
        return values

    def column(self, rows: NDArray[np.int64], agent: int) -> NDArray[np.float64]:
        """Scores of some tasks with one agent, shape (rows,)."""
        values = self.scores[rows, agent]
        return values if self.allowed is None else np.where(self.allowed[rows, agent], values, -np.inf)

    def at(self, agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score of each task with its agent, shape (n,)."""
        return np.asarray(self.scores[np.arange(agent_index.size), agent_index])

    def exchanges(
        self, rows: NDArray[np.int64], agents: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Compute the smallest loss of score when one task moves from an agent to each other agent.

        Parameters
        ----------
        rows, agents
            Tasks in any order and the agent of each, shape (rows,).

        Returns
        -------
        tuple
            The agents with tasks, ascending, shape (used,), and the smallest loss of moving one of their tasks to each
            agent, shape (used, m); inf if none may move there.
        """
        m = self.shape[1]
        order = np.argsort(agents, kind="stable")
        used = np.flatnonzero(np.bincount(agents, minlength=m))
        place = np.zeros(m, dtype=np.int64)
        place[used] = np.arange(used.size)
        step = np.full((used.size, m), np.inf)
        for block in self.blocks(order.size):
            chosen = agents[order[block]]
            scores = self.after_prices(rows[order[block]])
            lost = np.subtract(scores[np.arange(chosen.size), chosen][:, None], scores, out=scores)
            first = np.flatnonzero(np.diff(chosen, prepend=-1))
            where = place[chosen[first]]
            step[where] = np.minimum(step[where], np.minimum.reduceat(lost, first, axis=0))
        return used, step

    def blocks(self, count: int) -> Iterator[slice]:
        """Split `count` rows into slices that fit into the cache."""
        step = max(1, _BLOCK_BYTES // (8 * max(1, self.shape[1])))
        return (slice(first, min(first + step, count)) for first in range(0, count, step))


def best_agents(scores: NDArray[np.float64], allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Agent with the largest score of each task, capacities aside, shape (n,)."""
    pairs, best = Pairs(scores, allowed), np.empty(scores.shape[0], dtype=np.int64)
    for block in pairs.blocks(best.size):
        best[block] = pairs.after_prices(block).argmax(axis=1)
    return best


def check_problem(scores: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> Pairs:
    """Check dtypes, shapes, finite scores and capacities >= 0, and return the pairs."""
    for name, array, kinds, wanted in (
        ("scores", scores, "d", "float64"),
        ("capacity", capacity, np.typecodes["AllInteger"], "integers"),
        ("allowed", allowed, "?", "booleans"),
    ):
        is_array = isinstance(array, np.ndarray)
        if array is not None and not (is_array and array.dtype.char in kinds):
            found = array.dtype if is_array else type(array).__name__
            raise UsageError(f"assignment: expected {name} as an array of {wanted}, found {found}")
    is_matrix = capacity.ndim == 1 and scores.shape[1:] == capacity.shape
    if not is_matrix or (allowed is not None and allowed.shape != scores.shape):
        raise UsageError(
            f"assignment: expected scores (n, m), capacity (m,) and allowed (n, m), found {scores.shape}, "
            f"{capacity.shape} and {None if allowed is None else allowed.shape}"
        )
    pairs = Pairs(scores, allowed)
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(scores.sum())  # cheaper than checking each score
    if not is_finite:
        is_each_finite = all(np.isfinite(scores[block]).all() for block in pairs.blocks(scores.shape[0]))
        found = "scores too large to add up" if is_each_finite else "NaN or infinity"
        raise UsageError(f"assignment: expected finite scores, found {found}")
    if capacity.size and int(capacity.min()) < 0:
        raise UsageError(f"assignment: expected capacities >= 0, found {int(capacity.min())}")
    return pairs

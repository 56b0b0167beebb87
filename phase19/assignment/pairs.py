"""Scores of (task, agent) pairs, read in blocks of rows so that no second matrix is ever made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Rows = slice | NDArray[np.int64]

__all__ = ["Pairs"]

_BLOCK_BYTES = 1 << 19  # of scores: what a core's cache holds beside its temporaries


@dataclass(frozen=True, slots=True)
class Pairs:
    """A score for each task and agent, -inf where the pair is forbidden.

    Parameters
    ----------
    scores
        Shape (n, m), finite; never copied whole nor written to.
    allowed
        Pairs that may be used, shape (n, m); all by default.
    opt_out
        Score of leaving a task out, which then counts as one more agent, the last.
    agents
        Columns that are read, shape (m,); all by default.
    """

    scores: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None
    opt_out: float | None = None
    agents: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Tasks and agents."""
        n, m = self.scores.shape
        return n, (m if self.agents is None else self.agents.size) + (self.opt_out is not None)

    def take(self, rows: Rows) -> NDArray[np.float64]:
        """Scores of some tasks, shape (rows, m): a new array."""
        return self.less(rows, None)

    def less(self, rows: Rows, prices: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Scores of some tasks less the agents' prices, shape (rows, m): a new array."""
        part = self.scores[rows] if self.agents is None else self.scores[rows][:, self.agents]
        if self.opt_out is not None:
            part = np.column_stack([part, np.full(part.shape[0], self.opt_out)])
        if prices is None:  # what was copied already is not copied again
            value = np.array(part, np.float64, order="C", copy=None if part.flags.owndata else True)
        else:
            value = np.subtract(part, prices, order="C")
        if self.allowed is not None:
            is_kept = self.allowed[rows] if self.agents is None else self.allowed[rows][:, self.agents]
            value[:, : is_kept.shape[1]][~is_kept] = -np.inf
        return value

    def losses(self, rows: NDArray[np.int64], giver: int, receiver: int) -> NDArray[np.float64]:
        """What moving each of a giver's tasks to another agent loses, shape (rows,)."""
        return self.column(rows, giver) - self.column(rows, receiver)

    def column(self, rows: NDArray[np.int64], agent: int) -> NDArray[np.float64]:
        """Scores of some tasks with one agent, shape (rows,)."""
        if self.opt_out is not None and agent == self.shape[1] - 1:
            return np.full(rows.size, self.opt_out)
        if self.agents is not None:
            agent = int(self.agents[agent])
        value = self.scores[rows, agent]
        return value if self.allowed is None else np.where(self.allowed[rows, agent], value, -np.inf)

    def at(self, agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Score of each task with its agent, shape (n,)."""
        row = np.arange(agent_index.size)
        if self.opt_out is None:
            return np.asarray(self.scores[row, agent_index])
        is_in = agent_index < self.scores.shape[1]
        if not is_in.any():
            return np.full(agent_index.size, self.opt_out)
        return np.where(is_in, self.scores[row, np.where(is_in, agent_index, 0)], self.opt_out)

    def exchanges(
        self, rows: NDArray[np.int64], agents: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What moving one task from an agent to each other loses at least.

        Parameters
        ----------
        rows, agents
            Tasks in any order and the agent of each, shape (rows,).

        Returns
        -------
        tuple
            The agents that occur, ascending, shape (used,), and their losses, shape (used, m).
        """
        m = self.shape[1]
        order = np.argsort(agents, kind="stable")
        used = np.flatnonzero(np.bincount(agents, minlength=m))
        place = np.zeros(m, dtype=np.int64)
        place[used] = np.arange(used.size)
        step = np.full((used.size, m), np.inf)
        for block in self.blocks(order.size):
            chosen = agents[order[block]]
            scores = self.take(rows[order[block]])
            lost = np.subtract(scores[np.arange(chosen.size), chosen][:, None], scores, out=scores)
            first = np.flatnonzero(np.diff(chosen, prepend=-1))
            where = place[chosen[first]]
            step[where] = np.minimum(step[where], np.minimum.reduceat(lost, first, axis=0))
        return used, step

    def select(self, rows: NDArray[np.int64]) -> Pairs:
        """Some tasks only, copied."""
        scores, allowed = self.scores[rows], None if self.allowed is None else self.allowed[rows]
        if self.agents is None:
            return Pairs(scores, allowed, self.opt_out)
        return Pairs(scores[:, self.agents], None if allowed is None else allowed[:, self.agents], self.opt_out)

    def blocks(self, count: int) -> Iterator[slice]:
        """Slices of `count` rows, each small enough to work on within the cache."""
        step = max(1, _BLOCK_BYTES // (8 * max(1, self.shape[1])))
        return (slice(first, min(first + step, count)) for first in range(0, count, step))

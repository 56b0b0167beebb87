"""The few pairs of contested tasks that a change of prices within reach could make the best, of all there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.pairs import Pairs

__all__ = ["Near"]

_MOST = 1 << 22  # pairs, kept one by one: more would take more memory and time than whole rows read where they are
_SAMPLE = 1024  # tasks that tell how far so many pairs reach


@dataclass(frozen=True, slots=True)
class Near:
    """Pairs of some tasks whose scores after prices are within reach of the task's best; all others count as forbidden.

    Attributes
    ----------
    shape
        Tasks and agents.
    reach
        In units of score.
    first
        Where each task's pairs begin, and where the last one's end, shape (tasks + 1,).
    agent, score
        Of each pair, ascending by task, shape (pairs,).
    """

    shape: tuple[int, int]
    reach: float
    first: NDArray[np.int64]
    agent: NDArray[np.int64]
    score: NDArray[np.float64]

    @classmethod
    def find(
        cls,
        pairs: Pairs,
        rows: NDArray[np.int64],
        agents: NDArray[np.int64],
        prices: NDArray[np.float64],
        reach: float,
    ) -> Near | None:
        """The pairs of some tasks, each with its agent whatever rounding says; None where they are too many."""
        sizes, agent, score, count = [np.zeros(1, dtype=np.int64)], [], [], 0
        for block in pairs.blocks(rows.size):
            scores = pairs.take(rows[block])
            after = scores - prices
            is_near = after >= after.max(axis=1, keepdims=True) - reach
            is_near[np.arange(after.shape[0]), agents[block]] = True
            sizes.append(np.count_nonzero(is_near, axis=1))
            count += int(sizes[-1].sum())
            if count > _MOST:
                return None
            agent.append(np.nonzero(is_near)[1])
            score.append(scores[is_near])
        first = np.cumsum(np.concatenate(sizes))
        return cls((rows.size, pairs.shape[1]), reach, first, np.concatenate(agent), np.concatenate(score))

    @staticmethod
    def widest(pairs: Pairs, prices: NDArray[np.float64], count: int) -> float:
        """The reach within which half as many pairs of all tasks as are kept at most lie, going by a sample of them.

        Infinite where `count` tasks have no more pairs than that in all. The best pairs, one a task, lie behind
        nothing: the reach is beyond them even where they alone are more.
        """
        n, m = pairs.shape
        if count * m <= _MOST // 2:
            return np.inf
        after = pairs.less(np.random.default_rng(0).choice(n, min(n, _SAMPLE), replace=False), prices)
        behind = (after.max(axis=1, keepdims=True) - after).ravel()
        most = max(_MOST // 2 * after.shape[0] // n, after.shape[0])
        return float(np.partition(behind, most)[most])

    def losses(self, rows: NDArray[np.int64], giver: int, receiver: int) -> NDArray[np.float64]:
        """What moving each of a giver's tasks to another agent loses, infinite where that pair is not near."""
        pair, size = self._of(rows)
        agent, score = self.agent[pair], self.score[pair]
        lost = np.full(rows.size, np.inf)
        is_its = agent == receiver
        place = np.repeat(np.arange(rows.size), size)[is_its]
        lost[place] = score[agent == giver][place] - score[is_its]
        return lost

    def exchanges(
        self, rows: NDArray[np.int64], agents: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """As :meth:`phase19.assignment.pairs.Pairs.exchanges`."""
        m = self.shape[1]
        used, giver = np.unique(agents, return_inverse=True)
        pair, size = self._of(rows)
        receiver, score = self.agent[pair], self.score[pair]
        own = score[receiver == np.repeat(agents, size)]
        step = np.full(used.size * m, np.inf)
        np.minimum.at(step, np.repeat(giver * m, size) + receiver, np.repeat(own, size) - score)
        return used, step.reshape(used.size, m)

    def _of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs of some tasks, and how many each has."""
        size = self.first[rows + 1] - self.first[rows]
        before = np.cumsum(size) - size
        return np.arange(size.sum()) + np.repeat(self.first[rows] - before, size), size

"""Tasks of equal scores, and agents of equal scores, found without comparing each with each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.pairs import Pairs

__all__ = ["alike_agents", "alike_tasks"]

_SAMPLE = 256  # rows that tell whether it is worth reading them all
_WORTHWHILE = 4  # rows a group, at least


def alike_tasks(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """Groups of tasks whose scores are equal with every agent.

    Returns
    -------
    tuple or None
        Group of each task, shape (n,), and for each group its first task and its size; None where there are not
        at least 4 tasks a group.
    """
    n = pairs.shape[0]
    rng = np.random.default_rng(0)
    factors = rng.integers(1 << 63, size=pairs.shape[1], dtype=np.uint64) | np.uint64(1)
    sample = rng.choice(n, min(n, _SAMPLE), replace=False)
    if np.unique(_hashes(pairs, sample, factors)).size > sample.size // 2:
        return None
    hashes = np.concatenate([_hashes(pairs, block, factors) for block in pairs.blocks(n)])
    _, first, kind, count = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    if first.size * _WORTHWHILE > n:
        return None
    for block in pairs.blocks(n):  # two rows with one hash need not be equal
        if not np.array_equal(pairs.take(block), pairs.take(first[kind[block]])):
            return None
    return kind, first, count


def alike_agents(pairs: Pairs) -> NDArray[np.int64] | None:
    """The first agent that each agent equals in every score, shape (m,); None where all differ."""
    n, m = pairs.shape
    sample = np.random.default_rng(0).choice(n, min(n, _SAMPLE), replace=False)
    _, first, kind = np.unique(pairs.take(sample), axis=1, return_index=True, return_inverse=True)
    if first.size == m:
        return None
    leader = first[kind]
    is_equal = np.ones(m, dtype=np.bool_)
    for block in pairs.blocks(n):
        scores = pairs.take(block)
        is_equal &= (scores == scores[:, leader]).all(axis=0)
    leader = np.where(is_equal, leader, np.arange(m))
    return None if (leader == np.arange(m)).all() else leader


def _hashes(pairs: Pairs, rows: slice | NDArray[np.int64], factors: NDArray[np.uint64]) -> NDArray[np.uint64]:
    scores = pairs.take(rows).view(np.uint64)
    return np.asarray(((scores ^ (scores >> np.uint64(29))) * factors).sum(axis=1, dtype=np.uint64))

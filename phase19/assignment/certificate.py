"""Proof or refutation of any assignment, from its scores alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.checks import check_pairs
from phase19.assignment.exchanges import least_potentials
from phase19.assignment.pairs import Pairs
from phase19.errors import UsageError, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Certificate", "certify", "dual_bound", "least_prices"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Why an assignment is optimal, or why it is not.

    Attributes
    ----------
    is_optimal
        No assignment within the capacities and the pairs allowed has a larger sum of scores.
    reason
        In words.
    objective
        Sum of the scores; NaN where tasks have agents that do not exist.
    upper_bound
        What no assignment can exceed, found from `prices`; infinity where there are none.
    prices
        Prices that prove it, >= 0, shape (m,); None where it is refuted.
    moves
        Task, its agent and the agent it should move to, for each task of a set of moves that improves it.
    improvement
        What the moves add to the objective.
    """

    is_optimal: bool
    reason: str
    objective: float
    upper_bound: float = np.inf
    prices: NDArray[np.float64] | None = None
    moves: tuple[tuple[int, int, int], ...] = ()
    improvement: float = 0.0


def certify(
    scores: NDArray[np.float64],
    capacity: NDArray[np.int64],
    agent_index: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> Certificate:
    """Prove an assignment optimal, or refute it by moves that improve it.

    Parameters
    ----------
    scores
        Finite scores, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,), >= 0.
    agent_index
        Agent of each task, shape (n,), from any solver.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    Certificate
        The proof or the refutation.

    Raises
    ------
    UsageError
        Shapes or kinds do not match, a score is not finite or a capacity is negative.

    Notes
    -----
    Let w_ab be the least that moving one of a's tasks to b loses. Where no cycle of moves, and no chain of moves
    that ends at an agent with room, loses less than nothing, p_a = -(the least loss of a chain that ends at a) is
    >= 0, is 0 where there is room and obeys p_a <= p_b + w_ab: each task is with its best agent after prices, so
    the assignment is optimal by complementary slackness. These are the least such prices: p_a is what one more
    unit of a's capacity would add. O(n m) and O(m^3) at worst.
    """
    pairs = Pairs(scores, allowed)
    check_pairs(pairs, capacity)
    n, m = scores.shape
    if agent_index.shape != (n,) or agent_index.dtype.kind not in "iu":
        raise UsageError(
            f"assignment: expected agent_index as {n} integers, found {agent_index.dtype} {agent_index.shape}"
        )
    if (outside := np.flatnonzero((agent_index < 0) | (agent_index >= m))).size:
        return Certificate(False, f"task {outside[0]} has no agent among the {m} there are", np.nan)
    own = pairs.at(agent_index)
    objective = float(own.sum())
    if allowed is not None and not (is_kept := allowed[np.arange(n), agent_index]).all():
        task = int(np.argmin(is_kept))
        return Certificate(False, f"task {task} does not allow its agent {agent_index[task]}", objective)
    load = np.bincount(agent_index, minlength=m)
    if (load > capacity).any():
        agent = int(np.argmax(load > capacity))
        return Certificate(
            False,
            f"agent {agent} has {plural(int(load[agent]), 'task')} for a capacity of {capacity[agent]:,}",
            objective,
        )
    loss, before, cycle = _potentials(pairs, agent_index, own)
    gaining = np.flatnonzero((load < capacity) & (loss < 0.0))
    if cycle or gaining.size:
        way = [*cycle, cycle[0]] if cycle else _chain(before, int(gaining[np.argmin(loss[gaining])]))
        moves = tuple(_cheapest_move(pairs, agent_index, giver, receiver) for giver, receiver in pairwise(way))
        gain = float(sum(scores[task, receiver] - scores[task, giver] for task, giver, receiver in moves))
        shape = "cycle" if cycle else "chain"
        return Certificate(
            False,
            f"a {shape} of {plural(len(moves), 'move')} improves it by {gain:.6g}",
            objective,
            moves=moves,
            improvement=gain,
        )
    prices = np.maximum(-loss, 0.0)
    bound = dual_bound(pairs, capacity, prices)
    return Certificate(True, "no moves improve it", objective, bound, prices)


def least_prices(pairs: Pairs, agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """The least prices under which each task of an optimal assignment is with its best agent, shape (m,), >= 0."""
    loss, _, _ = _potentials(pairs, agent_index, pairs.at(agent_index))
    return np.maximum(-loss, 0.0)


def _potentials(
    pairs: Pairs, agent_index: NDArray[np.int64], own: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    steps = pairs.exchanges(np.arange(agent_index.size), agent_index)
    return least_potentials(*steps, largest=float(np.abs(own).max(initial=0.0)))


def dual_bound(pairs: Pairs, capacity: NDArray[np.int64], prices: NDArray[np.float64]) -> float:
    """D(p) = sum_t max_a (S_ta - p_a) + sum_a cap_a p_a, which no assignment exceeds for any p >= 0."""
    n = pairs.shape[0]
    if n == 0:
        return 0.0
    best = np.empty(n)
    for block in pairs.blocks(n):
        best[block] = pairs.less(block, prices).max(axis=1)
    return float(best.sum() + (prices * np.minimum(capacity, n)).sum())


def _chain(before: NDArray[np.int64], end: int) -> list[int]:
    chain = [end]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return chain[::-1]


def _cheapest_move(pairs: Pairs, agent_index: NDArray[np.int64], giver: int, receiver: int) -> tuple[int, int, int]:
    held = np.flatnonzero(agent_index == giver)
    return int(held[np.argmin(pairs.column(held, giver) - pairs.column(held, receiver))]), giver, receiver

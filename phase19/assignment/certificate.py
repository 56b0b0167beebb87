"""Proof or refutation of any assignment, from its scores alone."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.pairs import Pairs, check_problem
from phase19.assignment.shortest_paths import chain_to, shortest_paths
from phase19.errors import UsageError, plural

_ULPS, _SCORE_ULPS = 64.0, 4.0  # rounding errors of a chain of moves, of its largest loss and of the largest score


@dataclass(frozen=True, slots=True)
class Certificate:
    """Why an assignment is optimal, or why it is not.

    Attributes
    ----------
    is_optimal
        No assignment within the capacities and the allowed pairs has a larger sum of scores.
    reason
        In words.
    objective
        Sum of the scores; NaN where tasks have agents that do not exist.
    upper_bound
        A bound that no assignment exceeds, computed from `prices`; infinity where there are none.
    prices
        Prices that prove it, >= 0, shape (m,); None where it is refuted.
    moves
        Task, its agent and the agent it should move to, for each task of a set of moves that improves it.
    improvement
        Increase of the objective by the moves.
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
        Shapes or dtypes do not match, a score is not finite or a capacity is negative.

    Notes
    -----
    Let w_ab be the smallest loss of moving one of a's tasks to b. If no cycle of moves, and no chain of moves that ends
    at an agent with room, has a negative loss, p_a = -(the smallest loss of a chain that ends at a) is >= 0, is 0 where
    there is room and obeys p_a <= p_b + w_ab: each task is with its best agent after prices, so the assignment is
    optimal by complementary slackness. These are the smallest such prices: p_a is the gain from one more unit of a's
    capacity. O(n m) and O(m^3) at worst.
    """
    pairs = check_problem(scores, capacity, allowed)
    n, m = scores.shape
    if agent_index.shape != (n,) or agent_index.dtype.kind not in "iu":
        raise UsageError(
            f"assignment: expected agent_index as {n} integers, found {agent_index.dtype} {agent_index.shape}"
        )
    if (outside := np.flatnonzero((agent_index < 0) | (agent_index >= m))).size:
        return Certificate(False, f"task {outside[0]} has no agent among the {m} there are", np.nan)
    objective = float(pairs.at(agent_index).sum())
    if allowed is not None and not (is_kept := allowed[np.arange(n), agent_index]).all():
        task = int(np.argmin(is_kept))
        return Certificate(False, f"task {task} does not allow its agent {agent_index[task]}", objective)
    load = np.bincount(agent_index, minlength=m)
    if (load > capacity).any():
        agent = int(np.argmax(load > capacity))
        found = f"agent {agent} has {plural(int(load[agent]), 'task')} for a capacity of {capacity[agent]:,}"
        return Certificate(False, found, objective)
    loss, before, cycle = _cheapest_chains(pairs, agent_index)
    gaining = np.flatnonzero((load < capacity) & (loss < 0.0))
    if cycle or gaining.size:
        path = [*cycle, cycle[0]] if cycle else chain_to(int(gaining[np.argmin(loss[gaining])]), before)
        moves = tuple(_cheapest_move(pairs, agent_index, giver, receiver) for giver, receiver in pairwise(path))
        gain = float(sum(scores[task, receiver] - scores[task, giver] for task, giver, receiver in moves))
        shape = "cycle" if cycle else "chain"
        reason = f"a {shape} of {plural(len(moves), 'move')} improves it by {gain:.6g}"
        return Certificate(False, reason, objective, moves=moves, improvement=gain)
    prices = np.maximum(-loss, 0.0)
    return Certificate(True, "no moves improve it", objective, dual_bound(pairs, capacity, prices), prices)


def least_prices(pairs: Pairs, agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """The smallest prices under which each task of an optimal assignment is with its best agent, shape (m,), >= 0."""
    return np.maximum(-_cheapest_chains(pairs, agent_index)[0], 0.0)


def dual_bound(pairs: Pairs, capacity: NDArray[np.int64], prices: NDArray[np.float64]) -> float:
    """D(p) = sum_t max_a (S_ta - p_a) + sum_a cap_a p_a, which no assignment exceeds for any p >= 0."""
    n = pairs.shape[0]
    best = np.empty(n)
    for block in pairs.blocks(n):
        best[block] = pairs.after_prices(block, prices).max(axis=1)
    return float(best.sum() + (prices * np.minimum(capacity, n)).sum())


def _cheapest_chains(
    pairs: Pairs, agent_index: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    """Loss of the cheapest chain of moves that ends at each agent, 0 or less; see `shortest_paths`."""
    used, step = pairs.exchanges(np.arange(agent_index.size), agent_index)
    lost = float(np.abs(step).max(initial=0.0, where=np.isfinite(step)))
    largest = float(np.abs(pairs.at(agent_index)).max(initial=0.0))
    eps = float(np.finfo(np.float64).eps)
    tolerance = max(_ULPS * (eps * lost), _SCORE_ULPS * (eps * largest))  # in this order none overflows
    return shortest_paths(used, step, np.zeros(pairs.shape[1]), tolerance)


def _cheapest_move(pairs: Pairs, agent_index: NDArray[np.int64], giver: int, receiver: int) -> tuple[int, int, int]:
    held = np.flatnonzero(agent_index == giver)
    return int(held[np.argmin(pairs.column(held, giver) - pairs.column(held, receiver))]), giver, receiver

"""Exact assignment of tasks to agents with capacities, and the prices that prove it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from phase19.assignment.certificate import Certificate, certify, dual_bound, least_prices
from phase19.assignment.checks import check_capacity, check_pairs
from phase19.assignment.infeasible import conflict, place_most
from phase19.assignment.pairs import Pairs
from phase19.assignment.transport import transport
from phase19.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Assignment", "Certificate", "certify", "solve"]

_SMALL = 1 << 14  # tasks times slots up to which linear_sum_assignment is the faster one


@dataclass(frozen=True, eq=False)
class Assignment:
    """An optimal assignment of n tasks to m agents; its prices and bound are found when asked for.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,); -1 for a task left out.
    objective
        Sum of the chosen scores.
    algorithm
        `linear_sum_assignment` or `prices_and_paths`.
    """

    agent_index: NDArray[np.int64]
    objective: float
    algorithm: str
    _pairs: Pairs
    _capacity: NDArray[np.int64]
    _chosen: NDArray[np.int64]  # agent of each task, where leaving out is an agent too

    @cached_property
    def prices(self) -> NDArray[np.float64]:
        """What one more unit of each agent's capacity would add to the objective, >= 0, shape (m,).

        The least prices there are. Where tasks are left out, one more unit may place one: no score weighs as much.
        """
        return self._prices[: self._pairs.scores.shape[1]]

    @cached_property
    def upper_bound(self) -> float:
        """Dual bound no assignment can exceed, found from `prices` and the scores alone."""
        bound = dual_bound(self._pairs, self._capacity, self._prices)
        return bound - (self._pairs.opt_out or 0.0) * int((self.agent_index < 0).sum())

    @property
    def gap(self) -> float:
        """Distance to the bound; 0 to rounding."""
        return max(0.0, self.upper_bound - self.objective)

    @cached_property
    def _prices(self) -> NDArray[np.float64]:
        return least_prices(self._pairs, self._chosen)


def solve(
    scores: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
    *,
    allow_unassigned: bool = False,
) -> Assignment:
    """Assign every task to one agent, at most `capacity` tasks an agent, with the largest sum of scores.

    Parameters
    ----------
    scores
        Finite scores, shape (n, m); kept, not copied, for the prices and the bound.
    capacity
        Tasks each agent may take, shape (m,), >= 0.
    allowed
        Pairs that may be used, shape (n, m); all by default.
    allow_unassigned
        Where not all tasks can be placed, leave out as few as possible and then as little score as possible.

    Returns
    -------
    Assignment
        Optimal, and proved so by `upper_bound`. Rows in the order given; equal optima are resolved by row
        order, which the caller fixes by sorting by task id. The number of threads changes nothing.

    Raises
    ------
    UsageError
        Shapes or kinds do not match, a score is not finite or a capacity is negative.
    InfeasibleError
        The capacities or the allowed pairs leave a task without an agent; names tasks and agents in conflict.

    Notes
    -----
    Small problems go to `scipy.optimize.linear_sum_assignment` (Crouse, 2016) on agent columns repeated into slots,
    which is cubic in the tasks; larger ones to :func:`phase19.assignment.transport.transport`, near-linear in them.
    """
    pairs = Pairs(scores, allowed)
    check_pairs(pairs, capacity)
    n = scores.shape[0]
    room = np.where(capacity < n, capacity, n).astype(np.int64)  # more than n is as good as n
    try:
        check_capacity(pairs, room)
    except InfeasibleError as problem:
        if allow_unassigned:
            return _place_most(scores, allowed, room)
        if allowed is None or problem.rows:
            raise
        # Too little in all, and perhaps in a part, which is found from a task of it that is left over unless another
        # task takes its agents. Tasks whose agents have the least room go first, so that hardly any does.
        worth = np.broadcast_to(-(allowed @ room).astype(np.float64)[:, None], scores.shape)
        part = conflict(allowed, room, _place_most(worth, allowed, room).agent_index)
        raise (part if len(part.rows) <= room.sum() else problem) from None
    chosen, algorithm = _assign(pairs, room)
    if allowed is not None and (chosen < 0).any():
        if allow_unassigned:
            return _place_most(scores, allowed, room)
        raise conflict(allowed, room, chosen)
    return Assignment(chosen, float(pairs.at(chosen).sum()), algorithm, pairs, room, chosen)


def _place_most(
    scores: NDArray[np.float64], allowed: NDArray[np.bool_] | None, capacity: NDArray[np.int64]
) -> Assignment:
    """The assignment that leaves out as few tasks as possible, and then as little score."""
    n, m = scores.shape
    pairs, room = Pairs(scores, allowed, opt_out=_opt_out(scores, allowed)), np.append(capacity, n)
    chosen, algorithm = _assign(pairs, room)
    agent_index = np.where(chosen < m, chosen, -1)
    objective = float(np.where(agent_index < 0, 0.0, pairs.at(chosen)).sum())
    return Assignment(agent_index, objective, algorithm, pairs, room, chosen)


def _assign(pairs: Pairs, capacity: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Agent of each task, shape (n,), and the algorithm's name; -1 where pairs allowed do not let all be placed."""
    n, m = pairs.shape
    if _is_small(n, m, int(capacity.sum())):
        return _assign_slots(pairs, capacity), "linear_sum_assignment"
    chosen = transport(pairs, capacity)
    load = np.bincount(chosen, minlength=m)
    if pairs.allowed is not None and (load > capacity).any():
        order = np.argsort(chosen, kind="stable")
        rank = np.arange(n) - (np.cumsum(load) - load)[chosen[order]]
        chosen[order[rank >= capacity[chosen[order]]]] = -1
    return chosen, "prices_and_paths"


def _is_small(n: int, m: int, slots: int) -> bool:
    """Whether tasks x slots is a small matrix, or a smaller one than agents x agents."""
    return n * slots <= max(_SMALL, m * m)


def _assign_slots(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Agent of each task, shape (n,), -1 for those left over, by linear assignment to agents repeated into slots."""
    from scipy.optimize import linear_sum_assignment

    slots = np.arange(capacity.size).repeat(capacity)
    is_plain = pairs.allowed is None and pairs.opt_out is None
    scores = pairs.scores if is_plain else pairs.take(slice(None))
    try:
        return np.asarray(slots[linear_sum_assignment(scores[:, slots], maximize=True)[1]])
    except ValueError:  # no complete assignment uses allowed pairs only
        if pairs.allowed is None:
            raise
        return place_most(pairs.allowed, capacity)


def _opt_out(scores: NDArray[np.float64], allowed: NDArray[np.bool_] | None) -> float:
    """A score so low that no task is left out which could be placed, were it by moving one of every agent's."""
    is_used: NDArray[np.bool_] | bool = True if allowed is None else allowed
    lowest: float = scores.min(initial=np.inf, where=is_used)
    highest: float = scores.max(initial=-np.inf, where=is_used)
    if lowest > highest:
        return -1.0
    with np.errstate(over="ignore"):
        span = max(abs(lowest), abs(highest), highest - lowest) or 1.0
        value = float(lowest - (scores.shape[1] + 1) * span)
        if not np.isfinite(scores.shape[0] * value):
            raise UsageError("assignment: expected finite scores, found scores too large to add up with one left out")
    return value

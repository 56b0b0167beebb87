"""Exact assignment of tasks to agents under capacities, with the prices that prove it optimal."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.certificate import Certificate, certify, dual_bound, least_prices
from phase19.assignment.infeasibility import check_each_task, find_conflict
from phase19.assignment.pairs import Pairs, check_problem
from phase19.assignment.prices import price
from phase19.assignment.shortest_paths import ShortestPathRepair
from phase19.errors import InfeasibleError, UsageError, plural

__all__ = ["Assignment", "Certificate", "certify", "solve"]

_SMALL = 1 << 14  # tasks times slots up to which linear_sum_assignment is faster


@dataclass(frozen=True, eq=False)
class Assignment:
    """An optimal assignment of n tasks to m agents; its prices and bound are computed when asked for.

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
    _chosen: NDArray[np.int64]  # agent of each task, where leaving it out is the last agent
    _opt_out: float = 0.0  # score of leaving a task out

    @cached_property
    def _prices(self) -> NDArray[np.float64]:
        return least_prices(self._pairs, self._chosen)

    @property
    def prices(self) -> NDArray[np.float64]:
        """The smallest prices that prove it: the gain from one more unit of each agent's capacity, >= 0, shape (m,).

        Where tasks are left out, one more unit may place one, which outweighs any score.
        """
        return self._prices[: self._capacity.size - bool(self._opt_out)]

    @cached_property
    def upper_bound(self) -> float:
        """Dual bound that no assignment exceeds, computed from `prices` and the scores alone."""
        bound = dual_bound(self._pairs, self._capacity, self._prices)
        return bound - self._opt_out * int((self.agent_index < 0).sum())

    @property
    def gap(self) -> float:
        """Distance to the bound; 0 to rounding."""
        return max(0.0, self.upper_bound - self.objective)


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
        Shapes or dtypes do not match, a score is not finite or a capacity is negative.
    InfeasibleError
        The capacities or the allowed pairs leave a task without an agent; names tasks and agents in conflict.

    Notes
    -----
    Small problems go to `scipy.optimize.linear_sum_assignment` (Crouse, 2016) on agent columns repeated into slots,
    which is cubic in the tasks. Larger ones are near-linear: prices (:func:`phase19.assignment.prices.price`) leave
    about m/2 tasks over capacity, which cheapest chains of moves then repair
    (:class:`phase19.assignment.shortest_paths.ShortestPathRepair`). Memory beside the scores is O(n + m^2).
    """
    pairs = check_problem(scores, capacity, allowed)
    n, m = scores.shape
    room = np.where(capacity < n, capacity, n).astype(np.int64)  # more than n is as good as n
    try:
        if allowed is not None:
            check_each_task(allowed, room)
        if (total := int(room.sum())) < n:
            found = f"no feasible plan: {plural(n, 'task')} for a total capacity of {total:,} over {plural(m, 'agent')}"
            raise InfeasibleError(found)
        chosen, algorithm = _assign(pairs, room)
    except InfeasibleError as problem:
        if allow_unassigned:
            return _place_most(scores, allowed, room)
        if allowed is None or problem.rows:
            raise
        part = find_conflict(allowed, room)
        raise (part if len(part.rows) <= room.sum() else problem) from None
    return Assignment(chosen, float(pairs.at(chosen).sum()), algorithm, pairs, room, chosen)


def _place_most(
    scores: NDArray[np.float64], allowed: NDArray[np.bool_] | None, capacity: NDArray[np.int64]
) -> Assignment:
    """The assignment that leaves out as few tasks as possible, and then as little score.

    Leaving a task out is one more agent, the last, whose score is so low that no task is left out which could be
    placed, even by moving one of every agent's tasks.
    """
    n, m = scores.shape
    is_used: NDArray[np.bool_] | bool = True if allowed is None else allowed
    lowest = float(scores.min(initial=np.inf, where=is_used))
    highest = float(scores.max(initial=-np.inf, where=is_used))
    opt_out = -1.0
    if lowest <= highest:
        with np.errstate(over="ignore"):
            opt_out = lowest - (m + 1) * (max(abs(lowest), abs(highest), highest - lowest) or 1.0)
            if not np.isfinite(n * opt_out):
                found = "scores too large to add up with one left out"
                raise UsageError(f"assignment: expected finite scores, found {found}")
    pairs = Pairs(
        np.column_stack([scores, np.full(n, opt_out)]),
        None if allowed is None else np.column_stack([allowed, np.ones(n, dtype=np.bool_)]),
    )
    room = np.append(capacity, n)
    chosen, algorithm = _assign(pairs, room)
    agent_index = np.where(chosen < m, chosen, -1)
    objective = float(pairs.at(chosen).sum(where=chosen < m))
    return Assignment(agent_index, objective, algorithm, pairs, room, chosen, opt_out)


def _assign(pairs: Pairs, capacity: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Agent of each task, shape (n,), and the algorithm's name."""
    n, m = pairs.shape
    if _is_small(n, m, int(capacity.sum())):
        return _assign_slots(pairs, capacity), "linear_sum_assignment"
    choices = price(pairs, capacity)
    repair = ShortestPathRepair(pairs, choices.best, choices.prices, capacity)
    repair.run()
    if (repair.surplus > 0).any():
        raise InfeasibleError("no assignment uses allowed pairs only")
    return repair.agent_index, "prices_and_paths"


def _is_small(n: int, m: int, slots: int) -> bool:
    """Whether tasks x slots is a small matrix, or a smaller one than agents x agents."""
    return n * slots <= max(_SMALL, m * m)


def _assign_slots(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64]:
    from scipy.optimize import linear_sum_assignment

    slots = np.arange(capacity.size).repeat(capacity)
    scores = pairs.scores if pairs.allowed is None else pairs.after_prices(slice(None))
    try:
        return np.asarray(slots[linear_sum_assignment(scores[:, slots], maximize=True)[1]])
    except ValueError as problem:
        if pairs.allowed is None:
            raise
        raise InfeasibleError("no assignment uses allowed pairs only") from problem

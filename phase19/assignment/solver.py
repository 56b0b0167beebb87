"""Exact assignment of tasks to agents under capacities, with the prices that prove it optimal."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.infeasibility import conflict_error
from phase19.assignment.pairs import Pairs, best_agents, check_problem
from phase19.assignment.prices import price
from phase19.assignment.shortest_paths import ShortestPathRepair, shortest_paths
from phase19.errors import InfeasibleError, UsageError, plural

_SMALL = 1 << 14  # tasks times slots up to which linear_sum_assignment is faster
_ULPS, _SCORE_ULPS = 64.0, 4.0  # tolerance for a chain of moves, in ulps of its largest loss and of the largest score


@dataclass(frozen=True, eq=False)
class Assignment:
    """An optimal assignment of n tasks to m agents; its prices and bound are computed on first use.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,); -1 for a task left out.
    objective
        Sum of the chosen scores.
    algorithm
        `linear_sum_assignment` or `prices_and_paths`.
    pairs
        Scores and allowed pairs; if tasks are left out, an extra last agent takes them.
    capacity
        Tasks each agent may take, at most n, shape (m,).
    """

    agent_index: NDArray[np.int64]
    objective: float
    algorithm: str
    pairs: Pairs
    capacity: NDArray[np.int64]
    _left_out_score: float

    @cached_property
    def prices(self) -> NDArray[np.float64]:
        """Smallest prices that prove optimality: the gain from one more unit of each capacity, >= 0, shape (m,).

        If tasks are left out, one more unit may place one of them; such a unit's price exceeds every score.

        Notes
        -----
        Let w_ab be the smallest loss of moving one of a's tasks to b, and -p_a the smallest loss of a chain of moves
        that ends at a. Then p_a >= 0, p_a = 0 where there is room, and p_a <= p_b + w_ab: each task is with its best
        agent after prices, so the assignment is optimal by complementary slackness. Time is at most O(n m + m^3).
        """
        n, m = self.pairs.shape
        chosen = np.where(self.agent_index < 0, m - 1, self.agent_index)
        used, step = self.pairs.exchanges(np.arange(n), chosen)
        lost = float(np.abs(step).max(initial=0.0, where=np.isfinite(step)))
        largest = float(np.abs(self.pairs.at(chosen)).max(initial=0.0))
        eps = float(np.finfo(np.float64).eps)
        tolerance = max(_ULPS * (eps * lost), _SCORE_ULPS * (eps * largest))  # this order cannot overflow
        loss, _ = shortest_paths(used, step, np.zeros(m), tolerance)
        return np.maximum(-loss, 0.0)[: self.capacity.size]

    @cached_property
    def upper_bound(self) -> float:
        """Upper bound on the objective, for any prices p >= 0: sum_t max_a (S_ta - p_a) + sum_a cap_a p_a."""
        n, m = self.pairs.shape
        prices = np.append(self.prices, 0.0)[:m]
        with np.errstate(over="ignore", invalid="ignore"):
            best = [float(self.pairs.after_prices(block, prices).max(axis=1).sum()) for block in self.pairs.blocks(n)]
            left_out = self._left_out_score * int((self.agent_index < 0).sum())
            return sum(best) + float((self.prices * self.capacity).sum()) - left_out

    @property
    def gap(self) -> float | None:
        """Upper bound minus objective, at least 0; above 0 only by rounding. None if the bound overflowed."""
        return gap_between(self.upper_bound, self.objective)

    def with_agents(self, agent_index: NDArray[np.int64]) -> "Assignment":
        """Return another assignment of all tasks, with the same prices and bound."""
        other = replace(self, agent_index=agent_index, objective=float(self.pairs.at(agent_index).sum()))
        vars(other).update(prices=self.prices, upper_bound=self.upper_bound)
        return other


def gap_between(upper_bound: float, objective: float) -> float | None:
    """Upper bound minus objective, at least 0; None if one of them overflowed, which proves nothing."""
    gap = upper_bound - objective
    return max(0.0, gap) if np.isfinite(gap) else None


def solve(
    scores: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
    *,
    allow_unassigned: bool = False,
) -> Assignment:
    """Assign every task to one agent, at most `capacity` tasks per agent, with the largest sum of scores.

    Parameters
    ----------
    scores
        Finite scores, shape (n, m). The result refers to this array, so do not change it.
    capacity
        Tasks each agent may take, shape (m,), >= 0.
    allowed
        Pairs that may be used, shape (n, m); all by default.
    allow_unassigned
        If not all tasks can be placed, leave out as few as possible, then maximise the score of the others.

    Returns
    -------
    Assignment
        Optimal, as `upper_bound` proves; tasks in the order of the rows. Among equal optima the order of the rows
        decides, so sort tasks by id for a reproducible result. The number of threads does not matter.

    Raises
    ------
    UsageError
        Shapes or dtypes do not match, a score is not finite or a capacity is negative.
    InfeasibleError
        The capacities or the allowed pairs leave a task without an agent; names tasks and agents in conflict.

    Notes
    -----
    Small problems use `scipy.optimize.linear_sum_assignment` (Crouse, 2016), with one column per slot of an agent. Its
    time is cubic in the tasks. Larger problems take nearly linear time: prices
    (:func:`phase19.assignment.prices.price`) leave about m/2 tasks over capacity, and cheapest chains of moves
    (:class:`phase19.assignment.shortest_paths.ShortestPathRepair`) repair them. The largest sample for the prices
    copies less than half of the scores; other memory is O(n + m^2). Leaving tasks out copies all scores once.
    """
    pairs = check_problem(scores, capacity, allowed)
    n, m = scores.shape
    room = np.where(capacity < n, capacity, n).astype(np.int64)  # more than n is as good as n
    left_out_score, found = 0.0, _assign(pairs, room)
    if found is None and allow_unassigned:
        pairs, left_out_score = _with_tasks_left_out(pairs)
        found = _assign(pairs, np.append(room, n))
    if found is None:
        raise _infeasible(allowed, room, n)
    chosen, algorithm = found
    objective = float(pairs.at(chosen).sum(where=chosen < m))
    return Assignment(np.where(chosen < m, chosen, -1), objective, algorithm, pairs, room, left_out_score)


def _with_tasks_left_out(pairs: Pairs) -> tuple[Pairs, float]:
    """Add a last agent that takes the tasks left out; return the pairs and its score per task.

    The score is so low that placing a task always pays, even if one task of every other agent has to move.
    """
    scores, allowed = pairs.scores, pairs.allowed
    n, m = scores.shape
    is_used: NDArray[np.bool_] | bool = True if allowed is None else allowed
    lowest = float(scores.min(initial=np.inf, where=is_used))
    highest = float(scores.max(initial=-np.inf, where=is_used))
    score = -1.0
    if lowest <= highest:
        with np.errstate(over="ignore"):
            score = lowest - (m + 1) * (max(abs(lowest), abs(highest), highest - lowest) or 1.0)
            if not np.isfinite(n * score):
                found = "scores too large to add up with one left out"
                raise UsageError(f"assignment: expected finite scores, found {found}")
    more = None if allowed is None else np.column_stack([allowed, np.ones(n, dtype=np.bool_)])
    return Pairs(np.column_stack([scores, np.full(n, score)]), more), score


def _infeasible(allowed: NDArray[np.bool_] | None, capacity: NDArray[np.int64], n: int) -> InfeasibleError:
    """Make the error for n tasks that cannot all be placed: name tasks in conflict, or else the total capacity."""
    total = int(capacity.sum())
    if allowed is not None:
        fewest_choices = np.repeat(-allowed.sum(axis=1, keepdims=True).astype(np.float64), capacity.size, axis=1)
        placed = solve(fewest_choices, capacity, allowed, allow_unassigned=True).agent_index
        problem = conflict_error(allowed, capacity, placed)
        if len(problem.rows) <= total or not problem.columns:
            return problem
    return InfeasibleError(
        f"no feasible plan: {plural(n, 'task')} for a total capacity of {total:,} over {plural(capacity.size, 'agent')}"
    )


def _assign(pairs: Pairs, capacity: NDArray[np.int64]) -> tuple[NDArray[np.int64], str] | None:
    """Agent of each task, shape (n,), and the algorithm's name; None where not all tasks can be placed."""
    n, m = pairs.shape
    slots, allowed = int(capacity.sum()), pairs.allowed
    if slots < n or (allowed is not None and not allowed[:, capacity > 0].any(axis=1).all()):
        return None
    if _is_small(n, m, slots):
        chosen = _assign_slots(pairs, capacity)
        return None if chosen is None else (chosen, "linear_sum_assignment")
    best = best_agents(pairs.scores, allowed)
    if (np.bincount(best, minlength=m) <= capacity).all():
        return best, "prices_and_paths"
    choices = price(pairs, capacity)
    repair = ShortestPathRepair(pairs, choices.best, choices.prices, capacity)
    repair.run()
    return None if (repair.surplus > 0).any() else (repair.agent_index, "prices_and_paths")


def _is_small(n: int, m: int, slots: int) -> bool:
    """Whether a matrix of tasks x slots is small, or smaller than one of agents x agents."""
    return n * slots <= max(_SMALL, m * m)


def _assign_slots(pairs: Pairs, capacity: NDArray[np.int64]) -> NDArray[np.int64] | None:
    slots = np.arange(capacity.size).repeat(capacity)
    scores = pairs.scores if pairs.allowed is None else pairs.after_prices(slice(None))
    try:
        return np.asarray(slots[_linear_sum_assignment()(scores[:, slots], maximize=True)[1]])
    except ValueError:  # infeasible: the scores have been checked
        return None


@cache
def _linear_sum_assignment() -> Callable[..., tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """`scipy.optimize.linear_sum_assignment`, if possible without the rest of the package.

    Importing scipy.optimize takes 0.35 s, a fifth of a short run. The function is compiled in a module of its own.
    """
    import scipy

    name = "scipy.optimize._lsap"
    spec = PathFinder.find_spec(name, [f"{scipy.__path__[0]}/optimize"])
    if "scipy.optimize" not in sys.modules and spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        with suppress(ImportError):
            spec.loader.exec_module(module)
        if found := getattr(module, "linear_sum_assignment", None):
            return found  # type: ignore[no-any-return]
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment  # type: ignore[no-any-return]

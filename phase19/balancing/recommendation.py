"""Which of several plans to take: the one rule behind `compare` and `--strategy auto`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.solver import solve
from phase19.forecasting.model import Forecast

INDIFFERENCE = 0.005  # successes a task: one in two hundred
_Z90 = 1.6448536269514722  # 95 % quantile of the standard normal: a 90 % interval
_SAME = 1e-9  # relative; sums that differ by less are equal but for rounding


class Promises(NamedTuple):
    """What k plans for the same tasks promise; arrays of shape (k,).

    Attributes
    ----------
    success_count
        Expected successes.
    makespan_ms
        Makespan, summed over waves; ranks plans as throughput does, which is tasks / makespan.
    retry_count
        Expected retries.
    confidence_delta
        Expected change of confidence, mean or sum over the tasks.
    load_imbalance
        See `load_imbalance`.
    """

    success_count: NDArray[np.float64]
    makespan_ms: NDArray[np.float64]
    retry_count: NDArray[np.float64]
    confidence_delta: NDArray[np.float64]
    load_imbalance: NDArray[np.float64]

    def costs(self) -> NDArray[np.float64]:
        """The measures in the order in which they tell plans apart, less being better, shape (5, k)."""
        return np.array(
            [self.makespan_ms, -self.success_count, self.retry_count, -self.confidence_delta, self.load_imbalance]
        )


def load_imbalance(busy_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficient of variation of the agents' busy time: 0 where all are equally busy, larger the less even.

    Parameters
    ----------
    busy_ms
        Busy time of each agent, idle ones at 0, shape (..., m).

    Returns
    -------
    numpy.ndarray
        Shape (...): population standard deviation over mean; 0 where nobody is busy.
    """
    mean = busy_ms.mean(axis=-1)
    return np.asarray(np.divide(busy_ms.std(axis=-1), mean, out=np.zeros_like(mean), where=mean > 0))


def dominators(promises: Promises) -> NDArray[np.bool_]:
    """Which plans dominate which: at least as good in every measure, and better in one.

    Returns
    -------
    numpy.ndarray
        Shape (k, k); plan j dominates plan i where [i, j] is true.
    """
    costs = promises.costs()
    own, other = costs[:, :, None], costs[:, None, :]
    slack = _SAME * np.maximum(np.abs(own), np.abs(other))
    return np.asarray((other <= own + slack).all(axis=0) & (other < own - slack).any(axis=0))


def recommend(
    promises: Promises,
    task_count: int,
    least_shortfall: Callable[[int], NDArray[np.float64]],
    *,
    floor: float = -np.inf,
) -> int:
    """Recommend one of several plans.

    Parameters
    ----------
    promises
        Of the k plans, in the order in which plans alike in everything are preferred.
    task_count
        Tasks of each plan.
    least_shortfall
        Given the best plan's index, the 5 % quantile of the successes by which each plan falls short of it in the
        same world, shape (k,).
    floor
        Expected successes of the best baseline, in tasks.

    Returns
    -------
    int
        Index of the plan.

    Notes
    -----
    Phase 19 definition. Best is the plan that promises most successes. Another counts as equal where it promises
    fewer by at most one in two hundred tasks, where chance may well make up for that (the 90 % interval of its
    shortfall holds zero), and where it promises the floor if the best does. Of those the one with the shortest
    makespan is taken; then most successes, fewest retries, largest gain of confidence, most even load. Whatever is
    dominated is left out first.

    References
    ----------
    Bechhofer, R. E., A single-sample multiple decision procedure for ranking means of normal populations with known
    variances, 1954: the indifference zone.
    """
    costs = promises.costs()
    alive = ~dominators(promises).any(axis=1)
    success = np.where(alive, promises.success_count, -np.inf)
    best = int(np.argmax(success))
    slack = _SAME * max(task_count, 1)
    equal = (success >= success[best] - INDIFFERENCE * task_count - slack) & (least_shortfall(best) <= slack)
    equal &= success >= min(floor, success[best]) - slack
    equal[best] = True
    return int(np.lexsort(np.where(equal, costs, np.inf)[::-1])[0])


def recommend_wave(
    forecast: Forecast,
    agent_index: NDArray[np.int64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> int:
    """Recommend one of a wave's assignments, by the same rule.

    Parameters
    ----------
    forecast
        Of all pairs, shape (n, m).
    agent_index
        Agent of each task in every assignment, shape (k, n); assignments in the order of preference.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Notes
    -----
    The makespan is that of planned times, end to end. The floor is the better of round robin and the best agents
    first. The shortfall is taken as normal and tasks as independent: a task that two plans give to different agents
    adds p (1 - p) of both to its variance, p being planned success.
    """
    n, m = forecast.planned_success.shape
    row = np.arange(n)
    time = forecast.planned_duration_ms[row, agent_index]
    busy_ms = np.array([np.bincount(own, weights=ms, minlength=m) for own, ms in zip(agent_index, time, strict=True)])
    success = forecast.planned_success[row, agent_index]
    spread = success * (1.0 - success)

    def least_shortfall(best: int) -> NDArray[np.float64]:
        variance = np.where(agent_index != agent_index[best], spread + spread[best], 0.0).sum(axis=1)
        return np.asarray((success[best] - success).sum(axis=1) - _Z90 * np.sqrt(variance))

    promises = Promises(
        success_count=success.sum(axis=1),
        makespan_ms=busy_ms.max(axis=1),
        retry_count=(forecast.planned_attempts[row, agent_index] - 1.0).sum(axis=1),
        confidence_delta=forecast.planned_confidence_delta[row, agent_index].sum(axis=1),
        load_imbalance=load_imbalance(busy_ms),
    )
    first = best_agents_first(forecast.planned_success.sum(axis=0), n, capacity, allowed)
    floor = max(forecast.planned_success.mean(axis=1).sum(), forecast.planned_success[row, first].sum())
    return recommend(promises, n, least_shortfall, floor=float(floor))


def round_robin(n: int, m: int, rotation: int) -> NDArray[np.int64]:
    """Agent of each of n tasks in id order, shape (n,): m agents in turn, beginning with the `rotation`-th.

    Round robin is the mean over all m rotations (Phase 19 definition); it ignores which agents the tasks allow.
    """
    return (np.arange(n) + rotation) % m


def best_agents_first(
    quality: NDArray[np.float64], n: int, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Give the best agent all tasks it may take, the next best all it may take of the rest, and so on.

    Parameters
    ----------
    quality
        How good each agent is overall, shape (m,); the first agent wins ties.
    n
        Tasks, in id order: which tasks an agent gets does not depend on the tasks.
    capacity
        Tasks each agent may take, shape (m,), n or more in all.
    allowed
        Pairs that may be used, shape (n, m); then the sum of the agents' ranks is minimised, which without this limit
        is the same.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,).

    Raises
    ------
    InfeasibleError
        No assignment keeps to the capacity and the allowed pairs.
    """
    order = np.argsort(-quality, kind="stable")
    if allowed is None:
        return np.repeat(order, np.minimum(capacity[order], n))[:n]
    rank = np.argsort(order).astype(np.float64)
    return solve(np.broadcast_to(-rank, (n, order.size)), capacity, allowed).agent_index

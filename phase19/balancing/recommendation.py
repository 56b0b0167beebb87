"""Recommendation of one of several plans: the rule of `compare` and of `--strategy auto`."""

import numpy as np
from numpy.typing import NDArray

from phase19.balancing.local_search import busy_time
from phase19.forecasting.model import Expected

INDIFFERENCE = 0.005  # success rate: half a percentage point
WORTH_MAKESPAN = 0.05  # share of the makespan that must be saved to give up success within the indifference
SAME = 1e-9  # success rates that differ by less count as equal


def recommend(success_rate: NDArray[np.float64], makespan_ms: NDArray[np.float64]) -> int:
    """Recommend one of several plans for the same tasks.

    Parameters
    ----------
    success_rate
        Planned success rate of each plan, shape (k,).
    makespan_ms
        Planned makespan of each plan, shape (k,).

    Returns
    -------
    int
        Index of the plan.

    Notes
    -----
    Phase 19 definition: take the plan with the best success rate, the first if several are equal. Of the plans at most
    half a percentage point below it, take the one with the shortest makespan instead if that is more than 5 % shorter.

    References
    ----------
    Bechhofer, R. E., A single-sample multiple decision procedure for ranking means of normal populations with known
    variances, 1954: the indifference zone.
    """
    most = success_rate.max()
    best = int(np.argmax(success_rate >= most - SAME))
    fastest = int(np.argmin(np.where(success_rate >= most - INDIFFERENCE - SAME, makespan_ms, np.inf)))
    return fastest if makespan_ms[fastest] < (1.0 - WORTH_MAKESPAN) * makespan_ms[best] else best


def recommend_wave(forecast: Expected, agent_index: NDArray[np.int64]) -> int:
    """Recommend one of a wave's assignments, by planned success rate and planned makespan.

    Parameters
    ----------
    forecast
        Forecast of all pairs, shape (n, m).
    agent_index
        Agent of each task in every assignment, shape (k, n).

    Returns
    -------
    int
        Index of the assignment; 0 for a wave without tasks.
    """
    if agent_index.shape[1] == 0:
        return 0
    success = forecast.planned_success[np.arange(agent_index.shape[1]), agent_index].mean(axis=1)
    makespan_ms = np.array([busy_time(forecast.planned_duration_ms, own).max() for own in agent_index])
    return recommend(success, makespan_ms)

"""Which of several plans to take: the one rule behind `compare` and `--strategy auto`."""

import numpy as np
from numpy.typing import NDArray

from phase19.balancing.local_search import busy_time
from phase19.forecasting.model import Expected

INDIFFERENCE = 0.005  # success rate: half a percentage point
_SAME = 1e-9  # success rates that differ by less are equal


def recommend(success_rate: NDArray[np.float64], makespan_ms: NDArray[np.float64]) -> int:
    """Recommend one of several plans for the same tasks.

    Parameters
    ----------
    success_rate
        Planned success rate of each plan, shape (k,).
    makespan_ms
        Planned makespan, shape (k,).

    Returns
    -------
    int
        Index of the plan.

    Notes
    -----
    Phase 19 definition: of the plans that expect at most half a percentage point less success than the best one, the
    one with the shortest makespan; the first of equals.

    References
    ----------
    Bechhofer, R. E., A single-sample multiple decision procedure for ranking means of normal populations with known
    variances, 1954: the indifference zone.
    """
    is_close = success_rate >= success_rate.max() - INDIFFERENCE - _SAME
    return int(np.argmin(np.where(is_close, makespan_ms, np.inf)))


def recommend_wave(forecast: Expected, agent_index: NDArray[np.int64]) -> int:
    """Recommend one of a wave's assignments, by planned success and by planned times, end to end.

    Parameters
    ----------
    forecast
        Of all pairs, shape (n, m).
    agent_index
        Agent of each task in every assignment, shape (k, n).
    """
    if agent_index.shape[1] == 0:
        return 0
    success = forecast.planned_success[np.arange(agent_index.shape[1]), agent_index].mean(axis=1)
    makespan_ms = np.array([busy_time(forecast.planned_duration_ms, own).max() for own in agent_index])
    return recommend(success, makespan_ms)

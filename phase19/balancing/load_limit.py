"""Even loads at nearly the same score, and plans that keep to a limit of the agents' load."""

import numpy as np
from numpy.typing import NDArray

from phase19.balancing.local_search import LocalSearch, Steps, on_grid, total
from phase19.balancing.makespan import minimize_makespan

_ROUNDING = 1e-12  # relative; sums of scores that differ by less are equal
_AT_LIMIT = 1e-9  # relative; a load that exceeds the limit by less is at the limit
_LEAST_FALL = 1e-5  # of the unevenness; a smaller improvement is not worth a step
_LEAST_COST = 1e-2  # of the largest score; a smaller cost counts as this


def adjust_load(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    max_load_factor: float,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Move tasks off agents whose planned time exceeds `max_load_factor` times the mean.

    Parameters
    ----------
    agent_index
        Agent of each task, shape (n,); within the capacities and the allowed pairs.
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,). An agent may exceed the limit still.

    Notes
    -----
    Each step takes the most loaded agent over the limit that can be relieved, and the move or swap that loses least
    score and leaves both agents below its load. Where that ends above the limit, the search starts again from the
    most even loads it finds, from this plan and from the shortest makespan, and gains score within the limit; if that
    ends above the limit too, the first steps' plan is kept.
    """
    largest = float(np.abs(scores).max(initial=0.0)) or 1.0

    def limit() -> float:
        return max_load_factor * float(search.load.mean()) * (1 + _AT_LIMIT)

    def relief(steps: Steps) -> NDArray[np.float64]:
        now = search.load[steps.agent]
        is_relief = (now > limit()) & (np.maximum(steps.agent_after, steps.partner_after) < now)
        return np.where(is_relief, 5.0 * largest + steps.change(scores), 0.0)

    def gain(steps: Steps) -> NDArray[np.float64]:
        is_within = np.maximum(steps.agent_after, steps.partner_after) <= limit()
        return np.where(is_within, steps.change(scores) - _ROUNDING * largest, 0.0)

    search = LocalSearch(on_grid(planned_ms), capacity, allowed, agent_index)
    search.improve(relief)
    found = search.agent_index
    if search.makespan() <= limit():
        return found
    shortest = minimize_makespan(planned_ms, capacity, allowed).agent_index
    for start in (agent_index, shortest):
        even = even_out(start, scores, planned_ms, capacity=capacity, least_score=-np.inf, allowed=allowed)
        search = LocalSearch(on_grid(planned_ms), capacity, allowed, even)
        for worth in (relief, gain, relief):  # a faster agent lowers the mean, and with it the limit
            search.improve(worth)
        if search.makespan() <= limit():
            return search.agent_index
    return found


def even_out(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    least_score: float,
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Make the agents' busy times as even as possible while the scores sum to at least `least_score`.

    Parameters
    ----------
    agent_index
        The first plan, whose scores sum to `least_score` at least, shape (n,).
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    least_score
        Least sum of the scores.
    allowed
        Pairs that may be used, shape (n, m).

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,): a local optimum, whose steps balance the load most for the score that they
        cost.

    Notes
    -----
    With Q the sum of squares of the m busy times and S their sum, the coefficient of variation is
    sqrt(m Q / S^2 - 1); a move or swap changes two terms of each. The unit of time changes nothing.
    """
    least_score -= _ROUNDING * max(1.0, abs(least_score))
    least_cost = _LEAST_COST * float(np.abs(scores).max(initial=0.0)) or 1.0
    search = LocalSearch(on_grid(planned_ms), capacity, allowed, agent_index)

    def balance(steps: Steps) -> NDArray[np.float64]:
        square, time = (search.load**2).sum(), max(search.load.sum(), 1.0)  # the grid's unit, where nothing takes time
        before, partner_before = search.load[steps.agent], search.load[steps.partner]
        time_after = time - before - partner_before + steps.agent_after + steps.partner_after
        square_after = square - before**2 - partner_before**2 + steps.agent_after**2 + steps.partner_after**2
        uneven = square / time**2
        after = square_after / np.maximum(time_after, 1.0) ** 2
        change = steps.change(scores)
        is_kept = (total(scores, search.agent_index) + change >= least_score) & (uneven - after > _LEAST_FALL * uneven)
        return np.where(is_kept, (uneven - after) / np.maximum(-change, least_cost), 0.0)

    search.improve(balance)
    return search.agent_index

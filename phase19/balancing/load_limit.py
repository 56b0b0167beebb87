"""Plans with even loads at nearly the same score, and plans within a limit on the agents' load."""

import numpy as np
from numpy.typing import NDArray

from phase19.balancing.local_search import LocalSearch, Steps, on_grid, total
from phase19.balancing.makespan import minimize_makespan

_ROUNDING = 1e-12  # relative; sums of scores that differ by less count as equal
_AT_LIMIT = 1e-9  # relative; a load above the limit by less than this still meets it
_LEAST_FALL = 1e-5  # smallest relative fall of the unevenness that is worth a step
_LEAST_COST = 1e-2  # share of the largest score; a step that costs less counts as costing this


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
    max_load_factor
        Limit of an agent's planned time, as a multiple of the mean over the agents.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,). An agent may still exceed the limit.

    Notes
    -----
    Each step relieves the most loaded agent above the limit, by the move or swap that loses least score and leaves both
    agents below its load. If the result is still above the limit, the search starts again: it makes the loads of the
    first plan, then those of a plan with a short makespan, as even as possible, and gains score within the limit. If
    neither search meets the limit, the result of the first steps is kept.
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
        Agent of each task in a plan whose scores sum to at least `least_score`, shape (n,).
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    least_score
        Smallest allowed sum of the scores.
    allowed
        Pairs that may be used, shape (n, m); all by default.

    Returns
    -------
    numpy.ndarray
        Agent of each task, shape (n,): a local optimum. Each step of the search gains the most evenness per lost score.

    Notes
    -----
    If Q is the sum of squares of the m busy times and S their sum, the coefficient of variation is sqrt(m Q / S^2 - 1).
    A move or swap changes two terms of each sum. The unit of time does not matter.
    """
    least_score -= _ROUNDING * max(1.0, abs(least_score))
    least_cost = _LEAST_COST * float(np.abs(scores).max(initial=0.0)) or 1.0
    search = LocalSearch(on_grid(planned_ms), capacity, allowed, agent_index)

    def balance(steps: Steps) -> NDArray[np.float64]:
        square, time = (search.load**2).sum(), max(search.load.sum(), 1.0)  # 1 if no task takes time
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

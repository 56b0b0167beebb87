"""A plan with a short makespan, the time of its busiest agent, and a bound that no plan goes below."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.solver import Assignment, solve
from phase19.balancing.local_search import LocalSearch, Steps, busy_time, on_grid

_CLOSE = 5e-3  # of the bound, from where no other start is tried; no forecast of a duration is as accurate
_ROUNDING = 1e-9  # of the makespan; a bound so close below it is equal
_LEAST_GAIN = 1e-12  # of preference; less is rounding
_SHAKES, _SHAKEN_STEPS = 50, 4
_SHAKEN_PAIRS = 2_500_000  # a wave with more pairs is shaken less often: each time costs about as much
_NO_PRICE = 1e-6
_MOST_PAIRS, _SAMPLED_PAIRS = 50_000, 20_000  # above so many pairs a sample of the tasks gives the first prices
_MOST_REFINEMENTS, _FIRST_LENGTH = 24, 0.1  # the length is a power of an agent's busy time over the mean


@dataclass(frozen=True, eq=False)
class Makespan:
    """A plan of n tasks by m agents and the bound of its makespan.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    makespan_ms, lower_bound_ms
        Of the plan, and a bound that no plan within the capacities and the allowed pairs goes below.
    scores
        -price[a] * planned_ms[t, a] / unit, shape (n, m), where price[a] is the dual price of the agent's time and unit
        the sum of each task's shortest time, divided by m.
    priced
        The best assignment by these scores; it proves the bound.
    """

    agent_index: NDArray[np.int64]
    makespan_ms: float
    lower_bound_ms: float
    scores: NDArray[np.float64]
    priced: Assignment


def minimize_makespan(
    planned_ms: NDArray[np.float64],
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
    preference: NDArray[np.float64] | None = None,
) -> Makespan:
    """Plan a wave so that the busiest agent's time is least.

    Parameters
    ----------
    planned_ms
        Busy time of every pair in ms, >= 0, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.
    preference
        At the end steps are taken that gain preference and make no agent busier, shape (n, m).

    Returns
    -------
    Makespan
        A local optimum.

    Raises
    ------
    InfeasibleError
        No plan keeps to the capacities and the allowed pairs.

    Notes
    -----
    Unrelated machines. A plan's busy times weighted by prices that sum to 1 never exceed its makespan, and the smallest
    such sum is an assignment: a bound, largest at the dual prices of the linear relaxation. The search starts from the
    relaxed shares, in a large wave from the prices, rounded by assignment; moves and swaps relieve the busier of two
    agents. It stops early within half a percent of the bound: no forecast of a duration is as accurate. The unit of
    time changes nothing.

    References
    ----------
    Lenstra, Shmoys, Tardos, Approximation algorithms for scheduling unrelated parallel machines, 1990.
    """
    planned = on_grid(planned_ms)
    usable = planned if allowed is None else np.where(allowed, planned, np.inf)
    quickest, longest = usable.min(axis=1, initial=np.inf), float(planned.max(initial=0.0)) or 1.0
    unit = float(quickest.sum()) / capacity.size or longest
    price, share = _prices(planned / unit, capacity, allowed)
    scores = -price * (planned / unit)
    priced = solve(scores, capacity, allowed)
    bound = max(-priced.upper_bound * unit, float(quickest.max(initial=0.0)))
    start = priced.agent_index if share is None else solve(share, capacity, allowed).agent_index
    preference = np.zeros_like(planned) if preference is None else preference
    plan = _search(LocalSearch(planned, capacity, allowed, start), preference, bound * (1 + _CLOSE)).agent_index
    makespan_ms = float(busy_time(planned_ms, plan).max())
    bound_ms = bound / longest * float(planned_ms.max(initial=0.0))
    lower_bound_ms = bound_ms if bound_ms < makespan_ms * (1 - _ROUNDING) else makespan_ms
    return Makespan(plan, makespan_ms, lower_bound_ms, scores, priced)


def _prices(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Prices of the agents' time, (m,), and the relaxed shares, (n, m), or None unless the linear program was solved.

    In a large wave a sample gives the first prices. Then each round raises the prices of agents that are busier than
    the average and lowers the others. The step grows by a fifth after an improvement; else it halves, and the round
    starts from the best prices again.
    """
    if not planned.any():
        return np.full(capacity.size, 1.0 / capacity.size), None
    if planned.size <= _MOST_PAIRS:
        return _relax(planned, capacity, allowed)
    every = -(-planned.size // _SAMPLED_PAIRS)
    part = None if allowed is None else allowed[::every]
    price, _ = _relax(planned[::every] * every, -(-capacity // every), part)
    best, load, lowest, length = price, np.ones_like(price), np.inf, _FIRST_LENGTH
    for _ in range(_MOST_REFINEMENTS):
        priced = solve(-price * planned, capacity, allowed)
        found = busy_time(planned, priced.agent_index)
        if found.max() < lowest:
            best, load, lowest, length = price, found, float(found.max()), length * 1.2
        else:
            length *= 0.5
        if lowest <= -priced.upper_bound * (1 + _CLOSE):
            break
        price = _rounded(np.maximum(best, _NO_PRICE) * np.maximum(load / load.mean(), _NO_PRICE) ** length)
    return best, None


def _relax(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Minimise the makespan T where tasks may be shared out, by the simplex method of HiGHS; prices and shares.

    min T, such that the shares of a task sum to 1, sum_t planned_ta share_ta <= T and sum_t share_ta <= capacity_a.
    Equal prices and no shares where a sample has no plan within the sampled capacities.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    n, m = planned.shape
    task, agent = np.nonzero(np.ones_like(planned) if allowed is None else allowed)
    pair, one, k = np.arange(task.size), np.ones(task.size), task.size
    of_task = coo_array((one, (task, pair)), shape=(n, k + 1))
    loads_and_counts = coo_array(
        (
            np.concatenate([planned[task, agent], one, -np.ones(m)]),
            (np.concatenate([agent, m + agent, np.arange(m)]), np.concatenate([pair, pair, np.full(m, k)])),
        ),
        shape=(2 * m, k + 1),
    )
    limits = np.concatenate([np.zeros(m), np.minimum(capacity, n)])
    cost = np.append(np.zeros(k), 1.0)
    found = linprog(cost, loads_and_counts.tocsc(), limits, of_task.tocsc(), np.ones(n), method="highs-ds")
    if found.x is None or found.ineqlin.marginals[:m].sum() == 0.0:
        return np.full(m, 1.0 / m), None
    share = np.zeros((n, m))
    share[task, agent] = found.x[:-1]
    return _rounded(-found.ineqlin.marginals[:m]), share.round(6)


def _rounded(price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prices that sum to 1, rounded so that identical agents tie exactly on every CPU."""
    price = np.where(price < _NO_PRICE, 0.0, price.round(9))
    return np.asarray(price / price.sum())


def _search(start: LocalSearch, preference: NDArray[np.float64], enough: float) -> LocalSearch:
    """Relieve the busiest agents, then shake the plan until its makespan is short enough.

    To shake is to take random steps, relieve again, and continue from there if the makespan is no longer.

    References
    ----------
    Lourenço, Martin, Stützle, Iterated local search, 2003.
    """
    best = start
    _relieve(best, preference, enough)
    rng = np.random.default_rng(0)
    for _ in range(min(_SHAKES, _SHAKEN_PAIRS // max(best.planned.size, 1))):
        if best.makespan() <= enough:
            break
        trial = LocalSearch(best.planned, best.capacity, best.allowed, best.agent_index)
        agents = [int(np.argmax(trial.load)), *rng.integers(trial.load.size, size=_SHAKEN_STEPS - 1).tolist()]
        for agent in agents:
            steps = trial.steps(agent)
            if (places := np.flatnonzero(steps.is_possible)).size:
                trial.take(steps, int(rng.choice(places)))
        _relieve(trial, preference, enough)
        best = min(trial, best, key=LocalSearch.makespan)
    return best


def _relieve(search: LocalSearch, preference: NDArray[np.float64], enough: float) -> None:
    """Relieve the busier of two agents by the best step, the busiest first; then gain preference for free."""

    def relief(steps: Steps) -> NDArray[np.float64]:
        before = np.maximum(search.load[steps.agent], search.load[steps.partner])
        least = _CLOSE * search.load.mean() if search.makespan() <= enough else 0.0
        return np.asarray(before - np.maximum(steps.agent_after, steps.partner_after) - least)

    def gain(steps: Steps) -> NDArray[np.float64]:
        is_free = (steps.agent_after <= search.load[steps.agent]) & (steps.partner_after <= search.load[steps.partner])
        return np.where(is_free, steps.change(preference) - _LEAST_GAIN, 0.0)

    search.improve(relief)
    search.improve(gain)

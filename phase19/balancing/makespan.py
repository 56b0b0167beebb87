"""Plans with a short makespan (the time of the busiest agent), and a lower bound on the makespan of any plan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.assignment.solver import Assignment, solve
from phase19.balancing.local_search import LocalSearch, Steps, busy_time, on_grid
from phase19.balancing.ties import share_ties

_CLOSE = 5e-3  # relative distance to the bound at which the search stops; no duration forecast is as accurate
_ROUNDING = 1e-9  # relative; a bound this close to the makespan counts as equal
_LEAST_GAIN = 1e-12  # of preference; smaller gains are rounding
_SHAKES, _SHAKEN_STEPS = 50, 4  # most perturbations of a plan, and random steps of each
_SHAKEN_PAIRS = 2_500_000  # pairs times perturbations, so that larger waves take about as long
_NO_PRICE = 1e-6  # smaller prices are 0
_MOST_PAIRS, _SAMPLED_PAIRS = 50_000, 20_000  # with more pairs, a sample gives the first prices
_MOST_REFINEMENTS, _FIRST_LENGTH = 24, 0.1  # most price updates; exponent of the first


@dataclass(frozen=True, eq=False)
class Makespan:
    """A plan of n tasks for m agents, and a lower bound on its makespan.

    Attributes
    ----------
    agent_index
        Agent of each task, shape (n,).
    makespan_ms, lower_bound_ms
        Makespan of the plan, and lower bound on that of every plan within the capacities and the allowed pairs.
    scores
        -price[a] * planned_ms[t, a] / unit, shape (n, m), where price[a] is the dual price of the agent's time and unit
        is the sum of the tasks' shortest times, divided by m.
    priced
        Assignment with the largest sum of these scores; it proves the bound.
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
    """Plan a wave so that its makespan, the time of the busiest agent, is short.

    Parameters
    ----------
    planned_ms
        Busy time of every pair in ms, >= 0, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.
    preference
        Value of each pair, shape (n, m). Final steps gain preference without making any agent busier.

    Returns
    -------
    Makespan
        A local optimum, unless the search stops early.

    Raises
    ------
    InfeasibleError
        No plan keeps to the capacities and the allowed pairs.

    Notes
    -----
    Scheduling on unrelated machines. If prices sum to 1, a plan's price-weighted sum of busy times is at most its
    makespan. An assignment finds the smallest such sum, which is a lower bound; it is largest at the dual prices of the
    linear relaxation. The search starts from an assignment by the relaxed shares, or by the prices in a large wave.
    Moves and swaps then relieve the busier of two agents. The search stops within half a percent of the bound, because
    no duration forecast is as accurate. The unit of time does not matter.

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
    start = share_ties(priced, planned) if share is None else solve(share, capacity, allowed)
    preference = np.zeros_like(planned) if preference is None else preference
    plan = _search(
        LocalSearch(planned, capacity, allowed, start.agent_index), preference, bound * (1 + _CLOSE)
    ).agent_index
    makespan_ms = float(busy_time(planned_ms, plan).max())
    bound_ms = bound / longest * float(planned_ms.max(initial=0.0))
    lower_bound_ms = bound_ms if bound_ms < makespan_ms * (1 - _ROUNDING) else makespan_ms
    return Makespan(plan, makespan_ms, lower_bound_ms, scores, priced)


def _prices(
    planned: NDArray[np.float64], capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Compute prices of the agents' time, (m,), and relaxed shares, (n, m), None if the wave is large.

    In a large wave, a sample gives the first prices. Each round then raises the prices of agents that are busier than
    the average and lowers the others. After an improvement the exponent of the update grows by a fifth; otherwise it
    halves and the next round starts from the best prices.
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
        priced = share_ties(solve(-price * planned, capacity, allowed), planned)
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
    """Solve the linear relaxation, in which agents may share a task, by the simplex method; return prices and shares.

    min T, such that the shares of a task sum to 1, sum_t planned_ta share_ta <= T and sum_t share_ta <= capacity_a.
    If there is no solution, as for a sample without enough capacity, prices are equal and shares None.
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
    """Scale prices to sum to 1, rounded so that identical agents tie exactly on every CPU."""
    price = np.where(price < _NO_PRICE, 0.0, price.round(9))
    return np.asarray(price / price.sum())


def _search(start: LocalSearch, preference: NDArray[np.float64], enough: float) -> LocalSearch:
    """Relieve the busiest agents, then perturb the plan until its makespan is at most `enough`.

    A perturbation takes random steps and relieves again. The search continues from the result if the makespan is not
    longer.

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
    """Shorten the time of the busier of two agents, the busiest first; then gain preference at no cost in time."""

    def relief(steps: Steps) -> NDArray[np.float64]:
        before = np.maximum(search.load[steps.agent], search.load[steps.partner])
        least = _CLOSE * search.load.mean() if search.makespan() <= enough else 0.0
        return np.asarray(before - np.maximum(steps.agent_after, steps.partner_after) - least)

    def gain(steps: Steps) -> NDArray[np.float64]:
        is_free = (steps.agent_after <= search.load[steps.agent]) & (steps.partner_after <= search.load[steps.partner])
        return np.where(is_free, steps.change(preference) - _LEAST_GAIN, 0.0)

    # Where most agents are idle, their own steps would take most of the time and only repeat those of busy agents.
    skip_idle = search.load.size > search.agent_index.size
    search.improve(relief, skip_idle=skip_idle)
    search.improve(gain, skip_idle=skip_idle)

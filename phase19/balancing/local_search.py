"""Search among plans: every plan of a small wave, single moves and swaps of tasks in a larger one."""

from collections.abc import Callable
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST_PLANS = 20_000  # listed within some milliseconds; a wave of 7 tasks on 7 agents of capacity 1 has 5,040
_MOST_TASKS = 512  # tasks of one agent that a step considers; among more, nearly always one fits
_FEW_TASKS = 500
_MOST_SEEN = 20_000_000  # steps, a second or two
_MOST_SHAKEN = 2_000_000
_SHAKES, _SHAKEN_STEPS = 100, 4
_WORSE = 0.02  # how much worse a plan may be from which the search continues
_NONE = -1


def every_plan(
    n: int, capacity: NDArray[np.int64], allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64] | None:
    """List the plans of n tasks that keep to the capacities, (m,), and the allowed pairs, (n, m).

    Returns
    -------
    numpy.ndarray or None
        Agent of each task, shape (k, n), in lexicographic order; None where there are too many to list.
    """
    m = capacity.size
    plans, count = np.zeros((1, 0), dtype=np.int64), np.zeros((1, m), dtype=np.int64)
    for task in range(n):
        room = count < capacity
        if allowed is not None:
            room &= allowed[task]
        plan, agent = np.nonzero(room)
        if plan.size > _MOST_PLANS:
            return None
        plans = np.column_stack([plans[plan], agent])
        count = count[plan]
        count[np.arange(plan.size), agent] += 1
    return plans


def total(values: NDArray[np.float64], plans: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the pairs' values, (n, m), over each plan, (..., n), shape (...)."""
    return np.asarray(values[np.arange(values.shape[0]), plans].sum(axis=-1))


def busy_time(planned: NDArray[np.float64], plans: NDArray[np.int64]) -> NDArray[np.float64]:
    """Busy time of each agent in each plan, (..., n), shape (..., m), where task i takes `planned[i, plan[i]]`."""
    n, m = planned.shape
    time = planned[np.arange(n), plans]
    if plans.ndim == 1:
        return np.bincount(plans, weights=time, minlength=m).astype(np.float64)
    return np.stack([time.sum(axis=-1, where=plans == agent) for agent in range(m)], axis=-1)


class Neighbours(NamedTuple):
    """Plans in which one agent gives a task away, takes one, or swaps two; shape (r, c) throughout.

    Attributes
    ----------
    agent
        The agent.
    own
        Task it gives, shape (r,); -1 in the last row, for none.
    other
        Task it takes, shape (c,); -1 in the last columns, for none.
    partner
        Agent it exchanges with, shape (c,).
    is_possible
        Whether capacities and the allowed pairs permit it.
    agent_after, partner_after
        Busy time of the two afterwards.
    """

    agent: int
    own: NDArray[np.int64]
    other: NDArray[np.int64]
    partner: NDArray[np.int64]
    is_possible: NDArray[np.bool_]
    agent_after: NDArray[np.float64]
    partner_after: NDArray[np.float64]

    def change(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change of the sum of `values`, (n, m), over the plan, shape (r, c)."""
        agent, partner = _exchange(values, self.agent, self.own, self.other, self.partner)
        return agent + partner


class LocalSearch:
    """A plan that changes step by step, and its loads.

    Parameters
    ----------
    planned
        Busy time of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); None for all.
    agent_index
        The first plan, shape (n,); copied.
    """

    def __init__(
        self,
        planned: NDArray[np.float64],
        capacity: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None,
        agent_index: NDArray[np.int64],
    ) -> None:
        self.planned, self.capacity, self.allowed = planned, capacity, allowed
        self.agent_index = agent_index.copy()
        self.load = busy_time(planned, agent_index)
        self.count = np.bincount(agent_index, minlength=capacity.size)
        self.seen_count = 0

    def copy(self) -> "LocalSearch":
        """A search that starts from the same plan."""
        twin = copy(self)
        twin.agent_index, twin.load, twin.count = self.agent_index.copy(), self.load.copy(), self.count.copy()
        return twin

    def neighbours(self, agent: int, among: NDArray[np.bool_] | None = None) -> Neighbours:
        """Plans one step of an agent away, with the partners in `among`, shape (m,), all by default."""
        own = np.flatnonzero(self.agent_index == agent)
        own = own[:: own.size // _MOST_TASKS + 1]
        is_partner = np.arange(self.load.size) != agent
        if among is not None:
            is_partner &= among
        other = np.flatnonzero(is_partner[self.agent_index])
        other = other[:: other.size // (_MOST_TASKS * 32) + 1]
        idle = np.flatnonzero(is_partner)
        partner = np.concatenate([self.agent_index[other], idle])
        own, other = np.append(own, _NONE), np.concatenate([other, np.full(idle.size, _NONE)])
        is_possible = np.ones((own.size, other.size), dtype=bool)
        if self.allowed is not None:
            is_possible[:-1] = self.allowed[own[:-1]][:, partner]
            is_possible &= self.allowed[other, agent] | (other == _NONE)
        is_possible[:, other == _NONE] &= self.count[idle] < self.capacity[idle]
        is_possible[-1] &= (self.count[agent] < self.capacity[agent]) & (other != _NONE)
        self.seen_count += is_possible.size
        left, right = _exchange(self.planned, agent, own, other, partner)
        return Neighbours(agent, own, other, partner, is_possible, self.load[agent] + left, self.load[partner] + right)

    def take(self, near: Neighbours, place: int) -> None:
        """Take the step at a place of the flattened neighbours."""
        row, column = divmod(place, near.other.size)
        partner = near.partner[column]
        if near.own[row] != _NONE:
            self.agent_index[near.own[row]] = partner
        if near.other[column] != _NONE:
            self.agent_index[near.other[column]] = near.agent
        self.load[near.agent] = near.agent_after[row, column]
        self.load[partner] = near.partner_after[row, column]
        change = int(near.other[column] != _NONE) - int(near.own[row] != _NONE)
        self.count[near.agent] += change
        self.count[partner] -= change

    def take_best(
        self, near: Neighbours, is_kept: NDArray[np.bool_], worth: NDArray[np.float64], least: float = -np.inf
    ) -> int | None:
        """Take the step of largest worth among those kept, if it is worth more than `least`; return its place."""
        worth = np.where(near.is_possible & is_kept, worth, -np.inf)
        place = int(np.argmax(worth)) if worth.size else 0
        if not worth.size or worth.flat[place] <= least:
            return None
        self.take(near, place)
        return place

    def few_agents(self, load: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The agents of least `load`, as many as have some hundreds of tasks between them, shape (m,)."""
        order = np.argsort(load, kind="stable")
        among = np.zeros(order.size, dtype=bool)
        among[order[: 1 + int(np.searchsorted(np.cumsum(self.count[order] + 1), _FEW_TASKS))]] = True
        return among


def _exchange(
    values: NDArray[np.float64],
    agent: int,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    partner: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change of the agent's and of the partner's sum of values in every step, shape (r, c) each."""
    given = np.where(own == _NONE, 0.0, values[own, agent])
    taken = np.where(other == _NONE, 0.0, values[other, agent])
    freed = np.where(other == _NONE, 0.0, values[other, partner])
    placed = values[own][:, partner]
    placed[own == _NONE] = 0.0
    return taken - given[:, None], placed - freed


def relieve(search: LocalSearch, enough: float) -> LocalSearch:
    """Take steps that relieve the busiest agent, each the one that leaves its two agents least busy at most.

    Parameters
    ----------
    search
        The first plan; changed, and returned.
    enough
        Busy time of the busiest agent at which to stop.

    Notes
    -----
    Ends where no move and no swap relieves the busiest agent without making another as busy, or after some millions of
    steps: a count and no clock, so that the plan does not depend on the machine.
    """
    most_seen = _MOST_SEEN + search.seen_count
    while search.seen_count < most_seen:
        giver = int(np.argmax(search.load))
        if search.load[giver] <= enough or not any(
            _relieve_once(search, giver, among) for among in (search.few_agents(search.load), None)
        ):
            break
    return search


def _relieve_once(search: LocalSearch, giver: int, among: NDArray[np.bool_] | None) -> bool:
    near = search.neighbours(giver, among)
    busier = np.maximum(near.agent_after, near.partner_after)
    return search.take_best(near, busier < search.load[giver], -busier) is not None


def shake(search: LocalSearch, enough: float) -> LocalSearch:
    """Continue where no step relieves the busiest agent: take random steps, relieve again, keep what is no worse.

    Parameters
    ----------
    search
        The first plan.
    enough
        Busy time of the busiest agent at which to stop.

    Returns
    -------
    LocalSearch
        The best plan found.

    References
    ----------
    Lourenço, Martin, Stützle, Iterated local search, 2003.
    """
    rng = np.random.default_rng(0)
    best = current = search
    most_seen = _MOST_SHAKEN + search.seen_count
    for _ in range(_SHAKES):
        if best.load.max() <= enough or current.seen_count >= most_seen:
            break
        trial = current.copy()
        agents = [int(np.argmax(trial.load)), *rng.integers(trial.load.size, size=_SHAKEN_STEPS - 1).tolist()]
        for agent in agents:
            near = trial.neighbours(agent)
            places = np.flatnonzero(near.is_possible)
            if places.size:
                trial.take(near, int(rng.choice(places)))
        relieve(trial, enough)
        is_kept = trial.load.max() <= current.load.max() * (1 + _WORSE)
        current.seen_count = trial.seen_count
        current = trial if is_kept else current
        best = min(best, trial, key=lambda one: float(one.load.max()))
    return best


def improve(
    search: LocalSearch, gain: Callable[[Neighbours], NDArray[np.float64]], limit: float, least: float
) -> LocalSearch:
    """Take the best step of each agent in turn, while one gains more than `least` and keeps both within the limit.

    Parameters
    ----------
    search
        The first plan; changed, and returned.
    gain
        Gain of each step, shape (r, c) of the neighbours.
    limit
        Busy time that no agent may exceed by a step.
    least
        Gain up to which a step is rounding.
    """
    most_seen = _MOST_SEEN + search.seen_count
    is_done = np.zeros(search.load.size, dtype=bool)
    while not is_done.all() and search.seen_count < most_seen:
        agent = int(np.argmin(is_done))
        near = search.neighbours(agent)
        is_kept = (near.agent_after <= limit) & (near.partner_after <= limit)
        place = search.take_best(near, is_kept, gain(near), least)
        if place is None:
            is_done[agent] = True
        else:
            is_done[near.partner[place % near.other.size]] = False
    return search

"""Plans one move or swap away: what they make of the agents' loads."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["LocalSearch", "Neighbours", "busy_time", "few_agents", "improve", "relieve", "shake"]

_MOST_TASKS = 512  # of one agent that a step looks at; with more there is hardly one that does not fit
_FEW_TASKS = 500
_MOST_SEEN = 20_000_000  # steps, a second or two
_MOST_SHAKEN = 2_000_000
_SHAKES, _SHAKEN_STEPS = 100, 4
_WORSE = 0.02  # by how much a plan may be worse that the search goes on from
_NONE = -1


def busy_time(planned: NDArray[np.float64], agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Busy time of each agent, shape (m,), where task i takes `planned[i, agent_index[i]]`."""
    n, m = planned.shape
    return np.bincount(agent_index, weights=planned[np.arange(n), agent_index], minlength=m).astype(np.float64)


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
        Agent it deals with, shape (c,).
    is_possible
        Whether capacities and the pairs allowed permit it.
    agent_after, partner_after
        Busy time of the two thereafter.
    """

    agent: int
    own: NDArray[np.int64]
    other: NDArray[np.int64]
    partner: NDArray[np.int64]
    is_possible: NDArray[np.bool_]
    agent_after: NDArray[np.float64]
    partner_after: NDArray[np.float64]

    def change(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how much the sum of `values`, (n, m), over the plan changes, shape (r, c)."""
        left, right = _exchange(values, self.agent, self.own, self.other, self.partner)
        return left + right


class LocalSearch:
    """A plan that changes step by step, and the loads it makes.

    Parameters
    ----------
    planned
        Busy time of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); all by default.
    agent_index
        The plan to begin with, shape (n,); copied.
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

    def copy(self) -> LocalSearch:
        """The same plan, to try something out on."""
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


def _exchange(
    values: NDArray[np.float64],
    agent: int,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    partner: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Change of the agent's and of the partner's sum of values in every step, shape (r, c) each."""
    given, taken, freed = values[own, agent], values[other, agent], values[other, partner]
    given[own == _NONE] = 0.0
    taken[other == _NONE] = 0.0
    freed[other == _NONE] = 0.0
    placed = values[own][:, partner]
    placed[own == _NONE] = 0.0
    return taken - given[:, None], placed - freed


def relieve(search: LocalSearch, enough: float, most_seen: int = _MOST_SEEN) -> LocalSearch:
    """Take steps that relieve the busiest agent, each the one that leaves its two agents least busy at most.

    Parameters
    ----------
    search
        The plan to begin with; changed, and returned.
    enough
        Busy time of the busiest agent at which to stop.
    most_seen
        Steps to look at in all, about; a count and no clock, so that the plan does not depend on the machine.

    Notes
    -----
    Ends where no move and no swap relieves the busiest agent without making another as busy.
    """
    most_seen += search.seen_count
    while search.seen_count < most_seen:
        giver = int(np.argmax(search.load))
        if search.load[giver] <= enough or not any(
            _relieve_once(search, giver, among) for among in (few_agents(search, search.load), None)
        ):
            break
    return search


def shake(search: LocalSearch, enough: float, most_seen: int = _MOST_SHAKEN) -> LocalSearch:
    """Go on where no step relieves the busiest agent: take some at random, relieve again, keep what is no worse.

    Parameters
    ----------
    search
        The plan to begin with.
    enough, most_seen
        As for `relieve`.

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
    most_seen += search.seen_count
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


def few_agents(search: LocalSearch, rank: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The agents of least rank, as many as have some hundreds of tasks between them, shape (m,)."""
    order = np.argsort(rank, kind="stable")
    among = np.zeros(order.size, dtype=bool)
    among[order[: 1 + int(np.searchsorted(np.cumsum(search.count[order] + 1), _FEW_TASKS))]] = True
    return among


def _relieve_once(search: LocalSearch, giver: int, among: NDArray[np.bool_] | None) -> bool:
    near = search.neighbours(giver, among)
    busiest = np.where(near.is_possible, np.maximum(near.agent_after, near.partner_after), np.inf)
    place = int(np.argmin(busiest))
    if not busiest.size or busiest.flat[place] >= search.load[giver]:
        return False
    search.take(near, place)
    return True


def improve(
    search: LocalSearch,
    gain: Callable[[Neighbours], NDArray[np.float64]],
    limit: float,
    least: float,
    most_seen: int = _MOST_SEEN,
) -> LocalSearch:
    """Take the best step of each agent in turn, while one gains more than `least` and keeps both within the limit.

    Parameters
    ----------
    search
        The plan to begin with; changed, and returned.
    gain
        What each step is worth, shape (r, c) of the neighbours.
    limit
        Busy time that no agent may exceed by a step.
    least
        Gain below which a step is rounding.
    most_seen
        As for `relieve`.
    """
    most_seen += search.seen_count
    is_settled = np.zeros(search.load.size, dtype=bool)
    while not is_settled.all() and search.seen_count < most_seen:
        agent = int(np.argmin(is_settled))
        near = search.neighbours(agent)
        is_kept = near.is_possible & (near.agent_after <= limit) & (near.partner_after <= limit)
        worth = np.where(is_kept, gain(near), -np.inf)
        place = int(np.argmax(worth)) if worth.size else 0
        if worth.size and worth.flat[place] > least:
            search.take(near, place)
            is_settled[near.partner[place % near.other.size]] = False
        else:
            is_settled[agent] = True
    return search

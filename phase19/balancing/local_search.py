"""Local search among plans, by single moves and swaps of tasks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_GRID = 2.0**32  # durations are whole multiples of 2^-32 of the longest, so sums are exact and ties stay ties
_MOST_OWN, _MOST_OTHER = 256, 512  # tasks considered in an agent's steps: of its own, and about of others
_MOST_SEEN = 30_000_000  # steps in a search; a count, because a time limit would make plans depend on the machine
_NONE = -1


def on_grid(planned_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale durations in any unit to whole numbers, the longest to 2^32; shape (n, m)."""
    return np.rint(planned_ms / (float(planned_ms.max(initial=0.0)) or 1.0) * _GRID)


def total(values: NDArray[np.float64], agent_index: NDArray[np.int64]) -> float:
    """Sum the values of pairs, shape (n, m), over a plan, shape (n,)."""
    return float(values[np.arange(agent_index.size), agent_index].sum())


def busy_time(planned: NDArray[np.float64], agent_index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute each agent's busy time, shape (m,), if task i takes `planned[i, agent_index[i]]`."""
    n, m = planned.shape
    time = planned[np.arange(n), agent_index]
    return np.bincount(agent_index, weights=time, minlength=m).astype(np.float64)


class Steps(NamedTuple):
    """Possible steps of one agent: give a task away, take one, or swap two; arrays of shape (r, c) unless stated.

    Attributes
    ----------
    agent
        The agent.
    own
        Task that the agent gives, shape (r,); -1 for none, in the last row.
    other
        Task that the agent takes, shape (c,); -1 for none, in the last columns.
    partner
        Agent that takes the one and gives the other, shape (c,).
    is_possible
        Whether capacities and allowed pairs permit the step.
    agent_after, partner_after
        Busy times of agent and partner after the step.
    """

    agent: int
    own: NDArray[np.int64]
    other: NDArray[np.int64]
    partner: NDArray[np.int64]
    is_possible: NDArray[np.bool_]
    agent_after: NDArray[np.float64]
    partner_after: NDArray[np.float64]

    def change(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute by how much each step changes the plan's sum of `values` (n, m); shape (r, c)."""
        agent, partner = _exchange(values, self.agent, self.own, self.other, self.partner)
        return agent + partner


class LocalSearch:
    """A plan that is improved step by step, and its loads.

    Parameters
    ----------
    planned
        Busy time of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m); None for all.
    agent_index
        Agent of each task in the first plan, shape (n,); copied.
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

    def makespan(self) -> float:
        """Busy time of the busiest agent."""
        return float(self.load.max())

    def steps(self, agent: int) -> Steps:
        """List the steps of an agent: of a busy agent with the least busy ones, of another agent with the busiest.

        If there are many tasks, the steps consider only some partners, and only some tasks of each agent.
        """
        is_busy = self.load[agent] >= self.load.mean()
        order = np.argsort(self.load if is_busy else -self.load, kind="stable")
        order = order[order != agent]
        idle = np.sort(order[: 1 + int(np.searchsorted(np.cumsum(self.count[order]), _MOST_OTHER))])
        own, other = np.flatnonzero(self.agent_index == agent), np.flatnonzero(np.isin(self.agent_index, idle))
        own, other = own[:: own.size // _MOST_OWN + 1], other[:: other.size // (4 * _MOST_OTHER) + 1]
        partner = np.concatenate([self.agent_index[other], idle])
        own, other = np.append(own, _NONE), np.concatenate([other, np.full(idle.size, _NONE)])
        is_possible = np.ones((own.size, other.size), dtype=bool)
        if self.allowed is not None:
            is_possible[:-1] = self.allowed[own[:-1]][:, partner]
            is_possible &= self.allowed[other, agent] | (other == _NONE)
        is_possible[:, other == _NONE] &= self.count[idle] < self.capacity[idle]
        is_possible[-1] &= (self.count[agent] < self.capacity[agent]) & (other != _NONE)
        left, right = _exchange(self.planned, agent, own, other, partner)
        return Steps(agent, own, other, partner, is_possible, self.load[agent] + left, self.load[partner] + right)

    def take(self, steps: Steps, place: int) -> None:
        """Take the step at an index of the flattened steps."""
        row, column = divmod(place, steps.other.size)
        partner = steps.partner[column]
        if steps.own[row] != _NONE:
            self.agent_index[steps.own[row]] = partner
        if steps.other[column] != _NONE:
            self.agent_index[steps.other[column]] = steps.agent
        self.load[steps.agent] = steps.agent_after[row, column]
        self.load[partner] = steps.partner_after[row, column]
        change = int(steps.other[column] != _NONE) - int(steps.own[row] != _NONE)
        self.count[steps.agent] += change
        self.count[partner] -= change

    def improve(self, worth: Callable[[Steps], NDArray[np.float64]], *, skip_idle: bool = False) -> None:
        """Take the best step of the busiest agent that has one, until no agent has a step worth more than 0.

        Parameters
        ----------
        worth
            Worth of each step, shape (r, c).
        skip_idle
            Whether to leave the steps of idle agents to the busy agents, which consider most of them too.

        Notes
        -----
        An agent without such a step is skipped until it takes part in another agent's step, or until all are skipped.
        The search also ends after a fixed number of steps considered.
        """
        seen_count, is_changed = 0, self.agent_index.size > 0
        while is_changed:
            is_changed, is_done = False, (self.load == 0.0) & skip_idle
            while not is_done.all():
                agent = int(np.argmax(np.where(is_done, -1.0, self.load)))
                steps = self.steps(agent)
                seen_count += steps.is_possible.size
                if seen_count > _MOST_SEEN:
                    return
                worths = np.where(steps.is_possible, worth(steps), -np.inf)
                place = int(np.argmax(worths)) if worths.size else 0
                is_done[agent] = not worths.size or worths.flat[place] <= 0.0
                if not is_done[agent]:
                    self.take(steps, place)
                    is_done[steps.partner[place % steps.other.size]] = False
                    is_changed = True


def _exchange(
    values: NDArray[np.float64],
    agent: int,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    partner: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the change of the agent's and of the partner's sum of values in every step, shape (r, c) each."""
    given = np.where(own == _NONE, 0.0, values[own, agent])
    taken = np.where(other == _NONE, 0.0, values[other, agent])
    freed = np.where(other == _NONE, 0.0, values[other, partner])
    placed = values[own][:, partner]
    placed[own == _NONE] = 0.0
    return taken - given[:, None], placed - freed

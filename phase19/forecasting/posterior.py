"""Normal posterior of the predictors of pairs, kept as the factors of a joint model: means, errors and draws."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from phase19.forecasting import Floats, Ints
from phase19.forecasting.joint import JointFit
from phase19.forecasting.products import at, dots, table_dots, times_each

_TINY = 1e-12


class Errors(NamedTuple):
    """Independent errors of the predictors of p pairs, as what one standard deviation of each adds.

    Those of the f coefficients, shape (p, f); of the task's category, (p, 1); of the agent, (p, 1 + K); of the task,
    (p, K); and the pair's own, (p,).
    """

    shared: Floats
    category: Floats
    agent: Floats
    task: Floats
    own: Floats


@dataclass(frozen=True, slots=True)
class KnownPairs:
    """Values of those of n tasks and m agents' pairs that have records.

    Attributes
    ----------
    key
        Index of the task times m plus that of the agent, of each pair, sorted, shape (k,).
    starts
        Index of the first pair of each task, and the number of all pairs, shape (n + 1,).
    agents
        Number m of agents.
    values
        Values of each pair, shape (k, v).
    """

    key: Ints
    starts: Ints
    agents: int
    values: Floats

    @classmethod
    def of(cls, task: Ints, agent: Ints, shape: tuple[int, int], *values: Floats | Ints) -> "KnownPairs":
        """Sort the values of pairs, shape (k,); `shape` is (n, m)."""
        order = np.lexsort((agent, task))
        starts = np.searchsorted(task[order], np.arange(shape[0] + 1))
        sorted_values = np.column_stack(values)[order].astype(np.float64)
        return cls((task * shape[1] + agent)[order], starts, shape[1], sorted_values)

    def put(self, into: Sequence[Floats | Ints], task: Ints, agent: Ints) -> None:
        """Replace the values of pairs that have records, in arrays to whose shape `task` and `agent` broadcast."""
        if task.ndim > 1:  # whole rows: all agents in order
            first = self.starts[task[:, 0]]
            counts = self.starts[task[:, 0] + 1] - first
            here = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            place: tuple[Ints, ...] = (np.repeat(np.arange(len(task)), counts), self.key[here] % self.agents)
        else:
            wanted = task * self.agents + agent
            here = np.searchsorted(self.key, wanted)
            place = (np.flatnonzero(np.append(self.key, -1)[here] == wanted),)
            here = here[place]
        for array, own in zip(into, self.values.T, strict=True):
            array[place] = own[here]


@dataclass(frozen=True, slots=True)
class JointPosterior:
    """Normal posterior of the predictors of the run's n tasks and m agents.

    Attributes
    ----------
    fit
        What tasks and agents have in common.
    known
        Mean and standard deviation of pairs with records.

    Notes
    -----
    Pairs are given by indices: arrays `task` and `agent` of shape (p,), or (t, 1) and (1, m) for all agents in order.
    """

    fit: JointFit[Any]
    known: KnownPairs

    @abstractmethod
    def _without_records(self, mean: Floats, variance: Floats, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Mean and variance of pairs without records, from those of the joint model."""

    @property
    def dimensions(self) -> int:
        """Number K of dimensions of tasks."""
        return int(self.fit.absorbed.shape[1])

    def moments(self, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the predictors of pairs."""
        if task.ndim > 1:
            mean, variance = self.fit.rows(task[:, 0])
        else:
            task, agent = np.broadcast_arrays(task, agent)
            mean, variance = self.fit.mean(task, agent), np.add(*self.fit.variances(task, agent))
        mean, variance = self._without_records(mean, variance, task, agent)
        sd = np.sqrt(variance)
        self.known.put((mean, sd), task, agent)
        return mean, sd

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the predictors of pairs."""
        return self.moments(task, agent)[0]

    def sd(self, task: Ints, agent: Ints) -> Floats:
        """Posterior standard deviation of the predictors of pairs."""
        return self.moments(task, agent)[1]

    def errors(self, task: Ints, agent: Ints, sd: Floats | None = None) -> Errors:
        """Split the posterior of p pairs, whose standard deviation may be given, into independent errors."""
        fit, loading = self.fit, at(self.fit.state.agent[:, 1:], agent)
        sd = self.sd(task, agent) if sd is None else sd
        point = np.column_stack([np.ones(task.size), at(fit.state.task, task)])
        shared = fit.left(task, agent)[:, None] * fit.shared(task)
        of_agent = times_each(point, at(_root(fit.agent_cov), agent))
        of_task = times_each(loading, _root(fit.task_cov(task)))
        found = [shared[:, :-1], shared[:, -1:], of_agent, of_task]
        known = sum(dots(part, part) for part in found)
        # The records of a pair may leave it less uncertain than what it shares with others.
        kept = np.minimum(1.0, sd / np.sqrt(np.maximum(known, _TINY)))[:, None]
        return Errors._make([*(kept * part for part in found), np.sqrt(np.maximum(sd**2 - known, 0.0))])

    def shapes(self, tasks: int) -> list[tuple[int, ...]]:
        """Shapes of the errors of the coefficients, categories, agents, and this many tasks."""
        k, design = self.dimensions, self.fit.design
        return [(design.prior_sd.size,), (design.category_count,), (design.agent_count - 1, 1 + k), (tasks, k)]

    def drawn(self, normals: Sequence[Floats], task: Ints, agent: Ints, place: Ints) -> tuple[Floats, Floats]:
        """Draw the predictors of p pairs without their own errors.

        Parameters
        ----------
        normals
            Standard normals of s draws, each with the shape (*shape, s) of one of :meth:`shapes`.
        task, agent, place
            Indices of the pairs' tasks and agents, and of the tasks among those drawn, shape (p,).

        Returns
        -------
        numpy.ndarray, numpy.ndarray
            Predictors, shape (p, s), and the standard deviation of the pairs' own errors, (p, 1).
        """
        mean, sd = self.moments(task, agent)
        errors, category = self.errors(task, agent, sd), self.fit.design.category[task]
        found = table_dots(errors.shared, normals[0].T)
        found += mean[:, None]
        found += normals[1][category] * errors.category
        for of_each, error, index in ((normals[2], errors.agent, agent), (normals[3], errors.task, place)):
            for dimension, own in enumerate(error.T):
                found += of_each[index, dimension] * own[:, None]
        return found, errors.own[:, None]


def _root(covariance: Floats) -> Floats:
    """Roots of covariances, shape (r, s, s); that of nothing unknown is 0."""
    jitter = _TINY * np.eye(covariance.shape[-1])
    return np.asarray(np.linalg.cholesky(covariance + jitter))

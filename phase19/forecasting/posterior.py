"""Independent errors of a fitted joint model: what pairs of tasks and agents share, and draws of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from phase19.forecasting import Floats, Ints
from phase19.forecasting.joint import JointFit

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
class JointPosterior:
    """Normal posterior of the predictors of all pairs of the run's n tasks and m agents.

    Attributes
    ----------
    center, spread
        Mean and standard deviation of the predictors, shape (n, m).
    shared
        What one standard deviation of each error of the coefficients and of its category adds to a task without
        records, shape (n, f + 1).
    fit
        What tasks and agents have in common.
    agent_root, task_root
        Roots of the covariances of agents and of tasks, shapes (m + 1, 1 + K, 1 + K) and (n, K, K).
    """

    center: Floats
    spread: Floats
    shared: Floats
    fit: JointFit[Any]
    agent_root: Floats
    task_root: Floats

    @property
    def dimensions(self) -> int:
        """Number K of dimensions of tasks."""
        return int(self.task_root.shape[2])

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the predictors of pairs; `task` and `agent` are indices that broadcast."""
        return np.asarray(self.center[task, agent])

    def sd(self, task: Ints, agent: Ints) -> Floats:
        """Posterior standard deviation of the predictors of pairs."""
        return np.asarray(self.spread[task, agent])

    def errors(self, task: Ints, agent: Ints) -> Errors:
        """Split the posterior of p pairs into independent errors; `task` and `agent` have shape (p,)."""
        fit, loading = self.fit, self.fit.state.agent[agent, 1:]
        point = np.column_stack([np.ones(task.size), fit.state.task[task]])
        shared = fit.left(task, agent)[:, None] * self.shared[task]
        of_agent = np.einsum("pi,pij->pj", point, self.agent_root[agent])
        of_task = np.einsum("pi,pij->pj", loading, self.task_root[task])
        found = [shared[:, :-1], shared[:, -1:], of_agent, of_task]
        known, spread = sum((part**2).sum(axis=1) for part in found), self.spread[task, agent]
        # The records of a pair may leave it less uncertain than what it shares with others.
        kept = np.minimum(1.0, spread / np.sqrt(np.maximum(known, _TINY)))[:, None]
        return Errors._make([*(kept * part for part in found), np.sqrt(np.maximum(spread**2 - known, 0.0))])

    def shapes(self, tasks: int) -> list[tuple[int, ...]]:
        """Shapes of the errors of the coefficients, categories, agents, and this many tasks."""
        k, design = self.dimensions, self.fit.design
        return [(design.prior_sd.size,), (design.category_count,), (design.agent_count - 1, 1 + k), (tasks, k)]

    def drawn(self, normals: Sequence[Floats], task: Ints, agent: Ints, place: Ints) -> tuple[Floats, Floats]:
        """Draw the predictors of p pairs without their own errors.

        Parameters
        ----------
        normals
            Standard normals of s draws, each with the shape (s, *shape) of one of :meth:`shapes`.
        task, agent, place
            Indices of the pairs' tasks and agents, and of the tasks among those drawn, shape (p,).

        Returns
        -------
        numpy.ndarray, numpy.ndarray
            Predictors, shape (s, p), and the standard deviation of the pairs' own errors, (p,).
        """
        errors, category = self.errors(task, agent), self.fit.design.category[task]
        away = np.einsum("sf,pf->sp", normals[0], errors.shared) + normals[1][:, category] * errors.category[:, 0]
        away += np.einsum("spk,pk->sp", normals[2][:, agent], errors.agent)
        away += np.einsum("spk,pk->sp", normals[3][:, place], errors.task)
        return self.center[task, agent] + away, errors.own


def root(covariance: Floats) -> Floats:
    """Roots of covariances, shape (r, s, s); that of nothing unknown is 0."""
    jitter = _TINY * np.eye(covariance.shape[-1])
    return np.asarray(np.linalg.cholesky(covariance + jitter))

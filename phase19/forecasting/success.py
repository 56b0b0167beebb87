"""Success: what is believed of it, and the posterior that a fit leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from phase19.forecasting.effects import Effects

__all__ = ["SuccessPosterior", "SuccessPriors"]


@dataclass(frozen=True, slots=True)
class SuccessPriors:
    """What is believed where no records say otherwise; standard deviations are on the log odds.

    `risk_factors` are Phase 17's multipliers of the success rate (LOW, MEDIUM, HIGH; UNKNOWN has none).
    `confidence_slope` stands halfway between ignoring a recorded confidence (0) and taking its log odds at
    its word (1). `agent`, `task`, `category` and `interaction` (an agent's special fields) are the medians of
    log-normal beliefs about how far these differ, `concentration` of how many attempts the model's word about a pair is
    worth; their log standard deviation is `spread`. From `least_attempts` recorded attempts on held-out likelihood
    chooses them, and how far agents' and tasks' concentrations differ is learned: by a log standard deviation whose
    belief is half-normal, of scale `consistency`; both are followed whole from `full_attempts` on. A risk level moves
    no more than a category: it may have been set from the outcomes recorded, which would count twice.
    """

    risk_factors: tuple[float, float, float] = (1.05, 0.95, 0.85)
    risk_sd: float = 0.4
    confidence_slope: float = 0.5
    confidence_slope_sd: float = 0.5
    intercept_sd: float = 0.5
    agent: float = 0.5
    task: float = 0.7
    category: float = 0.4
    interaction: float = 0.3
    concentration: float = 4.0
    consistency: float = 0.5
    spread: float = 1.0
    least_attempts: int = 50
    full_attempts: int = 150

    def trust(self, attempts: int) -> float:
        """How far what so many attempts choose is followed, from 0 to 1: no single attempt turns beliefs over."""
        share = (attempts - self.least_attempts) / (self.full_attempts - self.least_attempts)
        return min(1.0, max(0.0, share))

    def scales(self) -> dict[str, float]:
        """What held-out likelihood chooses, by name, the broadest first: pairs get what the others leave."""
        names = ("agent", "task", "category", "interaction", "concentration")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class SuccessPosterior:
    """Normal posterior of the log odds that a first attempt succeeds.

    The log odds of (task, agent) are agent + features @ coefficients + task + pair, four independent parts.

    Attributes
    ----------
    agent
        Agents' effects, each of shape (m,).
    features
        Shape (n, k): 1, LOW, MEDIUM, HIGH, log odds of the confidence about their centre, what a boost adds to them.
    coefficients, coefficient_root
        Mean of shape (k,), and a root R of their covariance R @ R.T, shape (k, k).
    task
        Tasks' effects beyond their features, their category's included, each of shape (n,).
    pair
        What is particular to a pair, the agent's way with the task's risk and category included; each (n, m).
    scales, chosen_on
        Standard deviations and concentration, by name, and the number of attempts they were chosen on.
    parameters
        The fit's, to start the next one from.
    """

    agent: Effects
    features: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    coefficient_root: NDArray[np.float64]
    task: Effects
    pair: Effects
    scales: Mapping[str, float]
    chosen_on: int
    parameters: NDArray[np.float64]

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of the log odds of pairs; `task` and `agent` are indices that broadcast."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift[task] + self.agent.mean[agent] + self.pair.mean[task, agent])

    def task_log_odds(self) -> NDArray[np.float64]:
        """Posterior mean of the log odds of each task, mean over agents, shape (n,)."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift + (self.agent.mean + self.pair.mean).mean(axis=1))

    def sd(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior standard deviation of the log odds of pairs."""
        shift = ((self.features @ self.coefficient_root) ** 2).sum(axis=1) + self.task.sd**2
        return np.asarray(np.sqrt(shift[task] + self.agent.sd[agent] ** 2 + self.pair.sd[task, agent] ** 2))

    def draw(
        self,
        task: NDArray[np.int64],
        agent: NDArray[np.int64],
        *,
        agent_normals: NDArray[np.float64],
        coefficient_normals: NDArray[np.float64],
        task_normals: NDArray[np.float64],
        pair_normals: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Log odds of pairs in worlds drawn from the posterior.

        Parameters
        ----------
        task, agent
            Indices of the pairs, shape (p,).
        agent_normals, coefficient_normals, task_normals, pair_normals
            Standard normals of shapes (..., m), (..., k), (..., p) and (..., p).

        Returns
        -------
        numpy.ndarray
            Shape (..., p).
        """
        shift = (coefficient_normals @ self.coefficient_root.T) @ self.features[task].T
        known = agent_normals[..., agent] * self.agent.sd[agent] + task_normals * self.task.sd[task]
        return np.asarray(self.mean(task, agent) + shift + known + pair_normals * self.pair.sd[task, agent])

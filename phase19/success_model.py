"""Success: agent rates shrunk by a Beta-Binomial, moved on the log odds by what is known of the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.effects import Effects, fit_concentration, logit, logit_effects, sigmoid, variance_component
from phase19.retries import RETRY_FLOOR, RETRY_PENALTY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.records import Records

__all__ = ["SuccessPosterior", "SuccessPriors", "fit_success"]

_LOGISTIC_NORMAL = (16.0 * np.sqrt(3.0) / (15.0 * np.pi)) ** 2  # Zeger, Liang, Albert (1988), section 3

_CONVERGED = 1e-9  # log odds; far below any output's precision


@dataclass(frozen=True, slots=True)
class SuccessPriors:
    """What is believed where no records say otherwise.

    `risk_factors` are Phase 17's multipliers of the success rate (LOW, MEDIUM, HIGH; UNKNOWN has none).
    `confidence_slope` stands halfway between ignoring a recorded confidence (0) and taking its log odds at
    its word (1). Standard deviations and variances are on the log odds.
    """

    risk_factors: tuple[float, float, float, float] = (1.05, 0.95, 0.85, 1.0)
    risk_sd: float = 0.5
    confidence_slope: float = 0.5
    confidence_slope_sd: float = 0.5
    intercept_sd: float = 0.5
    agent_concentration: float = 20.0
    task_variance: float = 0.25
    pair_variance: float = 0.1
    variance_weight: float = 10.0


@dataclass(frozen=True, slots=True)
class SuccessPosterior:
    """Normal posterior of the log odds that a first attempt succeeds.

    The log odds of (task, agent) are agent + features @ coefficients + task + pair, four independent parts.

    Attributes
    ----------
    agent
        Agents' effects, each of shape (m,).
    features
        Shape (n, k): 1, LOW, MEDIUM, HIGH, log odds of the confidence about their centre.
    coefficients, coefficient_root
        Mean of shape (k,), and a root R of their covariance R @ R.T, shape (k, k).
    task
        Tasks' effects beyond their features, each of shape (n,).
    pair_sd
        Standard deviation of what is particular to a pair.
    """

    agent: Effects
    features: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    coefficient_root: NDArray[np.float64]
    task: Effects
    pair_sd: float

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of the log odds of pairs; `task` and `agent` are indices that broadcast."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift[task] + self.agent.mean[agent])

    def sd(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior standard deviation of the log odds of pairs."""
        shift = ((self.features @ self.coefficient_root) ** 2).sum(axis=1) + self.task.sd**2
        return np.asarray(np.sqrt(shift[task] + self.agent.sd[agent] ** 2 + self.pair_sd**2))

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
        return np.asarray(self.mean(task, agent) + shift + known + pair_normals * self.pair_sd)


def fit_success(records: Records, population_rate: float, priors: SuccessPriors) -> SuccessPosterior:
    """Fit the posterior to the records.

    Everything is fitted on the population-averaged scale first, where a rate is a rate, then carried to the
    scale on which tasks and pairs vary, so that averaging over what is not known gives the rates back.

    Notes
    -----
    O(records) time and memory. Deterministic: sums are taken in the records' order, which the caller fixes.

    References
    ----------
    Zeger, Liang, Albert: Models for longitudinal data: a generalized estimating equation approach, 1988.
    """
    trials, successes = records.agent_trials()
    base, concentration = _population(successes, trials, population_rate, records.population_tasks, priors)
    agent = _agent_rates(successes, trials, base, concentration)

    rate = np.append(agent.mean, logit(base))[records.agent]  # index -1, no agent, is the population
    retried = sigmoid(rate)
    retried = np.minimum(retried, np.maximum(RETRY_FLOOR, retried - RETRY_PENALTY * (records.attempt - 1)))
    offset = logit(retried)
    coefficients, information = _coefficients(records, offset, base, priors)
    offset = offset + records.features @ coefficients

    expected = sigmoid(offset)
    residual, variance = records.outcome - expected, expected * (1.0 - expected)
    marginal = [
        variance_component(group, residual, variance, prior=prior, weight=priors.variance_weight)
        for group, prior in (
            (records.task, priors.task_variance),
            (records.pair, priors.task_variance + priors.pair_variance),
        )
    ]
    # tau^2 on the conditional scale: tau_c^2 = tau_m^2 (1 + c tau_c^2); past 2 the approximation is not to be trusted.
    both = max(marginal)
    conditional = min(both, 2.0) / (1.0 - _LOGISTIC_NORMAL * min(both, 2.0))
    task_variance = conditional * min(1.0, marginal[0] / both) if both > 0 else 0.0
    scale = float(np.sqrt(1.0 + _LOGISTIC_NORMAL * conditional))

    task = logit_effects(records.task, records.outcome, scale * offset, task_variance, records.task_count)
    by_task = np.bincount(records.task, weights=variance)
    design_effect = 1.0 + marginal[0] * float((by_task**2).sum() / by_task.sum()) if by_task.sum() > 0 else 1.0
    precision = information / design_effect + np.diag(1.0 / _prior_sd(priors) ** 2)
    return SuccessPosterior(
        agent=Effects(scale * agent.mean, scale * agent.sd),
        features=records.task_features,
        coefficients=scale * coefficients,
        coefficient_root=scale * np.linalg.inv(np.linalg.cholesky(precision)).T,
        task=Effects(task.mean[: records.task_features.shape[0]], task.sd[: records.task_features.shape[0]]),
        pair_sd=float(np.sqrt(conditional - task_variance)),
    )


def _population(
    successes: NDArray[np.float64],
    trials: NDArray[np.float64],
    population_rate: float,
    population_tasks: float,
    priors: SuccessPriors,
) -> tuple[float, float]:
    """Mean and concentration of the agents' rates: what an agent nothing is known of is likely to do.

    An agent counts by n / (1 + (n - 1) / (concentration + 1)), the inverse of its rate's variance about the mean, so
    that the one with most trials does not speak for all (Kleinman, Proportions with extraneous variance, 1973).
    Without trials the mean is Phase 18's rate, which else counts as one trial.
    """
    margin = 0.5 / (1.0 + max(float(trials.sum()), population_tasks, 1.0))
    if not trials.sum():
        return float(np.clip(population_rate, margin, 1.0 - margin)), priors.agent_concentration
    base, concentration = 0.5, priors.agent_concentration
    for _ in range(3):  # mean and concentration in turn settle in two rounds
        weight = trials / (1.0 + np.maximum(trials - 1.0, 0.0) / (concentration + 1.0))
        rate = np.divide(successes, trials, out=np.zeros_like(trials), where=trials > 0)
        base = float(np.clip((weight @ rate + population_rate) / (weight.sum() + 1.0), margin, 1.0 - margin))
        concentration = fit_concentration(successes, trials, base, prior_median=priors.agent_concentration)
    return base, concentration


def _agent_rates(
    successes: NDArray[np.float64], trials: NDArray[np.float64], base: float, concentration: float
) -> Effects:
    """Agents' log odds: the exact mean and standard deviation of the logit of a Beta posterior."""
    from scipy.special import polygamma, psi

    a, b = base * concentration + successes, (1.0 - base) * concentration + trials - successes
    return Effects(psi(a) - psi(b), np.sqrt(polygamma(1, a) + polygamma(1, b)))


def _prior_sd(priors: SuccessPriors) -> NDArray[np.float64]:
    return np.array([priors.intercept_sd, *[priors.risk_sd] * 3, priors.confidence_slope_sd])


def _coefficients(
    records: Records, offset: NDArray[np.float64], base: float, priors: SuccessPriors
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients by ridge logistic regression about their prior, and the data's information matrix."""
    factors = np.array(priors.risk_factors[:3])
    moved = logit(np.clip(base * factors, 1e-3, 1.0 - 1e-3)) - logit(np.clip(base, 1e-3, 1.0 - 1e-3))
    x = records.features if records.features.size else records.task_features
    centre = float(x[:, 1:4].mean(axis=0) @ moved) if x.size else 0.0
    prior = np.array([-centre, *moved, priors.confidence_slope])
    ridge = np.diag(1.0 / _prior_sd(priors) ** 2)
    coefficients, information = prior.copy(), np.zeros_like(ridge)
    x = records.features
    for _ in range(25):
        p = sigmoid(offset + x @ coefficients)
        information = (x * (p * (1.0 - p))[:, None]).T @ x
        step = np.linalg.solve(information + ridge, x.T @ (records.outcome - p) - ridge @ (coefficients - prior))
        coefficients = coefficients + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < _CONVERGED:
            break
    return coefficients, information

"""Durations and confidence changes: what an attempt takes, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.models.effects import Effects, clipped_normal_mean, normal_effects, variance_component

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.models.records import Records

__all__ = ["DurationPosterior", "DurationPriors", "Gains", "fit_durations", "fit_gains"]

_GRID_SIZE = 200  # points of the residual distribution; its mean is then exact to 0.1 % for log sd below 1
_LEAST_RESIDUALS = 50  # below this the normal distribution knows the tails better than the sample does


@dataclass(frozen=True, slots=True)
class DurationPriors:
    """What is believed where no records say otherwise: variances of the log duration, and a duration."""

    duration_ms: float = 1000.0
    agent_variance: float = 0.1
    task_variance: float = 0.1
    residual_variance: float = 0.25
    variance_weight: float = 10.0


@dataclass(frozen=True, slots=True)
class DurationPosterior:
    """Normal posterior of the log duration of one attempt, and the distribution about it.

    Attributes
    ----------
    level
        Log duration of an average attempt, log ms.
    agent, task
        Effects of shapes (m,) and (n,), log ms.
    residuals
        Sorted equally likely residuals, shape (q,), centred on zero.
    """

    level: float
    agent: Effects
    task: Effects
    residuals: NDArray[np.float64]

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of the log duration of pairs; indices broadcast."""
        return np.asarray(self.level + self.task.mean[task] + self.agent.mean[agent])

    def variance(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior variance of the log duration of pairs, without the residual's."""
        return np.asarray(self.task.sd[task] ** 2 + self.agent.sd[agent] ** 2)

    def expected_ms(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Expected duration of one attempt in ms.

        Notes
        -----
        exp(mean + variance / 2) times the mean of the exponentiated residuals (smearing: Duan, 1983), which
        neither promises the median nor trusts the tail of a fitted normal.
        """
        smear = float(np.exp(self.residuals).mean())
        return np.asarray(np.exp(self.mean(task, agent) + 0.5 * self.variance(task, agent)) * smear)

    def quantile_ms(self, task: NDArray[np.int64], agent: NDArray[np.int64], level: float) -> NDArray[np.float64]:
        """Quantile of the duration of one attempt in ms; the posterior's spread is added in quadrature."""
        from scipy.special import ndtri

        residual = float(np.quantile(self.residuals, level))
        spread = np.sqrt(residual**2 + ndtri(level) ** 2 * self.variance(task, agent))
        return np.asarray(np.exp(self.mean(task, agent) + np.sign(residual) * spread))

    def residual(self, luck: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals of the log duration for uniform luck in (0, 1), by inversion; the shape of `luck`."""
        return np.asarray(self.residuals[(luck * self.residuals.size).astype(np.int64)])

    @property
    def residual_variance(self) -> float:
        """Variance of one attempt's log duration about its forecast."""
        return float(self.residuals.var())


def fit_durations(
    records: Records,
    population_ms: float | None,
    estimated_ms: NDArray[np.float64],
    priors: DurationPriors,
) -> DurationPosterior:
    """Fit the posterior to the records' durations.

    Parameters
    ----------
    records
        Null and zero durations are no record.
    population_ms
        Mean duration that Phase 18's summary states, where it does.
    estimated_ms
        Phase 16's estimate of each task in ms, NaN where there is none, shape (n,); it counts against the
        other estimates, not as an absolute time.

    Notes
    -----
    Log duration = level + agent + task + residual, agents first, each shrunk by its variance component.
    """
    m, n = records.agent_count, estimated_ms.size
    timed = np.isfinite(records.duration_ms) & (records.duration_ms > 0)
    log_ms = np.log(records.duration_ms[timed])
    task, agent = records.task[timed], records.agent[timed]
    fallback = np.log(population_ms or priors.duration_ms) - 0.5 * priors.residual_variance
    level = float(log_ms.mean()) if log_ms.size else float(fallback)

    named = agent >= 0
    residual = log_ms - level
    spread = float(residual.var()) if residual.size > 1 else priors.residual_variance
    ones = np.ones_like(residual)
    between = variance_component(
        agent[named], residual[named], ones[named], prior=priors.agent_variance, weight=priors.variance_weight
    )
    agents = normal_effects(agent[named], residual[named], max(spread - between, 0.1 * spread), between, m)
    agents = _summarised(records, agents, level, priors)
    residual = residual - np.append(agents.mean, 0.0)[agent]

    among = variance_component(task, residual, ones, prior=priors.task_variance, weight=priors.variance_weight)
    within = max(float(residual.var()) - among, 0.05) if residual.size > 1 else priors.residual_variance
    tasks = normal_effects(task, residual, within, among, records.task_count)
    residual = residual - tasks.mean[task]

    estimate = np.log(estimated_ms, out=np.full(n, np.nan), where=estimated_ms > 0)
    relative = np.where(
        np.isnan(estimate), 0.0, estimate - (np.nanmean(estimate) if np.isfinite(estimate).any() else 0.0)
    )
    unseen = tasks.sd[:n] ** 2 / max(among, 1e-12)  # 1 where a task has no records: only then the estimate speaks
    return DurationPosterior(
        level=level,
        agent=agents,
        task=Effects(tasks.mean[:n] + unseen * relative, tasks.sd[:n]),
        residuals=_residual_grid(residual, within, priors),
    )


def _summarised(records: Records, agents: Effects, level: float, priors: DurationPriors) -> Effects:
    """Agents known by their summary: its mean duration, as so many records beside those seen since."""
    told = np.isfinite(records.summary_duration_ms) & (records.summary_trials > 0) & (records.summary_duration_ms > 0)
    if not told.any():
        return agents
    mean, sd = agents.mean.copy(), agents.sd.copy()
    effect = np.log(records.summary_duration_ms[told]) - 0.5 * priors.residual_variance - level
    weight, known = records.summary_trials[told] / priors.residual_variance, 1.0 / sd[told] ** 2
    mean[told] = (weight * effect + known * mean[told]) / (weight + known)
    sd[told] = 1.0 / np.sqrt(weight + known)
    return Effects(mean, sd)


def _residual_grid(residual: NDArray[np.float64], within: float, priors: DurationPriors) -> NDArray[np.float64]:
    from scipy.special import ndtri

    levels = (np.arange(_GRID_SIZE) + 0.5) / _GRID_SIZE
    if residual.size >= _LEAST_RESIDUALS:
        grid = np.quantile(residual, levels)
        # Fitted effects leave residuals too small by the freedom they took: the spread is set to `within`.
        grid = grid * np.sqrt(within / max(float(grid.var()), 1e-12))
    else:
        weight = priors.variance_weight
        variance = (weight * priors.residual_variance + residual.size * within) / (weight + residual.size)
        grid = ndtri(levels) * np.sqrt(variance)
    return np.asarray(grid - grid.mean())


@dataclass(frozen=True, slots=True)
class Gains:
    """Confidence change after a success and after a failure: by agent (m,), its spread, and the population's."""

    success: NDArray[np.float64]
    failure: NDArray[np.float64]
    sd: float
    population_success: float
    population_failure: float

    def after(
        self, succeeded: NDArray[np.bool_], agent: NDArray[np.int64], confidence: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Expected change given the outcome; confidence stays within [0, 1].

        Notes
        -----
        Mean of a normal change whose excess beyond [-c, 1 - c] is cut off, c being the confidence: near 1 a
        typical gain is smaller than the mean gain, since what exceeds 1 is lost.
        """
        mean = np.where(succeeded, self.success[agent], self.failure[agent])
        return clipped_normal_mean(mean, self.sd, -confidence, 1.0 - confidence)


def fit_gains(
    records: Records, population_delta: float | None, population_rate: float, *, weight: float = 5.0
) -> Gains:
    """Fit the mean change after each outcome, agents shrunk to the population by `weight` attempts.

    Without records the changes are Phase 17's size, a loss of 0.02 and a gain that makes the population's
    mean change what Phase 18's summary states (0.05 where it states none).
    """
    told = np.isfinite(records.confidence_delta)
    delta, won, agent = records.confidence_delta[told], records.outcome[told] == 1.0, records.agent[told]
    loss = -0.02
    gain = (
        0.05
        if population_delta is None
        else (population_delta - (1.0 - population_rate) * loss) / max(population_rate, 0.05)
    )
    by_outcome, means = [], []
    for chosen, prior in ((won, gain), (~won, loss)):
        overall = (delta[chosen].sum() + prior) / (chosen.sum() + 1.0)
        means.append(float(overall))
        named = chosen & (agent >= 0)
        count = np.bincount(agent[named], minlength=records.agent_count)
        total = np.bincount(agent[named], weights=delta[named], minlength=records.agent_count)
        by_outcome.append((total + weight * overall) / (count + weight))
    shift = _summary_shift(records, by_outcome[0], by_outcome[1], weight)
    expected = np.where(won, np.append(by_outcome[0], means[0])[agent], np.append(by_outcome[1], means[1])[agent])
    sd = float(np.sqrt(((delta - expected) ** 2).mean())) if delta.size > 1 else 0.0
    return Gains(by_outcome[0] + shift, by_outcome[1] + shift, sd, *means)


def _summary_shift(
    records: Records, success: NDArray[np.float64], failure: NDArray[np.float64], weight: float
) -> NDArray[np.float64]:
    """Agents known by their summary: what its mean change adds to both outcomes, shrunk by `weight` attempts; (m,)."""
    trials, rate = records.summary_trials, records.summary_rate
    missing = records.summary_confidence_delta - (rate * success + (1.0 - rate) * failure)
    return np.where(np.isfinite(missing), missing, 0.0) * trials / (trials + weight)

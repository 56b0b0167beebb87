"""What recorded times say about the log durations of pairs: censored log-normal times of the attempts in each cell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.attempt_times import OutcomeContrast, truncated_normal_moments

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class DurationPriors:
    """Prior variances of the log duration.

    The prior of a variance counts as much as `variance_weight` agents, tasks or pairs, or `kind_weight` risk levels or
    categories. Half of `task_variance` counts if tasks differ by risk level or category too. `loading` is the standard
    deviation of the agents' loadings on tasks, as a share of their mean; its prior counts as `loading_weight` agents.
    The prior of the residual variance counts as much as `residual_weight` attempts. Each agent's is a multiple of it,
    whose prior, 1, counts as `agent_weight` attempts. Log durations of failures and successes differ by Normal(0,
    `outcome_variance`).
    """

    agent_variance: float = 0.1
    risk_variance: float = 0.02
    category_variance: float = 0.03
    interaction_variance: float = 0.02
    task_variance: float = 0.1
    loading: float = 0.3
    pair_variance: float = 0.05
    outcome_variance: float = 0.25
    residual_variance: float = 0.2
    variance_weight: float = 10.0
    kind_weight: float = 2.0
    loading_weight: float = 2.0
    residual_weight: float = 5.0
    agent_weight: float = 10.0


class Spread(NamedTuple):
    """Variances of attempts around the predictors of their cells, and the mean difference of outcomes.

    That of the residuals of failures and successes, shape (2,); that of pairs, as a multiple of successes' residuals;
    each agent's multiple of both, (m,); and by how much the log time of a failure exceeds that of a success.
    """

    residual: Floats
    pair: float
    factor: Floats
    contrast: float

    def of_pairs(self) -> Floats:
        """Variance of each agent's pairs, shape (m,)."""
        return np.asarray(self.pair * self.residual[1] * self.factor)


@dataclass(frozen=True, slots=True)
class TimedCells:
    """Log times of r attempts in c cells of one task and one agent each.

    Attributes
    ----------
    log_ms, is_censored, outcome, cell
        Log time of each attempt, whether it is a lower bound, its outcome (1 for a success), and its cell, shape (r,).
    stated_variance
        Variance of a log time that is the mean of an agent's summary, 0 for an attempt, shape (r,).
    agent
        Agent of each cell, shape (c,).
    priors, spread
        Priors of the variances, and their values at the start.
    is_kept
        Whether these values stay.
    """

    log_ms: Floats
    is_censored: Bools
    outcome: Ints
    cell: Ints
    stated_variance: Floats
    agent: Ints
    priors: DurationPriors
    spread: Spread
    is_kept: bool

    def part(self, keep: Bools) -> Self:
        """Select some of the cells."""
        rows, place = keep[self.cell], np.cumsum(keep) - 1
        names = ("log_ms", "is_censored", "outcome", "stated_variance")
        kept = {name: getattr(self, name)[rows] for name in names}
        return replace(self, **kept, cell=place[self.cell[rows]], agent=self.agent[keep])

    def likelihood(self, scales: Mapping[str, float], left_out: Bools | None) -> "TimeLikelihood":  # noqa: ARG002
        """Return what the times say about the log durations of cells; cells left out do not count."""
        return TimeLikelihood(self, left_out)


class TimeLikelihood:
    """Expected log-likelihood of the times, and the parameters of attempts so far.

    Notes
    -----
    Log time = predictor of the cell + its pair's own effect + shift of the outcome + residual. An attempt that was
    stopped has not shown how it would have ended: it has no shift, the residual variance of successes, and the
    log-likelihood log P(X > limit). Pair effects are fitted with the predictors and eliminated. The variances are
    estimated again at each step by EM, so a fit also maximises their posterior.

    Attributes
    ----------
    spread, contrast
        Variances, and the difference of outcomes.
    pair, pair_variance
        Mean and variance of the pairs' own effects given the predictors, shape (c,).
    """

    def __init__(self, cells: TimedCells, left_out: Bools | None) -> None:
        self.cells, self.spread = cells, cells.spread
        is_attempt = cells.stated_variance == 0.0
        self.weight = (np.ones(cells.cell.size) if left_out is None else ~left_out[cells.cell]) * 1.0
        self.counted = self.weight * is_attempt
        self.kind = np.where(cells.is_censored, 1, cells.outcome)
        finished = np.bincount(cells.outcome, self.counted * ~cells.is_censored, 2)
        code = (finished[::-1] + 1.0) / (finished.sum() + 2.0) * np.array([1.0, -1.0])
        self.contrast = OutcomeContrast(cells.spread.contrast, cells.priors.outcome_variance**0.5, code)
        self.sign = np.where(cells.is_censored | ~is_attempt, 0.0, code[cells.outcome])
        self.pair = self.pair_variance = np.zeros(cells.agent.size)
        self.is_started = False
        self.has_pair = np.where(self._by_cell(~is_attempt) > 0.0, 0.0, 1.0)
        self.effective_count = self._by_cell(self.counted)
        self.has_repeats = (self.effective_count > 1.0) & (self._by_cell(cells.is_censored) == 0.0)

    def expect(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """Compute the weight and the residual of each cell; update all parameters of attempts."""
        if self.is_started:  # the prior's predictors would make all residuals too large
            self._update(mean, variance)
        self.is_started = True
        slope, weight, _ = self._attempts(mean)
        slopes, weights = self._by_cell(slope), self._by_cell(weight)
        own = self._prior()
        self.pair_variance = own / (1.0 + own * weights)
        step = self.pair_variance * (slopes - self.pair / np.maximum(own, _TINY))
        self.pair = self.pair + step
        return weights / (1.0 + own * weights), slopes - weights * step

    def log_likelihood(self, mean: Floats, variance: Floats) -> Floats:
        """Log-likelihood of each attempt by itself, shape (r,), if predictors are normal."""
        from scipy.special import log_ndtr

        cells, own = self.cells, self.pair_variance + self.kept() ** 2 * variance
        sd = np.sqrt(self.variances() + own[cells.cell])
        score = self.residuals(mean) / sd
        finished = -0.5 * (score**2 + np.log(2.0 * np.pi)) - np.log(sd)
        return np.asarray(np.where(cells.is_censored, log_ndtr(-score), finished))

    def kept(self) -> Floats:
        """What the records of a pair leave of an error of its predictor, shape (c,)."""
        own = self._prior()
        return np.where(own > 0.0, self.pair_variance / np.maximum(own, _TINY), np.ones(own.size))

    def _prior(self) -> Floats:
        """Prior variance of the pairs' own effects, shape (c,)."""
        return np.asarray(self.has_pair * self.spread.of_pairs()[self.cells.agent])

    def _by_cell(self, values: Floats | Bools) -> Floats:
        return np.bincount(self.cells.cell, values, self.cells.agent.size).astype(np.float64)

    def variances(self) -> Floats:
        """Residual variance of each attempt, shape (r,)."""
        cells, spread = self.cells, self.spread
        factor = spread.factor[cells.agent[cells.cell]]
        return np.where(cells.stated_variance > 0.0, cells.stated_variance, spread.residual[self.kind] * factor)

    def residuals(self, mean: Floats) -> Floats:
        """Log time of each attempt minus what is expected without a limit, shape (r,)."""
        expected = (mean + self.pair)[self.cells.cell] + self.contrast.mean * self.sign
        return np.asarray(self.cells.log_ms - expected)

    def _attempts(self, mean: Floats) -> tuple[Floats, Floats, Floats]:
        """Slope and negative curvature of the log-likelihood, and expected square of the residual; shape (r,)."""
        variance, residual, stopped = self.variances(), self.residuals(mean), self.cells.is_censored
        slope, weight, square = residual / variance, 1.0 / variance, residual**2
        sd = np.sqrt(variance[stopped])
        score = residual[stopped] / sd
        beyond, left = truncated_normal_moments(score)
        slope[stopped], weight[stopped] = beyond / sd, (1.0 - left) / sd**2
        square[stopped] = (left + beyond**2) * sd**2
        return self.weight * slope, self.weight * weight, square

    def _update(self, mean: Floats, variance: Floats) -> None:
        """Estimate the difference of outcomes and the variances, given the posterior of the predictors."""
        cells, priors, spread = self.cells, self.cells.priors, self.spread
        slope, weight, square = self._attempts(mean)
        information = float(weight @ self.sign**2) + 1.0 / priors.outcome_variance
        step = (float(slope @ self.sign) - self.contrast.mean / priors.outcome_variance) / information
        self.contrast = self.contrast._replace(mean=self.contrast.mean + step, sd=information**-0.5)
        self.spread = spread = spread._replace(contrast=self.contrast.mean)
        if cells.is_kept:
            return
        doubt = self.pair_variance + self.kept() ** 2 * variance
        # What the limit hides of a residual does not move with the predictor.
        square = square + doubt[cells.cell] * np.minimum(weight * self.variances(), 1.0) ** 2
        agent, each, prior = cells.agent[cells.cell], self.counted, priors.residual_weight
        scaled = each * square / spread.factor[agent]
        pooled = (scaled.sum() + prior * priors.residual_variance) / (each.sum() + prior)
        count, total = (np.bincount(self.kind, values, 2) for values in (each, scaled))
        residual = (total + prior * pooled) / (count + prior)
        scaled = each * square / np.maximum(residual[self.kind], _TINY)
        count, total = (np.bincount(agent, values, spread.factor.size) for values in (each, scaled))
        factor = (priors.agent_weight + total) / (priors.agent_weight + count)
        self.spread = spread._replace(residual=residual, pair=self._pair_ratio(slope, weight, variance), factor=factor)

    def _pair_ratio(self, slope: Floats, weight: Floats, variance: Floats) -> float:
        """Estimate the variance of pairs, in those of successes' residuals, from pairs with repeated attempts.

        Notes
        -----
        One step of Fisher scoring: the mean residual of n attempts has the variance of pairs and 1 / n. Without
        repeats, nothing tells pairs from attempts, and the prior stays.
        """
        here, priors = self.has_repeats, self.cells.priors
        scale = self.spread.residual[1] * self.spread.factor[self.cells.agent[here]]
        precision = self._by_cell(weight)[here]
        mean = self._by_cell(slope)[here] / precision + self.pair[here]
        noise = 1.0 / (precision * scale)
        share = (self.spread.pair + noise) ** -2.0
        found = float(share @ ((mean**2 + variance[here]) / scale - noise)) / max(share.sum(), _TINY)
        prior = priors.variance_weight * priors.pair_variance / priors.residual_variance
        return float((prior + share.size * max(found, 0.0)) / (priors.variance_weight + share.size))

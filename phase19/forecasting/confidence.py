"""Expected change of confidence after a success and after a failure, by agent."""

from dataclasses import dataclass

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Grouping, Records

_FAILURE_CHANGE, _SUCCESS_CHANGE = -0.02, 0.05  # without records: Phase 17's sizes
_TINY_SD = 1e-100  # its square, and the inverse of its square, are still numbers


@dataclass(frozen=True, slots=True)
class ConfidenceChanges:
    """Mean change after a success and after a failure by agent, shape (m,), its spread, and the population's means."""

    success: Floats
    failure: Floats
    sd: float
    population_success: float
    population_failure: float

    def expected(self, succeeded: Bools | bool, agent: Ints, confidence: Floats) -> Floats:
        """Expected change after an outcome, such that confidence stays within [0, 1]; arguments broadcast."""
        mean = np.where(succeeded, self.success[agent], self.failure[agent])
        return clipped_normal_mean(mean, self.sd, -confidence, 1.0 - confidence)

    def drawn(self, succeeded: Bools, agent: Ints, confidence: Floats, normals: Floats) -> Floats:
        """Random change after an outcome, from standard normals, such that confidence stays within [0, 1]."""
        change = np.where(succeeded, self.success[agent], self.failure[agent]) + self.sd * normals
        return np.clip(change, -confidence, 1.0 - confidence)


def clipped_normal_mean(mean: Floats, sd: float, low: Floats, high: Floats) -> Floats:
    """Mean of min(max(X, low), high) for normal X; arrays broadcast.

    Notes
    -----
    low P(X < low) + high P(X > high) + mean P(between) + sd (density at low - density at high), in units of sd.
    """
    if sd < _TINY_SD:
        return np.clip(mean, low, high)
    from scipy.special import ndtr

    a, b = (low - mean) / sd, (high - mean) / sd
    below, above = ndtr(a), ndtr(-b)
    density = (np.exp(-0.5 * a**2) - np.exp(-0.5 * b**2)) / np.sqrt(2.0 * np.pi)
    return np.asarray(low * below + high * above + mean * (1.0 - below - above) + sd * density)


def fit_confidence(
    records: Records, population_delta: float | None, population_rate: float, *, weight: float = 5.0
) -> ConfidenceChanges:
    """Fit the mean change after each outcome, agents shrunk to the population by `weight` attempts.

    Notes
    -----
    Without records, the gain after a success makes the population's mean change what Phase 18's summary states. An
    agent judged by its summary changes both its means by what the summary's mean change is off, shrunk alike.
    """
    known = np.isfinite(records.confidence_delta)
    delta, won = records.confidence_delta[known], records.outcome[known] == 1.0
    agent = Grouping(records.agent[known], records.agent_count, "agent")
    gain = _SUCCESS_CHANGE
    if population_delta is not None:
        gain = (population_delta - (1.0 - population_rate) * _FAILURE_CHANGE) / max(population_rate, 0.05)
    by_outcome, means = [], []
    for chosen, prior in ((~won, _FAILURE_CHANGE), (won, gain)):
        # Where confidence is recorded and never changes, a prior mixed in would promise changes that never come.
        means.append(float(delta[chosen].mean()) if chosen.any() else prior)
        by_outcome.append((agent.gather(chosen * delta) + weight * means[-1]) / (agent.gather(chosen * 1.0) + weight))
    expected = np.where(won, *(np.append(by_outcome[i], means[i])[agent.index] for i in (1, 0)))
    sd = float(np.sqrt(((delta - expected) ** 2).mean())) if delta.size > 1 else 0.0
    trials, rate = records.summary_trials, records.summary_rate
    missing = records.summary_confidence_delta - (rate * by_outcome[1] + (1.0 - rate) * by_outcome[0])
    shift = np.where(np.isfinite(missing), missing, 0.0) * trials / (trials + weight)
    return ConfidenceChanges(by_outcome[1] + shift, by_outcome[0] + shift, sd, means[1], means[0])

"""Expected change of confidence after a success and after a failure, by agent."""

from dataclasses import dataclass

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Grouping, Records

_FAILURE_CHANGE, _SUCCESS_CHANGE = -0.02, 0.05  # Phase 17's values, used without records
_FAR_SDS = 7.0  # a bound that is farther moves the mean by less than 1e-13 standard deviations
_TINY_SD = 1e-100  # its square and the inverse of its square are still finite


@dataclass(frozen=True, slots=True)
class ConfidenceChanges:
    """Mean change after a success and after a failure: of each agent, shape (m,), and of the population; and its sd."""

    success: Floats
    failure: Floats
    sd: float
    population_success: float
    population_failure: float

    def expected(self, succeeded: Bools | bool, agent: Ints, confidence: Floats) -> Floats:
        """Compute the expected change after an outcome; confidence stays within [0, 1]; arguments broadcast."""
        mean, low = np.broadcast_arrays(np.where(succeeded, self.success[agent], self.failure[agent]), -confidence)
        found, away = mean.copy(), _FAR_SDS * self.sd
        near = (mean - low < away) | (low + 1.0 - mean < away)
        found[near] = clipped_normal_mean(mean[near], self.sd, low[near], low[near] + 1.0)
        return found

    def drawn(self, succeeded: Bools, agent: Ints, confidence: Floats, normals: Floats) -> Floats:
        """Draw the change after an outcome from standard normals; confidence stays within [0, 1]."""
        change = np.where(succeeded, self.success[agent], self.failure[agent]) + self.sd * normals
        return np.clip(change, -confidence, 1.0 - confidence)


def clipped_normal_mean(mean: Floats, sd: float, low: Floats, high: Floats) -> Floats:
    """Compute the mean of min(max(X, low), high) for normal X; arrays broadcast.

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
    """Fit the mean change of confidence after each outcome.

    Parameters
    ----------
    records
        Recorded attempts.
    population_delta, population_rate
        Mean change and success rate in Phase 18's summary; the change may be None.
    weight
        Number of attempts that the population's mean counts for in each agent's mean.

    Notes
    -----
    Without records, the change after a success is such that the population's mean change is the summary's. For an agent
    with only a summary, both means move by the difference between the summary's mean change and theirs, shrunk alike.
    """
    known = np.isfinite(records.confidence_delta)
    delta, won = records.confidence_delta[known], records.outcome[known] == 1.0
    agent = Grouping(records.agent[known], records.agent_count, "agent")
    gain = _SUCCESS_CHANGE
    if population_delta is not None:
        gain = (population_delta - (1.0 - population_rate) * _FAILURE_CHANGE) / max(population_rate, 0.05)
    by_outcome, means = [], []
    for chosen, prior in ((~won, _FAILURE_CHANGE), (won, gain)):
        # No prior is mixed in: if recorded confidence never changes, it would forecast changes that do not happen.
        means.append(float(delta[chosen].mean()) if chosen.any() else prior)
        by_outcome.append((agent.gather(chosen * delta) + weight * means[-1]) / (agent.gather(chosen * 1.0) + weight))
    expected = np.where(won, *(np.append(by_outcome[i], means[i])[agent.index] for i in (1, 0)))
    sd = float(np.sqrt(((delta - expected) ** 2).mean())) if delta.size > 1 else 0.0
    trials, rate = records.summary_trials, records.summary_rate
    missing = records.summary_confidence_delta - (rate * by_outcome[1] + (1.0 - rate) * by_outcome[0])
    shift = np.where(np.isfinite(missing), missing, 0.0) * trials / (trials + weight)
    return ConfidenceChanges(by_outcome[1] + shift, by_outcome[0] + shift, sd, means[1], means[0])

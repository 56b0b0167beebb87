"""Confidence changes: what an attempt gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.effects import clipped_normal_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.records import Records

__all__ = ["Gains", "fit_gains"]


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
        # Where confidence is recorded and never moves, a belief mixed in would promise changes too small to be any.
        overall = delta[chosen].mean() if chosen.any() else prior
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

"""Durations: what one attempt takes, given who makes it, at what, and whether it succeeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting.attempt_times import AttemptTimes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.attempt_times import TimeTable
    from phase19.forecasting.effects import Effects

__all__ = ["DurationPosterior", "DurationPriors", "DurationSpread", "OutcomeContrast", "PairEffects", "attempt_ms"]


@dataclass(frozen=True, slots=True)
class DurationPriors:
    """What is believed where no records say otherwise: variances of the log duration, and a duration.

    `variance_weight` is the number of agents, tasks or pairs that the belief about their variance is worth,
    `residual_weight` the number of attempts. The first failure and the first success differ by
    Normal(0, `outcome_variance`).
    """

    duration_ms: float = 1000.0
    agent_variance: float = 0.1
    task_variance: float = 0.1
    pair_variance: float = 0.05
    outcome_variance: float = 0.25
    residual_variance: float = 0.2
    variance_weight: float = 10.0
    residual_weight: float = 5.0


class OutcomeContrast(NamedTuple):
    """Log duration of a failure less a success, Normal(mean, sd^2), and its part in each outcome.

    `code` holds the parts of a failure and of a success: one apart, and zero on average over the records.
    """

    mean: float
    sd: float
    code: NDArray[np.float64]

    def shift(self, normal: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        """Log duration after a failure and after a success, less the average attempt's; shape (..., 2)."""
        return np.asarray((self.mean + self.sd * np.asarray(normal))[..., None] * self.code)


class PairEffects(NamedTuple):
    """Posterior of the (task, agent) pairs' own effects: k pairs with records, and all others alike.

    `key` holds task x m + agent in ascending order, `mean` and `sd` the pairs' effects, all of shape (k,).
    """

    key: NDArray[np.int64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    unseen_sd: float
    agent_count: int

    def at(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of pairs; indices broadcast."""
        key = np.asarray(task * self.agent_count + agent)
        if not self.key.size:
            return np.zeros(key.shape), np.full(key.shape, self.unseen_sd)
        place = np.minimum(np.searchsorted(self.key, key), self.key.size - 1)
        is_seen = self.key[place] == key
        return np.where(is_seen, self.mean[place], 0.0), np.where(is_seen, self.sd[place], self.unseen_sd)


class DurationSpread(NamedTuple):
    """How far durations differ, as chosen on `record_count` records: variances of effects and of residuals (2,)."""

    agent: float
    task: float
    pair: float
    residual: NDArray[np.float64]
    record_count: int


@dataclass(frozen=True, slots=True)
class DurationPosterior:
    """Normal posterior of the log duration of one attempt, and the distribution about it.

    Attributes
    ----------
    level
        Log duration of an average attempt, log ms.
    agent, task
        Effects of shapes (m,) and (n,), log ms.
    pair, outcome
        What a pair, and what success or failure adds, log ms.
    residuals
        Sorted equally likely residuals of a failure and of a success, shape (2, q), about zero.
    limit_ms
        Time at which an attempt at a task is stopped, infinite where none ever was, shape (n,).
    table
        Distribution of one attempt's log duration about `mean`.
    spread
        Variances the fit rests on.

    Notes
    -----
    What is forecast is the time an agent *spends*: the latent duration, or the limit where that comes first. The
    effects are those of the latent one, so that an agent often stopped is known to be slow; but limits stand, and
    chances of success were learned under them: a plan of latent durations would promise time nobody is given.
    """

    level: float
    agent: Effects
    task: Effects
    pair: PairEffects
    outcome: OutcomeContrast
    residuals: NDArray[np.float64]
    limit_ms: NDArray[np.float64]
    table: TimeTable
    spread: DurationSpread

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of the log duration of pairs' average attempt; indices broadcast."""
        return np.asarray(self.level + self.task.mean[task] + self.agent.mean[agent] + self.pair.at(task, agent)[0])

    def variance(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior variance of the log duration of pairs, without the outcome's and the residual's."""
        return np.asarray(self.task.sd[task] ** 2 + self.agent.sd[agent] ** 2 + self.pair.at(task, agent)[1] ** 2)

    def times(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> AttemptTimes:
        """Distribution of the time one attempt takes, for pairs whose indices broadcast."""
        return AttemptTimes(
            table=self.table,
            mean=self.mean(task, agent),
            variance=self.variance(task, agent),
            log_limit=np.log(self.limit_ms)[task],
        )

    @property
    def residual_variance(self) -> float:
        """Variance of one attempt's log duration about its forecast, over both outcomes as the records mix them."""
        share = np.abs(self.outcome.code[::-1])
        return float(share @ (self.residuals.var(axis=1) + self.outcome.shift() ** 2))


def attempt_ms(
    log_ms: NDArray[np.float64],
    shift: NDArray[np.float64],
    residuals: NDArray[np.float64],
    limit_ms: NDArray[np.float64],
    *,
    has_succeeded: NDArray[np.bool_],
    luck: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Time each attempt takes in ms; the shape (k, ..., p) of `luck`.

    Parameters
    ----------
    log_ms
        Log duration of the pairs' average attempt, shape (..., p).
    shift
        What a failure and what a success adds, shape (..., 2).
    residuals, limit_ms
        As in :class:`DurationPosterior`, the limit that of the pairs' tasks, shape (p,).
    has_succeeded, luck
        Outcome of each attempt, and uniforms in (0, 1) for its residual, by inversion.
    """
    place = (luck * residuals.shape[1]).astype(np.int64)
    outcome = np.where(has_succeeded, shift[..., 1:], shift[..., :1])
    latent_ms = np.exp(log_ms + outcome + residuals[has_succeeded.astype(np.int64), place])
    return np.asarray(np.minimum(latent_ms, limit_ms))

"""Distribution of the time of one attempt, given its outcome, around the log duration of its pair."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints

_HALVINGS = 10  # bisections: a quantile is exact to 1/2,000 of the distance between the outcomes' quantiles
_FAR_SDS = 30.0  # a limit that is as far as this is never reached
_NEAR_SDS = 6.0  # a limit that is farther stops one attempt in a billion, which is left out
_TINY = 1e-12


class OutcomeContrast(NamedTuple):
    """Log duration of a failure minus that of a success, Normal(mean, sd^2), and its split between the two.

    `code` is the part of a failure and of a success. The parts differ by 1 and average about 0 over the records.
    """

    mean: float
    sd: float
    code: Floats

    def shift(self, normal: Floats | float = 0.0) -> Floats:
        """Log duration of a failure and of a success, minus that of an average attempt; shape (2, ...)."""
        return np.multiply.outer(self.code, self.mean + self.sd * np.asarray(normal))


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """Distribution of the time of one attempt, for pairs in an array of any shape.

    Attributes
    ----------
    mean, sd
        Mean and standard deviation of the log time that a failure and a success take without a limit, shape (2, ...).
        `sd` broadcasts against `mean`.
    limit_ms
        Time at which an attempt is stopped, infinite if never; broadcasts against `mean`.
    smearing, stopped_odds
        As in :class:`Residuals`, shape (2,).

    Notes
    -----
    Let X be log-normal. An attempt that finishes takes X given X < L, any other takes the limit L. By Bayes' rule, the
    odds that an attempt with a known outcome is stopped are P(X > L) / P(X < L) times `stopped_odds`. So a failure
    takes L where only the limit ever made attempts fail, and a success takes less where no stopped attempt succeeded.
    """

    mean: Floats
    sd: Floats
    limit_ms: Floats
    smearing: Floats
    stopped_odds: Floats

    def part(self, *index: Ints) -> "AttemptTimes":
        """Select some pairs by their indices."""
        shape = self.mean.shape
        sd, limit_ms = (np.broadcast_to(part, shape) for part in (self.sd, self.limit_ms))
        mean, sd = (np.stack([outcome[index] for outcome in part]) for part in (self.mean, sd))
        return replace(self, mean=mean, sd=sd, limit_ms=limit_ms[0][index])

    def stopped(self) -> Floats:
        """Probability that a failure and a success are stopped, shape (2, ...)."""
        return self._stopped(self._room(), self._each(self.stopped_odds))

    def expected_ms(self) -> Floats:
        """Expected time of a failed and of a successful attempt [ms], shape (2, ...).

        Notes
        -----
        E(X | X < L) = exp(mean + sd^2 / 2) P(Z < room - sd) / P(Z < room), where room = (log L - mean) / sd and `mean`
        includes `smearing`.
        """
        from scipy.special import log_ndtr

        mean = self.mean + self._each(self.smearing)
        room = (np.log(self.limit_ms) - mean) / self.sd
        found: Floats = np.exp(mean + 0.5 * self.sd**2)
        if (near := np.nonzero(room - self.sd < _NEAR_SDS))[0].size:
            stopped = self._stopped(self._room()[near], self.stopped_odds[near[0]])
            sd, limit_ms = (np.broadcast_to(part, found.shape)[near] for part in (self.sd, self.limit_ms))
            found[near] *= np.exp(log_ndtr(room[near] - sd) - log_ndtr(room[near]))
            found[near] = (1.0 - stopped) * found[near] + stopped * limit_ms
        return found

    def log_moments(self) -> tuple[Floats, Floats]:
        """Mean and variance of the log time of a failed and of a successful attempt, shape (2, ...)."""
        room, stopped = np.minimum(self._room(), _FAR_SDS), self.stopped()
        beyond, share = truncated_normal_moments(-room)
        finished = self.mean - self.sd * beyond
        away = np.where(np.isfinite(self.limit_ms), np.log(self.limit_ms), 0.0) - finished
        return finished + stopped * away, (1.0 - stopped) * (self.sd**2 * share + stopped * away**2)

    def quantiles_ms(self, success_probability: Floats, *levels: float) -> list[Floats]:
        """Quantiles of the time over both outcomes [ms], given the success probability.

        Notes
        -----
        The quantile of the attempts that finish lies between those of the two outcomes, and bisection finds it.
        """
        from scipy.special import log_ndtr, ndtr, ndtri_exp

        below = log_ndtr(self._room())
        share = np.stack([1.0 - success_probability, success_probability]) * (1.0 - self.stopped())
        finished, found = share.sum(axis=0), []
        scale = np.exp(-np.maximum(below, -0.5 * _FAR_SDS**2))
        for level in levels:
            ends = self.mean + self.sd * ndtri_exp(np.log(level / np.maximum(finished, level + _TINY)) + below)
            low, high = ends.min(axis=0), ends.max(axis=0)
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                cdf = np.minimum(ndtr((middle - self.mean) / self.sd) * scale, 1.0)
                is_below = (share * cdf).sum(axis=0) < level
                low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
            found.append(np.where(level >= finished, self.limit_ms, np.exp(0.5 * (low + high))))
        return found

    def drawn_ms(self, is_success: Bools, normals: Floats) -> Floats:
        """Compute the time of attempts [ms] from their outcomes and standard normals, in the shape of both."""
        from scipy.special import log_ndtr, ndtri_exp

        mean, sd = (np.where(is_success, part[1], part[0]) for part in (self.mean, self.sd))
        shift, odds = (np.where(is_success, part[1], part[0]) for part in (self.smearing, self.stopped_odds))
        found: Floats = np.exp(mean + shift + sd * normals)
        if not np.isfinite(self.limit_ms).any():
            return found
        room = (np.log(self.limit_ms) - mean) / sd
        near = np.nonzero(room < _NEAR_SDS)
        limit_ms = np.broadcast_to(self.limit_ms, found.shape)[near]
        mean, sd, room = mean[near] + shift[near], sd[near], room[near]
        # The highest part of the distribution is stopped, the rest has the normal's quantiles below the limit.
        left = 1.0 - self._stopped(room, odds[near])
        rank = log_ndtr(normals[near]) - np.log(np.maximum(left, _TINY))
        below = log_ndtr((np.log(limit_ms) - mean) / sd)
        finished_ms = np.exp(mean + sd * ndtri_exp(np.minimum(rank, 0.0) + below))
        found[near] = np.where(rank < 0.0, finished_ms, limit_ms)
        return np.asarray(np.minimum(found, self.limit_ms))

    @staticmethod
    def _stopped(room: Floats, odds: Floats) -> Floats:
        from scipy.special import expit, log_ndtr

        return np.asarray(expit(np.log(odds) + log_ndtr(-room) - log_ndtr(room)))

    def _room(self) -> Floats:
        """Distance of the limits from the mean, in standard deviations; shape (2, ...)."""
        return np.asarray((np.log(self.limit_ms) - self.mean) / self.sd)

    def _each(self, by_outcome: Floats) -> Floats:
        return by_outcome.reshape(2, *[1] * (self.mean.ndim - 1))


@dataclass(frozen=True, slots=True)
class Residuals:
    """Distribution of the time of attempts around the log duration of their pair.

    Attributes
    ----------
    sd
        Standard deviation of the log times of each agent's failures and successes, shape (2, m).
    smearing
        Correction to the log time of a failure and of a success, log ms, shape (2,). It makes expected and drawn times
        right on average even if they are not log-normal.
    stopped_odds
        Share of failures, and of successes, among stopped attempts divided by that among finished ones, shape (2,).
    limit_ms
        Time at which an attempt at a task is stopped, infinite if never, shape (n,).
    """

    sd: Floats
    smearing: Floats
    stopped_odds: Floats
    limit_ms: Floats

    def times(
        self, log_ms: Floats, shift: Floats, task: Ints, agent: Ints, variance: Floats | float = 0.0
    ) -> AttemptTimes:
        """Distribution of the times of pairs; indices broadcast.

        Parameters
        ----------
        log_ms
            Log duration of an average attempt by each pair.
        shift
            What a failure and a success add, log ms; the first axis is the outcome.
        task, agent
            Indices of the pairs.
        variance
            Variance of `log_ms` and `shift`, which broadcasts against (2, ...).
        """
        return AttemptTimes(
            mean=np.stack([log_ms + shift[0], log_ms + shift[1]]),
            sd=np.sqrt(self.sd[:, agent] ** 2 + variance),
            limit_ms=self.limit_ms[task],
            smearing=self.smearing,
            stopped_odds=self.stopped_odds,
        )


def truncated_normal_moments(limit: Floats) -> tuple[Floats, Floats]:
    """Compute mean and variance of a standard normal that exceeds `limit`, in the shape of `limit`.

    Notes
    -----
    For a limit a, let h = density(a) / P(Z > a), the inverse Mills ratio. The mean is h, the variance 1 - h (h - a).
    """
    from scipy.special import log_ndtr

    hazard = np.exp(-0.5 * limit**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-limit))
    return hazard, np.clip(1.0 - hazard * (hazard - limit), 0.0, 1.0)

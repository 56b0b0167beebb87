"""Time one attempt takes: its mean after each outcome, and its quantiles over both.

A log duration is normal about its forecast, plus a residual out of a sample. Relative to the forecast's mean its
distribution depends on the pair's variance and chance of success alone, so it is tabulated over these two and read
off for every pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AttemptTimes", "TimeTable", "tabulate"]

# Nodes of the table. Between them all is linear: quantiles are off by less than 0.01 in probability (tested).
_TIMES, _SPREADS, _CHANCES = 97, 7, 65
_LEAST_SD = 1e-3
_REACH = 4.0  # standard deviations of the normal part that the table holds; 3e-5 lie beyond


class TimeTable(NamedTuple):
    """Distribution of the log time of one attempt about its pair's mean.

    Attributes
    ----------
    log_time, sd
        Evenly spaced nodes, shapes (z,) and (v,); `sd` is that of a pair's mean.
    below
        Probability of less than a log time after a failure and after a success, shape (2, v, z).
    growth
        Mean of the exponentiated log time after each outcome, for a pair without variance, shape (2,).
    """

    log_time: NDArray[np.float64]
    sd: NDArray[np.float64]
    below: NDArray[np.float64]
    growth: NDArray[np.float64]


def tabulate(
    shift: NDArray[np.float64],
    shift_variance: NDArray[np.float64],
    residuals: NDArray[np.float64],
    highest_variance: float,
) -> TimeTable:
    """Tabulate the distribution for pairs whose variance is between 0 and `highest_variance`.

    Parameters
    ----------
    shift, shift_variance
        Mean and variance of what a failure and what a success adds to the log time, shape (2,).
    residuals
        Equally likely residuals after a failure and after a success, shape (2, q), q even.
    """
    from scipy.special import ndtr

    nodes = np.linspace(0.0, max(np.sqrt(highest_variance), _LEAST_SD), _SPREADS)
    reach = _REACH * np.sqrt(highest_variance + shift_variance.max()) + 10 * _LEAST_SD
    # Two neighbours of a fine sample stand for one point: half the work, and nothing a quantile would show.
    centre = shift[:, None] + residuals.reshape(2, -1, 2).mean(axis=-1)
    log_time = np.linspace(centre.min() - reach, centre.max() + reach, _TIMES)
    sd = np.maximum(np.sqrt(nodes**2 + shift_variance[:, None]), _LEAST_SD)
    gap = log_time[:, None] - centre[:, None, :]
    below = ndtr(gap[:, None] / sd[..., None, None]).mean(axis=-1)
    return TimeTable(log_time, nodes, below, np.exp(shift + 0.5 * shift_variance) * np.exp(residuals).mean(axis=1))


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """Distribution of the time one attempt takes, for pairs of one shape.

    Attributes
    ----------
    table
        The distribution about a pair's mean.
    mean, variance
        Of the log duration of the pairs' average attempt, any shape.
    log_limit
        Log of the time at which an attempt is stopped, infinite for never; broadcast against `mean`.
    """

    table: TimeTable
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    log_limit: NDArray[np.float64]

    def expected_ms(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected time of a failed and of a successful attempt in ms.

        Notes
        -----
        Without limits exp(mean + variance / 2) times the mean of the exponentiated residuals (smearing: Duan, 1983),
        which neither promises the median nor trusts the tail of a fitted normal. A limit L leaves the share
        E min(X, L) / E X of it, with E min(X, L) the integral of P(X > x) up to L.
        """
        average = np.exp(self.mean + 0.5 * self.variance)
        failed, succeeded = average * self.table.growth[0], average * self.table.growth[1]
        if np.isfinite(self.log_limit).any():
            log_time, nodes, below, _ = self.table
            step = (log_time[1] - log_time[0]) * np.exp(log_time) * (1.0 - below)
            upto = np.cumsum(step, axis=-1) - 0.5 * step + np.exp(log_time[0])
            room = _place(np.minimum(self.log_limit - self.mean, log_time[-1]), log_time)
            wide = _place(np.sqrt(self.variance), nodes)
            left = [_read(upto[outcome] / upto[outcome, :, -1:], wide, room) for outcome in (0, 1)]
            # Below the table an attempt is stopped for certain: the limit is what it takes.
            limit_ms = np.exp(self.log_limit)
            failed, succeeded = np.minimum(failed * left[0], limit_ms), np.minimum(succeeded * left[1], limit_ms)
        return failed, succeeded

    def quantiles_ms(self, success_probability: NDArray[np.float64], *levels: float) -> list[NDArray[np.float64]]:
        """Quantiles of the time in ms over both outcomes, given the chance of success."""
        log_time, nodes, below, _ = self.table
        chance = np.linspace(0.0, 1.0, _CHANCES)
        mixed = below[0][:, None, :] + chance[:, None] * (below[1] - below[0])[:, None, :]
        wide, likely = _place(np.sqrt(self.variance), nodes), _place(success_probability, chance)
        return [
            np.exp(np.minimum(self.mean + _read(_inverse(mixed, log_time, level), wide, likely), self.log_limit))
            for level in levels
        ]


def _place(value: NDArray[np.float64], nodes: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Node below each value, and how far it is on the way to the next; `nodes` are evenly spaced."""
    way = np.clip((value - nodes[0]) / (nodes[1] - nodes[0]), 0.0, nodes.size - 1.0)
    index = np.minimum(way.astype(np.int64), nodes.size - 2)
    return index, way - index


def _read(
    table: NDArray[np.float64],
    row: tuple[NDArray[np.int64], NDArray[np.float64]],
    column: tuple[NDArray[np.int64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Bilinear interpolation in a table (rows, columns) at places that :func:`_place` gave."""
    (i, u), (j, w) = row, column
    upper, lower = (table[at, j] + w * (table[at, j + 1] - table[at, j]) for at in (i, i + 1))
    return np.asarray(upper + u * (lower - upper))


def _inverse(below: NDArray[np.float64], log_time: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Log time below which `level` lies, from distributions (v, c, z): shape (v, c)."""
    after = np.clip((below < level).sum(axis=-1), 1, log_time.size - 1)[..., None]
    low, high = (np.take_along_axis(below, at, axis=-1)[..., 0] for at in (after - 1, after))
    way = np.clip((level - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
    return np.asarray(log_time[after[..., 0] - 1] + way * (log_time[1] - log_time[0]))

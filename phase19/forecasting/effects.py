"""Shrinkage: group effects estimated from few rows each, pulled towards their common mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LOGISTIC_NORMAL",
    "Effects",
    "averaged",
    "clipped_normal_mean",
    "logit",
    "normal_with_mean",
    "sigmoid",
    "variance_component",
]

LOGISTIC_NORMAL = (16.0 * np.sqrt(3.0) / (15.0 * np.pi)) ** 2  # Zeger, Liang, Albert (1988), section 3
_TINY = 1e-12
_NO_SPREAD = 1e-100  # whose square is still a number, as is that of one over it
_NEWTON_STEPS = 6
_CLOSE = 1e-5  # after so short a step of Newton's method the next would be about 1e-10


class Effects(NamedTuple):
    """Posterior of group effects: mean and standard deviation, each of shape (groups,)."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def by_group(self, agents: int) -> Effects:
        """Effects of agents x groups as (groups + 1, agents); the last row, for no group, has no effect."""
        groups = self.mean.size // agents if agents else 0
        mean, sd = (np.vstack([part.reshape(agents, groups).T, np.zeros((1, agents))]) for part in self)
        return Effects(mean, sd)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def averaged(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of the mean probability where log odds are normal (Zeger, Liang, Albert, 1988)."""
    return np.asarray(mean / np.sqrt(1.0 + LOGISTIC_NORMAL * variance))


def logit(p: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Log odds; `p` is kept 1e-12 away from 0 and 1."""
    p = np.clip(p, _TINY, 1.0 - _TINY)
    return np.asarray(np.log(p) - np.log1p(-p))


def variance_component(
    group: NDArray[np.int64],
    residual: NDArray[np.float64],
    variance: NDArray[np.float64],
    *,
    prior: float,
    weight: float,
) -> float:
    """Variance between groups of rows whose residuals have known variance within them (method of moments).

    Parameters
    ----------
    group
        Group of each row, shape (rows,), from 0.
    residual, variance
        Observed less expected, and its variance were there no group effect, shape (rows,). The effect is
        on the scale on which a unit change moves the expectation by `variance` (logit for outcomes).
    prior, weight
        The component believed before any data, and the number of groups that belief is worth.

    Notes
    -----
    E[(sum r)^2 - sum r^2] = tau^2 ((sum v)^2 - sum v^2) over groups with more than one row; rows of one
    group are compared with one another only, so what varies within a group does not count.
    """
    groups = int(group.max(initial=-1)) + 1

    def total(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(group, weights=x, minlength=groups).astype(np.float64)

    moment = total(residual) ** 2 - total(residual**2)
    slope = total(variance) ** 2 - total(variance**2)
    informative = slope > _TINY
    if not informative.any():
        return prior
    count = float(informative.sum())
    estimate = max(0.0, float(moment[informative].sum() / slope[informative].sum()))
    return (weight * prior + count * estimate) / (weight + count)


def clipped_normal_mean(
    mean: NDArray[np.float64], sd: float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of min(max(X, low), high) for normal X; arrays broadcast.

    Notes
    -----
    low P(X < low) + high P(X > high) + mean P(between) + sd (density at low - density at high), in units of sd.
    """
    if sd < _NO_SPREAD:
        return np.clip(mean, low, high)
    from scipy.special import ndtr

    a, b = (low - mean) / sd, (high - mean) / sd
    below, above = ndtr(a), ndtr(-b)
    density = (np.exp(-0.5 * a**2) - np.exp(-0.5 * b**2)) / np.sqrt(2.0 * np.pi)
    return np.asarray(low * below + high * above + mean * (1.0 - below - above) + sd * density)


def normal_with_mean(p: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the normal log odds of standard deviation `sd` whose probability averages to `p`.

    A posterior far from normal keeps its probability when a normal stands in for it. Newton's method from the
    probit approximation, until the mean moves by no more than its square is worth; 15-point Gauss-Hermite quadrature,
    one node after another, so that memory is that of the pairs.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights = weights / weights.sum()
    p = np.clip(p, 1e-9, 1.0 - 1e-9)
    mean = logit(p) * np.sqrt(1.0 + LOGISTIC_NORMAL * sd**2)
    for _ in range(_NEWTON_STEPS):
        average, slope = np.zeros(p.shape), np.zeros(p.shape)
        for node, weight in zip(nodes, weights, strict=True):
            found = sigmoid(mean + node * sd)
            average += weight * found
            slope += weight * found * (1.0 - found)
        step = np.clip((p - average) / np.maximum(slope, _TINY), -1.0, 1.0)
        mean = mean + step
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    return np.asarray(mean)

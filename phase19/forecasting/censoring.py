"""Attempts that a limit stopped: their times are known to be longer than recorded, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["beyond", "residual_quantiles"]


def beyond(limit: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of a standard normal that is known to exceed `limit`; the shape of `limit`.

    Notes
    -----
    With the inverse Mills ratio h = density(a) / P(Z > a): mean h, variance 1 - h (h - a).
    """
    from scipy.special import log_ndtr

    hazard = np.exp(-0.5 * limit**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-limit))
    return hazard, np.clip(1.0 - hazard * (hazard - limit), 0.0, 1.0)


def residual_quantiles(
    residual: NDArray[np.float64], is_censored: NDArray[np.bool_], sd: float, levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles of residuals of which some are known to be larger than recorded.

    Parameters
    ----------
    residual, is_censored
        Shape (r,), r >= 2.
    sd
        Standard deviation of the normal whose tail stands in beyond the largest residual that was not stopped.
    levels
        Ascending, in (0, 1).

    Notes
    -----
    The product-limit estimate (Kaplan, Meier, 1958), linear between residuals; without stopped ones it is
    `numpy.quantile`. The order statistic i of r stands at level i / (r - 1).
    """
    from scipy.special import ndtr, ndtri

    order = np.lexsort((is_censored, residual))  # what ended at a moment ended before what was stopped at it
    value, ended = residual[order], ~is_censored[order]
    at_risk = np.arange(value.size, 0, -1)
    surviving = np.cumprod(1.0 - ended / at_risk)
    before = np.concatenate([[1.0], surviving[:-1]])
    place = (1.0 - before[ended]) * value.size / (value.size - 1.0)
    if ended[-1]:
        return np.interp(levels, place, value[ended])
    # The product stops short of zero: the rest lies beyond the last that ended, as a normal's would.
    last, reached = (value[ended][-1], 1.0 - surviving[-1]) if ended.any() else (value[0], 0.0)
    tail = (1.0 - levels) / (1.0 - reached) * ndtr(-last / sd)
    within = np.interp(levels, place, value[ended]) if ended.any() else np.full(levels.shape, last)
    return np.where(levels <= reached, within, -sd * ndtri(np.minimum(tail, ndtr(-last / sd))))

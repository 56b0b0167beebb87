"""Expectations of success over normal log odds: by Gauss-Hermite quadrature, or for many pairs from a table of it."""

from functools import cache
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Floats, Ints
from phase19.forecasting.records import sigmoid
from phase19.forecasting.retries import within_attempts

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
_TINY = 1e-12
# Between the points of the table, linear interpolation is exact to about 1e-4, as the quadrature itself.
_STEP, _MOST_LOG_ODDS, _MOST_SD = 0.02, 10.0, 3.0
_MEANS = np.arange(-_MOST_LOG_ODDS, _MOST_LOG_ODDS + _STEP, _STEP)
_SDS = np.arange(0.0, _MOST_SD + _STEP, _STEP)


class Within(NamedTuple):
    """Expectations within the attempts allowed, of one shape: probability of success, its square, and attempts."""

    success: Floats
    square: Floats
    attempts: Floats


def first_attempt(mean: Floats, sd: Floats) -> Floats:
    """Compute the probability that the first attempt succeeds, given mean and standard deviation of its log odds."""
    nodes = zip(NODES, NODE_WEIGHTS, strict=True)
    return np.asarray(sum(weight * sigmoid(mean + node * sd) for node, weight in nodes))


def expected_within(mean: Floats, sd: Floats, allowed: Ints, retry: Floats | None = None) -> Within:
    """Compute expectations within the attempts allowed.

    Parameters
    ----------
    mean, sd
        Mean and standard deviation of the log odds of the first attempt.
    allowed, retry
        As in :func:`~phase19.forecasting.retries.within_attempts`.
    """
    success, square, attempts = (np.zeros(mean.shape) for _ in range(3))
    for node, weight in zip(NODES, NODE_WEIGHTS, strict=True):
        within, made = within_attempts(sigmoid(mean + node * sd), allowed, retry)
        success += weight * within
        square += weight * within**2
        attempts += weight * made
    return Within(success, square, attempts)


def interpolated_within(mean: Floats, sd: Floats, allowed: Ints) -> Within:
    """Compute :func:`expected_within` for the pairs of t tasks and m agents to about 1e-4, at a fraction of the cost.

    Parameters
    ----------
    mean, sd
        Shape (t, m).
    allowed
        Shape (t, 1).
    """
    found = Within(*(np.empty(mean.shape) for _ in Within._fields))
    is_outside = (np.abs(mean) >= _MOST_LOG_ODDS) | (sd >= _MOST_SD)
    x = np.where(is_outside, 0.0, mean + _MOST_LOG_ODDS) / _STEP
    y = np.where(is_outside, 0.0, sd) / _STEP
    column, row = x.astype(np.int64), y.astype(np.int64)
    x, y, place = x - column, y - row, column * _SDS.size + row
    for count in np.unique(allowed):
        own = allowed[:, 0] == count
        own = slice(None) if own.all() else own
        at, right, up = place[own], x[own], y[own]
        for values, table in zip(found, _table(int(count)), strict=True):
            low = table[at] + up * (table[at + 1] - table[at])
            high = table[at + _SDS.size] + up * (table[at + _SDS.size + 1] - table[at + _SDS.size])
            values[own] = low + right * (high - low)
    if is_outside.any():
        exact = expected_within(mean[is_outside], sd[is_outside], np.broadcast_to(allowed, mean.shape)[is_outside])
        for values, right in zip(found, exact, strict=True):
            values[is_outside] = right
    return found


@cache
def _table(allowed: int) -> Within:
    """Expectations for a number of attempts at every mean and standard deviation of the grid, flattened."""
    mean, sd = (part.ravel() for part in np.meshgrid(_MEANS, _SDS, indexing="ij"))
    return expected_within(mean, sd, np.array(allowed))


def success_and_slope(mean: Floats, sd: Floats, allowed: Ints) -> tuple[Floats, Floats]:
    """Compute expected success within the attempts allowed, and its slope in the log odds of the first attempt.

    Notes
    -----
    By Stein's identity, the slope of an expectation over Normal(mu, sd^2) is E[f(x) (x - mu)] / sd^2.
    """
    within = np.stack([within_attempts(sigmoid(mean + node * sd), allowed)[0] for node in NODES])
    planned = np.clip(np.tensordot(NODE_WEIGHTS, within, 1), 0.0, 1.0)
    return planned, np.tensordot(NODE_WEIGHTS * NODES, within, 1) / np.maximum(sd, _TINY)

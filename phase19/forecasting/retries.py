"""Success, attempts and time of a task under the retry rule (H16_003, as Phase 17 applies it)."""

from typing import NamedTuple

import numpy as np
import polars as pl

from phase19.forecasting import Bools, Floats, Ints
from phase19.inputs.heuristics import RETRIED_RISKS, RETRY_PENALTY

RETRY_FLOOR = 0.05
_RECORDED_ATTEMPTS = 3  # attempts that a summary without a retry rate is taken to allow, as H16_003 does
_GRID = np.linspace(0.0, 1.0, 10_001)


def attempts_allowed(risk_level: pl.Series, max_retries: int) -> Ints:
    """Compute the attempts each task may have: `max_retries` + 1 at LOW and MEDIUM risk, else 1; shape (n,)."""
    return np.where(risk_level.is_in(RETRIED_RISKS).to_numpy(), max_retries + 1, 1)


def attempt_probability(first: Floats, attempt: int, retry: Floats | None = None) -> Floats:
    """Compute the probability that an attempt succeeds, in the shape of `first`, the probability of the first attempt.

    Notes
    -----
    Phase 19 definition: p_k = min(p_1, max(0.05, p_1 - 0.05 (k - 1))) for attempt k. Where `retry` is not NaN, it is
    the probability of every retry instead.
    """
    later = np.minimum(first, np.maximum(RETRY_FLOOR, first - RETRY_PENALTY * (attempt - 1)))
    return later if retry is None or attempt == 1 else np.where(np.isnan(retry), later, retry)


def split_rate(rate: Floats, retry_rate: Floats) -> tuple[Floats, Floats]:
    """Split success rates after retries into that of first attempts and that of their retries, all together.

    Parameters
    ----------
    rate
        Share of the tasks that succeeded at last, shape (m,); NaN gives NaN.
    retry_rate
        Share of the tasks that were retried, shape (m,); NaN if unknown.

    Notes
    -----
    Phase 19 definition: the first attempt succeeds with p_1 = min(rate, 1 - retry_rate), its retries with
    (rate - p_1) / retry_rate, or 0 without retries. If the retry rate is unknown, p_1 is where :func:`within_attempts`
    with 3 attempts gives the rate, and every failure is retried.
    """
    found = np.interp(rate, within_attempts(_GRID, np.array(_RECORDED_ATTEMPTS))[0], _GRID)
    first = np.where(np.isnan(retry_rate), found, np.minimum(rate, 1.0 - retry_rate))
    retried = np.where(np.isnan(retry_rate), 1.0 - first, retry_rate)
    return first, np.divide(rate - first, retried, out=0.0 * rate, where=retried > 0)


def each_retry(together: Floats, allowed: Ints) -> Floats | None:
    """Compute the probability that each retry succeeds from that of all together; None if all are NaN.

    Parameters
    ----------
    together
        Probability that one of the retries succeeds, NaN where :func:`attempt_probability` gives that of each.
    allowed
        Attempts allowed, broadcast against `together`.
    """
    if np.isnan(together).all():
        return None
    return np.asarray(1.0 - (1.0 - together) ** (1.0 / np.maximum(allowed - 1, 1)))


def within_attempts(first: Floats, allowed: Ints, retry: Floats | None = None) -> tuple[Floats, Floats]:
    """Compute the probability of success within the attempts allowed, and the expected number of attempts.

    Parameters
    ----------
    first
        Probability that the first attempt succeeds, any shape.
    allowed
        Attempts allowed, >= 1, broadcast against `first`.
    retry
        Probability that each retry succeeds, broadcast against `first`; NaN or None: :func:`attempt_probability`.

    Notes
    -----
    Phase 19 definition: 1 - prod_k (1 - p_k), and sum_k prod_{j<k} (1 - p_j).
    """
    failed = np.ones_like(first)
    attempts = np.zeros_like(first)
    for attempt in range(1, int(allowed.max(initial=1)) + 1):
        made = attempt <= allowed
        attempts += np.where(made, failed, 0.0)
        failed = np.where(made, failed * (1.0 - attempt_probability(first, attempt, retry)), failed)
    return 1.0 - failed, attempts


def attempt_outcomes(first: Floats, uniforms: Floats, retry: Floats | None = None) -> Bools:
    """Draw whether each attempt succeeds if it is made, in the shape of `uniforms`.

    Parameters
    ----------
    first
        Probability that the first attempt succeeds, shape (..., n).
    uniforms
        Random numbers in (0, 1) for k attempts, shape (k, ..., n).
    retry
        As in :func:`within_attempts`.
    """
    return uniforms < np.stack([attempt_probability(first, k + 1, retry) for k in range(uniforms.shape[0])])


class TaskOutcomes(NamedTuple):
    """Outcomes of tasks in one or many draws; arrays of one shape (..., n)."""

    succeeded: Bools
    attempts: Ints
    busy_ms: Floats


def make_attempts(is_success: Bools, allowed: Ints, attempt_ms: Floats) -> TaskOutcomes:
    """Make attempts until one succeeds or no more are allowed.

    Parameters
    ----------
    is_success
        Whether each attempt succeeds if it is made, shape (k, ..., n) with k >= the largest number allowed.
    allowed
        Attempts allowed, shape (n,).
    attempt_ms
        Time each attempt takes if it is made [ms], the shape of `is_success`.
    """
    succeeded = np.zeros(is_success.shape[1:], dtype=bool)
    attempts = np.zeros(is_success.shape[1:], dtype=np.int64)
    busy_ms = np.zeros(is_success.shape[1:])
    for attempt in range(1, int(allowed.max(initial=1)) + 1):
        made = ~succeeded & (attempt <= allowed)
        attempts += made
        busy_ms += np.where(made, attempt_ms[attempt - 1], 0.0)
        succeeded |= made & is_success[attempt - 1]
    return TaskOutcomes(succeeded, attempts, busy_ms)

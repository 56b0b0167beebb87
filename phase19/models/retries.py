"""What retries do to a task: its chance, its attempts and its time (H16_003, as Phase 17 applies it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

__all__ = [
    "RETRY_FLOOR",
    "RETRY_PENALTY",
    "Played",
    "attempt_probability",
    "attempts_allowed",
    "play",
    "within_attempts",
]

RETRY_PENALTY = 0.05  # H16_003: confidence_penalty
RETRY_FLOOR = 0.05  # DESIGN section 5: p_k = max(0.05, p_1 - 0.05 (k - 1))
_RETRIED_RISKS = ("LOW", "MEDIUM")  # H16_003: applicable_risk_levels


def attempts_allowed(risk_level: pl.Series, max_retries: int) -> NDArray[np.int64]:
    """Attempts each task may have: `max_retries` + 1 at LOW and MEDIUM risk, one elsewhere; shape (n,)."""
    retried = risk_level.is_in(_RETRIED_RISKS).to_numpy()
    return np.where(retried, max_retries + 1, 1)


def attempt_probability(first: NDArray[np.float64], attempt: int) -> NDArray[np.float64]:
    """Probability that attempt k succeeds, given that of the first; the same shape as `first`.

    Notes
    -----
    Phase 19 definition: p_k = max(0.05, p_1 - 0.05 (k - 1)). The floor never lifts a retry above the first
    attempt, and the first attempt is what was forecast, even below 0.05.
    """
    return np.minimum(first, np.maximum(RETRY_FLOOR, first - RETRY_PENALTY * (attempt - 1)))


def within_attempts(
    first: NDArray[np.float64], allowed: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of success within the attempts allowed, and the expected number of attempts.

    Parameters
    ----------
    first
        Probability that the first attempt succeeds, any shape.
    allowed
        Attempts allowed, >= 1, broadcast against `first`.

    Notes
    -----
    Phase 19 definition: 1 - prod_k (1 - p_k), and sum_k prod_{j<k} (1 - p_j).
    """
    failed = np.ones_like(first)
    attempts = np.zeros_like(first)
    for attempt in range(1, int(allowed.max(initial=1)) + 1):
        made = attempt <= allowed
        attempts += np.where(made, failed, 0.0)
        failed = np.where(made, failed * (1.0 - attempt_probability(first, attempt)), failed)
    return 1.0 - failed, attempts


class Played(NamedTuple):
    """What happened to tasks in one or many worlds; arrays of one shape (..., n)."""

    succeeded: NDArray[np.bool_]
    attempts: NDArray[np.int64]
    busy_ms: NDArray[np.float64]


def play(
    first: NDArray[np.float64],
    allowed: NDArray[np.int64],
    outcome_luck: NDArray[np.float64],
    attempt_ms: NDArray[np.float64],
) -> Played:
    """Make attempts until one succeeds or no more are allowed.

    Parameters
    ----------
    first
        Probability that the first attempt succeeds, shape (..., n).
    allowed
        Attempts allowed, shape (n,).
    outcome_luck
        Uniforms in (0, 1), shape (k, ..., n) with k >= the largest number allowed.
    attempt_ms
        Duration of each attempt in ms, shape (k, ..., n).
    """
    succeeded = np.zeros(first.shape, dtype=bool)
    attempts = np.zeros(first.shape, dtype=np.int64)
    busy_ms = np.zeros(first.shape)
    for attempt in range(1, int(allowed.max(initial=1)) + 1):
        made = ~succeeded & (attempt <= allowed)
        attempts += made
        busy_ms += np.where(made, attempt_ms[attempt - 1], 0.0)
        succeeded |= made & (outcome_luck[attempt - 1] < attempt_probability(first, attempt))
    return Played(succeeded, attempts, busy_ms)

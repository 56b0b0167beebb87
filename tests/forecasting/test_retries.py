"""Retries: H16_003's penalty and floor, their sums by hand, and play against brute force."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.forecasting.retries import (
    attempt_outcomes,
    attempt_probability,
    attempts_allowed,
    each_retry,
    make_attempts,
    split_rate,
    within_attempts,
)

CHANCES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("first", "attempt", "expected"),
    [
        (0.8, 1, 0.8),
        (0.8, 2, 0.75),  # 0.8 - 0.05
        (0.8, 3, 0.70),  # 0.8 - 0.05 x 2
        (0.12, 2, 0.07),
        (0.12, 3, 0.05),  # 0.12 - 0.10 = 0.02, lifted to the floor
        (0.05, 4, 0.05),
        (0.03, 1, 0.03),  # the first attempt is what was forecast
        (0.03, 2, 0.03),  # and the floor lifts no retry above it
        (0.0, 2, 0.0),
        (1.0, 1, 1.0),
        (1.0, 3, 0.9),
    ],
)
def test_probability_of_an_attempt(first, attempt, expected):
    assert attempt_probability(np.array([first]), attempt)[0] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("rate", "retry_rate", "first", "together"),
    [
        (0.917, 0.083, 0.917, 0.0),  # 1 - 0.083: every failure was retried, none in vain
        (0.95, 0.08, 0.92, 0.375),  # 0.03 of the 0.08 retried tasks succeeded
        (0.95, 0.0, 0.95, 0.0),  # nothing was retried
        (0.6, 0.1, 0.6, 0.0),  # 0.4 failed, 0.1 were retried: retries may have helped nobody
        (1.0, 1.0, 0.0, 1.0),
        (0.0, 0.5, 0.0, 0.0),
        (0.91, np.nan, 0.6, 0.775),  # 1 - 0.4 x 0.45 x 0.5 = 0.91, and 1 - 0.45 x 0.5 = 0.775
        (1.0, np.nan, 1.0, 0.0),
    ],
)
def test_a_rate_after_retries_is_split_into_first_attempts_and_retries(rate, retry_rate, first, together):
    found = split_rate(np.array([rate]), np.array([retry_rate]))
    assert np.concatenate(found) == pytest.approx([first, together], abs=1e-4)


def test_an_unknown_rate_stays_unknown():
    assert np.isnan(split_rate(np.full(2, np.nan), np.array([0.1, np.nan]))).all()
    assert each_retry(np.full(2, np.nan), np.array([3, 1])) is None


def test_retries_of_a_summary_succeed_all_together_however_many_they_are():
    # 0.36 together: 1 - 0.64 ** (1/2) = 0.2 for each of two retries, 0.36 for a single one.
    allowed = np.array([3, 2, 1, 3])
    retry = each_retry(np.array([0.36, 0.36, 0.36, np.nan]), allowed)
    assert retry[:2] == pytest.approx([0.2, 0.36])
    within, attempts = within_attempts(np.full(4, 0.6), allowed, retry)
    assert within == pytest.approx([0.6 + 0.4 * 0.36, 0.6 + 0.4 * 0.36, 0.6, 0.91])
    assert attempts == pytest.approx([1 + 0.4 + 0.4 * 0.8, 1.4, 1.0, 1.58])
    won = attempt_outcomes(np.full(4, 0.6), np.full((3, 4), 0.3), retry)
    assert won.tolist() == [[True] * 4, [False, True, True, True], [False, True, True, True]]


def test_only_low_and_medium_risk_is_retried():
    risks = pl.Series(["LOW", "MEDIUM", "HIGH", "UNKNOWN"])
    assert attempts_allowed(risks, 2).tolist() == [3, 3, 1, 1]
    assert attempts_allowed(risks, 0).tolist() == [1, 1, 1, 1]
    assert attempts_allowed(risks.clear(), 2).shape == (0,)


def test_within_attempts_by_hand():
    # p = .6, .55, .5: 1 - .4 x .45 x .5 = .91; attempts 1 + .4 + .4 x .45 = 1.58.
    # p = .6, .55:     1 - .4 x .45 = .82;      attempts 1.4.
    within, attempts = within_attempts(np.array([0.6, 0.6, 0.6]), np.array([3, 2, 1]))
    assert within == pytest.approx([0.91, 0.82, 0.6], abs=1e-15)
    assert attempts == pytest.approx([1.58, 1.4, 1.0], abs=1e-15)


@given(CHANCES, st.integers(1, 6))
def test_within_attempts_is_the_product_of_the_failures(first, allowed):
    within, attempts = within_attempts(np.array(first), np.array(allowed))
    for p1, found, made in zip(first, within, attempts, strict=True):
        chances = [p1] + [min(p1, max(0.05, p1 - 0.05 * k)) for k in range(1, allowed)]
        reached = np.cumprod([1.0, *(1 - p for p in chances)])  # probability that attempt k is reached
        assert found == pytest.approx(1 - reached[-1], abs=1e-12)
        assert made == pytest.approx(reached[:-1].sum(), abs=1e-12)
        assert p1 - 1e-12 <= found <= 1.0 and 1.0 <= made <= allowed


def test_attempts_allowed_broadcast_over_agents():
    first = np.array([[0.6, 0.9], [0.6, 0.9]])
    within, attempts = within_attempts(first, np.array([[1], [2]]))
    # (0.6, 0.9) alone; then 1 - .4 x .45 = .82 and 1 - .1 x .15 = .985.
    assert within == pytest.approx(np.array([[0.6, 0.9], [0.82, 0.985]]))
    assert attempts == pytest.approx(np.array([[1.0, 1.0], [1.4, 1.1]]))


def test_play_by_hand():
    # p1 = .6: luck .7 fails, .54 < .55 succeeds at the second attempt: 10 + 20 ms.
    # p1 = .6, one attempt: luck .7 fails: 10 ms. p1 = .6: luck .1 succeeds at once: 10 ms.
    luck = np.array([[0.7, 0.7, 0.1], [0.54, 0.0, 0.0], [0.0, 0.0, 0.0]])
    ms = np.array([[10.0] * 3, [20.0] * 3, [40.0] * 3])
    won = attempt_outcomes(np.full(3, 0.6), luck)
    assert won.tolist() == [[False, False, True], [True] * 3, [True] * 3]
    played = make_attempts(won, np.array([3, 1, 3]), ms)
    assert played.succeeded.tolist() == [True, False, True]
    assert played.attempts.tolist() == [2, 1, 1]
    assert played.busy_ms.tolist() == [30.0, 10.0, 10.0]


def test_play_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    worlds, n, most = 40, 7, 4
    first, allowed = rng.random((worlds, n)), rng.integers(1, most + 1, n)
    luck, ms = rng.random((most, worlds, n)), rng.exponential(size=(most, worlds, n))
    played = make_attempts(attempt_outcomes(first, luck), allowed, ms)
    for w, t in np.ndindex(worlds, n):
        won, made, busy = False, 0, 0.0
        while not won and made < allowed[t]:
            chance = first[w, t] if made == 0 else min(first[w, t], max(0.05, first[w, t] - 0.05 * made))
            won, busy = luck[made, w, t] < chance, busy + ms[made, w, t]
            made += 1
        assert (played.succeeded[w, t], played.attempts[w, t]) == (won, made)
        assert played.busy_ms[w, t] == pytest.approx(busy, rel=1e-12)


def test_play_comes_to_what_is_planned():
    rng = np.random.default_rng(1)
    first, allowed = np.array([0.9, 0.5, 0.1, 0.02]), np.array([3, 3, 2, 1])
    draws = 100_000
    won = attempt_outcomes(np.broadcast_to(first, (draws, 4)), rng.random((3, draws, 4)))
    played = make_attempts(won, allowed, np.ones((3, draws, 4)))
    within, attempts = within_attempts(first, allowed)
    error = np.sqrt(within * (1 - within) / draws)
    assert (np.abs(played.succeeded.mean(axis=0) - within) < 4 * error).all()
    spread = np.maximum(played.attempts.std(axis=0), 1e-12)
    assert (np.abs(played.attempts.mean(axis=0) - attempts) <= 4 * spread / np.sqrt(draws)).all()
    assert np.array_equal(played.busy_ms, played.attempts)


def test_no_tasks():
    none = np.zeros(0)
    assert [x.shape for x in within_attempts(none, none.astype(int))] == [(0,), (0,)]
    assert make_attempts(
        attempt_outcomes(none, np.zeros((1, 0))), none.astype(int), np.zeros((1, 0))
    ).attempts.shape == (0,)

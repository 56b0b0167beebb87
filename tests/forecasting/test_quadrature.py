"""Expectations over normal log odds, exact and interpolated."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from phase19.forecasting.quadrature import expected_within, first_attempt, interpolated_within, success_and_slope
from phase19.forecasting.retries import within_attempts

MEANS, SDS = np.array([-3.0, -0.5, 0.8, 2.0]), np.array([1.5, 0.3, 0.9, 2.0])


def integral(mean, sd, function):
    """An expectation by adaptive integration."""
    return quad(lambda x: function(1 / (1 + np.exp(-mean - sd * x))) * norm.pdf(x), -9, 9, limit=200)[0]


def test_the_first_attempt_is_the_mean_of_its_chance():
    expected = [integral(mean, sd, lambda p: p) for mean, sd in zip(MEANS, SDS, strict=True)]
    assert first_attempt(MEANS, SDS) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("allowed", [1, 2, 3])
def test_expectations_within_the_attempts_are_integrals(allowed):
    def each(p):
        return [float(part) for part in within_attempts(np.array(p), np.array(allowed))]

    found = expected_within(MEANS, SDS, np.array(allowed))
    for i, (mean, sd) in enumerate(zip(MEANS, SDS, strict=True)):
        assert found.success[i] == pytest.approx(integral(mean, sd, lambda p: each(p)[0]), abs=2e-3)
        assert found.square[i] == pytest.approx(integral(mean, sd, lambda p: each(p)[0] ** 2), abs=2e-3)
        assert found.attempts[i] == pytest.approx(integral(mean, sd, lambda p: each(p)[1]), abs=2e-3)


def test_interpolation_is_close_to_the_quadrature_and_exact_beyond_the_table():
    rng = np.random.default_rng(3)
    mean, sd, allowed = rng.normal(1.0, 3.0, (400, 9)), rng.uniform(0.0, 3.5, (400, 9)), rng.integers(1, 4, (400, 1))
    mean[0], mean[1], sd[2] = 30.0, -30.0, 5.0
    mean[3], sd[3] = 9.999, 2.999  # the last cell
    found, expected = interpolated_within(mean, sd, allowed), expected_within(mean, sd, allowed)
    for name in found._fields:
        error = np.abs(getattr(found, name) - getattr(expected, name))
        assert error.max() < 4e-4
        assert error.mean() < 2e-5
        assert not error[:3].any()


def test_the_slope_is_that_of_a_small_step():
    allowed, step = np.full(4, 3), 1e-4
    planned, slope = success_and_slope(MEANS, SDS, allowed)
    low, high = (success_and_slope(MEANS + h, SDS, allowed)[0] for h in (-step, step))
    assert planned == pytest.approx(expected_within(MEANS, SDS, allowed).success)
    assert slope == pytest.approx((high - low) / (2 * step), abs=0.02)

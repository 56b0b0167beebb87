"""Cells: the beta-binomial likelihood of counts, and log odds of mean probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln, psi
from scipy.stats import betabinom

from phase19.forecasting.cells import Cells, averaged, fit_cells, logit_sd, mean_log_odds
from phase19.forecasting.records import logit, sigmoid

# Log odds


def test_logit_and_sigmoid_are_inverse_and_finite():
    p = np.array([1e-9, 0.2, 0.5, 0.999])
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-6)
    assert logit(0.8) == pytest.approx(np.log(4.0))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]


def test_log_odds_of_a_mean_probability():
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    mean, variance = (part.ravel() for part in np.meshgrid([-3.0, -1.0, 0.0, 2.0], [0.0, 0.5, 2.0, 6.0]))
    exact = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * nodes) @ weights / weights.sum()
    assert sigmoid(averaged(mean, variance)) == pytest.approx(exact, abs=0.02)


@given(st.floats(0.001, 0.999), st.floats(0.0, 5.0))
def test_the_mean_log_odds_of_a_probability_average_to_it(p, variance):
    assert float(sigmoid(averaged(mean_log_odds(np.array(p), variance), variance))) == pytest.approx(p, abs=1e-9)


# Cells


def cells(wins, losses) -> Cells:
    return Cells(np.array(wins, float), np.array(losses, float), np.ones(len(wins)), np.ones(len(wins)))


def test_the_likelihood_is_the_beta_binomials():
    log_odds, k = np.array([0.5, -1.0, 2.0]), 2.5
    p = 1 / (1 + np.exp(-log_odds))
    found = fit_cells(log_odds, cells([2, 0, 1], [1, 3, 0]), k)
    wanted = betabinom.logpmf([2, 0, 1], [3, 3, 1], k * p, k * (1 - p))
    # The binomial coefficient, 3 ways to win 2 of 3, does not depend on the log odds and is left out.
    assert found.log_likelihood == pytest.approx(wanted - np.log([3, 1, 1]))
    assert found.rate == pytest.approx((np.array([2, 0, 1]) + k * p) / (np.array([3, 3, 1]) + k))


def test_the_slope_is_the_likelihoods_derivative():
    log_odds, counts = np.linspace(-3, 3, 7), cells([0, 1, 2, 3, 0, 5, 1], [1, 0, 2, 0, 4, 5, 1])
    step = 1e-5
    above, below = (fit_cells(log_odds + sign * step, counts, 1.7).log_likelihood for sign in (1, -1))
    assert fit_cells(log_odds, counts, 1.7).slope == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def test_a_large_concentration_is_a_binomial():
    fit = fit_cells(np.array([0.0]), cells([3], [1]), 1e8)
    assert fit.log_likelihood[0] == pytest.approx(4 * np.log(0.5), abs=1e-5)
    assert fit.information[0] == pytest.approx(4 * 0.25, rel=1e-6)
    assert fit.rate[0] == pytest.approx(0.5, abs=1e-6)


def test_the_spread_of_log_odds_is_that_of_the_beta():
    for tries, concentration in ((0.0, 1.0), (2.0, 1.0), (10.0, 4.0)):
        sd = logit_sd(np.array([tries]), concentration)[0]
        rates = 1 / (1 + np.exp(-sd * np.random.default_rng(0).standard_normal(400_000)))
        assert rates.var() == pytest.approx(0.25 / (concentration + tries + 1), rel=0.02)


def test_few_attempts_are_multiplied_as_many_are_by_special_functions():
    # Up to 16 attempts a product, above it the functions themselves.
    wins, losses = np.array([16.0, 0, 5, 17, 0, 20.5, 300, 0]), np.array([0.0, 16, 11, 0, 40, 1.5, 80, 0])
    log_odds, k = np.linspace(-6, 6, wins.size), 0.3
    p = 1 / (1 + np.exp(-log_odds))
    a, b = k * p, k * (1 - p)
    found = fit_cells(log_odds, cells(wins, losses), k)
    assert found.log_likelihood == pytest.approx(betaln(a + wins, b + losses) - betaln(a, b), rel=1e-9, abs=1e-12)
    slope = k * p * (1 - p) * (psi(a + wins) - psi(a) - psi(b + losses) + psi(b))
    assert found.slope == pytest.approx(slope, rel=1e-9, abs=1e-12)


def test_a_fraction_of_an_attempt_counts_as_that_fraction_and_at_the_forecast_rate_as_nothing():
    # 0.9 of an attempt at p = 0.8, k = 4: 0.9 log 0.8; the slope is 0.9 (rate - p), alone and after a success.
    p, k = np.full(4, 0.8), 4.0
    found = fit_cells(np.log(p / (1 - p)), cells([0.9, 0.72, 0.0, 1.72], [0.0, 0.18, 0.9, 0.18]), k)
    assert found.log_likelihood[0] == pytest.approx(0.9 * np.log(0.8))
    assert found.slope[:3] == pytest.approx([0.9 * 0.2, 0.0, -0.9 * 0.8], abs=1e-12)
    # A success at 3.2 of 4, then 0.72 of one at 4.2 of 5 and 0.18 of a failure at 0.8.
    assert found.slope[3] == pytest.approx(4 * 0.16 * (1 / 3.2 + 0.72 / 4.2 - 0.18 / 0.8))
    assert found.rate == pytest.approx([4.1 / 4.9, 0.8, 3.2 / 4.9, 4.92 / 5.9])


def test_sixteen_attempts_neither_overflow_nor_underflow():
    for k in (1e-3, 1e8):
        fit = fit_cells(np.array([-700.0, 700.0]), cells([16, 0], [0, 16]), k)
        assert np.isfinite(fit.log_likelihood).all() and np.isfinite(fit.slope).all()

"""Shrinkage: between the raw and the prior, by the variance the groups show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.effects import (
    fit_concentration,
    logit,
    logit_effects,
    normal_effects,
    sigmoid,
    variance_component,
)


def test_logit_and_sigmoid_are_inverse_and_finite():
    p = np.array([1e-9, 0.2, 0.5, 0.999])
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-6)
    assert logit(0.8) == pytest.approx(np.log(4.0))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]


def test_concentration_is_larger_for_alike_groups():
    trials = np.full(6, 50.0)
    alike = fit_concentration(np.array([30.0, 31, 29, 30, 30, 30]), trials, 0.6, prior_median=20.0)
    apart = fit_concentration(np.array([50.0, 5, 45, 10, 40, 30]), trials, 0.6, prior_median=20.0)
    assert apart < 10
    assert alike > 20


def test_concentration_without_data_is_the_prior():
    # The grid's points stand 12 % apart, so the nearest is within 6 %.
    none = fit_concentration(np.zeros(3), np.zeros(3), 0.7, prior_median=20.0)
    assert none == pytest.approx(20.0, rel=0.06)


def test_concentration_recovers_a_simulated_one():
    rng = np.random.default_rng(3)
    rates = rng.beta(0.6 * 12, 0.4 * 12, 400)
    found = fit_concentration(rng.binomial(40, rates).astype(float), np.full(400, 40.0), 0.6, prior_median=20.0)
    assert 9 < found < 16


def test_variance_component_recovers_a_simulated_one():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(500), 20)
    residual = rng.normal(0, np.sqrt(0.3), 500)[group] + rng.normal(0, 1.0, group.size)
    found = variance_component(group, residual, np.ones(group.size), prior=5.0, weight=1.0)
    # (1 x 5 + 500 x 0.3) / 501 = 0.31; a between variance over 500 groups has a standard error of about 0.02.
    assert found == pytest.approx(0.31, abs=0.08)


def test_variance_component_by_hand():
    # Group 0 has residuals 1 and 2: (1 + 2)^2 - (1 + 4) = 4; unit variances: (1 + 1)^2 - 2 = 2; estimate 4 / 2 = 2.
    # Group 1 has one row and says nothing. (prior 1 x weight 3 + 1 group x 2) / 4 = 1.25.
    group, residual = np.array([0, 0, 1]), np.array([1.0, 2.0, 9.0])
    assert variance_component(group, residual, np.ones(3), prior=1.0, weight=3.0) == pytest.approx(1.25)


def test_variance_component_of_opposite_rows_is_nothing_and_of_no_rows_the_prior():
    group = np.array([0, 0, 1, 1])
    opposed = variance_component(group, np.array([1.0, -1, 1, -1]), np.ones(4), prior=1.0, weight=2.0)
    assert opposed == pytest.approx(0.5)  # (2 x 1 + 2 x 0) / 4
    none = np.zeros(0)
    assert variance_component(none.astype(int), none, none, prior=0.7, weight=2.0) == 0.7


def test_normal_effects_lie_between_the_raw_mean_and_the_prior():
    group, residual = np.array([0, 0, 0, 1]), np.array([1.0, 2.0, 3.0, 2.0])
    # Precision 3 / 0.5 + 1 / 0.25 = 10, mean (6 / 0.5) / 10 = 1.2; one row: 2 + 4 = 6, (2 / 0.5) / 6 = 2/3.
    effects = normal_effects(group, residual, 0.5, 0.25, 3)
    assert effects.mean == pytest.approx([1.2, 2 / 3, 0.0])
    assert effects.sd == pytest.approx([np.sqrt(0.1), np.sqrt(1 / 6), 0.5])


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.booleans(), st.floats(-8.0, 8.0)),
        max_size=40,
    ),
    st.floats(0.01, 7.0),
)
def test_logit_effects_maximise_their_posterior(rows, variance):
    group = np.array([row[0] for row in rows], dtype=np.int64)
    outcome = np.array([float(row[1]) for row in rows])
    offset = np.array([row[2] for row in rows])
    effects = logit_effects(group, outcome, offset, variance, 4)
    p = sigmoid(offset + effects.mean[group])
    gradient = np.bincount(group, weights=outcome - p, minlength=4) - effects.mean / variance
    assert gradient == pytest.approx(np.zeros(4), abs=1e-6)
    precision = np.bincount(group, weights=p * (1 - p), minlength=4) + 1 / variance
    assert effects.sd == pytest.approx(1 / np.sqrt(precision), rel=1e-6)


@pytest.mark.parametrize(("offset", "outcome"), [(-5.0, 1.0), (8.0, 0.0), (-12.0, 1.0)])
def test_logit_effects_converge_where_records_contradict_the_offset(offset, outcome):
    rows = 1000
    effect = logit_effects(np.zeros(rows, np.int64), np.full(rows, outcome), np.full(rows, offset), 6.5, 1).mean[0]
    assert rows * (outcome - sigmoid(np.array([offset + effect]))[0]) - effect / 6.5 == pytest.approx(0.0, abs=1e-6)


def test_logit_effects_without_rows_keep_the_prior():
    effects = logit_effects(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0.09, 2)
    assert effects.mean.tolist() == [0.0, 0.0]
    assert effects.sd == pytest.approx([0.3, 0.3])


def test_logit_effects_lie_between_the_raw_log_odds_and_the_prior():
    outcome = np.array([1.0] * 8 + [0.0] * 2)
    group, offset = np.zeros(10, np.int64), np.zeros(10)
    weak, strong = (logit_effects(group, outcome, offset, v, 1).mean[0] for v in (0.1, 100.0))
    assert 0 < weak < strong < logit(0.8)
    assert strong == pytest.approx(float(logit(0.8)), abs=0.02)


def test_no_variance_leaves_no_effect():
    effects = logit_effects(np.zeros(5, np.int64), np.ones(5), np.zeros(5), 0.0, 1)
    assert effects.mean[0] == pytest.approx(0.0, abs=1e-9)
    assert effects.sd[0] == pytest.approx(0.0, abs=1e-5)

"""Shrinkage: between the raw and the prior, by the variance the groups show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.forecasting.effects import (
    Effects,
    logit,
    normal_with_mean,
    sigmoid,
    variance_component,
)


def test_logit_and_sigmoid_are_inverse_and_finite():
    p = np.array([1e-9, 0.2, 0.5, 0.999])
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-6)
    assert logit(0.8) == pytest.approx(np.log(4.0))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]


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


@given(st.floats(0.001, 0.999), st.floats(0.0, 5.0))
def test_a_normal_keeps_the_mean_probability_it_was_given(p, sd):
    mean = normal_with_mean(np.array([p]), np.array([sd]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    assert float(sigmoid(mean + sd * nodes) @ weights / weights.sum()) == pytest.approx(p, abs=1e-5)


def test_effects_of_agents_by_group_end_with_none():
    # Two agents x three groups, one agent after the other.
    laid = Effects(np.arange(6.0), np.arange(6.0) + 10.0).by_group(2)
    assert laid.mean.tolist() == [[0, 3], [1, 4], [2, 5], [0, 0]]
    assert laid.sd.tolist() == [[10, 13], [11, 14], [12, 15], [0, 0]]
    assert Effects(np.zeros(0), np.zeros(0)).by_group(0).mean.shape == (1, 0)

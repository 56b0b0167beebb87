"""Descent: the minimum is found on a slope, in a bent valley, and from where the curvature misleads."""

from __future__ import annotations

import numpy as np
import pytest

from phase19.forecasting.descent import Slope, descend


def test_a_parabola_whose_curvature_is_known_takes_one_step():
    calls = []

    def bowl(x):
        calls.append(x)
        return Slope(float(((x - 3.0) ** 2).sum()), 2.0 * (x - 3.0), np.full(x.size, 2.0))

    assert descend(bowl, np.zeros(4), 1e-12) == pytest.approx(np.full(4, 3.0))
    assert len(calls) == 2  # at the start, and at the minimum


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e2])
def test_correlated_parameters_are_found_with_the_curvature_off_by_any_factor(scale):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(30, 30))
    matrix, target = root @ root.T + np.eye(30), rng.normal(size=30)

    def bowl(x):
        gradient = matrix @ (x - target)
        return Slope(0.5 * float((x - target) @ gradient), gradient, scale * np.diag(matrix))

    assert descend(bowl, np.zeros(30), 1e-12) == pytest.approx(target, abs=1e-4)


def test_a_bent_valley_is_followed():
    """Rosenbrock's: not convex; the minimum 0 is at (1, 1)."""

    def valley(x):
        bend = x[1] - x[0] ** 2
        gradient = np.array([-400.0 * bend * x[0] - 2.0 * (1.0 - x[0]), 200.0 * bend])
        return Slope(100.0 * bend**2 + (1.0 - x[0]) ** 2, gradient, np.array([1200.0 * x[0] ** 2 + 2.0, 200.0]))

    assert descend(valley, np.array([-1.2, 1.0]), 1e-12) == pytest.approx([1.0, 1.0], abs=1e-4)


def test_the_minimum_is_left_where_it_is():
    start = np.array([0.5, -0.5])
    assert descend(lambda x: Slope(0.0, 0.0 * x, np.ones(2)), start, 1e-6).tolist() == start.tolist()


def test_a_gradient_that_lies_ends_the_search_where_it_began():
    uphill = descend(lambda x: Slope(float(x[0]), np.array([-1.0]), np.ones(1)), np.zeros(1), 1e-9)
    assert uphill.tolist() == [0.0]

"""Products a column at a time are those of numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.forecasting import products

SIZES = st.integers(1, 5)


@given(st.integers(0, 1000), SIZES, SIZES)
@settings(max_examples=20)
def test_products_are_those_of_einsum(seed, size, columns):
    rng = np.random.default_rng(seed)
    one, other, agents = rng.normal(size=(3, 7, size))
    task, agent = rng.integers(0, 7, (2, 30))
    matrices = rng.normal(size=(7, size, columns))
    for found, expected in (
        (products.dots(one, other), np.einsum("rs,rs->r", one, other)),
        (products.dots(one, other[0]), one @ other[0]),
        (products.pair_dots(one, agents, task, agent), np.einsum("ps,ps->p", one[task], agents[agent])),
        (products.table_dots(one, agents), np.einsum("ts,as->ta", one, agents)),
        (products.times_each(one, matrices), np.einsum("rs,rsc->rc", one, matrices)),
        (products.outer_squares(one), np.einsum("ri,rj->rij", one, one)),
    ):
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 1000), SIZES)
@settings(max_examples=20)
def test_inverses_are_those_of_each_matrix(seed, size):
    root = np.random.default_rng(seed).normal(size=(6, size, size))
    matrices = root @ np.moveaxis(root, 1, 2) + 0.1 * np.eye(size)
    assert products.inverses(matrices) == pytest.approx(np.linalg.inv(matrices), rel=1e-8, abs=1e-8)


def test_rows_are_selected_by_indices_and_slices():
    values = np.arange(12.0).reshape(4, 3)
    assert products.at(values, np.array([2, 0])).tolist() == [[6, 7, 8], [0, 1, 2]]
    assert products.at(values, slice(1, 3)).tolist() == [[3, 4, 5], [6, 7, 8]]


def test_without_vectors_there_are_no_products():
    none = np.zeros((0, 2))
    assert products.dots(none, none).shape == (0,)
    assert products.inverses(np.zeros((0, 2, 2))).shape == (0, 2, 2)

"""The posterior of pairs, kept as factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.forecasting.posterior import KnownPairs
from tests.builders import model, random_attempts


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=30)
def test_known_pairs_replace_those_of_a_table_and_of_a_list(seed, n, m):
    rng = np.random.default_rng(seed)
    table, has_records = rng.normal(size=(n, m)), rng.random((n, m)) < 0.4
    task, agent = rng.permutation(np.argwhere(has_records)).T
    known = KnownPairs.of(task, agent, (n, m), table[task, agent])
    expected = np.where(has_records, table, 9.0)
    rows, pairs = rng.integers(0, n, 4), (rng.integers(0, n, 20), rng.integers(0, m, 20))
    found, listed = np.full((4, m), 9.0), np.full(20, 9.0)
    known.put([found], rows[:, None], np.arange(m)[None, :])
    known.put([listed], *pairs)
    assert np.array_equal(found, expected[rows])
    assert np.array_equal(listed, expected[pairs])


@pytest.mark.parametrize("count", [0, 7, 300])
def test_pairs_are_the_same_in_a_table_and_in_a_list(count):
    fitted = model(random_attempts(4, count), task_count=9)
    every = np.arange(9)[:, None], np.arange(3)[None, :]
    listed = tuple(index.ravel() for index in np.indices((9, 3)))
    for posterior in (fitted.success, fitted.duration):
        for whole, each in zip(posterior.moments(*every), posterior.moments(*listed), strict=True):
            assert whole.ravel() == pytest.approx(each, rel=1e-12)
    whole, each = fitted.expected(*every, np.full((9, 1), 3)), fitted.expected(*listed, np.full(27, 3))
    for name, values in vars(whole).items():
        assert values.ravel() == pytest.approx(getattr(each, name), rel=1e-10)


def test_errors_add_up_to_the_variance():
    fitted = model(random_attempts(4, 40), task_count=9)
    listed = tuple(index.ravel() for index in np.indices((9, 3)))
    for posterior in (fitted.success, fitted.duration):
        errors = posterior.errors(*listed)
        parts = [*(part for part in errors[:-1]), errors.own[:, None]]
        assert sum((part**2).sum(axis=1) for part in parts) == pytest.approx(posterior.sd(*listed) ** 2)

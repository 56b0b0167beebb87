"""Random numbers by key: the same for the same keys, whatever else is drawn, and fair."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phase19.forecasting import keyed_random
from phase19.forecasting.keyed_random import id_keys, normals, uniforms

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=20)


def keys(count):
    return np.arange(count, dtype=np.uint64)


def test_uniforms_are_uniform_and_in_the_open_interval():
    drawn = uniforms(0, "outcome", id_keys(pl.Series([f"task_{i}" for i in range(20_000)])))
    assert drawn.min() > 0.0 and drawn.max() < 1.0
    assert stats.kstest(drawn, "uniform").pvalue > 0.01


def test_normals_are_standard_normal():
    assert stats.kstest(normals(0, "agent", keys(20_000)), "norm").pvalue > 0.01


@pytest.mark.parametrize("word", [0, 2**64 - 1], ids=["all bits off", "all bits on"])
def test_the_extremes_stay_inside_the_open_interval(monkeypatch, word):
    monkeypatch.setattr(keyed_random, "_mix", lambda x: np.full_like(x, word))
    (drawn,) = uniforms(0, "outcome", keys(1))
    assert 0.0 < drawn < 1.0
    assert np.isfinite(normals(0, "outcome", keys(1))).all()


def test_neighbouring_attempts_and_streams_and_seeds_are_uncorrelated():
    base = uniforms(0, "outcome", keys(20_000))
    for other in (
        uniforms(0, "outcome", keys(20_001)[1:]),
        uniforms(1, "outcome", keys(20_000)),
        uniforms(0, "duration", keys(20_000)),
        uniforms(0, "outcome", keys(20_000), keys(1)),
    ):
        # The correlation of independent samples has standard deviation 1 / sqrt(20,000) = 0.007.
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("one", "other"), [("outcome", "outcomes"), ("duration_first", "duration_second"), ("a", "b"), ("ab", "ba")]
)
def test_streams_differ_wherever_their_names_differ(one, other):
    assert not np.isin(uniforms(0, one, keys(100)), uniforms(0, other, keys(100))).any()


def test_the_order_of_keys_counts():
    a, b = keys(10), keys(20)[10:]
    assert not np.isin(uniforms(0, "pair", a, b), uniforms(0, "pair", b, a)).any()


def test_keys_broadcast_to_one_draw_a_tuple():
    grid = uniforms(3, "outcome", keys(4)[:, None], keys(5))
    assert grid.shape == (4, 5)
    assert np.unique(grid).size == 20
    assert grid[2, 3] == uniforms(3, "outcome", keys(4)[2:3], keys(5)[3:4]).item()


@given(st.integers(0, 2**63), IDS, st.randoms(use_true_random=False))
def test_a_number_is_the_same_whatever_else_is_drawn_and_in_which_order(seed, ids, random):
    drawn = dict(zip(ids, uniforms(seed, "outcome", id_keys(pl.Series(ids))), strict=True))
    shuffled = random.sample(ids, k=random.randint(1, len(ids)))
    again = dict(zip(shuffled, uniforms(seed, "outcome", id_keys(pl.Series(shuffled))), strict=True))
    assert again == {name: drawn[name] for name in shuffled}


@given(st.sets(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=2, max_size=30))
def test_different_ids_have_different_keys(ids):
    assert np.unique(id_keys(pl.Series(sorted(ids)))).size == len(ids)


@pytest.mark.parametrize(
    ("name", "key"),
    [("task_0", 1060734961204074693), ("agent_1", 9511054407277902085), ("Zoë/模型 ☃", 7515760182859683824)],
)
def test_keys_are_pinned(name, key):
    assert id_keys(pl.Series([name])).tolist() == [key]


def test_keys_of_fifty_thousand_tasks_are_distinct():
    assert np.unique(id_keys(pl.Series([f"task_{i}" for i in range(50_000)]))).size == 50_000


def test_no_ids_have_no_keys():
    assert id_keys(pl.Series([], dtype=pl.String)).shape == (0,)
    assert uniforms(0, "outcome", keys(0)).shape == (0,)

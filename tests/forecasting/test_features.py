"""Numeric features of tasks: their scores, and what they add to forecasts of tasks never seen."""

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from phase19.forecasting.features import task_scores
from phase19.forecasting.model import ForecastModel, first_attempts
from tests.builders import POPULATION, agents, attempts, tasks

TASKS, NEW, AGENTS = 120, 60, 6


def scores_of(**columns):
    count = len(next(iter(columns.values())))
    features = pl.DataFrame({"task_id": [f"t{i}" for i in range(count)], **columns})
    return task_scores(features, features["task_id"])


def test_scores_are_the_normal_scores_of_ranks_and_their_squares():
    found = scores_of(size=[10.0, -5.0, 1e9]).values
    normal = ndtri(np.array([3 / 6, 1 / 6, 5 / 6]))
    assert found[:, 0] == pytest.approx(normal / normal.std())
    assert found[:, 1] == pytest.approx([-np.sqrt(2), np.sqrt(0.5), np.sqrt(0.5)])


def test_a_missing_value_counts_as_the_mean_and_ties_are_equal():
    found = scores_of(size=[1.0, None, 1.0, 2.0]).values
    assert (found[1] == 0.0).all()
    assert (found[0] == found[2]).all()
    assert found[:, 0].sum() == pytest.approx(0.0)
    unknown = task_scores(pl.DataFrame({"task_id": ["a", "b"], "size": [1.0, 2.0]}), pl.Series(["b", "x", "a"])).values
    assert (unknown[1] == 0.0).all()
    assert unknown[0, 0] == -unknown[2, 0] > 0.0


def test_features_that_do_not_differ_give_no_scores():
    found = scores_of(same=[3.0] * 3, none=[None] * 3, size=[1.0, 2.0, 3.0])
    assert found.names == ["size"]
    assert found.values.shape == (3, 2)
    assert task_scores(None, pl.Series(["a"])).values.shape == (1, 0)


def world(seed=0, *, noise=0):
    """A team of two kinds: one is the better the larger x is, the other the worse; the tasks' features are x and y.

    Returns the features of all tasks, the records of the first ones, and the true probabilities of the others.
    """
    rng = np.random.default_rng(seed)
    known = {name: rng.normal(size=TASKS + NEW) for name in ("x", "y", *(f"noise{i}" for i in range(noise)))}
    side = np.where(np.arange(AGENTS) < AGENTS // 2, 2.0, -2.0)
    truth = 1.0 / (1.0 + np.exp(-(1.2 * known["y"][:, None] + side * known["x"][:, None])))
    won = rng.random(truth.shape) < truth
    rows = [
        {"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": bool(won[t, a])}
        for t in range(TASKS)
        for a in range(AGENTS)
    ]
    features = pl.DataFrame({"task_id": [f"t{t}" for t in range(TASKS + NEW)], **known})
    return features, rows, truth[TASKS:]


def forecast(features, rows, order=slice(None)):
    """Forecast the new tasks, shape (NEW, AGENTS)."""
    frame = tasks(*({"task_id": f"t{t}"} for t in range(TASKS, TASKS + NEW)))
    team = agents(*(f"a{a}" for a in range(AGENTS)))
    fitted = ForecastModel.fit(frame[order], team, attempts(*rows), POPULATION, features=features)
    return first_attempts(fitted).success_probability


@pytest.fixture(scope="module")
def plain():
    return world()


@pytest.fixture(scope="module")
def with_features(plain):
    return forecast(plain[0], plain[1])


def test_features_tell_new_tasks_apart_and_which_agents_suit_them(plain, with_features):
    _, rows, truth = plain
    without = forecast(None, rows)
    assert without.std(axis=0).max() < 0.01  # nothing else is known of these tasks
    # The mean squared distance from the truth falls from its variance to an eighth of it.
    assert ((without - truth) ** 2).mean() > 0.08
    assert ((with_features - truth) ** 2).mean() < 0.01
    best, chosen = truth.max(axis=1).mean(), truth[np.arange(NEW), with_features.argmax(axis=1)].mean()
    assert chosen > best - 0.03


def test_scale_order_and_rows_of_other_tasks_do_not_matter(plain, with_features):
    features, rows, _ = plain
    changed = features.select("task_id", y=pl.col("y").exp() * 1e6, x=5.0 - pl.col("x"))
    changed = changed.sample(fraction=1, shuffle=True, seed=1)
    again = forecast(pl.concat([changed, pl.DataFrame({"task_id": ["z"], "y": [0.0], "x": [1.0]})]), rows)
    assert again == pytest.approx(with_features, abs=0.02)
    assert forecast(features, rows[::-1], order=slice(None, None, -1))[::-1] == pytest.approx(with_features, abs=1e-9)


def test_useless_features_change_nothing():
    features, rows, _ = world(seed=3, noise=12)
    useless = features.drop("x", "y")
    assert (forecast(useless, rows) == forecast(None, rows)).all()


def test_useless_features_beside_useful_ones_cost_little(plain, with_features):
    features, rows, truth = plain
    noise = np.random.default_rng(5).normal(size=(40, TASKS + NEW))
    beside = forecast(features.with_columns(pl.Series(f"noise{i}", each) for i, each in enumerate(noise)), rows)
    assert ((beside - truth) ** 2).mean() < ((with_features - truth) ** 2).mean() + 0.005


def test_a_fit_between_waves_keeps_the_features(plain, with_features):
    features, rows, _ = plain
    frame = tasks(*({"task_id": f"t{t}"} for t in range(TASKS, TASKS + NEW)))
    team = agents(*(f"a{a}" for a in range(AGENTS)))
    early = ForecastModel.fit(frame, team, attempts(*rows[:-60]), POPULATION, features=features)
    late = first_attempts(early.observe(attempts(*rows[-60:]))).success_probability
    assert late == pytest.approx(with_features, abs=0.15)
    assert np.corrcoef(late.ravel(), with_features.ravel())[0, 1] > 0.98


def test_the_features_that_changed_a_forecast_are_named_and_what_it_would_be_without_them(plain):
    features, rows, _ = plain
    frame = tasks(*({"task_id": f"t{t}"} for t in range(TASKS, TASKS + NEW)))
    noise = pl.Series("noise", np.random.default_rng(6).normal(size=TASKS + NEW))
    team = agents(*(f"a{a}" for a in range(AGENTS)))
    fitted = ForecastModel.fit(frame, team, attempts(*rows), POPULATION, features=features.with_columns(noise))
    task = np.arange(NEW)
    main, without = fitted.feature_columns(task, np.zeros(NEW, np.int64))
    # Of two useful features, the one with the larger part in the truth is named first.
    known = features[TASKS:]
    size = np.abs(np.column_stack([2.0 * known["x"].to_numpy(), 1.2 * known["y"].to_numpy()]))
    is_clear = np.abs(size[:, 0] - size[:, 1]) > 1.0
    first = main.list.first().to_numpy()[is_clear]
    assert (first == np.where(size[is_clear, 0] > size[is_clear, 1], "x", "y")).mean() > 0.9
    assert main.explode().value_counts().filter(main_features="noise")["count"].sum() < NEW
    assert main.list.len().max() <= 3
    # Without features, all these tasks are nearly alike: some are less certain than others.
    assert without.std() < 0.25 * first_attempts(fitted).success_probability[:, 0].std()


def test_without_features_no_feature_is_named():
    fitted = ForecastModel.fit(tasks(count=2), agents("a0"), attempts({"task_id": "t0"}), POPULATION)
    main, without = fitted.feature_columns(np.arange(2), np.zeros(2, np.int64))
    assert main.to_list() == [[], []]
    assert without.null_count() == 2

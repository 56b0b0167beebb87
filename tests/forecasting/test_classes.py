"""Latent classes of tasks: which tasks are alike, and what a category says of a task never seen."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from phase19.forecasting.classes import fit_classes


def fitted(wins, tries, category, strength=2.0, before=None):
    """Fit with agents of equal ability; return the fit and the success rate of every pair."""
    cells = np.nonzero(tries)
    tables = (csr_array((np.asarray(values, float)[cells], cells), tries.shape) for values in (wins, tries))
    found = fit_classes(*tables, np.asarray(category), np.zeros(tries.shape[1]), strength, before=before)
    return found, found.membership @ found.rate


def two_kinds(n=60, m=6, recorded=0.5, seed=3):
    """Agents 0-2 win at tasks of even number, agents 3-5 at the others; returns truth and recorded attempts."""
    rng = np.random.default_rng(seed)
    truth = np.where((np.arange(n)[:, None] % 2 == 0) == (np.arange(m) < m // 2), 0.9, 0.1)
    tries = (rng.random((n, m)) < recorded).astype(float)
    return truth, tries * (rng.random((n, m)) < truth), tries


def test_agents_that_win_at_different_tasks_are_told_apart():
    truth, wins, tries = two_kinds(200)
    _, rate = fitted(wins, tries, np.zeros(200, int))
    # The best constant has a mean squared distance of 0.4^2 = 0.16. Of a task with one record, one in ten misleads.
    assert ((rate - truth) ** 2)[tries == 0].mean() < 0.06


def test_a_task_never_seen_is_like_those_of_its_category():
    truth, wins, tries = two_kinds(200)
    tries[:2] = wins[:2] = 0.0
    _, rate = fitted(wins, tries, np.arange(200) % 2)
    assert rate[:2] == pytest.approx(truth[:2], abs=0.2)


def test_a_category_never_seen_is_like_all_tasks():
    _, wins, tries = two_kinds(200)
    tries[:2] = wins[:2] = 0.0
    found, rate = fitted(wins, tries, np.array([1, *[0] * 199]))
    assert rate[0] == pytest.approx(rate[1], abs=0.02)
    assert found.membership.sum(axis=1) == pytest.approx(1.0)


def test_without_records_every_rate_is_one_half():
    none = np.zeros((3, 4))
    assert fitted(none, none, np.zeros(3, int))[1] == pytest.approx(0.5)


def test_order_of_tasks_and_agents_does_not_matter():
    _, wins, tries = two_kinds()
    category, rng = np.arange(60) % 3, np.random.default_rng(1)
    task, agent = rng.permutation(60), rng.permutation(6)
    _, rate = fitted(wins, tries, category)
    _, moved = fitted(wins[task][:, agent], tries[task][:, agent], category[task])
    assert moved == pytest.approx(rate[task][:, agent], abs=1e-6)


def test_a_strong_prior_leaves_only_the_difficulty():
    _, wins, tries = two_kinds()
    _, rate = fitted(wins, tries, np.zeros(60, int), strength=1e6)
    assert np.ptp(rate, axis=1) == pytest.approx(0.0, abs=1e-3)


def test_an_earlier_fit_is_a_start():
    _, wins, tries = two_kinds(200)
    found, rate = fitted(wins, tries, np.zeros(200, int))
    _, again = fitted(wins, tries, np.zeros(200, int), before=found)
    assert again == pytest.approx(rate, abs=0.1)
    assert np.abs(again - rate).mean() < 0.01


@pytest.mark.parametrize("m", [1, 2, 3])
def test_few_agents(m):
    tries = np.ones((5, m))
    _, rate = fitted(np.tile(np.arange(5)[:, None] % 2, m), tries, np.zeros(5, int))
    assert ((rate > 0.0) & (rate < 1.0)).all()

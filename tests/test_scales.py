"""The choice of scales and what dense records do to a forecast."""

from __future__ import annotations

import numpy as np
import pytest

from phase19.forecasting.cells import Cells
from phase19.forecasting.consistency import fit_consistency
from phase19.forecasting.effects import averaged, sigmoid
from phase19.forecasting.hierarchy import Design, Grouping, fit_hierarchy
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import read_records
from phase19.forecasting.scales import chosen_scales
from phase19.forecasting.success import SuccessPriors
from phase19.forecasting.success_fit import _design
from tests.builders import POPULATION, agents, all_pairs, attempts, tasks
from tests.test_forecast import agree

SCALES = {"agent": 0.5, "task": 1.0, "category": 0.4, "interaction": 0.3, "concentration": 4.0}
LEVELS = slice(1, 4)


def world(strength: float, *, seed: int = 0, agent_count: int = 8, task_count: int = 80, keep: float = 1.0) -> tuple:
    """Wins and losses in three attempts of pairs whose log odds hold a product of `strength`; the product, (n, m)."""
    rng = np.random.default_rng(seed)
    product = strength * np.outer(rng.normal(size=task_count), np.resize([1.0, -1.0], agent_count))
    log_odds = rng.normal(0, 0.7, task_count)[:, None] + rng.normal(0, 0.5, agent_count) + product
    wins = rng.binomial(3, sigmoid(log_odds + rng.normal(0, 0.5, log_odds.shape)))
    seen = rng.random(log_odds.shape) < keep
    return np.where(seen, wins, 0), np.where(seen, 3 - wins, 0), product


def design(wins, losses, level=None) -> Design:
    """All pairs of `wins` and `losses` (n, m) as cells; `level` (n,) numbers the tasks' risk level."""
    (n, m), level = wins.shape, np.zeros(wins.shape[0], dtype=np.int64) if level is None else level
    task, agent = (index.ravel() for index in np.indices((n, m)))
    features = np.column_stack([np.ones(n * m), *(level[task] == i for i in range(3))]).astype(float)
    return Design(
        cells=Cells(wins.ravel().astype(float), losses.ravel().astype(float), np.ones(n * m), np.ones(n * m)),
        features=features,
        prior_mean=np.zeros(4),
        prior_sd=np.array([0.5, 0.4, 0.4, 0.4]),
        groupings={
            "agent": Grouping(agent, m, "agent"),
            "task": Grouping(task, n, "task"),
            "agent_level": Grouping(agent * 3 + level[task], m * 3, "interaction"),
        },
    )


# The scales


def test_levels_set_from_the_outcomes_sway_no_scale():
    wins, losses, _ = world(0.0, keep=0.4, seed=2)
    rate = wins.sum(axis=1) / np.maximum((wins + losses).sum(axis=1), 1)
    told = np.searchsorted([0.3, 0.6], rate)
    shuffled = np.random.default_rng(0).permutation(told)
    found = [chosen_scales(design(wins, losses, level), SCALES, 1.0, LEVELS) for level in (told, shuffled)]
    assert found[0] == found[1]
    assert found[0]["task"] > 0.4


def test_tasks_that_all_agents_agree_on_do_not_differ_without_bounds():
    wins = np.repeat(np.where(np.arange(60) % 2, 3, 0)[:, None], 2, axis=1)
    assert chosen_scales(design(wins, 3 - wins), SCALES, 1.0, LEVELS)["task"] < 10.0


def test_log_odds_of_a_mean_probability():
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    mean, variance = (part.ravel() for part in np.meshgrid([-3.0, -1.0, 0.0, 2.0], [0.0, 0.5, 2.0, 6.0]))
    exact = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * nodes) @ weights / weights.sum()
    assert sigmoid(averaged(mean, variance)) == pytest.approx(exact, abs=0.02)


# The forecast they make


def rows_of(wins, losses) -> list[dict]:
    return [
        {"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": bool(k < wins[t, a]), "confidence_before": 0.7}
        for t, a in np.ndindex(wins.shape)
        for k in range(wins[t, a] + losses[t, a])
    ]


def fitted(rows, task_count, agent_count, frame=None, priors=None) -> ForecastModel:
    names = agents(*(f"a{a}" for a in range(agent_count)))
    frame = tasks(count=task_count) if frame is None else frame
    return ForecastModel.fit(frame, names, attempts(*rows), POPULATION, priors=priors)


def test_a_pair_with_records_is_forecast_at_the_mean_of_its_beta():
    wins, losses, _ = world(1.0, task_count=30, agent_count=5)
    made = fitted(rows_of(wins, losses), 30, 5)
    records = read_records(made.attempts, made.tasks, made.agents, POPULATION.task_count)
    k, cells = made.success.scales["concentration"], _design(records, POPULATION.success_rate, SuccessPriors())
    fit = fit_hierarchy(cells, made.success.scales)
    p = sigmoid(averaged(fit.log_odds, fit.leverage)).reshape(wins.shape)
    k = k * fit_consistency(cells, fit, k, SuccessPriors().consistency).multiple(*np.indices(wins.shape))
    assert k.max() > 1.1 * k.min()
    assert all_pairs(made, 1).success_probability == pytest.approx((wins + k * p) / (3 + k), abs=2e-3)


@pytest.mark.parametrize("seed", range(12))
def test_one_more_success_of_a_pair_never_lowers_its_forecast_with_many_records(seed):
    rng = np.random.default_rng(seed)
    wins, losses, _ = world(1.0, seed=seed, task_count=12, agent_count=4, keep=0.9)
    before = fitted(rows_of(wins, losses), 12, 4)
    task, agent = rng.integers(12), rng.integers(4)
    one = {"task_id": f"t{task}", "agent_id": f"a{agent}", "is_success": True, "confidence_before": 0.7}
    after = before.observe(attempts(one))
    assert after.success.scales == before.success.scales
    old, new = (all_pairs(m, 1).success_probability[task, agent] for m in (before, after))
    assert new > old


def test_names_and_order_change_no_forecast_with_many_records():
    wins, losses, _ = world(1.0, task_count=30, agent_count=5)
    order = [3, 1, 4, 0, 2]
    one = fitted(rows_of(wins, losses), 30, 5)
    two = fitted(rows_of(wins[:, order], losses[:, order]), 30, 5)
    assert agree([part[:, order] for part in all_pairs(one)][:4], all_pairs(two)[:4])
    rows = rows_of(wins, losses)
    shuffled = fitted([rows[i] for i in np.random.default_rng(0).permutation(len(rows))], 30, 5)
    assert all(np.array_equal(a, b) for a, b in zip(all_pairs(one), all_pairs(shuffled), strict=True))

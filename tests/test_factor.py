"""The latent factor and the choice of scales: what they find, what they leave alone, and what may not sway them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from phase19.forecasting import factor as factor_module
from phase19.forecasting.cells import Cells, cell_fit
from phase19.forecasting.consistency import fit_consistency
from phase19.forecasting.effects import Effects, averaged, sigmoid
from phase19.forecasting.factor import Factor, fit_factor, with_factor
from phase19.forecasting.hierarchy import Design, Grouping, fit_hierarchy
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import read_records
from phase19.forecasting.scales import chosen_scales
from phase19.forecasting.success import SuccessPriors
from phase19.forecasting.success_fit import _design, fit_success
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


def products(made: Design, sd: float = 0.5) -> np.ndarray:
    """Mean product of all pairs, (n, m)."""
    fit = fit_hierarchy(made, SCALES)
    found = fit_factor(made, fit.log_odds, 4.0, sd)
    return found.mean(np.arange(found.task.mean.size)[:, None], np.arange(found.agent.mean.size))


# The factor


def test_the_variance_of_a_product_is_that_of_independent_parts():
    factor = Factor(Effects(np.array([1.5]), np.array([0.7])), Effects(np.array([-0.8]), np.array([0.4])))
    rng = np.random.default_rng(0)
    draws = (1.5 + 0.7 * rng.standard_normal(400_000)) * (-0.8 + 0.4 * rng.standard_normal(400_000))
    pair = np.array([0]), np.array([0])
    assert factor.mean(*pair)[0] == pytest.approx(draws.mean(), abs=0.01)
    assert factor.variance(*pair)[0] == pytest.approx(draws.var(), rel=0.02)
    # 0.64 x 0.49 + 2.25 x 0.16 + 0.49 x 0.16
    assert factor.variance(*pair)[0] == pytest.approx(0.752)


def test_a_factor_is_found_again():
    wins, losses, product = world(1.2)
    found = products(design(wins, losses))
    assert np.corrcoef(found.ravel(), product.ravel())[0, 1] > 0.8


def test_tasks_parts_stand_where_their_posterior_has_no_slope():
    wins, losses, _ = world(1.2)
    made = design(wins, losses)
    fit = fit_hierarchy(made, SCALES)
    found = fit_factor(made, fit.log_odds, 4.0, 0.5)
    slope = with_factor(made, fit, found, 4.0).cells.slope.reshape(wins.shape)
    assert slope @ found.agent.mean == pytest.approx(found.task.mean, abs=0.02)


def test_it_speaks_of_pairs_without_records():
    wins, losses, product = world(1.5, keep=0.6)
    hidden = wins + losses == 0
    assert hidden.mean() > 0.3
    assert np.corrcoef(products(design(wins, losses))[hidden], product[hidden])[0, 1] > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_is_in_common_it_shrinks_to_little(seed):
    wins, losses, _ = world(0.0, seed=seed)
    there = world(1.2, seed=seed)
    assert products(design(wins, losses)).std() < 0.35 * products(design(*there[:2])).std()


def test_the_order_of_agents_and_tasks_changes_no_product():
    wins, losses, _ = world(1.0)
    rng = np.random.default_rng(1)
    task, agent = rng.permutation(wins.shape[0]), rng.permutation(wins.shape[1])
    moved = products(design(wins[task][:, agent], losses[task][:, agent]))
    assert moved == pytest.approx(products(design(wins, losses))[task][:, agent], abs=1e-9)


def test_agents_alike_leave_no_direction_and_one_agent_none():
    wins = np.tile(np.arange(4), 10)[:, None]
    for agent_count in (1, 3):
        same = np.repeat(wins, agent_count, axis=1)
        assert np.ptp(products(design(same, 3 - same)), axis=1).max() < 1e-6


def test_cells_of_no_task_or_no_agent_stay_where_they_are():
    wins, losses, _ = world(1.2)
    made = design(wins, losses)
    task, agent = made.groupings["task"].index.copy(), made.groupings["agent"].index.copy()
    task[3], agent[5] = -1, -1
    groupings = {"task": Grouping(task, 80, "task"), "agent": Grouping(agent, 8, "agent")}
    made = replace(made, groupings=groupings)
    fit = fit_hierarchy(made, SCALES)
    moved = with_factor(made, fit, fit_factor(made, fit.log_odds, 4.0, 0.5), 4.0)
    same = np.isin(np.arange(task.size), [3, 5])
    assert (moved.log_odds[same] == fit.log_odds[same]).all() and (moved.log_odds[~same] != fit.log_odds[~same]).all()
    assert (moved.leverage[same] == fit.leverage[same]).all() and (moved.leverage[~same] > fit.leverage[~same]).all()
    assert moved.cells.rate == pytest.approx(cell_fit(moved.log_odds, made.cells, 4.0).rate)


def test_a_part_of_the_tasks_teaches_what_agents_have_in_common(monkeypatch):
    wins, losses, _ = world(1.5, task_count=200)
    whole = products(design(wins, losses))
    monkeypatch.setattr(factor_module, "_CELLS_TO_LEARN_BY", 800)
    assert np.corrcoef(products(design(wins, losses)).ravel(), whole.ravel())[0, 1] > 0.97


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
    fit = with_factor(cells, fit, fit_factor(cells, fit.log_odds, k, SuccessPriors().factor), k)
    p = sigmoid(averaged(fit.log_odds, fit.leverage)).reshape(wins.shape)
    k = k * fit_consistency(cells, fit, k, SuccessPriors().consistency).multiple(*np.indices(wins.shape))
    assert k.max() > 1.1 * k.min()
    assert all_pairs(made, 1).success_probability == pytest.approx((wins + k * p) / (3 + k), abs=2e-3)


@pytest.mark.parametrize("seed", range(12))
def test_one_more_success_of_a_pair_never_lowers_its_forecast_with_a_factor(seed):
    rng = np.random.default_rng(seed)
    wins, losses, _ = world(1.0, seed=seed, task_count=12, agent_count=4, keep=0.9)
    before = fitted(rows_of(wins, losses), 12, 4)
    task, agent = rng.integers(12), rng.integers(4)
    one = {"task_id": f"t{task}", "agent_id": f"a{agent}", "is_success": True, "confidence_before": 0.7}
    after = before.observe(attempts(one))
    assert after.success.scales == before.success.scales
    old, new = (all_pairs(m, 1).success_probability[task, agent] for m in (before, after))
    assert new > old


def test_names_and_order_change_no_forecast_with_a_factor():
    wins, losses, _ = world(1.0, task_count=30, agent_count=5)
    order = [3, 1, 4, 0, 2]
    one = fitted(rows_of(wins, losses), 30, 5)
    two = fitted(rows_of(wins[:, order], losses[:, order]), 30, 5)
    assert agree([part[:, order] for part in all_pairs(one)][:4], all_pairs(two)[:4])
    rows = rows_of(wins, losses)
    shuffled = fitted([rows[i] for i in np.random.default_rng(0).permutation(len(rows))], 30, 5)
    assert all(np.array_equal(a, b) for a, b in zip(all_pairs(one), all_pairs(shuffled), strict=True))


def test_a_factor_is_learned_from_the_least_attempts_on_and_moves_pairs_without_records():
    wins, losses, product = world(1.5, keep=0.6)
    hidden = wins + losses == 0
    names = agents(*(f"a{a}" for a in range(8)))
    records = read_records(attempts(*rows_of(wins, losses)), tasks(count=80), names, 12)
    with_it, without, few, few_without = (
        fit_success(records, 0.8, SuccessPriors(factor=sd, least_attempts=least, full_attempts=least + 1)).pair
        for least in (100, 10**6)
        for sd in (0.5, 1e-6)
    )
    assert np.array_equal(few.mean, few_without.mean) and np.array_equal(few.sd, few_without.sd)
    moved = (with_it.mean - without.mean)[hidden]
    assert np.corrcoef(moved, product[hidden])[0, 1] > 0.6
    assert (with_it.sd > without.sd)[hidden].all()

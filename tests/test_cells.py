"""Cells and the hierarchy on them: likelihood, gradient, leave-one-out, and what is recovered from a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom

from phase19.forecasting.cells import Cells, cell_fit, logit_sd
from phase19.forecasting.hierarchy import Design, Grouping, fit_hierarchy, held_out


def cells(wins, losses) -> Cells:
    return Cells(np.array(wins, float), np.array(losses, float), np.ones(len(wins)), np.ones(len(wins)))


def simulated(seed: int = 0, agents: int = 8, tasks: int = 60, tries: int = 2) -> tuple[Design, np.ndarray]:
    rng = np.random.default_rng(seed)
    ability, difficulty = rng.normal(0, 1.0, agents), rng.normal(0, 1.5, tasks)
    task, agent = (index.ravel() for index in np.indices((tasks, agents)))
    p = 1 / (1 + np.exp(-(0.3 + ability[agent] - difficulty[task])))
    wins = rng.binomial(tries, rng.beta(3 * p, 3 * (1 - p)))
    design = Design(
        cells=cells(wins, tries - wins),
        features=np.ones((task.size, 1)),
        prior_mean=np.zeros(1),
        prior_sd=np.ones(1),
        groupings={"agent": Grouping(agent, agents, "agent"), "task": Grouping(task, tasks, "task")},
    )
    return design, ability


SCALES = {"agent": 1.0, "task": 1.5, "concentration": 3.0}


def test_the_likelihood_is_the_beta_binomials():
    log_odds, k = np.array([0.5, -1.0, 2.0]), 2.5
    p = 1 / (1 + np.exp(-log_odds))
    found = cell_fit(log_odds, cells([2, 0, 1], [1, 3, 0]), k)
    wanted = betabinom.logpmf([2, 0, 1], [3, 3, 1], k * p, k * (1 - p))
    # The binomial coefficient, 3 ways to win 2 of 3, does not depend on the log odds and is left out.
    assert found.log_likelihood == pytest.approx(wanted - np.log([3, 1, 1]))
    assert found.rate == pytest.approx((np.array([2, 0, 1]) + k * p) / (np.array([3, 3, 1]) + k))


def test_the_slope_is_the_likelihoods_derivative():
    log_odds, counts = np.linspace(-3, 3, 7), cells([0, 1, 2, 3, 0, 5, 1], [1, 0, 2, 0, 4, 5, 1])
    step = 1e-5
    above, below = (cell_fit(log_odds + sign * step, counts, 1.7).log_likelihood for sign in (1, -1))
    assert cell_fit(log_odds, counts, 1.7).slope == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def test_a_large_concentration_is_a_binomial():
    fit = cell_fit(np.array([0.0]), cells([3], [1]), 1e8)
    assert fit.log_likelihood[0] == pytest.approx(4 * np.log(0.5), abs=1e-5)
    assert fit.information[0] == pytest.approx(4 * 0.25, rel=1e-6)
    assert fit.rate[0] == pytest.approx(0.5, abs=1e-6)


def test_the_spread_of_log_odds_is_that_of_the_beta():
    for tries, concentration in ((0.0, 1.0), (2.0, 1.0), (10.0, 4.0)):
        sd = logit_sd(np.array([tries]), concentration)[0]
        rates = 1 / (1 + np.exp(-sd * np.random.default_rng(0).standard_normal(400_000)))
        assert rates.var() == pytest.approx(0.25 / (concentration + tries + 1), rel=0.02)


def test_the_mode_has_no_slope():
    design, _ = simulated()
    fit = fit_hierarchy(design, SCALES)
    mean, precision = design.penalties(SCALES)
    slope = design.gather(cell_fit(fit.log_odds, design.cells, 3.0).slope) - precision * (fit.parameters - mean)
    assert np.abs(slope).max() < 0.01


def test_agents_are_found_again():
    design, ability = simulated()
    found = fit_hierarchy(design, SCALES).effects["agent"]
    assert np.corrcoef(found.mean, ability)[0, 1] > 0.9
    inside = np.abs(found.mean - found.mean.mean() - ability + ability.mean()) < 3 * found.sd
    assert inside.mean() >= 0.75


def test_leave_one_out_agrees_with_leaving_out():
    """Twelve attempts left out in earnest, the model fitted without them, against the approximation."""
    design, _ = simulated(seed=1, agents=4, tasks=12)
    fit = fit_hierarchy(design, SCALES)
    earnest, approximate = 0.0, 0.0
    for cell in range(0, design.cells.wins.size, 4):
        win = design.cells.wins[cell] >= 1
        counts = design.cells.wins.copy(), design.cells.losses.copy()
        counts[0 if win else 1][cell] -= 1
        less = Design(cells(*counts), design.features, design.prior_mean, design.prior_sd, design.groupings)
        rate = fit_hierarchy(less, SCALES).cells.rate[cell]
        earnest += np.log(rate if win else 1 - rate)
        only = np.zeros(design.cells.wins.size)
        only[cell] = 1.0
        one = np.where(only > 0, design.cells.wins if win else design.cells.losses, 0.0)
        reduced = cell_fit(fit.log_odds, design.cells.without_one(win=bool(win)), 3.0)
        slope = fit.cells.slope - reduced.slope
        information = np.maximum(fit.cells.information - reduced.information, 0)
        moved = fit.log_odds - fit.leverage * slope / (1 - np.minimum(fit.leverage * information, 0.9))
        rate = cell_fit(moved, design.cells.without_one(win=bool(win)), 3.0).rate[cell]
        approximate += np.log(rate if win else 1 - rate) * (one[cell] > 0)
    assert approximate == pytest.approx(earnest, rel=0.05)


def test_held_out_likelihood_prefers_the_truth_to_what_is_far_from_it():
    design, _ = simulated(tries=3)
    scores = {k: held_out(design, fit_hierarchy(design, {**SCALES, "concentration": k}), k) for k in (0.2, 3.0, 100.0)}
    assert scores[3.0] > scores[0.2]
    assert scores[3.0] > scores[100.0]
    tight = {**SCALES, "task": 0.05}
    assert scores[3.0] > held_out(design, fit_hierarchy(design, tight), 3.0)


def test_a_part_of_a_design_has_the_groups_of_its_cells():
    grouping = Grouping(np.array([-1, 4, 2, 4, 7]), 9, "task")
    part = grouping.part(np.array([True, True, False, True, True]))
    assert part.index.tolist() == [-1, 0, 0, 1]
    assert part.size == 2
    assert part.spread(np.array([1.5, 2.5])).tolist() == [0.0, 1.5, 1.5, 2.5]


def test_few_attempts_are_multiplied_as_many_are_by_special_functions():
    from scipy.special import betaln, psi

    # Up to 16 attempts a product, above it and for fractions the functions themselves.
    wins, losses = np.array([16.0, 0, 5, 17, 0, 2.5, 300, 0]), np.array([0.0, 16, 11, 0, 40, 1.5, 80, 0])
    log_odds, k = np.linspace(-6, 6, wins.size), 0.3
    p = 1 / (1 + np.exp(-log_odds))
    a, b = k * p, k * (1 - p)
    found = cell_fit(log_odds, cells(wins, losses), k)
    assert found.log_likelihood == pytest.approx(betaln(a + wins, b + losses) - betaln(a, b), rel=1e-9, abs=1e-12)
    slope = k * p * (1 - p) * (psi(a + wins) - psi(a) - psi(b + losses) + psi(b))
    assert found.slope == pytest.approx(slope, rel=1e-9, abs=1e-12)


def test_sixteen_attempts_neither_overflow_nor_underflow():
    for k in (1e-3, 1e8):
        fit = cell_fit(np.array([-700.0, 700.0]), cells([16, 0], [0, 16]), k)
        assert np.isfinite(fit.log_likelihood).all() and np.isfinite(fit.slope).all()


@pytest.mark.parametrize("agents", [2, 40])
def test_cells_alike_are_summed_as_each_would_be(agents):
    """Two agents leave few kinds of cells, forty many: the sums are those of an indicator matrix either way."""
    rng = np.random.default_rng(agents)
    count, sizes = 300, {"agent": agents, "task": 150, "agent_level": agents * 3}
    groupings = {name: Grouping(rng.integers(-1, size, count), size, "agent") for name, size in sizes.items()}
    features = rng.normal(size=(count, 2))
    design = Design(cells(np.ones(count), np.zeros(count)), features, np.zeros(2), np.ones(2), groupings)
    matrix = np.hstack([features, *((g.index[:, None] == np.arange(g.size)) * 1.0 for g in groupings.values())])
    parameters, values = rng.normal(size=matrix.shape[1]), rng.normal(size=count)
    assert design.log_odds(parameters) == pytest.approx(matrix @ parameters)
    assert design.gather(values) == pytest.approx(matrix.T @ values)
    assert design.information(values) == pytest.approx((matrix**2).T @ values)

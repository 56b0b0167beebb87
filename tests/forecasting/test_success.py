"""Success: cells, the hierarchy on them, the choice of scales, agents' consistency, and the forecast they give."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln, psi
from scipy.stats import betabinom

from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import Grouping, logit, read_records, sigmoid
from phase19.forecasting.success import (
    Cells,
    Design,
    SuccessPriors,
    agent_consistency,
    averaged,
    choose_scales,
    fit_cells,
    fit_hierarchy,
    held_out,
    logit_sd,
    mean_log_odds,
    success_design,
)
from tests.builders import POPULATION, agents, all_pairs, attempts, model, parts, random_attempts, tasks

SCALES = {"agent": 0.5, "task": 1.0, "category": 0.4, "interaction": 0.3, "concentration": 3.0}


# Log odds


def test_logit_and_sigmoid_are_inverse_and_finite():
    p = np.array([1e-9, 0.2, 0.5, 0.999])
    assert sigmoid(logit(p)) == pytest.approx(p, rel=1e-6)
    assert logit(0.8) == pytest.approx(np.log(4.0))
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]


def test_log_odds_of_a_mean_probability():
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    mean, variance = (part.ravel() for part in np.meshgrid([-3.0, -1.0, 0.0, 2.0], [0.0, 0.5, 2.0, 6.0]))
    exact = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * nodes) @ weights / weights.sum()
    assert sigmoid(averaged(mean, variance)) == pytest.approx(exact, abs=0.02)


@given(st.floats(0.001, 0.999), st.floats(0.0, 5.0))
def test_the_mean_log_odds_of_a_probability_average_to_it(p, variance):
    assert float(sigmoid(averaged(mean_log_odds(np.array(p), variance), variance))) == pytest.approx(p, abs=1e-9)


# Cells


def cells(wins, losses) -> Cells:
    return Cells(np.array(wins, float), np.array(losses, float), np.ones(len(wins)), np.ones(len(wins)))


def test_the_likelihood_is_the_beta_binomials():
    log_odds, k = np.array([0.5, -1.0, 2.0]), 2.5
    p = 1 / (1 + np.exp(-log_odds))
    found = fit_cells(log_odds, cells([2, 0, 1], [1, 3, 0]), k)
    wanted = betabinom.logpmf([2, 0, 1], [3, 3, 1], k * p, k * (1 - p))
    # The binomial coefficient, 3 ways to win 2 of 3, does not depend on the log odds and is left out.
    assert found.log_likelihood == pytest.approx(wanted - np.log([3, 1, 1]))
    assert found.rate == pytest.approx((np.array([2, 0, 1]) + k * p) / (np.array([3, 3, 1]) + k))


def test_the_slope_is_the_likelihoods_derivative():
    log_odds, counts = np.linspace(-3, 3, 7), cells([0, 1, 2, 3, 0, 5, 1], [1, 0, 2, 0, 4, 5, 1])
    step = 1e-5
    above, below = (fit_cells(log_odds + sign * step, counts, 1.7).log_likelihood for sign in (1, -1))
    assert fit_cells(log_odds, counts, 1.7).slope == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def test_a_large_concentration_is_a_binomial():
    fit = fit_cells(np.array([0.0]), cells([3], [1]), 1e8)
    assert fit.log_likelihood[0] == pytest.approx(4 * np.log(0.5), abs=1e-5)
    assert fit.information[0] == pytest.approx(4 * 0.25, rel=1e-6)
    assert fit.rate[0] == pytest.approx(0.5, abs=1e-6)


def test_the_spread_of_log_odds_is_that_of_the_beta():
    for tries, concentration in ((0.0, 1.0), (2.0, 1.0), (10.0, 4.0)):
        sd = logit_sd(np.array([tries]), concentration)[0]
        rates = 1 / (1 + np.exp(-sd * np.random.default_rng(0).standard_normal(400_000)))
        assert rates.var() == pytest.approx(0.25 / (concentration + tries + 1), rel=0.02)


def test_few_attempts_are_multiplied_as_many_are_by_special_functions():
    # Up to 16 attempts a product, above it the functions themselves.
    wins, losses = np.array([16.0, 0, 5, 17, 0, 20.5, 300, 0]), np.array([0.0, 16, 11, 0, 40, 1.5, 80, 0])
    log_odds, k = np.linspace(-6, 6, wins.size), 0.3
    p = 1 / (1 + np.exp(-log_odds))
    a, b = k * p, k * (1 - p)
    found = fit_cells(log_odds, cells(wins, losses), k)
    assert found.log_likelihood == pytest.approx(betaln(a + wins, b + losses) - betaln(a, b), rel=1e-9, abs=1e-12)
    slope = k * p * (1 - p) * (psi(a + wins) - psi(a) - psi(b + losses) + psi(b))
    assert found.slope == pytest.approx(slope, rel=1e-9, abs=1e-12)


def test_a_fraction_of_an_attempt_counts_as_that_fraction_and_at_the_forecast_rate_as_nothing():
    # 0.9 of an attempt at p = 0.8, k = 4: 0.9 log 0.8; the slope is 0.9 (rate - p), alone and after a success.
    p, k = np.full(4, 0.8), 4.0
    found = fit_cells(np.log(p / (1 - p)), cells([0.9, 0.72, 0.0, 1.72], [0.0, 0.18, 0.9, 0.18]), k)
    assert found.log_likelihood[0] == pytest.approx(0.9 * np.log(0.8))
    assert found.slope[:3] == pytest.approx([0.9 * 0.2, 0.0, -0.9 * 0.8], abs=1e-12)
    # A success at 3.2 of 4, then 0.72 of one at 4.2 of 5 and 0.18 of a failure at 0.8.
    assert found.slope[3] == pytest.approx(4 * 0.16 * (1 / 3.2 + 0.72 / 4.2 - 0.18 / 0.8))
    assert found.rate == pytest.approx([4.1 / 4.9, 0.8, 3.2 / 4.9, 4.92 / 5.9])


def test_sixteen_attempts_neither_overflow_nor_underflow():
    for k in (1e-3, 1e8):
        fit = fit_cells(np.array([-700.0, 700.0]), cells([16, 0], [0, 16]), k)
        assert np.isfinite(fit.log_likelihood).all() and np.isfinite(fit.slope).all()


# The hierarchy


def design_of(wins, losses, level=None) -> Design:
    """Pairs (n, m) with attempts as cells; `level` (n,) numbers the tasks' risk level."""
    n, m = wins.shape
    level = np.zeros(n, dtype=np.int64) if level is None else level
    seen = np.flatnonzero((wins + losses).ravel())
    task, agent = (index.ravel()[seen] for index in np.indices((n, m)))
    return Design(
        cells=cells(wins.ravel()[seen], losses.ravel()[seen]),
        features=np.column_stack([np.ones(seen.size), *(level[task] == i for i in range(3))]).astype(float),
        prior_mean=np.zeros(4),
        prior_sd=np.array([1.0, 0.4, 0.4, 0.4]),
        groupings={
            "agent": Grouping(agent, m, "agent"),
            "task": Grouping(task, n, "task"),
            "agent_level": Grouping(agent * 3 + level[task], m * 3, "interaction"),
        },
    )


def world(concentration=3.0, *, seed=0, agent_count=8, task_count=60, tries=2, keep=1.0):
    """Wins and losses (n, m) of pairs whose own rates vary about what tasks and agents say; the agents' ability."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(0.0, 1.0, agent_count)
    p = sigmoid(0.3 + rng.normal(0.0, 1.5, (task_count, 1)) + ability)
    wins = rng.binomial(tries, rng.beta(concentration * p, concentration * (1.0 - p)))
    seen = rng.random(p.shape) < keep
    return np.where(seen, wins, 0), np.where(seen, tries - wins, 0), ability


def test_the_mode_has_no_slope():
    design = design_of(*world()[:2])
    fit = fit_hierarchy(design, SCALES)
    mean, precision = design.priors(SCALES)
    slope = design.gather(fit_cells(fit.log_odds, design.cells, 3.0).slope) - precision * (fit.parameters - mean)
    assert np.abs(slope).max() < 0.02


def test_agents_are_found_again():
    wins, losses, ability = world()
    found = fit_hierarchy(design_of(wins, losses), {**SCALES, "agent": 1.0, "task": 1.5}).effects["agent"]
    assert np.corrcoef(found.mean, ability)[0, 1] > 0.9


def test_the_held_out_likelihood_agrees_with_leaving_every_attempt_out():
    design = design_of(*world(seed=1, agent_count=4, task_count=6)[:2])
    exact = 0.0
    for cell in range(design.cells.wins.size):
        for place in (0, 1):
            counts = design.cells.wins.copy(), design.cells.losses.copy()
            number = counts[place][cell]
            if number:
                counts[place][cell] -= 1
                rate = fit_hierarchy(replace(design, cells=cells(*counts)), SCALES).cells.rate[cell]
                exact += number * np.log(1 - rate if place else rate)
    assert held_out(design, fit_hierarchy(design, SCALES), 3.0) == pytest.approx(exact, rel=0.05)


def test_held_out_likelihood_prefers_the_truth_to_what_is_far_from_it():
    design, scales = design_of(*world(tries=3)[:2]), {**SCALES, "agent": 1.0, "task": 1.5}
    scores = {k: held_out(design, fit_hierarchy(design, {**scales, "concentration": k}), k) for k in (0.2, 3.0, 100.0)}
    assert scores[3.0] > max(scores[0.2], scores[100.0])
    assert scores[3.0] > held_out(design, fit_hierarchy(design, {**scales, "task": 0.05}), 3.0)


def test_sums_over_groups_are_those_of_an_indicator_matrix():
    rng = np.random.default_rng(0)
    count, sizes = 300, {"agent": 2, "task": 150, "agent_level": 6}
    groupings = {name: Grouping(rng.integers(-1, size, count), size, "agent") for name, size in sizes.items()}
    features = rng.normal(size=(count, 2))
    design = Design(cells(np.ones(count), np.zeros(count)), features, np.zeros(2), np.ones(2), groupings)
    matrix = np.hstack([features, *((g.index[:, None] == np.arange(g.size)) * 1.0 for g in groupings.values())])
    parameters, values = rng.normal(size=matrix.shape[1]), rng.normal(size=count)
    assert design.log_odds(parameters) == pytest.approx(matrix @ parameters)
    assert design.gather(values) == pytest.approx(matrix.T @ values)
    assert design.gather(values, power=2) == pytest.approx((matrix**2).T @ values)


def test_a_part_of_a_grouping_has_its_rows_alone():
    grouping = Grouping(np.array([-1, 4, 2, 4, 7]), 9, "task")
    part = grouping.part(np.array([True, True, False, True, True]))
    assert part.index.tolist() == [-1, 4, 4, 7]
    assert part.gather(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [0, 0, 0, 0, 5, 0, 0, 4, 0]


# The choice of scales


def test_levels_set_from_the_outcomes_change_no_scale():
    wins, losses, _ = world(keep=0.4, seed=2)
    rate = wins.sum(axis=1) / np.maximum((wins + losses).sum(axis=1), 1)
    level = np.searchsorted([0.3, 0.6], rate)
    shuffled = np.random.default_rng(0).permutation(level)
    found = [choose_scales(design_of(wins, losses, own), SuccessPriors()) for own in (level, shuffled)]
    assert found[0] == found[1]
    assert found[0]["task"] > 0.4


def test_tasks_that_all_agents_agree_on_do_not_differ_without_bounds():
    wins = np.repeat(np.where(np.arange(60) % 2, 3, 0)[:, None], 2, axis=1)
    assert choose_scales(design_of(wins, 3 - wins), SuccessPriors())["task"] < 10.0


def test_scales_hold_until_the_records_double_and_are_then_chosen_again():
    rows = random_attempts(4, 460, task_count=20)
    few = model(rows[:10], task_count=20)
    more = few.observe(attempts(*rows[10:199]))
    assert more.success.scales == few.success.scales == SuccessPriors().scales()  # 199 are not twice the least
    many = more.observe(attempts(*rows[199:220]))
    assert many.success.chosen_on == 220
    assert many.success.scales != few.success.scales
    same = many.observe(attempts(*rows[220:439]))
    assert (same.success.chosen_on, same.success.scales) == (220, many.success.scales)
    assert same.observe(attempts(rows[439])).success.chosen_on == 440


# Agents' consistency


AGENTS, TASKS = 8, 60
STEADY = np.where(np.arange(AGENTS) < AGENTS // 2, 0.3, 10.0)


def consistency(wins, losses, spread=0.5):
    design = design_of(wins, losses)
    return np.log(agent_consistency(design, fit_hierarchy(design, SCALES), 2.0, spread))


@pytest.mark.parametrize("seed", range(3))
def test_agents_whose_attempts_end_equally_are_told_from_those_whose_do_not(seed):
    found = consistency(*world(STEADY, seed=seed)[:2])
    assert found[: AGENTS // 2].max() + 0.5 < found[AGENTS // 2 :].min()  # true logs: -1.9 and 1.6


def test_where_agents_do_not_differ_their_factors_shrink_to_one():
    found = [consistency(*world(2.0, seed=seed)[:2]) for seed in range(8)]
    assert np.abs(found).mean() < 0.25


def test_single_attempts_tell_nothing_of_consistency():
    assert np.abs(consistency(*world(STEADY, tries=1)[:2])).max() < 1e-9


def by_hand(wins: np.ndarray, losses: np.ndarray, p: np.ndarray, k: np.ndarray, spread: float) -> np.ndarray:
    """Posterior mean of the log multiple of each row's concentration, k of shape (columns,)."""
    logs = np.arange(-2.5, 2.51, 0.5)
    chance = np.array(
        [
            [np.prod(betabinom.pmf(w, w + b, k * np.exp(x) * q, k * np.exp(x) * (1 - q))) for x in logs]
            for w, b, q in zip(wins, losses, p, strict=True)
        ]
    )
    prior = np.exp(-0.5 * (logs / spread) ** 2)
    return (chance * prior) @ logs / (chance @ prior)


def test_the_posterior_of_consistency_is_that_of_a_grid_by_hand():
    wins, losses = np.array([[2, 0], [1, 2], [0, 3]]), np.array([[0, 2], [1, 0], [2, 1]])
    design = design_of(wins, losses)
    fit = fit_hierarchy(design, SCALES)
    p = sigmoid(averaged(fit.log_odds, fit.leverage)).reshape(wins.shape)
    found = np.log(agent_consistency(design, fit, 2.0, 0.4))
    assert found == pytest.approx(by_hand(wins.T, losses.T, p.T, np.full(3, 2.0), 0.4), rel=1e-9)


def test_far_too_much_evidence_for_floating_point_is_no_trouble():
    wins = np.where(np.arange(20_000) % 2, 2, 0)[:, None] * np.ones((1, 2), dtype=int)
    design = design_of(wins, 2 - wins)
    fit = fit_hierarchy(design, {**SCALES, "task": 1e-3})
    assert np.log(agent_consistency(design, fit, 2.0, 0.5)) == pytest.approx([-2.5, -2.5])  # the end of the grid


# The forecast


def rows_of(wins, losses) -> list[dict]:
    return [
        {"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": bool(k < wins[t, a]), "confidence_before": 0.7}
        for t, a in np.ndindex(wins.shape)
        for k in range(wins[t, a] + losses[t, a])
    ]


def fitted(wins, losses, **priors) -> ForecastModel:
    """The model fitted to wins and losses (n, m) through records."""
    n, m = wins.shape
    own = SuccessPriors(**priors)
    names = agents(*(f"a{a}" for a in range(m)))
    return ForecastModel.fit(tasks(count=n), names, attempts(*rows_of(wins, losses)), POPULATION, priors=own)


def test_a_pair_with_records_is_forecast_at_the_mean_of_its_beta():
    wins, losses, _ = world(STEADY, task_count=30, tries=3)
    made = fitted(wins, losses)
    records = read_records(made.attempts, made.tasks, made.agents, POPULATION)
    k, design = made.success.scales["concentration"], success_design(records, POPULATION.success_rate, SuccessPriors())
    fit = fit_hierarchy(design, made.success.scales)
    p = sigmoid(averaged(fit.log_odds, fit.leverage)).reshape(wins.shape)
    k = k * agent_consistency(design, fit, k, SuccessPriors().consistency)
    assert k.max() > 1.1 * k.min()
    # The normal in place of the Beta has its mean to the closeness of Zeger's approximation.
    assert all_pairs(made, 1).success_probability == pytest.approx((wins + k * p) / (3 + k), abs=0.02)


def test_a_consistent_agent_is_forecast_to_repeat_itself_and_its_chances_are_extreme():
    wins, losses, _ = world(STEADY)
    known, plain = fitted(wins, losses), fitted(wins, losses, consistency=1e-6)
    chance, without = (all_pairs(made, 1).success_probability for made in (known, plain))
    gain = np.where(wins == 2, chance - without, without - chance)
    decided, steady = wins != 1, np.broadcast_to(STEADY < 1.0, wins.shape)
    assert gain[decided & steady].mean() > 0.01
    assert gain[decided & ~steady].mean() < -0.01
    wider = known.success.pair.sd - plain.success.pair.sd
    assert (wider[steady] > 0.0).mean() > 0.9
    assert (wider[~steady] < 0.0).mean() > 0.9


def test_consistency_changes_no_pair_without_records():
    wins, losses, _ = world(STEADY, keep=0.9)
    known, plain = (all_pairs(fitted(wins, losses, consistency=own), 1).success_probability for own in (0.5, 1e-6))
    seen = wins + losses > 0
    assert known[~seen] == pytest.approx(plain[~seen], abs=1e-12)
    assert np.abs(known - plain)[seen].max() > 0.02


@pytest.mark.parametrize("seed", range(6))
def test_one_more_success_of_a_pair_never_lowers_its_forecast_with_many_records(seed):
    rng = np.random.default_rng(seed)
    wins, losses, _ = world(seed=seed, task_count=12, agent_count=4, tries=3, keep=0.9)
    before = fitted(wins, losses)
    task, agent = rng.integers(12), rng.integers(4)
    one = {"task_id": f"t{task}", "agent_id": f"a{agent}", "is_success": True, "confidence_before": 0.7}
    after = before.observe(attempts(one))
    assert after.success.scales == before.success.scales
    old, new = (all_pairs(made, 1).success_probability[task, agent] for made in (before, after))
    assert new > old


def test_names_and_order_change_no_forecast_with_many_records():
    wins, losses, _ = world(task_count=30, agent_count=5, tries=3)
    order = [3, 1, 4, 0, 2]
    one, two = fitted(wins, losses), fitted(wins[:, order], losses[:, order])
    before, after = all_pairs(one), all_pairs(two)
    for name in ("success_probability", "success_low", "success_high", "planned_success"):
        assert getattr(after, name) == pytest.approx(getattr(before, name)[:, order], rel=1e-9)
    again = ForecastModel.fit(one.tasks, one.agents, one.attempts.sample(fraction=1, shuffle=True, seed=0), POPULATION)
    assert all(np.array_equal(a, b) for a, b in zip(parts(all_pairs(one)), parts(all_pairs(again)), strict=True))


def test_an_agents_way_with_a_category_goes_to_new_tasks_of_it_and_no_others():
    """a0 does docs, a1 code; new tasks of each category, and of none, are forecast so."""
    rows = [
        {"task_id": f"{name}{k}", "agent_id": f"a{a}", "category": name, "is_success": (a == able) or k % 4 == 0}
        for name, able in (("docs", 0), ("code", 1))
        for k in range(30)
        for a in (0, 1)
    ]
    frame = tasks(*({"task_id": f"t{i}", "category": kind} for i, kind in enumerate(("docs", None, "code"))))
    fitted = ForecastModel.fit(frame, agents("a0", "a1"), attempts(*rows), POPULATION)
    docs, none, code = -np.diff(fitted.success.pair.mean)[:, 0]
    assert docs > none + 0.3 > code + 0.6
    # A task of no category has nothing of one to be unsure about.
    assert fitted.success.pair.sd[0, 0] > fitted.success.pair.sd[1, 0]
    again = all_pairs(ForecastModel.fit(frame[::-1], agents("a0", "a1"), attempts(*rows), POPULATION))
    assert again.success_probability[::-1] == pytest.approx(all_pairs(fitted).success_probability, rel=1e-9)

"""Success: the joint model, the choice of its scales, agents' consistency, and the forecast they give."""

import numpy as np
import pytest
from scipy.stats import betabinom

from phase19.forecasting.cells import Cells, averaged
from phase19.forecasting.joint import Design, fit_joint
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import read_records, sigmoid
from phase19.forecasting.scales import agent_consistency, choose, with_classes
from phase19.forecasting.success import SuccessPriors, success_design
from tests.builders import (
    POPULATION,
    agents,
    all_pairs,
    attempts,
    center,
    model,
    parts,
    random_attempts,
    spread,
    tasks,
)

SCALES = {"agent": 0.5, "task": 1.0, "category": 0.4, "interaction": 0.3, "concentration": 3.0, "loading": 0.5}


# The joint model


def design_of(wins, losses, level=None, category=None) -> Design:
    """Pairs (n, m) with attempts as cells; `level` (n,) numbers the tasks' risk levels, `category` their categories."""
    n, m = wins.shape
    level = np.zeros(n, dtype=np.int64) if level is None else level
    groups = np.zeros(n, dtype=np.int64) if category is None else category
    seen = np.flatnonzero((wins + losses).ravel())
    task, agent = (index.ravel()[seen] for index in np.indices((n, m)))
    count = int(groups.max()) + 1 if category is not None else 0
    features = np.column_stack([np.ones(n), *(level == i for i in range(3))]).astype(float)
    ones = np.ones(seen.size)
    return Design(
        cells=Cells(wins.ravel()[seen].astype(float), losses.ravel()[seen].astype(float), ones, ones),
        task=task,
        agent=agent,
        covariates=np.vstack([features, features.mean(axis=0)]),
        category=np.append(groups, count),
        agent_count=m + 1,
        category_count=count + 1,
        prior_mean=np.zeros(4),
        prior_sd=np.array([1.0, 0.4, 0.4, 0.4]),
        scores=np.zeros((n + 1, 0)),
    )


def world(concentration=3.0, *, seed=0, agent_count=8, task_count=60, tries=2, keep=1.0):
    """Wins and losses (n, m) of pairs whose own rates vary about what tasks and agents say; the agents' ability."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(0.0, 1.0, agent_count)
    p = sigmoid(0.3 + rng.normal(0.0, 1.5, (task_count, 1)) + ability)
    wins = rng.binomial(tries, rng.beta(concentration * p, concentration * (1.0 - p)))
    seen = rng.random(p.shape) < keep
    return np.where(seen, wins, 0), np.where(seen, tries - wins, 0), ability


def many_sided(seed, dimensions, *, task_count=300, agent_count=20, keep=0.6):
    """Wins, losses and true probabilities (n, m) where tasks ask for several things."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.0, 1.5, (agent_count, dimensions))
    loadings[:, 0] = 1.5
    truth = sigmoid(rng.normal(0.0, 0.5, agent_count) + rng.normal(size=(task_count, dimensions)) @ loadings.T)
    won, seen = rng.random(truth.shape) < truth, rng.random(truth.shape) < keep
    return (won & seen).astype(int), (~won & seen).astype(int), truth


def forecast_of(fit, n):
    mean, variance = fit.rows(np.arange(n))
    return sigmoid(averaged(mean, variance))


def test_agents_are_found_again():
    wins, losses, ability = world()
    found = fit_joint(design_of(wins, losses), {**SCALES, "agent": 1.0, "task": 1.5}, 1)
    assert np.corrcoef(found.state.agent[:-1, 0], ability)[0, 1] > 0.9


def test_a_fit_stays_where_it_is():
    design = design_of(*world()[:2])
    fit = fit_joint(design, SCALES, 2)
    again = fit_joint(design, SCALES, 2, fit.state)
    assert again.mean(design.task, design.agent) == pytest.approx(fit.mean(design.task, design.agent), abs=0.02)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (3, 1), (12, 2), (0, 20)])
def test_the_posterior_of_one_agent_is_that_of_a_grid(won, lost):
    """Tasks that hardly differ: only the sum of intercept and ability, Normal(0, 1 + 0.5^2), is uncertain."""
    wins = (np.arange(won + lost) < won).astype(int)[:, None]
    scales = {**SCALES, "task": 1e-3, "interaction": 1e-3, "concentration": 1e6}
    fit = fit_joint(design_of(wins, 1 - wins) if won + lost else design_of(*np.zeros((2, 1, 1), int)), scales, 1)
    grid = np.linspace(-12.0, 12.0, 20_001)
    # All tasks have one level, whose coefficient is Normal(0, 0.4^2).
    density = np.exp(-0.5 * grid**2 / (1.0 + 0.4**2 + 0.5**2)) * sigmoid(grid) ** won * (1.0 - sigmoid(grid)) ** lost
    density /= density.sum()
    mean = density @ grid
    found = [part[0, 0] for part in fit.rows(np.arange(1))]
    assert found[0] == pytest.approx(mean, abs=0.1)
    # Intercept and ability are taken for independent, although the records only tell their sum.
    exact = np.sqrt(density @ (grid - mean) ** 2)
    assert 0.99 * exact < np.sqrt(found[1]) < 1.2 * exact


def test_single_pairs_are_forecast_as_all_are():
    wins, losses, _ = many_sided(0, 2, task_count=30, agent_count=5)
    design = design_of(wins, losses, category=np.arange(30) % 3)
    fit = fit_joint(design, SCALES, 2)
    task, agent = (index.ravel() for index in np.indices((30, 5)))
    mean, variance = fit.rows(np.arange(30))
    assert fit.mean(task, agent) == pytest.approx(mean.ravel())
    assert sum(fit.variances(task, agent)) == pytest.approx(variance.ravel())


def test_a_second_dimension_tells_agents_apart_that_one_cannot():
    wins, losses, truth = many_sided(1, 2)
    is_new = wins + losses == 0
    design, scales = design_of(wins, losses), {**SCALES, "task": 1.5, "loading": 0.9, "concentration": 1e6}
    errors = [((forecast_of(fit_joint(design, scales, k), 300) - truth)[is_new] ** 2).mean() for k in (1, 2)]
    assert errors[1] < 0.7 * errors[0]


def test_records_of_a_task_make_up_for_an_error_of_what_tasks_share():
    """Of the errors of coefficients and category, a task with 20 records keeps little and a new task everything."""
    wins, losses, _ = world(task_count=40, agent_count=20, tries=1)
    wins[0], losses[0] = 0, 0
    fit = fit_joint(design_of(wins, losses), {**SCALES, "task": 1.5}, 1)
    left = fit.left(np.arange(40), np.zeros(40, np.int64))
    assert left[0] == 1.0
    assert np.abs(left[1:]).max() < 0.6


def test_the_unknown_task_and_agent_have_no_effects_of_their_own():
    design = design_of(*world()[:2], category=np.arange(60) % 2)
    fit = fit_joint(design, SCALES, 2)
    assert not fit.state.task[-1].any() and not fit.task_cov()[-1].any() and not fit.agent_cov[-1].any()
    assert fit.state.agent[-1].tolist() == [0.0, SCALES["task"], 0.0]
    assert not fit.state.interaction[-1].any() and not fit.state.interaction[:, -1].any()
    assert fit.state.category[-1] == fit.category_sd[-1] == 0.0


def test_cells_left_out_teach_nothing():
    wins, losses, _ = world()
    design, out = design_of(wins, losses), np.arange(wins.size) % 3 == 0
    flipped = np.where(out.reshape(wins.shape), losses, wins), np.where(out.reshape(wins.shape), wins, losses)
    fits = [fit_joint(own, SCALES, 1, left_out=out) for own in (design, design_of(*flipped))]
    one, other = (fit.rows(np.arange(60))[0] for fit in fits)
    assert one == pytest.approx(other)


def test_certain_outcomes_keep_log_odds_finite():
    wins = np.repeat(np.where(np.arange(60) % 2, 3, 0)[:, None], 4, axis=1)
    fit = fit_joint(design_of(wins, 3 - wins), {**SCALES, "task": 30.0, "agent": 10.0, "loading": 2.0}, 3)
    assert all(np.isfinite(part).all() for part in fit.rows(np.arange(60)))


# The choice of scales


def chosen(wins, losses, level=None):
    return choose(design_of(wins, losses, level), SuccessPriors().scales(), SuccessPriors().spread)


def test_levels_set_from_the_outcomes_change_no_scale():
    wins, losses, _ = world(keep=0.4, seed=2)
    rate = wins.sum(axis=1) / np.maximum((wins + losses).sum(axis=1), 1)
    level = np.searchsorted([0.3, 0.6], rate)
    shuffled = np.random.default_rng(0).permutation(level)
    found = [chosen(wins, losses, own) for own in (level, shuffled)]
    assert found[0] == found[1]
    assert found[0][0]["task"] > 0.4


def test_tasks_that_all_agents_agree_on_do_not_differ_without_bounds():
    wins = np.repeat(np.where(np.arange(60) % 2, 3, 0)[:, None], 2, axis=1)
    assert chosen(wins, 3 - wins)[0]["task"] < 10.0


def test_the_choice_tells_worlds_apart():
    """Tasks that differ much or little, pairs that vary by themselves or not, and one dimension or two."""
    easy, hard = (many_sided(3, 1, keep=0.7), many_sided(3, 2, keep=0.7))
    assert chosen(*easy[:2])[1] == 1
    assert chosen(*hard[:2])[1] >= 2
    steady, erratic = (chosen(*world(own, tries=3)[:2])[0]["concentration"] for own in (0.3, 30.0))
    assert steady < 1.0
    assert erratic >= 8.0
    assert chosen(*easy[:2])[0]["task"] > 1.0


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
    return np.log(agent_consistency(design, cell_log_odds(design), 2.0, spread))[:-1]


def cell_log_odds(design, scales=SCALES):
    fit = fit_joint(design, scales, 1)
    return averaged(fit.mean(design.task, design.agent), sum(fit.variances(design.task, design.agent)))


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
    log_odds = cell_log_odds(design)
    p = sigmoid(log_odds).reshape(wins.shape)
    found = np.log(agent_consistency(design, log_odds, 2.0, 0.4))[:-1]
    assert found == pytest.approx(by_hand(wins.T, losses.T, p.T, np.full(3, 2.0), 0.4), rel=1e-9)


def test_far_too_much_evidence_for_floating_point_is_no_trouble():
    wins = np.where(np.arange(20_000) % 2, 2, 0)[:, None] * np.ones((1, 2), dtype=int)
    design = design_of(wins, 2 - wins)
    log_odds = cell_log_odds(design, {**SCALES, "task": 1e-3})
    found = np.log(agent_consistency(design, log_odds, 2.0, 0.5))[:-1]
    assert found == pytest.approx([-2.5, -2.5])  # the end of the grid


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
    fit = made.success.fit
    log_odds = averaged(fit.mean(design.task, design.agent), sum(fit.variances(design.task, design.agent)))
    if (classes := made.success.classes) is not None:
        log_odds = with_classes(log_odds, classes, made.success.class_weight, design.task, design.agent)
    p = sigmoid(log_odds).reshape(wins.shape)
    k = k * agent_consistency(design, log_odds, k, SuccessPriors().consistency)[:-1]
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
    wider = spread(known.success) - spread(plain.success)
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
    docs, none, code = -np.diff(center(fitted.success))[:, 0]
    assert docs > none + 0.3 > code + 0.6
    again = all_pairs(ForecastModel.fit(frame[::-1], agents("a0", "a1"), attempts(*rows), POPULATION))
    assert again.success_probability[::-1] == pytest.approx(all_pairs(fitted).success_probability, rel=1e-9)

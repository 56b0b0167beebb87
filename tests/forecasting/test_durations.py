"""Durations: the fit, censored times, the distribution of one attempt's time, and what changes none of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import phase19
from phase19 import frames
from phase19.forecasting.attempt_times import AttemptTimes, OutcomeContrast, truncated_normal_moments
from phase19.forecasting.durations import fit_durations
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.posterior import KnownPairs
from phase19.forecasting.predictive import draw_wave
from phase19.forecasting.records import read_records
from phase19.forecasting.timed_cells import DurationPriors
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

DURATIONS = ("duration_ms_p50", "duration_ms_p90", "planned_duration_ms")
# Priors worth nothing: what is left is the arithmetic of the records.
BARE = DurationPriors(
    agent_variance=1e-9,
    risk_variance=1e-9,
    category_variance=1e-9,
    interaction_variance=1e-9,
    task_variance=1e-9,
    loading=1e-3,
    pair_variance=1e-9,
    outcome_variance=1e-9,
    variance_weight=1e9,
    kind_weight=1e9,
    loading_weight=1e9,
    residual_weight=1e-9,
    agent_weight=1e9,
)


def fit(rows, priors=None, *, population_ms=None, task_count=4, names=("a0", "a1", "a2"), estimated=None):
    frame = tasks(count=task_count)
    records = read_records(attempts(*rows), frame, agents(*names), POPULATION)
    estimate = np.full(task_count, np.nan) if estimated is None else np.array(estimated)
    return fit_durations(records, population_ms, estimate, priors or DurationPriors())


def residual_sd(found):
    """Standard deviation of the log times of an average agent's failures and successes."""
    return np.sqrt(found.kept.spread.residual)


def timed(*durations_ms, **columns):
    return [{"task_id": "t0", "duration_ms": float(ms), **columns} for ms in durations_ms]


def world_rows(
    seed, *, count=2000, failure_longer=0.8, limit_ms=np.inf, failure_sd=0.5, success_sd=0.5, mark=True, task_count=40
):
    """Records of a known world: log medians 8 and 8 + `failure_longer`, agents 0, 0.3 and 0.6 slower."""
    rng = np.random.default_rng(seed)
    task_effect = 0.4 * rng.standard_normal(task_count)
    rows = []
    for task, agent, won in zip(
        rng.integers(task_count, size=count), rng.integers(3, size=count), rng.random(count) < 0.6, strict=True
    ):
        sd = success_sd if won else failure_sd
        log_ms = 8 + 0.3 * agent + task_effect[task] + (not won) * failure_longer + sd * rng.standard_normal()
        latent = float(np.exp(log_ms))
        is_censored = latent > limit_ms
        rows.append(
            {
                "task_id": f"t{task}",
                "agent_id": f"a{agent}",
                "is_success": bool(won) and not is_censored,
                "duration_ms": min(latent, limit_ms),
                "is_censored": is_censored and mark,
            }
        )
    return rows


# Effects


def test_the_plain_fit_is_mean_and_spread_of_log_durations():
    # Logs 1, 2, 3, 6: mean 3, mean square about it (4 + 1 + 0 + 9) / 4 = 3.5. The level counts one attempt more, so its
    # variance is a fifth of that of an attempt, v = 3.5 + v / 5 = 4.375.
    found = fit(timed(*np.exp([1.0, 2.0, 3.0, 6.0])), BARE)
    assert found.level == pytest.approx(3.0)
    assert residual_sd(found)[1] ** 2 == pytest.approx(4.375, rel=0.03)
    assert center(found)[0, 0] == pytest.approx(3.0, abs=1e-6)
    assert np.isinf(found.residuals.limit_ms).all()


def test_the_contrast_of_outcomes_by_hand():
    # Successes at log 2 and 2, failures at 5 and 5, codes -1/2 and 1/2: sum w c r = 4 x .5 x 1.5 / v and
    # sum w c^2 = 1 / v, so (3 / v) / (1 / v + 1 / V); the code is one apart and zero on average.
    rows = [*timed(*np.exp([2.0, 2.0])), *timed(*np.exp([5.0, 5.0]), is_success=False)]
    found = fit(rows, replace(BARE, outcome_variance=0.25, residual_variance=1.0, residual_weight=1e9))
    assert found.outcome.code.tolist() == [0.5, -0.5]
    assert found.outcome.mean == pytest.approx(3 / (1 + 4), rel=1e-6)
    assert found.outcome.sd == pytest.approx((1 + 4) ** -0.5, rel=1e-6)
    assert found.outcome.shift() == pytest.approx([0.3, -0.3], rel=1e-6)
    assert found.outcome.shift(np.array([1.0, 0.0])) == pytest.approx(
        np.outer([0.5, -0.5], [0.6 + 5**-0.5, 0.6]), rel=1e-6
    )


def test_codes_weigh_the_outcomes_as_the_records_mix_them():
    found = fit([*timed(*range(1, 10)), *timed(5, is_success=False)])
    # (9 + 1) / (10 + 2) and (1 + 1) / (10 + 2), one apart.
    assert found.outcome.code == pytest.approx([10 / 12, -2 / 12])


def test_failures_that_take_longer_are_found_and_planned():
    found = fit(world_rows(0), task_count=40)
    assert found.outcome.mean == pytest.approx(0.8, abs=4 * found.outcome.sd)
    assert found.outcome.sd < 0.05
    assert np.diff(center(found).mean(axis=0)) == pytest.approx([0.3, 0.3], abs=0.1)


def test_each_outcome_has_a_spread_of_its_own():
    found = fit(world_rows(1, failure_sd=1.0, success_sd=0.3), task_count=40)
    assert residual_sd(found) == pytest.approx([1.0, 0.3], rel=0.1)


def test_few_failures_borrow_the_spread_of_all():
    rows = [{**row, "is_success": True} for row in world_rows(2, count=300)]
    found = fit([*rows, *timed(3000.0, is_success=False)], task_count=40)
    assert residual_sd(found)[0] == pytest.approx(residual_sd(found)[1], rel=0.1)


def test_the_freedom_that_effects_take_is_given_back():
    """Three records a task: what the fitted task effects leave of a spread of 0.5 is allowed for."""
    found = fit(world_rows(14, count=900, failure_longer=0.0, task_count=300), task_count=300)
    # One record a pair cannot tell the pair's own effect from the attempt's: together they are the spread.
    spread = found.kept.spread.residual + found.kept.spread.of_pairs().max()
    assert spread == pytest.approx([0.25, 0.25], rel=0.12)


def test_a_world_has_pairs_of_its_own():
    fitted = model(task_count=3000, agent_count=2)
    world, task = fitted.world(1), np.arange(3000)
    logs = []
    for agent in (0, 1):
        played, _ = world.play(task, np.full(3000, agent), np.ones(3000, np.int64))
        logs.append(np.log(played.busy_ms) - world.outcome_log_ms[played.succeeded.astype(int)])
    # Two agents at one task differ by two pairs and two attempts: 2 (.05 + .2), known to 4 x 2.6 %.
    assert (logs[0] - logs[1]).var() == pytest.approx(0.5, rel=0.1)


def test_a_pair_that_differs_is_found_and_others_are_left():
    rng = np.random.default_rng(3)
    rows = [
        {
            "task_id": f"t{t}",
            "agent_id": f"a{a}",
            "duration_ms": float(np.exp(7 + 1.0 * ((t + a) % 2) + 0.2 * rng.standard_normal())),
        }
        for t in range(4)
        for a in range(2)
        for _ in range(6)
    ]
    found = fit(rows)
    grid = center(found)[:, :2]
    longer = (np.arange(4)[:, None] + np.arange(2)) % 2 == 1
    assert grid[longer].min() > grid[~longer].max() + 0.7
    assert np.ptp(grid[:, 1] - grid[:, 0]) > 1.5
    assert spread(found)[:, :2].max() < 0.7 * spread(found)[:, 2].min()


@pytest.mark.parametrize(("of_pairs", "of_attempts"), [(0.6, 0.2), (0.05, 0.6)])
def test_repeated_attempts_tell_pairs_from_attempts(of_pairs, of_attempts):
    rng = np.random.default_rng(5)
    pair = of_pairs * rng.standard_normal((40, 5))
    rows = [
        {"task_id": f"t{t}", "agent_id": f"a{a}", "duration_ms": float(np.exp(8 + pair[t, a] + of_attempts * z))}
        for (t, a, _), z in np.ndenumerate(rng.standard_normal((40, 5, 3)))
    ]
    found = fit(rows, task_count=40, names=tuple(f"a{a}" for a in range(5)))
    assert residual_sd(found)[1] == pytest.approx(of_attempts, rel=0.1)
    assert np.sqrt(found.kept.spread.of_pairs()[:5]).mean() == pytest.approx(of_pairs, rel=0.2, abs=0.15)


def test_records_of_nobody_known_are_no_pair_of_the_agent_before():
    rows = timed(1000, 3000, agent_id=None) + timed(1500, agent_id="stranger") + timed(2000, task_id="t1")
    found = fit(rows, replace(BARE, pair_variance=1.0))
    assert np.flatnonzero(np.abs(center(found) - found.level) > 0.01).tolist() == [3]  # t1 by a0 of three agents


def test_without_records_the_stated_mean_is_what_is_planned():
    # The mean over agents, tasks, pairs and attempts: the level lies half their variance below, the plan adds it back.
    forecast = all_pairs(model(), 1)
    outcome = 0.25 * 0.5 * 0.25  # what the unknown contrast adds: half of (sd / 2)^2
    assert forecast.planned_duration_ms == pytest.approx(np.full((4, 3), 1000.0 * np.exp(outcome)), rel=1e-3)


def test_an_agents_summary_is_what_is_planned_for_it():
    told = agents("a0", evidence="summary", summary_task_count=10_000, summary_duration_ms=4000.0)
    fitted = ForecastModel.fit(tasks(count=4), pl.concat([told, agents("a1")]), attempts(), POPULATION)
    assert all_pairs(fitted, 1).planned_duration_ms[:, 0] == pytest.approx(np.full(4, 4000.0), rel=0.05)


# Categories and risk levels


def kinds_fit(rows, priors=None, *, categories, estimated=None):
    """Fit records to tasks `t0 ...` of these categories, all of MEDIUM risk."""
    frame = tasks(*({"task_id": f"t{i}", "category": kind} for i, kind in enumerate(categories)))
    records = read_records(attempts(*rows), frame, agents("a0", "a1"), POPULATION)
    estimate = np.full(len(categories), np.nan) if estimated is None else np.array(estimated)
    return fit_durations(records, None, estimate, priors or DurationPriors())


def of_kinds(**kinds_ms):
    """One record by each agent of tasks that are only recorded: `kind=[ms, ...]`."""
    return [
        {"task_id": f"{kind}{i}", "agent_id": agent, "category": None if kind == "none" else kind, "duration_ms": ms}
        for kind, times_ms in kinds_ms.items()
        for i, ms in enumerate(times_ms)
        for agent in ("a0", "a1")
    ]


def medians(found):
    count = len(center(found))
    return found.times(np.arange(count), np.zeros(count, int)).quantiles_ms(np.ones(count), 0.5)[0]


def test_the_effect_of_a_category_by_hand():
    """One record of each of two tasks at log 1 and of two at log 5, about 3; category 4, task 2 / 2 and residual 1.

    A task's record has variance 1 + 1 about its category: precision 2 x 1/2 + 1/4 = 1.25, mean -2 / 1.25 = -1.6. The
    first recorded task has -1.6 - 0.4 / 2 = -1.8. Log durations are normal, so their variances follow from the prior
    covariances: 4 within a category, and 1 of the level, which counts one more attempt.
    """
    known = {"kind_weight": 1e9, "variance_weight": 1e9, "residual_weight": 1e9}
    priors = replace(BARE, category_variance=4.0, task_variance=2.0, residual_variance=1.0, **known)
    rows = [{"task_id": f"t{i}", "duration_ms": float(np.exp(log))} for i, log in enumerate((1, 1, 5, 5))]
    categories = ["x", "x", "y", "y", "x", "y", "z"]
    found = kinds_fit(rows, priors, categories=categories)
    assert found.level == pytest.approx(3.0)
    assert center(found)[:, 0] - found.level == pytest.approx([-1.8, -1.8, 1.8, 1.8, -1.6, 1.6, 0.0], abs=2e-3)
    prior = np.eye(7) + 4.0 * np.equal.outer(categories, categories) + 1.0
    left = prior - prior[:, :4] @ np.linalg.inv(prior[:4, :4] + np.eye(4)) @ prior[:4]
    assert spread(found)[:, 0] ** 2 == pytest.approx(np.diag(left), rel=1e-3)


def test_new_tasks_take_as_long_as_their_category():
    rng = np.random.default_rng(0)
    rows = of_kinds(
        quick=10 * np.exp(0.2 * rng.standard_normal(60)), slow=10_000 * np.exp(0.2 * rng.standard_normal(3))
    )
    assert medians(kinds_fit(rows, categories=["quick", "slow"])) == pytest.approx([10, 10_000], rel=0.2)
    lost = [{**row, "category": None} for row in rows]
    assert medians(kinds_fit(lost, categories=["quick", "slow"])) == pytest.approx([14, 14], rel=0.1)  # of all records


def test_a_category_of_one_task_is_shrunk_and_an_unknown_one_less_sure():
    found = kinds_fit(of_kinds(x=[100.0] * 8, y=[800.0] * 8, z=[6400.0]), categories=["x", "y", "z", "new"])
    assert medians(found)[:2] == pytest.approx([100, 800], rel=0.1)
    assert 1000 < medians(found)[2] < 6390
    assert spread(found)[0, 0] < spread(found)[2, 0] < spread(found)[3, 0]


def test_records_without_a_category_are_a_kind_of_their_own():
    found = kinds_fit(of_kinds(x=[100.0] * 8, none=[5000.0] * 8), categories=["x", None])
    assert medians(found) == pytest.approx([100, 5000], rel=0.1)


def test_a_single_recorded_category_changes_nothing():
    rows = of_kinds(x=[100.0, 150.0, 90.0])
    plain = [{**row, "category": None} for row in rows]
    one, two = (kinds_fit(each, categories=["x", "y", None]) for each in (rows, plain))
    assert np.array_equal(center(one), center(two)) and np.array_equal(spread(one), spread(two))


def test_the_runs_category_counts_not_that_of_the_records():
    rows = [*of_kinds(x=[100.0] * 8, y=[800.0] * 8), {"task_id": "t0", "category": "x", "duration_ms": 800.0}]
    told = kinds_fit(rows, categories=["y", "x"])
    assert medians(told)[0] == pytest.approx(800, rel=0.1)
    renamed = kinds_fit([*rows[:-1], {**rows[-1], "category": "y"}], categories=["y", "x"])
    assert np.array_equal(center(told), center(renamed))


def test_durations_follow_the_risk_level():
    rows = [
        {"task_id": f"{level}{i}", "agent_id": agent, "risk_level": level, "duration_ms": ms}
        for level, ms in (("LOW", 100.0), (None, 1000.0), ("HIGH", 8000.0))  # not recorded counts as MEDIUM
        for i in range(8)
        for agent in ("a0", "a1")
    ]
    found = fit(rows, task_count=3)  # LOW, MEDIUM, HIGH
    assert np.exp(found.mean(np.arange(3), np.zeros(3, int))) == pytest.approx([100, 1000, 8000], rel=0.15)


def test_estimates_count_beside_the_category_once():
    """Estimates say 10 and 10,000 as the records of the categories do: together they say it once, not 1,000 twice."""
    rows, kinds = of_kinds(quick=[10.0] * 20, slow=[10_000.0] * 20), ["quick", "quick", "slow", "slow"]
    found = medians(kinds_fit(rows, categories=kinds, estimated=[5.0, 20.0, 5000.0, 20_000.0]))
    assert found == pytest.approx([5, 20, 5000, 20_000], rel=0.15)
    # Of two categories that nobody recorded, only the estimates tell.
    found = medians(kinds_fit(rows, categories=["new", "new", "other"], estimated=[1.0, 1.0, 1000.0]))
    assert found[2] / found[0] == pytest.approx(1000, rel=0.1)


def test_a_category_learned_in_a_wave_counts_in_the_next():
    rows = of_kinds(x=[100.0] * 8, y=[110.0] * 8)
    frame = tasks(*({"task_id": f"t{i}", "category": "xy"[i % 2]} for i in range(20)))
    before = ForecastModel.fit(frame, agents("a0", "a1"), attempts(*rows), POPULATION)
    slower = [{"task_id": f"t{i}", "agent_id": f"a{i % 4 // 2}", "duration_ms": 2000.0} for i in range(1, 16, 2)]
    after = before.observe(attempts(*slower))
    moved = all_pairs(after, 1).duration_ms_p50 / all_pairs(before, 1).duration_ms_p50
    # t17 is a y, t16 an x, neither was tried. Variances from equal times let the level take a part of the change.
    assert moved[17].min() > 2
    assert moved[17].min() > 1.6 * moved[16].max()


@pytest.mark.parametrize("limit_log_ms", [np.inf, 7.5], ids=["no limit", "a limit that stops a third"])
def test_intervals_of_new_tasks_cover(limit_log_ms):
    """p50 and p90 of tasks never tried, of categories with 1 to 11 recorded tasks, in 40 drawn worlds."""
    below = []
    for seed in range(40):
        rng, names = np.random.default_rng(seed), np.array(["a", "b", "c", "d"])
        kind = np.append(np.repeat(np.arange(4), 10), np.repeat(np.arange(4), rng.integers(1, 12, 4)))
        task_ms = rng.standard_normal(4)[kind] + 0.5 * rng.standard_normal(kind.size)
        log_ms = 7 + task_ms[:, None] + 0.3 * rng.standard_normal(2) + 0.5 * rng.standard_normal((kind.size, 2))
        task, agent = np.divmod(np.arange(80, 2 * kind.size), 2)
        rows = pl.DataFrame(
            {
                "task_id": [f"t{i}" for i in task],
                "agent_id": [f"a{i}" for i in agent],
                "category": names[kind[task]],
                "duration_ms": np.exp(np.minimum(log_ms, limit_log_ms)[task, agent]),
                "is_success": log_ms[task, agent] < limit_log_ms,
                "is_censored": log_ms[task, agent] > limit_log_ms,
                "source": "phase18",
            }
        )
        frame = tasks(*({"task_id": f"t{i}", "risk_level": "LOW", "category": names[kind[i]]} for i in range(40)))
        records = read_records(frames.ATTEMPTS.conform(rows), frame, agents("a0", "a1"), POPULATION)
        times = fit_durations(records, None, np.full(40, np.nan)).times(np.arange(40)[:, None], np.arange(2)[None, :])
        chance = norm.cdf((limit_log_ms - times.mean[1]) / times.sd[1])
        quantiles = [np.log(found) for found in times.quantiles_ms(chance, 0.5, 0.9)]
        is_told = [bound < min(limit_log_ms - 1e-6, 99.0) for bound in quantiles]  # others promise the limit only
        below.append(
            [
                (log_ms[:40] <= bound)[told].mean() if told.any() else np.nan
                for bound, told in zip(quantiles, is_told, strict=True)
            ]
        )
    # Errors are shared within a world: its shares vary by about 0.12 and 0.06, their means by a sixth of that.
    assert np.nanmean(below, axis=0) == pytest.approx([0.5, 0.9], abs=0.05)


def test_the_error_of_a_category_is_shared_by_its_tasks():
    """Sums over a category's new tasks, in 100 drawn worlds, are as uncertain as `level_sd` says."""
    scores = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, y, new = (mean + 0.5 * rng.standard_normal(size) for mean, size in ((5, 4), (8, 4), (8, 40)))
        found = kinds_fit(of_kinds(x=np.exp(x), y=np.exp(y)), categories=["y"] * 40)
        task, agent = np.arange(40), np.zeros(40, int)
        own = found.sd(task, agent) ** 2 - found.level_sd(task, agent) ** 2
        error = (new - found.mean(task, agent)).sum()
        scores.append(error / np.sqrt(own.sum() + found.level_sd(task, agent).sum() ** 2))
    # Sum error / sd: about 1; without the shared part, sqrt((40 + 1600 / 4) / 40) = 3.
    assert 0.7 < np.std(scores) < 1.7


# Agents


def world_of_agents(log_ms, seed=0, keep=0.5, sd=0.2, category=None):
    """Records of half of the pairs of a world with these log durations, and how far the forecasts of others are off."""
    rng = np.random.default_rng(seed)
    shown = rng.random(log_ms.shape) < keep
    kinds = ["x"] * len(log_ms) if category is None else category
    names = [f"a{a}" for a in range(log_ms.shape[1])]
    noise = np.broadcast_to(sd, log_ms.shape) * rng.standard_normal(log_ms.shape)
    rows = [
        {"task_id": f"t{t}", "agent_id": names[a], "category": kinds[t], "duration_ms": float(np.exp(log))}
        for (t, a), log in np.ndenumerate(log_ms + noise)
        if shown[t, a]
    ]
    frame = tasks(*({"task_id": f"t{t}", "category": kind, "risk_level": "LOW"} for t, kind in enumerate(kinds)))
    found = fit_durations(
        read_records(attempts(*rows), frame, agents(*names), POPULATION), None, np.full(len(kinds), np.nan)
    )
    return found, np.sqrt(((center(found) - log_ms)[~shown] ** 2).mean())


def test_an_agent_may_be_slow_in_one_category_alone():
    rng = np.random.default_rng(1)
    kind, own = np.arange(60) % 4, rng.standard_normal((4, 10))
    found, error = world_of_agents(8 + own[kind], category=[f"c{k}" for k in kind])
    assert error < 0.3  # of 1.0 that the agents differ within a category
    assert found.kept.scales["interaction"] == pytest.approx(1.0, rel=0.25)


def test_agents_react_differently_to_long_tasks():
    """Loadings on the tasks are found. With equal ones, forecasts of other pairs would be off by 0.45 and more."""
    rng = np.random.default_rng(2)
    loading = np.linspace(0.25, 1.75, 10)
    found, error = world_of_agents(8 + rng.standard_normal((60, 1)) * loading)
    assert error < 0.2
    assert np.corrcoef(found.fit.state.agent[:-1, 1], loading)[0, 1] > 0.98
    assert found.kept.scales["discrimination"] == pytest.approx(loading.std() / loading.mean(), rel=0.3)


def test_further_dimensions_of_tasks_are_found_where_they_are():
    rng = np.random.default_rng(3)
    common, second = rng.standard_normal((2, 100, 1))
    loading = np.where(np.arange(20) < 10, 1.0, -1.0)
    plain, _ = world_of_agents(8 + common * np.ones(20))
    found, error = world_of_agents(8 + common + second * loading)
    assert plain.dimensions == 1 and found.dimensions == 2
    assert error < 0.3


def test_each_agent_has_a_spread_of_its_own():
    rng = np.random.default_rng(4)
    sd = np.array([0.1, 0.2, 0.4, 0.8])
    found, _ = world_of_agents(8 + rng.standard_normal((200, 1)) * np.ones(4), keep=0.9, sd=sd)
    spread = np.sqrt(found.residuals.sd[1, :4] ** 2 + found.kept.spread.of_pairs()[:4])
    assert spread == pytest.approx(sd, abs=0.08)


# Censored times


def test_what_lies_beyond_a_limit_by_hand():
    # Beyond 0: sqrt(2 / pi) = 0.79788, variance 1 - 2 / pi. Beyond -inf: all of it. Far out: just beyond, with variance
    # about 1 / a^2.
    mean, variance = truncated_normal_moments(np.array([0.0, -40.0, 30.0]))
    assert mean == pytest.approx([np.sqrt(2 / np.pi), 0.0, 30 + 1 / 30], abs=1e-4)
    assert variance == pytest.approx([1 - 2 / np.pi, 1.0, 1 / 900], abs=1e-4)


@given(st.floats(-8.0, 60.0))
def test_what_lies_beyond_a_limit_is_beyond_it(limit):
    mean, variance = truncated_normal_moments(np.array([limit]))
    assert mean[0] >= limit and 0 <= variance[0] <= 1


def test_the_mean_of_censored_times_by_hand():
    """Four finished at log 0 and one stopped at 0, unit variance: the level x solves its own expectation.

    With m the mean beyond 0 of Normal(x, 1), the level is m / 6, the sixth being the attempt at the recorded mean
    that holds it. At x = 0.1418: m = x + density(x) / P(Z > -x) = 0.1418 + 0.39495 / 0.55638 = 0.8517, a sixth of
    which is 0.1419.
    """
    rows = [*timed(1, 1, 1, 1), *timed(1, is_censored=True)]
    found = fit(rows, replace(BARE, residual_variance=1.0, residual_weight=1e9))
    assert found.level == pytest.approx(0.1418, abs=3e-4)


def test_latent_medians_are_found_behind_a_limit():
    """A third of the attempts is stopped: counted as finished they hide the slow agents' pace, censored they do not."""
    limit_ms = float(np.exp(8.7))
    kept, marked, unmarked = (
        fit(rows, task_count=40)
        for rows in (
            world_rows(4, failure_longer=0.0),
            world_rows(4, failure_longer=0.0, limit_ms=limit_ms),
            world_rows(4, failure_longer=0.0, limit_ms=limit_ms, mark=False),
        )
    )
    pairs = np.arange(40)[:, None], np.arange(3)[None, :]
    # Success is only seen below the limit, so the mean over outcomes is what can be compared.
    errors = [np.abs(found.mean(*pairs) - kept.mean(*pairs)).mean() for found in (marked, unmarked)]
    assert errors[0] < 0.5 * errors[1]


def test_what_is_spent_ends_at_the_limit():
    limit_ms = float(np.exp(8.7))
    rows = world_rows(5, limit_ms=limit_ms)
    fitted = model(rows, task_count=40)
    forecast = all_pairs(fitted, 1)
    assert (forecast.duration_ms_p90 <= limit_ms * (1 + 1e-9)).all()
    actual = np.mean([row["duration_ms"] for row in rows])
    assert forecast.planned_duration_ms.mean() == pytest.approx(actual, rel=0.03)


def test_limits_by_hand():
    rows = [
        *timed(100, 300, task_id="t0"),
        *timed(200, task_id="t0", is_censored=True),  # stopped once at 200, but 300 was allowed
        *timed(50, 50, task_id="t1", is_censored=True),
        *timed(900, task_id="t2"),
    ]
    # t2 was never stopped, t3 never tried: the longest time of all.
    assert fit(rows).residuals.limit_ms == pytest.approx([300.0, 50.0, 900.0, 900.0])
    assert np.isinf(fit(timed(100, 300)).residuals.limit_ms).all()


@pytest.mark.parametrize("count", [1, 3, 60])
def test_all_censored_is_finite_and_longer_than_recorded(count):
    found = fit(timed(*[500.0] * count, is_censored=True))
    assert np.log(500.0) < found.level < np.log(500.0) + 3
    assert (residual_sd(found) > 0).all() and np.isfinite(residual_sd(found)).all()
    forecast = all_pairs(model(timed(*[500.0] * count, is_censored=True)), 3)
    assert (forecast.duration_ms_p90 <= 500.0 * (1 + 1e-9)).all()


def test_more_stopped_attempts_lift_the_level_further():
    levels = [fit(timed(*[500.0] * 10, *[100.0] * 10, is_censored=False)).level]
    for stopped in (1, 5, 10):
        rows = [*timed(*[500.0] * stopped, is_censored=True), *timed(*[500.0] * (10 - stopped), *[100.0] * 10)]
        levels.append(fit(rows).level)
    assert (np.diff(levels) > 0).all()


# One attempt's time


def mixed_times(variance=0.2, shift=(1.0, -0.5), limit_ms=np.inf, size=3, stopped_odds=(1.0, 1.0)):
    """Times of pairs of growing mean and variance, whose failures vary more than their successes."""
    variances = np.linspace(variance, 3 * variance, size)
    return AttemptTimes(
        mean=np.linspace(2.0, 4.0, size) + np.array(shift)[:, None],
        sd=np.sqrt(variances + np.array([[0.5], [0.1]])),
        limit_ms=np.full(size, limit_ms),
        smearing=np.zeros(2),
        stopped_odds=np.array(stopped_odds),
    )


def drawn_times(times, chance, draws, seed=0):
    """Times of single attempts drawn one by one, and whether they succeeded; (draws, pairs)."""
    rng = np.random.default_rng(seed)
    shape = (draws, times.limit_ms.size)
    won = rng.random(shape) < chance
    mean, sd, odds = (
        np.where(won, part[1], part[0]) for part in (times.mean, times.sd, times.stopped_odds.reshape(2, 1))
    )
    below = norm.cdf((np.log(times.limit_ms) - mean) / sd)
    stopped = rng.random(shape) < odds * (1.0 - below) / (odds * (1.0 - below) + below)
    finished_ms = np.exp(mean + sd * norm.ppf(rng.random(shape) * below))
    return np.where(stopped, times.limit_ms, finished_ms), won


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -0.5), (3.0, -1.0)])
@pytest.mark.parametrize("variance", [0.01, 0.05, 0.4])
@pytest.mark.parametrize("limit_ms", [np.inf, 60.0])
def test_quantiles_are_those_of_draws(shift, variance, limit_ms):
    times = mixed_times(variance, shift, limit_ms, stopped_odds=(20.0, 0.1))
    chance = np.array([0.2, 0.5, 0.93])
    sample, _ = drawn_times(times, chance, 200_000)
    for level, found in zip((0.05, 0.5, 0.9), times.quantiles_ms(chance, 0.05, 0.5, 0.9), strict=True):
        below = (sample < found).mean(axis=0)
        is_finished = found < limit_ms
        assert below[is_finished] == pytest.approx(level, abs=0.005)  # sampling error 0.0011
        assert (below[~is_finished] < level + 0.005).all()


def test_expectations_are_those_of_draws_with_and_without_limits():
    for limit_ms in (np.inf, 90.0, 20.0, 1e-4):
        times = mixed_times(limit_ms=limit_ms, stopped_odds=(5.0, 0.2))
        sample, won = drawn_times(times, 0.5, 400_000, seed=2)
        log_mean, log_variance = times.log_moments()
        for outcome, found in enumerate(times.expected_ms()):
            for pair in range(3):
                own = sample[won[:, pair] == outcome, pair]
                assert found[pair] == pytest.approx(
                    own.mean(), abs=4 * own.std() / np.sqrt(own.size) + 5e-3 * own.mean()
                )
                logs = np.log(own)
                assert log_mean[outcome, pair] == pytest.approx(
                    logs.mean(), abs=5 * logs.std() / np.sqrt(own.size) + 1e-9
                )
                assert log_variance[outcome, pair] == pytest.approx(logs.var(), rel=0.06, abs=1e-9)


def test_a_limit_nobody_reaches_changes_nothing():
    free, bounded = mixed_times(), mixed_times(limit_ms=1e26)
    assert np.allclose(free.expected_ms(), bounded.expected_ms(), rtol=1e-9)
    assert np.allclose(free.quantiles_ms(np.full(3, 0.5), 0.9), bounded.quantiles_ms(np.full(3, 0.5), 0.9), rtol=0)


def test_limits_only_shorten():
    limits = [mixed_times(limit_ms=limit).expected_ms() for limit in (0.01, 1.0, 7.0, 20.0, 50.0, 400.0, np.inf)]
    steps = np.diff(np.array(limits), axis=0)
    assert (steps[:-1] > 0).all() and (steps[-1] >= 0).all()  # a limit far away makes no difference


@given(st.integers(0, 50))
@settings(max_examples=10)
def test_a_surer_success_moves_the_median_from_the_failures_to_the_successes(seed):
    chance = np.sort(np.random.default_rng(seed).random(6))
    one = mixed_times(size=1)
    times = AttemptTimes(
        one.mean.repeat(6, axis=1), one.sd.repeat(6, axis=1), one.limit_ms.repeat(6), np.zeros(2), np.ones(2)
    )
    median, high = times.quantiles_ms(chance, 0.5, 0.9)
    assert (np.diff(median) <= 1e-9).all() and (np.diff(high) <= 1e-9).all()
    assert (high > median).all()


def test_times_of_no_pairs_and_of_a_grid_of_pairs():
    found = fit(world_rows(6, count=200, limit_ms=5000.0))
    none = np.zeros(0, np.int64)
    assert [x.shape for x in found.times(none, none).expected_ms()] == [(0,), (0,)]
    assert found.times(none, none).quantiles_ms(np.zeros(0), 0.5)[0].shape == (0,)
    grid = found.times(np.arange(4)[:, None], np.arange(3)[None, :])
    single = found.times(np.array([2]), np.array([1]))
    for whole, one in zip(grid.expected_ms(), single.expected_ms(), strict=True):
        assert whole.shape == (4, 3)
        assert whole[2, 1] == one[0]


def test_attempts_take_the_time_of_their_outcome_by_hand():
    """Failures add 1 and vary by 1, successes take away 1 and vary by 2; the second pair is stopped at its mean.

    Only failures are ever stopped there: at 1, a success with a normal of 0, the median, takes the lower quartile.
    """
    mean = np.array([[1.0, 0.0], [-1.0, 0.0]])
    times = AttemptTimes(
        mean, np.array([[1.0], [2.0]]) * np.ones(2), np.array([np.inf, 1.0]), np.zeros(2), np.array([1e9, 1e-9])
    )
    found = times.drawn_ms(np.array([[False, False], [True, True]]), np.array([[-1.0, 1.0], [1.0, 0.0]]))
    assert found == pytest.approx(np.array([[np.exp(0.0), 1.0], [np.exp(1.0), np.exp(2 * norm.ppf(0.25))]]))
    assert times.stopped() == pytest.approx(np.array([[0.0, 1.0], [0.0, 0.0]]), abs=1e-8)


def test_only_outcomes_that_the_limit_brings_are_stopped():
    """Where every failure was stopped and no success, failures take the limit and successes less."""
    limit_ms = float(np.exp(8.7))
    rows = world_rows(4, failure_longer=0.0, limit_ms=limit_ms)
    rows = [{**row, "is_success": not row["is_censored"]} for row in rows]
    times = fit(rows, task_count=40).times(np.arange(40), np.zeros(40, int))
    stopped = times.stopped()
    assert stopped[0].min() > 0.95 and stopped[1].max() < 0.05
    assert times.expected_ms()[0] == pytest.approx(np.full(40, limit_ms), rel=0.05)
    assert times.quantiles_ms(np.full(40, 0.4), 0.5)[0] == pytest.approx(np.full(40, limit_ms))


def test_a_contrast_that_is_known_shifts_nothing_more():
    contrast = OutcomeContrast(1.0, 0.0, np.array([0.25, -0.75]))
    assert contrast.shift(np.array([-2.0, 2.0])).tolist() == [[0.25, 0.25], [-0.75, -0.75]]


# The forecast


@pytest.mark.parametrize("count", [0, 60])
def test_p50_and_p90_are_the_median_and_the_ninth_decile_of_what_happens(count):
    """One attempt's time over everything that is not known: posterior, outcome, residual."""
    fitted = model(world_rows(8, count=count, task_count=4, failure_longer=1.0))
    pairs, allowed = (np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])), np.ones(4, np.int64)
    forecast = fitted.forecast(*pairs, allowed)
    sample = draw_wave(fitted, *pairs, allowed, seed=0, wave=1, draws=200_000).busy_ms
    below = [(sample < forecast.duration_ms_p50).mean(axis=0), (sample < forecast.duration_ms_p90).mean(axis=0)]
    assert np.array(below) == pytest.approx(np.repeat([[0.5], [0.9]], 4, axis=1), abs=0.006)


def test_the_planned_time_by_hand():
    """p = .6 for sure, two attempts: .6 S + .4 F for the first, and .4 times (.55 S + .45 F) for the second."""
    fitted = model(world_rows(9, count=200, task_count=4))
    every = (index.ravel() for index in np.indices((4, 3)))
    certain = KnownPairs.of(*every, (4, 3), np.full(12, np.log(1.5)), np.full(12, 1e-9))
    success = replace(fitted.success, known=certain)
    sure = replace(fitted, success=success)
    pair = np.array([1]), np.array([2])
    forecast = sure.forecast(*pair, np.array([2]))
    failed, succeeded = fitted.duration.times(*pair).expected_ms()
    assert forecast.success_probability == pytest.approx([0.6])
    by_hand = 0.6 * succeeded + 0.4 * failed + 0.4 * (0.55 * succeeded + 0.45 * failed)
    assert forecast.planned_duration_ms == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("limit_ms", [np.inf, 4000.0])
def test_a_thousandfold_time_is_a_thousandfold_forecast(limit_ms):
    rows = world_rows(10, count=150, limit_ms=limit_ms, task_count=4)
    longer = [{**row, "duration_ms": 1000 * row["duration_ms"]} for row in rows]
    one, two = all_pairs(model(rows)), all_pairs(model(longer))
    for name in DURATIONS:
        assert getattr(two, name) == pytest.approx(1000 * getattr(one, name), rel=1e-9)
    for name in vars(one).keys() - set(DURATIONS):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_shuffled_censored_records_give_the_same_bits():
    rows = world_rows(11, count=200, limit_ms=4000.0, task_count=6)
    expected = parts(all_pairs(model(rows)))
    for seed in range(3):
        shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
        assert all(np.array_equal(a, b) for a, b in zip(expected, parts(all_pairs(model(shuffled))), strict=True))


def test_renamed_agents_and_tasks_take_as_long():
    rows = world_rows(12, count=200, limit_ms=4000.0, task_count=6)
    renamed = [
        {**row, "task_id": f"x{9 - int(row['task_id'][1:])}", "agent_id": f"b{9 - int(row['agent_id'][1:])}"}
        for row in rows
    ]
    one = ForecastModel.fit(tasks(count=6), agents("a0", "a1", "a2"), attempts(*rows), POPULATION)
    names = pl.Series([f"x{9 - i}" for i in range(6)])
    two = ForecastModel.fit(
        tasks(count=6).with_columns(task_id=names), agents("b9", "b8", "b7"), attempts(*renamed), POPULATION
    )
    for name in DURATIONS:
        assert getattr(all_pairs(two), name) == pytest.approx(getattr(all_pairs(one), name), rel=1e-9)


def test_one_attempt_moves_the_forecast_to_it_and_narrows_nothing_far():
    one = all_pairs(model(timed(8000.0)), 1)
    assert (one.duration_ms_p50 > 4000).all() and (one.duration_ms_p50 < 12000).all()
    assert np.isfinite(one.planned_duration_ms).all()


@pytest.mark.parametrize("unrecorded", [None, 0.0])
def test_censored_times_not_recorded_are_no_record(unrecorded):
    rows = random_attempts(3, 60)
    blank = [{"task_id": "t0", "duration_ms": unrecorded, "is_success": False, "is_censored": True}] * 20
    one, two = model(rows).duration, model(rows + blank).duration
    assert two.level == pytest.approx(one.level, rel=1e-12)
    assert np.isinf(two.residuals.limit_ms).all()


def test_a_plan_of_many_records_is_unbiased_after_each_outcome():
    """Residuals of an unknown shape: gamma times, whose log is skewed; means after each outcome are the records'."""
    rng = np.random.default_rng(13)
    rows = [
        {
            "task_id": f"t{k % 4}",
            "agent_id": f"a{k % 3}",
            "is_success": bool(won),
            "duration_ms": float(rng.gamma(0.8 if won else 5.0, 1000.0)),
        }
        for k, won in enumerate(rng.random(4000) < 0.7)
    ]
    fitted = model(rows)
    failed, succeeded = fitted.duration.times(np.arange(4)[:, None], np.arange(3)[None, :]).expected_ms()
    assert succeeded.mean() == pytest.approx(800.0, rel=0.08)
    assert failed.mean() == pytest.approx(5000.0, rel=0.08)
    # The draws of a plan agree with it.
    task, agent = np.divmod(np.arange(12), 3)
    drawn = draw_wave(fitted, task, agent, np.ones(12, np.int64), seed=0, wave=1, draws=2000)
    assert drawn.busy_ms.mean() == pytest.approx(
        (fitted.forecast(task, agent, np.ones(12, np.int64)).planned_duration_ms).mean(), rel=0.05
    )


def test_nothing_recorded_leaves_what_is_believed():
    found = fit([], population_ms=500.0)
    assert np.ptp(center(found)) == 0.0 and np.ptp(spread(found)) == 0.0
    assert found.outcome.code.tolist() == [0.5, -0.5]
    assert residual_sd(found) ** 2 == pytest.approx([DurationPriors().residual_variance] * 2)


# The command


@pytest.fixture
def limited(tmp_path):
    """The sample's inputs with records of which a limit of 60 ms stopped one in three."""
    shutil.copytree(Path(__file__).parent.parent.parent / "outputs", tmp_path / "outputs")
    rng = np.random.default_rng(0)
    latent = rng.lognormal(np.log(50), 0.5, 90)
    rows = [
        {
            "task_id": f"task_{k % 12}",
            "agent_id": f"agent_{k % 4}",
            "status": "failed" if ms > 60 else "success",
            "execution_time_ms": min(ms, 60.0),
            "is_censored": ms > 60,
        }
        for k, ms in enumerate(latent.tolist())
    ]
    path = tmp_path / "outputs" / "phase18" / "task_outcomes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return tmp_path / "outputs" / "phase18"


def test_the_forecast_command_takes_censored_times_for_limits(run_cli, limited):
    outcomes = limited / "task_outcomes.jsonl"
    highest = []
    for text in (outcomes.read_text("utf-8"), outcomes.read_text("utf-8").replace("true}", "false}")):
        outcomes.write_text(text, "utf-8")
        done = run_cli("forecast", "--input", limited, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        highest.append(max(json.loads(line)["duration_ms_p90"] for line in done.stdout.splitlines()))
    censored, plain = highest
    assert censored <= 60.0 * (1 + 1e-9) and plain > 65


def test_variances_hold_from_wave_to_wave_until_the_records_double():
    """Estimated anew from a handful of records after each wave they would wander, and intervals with them."""
    fitted = model(random_attempts(2, 20), task_count=6)
    odd = [
        {**row, "duration_ms": row["duration_ms"] * 10.0 ** (-1) ** i} for i, row in enumerate(random_attempts(5, 19))
    ]
    held = fitted.observe(attempts(*odd))
    assert held.duration.kept.estimated_on == 20
    assert held.duration.kept.scales == fitted.duration.kept.scales
    assert residual_sd(held.duration) == pytest.approx(residual_sd(fitted.duration))
    assert held.duration.level != fitted.duration.level
    anew = held.observe(attempts(odd[0]))
    assert anew.duration.kept.estimated_on == 40
    assert (anew.duration.kept.spread.residual > 2 * held.duration.kept.spread.residual).all()


def test_records_of_a_task_make_up_for_an_error_of_the_level():
    few, many = (fit(timed(*np.linspace(900.0, 1100.0, count))) for count in (3, 50))
    known, new, agent = np.array([0]), np.array([3]), np.array([0])
    assert many.level_sd(known, agent).item() < 0.2 * many.level_sd(new, agent).item()
    assert many.level_sd(new, agent).item() < few.level_sd(new, agent).item()


@pytest.fixture
def planned(tmp_path):
    """Plan tasks for the shortest makespan from records alone: red and blue with one record each of every task."""

    def run(records, new):
        place = tmp_path / "phase18"
        place.mkdir()
        summary = {"total_agents": 2, "total_tasks": len(new), "success_rate": 1.0}
        for name, content in (("multi_agent_summary", summary), ("coordination_patterns", []), ("system_health", {})):
            (place / f"{name}.json").write_text(json.dumps(content), "utf-8")
        for name, rows in (("learning_signals", []), ("task_outcomes", records), ("tasks", new)):
            (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        options = {"strategy": "maximize_throughput", "capacity": len(new), "max_retries": 0}
        return phase19.run(input=place, output=tmp_path / "run", seed=1, **options)

    return run


def outcome(task, agent, ms, **columns):
    return {"task_id": task, "agent_id": agent, "status": "success", "execution_time_ms": ms, **columns}


def test_new_tasks_of_a_slow_category_are_shared_out(planned):
    rng = np.random.default_rng(4)
    records = [
        outcome(f"{kind}-{i}", agent, float(typical * rng.lognormal(0, 0.15)), category=kind)
        for kind, typical in (("docs", 20.0), ("deploy", 6000.0))
        for i in range(20)
        for agent in ("red", "blue")
    ]
    done = planned(records, [{"task_id": f"new-{i}", "category": ("docs", "deploy")[i % 2]} for i in range(16)])
    slow = done.executions.filter(category="deploy")
    assert slow["duration_ms_p50"].to_list() == pytest.approx([6000.0] * 8, rel=0.1)
    assert dict(slow["agent_id"].value_counts().rows()) == {"red": 4, "blue": 4}
    makespan_ms = done.tables["wave_plans"]["planned_makespan_ms"].item()
    assert makespan_ms == pytest.approx(4 * 6000.0, rel=0.15)


def test_a_log_in_whole_seconds_shows_the_faster_agent(planned):
    """Red takes less than half a second and reads 0 but once, blue takes one second; 0 counts as half a second."""
    records = [
        outcome(f"t{i}", agent, 1000 if agent == "blue" or i == 7 else 0)
        for i in range(30)
        for agent in ("red", "blue")
    ]
    done = planned(records, [{"task_id": f"t{i}"} for i in range(30)])
    shares = dict(done.executions["agent_id"].value_counts().rows())
    assert shares["red"] > 1.5 * shares["blue"]
    typical = dict(done.executions.group_by("agent_id").agg(pl.col("duration_ms_p50").mean()).rows())
    assert typical["red"] < 0.65 * typical["blue"]
    assert any("29 attempts with a time of 0 or below" in warning for warning in done.warnings)

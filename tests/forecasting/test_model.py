"""The forecast: what records may and may not change, and that plan, draws and worlds tell one story."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from phase19 import frames
from phase19.forecasting.confidence import clipped_normal_mean, fit_confidence
from phase19.forecasting.durations import fit_durations
from phase19.forecasting.joint import DISCRIMINATION
from phase19.forecasting.model import Forecast, ForecastModel
from phase19.forecasting.predictive import draw_wave
from phase19.forecasting.records import COVARIATE_COUNT, read_records
from phase19.forecasting.retries import within_attempts
from phase19.forecasting.success import SuccessPriors
from phase19.forecasting.timed_cells import DurationPriors
from phase19.inputs.tasks import fill_confidence
from phase19.inputs.wire import Population
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

RATES = ("success_probability", "success_low", "success_high", "planned_success")


def agree(one, other, rel=1e-9):
    """Two forecasts are the same to rounding."""
    return all(np.allclose(a, b, rtol=rel, atol=1e-12) for a, b in zip(parts(one), parts(other), strict=True))


def assert_sane(forecast, allowed):
    for name in RATES:
        values = getattr(forecast, name)
        assert ((values > 0) & (values < 1)).all(), name
    assert (forecast.success_low <= forecast.success_probability).all()
    assert (forecast.success_probability <= forecast.success_high).all()
    assert (forecast.planned_success >= forecast.success_probability - 1e-12).all()
    assert ((forecast.planned_attempts >= 1 - 1e-12) & (forecast.planned_attempts <= allowed + 1e-12)).all()
    assert ((forecast.planned_success_variance >= 0) & (forecast.planned_success_variance <= 0.25)).all()
    assert ((forecast.duration_ms_p50 > 0) & (forecast.duration_ms_p50 < forecast.duration_ms_p90)).all()
    assert (forecast.planned_duration_ms > 0).all()
    assert all(np.isfinite(part).all() for part in parts(forecast))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "task_id": st.sampled_from([f"t{i}" for i in range(6)]),
            "agent_id": st.sampled_from(["a0", "a1", "a2", "stranger", None]),
            "is_success": st.booleans(),
            "attempt": st.integers(1, 4),
            "duration_ms": st.one_of(st.none(), st.just(0.0), st.floats(0.1, 1e7)),
            "confidence_before": st.one_of(st.none(), st.floats(0.0, 1.0)),
            "confidence_delta": st.one_of(st.none(), st.floats(-1.0, 1.0)),
            "risk_level": st.sampled_from([*frames.RISK_LEVELS, None]),
        }
    ),
    max_size=30,
)


@given(ROWS, st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 4))
@settings(max_examples=30)
def test_any_records_give_a_sane_forecast(rows, rate, allowed):
    rows = [*rows, {"task_id": "t9", "agent_id": "elsewhere", "duration_ms": 900.0}]  # a time to forecast from
    fitted = model(rows, population=replace(POPULATION, success_rate=rate, duration_ms=None, confidence_delta=None))
    forecast = all_pairs(fitted, allowed)
    assert_sane(forecast, allowed)
    assert (np.abs(forecast.planned_confidence_delta) <= 1.0).all()
    assert forecast.record_count.sum() == sum(r["agent_id"] in {"a0", "a1", "a2"} and r["task_id"] < "t4" for r in rows)


def test_shuffled_records_give_the_same_bits():
    rows = random_attempts(0, 300, task_count=60)
    expected = parts(all_pairs(model(rows)))
    for seed in range(5):
        shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
        found = parts(all_pairs(model(shuffled)))
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_names_change_no_forecast(seed):
    rows = random_attempts(seed, 60)
    names = [f"a{i}" for i in range(3)]
    renamed = [
        {**row, "task_id": f"x/{9 - int(row['task_id'][1:])}", "agent_id": row["agent_id"] + " é"} for row in rows
    ]
    frame = tasks(count=4)
    other = frame.with_columns(task_id=pl.Series([f"x/{9 - i}" for i in range(4)]))
    one = ForecastModel.fit(frame, agents(*names), attempts(*rows), POPULATION)
    two = ForecastModel.fit(other, agents(*(f"{name} é" for name in names)), attempts(*renamed), POPULATION)
    assert agree(all_pairs(one), all_pairs(two))


def test_the_order_of_tasks_and_agents_changes_no_forecast():
    rows = random_attempts(4, 80)
    frame, order, agent_order = tasks(count=4), [2, 0, 3, 1], [1, 2, 0]
    one = ForecastModel.fit(frame, agents("a0", "a1", "a2"), attempts(*rows), POPULATION)
    two = ForecastModel.fit(frame[order], agents("a1", "a2", "a0"), attempts(*rows), POPULATION)
    expected = Forecast(**{name: part[order][:, agent_order] for name, part in vars(all_pairs(one)).items()})
    assert agree(expected, all_pairs(two))


# What successes do


@pytest.mark.parametrize("seed", range(4))
def test_more_successes_never_lower_an_agents_forecast(seed):
    others = [row for row in random_attempts(seed, 40) if row["agent_id"] != "a0"]
    mean = []
    for wins in range(9):
        own = [{"task_id": f"t{k % 4}", "is_success": k < wins, "confidence_before": 0.7} for k in range(8)]
        mean.append(all_pairs(model(others + own)).success_probability[:, 0].mean())
    assert (np.diff(mean) > 0).all()


def test_a_task_that_fails_for_all_is_forecast_lower_for_all():
    rows = [{"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": t != 0} for t in range(3) for a in (0, 1)] * 6
    forecast = all_pairs(model(rows)).success_probability
    assert (forecast[0] < forecast[3] - 0.1).all()
    assert (forecast[1] > forecast[3]).all()


# What is not known


def test_without_records_the_forecast_is_near_the_populations_rate_and_wide():
    fitted = model()
    forecast = all_pairs(fitted, allowed=1)
    assert forecast.success_probability.mean() == pytest.approx(POPULATION.success_rate, abs=0.03)
    assert (forecast.success_high - forecast.success_low > 0.35).all()
    assert not forecast.record_count.any()
    known = all_pairs(model(random_attempts(0, 400)), allowed=1)
    assert (known.success_high - known.success_low).mean() < 0.75 * (
        forecast.success_high - forecast.success_low
    ).mean()
    # 1,000 ms is the stated mean, of which the task's and the agent's own variance make a little more.
    assert all_pairs(fitted, 1).planned_duration_ms == pytest.approx(np.full((4, 3), 1000.0), rel=0.15)


def test_without_tasks():
    fitted = model(task_count=0)
    assert all_pairs(fitted).planned_success.shape == (0, 3)
    none = np.zeros(0, np.int64)
    assert fitted.world(0).log_odds(none, none).shape == (0,)


def test_an_unknown_agent_is_the_populations_and_wide():
    rows = [row for row in random_attempts(1, 300) if row["agent_id"] != "a2"]
    forecast = all_pairs(model(rows))
    width = (forecast.success_high - forecast.success_low).mean(axis=0)
    assert width[2] > width[:2].max()
    pair_sd = model(rows).success.sd(np.array([3]), np.arange(3))
    assert pair_sd[2] > 1.2 * pair_sd[:2].max()
    duration_ratio = forecast.duration_ms_p90 / forecast.duration_ms_p50
    assert (duration_ratio[:, 2] > duration_ratio[:, 0]).all()
    lowest, highest = np.sort(forecast.success_probability[:, :2].mean(axis=0))
    assert lowest - 0.05 < forecast.success_probability[:, 2].mean() < highest + 0.05


def test_more_records_narrow_what_is_not_known():
    pair = np.array([0]), np.array([0])
    few, many = (
        model([{"task_id": f"x{k}", "is_success": k % 5 > 0} for k in range(count)]).success.sd(*pair)
        for count in (10, 90)
    )
    assert many < few


def test_risk_moves_the_forecast_as_phase_17_multiplies_where_records_are_silent():
    frame = tasks(*({"task_id": risk, "risk_level": risk} for risk in frames.RISK_LEVELS))
    fitted = ForecastModel.fit(frame, agents("a0"), frames.ATTEMPTS.empty(), POPULATION)
    low, medium, high, unknown = all_pairs(fitted, 1).success_probability[:, 0]
    # Multipliers 1.05, 0.95, 0.85 and none: LOW > UNKNOWN > MEDIUM > HIGH.
    assert low > unknown > medium > high
    # LOW is expected at 0.84, MEDIUM at 0.76, HIGH at 0.68 about a mean of 0.8 that all four share.
    assert [low - unknown, medium - unknown, high - unknown] == pytest.approx([0.04, -0.04, -0.12], abs=0.04)


def test_records_overrule_the_multipliers():
    rows = [
        {
            "task_id": f"{risk}{k}",
            "agent_id": f"a{k % 3}",
            "risk_level": risk,
            "is_success": risk == "HIGH" or k % 2 == 0,
        }
        for k in range(120)
        for risk in ("LOW", "HIGH")
    ]
    forecast = all_pairs(model(rows), 1).success_probability
    assert (forecast[2] > forecast[0]).all()  # t2 is HIGH, t0 LOW


def test_the_posterior_before_any_record_is_the_prior():
    posterior, priors = model().success, SuccessPriors()
    errors = posterior.errors(np.zeros(3, np.int64), np.arange(3))
    assert np.linalg.norm(errors.agent, axis=1) == pytest.approx([priors.agent] * 3)
    # Tasks of no category have their own spread alone.
    assert np.linalg.norm(errors.task, axis=1) == pytest.approx([priors.task] * 3)
    assert errors.category == pytest.approx(0.0)
    # The pair's own: a rate of concentration 4 about 1/2 has variance 1/4 / (4 + 1) = 0.05, and so has the sigmoid of
    # a normal of this standard deviation. What agents may differ in their loadings comes on top.
    own = np.sqrt(errors.own[0] ** 2 - (DISCRIMINATION * priors.task) ** 2)
    draws = 1 / (1 + np.exp(-own * np.random.default_rng(0).standard_normal(200_000)))
    assert draws.var() == pytest.approx(0.05, rel=0.02)
    assert posterior.scales == priors.scales()


@given(st.integers(0, 10_000), st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=20)
def test_one_more_success_of_a_pair_never_lowers_its_forecast(seed, task, agent):
    rows = [{**row, "confidence_before": 0.7} for row in random_attempts(seed, seed % 200)]
    more = [*rows, {"task_id": f"t{task}", "agent_id": f"a{agent}", "is_success": True, "confidence_before": 0.7}]
    before, after = (all_pairs(model(records)).success_probability[task, agent] for records in (rows, more))
    # From 100 records on, scales are chosen, and one more record may change the choice.
    assert after >= before - (1e-9 if len(more) < SuccessPriors().least_attempts else 0.06)


def test_stated_confidence_raises_the_forecast():
    frame = tasks(*({"task_id": f"t{c}", "confidence": c} for c in (0.1, 0.5, 0.9)))
    fitted = ForecastModel.fit(frame, agents("a0"), frames.ATTEMPTS.empty(), POPULATION)
    assert (np.diff(all_pairs(fitted).success_probability[:, 0]) > 0).all()


# Summaries


def fit_with_summary(rows, **summary):
    names = agents("a0", evidence="summary", **summary)
    return ForecastModel.fit(tasks(count=3), pl.concat([names, agents("a1")]), attempts(*rows), POPULATION)


def test_a_summary_moves_the_agent_it_speaks_of_and_more_so_the_more_tasks_it_counts():
    plain = all_pairs(fit_with_summary([])).success_probability
    assert (plain[:, 0] == plain[:, 1]).all()
    rows = [{"task_id": f"x{k}", "agent_id": "a1", "is_success": k % 5 > 0} for k in range(100)]
    some, many = (
        all_pairs(fit_with_summary(rows, summary_task_count=n, summary_success_rate=0.3)).success_probability
        for n in (5, 50)
    )
    assert (some[:, 0] < some[:, 1]).all()
    assert (many[:, 0] < some[:, 0]).all()


def test_records_come_before_summaries():
    rows = random_attempts(0, 30, agent_count=2)
    told = {"summary_task_count": 500, "summary_success_rate": 0.01, "summary_duration_ms": 1e6}
    frame = tasks(count=3)
    without = ForecastModel.fit(frame, agents("a0", "a1"), attempts(*rows), POPULATION)
    beside = ForecastModel.fit(frame, agents("a0", "a1", **told), attempts(*rows), POPULATION)
    assert agree(all_pairs(without), all_pairs(beside), rel=0)


def test_a_summarys_duration_is_used_and_then_learned_beyond():
    told = {"summary_task_count": 10, "summary_success_rate": 0.8, "summary_duration_ms": 4000.0}
    fitted = fit_with_summary([], **told)
    before = all_pairs(fitted).duration_ms_p50
    assert (before[:, 0] > 2 * before[:, 1]).all()
    seen = [
        {"task_id": f"x{i}", "agent_id": a, "duration_ms": ms}
        for i in range(40)
        for a, ms in (("a0", 500.0), ("a1", 4000.0))
    ]
    after = all_pairs(fitted.observe(attempts(*seen))).duration_ms_p50
    alone = all_pairs(fit_with_summary(seen)).duration_ms_p50
    ratio, records_ratio = after[:, 0] / after[:, 1], alone[:, 0] / alone[:, 1]
    assert (records_ratio < ratio).all()
    assert (ratio < 0.45).all()  # 0.6 if the records were forgotten, 8 by the summary alone


# Durations and gains


def test_doubling_all_recorded_durations_doubles_the_forecasts():
    rows = random_attempts(2, 120)
    doubled = [{**row, "duration_ms": 2 * row["duration_ms"]} for row in rows]
    one, two = all_pairs(model(rows)), all_pairs(model(doubled))
    for name in ("duration_ms_p50", "duration_ms_p90", "planned_duration_ms"):
        assert getattr(two, name) == pytest.approx(2 * getattr(one, name), rel=1e-9)
    for name in (*RATES, "planned_success_variance", "planned_attempts"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), rel=1e-9)


@pytest.mark.parametrize("unrecorded", [None, 0.0])
def test_durations_not_recorded_are_no_record(unrecorded):
    rows = random_attempts(3, 60)
    blank = [{"task_id": "t0", "agent_id": "a0", "duration_ms": unrecorded, "is_success": True}] * 20
    one, two = model(rows).duration, model(rows + blank).duration
    assert two.level == pytest.approx(one.level, rel=1e-12)
    assert center(two) == pytest.approx(center(one), rel=1e-12)
    assert spread(two) == pytest.approx(spread(one), rel=1e-12)


def test_a_slow_agent_and_a_long_task_are_found():
    rng = np.random.default_rng(0)
    rows = [
        {
            "task_id": f"t{t}",
            "agent_id": f"a{a}",
            "duration_ms": float(1000 * (1 + 2 * (t == 0)) * (1 + (a == 2)) * rng.lognormal(0, 0.1)),
        }
        for t in range(4)
        for a in range(3)
        for _ in range(10)
    ]
    median = all_pairs(model(rows)).duration_ms_p50
    assert median[0] / median[1] == pytest.approx([3.0] * 3, rel=0.15)
    assert median[:, 2] / median[:, 0] == pytest.approx([2.0] * 4, rel=0.15)
    assert median[1, 0] == pytest.approx(1000.0, rel=0.15)


def test_estimates_count_against_one_another_where_a_task_has_no_records():
    frame = tasks(*({"task_id": f"t{i}", "estimated_duration_ms": ms} for i, ms in enumerate((50.0, 100.0, 200.0))))
    fitted = ForecastModel.fit(frame, agents("a0"), attempts({"task_id": "x", "duration_ms": 9000.0}), POPULATION)
    median = all_pairs(fitted).duration_ms_p50[:, 0]
    assert median[1:] / median[:-1] == pytest.approx([2.0, 2.0])
    assert median[1] == pytest.approx(9000.0, rel=0.05)


def test_gains_by_hand():
    rows = [
        {"task_id": "t0", "confidence_delta": 0.10},
        {"task_id": "t0", "confidence_delta": 0.04},
        {"task_id": "t0", "agent_id": "a1", "confidence_delta": 0.03},
        {"task_id": "t0", "is_success": False, "confidence_delta": -0.08},
        {"task_id": "t0", "is_success": False, "confidence_delta": None},
    ]
    gains = model(rows, agent_count=2, population=replace(POPULATION, confidence_delta=None)).gains
    # After successes: .17 / 3; a0 (.14 + 5 x .17 / 3) / 7, a1 (.03 + 5 x .17 / 3) / 6.
    assert gains.population_success == pytest.approx(0.17 / 3)
    assert gains.success == pytest.approx([(0.14 + 0.85 / 3) / 7, (0.03 + 0.85 / 3) / 6])
    # After failures: -.08; a0 (-.08 - 5 x .08) / 6, a1 unseen.
    assert gains.population_failure == pytest.approx(-0.08)
    assert gains.failure == pytest.approx([-0.08, -0.08])


def test_confidence_that_never_moves_promises_no_change():
    rows = [{**row, "confidence_delta": 0.0} for row in random_attempts(3, 40)]
    gains = model(rows).gains
    assert not gains.success.any() and not gains.failure.any()
    assert (gains.sd, gains.population_success, gains.population_failure) == (0.0, 0.0, 0.0)


def test_gains_without_records_give_back_the_summarys_mean():
    gains = model(population=replace(POPULATION, confidence_delta=0.03)).gains
    mean = POPULATION.success_rate * gains.population_success + 0.2 * gains.population_failure
    assert mean == pytest.approx(0.03)
    assert gains.population_failure == pytest.approx(-0.02)
    assert gains.sd == 0.0


@example(deltas=[0.0, 5e-156], confidence=0.0, succeeded=False)  # a spread whose square over it is beyond all numbers
@given(deltas=st.lists(st.floats(-1.0, 1.0), max_size=8), confidence=st.floats(0.0, 1.0), succeeded=st.booleans())
def test_confidence_stays_within_its_bounds(deltas, confidence, succeeded):
    rows = attempts(*({"task_id": "t0", "is_success": succeeded, "confidence_delta": delta} for delta in deltas))
    gains = fit_confidence(read_records(rows, tasks(count=1), agents("a0"), POPULATION), None, 0.5)
    change = gains.expected(succeeded, np.array([0]), np.array([confidence]))
    assert -1e-12 <= confidence + change[0] <= 1 + 1e-12


# One story: plan, draws, worlds


@pytest.fixture(scope="module")
def fitted():
    """A model with every part of its posterior at work: agents 0 and 1 are good at each other's hard tasks."""
    contrary = [
        {"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": (t + a) % 2 == 0} for t in range(3) for a in (0, 1)
    ]
    posterior = model(random_attempts(8, 40) + contrary * 3)
    errors = posterior.success.errors(*(index.ravel() for index in np.indices((4, 3))))
    assert all(
        (np.linalg.norm(part.reshape(12, -1), axis=1) > 0.1).all() for part in errors if part is not errors.category
    )
    assert np.ptp(center(posterior.success)) > 0.3
    return posterior


PAIRS = (np.array([0, 1, 2, 3]), np.array([0, 1, 2, 2]))
ALLOWED = np.array([3, 3, 1, 2])


def first_probability(fitted, wave, draws):
    """Draws of the first attempt's success probability: of a wave in which every task has one attempt."""
    return draw_wave(fitted, *PAIRS, np.ones(4, np.int64), seed=0, wave=wave, draws=draws).success_probability


def test_quadrature_agrees_with_draws(fitted):
    forecast = fitted.forecast(*PAIRS, ALLOWED)
    total, square, count = np.zeros((4, 4)), np.zeros((4, 4)), 0
    for wave in range(4):
        p = first_probability(fitted, wave, 50_000)
        within, made = within_attempts(p, ALLOWED)
        parts = np.stack([p, within, made, (within - forecast.planned_success) ** 2])
        total += parts.sum(axis=1)
        square += (parts**2).sum(axis=1)
        count += p.shape[0]
    mean = total / count
    error = 4 * np.sqrt((square / count - mean**2) / count) + 1e-12
    planned = [
        forecast.success_probability,
        forecast.planned_success,
        forecast.planned_attempts,
        forecast.planned_success_variance,
    ]
    assert (np.abs(mean - planned) < error).all()


def test_intervals_hold_nine_draws_in_ten(fitted):
    forecast, p = fitted.forecast(*PAIRS, ALLOWED), first_probability(fitted, 9, 40_000)
    assert (p < forecast.success_low).mean(axis=0) == pytest.approx([0.05] * 4, abs=0.006)
    assert (p > forecast.success_high).mean(axis=0) == pytest.approx([0.05] * 4, abs=0.006)


@pytest.mark.no_cover
def test_worlds_agree_with_the_forecast_on_average(fitted):
    forecast = fitted.forecast(*PAIRS, ALLOWED)
    played = [fitted.world(seed).play(*PAIRS, ALLOWED)[0] for seed in range(2000)]
    for found, planned in (
        ([world.succeeded for world in played], forecast.planned_success),
        ([world.attempts for world in played], forecast.planned_attempts),
        ([world.busy_ms for world in played], forecast.planned_duration_ms),
    ):
        sample = np.array(found, dtype=float)
        error = sample.std(axis=0) / np.sqrt(len(sample))
        assert (np.abs(sample.mean(axis=0) - planned) <= 4 * error).all()
        # The pooled mean is sharper; tasks of one world share its agents and risk, so worlds are the sample.
        pooled = sample.mean(axis=1)
        assert abs(pooled.mean() - planned.mean()) < 4 * pooled.std() / np.sqrt(len(sample))


@pytest.mark.no_cover
def test_worlds_spread_as_the_forecast_says(fitted):
    chances = np.array([fitted.world(seed).success_probability(*PAIRS) for seed in range(2000)])
    drawn = np.log(chances / (1 - chances))
    assert drawn.std(axis=0) == pytest.approx(fitted.success.sd(*PAIRS), rel=0.08)
    assert np.abs(drawn.mean(axis=0) - fitted.success.mean(*PAIRS)).max() < 4 * drawn.std() / np.sqrt(2000)


def test_what_makes_an_attempt_long_says_nothing_of_its_outcome():
    fitted, count = model(task_count=3000, agent_count=1), 3000
    world = fitted.world(0)
    played, _ = world.play(np.arange(count), np.zeros(count, np.int64), np.ones(count, np.int64))
    own = np.log(played.busy_ms) - world.outcome_log_ms[played.succeeded.astype(int)]
    # Independent samples correlate by chance with standard deviation 1 / sqrt(3,000) = 0.018.
    assert abs(np.corrcoef(played.succeeded, own)[0, 1]) < 0.075


def test_a_world_belongs_to_its_ids_not_to_their_order(fitted):
    order, agent_order = [3, 1, 0, 2], [2, 0, 1]
    other = ForecastModel.fit(fitted.tasks[order], fitted.agents[agent_order], fitted.attempts, POPULATION)
    task, agent = np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2])
    moved = np.argsort(order)[task], np.argsort(agent_order)[agent]
    one, two = fitted.world(3).play(task, agent, ALLOWED)[0], other.world(3).play(*moved, ALLOWED)[0]
    assert two.busy_ms == pytest.approx(one.busy_ms, rel=1e-9)
    assert two.succeeded.tolist() == one.succeeded.tolist()


def test_a_worlds_confidence_change_stays_within_its_bounds(fitted):
    task, agent = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    for confidence in (0.0, 0.02, 0.99, 1.0):
        for seed in range(20):
            change = fitted.world(seed).confidence_change(task, agent, np.arange(12) % 2 == 0, np.full(12, confidence))
            assert ((confidence + change >= -1e-12) & (confidence + change <= 1 + 1e-12)).all()


# Agents without records


TOLD = Population(success_rate=0.9, retry_rate=0.1, agent_count=4, task_count=40)


def told_agents(**figures):
    """`weak` and `strong` by their summaries, `other` by the population's."""
    summary = {"evidence": "summary", "summary_task_count": 400, **figures}
    return frames.AGENTS.conform([
        {"agent_id": "other", "record_count": 0, "evidence": "none"},
        {"agent_id": "strong", "record_count": 0, **summary, "summary_success_rate": 0.96},
        {"agent_id": "weak", "record_count": 0, **summary, "summary_success_rate": 0.85},
    ])  # fmt: skip


def test_a_summary_promises_its_rate_with_the_retries_in_it():
    """`strong`: 0.9 at once and 0.06 of the 0.1 retried; `weak`: 0.85 at once, and retries add nothing."""
    every = tasks(*({"task_id": f"t{i}", "risk_level": "LOW"} for i in range(6)))
    fitted = ForecastModel.fit(every, told_agents(), frames.ATTEMPTS.empty(), TOLD)
    task, agent = np.arange(6)[:, None], np.arange(3)[None, :]
    found = fitted.forecast(task, agent, np.full((6, 1), 3))
    assert fitted.retry_success == pytest.approx([0.0, 0.6, 0.0])
    assert found.planned_success[:, 1:].mean(axis=0) == pytest.approx([0.96, 0.85], abs=0.006)
    assert found.success_probability[:, 1:].mean(axis=0) == pytest.approx([0.9, 0.85], abs=0.006)
    assert fitted.forecast(task, agent, np.ones((6, 1))).planned_success == pytest.approx(found.success_probability)


def test_without_a_retry_rate_the_first_attempt_is_what_the_retry_rule_makes_the_rate_of():
    # 1 - 0.4 x 0.45 x 0.5 = 0.91
    population = Population(success_rate=0.91, agent_count=1, task_count=40)
    every = tasks({"task_id": "t0", "risk_level": "MEDIUM"})
    roster = agents("a0", evidence="none")
    fitted = ForecastModel.fit(every, roster, frames.ATTEMPTS.empty(), population)
    found = fitted.forecast(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, 3))
    assert found.success_probability.item() == pytest.approx(0.6, abs=0.01)
    assert found.planned_success.item() == pytest.approx(0.91, abs=0.01)


def test_beside_agents_with_records_a_newcomer_retries_as_they_do():
    roster = frames.AGENTS.conform([
        {"agent_id": "a0", "record_count": 1, "evidence": "records"},
        {"agent_id": "new", "record_count": 0, "evidence": "none"},
    ])  # fmt: skip
    fitted = ForecastModel.fit(tasks(count=2), roster, attempts({"task_id": "t0"}), TOLD)
    assert np.isnan(fitted.retry_success).all()


@pytest.mark.no_cover
def test_worlds_retry_as_the_plan_says_for_agents_with_a_summary():
    every = tasks(*({"task_id": f"t{i}", "risk_level": "LOW"} for i in range(3)))
    fitted = ForecastModel.fit(every, told_agents(summary_retry_rate=0.3), frames.ATTEMPTS.empty(), TOLD)
    pairs, allowed = (np.arange(3), np.arange(3)), np.array([3, 3, 2])
    planned = fitted.forecast(*pairs, allowed)
    drawn = draw_wave(fitted, *pairs, allowed, seed=0, wave=1, draws=20_000)
    played = [fitted.world(seed).play(*pairs, allowed)[0] for seed in range(2000)]
    sources = (drawn.succeeded, drawn.attempts), np.array([(p.succeeded, p.attempts) for p in played]).swapaxes(0, 1)
    for succeeded, made in sources:
        for sample, wanted in ((succeeded, planned.planned_success), (made, planned.planned_attempts)):
            error = np.std(sample, axis=0) / np.sqrt(len(sample))
            assert (np.abs(np.mean(sample, axis=0) - wanted) < 4 * error + 1e-12).all()


def test_a_retry_by_a_summarys_rule_teaches_nothing_about_first_attempts():
    pair, every = (np.arange(2), np.ones(2, int)), tasks(count=2)
    first = {"task_id": "t0", "agent_id": "strong", "is_success": False, "source": "run"}
    retries = [{**first, "attempt": 2}, {**first, "attempt": 3, "is_success": True}]
    one, three = (
        ForecastModel.fit(every, told_agents(), attempts(first, *more), TOLD).success.mean(*pair)
        for more in ([], retries)
    )
    untold = ForecastModel.fit(every, told_agents(), frames.ATTEMPTS.empty(), TOLD).success.mean(
        np.array([0]), np.array([1])
    )
    assert three == pytest.approx(one, abs=1e-9)
    assert one[0] < untold  # the first attempt does: it adds to the summary


# Learning


def test_observing_is_fitting_on_everything_and_changes_nothing_before():
    rows = random_attempts(6, 50)
    first = model(rows[:20])  # more than doubled: what was chosen on few is chosen anew
    before, held = all_pairs(first), first.attempts.clone()
    learned = first.observe(attempts(*rows[20:]))
    assert all(np.array_equal(a, b) for a, b in zip(parts(before), parts(all_pairs(first)), strict=True))
    assert first.attempts.equals(held)
    # The search goes on from where it was: the same mode to the precision it stops at.
    for a, b in zip(parts(all_pairs(model(rows))), parts(all_pairs(learned)), strict=True):
        assert np.allclose(a, b, rtol=2e-3, atol=1e-4)
    assert learned.attempts.height == 50
    assert first.observe(frames.ATTEMPTS.empty()) is first


# Records


def test_records_by_hand():
    rows = attempts(
        {"task_id": "z", "agent_id": None, "duration_ms": None},
        {"task_id": "t1", "agent_id": "a1", "is_success": False, "confidence_before": 0.9},
        {"task_id": "t1", "agent_id": "a1", "risk_level": "HIGH", "confidence_before": 0.5},
        {"task_id": "b", "agent_id": "stranger"},
    )
    records = read_records(rows, tasks(count=2), agents("a0", "a1"), POPULATION)
    assert records.task_count == 4  # t0, t1, then b and z of the records alone
    assert sorted(zip(records.task.tolist(), records.agent.tolist(), strict=True)) == [(1, 1), (1, 1), (2, -1), (3, -1)]
    assert [part.tolist() for part in records.pair_counts(2)] == [[1], [1], [2]]  # task, agent, attempts
    assert np.unique(records.pair).size == 3
    assert records.covariates.shape == (4, COVARIATE_COUNT) and records.task_covariates.shape == (2, COVARIATE_COUNT)
    # t1 is MEDIUM, whatever a record says; b and z have no known risk.
    named = records.task == 1
    assert sorted(map(tuple, records.covariates[named][:, 1:4].tolist())) == [(0, 1, 0), (0, 1, 0)]
    assert not records.covariates[~named][:, 1:4].any()
    # Log odds of .9 and .5 about their mean: +- log(9) / 2.
    assert sorted(records.covariates[:, 4].tolist()) == pytest.approx([-np.log(9) / 2, 0, 0, np.log(9) / 2])


def test_priors_can_be_changed():
    records = read_records(frames.ATTEMPTS.empty(), tasks(count=1), agents("a0"), POPULATION)
    posterior, other = (
        fit_durations(records, 50.0, np.array([np.nan]), DurationPriors(task_variance=variance, loading=0.3))
        for variance in (0.7, 0.2)
    )
    pair = (np.array([0]), np.array([0]))
    assert spread(posterior) ** 2 - spread(other) ** 2 == pytest.approx(0.5 * (1 + 0.3**2))
    assert posterior.times(*pair).expected_ms() == pytest.approx(np.full((2, 1), 50.0), rel=0.05)
    assert SuccessPriors().risk_factors == (1.05, 0.95, 0.85)  # Phase 17's multipliers


def test_a_population_without_figures_will_do():
    silent = Population(success_rate=0.5, agent_count=1, task_count=0)
    forecast = all_pairs(model(task_count=1, agent_count=1, population=silent), 3)
    assert np.isnan([forecast.duration_ms_p50, forecast.duration_ms_p90]).all()
    assert 0 < forecast.success_low <= forecast.success_probability <= forecast.success_high < 1
    assert forecast.planned_duration_ms.tolist() == [[1000.0]]  # the contract's stand-in, however many attempts


def test_an_unknown_agent_is_like_the_agents_not_like_the_one_with_most_trials():
    """a0 has 30 % of 300, a1 ... a3 have 90 % of 10 each: agents do about 75 %, attempts 35 %."""
    rows = [{"task_id": "t0", "agent_id": "a0", "is_success": i % 10 < 3} for i in range(300)]
    rows += [{"task_id": "t0", "agent_id": f"a{a}", "is_success": i > 0} for a in (1, 2, 3) for i in range(10)]
    rate = all_pairs(model(rows, agent_count=5)).success_probability[0, 4]
    assert 0.5 < rate < 0.9


def test_what_exceeds_full_confidence_is_not_planned():
    """Near 1 the mean of clipped changes is less than the clipped mean change; the draws say by how much."""
    draws = np.random.default_rng(5).normal(0.05, 0.03, 400_000)
    for confidence in (0.5, 0.95, 0.99):
        wanted = np.clip(draws, -confidence, 1 - confidence)
        found = clipped_normal_mean(np.array(0.05), 0.03, np.array(-confidence), np.array(1 - confidence))
        assert float(found) == pytest.approx(wanted.mean(), abs=4 * wanted.std() / np.sqrt(draws.size))
    assert float(clipped_normal_mean(np.array(0.05), 0.0, np.array(-0.99), np.array(0.01))) == 0.01


def test_an_agents_summary_moves_its_confidence_gain():
    told = {"evidence": "summary", "summary_task_count": 20, "summary_success_rate": 0.5}
    roster = frames.AGENTS.conform([
        {"agent_id": "plain", "record_count": 0, **told},
        {"agent_id": "gains", "record_count": 0, **told, "summary_confidence_delta": 0.09},
    ])  # fmt: skip
    gains = ForecastModel.fit(tasks({"task_id": "t0"}), roster, frames.ATTEMPTS.empty(), POPULATION).gains
    mean = 0.5 * gains.success[0] + 0.5 * gains.failure[0]
    # 20 tasks against a weight of 5: the gap to .09 closes by 20 / 25.
    assert gains.success[1] - gains.success[0] == pytest.approx((0.09 - mean) * 0.8)
    assert gains.failure[1] - gains.failure[0] == pytest.approx((0.09 - mean) * 0.8)


def test_no_order_of_records_changes_a_digit_where_confidence_is_stated_in_part():
    """Tasks without a stated confidence take the records' mean, which is summed in one order only."""
    rows = [
        {**row, "confidence_before": c}
        for row, c in zip(random_attempts(8, 40), [0.1, 0.7, None, 0.3] * 10, strict=True)
    ]
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    blank = tasks(count=4).with_columns(confidence=pl.lit(None, dtype=pl.Float64))
    one, two = (fill_confidence(blank, attempts(*some), 0.8)["confidence"] for some in (rows, shuffled))
    assert one.equals(two)


def test_an_interval_holds_its_forecast_however_little_is_known():
    """A concentration below 1 leaves most of a pair's probability near 0 and 1, and its mean between."""
    priors = SuccessPriors(concentration=0.05, least_attempts=10**6)
    low = Population(success_rate=0.004, duration_ms=1000.0, confidence_delta=0.0, agent_count=3, task_count=10**6)
    fitted = ForecastModel.fit(tasks(count=6), agents("a0"), attempts(), low, priors=priors)
    found = all_pairs(fitted, 1)
    assert (found.success_low <= found.success_probability).all()
    assert (found.success_probability <= found.success_high).all()

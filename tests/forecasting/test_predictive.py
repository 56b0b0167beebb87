"""Draws of a wave: per-agent timelines by hand, over what ran, and planned figures that are their means."""

from dataclasses import replace

import numpy as np
import pytest

from phase19 import frames
from phase19.forecasting.durations import OutcomeContrast
from phase19.forecasting.predictive import WaveDraws, draw_count, draw_wave
from tests.builders import model, random_attempts
from tests.synthetic import execution


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0, 512), (1, 512), (3906, 512), (3907, 511), (20_000, 100), (62_500, 32), (10**9, 32)],
)
def test_draws_are_bounded_by_what_a_run_affords(largest, expected):
    assert draw_count(largest) == expected  # 2,000,000 // largest, within [32, 512]


@pytest.fixture
def hand_draws():
    """Two draws of four tasks: agent 0 does the first two, agent 2 the others."""
    return WaveDraws(
        agent=np.array([0, 0, 2, 2]),
        success_probability=np.array([[0.5, 0.6, 0.7, 0.8], [0.1, 0.2, 0.3, 0.4]]),
        succeeded=np.array([[True, False, True, True], [False, False, True, False]]),
        busy_ms=np.array([[10.0, 20.0, 40.0, 5.0], [1.0, 2.0, 3.0, 4.0]]),
        confidence_delta=np.array([[0.1, -0.1, 0.1, 0.1], [0.0, 0.0, 0.2, 0.0]]),
        attempts=np.array([[1, 3, 1, 2], [3, 3, 2, 3]]),
    )


def executions(*statuses):
    starts, ends = (0.0, 15.0, 0.0, 30.0), (15.0, 30.0, 30.0, 40.0)
    return frames.EXECUTIONS.conform(
        [
            execution(
                f"t{i}",
                agent_id=f"a{(0, 0, 2, 2)[i]}",
                status=status,
                scheduled_start_time=starts[i],
                scheduled_end_time=ends[i],
                planned_success=(0.9, 0.8, 0.7, 0.6)[i],
                baseline_success=0.5,
            )
            for i, status in enumerate(statuses)
        ]
    )


def test_measures_of_each_draw_by_hand(hand_draws):
    found = hand_draws.summary(3, executions("completed", "failed", "completed", "completed"))
    frames.WAVE_DRAWS.validate(found)
    assert found["wave"].to_list() == [3, 3] and found["draw"].to_list() == [0, 1]
    assert found["ran_count"].to_list() == [4, 4]
    assert found["success_rate"].to_list() == [0.75, 0.25]
    # Ends 10, 30 | 40, 45 and 1, 3 | 3, 7.
    assert found["makespan_ms"].to_list() == [45.0, 7.0]
    assert found["busy_ms"].to_list() == [75.0, 10.0]
    assert found["confidence_delta"].to_list() == pytest.approx([0.05, 0.05])
    # Draw 0: starts 0, 10, 0, 40 against 0, 15, 0, 30: 0 + 5 + 0 + 10; ends 10, 30, 40, 45 against 15, 30, 30, 40:
    # 5 + 0 + 10 + 5; 35 / 2 / 4. Draw 1: starts 0, 1, 0, 3: 41; ends 1, 3, 3, 7: 101; 142 / 2 / 4.
    assert found["deviation_ms"].to_list() == pytest.approx([4.375, 17.75])
    assert found["expected_success_sum"].to_list() == pytest.approx([2.6, 1.0])
    # Advantages .4, .3, .2, .1 about .25: .15, .05, -.05, -.15; .075 + .03 - .035 - .12 and .015 + .01 - .015 - .06.
    assert found["expected_advantage_sum"].to_list() == pytest.approx([-0.05, -0.05])


@pytest.mark.parametrize("idle", ["unobserved", "interrupted"])
def test_draws_count_over_the_tasks_that_ran_only(hand_draws, idle):
    found = hand_draws.summary(1, executions(idle, "completed", "failed", idle))
    assert found["ran_count"].to_list() == [2, 2]
    assert found["success_rate"].to_list() == [0.5, 0.5]
    # Task 1 follows nothing that ran: it starts at 0. Ends 20 | 40 and 2 | 3.
    assert found["makespan_ms"].to_list() == [40.0, 3.0]
    assert found["busy_ms"].to_list() == [60.0, 5.0]
    # Draw 0: starts 0, 0 against 15, 0; ends 20, 40 against 30, 30: (15 + 10 + 10) / 2 / 2.
    assert found["deviation_ms"][0] == pytest.approx(8.75)
    # Advantages .3 and .2 about .25: .05 x (.6 - .7).
    assert found["expected_advantage_sum"][0] == pytest.approx(-0.005)


def test_the_advantage_is_centred_over_the_tasks_that_ran(hand_draws):
    found = hand_draws.summary(1, executions("completed", "completed", "failed", "unobserved"))
    # Advantages .4, .3, .2 about .3: .1 x .5 - .1 x .7.
    assert found["expected_advantage_sum"][0] == pytest.approx(-0.02)


def test_where_nothing_ran_there_are_no_draws(hand_draws):
    assert hand_draws.summary(1, executions(*["unobserved"] * 4)).equals(frames.WAVE_DRAWS.empty())


TASK, AGENT, ALLOWED = np.array([0, 3, 1, 4, 5, 2]), np.array([0, 0, 1, 1, 1, 2]), np.array([3, 3, 3, 3, 1, 1])


@pytest.fixture(scope="module")
def fitted():
    return model(random_attempts(8, 60), task_count=6)


def drawn(fitted, count, seed=0):
    return draw_wave(fitted, TASK, AGENT, ALLOWED, seed=seed, wave=1, draws=count)


def test_draws_agree_with_the_forecast(fitted):
    draws, forecast = drawn(fitted, 20_000), fitted.forecast(TASK, AGENT, ALLOWED)
    for sample, planned in (
        (draws.succeeded, forecast.planned_success),
        (draws.success_probability, forecast.planned_success),
        (draws.busy_ms, forecast.planned_duration_ms),
    ):
        error = sample.std(axis=0) / np.sqrt(len(sample))
        assert (np.abs(sample.mean(axis=0) - planned) < 4 * error).all()
    chance = draws.success_probability
    square = (chance - chance.mean(axis=0)) ** 2
    error = square.std(axis=0) / np.sqrt(len(chance))  # wide where a chance is near 1: few draws make the variance
    assert (np.abs(square.mean(axis=0) - forecast.planned_success_variance) < 4 * error).all()


def test_tasks_of_one_agent_share_what_is_not_known_of_it(fitted):
    together = np.corrcoef(drawn(fitted, 20_000).success_probability.T)
    assert together[0, 1] > 0.02  # about 0.06
    assert together[2, 3] > 0.05


def test_the_planned_makespan_is_the_mean_of_the_last_end_and_exceeds_the_longest_mean(fitted):
    draws = drawn(fitted, 4000)
    rows = [
        execution(f"t{t}", agent_id=f"a{a}", scheduled_start_time=0.0, scheduled_end_time=1.0)
        for t, a in zip(TASK, AGENT, strict=True)
    ]
    found = draws.summary(1, frames.EXECUTIONS.conform(rows))
    ends = np.stack([draws.busy_ms[:, a == AGENT].sum(axis=1) for a in range(3)])
    assert found["makespan_ms"].to_numpy() == pytest.approx(ends.max(axis=0), rel=1e-9)
    assert found["makespan_ms"].mean() > ends.mean(axis=1).max()


def test_seed_and_wave_fix_the_draws(fitted):
    one, two, other = drawn(fitted, 32), drawn(fitted, 32), drawn(fitted, 32, seed=1)
    assert np.array_equal(one.busy_ms, two.busy_ms) and np.array_equal(one.succeeded, two.succeeded)
    assert not np.array_equal(one.busy_ms, other.busy_ms)
    later = draw_wave(fitted, TASK, AGENT, ALLOWED, seed=0, wave=2, draws=32)
    assert not np.array_equal(one.busy_ms, later.busy_ms)


def test_the_order_of_the_pairs_changes_no_draw(fitted):
    order, expected = np.array([4, 2, 0, 5, 1, 3]), drawn(fitted, 32)
    found = draw_wave(fitted, TASK[order], AGENT[order], ALLOWED[order], seed=0, wave=1, draws=32)
    for name in ("success_probability", "succeeded", "busy_ms", "confidence_delta", "attempts"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)[:, order]), name
    assert np.array_equal(found.agent, AGENT[order])


def test_pairs_of_one_task_or_one_agent_vary_together_as_the_posterior_says():
    """Log odds of two pairs share their task's or their agent's part, log times the same without an outcome's part."""
    fitted = model(random_attempts(8, 6), task_count=6)
    known = replace(fitted, duration=replace(fitted.duration, outcome=OutcomeContrast(0.0, 0.0, np.zeros(2))))
    success, duration = known.success, known.duration
    task, agent, one = np.array([3, 3, 1]), np.array([0, 1, 0]), np.ones(3, np.int64)
    draws = draw_wave(known, task, agent, one, seed=2, wave=1, draws=40_000)
    chance = draws.success_probability
    for values, posterior in ((np.log(chance / (1 - chance)), success), (np.log(draws.busy_ms), duration)):
        errors = posterior.errors(task, agent)
        shared = errors.shared @ errors.shared[0]
        of_task, of_agent = errors.task @ errors.task[0], errors.agent @ errors.agent[0]
        expected = [of_task[1] + shared[1], of_agent[2] + shared[2]]
        covariance = np.cov(values, rowvar=False)
        assert covariance[0, 1:] == pytest.approx(expected, abs=5 * covariance[0, 0] / np.sqrt(40_000))
        assert min(expected) > 10 * covariance[0, 0] / np.sqrt(40_000)


def test_confidence_stays_within_its_bounds(fitted):
    change = drawn(fitted, 500).confidence_delta
    assert (np.abs(change - 0.15) <= 0.85 + 1e-12).all()  # all tasks stand at 0.7: from -0.7 to 0.3
    assert change.std() > 0


def test_an_empty_wave(fitted):
    none = np.zeros(0, np.int64)
    draws = draw_wave(fitted, none, none, none, seed=0, wave=1, draws=32)
    assert draws.busy_ms.shape == (32, 0)
    assert draws.summary(1, frames.EXECUTIONS.empty()).equals(frames.WAVE_DRAWS.empty())

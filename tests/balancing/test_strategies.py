"""Each strategy wins its own measure, and units do not count."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from phase19.balancing import strategies
from phase19.balancing.capacity import agent_capacity
from phase19.balancing.local_search import busy_time
from phase19.balancing.strategies import (
    BALANCE_TOLERANCE,
    allowed_pairs,
    name_conflict,
    score_matrix,
    score_terms,
)
from phase19.errors import InfeasibleError
from phase19.optimizer import CANDIDATES
from phase19.options import OptimizationStrategy, PlanOptions
from tests.builders import agents, forecast_of, tasks

S = OptimizationStrategy
FIVE = (
    S.MAXIMIZE_SUCCESS,
    S.MAXIMIZE_THROUGHPUT,
    S.BALANCE_LOAD,
    S.MINIMIZE_RETRIES,
    S.CONFIDENCE_OPTIMIZATION,
)


@pytest.fixture
def contrary():
    """Six tasks, four agents: one is best by success, if barely, one by retries, one by confidence, one by time."""
    rng = np.random.default_rng(5)
    slack = rng.uniform(0.0, 0.05, (6, 4))
    return forecast_of(
        planned_success=np.array([0.905, 0.895, 0.895, 0.895]) + slack / 10,
        planned_attempts=np.array([1.8, 1.1, 1.8, 1.8]) + slack,
        planned_confidence_delta=np.array([0.0, 0.0, 0.08, 0.0]) + slack,
        planned_duration_ms=np.array([500.0, 450.0, 400.0, 300.0]) + 1000 * slack,
    )


def optimize(forecast, allowed=None, frame=None, team=None, *, capacity=None, **options):
    """The plan of a wave; of tasks and agents, where they are given, an error names those in conflict."""
    n, m = forecast.planned_success.shape
    own = pl.repeat(None, m, dtype=pl.Int64, eager=True) if team is None else team["capacity"]
    limits = agent_capacity(n, own, capacity, allowed)
    try:
        return strategies.optimize(forecast, PlanOptions(**options), limits, allowed)
    except InfeasibleError as problem:
        if frame is None:
            raise
        raise name_conflict(problem, frame, team) from problem


def plan(forecast, strategy, **options):
    return optimize(forecast, strategy=strategy, **options).agent_index


def total(values, agent_index):
    return values[np.arange(values.shape[0]), agent_index].sum()


def measures(forecast, agent_index):
    """What each strategy is for, larger being better."""
    busy = busy_time(forecast.planned_duration_ms, agent_index)
    return {
        S.MAXIMIZE_SUCCESS: total(forecast.planned_success, agent_index),
        S.MAXIMIZE_THROUGHPUT: -busy.max(),
        S.BALANCE_LOAD: -busy.std(axis=-1) / busy.mean(axis=-1),
        S.MINIMIZE_RETRIES: -total(forecast.planned_attempts, agent_index),
        S.CONFIDENCE_OPTIMIZATION: total(forecast.planned_confidence_delta, agent_index),
    }


@pytest.mark.parametrize("strategy", FIVE)
@pytest.mark.parametrize("capacity", [3, 6])
def test_each_strategy_wins_its_own_measure(contrary, strategy, capacity):
    reached = {other: measures(contrary, plan(contrary, other, capacity=capacity))[strategy] for other in FIVE}
    own = reached.pop(strategy)
    assert own > max(reached.values())


def test_throughput_minimises_the_makespan():
    # 400 by the quick agent alone in all, 300 by both at once: 3 x 100 | 1 x 300.
    forecast = forecast_of(planned_duration_ms=[[100.0, 300.0]] * 4)
    found = optimize(forecast, strategy=S.MAXIMIZE_THROUGHPUT, capacity=4)
    assert np.bincount(found.agent_index).tolist() == [3, 1]
    assert (found.algorithm, found.upper_bound) == ("makespan_local_search", -300.0)
    assert found.objective(found.agent_index, forecast.planned_duration_ms) == -300.0
    assert found.objective(np.zeros(4, int), forecast.planned_duration_ms) == -400.0
    # The priced assignment behind it proves what could be reached were tasks shared out: 3 x 100 x 300 / 400.
    shared_ms = -found.assignment.upper_bound * 400 / 2
    assert shared_ms == pytest.approx(300.0, rel=1e-3)


def test_balance_gives_up_one_success_in_a_hundred_for_even_loads():
    # All four on agent 0: 4 x 0.9 = 3.6 in 400 | 0. One on agent 1 loses 0.03, two 0.06: more than 0.036.
    forecast = forecast_of(planned_success=[[0.9, 0.87]] * 4, planned_duration_ms=np.full((4, 2), 100.0))
    found = optimize(forecast, strategy=S.BALANCE_LOAD, capacity=4)
    assert np.bincount(found.agent_index).tolist() == [3, 1]
    assert found.assignment.agent_index.tolist() == [0, 0, 0, 0]
    assert found.upper_bound == pytest.approx(3.6)
    assert found.objective(found.agent_index, forecast.planned_duration_ms) == pytest.approx(3.57)
    closer = forecast_of(planned_success=[[0.9, 0.883]] * 4, planned_duration_ms=np.full((4, 2), 100.0))
    assert np.bincount(plan(closer, S.BALANCE_LOAD, capacity=4)).tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_balance_stays_within_its_tolerance(seed):
    rng = np.random.default_rng(seed)
    forecast = forecast_of(planned_success=rng.random((40, 5)), planned_duration_ms=rng.exponential(100.0, (40, 5)))
    sure, even = (plan(forecast, strategy) for strategy in (S.MAXIMIZE_SUCCESS, S.BALANCE_LOAD))
    success = forecast.planned_success
    assert total(success, even) >= (1 - BALANCE_TOLERANCE) * total(success, sure) - 1e-9
    assert measures(forecast, even)[S.BALANCE_LOAD] > measures(forecast, sure)[S.BALANCE_LOAD]


def test_terms_by_hand():
    forecast = forecast_of(
        planned_success=[[0.9, 0.4]],
        planned_duration_ms=[[400.0, 100.0]],
        planned_confidence_delta=[[-0.02, 0.06]],
    )
    terms = score_terms(forecast)
    assert terms.success.tolist() == [[0.9, 0.4]]
    assert terms.throughput.tolist() == [[0.0, 0.75]]  # 1 - 400 / 400, 1 - 100 / 400
    assert terms.confidence.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("strategy", CANDIDATES)
def test_terms_and_scores_are_finite_where_all_pairs_are_alike_or_take_no_time(strategy):
    forecast = forecast_of(planned_duration_ms=np.zeros((3, 2)))
    found = optimize(forecast, strategy=strategy)
    assert np.isfinite(found.scores).all()
    assert all(((term >= 0) & (term <= 1)).all() for term in found.terms)


@pytest.mark.parametrize("strategy", CANDIDATES)
def test_no_tasks(strategy):
    assert plan(forecast_of(planned_success=np.zeros((0, 3))), strategy).shape == (0,)


def test_weights_are_normalised(contrary):
    weights = {"success": 0.6, "throughput": 0.3, "confidence": 0.1}
    terms = score_terms(contrary)
    scores = score_matrix(contrary, terms, PlanOptions(strategy=S.WEIGHTED, weights=weights))
    tenfold = score_matrix(
        contrary,
        terms,
        PlanOptions(strategy=S.WEIGHTED, weights={name: 10 * weight for name, weight in weights.items()}),
    )
    assert tenfold == pytest.approx(scores, abs=1e-12)
    by_hand = 0.6 * terms.success + 0.3 * terms.throughput + 0.1 * terms.confidence
    assert scores == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("term", "strategy"),
    [
        ("success", S.MAXIMIZE_SUCCESS),
        ("confidence", S.CONFIDENCE_OPTIMIZATION),
    ],
)
def test_all_weight_on_one_term_is_its_strategy(contrary, term, strategy):
    weights = {"success": 0.0, "throughput": 0.0, "confidence": 0.0, term: 3.0}
    assert plan(contrary, S.WEIGHTED, weights=weights).tolist() == plan(contrary, strategy).tolist()


@pytest.mark.no_cover
@pytest.mark.parametrize("strategy", CANDIDATES)
@pytest.mark.parametrize("unit", [1000.0, 0.001])
def test_the_unit_of_time_changes_no_plan(contrary, strategy, unit):
    rng = np.random.default_rng(0)
    wide = forecast_of(planned_success=rng.random((60, 5)), planned_duration_ms=rng.exponential(100, (60, 5)).round(-1))
    for forecast in (contrary, wide):
        other = replace(forecast, planned_duration_ms=forecast.planned_duration_ms * unit)
        assert plan(forecast, strategy).tolist() == plan(other, strategy).tolist()


@pytest.mark.parametrize("strategy", FIVE)
def test_ties_in_the_own_measure_are_told_apart_by_success(strategy):
    # Either agent does either task as quickly; by success task 0 belongs to agent 1 and task 1 to agent 0.
    forecast = forecast_of(planned_success=[[0.4, 0.6], [0.6, 0.4]], planned_duration_ms=np.full((2, 2), 100.0))
    assert plan(forecast, strategy, capacity=2).tolist() == [1, 0]


def test_the_tie_break_never_outweighs_the_own_measure():
    forecast = forecast_of(planned_success=[[0.0, 1.0]], planned_duration_ms=[[999.0, 1000.0]])
    assert plan(forecast, S.MAXIMIZE_THROUGHPUT).tolist() == [0]


def test_all_weight_on_throughput_takes_the_least_planned_time_in_all():
    weights = {"success": 0.0, "throughput": 1.0, "confidence": 0.0}
    forecast = forecast_of(planned_duration_ms=[[100.0, 300.0]] * 4)
    assert plan(forecast, S.WEIGHTED, weights=weights, capacity=4).tolist() == [0, 0, 0, 0]


def test_exploring_favours_the_unknown_and_not_against_a_clear_advantage():
    # Bonus 0.3 x sd: 0.3 x 0.2 = 0.06 lifts 0.75 above 0.80 but not above 0.85.
    variance = [[0.0, 0.04]]
    close = forecast_of(planned_success=[[0.80, 0.75]], planned_success_variance=variance)
    clear = forecast_of(planned_success=[[0.85, 0.75]], planned_success_variance=variance)
    assert plan(close, S.MAXIMIZE_SUCCESS).tolist() == [0]
    assert plan(close, S.MAXIMIZE_SUCCESS, explore=True).tolist() == [1]
    assert plan(clear, S.MAXIMIZE_SUCCESS, explore=True).tolist() == [0]


def test_auto_is_a_choice_among_plans_and_has_no_scores():
    with pytest.raises(ValueError, match="found auto"):
        optimize(forecast_of(planned_success=[[0.9, 0.7]]), strategy=S.AUTO)


@pytest.mark.parametrize(("n", "m", "expected"), [(4, 4, 1), (5, 4, 2), (1, 4, 1), (8, 4, 2)])
def test_capacity_is_twice_the_even_share_by_default(n, m, expected):
    forecast = forecast_of(planned_success=np.full((n, m), 0.5))
    assert optimize(forecast).capacity.tolist() == [2 * expected] * m
    assert optimize(forecast, capacity="even").capacity.tolist() == [expected] * m
    assert optimize(forecast, capacity="none").capacity.tolist() == [n] * m


def test_by_default_an_agent_that_nearly_always_fails_gets_no_work():
    forecast = forecast_of(planned_success=np.tile([0.8, 0.1, 0.9, 0.85], (12, 1)))
    assert np.bincount(plan(forecast, S.MAXIMIZE_SUCCESS), minlength=4).tolist() == [0, 0, 6, 6]
    assert np.bincount(plan(forecast, S.MAXIMIZE_SUCCESS, capacity="even"), minlength=4).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("strategy", "capacity", "cost"),
    [
        # Alone a0 would succeed in 0.9 of the tasks. Of 4 tasks it may take c, so that 4 - c succeed in 0.5.
        (S.MAXIMIZE_SUCCESS, "even", 0.2),
        (S.MAXIMIZE_SUCCESS, 3, 0.1),
        (S.MAXIMIZE_SUCCESS, None, 0.0),
        (S.BALANCE_LOAD, "even", 0.2),
        # Its confidence grows most with a1, so the limit on a1 gains success.
        (S.CONFIDENCE_OPTIMIZATION, "even", -0.2),
        (S.MAXIMIZE_THROUGHPUT, "even", None),
    ],
)
def test_a_limit_costs_the_planned_success_of_the_strategy_s_plan_without_it(strategy, capacity, cost):
    success, gain = np.tile([0.9, 0.5], (4, 1)), np.tile([0.0, 0.1], (4, 1))
    found = optimize(
        forecast_of(planned_success=success, planned_confidence_delta=gain), strategy=strategy, capacity=capacity
    )
    assert found.capacity_cost == (None if cost is None else pytest.approx(cost))


def test_a_limit_costs_nothing_that_the_allowed_agents_forbid():
    allowed = np.array([[True, True], [False, True], [False, True]])
    forecast = forecast_of(planned_success=np.tile([0.9, 0.5], (3, 1)))
    assert optimize(forecast, allowed, capacity="even").capacity_cost == pytest.approx(0.0)


def test_required_agents_are_respected_against_the_score():
    frame = tasks(
        {"task_id": "a", "required_agents": ["a1"]},
        {"task_id": "b", "required_agents": []},
        {"task_id": "c"},
        {"task_id": "d", "required_agents": ["a1", "nobody"]},
    )
    allowed = allowed_pairs(frame, agents("a0", "a1"))
    assert allowed.tolist() == [[False, True], [True, True], [True, True], [False, True]]
    forecast = forecast_of(planned_success=[[0.9, 0.1]] * 4)
    found = optimize(forecast, allowed)
    assert found.assignment.agent_index.tolist() == [1, 0, 0, 1]


def test_where_all_agents_are_allowed_there_is_no_mask():
    assert allowed_pairs(tasks(count=2), agents("a0")) is None
    assert allowed_pairs(tasks({"task_id": "a", "required_agents": []}), agents("a0")) is None


def test_an_infeasible_wave_says_what_to_do():
    frame = tasks({"task_id": "a", "required_agents": ["nobody"]}, {"task_id": "b"})
    allowed = allowed_pairs(frame, agents("a0", "a1"))
    advice = r"no room for 1 task, .*\(wave 1; task 'a'\); raise --capacity, .* leave tasks out with --allow-un"
    with pytest.raises(InfeasibleError, match=advice):
        optimize(
            forecast_of(planned_success=np.full((2, 2), 0.5)),
            allowed,
            frame.with_columns(wave=1),
            agents("a0", "a1"),
        )
    with pytest.raises(InfeasibleError, match="3 tasks for a total capacity of 2"):
        optimize(forecast_of(planned_success=np.full((3, 2), 0.5)), capacity=1)


def test_a_conflict_names_the_tasks_and_the_agents_that_are_too_few_for_them():
    only = [{"task_id": f"x{i}", "wave": 3, "required_agents": ["a1"]} for i in range(2)]
    frame = tasks(*only, {"task_id": "y", "wave": 3})
    both = agents("a0", "a1", "a2")
    forecast = forecast_of(planned_success=np.full((3, 3), 0.5))
    with pytest.raises(InfeasibleError, match=r"\(wave 3; tasks 'x0', 'x1'; agent 'a1'\)"):
        optimize(forecast, allowed_pairs(frame, both), frame, both, capacity=1)
    with pytest.raises(InfeasibleError, match=r"3 tasks for a total capacity of 0 over 3 agents \(wave 3\)"):
        optimize(forecast, None, frame, both, capacity=0)


def test_of_too_little_capacity_the_smallest_part_is_named():
    alone = {"task_id": "alone", "wave": 1, "required_agents": ["idle"]}
    two = [{"task_id": f"x{i}", "wave": 1, "required_agents": ["a0"]} for i in range(2)]
    rest = [{"task_id": f"y{i}", "wave": 1} for i in range(4)]
    team = agents("a0", "a1", "idle").with_columns(capacity=pl.Series([1, 2, 0]))
    for frame, named in (
        (tasks(alone, *two, *rest), r"\(wave 1; task 'alone'; agent 'idle'\)"),
        (tasks(*two, *rest), r"\(wave 1; tasks 'x0', 'x1'; agent 'a0'\)"),
        (tasks(*rest), r"4 tasks for a total capacity of 3 over 3 agents \(wave 1\)"),
    ):
        forecast = forecast_of(planned_success=np.full((frame.height, 3), 0.5))
        with pytest.raises(InfeasibleError, match=named):
            optimize(forecast, allowed_pairs(frame, team), frame, team)


@pytest.mark.parametrize("excluded", [["a0"], [], None])
def test_the_advice_speaks_of_excluded_agents_where_there_are_some(excluded):
    frame = tasks({"task_id": "a", "wave": 1, "excluded_agents": excluded}, {"task_id": "b", "wave": 1})
    team = agents("a0", "a1")
    with pytest.raises(InfeasibleError) as caught:
        optimize(
            forecast_of(planned_success=np.full((2, 2), 0.5)),
            allowed_pairs(frame, team),
            frame,
            team,
            capacity=0,
        )
    assert ("shorten excluded_agents" in str(caught.value)) == bool(excluded)


def test_of_many_tasks_without_room_the_first_five_are_named():
    frame = tasks(*({"task_id": f"x{i}", "wave": 2, "required_agents": ["nobody"]} for i in range(7)))
    with pytest.raises(InfeasibleError, match=r"7 tasks, .*\(wave 2; tasks 'x0', 'x1', 'x2', 'x3', 'x4', \.\.\.\)"):
        optimize(
            forecast_of(planned_success=np.full((7, 2), 0.5)),
            allowed_pairs(frame, agents("a0", "a1")),
            frame,
            agents("a0", "a1"),
        )


def test_the_default_capacity_rises_to_the_least_that_required_agents_need():
    # Of 6 tasks 5 need a0, 1 a0 or a1: twice the even share of 2 is too little, 5 is enough.
    allowed = np.array([[True, False, False]] * 5 + [[True, True, False]])
    forecast = forecast_of(planned_success=np.full((6, 3), 0.5))
    for capacity in (None, "even"):
        found = optimize(forecast, allowed, capacity=capacity)
        assert found.capacity.tolist() == [5, 5, 5]
        assert found.assignment.agent_index.tolist() == [0, 0, 0, 0, 0, 1]
    # The limit a user gave stands.
    with pytest.raises(InfeasibleError, match="no room for 2 tasks, because 4 tasks may use only 1 agent"):
        optimize(forecast, allowed, capacity=3)

"""Each strategy wins its own measure, and units do not count."""

from __future__ import annotations

import numpy as np
import pytest

from phase19.errors import InfeasibleError
from phase19.options import OptimizationStrategy
from phase19.planning import CANDIDATES
from phase19.strategies import SolverParameters, allowed_pairs, optimize, score_matrix, score_terms
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
    """Four tasks, four agents, each agent best at all tasks by one measure, and tasks that differ in how much."""
    rng = np.random.default_rng(5)
    slack = rng.uniform(0.0, 0.05, (4, 4))
    return forecast_of(
        planned_success=np.array([0.9, 0.5, 0.5, 0.5]) + slack,
        planned_attempts=np.array([1.8, 1.1, 1.8, 1.8]) + slack,
        planned_confidence_delta=np.array([0.0, 0.0, 0.08, 0.0]) + slack,
        planned_duration_ms=np.array([900.0, 900.0, 900.0, 100.0]) + 1000 * slack,
    )


def plan(forecast, strategy, **parameters):
    found = optimize(forecast, SolverParameters(strategy=strategy, **parameters))
    return found.assignment.agent_index


def total(values, agent_index):
    return values[np.arange(values.shape[0]), agent_index].sum()


@pytest.mark.parametrize(
    ("strategy", "part", "sign"),
    [
        (S.MAXIMIZE_SUCCESS, "planned_success", 1),
        (S.MINIMIZE_RETRIES, "planned_attempts", -1),
        (S.CONFIDENCE_OPTIMIZATION, "planned_confidence_delta", 1),
        (S.MAXIMIZE_THROUGHPUT, "planned_duration_ms", -1),
    ],
)
@pytest.mark.parametrize("capacity", [2, 4])
def test_each_strategy_wins_its_own_measure(contrary, strategy, part, sign, capacity):
    values = sign * getattr(contrary, part)
    own = total(values, plan(contrary, strategy, capacity=capacity))
    others = [total(values, plan(contrary, other, capacity=capacity)) for other in FIVE if other is not strategy]
    assert own > max(others)


def test_balance_load_takes_the_times_closest_to_the_mean():
    # Times 100, 300, 500 for both tasks, mean 300: with room, both go to the agent that takes 300.
    forecast = forecast_of(planned_duration_ms=[[100.0, 300.0, 500.0]] * 2)
    assert plan(forecast, S.BALANCE_LOAD, capacity=2).tolist() == [1, 1]
    # |time - mean| / longest: 200 / 500, 0, 200 / 500.
    scores = score_matrix(forecast, score_terms(forecast), S.BALANCE_LOAD, {})
    assert scores[0] == pytest.approx([0.6, 1.0, 0.6], abs=1e-6)


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
    found = optimize(forecast, SolverParameters(strategy=strategy))
    assert np.isfinite(found.scores).all()
    assert all(((term >= 0) & (term <= 1)).all() for term in found.terms)


@pytest.mark.parametrize("strategy", CANDIDATES)
def test_no_tasks(strategy):
    assert plan(forecast_of(planned_success=np.zeros((0, 3))), strategy).shape == (0,)


def test_weights_are_normalised(contrary):
    weights = {"success": 0.6, "throughput": 0.3, "confidence": 0.1}
    terms = score_terms(contrary)
    scores = score_matrix(contrary, terms, S.WEIGHTED, weights)
    tenfold = score_matrix(contrary, terms, S.WEIGHTED, {name: 10 * weight for name, weight in weights.items()})
    assert tenfold == pytest.approx(scores, abs=1e-12)
    by_hand = 0.6 * terms.success + 0.3 * terms.throughput + 0.1 * terms.confidence
    assert scores == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("term", "strategy"),
    [
        ("success", S.MAXIMIZE_SUCCESS),
        ("throughput", S.MAXIMIZE_THROUGHPUT),
        ("confidence", S.CONFIDENCE_OPTIMIZATION),
    ],
)
def test_all_weight_on_one_term_is_its_strategy(contrary, term, strategy):
    weights = {"success": 0.0, "throughput": 0.0, "confidence": 0.0, term: 3.0}
    assert plan(contrary, S.WEIGHTED, weights=weights).tolist() == plan(contrary, strategy).tolist()


@pytest.mark.parametrize("strategy", CANDIDATES)
def test_the_unit_of_time_changes_no_plan(contrary, strategy):
    seconds = contrary._replace(planned_duration_ms=contrary.planned_duration_ms / 1000)
    assert plan(contrary, strategy, capacity=2).tolist() == plan(seconds, strategy, capacity=2).tolist()


def test_ties_in_the_own_measure_are_told_apart_by_success():
    forecast = forecast_of(planned_success=[[0.4, 0.6], [0.4, 0.6]], planned_duration_ms=np.full((2, 2), 100.0))
    for strategy in FIVE:
        assert plan(forecast, strategy, capacity=2).tolist() == [1, 1]


def test_the_tie_break_never_outweighs_the_own_measure():
    forecast = forecast_of(planned_success=[[0.0, 1.0]], planned_duration_ms=[[999.0, 1000.0]])
    assert plan(forecast, S.MAXIMIZE_THROUGHPUT).tolist() == [0]


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
        optimize(forecast_of(planned_success=[[0.9, 0.7]]), SolverParameters(strategy=S.AUTO))


@pytest.mark.parametrize(("n", "m", "expected"), [(4, 4, 1), (5, 4, 2), (1, 4, 1), (8, 4, 2)])
def test_capacity_is_the_even_share_by_default(n, m, expected):
    forecast = forecast_of(planned_success=np.full((n, m), 0.5))
    assert optimize(forecast, SolverParameters()).capacity.tolist() == [expected] * m


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
    found = optimize(forecast, SolverParameters(), allowed)
    assert found.assignment.agent_index.tolist() == [1, 0, 0, 1]


def test_where_all_agents_are_allowed_there_is_no_mask():
    assert allowed_pairs(tasks(count=2), agents("a0")) is None
    assert allowed_pairs(tasks({"task_id": "a", "required_agents": []}), agents("a0")) is None


def test_an_infeasible_wave_says_what_to_do():
    frame = tasks({"task_id": "a", "required_agents": ["nobody"]}, {"task_id": "b"})
    allowed = allowed_pairs(frame, agents("a0", "a1"))
    advice = r"1 tasks find no room .*\(wave 1: 'a'\); raise --capacity or --agents, or widen required_agents"
    with pytest.raises(InfeasibleError, match=advice):
        optimize(
            forecast_of(planned_success=np.full((2, 2), 0.5)), SolverParameters(), allowed, frame.with_columns(wave=1)
        )
    with pytest.raises(InfeasibleError, match="3 tasks for a total capacity of 2"):
        optimize(forecast_of(planned_success=np.full((3, 2), 0.5)), SolverParameters(capacity=1))


def test_of_many_tasks_without_room_the_first_five_are_named():
    frame = tasks(*({"task_id": f"x{i}", "wave": 2, "required_agents": ["nobody"]} for i in range(7)))
    with pytest.raises(InfeasibleError, match=r"7 tasks .*\(wave 2: 'x0', 'x1', 'x2', 'x3', 'x4', \.\.\.\)"):
        optimize(
            forecast_of(planned_success=np.full((7, 2), 0.5)),
            SolverParameters(),
            allowed_pairs(frame, agents("a0", "a1")),
            frame,
        )


def test_the_default_capacity_rises_to_the_least_that_required_agents_need():
    # Of 6 tasks 4 need a0 or nobody else, 1 a0 or a1: the even share of 2 is too little, 4 is enough.
    allowed = np.array([[True, False, False]] * 4 + [[True, True, False]] + [[True] * 3])
    forecast = forecast_of(planned_success=np.full((6, 3), 0.5))
    found = optimize(forecast, SolverParameters(), allowed)
    assert found.capacity.tolist() == [4, 4, 4]
    assert found.assignment.agent_index[:5].tolist() == [0, 0, 0, 0, 1]
    # The limit a user gave stands.
    with pytest.raises(InfeasibleError, match="1 tasks find no room"):
        optimize(forecast, SolverParameters(capacity=3), allowed)

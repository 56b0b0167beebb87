"""The rule that recommends one of several plans, by hand, and as `--strategy auto` applies it to a wave."""

import numpy as np
import pytest

from phase19.balancing.recommendation import recommend, recommend_wave
from phase19.optimizer import CANDIDATES
from phase19.options import OptimizationStrategy as S
from tests.builders import assigned, forecast_of, model, random_attempts


@pytest.mark.parametrize(
    ("success_rate", "makespan_ms", "expected"),
    [
        pytest.param([0.900, 0.880], [200, 100], 0, id="a clear winner, however slow"),
        pytest.param([0.900, 0.896], [200, 100], 1, id="close to the best, and faster"),
        pytest.param([0.900, 0.895], [200, 100], 1, id="exactly half a percentage point less, and faster"),
        pytest.param([0.900, 0.8949], [200, 100], 0, id="more than half a percentage point less"),
        pytest.param([0.895, 0.899, 0.900], [150, 100, 200], 1, id="the fastest of those that are close"),
        pytest.param([0.900, 0.896], [200, 190], 0, id="close to the best, and 5 % faster: too little"),
        pytest.param([0.900, 0.896], [200, 189], 1, id="close to the best, and more than 5 % faster"),
        pytest.param([0.896, 0.898, 0.900], [189, 191, 200], 0, id="faster than the best counts, not than the next"),
        pytest.param([0.900, 0.900], [200, 191], 0, id="equal success, and 4.5 % faster: the first"),
        pytest.param([0.900, 0.900], [200, 189], 1, id="equal success, and more than 5 % faster"),
        pytest.param([0.900, 0.900], [100, 100], 0, id="equal: the first"),
    ],
)
def test_the_best_plan_is_recommended_unless_one_within_half_a_point_is_over_5_percent_faster(
    success_rate, makespan_ms, expected
):
    assert recommend(np.array(success_rate), np.array(makespan_ms, dtype=float)) == expected


def test_a_wave_s_plans_are_judged_by_mean_success_and_by_the_busiest_agent():
    # Two tasks on agent 0: 0.9 in 2 x 900 ms. On agent 1: 0.896 in 2 x 100 ms. One each: 0.898 in 900 ms.
    forecast = forecast_of(planned_success=[[0.9, 0.896]] * 2, planned_duration_ms=[[900.0, 100.0]] * 2)
    assert recommend_wave(forecast, np.array([[0, 0], [1, 1], [0, 1]])) == 1
    assert recommend_wave(forecast, np.array([[0, 0], [0, 1]])) == 1
    worse = forecast_of(planned_success=[[0.9, 0.88]] * 2, planned_duration_ms=[[900.0, 100.0]] * 2)
    assert recommend_wave(worse, np.array([[0, 0], [1, 1]])) == 0


@pytest.mark.parametrize(("capacity", "chosen"), [(None, S.BALANCE_LOAD), (4, S.BALANCE_LOAD)])
def test_auto_takes_a_wave_s_plan_by_the_rule_loads_evened_out(capacity, chosen):
    fitted = model(random_attempts(5, 60), task_count=8)
    tasks = fitted.tasks.with_columns(wave=1)
    waves = [assigned(fitted, tasks, strategy=strategy, capacity=capacity) for strategy in CANDIDATES]
    found = assigned(fitted, tasks, strategy=S.AUTO, capacity=capacity)
    success = np.array([wave.forecast.planned_success[np.arange(8), wave.agent_index].sum() for wave in waves])
    time = [
        np.bincount(wave.agent_index, wave.forecast.planned_duration_ms[np.arange(8), wave.agent_index]).max()
        for wave in waves
    ]
    close = [i for i in range(len(waves)) if success[i] >= success.max() - 0.005 * 8]
    best = int((success >= success.max() - 1e-9).argmax())
    expected = min(close, key=lambda i: (time[i], -success[i]))
    expected = expected if time[expected] < 0.95 * time[best] else best
    assert found.assignment.strategy is CANDIDATES[expected] is chosen
    assert found.agent_index.tolist() == waves[expected].agent_index.tolist()


def test_an_empty_wave_has_a_recommendation():
    nothing = forecast_of(planned_success=np.zeros((0, 3)))
    assert recommend_wave(nothing, np.zeros((6, 0), dtype=int)) == 0

"""The wave loop: what is planned rests on what came before alone, and what a wave taught is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.balancing.strategies import SolverParameters, optimize
from phase19.execution.protocol import Execution
from phase19.execution.replay import ReplayExecutor
from phase19.learning import Lesson, lesson
from phase19.options import OptimizationStrategy
from phase19.planning import AssignedWave, PlanParameters
from phase19.safety import SafetyGate
from phase19.waves import WaveLoop
from tests.builders import attempts, forecast_of, model, random_attempts, tasks


def assigned(planned_success: list[list[float]]) -> AssignedWave:
    forecast = forecast_of(planned_success=planned_success)
    n = len(planned_success)
    found = optimize(forecast, SolverParameters())
    return AssignedWave(tasks(count=n), np.ones(n, dtype=np.int64), forecast, found, found.assignment.agent_index, 0)


def test_a_lesson_says_how_far_forecasts_moved_and_what_the_new_plan_is_worth():
    before = assigned([[0.9, 0.5], [0.6, 0.5]])  # 0 to the first agent: 0.9 + 0.5 beats 0.5 + 0.6
    after = assigned([[0.5, 0.7], [0.6, 0.5]])  # now 0.7 + 0.6 beats 0.5 + 0.5
    found = lesson(before, after, 4)
    # |0.5 - 0.9| + |0.7 - 0.5| over 4 pairs; both tasks change hands; (0.7 + 0.6) - (0.5 + 0.5) over 2 tasks
    assert found == pytest.approx(Lesson(4, 0.15, 1.0, 0.15))


def test_an_assignment_that_scores_as_well_as_before_is_no_change():
    before, after = assigned([[0.9, 0.5], [0.6, 0.5]]), assigned([[0.5, 0.5], [0.6, 0.6]])
    swapped = replace(after, agent_index=1 - before.agent_index)
    found = lesson(before, swapped, 2)
    assert (found.reassigned_share, found.reassignment_gain) == (0.0, pytest.approx(0.0))
    assert found.forecast_shift > 0


def test_a_wave_without_tasks_teaches_nothing_of_its_plan():
    empty = assigned(np.zeros((0, 2)).tolist() or [[0.5, 0.5]])
    none = AssignedWave(
        empty.tasks.clear(), np.zeros(0, dtype=np.int64), empty.forecast, empty.assigned, np.zeros(0, dtype=np.int64), 0
    )
    assert lesson(none, none, 3) is None


def play(records: pl.DataFrame, **parameters) -> list:
    fitted = model(random_attempts(3, 40), task_count=6)
    two = fitted.tasks.with_columns(wave=pl.Series([1, 1, 1, 2, 2, 2], dtype=pl.Int64))
    fitted = type(fitted).fit(two, fitted.agents, fitted.attempts, fitted.population)
    loop = WaveLoop(
        ReplayExecutor(records), PlanParameters(**parameters), lambda wave, _: SafetyGate().decide(wave), seed=5
    )
    return [(wave, loop.lesson(wave)) for wave in loop.play(fitted)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=9, max_size=9), st.sampled_from(list(OptimizationStrategy)))
def test_what_comes_later_changes_no_plan_made_before_it(won, strategy):
    """Other outcomes of the second wave, or none at all, leave the first two plans and the first draws as they were."""
    first = [{"task_id": f"t{t}", "agent_id": f"a{a}", "is_success": t != a} for t in range(3) for a in range(3)]
    second = [
        {"task_id": f"t{3 + t}", "agent_id": f"a{a}", "is_success": won[3 * t + a], "duration_ms": 9.0}
        for t in range(3)
        for a in range(3)
    ]
    whole = play(attempts(*first, *second), strategy=strategy)
    cut = play(attempts(*first), strategy=strategy)
    for (one, told), (other, told_of_cut) in zip(whole, cut, strict=True):
        assert one.plan.plans.equals(other.plan.plans)
        assert np.array_equal(one.draws.busy_ms, other.draws.busy_ms)
        assert told == told_of_cut
    # Times nobody recorded are counted at a mean over all records, and teach nothing.
    assert whole[0][0].executions["status"].equals(cut[0][0].executions["status"])
    assert whole[0][0].execution.attempts.equals(cut[0][0].execution.attempts)
    assert cut[1][0].executions["status"].unique().to_list() == ["unobserved"]


def test_the_first_wave_has_no_lesson_and_the_second_tells_what_it_rests_on():
    won = [{"task_id": f"t{t}", "agent_id": "a2"} for t in range(6)]
    lost = [{"task_id": f"t{t}", "agent_id": a, "is_success": False} for t in range(6) for a in ("a0", "a1")]
    (first, nothing), (second, told) = play(attempts(*won, *lost), max_retries=0)
    assert nothing is None
    assert told.attempt_count == first.execution.attempts.height == 3
    assert told.forecast_shift > 0
    assert second.model.attempts.height == first.model.attempts.height + 3


def test_an_interrupted_wave_is_the_last():
    class Stopping(ReplayExecutor):
        def execute(self, orders):
            return Execution(super().execute(orders).attempts, is_interrupted=True)

    fitted = model(task_count=4)
    fitted = type(fitted).fit(
        fitted.tasks.with_columns(wave=pl.Series([1, 2, 3, 4], dtype=pl.Int64)),
        fitted.agents,
        fitted.attempts,
        fitted.population,
    )
    loop = WaveLoop(Stopping(attempts()), PlanParameters(), lambda wave, _: SafetyGate().decide(wave))
    assert len(list(loop.play(fitted))) == 1

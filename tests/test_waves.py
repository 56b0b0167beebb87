"""The wave loop: what is planned rests on what came before alone, and what a wave taught is told."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.execution.protocol import Execution
from phase19.execution.replay import ReplayExecutor
from phase19.options import OptimizationStrategy
from phase19.planning import PlanParameters
from phase19.safety import SafetyGate
from phase19.waves import WaveLoop
from tests.builders import attempts, model, random_attempts


def play(records: pl.DataFrame, **parameters) -> list:
    fitted = model(random_attempts(3, 40), task_count=6)
    two = fitted.tasks.with_columns(wave=pl.Series([1, 1, 1, 2, 2, 2], dtype=pl.Int64))
    fitted = type(fitted).fit(two, fitted.agents, fitted.attempts, fitted.population)
    loop = WaveLoop(
        ReplayExecutor(records), PlanParameters(**parameters), lambda wave, _: SafetyGate().decide(wave), seed=5
    )
    return list(loop.play(fitted))


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
    for one, other in zip(whole, cut, strict=True):
        assert one.plan.plans.equals(other.plan.plans)
        assert np.array_equal(one.draws.busy_ms, other.draws.busy_ms)
        assert one.learned_attempt_count == other.learned_attempt_count
    # Times nobody recorded are counted at a mean over all records, and teach nothing.
    assert whole[0].executions["status"].equals(cut[0].executions["status"])
    assert whole[0].execution.attempts.equals(cut[0].execution.attempts)
    assert cut[1].executions["status"].unique().to_list() == ["unobserved"]


def test_the_second_wave_learns_from_the_attempts_of_the_first():
    won = [{"task_id": f"t{t}", "agent_id": "a2"} for t in range(6)]
    lost = [{"task_id": f"t{t}", "agent_id": a, "is_success": False} for t in range(6) for a in ("a0", "a1")]
    first, second = play(attempts(*won, *lost), max_retries=0)
    assert first.learned_attempt_count is None
    assert second.learned_attempt_count == first.execution.attempts.height == 3
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

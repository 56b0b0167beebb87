"""Wave after wave: each plan rests on what came before it alone, and learns from the outcomes of the wave before."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phase19.execution.protocol import Execution
from phase19.execution.replay import ReplayExecutor
from phase19.options import OptimizationStrategy, PlanOptions
from phase19.wave import ExecutedWave, largest, mean
from tests.builders import attempts, optimizer, random_attempts, run_waves


def replayed(records, **options):
    """Tasks t0, t2, t4 are of the first wave, t1, t3, t5 of the second."""
    planner = optimizer(random_attempts(3, 40), task_count=6, waves=2, options=PlanOptions(**options))
    planner.seed = 5
    return run_waves(planner, ReplayExecutor(records))


@settings(max_examples=6, deadline=None)
@given(st.lists(st.booleans(), min_size=9, max_size=9), st.sampled_from(list(OptimizationStrategy)))
def test_what_comes_later_changes_no_plan_made_before_it(won, strategy):
    """Other outcomes of the second wave, or none at all, leave the first two plans and their draws as they were."""
    first = [{"task_id": f"t{2 * t}", "agent_id": f"a{a}", "is_success": t != a} for t in range(3) for a in range(3)]
    second = [
        {"task_id": f"t{2 * t + 1}", "agent_id": f"a{a}", "is_success": won[3 * t + a], "duration_ms": 9.0}
        for t in range(3)
        for a in range(3)
    ]
    whole = replayed(attempts(*first, *second), strategy=strategy)
    cut = replayed(attempts(*first), strategy=strategy)
    for one, other in zip(whole, cut, strict=True):
        assert one.plans.equals(other.plans)
        assert np.array_equal(one.draws.busy_ms, other.draws.busy_ms)
        assert one.model.attempts.height == other.model.attempts.height
    # Times that nobody recorded are counted at a mean over all records, and nothing is learned from them.
    assert whole[0].executions["status"].equals(cut[0].executions["status"])
    assert whole[0].attempts.equals(cut[0].attempts)
    assert cut[1].executions["status"].unique().to_list() == ["unobserved"]


def test_the_second_wave_learns_from_the_attempts_of_the_first():
    won = [{"task_id": f"t{t}", "agent_id": "a2"} for t in range(6)]
    lost = [{"task_id": f"t{t}", "agent_id": a, "is_success": False} for t in range(6) for a in ("a0", "a1")]
    first, second = replayed(attempts(*won, *lost), max_retries=0)
    assert first.attempts.height == 3
    assert second.model.attempts.height == first.model.attempts.height + 3


def test_an_interrupted_wave_is_the_last_that_is_planned():
    class Stopping(ReplayExecutor):
        def execute(self, orders):
            return Execution(super().execute(orders).attempts, is_interrupted=True)

    first, *others = run_waves(optimizer(task_count=4, waves=4), Stopping(attempts()))
    assert isinstance(first, ExecutedWave)
    assert not any(isinstance(wave, ExecutedWave) for wave in others)
    assert [wave.unassigned["reason"].item() for wave in others] == ["the run was interrupted before its wave"] * 3


def test_means_and_maxima_of_integers_are_floats():
    assert (mean(pl.Series([1, 2])), largest(pl.Series([1, 2]))) == (1.5, 2.0)
    assert isinstance(largest(pl.Series([1, 2])), float)
    assert mean(pl.Series([], dtype=pl.Int64)) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_draws_whatever_was_planned_before(seed):
    planners = [optimizer(random_attempts(3, 40), task_count=6, waves=2) for _ in range(2)]
    for planner in planners:
        planner.seed = seed
    planners[0].calculate_optimal_schedule()
    second = [planner.calculate_optimal_schedule(planner.waves[1].tasks) for planner in planners]
    assert np.array_equal(second[0].wave.draws.busy_ms, second[1].wave.draws.busy_ms)

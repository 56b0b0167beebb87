"""What a wave leaves for the analysis: each agent's distance from its forecasts, recomputed task by task."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from phase19 import frames
from phase19.analysis.evidence import risk_evidence, wave_frames
from phase19.execution.simulate import SimulateExecutor
from phase19.wave import positions
from tests.builders import optimizer, random_attempts, run_waves
from tests.synthetic import execution


@pytest.fixture(scope="module")
def wave():
    """A wave of six tasks, executed in a world drawn from its forecast."""
    planner = optimizer(random_attempts(8, 90), task_count=6)
    model = planner.model
    executor = SimulateExecutor(model.world(3), model.tasks["task_id"], model.agents["agent_id"])
    planner.seed = 4
    return run_waves(planner, executor)[0]


@pytest.mark.parametrize("limit_ms", [math.inf, 800.0], ids=["no limit", "a limit"])
def test_evidence_of_agents_agrees_with_a_recomputation_task_by_task(wave, limit_ms):
    limited = replace(wave.model.duration, limit_ms=np.full(wave.tasks.height, limit_ms))
    wave = replace(wave, model=replace(wave.model, duration=limited))
    found = wave_frames(wave)["agent_evidence"]
    frames.AGENT_EVIDENCE.validate(found)
    duration, executions = wave.model.duration, wave.executions
    chance = wave.scheduled_draws.success_probability
    tasks = positions(executions["task_id"], wave.model.tasks["task_id"])
    agents = positions(executions["agent_id"], wave.model.agents["agent_id"])
    lead = (executions["planned_success"] - executions["baseline_success"]).to_numpy()
    lead = lead - lead.mean()
    made = wave.attempts.to_dicts()
    for a, row in enumerate(found.to_dicts()):
        mine = np.flatnonzero(agents == a)
        assert row["success_variance"] == pytest.approx(chance[:, mine].sum(axis=1).var(ddof=1))
        weighted = (chance * lead)[:, mine].sum(axis=1)
        assert row["advantage_variance"] == pytest.approx(weighted.var(ddof=1))
        residual = variance = known = 0.0
        count = 0
        for i in mine:
            own = [x for x in made if x["task_id"] == executions["task_id"][int(i)]]
            spread = duration.task.sd[tasks[i]] ** 2 + duration.pair.at(tasks[i], np.int64(a))[1] ** 2
            variance += len(own) ** 2 * spread
            count += len(own)
            for x in own:
                won = int(x["is_success"])
                mean = duration.mean(tasks[i], np.int64(a)) + duration.outcome.shift()[won]
                points = norm.ppf((np.arange(10_000) + 0.5) / 10_000, scale=duration.residual_sd[won])
                expected = np.minimum(points, math.log(limit_ms) - mean).mean()
                residual += math.log(x["duration_ms"]) - mean - expected
                variance += duration.residual_sd[won] ** 2
                known += duration.outcome.sd * duration.outcome.code[won]
        assert row["duration_count"] == count
        assert row["log_duration_residual_sum"] == pytest.approx(residual, abs=1e-2)
        assert row["log_duration_variance"] == pytest.approx(variance + (count * duration.agent.sd[a]) ** 2)
        assert row["log_duration_outcome_sd"] == pytest.approx(known)
        assert row["log_duration_third_moment"] == 0.0


def test_evidence_of_risk_levels_agrees_with_a_recomputation_and_adds_up(wave):
    found = wave_frames(wave)["risk_evidence"]
    frames.RISK_EVIDENCE.validate(found)
    executions = wave.executions
    draws = wave.scheduled_draws
    assert found.select("agent_id", "risk_level").n_unique() == executions.select("agent_id", "risk_level").n_unique()
    for row in found.to_dicts():
        mine = executions.select(
            agent_id=pl.col("agent_id") == row["agent_id"], risk=pl.col("risk_level") == row["risk_level"]
        )
        here = (mine["agent_id"] & mine["risk"]).to_numpy()
        count, busy = draws.succeeded[:, here].sum(axis=1), draws.busy_ms[:, here].sum(axis=1)
        actual = (executions["status"] == "completed").to_numpy()[here].sum()
        assert row["success_sd"] == pytest.approx(count.std())
        assert (row["busy_low_ms"], row["busy_high_ms"]) == pytest.approx(tuple(np.quantile(busy, (0.05, 0.95))))
        assert row["success_low"] <= row["success_high"]
        below, same = (count < actual).sum(), (count == actual).sum()
        share = (below + (same + 1) / 2) / (count.size + 1)
        assert row["success_p_value"] == pytest.approx(2 * min(share, 1 - share))


def test_evidence_of_risk_levels_by_hand_in_whatever_order_they_come():
    # LOW tasks before and after a HIGH one: 2 and 1 of them succeed in the two draws, taking 10 + 40 and 1 + 4.
    rows = [execution(f"t{i}", risk_level=risk) for i, risk in enumerate(("LOW", "HIGH", "LOW"))]
    wave = SimpleNamespace(
        executions=frames.EXECUTIONS.conform(rows),
        number=3,
    )
    draws = SimpleNamespace(
        agent=np.zeros(3, np.int64),
        succeeded=np.array([[True, False, True], [True, True, False]]),
        busy_ms=np.array([[10.0, 20.0, 40.0], [1.0, 2.0, 4.0]]),
    )
    found = {row["risk_level"]: row for row in risk_evidence(wave, draws).to_dicts()}
    assert found.keys() == {"LOW", "HIGH"}
    assert (found["LOW"]["wave"], found["LOW"]["success_sd"], found["LOW"]["busy_sd_ms"]) == (3, 0.5, 22.5)
    assert (found["HIGH"]["success_low"], found["HIGH"]["success_high"]) == (0.0, 1.0)
    # Both LOW tasks completed, as in one draw of two: (1 + 2 / 2) / 3. They spent 2,000 ms, beyond both: 2.5 / 3.
    assert (found["LOW"]["success_p_value"], found["LOW"]["busy_p_value"]) == pytest.approx((2 / 3, 1 / 3))


def test_evidence_is_of_the_tasks_that_ran(wave):
    idle = replace(wave, executions=wave.executions.with_columns(status=pl.lit("unobserved")))
    found = wave_frames(idle)
    assert found["risk_evidence"].equals(frames.RISK_EVIDENCE.empty())
    assert found["agent_evidence"]["success_variance"].to_list() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("completed", "p"), [(1, 1.0), (0, 0.4), (2, 0.4)])
def test_a_two_sided_mid_p_by_hand(completed, p):
    # Counts 0, 1, 1, 2 in the draws, and the actual one: 1 is above one of the five and level with three, which counts
    # half, (1 + 3 / 2) / 5 = 1 / 2; 0 is level with two, 1 / 5. No draw takes as long as it took: 0.5 / 5 from the end.
    rows = [execution(f"t{i}", status="completed" if i < completed else "failed") for i in range(2)]
    draws = SimpleNamespace(
        agent=np.zeros(2, np.int64),
        succeeded=np.array([[False, False], [True, False], [False, True], [True, True]]),
        busy_ms=np.ones((4, 2)),
    )
    found = risk_evidence(SimpleNamespace(executions=frames.EXECUTIONS.conform(rows), number=1), draws)
    assert found.select("success_p_value", "busy_p_value").row(0) == pytest.approx((p, 0.2))

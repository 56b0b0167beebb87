"""What a wave leaves for the analysis: each agent's distance from its forecasts, recomputed task by task."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from phase19 import frames
from phase19.analysis.evidence import wave_frames
from phase19.execution.simulate import SimulateExecutor
from phase19.wave import positions
from tests.builders import optimizer, random_attempts, run_waves


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
            spread = duration.task.sd[tasks[i]] ** 2 + duration.pair.sd[tasks[i], a] ** 2
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


def test_evidence_is_of_the_tasks_that_ran(wave):
    idle = replace(wave, executions=wave.executions.with_columns(status=pl.lit("unobserved")))
    found = wave_frames(idle)
    assert found["agent_evidence"]["success_variance"].to_list() == [0.0, 0.0, 0.0]

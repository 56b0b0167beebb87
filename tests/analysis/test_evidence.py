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
from phase19.forecasting.posterior import KnownPairs
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


@pytest.fixture(scope="module")
def first():
    """Another forecast of the same tasks, from fewer records."""
    return optimizer(random_attempts(8, 12), task_count=6).model


@pytest.mark.parametrize("limit_ms", [math.inf, 800.0], ids=["no limit", "a limit"])
def test_evidence_of_agents_agrees_with_a_recomputation_task_by_task(wave, first, limit_ms):
    residuals = replace(wave.model.duration.residuals, limit_ms=np.full(wave.tasks.height, limit_ms))
    limited = replace(wave.model.duration, residuals=residuals)
    wave = replace(wave, model=replace(wave.model, duration=limited))
    found = wave_frames(wave, first)["agent_evidence"]
    frames.AGENT_EVIDENCE.validate(found)
    executions, chance = wave.executions, wave.scheduled_draws.success_probability
    agents = positions(executions["agent_id"], wave.model.agents["agent_id"])
    lead = (executions["planned_success"] - executions["baseline_success"]).to_numpy()
    lead = lead - lead.mean()
    for a, row in enumerate(found.to_dicts()):
        mine = np.flatnonzero(agents == a)
        assert row["success_variance"] == pytest.approx(chance[:, mine].sum(axis=1).var(ddof=1))
        weighted = (chance * lead)[:, mine].sum(axis=1)
        assert row["advantage_variance"] == pytest.approx(weighted.var(ddof=1))
        made = wave.attempts.filter(pl.col("task_id").is_in(executions["task_id"].gather(mine).to_list()))
        assert row["log_duration_sum"] == pytest.approx(made["duration_ms"].log().sum())
        for prefix, model in (("", wave.model), ("first_", first)):
            told = times(wave, model, mine, a)
            assert {name: row[f"{prefix}{name}"] for name in told} == pytest.approx(told, abs=1e-2)
        told = success(wave, first, mine, a)
        assert {name: row[f"first_success_{name}"] for name in told} == pytest.approx(told, rel=2e-2, abs=1e-6)
        assert row["first_planned_success_sum"] == pytest.approx(
            sum(first.expected(*pair).planned_success.item() for pair in pairs(wave, first, mine, a))
        )


def pairs(wave, model, mine, a):
    """Task, agent and attempts allowed of each of an agent's tasks."""
    ids = positions(wave.executions["task_id"], model.tasks["task_id"])
    allowed = wave.executions["max_attempts"].to_numpy()
    return [(ids[[i]], np.array([a]), allowed[[i]]) for i in mine]


def times(wave, model, mine, a):
    """An agent's log times against a forecast, attempt by attempt."""
    duration, residual, noise, level, outcome, count = model.duration, 0.0, 0.0, 0.0, 0.0, 0
    of_agent = np.zeros(1 + duration.dimensions)
    for (task, agent, _), i in zip(pairs(wave, model, mine, a), mine, strict=True):
        own = wave.attempts.filter(task_id=wave.executions["task_id"][int(i)]).to_dicts()
        errors = duration.errors(task, agent)
        noise += len(own) ** 2 * ((errors.task**2).sum() + errors.own**2).item()
        of_agent += len(own) * errors.agent[0]
        level += len(own) * duration.level_sd(task, agent).item()
        count += len(own)
        for made in own:
            won = int(made["is_success"])
            mean, residuals = duration.mean(task, agent).item() + duration.outcome.shift()[won], duration.residuals
            points = mean + norm.ppf((np.arange(10_000) + 0.5) / 10_000, scale=residuals.sd[won, a])
            limit = math.log(residuals.limit_ms[task].item())
            finished, odds = points[points < limit], residuals.stopped_odds[won]
            stopped = odds * (1 - finished.size / 10_000)
            stopped /= stopped + finished.size / 10_000
            expected = stopped * min(limit, 1e9) + (1 - stopped) * finished.mean()
            residual += math.log(made["duration_ms"]) - expected
            noise += (1 - stopped) * (finished**2).mean() + stopped * min(limit, 1e9) ** 2 - expected**2
            outcome += duration.outcome.sd * duration.outcome.code[won]
    return {
        "duration_count": count,
        "log_duration_residual_sum": residual,
        "log_duration_noise": noise,
        "log_duration_agent_sd": float(np.linalg.norm(of_agent)),
        "log_duration_shared_sd": math.hypot(level, outcome),
    }


def success(wave, model, mine, a):
    """Noise and doubt of an agent's success, with the slope of each task's success by a small step of the log odds."""
    posterior, step = model.success, 1e-4
    noise = skew = 0.0
    own, shared = np.zeros(1 + posterior.dimensions), np.zeros(6)
    for task, agent, allowed in pairs(wave, model, mine, a):
        p = model.expected(task, agent, allowed).planned_success.item()
        mean, sd = posterior.moments(task, agent)
        known = [
            KnownPairs.of(task, agent, (model.tasks.height, model.agents.height), mean + h, sd) for h in (-step, step)
        ]
        moved = [replace(posterior, known=each) for each in known]
        low, high = (replace(model, success=m).expected(task, agent, allowed).planned_success.item() for m in moved)
        slope = (high - low) / (2 * step)
        errors = posterior.errors(task, agent)
        known = [slope * part[0] for part in (errors.agent, errors.shared)]
        noise += max(0.0, p * (1 - p) - sum(float(part @ part) for part in known))
        skew += max(0.0, p * (1 - p) * (2 * p - 1))
        own, shared = own + known[0], shared + known[1]
    own_sd = float(np.linalg.norm(own))
    return {"noise": noise, "skew": skew, "agent_sd": own_sd, "shared_sd": float(np.linalg.norm(shared))}


def test_evidence_is_of_the_tasks_that_ran(wave):
    idle = replace(wave, executions=wave.executions.with_columns(status=pl.lit("unobserved")))
    found = wave_frames(idle, idle.model)
    assert found["agent_evidence"]["success_variance"].to_list() == [0.0, 0.0, 0.0]

"""Frames of a run drawn at random, valid under :mod:`phase19.frames`, with every corner that a real run may have."""

from __future__ import annotations

import numpy as np
import polars as pl

from phase19 import frames
from phase19.inputs.thresholds import Thresholds
from tests.random_evidence import (
    STRATEGIES,
    agent_evidence_frame,
    draws_frame,
)
from tests.synthetic import run_frame, wave_plan

HEURISTICS = ("H_1", "H_2", "H_3", "H_all", "H_gone", "updated_at")
LIFT = 0.1  # what H_3 truly adds
NEVER_RAN = "confidence_optimization"  # the strategy of the wave in which nothing ran


def random_run(
    seed: int = 0,
    *,
    task_count: int = 10_000,
    agent_count: int = 12,
    wave_count: int = 20,
    draw_count: int = 40,
    over_promise: float = 0.0,
    fallen_agents: tuple[int, ...] = (),
    late: float = 0.0,
    is_advantage_real: bool = True,
    is_simulated: bool = True,
    has_unknown_times: bool = False,
) -> dict[str, pl.DataFrame]:
    """Draw a run; of three agents or more the last is idle, of five waves or more one did not run and one is empty.

    Parameters
    ----------
    over_promise
        Taken off every task's chance.
    fallen_agents
        Agents that succeed a twentieth as often from the middle on, the second a quarter in the last quarter.
    late
        Added to every log duration, in all places of the evidence; the first six agents by less than the others.
    is_advantage_real
        False lets tasks succeed at round robin's rate, whoever does them.
    has_unknown_times
        In the first wave no task has times, in the second one task in ten has none and one in ten only a duration.
    """
    rng = np.random.default_rng(seed)
    agents = [f"agent_{i}" for i in range(agent_count)]
    silent, empty = (wave_count // 3, wave_count // 2) if wave_count >= 5 else (0, 0)
    full = np.array([w for w in range(1, wave_count + 1) if w != empty])
    wave = np.sort(rng.choice(full, task_count))
    agent = rng.integers(0, agent_count - 1 if agent_count > 2 else agent_count, task_count)
    n = task_count

    p = rng.beta(4, 2, n)
    p[rng.random(n) < 0.01] = 0.0
    p[rng.random(n) < 0.01] = 1.0
    p[rng.random(n) < 0.01] = 1e-9
    if wave_count >= 5:
        p[wave == wave_count] = 0.0  # a wave of which nothing was promised
    baseline = np.clip(p - rng.normal(0.05, 0.15, n), 0, 1)
    chance = p if is_advantage_real else baseline + (p - baseline).sum() / max(1, n)
    applied = [list(rng.choice(HEURISTICS[:3], rng.integers(0, 5))) for _ in range(n)]  # with repeats
    has_lift = np.array(["H_3" in names for names in applied], dtype=float)
    chance = chance + LIFT * (has_lift - has_lift.sum() / max(1, n))
    chance = np.clip(chance - over_promise, 0.01, 0.99)
    for rank, fallen in enumerate(fallen_agents):
        chance = np.where((agent == fallen) & (wave > wave_count * (2 + rank) / 4), chance / (20 - 16 * rank), chance)
    status = np.where(rng.random(n) < chance, "completed", "failed")
    status = np.where(rng.random(n) < 0.03, rng.choice(["unobserved", "interrupted"], n), status)
    status = np.where(wave == silent, "unobserved", status)
    if agent_count > 4:
        status = np.where(agent == agent_count - 2, "interrupted", status)  # it has tasks, none of which ran
    has_run = np.isin(status, ["completed", "failed"])

    start, planned_ms = 500.0 * rng.integers(0, 40, n), np.where(rng.random(n) < 0.05, 0.0, rng.gamma(2, 400, n))
    actual_ms = np.where(rng.random(n) < 0.03, 0.0, planned_ms * rng.lognormal(late, 0.4, n))
    actual_start = np.maximum(0.0, start + rng.normal(0, 200, n))
    retries = rng.choice([0, 0, 0, 1, 2], n)
    for names, ran in zip(applied, has_run, strict=True):
        names.append("H_all" if ran else "H_gone")
    width = rng.uniform(0, 0.4, n)
    deltas = rng.normal(0.02, 0.04, n)
    risk = rng.choice(["LOW", "MEDIUM", "HIGH", "UNKNOWN"], n, p=[0.5, 0.3, 0.19, 0.01])

    def where_ran(values: np.ndarray, *, is_known: np.ndarray | None = None) -> list[float | None]:
        known = has_run if is_known is None else has_run & is_known
        return [float(value) if ran else None for value, ran in zip(values, known, strict=True)]

    is_timed = (not has_unknown_times) | (wave > 2) | ((wave == 2) & (np.arange(n) % 10 > 0))
    is_dated = is_timed & ((not has_unknown_times) | (wave > 2) | (np.arange(n) % 10 > 1))

    executions = pl.DataFrame(
        {
            "wave": wave,
            "task_id": [f"task_{i}" for i in rng.permutation(n)],
            "agent_id": [agents[a] for a in agent],
            "priority": np.arange(n) + 1,
            "risk_level": risk,
            "category": rng.choice(["parse", "build"], n),
            "confidence": rng.random(n),
            "updated_confidence": rng.random(n),
            "heuristics_applied": applied,
            "record_count": rng.integers(0, 9, n),
            "max_attempts": np.where(np.isin(risk, ["LOW", "MEDIUM"]), 3, 1),
            "success_probability": p,
            "success_low": np.clip(p - width, 0, 1),
            "success_high": np.clip(p + width, 0, 1),
            "planned_success": p,
            "planned_success_variance": p * (1 - p) * rng.uniform(0, 0.3, n) * np.where(rng.random(n) < 0.02, 9, 1),
            "baseline_success": baseline,
            "planned_attempts": 1.0 + rng.random(n),
            "duration_ms_p50": planned_ms,
            "duration_ms_p90": 2 * planned_ms,
            "planned_duration_ms": planned_ms,
            "planned_confidence_delta": np.where(rng.random(n) < 0.05, 0.0, deltas),
            "success_term": p,
            "throughput_term": rng.random(n),
            "confidence_term": rng.random(n),
            "score": rng.normal(0.6, 0.2, n),
            "agent_price": rng.random(n),
            "best_agent_id": "agent_0",
            "wave_strategy": "maximize_success",
            "is_best_agent_full": True,
            "best_score": 0.9,
            "scheduled_start_time": start,
            "scheduled_end_time": start + planned_ms,
            "actual_start_time": where_ran(actual_start, is_known=is_dated),
            "actual_end_time": where_ran(actual_start + actual_ms, is_known=is_dated),
            "status": status,
            "retry_count": np.where(has_run, retries, 0),
            "actual_duration_ms": where_ran(actual_ms, is_known=is_timed),
            "actual_confidence_delta": where_ran(deltas + rng.normal(0, 0.01, n)),
        }
    )
    executions = frames.EXECUTIONS.conform(executions).sample(fraction=1, shuffle=True, seed=seed)
    strategies = {w: STRATEGIES[(w - 1) * len(STRATEGIES) // wave_count] for w in range(1, wave_count + 1)}
    strategies |= {silent: NEVER_RAN}
    return {
        "executions": executions,
        "agents": frames.AGENTS.conform(
            [{"agent_id": name, "record_count": 10, "evidence": "records"} for name in agents]
        ),
        "wave_plans": _plans(rng, executions, strategies, wave_count),
        "wave_draws": draws_frame(rng, executions, draw_count, is_advantage_real=is_advantage_real),
        "agent_evidence": agent_evidence_frame(rng, executions, agents, wave_count, late),
        "decisions": _decisions(rng, executions),
        "heuristics": frames.HEURISTICS.conform([{"heuristic_id": name} for name in (*HEURISTICS, "H_unused")]),
        "previous_weights": pl.DataFrame({"heuristic_id": ["H_1", "H_2", "H_before"], "weight": [1.48, 0.51, 0.9]}),
        **Thresholds().frames(),
        "run": run_frame(
            agent_count=agent_count, task_count=n, wave_count=wave_count, is_simulated=is_simulated, seed=seed
        ),
    }


def _plans(
    rng: np.random.Generator, executions: pl.DataFrame, strategies: dict[int, str], wave_count: int
) -> pl.DataFrame:
    rows = []
    for w in range(1, wave_count + 1):
        has_tasks = w in set(executions["wave"])
        rows.append(
            wave_plan(
                w,
                strategy=strategies[w],
                planned_makespan_ms=rng.uniform(15e3, 25e3) if has_tasks else None,
                planned_busy_ms=rng.uniform(50e3, 90e3) if has_tasks else None,
                timeline_end_ms=rng.uniform(15e3, 25e3) if has_tasks else 0.0,
                objective=rng.random(),
                upper_bound=1.0 + rng.random(),
                gap=rng.random(),
                unassigned_count=int(rng.integers(0, 3)),
            )
        )
    return frames.WAVE_PLANS.conform(rows[::-1])


def _decisions(rng: np.random.Generator, executions: pl.DataFrame) -> pl.DataFrame:
    rows = [
        {
            "task_id": task,
            "wave": w,
            "risk_level": risk,
            "confidence": None if rng.random() < 0.1 else rng.random(),
            "decision": "approved",
            "live_decision": str(rng.choice(["approved", "deferred"])),
            "reason": "dry run",
        }
        for task, w, risk in executions.select("task_id", "wave", "risk_level").rows()
    ]
    stopped = [row | {"task_id": "stopped", "decision": "deferred"} for row in rows[:1]]
    return frames.DECISIONS.conform([*rows, *stopped])

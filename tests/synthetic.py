"""A deterministic synthetic run: frames valid under :mod:`phase19.frames`, drawn from a known world."""

from __future__ import annotations

import atexit
import datetime as dt
import re
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from phase19 import frames
from phase19.analysis.queries import QUERIES
from phase19.analysis.session import Analysis, analyse, connect, define_functions, read_sql
from phase19.inputs.thresholds import Thresholds
from phase19.schema import ArrowStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMESTAMP = dt.datetime(2026, 2, 5, 12, tzinfo=dt.UTC)


def every_table(run: Mapping[str, pl.DataFrame], directory: Path) -> dict[str, pl.DataFrame]:
    """Analyse a run and give back what every query found, those with a row a task among them, in order of tasks."""
    found = analyse(run, directory, [replace(query, is_per_task=False) for query in QUERIES])
    return found | {"task_results": found["task_results"].sort("wave", "task_id")}


def tables_of(run: Mapping[str, pl.DataFrame], directory: Path, *stems: str) -> dict[str, pl.DataFrame]:
    """Analyse a run by some queries and those that they read: quicker than all."""
    needed, reads = set(), re.compile(r"(?:from|join) (\w+)")
    names = list(stems)
    while names:
        stem = names.pop()
        if stem in {query.stem for query in QUERIES} - needed:
            needed.add(stem)
            names += reads.findall(read_sql(stem))
    return analyse(run, directory, [query for query in QUERIES if query.stem in needed])


def analysis_of(run: Mapping[str, pl.DataFrame], *stems: str) -> Analysis:
    """Analyse a run, by all queries or by some, in a directory that is removed when the tests end."""
    scratch = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, scratch)
    return Analysis(scratch, {**run, **(tables_of(run, scratch, *stems) if stems else analyse(run, scratch))})


@cache
def synthetic_analysis(**options: Any) -> Analysis:
    """Analyse a synthetic run; tests that ask for the same run share the analysis."""
    return analysis_of(synthetic_run(**options))


def query(stem: str, run: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Run one query over the frames that it reads."""
    with connect() as connection:
        define_functions(connection)
        for name, frame in run.items():
            connection.register(name, ArrowStream(frame))
        return pl.DataFrame(ArrowStream(connection.sql(read_sql(stem))))


def run_frame(**changes: Any) -> pl.DataFrame:
    """The one-row `run` frame."""
    row = {
        "run_id": "r-1",
        "timestamp": TIMESTAMP,
        "strategy": "maximize_success",
        "executor": "simulate",
        "is_simulated": True,
        "seed": 0,
        "agent_count": 3,
        "task_count": 12,
        "wave_count": 3,
    }
    return pl.DataFrame([row | changes]).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


def empty_frames(**changes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """A run in which there was nothing to do, with some frames replaced."""
    return {
        "executions": frames.EXECUTIONS.empty(),
        "agents": frames.AGENTS.empty(),
        "wave_plans": frames.WAVE_PLANS.empty(),
        "wave_draws": frames.WAVE_DRAWS.empty(),
        "agent_evidence": frames.AGENT_EVIDENCE.empty(),
        "decisions": frames.DECISIONS.empty(),
        "heuristics": frames.HEURISTICS.empty(),
        "previous_weights": frames.PREVIOUS_WEIGHTS.empty(),
        **Thresholds().frames(),
        "run": run_frame(agent_count=0, task_count=0, wave_count=0),
        **changes,
    }


def agents_frame(count: int) -> pl.DataFrame:
    """Agents `agent_0 ...` in natural order, each judged by records."""
    return frames.AGENTS.conform(
        [{"agent_id": f"agent_{i}", "record_count": 10, "evidence": "records"} for i in range(count)]
    )


def execution(task_id: str, **changes: Any) -> dict[str, Any]:
    """One executed task with plain figures, for hand-worked cases: completed as planned in 1,000 ms."""
    row = {
        "wave": 1,
        "task_id": task_id,
        "agent_id": "agent_0",
        "priority": 1,
        "risk_level": "LOW",
        "confidence": 0.8,
        "updated_confidence": 0.8,
        "record_count": 5,
        "max_attempts": 3,
        "success_probability": 0.9,
        "success_low": 0.8,
        "success_high": 0.95,
        "planned_success": 0.9,
        "planned_success_variance": 0.0,
        "baseline_success": 0.8,
        "planned_attempts": 1.0,
        "duration_ms_p50": 1000.0,
        "duration_ms_p90": 2000.0,
        "planned_duration_ms": 1000.0,
        "planned_confidence_delta": 0.05,
        "success_term": 0.9,
        "throughput_term": 0.5,
        "confidence_term": 0.5,
        "agent_price": 0.02,
        "best_agent_id": "agent_0",
        "wave_strategy": "maximize_success",
        "is_best_agent_full": True,
        "best_score": 0.9,
        "best_margin": 0.01,
        "score": 0.9,
        "scheduled_start_time": 0.0,
        "scheduled_end_time": 1000.0,
        "actual_start_time": 0.0,
        "actual_end_time": 1000.0,
        "status": "completed",
        "retry_count": 0,
        "actual_duration_ms": 1000.0,
        "actual_confidence_delta": 0.05,
    }
    if changes.get("status", "completed") not in {"completed", "failed"}:
        row |= dict.fromkeys(
            ("actual_start_time", "actual_end_time", "actual_duration_ms", "actual_confidence_delta"), None
        )
    return row | changes


def wave_plan(wave: int, **changes: Any) -> dict[str, Any]:
    """One planned wave with plain figures."""
    row = {
        "wave": wave,
        "strategy": "maximize_success",
        "planned_makespan_ms": 1000.0,
        "planned_busy_ms": 1000.0,
        "timeline_end_ms": 1000.0,
        "solver": "linear_sum_assignment",
        "objective": 1.0,
        "upper_bound": 1.0,
        "gap": 0.0,
        "moved_count": 0,
    }
    return row | changes


def sure_draws(
    *waves: int, success: Sequence[float] = (0.0,), advantage: Sequence[float] = (0.0,), ran_count: int = 1
) -> pl.DataFrame:
    """Draws that know what the forecasts do not know: nothing, or what the sums given differ by."""
    return frames.WAVE_DRAWS.conform(
        [
            {
                "wave": wave,
                "draw": draw,
                "ran_count": ran_count,
                "success_rate": 0.5,
                "makespan_ms": 1000.0,
                "busy_ms": 1000.0,
                "confidence_delta": 0.0,
                "deviation_ms": 0.0,
                "expected_success_sum": success[draw % len(success)],
                "expected_advantage_sum": advantage[draw % len(advantage)],
            }
            for wave in waves
            for draw in range(2)
        ]
    )


def hand_frames(executions: list[dict[str, Any]], plans: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Frames of hand-made executions and wave plans, with as many agents as they name and no draws."""
    rows = frames.EXECUTIONS.conform(executions)
    agents = agents_frame(max(1, rows.get_column("agent_id").n_unique()))
    return (
        empty_frames(
            executions=rows,
            wave_plans=frames.WAVE_PLANS.conform(plans),
            agents=agents,
            run=run_frame(agent_count=agents.height, task_count=rows.height, wave_count=len(plans)),
        )
        | changes
    )


def synthetic_run(
    seed: int = 0,
    *,
    wave_count: int = 3,
    tasks_a_wave: int = 8,
    agent_count: int = 3,
    draw_count: int = 64,
    forecast_sd: float = 0.3,
    success_bias: float = 0.0,
    slowdown: float = 1.0,
    slow_agent: int = 0,
    drop: float = 0.0,
    is_advantage_real: bool = True,
) -> dict[str, pl.DataFrame]:
    """Simulate a run whose forecasts are calibrated, but for the faults asked for.

    Parameters
    ----------
    forecast_sd
        Posterior standard deviation of an agent's success, on the logit scale, shared by its tasks.
    success_bias
        Taken off every task's true success probability.
    slowdown
        Factor on the durations of `slow_agent` in the second half of the waves.
    drop
        Taken off `slow_agent`'s true success probability in the second half of the waves.
    is_advantage_real
        False lets tasks succeed at round robin's rate, whoever does them.
    """
    rng = np.random.default_rng(seed)
    n, m, s = tasks_a_wave, agent_count, draw_count
    logits = rng.normal(1.0, 1.0, (wave_count, n, m))
    levels = rng.normal(0.0, forecast_sd, (s + 1, m))  # the last is the world a wave happens in
    duration_levels = rng.normal(0.0, 0.1, (s + 1, m))
    # Each wave's forecasts know the waves before: what they do not know is new in every wave.
    worlds = np.random.default_rng([seed, 3]).normal(0.0, 1.0, (wave_count, 2, m)) * [[forecast_sd], [0.1]]
    sigma = 0.4
    executions, plans, draws, evidence = [], [], [], []
    for w in range(wave_count):
        levels[s], duration_levels[s] = worlds[w]
        cost = logits[w] - 2 * (np.arange(n)[:, None] % m == np.arange(m))
        agent = np.argsort(np.argsort(-cost.max(axis=1))) % m
        p = 1 / (1 + np.exp(-(logits[w] + levels[:, None, :])))  # (s + 1, n, m)
        planned = p[:s].mean(axis=0)
        rows = np.arange(n)
        chosen = p[:, rows, agent]
        success, variance, baseline = planned[rows, agent], chosen[:s].var(axis=0), planned.mean(axis=1)
        median = 1000.0 * (1 + rows % 3)
        planned_duration = median * np.exp(sigma**2 / 2 + 0.1**2 / 2)
        is_late = w >= wave_count / 2
        truth = chosen[s] if is_advantage_real else p[s].mean(axis=1)
        truth = np.clip(truth - success_bias - drop * is_late * (agent == slow_agent), 0, 1)
        shift = np.log(slowdown) * is_late * (agent == slow_agent)
        draw_durations = median * np.exp(duration_levels[:s, agent] + sigma * rng.normal(size=(s, n)))
        actual = median * np.exp(duration_levels[s, agent] + shift + sigma * rng.normal(size=n))
        draw_success = rng.random((s, n)) < chosen[:s]
        is_success = rng.random(n) < truth
        starts, ends = _timeline(planned_duration[None], agent, m)
        actual_starts, actual_ends = _timeline(actual[None], agent, m)
        draw_starts, draw_ends = _timeline(draw_durations, agent, m)
        advantage = success - baseline
        centred = advantage - advantage.mean()
        executions.append(
            pl.DataFrame(
                {
                    "wave": w + 1,
                    "task_id": [f"task_{w * n + i:03d}" for i in range(n)],
                    "agent_id": [f"agent_{a}" for a in agent],
                    "priority": rows + 1,
                    "risk_level": np.array(["LOW", "MEDIUM", "HIGH"])[rows % 3],
                    "category": "parse",
                    "confidence": 0.7,
                    "updated_confidence": 0.7,
                    "heuristics_applied": [
                        ["H_1", "H_2", "H_2"] if i % 2 else ["H_2"] if i % 4 else [] for i in range(n)
                    ],
                    "record_count": 5,
                    "max_attempts": 1,
                    "success_probability": success,
                    "success_low": np.quantile(chosen[:s], 0.05, axis=0),
                    "success_high": np.quantile(chosen[:s], 0.95, axis=0),
                    "planned_success": success,
                    "planned_success_variance": variance,
                    "baseline_success": baseline,
                    "planned_attempts": 1.0,
                    "duration_ms_p50": median,
                    "duration_ms_p90": median * np.exp(1.2816 * sigma),
                    "planned_duration_ms": planned_duration,
                    "planned_confidence_delta": 0.1 * success - 0.03,
                    "success_term": success,
                    "throughput_term": 0.5,
                    "confidence_term": 0.5,
                    "agent_price": 0.02,
                    "best_agent_id": "agent_0",
                    "wave_strategy": "maximize_success",
                    "is_best_agent_full": True,
                    "best_score": 0.9,
                    "best_margin": 0.01,
                    "score": 0.6 * success + 0.2,
                    "scheduled_start_time": starts[0],
                    "scheduled_end_time": ends[0],
                    "actual_start_time": actual_starts[0],
                    "actual_end_time": actual_ends[0],
                    "status": np.where(is_success, "completed", "failed"),
                    "retry_count": 0,
                    "actual_duration_ms": actual,
                    "actual_confidence_delta": np.where(is_success, 0.07, -0.03),
                }
            )
        )
        plans.append(
            wave_plan(
                w + 1,
                planned_makespan_ms=float(draw_ends.max(axis=1).mean()),
                planned_busy_ms=float(draw_durations.sum(axis=1).mean()),
                timeline_end_ms=float(ends.max()),
                objective=float(success.sum()),
                upper_bound=float(success.sum()),
            )
        )
        draws.append(
            pl.DataFrame(
                {
                    "wave": w + 1,
                    "draw": np.arange(s),
                    "ran_count": n,
                    "success_rate": draw_success.mean(axis=1),
                    "makespan_ms": draw_ends.max(axis=1),
                    "busy_ms": draw_durations.sum(axis=1),
                    "confidence_delta": np.where(draw_success, 0.07, -0.03).mean(axis=1),
                    "deviation_ms": (abs(draw_starts - starts) + abs(draw_ends - ends)).mean(axis=1) / 2,
                    "expected_success_sum": chosen[:s].sum(axis=1),
                    "expected_advantage_sum": (centred * chosen[:s]).sum(axis=1),
                }
            )
        )
        evidence += [
            {
                "wave": w + 1,
                "agent_id": f"agent_{a}",
                "capacity": -(-n // m),
                "slot_worth": 0.01 * a,
                "success_variance": float(chosen[:s, agent == a].sum(axis=1).var(ddof=1)),
                "advantage_variance": float((centred * chosen[:s])[:, agent == a].sum(axis=1).var(ddof=1)),
                "first_planned_success_sum": float(success[agent == a].sum()),
                "first_success_noise": float((success * (1 - success) - variance)[agent == a].sum()),
                "first_success_skew": float(
                    np.maximum(success * (1 - success) * (2 * success - 1), 0.0)[agent == a].sum()
                ),
                "first_success_agent_sd": float(chosen[:s, agent == a].sum(axis=1).std(ddof=1)),
                "first_success_shared_sd": 0.0,
                "duration_count": int((agent == a).sum()),
                "first_duration_count": int((agent == a).sum()),
                "log_duration_sum": float(np.log(actual)[agent == a].sum()),
                **{
                    f"{prefix}log_duration_{name}": float(value)
                    for prefix in ("", "first_")
                    for name, value in (
                        ("residual_sum", np.log(actual / median)[agent == a].sum()),
                        ("noise", sigma**2 * (agent == a).sum()),
                        ("agent_sd", 0.1 * (agent == a).sum()),
                        ("shared_sd", 0.0),
                    )
                },
            }
            for a in range(m)
        ]
    rows = frames.EXECUTIONS.conform(pl.concat(executions))
    return empty_frames(
        executions=rows,
        agents=agents_frame(m),
        wave_plans=frames.WAVE_PLANS.conform(plans),
        wave_draws=frames.WAVE_DRAWS.conform(pl.concat(draws)),
        agent_evidence=frames.AGENT_EVIDENCE.conform(evidence),
        decisions=frames.DECISIONS.conform(
            rows.select(
                "task_id",
                "wave",
                "risk_level",
                "confidence",
                decision=pl.lit("approved"),
                live_decision=pl.when(pl.col("risk_level") == "LOW")
                .then(pl.lit("approved"))
                .otherwise(pl.lit("deferred")),
                reason=pl.lit("dry run"),
            )
        ),
        heuristics=frames.HEURISTICS.conform([{"heuristic_id": name} for name in ("H_1", "H_3")]),
        previous_weights=pl.DataFrame({"heuristic_id": ["H_1"], "weight": [1.2]}),
        run=run_frame(agent_count=m, task_count=rows.height, wave_count=wave_count),
    )


def _timeline(durations: np.ndarray, agent: np.ndarray, agent_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of tasks put end to end on each agent; durations (draws, tasks)."""
    ends = np.empty_like(durations)
    for a in range(agent_count):
        ends[:, agent == a] = durations[:, agent == a].cumsum(axis=1)
    return ends - durations, ends

"""Generated Phase 16, 17 and 18 inputs: agents differ, tasks differ, and some pairs fit better than others.

Agent a succeeds on task t with probability sigmoid(intercept + ability_a + skill_{a, category(t)} - difficulty_t),
lowered by H16_003's penalty at every retry; durations are log-normal. Risk and confidence follow difficulty with noise,
as an earlier phase would judge it.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from phase19.errors import OutputError, UsageError
from phase19.frames import STRINGS
from phase19.inputs.heuristics import RETRIED_RISKS, RETRY_PENALTY

_CATEGORIES = ("analysis", "coding", "data", "planning", "review", "testing")
_MEAN_SUCCESS = 0.85  # of first attempts: high enough for a working system, low enough that planning pays
_ABILITY_SD, _SKILL_SD, _DIFFICULTY_SD = 0.5, 0.6, 1.0  # logits
_MEDIAN_DURATION_MS = 26.0
_SPEED_SD, _DURATION_SD = 0.2, 0.3  # log ms
_FAILURE_SLOWDOWN = 1.5
_BOOSTED = (0.7, 0.75)  # H16_002 boosts MEDIUM tasks of these confidences
_MAX_ATTEMPTS = 3
_RISK_SHARES = {"LOW": 0.5, "MEDIUM": 0.35, "HIGH": 0.15}
# Phase 16's prediction as a line in confidence, per risk level.
_PREDICTION = {"LOW": (0.45, 0.5), "MEDIUM": (0.3, 0.6), "HIGH": (0.1, 0.75)}
_EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
_PHASES = ("phase16", "phase17", "phase18")
_HEURISTICS = Path(__file__).with_name("sample_heuristics.jsonl")
# What no file says: skill [logits] by agent and category, difficulty [logits] by task, speed [log ms] by agent.
_World = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def write_sample(directory: Path, *, tasks: int, agents: int, waves: int, seed: int) -> None:
    """Generate Phase 16, 17 and 18 inputs.

    Parameters
    ----------
    directory
        Where `phase16`, `phase17` and `phase18` are made; it is created where it does not exist.
    tasks, agents, waves
        Sizes, 1 or more; no more waves than tasks.
    seed
        0 or more; with the sizes it fixes every byte.

    Raises
    ------
    UsageError
        A size or the seed is out of bounds.
    OutputError
        `directory` holds one of the three already, or cannot be written.

    Notes
    -----
    Phase 17 and Phase 18 each execute every task once, dealt round robin with different offsets, with up to two
    retries of failed tasks of LOW and MEDIUM risk. Linear in tasks.
    """
    for name, value, low, high in (
        ("tasks", tasks, 1, 10_000_000),
        ("agents", agents, 1, 100_000),
        ("waves", waves, 1, tasks),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not low <= value <= high:
            raise UsageError(f"--{name}: expected an integer in [{low}, {high}], found {value}")
    taken = next((phase for phase in _PHASES if (directory / phase).exists()), None)
    if taken is not None:
        raise OutputError(f"{directory / taken}: expected nothing there, found an earlier sample; it is left as it is")
    rng = np.random.default_rng(seed)
    world, planned = _draw(rng, tasks, agents, waves)
    start = _EPOCH + timedelta(days=seed % 365)
    earlier = _execute(rng, world, planned, offset=0, start=start)
    later = _execute(rng, world, planned, offset=1 + agents // 3, start=start + timedelta(days=7))
    names = {"confidence_before": "initial_confidence", "confidence_after": "final_confidence"}
    files: dict[str, Any] = {
        "phase16/planned_tasks.jsonl": planned,
        "phase17/execution_outcomes.jsonl": earlier.rename(names),
        "phase18/task_outcomes.jsonl": later,
        **_phase18_documents(later, agents, start + timedelta(days=8)),
    }
    try:
        for phase in _PHASES:
            (directory / phase).mkdir(parents=True)
        (directory / "phase16" / "heuristics.jsonl").write_bytes(_HEURISTICS.read_bytes())
        for name, content in files.items():
            if isinstance(content, pl.DataFrame):
                content.write_ndjson(directory / name)
            elif name.endswith(".jsonl"):
                (directory / name).write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
            else:
                (directory / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    except OSError as problem:
        raise OutputError(f"{directory}: {problem.strerror or problem}") from problem


def _draw(rng: np.random.Generator, tasks: int, agents: int, waves: int) -> tuple[_World, pl.DataFrame]:
    """A world, and Phase 16's plan of its tasks, in id order."""
    skill = rng.normal(0, _ABILITY_SD, (agents, 1)) + rng.normal(0, _SKILL_SD, (agents, len(_CATEGORIES)))
    difficulty = rng.normal(0, _DIFFICULTY_SD, tasks)
    category = rng.integers(len(_CATEGORIES), size=tasks)
    judged = difficulty + rng.normal(0, 0.6 * _DIFFICULTY_SD, tasks)
    edges = np.quantile(judged, np.cumsum(list(_RISK_SHARES.values()))[:-1])
    risk = np.searchsorted(edges, judged)
    confidence = np.clip(0.84 - 0.06 * judged + rng.normal(0, 0.03, tasks), 0.4, 0.98).round(2)
    logits = skill[np.arange(tasks) % agents, category] - difficulty  # of round-robin pairs
    intercept = brentq(lambda level: expit(level + logits).mean() - _MEAN_SUCCESS, -20.0, 20.0)
    world = (skill + intercept, difficulty, rng.normal(0, _SPEED_SD, agents))
    base, slope = np.array(list(_PREDICTION.values())).T
    boosted = pl.lit(["H16_001", "H16_002"], dtype=STRINGS)
    is_boosted = (risk == 1) & (confidence >= _BOOSTED[0]) & (confidence <= _BOOSTED[1])
    columns = {
        "wave": 1 + np.arange(tasks) * waves // tasks,
        "risk_level": np.array(list(_RISK_SHARES))[risk],
        "category": np.array(_CATEGORIES)[category],
        "confidence": confidence,
    }
    level = pl.col("risk_level").cast(pl.Enum(list(_RISK_SHARES)))
    return world, pl.DataFrame(columns).select(
        pl.format("task_{}", pl.int_range(tasks)).alias("task_id"),
        *columns,
        # H16_001: least risk first, then most confidence.
        priority=pl.struct(level, -pl.col("confidence")).rank("ordinal").over("wave").cast(pl.Int64),
        heuristics_applied=pl.when(pl.Series(is_boosted)).then(boosted).otherwise(boosted.list.head(1)),
        predicted_success_rate=pl.Series((base[risk] + slope[risk] * confidence).round(4)),
        predicted_confidence_delta=pl.lit(0.05),
        approval_status=pl.lit("APPROVED"),
        reason=pl.format("planned for wave {}", "wave"),
    )


def _execute(
    rng: np.random.Generator, world: _World, planned: pl.DataFrame, *, offset: int, start: datetime
) -> pl.DataFrame:
    """One round-robin execution of all tasks: an attempt a row, by wave and time."""
    skill, difficulty, speed = world
    agent = (np.arange(planned.height) + offset) % len(speed)
    category = planned["category"].cast(pl.Enum(_CATEGORIES)).to_physical().to_numpy()
    probability = expit(skill[agent, category] - difficulty)
    running = np.arange(planned.height)
    is_retried = planned["risk_level"].is_in(RETRIED_RISKS).to_numpy()
    attempts = []
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        penalty = RETRY_PENALTY * (attempt - 1)
        is_success = rng.random(len(running)) < np.maximum(probability[running] - penalty, RETRY_PENALTY)
        noise = rng.normal(0, _DURATION_SD, len(running))
        effect = speed[agent[running]] + 0.1 * difficulty[running] + noise
        duration = _MEDIAN_DURATION_MS * np.exp(effect) * np.where(is_success, 1, _FAILURE_SLOWDOWN)
        before = np.maximum(planned["confidence"].to_numpy()[running] - penalty, 0)
        gain = np.where(is_success, rng.normal(0.05, 0.012, len(running)), rng.normal(-0.02, 0.008, len(running)))
        after = np.clip(before + gain, 0, 1)
        retry = pl.lit(["H16_003"] if attempt > 1 else [], dtype=STRINGS)
        rows = planned[running].select(
            "task_id",
            pl.format("agent_{}", pl.Series(agent[running])).alias("agent_id"),
            *("wave", "risk_level", "category"),
            status=pl.Series(np.where(is_success, "success", "failed")),
            confidence_before=pl.Series(before.round(4)),
            confidence_after=pl.Series(after.round(4)),
            confidence_delta=pl.Series((after.round(4) - before.round(4)).round(4)),
            execution_time_ms=pl.Series(duration.round(3)),
            attempts=pl.lit(attempt),
            heuristics_applied=pl.concat_list("heuristics_applied", retry),
            error_message=pl.when(pl.Series(~is_success)).then(pl.lit("the result did not pass its check")),
            place=pl.Series(running),
        )
        attempts.append(rows)
        running = running[~is_success & is_retried[running]]
    # An agent makes its attempts one after another; waves start an hour apart.
    clock = pl.col("execution_time_ms").cum_sum().over("wave", "agent_id") + (pl.col("wave") - 1) * 3_600_000
    ended = pl.lit(start) + pl.duration(microseconds=(clock * 1000).round().cast(pl.Int64))
    return (
        pl.concat(attempts)
        .sort("wave", "place", "attempts")
        .with_columns(timestamp=ended)
        .sort("wave", "timestamp", "place")
        .drop("place")
        .with_columns(pl.col("timestamp").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"))
    )


def _phase18_documents(outcomes: pl.DataFrame, agent_count: int, timestamp: datetime) -> dict[str, Any]:
    """Phase 18's summary of an execution by file name; a list of rows for a JSONL file. Rates are over attempts."""
    means = (
        (pl.col("status") == "success").mean().round(4).alias("success_rate"),
        pl.len().alias("tasks"),
        pl.col("execution_time_ms").mean().round(3).alias("avg_execution_time_ms"),
        pl.col("confidence_delta").mean().round(4).alias("avg_confidence_delta"),
        (pl.col("attempts") > 1).mean().round(4).alias("retry_rate"),
    )
    number = pl.col("agent_id").str.strip_prefix("agent_").cast(pl.Int64)
    by_agent = outcomes.group_by("agent_id", maintain_order=True)
    performance = by_agent.agg(*means, busy_ms=pl.col("execution_time_ms").sum()).sort(number)
    overall = outcomes.select(*means).row(0, named=True)
    first_wave = outcomes.filter(pl.col("wave") == 1)
    dealt = first_wave.unique(["agent_id", "task_id"], maintain_order=True)
    assigned = dealt.group_by("agent_id", maintain_order=True).agg("task_id").sort(number)
    balance = round(100 * performance.select(pl.col("busy_ms").mean() / pl.col("busy_ms").max()).item(), 1)
    execution = round(100 * overall["success_rate"], 1)
    health = round((balance + execution) / 2, 1)
    best = performance.sort("success_rate", "tasks", number, descending=[True, True, False]).row(0, named=True)
    best_text = f"{best['agent_id']} succeeds most often ({best['success_rate']:.3f})"
    weak_text = "Round robin gives agents tasks of categories they are weak in"
    written = {"timestamp": timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")}
    del overall["tasks"]
    return {
        "phase18/multi_agent_summary.json": {
            "total_agents": agent_count,
            "total_tasks": outcomes["task_id"].n_unique(),
            "total_waves": outcomes["wave"].max(),
            **overall,
            "agent_performance": {row.pop("agent_id"): row for row in performance.drop("busy_ms").to_dicts()},
            **written,
        },
        "phase18/coordination_patterns.json": [
            {
                "pattern_type": "round_robin",
                "agent_assignments": dict(assigned.iter_rows()),
                "success_rate": first_wave.select(means[0]).item(),
                "confidence": 0.8,
            }
        ],
        "phase18/system_health.json": {
            "overall_health_score": health,
            "health_status": ("POOR", "FAIR", "GOOD", "EXCELLENT")[sum(health >= low for low in (50, 70, 85))],
            "component_scores": {"coordination": balance, "execution": execution},
            **written,
        },
        "phase18/learning_signals.jsonl": [
            {"signal_id": "LS_001", "type": "agent_specialization", "confidence": 0.9, "description": best_text},
            {"signal_id": "LS_002", "type": "coordination_improvement", "confidence": 0.8, "description": weak_text},
        ],
    }

"""Generated Phase 16, 17 and 18 inputs: agents differ, tasks differ, and some pairs fit better than others.

Agent a succeeds on task t with probability sigmoid(intercept + ability_a + skill_{a, category(t)} - difficulty_t),
lowered by H16_003's penalty at every retry, and never below 0.05; durations are log-normal. Risk and confidence follow
difficulty with noise, like the judgement of an earlier phase.
"""

import json
import secrets
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import expit

from phase19.arguments import converted
from phase19.errors import OutputError
from phase19.inputs.heuristics import RETRIED_RISKS, RETRY_PENALTY, append_heuristic
from phase19.inputs.importers.attempts import write_directory
from phase19.interrupts import cleaning_up

_CATEGORIES = ("analysis", "coding", "data", "planning", "review", "testing")
_INTERCEPT = 2.2  # logits: about 85 % of first attempts succeed, so a good plan can do better
_ABILITY_SD, _SKILL_SD, _DIFFICULTY_SD = 0.5, 0.6, 1.0  # logits
_MEDIAN_DURATION_MS, _FAILURE_SLOWDOWN = 26.0, 1.5
_SPEED_SD, _DURATION_SD = 0.2, 0.3  # log ms
_MAX_ATTEMPTS = 3
_GOOD_HEALTH = 70.0  # percent
_RISK_SHARES = {"LOW": 0.5, "MEDIUM": 0.35, "HIGH": 0.15}
_START = datetime(2026, 1, 5, tzinfo=UTC)
_PHASES = ("phase16", "phase17", "phase18")
_EXAMPLE = Path(__file__).with_name("example")
_HEURISTICS = Path(__file__).with_name("sample_heuristics.jsonl")


def write_example(directory: Path) -> None:
    """Write a minimal Phase 18 directory, with a README that explains it.

    Raises
    ------
    OutputError
        `directory` is not empty, or cannot be written.
    """
    write_directory(directory, {path.name: path.read_text("utf-8") for path in _EXAMPLE.iterdir()})


def write_sample(directory: Path, *, tasks: int, agents: int, waves: int, seed: int) -> None:
    """Generate Phase 16, 17 and 18 inputs.

    Parameters
    ----------
    directory
        Parent of the new directories `phase16`, `phase17` and `phase18`; created if it does not exist.
    tasks, agents, waves
        Number of each, at least 1; at most as many waves as tasks.
    seed
        Seed of the random numbers, at least 0. The same seed and sizes give the same bytes.

    Raises
    ------
    UsageError
        A size or the seed is out of bounds.
    OutputError
        `directory` already contains one of the three, or cannot be written.

    Notes
    -----
    Phase 17 and Phase 18 each execute every task once. Tasks go to agents in turn, with a different offset in each
    phase. Failed tasks of LOW and MEDIUM risk are retried up to twice. Time is linear in the number of tasks.
    """
    tasks = converted("--tasks", Annotated[int, Meta(ge=1, le=10_000_000)], tasks)
    agents = converted("--agents", Annotated[int, Meta(ge=1, le=100_000)], agents)
    waves = converted("--waves", Annotated[int, Meta(ge=1, le=tasks)], waves)
    seed = converted("--seed", Annotated[int, Meta(ge=0, le=2**63 - 1)], seed)
    taken = next((phase for phase in _PHASES if (directory / phase).exists()), None)
    if taken is not None:
        raise OutputError(f"{directory / taken}: expected nothing there, found a directory; nothing was written")
    rng = np.random.default_rng(seed)
    category = rng.integers(len(_CATEGORIES), size=tasks)
    difficulty = rng.normal(0, _DIFFICULTY_SD, tasks)
    skill = rng.normal(0, _ABILITY_SD, (agents, 1)) + rng.normal(0, _SKILL_SD, (agents, len(_CATEGORIES)))
    log_speed = rng.normal(0, _SPEED_SD, agents)
    planned = _plan(rng, difficulty, category, waves)
    attempts = []
    for offset, day in ((0, 0), (1 + agents // 3, 7)):  # Phase 17, and a week later Phase 18 with other pairs
        agent = (np.arange(tasks) + offset) % agents
        dealt = planned.with_columns(
            agent_id=pl.format("agent_{}", pl.Series(agent)),
            probability=pl.Series(expit(_INTERCEPT + skill[agent, category] - difficulty)),
            median_ms=pl.Series(_MEDIAN_DURATION_MS * np.exp(log_speed[agent] + 0.1 * difficulty)),
        )
        attempts.append(_execute(rng, dealt, _START + timedelta(days=day)))
    earlier, later = attempts
    names = {"confidence_before": "initial_confidence", "confidence_after": "final_confidence"}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        staging = directory / f".sample-{secrets.token_hex(4)}"
        with cleaning_up(lambda: shutil.rmtree(staging, ignore_errors=True)):
            for phase in _PHASES:
                (staging / phase).mkdir(parents=True)
            (staging / "phase16" / "heuristics.jsonl").write_bytes(_HEURISTICS.read_bytes())
            planned.write_ndjson(staging / "phase16" / "planned_tasks.jsonl")
            earlier.rename(names).write_ndjson(staging / "phase17" / "execution_outcomes.jsonl")
            later.write_ndjson(staging / "phase18" / "task_outcomes.jsonl")
            for name, document in _summaries(later, agents).items():
                indent = 2 if name.endswith(".json") else None
                (staging / "phase18" / name).write_text(json.dumps(document, indent=indent) + "\n", "utf-8")
            for phase in _PHASES:
                (staging / phase).rename(directory / phase)
    except OSError as problem:
        raise OutputError(f"{directory}: {problem.strerror or problem}") from problem


def _plan(
    rng: np.random.Generator, difficulty: NDArray[np.float64], category: NDArray[np.int64], waves: int
) -> pl.DataFrame:
    """Phase 16's plan; it knows the difficulty of the tasks only with noise."""
    tasks = len(difficulty)
    judged = difficulty + rng.normal(0, 0.6 * _DIFFICULTY_SD, tasks)
    risk = np.searchsorted(np.quantile(judged, np.cumsum(list(_RISK_SHARES.values()))[:-1]), judged)
    columns = {
        "wave": 1 + np.arange(tasks) * waves // tasks,
        "risk_level": np.array(list(_RISK_SHARES))[risk],
        "category": np.array(_CATEGORIES)[category],
        "confidence": np.clip(0.84 - 0.06 * judged + rng.normal(0, 0.03, tasks), 0.4, 0.98).round(2),
    }
    is_boosted = (pl.col("risk_level") == "MEDIUM") & pl.col("confidence").is_between(0.7, 0.75)
    boosted_by = pl.when(is_boosted).then(pl.lit("H16_002"))
    level = pl.col("risk_level").cast(pl.Enum(list(_RISK_SHARES)))
    return pl.DataFrame(columns).select(
        pl.format("task_{}", pl.int_range(tasks)).alias("task_id"),
        *columns,
        # H16_001: lowest risk first, then highest confidence. Ties keep the task order on any number of threads.
        priority=pl.struct(level, -pl.col("confidence"), pl.int_range(pl.len()))
        .rank("ordinal")
        .over("wave")
        .cast(pl.Int64),
        heuristics_applied=pl.concat_list(pl.lit("H16_001"), boosted_by).list.drop_nulls(),
        predicted_success_rate=(0.4 + 0.55 * pl.col("confidence")).round(4),
        predicted_confidence_delta=pl.lit(0.05),
        approval_status=pl.lit("APPROVED"),
        reason=pl.format("planned for wave {}", "wave"),
    )


def _execute(rng: np.random.Generator, dealt: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """Execute every task once, by its agent: one row per attempt, sorted by wave and time."""
    penalty = RETRY_PENALTY * (pl.col("attempts") - 1)
    chance = pl.max_horizontal(pl.col("probability") - penalty, RETRY_PENALTY)
    possible = dealt.with_columns(attempts=pl.int_ranges(1, _MAX_ATTEMPTS + 1)).explode("attempts")
    possible = possible.with_columns(is_success=pl.Series(rng.random(possible.height)) < chance)
    is_retried = pl.col("risk_level").is_in(RETRIED_RISKS) & ~pl.col("is_success")
    made = possible.filter(is_retried.cum_prod().shift(1, fill_value=1).over("task_id") == 1)
    is_success = made["is_success"].to_numpy()
    noise = rng.lognormal(0, _DURATION_SD, made.height) * np.where(is_success, 1, _FAILURE_SLOWDOWN)
    gain = rng.normal(np.where(is_success, 0.05, -0.02), 0.01)
    before = (pl.col("confidence") - penalty).clip(0).round(4)
    after = (before + pl.Series(gain)).clip(0, 1).round(4)
    # An agent makes its attempts one after another; waves start an hour apart.
    clock_ms = pl.col("execution_time_ms").cum_sum().over("wave", "agent_id") + (pl.col("wave") - 1) * 3_600_000
    ended = pl.lit(start) + pl.duration(microseconds=(clock_ms * 1000).round().cast(pl.Int64))
    return (
        made.select(
            *("task_id", "agent_id", "wave", "risk_level", "category"),
            status=pl.when("is_success").then(pl.lit("success")).otherwise(pl.lit("failed")),
            confidence_before=before,
            confidence_after=after,
            confidence_delta=(after - before).round(4),
            execution_time_ms=(pl.col("median_ms") * pl.Series(noise)).round(3),
            attempts="attempts",
            heuristics_applied=append_heuristic(pl.when(pl.col("attempts") > 1).then(pl.lit("H16_003"))),
            error_message=pl.when(~pl.col("is_success")).then(pl.lit("the result did not pass its check")),
        )
        .with_columns(timestamp=ended)
        .sort("wave", "timestamp", maintain_order=True)
        .with_columns(pl.col("timestamp").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"))
    )


def _summaries(attempts: pl.DataFrame, agent_count: int) -> dict[str, Any]:
    """Phase 18's summaries of its attempts, by file name; rates are over tasks, means over attempts."""
    tasks = (pl.col("attempts") == 1).sum()
    figures = {
        "success_rate": ((pl.col("status") == "success").sum() / tasks).round(4),
        "avg_execution_time_ms": pl.col("execution_time_ms").mean().round(3),
        "avg_confidence_delta": pl.col("confidence_delta").mean().round(4),
        "retry_rate": (pl.col("task_id").filter(pl.col("attempts") > 1).n_unique() / tasks).round(4),
    }
    agents = attempts.group_by("agent_id", maintain_order=True).agg(
        **figures, tasks=tasks, task_ids=pl.col("task_id").filter(pl.col("wave") == 1).unique(maintain_order=True)
    )
    overall = attempts.select(**figures).row(0, named=True)
    rate, timestamp = overall["success_rate"], attempts["timestamp"].max()
    health, assigned = round(100 * rate, 1), dict(agents.select("agent_id", "task_ids").rows())
    weak_text = "Round robin gives agents tasks of categories they are weak in"
    return {
        "multi_agent_summary.json": {
            "total_agents": agent_count,
            "total_tasks": attempts["task_id"].n_unique(),
            "total_waves": attempts["wave"].max(),
            **overall,
            "agent_performance": agents.drop("task_ids").rows_by_key("agent_id", named=True, unique=True),
            "timestamp": timestamp,
        },
        "coordination_patterns.json": [
            {"pattern_type": "round_robin", "agent_assignments": assigned, "success_rate": rate, "confidence": 0.8}
        ],
        "system_health.json": {
            "overall_health_score": health,
            "health_status": "GOOD" if health >= _GOOD_HEALTH else "FAIR",
            "component_scores": {"execution": health},
            "timestamp": timestamp,
        },
        "learning_signals.jsonl": {
            "signal_id": "LS_001",
            "type": "coordination_improvement",
            "confidence": 0.8,
            "description": weak_text,
        },
    }

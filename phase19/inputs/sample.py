"""Generated Phase 16, 17 and 18 inputs: a world in which agents differ, tasks differ, and some pairs fit better.

The success of agent a on task t is drawn with probability sigmoid(intercept + ability_a + skill_{a, category(t)}
- difficulty_t), lowered by H16_003's penalty at every retry; durations are log-normal. Risk and confidence follow
difficulty with noise, as an earlier phase would judge it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from phase19.errors import OutputError, UsageError
from phase19.inputs.sample_files import HEURISTICS, phase18_documents

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sample_trials", "write_sample"]

CATEGORIES = ("analysis", "coding", "data", "planning", "review", "testing")
MEAN_SUCCESS = 0.85  # of first attempts: high enough for a working system, low enough that planning pays
ABILITY_SD, SKILL_SD, DIFFICULTY_SD = 0.5, 0.6, 1.0  # logits
MEDIAN_DURATION_MS = 26.0
SPEED_SD, DURATION_SD = 0.2, 0.3  # log ms
FAILURE_SLOWDOWN = 1.5
BOOSTED = (0.7, 0.75)  # H16_002: the confidences of MEDIUM tasks it raises
MAX_ATTEMPTS, RETRY_PENALTY = 3, 0.05  # H16_003
RISK_SHARES = {"LOW": 0.5, "MEDIUM": 0.35, "HIGH": 0.15}
# Phase 16's prediction as a line in confidence, per risk level.
PREDICTION = {"LOW": (0.45, 0.5), "MEDIUM": (0.3, 0.6), "HIGH": (0.1, 0.75)}
EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
PHASES = ("phase16", "phase17", "phase18")


@dataclass(frozen=True, slots=True)
class _World:
    """What the generator knows and no file says: logits of shape (agents, categories), (tasks,), speeds in log ms."""

    skill: NDArray[np.float64]
    difficulty: NDArray[np.float64]
    speed: NDArray[np.float64]


def write_sample(directory: Path, *, tasks: int, agents: int, waves: int, seed: int) -> None:
    """Generate Phase 16, 17 and 18 inputs.

    Parameters
    ----------
    directory
        Where `phase16`, `phase17` and `phase18` are made, each of them whole; it is created where it does not exist.
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
    taken = next((phase for phase in PHASES if (directory / phase).exists()), None)
    if taken is not None:
        raise OutputError(f"{directory / taken}: expected nothing there, found an earlier sample; it is left as it is")
    rng = np.random.default_rng(seed)
    world, planned = _draw(rng, tasks, agents, waves)
    start = EPOCH + timedelta(days=seed % 365)
    earlier = _execute(rng, world, planned, offset=0, start=start)
    later = _execute(rng, world, planned, offset=1 + agents // 3, start=start + timedelta(days=7))
    before_and_after = {"confidence_before": "initial_confidence", "confidence_after": "final_confidence"}
    documents = phase18_documents(later, agents, start + timedelta(days=8))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".sample-") as scratch:
            for phase in PHASES:
                (Path(scratch) / phase).mkdir()
            planned.write_ndjson(Path(scratch, "phase16", "planned_tasks.jsonl"))
            _write_lines(Path(scratch, "phase16", "heuristics.jsonl"), HEURISTICS)
            earlier.rename(before_and_after).write_ndjson(Path(scratch, "phase17", "execution_outcomes.jsonl"))
            later.write_ndjson(Path(scratch, "phase18", "task_outcomes.jsonl"))
            for name, document in documents.items():
                path = Path(scratch, "phase18", name)
                if name.endswith(".jsonl"):
                    _write_lines(path, document)
                else:
                    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            for phase in PHASES:
                shutil.move(Path(scratch, phase), directory / phase)
    except OSError as problem:
        raise OutputError(f"{directory}: {problem.strerror or problem}") from problem


def sample_trials(*, tasks: int, agents: int, waves: int, seed: int, count: int) -> pl.DataFrame:
    """Let every agent try every task of a sample: what a sparse record does not say, to judge a plan by.

    Parameters
    ----------
    tasks, agents, waves, seed
        Those the sample was written with.
    count
        How often each agent tries each task.

    Returns
    -------
    polars.DataFrame
        Rows of `task_outcomes.jsonl`, `count` a pair, in the sample's world but with luck of their own. `attempts` is
        the number of the trial, so that the rows can be replayed by `--executions`; each trial begins when the one
        before is over, and the first when the sample is.
    """
    world, planned = _draw(np.random.default_rng(seed), tasks, agents, waves)
    rng = np.random.default_rng([seed, 1])
    start = EPOCH + timedelta(days=seed % 365 + 14)
    return pl.concat(
        _execute(rng, world, planned, offset=offset, start=start + timedelta(days=trial * agents + offset))
        .filter(attempts=1)
        .with_columns(attempts=pl.lit(trial + 1, dtype=pl.Int64))
        for trial in range(count)
        for offset in range(agents)
    )


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _draw(rng: np.random.Generator, tasks: int, agents: int, waves: int) -> tuple[_World, pl.DataFrame]:
    """A world, and Phase 16's plan of its tasks, in id order."""
    skill = rng.normal(0, ABILITY_SD, (agents, 1)) + rng.normal(0, SKILL_SD, (agents, len(CATEGORIES)))
    difficulty = rng.normal(0, DIFFICULTY_SD, tasks)
    category = rng.integers(len(CATEGORIES), size=tasks)
    judged = difficulty + rng.normal(0, 0.6 * DIFFICULTY_SD, tasks)
    edges = np.quantile(judged, np.cumsum(list(RISK_SHARES.values()))[:-1])
    risk = np.searchsorted(edges, judged)
    confidence = np.clip(0.84 - 0.06 * judged + rng.normal(0, 0.03, tasks), 0.4, 0.98).round(2)
    # Solve mean sigmoid(intercept + skill - difficulty) = MEAN_SUCCESS over round-robin pairs, by bisection.
    logits = skill[np.arange(tasks) % agents, category] - difficulty
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(middle + logits).mean() < MEAN_SUCCESS else (low, middle)
    world = _World(skill + low, difficulty, rng.normal(0, SPEED_SD, agents))
    base, slope = np.array(list(PREDICTION.values())).T
    is_boosted = (risk == 1) & (confidence >= BOOSTED[0]) & (confidence <= BOOSTED[1])
    return world, pl.DataFrame(
        {
            "task_id": pl.select(pl.format("task_{}", pl.int_range(tasks))).to_series(),
            "wave": 1 + np.arange(tasks) * waves // tasks,
            "risk_level": np.array(list(RISK_SHARES))[risk],
            "category": np.array(CATEGORIES)[category],
            "confidence": confidence,
            "risk": risk,
        }
    ).select(
        "task_id",
        "wave",
        "risk_level",
        "category",
        "confidence",
        # H16_001: least risk first, then most confidence.
        priority=pl.struct("risk", -pl.col("confidence")).rank("ordinal").over("wave").cast(pl.Int64),
        heuristics_applied=pl.concat_list(pl.lit(["H16_001"], dtype=pl.List(pl.String)), _when(is_boosted, "H16_002")),
        predicted_success_rate=pl.Series((base[risk] + slope[risk] * confidence).round(4)),
        predicted_confidence_delta=pl.lit(0.05),
        approval_status=pl.lit("APPROVED"),
        reason=pl.format("planned for wave {}", "wave"),
    )


def _execute(
    rng: np.random.Generator, world: _World, planned: pl.DataFrame, *, offset: int, start: datetime
) -> pl.DataFrame:
    """One round-robin execution of all tasks: an attempt a row, by wave and time."""
    agent_count = len(world.speed)
    agent = (np.arange(planned.height) + offset) % agent_count
    category = planned["category"].cast(pl.Enum(CATEGORIES)).to_physical().to_numpy()
    probability = _sigmoid(world.skill[agent, category] - world.difficulty)
    running = np.arange(planned.height)
    is_retried = planned["risk_level"].to_numpy() != "HIGH"
    attempts = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        penalty = RETRY_PENALTY * (attempt - 1)
        is_success = rng.random(len(running)) < np.maximum(probability[running] - penalty, RETRY_PENALTY)
        noise = rng.normal(0, DURATION_SD, len(running))
        effect = world.speed[agent[running]] + 0.1 * world.difficulty[running] + noise
        duration = MEDIAN_DURATION_MS * np.exp(effect) * np.where(is_success, 1, FAILURE_SLOWDOWN)
        before = np.maximum(planned["confidence"].to_numpy()[running] - penalty, 0)
        gain = np.where(is_success, rng.normal(0.05, 0.012, len(running)), rng.normal(-0.02, 0.008, len(running)))
        after = np.clip(before + gain, 0, 1)
        rows = planned[running].select(
            "task_id",
            pl.format("agent_{}", pl.Series(agent[running])).alias("agent_id"),
            "wave",
            "risk_level",
            "category",
            status=pl.Series(np.where(is_success, "success", "failed")),
            confidence_before=pl.Series(before.round(4)),
            confidence_after=pl.Series(after.round(4)),
            confidence_delta=pl.Series((after.round(4) - before.round(4)).round(4)),
            execution_time_ms=pl.Series(duration.round(3)),
            attempts=pl.lit(attempt),
            heuristics_applied=pl.concat_list("heuristics_applied", _when(attempt > 1, "H16_003")),
            error_message=_when(~is_success, "the result did not pass its check", otherwise=None),
        )
        attempts.append(rows.with_columns(place=pl.Series(running)))
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


def _when(condition: NDArray[np.bool_] | bool, value: str, otherwise: Any = ()) -> pl.Expr:
    """A text where the condition holds; elsewhere nothing: no element of a list, or null."""
    mask = pl.lit(condition) if isinstance(condition, bool) else pl.lit(pl.Series(condition))
    if otherwise is None:
        return pl.when(mask).then(pl.lit(value))
    strings = pl.List(pl.String)
    return pl.when(mask).then(pl.lit([value], dtype=strings)).otherwise(pl.lit([], dtype=strings))


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits))

"""Write an input directory from imported attempts, with every summary figure derived from them."""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from phase19.errors import OutputError, UsageError
from phase19.frames import TASKS
from phase19.inputs.wire import MAX_DURATION_MS
from phase19.interrupts import cleaning_up

# Columns of imported rows. A row without outcome, time, start and error is a task that nobody has tried.
ROWS: dict[str, Any] = {
    "task_id": pl.String,
    "agent_id": pl.String,
    "is_success": pl.Boolean,
    "is_void": pl.Boolean,
    "is_censored": pl.Boolean,
    "duration_ms": pl.Float64,
    "category": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "attempt": pl.Int64,
    "trial": pl.Int64,
    "cost": pl.Float64,
    "error_message": pl.String,
}
# No id may contain control characters: they are written as escapes, such as \n.
_ESCAPES = {chr(code): repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}
_IDS = ("task_id", "agent_id")


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows of a log, and what was found while reading it.

    Attributes
    ----------
    rows
        One row per attempt or untried task, with the columns `ROWS`; missing columns are null.
    counts
        Numbers of rows by what was found, to show.
    unmapped
        Examples of values that no rule converts, by column.
    tasks
        Further tasks to do: task_id and any other field of `frames.TASKS`.
    features
        Numbers that describe tasks: task_id and a column each; None if the log has none.
    unused
        Names of a table's columns that no option names.
    notes
        Sentences about what the user should check.
    """

    rows: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)
    unmapped: dict[str, list[str]] = field(default_factory=dict)
    tasks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"task_id": pl.String}))
    features: pl.DataFrame | None = None
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_inputs(imported: Imported, directory: Path) -> dict[str, int]:
    """Write an input directory of Phase 18, and return the numbers to show.

    Parameters
    ----------
    imported
        The rows of a log.
    directory
        A directory that does not exist or is empty.

    Raises
    ------
    UsageError
        No row is an attempt with a task, an agent and an outcome.
    OutputError
        `directory` is not empty, or cannot be written.
    """
    rows = imported.rows.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in ROWS.items() if name not in imported.rows.columns
    ).select(pl.col(name).cast(kind) for name, kind in ROWS.items())
    escaped = rows.with_columns(_escaped(*_IDS))
    escaped_count = int((rows.select(_IDS).fill_null("") != escaped.select(_IDS).fill_null("")).max_horizontal().sum())
    has_name = {name: (pl.col(name).str.len_chars() > 0).fill_null(value=False) for name in _IDS}
    is_tried = pl.any_horizontal(pl.col("is_success", "duration_ms", "timestamp", "error_message").is_not_null())
    is_task = ~is_tried & ~pl.col("is_void").fill_null(value=False) & has_name["task_id"]
    is_possible = pl.col("duration_ms").is_between(0, MAX_DURATION_MS)
    untried, tried = escaped.filter(is_task), escaped.filter(~is_task)
    attempts = tried.filter(*has_name.values()).with_columns(
        trial=_trial(),
        is_void=pl.col("is_void").fill_null(value=False) | pl.col("is_success").is_null(),
        is_censored=pl.col("is_censored").fill_null(value=False),
        duration_ms=pl.when(is_possible).then("duration_ms"),
        cost=pl.when(pl.col("cost").is_finite() & (pl.col("cost") >= 0)).then("cost"),
    )
    if attempts.is_empty() or attempts["is_void"].all():
        raise UsageError("expected at least one attempt with a task, an agent and an outcome, found none")
    new = untried.select("task_id", "category")
    tasks = pl.concat([new, imported.tasks.with_columns(_escaped("task_id"))], how="diagonal_relaxed")
    tasks = tasks.unique("task_id", maintain_order=True)
    documents = _documents(attempts, tasks)
    if imported.features is not None:
        documents["features.jsonl"] = imported.features.with_columns(_escaped("task_id"))
    write_directory(directory, documents, other="choose another --output")
    impossible_count = int(tried.select((~is_possible).sum()).item())
    judged = attempts.filter(~pl.col("is_void"))
    # Each row is in one of: unreadable, repeated, succeeded, failed, void, not tried yet, without a task or an agent.
    return {
        "rows": imported.counts.get("rows", imported.rows.height),
        **{name: count for name, count in imported.counts.items() if name != "rows"},
        "attempts": attempts.height,
        "succeeded": int(judged["is_success"].sum()),
        "failed": int((~judged["is_success"]).sum()),
        "void": attempts.height - judged.height,
        "not tried yet": untried.height,
        "without a task or an agent": tried.height - attempts.height,
        "cut off by a limit": int(attempts["is_censored"].sum()),
        **({"with an impossible time": impossible_count} if impossible_count else {}),
        "without a time": attempts["duration_ms"].null_count(),
        **({"with control characters in a name": escaped_count} if escaped_count else {}),
        "agents": attempts["agent_id"].n_unique(),
        "tasks": attempts["task_id"].n_unique(),
        "tasks to do": tasks.height,
    }


def _escaped(*names: str) -> pl.Expr:
    return pl.col(names).str.replace_many(_ESCAPES)


def _trial() -> pl.Expr:
    """Numbers of trials, so that no two rows are alike: equal rows with a timestamp or a trial would count once."""
    alike = ("task_id", "agent_id", "timestamp", "attempt", "trial")
    is_several = (pl.len().over(alike) > 1) & pl.any_horizontal(pl.col("timestamp", "trial").is_not_null())
    unknown = pl.col("trial").max().fill_null(-1) + 1  # stands for no number
    number = pl.col("trial").fill_null(unknown) + pl.int_range(pl.len()).over(alike) * (unknown + 1)
    return pl.when(is_several).then(number).otherwise("trial")


def _documents(attempts: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, Any]:
    """The files of the input directory, by name: a frame for lines, anything else for one JSON document."""
    status = (
        pl.when("is_void").then(pl.lit("void")).when("is_success").then(pl.lit("success")).otherwise(pl.lit("failed"))
    )
    outcomes = attempts.select(
        "task_id",
        "agent_id",
        "category",
        status=status,
        execution_time_ms="duration_ms",
        is_censored="is_censored",
        attempts="attempt",
        trial="trial",
        cost="cost",
        error_message="error_message",
        timestamp=pl.col("timestamp").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"),
    )
    judged = attempts.filter(~pl.col("is_void"))
    # A task succeeded if one of its attempts did; every trial counts as a task of its own.
    solved = judged.group_by("agent_id", "task_id", "trial").agg(
        pl.col("is_success").any(), pl.len().alias("count"), pl.col("duration_ms").sum().alias("total_ms")
    )
    figures = {"success_rate": pl.col("is_success").mean().fill_null(0.0), "retry_rate": (pl.col("count") > 1).mean()}
    agents = solved.group_by("agent_id").agg(tasks=pl.len(), **figures).sort("agent_id")
    times = judged.group_by("agent_id").agg(avg_execution_time_ms=pl.col("duration_ms").mean())
    agents = agents.join(times, on="agent_id", maintain_order="left")
    overall = solved.select(**figures).row(0, named=True)
    documents: dict[str, Any] = {
        "multi_agent_summary.json": {
            "total_agents": attempts["agent_id"].n_unique(),
            "total_tasks": attempts["task_id"].n_unique(),
            **overall,
            "avg_execution_time_ms": judged["duration_ms"].mean(),
            "agent_performance": agents.rows_by_key("agent_id", named=True, unique=True),
        },
        "coordination_patterns.json": [],
        "system_health.json": {},
        "learning_signals.jsonl": pl.DataFrame(),
        "task_outcomes.jsonl": outcomes,
    }
    if tasks.height:
        documents["tasks.jsonl"] = tasks.select(name for name in TASKS.columns if name in tasks.columns)
    return documents


def write_directory(directory: Path, documents: Mapping[str, Any], *, other: str = "name another") -> None:
    """Write files by name: a frame as JSON lines, text as it is, anything else as one JSON document.

    `other` tells in an error how to choose another directory.

    Raises
    ------
    OutputError
        `directory` is not empty, or cannot be written; nothing is written then.
    """
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            found = f"found something; nothing was written: remove {directory}, or {other}"
            raise OutputError(f"{directory}: expected nothing there, {found}")
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = directory.with_name(f".import-{secrets.token_hex(4)}")
        with cleaning_up(lambda: shutil.rmtree(staging, ignore_errors=True)):
            staging.mkdir()
            for name, content in documents.items():
                if isinstance(content, pl.DataFrame):
                    content.write_ndjson(staging / name)
                else:
                    text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
                    (staging / name).write_text(text, "utf-8")
            if directory.exists():
                directory.rmdir()
            staging.rename(directory)
    except OSError as problem:
        raise OutputError(f"{directory}: {problem.strerror or problem}") from problem

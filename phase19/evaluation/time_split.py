"""Cutting the records at a moment: what was known then, and what happened after."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.inputs.readers import synthetic_tasks

if TYPE_CHECKING:
    from datetime import datetime

    from phase19.inputs.loading import Inputs

__all__ = ["split_inputs"]

_UNKNOWN_RATE = 0.5  # of a population without records: its own summary would tell of the future


def split_inputs(inputs: Inputs, moment: datetime) -> tuple[Inputs, pl.DataFrame]:
    """Cut the records at a moment.

    Parameters
    ----------
    inputs
        Everything recorded, before and after.
    moment
        With its time zone; a record at the very moment is after it.

    Returns
    -------
    inputs
        What was known at the moment: the records before it, agents judged by them or by nothing, and the
        population's figures out of them. Tasks, with their risk and confidence, and the roster stand as given: who
        there is was known, how they did was not. Nothing else depends on what came after.
    executions
        `frames.ATTEMPTS` at or after the moment, of known agents; a pair's attempts are numbered in their order.

    Raises
    ------
    UsageError
        A record has no timestamp, or none with an agent is at or after the moment.
    """
    attempts = inputs.attempts
    undated = attempts["timestamp"].null_count()
    if undated:
        raise UsageError(
            f"--split-at: expected a timestamp in every record, found {undated:,} of {attempts.height:,} without one"
        )
    history = attempts.filter(pl.col("timestamp") < moment)
    later = attempts.filter((pl.col("timestamp") >= moment) & pl.col("agent_id").is_not_null())
    if later.is_empty():
        raise UsageError(f"--split-at: expected records of agents at or after {moment.isoformat()}, found none")
    tasks = inputs.tasks
    if inputs.task_source == "synthetic":  # their risk is read off the records
        tasks = synthetic_tasks(history, tasks.height)
    success_rate = history["is_success"].cast(pl.Float64).mean()
    known = replace(
        inputs,
        tasks=tasks,
        attempts=history,
        agents=_agents(inputs.agents, history),
        population=replace(
            inputs.population,
            success_rate=success_rate if isinstance(success_rate, float) else _UNKNOWN_RATE,
            duration_ms=_mean(history["duration_ms"]),
            confidence_delta=_mean(history["confidence_delta"]),
        ),
    )
    order = ["timestamp", "attempt", "is_success", "duration_ms"]
    numbered = pl.int_range(1, pl.len() + 1).over("task_id", "agent_id").cast(pl.Int64)
    return known, later.sort("task_id", "agent_id", *order).with_columns(attempt=numbered, source=pl.lit("run"))


def _mean(values: pl.Series) -> float | None:
    mean = values.sort().mean()  # whatever the order of the records
    return mean if isinstance(mean, float) else None


def _agents(agents: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The roster judged by the history alone: the summaries of its agents speak of all their attempts."""
    counted = history.group_by("agent_id").agg(pl.len().cast(pl.Int64).alias("record_count"))
    known = agents.select("agent_id").join(counted, on="agent_id", how="left", maintain_order="left")
    has_records = pl.col("record_count") > 0
    return frames.AGENTS.conform(
        known.with_columns(pl.col("record_count").fill_null(0)).with_columns(
            evidence=pl.when(has_records).then(pl.lit("records")).otherwise(pl.lit("none"))
        )
    )

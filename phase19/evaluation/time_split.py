"""Split the inputs' records at a moment: what was known then, and what happened after."""

from dataclasses import replace
from datetime import datetime

import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.inputs.loading import Inputs, synthetic_tasks
from phase19.wave import mean

_UNKNOWN_RATE = 0.5  # success rate of a population without earlier records; its summary would reveal later ones


def split_inputs(inputs: Inputs, moment: datetime) -> tuple[Inputs, pl.DataFrame]:
    """Split the inputs' records at a moment.

    Parameters
    ----------
    inputs
        Everything recorded, before and after.
    moment
        With its time zone; a record at exactly this moment counts as after it.

    Returns
    -------
    inputs
        What was known at the moment: the earlier records, and agents and population derived from them alone. Tasks,
        with their risk and confidence, and the list of agents are kept. Nothing else depends on later records.
    executions
        `frames.ATTEMPTS` at or after the moment, of known agents; a pair's attempts are numbered in time order.

    Raises
    ------
    UsageError
        A record has no timestamp, or no record of an agent is at or after the moment.
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
    if inputs.task_source == "synthetic":  # derived from the records
        tasks = synthetic_tasks(history, tasks.height)
    success_rate = mean(history["is_success"])
    counts = history.group_by("agent_id").agg(record_count=pl.len())
    agents = (
        inputs.agents.select("agent_id")
        .join(counts, on="agent_id", how="left", maintain_order="left")
        .with_columns(pl.col("record_count").fill_null(0))
        .with_columns(evidence=pl.when(pl.col("record_count") > 0).then(pl.lit("records")).otherwise(pl.lit("none")))
    )
    known = replace(
        inputs,
        tasks=tasks,
        attempts=history,
        agents=frames.AGENTS.conform(agents),  # the summaries of agents include later records
        population=replace(
            inputs.population,
            success_rate=_UNKNOWN_RATE if success_rate is None else success_rate,
            duration_ms=mean(history["duration_ms"].sort()),  # sorted: the same digits in any order of the records
            confidence_delta=mean(history["confidence_delta"].sort()),
        ),
    )
    order = ["timestamp", "attempt", "is_success", "duration_ms"]
    numbered = pl.int_range(1, pl.len() + 1).over("task_id", "agent_id").cast(pl.Int64)
    return known, later.sort("task_id", "agent_id", *order).with_columns(attempt=numbered, source=pl.lit("run"))

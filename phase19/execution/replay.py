"""Replay: the plan's tasks have the outcomes that records of the same pairs had."""

from __future__ import annotations

import polars as pl

from phase19.execution.protocol import Execution, attempt_rows

__all__ = ["ReplayExecutor"]


class ReplayExecutor:
    """Takes outcomes from recorded attempts.

    A pair without any record is not observed; a pair whose records run out ends with its last one. An attempt
    whose time was not recorded spends its agent's mean recorded time, else the mean of all; since nobody measured
    it, its `duration_ms` stays null, and nothing is learned from it. `most_attempts` is the largest number of records
    of a pair: a plan that counts on more retries promises what no record can keep.

    Parameters
    ----------
    records
        `frames.ATTEMPTS`, the `--executions` file.
    """

    is_simulated = False

    def __init__(self, records: pl.DataFrame) -> None:
        mean = pl.col("duration_ms").mean()
        ordered = records.sort("agent_id", "duration_ms", maintain_order=True)  # whose means have the same digits
        self._records = ordered.filter(pl.col("agent_id").is_not_null()).with_columns(
            spent_ms=pl.coalesce("duration_ms", mean.over("agent_id"), mean, pl.lit(0.0))
        )
        by_pair = self._records.group_by("task_id", "agent_id").len()
        self.most_attempts: int | None = by_pair.select(pl.col("len").max()).item()

    def attempts(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Attempts made of pairs, were each carried out on its own.

        Parameters
        ----------
        pairs
            Distinct task_id and agent_id, and max_attempts.

        Returns
        -------
        polars.DataFrame
            `pairs` with the columns of a record and spent_ms (the time counted, never null), one row an attempt,
            sorted by task, agent and attempt; attempts are numbered 1, 2, ... and end with the first success. Pairs
            without a record have no row.
        """
        pair = ["task_id", "agent_id"]
        earlier_success = pl.col("is_success").cum_sum().over(pair) - pl.col("is_success")
        return (
            pairs.join(self._records, on=pair, maintain_order="left")
            .sort(*pair, "attempt", maintain_order=True)
            .with_columns(earlier=earlier_success, attempt=pl.int_range(1, pl.len() + 1).over(pair))
            .filter((pl.col("earlier") == 0) & (pl.col("attempt") <= pl.col("max_attempts")))
        )

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Replay a wave."""
        made = self.attempts(orders.select("task_id", "agent_id", "max_attempts"))
        facts = made.select(
            "task_id",
            "attempt",
            "is_success",
            "duration_ms",
            "confidence_delta",
            "error_message",
            "is_censored",
            "timestamp",
        )
        return Execution(attempt_rows(orders, facts), is_interrupted=False, spent_ms=made["spent_ms"])

    def what_if(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What the records say of pairs; nothing where they hold none."""
        asked = pairs.select("task_id", "agent_id", "max_attempts")
        by_pair = (
            self.attempts(asked)
            .group_by("task_id", "agent_id", maintain_order=True)
            .agg(
                pl.col("is_success").last(),
                pl.len().cast(pl.Int64).alias("attempt_count"),
                pl.col("spent_ms").sum(),
                pl.col("confidence_delta").last(),
            )
        )
        return (
            asked.join(by_pair, on=["task_id", "agent_id"], how="left", maintain_order="left")
            .with_columns(pl.col("attempt_count").fill_null(0))
            .drop("task_id", "agent_id", "max_attempts")
        )

"""What every executor does, and what its attempts come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import polars as pl

from phase19 import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Execution", "Executor", "attempt_rows", "outcomes"]


class Execution(NamedTuple):
    """What came of a wave.

    Attributes
    ----------
    attempts
        The attempts made, `frames.ATTEMPTS` with source `run`: what learning sees.
    is_interrupted
        Whether the wave was stopped before its end.
    spent_ms
        Time of each of the attempts as the wave's clock counts it, where it counts what was not recorded; None
        where that is their `duration_ms`.
    """

    attempts: pl.DataFrame
    is_interrupted: bool
    spent_ms: pl.Series | None = None


class Executor(Protocol):
    """Carries out one wave after another.

    Attributes
    ----------
    is_simulated
        Whether its outcomes are drawn.
    most_attempts
        Attempts of a task that it could make at most, 1 or more, whatever is ordered; None for no limit.
    """

    is_simulated: bool
    most_attempts: int | None

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Carry out a wave.

        Parameters
        ----------
        orders
            `frames.ORDERS`, agents together, each in the order of its timeline. It holds no forecast.
        """
        ...

    def what_if(self, pairs: pl.DataFrame) -> pl.DataFrame | None:
        """What pairs would come to in the same world, each on its own; nothing is carried out.

        Parameters
        ----------
        pairs
            Distinct task_id and agent_id, confidence and max_attempts.

        Returns
        -------
        polars.DataFrame or None
            In the order of `pairs`: is_success, attempt_count, spent_ms and confidence_delta (null where nobody
            knows). A pair the world is silent about has a null is_success and no attempts. None where the world
            cannot be asked.
        """
        ...


def attempt_rows(orders: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """Attempts as records: `frames.ATTEMPTS`.

    Parameters
    ----------
    orders
        `frames.ORDERS`.
    made
        One row an attempt: task_id, attempt, is_success, duration_ms, confidence_delta, and error_message,
        is_censored or timestamp where known.
    """
    known = made.join(
        orders.select(
            "task_id",
            "agent_id",
            "wave",
            "risk_level",
            "category",
            "confidence",
            "confidence_boost",
            "heuristics_applied",
        ),
        on="task_id",
        maintain_order="left",
    ).with_columns(
        confidence_before="confidence",
        confidence_after=(pl.col("confidence") + pl.col("confidence_delta")).clip(0.0, 1.0),
        source=pl.lit("run"),
    )
    absent = [
        pl.lit(None).alias(name) for name in ("error_message", "is_censored", "timestamp") if name not in known.columns
    ]
    return known.with_columns(absent).select(
        pl.col(name).cast(column.dtype).fill_null(column.default)
        if column.default is not None
        else pl.col(name).cast(column.dtype)
        for name, column in frames.ATTEMPTS.columns.items()
    )


def outcomes(orders: pl.DataFrame, execution: Execution, mean_change: Sequence[float]) -> pl.DataFrame:
    """What each ordered task came to: `frames.OUTCOMES`, in the order of `orders`.

    Parameters
    ----------
    orders
        `frames.ORDERS`.
    execution
        Attempts by task, in order.
    mean_change
        The population's mean confidence change after a failure and after a success, for attempts that
        carry none.
    """
    by_task = (
        execution.attempts.lazy()
        .with_columns(spent_ms="duration_ms" if execution.spent_ms is None else execution.spent_ms)
        .sort("task_id", "attempt")
        .group_by("task_id", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("attempt_count"),
            pl.col("is_success").last(),
            pl.col("spent_ms").sum().alias("actual_duration_ms"),
            pl.col("confidence_delta").last(),
            pl.col("duration_ms").is_not_null().all().alias("is_duration_measured"),
            pl.col("is_censored").any(),
        )
        .collect(engine="in-memory")
    )
    idle = "interrupted" if execution.is_interrupted else "unobserved"
    won = pl.col("is_success")
    if execution.is_interrupted:  # a task stopped between its attempts has no outcome yet
        won = pl.when(won | (pl.col("attempt_count") == pl.col("max_attempts"))).then(won)
    change = pl.when(won).then(mean_change[1]).when(~won).then(mean_change[0])
    return orders.join(by_task, on="task_id", how="left", maintain_order="left").select(
        "task_id",
        "agent_id",
        pl.when(won)
        .then(pl.lit("completed"))
        .when(~won)
        .then(pl.lit("failed"))
        .otherwise(pl.lit(idle))
        .alias("status"),
        pl.col("attempt_count").fill_null(0),
        pl.when(won.is_not_null()).then("actual_duration_ms"),
        pl.when(won.is_not_null()).then(pl.coalesce("confidence_delta", change)).alias("actual_confidence_delta"),
        (pl.col("is_duration_measured") & won.is_not_null()).fill_null(False),
        (pl.col("is_censored") & won.is_not_null()).fill_null(False),
    )

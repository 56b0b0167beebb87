"""The protocol of executors, and the outcome of each ordered task."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import polars as pl

from phase19 import frames

# The columns of an attempt that the executor reports; the order has the others.
MADE = frames.ATTEMPTS.select(
    "made", "task_id attempt is_success duration_ms confidence_delta error_message is_censored cost timestamp"
)
_MOMENT = "%Y-%m-%dT%H:%M:%S%.6fZ"


class Execution(NamedTuple):
    """The attempts that an executor made.

    Attributes
    ----------
    attempts
        `frames.ATTEMPTS` with source `run`; later forecasts learn from them.
    is_interrupted
        Whether execution stopped early.
    """

    attempts: pl.DataFrame
    is_interrupted: bool = False


@runtime_checkable
class Executor(Protocol):
    """Executes waves, one after another.

    Attributes
    ----------
    is_simulated
        Whether outcomes are drawn at random.
    most_attempts
        Largest number of attempts the executor can make at any task, at least 1; None for no limit.
    """

    is_simulated: bool
    most_attempts: int | None

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Execute a wave.

        Parameters
        ----------
        orders
            `frames.ORDERS`, which contain no forecast, grouped by agent in the order of each agent's timeline.
        """
        ...


def attempt_rows(orders: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """Complete attempts to `frames.ATTEMPTS`.

    Parameters
    ----------
    orders
        `frames.ORDERS`.
    made
        Columns of `MADE`, one row per attempt; error_message, is_censored, cost and timestamp are optional.
    """
    confidence_after = (pl.col("confidence") + pl.col("confidence_delta")).clip(0.0, 1.0)
    return frames.ATTEMPTS.conform(
        made.join(orders, on="task_id", maintain_order="left").with_columns(
            confidence_before="confidence", confidence_after=confidence_after, source=pl.lit("run")
        )
    )


def attempt_log(attempts: pl.DataFrame, *, is_simulated: bool) -> pl.DataFrame:
    """Return attempts as rows of `frames.ATTEMPT_LOG`.

    Parameters
    ----------
    attempts
        Columns of `MADE`, agent_id and wave.
    is_simulated
        Whether the outcomes are those of a dry run.
    """
    started = pl.col("timestamp") - pl.duration(microseconds=(pl.col("duration_ms") * 1e3).round().cast(pl.Int64))
    return attempts.with_columns(
        status=pl.when("is_success").then(pl.lit("success")).otherwise(pl.lit("failed")),
        started_at=started.dt.to_string(_MOMENT),
        timestamp=pl.col("timestamp").dt.to_string(_MOMENT),
        execution_time_ms="duration_ms",
        simulated=pl.lit(is_simulated),
    ).select(*frames.ATTEMPT_LOG.columns)


def sum_if_known(name: str) -> pl.Expr:
    """The sum of a column; null if one of its values is unknown."""
    return pl.when(pl.col(name).is_not_null().all()).then(pl.col(name).sum())


def task_outcomes(orders: pl.DataFrame, execution: Execution, mean_change: Sequence[float]) -> pl.DataFrame:
    """Outcome of each ordered task: `frames.OUTCOMES`, in the order of `orders`.

    Parameters
    ----------
    orders
        `frames.ORDERS`.
    execution
        The attempts made.
    mean_change
        Mean confidence change after a failure and after a success, used if the last attempt records none.
    """
    by_task = (
        execution.attempts.lazy()
        .sort("task_id", "attempt")
        .group_by("task_id", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("attempt_count"),
            pl.col("is_success").last(),
            sum_if_known("duration_ms"),
            pl.col("confidence_delta").last(),
            pl.col("is_censored").any(),
            pl.col("error_message").last(),
        )
        .collect(engine="in-memory")
    )
    is_success = pl.col("is_success")
    if execution.is_interrupted:  # a task stopped between its attempts has no outcome yet
        is_last = pl.col("attempt_count") == pl.col("max_attempts")
        is_success = pl.when(is_success | is_last).then(is_success)
    has_run = is_success.is_not_null()
    change = pl.when(is_success).then(mean_change[1]).otherwise(mean_change[0])
    return orders.join(by_task, on="task_id", how="left", maintain_order="left").select(
        "task_id",
        "agent_id",
        pl.when(~has_run)
        .then(pl.lit("interrupted" if execution.is_interrupted else "unobserved"))
        .when(is_success)
        .then(pl.lit("completed"))
        .otherwise(pl.lit("failed"))
        .alias("status"),
        pl.col("attempt_count").fill_null(0),
        pl.when(has_run).then("duration_ms").alias("actual_duration_ms"),
        pl.when(has_run).then(pl.coalesce("confidence_delta", change)).alias("actual_confidence_delta"),
        (pl.col("duration_ms").is_not_null() & has_run).fill_null(False).alias("is_duration_measured"),
        (pl.col("is_censored") & has_run).fill_null(False),
        pl.when(has_run).then("error_message").alias("error_message"),
    )

"""Replay: tasks get the outcomes recorded for the same (task, agent) pairs."""

import polars as pl

from phase19.execution.protocol import MADE, Execution, attempt_rows

_PAIR = ["task_id", "agent_id"]


class ReplayExecutor:
    """Takes outcomes from recorded attempts.

    A pair without a record is unobserved; a pair with too few records ends with its last one. An attempt without a
    recorded time has no time in the replay either. `most_attempts` is the largest number of records of any pair; plans
    must not allow more attempts.

    Parameters
    ----------
    records
        `frames.ATTEMPTS`, such as the `--executions` file.
    """

    is_simulated = False

    def __init__(self, records: pl.DataFrame) -> None:
        self._records = records.drop_nulls("agent_id")
        self.most_attempts: int | None = self._records.group_by(_PAIR).len().select(pl.col("len").max()).item()

    def attempts(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """The attempts that each pair would make, independent of the other pairs.

        Parameters
        ----------
        pairs
            Distinct task_id and agent_id, and max_attempts.

        Returns
        -------
        polars.DataFrame
            `pairs` with the columns of a record, one row per attempt, sorted by task, agent and attempt. Attempts are
            numbered from 1 and end with the first success. Pairs without a record have no row.
        """
        earlier_success = pl.col("is_success").cum_sum().over(_PAIR) - pl.col("is_success")
        return (
            pairs.join(self._records, on=_PAIR, maintain_order="left")
            .sort(*_PAIR, "attempt", maintain_order=True)
            .with_columns(earlier=earlier_success, attempt=pl.int_range(1, pl.len() + 1).over(_PAIR))
            .filter((pl.col("earlier") == 0) & (pl.col("attempt") <= pl.col("max_attempts")))
        )

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Replay a wave."""
        made = self.attempts(orders.select(*_PAIR, "max_attempts"))
        return Execution(attempt_rows(orders, made.select(*MADE.columns)))

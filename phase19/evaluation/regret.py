"""Regret of a plan: its recorded successes compared with the best possible ones, and the causes of the difference."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19.assignment.solver import solve
from phase19.execution.replay import ReplayExecutor
from phase19.forecasting.model import ForecastModel

_SAME = 1e-9  # expected successes that differ by less are equal


class PairRecords(NamedTuple):
    """Recorded outcomes of n x m pairs; arrays of shape (n, m), zero where `is_observed` is false.

    Attributes
    ----------
    is_observed
        Whether the pair has a record to replay.
    first_success, success
        1 if the first attempt, and if any of the allowed attempts succeeded.
    duration_ms
        Busy time of the attempts made.
    success_probability
        Estimated probability of `success`: 1 - (1 - r)^k, with r the success rate of all attempts ever recorded of the
        pair, and k the number of attempts it could make.
    """

    is_observed: NDArray[np.bool_]
    first_success: NDArray[np.float64]
    success: NDArray[np.float64]
    duration_ms: NDArray[np.float64]
    success_probability: NDArray[np.float64]


def pair_records(model: ForecastModel, executions: pl.DataFrame, allowed: NDArray[np.int64]) -> PairRecords:
    """Replay every pair on its own, as :class:`phase19.execution.replay.ReplayExecutor` does.

    Parameters
    ----------
    model
        The forecast before the first wave: its tasks and agents are the rows and columns, its attempts the history.
    executions
        `frames.ATTEMPTS` to replay; those of other tasks and agents are left out.
    allowed
        Attempts each task may have, shape (n,).
    """
    pair = ["task_id", "agent_id"]
    ever = pl.concat([model.attempts, executions]).group_by(pair).agg(rate=pl.col("is_success").mean())
    pairs = (
        executions.group_by(pair)
        .agg(recorded=pl.len())
        .join(ever, on=pair)
        .join(model.tasks.select("task_id", max_attempts=pl.Series(allowed)).with_row_index("task"), on="task_id")
        .join(model.agents.select("agent_id").with_row_index("agent"), on="agent_id")
    )
    replayed = (
        ReplayExecutor(executions)
        .attempts(pairs)
        .group_by("task", "agent")
        .agg(
            pl.lit(1.0).alias("is_observed"),
            pl.col("is_success").first().cast(pl.Float64).alias("first_success"),
            pl.col("is_success").any().cast(pl.Float64).alias("success"),
            pl.col("spent_ms").sum().alias("duration_ms"),
            success_probability=1.0
            - (1.0 - pl.col("rate").first()) ** pl.min_horizontal("max_attempts", "recorded").first(),
        )
    )
    values = np.zeros((len(PairRecords._fields), model.tasks.height, model.agents.height))
    values[:, replayed["task"], replayed["agent"]] = replayed.select(PairRecords._fields).to_numpy().T
    return PairRecords(values[0] > 0, *values[1:])


class Regret(NamedTuple):
    """Successes of a wave, or of several waves summed, over the tasks whose planned pair has a record.

    Attributes
    ----------
    observed_count
        Number of those tasks.
    plan, round_robin, oracle
        Tasks that succeeded under the plan, under round robin (mean over rotations), and under the best assignment.
    single_agent
        Tasks that succeed if one agent gets all, by agent, shape (m,).
    forecast_error, constraints, outcome_noise
        Parts of oracle - plan, in tasks; they sum to it.
    capacity_cost
        Expected successes lost to capacities even by the best assignment; not part of the regret.
    round_robin_makespan_ms
        Mean over rotations.
    """

    observed_count: int
    plan: float
    round_robin: float
    oracle: float
    single_agent: NDArray[np.float64]
    forecast_error: float
    constraints: float
    outcome_noise: float
    capacity_cost: float
    round_robin_makespan_ms: float


def sum_regrets(waves: Sequence[Regret]) -> Regret:
    """Sum the regrets of one or more waves."""
    return Regret(*(sum(column[1:], start=column[0]) for column in zip(*waves, strict=True)))


def decompose_regret(
    task: NDArray[np.int64],
    agent: NDArray[np.int64],
    records: PairRecords,
    *,
    planned_success: NDArray[np.float64],
    capacity: NDArray[np.int64],
    usable: NDArray[np.bool_] | None = None,
) -> Regret:
    """Compare a wave's plan with the best assignment of the same tasks, and find what the difference is due to.

    Parameters
    ----------
    task, agent
        Index of each task of the wave, by task id, and its planned agent, shape (n,).
    records
        Outcomes of all pairs.
    planned_success
        Planned success of every pair before the wave, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    usable
        Pairs that the tasks allow, shape (n, m); all if None.

    Notes
    -----
    Only tasks whose planned pair has a record count; the others keep their agent and its capacity. Round robin gives
    task i of the wave to agent (i + r) mod m, averaged over all m rotations r. For it, and for one agent alone, a pair
    without a record gets the mean of the task's recorded pairs.

    Let O be the outcomes, q the success probabilities (see `PairRecords`), F the planned success, A(S) the best
    assignment by scores S within capacities and usable recorded pairs, and S[a] the sum of scores over an
    assignment. The oracle A(O) knows every outcome. Then

        oracle - plan  =  O[A(O)] - O[plan]
        outcome noise  = (O[A(O)] - q[A(q)]) - (O[plan] - q[plan])
        forecast error =  q[A(q)] - q[A(F)]
        constraints    =  q[A(F)] - q[plan]

    and the last three sum to the first. Outcome noise is what the oracle gains by knowing outcomes instead of
    probabilities, minus what the plan gained from the same noise. Forecast error, never negative, is due to planned
    success that differs from the probabilities. Constraints are due to another objective than success or to a load
    limit; without them they are zero. If every pair has one record, its outcome is its probability, and the noise
    cannot be separated from forecast error.
    """
    row = np.flatnonzero(records.is_observed[task, agent])
    m = capacity.size
    free = capacity - np.bincount(np.delete(agent, row), minlength=m)
    task, agent, planned_success = task[row], agent[row], planned_success[row]
    seen, outcome, probability = records.is_observed[task], records.success[task], records.success_probability[task]
    usable = (seen if usable is None else seen & usable[row]) | (np.arange(m) == agent[:, None])

    def total(scores: NDArray[np.float64], assigned: NDArray[np.int64]) -> float:
        return float(scores[np.arange(row.size), assigned].sum())

    def best(scores: NDArray[np.float64]) -> NDArray[np.int64]:
        return solve(np.where(usable, scores, 0.0), free, usable).agent_index

    oracle, by_probability, by_forecast = best(outcome), best(probability), best(planned_success)
    if total(planned_success, by_forecast) <= total(planned_success, agent) + _SAME:
        by_forecast = agent  # the plan itself is one of the best by its forecast
    noise = total(outcome, oracle) - total(probability, by_probability)
    filled = _fill_missing(outcome, seen)
    return Regret(
        observed_count=row.size,
        plan=total(outcome, agent),
        round_robin=float(filled.mean(axis=1).sum()),
        oracle=total(outcome, oracle),
        single_agent=filled.sum(axis=0),
        forecast_error=total(probability, by_probability) - total(probability, by_forecast),
        constraints=total(probability, by_forecast) - total(probability, agent),
        outcome_noise=noise - (total(outcome, agent) - total(probability, agent)),
        capacity_cost=float(np.where(usable, probability, 0.0).max(axis=1).sum()) - total(probability, by_probability),
        round_robin_makespan_ms=_round_robin_makespan_ms(row, _fill_missing(records.duration_ms[task], seen)),
    )


def _fill_missing(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill in the mean of a row's recorded values where it has none; every row has one."""
    mean = np.where(seen, values, 0.0).sum(axis=1) / seen.sum(axis=1)
    return np.where(seen, values, mean[:, None])


def _round_robin_makespan_ms(place: NDArray[np.int64], duration_ms: NDArray[np.float64]) -> float:
    """Mean makespan over all m rotations, from positions in the wave (k,) and durations (k, m)."""
    k, m = duration_ms.shape
    agents = ((place + rotation) % m for rotation in range(m))
    return float(
        np.mean([np.bincount(own, weights=duration_ms[np.arange(k), own], minlength=m).max() for own in agents])
    )

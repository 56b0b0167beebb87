"""Planned against recorded: what a backtest says, measured from plans, forecasts and records alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19 import frames
from phase19.evaluation.hindsight import add_up
from phase19.inputs.thresholds import Rules
from phase19.timelines import largest, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phase19.evaluation.hindsight import Hindsight

__all__ = [
    "Backtest",
    "ForecastScores",
    "Losses",
    "Promise",
    "ReliabilityBin",
    "ReplayedWave",
    "Yardsticks",
    "measure",
    "score_forecasts",
]

_BINS = 10
_ROUNDING = 1e-12  # a rate on the edge of its interval is inside


class ReplayedWave(NamedTuple):
    """A wave planned and replayed: `frames.EXECUTIONS`, `frames.WAVE_DRAWS`, and its look back."""

    executions: pl.DataFrame
    draws: pl.DataFrame
    hindsight: Hindsight


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """Realised success rates over the tasks whose plan the records could answer; None where there are none.

    Attributes
    ----------
    plan, round_robin
        Of the plan; of round robin, mean over its rotations.
    best_single_agent, best_single_agent_id
        The agent that would have done best had it done every task, whatever the capacity.
    oracle
        The best assignment within the same capacity, chosen with the outcomes known: hindsight with luck, which no
        forecast can promise.
    gap_closed
        (plan - round_robin) / (oracle - round_robin); None where the two are the same.
    """

    plan: float | None
    round_robin: float | None
    best_single_agent: float | None
    best_single_agent_id: str | None
    oracle: float | None
    gap_closed: float | None


@dataclass(frozen=True, slots=True)
class Losses:
    """Parts of oracle - plan as success rates, which sum to `total`: see `look_back`.

    `capacity_cost` is no part of it: what the capacity costs the best plan by chances, and so oracle and plan alike.
    """

    total: float | None
    forecast_error: float | None
    constraints: float | None
    luck: float | None
    capacity_cost: float | None


@dataclass(frozen=True, slots=True)
class Promise:
    """Planned and actual success over the tasks the records could answer; a wave's, or of `wave` None all waves'.

    `success_rate_low` and `success_rate_high` bound the central 90 % of the plan's predictive draws.
    """

    wave: int | None
    task_count: int
    observed_count: int
    planned_success_rate: float | None
    actual_success_rate: float | None
    success_rate_low: float | None
    success_rate_high: float | None
    is_covered: bool | None
    makespan_ms: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Pairs whose forecast lies in [low, high), and in the last bin at its end too."""

    low: float
    high: float
    count: int
    mean_forecast: float | None
    mean_outcome: float | None


@dataclass(frozen=True, slots=True)
class ForecastScores:
    """How good the forecasts of all recorded pairs were, before the first wave, of their first recorded attempt.

    `skill` is 1 - Brier score over that of always forecasting `base_rate`, the success rate of the history.
    """

    pair_count: int
    brier_score: float | None
    log_loss: float | None
    base_rate: float
    skill: float | None
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a backtest found.

    Attributes
    ----------
    observed_share
        Planned tasks whose pair has a record, over all planned; None where nothing was planned.
    round_robin_makespan_ms
        Makespans of the waves under round robin added up, mean over rotations; beside `overall.makespan_ms`.
    interval_coverage
        Share of waves whose actual success lay in its interval; None where nothing ran.
    """

    observed_share: float | None
    success: Yardsticks
    losses: Losses
    overall: Promise
    round_robin_makespan_ms: float
    interval_coverage: float | None
    waves: tuple[Promise, ...]
    scores: ForecastScores


def measure(waves: Sequence[ReplayedWave], agent_ids: Sequence[str], scores: ForecastScores) -> Backtest:
    """Measure a plan against its replay.

    Parameters
    ----------
    waves
        At least one.
    agent_ids
        The m agents in natural order.
    scores
        Of the forecasts before the first wave.
    """
    promises = tuple(
        _promise(int(wave.executions["wave"][0]), wave.executions, wave.draws["success_rate"].to_numpy())
        for wave in waves
    )
    executions, draws = (pl.concat(frames) for frames in list(zip(*waves, strict=True))[:2])
    ran = pl.col("ran_count")
    pooled = draws.group_by("draw").agg(rate=(ran * pl.col("success_rate")).sum() / ran.sum())["rate"].to_numpy()
    overall = _promise(None, executions, pooled, makespan_ms=sum(promise.makespan_ms for promise in promises))
    hindsight = add_up([wave.hindsight for wave in waves])
    covered = [promise.is_covered for promise in promises if promise.is_covered is not None]
    return Backtest(
        observed_share=_ratio(overall.observed_count, overall.task_count),
        success=_yardsticks(hindsight, agent_ids),
        losses=_losses(hindsight),
        overall=overall,
        round_robin_makespan_ms=hindsight.round_robin_makespan_ms,
        interval_coverage=_ratio(sum(covered), len(covered)),
        waves=promises,
        scores=scores,
    )


def score_forecasts(forecast: NDArray[np.float64], outcome: NDArray[np.float64], base_rate: float) -> ForecastScores:
    """Score forecasts of p pairs.

    Parameters
    ----------
    forecast, outcome
        Probability of success, and 1 or 0, shape (p,).
    base_rate
        What is forecast without skill, fraction.

    Notes
    -----
    Brier score: mean (forecast - outcome)^2; log-loss: mean of -log of what was forecast for what happened, its
    forecasts kept `Rules.log_loss_floor` from 0 and 1. Bins of reliability are tenths of [0, 1].
    """
    count, floor = forecast.size, Rules().log_loss_floor
    bins = np.minimum((forecast * _BINS).astype(np.int64), _BINS - 1)
    counts, forecasts, outcomes = (np.bincount(bins, weights, _BINS) for weights in (None, forecast, outcome))
    happened = np.clip(np.where(outcome > 0, forecast, 1.0 - forecast), floor, 1.0 - floor)
    brier = _ratio(float(((forecast - outcome) ** 2).sum()), count)
    base_brier = _ratio(float(((base_rate - outcome) ** 2).sum()), count)
    return ForecastScores(
        pair_count=count,
        brier_score=brier,
        log_loss=_ratio(-float(np.log(happened).sum()), count),
        base_rate=base_rate,
        skill=None if brier is None or not base_brier else 1.0 - brier / base_brier,
        reliability=tuple(
            ReliabilityBin(k / _BINS, (k + 1) / _BINS, int(n), _ratio(float(p), int(n)), _ratio(float(y), int(n)))
            for k, (n, p, y) in enumerate(zip(counts, forecasts, outcomes, strict=True))
        ),
    )


def _promise(
    wave: int | None,
    executions: pl.DataFrame,
    drawn_rates: NDArray[np.float64],
    makespan_ms: float | None = None,
) -> Promise:
    ran = executions.filter(frames.has_run())
    actual = low = high = is_covered = None
    if ran.height:
        actual = int((ran["status"] == "completed").sum()) / ran.height
        low, high = np.quantile(drawn_rates, [0.05, 0.95]).tolist()
        is_covered = low - _ROUNDING <= actual <= high + _ROUNDING
    return Promise(
        wave=wave,
        task_count=executions.height,
        observed_count=ran.height,
        planned_success_rate=mean(ran["planned_success"]),
        actual_success_rate=actual,
        success_rate_low=low,
        success_rate_high=high,
        is_covered=is_covered,
        makespan_ms=(largest(ran["actual_end_time"]) or 0.0) if makespan_ms is None else makespan_ms,
    )


def _yardsticks(hindsight: Hindsight, agent_ids: Sequence[str]) -> Yardsticks:
    count, best = hindsight.observed_count, int(hindsight.solo.argmax())
    return Yardsticks(
        plan=_ratio(hindsight.plan, count),
        round_robin=_ratio(hindsight.round_robin, count),
        best_single_agent=_ratio(float(hindsight.solo[best]), count),
        best_single_agent_id=agent_ids[best] if count else None,
        oracle=_ratio(hindsight.oracle, count),
        gap_closed=_ratio(hindsight.plan - hindsight.round_robin, hindsight.oracle - hindsight.round_robin),
    )


def _losses(hindsight: Hindsight) -> Losses:
    parts = (
        hindsight.oracle - hindsight.plan,
        hindsight.forecast_error,
        hindsight.constraints,
        hindsight.luck,
        hindsight.capacity_cost,
    )
    return Losses(*(_ratio(part, hindsight.observed_count) for part in parts))


def _ratio(part: float, whole: float) -> float | None:
    """Part of the whole; None where that is nothing, to rounding."""
    return part / whole if abs(whole) > _ROUNDING else None

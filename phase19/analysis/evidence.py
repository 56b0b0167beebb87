"""What a wave says about its plan: how far each agent was from its forecasts, and how far chance would take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from phase19 import frames
from phase19.planning import positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.waves import PlayedWave

__all__ = ["agent_evidence", "risk_evidence"]

_INTERVAL = (0.05, 0.95)  # a 90 % interval


def agent_evidence(played: PlayedWave) -> pl.DataFrame:
    """Evidence of a wave by agent, idle ones too: `frames.AGENT_EVIDENCE`, in the order of the model's agents.

    Notes
    -----
    Success counts over the tasks that ran. Durations are compared attempt by attempt, given how each ended, so that
    an agent that fails more, and takes the longer for it, is not called slow as well.
    """
    model, executions = played.model, played.executions
    m, ran = model.agents.height, _has_run(executions)
    advantage = (executions["planned_success"] - executions["baseline_success"]).to_numpy()[ran]
    chance, agent = played.draws.success_probability[:, ran], played.draws.agent[ran]
    centred = advantage - (advantage.mean() if advantage.size else 0.0)
    return pl.DataFrame(
        {
            "wave": np.full(m, int(played.decisions["wave"][0])),
            "agent_id": model.agents["agent_id"],
            "capacity": played.plan.assigned.capacity,
            "slot_worth": played.plan.slot_worth,
            "success_variance": _summed_variance(chance, agent, m),
            "advantage_variance": _summed_variance(chance * centred, agent, m),
            **_lateness(played)._asdict(),
        },
        schema=frames.AGENT_EVIDENCE.dtypes,
    )


def risk_evidence(played: PlayedWave) -> pl.DataFrame:
    """Evidence of a wave by agent and risk level, where a task ran: `frames.RISK_EVIDENCE`.

    Notes
    -----
    What happened is ranked among the draws as one more of them; its two-sided p-value is a mid-p, half of what is
    equally likely counted as more extreme. With s draws none is below 1 / (s + 1).
    """
    executions = played.executions
    ran = _has_run(executions)
    rows = executions.filter(ran).select(
        pl.col("agent_id", "risk_level"),
        pl.Series("agent", played.draws.agent[ran]),
        level=pl.col("risk_level").replace_strict(frames.RISK_LEVELS, range(len(frames.RISK_LEVELS))),
        completed=pl.col("status") == "completed",
        busy_ms="actual_duration_ms",
    )
    if rows.is_empty():
        return frames.RISK_EVIDENCE.empty()
    cell = rows["agent"].to_numpy() * len(frames.RISK_LEVELS) + rows["level"].to_numpy()
    order = np.argsort(cell, kind="stable")
    first = np.flatnonzero(np.diff(cell[order], prepend=-1))
    column = np.flatnonzero(ran)[order]
    count = np.add.reduceat(played.draws.succeeded[:, column], first, axis=1, dtype=np.int64)
    busy = np.add.reduceat(played.draws.busy_ms[:, column], first, axis=1)
    happened = np.add.reduceat(rows["completed"].to_numpy()[order], first, dtype=np.int64)
    spent = np.add.reduceat(rows["busy_ms"].to_numpy()[order], first)
    fewest, most = np.quantile(count, _INTERVAL, axis=0, method="inverted_cdf")
    shortest, longest = np.quantile(busy, _INTERVAL, axis=0)
    return pl.DataFrame(
        {
            "wave": np.full(first.size, int(played.decisions["wave"][0])),
            "agent_id": rows["agent_id"].gather(order[first]),
            "risk_level": rows["risk_level"].gather(order[first]),
            "success_sd": count.std(axis=0),
            "success_low": fewest,
            "success_high": most,
            "success_p_value": _two_sided(count, happened),
            "busy_sd_ms": busy.std(axis=0),
            "busy_low_ms": shortest,
            "busy_high_ms": longest,
            "busy_p_value": _two_sided(busy, spent),
        },
        schema=frames.RISK_EVIDENCE.dtypes,
    )


class _Lateness(NamedTuple):
    """Log durations of attempts about their forecasts, summed by agent; arrays of shape (m,)."""

    duration_count: NDArray[np.int64]
    log_duration_residual_sum: NDArray[np.float64]
    log_duration_variance: NDArray[np.float64]
    log_duration_outcome_sd: NDArray[np.float64]
    log_duration_third_moment: NDArray[np.float64]


def _lateness(played: PlayedWave) -> _Lateness:
    """Compare the wave's timed attempts with what was forecast of their outcome, up to the limit of their task."""
    model, m = played.model.duration, played.model.agents.height
    attempts, tasks = played.execution.attempts, played.executions
    attempts = attempts.filter(pl.col("duration_ms") > 0, pl.col("task_id").is_in(tasks["task_id"].implode()))
    row = positions(attempts["task_id"], tasks["task_id"])
    task, agent = positions(tasks["task_id"], played.model.tasks["task_id"])[row], played.draws.agent[row]
    outcome = attempts["is_success"].to_numpy().astype(np.int64)
    mean = model.mean(task, agent) + model.outcome.shift()[outcome]
    expected = _limited_mean(model.residuals, outcome, np.log(model.limit_ms[task]) - mean)
    residual = np.log(attempts["duration_ms"].to_numpy()) - mean - expected

    # Attempts of one task share what is not known of it, those of one agent what is not known of that.
    tries = np.bincount(row, minlength=tasks.height)
    own = model.task.sd[task] ** 2 + model.pair.at(task, agent)[1] ** 2
    known = model.residuals.var(axis=1)[outcome] + tries[row] * own
    count = np.bincount(agent, minlength=m)
    return _Lateness(
        count,
        _total(residual, agent, m),
        _total(known, agent, m) + (count * model.agent.sd) ** 2,
        _total(model.outcome.sd * model.outcome.code[outcome], agent, m),
        _total((model.residuals**3).mean(axis=1)[outcome], agent, m),
    )


def _limited_mean(
    residuals: NDArray[np.float64], outcome: NDArray[np.int64], room: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of min(residual, room) after each outcome, from sorted residuals of shape (2, q); the shape of `room`."""
    q = residuals.shape[1]
    below = np.concatenate([np.zeros((2, 1)), np.cumsum(residuals, axis=1)], axis=1)
    mean = np.empty(room.shape)
    for ended in (0, 1):
        here = outcome == ended
        place = np.searchsorted(residuals[ended], room[here])
        stopped = q - place
        mean[here] = (below[ended, place] + np.where(stopped > 0, room[here], 0.0) * stopped) / q
    return mean


def _has_run(executions: pl.DataFrame) -> NDArray[np.bool_]:
    return executions["status"].is_in(frames.RAN).to_numpy()


def _total(values: NDArray[np.float64], agent: NDArray[np.int64], agents: int) -> NDArray[np.float64]:
    return np.bincount(agent, weights=values, minlength=agents).astype(np.float64)


def _summed_variance(values: NDArray[np.float64], agent: NDArray[np.int64], agents: int) -> NDArray[np.float64]:
    """Variance over draws of each agent's sum; columns (s, p) stand with their agents together, shape (agents,)."""
    variance = np.zeros(agents)
    if agent.size:
        first = np.flatnonzero(np.diff(agent, prepend=-1))
        variance[agent[first]] = np.add.reduceat(values, first, axis=1).var(axis=0, ddof=1)
    return variance


def _two_sided(draws: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two-sided mid-p of what was found, ranked as one more of the draws (s, cells); shape (cells,)."""
    below = (draws < found).sum(axis=0) + 0.5 * ((draws == found).sum(axis=0) + 1.0)
    share = below / (draws.shape[0] + 1.0)
    return np.asarray(2.0 * np.minimum(share, 1.0 - share))

"""What the analysis reads of a run's waves: executions, plans, draws, and each agent's distance from its forecasts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19 import frames
from phase19.forecasting.predictive import WaveDraws
from phase19.inputs.history import Previous
from phase19.wave import ExecutedWave, Wave, largest, mean, positions

_ROUNDING = 1e-9  # relative; a load that exceeds the limit by less keeps it
_INTERVAL = (0.05, 0.95)  # a 90 % interval


def wave_frames(wave: Wave) -> dict[str, pl.DataFrame]:
    """What the analysis reads of one wave, without the wave's large pair matrices.

    A wave that was never planned has decisions and unassigned tasks alone.
    """
    gated = {"decisions": wave.decisions, "unassigned": wave.unassigned}
    if not isinstance(wave, ExecutedWave):
        return gated
    draws = wave.scheduled_draws
    return {
        **gated,
        "executions": wave.executions,
        "wave_plans": _wave_plan(wave, draws),
        "wave_draws": draws.summary(wave.number, wave.executions),
        "agent_evidence": agent_evidence(wave, draws),
        "risk_evidence": risk_evidence(wave, draws),
    }


def analysis_frames(
    waves: Sequence[Mapping[str, pl.DataFrame]], heuristics: pl.DataFrame, previous: Previous | None
) -> dict[str, pl.DataFrame]:
    """Frames of a run, by the names under which the SQL reads them.

    Parameters
    ----------
    waves
        As :func:`wave_frames` returns them, all waves of the run.
    heuristics
        `frames.HEURISTICS`.
    previous
        An earlier run, whose weights and forecast errors are continued.
    """
    weights = {} if previous is None else previous.weights
    joined = {
        name: pl.concat([schema.empty(), *(wave[name] for wave in waves if name in wave)])
        for name, schema in _WAVE_SCHEMAS.items()
    }
    return {
        **joined,
        "decisions": joined["decisions"].sort("wave", "task_id"),
        "unassigned": joined["unassigned"].sort("wave", "task_id"),
        "heuristics": heuristics,
        "previous_weights": frames.PREVIOUS_WEIGHTS.conform(
            [{"heuristic_id": name, "weight": weight} for name, weight in weights.items()]
        ),
        "previous_convergence": frames.CONVERGENCE.empty() if previous is None else previous.convergence,
    }


_WAVE_SCHEMAS = {
    "decisions": frames.DECISIONS,
    "unassigned": frames.UNASSIGNED,
    "executions": frames.EXECUTIONS,
    "wave_plans": frames.WAVE_PLANS,
    "wave_draws": frames.WAVE_DRAWS,
    "agent_evidence": frames.AGENT_EVIDENCE,
    "risk_evidence": frames.RISK_EVIDENCE,
}


def _wave_plan(wave: ExecutedWave, draws: WaveDraws) -> pl.DataFrame:
    """One row of `frames.WAVE_PLANS`."""
    # Where nothing ran, the planned figures are over all tasks of the plan.
    ran = wave.executions if wave.executions.select(frames.has_run().any()).item() else _as_if_all_ran(wave.executions)
    planned = draws.summary(wave.number, ran)
    busy = np.bincount(
        wave.agent_index,
        weights=wave.forecast.planned_duration_ms[np.arange(wave.agent_index.size), wave.agent_index],
        minlength=wave.model.agents.height,
    )
    limit = wave.max_load_factor
    row = {
        "wave": wave.number,
        "strategy": str(wave.assignment.strategy),
        "planned_makespan_ms": mean(planned["makespan_ms"]),
        "planned_busy_ms": mean(planned["busy_ms"]),
        "timeline_end_ms": largest(wave.executions["scheduled_end_time"]) or 0.0,
        "solver": wave.assignment.algorithm,
        "objective": wave.objective,
        "upper_bound": wave.assignment.upper_bound,
        "gap": wave.gap,
        "moved_count": int((wave.agent_index != wave.assignment.assignment.agent_index).sum()),
        "is_load_limit_met": None if limit is None else bool(busy.max() <= limit * busy.mean() * (1 + _ROUNDING)),
        "unassigned_count": wave.unassigned.height,
        "learned_attempt_count": wave.learned_attempt_count,
    }
    return pl.DataFrame([row], schema=frames.WAVE_PLANS.dtypes)


def _as_if_all_ran(executions: pl.DataFrame) -> pl.DataFrame:
    return executions.with_columns(status=pl.lit("completed"))


def agent_evidence(wave: ExecutedWave, draws: WaveDraws) -> pl.DataFrame:
    """Evidence of a wave by agent, idle ones too: `frames.AGENT_EVIDENCE`, in the order of the model's agents.

    Notes
    -----
    Success counts over the tasks that ran. Durations are compared attempt by attempt, given how each ended, so
    that an agent is not called slow only because it fails more often.
    """
    model, executions = wave.model, wave.executions
    m, ran = model.agents.height, _has_run(executions)
    advantage = (executions["planned_success"] - executions["baseline_success"]).to_numpy()[ran]
    chance, agent = draws.success_probability[:, ran], draws.agent[ran]
    centred = advantage - (advantage.mean() if advantage.size else 0.0)
    return pl.DataFrame(
        {
            "wave": np.full(m, wave.number),
            "agent_id": model.agents["agent_id"],
            "capacity": wave.assignment.capacity,
            "slot_worth": wave.slot_value,
            "success_variance": _summed_variance(chance, agent, m),
            "advantage_variance": _summed_variance(chance * centred, agent, m),
            **_lateness(wave, draws)._asdict(),
        },
        schema=frames.AGENT_EVIDENCE.dtypes,
    )


def risk_evidence(wave: ExecutedWave, draws: WaveDraws) -> pl.DataFrame:
    """Evidence of a wave by agent and risk level, where a task ran: `frames.RISK_EVIDENCE`.

    Notes
    -----
    The actual value is ranked among the draws as one more draw; its two-sided p-value is a mid-p: equal values
    count half. With s draws none is below 1 / (s + 1).
    """
    executions = wave.executions
    ran = _has_run(executions)
    rows = executions.filter(ran).select(
        pl.col("agent_id", "risk_level"),
        pl.Series("agent", draws.agent[ran]),
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
    count = np.add.reduceat(draws.succeeded[:, column], first, axis=1, dtype=np.int64)
    busy = np.add.reduceat(draws.busy_ms[:, column], first, axis=1)
    happened = np.add.reduceat(rows["completed"].to_numpy()[order], first, dtype=np.int64)
    spent = np.add.reduceat(rows["busy_ms"].to_numpy()[order], first)
    fewest, most = np.quantile(count, _INTERVAL, axis=0, method="inverted_cdf")
    shortest, longest = np.quantile(busy, _INTERVAL, axis=0)
    return pl.DataFrame(
        {
            "wave": np.full(first.size, wave.number),
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


def _lateness(wave: ExecutedWave, draws: WaveDraws) -> _Lateness:
    """Compare the wave's timed attempts with what was forecast of their outcome, up to the limit of their task."""
    model, m = wave.model.duration, wave.model.agents.height
    attempts, tasks = wave.attempts, wave.executions
    attempts = attempts.filter(pl.col("duration_ms") > 0, pl.col("task_id").is_in(tasks["task_id"].implode()))
    row = positions(attempts["task_id"], tasks["task_id"])
    task, agent = positions(tasks["task_id"], wave.model.tasks["task_id"])[row], draws.agent[row]
    outcome = attempts["is_success"].to_numpy().astype(np.int64)
    mean = model.mean(task, agent) + model.outcome.shift()[outcome]
    expected = _limited_mean(model.residuals, outcome, np.log(model.limit_ms[task]) - mean)
    residual = np.log(attempts["duration_ms"].to_numpy()) - mean - expected

    # Attempts share the forecast error of their task, and that of their agent.
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

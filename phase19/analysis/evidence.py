"""Frames that the analysis reads of a run's waves: executions, plans, draws, and evidence by agent."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19 import frames
from phase19.balancing.local_search import busy_time
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.predictive import WaveDraws
from phase19.inputs.history import Previous
from phase19.wave import ExecutedWave, Wave, largest, mean, positions

_ROUNDING = 1e-9  # relative; a load above the limit by less than this still meets it
_FAR_SDS = 40.0  # standard deviations that no normal value reaches


def wave_frames(wave: Wave, first: ForecastModel) -> dict[str, pl.DataFrame]:
    """Return the frames that the analysis reads of one wave, without its large pair matrices.

    A wave that was not executed has only `decisions` and `unassigned`. `first` is the forecast before the run.
    """
    gated = {"decisions": wave.decisions, "unassigned": wave.unassigned}
    if not isinstance(wave, ExecutedWave):
        return gated
    draws, ran = wave.scheduled_draws, wave.executions
    # If nothing ran, the planned figures cover all tasks of the plan.
    is_idle = not ran.select(frames.has_run().any()).item()
    planned = draws.summary(wave.number, ran.with_columns(status=pl.lit("completed")) if is_idle else ran)
    return {
        **gated,
        "executions": wave.executions,
        "wave_plans": _wave_plan(wave, planned),
        "wave_draws": planned.clear() if is_idle else planned,
        "agent_evidence": agent_evidence(wave, draws, first),
    }


def analysis_frames(
    waves: Sequence[Mapping[str, pl.DataFrame]], heuristics: pl.DataFrame, previous: Previous | None
) -> dict[str, pl.DataFrame]:
    """Collect the frames of a run by the names that the SQL uses.

    Parameters
    ----------
    waves
        Results of :func:`wave_frames` for all waves of the run; the first wave was executed.
    heuristics
        `frames.HEURISTICS`.
    previous
        An earlier run whose heuristic weights are continued; None without one.
    """
    weights = {} if previous is None else previous.weights
    return {
        **{name: pl.concat([wave[name] for wave in waves if name in wave]) for name in waves[0]},
        "heuristics": heuristics,
        "previous_weights": pl.DataFrame(list(weights.items()), schema=frames.PREVIOUS_WEIGHTS.dtypes, orient="row"),
    }


def _wave_plan(wave: ExecutedWave, planned: pl.DataFrame) -> pl.DataFrame:
    """Make the row of `frames.WAVE_PLANS` for a wave; `planned` has its draws."""
    busy, limit = busy_time(wave.forecast.planned_duration_ms, wave.agent_index), wave.max_load_factor
    row = {
        "wave": wave.number,
        "strategy": str(wave.assignment.strategy),
        "planned_makespan_ms": mean(planned["makespan_ms"]),
        "planned_busy_ms": mean(planned["busy_ms"]),
        "timeline_end_ms": largest(wave.executions["scheduled_end_time"]) or 0.0,
        "solver": wave.assignment.algorithm,
        "objective": wave.objective,
        "upper_bound": bound if np.isfinite(bound := wave.assignment.upper_bound) else None,
        "gap": wave.gap,
        "capacity_cost": wave.assignment.capacity_cost,
        "moved_count": int((wave.agent_index != wave.assignment.assignment.agent_index).sum()),
        "is_load_limit_met": None if limit is None else bool(busy.max() <= limit * busy.mean() * (1 + _ROUNDING)),
        "unassigned_count": wave.unassigned.height,
    }
    return pl.DataFrame([row], schema=frames.WAVE_PLANS.dtypes)


def agent_evidence(wave: ExecutedWave, draws: WaveDraws, first: ForecastModel) -> pl.DataFrame:
    """Compute `frames.AGENT_EVIDENCE` of a wave: one row per agent of the model, in its order, idle agents included.

    Notes
    -----
    The variances cover the tasks that ran. Each attempt's duration is compared with the forecast for its outcome, so
    that an agent does not count as slow only because it fails more often. The wave's own forecast and the `first`
    forecast, made before the run, are evaluated at the pairs of the plan only.
    """
    model, executions = wave.model, wave.executions
    m, ran = model.agents.height, executions.select(frames.has_run()).to_series().to_numpy()
    advantage = (executions["planned_success"] - executions["baseline_success"]).to_numpy()[ran]
    centred = advantage - (advantage.mean() if advantage.size else 0.0)
    used, place = np.unique(draws.agent[ran], return_inverse=True)
    chance, is_own = draws.success_probability[:, ran], place[:, None] == np.arange(used.size)
    variance = np.zeros((2, m))
    variance[:, used] = [(chance @ own).var(axis=0, ddof=1) for own in (is_own, is_own * centred[:, None])]
    before = _duration_evidence(wave, draws.agent, first)
    return pl.DataFrame(
        {
            "wave": np.full(m, wave.number),
            "agent_id": model.agents["agent_id"],
            "capacity": wave.assignment.capacity,
            "slot_worth": wave.slot_value,
            "success_variance": variance[0],
            "advantage_variance": variance[1],
            **_first_success_evidence(wave, draws.agent, ran, first),
            **_duration_evidence(wave, draws.agent, model),
            **{f"first_{name}": values for name, values in before.items() if name != "log_duration_sum"},
        },
        schema=frames.AGENT_EVIDENCE.dtypes,
    )


def _first_success_evidence(
    wave: ExecutedWave, agent: NDArray[np.int64], ran: NDArray[np.bool_], first: ForecastModel
) -> dict[str, NDArray[np.float64]]:
    """Sum the success that `first` planned for each agent's tasks that ran, with the noise and the doubt; (m,)."""
    executions, m = wave.executions.filter(pl.Series(ran)), first.agents.height
    task, who = positions(executions["task_id"], first.tasks["task_id"]), agent[ran]
    planned, slope = first.task_success(task, who, executions["max_attempts"].to_numpy())
    # To first order: tasks of an agent share the error of its effect, and all tasks that of the features' coefficients.
    errors = first.success.errors(task, who)
    own, shared = slope[:, None] * errors.agent, slope[:, None] * errors.shared
    spread = planned * (1.0 - planned)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(who, values, m).astype(np.float64)

    return {
        "first_planned_success_sum": total(planned),
        "first_success_noise": total(np.maximum(spread - (own**2).sum(axis=1) - (shared**2).sum(axis=1), 0.0)),
        "first_success_skew": total(np.maximum(spread * (2.0 * planned - 1.0), 0.0)),
        "first_success_agent_sd": np.linalg.norm([total(values) for values in own.T], axis=0),
        "first_success_shared_sd": np.linalg.norm([total(values) for values in shared.T], axis=0),
    }


def _duration_evidence(
    wave: ExecutedWave, agent: NDArray[np.int64], forecast: ForecastModel
) -> dict[str, NDArray[np.generic]]:
    """Sum each agent's log durations minus their forecasts given the outcome, with the variance; shapes (m,)."""
    model, tasks, m = forecast.duration, wave.executions, forecast.agents.height
    attempts = wave.attempts.filter((pl.col("duration_ms") > 0) & pl.lit(np.isfinite(model.level)))
    row = positions(attempts["task_id"], tasks["task_id"])
    task, who = positions(tasks["task_id"], forecast.tasks["task_id"])[row], agent[row]
    outcome = attempts["is_success"].to_numpy().astype(np.int64)
    each = np.arange(outcome.size)
    times = model.residuals.times(model.mean(task, who), model.outcome.shift(), task, who)
    expected, variance = (moment[outcome, each] for moment in times.log_moments())
    errors = model.errors(task, who)
    log_ms = np.log(attempts["duration_ms"].to_numpy())
    # Attempts share the forecast error of their task, that of their agent, and that of the level and the outcomes.
    tries = np.bincount(row, minlength=tasks.height)[row]
    own = (errors.task**2).sum(axis=1) + errors.own**2

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(who, values, m).astype(np.float64)

    return {
        "duration_count": np.bincount(who, minlength=m),
        "log_duration_sum": total(log_ms),
        "log_duration_residual_sum": total(log_ms - expected),
        "log_duration_noise": total(variance + tries * own),
        "log_duration_agent_sd": np.linalg.norm([total(values) for values in errors.agent.T], axis=0),
        "log_duration_shared_sd": np.hypot(
            total(model.level_sd(task, who)), total(model.outcome.sd * model.outcome.code[outcome])
        ),
    }

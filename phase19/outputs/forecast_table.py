"""The forecast of every (task, agent) pair as a table: what `phase19 forecast` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from phase19.forecasting.model import Forecast, ForecastModel

__all__ = ["first_attempts", "forecast_table"]

_CHUNK_PAIRS = 1_000_000  # pairs forecast at once: about 100 MB of arrays
_FIELDS = {
    "success_probability": "success_probability",
    "success_low": "success_low",
    "success_high": "success_high",
    "duration_ms_p50": "duration_ms_p50",
    "duration_ms_p90": "duration_ms_p90",
    "confidence_delta": "planned_confidence_delta",
    "record_count": "record_count",
}


def first_attempts(model: ForecastModel, tasks: slice = slice(None)) -> Forecast:
    """Forecast the first attempt of every agent at some of the n tasks, shape (len(tasks), m)."""
    task = np.arange(model.tasks.height)[tasks, None]
    return model.forecast(task, np.arange(model.agents.height)[None, :], np.ones_like(task))


def forecast_table(model: ForecastModel) -> pl.DataFrame:
    """Forecast the first attempt of every pair.

    Returns
    -------
    polars.DataFrame
        task_id, agent_id, wave, success_probability with its 90 % interval (success_low, success_high),
        duration_ms_p50, duration_ms_p90, confidence_delta (expected), record_count. One row a pair, n x m rows:
        tasks in the model's order, by id in a run, and within a task agents in natural order.
    """
    step = max(1, _CHUNK_PAIRS // model.agents.height)
    chunks = [_rows(model, start, step) for start in range(0, max(model.tasks.height, 1), step)]
    return pl.concat(chunks)


def _rows(model: ForecastModel, start: int, count: int) -> pl.DataFrame:
    forecast = first_attempts(model, slice(start, start + count))._asdict()
    tasks, m = model.tasks.slice(start, count), model.agents.height
    task = np.repeat(np.arange(tasks.height), m)
    agent = np.tile(np.arange(m), tasks.height)
    return pl.DataFrame(
        {
            "task_id": tasks["task_id"].gather(task),
            "agent_id": model.agents["agent_id"].gather(agent),
            "wave": tasks["wave"].gather(task),
            **{name: forecast[field].ravel() for name, field in _FIELDS.items()},
        }
    )

"""The forecast of every (task, agent) pair as a table: what `phase19 forecast` writes."""

import numpy as np
import polars as pl

from phase19.forecasting.model import Forecast, ForecastModel

_CHUNK_PAIRS = 1_000_000  # pairs forecast at once: about 100 MB of arrays
_COLUMNS = "success_probability success_low success_high duration_ms_p50 duration_ms_p90 confidence_delta record_count"


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
    return pl.concat(_rows(model, start, step) for start in range(0, max(model.tasks.height, 1), step))


def _rows(model: ForecastModel, start: int, count: int) -> pl.DataFrame:
    forecast = first_attempts(model, slice(start, start + count))._asdict()
    forecast["confidence_delta"] = forecast["planned_confidence_delta"]
    pairs = model.tasks.slice(start, count).select("task_id", "wave").join(model.agents.select("agent_id"), how="cross")
    columns = {name: forecast[name].ravel() for name in _COLUMNS.split()}
    return pairs.select("task_id", "agent_id", "wave").with_columns(**columns)

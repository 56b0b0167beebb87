"""From frames to arrays, once: what the forecast models learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19.forecasting.effects import logit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURE_COUNT", "Records", "read_records"]

_RISK_FEATURES = ("LOW", "MEDIUM", "HIGH")
_CONFIDENCE = 1 + len(_RISK_FEATURES)  # its place among the features
FEATURE_COUNT = 3 + len(_RISK_FEATURES)


@dataclass(frozen=True, slots=True)
class Records:
    """Attempts as arrays of shape (r,), with the run's n tasks and m agents as indices.

    Tasks 0 ... n - 1 are the run's in the order given, later ones stand in the records alone. Agent -1 is an
    agent not recorded, or not among the run's. `pair` numbers the (task, agent) pairs, by which the rows are sorted.
    `features` (r, k) and `task_features` (n, k) are 1, LOW, MEDIUM, HIGH, centred log odds of confidence, and what a
    heuristic's boost adds to them.
    `task_level` and `task_category` number every task's risk level and category, -1 where it has none.
    `summary_trials`, `summary_rate` and the other `summary_` figures (m,) stand for agents without records.
    """

    task: NDArray[np.int64]
    agent: NDArray[np.int64]
    pair: NDArray[np.int64]
    outcome: NDArray[np.float64]
    duration_ms: NDArray[np.float64]
    is_censored: NDArray[np.bool_]
    confidence_delta: NDArray[np.float64]
    features: NDArray[np.float64]
    task_features: NDArray[np.float64]
    task_level: NDArray[np.int64]
    task_category: NDArray[np.int64]
    level_count: int
    category_count: int
    task_count: int
    population_tasks: float
    summary_trials: NDArray[np.float64]
    summary_rate: NDArray[np.float64]
    summary_duration_ms: NDArray[np.float64]
    summary_confidence_delta: NDArray[np.float64]

    @property
    def agent_count(self) -> int:
        """Number m of the run's agents."""
        return self.summary_trials.size

    def typical_features(self) -> NDArray[np.float64]:
        """Mean features of the run's tasks before this run's boosts, shape (k,); the intercept alone without tasks."""
        if not self.task_features.shape[0]:
            return np.asarray(np.eye(1, self.task_features.shape[1])[0])
        return np.append(self.task_features[:, :-1].mean(axis=0), 0.0)

    def pair_counts(self, tasks: int) -> NDArray[np.int64]:
        """Recorded attempts of each (task, agent) pair, shape (tasks, m)."""
        seen = (self.agent >= 0) & (self.task < tasks)
        flat = self.task[seen] * self.agent_count + self.agent[seen]
        return np.bincount(flat, minlength=tasks * self.agent_count).reshape(tasks, self.agent_count)


def read_records(attempts: pl.DataFrame, tasks: pl.DataFrame, agents: pl.DataFrame, population_tasks: float) -> Records:
    """Cross from Polars to numpy.

    Parameters
    ----------
    attempts
        `frames.ATTEMPTS`; the run's task says its risk level and category, and its confidence where an attempt
        records none.
    tasks, agents
        `frames.TASKS` and `frames.AGENTS`; their order is the order of the indices.
    population_tasks
        Tasks that Phase 18's summary speaks of.

    Notes
    -----
    Rows are sorted, so the order of the records changes no sum.
    """
    # Tasks of the records alone are numbered in the order of their ids, not of the records.
    codes = pl.concat([tasks["task_id"], attempts["task_id"].unique().sort()]).unique(maintain_order=True)
    task_codes = pl.DataFrame({"task_id": codes, "task": pl.int_range(codes.len(), eager=True)})
    agent_codes = pl.DataFrame({"agent_id": agents["agent_id"], "agent": pl.int_range(agents.height, eager=True)})
    known = tasks.select("task_id", task_risk="risk_level", task_confidence="confidence", task_category="category")
    rows = (
        attempts.lazy()
        .join(task_codes.lazy(), on="task_id", how="left")
        .join(agent_codes.lazy(), on="agent_id", how="left")
        .join(known.lazy(), on="task_id", how="left")
        .select(
            "task",
            pl.col("agent").fill_null(-1),
            "attempt",
            pl.col("is_success").cast(pl.Float64),
            "duration_ms",
            "is_censored",
            "confidence_delta",
            pl.coalesce("task_risk", "risk_level").alias("risk"),
            pl.coalesce("task_category", "category").alias("kind"),
            pl.coalesce("confidence_before", "task_confidence").alias("confidence"),
            "confidence_boost",
        )
        .sort(pl.all())
        .collect(engine="in-memory")
    )
    confidence = rows["confidence"].to_numpy().astype(float)
    planned = tasks["confidence"].to_numpy().astype(float)
    stated = confidence[~np.isnan(confidence)] if (~np.isnan(confidence)).any() else planned[~np.isnan(planned)]
    centre = float(_bounded_logit(stated).mean()) if stated.size else 0.0
    features, task_features = (
        _features(rows["risk"], confidence, rows["confidence_boost"].to_numpy(), centre),
        _features(tasks["risk_level"], planned, tasks["confidence_boost"].to_numpy(), centre),
    )
    _set_recorded_confidence(task_features, features, rows["task"].to_numpy(), ~np.isnan(confidence))
    levels, categories = (
        pl.concat([own, recorded]).drop_nulls().unique().sort()
        for own, recorded in ((tasks["risk_level"], rows["risk"]), (tasks["category"], rows["kind"]))
    )
    pair = rows["task"].to_numpy() * (agents.height + 1) + rows["agent"].to_numpy() + 1
    return Records(
        task=rows["task"].to_numpy(),
        agent=rows["agent"].to_numpy(),
        pair=np.cumsum(np.diff(pair, prepend=pair[:1]) != 0),
        outcome=rows["is_success"].to_numpy(),
        duration_ms=rows["duration_ms"].to_numpy().astype(float),
        is_censored=rows["is_censored"].to_numpy(),
        confidence_delta=rows["confidence_delta"].to_numpy().astype(float),
        features=features,
        task_features=task_features,
        task_level=_codes(tasks["risk_level"], rows["risk"], rows["task"], codes.len(), levels),
        task_category=_codes(tasks["category"], rows["kind"], rows["task"], codes.len(), categories),
        level_count=levels.len(),
        category_count=categories.len(),
        task_count=codes.len(),
        population_tasks=population_tasks,
        summary_trials=_summary(agents, "summary_task_count", 0.0),
        summary_rate=_summary(agents, "summary_success_rate", 0.0),
        summary_duration_ms=_summary(agents, "summary_duration_ms", np.nan),
        summary_confidence_delta=_summary(agents, "summary_confidence_delta", np.nan),
    )


def _summary(agents: pl.DataFrame, column: str, absent: float) -> NDArray[np.float64]:
    """A summary's figure for the agents judged by it, and `absent` for the others; shape (m,)."""
    judged = pl.col("evidence") == "summary"
    value = pl.when(judged).then(pl.col(column).cast(pl.Float64)).fill_null(absent)
    return agents.select(value).to_series().to_numpy().astype(float)


def _bounded_logit(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of a stated confidence, which may be a rounded 0 or 1: kept 0.02 away from both."""
    return logit(np.clip(confidence, 0.02, 0.98))


def _features(
    risk: pl.Series, confidence: NDArray[np.float64], boost: NDArray[np.float64], centre: float
) -> NDArray[np.float64]:
    levels = [(risk == level).fill_null(value=False).to_numpy().astype(float) for level in _RISK_FEATURES]
    known = np.nan_to_num(confidence, nan=0.5)
    own = _bounded_logit(known)
    stated = np.where(np.isnan(confidence), 0.0, own - centre)
    return np.column_stack([np.ones(confidence.size), *levels, stated, _bounded_logit(known + boost) - own])


def _set_recorded_confidence(
    task_features: NDArray[np.float64], features: NDArray[np.float64], task: NDArray[np.int64], told: NDArray[np.bool_]
) -> None:
    """Give a task with records the mean confidence it was attempted at, in place.

    What its records taught was learned at that confidence; to move it by what is stated since would count the same
    evidence twice.
    """
    here = told & (task < task_features.shape[0])
    count = np.bincount(task[here], minlength=task_features.shape[0])
    total = np.bincount(task[here], weights=features[here, _CONFIDENCE], minlength=task_features.shape[0])
    task_features[count > 0, _CONFIDENCE] = total[count > 0] / count[count > 0]


def _codes(own: pl.Series, recorded: pl.Series, task: pl.Series, count: int, names: pl.Series) -> NDArray[np.int64]:
    """Place of each task's name among `names`, -1 for none: the run's tasks first, then those of records alone."""
    place = pl.int_range(names.len(), eager=True)
    codes = np.full(count, -1)
    for index, values in ((task.to_numpy(), recorded), (np.arange(own.len()), own)):
        found = values.replace_strict(names, place, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        codes[index[found >= 0]] = found[found >= 0]
    return codes

"""Records of attempts as arrays, and what all fits share: groupings, effects and log odds."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.features import TaskScores, task_scores
from phase19.forecasting.retries import split_rate
from phase19.frames import EVIDENCE
from phase19.inputs.wire import Population

_RISK_LEVELS = ("LOW", "MEDIUM", "HIGH")
LEVELS = slice(1, 1 + len(_RISK_LEVELS))  # columns of the covariates
_CONFIDENCE = LEVELS.stop
COVARIATE_COUNT = 3 + len(_RISK_LEVELS)
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of rows: `index` (r,) is each row's group, -1 for none, of `size` groups whose effects have one scale."""

    index: Ints
    size: int
    scale: str

    def part(self, keep: Bools) -> "Grouping":
        """Select some of the rows."""
        return Grouping(self.index[keep], self.size, self.scale)

    def spread(self, effects: Floats) -> Floats:
        """Return each row's effect, 0 if it has no group; shape (r,)."""
        return np.asarray(np.append(effects, 0.0)[self.index])

    def gather(self, values: Floats) -> Floats:
        """Sum the rows' values by group, shape (size,)."""
        return np.asarray(np.bincount(self.index + 1, weights=values, minlength=self.size + 1)[1:], dtype=np.float64)


def sigmoid(x: Floats) -> Floats:
    """Logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def logit(p: Floats | float) -> Floats:
    """Log odds; `p` is kept 1e-12 away from 0 and 1."""
    p = np.clip(p, _TINY, 1.0 - _TINY)
    return np.asarray(np.log(p) - np.log1p(-p))


@dataclass(frozen=True, slots=True)
class Records:
    """Attempts as arrays of shape (r,), with the run's n tasks and m agents as indices.

    Tasks 0 ... n - 1 are the run's, in the order given; later tasks occur only in the records. Agent -1 stands for an
    agent that is not recorded or not in the run. `pair` numbers the (task, agent) pairs; rows are sorted by it.
    `weight` (r,) is the number of attempts that a row counts as in the success model, with the mean outcome `outcome`.
    `is_attempt` is false for rows of patterns and signals, which are no attempts.
    `covariates` (r, k) and `task_covariates` (n, k) are 1, LOW, MEDIUM, HIGH, centred log odds of confidence, and what
    a heuristic's boost adds to these log odds.
    `task_category` and `task_risk` are the numbers of every task's category and risk level, -1 for no category.
    `population_tasks` is the number of tasks behind Phase 18's summary, `population_rate` the success rate of first
    attempts in it.
    `summary_trials`, `summary_rate` and the other `summary_` figures (m,) describe agents judged by their summary;
    `summary_rate` is after retries, `summary_first_rate` that of first attempts.
    `retry_success` (m,) is the probability that an agent's retries, all together, succeed. It is known of agents judged
    by a summary, and NaN for the others.
    `scores` are those of the numeric features of every task.
    """

    task: Ints
    agent: Ints
    pair: Ints
    is_attempt: Bools
    outcome: Floats
    weight: Floats
    duration_ms: Floats
    is_censored: Bools
    confidence_delta: Floats
    covariates: Floats
    task_covariates: Floats
    task_category: Ints
    task_risk: Ints
    population_tasks: float
    population_rate: float
    summary_trials: Floats
    summary_rate: Floats
    summary_first_rate: Floats
    summary_duration_ms: Floats
    summary_confidence_delta: Floats
    retry_success: Floats
    scores: TaskScores

    @property
    def agent_count(self) -> int:
        """Number m of agents in the run."""
        return self.summary_trials.size

    @property
    def task_count(self) -> int:
        """Number of tasks, in the run or only in the records."""
        return self.task_category.size

    def typical_covariates(self) -> Floats:
        """Average the covariates of the run's tasks, without boosts, shape (k,); only the intercept without tasks."""
        if not self.task_covariates.shape[0]:
            return np.asarray(np.eye(1, COVARIATE_COUNT)[0])
        return np.append(self.task_covariates[:, :-1].mean(axis=0), 0.0)

    def pair_counts(self, tasks: int) -> tuple[Ints, Ints, Ints]:
        """Count the recorded attempts of pairs of the first tasks: task, agent and count of each, shape (k,)."""
        seen = self.is_attempt & (self.agent >= 0) & (self.task < tasks)
        pair, count = np.unique(self.task[seen] * self.agent_count + self.agent[seen], return_counts=True)
        return *np.divmod(pair, max(self.agent_count, 1)), count


def read_records(
    attempts: pl.DataFrame,
    tasks: pl.DataFrame,
    agents: pl.DataFrame,
    population: Population,
    evidence: pl.DataFrame | None = None,
    *,
    features: pl.DataFrame | None = None,
) -> Records:
    """Convert frames to arrays.

    Parameters
    ----------
    attempts
        `frames.ATTEMPTS`. The run's task replaces the risk level and category of an attempt, and its confidence is used
        if the attempt records none.
    tasks, agents
        `frames.TASKS` and `frames.AGENTS`; indices of tasks and agents are row numbers.
    population
        Phase 18's summary. If no agent has records at the start, it also judges the agents without a summary.
    evidence
        `frames.EVIDENCE`: rows that count only in the success model, as fractions of an attempt.
    features
        `frames.FEATURES` of tasks of the run or of the records.

    Notes
    -----
    Rows are sorted, so the order of the records does not change any sum. Retries of agents judged by a summary do not
    count in the success model: the summary says how they end, which is not how first attempts end.
    """
    # Tasks that occur only in the records are numbered by id, so the order of the records does not matter.
    weak = EVIDENCE.empty() if evidence is None else evidence
    recorded_ids = pl.concat([attempts["task_id"], weak["task_id"]]).unique().sort()
    codes = pl.concat([tasks["task_id"], recorded_ids]).unique(maintain_order=True)
    task_codes = pl.DataFrame({"task_id": codes, "task": pl.int_range(codes.len(), eager=True)})
    agent_codes = pl.DataFrame({"agent_id": agents["agent_id"], "agent": pl.int_range(agents.height, eager=True)})
    known = tasks.select("task_id", task_risk="risk_level", task_confidence="confidence", task_category="category")
    rows = (
        pl.concat([_as_rows(attempts), _as_rows(weak)], how="diagonal")
        .lazy()
        .join(task_codes.lazy(), on="task_id", how="left")
        .join(agent_codes.lazy(), on="agent_id", how="left")
        .join(known.lazy(), on="task_id", how="left")
        .select(
            "task",
            pl.col("agent").fill_null(-1),
            "attempt",
            "outcome",
            "weight",
            "duration_ms",
            pl.col("is_censored").fill_null(value=False),
            "confidence_delta",
            pl.coalesce("task_risk", "risk_level").alias("risk_level"),
            pl.coalesce("task_category", "category").alias("category"),
            pl.coalesce("confidence_before", "task_confidence").alias("confidence"),
            pl.col("confidence_boost").fill_null(0.0),
        )
        .sort(pl.all())
        .collect(engine="in-memory")
    )
    task, agent = rows["task"].to_numpy(), rows["agent"].to_numpy()
    population_rate, summary_first_rate, retry_success = _first_attempts(agents, population)
    is_attempt = rows["attempt"].is_not_null()
    is_retry = (rows["attempt"] > 1).fill_null(value=False).to_numpy() & ~np.isnan(
        np.append(retry_success, np.nan)[agent]
    )
    recorded = rows["confidence"].filter(is_attempt).drop_nulls()
    stated = (recorded if recorded.len() else tasks["confidence"].drop_nulls()).to_numpy().astype(float)
    centre = float(_bounded_logit(stated).mean()) if stated.size else 0.0
    covariates, task_covariates = _covariates(rows, centre), _covariates(tasks, centre)
    # A task with records keeps the mean confidence before its attempts. A confidence stated later may reflect these
    # attempts, so using it would count the same evidence twice.
    is_stated = (rows["confidence"].is_not_null() & is_attempt).to_numpy() & (task < tasks.height)
    count = np.bincount(task[is_stated], minlength=tasks.height)
    total = np.bincount(task[is_stated], weights=covariates[is_stated, _CONFIDENCE], minlength=tasks.height)
    task_covariates[count > 0, _CONFIDENCE] = total[count > 0] / count[count > 0]
    return Records(
        task=task,
        agent=agent,
        pair=np.cumsum((np.diff(task, prepend=task[:1]) != 0) | (np.diff(agent, prepend=agent[:1]) != 0)),
        is_attempt=is_attempt.to_numpy(),
        outcome=rows["outcome"].to_numpy(),
        weight=np.where(is_retry, 0.0, rows["weight"].to_numpy()),
        duration_ms=rows["duration_ms"].to_numpy().astype(float),
        is_censored=rows["is_censored"].to_numpy(),
        confidence_delta=rows["confidence_delta"].to_numpy().astype(float),
        covariates=covariates,
        task_covariates=task_covariates,
        task_category=_task_codes(tasks["category"], rows["category"], task, codes.len()),
        task_risk=_task_codes(tasks["risk_level"], rows["risk_level"].fill_null("MEDIUM"), task, codes.len()),
        population_tasks=population.task_count,
        population_rate=population_rate,
        summary_trials=_summary(agents, "summary_task_count", 0.0),
        summary_rate=_summary(agents, "summary_success_rate", 0.0),
        summary_first_rate=summary_first_rate,
        summary_duration_ms=_summary(agents, "summary_duration_ms", np.nan),
        summary_confidence_delta=_summary(agents, "summary_confidence_delta", np.nan),
        retry_success=retry_success,
        scores=task_scores(features, codes),
    )


def _as_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Give `frames.ATTEMPTS` or `frames.EVIDENCE` the columns `outcome` and `weight`."""
    if "success_rate" in rows.columns:
        return rows.rename({"success_rate": "outcome", "confidence": "weight"})
    return rows.with_columns(outcome=pl.col("is_success").cast(pl.Float64), weight=pl.lit(1.0))


def _first_attempts(agents: pl.DataFrame, population: Population) -> tuple[float, Floats, Floats]:
    """Success rate of first attempts of the population and of each agent, and that of the agent's retries together.

    Both are NaN for agents judged by records. Agents without records and summary are judged by the population's
    summary if nothing else is known, and otherwise like the agents with records.
    """
    is_only_evidence = population.task_count > 0 and not (agents["evidence"] == "records").any()
    retry_rate = np.nan if population.retry_rate is None else population.retry_rate
    of_all = population.success_rate if is_only_evidence else np.nan
    is_summary, is_none = (pl.col("evidence") == kind for kind in ("summary", "none"))
    rates = agents.select(
        rate=pl.when(is_summary).then("summary_success_rate").when(is_none).then(of_all).fill_null(np.nan),
        retry_rate=pl.when(is_summary).then("summary_retry_rate").fill_null(retry_rate),
    )
    first, together = split_rate(rates["rate"].to_numpy(), rates["retry_rate"].to_numpy())
    is_split = is_only_evidence or population.retry_rate is not None
    of_population, _ = split_rate(np.array([population.success_rate]), np.array([retry_rate]))
    return float(of_population[0]) if is_split else population.success_rate, first, together


def _summary(agents: pl.DataFrame, column: str, absent: float) -> Floats:
    """Return a figure of the agents judged by their summary, and `absent` for other agents; shape (m,)."""
    value = pl.when(pl.col("evidence") == "summary").then(pl.col(column).cast(pl.Float64)).fill_null(absent)
    return agents.select(value).to_series().to_numpy().astype(float)


def _bounded_logit(confidence: Floats) -> Floats:
    """Log odds of a stated confidence, kept 0.02 away from 0 and 1, which may be rounded values."""
    return logit(np.clip(confidence, 0.02, 0.98))


def _covariates(rows: pl.DataFrame, centre: float) -> Floats:
    """Compute the covariates of tasks or attempts, shape (rows, k); a missing confidence counts as average."""
    levels = [(rows["risk_level"] == level).fill_null(value=False).to_numpy().astype(float) for level in _RISK_LEVELS]
    confidence = rows["confidence"].fill_null(0.5).to_numpy().astype(float)
    own = _bounded_logit(confidence)
    stated = np.where(rows["confidence"].is_null().to_numpy(), 0.0, own - centre)
    boost = _bounded_logit(confidence + rows["confidence_boost"].to_numpy()) - own
    return np.column_stack([np.ones(rows.height), *levels, stated, boost])


def _task_codes(own: pl.Series, recorded: pl.Series, task: Ints, tasks: int) -> Ints:
    """Number of each task's category or risk level, -1 for none. The run's task counts, not its records."""
    names = pl.concat([own, recorded]).drop_nulls().unique().sort()
    codes = np.full(tasks, -1)
    for index, values in ((task, recorded), (np.arange(own.len()), own)):
        places = pl.int_range(names.len(), eager=True)
        found = values.replace_strict(names, places, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
        codes[index[found >= 0]] = found[found >= 0]
    return codes

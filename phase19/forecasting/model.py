"""Forecast of success, duration and confidence of every (task, agent) pair, with its uncertainty.

Other modules use only :class:`ForecastModel`: `forecast` for the plan, `world` for a dry run, `observe` to learn. A
different model would replace only the three fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Self

import numpy as np
import polars as pl

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.blocks import for_blocks, side_by_side
from phase19.forecasting.confidence import ConfidenceChanges, fit_confidence
from phase19.forecasting.durations import ASSUMED_MS, DurationPosterior, fit_durations
from phase19.forecasting.features import main_features
from phase19.forecasting.keyed_random import id_keys, normals
from phase19.forecasting.posterior import KnownPairs
from phase19.forecasting.quadrature import expected_within, first_attempt, interpolated_within, success_and_slope
from phase19.forecasting.records import logit, read_records, sigmoid
from phase19.forecasting.retries import each_retry
from phase19.forecasting.simulation import DrawnPredictors, World
from phase19.forecasting.success import SuccessPosterior, SuccessPriors, fit_success
from phase19.frames import STRINGS
from phase19.inputs.wire import Population

_Z90 = 1.6448536269514722  # 95 % quantile of the standard normal: a 90 % interval
_MANY_PAIRS = 300_000  # from which on expectations are interpolated
_CHUNK_PAIRS = 1_000_000  # pairs forecast at once: about 100 MB of arrays
_COLUMNS = "success_probability success_low success_high duration_ms_p50 duration_ms_p90 confidence_delta record_count"


@dataclass(frozen=True)
class Expected:
    """Expectations for pairs within the attempts allowed; arrays of one shape, (n, m) for all pairs or (p,)."""

    planned_success: Floats
    planned_success_variance: Floats
    planned_attempts: Floats
    planned_duration_ms: Floats
    planned_confidence_delta: Floats

    def part(self, keep: Bools) -> Self:
        """Select the tasks in `keep`, shape (n,)."""
        return type(self)(**{name: values[keep] for name, values in vars(self).items()})


@dataclass(frozen=True)
class Forecast(Expected):
    """Forecast of pairs: expectations within the attempts, the first attempt, and the number of records."""

    success_probability: Floats
    success_low: Floats
    success_high: Floats
    duration_ms_p50: Floats
    duration_ms_p90: Floats
    record_count: Ints


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """Posterior of success, duration and confidence for n tasks and m agents.

    Attributes
    ----------
    tasks, agents
        `frames.TASKS` and `frames.AGENTS`; indices of tasks and agents are row numbers.
    attempts, evidence
        `frames.ATTEMPTS` and `frames.EVIDENCE`: everything that the model has learned from.
    features
        `frames.FEATURES` of tasks; None without.
    feature_names
        Names of the features that differ between tasks.
    population
        Phase 18's summary, used without records.
    priors
        Priors of the success model.
    success, duration, gains
        Posteriors of success and duration, and mean changes of confidence.
    record_count
        Recorded attempts of pairs.
    first_success
        Posterior of success before the run's first wave.
    retry_success
        Probability that the retries of each agent, all together, succeed, shape (m,); NaN where records give it.
    """

    tasks: pl.DataFrame
    agents: pl.DataFrame
    attempts: pl.DataFrame
    evidence: pl.DataFrame | None
    features: pl.DataFrame | None
    feature_names: Sequence[str]
    population: Population
    priors: SuccessPriors
    success: SuccessPosterior
    duration: DurationPosterior
    gains: ConfidenceChanges
    record_count: KnownPairs
    first_success: SuccessPosterior
    retry_success: Floats

    @classmethod
    def fit(
        cls,
        tasks: pl.DataFrame,
        agents: pl.DataFrame,
        attempts: pl.DataFrame,
        population: Population,
        *,
        evidence: pl.DataFrame | None = None,
        features: pl.DataFrame | None = None,
        priors: SuccessPriors | None = None,
        before: Self | None = None,
    ) -> Self:
        """Fit all three parts to the records.

        Parameters
        ----------
        tasks, agents
            The run's n tasks (confidence without nulls) and m agents.
        attempts
            Recorded attempts, `frames.ATTEMPTS`, in any order.
        population
            Phase 18's summary, used without records.
        evidence
            `frames.EVIDENCE` of patterns and signals; none by default.
        features
            `frames.FEATURES` of tasks, planned or recorded; none by default.
        priors
            Priors of the success model; the defaults if None.
        before
            An earlier fit to fewer records, from which the fit starts. Its scales stay until the number of records has
            doubled.
        """
        priors = priors or SuccessPriors()
        records = read_records(attempts, tasks, agents, population, evidence, features=features)
        estimated_ms = tasks["estimated_duration_ms"].to_numpy().astype(float)
        success_before, duration_before = (before.success, before.duration) if before else (None, None)
        task, agent, count = records.pair_counts(tasks.height)
        success, duration = side_by_side(
            partial(fit_success, records, records.population_rate, priors, success_before),
            partial(fit_durations, records, population.duration_ms, estimated_ms, before=duration_before),
        )
        return cls(
            tasks=tasks,
            agents=agents,
            attempts=attempts,
            evidence=evidence,
            features=features,
            feature_names=records.scores.names,
            population=population,
            priors=priors,
            success=success,
            duration=duration,
            gains=fit_confidence(records, population.confidence_delta, population.success_rate),
            record_count=KnownPairs.of(task, agent, (tasks.height, agents.height), count),
            first_success=success if before is None else before.first_success,
            retry_success=records.retry_success,
        )

    def observe(self, attempts: pl.DataFrame) -> Self:
        """Return a new model that has also learned from these attempts (`frames.ATTEMPTS`)."""
        if attempts.is_empty():
            return self
        known = pl.concat([self.attempts, attempts])
        return self.fit(
            self.tasks,
            self.agents,
            known,
            self.population,
            evidence=self.evidence,
            features=self.features,
            priors=self.priors,
            before=self,
        )

    def expected(self, task: Ints, agent: Ints, allowed: Ints) -> Expected:
        """Compute the expectations for pairs, which is all that planning uses.

        Parameters
        ----------
        task, agent
            Indices that broadcast: (n, 1) and (1, m) for all pairs, (p,) and (p,) for some.
        allowed
            Attempts allowed, broadcast like `task`.

        Notes
        -----
        Expectations over the posterior use 15-point Gauss-Hermite quadrature, interpolated if there are many pairs. The
        product over retries is inside the integral, because what made the first attempt fail also affects the second.
        The planned duration is the sum over attempts of P(made) (p_k E(time of a success) + (1 - p_k) E(time of a
        failure)). Of the expected attempts, `planned_success` succeed and the others fail. If no time is known, each
        task counts as 1,000 ms.
        """
        if task.ndim > 1:
            shape = np.broadcast(task, agent).shape
            found = Expected(*(np.empty(shape) for _ in fields(Expected)))

            def expect(_block: int, rows: slice) -> None:
                part = self._expected(task[rows], agent, allowed[rows], is_large=task.size * agent.size > _MANY_PAIRS)
                for name, values in vars(found).items():
                    values[rows] = getattr(part, name)

            for_blocks(expect, *shape)
            return found
        return self._expected(task, agent, allowed, is_large=False)

    def _expected(self, task: Ints, agent: Ints, allowed: Ints, *, is_large: bool) -> Expected:
        mean, sd = self.success.moments(task, agent)
        retry = each_retry(self.retry_success[agent], allowed)
        if is_large and retry is None:
            planned, square, attempts = interpolated_within(mean, sd, allowed)
        else:
            planned, square, attempts = expected_within(mean, sd, allowed, retry)
        confidence = self.tasks["confidence"].to_numpy()[task]
        failed_ms, succeeded_ms = self.duration.times(task, agent).expected_ms()
        planned_ms = planned * succeeded_ms + (attempts - planned) * failed_ms
        gain, loss = (self.gains.expected(succeeded, agent, confidence) for succeeded in (True, False))
        return Expected(
            planned_success=np.clip(planned, 0.0, 1.0),
            planned_success_variance=np.maximum(square - planned**2, 0.0),
            planned_attempts=attempts,
            planned_duration_ms=np.where(np.isnan(planned_ms), ASSUMED_MS, planned_ms),
            planned_confidence_delta=planned * gain + (1.0 - planned) * loss,
        )

    def task_success(self, task: Ints, agent: Ints, allowed: Ints) -> tuple[Floats, Floats]:
        """Compute planned success as :meth:`expected`, and its slope in the log odds of the first attempt."""
        return success_and_slope(*self.success.moments(task, agent), allowed)

    def forecast(self, task: Ints, agent: Ints, allowed: Ints) -> Forecast:
        """Forecast pairs; parameters as in :meth:`expected`. Duration quantiles are those of the first attempt [ms].

        They are NaN if no time is known.
        """
        mean, sd = self.success.moments(task, agent)
        first = first_attempt(mean, sd)
        count: Ints = np.zeros(mean.shape, dtype=np.int64)
        self.record_count.put([count], task, agent)
        median_ms, high_ms = self.duration.times(task, agent).quantiles_ms(first, 0.5, 0.9)
        return Forecast(
            success_probability=np.clip(first, 0.0, 1.0),
            # The mean of a very uncertain pair may lie outside its quantiles, so the interval is widened to hold it.
            success_low=np.minimum(sigmoid(mean - _Z90 * sd), first),
            success_high=np.maximum(sigmoid(mean + _Z90 * sd), first),
            duration_ms_p50=median_ms,
            duration_ms_p90=high_ms,
            record_count=count,
            **vars(self.expected(task, agent, allowed)),
        )

    def feature_columns(self, task: Ints, agent: Ints) -> list[pl.Series]:
        """The columns `main_features` and `success_without_features` of `frames.PLANS` for p pairs."""
        main = pl.Series("main_features", [[]], STRINGS).new_from_index(0, task.size)
        without = pl.Series("success_without_features", [None], pl.Float64).new_from_index(0, task.size)
        if self.success.scales.get("features"):
            effects = self.success.fit.of_scores(task, agent)
            mean, sd = self.success.moments(task, agent)
            main = main_features(effects, self.feature_names)
            without = pl.Series(without.name, first_attempt(mean - effects.sum(axis=1), sd))
        return [main, without]

    def updated_confidence(self, task: Ints) -> Floats:
        """Compute the confidence in t tasks after boosts and the outcomes of earlier waves, shape (t,).

        Notes
        -----
        Phase 19 definition: its log odds change by as much as the task's forecast log odds, averaged over agents, have
        changed since before the first wave. The recorded confidence, which the safety gates read, does not change.
        """
        stated = (self.tasks["confidence"] + self.tasks["confidence_boost"]).to_numpy()[task]
        if self.success is self.first_success:
            return stated
        shift = self.success.task_log_odds(task) - self.first_success.task_log_odds(task)
        return np.where(shift == 0.0, stated, sigmoid(logit(stated) + shift))

    def world(self, seed: int) -> World:
        """Draw the true parameters of a dry run; random numbers depend on the ids, not on their order."""
        keys = id_keys(self.tasks["task_id"]), id_keys(self.agents["agent_id"])
        outcome_normal = normals(seed, "outcomems", np.zeros(1, np.uint64))[0]
        return World(
            seed=seed,
            task_keys=keys[0],
            agent_keys=keys[1],
            log_odds=DrawnPredictors(self.success, seed, "", *keys),
            log_ms=DrawnPredictors(self.duration, seed, "ms", *keys),
            outcome_log_ms=self.duration.outcome.shift(outcome_normal),
            residuals=self.duration.residuals,
            gains=self.gains,
            retry_success=self.retry_success,
        )


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
        duration_ms_p50, duration_ms_p90, confidence_delta (expected), record_count. One row per pair, n x m rows,
        sorted by task (in the model's order, by id in a run), then by agent in natural order.
    """
    step = max(1, _CHUNK_PAIRS // model.agents.height)
    return pl.concat(_rows(model, start, step) for start in range(0, max(model.tasks.height, 1), step))


def _rows(model: ForecastModel, start: int, count: int) -> pl.DataFrame:
    forecast = first_attempts(model, slice(start, start + count))
    pairs = model.tasks.slice(start, count).select("task_id", "wave").join(model.agents.select("agent_id"), how="cross")
    columns = vars(forecast) | {"confidence_delta": forecast.planned_confidence_delta}
    return pairs.select("task_id", "agent_id", "wave").with_columns(
        pl.Series(name, columns[name].ravel(), nan_to_null=True) for name in _COLUMNS.split()
    )

"""Fitting durations: effects of agents, tasks, pairs and outcomes out of records, some of them cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting.attempt_times import tabulate
from phase19.forecasting.censoring import beyond, residual_quantiles
from phase19.forecasting.durations import DurationPosterior, DurationSpread, OutcomeContrast, PairEffects
from phase19.forecasting.effects import Effects, variance_component

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.durations import DurationPriors
    from phase19.forecasting.records import Records

__all__ = ["fit_durations"]

_GRID_SIZE = 200  # points of the residual distribution; its mean is then exact to 0.1 % for log sd below 1
_LEAST_RESIDUALS = 50  # below this the normal distribution knows the tails better than the sample does
_ROUNDS = 40
_TOLERANCE = 3e-4  # a fit stands when durations move by less than 0.03 %, root mean square


class _Rows(NamedTuple):
    """Records with a time, arrays of shape (r,); `groups` are their agent (-1 for unknown), task and pair."""

    log_ms: NDArray[np.float64]
    groups: tuple[NDArray[np.int64], ...]
    outcome: NDArray[np.int64]
    is_censored: NDArray[np.bool_]


class _Fit(NamedTuple):
    """Level, effects of agents, tasks and pairs with their variances, the outcome's, and residual variances (2,)."""

    level: float
    effects: tuple[Effects, ...]
    variances: tuple[float, ...]
    outcome: OutcomeContrast
    residual_variance: NDArray[np.float64]

    def mean(self, rows: _Rows) -> NDArray[np.float64]:
        """Expected log duration of each record; agents not known are as the average."""
        parts = (_of(effects.mean, group) for effects, group in zip(self.effects, rows.groups, strict=True))
        return np.asarray(self.level + self.outcome.shift()[rows.outcome] + sum(parts))

    def variance(self, rows: _Rows) -> NDArray[np.float64]:
        """What is not known of each record's own effects."""
        parts = (_of(effects.sd**2, group) for effects, group in zip(self.effects, rows.groups, strict=True))
        return np.asarray(sum(parts))


def _of(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values of groups for each row, zero for group -1."""
    return np.append(values, 0.0)[group]


def fit_durations(
    records: Records,
    population_ms: float | None,
    estimated_ms: NDArray[np.float64],
    priors: DurationPriors,
    before: DurationPosterior | None = None,
) -> DurationPosterior:
    """Fit the posterior to the records' durations.

    Parameters
    ----------
    records
        Null and zero durations are no record; a censored one is known to be longer than recorded.
    population_ms
        Mean duration that Phase 18's summary states, where it does.
    estimated_ms
        Phase 16's estimate of each task in ms, NaN where there is none, shape (n,); it counts against the
        other estimates, not as an absolute time.
    before
        An earlier fit to fewer records, whose variances hold until the records have doubled: estimated anew from
        few records after every wave they would wander, and intervals with them.

    Notes
    -----
    Log duration = level + agent + task + pair + outcome + residual, each effect shrunk by its variance component,
    failures and successes with residuals of their own. Effects are fitted in turn until durations hardly move
    (backfitting: Buja, Hastie, Tibshirani, 1989); before each round a censored time is replaced by its mean beyond
    the limit, and the variance left about that counts as residual (EM: Schmee, Hahn, 1979). The level is held by one
    attempt at the mean recorded time, which matters only where attempts were censored, and keeps it finite where all
    were. O(r) a round.
    """
    timed = np.isfinite(records.duration_ms) & (records.duration_ms > 0)
    rows = _Rows(
        log_ms=np.log(records.duration_ms[timed]),
        groups=(records.agent[timed], records.task[timed], records.pair[timed]),
        outcome=records.outcome[timed].astype(np.int64),
        is_censored=records.is_censored[timed],
    )
    counts = (records.agent_count, records.task_count, int(records.pair.max(initial=-1)) + 1)
    held = before.spread if before is not None and rows.log_ms.size < 2 * before.spread.record_count else None
    fit = _start(rows, counts, population_ms, priors, held)
    mean = fit.mean(rows)
    for _ in range(_ROUNDS if rows.log_ms.size else 0):
        last = mean
        fit, mean = _round(fit, mean, rows, priors, is_held=held is not None)
        if ((mean - last) ** 2).mean() < _TOLERANCE**2:
            break
    n, m = estimated_ms.size, records.agent_count
    residuals = np.stack([_residual_grid(fit, mean, rows, outcome) for outcome in (0, 1)])
    outcome = fit.outcome
    return DurationPosterior(
        level=fit.level,
        agent=_summarised(records, fit),
        task=_estimated(fit, estimated_ms),
        pair=_pair_effects(records, fit, n, m),
        outcome=outcome,
        residuals=residuals,
        limit_ms=_limits(rows, records.task_count)[:n],
        table=tabulate(outcome.shift(), (outcome.sd * outcome.code) ** 2, residuals, sum(fit.variances)),
        spread=DurationSpread(
            agent=fit.variances[0],
            task=fit.variances[1],
            pair=fit.variances[2],
            residual=fit.residual_variance,
            record_count=held.record_count if held is not None else rows.log_ms.size,
        ),
    )


def _start(
    rows: _Rows,
    counts: tuple[int, ...],
    population_ms: float | None,
    priors: DurationPriors,
    held: DurationSpread | None,
) -> _Fit:
    """What is believed before the first round: the mean of the records, and no effects."""
    variances = held[:3] if held is not None else (priors.agent_variance, priors.task_variance, priors.pair_variance)
    won = np.bincount(rows.outcome, minlength=2)
    code = (won[::-1] + 1.0) / (won.sum() + 2.0) * np.array([1.0, -1.0])
    if rows.log_ms.size:
        level = float(rows.log_ms.mean())
    else:
        # The stated mean is one over agents, tasks and attempts: half their variance lies between it and the level.
        stated = np.log(population_ms or priors.duration_ms)
        level = float(stated) - 0.5 * (sum(variances) + priors.residual_variance)
    return _Fit(
        level,
        tuple(Effects(np.zeros(k), np.full(k, v**0.5)) for k, v in zip(counts, variances, strict=True)),
        variances,
        OutcomeContrast(0.0, priors.outcome_variance**0.5, code),
        held.residual if held is not None else np.full(2, priors.residual_variance),
    )


def _round(
    fit: _Fit, mean: NDArray[np.float64], rows: _Rows, priors: DurationPriors, *, is_held: bool
) -> tuple[_Fit, NDArray[np.float64]]:
    """One round: censored times in, every effect and variance out, and the mean of each record that they make."""
    log_ms, left = _imputed(fit, mean, rows)
    weight = 1.0 / fit.residual_variance[rows.outcome]
    level = float(log_ms.sum() + rows.log_ms.mean()) / (log_ms.size + 1.0)
    residual = log_ms - mean + (fit.level - level)
    effects, variances = [], []
    believed = (priors.agent_variance, priors.task_variance, priors.pair_variance)
    for place, (group, old) in enumerate(zip(rows.groups, fit.effects, strict=True)):
        own = residual + _of(old.mean, group)
        known = group >= 0 if group.min() < 0 else slice(None)
        variance = fit.variances[place]
        if not is_held:
            ones, weight_of_belief = np.ones_like(own[known]), priors.variance_weight
            variance = variance_component(
                group[known], own[known], ones, prior=believed[place], weight=weight_of_belief
            )
        new = _group_effects(group[known], own[known], weight[known], old.mean.size, variance)
        residual = own - _of(new.mean, group)
        effects.append(new)
        variances.append(variance)
    code = fit.outcome.code[rows.outcome]
    precision = float(weight @ code**2) + 1.0 / priors.outcome_variance
    contrast = float((weight * code) @ (residual + code * fit.outcome.mean)) / precision
    outcome = OutcomeContrast(contrast, precision**-0.5, fit.outcome.code)
    residual += code * (fit.outcome.mean - contrast)
    found = _Fit(level, tuple(effects), tuple(variances), outcome, fit.residual_variance)
    if is_held:
        return found, log_ms - residual
    square = residual**2 + left + found.variance(rows)
    pooled = (square.sum() + priors.residual_weight * priors.residual_variance) / (square.size + priors.residual_weight)
    own_sum, count = (np.bincount(rows.outcome, weights=part, minlength=2) for part in (square, np.ones_like(square)))
    by_outcome = (own_sum + priors.residual_weight * pooled) / (count + priors.residual_weight)
    return found._replace(residual_variance=by_outcome), log_ms - residual


def _imputed(fit: _Fit, mean: NDArray[np.float64], rows: _Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log times with the censored ones at their mean beyond the limit, and the variance left about that."""
    log_ms, left = rows.log_ms, np.zeros(rows.log_ms.size)
    stopped = rows.is_censored
    if stopped.any():
        sd = np.sqrt(fit.residual_variance[rows.outcome[stopped]])
        excess, variance = beyond((log_ms[stopped] - mean[stopped]) / sd)
        log_ms = log_ms.copy()
        log_ms[stopped] = mean[stopped] + sd * excess
        left[stopped] = sd**2 * variance
    return log_ms, left


def _group_effects(
    group: NDArray[np.int64],
    residual: NDArray[np.float64],
    weight: NDArray[np.float64],
    groups: int,
    variance: float,
) -> Effects:
    """Posterior of group means of residuals with precision `weight`, the groups' own variance being known."""
    precision = np.bincount(group, weights=weight, minlength=groups) + 1.0 / max(variance, 1e-12)
    return Effects(
        np.bincount(group, weights=weight * residual, minlength=groups) / precision, 1.0 / np.sqrt(precision)
    )


def _summarised(records: Records, fit: _Fit) -> Effects:
    """Agents known by their summary: its mean duration, as so many records beside those seen since."""
    told = np.isfinite(records.summary_duration_ms) & (records.summary_trials > 0) & (records.summary_duration_ms > 0)
    mean, sd = fit.effects[0].mean.copy(), fit.effects[0].sd.copy()
    # A mean over tasks and attempts, as the population's; the agent is the same in all of them.
    residual = float(np.abs(fit.outcome.code[::-1]) @ fit.residual_variance) + sum(fit.variances[1:])
    effect = np.log(records.summary_duration_ms[told]) - 0.5 * residual - fit.level
    weight, known = records.summary_trials[told] / residual, 1.0 / sd[told] ** 2
    mean[told] = (weight * effect + known * mean[told]) / (weight + known)
    sd[told] = 1.0 / np.sqrt(weight + known)
    return Effects(mean, sd)


def _estimated(fit: _Fit, estimated_ms: NDArray[np.float64]) -> Effects:
    """The run's tasks with Phase 16's estimates: against one another, and only as far as a task has no records."""
    mean, sd = (part[: estimated_ms.size] for part in fit.effects[1])
    estimate = np.log(estimated_ms, out=np.full(estimated_ms.size, np.nan), where=estimated_ms > 0)
    stated = np.isfinite(estimate)
    if not stated.any():
        return Effects(mean, sd)
    relative = np.where(stated, estimate - estimate[stated].mean(), 0.0)
    return Effects(mean + sd**2 / max(fit.variances[1], 1e-12) * relative, sd)


def _pair_effects(records: Records, fit: _Fit, tasks: int, agents: int) -> PairEffects:
    """Effects of the recorded pairs of the run's tasks and agents, by key."""
    ours = (records.agent >= 0) & (records.task < tasks)
    key, first = np.unique(records.task[ours] * agents + records.agent[ours], return_index=True)
    pair = records.pair[ours][first]
    return PairEffects(key, fit.effects[2].mean[pair], fit.effects[2].sd[pair], fit.variances[2] ** 0.5, agents)


def _residual_grid(fit: _Fit, mean: NDArray[np.float64], rows: _Rows, outcome: int) -> NDArray[np.float64]:
    """Sorted equally likely residuals after an outcome, shape (q,)."""
    levels = (np.arange(_GRID_SIZE) + 0.5) / _GRID_SIZE
    sd = float(fit.residual_variance[outcome] ** 0.5)
    own = rows.outcome == outcome
    if np.count_nonzero(own) < _LEAST_RESIDUALS:
        from scipy.special import ndtri

        normal = ndtri(levels)
        return np.asarray(normal * (sd / normal.std()))
    log_ms, left = _imputed(fit, mean, rows)
    grid = residual_quantiles((rows.log_ms - mean)[own], rows.is_censored[own], sd, levels)
    # Fitted effects leave residuals too small by the freedom they took, which the variance found allows for.
    square = float(((log_ms - mean) ** 2 + left)[own].mean())
    return np.asarray(grid * (sd / max(square, 1e-12) ** 0.5))


def _limits(rows: _Rows, tasks: int) -> NDArray[np.float64]:
    """Time at which each task's attempts are stopped, shape (tasks,).

    A task whose attempts were stopped has the longest of its times for limit, any other the longest of all times;
    where nothing ever was stopped there is none.
    """
    if not rows.is_censored.any():
        return np.full(tasks, np.inf)
    task, longest = rows.groups[1], np.full(tasks, -np.inf)
    np.maximum.at(longest, task, rows.log_ms)
    has_stopped = np.bincount(task[rows.is_censored], minlength=tasks) > 0
    return np.exp(np.where(has_stopped, longest, rows.log_ms.max()))

"""Time of one attempt at a task by an agent, given its outcome: the fit to records, and the distribution it gives."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Effects, Records

_RESIDUALS = 200  # points of the residual distribution; its mean is then exact to 0.1 % for log sd below 1
_FEW_RESIDUALS = 50  # below this a normal distribution knows the tails better than the sample does
_MAX_ROUNDS = 40
_TOLERANCE = 3e-4  # a fit has converged when durations change by less than 0.03 %, root mean square
_TINY = 1e-12
# Nodes of the table of times. In between it is linear: quantiles are off by less than 0.01 in probability (tested).
_TIME_NODES, _SD_NODES, _CHANCE_NODES = 97, 7, 65
_MIN_SD = 1e-3
_REACH_SDS = 4.0  # standard deviations of the normal part that the table holds; 3e-5 lie outside


@dataclass(frozen=True, slots=True)
class DurationPriors:
    """Prior variances of the log duration, and the duration without any record.

    `variance_weight` is the number of agents, tasks or pairs that the prior of their variance is worth,
    `residual_weight` the number of attempts. The first failure and the first success differ by
    Normal(0, `outcome_variance`).
    """

    duration_ms: float = 1000.0
    agent_variance: float = 0.1
    task_variance: float = 0.1
    pair_variance: float = 0.05
    outcome_variance: float = 0.25
    residual_variance: float = 0.2
    variance_weight: float = 10.0
    residual_weight: float = 5.0


class OutcomeContrast(NamedTuple):
    """Log duration of a failure less a success, Normal(mean, sd^2), and its share in each outcome.

    `code` holds the shares of a failure and of a success: one apart, and zero on average over the records.
    """

    mean: float
    sd: float
    code: Floats

    def shift(self, normal: Floats | float = 0.0) -> Floats:
        """Log duration after a failure and after a success, less the average attempt's; shape (..., 2)."""
        return np.asarray((self.mean + self.sd * np.asarray(normal))[..., None] * self.code)


class PairEffects(NamedTuple):
    """Posterior of the (task, agent) pairs' own effects: k pairs with records; all others have mean 0.

    `key` holds task x m + agent in ascending order, `mean` and `sd` the pairs' effects, all of shape (k,).
    """

    key: Ints
    mean: Floats
    sd: Floats
    unseen_sd: float
    agent_count: int

    def at(self, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Mean and standard deviation of pairs; indices broadcast."""
        key = np.asarray(task * self.agent_count + agent)
        if not self.key.size:
            return np.zeros(key.shape), np.full(key.shape, self.unseen_sd)
        place = np.minimum(np.searchsorted(self.key, key), self.key.size - 1)
        is_seen = self.key[place] == key
        return np.where(is_seen, self.mean[place], 0.0), np.where(is_seen, self.sd[place], self.unseen_sd)


class DurationSpread(NamedTuple):
    """Variances of agents', tasks' and pairs' effects and of residuals (2,), estimated on `record_count` records."""

    effects: tuple[float, ...]
    residual: Floats
    record_count: int


class TimeTable(NamedTuple):
    """Distribution of the log time of one attempt about its pair's mean.

    Attributes
    ----------
    log_time, sd
        Evenly spaced nodes, shapes (z,) and (v,); `sd` is that of a pair's mean.
    below
        Probability of less than a log time after a failure and after a success, shape (2, v, z).
    growth
        Mean of the exponentiated log time after each outcome, for a pair without variance, shape (2,).

    Notes
    -----
    The log time is normal about its forecast, plus a residual from a sample. Relative to the forecast's mean its
    distribution depends on the pair's variance and success probability alone, so a table over these two serves all
    pairs.
    """

    log_time: Floats
    sd: Floats
    below: Floats
    growth: Floats

    @classmethod
    def of(cls, outcome: OutcomeContrast, residuals: Floats, highest_variance: float) -> "TimeTable":
        """Tabulate pairs whose variance is between 0 and `highest_variance`; residuals have shape (2, q), q even."""
        from scipy.special import ndtr

        shift, shift_variance = outcome.shift(), (outcome.sd * outcome.code) ** 2
        nodes = np.linspace(0.0, max(np.sqrt(highest_variance), _MIN_SD), _SD_NODES)
        reach = _REACH_SDS * np.sqrt(highest_variance + shift_variance.max()) + 10 * _MIN_SD
        # Two neighbours of a fine sample are replaced by their mean: half the work, no visible change of a quantile.
        centre = shift[:, None] + residuals.reshape(2, -1, 2).mean(axis=-1)
        log_time = np.linspace(centre.min() - reach, centre.max() + reach, _TIME_NODES)
        sd = np.maximum(np.sqrt(nodes**2 + shift_variance[:, None]), _MIN_SD)
        gap = log_time[:, None] - centre[:, None, :]
        below = ndtr(gap[:, None] / sd[..., None, None]).mean(axis=-1)
        return cls(log_time, nodes, below, np.exp(shift + 0.5 * shift_variance) * np.exp(residuals).mean(axis=1))


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """Distribution of the time one attempt takes, for pairs of one shape.

    Attributes
    ----------
    table
        The distribution about a pair's mean.
    mean, variance
        Of the log duration of the pairs' average attempt, any shape.
    log_limit
        Log of the time at which an attempt is stopped, infinite for never; broadcast against `mean`.
    """

    table: TimeTable
    mean: Floats
    variance: Floats
    log_limit: Floats

    def expected_ms(self) -> tuple[Floats, Floats]:
        """Expected time of a failed and of a successful attempt [ms].

        Notes
        -----
        Without a limit, exp(mean + variance / 2) times the mean of the exponentiated residuals (smearing: Duan, 1983):
        neither the median nor the tail of a fitted normal. A limit L leaves the share E min(X, L) / E X of it, where
        E min(X, L) is the integral of P(X > x) up to L.
        """
        average = np.exp(self.mean + 0.5 * self.variance)
        failed, succeeded = average * self.table.growth[0], average * self.table.growth[1]
        if np.isfinite(self.log_limit).any():
            log_time, nodes, below, _ = self.table
            step = (log_time[1] - log_time[0]) * np.exp(log_time) * (1.0 - below)
            upto = np.cumsum(step, axis=-1) - 0.5 * step + np.exp(log_time[0])
            column = _place(np.minimum(self.log_limit - self.mean, log_time[-1]), log_time)
            row = _place(np.sqrt(self.variance), nodes)
            left = [_interpolate(upto[outcome] / upto[outcome, :, -1:], row, column) for outcome in (0, 1)]
            # Below the table every attempt is stopped: it takes the limit.
            limit_ms = np.exp(self.log_limit)
            failed, succeeded = np.minimum(failed * left[0], limit_ms), np.minimum(succeeded * left[1], limit_ms)
        return failed, succeeded

    def quantiles_ms(self, success_probability: Floats, *levels: float) -> list[Floats]:
        """Quantiles of the time over both outcomes [ms], given the success probability."""
        log_time, nodes, below, _ = self.table
        chance = np.linspace(0.0, 1.0, _CHANCE_NODES)
        mixed = below[0][:, None, :] + chance[:, None] * (below[1] - below[0])[:, None, :]
        row, column = _place(np.sqrt(self.variance), nodes), _place(success_probability, chance)
        return [
            np.exp(np.minimum(self.mean + _interpolate(_inverse(mixed, log_time, at), row, column), self.log_limit))
            for at in levels
        ]


_Place = tuple[Ints, Floats]


def _place(value: Floats, nodes: Floats) -> _Place:
    """Index of the node below each value, and the fraction of the way to the next; `nodes` are evenly spaced."""
    way = np.clip((value - nodes[0]) / (nodes[1] - nodes[0]), 0.0, nodes.size - 1.0)
    index = np.minimum(way.astype(np.int64), nodes.size - 2)
    return index, way - index


def _interpolate(table: Floats, row: _Place, column: _Place) -> Floats:
    """Interpolate bilinearly in a table (rows, columns)."""
    (i, u), (j, w) = row, column
    upper, lower = (table[at, j] + w * (table[at, j + 1] - table[at, j]) for at in (i, i + 1))
    return np.asarray(upper + u * (lower - upper))


def _inverse(below: Floats, log_time: Floats, level: float) -> Floats:
    """Quantiles at `level` of distributions (v, c, z), shape (v, c)."""
    after = np.clip((below < level).sum(axis=-1), 1, log_time.size - 1)[..., None]
    low, high = (np.take_along_axis(below, at, axis=-1)[..., 0] for at in (after - 1, after))
    way = np.clip((level - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
    return np.asarray(log_time[after[..., 0] - 1] + way * (log_time[1] - log_time[0]))


@dataclass(frozen=True, slots=True)
class DurationPosterior:
    """Normal posterior of the log duration of one attempt, and the distribution about it.

    Attributes
    ----------
    level
        Log duration of an average attempt, log ms.
    agent, task
        Effects of shapes (m,) and (n,), log ms.
    pair, outcome
        What a pair, and what failure or success adds, log ms.
    residuals
        Sorted equally likely residuals after a failure and after a success, shape (2, q), about zero.
    limit_ms
        Time at which an attempt at a task is stopped, infinite for never, shape (n,).
    table
        Distribution of one attempt's log duration about `mean`.
    spread
        Variances of the fit.

    Notes
    -----
    The forecast is the time an agent spends: the latent duration, or the limit if that is shorter. Effects are those
    of the latent duration, so that an agent often stopped is known to be slow.
    """

    level: float
    agent: Effects
    task: Effects
    pair: PairEffects
    outcome: OutcomeContrast
    residuals: Floats
    limit_ms: Floats
    table: TimeTable
    spread: DurationSpread

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the log duration of pairs' average attempt; indices broadcast."""
        return np.asarray(self.level + self.task.mean[task] + self.agent.mean[agent] + self.pair.at(task, agent)[0])

    def times(self, task: Ints, agent: Ints) -> AttemptTimes:
        """Distribution of the time one attempt takes, for pairs whose indices broadcast."""
        own, own_sd = self.pair.at(task, agent)
        return AttemptTimes(
            table=self.table,
            mean=self.level + self.task.mean[task] + self.agent.mean[agent] + own,
            variance=self.task.sd[task] ** 2 + self.agent.sd[agent] ** 2 + own_sd**2,
            log_limit=np.log(self.limit_ms)[task],
        )


def attempt_ms(
    log_ms: Floats, shift: Floats, residuals: Floats, limit_ms: Floats, *, is_success: Bools, uniforms: Floats
) -> Floats:
    """Time each attempt takes [ms]; the shape (k, ..., p) of `uniforms`.

    Parameters
    ----------
    log_ms
        Log duration of the pairs' average attempt, shape (..., p).
    shift
        What a failure and what a success adds, shape (..., 2).
    residuals, limit_ms
        As in :class:`DurationPosterior`, the limit that of the pairs' tasks, shape (p,).
    is_success, uniforms
        Outcome of each attempt, and random numbers in (0, 1) that choose its residual.
    """
    place = (uniforms * residuals.shape[1]).astype(np.int64)
    outcome = np.where(is_success, shift[..., 1:], shift[..., :1])
    latent_ms = np.exp(log_ms + outcome + residuals[is_success.astype(np.int64), place])
    return np.asarray(np.minimum(latent_ms, limit_ms))


def fit_durations(
    records: Records,
    population_ms: float | None,
    estimated_ms: Floats,
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
        Phase 16's estimate of each task in ms, NaN where there is none, shape (n,); it counts relative to the
        other estimates, not as an absolute time.
    before
        An earlier fit to fewer records, whose variances stay until the records have doubled: estimated again from
        few records after every wave they would drift, and intervals with them.

    Notes
    -----
    Log duration = level + agent + task + pair + outcome + residual, each effect shrunk by its variance component;
    failures and successes have their own residuals. Effects are fitted in turn until durations hardly change
    (backfitting: Buja, Hastie, Tibshirani, 1989); before each round a censored time is replaced by its mean above
    the limit, and the variance left about that counts as residual (EM: Schmee, Hahn, 1979). One attempt at the mean
    recorded time is added to the level, which keeps it finite where all attempts were censored. O(r) a round.
    """
    is_timed = np.isfinite(records.duration_ms) & (records.duration_ms > 0)
    recorded, is_censored = np.log(records.duration_ms[is_timed]), records.is_censored[is_timed]
    groups = (records.agent[is_timed], records.task[is_timed], records.pair[is_timed])
    outcome = records.outcome[is_timed].astype(np.int64)
    kept = before.spread if before is not None and recorded.size < 2 * before.spread.record_count else None
    prior_variances = (priors.agent_variance, priors.task_variance, priors.pair_variance)
    variances = list(prior_variances if kept is None else kept.effects)
    residual_variance = np.full(2, priors.residual_variance) if kept is None else kept.residual
    if recorded.size:
        level = float(recorded.mean())
    else:
        # The stated figure is a mean over agents, tasks and attempts: half their variance above the level.
        level = float(np.log(population_ms or priors.duration_ms)) - 0.5 * (sum(variances) + priors.residual_variance)
    counts = (records.agent_count, records.task_count, int(records.pair.max(initial=-1)) + 1)
    effects = [Effects(np.zeros(k), np.full(k, v**0.5)) for k, v in zip(counts, variances, strict=True)]
    count = np.bincount(outcome, minlength=2)
    code = (count[::-1] + 1.0) / (count.sum() + 2.0) * np.array([1.0, -1.0])
    contrast = OutcomeContrast(0.0, priors.outcome_variance**0.5, code)
    sign, mean = code[outcome], np.full(recorded.size, level)
    for _ in range(_MAX_ROUNDS if recorded.size else 0):
        log_ms, left = _impute_censored(recorded, mean, np.sqrt(residual_variance[outcome]), is_censored)
        weight, level_before = 1.0 / residual_variance[outcome], level
        level = float(log_ms.sum() + recorded.mean()) / (log_ms.size + 1.0)
        residual, own_variance = log_ms - mean + (level_before - level), np.zeros(recorded.size)
        for place, group in enumerate(groups):
            own = residual + _of(effects[place].mean, group)
            known = group >= 0 if group.min() < 0 else slice(None)
            if kept is None:
                prior, prior_weight = prior_variances[place], priors.variance_weight
                variances[place] = variance_component(group[known], own[known], prior=prior, weight=prior_weight)
            pull, known_weight = (np.bincount(group[known], w[known], counts[place]) for w in (weight * own, weight))
            precision = known_weight + 1.0 / max(variances[place], _TINY)
            effects[place] = Effects(pull / precision, 1.0 / np.sqrt(precision))
            residual = own - _of(effects[place].mean, group)
            own_variance += _of(effects[place].sd ** 2, group)
        information = float(weight @ sign**2) + 1.0 / priors.outcome_variance
        difference = float((weight * sign) @ (residual + sign * contrast.mean)) / information
        residual += sign * (contrast.mean - difference)
        contrast = OutcomeContrast(difference, information**-0.5, code)
        if kept is None:
            square, prior_weight = residual**2 + left + own_variance, priors.residual_weight
            pooled = (square.sum() + prior_weight * priors.residual_variance) / (square.size + prior_weight)
            by_outcome = np.bincount(outcome, weights=square, minlength=2)
            residual_variance = (by_outcome + prior_weight * pooled) / (count + prior_weight)
        last, mean = mean, log_ms - residual
        if ((mean - last) ** 2).mean() < _TOLERANCE**2:
            break
    residuals = _residuals(recorded, mean, outcome, is_censored, residual_variance)
    # A summary's mean is one over tasks and attempts, as the population's; the agent is the same in all of them.
    within = float(np.abs(code[::-1]) @ residual_variance) + sum(variances[1:])
    return DurationPosterior(
        level=level,
        agent=_with_summaries(effects[0], records, level, within),
        task=_with_estimates(effects[1], variances[1], estimated_ms),
        pair=_pair_effects(effects[2], variances[2], records, estimated_ms.size),
        outcome=contrast,
        residuals=residuals,
        limit_ms=_limits(recorded, groups[1], is_censored, records.task_count)[: estimated_ms.size],
        table=TimeTable.of(contrast, residuals, sum(variances)),
        spread=DurationSpread(tuple(variances), residual_variance, kept.record_count if kept else recorded.size),
    )


def _of(values: Floats, group: Ints) -> Floats:
    """Values of groups for each row, zero for group -1."""
    return np.append(values, 0.0)[group]


def variance_component(group: Ints, residual: Floats, *, prior: float, weight: float) -> float:
    """Variance between groups of rows (method of moments).

    Parameters
    ----------
    group
        Group of each row, shape (rows,), from 0.
    residual
        Observed less expected, shape (rows,).
    prior, weight
        The variance without any data, and the number of groups that it is worth.

    Notes
    -----
    E[(sum r)^2 - sum r^2] = tau^2 (n^2 - n) over groups of n > 1 rows; the variance within a group does not count.
    """
    total, square, count = (np.bincount(group, weights) for weights in (residual, residual**2, np.ones(group.size)))
    is_informative = count > 1
    if not is_informative.any():
        return prior
    groups = float(is_informative.sum())
    moment, scale = (total**2 - square)[is_informative].sum(), (count**2 - count).sum()
    return (weight * prior + groups * max(0.0, float(moment / scale))) / (weight + groups)


def _impute_censored(recorded: Floats, mean: Floats, sd: Floats, is_censored: Bools) -> tuple[Floats, Floats]:
    """Log times with censored ones at their mean above the limit, and the variance left about that."""
    log_ms, left, stopped = recorded.copy(), np.zeros(recorded.size), is_censored
    if stopped.any():
        excess, variance = truncated_normal_moments((recorded[stopped] - mean[stopped]) / sd[stopped])
        log_ms[stopped] = mean[stopped] + sd[stopped] * excess
        left[stopped] = sd[stopped] ** 2 * variance
    return log_ms, left


def truncated_normal_moments(limit: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of a standard normal that is known to exceed `limit`; the shape of `limit`.

    Notes
    -----
    With the inverse Mills ratio h = density(a) / P(Z > a): mean h, variance 1 - h (h - a).
    """
    from scipy.special import log_ndtr

    hazard = np.exp(-0.5 * limit**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-limit))
    return hazard, np.clip(1.0 - hazard * (hazard - limit), 0.0, 1.0)


def _with_summaries(agent: Effects, records: Records, level: float, within: float) -> Effects:
    """Agents' effects; one judged by its summary has its mean duration, as so many records beside those seen since."""
    stated = np.isfinite(records.summary_duration_ms) & (records.summary_trials > 0) & (records.summary_duration_ms > 0)
    mean, sd = agent.mean.copy(), agent.sd.copy()
    effect = np.log(records.summary_duration_ms[stated]) - 0.5 * within - level
    weight, known = records.summary_trials[stated] / within, 1.0 / sd[stated] ** 2
    mean[stated] = (weight * effect + known * mean[stated]) / (weight + known)
    sd[stated] = 1.0 / np.sqrt(weight + known)
    return Effects(mean, sd)


def _with_estimates(task: Effects, variance: float, estimated_ms: Floats) -> Effects:
    """Effects of the run's tasks; Phase 16's estimates count relative to each other, and less with more records."""
    mean, sd = (part[: estimated_ms.size] for part in task)
    estimate = np.log(estimated_ms, out=np.full(estimated_ms.size, np.nan), where=estimated_ms > 0)
    stated = np.isfinite(estimate)
    if not stated.any():
        return Effects(mean, sd)
    relative = np.where(stated, estimate - estimate[stated].mean(), 0.0)
    return Effects(mean + sd**2 / max(variance, _TINY) * relative, sd)


def _pair_effects(pair: Effects, variance: float, records: Records, tasks: int) -> PairEffects:
    """Effects of the recorded pairs of the run's tasks and agents, by key."""
    key, first = np.unique(records.task * records.agent_count + records.agent, return_index=True)
    ours = ((records.agent >= 0) & (records.task < tasks))[first]
    mean, sd = (part[records.pair[first[ours]]] for part in pair)
    return PairEffects(key[ours], mean, sd, variance**0.5, records.agent_count)


def _residuals(recorded: Floats, mean: Floats, outcome: Ints, is_censored: Bools, variance: Floats) -> Floats:
    """Sorted equally likely residuals after a failure and after a success, shape (2, q); a normal's if they are few."""
    levels = (np.arange(_RESIDUALS) + 0.5) / _RESIDUALS
    log_ms, left = _impute_censored(recorded, mean, np.sqrt(variance[outcome]), is_censored)
    found = []
    for own, sd in zip((outcome == 0, outcome == 1), np.sqrt(variance), strict=True):
        if np.count_nonzero(own) < _FEW_RESIDUALS:
            from scipy.special import ndtri

            quantiles = ndtri(levels)
            scale = quantiles.std()
        else:
            quantiles = residual_quantiles((recorded - mean)[own], is_censored[own], sd, levels)
            # Fitted effects leave residuals too small; the variance found allows for that.
            scale = max(((log_ms - mean) ** 2 + left)[own].mean(), _TINY) ** 0.5
        found.append(quantiles * (sd / scale))
    return np.stack(found)


def residual_quantiles(residual: Floats, is_censored: Bools, sd: float, levels: Floats) -> Floats:
    """Quantiles of residuals of which some are known to be larger than recorded.

    Parameters
    ----------
    residual, is_censored
        Shape (r,), r >= 2.
    sd
        Standard deviation of the normal that gives the tail above the largest uncensored residual.
    levels
        Ascending, in (0, 1).

    Notes
    -----
    The product-limit estimate (Kaplan, Meier, 1958), linear between residuals; without censored ones it is
    `numpy.quantile`. The order statistic i of r stands at level i / (r - 1).
    """
    from scipy.special import ndtr, ndtri

    order = np.lexsort((is_censored, residual))  # at equal times the censored attempt lasted longer
    value, ended = residual[order], ~is_censored[order]
    surviving = np.cumprod(1.0 - ended / np.arange(value.size, 0, -1))
    before = np.concatenate([[1.0], surviving[:-1]])
    place = (1.0 - before[ended]) * value.size / (value.size - 1.0)
    if ended[-1]:
        return np.interp(levels, place, value[ended])
    # The estimate stops short of 1: the rest lies above the last uncensored residual, in a normal's tail.
    last, reached = (value[ended][-1], 1.0 - surviving[-1]) if ended.any() else (value[0], 0.0)
    tail = (1.0 - levels) / (1.0 - reached) * ndtr(-last / sd)
    within = np.interp(levels, place, value[ended]) if ended.any() else np.full(levels.shape, last)
    return np.where(levels <= reached, within, -sd * ndtri(np.minimum(tail, ndtr(-last / sd))))


def _limits(log_ms: Floats, task: Ints, is_censored: Bools, tasks: int) -> Floats:
    """Time at which each task's attempts are stopped [ms], shape (tasks,).

    It is the longest time of a task whose attempts were stopped, the longest of all times for any other task, and
    infinite where nothing was ever stopped.
    """
    if not is_censored.any():
        return np.full(tasks, np.inf)
    longest = np.full(tasks, -np.inf)
    np.maximum.at(longest, task, log_ms)
    has_stopped = np.bincount(task[is_censored], minlength=tasks) > 0
    return np.exp(np.where(has_stopped, longest, log_ms.max()))

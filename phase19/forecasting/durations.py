"""Time of one attempt at a task by an agent, given its outcome: the fit to records, and the distribution it gives."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Effects, Records

_HALVINGS = 10  # a quantile is known to 1/2,000 of the distance of the outcomes' quantiles
_FEW_RESIDUALS = 50  # below this a normal knows the tails better than the sample does
_MAX_ROUNDS = 40
_TOLERANCE = 3e-4  # a fit has converged when durations change by less than 0.03 %, root mean square
_TINY = 1e-12


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


_PRIORS = DurationPriors()


class OutcomeContrast(NamedTuple):
    """Log duration of a failure less a success, Normal(mean, sd^2), and how it is split between the two.

    `code` holds the parts of a failure and of a success: they differ by 1, and average about 0 over the records.
    """

    mean: float
    sd: float
    code: Floats

    def shift(self, normal: Floats | float = 0.0) -> Floats:
        """Log duration after a failure and after a success, less the average attempt's; shape (..., 2)."""
        return np.asarray((self.mean + self.sd * np.asarray(normal))[..., None] * self.code)


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """Distribution of the time one attempt takes, for pairs of one shape.

    Attributes
    ----------
    mean, sd
        Of the normal log time after a failure and after a success, shape (2, ...).
    limit_ms
        Time at which an attempt is stopped, infinite for never; broadcast against `mean`.
    smearing
        As in :class:`DurationPosterior`, shape (2,).
    """

    mean: Floats
    sd: Floats
    limit_ms: Floats
    smearing: Floats

    def expected_ms(self) -> Floats:
        """Expected time of a failed and of a successful attempt [ms], shape (2, ...).

        Notes
        -----
        E min(X, L) = exp(mean + sd^2 / 2) P(Z < room - sd) + L P(Z > room) with room = (log L - mean) / sd, and the
        mean moved by `smearing`.
        """
        from scipy.special import ndtr

        mean = self.mean + self.smearing.reshape(2, *[1] * (self.mean.ndim - 1))
        room = (np.log(self.limit_ms) - mean) / self.sd
        limit_ms = np.where(np.isfinite(self.limit_ms), self.limit_ms, 0.0)
        return np.asarray(np.exp(mean + 0.5 * self.sd**2) * ndtr(room - self.sd) + limit_ms * ndtr(-room))

    def quantiles_ms(self, success_probability: Floats, *levels: float) -> list[Floats]:
        """Quantiles of the time over both outcomes [ms], given the success probability.

        Notes
        -----
        The quantile of the mixture lies between those of the two outcomes; bisection.
        """
        from scipy.special import ndtr, ndtri

        chance = np.stack([1.0 - success_probability, success_probability])
        found = []
        for level in levels:
            ends = self.mean + self.sd * ndtri(level)
            low, high = ends.min(axis=0), ends.max(axis=0)
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                is_below = (chance * ndtr((middle - self.mean) / self.sd)).sum(axis=0) < level
                low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
            found.append(np.minimum(np.exp(0.5 * (low + high)), self.limit_ms))
        return found


@dataclass(frozen=True, slots=True)
class DurationPosterior:
    """Normal posterior of the log duration of one attempt, and the distribution about it.

    Attributes
    ----------
    level
        Log duration of an average attempt, log ms.
    agent, task
        Effects of shapes (m,) and (n,), log ms.
    pair
        Effects of shape (n, m), log ms.
    outcome
        What failure or success adds, log ms.
    residual_sd
        Standard deviation of the log durations of one pair's attempts after a failure and after a success, shape (2,).
    smearing
        Correction that makes expected and drawn times right on average where they are not log-normal, added to the log
        times after a failure and after a success, log ms, shape (2,).
    limit_ms
        Time at which an attempt at a task is stopped, infinite for never, shape (n,).
    variances, estimated_on
        Variances of agents', tasks' and pairs' effects, and the number of records that they and `residual_sd` are
        estimated on.

    Notes
    -----
    The forecast is the time an agent spends: the latent duration, or the limit if that is shorter. Effects are those
    of the latent duration, so that an agent often stopped is known to be slow.
    """

    level: float
    agent: Effects
    task: Effects
    pair: Effects
    outcome: OutcomeContrast
    residual_sd: Floats
    smearing: Floats
    limit_ms: Floats
    variances: tuple[float, ...]
    estimated_on: int

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the log duration of pairs' average attempt; indices broadcast."""
        return np.asarray(self.level + self.task.mean[task] + self.agent.mean[agent] + self.pair.mean[task, agent])

    def times(self, task: Ints, agent: Ints) -> AttemptTimes:
        """Distribution of the time one attempt takes, for pairs whose indices broadcast."""
        mean = self.mean(task, agent)
        variance = self.task.sd[task] ** 2 + self.agent.sd[agent] ** 2 + self.pair.sd[task, agent] ** 2
        by_outcome = (self.outcome.sd * self.outcome.code) ** 2 + self.residual_sd**2
        return AttemptTimes(
            mean=np.stack([mean + shift for shift in self.outcome.shift()]),
            sd=np.sqrt(np.stack([variance + outcome for outcome in by_outcome])),
            limit_ms=self.limit_ms[task],
            smearing=self.smearing,
        )


def attempt_ms(
    log_ms: Floats, shift: Floats, residual_sd: Floats, limit_ms: Floats, *, is_success: Bools, normals: Floats
) -> Floats:
    """Time each attempt takes [ms]; the shape (k, ..., p) of `normals`.

    Parameters
    ----------
    log_ms
        Log duration of the pairs' average attempt, shape (..., p).
    shift
        What a failure and what a success adds, shape (..., 2).
    residual_sd, limit_ms
        As in :class:`DurationPosterior`, the limit that of the pairs' tasks, shape (p,).
    is_success, normals
        Outcome of each attempt, and a standard normal for its residual.
    """
    outcome = np.where(is_success, shift[..., 1:], shift[..., :1])
    latent_ms = np.exp(log_ms + outcome + np.where(is_success, residual_sd[1], residual_sd[0]) * normals)
    return np.asarray(np.minimum(latent_ms, limit_ms))


def fit_durations(
    records: Records,
    population_ms: float | None,
    estimated_ms: Floats,
    priors: DurationPriors = _PRIORS,
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
        An earlier fit to fewer records. Its variances stay until the records have doubled; estimated again after each
        wave, they would make intervals drift.

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
    prior_variances = (priors.agent_variance, priors.task_variance, priors.pair_variance)
    kept = before if before is not None and recorded.size < 2 * before.estimated_on else None
    variances = list(kept.variances if kept else prior_variances)
    residual_variance = kept.residual_sd**2 if kept else np.full(2, priors.residual_variance)
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
    # A summary's mean is one over tasks and attempts, as the population's; the agent is the same in all of them.
    within = float(np.abs(code[::-1]) @ residual_variance) + sum(variances[1:])
    return DurationPosterior(
        level=level,
        agent=_with_summaries(effects[0], records, level, within),
        task=_with_estimates(effects[1], variances[1], estimated_ms),
        pair=_pair_effects(effects[2], variances[2] ** 0.5, records, estimated_ms.size),
        outcome=contrast,
        residual_sd=np.sqrt(residual_variance),
        smearing=_smearing(recorded - mean, outcome, is_censored, residual_variance),
        limit_ms=_limits(recorded, groups[1], is_censored, records.task_count)[: estimated_ms.size],
        variances=tuple(variances),
        estimated_on=kept.estimated_on if kept else recorded.size,
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


def _smearing(residual: Floats, outcome: Ints, is_censored: Bools, variance: Floats) -> Floats:
    """Log of the mean of exponentiated residuals, less a normal's (Duan, 1983); 0 with few or stopped attempts."""
    found = np.zeros(2)
    for ended, variance_of_one in enumerate(variance):
        own = outcome == ended
        if own.sum() >= _FEW_RESIDUALS and not is_censored[own].any():
            # Fitted effects leave residuals too small; the variance found allows for that.
            scaled = residual[own] * (variance_of_one / max(residual[own].var(), _TINY)) ** 0.5
            found[ended] = np.log(np.exp(scaled).mean()) - 0.5 * variance_of_one
    return found


def _with_summaries(agent: Effects, records: Records, level: float, within: float) -> Effects:
    """Agents' effects; of an agent with only a summary, its mean duration counts as `summary_trials` records."""
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


def _pair_effects(recorded: Effects, unseen_sd: float, records: Records, tasks: int) -> Effects:
    """Effects of all pairs of the run's tasks and agents, shape (tasks, m)."""
    ours = (records.agent >= 0) & (records.task < tasks)
    task, agent, pair = records.task[ours], records.agent[ours], records.pair[ours]
    found = Effects(*(np.full((tasks, records.agent_count), unseen) for unseen in (0.0, unseen_sd)))
    found.mean[task, agent], found.sd[task, agent] = recorded.mean[pair], recorded.sd[pair]
    return found


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

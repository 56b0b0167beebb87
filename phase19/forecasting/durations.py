"""Time of one attempt at a task by an agent, given its outcome: the fit to records, and the distribution it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Effects, Grouping, Records

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
        Variances of the effects by name, and the number of records that they and `residual_sd` are estimated on.

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
    variances: Mapping[str, float]
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
    groupings = {
        "agent": Grouping(records.agent[is_timed], records.agent_count, "agent"),
        "task": Grouping(records.task[is_timed], records.task_count, "task"),
        "pair": Grouping(records.pair[is_timed], int(records.pair.max(initial=-1)) + 1, "pair"),
    }
    outcome = records.outcome[is_timed].astype(np.int64)
    prior_variances = {name: getattr(priors, f"{name}_variance") for name in groupings}
    kept = before if before is not None and recorded.size < 2 * before.estimated_on else None
    variances = dict(kept.variances if kept else prior_variances)
    residual_variance = kept.residual_sd**2 if kept else np.full(2, priors.residual_variance)
    # The stated figure is a mean over agents, tasks and attempts: half their variance above the level.
    stated = np.log(population_ms or priors.duration_ms) - 0.5 * (sum(variances.values()) + priors.residual_variance)
    level = typical = float(recorded.mean() if recorded.size else stated)
    effects: dict[str, Effects] = {}
    fitted = dict.fromkeys(groupings, np.zeros(recorded.size))
    count = np.bincount(outcome, minlength=2)
    code = (count[::-1] + 1.0) / (count.sum() + 2.0) * np.array([1.0, -1.0])
    contrast = OutcomeContrast(0.0, priors.outcome_variance**0.5, code)
    sign, mean = code[outcome], np.full(recorded.size, level)
    for _ in range(_MAX_ROUNDS):
        log_ms, left, sd = recorded.copy(), np.zeros(recorded.size), np.sqrt(residual_variance[outcome[is_censored]])
        excess, variance = truncated_normal_moments((recorded - mean)[is_censored] / sd)
        log_ms[is_censored], left[is_censored] = mean[is_censored] + sd * excess, sd**2 * variance
        weight, level_before = 1.0 / residual_variance[outcome], level
        level = float(log_ms.sum() + typical) / (log_ms.size + 1.0)
        residual, own_variance = log_ms - mean + (level_before - level), np.zeros(recorded.size)
        for name, group in groupings.items():
            own = residual + fitted[name]
            if kept is None:
                variances[name] = variance_component(group, own, prior_variances[name], priors.variance_weight)
            precision = group.gather(weight) + 1.0 / max(variances[name], _TINY)
            effects[name] = Effects(group.gather(weight * own) / precision, 1.0 / np.sqrt(precision))
            fitted[name] = group.spread(effects[name].mean)
            residual = own - fitted[name]
            own_variance += group.spread(effects[name].sd ** 2)
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
        if ((mean - last) ** 2).sum() <= _TOLERANCE**2 * mean.size:
            break
    # A summary's mean is one over tasks and attempts, as the population's; the agent is the same in all of them.
    within = float(np.abs(code[::-1]) @ residual_variance) + variances["task"] + variances["pair"]
    return DurationPosterior(
        level=level,
        agent=_with_summaries(effects["agent"], records, level, within),
        task=_with_estimates(effects["task"], variances["task"], estimated_ms),
        pair=_pair_effects(effects["pair"], variances["pair"] ** 0.5, records, estimated_ms.size),
        outcome=contrast,
        residual_sd=np.sqrt(residual_variance),
        smearing=_smearing(recorded - mean, outcome, is_censored, residual_variance),
        limit_ms=_limits(recorded, groupings["task"], is_censored)[: estimated_ms.size],
        variances=variances,
        estimated_on=kept.estimated_on if kept else recorded.size,
    )


def variance_component(group: Grouping, residual: Floats, prior: float, weight: float) -> float:
    """Variance between groups of rows (method of moments).

    Parameters
    ----------
    group
        The groups; rows of none do not count.
    residual
        Observed less expected, shape (rows,).
    prior, weight
        The variance without any data, and the number of groups that it is worth.

    Notes
    -----
    E[(sum r)^2 - sum r^2] = tau^2 (n^2 - n) over groups of n > 1 rows; the variance within a group does not count.
    """
    total, square, count = (group.gather(values) for values in (residual, residual**2, np.ones(residual.size)))
    is_informative = count > 1
    if not is_informative.any():
        return prior
    groups = float(is_informative.sum())
    moment, scale = (total**2 - square)[is_informative].sum(), (count**2 - count).sum()
    return (weight * prior + groups * max(0.0, float(moment / scale))) / (weight + groups)


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
    stated = estimated_ms > 0
    estimate = np.log(estimated_ms, out=np.zeros(estimated_ms.size), where=stated)
    relative = np.where(stated, estimate - estimate.sum() / max(stated.sum(), 1), 0.0)
    return Effects(mean + sd**2 / max(variance, _TINY) * relative, sd)


def _pair_effects(recorded: Effects, unseen_sd: float, records: Records, tasks: int) -> Effects:
    """Effects of all pairs of the run's tasks and agents, shape (tasks, m)."""
    ours = (records.agent >= 0) & (records.task < tasks)
    task, agent, pair = records.task[ours], records.agent[ours], records.pair[ours]
    found = Effects(*(np.full((tasks, records.agent_count), unseen) for unseen in (0.0, unseen_sd)))
    found.mean[task, agent], found.sd[task, agent] = recorded.mean[pair], recorded.sd[pair]
    return found


def _limits(log_ms: Floats, task: Grouping, is_censored: Bools) -> Floats:
    """Time at which each task's attempts are stopped [ms], shape (tasks,).

    It is the longest time of a task whose attempts were stopped, the longest of all times for any other task, and
    infinite where nothing was ever stopped.
    """
    if not is_censored.any():
        return np.full(task.size, np.inf)
    longest = np.full(task.size, -np.inf)
    np.maximum.at(longest, task.index, log_ms)
    has_stopped = task.gather(is_censored.astype(float)) > 0
    return np.exp(np.where(has_stopped, longest, log_ms.max()))

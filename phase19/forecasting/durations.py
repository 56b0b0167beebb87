"""Time of one attempt at a task by an agent, given its outcome: the fit to records, and the forecast distribution."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Effects, Grouping, Records

ASSUMED_MS = 1000.0  # planned time of a task if nothing tells how long tasks take
_HALVINGS = 10  # bisections: a quantile is exact to 1/2,000 of the distance between the outcomes' quantiles
_FEW_RESIDUALS = 50  # with fewer, a normal describes the tails better than the sample
_MAX_ROUNDS = 40  # most backfitting rounds
_TOLERANCE = 3e-4  # a fit has converged if durations change by less than 0.03 % (root mean square)
_STATED_SD = 0.5  # of a level that comes from a stated mean or from estimates, without any recorded time
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class DurationPriors:
    """Prior variances of the log duration.

    The prior of a variance counts as much as `variance_weight` agents, tasks or pairs, or `kind_weight` risk levels or
    categories, that of the residual variance as much as `residual_weight` attempts. Half of `task_variance` counts if
    tasks differ by risk level or category too. Log durations of failures and successes differ by Normal(0,
    `outcome_variance`).
    """

    agent_variance: float = 0.1
    risk_variance: float = 0.02
    category_variance: float = 0.03
    task_variance: float = 0.1
    pair_variance: float = 0.05
    outcome_variance: float = 0.25
    residual_variance: float = 0.2
    variance_weight: float = 10.0
    kind_weight: float = 2.0
    residual_weight: float = 5.0


_PRIORS = DurationPriors()


class OutcomeContrast(NamedTuple):
    """Log duration of a failure minus that of a success, Normal(mean, sd^2), and its split between the two.

    `code` is the part of a failure and of a success. The parts differ by 1 and average about 0 over the records.
    """

    mean: float
    sd: float
    code: Floats

    def shift(self, normal: Floats | float = 0.0) -> Floats:
        """Log duration of a failure and of a success, minus that of an average attempt; shape (..., 2)."""
        return np.asarray((self.mean + self.sd * np.asarray(normal))[..., None] * self.code)


@dataclass(frozen=True, slots=True)
class AttemptTimes:
    """Distribution of the time of one attempt, for pairs in an array of any shape.

    Attributes
    ----------
    mean, sd
        Mean and standard deviation of the normal log time of a failure and of a success, shape (2, ...).
    limit_ms
        Time at which an attempt is stopped, infinite if never; broadcast against `mean`.
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
        E min(X, L) = exp(mean + sd^2 / 2) P(Z < room - sd) + L P(Z > room), where room = (log L - mean) / sd and
        `mean` includes `smearing`.
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
        The quantile of the mixture lies between those of the two outcomes, and bisection finds it.
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
    """Normal posterior of the log duration of one attempt, and the distribution of attempts around it.

    Attributes
    ----------
    level
        Log duration of an average attempt, log ms; NaN if no record, summary or estimate tells any time.
    agent, task
        Effects of shapes (m,) and (n,), log ms; a task's includes those of its risk level and category.
    pair
        Effects of shape (n, m), log ms.
    outcome
        What a failure and a success add, log ms.
    residual_sd
        Standard deviation of the log duration of a pair's failures and of its successes, shape (2,).
    smearing
        Correction to the log time of a failure and of a success, log ms, shape (2,). It makes expected and drawn times
        right on average even if they are not log-normal.
    limit_ms
        Time at which an attempt at a task is stopped, infinite if never, shape (n,).
    variances, estimated_on
        Variances of the effects by name, and the number of records from which they and `residual_sd` were estimated.
    shared_sd
        Standard deviation of each task's log duration from errors that tasks share: that of the level, and those of the
        effects of risk levels and categories, log ms, shape (2, n).

    Notes
    -----
    The forecast is the time an agent spends: the latent duration, or the limit if that is shorter. Effects describe the
    latent duration, so an agent that is often stopped is forecast to be slow.
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
    shared_sd: Floats

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the log duration of an average attempt by each pair; indices broadcast."""
        return np.asarray(self.level + self.task.mean[task] + self.agent.mean[agent] + self.pair.mean[task, agent])

    def level_sd(self, task: Ints, agent: Ints) -> Floats:
        """Standard deviation of the log duration of pairs from the errors that tasks share.

        Notes
        -----
        Records of the agent, the task or its kind compensate an error of the level: an effect that is shrunk by B from
        its own records' mean carries 1 - B of the error, and 1 - B is its posterior variance over its prior variance.
        An error of a kind counts by the chance that two tasks of the run are of the same kind.
        """
        level, kinds = (sd[task] for sd in self.shared_sd)
        kept = np.minimum(1.0, self.agent.sd[agent] ** 2 / max(self.variances["agent"], _TINY))
        return np.asarray(np.hypot(level * kept, kinds))

    def times(self, task: Ints, agent: Ints) -> AttemptTimes:
        """Distribution of the time of one attempt by each pair; indices broadcast."""
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
    """Compute the time of each attempt [ms], in the shape (k, ..., p) of `normals`.

    Parameters
    ----------
    log_ms
        Log duration of an average attempt by each pair, shape (..., p).
    shift
        What a failure and a success add, log ms, shape (..., 2).
    residual_sd, limit_ms
        As in :class:`DurationPosterior`; the limits are those of the pairs' tasks, shape (p,).
    is_success, normals
        Outcome of each attempt, and the standard normal of its residual.
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
        Recorded attempts. Missing and zero durations are ignored; a censored duration is a lower bound.
    population_ms
        Mean duration in Phase 18's summary [ms]; None if it has none.
    estimated_ms
        Phase 16's estimate of each task [ms], NaN if there is none, shape (n,). Only the ratios of estimates count,
        unless no record and no summary has a time.
    priors
        Prior variances.
    before
        An earlier fit to fewer records. Its variances stay until the number of records has doubled, because new
        estimates after each wave would make intervals drift.

    Notes
    -----
    Log duration = level + agent + risk + category + task + pair + outcome + residual. Each effect is shrunk by its
    variance component. Risk levels, and categories, count if at least two have recorded times; tasks without a category
    are one more. Failures and successes have residuals of their own variance. Effects are fitted in turn until
    durations hardly change (backfitting: Buja, Hastie, Tibshirani, 1989). Before each round, a censored time is
    replaced by its mean above the limit, and its remaining variance counts as residual (EM: Schmee, Hahn, 1979). The
    level counts one additional attempt at the mean recorded time, which keeps it finite if all attempts were censored.
    Time is O(r) per round.
    """
    is_timed = np.isfinite(records.duration_ms) & (records.duration_ms > 0)
    recorded, is_censored = np.log(records.duration_ms[is_timed]), records.is_censored[is_timed]
    outcome = records.outcome[is_timed].astype(np.int64)
    task = Grouping(records.task[is_timed], records.task_count, "task")
    kinds = _kinds(records, task)
    groupings = {
        "agent": Grouping(records.agent[is_timed], records.agent_count, "agent"),
        **{name: Grouping(kind.index[task.index], kind.size, name) for name, kind in kinds.items()},
        "task": task,
        "pair": Grouping(records.pair[is_timed], int(records.pair.max(initial=-1)) + 1, "pair"),
    }
    prior_variances = {name: getattr(priors, f"{name}_variance") for name in groupings}
    prior_variances["task"] *= 0.5 if kinds else 1.0
    kept = before if before is not None and recorded.size < 2 * before.estimated_on else None
    variances = prior_variances | dict(kept.variances if kept else {})
    residual_variance = kept.residual_sd**2 if kept else np.full(2, priors.residual_variance)
    # A stated mean is over agents, tasks and attempts, so its log exceeds the level by half their variance.
    stated = _stated_log_ms(population_ms, records.summary_duration_ms, estimated_ms) - 0.5 * (
        sum(variances.values()) + priors.residual_variance
    )
    level = typical = float(recorded.mean() if recorded.size else stated)
    effects: dict[str, Effects] = {}
    fitted = dict.fromkeys(groupings, np.zeros(recorded.size))
    code = (np.bincount(outcome, minlength=2)[::-1] + 1.0) / (outcome.size + 2.0) * np.array([1.0, -1.0])
    contrast = OutcomeContrast(0.0, priors.outcome_variance**0.5, code)
    sign, mean = code[outcome], np.full(recorded.size, level)
    for _ in range(_MAX_ROUNDS):
        log_ms, left = _completed(recorded, is_censored, mean, residual_variance[outcome])
        weight, level_before = 1.0 / residual_variance[outcome], level
        level = float(log_ms.sum() + typical) / (log_ms.size + 1.0)
        residual, own_variance = log_ms - mean + (level_before - level), np.zeros(recorded.size)
        for name, group in groupings.items():
            own = residual + fitted[name]
            if name in kinds:
                known, signal = _of_kind(kinds[name], task, own + fitted["task"], weight, variances["task"])
            else:
                known, signal = group.gather(weight), group.gather(weight * own)
            if kept is None and name in kinds:
                variances[name] = likely_variance(known, signal, prior_variances[name], priors.kind_weight)
            elif kept is None:
                doubt = sum(effects[kind].sd[kinds[kind].index] ** 2 for kind in kinds) if group is task else 0.0
                variances[name] = variance_component(group, own, prior_variances[name], priors.variance_weight, doubt)
            precision = known + 1.0 / max(variances[name], _TINY)
            effects[name] = Effects(signal / precision, 1.0 / np.sqrt(precision))
            fitted[name] = group.spread(effects[name].mean)
            residual = own - fitted[name]
            if name not in kinds:
                own_variance += group.spread(effects[name].sd ** 2)
        information = float(weight @ sign**2) + 1.0 / priors.outcome_variance
        difference = float((weight * sign) @ (residual + sign * contrast.mean)) / information
        residual += sign * (contrast.mean - difference)
        contrast = OutcomeContrast(difference, information**-0.5, code)
        if kept is None:
            residual_variance = _residual_variance(residual**2 + left + own_variance, outcome, priors)
        last, mean = mean, log_ms - residual
        if ((mean - last) ** 2).sum() <= _TOLERANCE**2 * mean.size:
            break
    # An agent's summary is a mean over tasks and attempts, but not over agents.
    within = float(np.abs(code[::-1]) @ residual_variance) + sum(variances.values()) - variances["agent"]
    task_effects, shared_sd = _task_effects(
        effects,
        variances,
        kinds,
        estimated_ms,
        _mean_sd(groupings.values(), variances, float(residual_variance.max()), recorded.size),
    )
    return DurationPosterior(
        level=level,
        agent=_with_summaries(effects["agent"], records, level, within),
        task=task_effects,
        pair=_pair_effects(effects["pair"], variances["pair"] ** 0.5, records, estimated_ms.size),
        outcome=contrast,
        residual_sd=np.sqrt(residual_variance),
        smearing=_smearing(recorded - mean, outcome, is_censored, residual_variance),
        limit_ms=_limits(recorded, groupings["task"], is_censored)[: estimated_ms.size],
        variances=variances,
        estimated_on=kept.estimated_on if kept else recorded.size,
        shared_sd=shared_sd,
    )


def variance_component(
    group: Grouping, residual: Floats, prior: float, weight: float, doubt: Floats | float = 0.0
) -> float:
    """Estimate the variance between groups of rows (method of moments).

    Parameters
    ----------
    group
        The groups; rows without a group are ignored.
    residual
        Observed minus expected, shape (rows,).
    prior, weight
        The variance without data, and the number of groups that it counts as.
    doubt
        Variance of the error that the expected values of a group's rows share, shape (size,).

    Notes
    -----
    E[(sum r)^2 - sum r^2] = (tau^2 - doubt) (n^2 - n) for groups of n > 1 rows; the variance within a group cancels.
    If each group has one row, nothing tells the groups' variance from that of rows; if the prior is more than half of
    the sum of both, the half counts as what the groups say.
    """
    total, square, count = (group.gather(values) for values in (residual, residual**2, np.ones(residual.size)))
    is_informative = count > 1
    if not is_informative.any():
        half = 0.5 * float(residual @ residual) / max(residual.size, 1)
        return (weight * prior + residual.size * min(prior, half)) / (weight + residual.size)
    groups = float(is_informative.sum())
    pairs = count**2 - count
    moment, scale = (total**2 - square + pairs * doubt)[is_informative].sum(), pairs.sum()
    return (weight * prior + groups * max(0.0, float(moment / scale))) / (weight + groups)


def _completed(recorded: Floats, is_censored: Bools, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Replace each censored log time by its mean above the limit; return the times and their remaining variances."""
    log_ms, left, sd = recorded.copy(), np.zeros(recorded.size), np.sqrt(variance[is_censored])
    excess, share = truncated_normal_moments((recorded - mean)[is_censored] / sd)
    log_ms[is_censored], left[is_censored] = mean[is_censored] + sd * excess, sd**2 * share
    return log_ms, left


def _residual_variance(square: Floats, outcome: Ints, priors: DurationPriors) -> Floats:
    """Mean square of the residuals of failures and of successes, each shrunk to that of all; shape (2,)."""
    weight = priors.residual_weight
    pooled = (square.sum() + weight * priors.residual_variance) / (square.size + weight)
    count, total = (np.bincount(outcome, weights, minlength=2) for weights in (None, square))
    return np.asarray((total + weight * pooled) / (count + weight))


def _kinds(records: Records, task: Grouping) -> dict[str, Grouping]:
    """Group all tasks by risk level and by category, where the timed attempts have at least two."""
    codes = {"risk": records.task_risk, "category": records.task_category}
    recorded = {name: own for name, own in codes.items() if np.unique(own[task.index]).size > 1}
    return {name: Grouping(own + 1, int(own.max()) + 2, name) for name, own in recorded.items()}


def _of_kind(
    kind: Grouping, task: Grouping, residual: Floats, weight: Floats, task_variance: float
) -> tuple[Floats, Floats]:
    """Precision of each kind's mean, averaged over the tasks' own effects, and the mean times this precision."""
    total = task.gather(weight)
    share = 1.0 / (1.0 + task_variance * total)  # a task counts at most as one, however many attempts it has
    return kind.gather(share * total), kind.gather(share * task.gather(weight * residual))


def likely_variance(known: Floats, signal: Floats, prior: float, weight: float) -> float:
    """Estimate the variance between few groups of very different size (EM).

    Parameters
    ----------
    known, signal
        Precision of each group's mean, 0 without records, and the mean times this precision, shape (groups,).
    prior, weight
        The variance without data, and the number of groups that it counts as.
    """
    variance, is_recorded = prior, known > 0
    for _ in range(_MAX_ROUNDS):
        precision = known + 1.0 / max(variance, _TINY)
        square = ((signal / precision) ** 2 + 1.0 / precision)[is_recorded]
        variance = float(weight * prior + square.sum()) / (weight + square.size)
    return variance


def truncated_normal_moments(limit: Floats) -> tuple[Floats, Floats]:
    """Compute mean and variance of a standard normal that exceeds `limit`, in the shape of `limit`.

    Notes
    -----
    For a limit a, let h = density(a) / P(Z > a), the inverse Mills ratio. The mean is h, the variance 1 - h (h - a).
    """
    from scipy.special import log_ndtr

    hazard = np.exp(-0.5 * limit**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(-limit))
    return hazard, np.clip(1.0 - hazard * (hazard - limit), 0.0, 1.0)


def _smearing(residual: Floats, outcome: Ints, is_censored: Bools, variance: Floats) -> Floats:
    """Log of the mean of exp(residual), minus that of a normal (Duan, 1983); 0 if few attempts or any was stopped."""
    found = np.zeros(2)
    for ended, variance_of_one in enumerate(variance):
        own = outcome == ended
        if own.sum() >= _FEW_RESIDUALS and not is_censored[own].any():
            # Residuals from fitted effects are too small, so scale them to the estimated variance.
            scaled = residual[own] * (variance_of_one / max(residual[own].var(), _TINY)) ** 0.5
            found[ended] = np.log(np.exp(scaled).mean()) - 0.5 * variance_of_one
    return found


def _stated_log_ms(population_ms: float | None, summary_ms: Floats, estimated_ms: Floats) -> float:
    """Mean log time in the first of these that has any: summary, agents' summaries, estimates; NaN without any."""
    for stated_ms in (np.array([population_ms or np.nan]), summary_ms, estimated_ms):
        if (is_known := stated_ms > 0).any():
            return float(np.log(stated_ms[is_known]).mean())
    return float("nan")


def _mean_sd(groupings: Iterable[Grouping], variances: Mapping[str, float], residual: float, count: int) -> float:
    """Standard deviation of the mean recorded log time, from the variances of effects and residuals."""
    if not count:
        return _STATED_SD
    sizes = [(variances[group.scale], group.gather(np.ones(count))) for group in groupings]
    return float(np.sqrt(residual / count + sum(own * (n**2).sum() for own, n in sizes) / count**2))


def _with_summaries(agent: Effects, records: Records, level: float, within: float) -> Effects:
    """Update the effects of agents with only a summary: its mean duration counts as `summary_trials` records."""
    stated = np.isfinite(records.summary_duration_ms) & (records.summary_trials > 0) & (records.summary_duration_ms > 0)
    mean, sd = agent.mean.copy(), agent.sd.copy()
    effect = np.log(records.summary_duration_ms[stated]) - 0.5 * within - level
    weight, known = records.summary_trials[stated] / within, 1.0 / sd[stated] ** 2
    mean[stated] = (weight * effect + known * mean[stated]) / (weight + known)
    sd[stated] = 1.0 / np.sqrt(weight + known)
    return Effects(mean, sd)


def _task_effects(
    effects: Mapping[str, Effects],
    variances: Mapping[str, float],
    kinds: Mapping[str, Grouping],
    estimated_ms: Floats,
    mean_sd: float,
) -> tuple[Effects, Floats]:
    """Effects of the run's tasks with those of their kinds (risk levels and categories), and the `shared_sd`.

    Only ratios of Phase 16's estimates count: those between the tasks of a kind less the more records the task has,
    those between kinds less the more records the kind has.
    """
    n = estimated_ms.size
    mean, sd = (part[:n] for part in effects["task"])
    left = sd**2 / max(variances["task"], _TINY)  # weight of what is known without the task's own records
    cell, cells = np.zeros(n, np.int64), 1
    shared, doubt, common, level_sd = np.zeros(n), np.zeros(n), np.zeros(n), np.full(n, mean_sd)
    for name, kind in kinds.items():
        own = kind.index[:n]
        cell, cells = cell * kind.size + own, cells * kind.size
        shared, variance = shared + effects[name].mean[own], effects[name].sd[own] ** 2
        doubt, level_sd = doubt + variance, level_sd * variance / max(variances[name], _TINY)
        common = common + variance * float((np.bincount(own) ** 2).sum()) / max(n, 1) ** 2
    stated = estimated_ms > 0
    estimate = np.log(estimated_ms, out=np.zeros(n), where=stated)
    centred = np.where(stated, estimate - estimate.sum() / max(stated.sum(), 1), 0.0)
    alike = Grouping(cell, cells, "cell")
    of_kind = alike.spread(alike.gather(centred) / np.maximum(alike.gather(stated.astype(float)), 1.0))
    unknown = doubt / max(sum(variances[name] for name in kinds), _TINY)
    relative = np.where(stated, centred - of_kind, 0.0) + unknown * of_kind
    found = Effects(mean + shared + left * relative, np.sqrt(sd**2 + left**2 * doubt))
    return found, left * np.stack([level_sd, np.sqrt(common)])


def _pair_effects(recorded: Effects, unseen_sd: float, records: Records, tasks: int) -> Effects:
    """Effects of all pairs of the run's tasks and agents, shape (tasks, m)."""
    ours = (records.agent >= 0) & (records.task < tasks)
    task, agent, pair = records.task[ours], records.agent[ours], records.pair[ours]
    found = Effects(*(np.full((tasks, records.agent_count), unseen) for unseen in (0.0, unseen_sd)))
    found.mean[task, agent], found.sd[task, agent] = recorded.mean[pair], recorded.sd[pair]
    return found


def _limits(log_ms: Floats, task: Grouping, is_censored: Bools) -> Floats:
    """Estimate the time at which each task's attempts are stopped [ms], shape (tasks,).

    For a task with a stopped attempt, it is the task's longest time; for any other task, the longest time of all tasks.
    It is infinite if no attempt was ever stopped.
    """
    if not is_censored.any():
        return np.full(task.size, np.inf)
    longest = np.full(task.size, -np.inf)
    np.maximum.at(longest, task.index, log_ms)
    has_stopped = task.gather(is_censored.astype(float)) > 0
    return np.exp(np.where(has_stopped, longest, log_ms.max()))

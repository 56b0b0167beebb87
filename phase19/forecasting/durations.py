"""Log durations of attempts: the joint model of agents, categories and tasks, fitted to recorded and censored times."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.attempt_times import AttemptTimes, OutcomeContrast, Residuals
from phase19.forecasting.components import VarianceComponents, coefficient_sds, prior_scales
from phase19.forecasting.joint import Design, JointFit, fit_joint
from phase19.forecasting.posterior import JointPosterior, KnownPairs
from phase19.forecasting.products import at, dots, table_dots
from phase19.forecasting.records import Records
from phase19.forecasting.timed_cells import DurationPriors, Spread, TimedCells, TimeLikelihood

ASSUMED_MS = 1000.0  # planned time of a task if nothing tells how long tasks take
_FEW_RESIDUALS = 50  # with fewer, a normal describes the tails better than the sample
_TOLERANCE = 3e-3  # a fit has converged if durations change by less than 0.3 % in a sweep (root mean square)
_DIMENSIONS = (2, 3)  # that are tried, in this order, until one more gains nothing
_LEAST_CELLS, _MOST_CELLS = 20, 12_000  # left out, and in all, to choose them; of more, whole tasks are sampled
_MOST_AGENTS = 2_000  # with more, there is one dimension: others are found in a matrix of agents by agents
_SHARE, _MIN_GAIN = 0.2, 1.0  # of cells left out, and the gain of log-likelihood that is worth a dimension
_PLASTIC = (0.7548776662466927, 0.5698402909980532)  # irrational steps whose multiples spread evenly (Roberts, 2018)
_GOLDEN = 0.6180339887498949  # the same of tasks alone
_TINY = 1e-12
_PRIORS = DurationPriors()


class Kept(NamedTuple):
    """What a fit to more records keeps: scales, variances of attempts, and on how many records they rest."""

    scales: Mapping[str, float]
    spread: Spread
    estimated_on: int


@dataclass(frozen=True, slots=True)
class DurationPosterior(JointPosterior):
    """Normal posterior of the log duration of one attempt, and the distribution of attempts around it.

    Attributes
    ----------
    outcome
        What a failure and a success add, log ms.
    residuals
        Distribution of attempts around the log duration of their pair.
    kept
        Variances, and the number of records from which they were estimated.
    estimated
        What Phase 16's estimates of the tasks' durations add to what records leave unknown, log ms, shape (n,).

    Notes
    -----
    The forecast is the time an agent spends: the latent duration, or the limit if that is shorter. Effects describe the
    latent duration, so an agent that is often stopped is forecast to be slow.
    """

    outcome: OutcomeContrast
    residuals: Residuals
    kept: Kept
    estimated: Floats

    def _without_records(self, mean: Floats, variance: Floats, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Log durations with the pairs' own variance, and with what the estimates say."""
        variance = variance + self.kept.spread.of_pairs()[agent]
        if self.estimated.any():
            absorbed, loading = at(self.fit.absorbed, task.ravel()), at(self.fit.state.agent[:, 1:], agent.ravel())
            known = table_dots(absorbed, loading) if task.ndim > 1 else dots(absorbed, loading)
            mean = mean + (1.0 - known) * self.estimated[task]
        return mean, variance

    @property
    def level(self) -> float:
        """Log duration of an average attempt, log ms; NaN if no record, summary or estimate tells any time."""
        return float(self.fit.state.coefficients[0])

    def level_sd(self, task: Ints, agent: Ints) -> Floats:
        """Standard deviation of the log duration of p pairs from the errors that tasks share.

        Notes
        -----
        An error of a category counts by the chance that two tasks of the run are of the same category.
        """
        errors, size = self.errors(task, agent), np.bincount(self.fit.design.category[: self.estimated.size])
        common = float((size**2).sum()) / max(size.sum(), 1) ** 2
        return np.asarray(np.sqrt((errors.shared**2).sum(axis=1) + common * errors.category[:, 0] ** 2))

    def times(self, task: Ints, agent: Ints) -> AttemptTimes:
        """Distribution of the time of one attempt by each pair; indices broadcast."""
        mean, sd = self.moments(task, agent)
        of_outcome = (self.outcome.sd * self.outcome.code) ** 2
        variance = np.stack([sd**2 + own for own in of_outcome])
        return self.residuals.times(mean, self.outcome.shift(), task, agent, variance)


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
        An earlier fit to fewer records, from which the fit starts. Its variances stay until the number of records has
        doubled, because new estimates after each wave would make intervals drift.

    Notes
    -----
    Log duration = level + risk + category + interaction + agent + loading of the agent x task + pair + outcome +
    residual: the joint model with a normal likelihood, see :class:`TimeLikelihood`. Variances are estimated while it is
    fitted. Risk levels, and categories, count if at least two have recorded times; tasks without a category are one
    more. More dimensions of tasks are added while they raise the likelihood of cells left out.
    """
    is_timed = np.isfinite(records.duration_ms) & (records.duration_ms > 0)
    count, n = int(is_timed.sum()), estimated_ms.size
    stated = _stated_log_ms(population_ms, records.summary_duration_ms, estimated_ms)
    if before is not None and count < 2 * before.kept.estimated_on:
        kept, fit = before.kept, before.fit
    else:
        design = _design(records, is_timed, stated, priors)
        dimensions, use_features = _dimensions(design, priors)
        fit = _estimated(design, VarianceComponents(design, priors, use_features=use_features), dimensions)
        kept = Kept(fit.scales, cast("TimeLikelihood", fit.likelihood).spread, count)
    design, dimensions = _design(records, is_timed, stated, priors, kept), fit.absorbed.shape[1]
    fit = fit_joint(design, fit.scales, dimensions, fit, tolerance=_TOLERANCE)
    likelihood = cast("TimeLikelihood", fit.likelihood)
    has_estimate = estimated_ms > 0
    estimated = np.zeros(n)
    if has_estimate.any():
        estimated = _relative(fit, np.log(estimated_ms, out=estimated.copy(), where=has_estimate), has_estimate)
    return DurationPosterior(
        fit=fit,
        known=_known_pairs(fit, likelihood, estimated),
        outcome=likelihood.contrast,
        residuals=_residuals(fit, likelihood, _limits(records, is_timed)[:n]),
        kept=kept._replace(spread=likelihood.spread),
        estimated=estimated,
    )


def _design(
    records: Records, is_timed: Bools, stated: float, priors: DurationPriors, kept: Kept | None = None
) -> Design[TimedCells]:
    """Make a cell for each pair with recorded times, and one for all tasks of each agent judged by its summary."""
    n, m, task = records.task_count, records.agent_count, records.task[is_timed]
    log_ms, agent = np.log(records.duration_ms[is_timed]), records.agent[is_timed]
    summarised = np.flatnonzero((records.summary_trials > 0) & (records.summary_duration_ms > 0))
    category, risk = (_kinds(codes, task) for codes in (records.task_category, records.task_risk))
    covariates = np.column_stack([np.ones(n + 1), np.eye(risk.max() + 1)[risk][:, :-1]])
    # Without records, summaries tell how agents differ from what is stated, not how the run's tasks do.
    covariates[-1, 0] = float(log_ms.size > 0)
    if kept is None:
        ratio = priors.pair_variance / priors.residual_variance
        spread = Spread(np.full(2, priors.residual_variance), ratio, np.ones(m + 1), 0.0)
        scales: Mapping[str, float] = prior_scales(priors, has_kinds=category.max() + risk.max() > 0)
    else:
        scales, spread = kept.scales, kept.spread
    # A summary is a mean over tasks and attempts, whose log exceeds the mean log by half their variance.
    within = scales["task"] ** 2 * (1.0 + scales["discrimination"] ** 2) + (1.0 + spread.pair) * spread.residual.max()
    typical = stated - 0.5 * (within + scales["agent"] ** 2 + scales["level"] ** 2)
    cells, cell = np.unique(task * (m + 1) + np.where(agent < 0, m, agent), return_inverse=True)
    own, told = np.arange(summarised.size), np.log(records.summary_duration_ms[summarised]) - 0.5 * within
    return Design(
        cells=TimedCells(
            log_ms=np.append(log_ms, told if log_ms.size else told - 0.5 * scales["level"] ** 2 - typical),
            is_censored=np.append(records.is_censored[is_timed], own < 0),
            outcome=np.append(records.outcome[is_timed], own < 0).astype(np.int64),
            cell=np.append(cell, cells.size + own),
            stated_variance=np.append(np.zeros(log_ms.size), within / records.summary_trials[summarised]),
            agent=np.append(cells % (m + 1), summarised),
            priors=priors,
            spread=spread,
            is_kept=kept is not None,
        ),
        task=np.append(cells // (m + 1), n + 0 * own),
        agent=np.append(cells % (m + 1), summarised),
        covariates=covariates,
        category=category,
        agent_count=m + 1,
        category_count=int(category.max()) + 1,
        prior_mean=np.append(log_ms.mean() if log_ms.size else typical, np.zeros(covariates.shape[1] - 1)),
        prior_sd=coefficient_sds(scales, covariates.shape[1]),
        scores=records.scores.with_unknown(),
    )


def _kinds(codes: Ints, recorded: Ints) -> Ints:
    """Number the kinds of all tasks, with none as a kind of its own; last, that of the unknown task.

    All kinds are unknown unless the recorded tasks have at least two.
    """
    if np.unique(codes[recorded]).size <= 1:
        return np.zeros(codes.size + 1, dtype=np.int64)
    return np.append(codes + 1, codes.max() + 2)


def _estimated(
    design: Design[TimedCells],
    components: VarianceComponents,
    dimensions: int,
    before: JointFit[TimedCells] | None = None,
    left_out: Bools | None = None,
) -> JointFit[TimedCells]:
    """Fit effects and variances, with one dimension first."""
    scales, start = components.scales(), None
    if dimensions > 1:
        before = before or _estimated(design, components, 1, left_out=left_out)
        spread = cast("TimeLikelihood", before.likelihood).spread
        design = replace(before.design, cells=replace(design.cells, spread=spread))
        scales, start = {**before.scales, "loading": scales["loading"]}, before.state
    return fit_joint(
        design, scales, dimensions, start, tolerance=_TOLERANCE, left_out=left_out, revise=components.revise
    )


def _dimensions(design: Design[TimedCells], priors: DurationPriors) -> tuple[int, bool]:
    """Choose the number of dimensions, and whether features count, by the likelihood of what is left out.

    It is that of a fifth of the cells for dimensions, and of a fifth of the tasks for features.
    """
    step = -(-design.task.size // _MOST_CELLS)
    design = design.part((design.task % step == 0) | (design.task == design.category.size - 1)).compact()
    plain, of_features = (VarianceComponents(design, priors, use_features=use) for use in (False, True))
    left_out, left_out_tasks = _left_out(design)
    chosen, best, fit = 1, -np.inf, None
    if left_out.sum() < _LEAST_CELLS:
        return 1, False
    for dimensions in (1, *_DIMENSIONS) if design.agent_count <= _MOST_AGENTS else (1,):
        fit = _estimated(design, plain, dimensions, fit, left_out)
        found = _likelihood(fit, left_out)
        if found < best + _MIN_GAIN:
            break
        chosen, best = dimensions, found
    if not design.scores.size or left_out_tasks.sum() < _LEAST_CELLS:
        return chosen, False
    both = (_estimated(design, each, chosen, left_out=left_out_tasks) for each in (plain, of_features))
    without, with_features = (_likelihood(fit, left_out_tasks) for fit in both)
    return chosen, with_features > without + _MIN_GAIN


def _likelihood(fit: JointFit[TimedCells], left_out: Bools) -> float:
    """Log-likelihood of the cells left out, shape (c,), each by itself."""
    pairs, likelihood = (fit.design.task, fit.design.agent), cast("TimeLikelihood", fit.likelihood)
    each = likelihood.log_likelihood(fit.mean(*pairs), np.add(*fit.variances(*pairs)))
    return float(each[left_out[fit.design.cells.cell]].sum())


def _left_out(design: Design[TimedCells]) -> tuple[Bools, Bools]:
    """Choose cells of known tasks and agents, and cells of whole tasks, shape (c,).

    They are chosen by the ranks of their total log times, so that names hardly matter.
    """
    cells, is_known = design.cells, (design.task < design.category.size - 1) & (design.agent < design.agent_count - 1)
    total = np.bincount(cells.cell, cells.log_ms, design.task.size)
    ranks = [np.argsort(np.argsort(np.bincount(index, total)))[index] for index in (design.task, design.agent)]
    place = sum(step * rank for step, rank in zip(_PLASTIC, ranks, strict=True))
    return is_known & (place % 1.0 < _SHARE), is_known & (_GOLDEN * ranks[0] % 1.0 < _SHARE)


def _known_pairs(fit: JointFit[TimedCells], likelihood: TimeLikelihood, estimated: Floats) -> KnownPairs:
    """Make the log durations of the run's pairs with records; `estimated` is as in the posterior."""
    design, n = fit.design, estimated.size
    here = np.flatnonzero((design.task < n) & (design.agent < design.agent_count - 1))
    task, agent = design.task[here], design.agent[here]
    variance = np.add(*fit.variances(task, agent))
    mean = fit.mean(task, agent) + likelihood.pair[here] + fit.left(task, agent) * estimated[task]
    known = likelihood.kept()[here] ** 2 * variance + likelihood.pair_variance[here]
    return KnownPairs.of(task, agent, (n, design.agent_count - 1), mean, np.sqrt(known))


def _relative(fit: JointFit[TimedCells], estimate: Floats, stated: Bools) -> Floats:
    """What estimates say of the run's tasks beyond the mean of the kind, as far as records tell this mean; (n,)."""
    design, n, scales = fit.design, estimate.size, fit.scales
    centred = np.where(stated, estimate - estimate.sum() / stated.sum(), 0.0)
    kinds = np.column_stack([design.covariates[:n, 1:], design.category[:n]])
    _, kind = np.unique(kinds, axis=0, return_inverse=True)
    of_kind = (np.bincount(kind, centred) / np.maximum(np.bincount(kind, stated), 1.0))[kind]
    doubt, prior = np.zeros(n), 0.0
    if design.category_count > 1:
        doubt, prior = doubt + fit.category_variance()[design.category[:n]], prior + scales["category"] ** 2
    if design.prior_sd.size > 1:
        of_level = (fit.coefficient_root[1:] ** 2).sum(axis=1)
        doubt, prior = doubt + design.covariates[:n, 1:] @ of_level, prior + scales["risk"] ** 2
    return np.where(stated, centred - of_kind, 0.0) + doubt / max(prior, _TINY) * of_kind


def _residuals(fit: JointFit[TimedCells], likelihood: TimeLikelihood, limit_ms: Floats) -> Residuals:
    """Describe the attempts around the log durations of their pairs."""
    cells, spread = fit.design.cells, likelihood.spread
    is_attempt = cells.stated_variance == 0.0
    score = likelihood.residuals(fit.mean(fit.design.task, fit.design.agent)) / np.sqrt(likelihood.variances())
    smearing, counts = np.zeros(2), np.zeros((2, 2))
    for ended, variance in enumerate(spread.residual):
        own = is_attempt & (cells.outcome == ended)
        counts[:, ended] = (own & cells.is_censored).sum(), (own & ~cells.is_censored).sum()
        if counts[1, ended] >= _FEW_RESIDUALS and not cells.is_censored.any():
            # Residuals from fitted effects are too small, so scale them to the estimated variance.
            scaled = score[own] * (variance / max(score[own].var(), _TINY)) ** 0.5
            smearing[ended] = np.log(np.exp(scaled).mean()) - 0.5 * variance
    share = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    return Residuals(
        sd=np.sqrt(spread.residual[:, None] * spread.factor),
        smearing=smearing,
        stopped_odds=share[0] / share[1],
        limit_ms=limit_ms,
    )


def _stated_log_ms(population_ms: float | None, summary_ms: Floats, estimated_ms: Floats) -> float:
    """Mean log time in the first of these that has any: summary, agents' summaries, estimates; NaN without any."""
    for stated_ms in (np.array([population_ms or np.nan]), summary_ms, estimated_ms):
        if (is_known := stated_ms > 0).any():
            return float(np.log(stated_ms[is_known]).mean())
    return float("nan")


def _limits(records: Records, is_timed: Bools) -> Floats:
    """Estimate the time at which each task's attempts are stopped [ms], shape (tasks,).

    For a task with a stopped attempt, it is the task's longest time; for any other task, the longest time of all tasks.
    It is infinite if no attempt was ever stopped.
    """
    is_stopped, task = records.is_censored[is_timed], records.task[is_timed]
    if not is_stopped.any():
        return np.full(records.task_count, np.inf)
    limit_ms = np.zeros(records.task_count)
    np.maximum.at(limit_ms, task, records.duration_ms[is_timed])
    has_stopped = np.bincount(task, is_stopped, records.task_count) > 0
    return np.where(has_stopped, limit_ms, limit_ms.max())

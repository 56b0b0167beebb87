"""Success of a first attempt: the joint model of agents, categories and tasks, and what records add for each pair."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from phase19.forecasting import Floats, Ints
from phase19.forecasting.blocks import for_blocks
from phase19.forecasting.cells import LOGISTIC_NORMAL, Cells, averaged, fit_cells, logit_sd, mean_log_odds
from phase19.forecasting.classes import Classes
from phase19.forecasting.joint import DISCRIMINATION, Design, JointFit, fit_joint
from phase19.forecasting.posterior import JointPosterior, KnownPairs
from phase19.forecasting.products import at, dots
from phase19.forecasting.records import Records, logit, sigmoid
from phase19.forecasting.scales import agent_consistency, choose, classes_of, with_classes

_AVERAGED = 1e6  # multiple of the concentration for a mean over tasks, which has no spread of its own


@dataclass(frozen=True, slots=True)
class SuccessPriors:
    """Prior of the success model; standard deviations are those of log odds.

    `risk_factors` are Phase 17's multipliers of the success rate (LOW, MEDIUM, HIGH; UNKNOWN has none).
    `confidence_slope` is halfway between ignoring a recorded confidence (0) and using its log odds unchanged (1).
    `agent`, `task`, `category` and `interaction` (of an agent with a category) are prior medians of the standard
    deviations of these effects; `loading` that of the agents' loadings on further dimensions of tasks, as a share of
    `task`. `concentration` is the prior median of the number of attempts that the model's forecast of a pair counts as.
    The priors are log-normal with the log standard deviation `spread`. With `least_attempts` recorded attempts or more,
    held-out likelihood chooses these scales, and each agent has its own multiple of the concentration, with the log
    standard deviation `consistency`. The prior of risk levels is as narrow as that of categories, because levels may
    have been set from the recorded outcomes, which would count twice.
    """

    risk_factors: tuple[float, float, float] = (1.05, 0.95, 0.85)
    risk_sd: float = 0.4
    confidence_slope: float = 0.5
    confidence_slope_sd: float = 0.5
    intercept_sd: float = 0.5
    agent: float = 0.5
    task: float = 0.7
    category: float = 0.4
    interaction: float = 0.3
    loading: float = 0.5
    concentration: float = 4.0
    consistency: float = 0.5
    spread: float = 1.0
    least_attempts: int = 100

    def scales(self) -> dict[str, float]:
        """Return the scales that held-out likelihood chooses, by name, in the order of the search."""
        names = ("agent", "task", "category", "interaction", "concentration", "loading")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class SuccessPosterior(JointPosterior):
    """Normal posterior of the log odds that a first attempt succeeds.

    Attributes
    ----------
    scales, chosen_on
        Standard deviations and concentration by name, and the number of attempts from which they and the number of
        dimensions were chosen.
    classes, class_weight
        Latent classes of tasks, if they count, and the weight of their forecast of each task, shape (n,).
    boost
        What a heuristic's boost adds to the log odds of each task, shape (n,).
    """

    scales: Mapping[str, float]
    chosen_on: int
    classes: Classes | None
    class_weight: Floats
    boost: Floats

    def _without_records(self, mean: Floats, variance: Floats, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Log odds whose mean probability is that of the model, averaged with that of the classes."""
        own = float(logit_sd(np.zeros(1), self.scales["concentration"])[0]) ** 2
        mean = mean + self.boost[task]
        mean *= np.sqrt((1.0 + LOGISTIC_NORMAL * (variance + own)) / (1.0 + LOGISTIC_NORMAL * variance))
        variance = variance + own
        if self.classes is not None:
            rate, member = self.classes.rate, at(self.classes.membership, task.ravel())
            of_class = member @ rate if task.ndim > 1 else dots(member, at(rate.T, agent))
            pooled = sigmoid(averaged(mean, variance))
            pooled += self.class_weight[task] * (of_class - pooled)
            mean = mean_log_odds(pooled, variance)
        return mean, variance

    def task_log_odds(self, task: Ints) -> Floats:
        """Posterior mean of the log odds of t tasks, averaged over agents, shape (t,)."""
        agents = np.arange(self.fit.design.agent_count - 1)[None, :]
        found = np.empty(task.size)

        def average(_block: int, rows: slice) -> None:
            found[rows] = self.mean(task[rows, None], agents).mean(axis=1)

        for_blocks(average, task.size, agents.size)
        return found


def fit_success(
    records: Records, population_rate: float, priors: SuccessPriors, before: SuccessPosterior | None = None
) -> SuccessPosterior:
    """Fit the posterior to the records.

    Parameters
    ----------
    records
        Recorded attempts.
    population_rate
        Success rate in Phase 18's summary [fraction], which is the prior mean.
    priors
        Priors of scales and coefficients.
    before
        An earlier fit to fewer records. The fit starts from it, and its scales stay until the records have doubled.

    Notes
    -----
    The fit is deterministic. Names and order do not change it, but for ties when cells are left out to choose scales.
    """
    design = success_design(records, population_rate, priors)
    count = int(records.is_attempt.sum())
    if before is not None and count < 2 * max(before.chosen_on, priors.least_attempts):
        scales, dimensions, chosen_on = before.scales, before.dimensions, before.chosen_on
    else:
        scales, dimensions, chosen_on = priors.scales(), 1, count
        if count >= priors.least_attempts:
            scales, dimensions = choose(design, scales, priors.spread)
    fit = fit_joint(design, scales, dimensions, None if before is None else before.fit)
    log_odds = averaged(fit.mean(design.task, design.agent), np.add(*fit.variances(design.task, design.agent)))
    classes, seen = None, design.by_task(design.cells.tries)[:-1] > 0.0
    weight = np.where(seen, scales.get("class_weight", 0.0), scales.get("class_weight_new", 0.0))
    if weight.any():
        earlier = None if before is None else before.classes
        classes = classes_of(design, fit, scales["concentration"], scales["class_strength"], earlier)
        log_odds = with_classes(log_odds, classes, weight, design.task, design.agent)
    consistency = np.ones(design.agent_count)
    if chosen_on >= priors.least_attempts:
        consistency = agent_consistency(design, log_odds, scales["concentration"], priors.consistency)
    n = len(records.task_covariates)
    boost = np.einsum("tf,f->t", records.task_covariates - design.covariates[:n], fit.state.coefficients)
    return SuccessPosterior(
        fit=fit,
        known=_known_pairs(fit, log_odds, scales["concentration"], consistency, boost),
        scales=dict(scales),
        chosen_on=chosen_on,
        classes=classes,
        class_weight=weight[:n],
        boost=boost,
    )


def success_design(records: Records, population_rate: float, priors: SuccessPriors) -> Design[Cells]:
    """Make a cell for each pair of the records, and one for all tasks of each agent judged by its summary."""
    size = np.bincount(records.pair)
    first = np.cumsum(size) - size  # records are sorted by pair
    tries = np.bincount(records.pair, weights=records.weight)
    wins = np.bincount(records.pair, weights=records.weight * records.outcome)
    summarised = np.flatnonzero((records.summary_trials > 0) & np.isfinite(records.summary_first_rate))
    trials = records.summary_trials[summarised]
    summary_wins = trials * records.summary_first_rate[summarised]

    pair_sd = float(logit_sd(np.zeros(1), priors.concentration)[0])
    # A summary averages over tasks. The log odds of a cell are already those of an average over pairs.
    between = float(np.sqrt(1.0 + LOGISTIC_NORMAL * priors.task**2 * (1.0 + DISCRIMINATION**2)))
    agent = np.append(records.agent[first], summarised)
    # An attempt without an agent may be by any agent, so the agents' differences add to the pair's.
    tightness = np.where(agent < 0, pair_sd / np.hypot(pair_sd, priors.agent), 1.0)
    is_summary = np.arange(agent.size) >= first.size
    categories = int(records.task_category.max(initial=-1)) + 1
    return Design(
        cells=Cells(
            wins=np.append(wins, summary_wins),
            losses=np.append(tries - wins, trials - summary_wins),
            tightness=np.where(is_summary, _AVERAGED, tightness),
            shrink=np.where(is_summary, 1.0 / between, 1.0),
        ),
        covariates=_covariates(records),
        prior_mean=_prior_mean(records, population_rate, priors),
        # A boost changes the stated confidence, so it has the same prior as a stated confidence.
        prior_sd=np.array([priors.intercept_sd, *[priors.risk_sd] * 3, *[priors.confidence_slope_sd] * 2]),
        task=np.append(records.task[first], np.full(summarised.size, records.task_count)),
        agent=np.where(agent < 0, records.agent_count, agent),
        category=np.append(np.where(records.task_category < 0, categories, records.task_category), categories),
        agent_count=records.agent_count + 1,
        category_count=categories + 1,
        scores=records.scores.with_unknown(),
    )


def _covariates(records: Records) -> Floats:
    """Covariates of all tasks as their records have them; last, those of a typical task."""
    count = np.bincount(records.task, minlength=records.task_count)
    total = [np.bincount(records.task, values, records.task_count) for values in records.covariates.T]
    found = np.column_stack(total) / np.maximum(count, 1)[:, None]
    # A heuristic that boosts a task now did not boost its records.
    found[: records.task_covariates.shape[0], :-1] = records.task_covariates[:, :-1]
    return np.vstack([found, records.typical_covariates()])


def _prior_mean(records: Records, population_rate: float, priors: SuccessPriors) -> Floats:
    """Compute the prior mean of the coefficients from the population's success rate and Phase 17's risk factors.

    Log odds of rates are scaled by the spread of agents and tasks, so that averaging over the spread gives the rates
    again (Zeger, Liang, Albert, 1988).
    """
    task = priors.task**2 * (1.0 + DISCRIMINATION**2)
    unknown = priors.agent**2 + task + priors.intercept_sd**2 + priors.risk_sd**2
    scale = float(np.sqrt(1.0 + LOGISTIC_NORMAL * unknown))
    margin = 0.5 / (1.0 + max(records.population_tasks, 1.0))  # a rate of 0 or 1 is uncertain by half a task
    rate = float(np.clip(population_rate, margin, 1.0 - margin))
    moved = logit(np.clip(rate * np.array(priors.risk_factors), 0.02, 0.98)) - logit(np.clip(rate, 0.02, 0.98))
    slopes = scale * np.array([*moved, *[priors.confidence_slope] * 2])
    mix = records.typical_covariates()[1:]
    return np.array([scale * float(logit(rate)) - float(mix @ slopes), *slopes])


def _known_pairs(
    fit: JointFit[Cells], log_odds: Floats, concentration: float, consistency: Floats, boost: Floats
) -> KnownPairs:
    """Make the log odds of the run's pairs with records, from the Beta posterior of each cell, `log_odds` before it."""
    design, n, factor = fit.design, boost.size, consistency[fit.design.agent]
    here = np.flatnonzero((design.task < n) & (design.agent < design.agent_count - 1))
    task, agent = design.task[here], design.agent[here]
    cells = replace(design.cells, tightness=design.cells.tightness * factor)
    variance = np.add(*fit.variances(task, agent)) + logit_sd(cells.tries[here], concentration * factor[here]) ** 2
    rate = fit_cells(log_odds, cells, concentration).rate[here]
    return KnownPairs.of(
        task, agent, (n, design.agent_count - 1), mean_log_odds(rate, variance) + boost[task], np.sqrt(variance)
    )

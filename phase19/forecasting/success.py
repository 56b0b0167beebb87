"""Success of a first attempt: a hierarchical logistic model of agents, tasks, risk, category and pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import Effects, Grouping, Records, logit, sigmoid

LOGISTIC_NORMAL = (16.0 * np.sqrt(3.0) / (15.0 * np.pi)) ** 2  # Zeger, Liang, Albert (1988), section 3
_TINY = 1e-9
_FEW = 16  # up to this many attempts, a product is cheaper than special functions, and cannot over- or underflow
_AVERAGED = 1e6  # multiple of the concentration for a mean over tasks, which has no spread of its own
_LEVELS = slice(1, 4)  # columns of the features for the risk levels
_PRECISION = 1e-6  # log-likelihood by which a fit may miss its mode, about 0.001 posterior standard deviations
_ROUGH = 1e-3  # the same for fits that are only compared
_MAX_LEVERAGE = 0.9  # largest leverage x information of a left-out attempt
_CHOICE_CELLS = 4_000  # cells to choose scales from: enough for an error of a few per cent, within a second
_MIN_GAIN = 0.1  # smallest gain of log-likelihood that is worth a step of a scale
_LOG_MULTIPLES = 0.5 * np.arange(-5, 6)  # grid of an agent's log multiple of the concentration


@dataclass(frozen=True, slots=True)
class SuccessPriors:
    """Prior of the success model; standard deviations are those of log odds.

    `risk_factors` are Phase 17's multipliers of the success rate (LOW, MEDIUM, HIGH; UNKNOWN has none).
    `confidence_slope` is halfway between ignoring a recorded confidence (0) and using its log odds unchanged (1).
    `agent`, `task`, `category` and `interaction` (of an agent with a category) are prior medians of the standard
    deviations of these effects. `concentration` is the prior median of the number of attempts that the model's forecast
    of a pair counts as. The priors are log-normal with the log standard deviation `spread`. With `least_attempts`
    recorded attempts or more, held-out likelihood chooses these scales, and each agent has its own multiple of the
    concentration, with the log standard deviation `consistency`. The prior of risk levels is as narrow as that of
    categories, because levels may have been set from the recorded outcomes, which would count twice.
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
    concentration: float = 4.0
    consistency: float = 0.5
    spread: float = 1.0
    least_attempts: int = 100

    def scales(self) -> dict[str, float]:
        """Return the scales that held-out likelihood chooses, by name, in the order of the search."""
        return {name: getattr(self, name) for name in ("agent", "task", "category", "interaction", "concentration")}


@dataclass(frozen=True, slots=True)
class SuccessPosterior:
    """Normal posterior of the log odds that a first attempt succeeds.

    The log odds of (task, agent) are the sum of four independent parts: agent + features @ coefficients + task + pair.

    Attributes
    ----------
    agent
        Effects of agents, shape (m,).
    features
        Features of tasks, shape (n, k): 1, LOW, MEDIUM, HIGH, centred log odds of confidence, and what a boost adds.
    coefficients, coefficient_root
        Mean of the features' coefficients, shape (k,), and a root R of their covariance R @ R.T, shape (k, k).
    task
        Effects of tasks beyond their features, including the category's effect, shape (n,).
    pair
        Effects of pairs, including that of the agent with the task's category, shape (n, m).
    scales, chosen_on
        Standard deviations and concentration by name, and the number of attempts from which they were chosen.
    parameters
        Parameters of the fit, from which the next fit starts.
    """

    agent: Effects
    features: Floats
    coefficients: Floats
    coefficient_root: Floats
    task: Effects
    pair: Effects
    scales: Mapping[str, float]
    chosen_on: int
    parameters: Floats

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Posterior mean of the log odds of pairs; `task` and `agent` are indices that broadcast."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift[task] + self.agent.mean[agent] + self.pair.mean[task, agent])

    def task_log_odds(self) -> Floats:
        """Posterior mean of the log odds of each task, averaged over agents, shape (n,)."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift + (self.agent.mean + self.pair.mean).mean(axis=1))

    def sd(self, task: Ints, agent: Ints) -> Floats:
        """Posterior standard deviation of the log odds of pairs."""
        shift = ((self.features @ self.coefficient_root) ** 2).sum(axis=1) + self.task.sd**2
        return np.asarray(np.sqrt(shift[task] + self.agent.sd[agent] ** 2 + self.pair.sd[task, agent] ** 2))


def averaged(mean: Floats, variance: Floats) -> Floats:
    """Compute the log odds of the mean probability if log odds are normal (Zeger, Liang, Albert, 1988)."""
    return np.asarray(mean / np.sqrt(1.0 + LOGISTIC_NORMAL * variance))


def mean_log_odds(p: Floats, variance: Floats) -> Floats:
    """Compute the mean of normal log odds whose mean probability is `p`: the inverse of :func:`averaged`."""
    return np.asarray(logit(p) * np.sqrt(1.0 + LOGISTIC_NORMAL * variance))


# A cell holds the attempts of one (task, agent) pair. Its success rate has a Beta distribution around the forecast.


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts of c cells; arrays of shape (c,).

    Attributes
    ----------
    wins, losses
        Successes and failures; a retry counts as an attempt like the first.
    tightness
        Factor on the concentration: large for a summary, which averages over pairs; below 1 for attempts that name no
        agent.
    shrink
        Factor on the log odds: below 1 for a summary, which averages over tasks.
    won, lost
        Among cells of few attempts, the indices of those with more than 0, 1, 2 ... wins and losses, and the share of
        the next one that each has: 1, or less for a fraction of an attempt.
    many
        Indices of the cells with many attempts.
    """

    wins: Floats
    losses: Floats
    tightness: Floats
    shrink: Floats
    won: list[tuple[Ints, Floats | float]] = field(init=False, repr=False, compare=False)
    lost: list[tuple[Ints, Floats | float]] = field(init=False, repr=False, compare=False)
    many: Ints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_few = self.tries <= _FEW
        for name, counts in (("won", self.wins), ("lost", self.losses)):
            most = int(np.ceil(counts[is_few].max(initial=0.0)))
            cells = [np.flatnonzero(is_few & (counts > i)) for i in range(most)]
            shares = [np.minimum(counts[here] - i, 1.0) for i, here in enumerate(cells)]
            parts = [(here, share if (share < 1.0).any() else 1.0) for here, share in zip(cells, shares, strict=True)]
            object.__setattr__(self, name, parts)
        object.__setattr__(self, "many", np.flatnonzero(~is_few))

    @property
    def tries(self) -> Floats:
        """Attempts of each cell."""
        return self.wins + self.losses

    def part(self, keep: Bools) -> "Cells":
        """Select some of the cells."""
        return Cells(self.wins[keep], self.losses[keep], self.tightness[keep], self.shrink[keep])


class CellFit(NamedTuple):
    """Log-likelihood of each cell, its slope and information in the log odds, and the posterior rate; shape (c,)."""

    log_likelihood: Floats
    slope: Floats
    information: Floats
    rate: Floats


def fit_cells(log_odds: Floats, cells: Cells, concentration: float) -> CellFit:
    """Compute the beta-binomial likelihood of the cells at the forecast log odds, shape (c,).

    Notes
    -----
    Rate ~ Beta(k p, k (1 - p)), so its posterior mean is (wins + k p) / (n + k). About p, n attempts of one pair carry
    the information of n (k + 1) / (k + n) independent attempts. For few attempts, the likelihood is the product of
    their successive probabilities, (k p + i) / (k + i) for a success after i successes; a fraction of an attempt has
    that fraction of the log probability.
    """
    p = np.clip(sigmoid(cells.shrink * log_odds), _TINY, 1.0 - _TINY)
    k = concentration * cells.tightness
    a = k * p
    b = k - a
    likelihood, slope = np.ones(p.size), np.zeros(p.size)
    for i, (here, share) in enumerate(cells.won):
        reached = a[here] + i
        likelihood[here] *= (reached / (k[here] + i)) ** share
        slope[here] += share / reached
    for i, (here, share) in enumerate(cells.lost):
        reached = b[here] + i
        likelihood[here] *= (reached / (k[here] + (cells.wins[here] + i))) ** share
        slope[here] -= share / reached
    log_likelihood = np.log(likelihood)
    if cells.many.size:
        from scipy.special import betaln, psi

        here = cells.many
        before, after = (a[here], b[here]), (a[here] + cells.wins[here], b[here] + cells.losses[here])
        log_likelihood[here] = betaln(*after) - betaln(*before)
        slope[here] = psi(after[0]) - psi(before[0]) - psi(after[1]) + psi(before[1])
    tries, spread = cells.tries, p * (1.0 - p)
    return CellFit(
        log_likelihood=log_likelihood,
        slope=cells.shrink * k * slope * spread,
        information=cells.shrink**2 * tries * (k + 1.0) / (k + tries) * spread,
        rate=(a + cells.wins) / (k + tries),
    )


def logit_sd(tries: Floats, concentration: Floats | float) -> Floats:
    """Convert a Beta distribution of concentration k + n to a standard deviation of log odds; arrays broadcast.

    Notes
    -----
    The rate's variance is p (1 - p) / (k + n + 1). At p = 1/2, normal log odds around 0 with the result as standard
    deviation give the same variance (table by Gauss-Hermite quadrature, linear in between).
    """
    return np.asarray(np.interp(1.0 / (concentration + tries + 1.0), _VARIANCE_SHARES, _SDS))


_SDS = np.linspace(0.0, 8.0, 81)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_VARIANCE_SHARES = 4.0 * ((sigmoid(_SDS[:, None] * _NODES) - 0.5) ** 2 @ (_WEIGHTS / _WEIGHTS.sum()))


# The hierarchy gives the log odds of cells from features and from effects of groups, which shrink towards zero.


@dataclass(frozen=True, slots=True)
class Design:
    """Cells, and the terms of their log odds.

    Attributes
    ----------
    features
        Features of cells, shape (c, f).
    prior_mean, prior_sd
        Normal prior of the features' coefficients, shape (f,).
    groupings
        Groupings of the cells by name. The effects of a cell's groups are added to its log odds.
    """

    cells: Cells
    features: Floats
    prior_mean: Floats
    prior_sd: Floats
    groupings: Mapping[str, Grouping]

    def log_odds(self, parameters: Floats) -> Floats:
        """Compute the log odds of the cells, shape (c,)."""
        coefficients, effects = self.split(parameters)
        total = np.einsum("cf,f->c", self.features, coefficients)
        for name, grouping in self.groupings.items():
            total += grouping.spread(effects[name])
        return np.asarray(total)

    def gather(self, values: Floats, power: int = 1) -> Floats:
        """Sum the cells' values by parameter, each times a power of the cell's derivative by the parameter."""
        groups = [grouping.gather(values) for grouping in self.groupings.values()]
        return np.concatenate([np.einsum("cf,c->f", self.features**power, values), *groups])

    def priors(self, scales: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Return prior mean and precision of all parameters."""
        precision = [np.full(grouping.size, scales[grouping.scale] ** -2.0) for grouping in self.groupings.values()]
        size = sum(part.size for part in precision)
        return np.append(self.prior_mean, np.zeros(size)), np.concatenate([self.prior_sd**-2.0, *precision])

    def split(self, parameters: Floats) -> tuple[Floats, dict[str, Floats]]:
        """Split parameters into coefficients of the features and effects by grouping."""
        sizes = [self.prior_mean.size, *(grouping.size for grouping in self.groupings.values())]
        pieces = np.split(parameters, np.cumsum(sizes)[:-1])
        return pieces[0], dict(zip(self.groupings, pieces[1:], strict=True))

    def part(self, keep: Bools) -> "Design":
        """Select some of the cells."""
        groupings = {name: grouping.part(keep) for name, grouping in self.groupings.items()}
        return replace(self, cells=self.cells.part(keep), features=self.features[keep], groupings=groupings)


@dataclass(frozen=True, slots=True)
class HierarchyFit:
    """Posterior of a fitted design (Laplace approximation).

    Attributes
    ----------
    coefficients, covariance
        Mode and covariance of the features' coefficients, (f,) and (f, f).
    effects
        Mean and standard deviation of each grouping's effects.
    cells, log_odds
        Likelihood of the cells at the mode, and their log odds.
    leverage
        Approximate posterior variance of each cell's log odds, shape (c,).
    parameters
        All parameters at the mode, from which another fit can start.
    """

    coefficients: Floats
    covariance: Floats
    effects: dict[str, Effects]
    cells: CellFit
    log_odds: Floats
    leverage: Floats
    parameters: Floats


def fit_hierarchy(
    design: Design, scales: Mapping[str, float], start: Floats | None = None, *, tolerance: float = _PRECISION
) -> HierarchyFit:
    """Find the mode and the posterior around it.

    Parameters
    ----------
    design
        Cells, and the terms of their log odds.
    scales
        Standard deviations by the names of the groupings' scales, and the `concentration` of pairs.
    start
        Parameters to start from; the prior means by default.
    tolerance
        Log-likelihood by which the fit may miss the mode.

    Notes
    -----
    scipy's L-BFGS-B with the analytic gradient, in units in which the curvature at the start is 1; O(cells) per step.
    Its small linear algebra is faster with one BLAS thread (the command sets OPENBLAS_NUM_THREADS=1). The posterior of
    an effect is conditional on all other parameters: its precision is the prior's plus the information of its cells.
    """
    from scipy.optimize import minimize

    mean, precision = design.priors(scales)
    k = scales["concentration"]

    def evaluate(parameters: Floats) -> tuple[float, Floats, CellFit]:
        fit = fit_cells(design.log_odds(parameters), design.cells, k)
        away = parameters - mean
        value = 0.5 * float((precision * away**2).sum()) - float(fit.log_likelihood.sum())
        return value, precision * away - design.gather(fit.slope), fit

    origin = mean if start is None else start
    value, _, fit = evaluate(origin)
    unit = (precision + design.gather(fit.information, power=2)) ** -0.5

    def objective(point: Floats) -> tuple[float, Floats]:
        value, gradient, _ = evaluate(origin + unit * point)
        return value, unit * gradient

    options = {"ftol": tolerance / max(1.0, abs(value)), "gtol": 0.0}
    found = minimize(objective, np.zeros(origin.size), jac=True, method="L-BFGS-B", options=options)
    parameters = origin + unit * found.x
    log_odds = design.log_odds(parameters)
    cells = fit_cells(log_odds, design.cells, k)
    count = design.prior_mean.size
    information = (design.features * cells.information[:, None]).T @ design.features
    covariance = np.linalg.inv(information + np.diag(precision[:count])).astype(np.float64)
    coefficients, modes = design.split(parameters)
    variances = design.split(1.0 / (design.gather(cells.information, power=2) + precision))[1]
    leverage = np.einsum("cf,fg,cg->c", design.features, covariance, design.features)
    for name, grouping in design.groupings.items():
        leverage = leverage + grouping.spread(variances[name])
    effects = {name: Effects(modes[name], np.sqrt(variances[name])) for name in design.groupings}
    return HierarchyFit(coefficients, covariance, effects, cells, log_odds, np.asarray(leverage), parameters)


def held_out(design: Design, fit: HierarchyFit, concentration: float) -> float:
    """Compute the log-likelihood of all attempts, each forecast from all others.

    Notes
    -----
    Approximate leave-one-out (Rad, Maleki, A scalable estimate of the out-of-sample prediction error, 2020): without an
    attempt, the cell's log odds move by one Newton step, -leverage x slope / (1 - leverage x information), where slope
    and information are the attempt's share. The forecast is averaged over its posterior; otherwise the chosen standard
    deviations would grow without bound. The result depends only on counts, not on names or order.
    """
    total, cells = 0.0, design.cells
    for wins, losses, count in ((1.0, 0.0, cells.wins), (0.0, 1.0, cells.losses)):
        less = replace(cells, wins=np.maximum(cells.wins - wins, 0.0), losses=np.maximum(cells.losses - losses, 0.0))
        reduced = fit_cells(fit.log_odds, less, concentration)
        slope = fit.cells.slope - reduced.slope
        information = np.maximum(fit.cells.information - reduced.information, 0.0)
        leverage = fit.leverage / (1.0 - np.minimum(fit.leverage * information, _MAX_LEVERAGE))
        rate = fit_cells(averaged(fit.log_odds - leverage * slope, leverage), less, concentration).rate
        is_whole = count >= 1.0  # fractions of an attempt, from summaries, cannot be left out
        total += float((count * np.log(rate if wins else 1.0 - rate))[is_whole].sum())
    return total


def choose_scales(design: Design, priors: SuccessPriors) -> dict[str, float]:
    """Choose scales by held-out likelihood and prior: multiply one at a time by a factor while the score improves.

    Notes
    -----
    The search ignores risk levels, because a level may have been set from the outcomes that are held out. It would then
    forecast them too well, and tasks would seem to differ only by their level.
    """
    medians = priors.scales()
    scales = dict(medians)
    tasks = design.groupings["task"].index
    if tasks.size > _CHOICE_CELLS:  # sample whole tasks, so that each keeps all its attempts
        design = design.part((tasks < 0) | (tasks % -(-tasks.size // _CHOICE_CELLS) == 0))
    features = design.features.copy()
    features[:, _LEVELS] = features[:, _LEVELS].mean(axis=0)
    design = replace(design, features=features)

    def score(candidate: Mapping[str, float], fit: HierarchyFit) -> float:
        away = sum(np.log(candidate[name] / median) ** 2 for name, median in medians.items())
        return held_out(design, fit, candidate["concentration"]) - 0.5 * float(away) / priors.spread**2

    best_fit = fit_hierarchy(design, scales, tolerance=_ROUGH)
    best = score(scales, best_fit)
    for factor in (2.0, 1.4):
        for name in medians:
            for step in (factor, 1.0 / factor):
                while True:
                    candidate = {**scales, name: scales[name] * step}
                    fit = fit_hierarchy(design, candidate, best_fit.parameters, tolerance=_ROUGH)
                    found = score(candidate, fit)
                    if not found > best + _MIN_GAIN:
                        break
                    scales, best, best_fit = candidate, found, fit
    return scales


def agent_consistency(design: Design, fit: HierarchyFit, concentration: float, spread: float) -> Floats:
    """Estimate each agent's factor on its pairs' concentration, shape (m,): below 1 if repeated attempts end alike.

    Parameters
    ----------
    design, fit
        Cells with the groupings `task` and `agent`, and their fit.
    concentration
        Concentration that the factors multiply.
    spread
        Prior standard deviation of the log factors.

    Notes
    -----
    The evidence is in pairs with at least two attempts: for the same mean, a smaller concentration makes equal outcomes
    more likely. The likelihood of each agent's pairs is computed on a grid of factors with a log-normal prior of median
    1. The result is the posterior geometric mean.
    """
    keep = (design.cells.tries > 1.0) & (design.groupings["task"].index >= 0)
    agent = design.groupings["agent"].part(keep)
    cells, log_odds = design.cells.part(keep), averaged(fit.log_odds, fit.leverage)[keep]
    by_factor = [fit_cells(log_odds, cells, concentration * np.exp(x)).log_likelihood for x in _LOG_MULTIPLES]
    support = np.stack([agent.gather(values) for values in by_factor], axis=1)
    support -= 0.5 * (_LOG_MULTIPLES / spread) ** 2
    posterior = np.exp(support - support.max(axis=1, keepdims=True))
    return np.asarray(np.exp(posterior @ _LOG_MULTIPLES / posterior.sum(axis=1)))


# The fit to records, and the posterior of the run's tasks and agents.


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
        An earlier fit to fewer records. The search starts from it, and its scales stay until the records have doubled.

    Notes
    -----
    The fit is deterministic and does not depend on names or order.
    """
    design = success_design(records, population_rate, priors)
    count = int(records.is_attempt.sum())
    if before is not None and count < 2 * max(before.chosen_on, priors.least_attempts):
        scales, chosen_on = before.scales, before.chosen_on
    else:
        scales, chosen_on = priors.scales(), count
        if count >= priors.least_attempts:
            scales = choose_scales(design, priors)
    start = None if before is None else before.parameters
    if start is not None and start.size != design.priors(scales)[0].size:
        start = None  # the earlier fit did not know some tasks or categories
    fit, consistency = fit_hierarchy(design, scales, start), np.ones(records.agent_count)
    if chosen_on >= priors.least_attempts:
        consistency = agent_consistency(design, fit, scales["concentration"], priors.consistency)
    return SuccessPosterior(
        agent=fit.effects["agent"],
        features=records.task_features,
        coefficients=fit.coefficients,
        coefficient_root=np.asarray(np.linalg.cholesky(fit.covariance)),
        task=_task_effects(records, fit),
        pair=_pair_effects(records, design, fit, scales["concentration"], consistency),
        scales=dict(scales),
        chosen_on=chosen_on,
        parameters=fit.parameters,
    )


def success_design(records: Records, population_rate: float, priors: SuccessPriors) -> Design:
    """Make a cell for each pair of the records, and one for all tasks of each agent judged by its summary."""
    size = np.bincount(records.pair)
    first = np.cumsum(size) - size  # records are sorted by pair
    tries = np.bincount(records.pair, weights=records.weight)
    wins = np.bincount(records.pair, weights=records.weight * records.outcome)
    features = np.column_stack([np.bincount(records.pair, weights=x) / size for x in records.features.T])
    summarised = np.flatnonzero((records.summary_trials > 0) & np.isfinite(records.summary_first_rate))
    trials = records.summary_trials[summarised]
    summary_wins = trials * records.summary_first_rate[summarised]
    typical = np.broadcast_to(records.typical_features(), (summarised.size, records.features.shape[1]))

    pair_sd = float(logit_sd(np.zeros(1), priors.concentration)[0])
    # A summary averages over tasks. The log odds of a cell are already those of an average over pairs.
    over_pairs = 1.0 + LOGISTIC_NORMAL * pair_sd**2
    between = float(np.sqrt((over_pairs + LOGISTIC_NORMAL * priors.task**2) / over_pairs))
    agent = np.append(records.agent[first], summarised)
    task = np.append(records.task[first], np.full(summarised.size, -1))
    # An attempt without an agent may be by any agent, so the agents' differences add to the pair's.
    tightness = np.where(agent < 0, pair_sd / np.hypot(pair_sd, priors.agent), 1.0)
    category = np.append(records.task_category, -1)[task]
    count = int(records.task_category.max(initial=-1)) + 1
    interaction = np.where((agent >= 0) & (category >= 0), agent * count + category, -1)
    groupings = {
        "agent": Grouping(agent, records.agent_count, "agent"),
        "task": Grouping(task, records.task_count, "task"),
        "category": Grouping(category, count, "category"),
        "agent_category": Grouping(interaction, records.agent_count * count, "interaction"),
    }
    return Design(
        cells=Cells(
            wins=np.append(wins, summary_wins),
            losses=np.append(tries - wins, trials - summary_wins),
            tightness=np.where(task < 0, _AVERAGED, tightness),
            shrink=np.where(task < 0, 1.0 / between, 1.0),
        ),
        features=np.vstack([features, typical]),
        prior_mean=_prior_mean(records, population_rate, pair_sd, priors),
        # A boost changes the stated confidence, so it has the same prior as a stated confidence.
        prior_sd=np.array([priors.intercept_sd, *[priors.risk_sd] * 3, *[priors.confidence_slope_sd] * 2]),
        groupings=groupings,
    )


def _prior_mean(records: Records, population_rate: float, pair_sd: float, priors: SuccessPriors) -> Floats:
    """Compute the prior mean of the coefficients from the population's success rate and Phase 17's risk factors.

    Log odds of rates are scaled by the spread of agents, tasks and pairs, so that averaging over the spread gives the
    rates again (Zeger, Liang, Albert, 1988).
    """
    unknown = priors.agent**2 + priors.task**2 + pair_sd**2 + priors.intercept_sd**2 + priors.risk_sd**2
    scale = float(np.sqrt(1.0 + LOGISTIC_NORMAL * unknown))
    margin = 0.5 / (1.0 + max(records.population_tasks, 1.0))  # a rate of 0 or 1 is uncertain by half a task
    rate = float(np.clip(population_rate, margin, 1.0 - margin))
    moved = logit(np.clip(rate * np.array(priors.risk_factors), 0.02, 0.98)) - logit(np.clip(rate, 0.02, 0.98))
    slopes = scale * np.array([*moved, *[priors.confidence_slope] * 2])
    mix = records.typical_features()[1:]
    # The pairs' part of the scale is added in the pairs' effects.
    own = float(np.sqrt(1.0 + LOGISTIC_NORMAL * pair_sd**2))
    return np.array([scale * float(logit(rate)) - float(mix @ slopes), *slopes]) / own


def _task_effects(records: Records, fit: HierarchyFit) -> Effects:
    """Return the effects of the run's tasks, including those of their categories."""
    n = records.task_features.shape[0]
    kind, task = fit.effects["category"], fit.effects["task"]
    category = records.task_category[:n]
    mean, sd = (np.append(part, 0.0)[category] for part in kind)
    return Effects(task.mean[:n] + mean, np.hypot(task.sd[:n], sd))


def _pair_effects(
    records: Records, design: Design, fit: HierarchyFit, concentration: float, consistency: Floats
) -> Effects:
    """Return the effects of all pairs of the run's tasks and agents, shape (n, m).

    The mean of a pair without records is the model's probability, that of a pair with records its Beta posterior mean.
    """
    n, m = records.task_features.shape[0], records.agent_count
    task, agent = _task_effects(records, fit), fit.effects["agent"]
    shift = records.task_features @ fit.coefficients + task.mean
    own_sd = float(logit_sd(np.zeros(1), concentration)[0])
    widened = float(np.sqrt(1.0 + LOGISTIC_NORMAL * own_sd**2)) - 1.0
    # By category and agent; the last row, for tasks without a category, is zero.
    by_category = [np.vstack([part.reshape(m, -1).T, np.zeros((1, m))]) for part in fit.effects["agent_category"]]
    mean, variance = by_category[0][records.task_category[:n]], by_category[1][records.task_category[:n]] ** 2
    mean += widened * (agent.mean + mean + shift[:, None])
    sd = np.sqrt(variance + own_sd**2)

    where, who = design.groupings["task"].index, design.groupings["agent"].index
    here = np.flatnonzero((who >= 0) & (where >= 0) & (where < n))
    pair = where[here], who[here]
    factor = np.append(consistency, 1.0)[who]
    sd[pair] = np.hypot(np.sqrt(variance[pair]), logit_sd(design.cells.tries[here], concentration * factor[here]))
    root = np.linalg.cholesky(fit.covariance)
    others = ((records.task_features @ root) ** 2).sum(axis=1) + task.sd**2
    whole = others[pair[0]] + agent.sd[pair[1]] ** 2 + sd[pair] ** 2
    cells = replace(design.cells, tightness=design.cells.tightness * factor)
    rate = fit_cells(averaged(fit.log_odds, fit.leverage), cells, concentration).rate[here]
    mean[pair] = mean_log_odds(rate, whole) - shift[pair[0]] - agent.mean[pair[1]]
    return Effects(mean, sd)

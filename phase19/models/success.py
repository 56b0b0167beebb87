"""Success: a hierarchical logistic model of agents, tasks, risk, category and pairs, shrunk as far as held-out says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.models.cells import Cells, logit_sd
from phase19.models.effects import LOGISTIC_NORMAL, Effects, logit, normal_with_mean
from phase19.models.hierarchy import Design, Grouping, HierarchyFit, fit_hierarchy, held_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from phase19.models.records import Records

__all__ = ["SuccessPosterior", "SuccessPriors", "fit_success"]

_AVERAGED = 1e6  # concentration of a mean over tasks: it has no spread of its own
_CELLS_TO_CHOOSE_BY = 4_000  # enough to tell standard deviations to a few per cent, in a second
_GAIN = 0.1  # log-likelihood below which a step is not worth taking


@dataclass(frozen=True, slots=True)
class SuccessPriors:
    """What is believed where no records say otherwise; standard deviations are on the log odds.

    `risk_factors` are Phase 17's multipliers of the success rate (LOW, MEDIUM, HIGH; UNKNOWN has none).
    `confidence_slope` stands halfway between ignoring a recorded confidence (0) and taking its log odds at
    its word (1). `agent`, `task`, `category` and `interaction` (an agent's special fields) are the medians of
    log-normal beliefs about how far these differ, `concentration` of how many attempts the model's word about a pair is
    worth; their log standard deviation is `spread`. From `least_attempts` recorded attempts on held-out likelihood
    chooses them, before that there is nothing to choose by.
    """

    risk_factors: tuple[float, float, float] = (1.05, 0.95, 0.85)
    risk_sd: float = 1.0
    confidence_slope: float = 0.5
    confidence_slope_sd: float = 0.5
    intercept_sd: float = 0.5
    agent: float = 0.5
    task: float = 0.7
    category: float = 0.4
    interaction: float = 0.3
    concentration: float = 4.0
    spread: float = 1.0
    least_attempts: int = 100

    def scales(self) -> dict[str, float]:
        """What held-out likelihood chooses, by name, the broadest first: pairs get what the others leave."""
        names = ("agent", "task", "category", "interaction", "concentration")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class SuccessPosterior:
    """Normal posterior of the log odds that a first attempt succeeds.

    The log odds of (task, agent) are agent + features @ coefficients + task + pair, four independent parts.

    Attributes
    ----------
    agent
        Agents' effects, each of shape (m,).
    features
        Shape (n, k): 1, LOW, MEDIUM, HIGH, log odds of the confidence about their centre.
    coefficients, coefficient_root
        Mean of shape (k,), and a root R of their covariance R @ R.T, shape (k, k).
    task
        Tasks' effects beyond their features, their category's included, each of shape (n,).
    pair
        What is particular to a pair, the agent's way with the task's risk and category included; each (n, m).
    scales
        Standard deviations and concentration chosen, by name.
    parameters
        The fit's, to start the next one from.
    """

    agent: Effects
    features: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    coefficient_root: NDArray[np.float64]
    task: Effects
    pair: Effects
    scales: Mapping[str, float]
    parameters: NDArray[np.float64]

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of the log odds of pairs; `task` and `agent` are indices that broadcast."""
        shift = self.features @ self.coefficients + self.task.mean
        return np.asarray(shift[task] + self.agent.mean[agent] + self.pair.mean[task, agent])

    def sd(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior standard deviation of the log odds of pairs."""
        shift = ((self.features @ self.coefficient_root) ** 2).sum(axis=1) + self.task.sd**2
        return np.asarray(np.sqrt(shift[task] + self.agent.sd[agent] ** 2 + self.pair.sd[task, agent] ** 2))

    def draw(
        self,
        task: NDArray[np.int64],
        agent: NDArray[np.int64],
        *,
        agent_normals: NDArray[np.float64],
        coefficient_normals: NDArray[np.float64],
        task_normals: NDArray[np.float64],
        pair_normals: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Log odds of pairs in worlds drawn from the posterior.

        Parameters
        ----------
        task, agent
            Indices of the pairs, shape (p,).
        agent_normals, coefficient_normals, task_normals, pair_normals
            Standard normals of shapes (..., m), (..., k), (..., p) and (..., p).

        Returns
        -------
        numpy.ndarray
            Shape (..., p).
        """
        shift = (coefficient_normals @ self.coefficient_root.T) @ self.features[task].T
        known = agent_normals[..., agent] * self.agent.sd[agent] + task_normals * self.task.sd[task]
        return np.asarray(self.mean(task, agent) + shift + known + pair_normals * self.pair.sd[task, agent])


def fit_success(
    records: Records, population_rate: float, priors: SuccessPriors, before: SuccessPosterior | None = None
) -> SuccessPosterior:
    """Fit the posterior to the records.

    Parameters
    ----------
    records
        What was recorded.
    population_rate
        Success rate of Phase 18's summary: what is believed before any record.
    before
        An earlier fit to fewer records: its scales stay, and the search starts from it.

    Notes
    -----
    Each choice costs a few dozen fits of O(cells) a step. Deterministic, and blind to names and to order.
    """
    design = _design(records, population_rate, priors)
    if before is not None:
        scales, start = before.scales, before.parameters
    else:
        scales = _chosen(design, priors) if records.outcome.size >= priors.least_attempts else priors.scales()
        start = None
    if start is not None and start.size != design.penalties(scales)[0].size:
        start = None  # tasks, levels or categories have come that the earlier fit did not know
    return _posterior(records, design, fit_hierarchy(design, scales, start), scales)


def _design(records: Records, population_rate: float, priors: SuccessPriors) -> Design:
    """Cells of the records, and one a summary-judged agent for its tasks together."""
    first, of_row = np.unique(records.pair, return_index=True, return_inverse=True)[1:]
    size = np.bincount(of_row, minlength=first.size)
    wins = np.bincount(of_row, weights=records.outcome, minlength=first.size)
    features = np.column_stack(
        [np.bincount(of_row, weights=x, minlength=first.size) / size for x in records.features.T]
    )
    told = np.flatnonzero(records.summary_trials > 0)
    told_wins = records.summary_trials[told] * records.summary_rate[told]
    typical = np.broadcast_to(records.typical_features(), (told.size, records.features.shape[1]))

    pair_sd = float(logit_sd(np.zeros(1), priors.concentration)[0])
    between = float(np.sqrt(1.0 + LOGISTIC_NORMAL * (priors.task**2 + pair_sd**2)))
    agent = np.append(records.agent[first], told)
    task = np.append(records.task[first], np.full(told.size, -1))
    level, category = np.append(records.task_level, -1)[task], np.append(records.task_category, -1)[task]
    levels, categories = records.level_count, records.category_count
    return Design(
        cells=Cells(
            wins=np.append(wins, told_wins),
            losses=np.append(size - wins, records.summary_trials[told] - told_wins),
            # Who made an attempt that names no agent may be anyone: the agents' differences widen the pair's.
            tightness=np.where(
                task < 0, _AVERAGED, np.where(agent < 0, pair_sd / np.hypot(pair_sd, priors.agent), 1.0)
            ),
            shrink=np.where(task < 0, 1.0 / between, 1.0),
        ),
        features=np.vstack([features, typical]),
        prior_mean=_prior_mean(records, population_rate, pair_sd, priors),
        prior_sd=np.array([priors.intercept_sd, *[priors.risk_sd] * 3, priors.confidence_slope_sd]),
        groupings={
            "agent": Grouping(agent, records.agent_count, "agent"),
            "task": Grouping(task, records.task_count, "task"),
            "category": Grouping(category, categories, "category"),
            "agent_level": Grouping(_crossed(agent, level, levels), records.agent_count * levels, "interaction"),
            "agent_category": Grouping(
                _crossed(agent, category, categories), records.agent_count * categories, "interaction"
            ),
        },
    )


def _crossed(agent: NDArray[np.int64], group: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.asarray(np.where((agent >= 0) & (group >= 0), agent * size + group, -1))


def _prior_mean(records: Records, population_rate: float, pair_sd: float, priors: SuccessPriors) -> NDArray[np.float64]:
    """Prior mean of the coefficients: the tasks' mean log odds are the population's, moved by Phase 17's factors.

    Log odds of rates are carried to the scale on which agents, tasks and pairs vary, so that averaging over what is
    not known gives the rates back (Zeger, Liang, Albert, 1988).
    """
    unknown = priors.agent**2 + priors.task**2 + pair_sd**2 + priors.intercept_sd**2 + priors.risk_sd**2
    scale = float(np.sqrt(1.0 + LOGISTIC_NORMAL * unknown))
    rate = float(np.clip(population_rate, *_margin(records.population_tasks)))
    moved = logit(np.clip(rate * np.array(priors.risk_factors), 0.02, 0.98)) - logit(np.clip(rate, 0.02, 0.98))
    slopes = scale * np.array([*moved, priors.confidence_slope])
    mix = records.typical_features()[1:]
    # The pairs' own part of the scale is added where the posterior is laid out.
    own = float(np.sqrt(1.0 + LOGISTIC_NORMAL * pair_sd**2))
    return np.array([scale * float(logit(rate)) - float(mix @ slopes), *slopes]) / own


def _margin(tasks: float) -> tuple[float, float]:
    """Rates of 0 and 1 over so many tasks are not certainties: half a task is kept from both."""
    least = 0.5 / (1.0 + max(tasks, 1.0))
    return least, 1.0 - least


def _chosen(design: Design, priors: SuccessPriors) -> dict[str, float]:
    """Scales by held-out likelihood and belief: one at a time, by factors, while it helps."""
    scales = priors.scales()
    cells = design.groupings["task"].index
    if cells.size > _CELLS_TO_CHOOSE_BY:  # of whole tasks, or tasks would seem better known than they are
        every = -(-cells.size // _CELLS_TO_CHOOSE_BY)
        design = design.part(cells % every == 0)
    start = fit_hierarchy(design, scales, is_rough=True)

    def score(candidate: Mapping[str, float], fit: HierarchyFit) -> float:
        away = sum((np.log(candidate[name]) - np.log(value)) ** 2 for name, value in priors.scales().items())
        return held_out(design, fit, candidate["concentration"]) - 0.5 * float(away) / priors.spread**2

    best = score(scales, start)
    for factor in (2.0, 1.4):
        for name in scales:
            for step in (factor, 1.0 / factor):
                while True:
                    candidate = {**scales, name: scales[name] * step}
                    fit = fit_hierarchy(design, candidate, start.parameters, is_rough=True)
                    found = score(candidate, fit)
                    if found <= best + _GAIN:
                        break
                    scales, best, start = candidate, found, fit
    return scales


def _posterior(records: Records, design: Design, fit: HierarchyFit, scales: Mapping[str, float]) -> SuccessPosterior:
    """Lay the fit out over the run's tasks and agents."""
    n, m = records.task_features.shape[0], records.agent_count
    level, category = records.task_level[:n], records.task_category[:n]
    by_level = _laid_out(fit.effects["agent_level"], level, m)
    by_category = _laid_out(fit.effects["agent_category"], category, m)
    kind, tasks = fit.effects["category"], fit.effects["task"]
    task = Effects(
        tasks.mean[:n] + np.append(kind.mean, 0.0)[category],
        np.hypot(tasks.sd[:n], np.append(kind.sd, 0.0)[category]),
    )
    shared = by_level.mean + by_category.mean
    shift = records.task_features @ fit.coefficients + task.mean
    model = shift[:, None] + fit.effects["agent"].mean + shared

    # A pair without records: the normal that stands for its Beta keeps the model's probability as its mean.
    concentration = scales["concentration"]
    own_sd = np.full((n, m), logit_sd(np.zeros(1), concentration)[0])
    own_mean = model * (np.sqrt(1.0 + LOGISTIC_NORMAL * own_sd**2) - 1.0)
    agent, where = design.groupings["agent"].index, design.groupings["task"].index
    here = (agent >= 0) & (where >= 0) & (where < n)
    pair = where[here], agent[here]
    own_sd[pair] = logit_sd((design.cells.wins + design.cells.losses)[here], concentration)
    own_mean[pair] = normal_with_mean(fit.cells.rate[here], own_sd[pair]) - model[pair]
    return SuccessPosterior(
        agent=fit.effects["agent"],
        features=records.task_features,
        coefficients=fit.coefficients,
        coefficient_root=np.asarray(np.linalg.cholesky(fit.covariance)),
        task=task,
        pair=Effects(shared + own_mean, np.sqrt(by_level.sd**2 + by_category.sd**2 + own_sd**2)),
        scales=dict(scales),
        parameters=fit.parameters,
    )


def _laid_out(effects: Effects, index: NDArray[np.int64], agents: int) -> Effects:
    """Effects of agents x groups as (n, agents); a task of no group has none."""
    groups = effects.mean.size // agents if agents else 0
    mean = np.column_stack([effects.mean.reshape(agents, groups), np.zeros(agents)])
    sd = np.column_stack([effects.sd.reshape(agents, groups), np.zeros(agents)])
    return Effects(mean[:, index].T, sd[:, index].T)

"""Fitting success: a hierarchical logistic model of agents, tasks, risk, category and pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.cells import Cells, cell_fit, logit_sd
from phase19.forecasting.consistency import Consistency, fit_consistency
from phase19.forecasting.effects import LOGISTIC_NORMAL, Effects, averaged, logit, normal_with_mean
from phase19.forecasting.hierarchy import Design, Grouping, HierarchyFit, fit_hierarchy
from phase19.forecasting.scales import chosen_scales
from phase19.forecasting.success import SuccessPosterior

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from phase19.forecasting.records import Records
    from phase19.forecasting.success import SuccessPriors

__all__ = ["fit_success"]

_AVERAGED = 1e6  # concentration of a mean over tasks: it has no spread of its own
_LEVELS = slice(1, 4)  # columns of the features that name a risk level


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
        An earlier fit to fewer records: the search starts from it, and its scales stay until the records double.

    Notes
    -----
    Each choice costs a few dozen fits of O(cells) a step. Deterministic, and blind to names and to order.
    """
    design = _design(records, population_rate, priors)
    count = records.outcome.size
    if before is not None and count < 2 * max(before.chosen_on, priors.least_attempts):
        scales, chosen_on = before.scales, before.chosen_on
    else:
        believed, chosen_on = priors.scales(), count
        trust = priors.trust(count)
        chosen = chosen_scales(design, believed, priors.spread, _LEVELS) if trust > 0 else believed
        scales = {name: believed[name] * (chosen[name] / believed[name]) ** trust for name in believed}
    start = None if before is None else before.parameters
    if start is not None and start.size != design.penalties(scales)[0].size:
        start = None  # tasks, levels or categories have come that the earlier fit did not know
    fit, consistency = fit_hierarchy(design, scales, start), Consistency.unknown(design)
    trust = priors.trust(chosen_on)
    if trust > 0:
        consistency = fit_consistency(design, fit, scales["concentration"], trust * priors.consistency)
    return _posterior(records, design, fit, consistency, scales=scales, chosen_on=chosen_on)


def _design(records: Records, population_rate: float, priors: SuccessPriors) -> Design:
    """Cells of the records, and one a summary-judged agent for its tasks together."""
    size = np.bincount(records.pair)
    first = np.cumsum(size) - size  # records are sorted by pair
    wins = np.bincount(records.pair, weights=records.outcome)
    features = np.column_stack([np.bincount(records.pair, weights=x) / size for x in records.features.T])
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
        # A boost claims a confidence: it is believed as far as a stated one, until the records tell otherwise.
        prior_sd=np.array([priors.intercept_sd, *[priors.risk_sd] * 3, *[priors.confidence_slope_sd] * 2]),
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
    slopes = scale * np.array([*moved, *[priors.confidence_slope] * 2])
    mix = records.typical_features()[1:]
    # The pairs' own part of the scale is added where the posterior is laid out.
    own = float(np.sqrt(1.0 + LOGISTIC_NORMAL * pair_sd**2))
    return np.array([scale * float(logit(rate)) - float(mix @ slopes), *slopes]) / own


def _margin(tasks: float) -> tuple[float, float]:
    """Rates of 0 and 1 over so many tasks are not certainties: half a task is kept from both."""
    least = 0.5 / (1.0 + max(tasks, 1.0))
    return least, 1.0 - least


def _posterior(
    records: Records,
    design: Design,
    fit: HierarchyFit,
    consistency: Consistency,
    *,
    scales: Mapping[str, float],
    chosen_on: int,
) -> SuccessPosterior:
    """Lay the fit out over the run's tasks and agents."""
    n, m = records.task_features.shape[0], records.agent_count
    category = records.task_category[:n]
    kind, tasks, agents = (fit.effects[name] for name in ("category", "task", "agent"))
    task = Effects(
        tasks.mean[:n] + np.append(kind.mean, 0.0)[category],
        np.hypot(tasks.sd[:n], np.append(kind.sd, 0.0)[category]),
    )
    shift = records.task_features @ fit.coefficients + task.mean

    # A pair without records: the normal that stands for its Beta keeps the model's probability as its mean. Tasks of
    # one level and category differ by their shift alone, so each kind of them is worked out once.
    concentration = scales["concentration"]
    own_sd = float(logit_sd(np.zeros(1), concentration)[0])
    widened = float(np.sqrt(1.0 + LOGISTIC_NORMAL * own_sd**2)) - 1.0
    by_level, by_category = (fit.effects[name].by_group(m) for name in ("agent_level", "agent_category"))
    levels, categories = by_level.mean.shape[0], by_category.mean.shape[0]  # a task of none takes the last
    place = records.task_level[:n] % levels * categories + category % categories
    shared = (by_level.mean[:, None] + by_category.mean).reshape(-1, m)
    variance = (by_level.sd[:, None] ** 2 + by_category.sd**2).reshape(-1, m)
    mean = (shared + widened * (agents.mean + shared))[place]
    mean += widened * shift[:, None]
    spread = variance[place]
    sd = np.sqrt(spread + own_sd**2)

    # A pair with records: the mean of its Beta, over what is not known of the model's word, is its probability.
    root = np.asarray(np.linalg.cholesky(fit.covariance))
    where, who = design.groupings["task"].index, design.groupings["agent"].index
    here = np.flatnonzero((who >= 0) & (where >= 0) & (where < n))
    pair = where[here], who[here]
    multiple = consistency.multiple(where, who)
    tries = (design.cells.wins + design.cells.losses)[here]
    sd[pair] = np.hypot(np.sqrt(spread[pair]), logit_sd(tries, concentration * multiple[here]))
    others = ((records.task_features @ root) ** 2).sum(axis=1) + task.sd**2
    whole = np.sqrt(others[pair[0]] + agents.sd[pair[1]] ** 2 + sd[pair] ** 2)
    cells = replace(design.cells, tightness=design.cells.tightness * multiple)
    rate = cell_fit(averaged(fit.log_odds, fit.leverage), cells, concentration).rate[here]
    mean[pair] = normal_with_mean(rate, whole) - shift[pair[0]] - agents.mean[pair[1]]
    return SuccessPosterior(
        agent=agents,
        features=records.task_features,
        coefficients=fit.coefficients,
        coefficient_root=root,
        task=task,
        pair=Effects(mean, sd),
        scales=dict(scales),
        chosen_on=chosen_on,
        parameters=fit.parameters,
    )

"""Consistency: some agents and tasks end alike each time, others by chance; so much what a pair did tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting.cells import Cells, cell_fit
from phase19.forecasting.effects import averaged
from phase19.forecasting.hierarchy import Design, Grouping, HierarchyFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Consistency", "fit_consistency"]

_STEPS = 0.5 * np.arange(-5, 6)  # logs of the multiples of the concentration that are weighed
_SPREADS = 0.5 * np.arange(7)  # of these multiples, as multiples of the spread believed
_LEAST = -600.0  # log-likelihood below the best at which a multiple is as good as impossible
_NARROW = 1e-3  # a spread that leaves the middle step alone


class Consistency(NamedTuple):
    """Logs of what agents and tasks multiply a pair's concentration by: below 0 where its attempts end alike."""

    task: NDArray[np.float64]
    agent: NDArray[np.float64]

    @classmethod
    def unknown(cls, design: Design) -> Consistency:
        """Everything as consistent as everything else."""
        return cls(np.zeros(design.groupings["task"].size), np.zeros(design.groupings["agent"].size))

    def multiple(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """What pairs' concentration is multiplied by; indices broadcast, -1 for none."""
        return np.asarray(np.exp(np.append(self.task, 0.0)[task] + np.append(self.agent, 0.0)[agent]))


def fit_consistency(design: Design, fit: HierarchyFit, concentration: float, spread: float) -> Consistency:
    """Fit the agents' consistency, then the tasks' beyond it.

    Parameters
    ----------
    design
        Cells with the groupings `task` and `agent`.
    fit
        What the model says of them.
    concentration
        What the multiples are of.
    spread
        Scale of a half-normal belief about the multiples' standard deviation on the log scale.

    Notes
    -----
    Pairs tried at least twice tell: of one mean, those of a small concentration end alike more often. The likelihood of
    each group's pairs is weighed on a grid of multiples under log-normal beliefs of several spreads, each as probable
    as all groups together make it (hierarchical Bayes; Gelman et al., Bayesian Data Analysis, 2013, section 5.3):
    where the groups do not differ the multiples shrink to 1 by themselves. What is given is their posterior geometric
    mean.
    """
    task, agent = design.groupings["task"], design.groupings["agent"]
    keep = (design.cells.wins + design.cells.losses > 1.0) & (task.index >= 0)
    few, log_odds = design.cells.part(keep), averaged(fit.log_odds, fit.leverage)[keep]
    task, agent = (Grouping(grouping.index[keep], grouping.size, "") for grouping in (task, agent))
    by_agent = _of_groups(agent, few, log_odds, concentration, spread)
    few = replace(few, tightness=few.tightness * np.exp(agent.spread(by_agent)))
    return Consistency(_of_groups(task, few, log_odds, concentration, spread), by_agent)


def _of_groups(
    grouping: Grouping, cells: Cells, log_odds: NDArray[np.float64], concentration: float, spread: float
) -> NDArray[np.float64]:
    """Posterior mean of the logs of the groups' multiples, shape (size,)."""
    support = np.stack(
        [grouping.gather(cell_fit(log_odds, cells, concentration * np.exp(x)).log_likelihood) for x in _STEPS], axis=1
    )
    likelihood = np.exp(np.maximum(support - support.max(axis=1, keepdims=True), _LEAST))
    believed = np.exp(-0.5 * (_STEPS / np.maximum(spread * _SPREADS, _NARROW)[:, None]) ** 2)
    believed /= believed.sum(axis=1, keepdims=True)
    chance = likelihood @ believed.T  # of each group's pairs, by spread
    evidence = np.log(chance).sum(axis=0) - 0.5 * _SPREADS**2
    weight = np.exp(evidence - evidence.max())
    posterior = likelihood * ((weight / weight.sum() / chance) @ believed)
    return np.asarray(posterior @ _STEPS)

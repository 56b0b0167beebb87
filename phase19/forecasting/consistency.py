"""Consistency: some agents and tasks end alike each time, others by chance; so much what a pair did tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.cells import cell_fit
from phase19.forecasting.effects import averaged
from phase19.forecasting.hierarchy import Design, Grouping, HierarchyFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_consistency"]

_STEPS = 0.5 * np.arange(-5, 6)  # logs of the multiples of the concentration that are weighed
_SPREADS = 0.5 * np.arange(7)  # of these multiples, as multiples of the spread believed
_LEAST = -600.0  # log-likelihood below the best at which a multiple is as good as impossible
_NARROW = 1e-3  # a spread that leaves the middle step alone


def fit_consistency(design: Design, fit: HierarchyFit, concentration: float, spread: float) -> NDArray[np.float64]:
    """What each agent multiplies its pairs' concentration by, shape (m,): below 1 where its attempts end alike.

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
    Pairs with two attempts or more tell: at one mean, a smaller concentration makes equal outcomes likelier. The
    likelihood of each agent's pairs is taken on a grid of multiples, and averaged over log-normal beliefs of several
    spreads, each weighted by the evidence of all agents (hierarchical Bayes; Gelman et al., Bayesian Data Analysis,
    2013, section 5.3): where agents do not differ the multiples shrink to 1. Returns posterior geometric means.
    """
    keep = (design.cells.wins + design.cells.losses > 1.0) & (design.groupings["task"].index >= 0)
    agent = design.groupings["agent"]
    agent = Grouping(agent.index[keep], agent.size, agent.sd)
    cells, log_odds = design.cells.part(keep), averaged(fit.log_odds, fit.leverage)[keep]
    support = np.stack(
        [agent.gather(cell_fit(log_odds, cells, concentration * np.exp(x)).log_likelihood) for x in _STEPS], axis=1
    )
    likelihood = np.exp(np.maximum(support - support.max(axis=1, keepdims=True), _LEAST))
    believed = np.exp(-0.5 * (_STEPS / np.maximum(spread * _SPREADS, _NARROW)[:, None]) ** 2)
    believed /= believed.sum(axis=1, keepdims=True)
    chance = likelihood @ believed.T  # of each agent's pairs, by spread
    evidence = np.log(chance).sum(axis=0) - 0.5 * _SPREADS**2
    weight = np.exp(evidence - evidence.max())
    posterior = likelihood * ((weight / weight.sum() / chance) @ believed)
    return np.asarray(np.exp(posterior @ _STEPS))

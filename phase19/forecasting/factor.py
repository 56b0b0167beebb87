"""One latent factor: what agents that are alike have in common on a task, beyond what the hierarchy says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting.cells import cell_fit
from phase19.forecasting.effects import Effects
from phase19.forecasting.hierarchy import Design, Grouping, HierarchyFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Factor", "fit_factor", "with_factor"]

_ROUNDS = 3  # times the likelihood is drawn anew as a parabola where the factor has come to
_STEPS = 60  # of expectation and maximisation a round; a fixed number, so that no rounding decides when to stop
_CELLS_TO_LEARN_BY = 20_000  # enough to tell what agents have in common
_GAP = 1e-9  # share by which one direction must lead the next, or there is no one factor to begin with


class Factor(NamedTuple):
    """Parts of tasks, Normal(0, 1) before any record, and of agents; a pair's log odds move by their product."""

    task: Effects
    agent: Effects

    def mean(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior mean of pairs' products; indices broadcast."""
        return np.asarray(self.task.mean[task] * self.agent.mean[agent])

    def variance(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """Posterior variance of pairs' products, of two independent parts."""
        (m, s), (a, b) = (self.task.mean[task], self.task.sd[task]), (self.agent.mean[agent], self.agent.sd[agent])
        return np.asarray(a**2 * s**2 + m**2 * b**2 + s**2 * b**2)


def fit_factor(design: Design, log_odds: NDArray[np.float64], concentration: float, sd: float) -> Factor:
    """Fit the factor to what a fitted hierarchy leaves unexplained.

    Parameters
    ----------
    design
        Cells with the groupings `task` and `agent`.
    log_odds
        What the hierarchy says of the cells, shape (c,).
    concentration
        Attempts that the model's word about a pair is worth.
    sd
        Standard deviation of the agents' parts before any record.

    Notes
    -----
    Factor analysis (Rubin, Thayer, EM algorithms for ML factor analysis, 1982) of a likelihood drawn as a parabola.
    Tasks' parts are averaged over, never set to their best value: agents then agree by chance no more than they
    should, and where nothing is in common the agents' parts shrink to nothing by themselves. It starts from the
    direction in which agents' residuals agree most; the sign of both parts is free and moves no product.
    """
    cells = design.cells.wins.size
    every = max(1, -(-cells // _CELLS_TO_LEARN_BY))
    where = design.groupings["task"].index
    keep = (where >= 0) & (design.groupings["agent"].index >= 0) & (where % every == 0)  # pairs, of whole tasks
    few = _part(design, keep)
    agent = _direction(few, log_odds[keep], concentration, sd)
    product = np.zeros(int(keep.sum()))
    for _ in range(_ROUNDS):
        pull, information = _parabola(few, log_odds[keep], product, concentration)
        for _ in range(_STEPS):
            task = _of_tasks(few, agent, pull, information)
            agent = _of_agents(few, task, pull, information, sd)
        product = few.groupings["task"].spread(task.mean) * few.groupings["agent"].spread(agent.mean)
    product = np.zeros(cells)
    for _ in range(_ROUNDS):
        pull, information = _parabola(design, log_odds, product, concentration)
        task = _of_tasks(design, agent, pull, information)
        product = design.groupings["task"].spread(task.mean) * design.groupings["agent"].spread(agent.mean)
    return Factor(task, agent)


def with_factor(design: Design, fit: HierarchyFit, factor: Factor, concentration: float) -> HierarchyFit:
    """The fit, its cells moved by the factor and as uncertain of it as it is."""
    task, agent = design.groupings["task"].index, design.groupings["agent"].index
    is_pair = (task >= 0) & (agent >= 0)
    log_odds = fit.log_odds + np.where(is_pair, factor.mean(task, agent), 0.0)
    leverage = fit.leverage + np.where(is_pair, factor.variance(task, agent), 0.0)
    return replace(fit, log_odds=log_odds, leverage=leverage, cells=cell_fit(log_odds, design.cells, concentration))


def _part(design: Design, keep: NDArray[np.bool_]) -> Design:
    """The design of some tasks' cells, its agents numbered as before."""
    task, agent = design.groupings["task"], design.groupings["agent"]
    groupings = {"task": task.part(keep), "agent": Grouping(agent.index[keep], agent.size, agent.sd)}
    return replace(design, cells=design.cells.part(keep), features=design.features[keep], groupings=groupings)


def _direction(design: Design, log_odds: NDArray[np.float64], concentration: float, sd: float) -> Effects:
    """Agents' parts to start from: the leading eigenvector of how far agents' residuals agree on tasks."""
    task, agent = design.groupings["task"], design.groupings["agent"]
    residual = np.zeros((task.size, agent.size))
    residual[task.index, agent.index] = cell_fit(log_odds, design.cells, concentration).slope
    agreement = residual.T @ residual
    np.fill_diagonal(agreement, 0.0)
    start = np.zeros(agent.size)
    if agent.size > 1:
        values, vectors = np.linalg.eigh(agreement)
        if values[-1] - values[-2] > _GAP * np.abs(values).max():
            start = vectors[:, -1] * np.sqrt(agent.size) * sd
    return Effects(start, np.full(agent.size, sd))


def _parabola(
    design: Design, log_odds: NDArray[np.float64], product: NDArray[np.float64], concentration: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope at no product, and information, of the parabola that touches the cells' likelihood where they stand."""
    fit = cell_fit(log_odds + product, design.cells, concentration)
    return fit.slope + fit.information * product, fit.information


def _of_tasks(design: Design, agent: Effects, pull: NDArray[np.float64], information: NDArray[np.float64]) -> Effects:
    """Posterior of the tasks' parts, given the agents' means."""
    task, part = design.groupings["task"], design.groupings["agent"].spread(agent.mean)
    precision = 1.0 + task.gather(information * part**2)
    return Effects(task.gather(pull * part) / precision, precision**-0.5)


def _of_agents(
    design: Design, task: Effects, pull: NDArray[np.float64], information: NDArray[np.float64], sd: float
) -> Effects:
    """Posterior of the agents' parts, averaged over what is not known of the tasks'."""
    part, square = (design.groupings["task"].spread(x) for x in (task.mean, task.mean**2 + task.sd**2))
    agent = design.groupings["agent"]
    precision = sd**-2.0 + agent.gather(information * square)
    return Effects(agent.gather(pull * part) / precision, precision**-0.5)

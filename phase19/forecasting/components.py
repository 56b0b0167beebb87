"""Variance components of the joint model, estimated by EM while it is fitted."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from phase19.forecasting import Floats
from phase19.forecasting.joint import Design, JointFit
from phase19.forecasting.timed_cells import DurationPriors, TimedCells, TimeLikelihood

_TINY = 1e-8


class VarianceComponents:
    """The M-step after each sweep: scales of all effects from their posterior, and the size of the tasks' points.

    Notes
    -----
    A variance is the mean square of its recorded effects, posterior variance included, with the prior's weight; that of
    features, of the tasks' means that their weights give. The
    common loading on the first dimension is the mean of the agents' loadings. Tasks are scaled to unit variance and the
    loadings by the inverse, which does not change the predictors and makes EM fast (parameter expansion: Liu, Rubin,
    Wu, 1998).
    """

    def __init__(self, design: Design[TimedCells], priors: DurationPriors, *, use_features: bool) -> None:
        self.priors, n, m, g = priors, design.category.size, design.agent_count, design.category_count
        category = design.category[design.task]
        self.is_task, self.is_agent, self.is_category = (
            (np.bincount(index, minlength=size) > 0) & (np.arange(size) < size - 1)
            for index, size in ((design.task, n), (design.agent, m), (category, g))
        )
        self.is_pair = np.bincount(category * m + design.agent, minlength=g * m).reshape(g, m) > 0
        self.is_pair &= self.is_category[:, None] & self.is_agent
        self.is_level = design.covariates[self.is_task, 1:].any(axis=0)
        self.prior = prior_scales(priors, has_kinds=g > 1 or design.prior_sd.size > 1)
        if use_features:
            self.prior["features"] = 1.0

    def scales(self) -> dict[str, float]:
        """Scales before any record."""
        return dict(self.prior)

    def revise(self, fit: JointFit[TimedCells]) -> JointFit[TimedCells]:
        """Estimate all scales from the posterior of the effects."""
        fit, priors, weight = self._normalised(fit), self.priors, self.priors.variance_weight
        state, scales = fit.state, dict(fit.scales)
        agent, variance = state.agent[self.is_agent], np.einsum("akk->ka", fit.agent_cov[self.is_agent])
        scales["agent"] = _sd(priors.agent_variance, weight, agent[:, 0] ** 2 + variance[0])
        if agent.size:
            common = np.full(self.is_task.sum(), agent[:, 1].mean())
            scales["task"] = _sd(self.prior["task"] ** 2, weight, common**2)
            away = ((agent[:, 1] - scales["task"]) ** 2 + variance[1]) / scales["task"] ** 2
            scales["discrimination"] = min(_sd(priors.loading**2, priors.loading_weight, away), 1.0)
            others = (agent[:, 2:].T ** 2 + variance[2:]) / scales["task"] ** 2
            scales["loading"] = _sd(priors.loading**2, 0.0, others.ravel()) if others.size else priors.loading
        if "features" in scales:
            explained = (fit.design.scores @ state.weights)[self.is_task] ** 2 + fit.leverage[self.is_task]
            scales["features"] = _sd(1.0, weight, explained.ravel())
        square = state.category**2 + fit.category_variance()
        scales["category"] = _sd(priors.category_variance, priors.kind_weight, square[self.is_category])
        square = state.interaction[self.is_pair] ** 2 + fit.interaction_var[self.is_pair]
        scales["interaction"] = _sd(priors.interaction_variance, weight, square)
        square = state.coefficients[1:] ** 2 + (fit.coefficient_root[1:] ** 2).sum(axis=1)
        scales["risk"] = _sd(priors.risk_variance, priors.kind_weight, square[self.is_level])
        # The level counts one more attempt at the mean recorded time, which keeps it finite if all were censored.
        scales["level"] = float(cast("TimeLikelihood", fit.likelihood).spread.residual.max() ** 0.5)
        state.agent[-1, 1] = scales["task"]  # an unknown agent is an average one
        prior_sd = coefficient_sds(scales, fit.design.prior_sd.size)
        return replace(fit, scales=scales, design=replace(fit.design, prior_sd=prior_sd))

    def _normalised(self, fit: JointFit[TimedCells]) -> JointFit[TimedCells]:
        """Give the recorded tasks' points unit variance, where the prior counts as tasks that have it."""
        state, weight = fit.state, self.priors.variance_weight
        away, given = (state.task - fit.design.scores @ state.weights)[self.is_task], fit.task_given[self.is_task]
        square = away**2 + np.einsum("tkk->tk", given)
        square += ((np.eye(away.shape[1]) - given) ** 2 @ fit.leverage[self.is_task][:, :, None])[:, :, 0]
        size = np.sqrt((weight + square.sum(axis=0)) / (weight + len(square)))
        of_agent = np.append(1.0, size)
        return replace(
            fit,
            state=state._replace(agent=state.agent * of_agent, task=state.task / size, weights=state.weights / size),
            agent_cov=fit.agent_cov * np.outer(of_agent, of_agent),
            task_given=fit.task_given / np.outer(size, size),
            leverage=fit.leverage / size**2,
            absorbed=fit.absorbed / size,
        )


def prior_scales(priors: DurationPriors, *, has_kinds: bool) -> dict[str, float]:
    """Scales before any record; half of the tasks' variance is that between their kinds."""
    return {
        "level": priors.residual_variance**0.5,
        "risk": priors.risk_variance**0.5,
        "agent": priors.agent_variance**0.5,
        "category": priors.category_variance**0.5,
        "interaction": priors.interaction_variance**0.5,
        "task": (priors.task_variance * (0.5 if has_kinds else 1.0)) ** 0.5,
        "discrimination": priors.loading,
        "loading": priors.loading,
    }


def coefficient_sds(scales: Mapping[str, float], count: int) -> Floats:
    """Prior standard deviations of the level and of the risk levels, shape (count,)."""
    return np.array([scales["level"], *[scales["risk"]] * (count - 1)])


def _sd(prior: float, weight: float, square: Floats) -> float:
    """Root of the mean square of effects and of the prior variance, which counts as `weight` effects."""
    return float(np.sqrt(max((weight * prior + square.sum()) / max(weight + square.size, 1.0), _TINY)))

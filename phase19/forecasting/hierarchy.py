"""A penalised logistic model of cells: features, and effects of groups shrunk towards nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.cells import CellFit, Cells, cell_fit
from phase19.forecasting.effects import Effects, averaged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Design", "Grouping", "HierarchyFit", "fit_hierarchy", "held_out"]

_PRECISION = 1e-6  # log-likelihood by which a fit may miss its mode: 0.001 posterior standard deviations
_ROUGH = 1e-3  # the same where fits are only compared
_MOST_LEVERAGE = 0.9
_CELLS_A_KIND = 8  # fewer cells alike are not worth a sum of their own
_MOST_KINDS = 16  # codes a cell that are tried at most


@dataclass(frozen=True, slots=True)
class Grouping:
    """Cells by group: `index` (c,), -1 for none; `size` groups, whose effects have the standard deviation `sd`."""

    index: NDArray[np.int64]
    size: int
    sd: str

    def part(self, keep: NDArray[np.bool_]) -> Grouping:
        """The grouping of some of the cells, its groups numbered anew."""
        used, index = np.unique(self.index[keep], return_inverse=True)
        none = int(used.size > 0 and used[0] < 0)
        return Grouping(index - none, used.size - none, self.sd)

    def spread(self, effects: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each cell's effect, 0 where it has no group; shape (c,)."""
        return np.asarray(np.append(effects, 0.0)[self.index])

    def gather(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the cells' values by group, shape (size,)."""
        return np.asarray(np.bincount(self.index + 1, weights=values, minlength=self.size + 1)[1:], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Design:
    """Cells and what their log odds are made of.

    Attributes
    ----------
    features
        Shape (c, f); their coefficients are Normal(`prior_mean`, `prior_sd`^2), each of shape (f,).
    groupings
        By name; effects are added to the features' part.

    Notes
    -----
    Groupings that many cells have in common (agent, category and their pairs) are summed once for all cells alike.
    """

    cells: Cells
    features: NDArray[np.float64]
    prior_mean: NDArray[np.float64]
    prior_sd: NDArray[np.float64]
    groupings: Mapping[str, Grouping]
    _columns: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _alike: Grouping = field(init=False, repr=False, compare=False)
    _shared: Mapping[str, Grouping] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        alike, shared = _joined(self.groupings, self.cells.wins.size)
        object.__setattr__(self, "_columns", np.ascontiguousarray(self.features.T))
        object.__setattr__(self, "_alike", alike)
        object.__setattr__(self, "_shared", shared)

    def log_odds(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log odds of the cells, shape (c,)."""
        coefficients, effects = self.parts(parameters)
        shared = np.zeros(self._alike.size)
        for name, grouping in self._shared.items():
            shared += grouping.spread(effects[name])
        total = self._alike.spread(shared)
        for coefficient, column in zip(coefficients, self._columns, strict=True):
            total += coefficient * column
        for name, grouping in self.groupings.items():
            if name not in self._shared:
                total += grouping.spread(effects[name])
        return total

    def gather(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the cells' values over every parameter that moves them: the transpose of :meth:`log_odds`."""
        return np.concatenate([np.einsum("fc,c->f", self._columns, values), *self._gathered(values)])

    def information(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of the cells' information by parameter, each times the square of how far the parameter moves the cell."""
        squares = [np.einsum("c,c->", column, column * values) for column in self._columns]
        return np.concatenate([squares, *self._gathered(values)])

    def _gathered(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Sums of the cells' values by group, one array a grouping."""
        alike = self._alike.gather(values)
        return [
            self._shared[name].gather(alike) if name in self._shared else grouping.gather(values)
            for name, grouping in self.groupings.items()
        ]

    def penalties(self, scales: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prior mean and precision of all parameters."""
        precision = [np.full(grouping.size, scales[grouping.sd] ** -2.0) for grouping in self.groupings.values()]
        size = sum(part.size for part in precision)
        return np.append(self.prior_mean, np.zeros(size)), np.concatenate([self.prior_sd**-2.0, *precision])

    def parts(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Coefficients of the features, and effects by grouping."""
        sizes = [self.prior_mean.size, *(grouping.size for grouping in self.groupings.values())]
        pieces = np.split(parameters, np.cumsum(sizes)[:-1])
        return pieces[0], dict(zip(self.groupings, pieces[1:], strict=True))

    def part(self, keep: NDArray[np.bool_]) -> Design:
        """The design of some of the cells, and of the groups they are in."""
        groupings = {name: grouping.part(keep) for name, grouping in self.groupings.items()}
        return replace(self, cells=self.cells.part(keep), features=self.features[keep], groupings=groupings)


def _joined(groupings: Mapping[str, Grouping], cells: int) -> tuple[Grouping, dict[str, Grouping]]:
    """Cells alike in all groupings that leave few kinds of cells, and those groupings' groups of each kind."""
    index, size, joined = np.zeros(cells, dtype=np.int64), min(cells, 1), []
    for name, grouping in groupings.items():
        code = index * (grouping.size + 1) + grouping.index + 1
        if size * (grouping.size + 1) > _MOST_KINDS * cells:
            continue
        is_kind = np.zeros(size * (grouping.size + 1), dtype=bool)
        is_kind[code] = True
        if (count := int(is_kind.sum())) * _CELLS_A_KIND <= cells:
            index, size = (np.cumsum(is_kind) - 1)[code], count
            joined.append(name)
    one = np.zeros(size, dtype=np.int64)
    one[index] = np.arange(cells)
    shared = {name: replace(groupings[name], index=groupings[name].index[one]) for name in joined}
    return Grouping(index, size, ""), shared


@dataclass(frozen=True, slots=True)
class HierarchyFit:
    """Posterior of a fitted design (Laplace).

    Attributes
    ----------
    coefficients, covariance
        Of the features, (f,) and (f, f).
    effects
        Mean and standard deviation of each grouping's effects.
    cells, log_odds
        The cells at the mode, and what the model says of them.
    leverage
        Approximate posterior variance of each cell's log odds, shape (c,).
    parameters
        All of them, to start another fit from.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    effects: dict[str, Effects]
    cells: CellFit
    log_odds: NDArray[np.float64]
    leverage: NDArray[np.float64]
    parameters: NDArray[np.float64]


def fit_hierarchy(
    design: Design,
    scales: Mapping[str, float],
    start: NDArray[np.float64] | None = None,
    *,
    is_rough: bool = False,
) -> HierarchyFit:
    """Find the mode and the posterior about it.

    Parameters
    ----------
    design
        What is fitted.
    scales
        Standard deviations by the names the groupings give, and `concentration` of the pairs.
    start
        Parameters to start from; the priors' means by default.
    is_rough
        Whether the fit is only to be compared with others.

    Notes
    -----
    L-BFGS-B of scipy with the analytic gradient, in units in which the curvature at the start is 1; O(cells) a step.
    Its small linear algebra is faster with one BLAS thread (OPENBLAS_NUM_THREADS=1, which the command sets). The
    posterior of an effect is its conditional one: the information its own cells give, and its prior's.
    """
    from scipy.optimize import minimize

    mean, precision = design.penalties(scales)
    k = scales["concentration"]

    def evaluate(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], CellFit]:
        fit = cell_fit(design.log_odds(parameters), design.cells, k)
        away = parameters - mean
        value = 0.5 * float((precision * away**2).sum()) - float(fit.log_likelihood.sum())
        return value, precision * away - design.gather(fit.slope), fit

    origin = mean if start is None else start
    value, _, fit = evaluate(origin)
    unit = (precision + design.information(fit.information)) ** -0.5  # makes the curvature about 1 in all directions

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient, _ = evaluate(origin + unit * point)
        return value, unit * gradient

    tolerance = (_ROUGH if is_rough else _PRECISION) / max(1.0, abs(value))
    found = minimize(
        objective, np.zeros(origin.size), jac=True, method="L-BFGS-B", options={"ftol": tolerance, "gtol": 0.0}
    )
    parameters = origin + unit * found.x
    log_odds = design.log_odds(parameters)
    cells = cell_fit(log_odds, design.cells, k)
    count = design.prior_mean.size
    information = (design.features * cells.information[:, None]).T @ design.features
    covariance = np.linalg.inv(information + np.diag(precision[:count])).astype(np.float64)
    variance = 1.0 / (design.information(cells.information) + precision)
    coefficients, modes = design.parts(parameters)
    variances = design.parts(variance)[1]
    leverage = np.einsum("cf,fg,cg->c", design.features, covariance, design.features)
    for name, grouping in design.groupings.items():
        leverage = leverage + grouping.spread(variances[name])
    effects = {name: Effects(modes[name], np.sqrt(variances[name])) for name in design.groupings}
    return HierarchyFit(coefficients, covariance, effects, cells, log_odds, np.asarray(leverage), parameters)


def held_out(design: Design, fit: HierarchyFit, concentration: float) -> float:
    """Log-likelihood of every attempt, each forecast from all the others.

    Notes
    -----
    Approximate leave-one-out (Rad, Maleki, A scalable estimate of the out-of-sample prediction error, 2020): without
    the attempt the cell's log odds move by one Newton step, -leverage x slope / (1 - leverage x information), the
    slope and information being the attempt's own share. Like any forecast it is averaged over what is not known, or
    effects would seem to differ without bounds. It depends on counts alone: neither names nor order matter.
    """
    total = 0.0
    for win in (True, False):
        count = design.cells.wins if win else design.cells.losses
        less = design.cells.without_one(win=win)
        reduced = cell_fit(fit.log_odds, less, concentration)
        slope = fit.cells.slope - reduced.slope
        information = np.maximum(fit.cells.information - reduced.information, 0.0)
        leverage = fit.leverage / (1.0 - np.minimum(fit.leverage * information, _MOST_LEVERAGE))
        rate = cell_fit(averaged(fit.log_odds - leverage * slope, leverage), less, concentration).rate
        whole = count >= 1.0  # a summary's fractions of a success cannot be left out
        total += float((count * np.log(rate if win else 1.0 - rate))[whole].sum())
    return total

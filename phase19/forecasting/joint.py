"""The joint model of agents, categories and several dimensions of tasks, fitted together.

The predictor of a cell, such as its log odds, is covariates @ coefficients + category + interaction + ability +
loadings @ task. A task is a point of Normal(scores @ weights, I) in K dimensions, with scores of its numeric features.
Every agent has an ability, and a loading on each dimension: the loadings on the first lie around a common value, so it
is a difficulty that all agents share; the others lie around 0. An interaction belongs to an agent and a category.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.features import Points, step_weights
from phase19.forecasting.products import at, dots, inverses, outer_squares, pair_dots, table_dots, times_each

DISCRIMINATION = 0.3  # standard deviation of the loadings on the first dimension, as a share of their mean
_TOLERANCE = 1e-3  # a fit has converged if predictors change by less in a sweep (root mean square)
_STEADY = 0.02  # and if no scale changes by more
ROUGH = 1e-2  # the same of fits that only start others or are compared
_MOST_SWEEPS, _FEW_SWEEPS = 100, 10  # of a fit, and of a rough one
_LONGEST_STEP = 1.0  # of an effect in one sweep: log odds of certain outcomes have no curvature that would hold them
_SWEEPS_PER_STEP = 3  # of the weights of features, which are costly and move slowly
_SWEEPS_PER_VARIANCE = 3  # of the predictors, which is costly and moves slowly after as many sweeps
_FIRST_LOADINGS = 0.5  # with which new dimensions start, in standard deviations
_TINY = 1e-9
ALL = slice(None)


class Likelihood(Protocol):
    """What c cells say about their predictors."""

    @property
    def effective_count(self) -> Floats:
        """Number of independent attempts that each cell is worth, shape (c,)."""

    def expect(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """Compute the weight and the residual of each cell in the next Newton step, shape (c,).

        They are the expected negative second derivative and the expected slope of the log-likelihood if predictors
        are normal with this mean and variance.
        """


class Observed(Protocol):
    """What is observed of c cells."""

    def part(self, keep: Bools) -> Self:
        """Select some of the cells."""

    def likelihood(self, scales: Mapping[str, float], left_out: Bools | None) -> Likelihood:
        """Return the likelihood; cells left out, shape (c,), do not count."""


C = TypeVar("C", bound=Observed)


@dataclass(frozen=True, slots=True)
class Design(Generic[C]):
    """Cells, sorted by task, and the terms of their predictors.

    The last task, agent and category stand for unknown ones, which have no effects of their own.

    Attributes
    ----------
    cells
        What is observed of c cells.
    task, agent
        Indices of each cell's task and agent, shape (c,).
    covariates
        Covariates of n tasks, shape (n, f).
    category
        Each task's category, shape (n,).
    agent_count, category_count
        Numbers m and g of agents and categories.
    prior_mean, prior_sd
        Normal prior of the covariates' coefficients, shape (f,).
    scores
        Scores of the tasks' numeric features, shape (n, q).
    """

    cells: C
    task: Ints
    agent: Ints
    covariates: Floats
    category: Ints
    agent_count: int
    category_count: int
    prior_mean: Floats
    prior_sd: Floats
    scores: Floats

    def part(self, keep: Bools) -> "Design[C]":
        """Select some of the cells."""
        return replace(self, cells=self.cells.part(keep), task=self.task[keep], agent=self.agent[keep])

    def compact(self) -> "Design[C]":
        """Leave out the tasks without cells."""
        kept = np.unique(np.append(self.task, self.category.size - 1))
        task = np.searchsorted(kept, self.task)
        of_tasks = {name: getattr(self, name)[kept] for name in ("covariates", "category", "scores")}
        return replace(self, task=task, **of_tasks)

    def by_task(self, values: Floats) -> Floats:
        """Sum the cells' values by task, shape (n,)."""
        return np.bincount(self.task, values, self.category.size).astype(np.float64)

    def by_category(self, values: Floats) -> Floats:
        """Sum the tasks' values by category, shape (g,)."""
        return np.bincount(self.category, values, self.category_count).astype(np.float64)


class State(NamedTuple):
    """Means of all effects, from which another fit can start.

    Coefficients (f,), categories (g,), interactions (g, m), agents (m, 1 + K) with the ability first, tasks (n, K), and
    weights of scores (q, K).
    """

    coefficients: Floats
    category: Floats
    interaction: Floats
    agent: Floats
    task: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class JointFit(Generic[C]):
    """Normal posterior of the effects.

    Attributes
    ----------
    design
        The cells, and the terms of their predictors.
    likelihood
        What the cells say about their predictors.
    scales
        Standard deviations with which it was fitted.
    state
        Means.
    coefficient_root
        Root of the covariance of the coefficients, shape (f, f).
    category_given, category_sd
        Slopes of the categories in the coefficients' errors, shape (g, f), and standard deviation around them, (g,).
    absorbed
        By how much the dimensions of a task compensate an error of its covariates or its category, because its own
        records are known, shape (n, K).
    agent_cov
        Covariances of agents, shape (m, 1 + K, 1 + K).
    task_given, leverage
        Covariances of tasks if the weights of the scores were known, shape (n, K, K), and the variance of their prior
        means from errors of the weights, (n, K).
    interaction_var
        Variance of each interaction, shape (g, m).
    """

    design: Design[C]
    likelihood: Likelihood
    scales: Mapping[str, float]
    state: State
    coefficient_root: Floats
    category_given: Floats
    category_sd: Floats
    absorbed: Floats
    agent_cov: Floats
    task_given: Floats
    leverage: Floats
    interaction_var: Floats

    def task_cov(self, task: Ints | slice = ALL) -> Floats:
        """Covariances of t tasks, shape (t, K, K)."""
        given = at(self.task_given, task)
        if not self.leverage.any():
            return given
        return np.asarray(given + np.einsum("tik,tk,tjk->tij", given, at(self.leverage, task), given))

    def shared(self, task: Ints | slice = ALL) -> Floats:
        """What one standard deviation of each error of coefficients and category adds to t tasks, shape (t, f + 1).

        It is that of tasks without records.
        """
        category = self.design.category[task]
        away = at(self.design.covariates, task) - at(self.category_given, category)
        return np.column_stack([np.einsum("tf,fe->te", away, self.coefficient_root), self.category_sd[category]])

    def shared_variance(self, task: Ints | slice = ALL) -> Floats:
        """Variance that the errors of coefficients and category add to t tasks without records, shape (t,)."""
        category = self.design.category[task]
        found = self.category_sd[category] ** 2
        away = [
            np.ascontiguousarray(own) - given[category]
            for own, given in zip(at(self.design.covariates, task).T, self.category_given.T, strict=True)
        ]
        for error in self.coefficient_root.T:
            parts = [weight * own for weight, own in zip(error, away, strict=True) if weight]
            found += np.sum(parts, axis=0) ** 2
        return np.asarray(found)

    def category_variance(self) -> Floats:
        """Variance of the effects of categories, shape (g,)."""
        by_coefficient = np.einsum("gf,fe->ge", self.category_given, self.coefficient_root)
        return np.asarray(self.category_sd**2 + (by_coefficient**2).sum(axis=1))

    def left(self, task: Ints, agent: Ints) -> Floats:
        """Share of the shared errors that the records of the task leave in the predictors of pairs, (p,)."""
        return 1.0 - pair_dots(self.absorbed, self.state.agent[:, 1:], task, agent)

    def fixed(self, task: Ints | slice = ALL) -> Floats:
        """Mean of t tasks that no agent and no dimension changes, shape (t,)."""
        state = self.state
        return dots(at(self.design.covariates, task), state.coefficients) + state.category[self.design.category[task]]

    def mean(self, task: Ints, agent: Ints) -> Floats:
        """Mean of the predictors of p pairs."""
        interaction = self.state.interaction[self.design.category[task], agent]
        return self._each(self.fixed, task) + interaction + self.own(task, agent)

    def own(self, task: Ints, agent: Ints) -> Floats:
        """The part of the predictors of p pairs that agents and tasks make together."""
        agents = self.state.agent
        return np.take(agents[:, 0], agent) + pair_dots(self.state.task, agents[:, 1:], task, agent)

    def variances(self, task: Ints, agent: Ints) -> tuple[Floats, Floats]:
        """Variance of the predictors of p pairs from errors about the task, and from all other errors."""
        place, tasks = (task, ALL) if task.size > self.design.category.size else (np.arange(task.size), task)
        of_task = pair_dots(self._task_errors(tasks), self._by_agents(), place, agent)
        of_agent = pair_dots(self.points(tasks), self._agent_errors(), place, agent)
        return of_task, of_agent + self.interaction_var[self.design.category[task], agent]

    def of_scores(self, task: Ints, agent: Ints) -> Floats:
        """What each score adds to the predictors of p pairs, shape (p, q)."""
        by_dimension = np.einsum("pk,pkj->pj", self.state.agent[agent, 1:], self.task_given[task])
        return np.asarray(self.design.scores[task] * (by_dimension @ self.state.weights.T))

    def rows(self, task: Ints) -> tuple[Floats, Floats]:
        """Mean and variance of the predictors of t tasks by all known agents, shape (t, m - 1)."""
        state, category = self.state, self.design.category[task]
        mean = state.agent[:-1, 0] + table_dots(at(state.task, task), state.agent[:-1, 1:])
        mean += state.interaction[category, :-1]
        mean += self.fixed(task)[:, None]
        variance = table_dots(self._task_errors(task), self._by_agents()[:-1])
        variance += table_dots(self.points(task), self._agent_errors()[:-1])
        return mean, variance + self.interaction_var[category, :-1]

    def _each(self, of_tasks: Callable[[Ints | slice], Floats], task: Ints) -> Floats:
        """Evaluate a function of tasks for pairs: once for each task if there are more pairs than tasks."""
        return at(of_tasks(ALL), task) if task.size > self.design.category.size else of_tasks(task)

    def _agent_errors(self) -> Floats:
        """Covariances of agents, shape (m, (1 + K)^2)."""
        return self.agent_cov.reshape(self.design.agent_count, -1)

    def _by_agents(self) -> Floats:
        """What the agents make of the errors of tasks: products of 1 and their loadings, shape (m, (1 + K)^2)."""
        point = np.column_stack([np.ones(self.design.agent_count), self.state.agent[:, 1:]])
        return outer_squares(point).reshape(len(point), -1)

    def _task_errors(self, task: Ints | slice) -> Floats:
        """Second moments of the errors of t tasks, shape (t, (1 + K)^2)."""
        absorbed, spread = at(self.absorbed, task), np.sqrt(self.shared_variance(task))
        found = outer_squares(np.column_stack([spread, -absorbed * spread[:, None]]))
        found[:, 1:, 1:] += self.task_cov(task)
        return np.asarray(found.reshape(len(found), found.shape[1] ** 2))

    def points(self, task: Ints | slice = ALL) -> Floats:
        """Second moments of t tasks, by which the errors of agents are multiplied, shape (t, (1 + K)^2)."""
        own = at(self.state.task, task)
        found = outer_squares(np.column_stack([np.ones(len(own)), own]))
        found[:, 1:, 1:] += self.task_cov(task)
        return np.asarray(found.reshape(len(found), found.shape[1] ** 2))


def fit_joint(
    design: Design[C],
    scales: Mapping[str, float],
    dimensions: int,
    start: State | JointFit[C] | None = None,
    *,
    tolerance: float = _TOLERANCE,
    left_out: Bools | None = None,
    revise: Callable[[JointFit[C]], JointFit[C]] | None = None,
) -> JointFit[C]:
    """Fit the posterior by variational inference.

    Parameters
    ----------
    design
        Cells, and the terms of their predictors.
    scales
        Standard deviations of `agent`, `category` and `interaction`; `task`, the mean loading on the first dimension;
        `loading`, the standard deviation of those on other dimensions, as a share of it; `discrimination`, that of
        those on the first (0.3 by default); `features`, the standard deviation that numeric features give tasks in
        each dimension (0 by default: they do not count); and what the likelihood needs.
    dimensions
        Number K of dimensions, at least 1.
    start
        A fit to start from, or its means, of at most as many dimensions; by default the prior. A fit to other tasks,
        agents or categories counts as none.
    tolerance
        The fit has converged if predictors change by less in a sweep (root mean square).
    left_out
        Cells that do not count, shape (c,).
    revise
        Estimates the scales again after each sweep.

    Notes
    -----
    The posterior is a product of normals: of all tasks, of all agents, of all interactions; the coefficients and the
    categories are fitted with the tasks eliminated. Each sweep takes one Newton step of each in the expected
    log-likelihood (Gaussian variational approximation: Ormerod and Wand, 2012). New dimensions start at the leading
    eigenvectors of what the agents have in common beyond the fit. A sweep is O(c K^2).
    """
    start = _usable(start, design, dimensions)
    if start is None and dimensions > 1:
        start = fit_joint(design, scales, 1, tolerance=ROUGH, left_out=left_out, revise=revise).state
    fit = _Fit(design, scales, dimensions, start, left_out)
    for _ in range(_MOST_SWEEPS if tolerance < ROUGH else _FEW_SWEEPS):
        change, scales, moved = fit.sweep(), fit.now.scales, 0.0
        if revise is not None:
            fit.rescale(revise(fit.now))
            moved = max(abs(fit.now.scales[name] / value - 1.0) for name, value in scales.items())
        if change < tolerance and moved < _STEADY:
            break
    return fit.now


def _usable(start: State | JointFit[C] | None, design: Design[C], dimensions: int) -> State | JointFit[C] | None:
    """What of a start can be used: none of a fit to other groups, and only the means of one with fewer dimensions."""
    if not isinstance(start, JointFit):
        return start
    own = start.absorbed.shape[1]
    if own > dimensions or [x.shape for x in start.state] != [x.shape for x in prior_state(design, own)]:
        return None
    return start if own == dimensions else start.state


def prior_state(design: Design[C], dimensions: int, loading: float = 0.0) -> State:
    """Means of all effects before any record; `loading` is the agents' mean loading on the first dimension."""
    agent = np.zeros((design.agent_count, 1 + dimensions))
    agent[:, 1] = loading
    interaction = np.zeros((design.category_count, design.agent_count))
    task, weights = (np.zeros((size, dimensions)) for size in (design.category.size, design.scores.shape[1]))
    return State(design.prior_mean, interaction[:, 0], interaction, agent, task, weights)


class _Fit(Generic[C]):
    """The posterior so far, and the steps of a sweep."""

    def __init__(
        self,
        design: Design[C],
        scales: Mapping[str, float],
        dimensions: int,
        start: State | JointFit[C] | None,
        left_out: Bools | None,
    ) -> None:
        from scipy.sparse import csr_array

        self.design, self.likelihood = design, design.cells.likelihood(scales, left_out)
        n, m, g, f = design.category.size, design.agent_count, design.category_count, design.prior_sd.size
        starts = np.searchsorted(design.task, np.arange(n + 1))
        self.table = csr_array((np.zeros(design.task.size), design.agent, starts), (n, m))
        self.turned = self.table.T  # shares the values
        self.group = design.category[design.task] * m + design.agent
        self.sweeps = 0
        self.is_interaction = np.ones((g, m))
        self.is_interaction[-1], self.is_interaction[:, -1] = 0.0, 0.0
        sds = _agent_sds(scales, dimensions)
        self.now = JointFit(
            design=design,
            likelihood=self.likelihood,
            scales=scales,
            state=prior_state(design, dimensions, scales["task"]),
            coefficient_root=np.diag(design.prior_sd),
            category_given=np.zeros((g, f)),
            category_sd=_known(np.full(g, scales["category"])),
            absorbed=np.zeros((n, dimensions)),
            agent_cov=_known(np.tile(np.diag(sds**2), (m, 1, 1))),
            task_given=_known(np.tile(np.eye(dimensions), (n, 1, 1))),
            leverage=np.zeros((n, dimensions)),
            interaction_var=scales["interaction"] ** 2 * self.is_interaction,
        )
        self.unsettled = _SWEEPS_PER_VARIANCE  # sweeps in which variances change much
        if isinstance(start, JointFit):
            self.now, self.unsettled = replace(start, design=design, likelihood=self.likelihood, scales=scales), 0
        self.rescale(self.now)
        if isinstance(start, State):
            self.move(state=self.with_dimensions(start, dimensions, scales))
        self.expect()

    def rescale(self, now: JointFit[C]) -> None:
        """Go to another state and other scales."""
        self.now, self.design, scales, dimensions = now, now.design, now.scales, now.absorbed.shape[1]
        self.agent_prior = np.diag(_agent_sds(scales, dimensions) ** -2.0)
        self.agent_mean = np.array([0.0, scales["task"], *[0.0] * (dimensions - 1)])
        self.category_prior, self.interaction_prior = scales["category"] ** -2.0, scales["interaction"] ** -2.0

    def move(self, state: State, **posterior: Any) -> None:
        """Go to another state."""
        self.now = replace(self.now, state=state, **posterior)

    def expect(self) -> None:
        """Compute the predictors of the cells, and the weight and the residual of each in the next step."""
        pairs = self.design.task, self.design.agent
        self.predictor = self.now.mean(*pairs)
        if self.sweeps <= self.unsettled or self.sweeps % _SWEEPS_PER_VARIANCE == 0:
            self.variance = np.add(*self.now.variances(*pairs))
        self.weight, self.residual = self.likelihood.expect(self.predictor, self.variance)

    def sweep(self) -> float:
        """Take one step of each block; return the root mean square change of predictors."""
        before, count = self.predictor, self.likelihood.effective_count
        self.step_tasks()
        if self.sweeps % _SWEEPS_PER_STEP == 0 and self.now.scales.get("features"):
            self.step_weights()
        self.sweeps += 1
        self.step_shared()
        self.step_agents()
        self.step_interactions()
        self.expect()
        return float(np.sqrt((count * (self.predictor - before) ** 2).sum() / max(count.sum(), _TINY)))

    def own(self) -> Floats:
        """The part of the cells' predictors that agents and tasks make together."""
        return self.now.own(self.design.task, self.design.agent)

    def step_tasks(self) -> None:
        """Fit each task given all else."""
        state, covariance, before = self.now.state, self.now.agent_cov, self.own()
        ability, loading, k = state.agent[:, :1], state.agent[:, 1:], state.task.shape[1]
        square = (covariance[:, 1:, 1:] + outer_squares(loading)).reshape(-1, k * k)
        self.table.data[:] = self.weight
        sums = self.table @ np.hstack([square, covariance[:, 0, 1:] + ability * loading, loading])
        given = _known(inverses(sums[:, : k * k].reshape(-1, k, k) + np.eye(k)))
        self.table.data[:] = self.residual + self.weight * before
        known = self.table @ loading - sums[:, k * k : k * (k + 1)]
        known += self.design.scores @ state.weights
        step = _known(_limited(times_each(known, given) - state.task))
        self.sums = sums[:, k * (k + 1) :]
        absorbed = times_each(self.sums, given)
        self.move(state._replace(task=state.task + step), task_given=given, absorbed=absorbed)
        self.residual -= self.weight * (self.own() - before)

    def step_weights(self) -> None:
        """Fit the weights of the scores, with the tasks eliminated."""
        state, given, before = self.now.state, self.now.task_given, self.own()
        loading_square = (state.agent[:, 1:] ** 2).sum(axis=0)
        points = Points(state.task[:-1], given[:-1])
        scale = self.now.scales["features"]
        found = step_weights(self.design.scores[:-1], state.weights, points, loading_square, scale)
        task, leverage = state.task.copy(), np.zeros(state.task.shape)
        task[:-1] += times_each(found.shift, given[:-1])
        leverage[:-1] = found.leverage
        self.move(state._replace(task=task, weights=found.weights), leverage=leverage)
        self.residual -= self.weight * (self.own() - before)

    def step_shared(self) -> None:
        """Fit coefficients and categories together, with the tasks eliminated (Schur complement)."""
        design, state, absorbed = self.design, self.now.state, self.now.absorbed
        information = design.by_task(self.weight) - dots(self.sums, absorbed)
        residual = design.by_task(self.residual)
        weighted = information[:, None] * design.covariates
        slope = np.einsum("tf,t->f", design.covariates, residual)
        slope -= (state.coefficients - design.prior_mean) / design.prior_sd**2
        own = design.by_category(information) + self.category_prior
        pull = _known(design.by_category(residual) - self.category_prior * state.category)
        cross = _known(np.stack([design.by_category(column) for column in weighted.T], axis=1))
        given = cross / own[:, None]
        precision = np.einsum("tf,te->fe", design.covariates, weighted) + np.diag(design.prior_sd**-2.0)
        covariance = np.linalg.inv(precision - np.einsum("gf,ge->fe", cross, given))
        step = np.einsum("fe,e->f", covariance, slope - np.einsum("gf,g->f", given, pull))
        step = _limited(np.append(step, pull / own - np.einsum("gf,f->g", given, step))[None])[0]
        coefficients, category = np.split(step, [slope.size])
        shift = dots(design.covariates, coefficients) + category[design.category]
        self.move(
            state._replace(
                coefficients=state.coefficients + coefficients,
                category=state.category + category,
                task=state.task - absorbed * shift[:, None],
            ),
            coefficient_root=np.linalg.cholesky(covariance),
            category_given=given,
            category_sd=_known(own**-0.5),
        )
        self.residual -= self.weight * shift[design.task] * self.now.left(design.task, design.agent)

    def step_agents(self) -> None:
        """Fit each agent given all else."""
        state, size, before = self.now.state, self.now.state.agent.shape[1], self.own()
        point = np.column_stack([np.ones(state.task.shape[0]), state.task])
        self.table.data[:] = self.weight
        sums = self.turned @ self.now.points()
        agent_cov = _known(inverses(sums.reshape(-1, size, size) + self.agent_prior))
        self.table.data[:] = self.residual + self.weight * before
        known = self.turned @ point + np.einsum("ij,j->i", self.agent_prior, self.agent_mean)
        step = _known(_limited(times_each(known, agent_cov) - state.agent))
        self.move(state._replace(agent=state.agent + step), agent_cov=agent_cov)
        self.residual -= self.weight * (self.own() - before)

    def step_interactions(self) -> None:
        """Fit each interaction given all else."""
        state, shape = self.now.state, self.is_interaction.shape
        sums = [np.bincount(self.group, values, shape[0] * shape[1]) for values in (self.weight, self.residual)]
        variance = self.is_interaction / (sums[0].reshape(shape) + self.interaction_prior)
        step = variance * (sums[1].reshape(shape) - self.interaction_prior * state.interaction)
        step = np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        self.move(state._replace(interaction=state.interaction + step), interaction_var=variance)

    def with_dimensions(self, start: State, dimensions: int, scales: Mapping[str, float]) -> State:
        """Add the dimensions that a start does not have: what the agents have in common beyond it."""
        missing = dimensions + 1 - start.agent.shape[1]
        if missing <= 0:
            return start
        known = replace(self.now, state=start).mean(self.design.task, self.design.agent)
        weight, residual = self.likelihood.expect(known, np.zeros(known.size))
        self.table.data[:] = residual / np.sqrt(1.0 + weight)
        table = self.table[:-1, :-1]
        common = (table.T @ table).toarray()
        np.fill_diagonal(common, 0.0)  # what single agents vary by themselves
        vectors = np.linalg.eigh(common)[1][:, : -missing - 1 : -1]
        size = _FIRST_LOADINGS * scales["loading"] * scales["task"] * len(vectors) ** 0.5
        loadings = np.vstack([size * vectors, np.zeros((1, vectors.shape[1]))])
        none = np.zeros((start.task.shape[0], loadings.shape[1]))
        return start._replace(
            agent=np.hstack([start.agent, loadings]),
            task=np.hstack([start.task, none]),
            weights=np.hstack([start.weights, np.zeros((len(start.weights), loadings.shape[1]))]),
        )


def _agent_sds(scales: Mapping[str, float], dimensions: int) -> Floats:
    """Prior standard deviations of an agent's ability and loadings, shape (1 + K,)."""
    first = scales.get("discrimination", DISCRIMINATION) * scales["task"]
    return np.array([scales["agent"], first, *[scales["loading"] * scales["task"]] * (dimensions - 1)])


def _known(values: Floats) -> Floats:
    """Set the last row, that of the unknown, to 0."""
    values[-1] = 0.0
    return values


def _limited(step: Floats) -> Floats:
    """Shorten steps, shape (r, s), whose largest component is too long."""
    longest = np.abs(step).max(axis=1, initial=_TINY)
    return np.asarray(step * np.minimum(1.0, _LONGEST_STEP / longest)[:, None])

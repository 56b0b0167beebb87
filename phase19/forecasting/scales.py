"""The choice of the success model's scales and dimensions, by the likelihood of cells and tasks left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.cells import Cells, averaged, fit_cells
from phase19.forecasting.classes import Classes, fit_classes
from phase19.forecasting.joint import ROUGH, Design, JointFit, State, fit_joint
from phase19.forecasting.products import pair_dots
from phase19.forecasting.records import LEVELS, logit, sigmoid

_DIMENSIONS = (1, 2, 3, 5)  # that are tried, in this order, until one more gains nothing
_MOST_AGENTS = 2_000  # with more, there is one dimension: others are found in a matrix of agents by agents
_CELLS = 12_000  # to choose from; of more, whole tasks are sampled
_MOST_SPLITS = 4  # of few cells
_SHARE = 0.2  # of tasks, and of the other tasks' cells, left out in a split
_MIN_GAIN = 0.1  # smallest gain of log-likelihood that is worth a step
_MIN_GAIN_OF_FEATURES = 1.0  # the same of features, whose search changes other scales too
_FACTORS = (2.0, 1.4)
_OF_DIMENSIONS = ("task", "loading", "interaction")  # scales that change with the number of dimensions
_STRENGTHS, _WEIGHTS = (1.0, 2.0, 6.0, 16.0), (0.3, 0.5, 0.7, 1.0)  # of latent classes, and of their forecast
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
_LOG_MULTIPLES = 0.5 * np.arange(-5, 6)  # grid of an agent's log multiple of the concentration
# Irrational steps whose multiples spread evenly (Roberts, 2018): of tasks, and of tasks and agents together.
_GOLDEN, _PLASTIC = 0.6180339887498949, (0.7548776662466927, 0.5698402909980532)


class Choice(NamedTuple):
    """Scales by name, and the number of dimensions."""

    scales: dict[str, float]
    dimensions: int
    score: float
    states: list[State]


def choose(design: Design[Cells], medians: Mapping[str, float], spread: float) -> tuple[dict[str, float], int]:
    """Choose scales and the number of dimensions by the likelihood of what is left out, and the prior.

    Parameters
    ----------
    design
        All cells.
    medians, spread
        Prior medians of the scales, and the standard deviation of their logarithms.

    Notes
    -----
    Each split leaves out a fifth of the tasks, and a fifth of the cells of the others. The former tell how much
    categories say of a task never seen, the latter what agents do with tasks that others have tried. One scale at a
    time is multiplied by a factor while the score improves, first with one dimension, then with more while that helps.
    The search ignores risk levels, because a level may have been set from the outcomes that are left out. It would then
    forecast them too well, and tasks would seem to differ only by their level. Last, features count if they help.
    """
    covariates = design.covariates.copy()
    covariates[:, LEVELS] = covariates[:, LEVELS].mean(axis=0)
    design = replace(design, covariates=covariates)
    step = -(-design.task.size // _CELLS)
    design = design.part((design.task % step == 0) | (design.task == design.category.size - 1)).compact()
    splits = list(_splits(design))
    names = [name for name in medians if name != "concentration" or (design.cells.tries > 1.0).any()]

    def score(scales: dict[str, float], dimensions: int, starts: Sequence[State | None]) -> Choice:
        found, states = 0.0, []
        for (is_task_out, is_cell_out), start in zip(splits, starts, strict=True):
            fit = fit_joint(design, scales, dimensions, start, tolerance=ROUGH, left_out=is_task_out | is_cell_out)
            strength = scales["concentration"]
            found += _of_cells(fit, is_cell_out, strength) + _of_tasks(fit, is_task_out, strength)
            states.append(fit.state)
        away = sum(np.log(scales[name] / median) ** 2 for name, median in medians.items())
        return Choice(scales, dimensions, found / len(splits) - 0.5 * float(away) / spread**2, states)

    best = score(dict(medians), 1, [None] * len(splits))
    best = _searched(best, score, [(factor, name) for factor in _FACTORS for name in names if name != "loading"])
    most = _DIMENSIONS[-1] if design.agent_count <= _MOST_AGENTS else 1
    best = _with_dimensions(best, score, most)
    of_classes = _class_scales(design, best, splits)
    if design.scores.size:
        more = score(best.scales | {"features": 1.0}, best.dimensions, best.states)
        more = _searched(more, score, [(factor, "features") for factor in _FACTORS])
        more = _searched(more, score, [(_FACTORS[-1], name) for name in (*names, "features")])
        more = _with_dimensions(more, score, most)
        if more.score > best.score + _MIN_GAIN_OF_FEATURES:
            # Classes know nothing of the features of tasks never seen.
            best, of_classes = more, _class_scales(design, more, splits) | {"class_weight_new": 0.0}
    return best.scales | of_classes, best.dimensions


def _class_scales(design: Design[Cells], joint: Choice, splits: Sequence[tuple[Bools, Bools]]) -> dict[str, float]:
    """Choose what the classes' forecast weighs beside that of the joint model, and how strong the prior of rates is."""
    concentration, weights = joint.scales["concentration"], (0.0, *_WEIGHTS)
    found = np.zeros((2, len(_STRENGTHS), len(weights)))  # of tasks and of cells
    for outs, start in zip(splits, joint.states, strict=True):
        out = outs[0] | outs[1]
        fit = fit_joint(design, joint.scales, joint.dimensions, start, tolerance=ROUGH, left_out=out)
        pairs, cells = (design.task[out], design.agent[out]), design.cells.part(out)
        log_odds = averaged(fit.mean(*pairs), np.add(*fit.variances(*pairs)))
        kept, classes = design.part(~out), None
        for row, strength in enumerate(_STRENGTHS):
            classes = classes_of(kept, fit, concentration, strength, classes)  # starts from the one before
            for column, weight in enumerate(weights):
                pooled = with_classes(log_odds, classes, np.full(len(classes.membership), weight), *pairs)
                likelihood = fit_cells(pooled, cells, concentration).log_likelihood / len(splits)
                found[:, row, column] += [likelihood[own[out]].sum() for own in outs]
    row = int(found.max(axis=2).sum(axis=0).argmax())
    columns = found[:, row].argmax(axis=1)
    better = found[:, row].max(axis=1) > found[:, row, 0] + _MIN_GAIN
    cold, warm = (float(weights[column]) if gain else 0.0 for column, gain in zip(columns, better, strict=True))
    return {"class_strength": _STRENGTHS[row], "class_weight": warm, "class_weight_new": cold}


def classes_of(
    design: Design[Cells], fit: JointFit[Cells], concentration: float, strength: float, before: Classes | None = None
) -> Classes:
    """Fit latent classes to the cells of known tasks and agents."""
    from scipy.sparse import csr_array

    shape = design.category.size - 1, design.agent_count - 1
    is_known = (design.task < shape[0]) & (design.agent < shape[1]) & (design.cells.tries > 0.0)
    cells, where = design.cells.part(is_known), (design.task[is_known], design.agent[is_known])
    strength_of_cell = concentration * cells.tightness
    share = (strength_of_cell + 1.0) / (strength_of_cell + cells.tries)
    wins, tries = (csr_array((values * share, where), shape) for values in (cells.wins, cells.tries))
    return fit_classes(wins, tries, design.category[:-1], fit.state.agent[:-1, 0], strength, before=before)


def with_classes(log_odds: Floats, classes: Classes, weight: Floats, task: Ints, agent: Ints) -> Floats:
    """Average the probabilities of p cells with those of the classes; return log odds, shape (p,).

    The unknown task and the unknown agent have no class.
    """
    n, m = classes.membership.shape[0], classes.rate.shape[1]
    is_known = (task < n) & (agent < m)
    pooled = log_odds.copy()
    rate = pair_dots(classes.membership, classes.rate.T, task[is_known], agent[is_known])
    own = sigmoid(log_odds[is_known])
    pooled[is_known] = logit(own + weight[task[is_known]] * (rate - own))
    return pooled


def _of_cells(fit: JointFit[Cells], out: Bools, concentration: float) -> float:
    """Log-likelihood of cells left out, each by itself."""
    pairs, cells = (fit.design.task[out], fit.design.agent[out]), fit.design.cells.part(out)
    log_odds = averaged(fit.mean(*pairs), np.add(*fit.variances(*pairs)))
    return float(fit_cells(log_odds, cells, concentration).log_likelihood.sum())


def _of_tasks(fit: JointFit[Cells], out: Bools, concentration: float) -> float:
    """Log-likelihood of tasks left out, each with all its cells, which share what is not known of the task."""
    if not out.any():
        return 0.0
    pairs, cells = (fit.design.task[out], fit.design.agent[out]), fit.design.cells.part(out)
    _, place = np.unique(pairs[0], return_inverse=True)
    mean, (of_task, others) = fit.mean(*pairs), fit.variances(*pairs)
    by_node = [
        np.bincount(
            place, fit_cells(averaged(mean + node * np.sqrt(of_task), others), cells, concentration).log_likelihood
        )
        for node in _NODES
    ]
    likelihood = np.stack(by_node, axis=1)
    most = likelihood.max(axis=1, keepdims=True)
    return float((most[:, 0] + np.log(np.exp(likelihood - most) @ _NODE_WEIGHTS)).sum())


def _searched(best: Choice, score: Callable[..., Choice], moves: Sequence[tuple[float, str]]) -> Choice:
    """Multiply one scale at a time while the score improves."""
    for factor, name in moves:
        before = best
        for step in (factor, 1.0 / factor):
            if best is not before:
                break  # a step back leads to where it came from
            while True:
                changed = {**best.scales, name: best.scales[name] * step}
                found = score(changed, best.dimensions, best.states)
                if found.score <= best.score + _MIN_GAIN:
                    break
                best = found
    return best


def _with_dimensions(best: Choice, score: Callable[..., Choice], most: int) -> Choice:
    """Add dimensions while the score improves."""
    for dimensions in _DIMENSIONS:
        if best.dimensions < dimensions <= most:
            more = score(best.scales, dimensions, best.states)
            more = _searched(more, score, [(_FACTORS[-1], name) for name in _OF_DIMENSIONS])
            if more.score <= best.score + _MIN_GAIN:
                break
            best = more
    return best


def _splits(design: Design[Cells]) -> Iterator[tuple[Bools, Bools]]:
    """Yield which cells are left out, shape (c,): those of whole tasks, and single ones."""
    n, m = design.category.size, design.agent_count
    agent = _ranks(design.agent, design.cells.wins, design.cells.tries, m)
    # Tasks with equal counts are told apart by the agents that succeeded, so that names hardly matter.
    task = _ranks(
        design.task, design.cells.wins * (1.0 + 0.1 * _spread(agent, _GOLDEN)[design.agent]), design.cells.tries, n
    )
    is_known = (design.task < n - 1) & (design.agent < m - 1)
    for split in range(max(1, min(_MOST_SPLITS, _CELLS // max(design.task.size, 1)))):
        shift = split / _MOST_SPLITS
        is_task_out = (_spread(task, _GOLDEN) + shift) % 1.0 < _SHARE
        by_task, by_agent = (_spread(rank, step) for rank, step in zip((task, agent), _PLASTIC, strict=True))
        is_cell_out = (by_task[design.task] + by_agent[design.agent] + shift) % 1.0 < _SHARE
        yield is_known & is_task_out[design.task], is_known & is_cell_out & ~is_task_out[design.task]


def _spread(rank: Ints, step: float) -> Floats:
    return np.asarray(rank * step % 1.0)


def _ranks(group: Ints, wins: Floats, tries: Floats, size: int) -> Ints:
    """Rank groups of cells by their counts."""
    won, tried = (np.bincount(group, values, size) for values in (wins, tries))
    return np.argsort(np.lexsort((tried, won)))


def agent_consistency(design: Design[Cells], log_odds: Floats, concentration: float, spread: float) -> Floats:
    """Estimate each agent's factor on its pairs' concentration, shape (m,): below 1 if repeated attempts end alike.

    Parameters
    ----------
    design
        All cells.
    log_odds
        Log odds of the mean forecast of each cell, shape (c,).
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
    keep = (design.cells.tries > 1.0) & (design.task < design.category.size - 1)
    cells, agent = design.cells.part(keep), design.agent[keep]
    by_factor = [fit_cells(log_odds[keep], cells, concentration * np.exp(x)).log_likelihood for x in _LOG_MULTIPLES]
    support = np.stack([np.bincount(agent, values, design.agent_count) for values in by_factor], axis=1)
    support = support - 0.5 * (_LOG_MULTIPLES / spread) ** 2
    posterior = np.exp(support - support.max(axis=1, keepdims=True))
    return np.asarray(np.exp(posterior @ _LOG_MULTIPLES / posterior.sum(axis=1)))

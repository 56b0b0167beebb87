"""Numeric features of tasks: their scores, and the weights with which scores tell where tasks lie in the dimensions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from phase19.forecasting import Floats

_LONGEST_STEP = 1.0  # of the tasks in one step of the weights (root mean square)
_MOST_SCORES = 256  # that count at once: a step is O(scores^3)
_MAIN = 3  # features are named: those that change a forecast most
_SMALLEST_EFFECT = 0.05  # log odds: about one percentage point
_TINY = 1e-9


class TaskScores(NamedTuple):
    """Scores of the features: `names` of p features, and `values` of n tasks, shape (n, q)."""

    names: Sequence[str]
    values: Floats

    def with_unknown(self) -> Floats:
        """Add the unknown task, an average one, shape (n + 1, q)."""
        return np.vstack([self.values, np.zeros((1, self.values.shape[1]))])


class Points(NamedTuple):
    """Posterior of n tasks in K dimensions given the weights: `mean` (n, K) and `covariance` (n, K, K)."""

    mean: Floats
    covariance: Floats


class WeightStep(NamedTuple):
    """What a step of the weights changes.

    `weights` (q, K); `shift` (n, K), by which the prior means of the tasks move; and `leverage` (n, K), the variance of
    these means from errors of the weights.
    """

    weights: Floats
    shift: Floats
    leverage: Floats


def task_scores(features: pl.DataFrame | None, task_ids: pl.Series) -> TaskScores:
    """Compute the scores of tasks from `frames.FEATURES`; a task or a value that is missing has the mean, 0.

    Notes
    -----
    Each feature gives two standardised columns: the normal scores of its ranks, which no outlier or change of unit
    affects (Van der Waerden, 1952), and their squares. Features that do not differ between tasks give none.
    """
    known = pl.DataFrame({"task_id": task_ids})
    if features is not None:
        known = known.join(features, on="task_id", how="left", maintain_order="left")
    known = known.select(name for name in known.columns[1:] if known[name].drop_nulls().n_unique() > 1)
    if not known.width:
        return TaskScores([], np.zeros((task_ids.len(), 0)))
    from scipy.special import ndtri

    level = known.select((pl.all().rank("average") - 0.5) / pl.all().count()).to_numpy()
    score = _standardised(ndtri(level))
    both = np.stack([score, _standardised(np.where(np.isfinite(level), score, np.nan) ** 2)], axis=2)
    return TaskScores(known.columns, both.reshape(task_ids.len(), -1))


def step_weights(scores: Floats, weights: Floats, tasks: Points, loading_square: Floats, scale: float) -> WeightStep:
    """Take a Newton step of the weights, one dimension at a time, with the tasks eliminated.

    Parameters
    ----------
    scores
        Scores of n tasks, shape (n, q).
    weights
        Weights so far, shape (q, K).
    tasks
        Where their records and scores put the tasks.
    loading_square
        Sum of the agents' squared loadings on each dimension, shape (K,).
    scale
        Prior standard deviation that all scores together give the tasks in a dimension.

    Notes
    -----
    A task is Normal(scores @ weights, I). A change of its prior mean moves it by its covariance times the change.
    """
    relevance = scale**2 * _relevance(scores, weights, tasks, loading_square)
    weights, kept = weights.copy(), np.flatnonzero(relevance)
    own, prior = scores[:, kept], 1.0 / relevance[kept]
    shift, leverage = np.zeros(tasks.mean.shape), np.zeros(tasks.mean.shape)
    for k in range(weights.shape[1]):
        dropped = weights[:, k].copy()
        dropped[kept] = 0.0
        weights[:, k] -= dropped
        shift[:, k] -= scores @ dropped
        of_task = tasks.covariance[:, k]
        away = tasks.mean[:, k] + (of_task * shift).sum(axis=1) - scores @ weights[:, k]
        covariance = np.linalg.inv(own.T @ ((1.0 - of_task[:, k, None]) * own) + np.diag(prior))
        step = covariance @ (own.T @ away - prior * weights[kept, k])
        moved = own @ step
        length = min(1.0, _LONGEST_STEP / max(float(np.sqrt((moved**2).mean())), _TINY))
        weights[kept, k] += length * step
        shift[:, k] += length * moved
        leverage[:, k] = ((own @ covariance) * own).sum(axis=1)
    return WeightStep(weights, shift, leverage)


def main_features(effects: Floats, names: Sequence[str]) -> pl.Series:
    """Name the features with the largest effects on the log odds of p pairs, the largest first.

    Parameters
    ----------
    effects
        What each score adds to the log odds, shape (p, q).
    names
        Names of the features, in the order of the scores.
    """
    size = np.abs(effects.reshape(len(effects), len(names), -1).sum(axis=2))
    order = np.argsort(-size, axis=1, kind="stable")[:, :_MAIN]
    is_large = np.take_along_axis(size, order, axis=1) >= _SMALLEST_EFFECT
    places = pl.DataFrame(np.where(is_large, order, len(names)))
    named = places.select(pl.all().replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String))
    return named.select(main_features=pl.concat_list(pl.all()).list.drop_nulls()).to_series()


def _relevance(scores: Floats, weights: Floats, tasks: Points, loading_square: Floats) -> Floats:
    """Share of each score in the prior variance of the tasks, shape (q,); 0 if it tells no more than chance would.

    Notes
    -----
    What the records say of the tasks in each dimension is regressed on each score by itself. The score's share is
    1 - 1 / F, where F is the squared slope over its variance, averaged over dimensions (positive-part shrinkage: James
    and Stein, 1961). All shares together are at most 1.
    """
    variance = np.einsum("tkk->tk", tasks.covariance)
    weight, value = 1.0 - variance, tasks.mean - variance * (scores @ weights)  # weight times what the records say
    total = np.maximum(weight.sum(axis=0), _TINY)
    spread = np.maximum((value**2 / np.maximum(weight, _TINY)).sum(axis=0) / total, 1.0)
    mean = scores.T @ weight / total
    square = np.maximum((scores**2).T @ weight - total * mean**2, _TINY)
    slope = (scores.T @ value - mean * value.sum(axis=0)) / square
    ratio = (slope**2 @ loading_square) / np.maximum((spread / square) @ loading_square, _TINY)
    share = np.maximum(0.0, 1.0 - 1.0 / np.maximum(ratio, _TINY))
    share[np.argsort(-share, kind="stable")[_MOST_SCORES:]] = 0.0
    return np.asarray(share / max(float(share.sum()), 1.0))


def _standardised(values: Floats) -> Floats:
    """Shift and scale columns to mean 0 and standard deviation 1; missing values become 0."""
    known = np.ma.masked_invalid(values)
    return np.asarray(((known - known.mean(axis=0)) / np.maximum(known.std(axis=0), _TINY)).filled(0.0))

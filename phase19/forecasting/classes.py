"""Latent classes of tasks: at the tasks of a class, each agent succeeds at one rate."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.products import at
from phase19.forecasting.records import logit, sigmoid

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CLASSES = 16  # of a start; more hardly matter, because rates shrink towards those of an agent and a difficulty
_PULL = 3.0  # tasks of average class that count beside those of a category
_LEVEL_VARIANCE = 4.0  # of a class's log odds, in the prior
_OVERLAP = 0.5  # standard deviation of a class in a start, in standard deviations of all tasks
_TURN = 0.7  # weight of what agents disagree on in a start, beside the difficulty
_TURNS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # starts: multiples of the two leading disagreements
_LEAST_AGENTS = 3  # with fewer there are no two disagreements
_MOST_AGENTS = 2_000  # disagreements are found in a matrix of agents by agents
_ROUNDS = 40  # of expectation-maximization, at most
_TOLERANCE = 2e-3  # a start has converged if rates change by less in a round (root mean square)
_EDGE, _TINY = 1e-3, 1e-9


class Classes(NamedTuple):
    """Classes of all starts: `membership` (n, q) of tasks, whose sum is 1, and `rate` (q, m) of agents."""

    membership: Floats
    rate: Floats


def fit_classes(
    wins: "csr_array",
    tries: "csr_array",
    category: Ints,
    ability: Floats,
    strength: float,
    *,
    before: Classes | None = None,
) -> Classes:
    """Fit latent classes by expectation-maximization, and average over several starts.

    Parameters
    ----------
    wins, tries
        Successes and attempts of n tasks and m agents, shape (n, m), with the same cells stored. An attempt may count
        as a fraction.
    category
        Category of each task, shape (n,), from 0.
    ability
        Log odds of agents up to a common constant, shape (m,).
    strength
        Attempts that the prior of each rate counts as. Its mean is the rate of an agent of that ability at the class's
        difficulty.
    before
        An earlier fit, from which this one starts if it has as many tasks.

    Notes
    -----
    A task without records belongs to the classes in the proportions of its category. The starts group tasks by
    difficulty and by the directions in which agents disagree most, so they do not depend on names or order. A round is
    O(records x classes).
    """
    from scipy.sparse import csr_array

    tasks = np.arange(category.size)
    members = csr_array((np.ones(category.size), (category, tasks)))  # of categories
    is_known = tries.sum(axis=1) > 0.0
    total = float(logit(_smoothed(wins.sum(), tries.sum(), 0.5)))
    if before is not None and before.membership.shape[0] == is_known.size:
        count = before.rate.shape[0] // CLASSES
        starts = [count * start for start in np.split(before.membership, count, axis=1)]
    else:
        starts = _starts(wins, tries, ability, is_known)
    memberships, rates = [], []
    for start in starts:
        member, rate, level = start, np.zeros((ability.size, CLASSES)), np.full(CLASSES, total)
        for _ in range(_ROUNDS):
            member = member * is_known[:, None]
            won, tried = wins.T @ member, tries.T @ member  # (m, CLASSES)
            level = _levels(won, tried, ability, level, total)
            prior = np.clip(sigmoid(ability[:, None] + level), _EDGE, 1.0 - _EDGE)
            rate, last = (won + strength * prior) / (tried + strength), rate
            log_share = np.log(_shares(member, members))
            member = _normalised(wins @ logit(rate) + tries @ np.log1p(-rate) + at(log_share, category))
            if ((rate - last) ** 2).mean() < _TOLERANCE**2:
                break
        memberships.append(member / len(starts))
        rates.append(rate.T)
    return Classes(np.hstack(memberships), np.vstack(rates))


def _levels(won: Floats, tried: Floats, ability: Floats, level: Floats, total: float) -> Floats:
    """Take one Newton step of the classes' log odds, shape (CLASSES,)."""
    rate = sigmoid(ability[:, None] + level)
    slope = (won - tried * rate).sum(axis=0) - (level - total) / _LEVEL_VARIANCE
    information = (tried * rate * (1.0 - rate)).sum(axis=0) + 1.0 / _LEVEL_VARIANCE
    return np.asarray(level + np.clip(slope / information, -1.0, 1.0))


def _shares(member: Floats, members: "csr_array") -> Floats:
    """Compute the share of each class in each category, shape (g, CLASSES); `members` (g, n) holds their tasks."""
    share = (member.sum(axis=0) + 1.0) / (member.sum() + CLASSES)
    count = members @ member
    return np.asarray((count + _PULL * share) / (count.sum(axis=1, keepdims=True) + _PULL))


def _starts(wins: "csr_array", tries: "csr_array", ability: Floats, is_known: Bools) -> list[Floats]:
    """Make memberships to start from, of shape (n, CLASSES): overlapping stretches of a score of tasks."""
    from scipy.special import ndtri

    total = _smoothed(wins.sum(), tries.sum(), 0.5)
    difficulty = logit(_smoothed(wins.sum(axis=1), tries.sum(axis=1), total))
    scores = [_standardised(difficulty, is_known)]
    if _LEAST_AGENTS <= ability.size <= _MOST_AGENTS:
        expected, task = wins.copy(), np.repeat(np.arange(is_known.size), np.diff(tries.indptr))
        expected.data = tries.data * sigmoid(ability[tries.indices] + difficulty[task])
        away = wins - expected
        common = (away.T @ away).toarray()
        np.fill_diagonal(common, 0.0)  # what single agents vary by themselves
        turned = [_standardised(own, is_known) for own in (away @ np.linalg.eigh(common)[1][:, :-3:-1]).T]
        scores = [_standardised(scores[0] + _TURN * (x * turned[0] + y * turned[1]), is_known) for x, y in _TURNS]
    centres = ndtri((np.arange(CLASSES) + 0.5) / CLASSES)
    return [_normalised(-0.5 * ((score[:, None] - centres) / _OVERLAP) ** 2) for score in scores]


def _smoothed(wins: Floats | float, tries: Floats | float, prior: Floats | float) -> Floats:
    """Compute success rates to which two attempts at the prior's rate are added."""
    return np.asarray((wins + 2.0 * prior) / (tries + 2.0))


def _standardised(score: Floats, is_known: Bools) -> Floats:
    """Shift and scale a score of tasks so that over the known tasks its mean is 0 and its standard deviation 1."""
    own = score[is_known] if is_known.any() else score
    return np.asarray((score - own.mean()) / (own.std() + _TINY))


def _normalised(log_weight: Floats) -> Floats:
    """Convert log weights, shape (n, q), to weights with sum 1."""
    weight = log_weight - log_weight.max(axis=1, keepdims=True)
    np.exp(weight, out=weight)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(weight)

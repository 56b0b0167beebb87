"""Cells of attempts of one (task, agent) pair, and the beta-binomial likelihood of their counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.records import logit, sigmoid

LOGISTIC_NORMAL = (16.0 * np.sqrt(3.0) / (15.0 * np.pi)) ** 2  # Zeger, Liang, Albert (1988), section 3
_PROBIT = np.pi / 8.0  # the mean of a logistic function over a normal (MacKay, 1992)
_TINY = 1e-9
_FEW = 16  # up to this many attempts, a product is cheaper than special functions, and cannot over- or underflow


def averaged(mean: Floats, variance: Floats) -> Floats:
    """Compute the log odds of the mean probability if log odds are normal (Zeger, Liang, Albert, 1988)."""
    return np.asarray(mean / np.sqrt(1.0 + LOGISTIC_NORMAL * variance))


def mean_log_odds(p: Floats, variance: Floats) -> Floats:
    """Compute the mean of normal log odds whose mean probability is `p`: the inverse of :func:`averaged`."""
    return np.asarray(logit(p) * np.sqrt(1.0 + LOGISTIC_NORMAL * variance))


# A cell holds the attempts of one (task, agent) pair. Its success rate has a Beta distribution around the forecast.


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts of c cells; arrays of shape (c,).

    Attributes
    ----------
    wins, losses
        Successes and failures; a retry counts as an attempt like the first.
    tightness
        Factor on the concentration: large for a summary, which averages over pairs; below 1 for attempts that name no
        agent.
    shrink
        Factor on the log odds: below 1 for a summary, which averages over tasks.
    won, lost
        Among cells of few attempts, the indices of those with more than 0, 1, 2 ... wins and losses, and the share of
        the next one that each has: 1, or less for a fraction of an attempt.
    many
        Indices of the cells with many attempts.
    """

    wins: Floats
    losses: Floats
    tightness: Floats
    shrink: Floats
    won: list[tuple[Ints, Floats | float]] = field(init=False, repr=False, compare=False)
    lost: list[tuple[Ints, Floats | float]] = field(init=False, repr=False, compare=False)
    many: Ints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_few = self.tries <= _FEW
        for name, counts in (("won", self.wins), ("lost", self.losses)):
            most = int(np.ceil(counts[is_few].max(initial=0.0)))
            cells = [np.flatnonzero(is_few & (counts > i)) for i in range(most)]
            shares = [np.minimum(counts[here] - i, 1.0) for i, here in enumerate(cells)]
            parts = [(here, share if (share < 1.0).any() else 1.0) for here, share in zip(cells, shares, strict=True)]
            object.__setattr__(self, name, parts)
        object.__setattr__(self, "many", np.flatnonzero(~is_few))

    @property
    def tries(self) -> Floats:
        """Attempts of each cell."""
        return self.wins + self.losses

    def part(self, keep: Bools) -> "Cells":
        """Select some of the cells."""
        return Cells(self.wins[keep], self.losses[keep], self.tightness[keep], self.shrink[keep])

    def likelihood(self, scales: Mapping[str, float], left_out: Bools | None) -> "CountLikelihood":
        """Return what the counts say about log odds, given the `concentration`; cells left out do not count."""
        strength, tries = scales["concentration"] * self.tightness, self.tries
        count = tries * (strength + 1.0) / np.maximum(strength + tries, _TINY)
        return CountLikelihood(
            shrink=self.shrink,
            effective_count=count if left_out is None else np.where(left_out, 0.0, count),
            won=np.divide(self.wins, tries, out=np.full(tries.size, 0.5), where=tries > 0.0),
        )


class CountLikelihood(NamedTuple):
    """Expected log-likelihood of the counts of c cells if log odds are normal; arrays of shape (c,).

    `shrink` is as in :class:`Cells`, `won` the share of wins, and `effective_count` the number of independent
    attempts that a cell is worth: n (k + 1) / (k + n) of n attempts, its information under the beta-binomial
    distribution.
    """

    shrink: Floats
    effective_count: Floats
    won: Floats

    def expect(self, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """Compute the weight and the residual of each cell, with the logistic function averaged over log odds."""
        scale = np.sqrt(1.0 + _PROBIT * self.shrink**2 * variance)
        rate = sigmoid(self.shrink * mean / scale)
        weight = self.shrink**2 * self.effective_count * rate * (1.0 - rate) / scale
        return weight, self.shrink * self.effective_count * (self.won - rate)


class CellFit(NamedTuple):
    """Log-likelihood of each cell, its slope and information in the log odds, and the posterior rate; shape (c,)."""

    log_likelihood: Floats
    slope: Floats
    information: Floats
    rate: Floats


def fit_cells(log_odds: Floats, cells: Cells, concentration: float) -> CellFit:
    """Compute the beta-binomial likelihood of the cells at the forecast log odds, shape (c,).

    Notes
    -----
    Rate ~ Beta(k p, k (1 - p)), so its posterior mean is (wins + k p) / (n + k). About p, n attempts of one pair carry
    the information of n (k + 1) / (k + n) independent attempts. For few attempts, the likelihood is the product of
    their successive probabilities, (k p + i) / (k + i) for a success after i successes; a fraction of an attempt has
    that fraction of the log probability.
    """
    p = np.clip(sigmoid(cells.shrink * log_odds), _TINY, 1.0 - _TINY)
    k = concentration * cells.tightness
    a = k * p
    b = k - a
    likelihood, slope = np.ones(p.size), np.zeros(p.size)
    for i, (here, share) in enumerate(cells.won):
        reached = a[here] + i
        likelihood[here] *= (reached / (k[here] + i)) ** share
        slope[here] += share / reached
    for i, (here, share) in enumerate(cells.lost):
        reached = b[here] + i
        likelihood[here] *= (reached / (k[here] + (cells.wins[here] + i))) ** share
        slope[here] -= share / reached
    log_likelihood = np.log(likelihood)
    if cells.many.size:
        from scipy.special import betaln, psi

        here = cells.many
        before, after = (a[here], b[here]), (a[here] + cells.wins[here], b[here] + cells.losses[here])
        log_likelihood[here] = betaln(*after) - betaln(*before)
        slope[here] = psi(after[0]) - psi(before[0]) - psi(after[1]) + psi(before[1])
    tries, spread = cells.tries, p * (1.0 - p)
    return CellFit(
        log_likelihood=log_likelihood,
        slope=cells.shrink * k * slope * spread,
        information=cells.shrink**2 * tries * (k + 1.0) / (k + tries) * spread,
        rate=(a + cells.wins) / (k + tries),
    )


def logit_sd(tries: Floats, concentration: Floats | float) -> Floats:
    """Convert a Beta distribution of concentration k + n to a standard deviation of log odds; arrays broadcast.

    Notes
    -----
    The rate's variance is p (1 - p) / (k + n + 1). At p = 1/2, normal log odds around 0 with the result as standard
    deviation give the same variance (table by Gauss-Hermite quadrature, linear in between).
    """
    return np.asarray(np.interp(1.0 / (concentration + tries + 1.0), _VARIANCE_SHARES, _SDS))


_SDS = np.linspace(0.0, 8.0, 81)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_VARIANCE_SHARES = 4.0 * ((sigmoid(_SDS[:, None] * _NODES) - 0.5) ** 2 @ (_WEIGHTS / _WEIGHTS.sum()))

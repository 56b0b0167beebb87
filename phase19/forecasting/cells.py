"""Cells: the attempts of one (task, agent) pair, whose own rate is Beta distributed about what the model says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.forecasting.effects import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CellFit", "Cells", "cell_fit", "logit_sd"]

_TINY = 1e-9
_FEW = 16  # attempts up to which a product is cheaper than special functions; none of its terms over- or underflows


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts of c cells; arrays of shape (c,).

    Attributes
    ----------
    wins, losses
        Successes and failures; a retry counts as an attempt like the first.
    tightness
        What the concentration is multiplied by: huge for a summary, whose tasks average the pairs out, below 1 where
        an attempt names no agent.
    shrink
        What the log odds are multiplied by: below 1 for a summary, an average over tasks.
    won, lost
        Places of the cells with more than 0, 1, 2 ... wins and losses.
    many
        Places of the cells with more attempts than those, or with fractions of one.
    """

    wins: NDArray[np.float64]
    losses: NDArray[np.float64]
    tightness: NDArray[np.float64]
    shrink: NDArray[np.float64]
    won: tuple[NDArray[np.int64], ...] = field(init=False, repr=False, compare=False)
    lost: tuple[NDArray[np.int64], ...] = field(init=False, repr=False, compare=False)
    many: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_few = (self.wins + self.losses <= _FEW) & (self.wins % 1.0 == 0.0) & (self.losses % 1.0 == 0.0)
        object.__setattr__(self, "won", _ladder(np.where(is_few, self.wins, 0.0)))
        object.__setattr__(self, "lost", _ladder(np.where(is_few, self.losses, 0.0)))
        object.__setattr__(self, "many", np.flatnonzero(~is_few))

    def part(self, keep: NDArray[np.bool_]) -> Cells:
        """Some of the cells."""
        return Cells(self.wins[keep], self.losses[keep], self.tightness[keep], self.shrink[keep])

    def without_one(self, *, win: bool) -> Cells:
        """The cells, each less one success or failure where it has one."""
        if win:
            return replace(self, wins=np.maximum(self.wins - 1.0, 0.0))
        return replace(self, losses=np.maximum(self.losses - 1.0, 0.0))


class CellFit(NamedTuple):
    """Each cell's log-likelihood, its slope and information in the log odds, and its posterior rate; (c,)."""

    log_likelihood: NDArray[np.float64]
    slope: NDArray[np.float64]
    information: NDArray[np.float64]
    rate: NDArray[np.float64]


def cell_fit(log_odds: NDArray[np.float64], cells: Cells, concentration: float) -> CellFit:
    """Beta-binomial likelihood of the cells.

    Parameters
    ----------
    log_odds
        What the model says of the pair, shape (c,).
    concentration
        Attempts that the model's word is worth against the pair's own.

    Notes
    -----
    Rate ~ Beta(k p, k (1 - p)), so that its posterior mean is (wins + k p) / (n + k). The information is that of
    n (k + 1) / (k + n) independent attempts, what n attempts of one pair say about p. The likelihood of few attempts
    is the product of their chances one after another, (k p + i) / (k + i) for a success after i successes.
    """
    p = np.clip(sigmoid(cells.shrink * log_odds), _TINY, 1.0 - _TINY)
    k = concentration * cells.tightness
    a = k * p
    b = k - a
    chance, slope = np.ones(p.size), np.zeros(p.size)
    for i, here in enumerate(cells.won):
        reached = a[here] + i
        chance[here] *= reached / (k[here] + i)
        slope[here] += 1.0 / reached
    for i, here in enumerate(cells.lost):
        reached = b[here] + i
        chance[here] *= reached / (k[here] + (cells.wins[here] + i))
        slope[here] -= 1.0 / reached
    log_likelihood = np.log(chance)
    if cells.many.size:
        from scipy.special import betaln, psi

        here = cells.many
        before, after = (a[here], b[here]), (a[here] + cells.wins[here], b[here] + cells.losses[here])
        log_likelihood[here] = betaln(*after) - betaln(*before)
        slope[here] = psi(after[0]) - psi(before[0]) - psi(after[1]) + psi(before[1])
    tries, spread = cells.wins + cells.losses, p * (1.0 - p)
    return CellFit(
        log_likelihood=log_likelihood,
        slope=cells.shrink * k * slope * spread,
        information=cells.shrink**2 * tries * (k + 1.0) / (k + tries) * spread,
        rate=(a + cells.wins) / (k + tries),
    )


def _ladder(counts: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Places of the counts above 0, above 1, and so on."""
    rungs = []
    here = np.flatnonzero(counts)
    while here.size:
        rungs.append(here)
        here = here[counts[here] > len(rungs)]
    return tuple(rungs)


def logit_sd(tries: NDArray[np.float64], concentration: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Standard deviation of log odds whose rate varies as a Beta's of concentration k + n does; arrays broadcast.

    Notes
    -----
    A rate's variance is p (1 - p) / (k + n + 1); a normal on the log odds about 0 with the standard deviation
    found has the same at p = 1/2 (table by Gauss-Hermite quadrature, linear in between).
    """
    share = 1.0 / (concentration + tries + 1.0)
    return np.asarray(np.interp(share, _SHARES, _SDS))


def _variance_shares(sds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of sigmoid(Normal(0, sd^2)) as a share of 1/4."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    return np.asarray(4.0 * ((sigmoid(sds[:, None] * nodes) - 0.5) ** 2 @ (weights / weights.sum())))


_SDS = np.linspace(0.0, 8.0, 81)
_SHARES = _variance_shares(_SDS)

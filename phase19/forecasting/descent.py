"""Descent to the minimum of a smooth function of many parameters whose curvature is known roughly."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

__all__ = ["Slope", "descend"]

_MEMORY = 10  # steps remembered
_MOST_STEPS = 200
_LEAST_STEP = 1e-6  # share of a step below which rounding alone keeps the value from falling
_ENOUGH = 1e-4  # share of the fall promised that a step has to keep (Nocedal, Wright, 2006, section 3.1)


class Slope(NamedTuple):
    """A function's value at a point, its gradient, and the diagonal of its curvature, roughly; (p,)."""

    value: float
    gradient: NDArray[np.float64]
    curvature: NDArray[np.float64]


def descend(
    function: Callable[[NDArray[np.float64]], Slope], start: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """Find the minimum.

    Parameters
    ----------
    function
        What is minimised; its curvature is above 0.
    start
        Where to begin, shape (p,).
    tolerance
        How far above the minimum the value may end: half of gradient x next step.

    Notes
    -----
    L-BFGS (Liu, Nocedal, 1989) that starts each step from the curvature at hand instead of a multiple of the identity,
    and remembers only steps along which the gradient grew (Li, Fukushima, 2001), so convexity is not needed. In numpy
    alone: a library's would call threaded linear algebra, whose waiting costs more than these sums.
    """
    point, here = start, function(start)
    memory: deque[tuple[NDArray[np.float64], NDArray[np.float64], float]] = deque(maxlen=_MEMORY)
    for _ in range(_MOST_STEPS):
        direction = _direction(here, memory)
        fall = _dot(here.gradient, direction)
        if -0.5 * fall <= tolerance:
            return point + direction  # the last step costs nothing, and is the best of all
        step = 1.0
        there = function(point + direction)
        while there.value > here.value + _ENOUGH * step * fall:
            # To the lowest point of the parabola through what is known, within bounds.
            bend = there.value - here.value - step * fall
            step *= float(np.clip(-0.5 * step * fall / bend, 0.1, 0.5)) if np.isfinite(bend) else 0.1
            if step < _LEAST_STEP:
                return point
            there = function(point + step * direction)
        moved, grown = step * direction, there.gradient - here.gradient
        along = _dot(moved, grown)
        if along > 0.0:
            memory.append((moved, grown, along))
        point, here = point + moved, there
    return point


def _direction(
    here: Slope, memory: Iterable[tuple[NDArray[np.float64], NDArray[np.float64], float]]
) -> NDArray[np.float64]:
    """Where to, and how far: the two-loop recursion."""
    steps = list(memory)
    away = -here.gradient
    shares = []
    for moved, grown, along in reversed(steps):
        shares.append(_dot(moved, away) / along)
        away = away - shares[-1] * grown
    away = away / here.curvature
    if steps:
        _, grown, along = steps[-1]
        away *= along / _dot(grown, grown / here.curvature)
    for (moved, grown, along), share in zip(steps, reversed(shares), strict=True):
        away += (share - _dot(grown, away) / along) * moved
    return away


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.einsum("i,i->", one, other))

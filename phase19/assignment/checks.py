"""What the solver is given is what it can work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phase19.errors import InfeasibleError, UsageError, plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.assignment.pairs import Pairs

__all__ = ["check_capacity", "check_pairs"]


def check_pairs(pairs: Pairs, capacity: NDArray[np.int64]) -> None:
    """Refuse arrays of other kinds and shapes than agreed on, scores that are not finite, negative capacities."""
    scores, allowed = pairs.scores, pairs.allowed
    for name, array, kind in (
        ("scores", scores, "d"),
        ("capacity", capacity, np.typecodes["AllInteger"]),
        ("allowed", allowed, "?"),
    ):
        is_array = isinstance(array, np.ndarray)
        if array is not None and not (is_array and array.dtype.char in kind):
            wanted = {"d": "float64", "?": "booleans"}.get(kind, "integers")
            found = array.dtype if is_array else type(array).__name__
            raise UsageError(f"assignment: expected {name} as an array of {wanted}, found {found}")
    is_matrix = capacity.ndim == 1 and scores.shape[1:] == capacity.shape
    if not is_matrix or (allowed is not None and allowed.shape != scores.shape):
        raise UsageError(
            f"assignment: expected scores (n, m), capacity (m,) and allowed (n, m), found {scores.shape}, "
            f"{capacity.shape} and {None if allowed is None else allowed.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        is_finite = np.isfinite(scores.sum())  # cheaper than a look at each
    if not is_finite:
        is_each = all(np.isfinite(scores[block]).all() for block in pairs.blocks(scores.shape[0]))
        found = "scores too large to add up" if is_each else "NaN or infinity"
        raise UsageError(f"assignment: expected finite scores, found {found}")
    if capacity.size and int(capacity.min()) < 0:
        raise UsageError(f"assignment: expected capacities >= 0, found {int(capacity.min())}")


def check_capacity(pairs: Pairs, capacity: NDArray[np.int64]) -> None:
    """Refuse tasks that allow nobody or nobody with room, and a total capacity below the number of tasks.

    A task that finds no room even alone comes first: no conflict is smaller.
    """
    n, m = pairs.shape
    if pairs.allowed is not None:
        _check_each(pairs.allowed, capacity)
    if (total := int(capacity.sum())) < n:
        raise InfeasibleError(
            f"no feasible plan: {plural(n, 'task')} for a total capacity of {total:,} over {plural(m, 'agent')}"
        )


def _check_each(allowed: NDArray[np.bool_], capacity: NDArray[np.int64]) -> None:
    if (rows := np.flatnonzero(~allowed.any(axis=1))).size:
        found = f"no feasible plan: no room for {plural(rows.size, 'task')}, which may use no agent"
        raise InfeasibleError(found, tuple(rows.tolist()))
    has_room = capacity > 0
    if not has_room.all() and (rows := np.flatnonzero(~allowed[:, has_room].any(axis=1))).size:
        agents = np.flatnonzero(allowed[rows[0]])
        found = (
            f"no feasible plan: no room for {plural(rows.size, 'task')}, because 1 task may use only "
            f"{plural(agents.size, 'agent')}, whose total capacity is 0"
        )
        raise InfeasibleError(found, (int(rows[0]),), tuple(agents.tolist()))

"""Evening out the load: moves and swaps that lose the least score."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LoadAdjustment", "adjust_load"]


class LoadAdjustment(NamedTuple):
    """Agents after moving tasks off overloaded agents, and what the moves cost in score."""

    agent_index: NDArray[np.int64]
    moved_count: int
    score_lost: float


def adjust_load(
    agent_index: NDArray[np.int64],
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    *,
    capacity: NDArray[np.int64],
    max_load_factor: float,
    allowed: NDArray[np.bool_] | None = None,
) -> LoadAdjustment:
    """Move tasks off agents whose planned time exceeds `max_load_factor` times the mean.

    Parameters
    ----------
    agent_index
        Agent of each task, shape (n,).
    scores, planned_ms
        Score, and planned busy time in ms, of every pair, shape (n, m).
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that may be used, shape (n, m).

    Notes
    -----
    Each step takes the most loaded agent over the limit and moves, or where the receiver is full swaps, the
    task that loses least score, to an agent that thereby stays below the giver's load; the largest load
    falls with every step, so it ends. A step costs O(k (m + n)) for k tasks on the agent. An agent that
    no step relieves is left as it is.
    """
    chosen = agent_index.copy()
    n, m = scores.shape
    row = np.arange(n)
    usable = np.ones((n, m), dtype=bool) if allowed is None else allowed
    before = float(scores[row, chosen].sum())
    moved = 0
    stuck = np.zeros(m, dtype=bool)
    for _ in range(4 * n):
        load = np.bincount(chosen, weights=planned_ms[row, chosen], minlength=m).astype(np.float64)
        over = (load > max_load_factor * load.mean() * (1 + 1e-12)) & ~stuck
        if not over.any():
            break
        giver = int(np.argmax(np.where(over, load, -np.inf)))
        step = _best_step(
            giver, chosen, scores=scores, planned_ms=planned_ms, load=load, capacity=capacity, usable=usable
        )
        if step is None:
            stuck[giver] = True
            continue
        task, receiver, back = step
        chosen[task] = receiver
        if back >= 0:
            chosen[back] = giver
        moved += 1 + (back >= 0)
        stuck[:] = False
    return LoadAdjustment(chosen, moved, before - float(scores[row, chosen].sum()))


def _best_step(
    giver: int,
    chosen: NDArray[np.int64],
    *,
    scores: NDArray[np.float64],
    planned_ms: NDArray[np.float64],
    load: NDArray[np.float64],
    capacity: NDArray[np.int64],
    usable: NDArray[np.bool_],
) -> tuple[int, int, int] | None:
    """The move (task, receiver, -1) or swap (task, receiver, task back) that loses least score."""
    own = np.flatnonzero(chosen == giver)
    counts = np.bincount(chosen, minlength=load.size)
    fits = usable[own] & (load + planned_ms[own] < load[giver]) & (counts < capacity)
    fits[:, giver] = False
    move_loss = np.where(fits, scores[own, giver][:, None] - scores[own], np.inf)
    best = int(np.argmin(move_loss))
    options = [(float(move_loss.flat[best]), (int(own[best // load.size]), best % load.size, -1))]

    others = np.flatnonzero(chosen != giver)
    theirs = chosen[others]
    given, taken = planned_ms[np.ix_(own, theirs)], planned_ms[others, giver]
    receiver_after = load[theirs] + given - planned_ms[others, theirs]
    giver_after = load[giver] - planned_ms[own, giver][:, None] + taken
    swaps = usable[np.ix_(own, theirs)] & usable[others, giver] & (counts[theirs] >= capacity[theirs])
    swaps &= (receiver_after < load[giver]) & (giver_after < load[giver])
    if swaps.any():
        loss = scores[own, giver][:, None] - scores[np.ix_(own, theirs)]
        loss = np.where(swaps, loss + scores[others, theirs] - scores[others, giver], np.inf)
        best = int(np.argmin(loss))
        task, back = int(own[best // others.size]), int(others[best % others.size])
        options.append((float(loss.flat[best]), (task, int(chosen[back]), back)))
    lost, step = min(options, key=lambda option: option[0])
    return step if np.isfinite(lost) else None

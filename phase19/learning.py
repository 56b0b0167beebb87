"""What a wave taught: how the next wave's plan changed because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from phase19.planning import AssignedWave

__all__ = ["Lesson", "lesson"]

_TIE = 1e-9  # score a task


class Lesson(NamedTuple):
    """How one wave's outcomes changed the plan of the next.

    Attributes
    ----------
    attempt_count
        Attempts learned from.
    forecast_shift
        Mean absolute change of planned success over all pairs of the next wave, fraction.
    reassigned_share
        Share of its tasks that another agent does now; 0 where the old assignment scores as well as the new one.
    reassignment_gain
        Planned success of its new assignment less that of the old one, both by the new forecast: successes a
        task. Below zero where the strategy gives up success for something else.
    """

    attempt_count: int
    forecast_shift: float
    reassigned_share: float
    reassignment_gain: float


def lesson(before: AssignedWave, after: AssignedWave, attempt_count: int) -> Lesson | None:
    """Compare a wave's assignment with what it would have been without the last wave's outcomes.

    Parameters
    ----------
    before, after
        The same tasks and agents, assigned on what was believed before and after learning.
    attempt_count
        Attempts learned from.

    Returns
    -------
    Lesson or None
        None where the wave has no tasks.
    """
    if not after.agent_index.size:
        return None
    old, new = before.forecast.planned_success, after.forecast.planned_success
    row, scores = np.arange(after.agent_index.size), after.assigned.scores
    lost = float((scores[row, after.agent_index] - scores[row, before.agent_index]).sum())
    is_tie = abs(lost) <= _TIE * row.size  # the old plan is as good as ever: what differs is chance between equals
    changed = np.zeros(row.size, dtype=bool) if is_tie else after.agent_index != before.agent_index
    return Lesson(
        attempt_count=attempt_count,
        forecast_shift=float(np.abs(new - old).mean()),
        reassigned_share=float(changed.mean()),
        reassignment_gain=float((new[row, after.agent_index] - new[row, before.agent_index]).mean()),
    )

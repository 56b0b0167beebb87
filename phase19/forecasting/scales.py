"""How far agents, tasks, categories and pairs differ: chosen by held-out likelihood inside the records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.hierarchy import Design, HierarchyFit, fit_hierarchy, held_out

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["chosen_scales"]

_CELLS_TO_CHOOSE_BY = 4_000  # enough to tell standard deviations to a few per cent, in a second
_GAIN = 0.1  # log-likelihood below which a step is not worth taking


def chosen_scales(design: Design, believed: Mapping[str, float], spread: float, levels: slice) -> dict[str, float]:
    """Scales by held-out likelihood and belief: one at a time, by factors, while it helps.

    Parameters
    ----------
    design
        What is fitted.
    believed
        Medians of log-normal beliefs, by name, in the order in which they are chosen.
    spread
        The beliefs' standard deviation on the log scale.
    levels
        Columns of the features that name a risk level.
    """
    scales = dict(believed)
    tasks = design.groupings["task"].index
    if tasks.size > _CELLS_TO_CHOOSE_BY:  # of whole tasks, or tasks would seem better known than they are
        every = -(-tasks.size // _CELLS_TO_CHOOSE_BY)
        design = design.part((tasks < 0) | (tasks % every == 0))
    design = _without_levels(design, levels)
    start = fit_hierarchy(design, scales, is_rough=True)

    def score(candidate: Mapping[str, float], fit: HierarchyFit) -> float:
        away = sum((np.log(candidate[name]) - np.log(value)) ** 2 for name, value in believed.items())
        return held_out(design, fit, candidate["concentration"]) - 0.5 * float(away) / spread**2

    best = score(scales, start)
    for factor in (2.0, 1.4):
        for name in believed:
            for step in (factor, 1.0 / factor):
                while True:
                    candidate = {**scales, name: scales[name] * step}
                    fit = fit_hierarchy(design, candidate, start.parameters, is_rough=True)
                    found = score(candidate, fit)
                    if not found > best + _GAIN:  # nor go on where there is no telling
                        break
                    scales, best, start = candidate, found, fit
    return scales


def _without_levels(design: Design, levels: slice) -> Design:
    """The design as if all tasks had the average risk level.

    A level may have been set from the very outcomes that are held out. It would then forecast them too well, tasks
    would seem alike but for their level, and nothing in the records could tell.
    """
    features = design.features.copy()
    features[:, levels] = features[:, levels].mean(axis=0)
    groupings = {name: grouping for name, grouping in design.groupings.items() if name != "agent_level"}
    return replace(design, features=features, groupings=groupings)

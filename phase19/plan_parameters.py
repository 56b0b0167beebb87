"""What a plan is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from phase19.inputs.heuristics import Heuristics
from phase19.options import DEFAULT_WEIGHTS, OptimizationStrategy, PriorityStrategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from phase19.options import PlanOptions

__all__ = ["PlanParameters"]


@dataclass(frozen=True, slots=True)
class PlanParameters:
    """What a plan is asked for; the defaults are the command's.

    `capacity` is the most tasks an agent takes in a wave, for all agents beside their own, or exactly of each, shape
    (m,). `max_load_factor` bounds an agent's planned time as a multiple of the mean; None is no limit. Under
    `allow_unassigned` tasks without room are left out, where a wave otherwise has no plan.
    """

    strategy: OptimizationStrategy = OptimizationStrategy.MAXIMIZE_SUCCESS
    weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    capacity: int | NDArray[np.int64] | None = None
    max_load_factor: float | None = None
    max_retries: int = 2
    explore: bool = False
    priority: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE
    heuristics: Heuristics = field(default_factory=Heuristics)
    allow_unassigned: bool = False

    @classmethod
    def of(cls, options: PlanOptions, heuristics: Heuristics, *, allow_unassigned: bool = False) -> Self:
        """What a run's options ask of its plans, and the heuristics in force.

        Measures over plans with different tasks say nothing of the plans, so whether tasks may be left out is the
        caller's to say: a run does, a comparison and a backtest do not.
        """
        names = ("strategy", "weights", "capacity", "max_load_factor", "max_retries", "explore")
        settings = {name: getattr(options, name) for name in names}
        return cls(heuristics=heuristics, allow_unassigned=allow_unassigned, **settings)

    def within(self, most_attempts: int | None) -> Self:
        """The same with no more retries than that many attempts of a task leave; None is no limit."""
        if most_attempts is None:
            return self
        return replace(self, max_retries=min(self.max_retries, most_attempts - 1))

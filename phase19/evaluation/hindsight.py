"""What else could have been: round robin, one agent, the best possible, and where a plan fell short of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.assignment.solver import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phase19.evaluation.pair_records import PairRecords

__all__ = ["Hindsight", "PlannedWave", "add_up", "look_back"]

_SAME_PROMISE = 1e-9  # two sums of forecasts that differ by less promise the same


class PlannedWave(NamedTuple):
    """A wave as it was planned: n tasks sorted by id, m agents.

    Attributes
    ----------
    task
        Index of each task among all tasks, shape (n,).
    agent
        Agent the plan gave it, shape (n,).
    promised
        Planned success of every pair, frozen before the wave, shape (n, m).
    capacity
        Tasks each agent could take, shape (m,).
    usable
        Pairs the tasks allow, shape (n, m); all where None.
    """

    task: NDArray[np.int64]
    agent: NDArray[np.int64]
    promised: NDArray[np.float64]
    capacity: NDArray[np.int64]
    usable: NDArray[np.bool_] | None


class Hindsight(NamedTuple):
    """One wave, or waves added up, over the tasks whose plan the records could answer.

    Attributes
    ----------
    observed_count
        Tasks it is about.
    plan, round_robin, oracle
        Tasks that succeeded, or would have; mean over rotations for round robin.
    solo
        Tasks each agent would have done, were it given all of them, shape (m,).
    forecast_error, constraints, luck
        Parts of oracle - plan, in tasks; they sum to it.
    capacity_cost
        Tasks by which the limits that bind oracle and plan alike lower the best by chances. No part of the above.
    round_robin_makespan_ms
        Mean over rotations.
    """

    observed_count: int
    plan: float
    round_robin: float
    oracle: float
    solo: NDArray[np.float64]
    forecast_error: float
    constraints: float
    luck: float
    capacity_cost: float
    round_robin_makespan_ms: float


def add_up(waves: Sequence[Hindsight]) -> Hindsight:
    """Add up waves, of which there is one at least."""
    return Hindsight(*(sum(column[1:], start=column[0]) for column in zip(*waves, strict=True)))


def look_back(wave: PlannedWave, records: PairRecords) -> Hindsight:
    """Compare a wave's plan with what its records allow.

    Parameters
    ----------
    wave
        The plan.
    records
        Outcomes of all pairs.

    Notes
    -----
    Only tasks whose planned pair has a record count; the others stay where the plan put them and take their
    agent's capacity with them. Round robin gives task i of the wave to agent (i + r) mod m, averaged over all m
    rotations r; for it, and for one agent alone, the mean of a task's recorded agents stands in where a pair has
    no record.

    Let O be the outcomes, q the chances (see `PairRecords`), F what the plan promised, and
    A(S) the best assignment by scores S to recorded pairs, within the wave's capacities and the agents its tasks
    allow, and S[a] the sum over an assignment. The oracle is A(O): it knew every outcome, luck included. Then

        oracle - plan  =  O[A(O)] - O[plan]
        luck           = (O[A(O)] - q[A(q)]) - (O[plan] - q[plan])
        forecast error =  q[A(q)] - q[A(F)]
        constraints    =  q[A(F)] - q[plan]

    which sum to the first line term by term. Luck is what the oracle won by seeing outcomes rather than chances,
    less what luck gave the plan. Forecast error, never negative, is lost by promises that were not the chances.
    Constraints are what another aim than success or a load limit moved away from the promises' own best (zero
    where neither did). Where a pair has one record its outcome is its chance, and luck cannot be told from skill.
    """
    row = np.flatnonzero(records.is_observed[wave.task, wave.agent])
    m = wave.capacity.size
    if row.size == 0:
        return Hindsight(0, 0.0, 0.0, 0.0, np.zeros(m), 0.0, 0.0, 0.0, 0.0, 0.0)
    task, agent = wave.task[row], wave.agent[row]
    free = wave.capacity - (np.bincount(wave.agent, minlength=m) - np.bincount(agent, minlength=m))
    seen, outcome, chance = records.is_observed[task], records.success[task], records.chance[task]
    promised = wave.promised[row]
    usable = seen if wave.usable is None else seen & wave.usable[row]
    usable = usable | (np.arange(m) == agent[:, None])

    def total(scores: NDArray[np.float64], assigned: NDArray[np.int64]) -> float:
        return float(scores[np.arange(row.size), assigned].sum())

    def best(scores: NDArray[np.float64]) -> NDArray[np.int64]:
        return solve(np.where(usable, scores, 0.0), free, usable).agent_index

    oracle, by_chance, by_promise = best(outcome), best(chance), best(promised)
    if total(promised, by_promise) <= total(promised, agent) + _SAME_PROMISE:
        by_promise = agent  # of plans that promise the same, the one that was made
    luck = (total(outcome, oracle) - total(chance, by_chance)) - (total(outcome, agent) - total(chance, agent))
    filled = _filled(outcome, seen)
    return Hindsight(
        observed_count=row.size,
        plan=total(outcome, agent),
        round_robin=float(filled.mean(axis=1).sum()),
        oracle=total(outcome, oracle),
        solo=filled.sum(axis=0),
        forecast_error=total(chance, by_chance) - total(chance, by_promise),
        constraints=total(chance, by_promise) - total(chance, agent),
        luck=luck,
        capacity_cost=float(np.where(seen, chance, 0.0).max(axis=1).sum()) - total(chance, by_chance),
        round_robin_makespan_ms=_rotated_makespan(row, _filled(records.duration_ms[task], seen)),
    )


def _filled(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Put the mean of a row's recorded values where it has none; every row has one."""
    mean = np.where(seen, values, 0.0).sum(axis=1) / seen.sum(axis=1)
    return np.where(seen, values, mean[:, None])


def _rotated_makespan(place: NDArray[np.int64], duration_ms: NDArray[np.float64]) -> float:
    """Mean over all m rotations of the busiest agent's time; `place` in the wave (k,), durations (k, m)."""
    k, m = duration_ms.shape
    longest = [
        np.bincount(agent, weights=duration_ms[np.arange(k), agent], minlength=m).max()
        for agent in ((place + rotation) % m for rotation in range(m))
    ]
    return float(np.mean(longest))

"""What each line promises before anything runs: the same worlds and the same luck for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phase19.balancing.recommendation import Promises, load_imbalance
from phase19.evaluation.candidates import LINES, ROUND_ROBIN
from phase19.forecasting.predictive import draw_count, draw_wave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phase19.evaluation.candidates import ComparedWave
    from phase19.forecasting.model import ForecastModel

__all__ = ["MEASURES", "Measures", "Outlook", "look_ahead"]


class Measures(NamedTuple):
    """The six measures of a run, in the order they are told.

    Attributes
    ----------
    success_rate
        Successes a task.
    throughput
        Tasks a second of makespan.
    makespan_ms
        The last agent's end, summed over waves.
    load_imbalance
        Coefficient of variation of the agents' busy time over the run.
    retry_count
        Attempts after the first, over all tasks.
    confidence_delta
        Mean change of confidence.
    """

    success_rate: NDArray[np.float64]
    throughput: NDArray[np.float64]
    makespan_ms: NDArray[np.float64]
    load_imbalance: NDArray[np.float64]
    retry_count: NDArray[np.float64]
    confidence_delta: NDArray[np.float64]


MEASURES = Measures._fields


class Outlook(NamedTuple):
    """What k lines promise: the expected measures, (k,), and those of s worlds, (k, s)."""

    planned: Measures
    draws: Measures

    def promises(self, task_count: int) -> Promises:
        """The expected measures as the rule reads them."""
        own = self.planned
        return Promises(
            own.success_rate * task_count, own.makespan_ms, own.retry_count, own.confidence_delta, own.load_imbalance
        )

    def interval(self, name: str) -> NDArray[np.float64]:
        """Central 90 % of a measure's draws, shape (2, k)."""
        return np.asarray(np.quantile(getattr(self.draws, name), [0.05, 0.95], axis=1))

    def margin_interval(self, own: int, other: int) -> tuple[float, float]:
        """Central 90 % of what line `own` has over line `other` in success rate, in the same worlds."""
        low, high = np.quantile(self.draws.success_rate[own] - self.draws.success_rate[other], [0.05, 0.95])
        return float(low), float(high)


def look_ahead(model: ForecastModel, waves: Sequence[ComparedWave], seed: int) -> Outlook:
    """Work out what each line's plan promises.

    Parameters
    ----------
    model
        What is known before the first wave.
    waves
        Every line's plan.
    seed
        Fixes the draws.

    Notes
    -----
    Every draw is one world from the posterior, played by all lines: agents and tasks are the same for all, and so
    is the luck of each (task, agent) pair and attempt, so that differences between lines are of their plans alone.
    In draw i round robin is at rotation i mod m. Success, retries and confidence are expected by quadrature; makespan
    and load are means over the draws; throughput is tasks over planned makespan.
    """
    m, k = model.agents.height, len(LINES)
    total = sum(wave.task.size for wave in waves)
    count = draw_count(k * max(wave.task.size for wave in waves))
    allowed = np.zeros(model.tasks.height, dtype=np.int64)
    for wave in waves:
        allowed[wave.task] = wave.allowed
    ends = np.cumsum([wave.task.size for wave in waves])[:-1]
    success, attempts, confidence, makespan = np.zeros((4, k, count))
    busy = np.zeros((k, count, m))
    for rotation in range(min(m, count)):
        rows = slice(rotation, None, m)
        key = np.hstack([wave.task * m + wave.rotated(rotation) for wave in waves])
        pair, place = np.unique(key, return_inverse=True)
        task, agent = np.divmod(pair, m)
        number = success[0, rows].size
        draws = draw_wave(model, task, agent, allowed[task], seed=seed, wave=rotation, draws=number)
        for line, own in enumerate(place.reshape(k, -1)):
            success[line, rows] = draws.succeeded[:, own].sum(axis=1)
            attempts[line, rows] = draws.attempts[:, own].sum(axis=1)
            confidence[line, rows] = draws.confidence_delta[:, own].sum(axis=1)
            for part in np.split(own, ends):
                time = draws.busy_ms[:, part] @ np.eye(m)[agent[part]]
                makespan[line, rows] += time.max(axis=1)
                busy[line, rows] += time
    return Outlook(
        _planned(waves, total, makespan.mean(axis=1), load_imbalance(busy).mean(axis=1)),
        Measures(
            success_rate=success / total,
            throughput=total * 1000.0 / makespan,
            makespan_ms=makespan,
            load_imbalance=load_imbalance(busy),
            retry_count=attempts - total,
            confidence_delta=confidence / total,
        ),
    )


def _planned(
    waves: Sequence[ComparedWave], total: int, makespan_ms: NDArray[np.float64], imbalance: NDArray[np.float64]
) -> Measures:
    parts = ("planned_success", "planned_attempts", "planned_confidence_delta")
    success, attempts, confidence = np.sum([[_expected(wave, name) for name in parts] for wave in waves], axis=0)
    return Measures(
        success_rate=success / total,
        throughput=total * 1000.0 / makespan_ms,
        makespan_ms=makespan_ms,
        load_imbalance=imbalance,
        retry_count=attempts - total,
        confidence_delta=confidence / total,
    )


def _expected(wave: ComparedWave, name: str) -> NDArray[np.float64]:
    """Sum of a part of the forecast over each line's pairs, shape (k,); round robin's over all rotations' mean."""
    values: NDArray[np.float64] = getattr(wave.forecast, name)
    sums = values[np.arange(values.shape[0]), wave.agent].sum(axis=1)
    sums[ROUND_ROBIN] = values.mean(axis=1).sum()
    return np.asarray(sums)

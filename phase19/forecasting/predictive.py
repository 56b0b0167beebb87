"""Random outcomes of a planned wave, drawn before it runs."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from phase19 import frames
from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.attempt_times import AttemptTimes
from phase19.forecasting.blocks import for_blocks, row_blocks
from phase19.forecasting.model import ForecastModel
from phase19.forecasting.records import sigmoid
from phase19.forecasting.retries import TaskOutcomes, attempt_probability, each_retry, within_attempts

_VALUES_PER_WAVE = 2_000_000  # about 100 MB of draws at once


def draw_count(largest_wave: int) -> int:
    """Choose the number of draws of a run: 512, fewer if the largest wave has many tasks, at least 32."""
    return int(np.clip(_VALUES_PER_WAVE // max(largest_wave, 1), 32, 512))


class WaveDraws(NamedTuple):
    """Outcomes of a wave's p tasks in s draws: `agent` has shape (p,), the other arrays (s, p).

    The draws of a task are neighbours in memory, so that tasks are quickly reordered.
    """

    agent: Ints
    success_probability: Floats
    succeeded: Bools
    busy_ms: Floats
    confidence_delta: Floats
    attempts: Ints

    def reordered(self, order: Ints) -> "WaveDraws":
        """Return the draws with the tasks in another order, shape (p,)."""
        return WaveDraws._make(part.T[order].T for part in self)

    def summary(self, wave: int, executions: pl.DataFrame) -> pl.DataFrame:
        """Compute `frames.WAVE_DRAWS`: the measures of the wave in every draw, over the tasks that ran.

        Parameters
        ----------
        wave
            Number of the wave.
        executions
            `frames.EXECUTIONS` in the order of the draws, grouped by agent. It gives the tasks that ran, their planned
            times and their promised advantage over round robin.
        """
        ran = executions["status"].is_in(frames.RAN).to_numpy()
        if not ran.any():
            return frames.WAVE_DRAWS.empty()
        draws = len(self.busy_ms)
        scheduled = [executions[f"scheduled_{edge}_time"].to_numpy()[ran] for edge in ("start", "end")]
        advantage = (executions["planned_success"] - executions["baseline_success"]).to_numpy()
        whole = slice(None) if ran.all() else ran  # a slice copies nothing
        busy, chance, change = (
            part.T[whole] for part in (self.busy_ms, self.success_probability, self.confidence_delta)
        )
        succeeded = self.succeeded.T[whole]
        is_timed = executions["actual_end_time"].is_not_null().to_numpy()[ran]
        is_timed |= not is_timed.any()
        makespan, deviation = np.zeros((2, draws))
        for own in np.split(np.arange(len(busy)), np.flatnonzero(np.diff(self.agent[ran])) + 1):  # by agent
            end = np.cumsum(busy[own], axis=0)
            start = end - busy[own]
            makespan = np.maximum(makespan, end[-1])
            away = np.abs(start - scheduled[0][own, None]) + np.abs(end - scheduled[1][own, None])
            deviation += 0.5 * away[is_timed[own]].sum(axis=0)
        centred = advantage[ran] - advantage[ran].mean()
        return pl.DataFrame(
            {
                "wave": np.full(draws, wave),
                "draw": np.arange(draws),
                "ran_count": np.full(draws, len(busy)),
                "success_rate": succeeded.mean(axis=0),
                "makespan_ms": makespan,
                "busy_ms": busy.sum(axis=0),
                "confidence_delta": change.mean(axis=0),
                "deviation_ms": deviation / is_timed.sum(),
                "expected_success_sum": chance.sum(axis=0),
                "expected_advantage_sum": np.einsum("ps,p->s", chance, centred),
            },
            schema=frames.WAVE_DRAWS.dtypes,
        ).fill_nan(None)


_NONE: NDArray[Any] = np.zeros((1, 0))
NO_DRAWS = WaveDraws(*[_NONE] * len(WaveDraws._fields))


def draw_wave(
    model: ForecastModel, task: Ints, agent: Ints, allowed: Ints, *, seed: int, wave: int, draws: int
) -> WaveDraws:
    """Draw a wave from its plan's predictive distribution.

    Parameters
    ----------
    model
        Forecast that the draws are taken from.
    task, agent, allowed
        Indices of the plan's distinct pairs and the attempts allowed, shape (p,), in any order.
    seed, wave
        Key of the random numbers. Waves of one run are independent, and the order of the pairs does not matter.
    draws
        Number of draws s.

    Returns
    -------
    WaveDraws
        Draws with the pairs in the given order.

    Notes
    -----
    Each draw takes the parameters of agents, tasks and pairs from the posterior, then outcomes and durations.
    """
    order = np.lexsort((agent, task))
    own, who, allowed = task[order], agent[order], allowed[order]
    rng = np.random.default_rng([seed, 19, wave])
    _, place = np.unique(own, return_inverse=True)
    tasks = int(place.max(initial=-1)) + 1
    normals = [
        [rng.standard_normal((*each, draws)) for each in posterior.shapes(tasks)]
        for posterior in (model.success, model.duration)
    ]
    shift = model.duration.outcome.shift(rng.standard_normal(draws))
    confidence = model.tasks["confidence"].to_numpy()[own, None]
    retry = each_retry(model.retry_success[who], allowed)
    shape = (task.size, draws)
    within, busy_ms, change = (np.empty(shape) for _ in range(3))
    succeeded, attempts = np.empty(shape, bool), np.empty(shape, np.int64)
    generators = rng.spawn(len(row_blocks(*shape)))

    def draw(block: int, rows: slice) -> None:
        rng = generators[block]
        pairs, here = (own[rows], who[rows]), order[rows]
        first, log_ms = (
            mean + own_sd * rng.standard_normal(mean.shape)
            for mean, own_sd in (
                posterior.drawn(each, *pairs, place[rows])
                for posterior, each in zip((model.success, model.duration), normals, strict=True)
            )
        )
        first = sigmoid(first)
        of_retry = None if retry is None else retry[rows, None]
        times = model.duration.residuals.times(log_ms, shift[:, None], own[rows, None], who[rows, None])
        done = _attempted(rng, first, times, allowed[rows], of_retry)
        succeeded[here], attempts[here], busy_ms[here] = done
        noise = rng.standard_normal(first.shape)
        change[here] = model.gains.drawn(done.succeeded, who[rows, None], confidence[rows], noise)
        within[here], _ = within_attempts(first, allowed[rows, None], of_retry)

    for_blocks(draw, *shape)
    return WaveDraws(agent, within.T, succeeded.T, busy_ms.T, change.T, attempts.T)


def _attempted(
    rng: np.random.Generator, first: Floats, times: AttemptTimes, allowed: Ints, retry: Floats | None
) -> TaskOutcomes:
    """Draw the attempts at p tasks in s draws, given the chance of each first attempt, (p, s).

    An attempt is drawn only if the earlier ones failed.
    """
    succeeded = rng.random(first.shape) < first
    busy_ms = times.drawn_ms(succeeded, rng.standard_normal(first.shape))
    attempts = np.ones(first.shape, np.int64)
    for attempt in range(2, int(allowed.max(initial=1)) + 1):
        pair, draw = np.nonzero(~succeeded & (attempts == attempt - 1) & (attempt <= allowed[:, None]))
        chance = attempt_probability(first[pair, draw], attempt, None if retry is None else retry[pair, 0])
        succeeded[pair, draw] = won = rng.random(pair.size) < chance
        busy_ms[pair, draw] += times.part(pair, draw).drawn_ms(won, rng.standard_normal(pair.size))
        attempts[pair, draw] = attempt
    return TaskOutcomes(succeeded, attempts, busy_ms)

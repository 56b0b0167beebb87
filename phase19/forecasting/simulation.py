"""The simulated truth of a dry run: parameters of all tasks, agents and pairs, drawn once from the posterior."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.attempt_times import Residuals
from phase19.forecasting.confidence import ConfidenceChanges
from phase19.forecasting.keyed_random import normals, uniforms
from phase19.forecasting.posterior import JointPosterior
from phase19.forecasting.records import sigmoid
from phase19.forecasting.retries import TaskOutcomes, attempt_outcomes, each_retry, make_attempts


@dataclass(frozen=True, slots=True)
class DrawnPredictors:
    """Predictors of pairs, drawn from a posterior; the random numbers depend on the seed and the ids alone.

    `suffix` tells the random numbers of two posteriors apart; `task_keys` and `agent_keys` are as in :class:`World`.
    """

    posterior: JointPosterior
    seed: int
    suffix: str
    task_keys: NDArray[np.uint64]
    agent_keys: NDArray[np.uint64]

    def __call__(self, task: Ints, agent: Ints) -> Floats:
        """Draw the predictors of p pairs."""
        tasks, place = np.unique(task, return_inverse=True)
        (covariates,), (categories,), (_, ways), _ = self.posterior.shapes(tasks.size)
        each = np.arange(max(covariates, categories, ways), dtype=np.uint64)
        shared = [
            self._normals("risk", each[:covariates, None]),
            self._normals("category", each[:categories, None]),
            self._normals("agent", self.agent_keys[:, None, None], each[:ways, None]),
            self._normals("task", self.task_keys[tasks, None, None], each[: ways - 1, None]),
        ]
        drawn, own_sd = self.posterior.drawn(shared, task, agent, place)
        own = self._normals("pair", self.task_keys[task, None], self.agent_keys[agent, None])
        return np.asarray((drawn + own_sd * own)[:, 0])

    def _normals(self, stream: str, *keys: NDArray[np.uint64]) -> Floats:
        return normals(self.seed, f"{stream}{self.suffix}", *keys)


@dataclass(frozen=True, slots=True)
class World:
    """True parameters of every task and agent; random numbers depend only on `seed` and the ids.

    Attributes
    ----------
    seed
        Seed of the random numbers.
    task_keys, agent_keys
        64-bit keys of the ids, shapes (n,) and (m,).
    log_odds, log_ms
        Functions of the indices of p pairs: log odds that their first attempts succeed, and log durations of their
        average attempts, log ms, shape (p,).
    outcome_log_ms
        What a failure and a success add, log ms, shape (2,).
    residuals
        Distribution of attempts around the log duration of their pair.
    gains
        Change of confidence after each outcome.
    retry_success
        Probability that the retries of each agent, all together, succeed, shape (m,); NaN: as after its first attempt.
    """

    seed: int
    task_keys: NDArray[np.uint64]
    agent_keys: NDArray[np.uint64]
    log_odds: Callable[[Ints, Ints], Floats]
    log_ms: Callable[[Ints, Ints], Floats]
    outcome_log_ms: Floats
    residuals: Residuals
    gains: ConfidenceChanges
    retry_success: Floats

    def success_probability(self, task: Ints, agent: Ints) -> Floats:
        """Compute the true probability that each pair's first attempt succeeds, shape (p,)."""
        return sigmoid(self.log_odds(task, agent))

    def play(self, task: Ints, agent: Ints, allowed: Ints) -> tuple[TaskOutcomes, Floats]:
        """Simulate agents attempting tasks, each task up to `allowed` times.

        Parameters
        ----------
        task, agent, allowed
            Indices and attempts allowed, shape (p,).

        Returns
        -------
        TaskOutcomes, numpy.ndarray
            The outcomes, and the duration of each attempt, made or not [ms], shape (k, p).
        """
        attempt = np.arange(1, int(allowed.max(initial=1)) + 1, dtype=np.uint64)[:, None]
        keys = (self.task_keys[task], self.agent_keys[agent], attempt)
        won = attempt_outcomes(
            self.success_probability(task, agent),
            uniforms(self.seed, "outcome", *keys),
            each_retry(self.retry_success[agent], allowed),
        )
        times = self.residuals.times(self.log_ms(task, agent), self.outcome_log_ms, task, agent)
        spent_ms = times.drawn_ms(won, normals(self.seed, "duration", *keys))
        return make_attempts(won, allowed, spent_ms), spent_ms

    def confidence_change(self, task: Ints, agent: Ints, succeeded: Bools, confidence: Floats) -> Floats:
        """Draw the change of confidence after the tasks' outcomes, shape (p,); confidence stays within [0, 1]."""
        return self.gains.drawn(succeeded, agent, confidence, self._normals("gain", task, agent))

    def _normals(self, stream: str, task: Ints, agent: Ints) -> Floats:
        return normals(self.seed, stream, self.task_keys[task], self.agent_keys[agent])

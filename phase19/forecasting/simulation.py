"""The simulated truth of a dry run: parameters of all tasks, agents and pairs, drawn once from the posterior."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phase19.forecasting import Bools, Floats, Ints
from phase19.forecasting.attempt_times import Residuals
from phase19.forecasting.confidence import ConfidenceChanges
from phase19.forecasting.keyed_random import normals, uniforms
from phase19.forecasting.records import Effects, sigmoid
from phase19.forecasting.retries import TaskOutcomes, attempt_outcomes, each_retry, make_attempts


@dataclass(frozen=True, slots=True)
class World:
    """True parameters of every task and agent; random numbers depend only on `seed` and the ids.

    Attributes
    ----------
    seed
        Seed of the random numbers.
    task_keys, agent_keys
        64-bit keys of the ids, shapes (n,) and (m,).
    logit
        Log odds that a first attempt succeeds, without the pair's own part, and the standard deviation of that part,
        shape (n, m).
    log_ms
        Log duration of an average attempt, log ms, without the pair's own part, and the standard deviation of that
        part, shape (n, m).
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
    logit: Effects
    log_ms: Effects
    outcome_log_ms: Floats
    residuals: Residuals
    gains: ConfidenceChanges
    retry_success: Floats

    def success_probability(self, task: Ints, agent: Ints) -> Floats:
        """Compute the true probability that each pair's first attempt succeeds, shape (p,)."""
        own = self.logit.sd[task, agent] * self._normals("pair", task, agent)
        return sigmoid(self.logit.mean[task, agent] + own)

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
        mean, spread = (part[task, agent] for part in self.log_ms)
        log_ms = mean + spread * self._normals("pairms", task, agent)
        won = attempt_outcomes(
            self.success_probability(task, agent),
            uniforms(self.seed, "outcome", *keys),
            each_retry(self.retry_success[agent], allowed),
        )
        times = self.residuals.times(log_ms, self.outcome_log_ms, task, agent)
        spent_ms = times.drawn_ms(won, normals(self.seed, "duration", *keys))
        return make_attempts(won, allowed, spent_ms), spent_ms

    def confidence_change(self, task: Ints, agent: Ints, succeeded: Bools, confidence: Floats) -> Floats:
        """Draw the change of confidence after the tasks' outcomes, shape (p,); confidence stays within [0, 1]."""
        return self.gains.drawn(succeeded, agent, confidence, self._normals("gain", task, agent))

    def _normals(self, stream: str, task: Ints, agent: Ints) -> Floats:
        return normals(self.seed, stream, self.task_keys[task], self.agent_keys[agent])

"""A world: what is true of agents, tasks and pairs in one run, whether anybody knows it or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phase19.forecasting.durations import attempt_ms
from phase19.forecasting.effects import sigmoid
from phase19.forecasting.keyed_random import normals, uniforms
from phase19.forecasting.retries import Played, attempts_won, play

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.forecasting.durations import PairEffects

__all__ = ["World"]


@dataclass(frozen=True, slots=True)
class World:
    """Parameters of every task and agent, drawn once; luck is drawn by name from `seed`.

    Attributes
    ----------
    task_keys, agent_keys
        64-bit keys of the ids, shapes (n,) and (m,).
    task_logit, agent_logit, pair_logit, pair_logit_sd
        Parts of the log odds that a first attempt succeeds; the pairs' mean and spread have shape (n, m).
    task_log_ms, agent_log_ms
        Parts of the log duration of an attempt, log ms.
    pair_log_ms
        The pairs' part of it, mean and spread.
    outcome_log_ms
        What a failure and what a success adds, log ms, shape (2,).
    residuals
        Sorted equally likely residuals of the log duration after a failure and after a success, shape (2, q).
    limit_ms
        Time at which an attempt at a task is stopped, infinite for never, shape (n,).
    gain_success, gain_failure, gain_sd
        Confidence change after each outcome by agent, shape (m,), and its spread.
    """

    seed: int
    task_keys: NDArray[np.uint64]
    agent_keys: NDArray[np.uint64]
    task_logit: NDArray[np.float64]
    agent_logit: NDArray[np.float64]
    pair_logit: NDArray[np.float64]
    pair_logit_sd: NDArray[np.float64]
    task_log_ms: NDArray[np.float64]
    agent_log_ms: NDArray[np.float64]
    pair_log_ms: PairEffects
    outcome_log_ms: NDArray[np.float64]
    residuals: NDArray[np.float64]
    limit_ms: NDArray[np.float64]
    gain_success: NDArray[np.float64]
    gain_failure: NDArray[np.float64]
    gain_sd: float

    def success_probability(self, task: NDArray[np.int64], agent: NDArray[np.int64]) -> NDArray[np.float64]:
        """True probability that the pairs' first attempt succeeds, shape (p,)."""
        luck = normals(self.seed, "pair", self.task_keys[task], self.agent_keys[agent])
        own = self.pair_logit[task, agent] + self.pair_logit_sd[task, agent] * luck
        return sigmoid(self.task_logit[task] + self.agent_logit[agent] + own)

    def play(
        self, task: NDArray[np.int64], agent: NDArray[np.int64], allowed: NDArray[np.int64]
    ) -> tuple[Played, NDArray[np.float64]]:
        """Let agents attempt tasks, each up to `allowed` times.

        Parameters
        ----------
        task, agent, allowed
            Indices and attempts allowed, shape (p,).

        Returns
        -------
        Played, numpy.ndarray
            What happened, and the duration each attempt takes or would take in ms, shape (k, p).
        """
        attempt = np.arange(1, int(allowed.max(initial=1)) + 1, dtype=np.uint64)[:, None]
        keys = (self.task_keys[task], self.agent_keys[agent], attempt)
        own, spread = self.pair_log_ms.at(task, agent)
        own = own + spread * normals(self.seed, "pairms", self.task_keys[task], self.agent_keys[agent])
        won = attempts_won(self.success_probability(task, agent), uniforms(self.seed, "outcome", *keys))
        busy_ms = attempt_ms(
            self.task_log_ms[task] + self.agent_log_ms[agent] + own,
            self.outcome_log_ms,
            self.residuals,
            self.limit_ms[task],
            has_succeeded=won,
            luck=uniforms(self.seed, "duration", *keys),
        )
        return play(won, allowed, busy_ms), busy_ms

    def confidence_change(
        self,
        task: NDArray[np.int64],
        agent: NDArray[np.int64],
        succeeded: NDArray[np.bool_],
        confidence: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Change of confidence after the tasks' outcomes, shape (p,); confidence stays within [0, 1]."""
        spread = self.gain_sd * normals(self.seed, "gain", self.task_keys[task], self.agent_keys[agent])
        change = np.where(succeeded, self.gain_success[agent], self.gain_failure[agent]) + spread
        return np.clip(change, -confidence, 1.0 - confidence)

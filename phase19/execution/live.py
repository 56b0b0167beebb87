"""Live: a caller's function runs every attempt, agents side by side, each one task at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19.execution.protocol import Execution, attempt_rows
from phase19.inputs.readers import mark_censored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LiveExecutor", "LiveResult"]


_MADE = {
    "task_id": pl.String,
    "attempt": pl.Int64,
    "is_success": pl.Boolean,
    "duration_ms": pl.Float64,
    "confidence_delta": pl.Float64,
    "error_message": pl.String,
}


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What one attempt came to; `confidence_delta` where the runner knows it."""

    is_success: bool
    confidence_delta: float | None = None
    error_message: str | None = None


class LiveExecutor:
    """Runs tasks for real.

    Parameters
    ----------
    runner
        Called as `runner(order, attempt)` in the agent's own thread, `order` a row of `frames.ORDERS` as a
        dict. An exception it raises is a failed attempt, its text the error message; so is a result that is no
        sound :class:`LiveResult`.
    censored_errors
        Error messages of attempts that a limit stopped: their times teach as survival times.

    Notes
    -----
    An interrupt (Ctrl-C) lets attempts under way end, starts no more, and leaves the rest `interrupted`.
    """

    is_simulated = False
    most_attempts: int | None = None

    def __init__(
        self, runner: Callable[[dict[str, Any], int], LiveResult], censored_errors: Sequence[str] = ()
    ) -> None:
        self.runner = runner
        self.censored_errors = censored_errors
        self._stop = threading.Event()

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Run a wave; durations are wall time in ms."""
        queues = [queue.to_dicts() for queue in orders.partition_by("agent_id", maintain_order=True)]
        with ThreadPoolExecutor(max_workers=max(1, len(queues))) as pool:
            running = [pool.submit(self._work, queue) for queue in queues]
            try:
                made = [row for future in running for row in future.result()]
            except KeyboardInterrupt:
                self._stop.set()
                made = [row for future in running for row in future.result()]
        attempts = mark_censored(attempt_rows(orders, pl.DataFrame(made, schema=_MADE)), self.censored_errors)
        return Execution(attempts, is_interrupted=self._stop.is_set())

    def what_if(self, pairs: pl.DataFrame) -> None:
        """Nothing: what another agent would have done is not known of the real world."""

    def _work(self, queue: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for order in queue:
            for attempt in range(1, order["max_attempts"] + 1):
                if self._stop.is_set():
                    return rows
                started = time.perf_counter()
                try:
                    result = self._attempt(order, attempt)
                except KeyboardInterrupt:  # raised by the runner itself
                    self._stop.set()
                    return rows
                rows.append(
                    {
                        "task_id": order["task_id"],
                        "attempt": attempt,
                        "is_success": result.is_success,
                        "duration_ms": (time.perf_counter() - started) * 1000.0,
                        "confidence_delta": result.confidence_delta,
                        "error_message": result.error_message,
                    }
                )
                if result.is_success:
                    break
        return rows

    def _attempt(self, order: dict[str, Any], attempt: int) -> LiveResult:
        try:
            return _checked(self.runner(order, attempt))
        except Exception as problem:  # noqa: BLE001 (whatever an agent's own code raises is that attempt's failure)
            return LiveResult(is_success=False, error_message=f"{type(problem).__name__}: {problem}")


def _checked(result: object) -> LiveResult:
    """The result itself, or ValueError: the rows of a whole run must not be lost to one that fits no column."""
    if not isinstance(result, LiveResult):
        raise ValueError(f"expected the runner to return a LiveResult, found {result!r:.100}")  # noqa: TRY004
    is_success, delta, message = result.is_success, result.confidence_delta, result.error_message
    if not isinstance(is_success, bool):
        raise ValueError(f"expected is_success to be True or False, found {is_success!r:.100}")  # noqa: TRY004
    is_number = isinstance(delta, int | float) and not isinstance(delta, bool)
    if delta is not None and not (is_number and -1.0 <= delta <= 1.0):
        raise ValueError(f"expected confidence_delta to be None or a number in [-1, 1], found {delta!r:.100}")
    if message is not None and not isinstance(message, str):
        raise ValueError(f"expected error_message to be None or text, found {message!r:.100}")
    return result

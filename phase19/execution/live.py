"""Live execution: a caller's function makes every attempt; agents work in parallel, each on one task at a time."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import msgspec
import polars as pl

from phase19.execution.protocol import MADE, Execution, attempt_rows


class LiveResult(msgspec.Struct, frozen=True):
    """Result of one attempt; `confidence_delta` is optional, and `is_censored` means that the attempt timed out."""

    is_success: bool
    confidence_delta: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    error_message: str | None = None
    is_censored: bool = False


class LiveExecutor:
    """Runs tasks on real agents.

    Parameters
    ----------
    runner
        Called as `runner(order, attempt)` in the agent's own thread. `order` is a row of `frames.ORDERS` as a dict,
        `attempt` counts from 1. If the runner raises, or returns anything but a valid :class:`LiveResult`, the attempt
        fails and records the error.

    Attributes
    ----------
    handle_failure
        Called after each failed attempt: any `action` but retry ends the task. None retries up to the task's limit.

    Notes
    -----
    After an interrupt (Ctrl-C), running attempts finish, no new ones start, and unfinished tasks are `interrupted`.
    """

    is_simulated = False
    most_attempts: int | None = None

    def __init__(self, runner: Callable[[dict[str, Any], int], LiveResult]) -> None:
        self.runner = runner
        self.handle_failure: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
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
        attempts = attempt_rows(orders, pl.DataFrame(made, schema=MADE.dtypes))
        return Execution(attempts, is_interrupted=self._stop.is_set())

    def _work(self, queue: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make the attempts at one agent's orders, and return them."""
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
                duration_ms = (time.perf_counter() - started) * 1000.0
                made = {"task_id": order["task_id"], "attempt": attempt, "duration_ms": duration_ms}
                rows.append(made | msgspec.structs.asdict(result))
                failed = {**order, "attempt": attempt}
                if result.is_success or (self.handle_failure and self.handle_failure(failed)["action"] != "retry"):
                    break
        return rows

    def _attempt(self, order: dict[str, Any], attempt: int) -> LiveResult:
        try:
            result: object = self.runner(order, attempt)
            if not isinstance(result, LiveResult):
                raise TypeError(f"expected the runner to return a LiveResult, found {result!r:.100}")
            return msgspec.convert(msgspec.structs.asdict(result), LiveResult)  # checks types and bounds
        except Exception as problem:  # noqa: BLE001 (any exception of the runner fails only its attempt)
            return LiveResult(is_success=False, error_message=f"{type(problem).__name__}: {problem}")

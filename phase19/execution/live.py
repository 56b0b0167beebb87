"""Live execution: a caller's function makes every attempt; agents work in parallel, each on one task at a time."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from copy import deepcopy
from datetime import UTC, datetime
from traceback import format_exception_only
from typing import Annotated, Any

import msgspec
import polars as pl

from phase19 import frames
from phase19.errors import UsageError
from phase19.execution.protocol import MADE, Execution, attempt_log, attempt_rows

_RECORDED = {name: frames.ATTEMPTS.dtypes[name] for name in (*MADE.columns, "agent_id", "wave")}


class LiveResult(msgspec.Struct, frozen=True):
    """Result of one attempt; `is_censored` means that it timed out, and `cost` may have any unit."""

    is_success: bool
    confidence_delta: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    error_message: str | None = None
    is_censored: bool = False
    cost: Annotated[float, msgspec.Meta(ge=0, le=1e15)] | None = None


class LiveExecutor:
    """Runs tasks on real agents.

    Parameters
    ----------
    runner
        Called as `runner(order, attempt)` in the agent's own thread. `order` is a row of `frames.ORDERS` as a dict,
        `attempt` counts from 1. It returns a :class:`LiveResult` or a bool. An exception that it raises is the agent's
        failure: the attempt fails and records the error. A TypeError, a result of another type or a changed `order` is
        a mistake in the runner itself: nothing is recorded for the attempt, and the run stops with a UsageError.

    Attributes
    ----------
    handle_failure
        Called after each failed attempt: any `action` but retry ends the task. None retries up to the task's limit.
    record
        Called in the agent's thread with each attempt as it ends, a row of `frames.ATTEMPT_LOG`. None records nothing.

    Notes
    -----
    After an interrupt (Ctrl-C) or an error, running attempts finish and no new ones start. Tasks that an interrupt left
    unfinished are `interrupted`.
    """

    is_simulated = False
    most_attempts: int | None = None

    def __init__(self, runner: Callable[[dict[str, Any], int], LiveResult | bool]) -> None:
        self.runner = runner
        self.handle_failure: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
        self.record: Callable[[pl.DataFrame], None] | None = None
        self._stop = threading.Event()

    def execute(self, orders: pl.DataFrame) -> Execution:
        """Run a wave; durations are wall time in ms.

        Raises
        ------
        UsageError
            The runner made a mistake; see the parameter.
        """
        queues = [queue.to_dicts() for queue in orders.partition_by("agent_id", maintain_order=True)]
        with ThreadPoolExecutor(max_workers=max(1, len(queues))) as pool:
            try:
                running = [pool.submit(self._work, queue) for queue in queues]
            except BaseException:
                self._stop.set()
                raise
            while not all(future.done() for future in running):
                try:
                    wait(running)
                except KeyboardInterrupt:
                    self._stop.set()
        made = [row for future in running for row in future.result()]
        attempts = attempt_rows(orders, pl.DataFrame(made, schema=MADE.dtypes))
        return Execution(attempts, is_interrupted=self._stop.is_set())

    def _work(self, queue: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make the attempts at one agent's orders, and return them."""
        rows: list[dict[str, Any]] = []
        try:
            for order in queue:
                for attempt in range(1, order["max_attempts"] + 1):
                    if self._stop.is_set():
                        return rows
                    rows.append(self._attempt(order, attempt))
                    failed = {**order, "attempt": attempt}
                    if rows[-1]["is_success"] or (
                        self.handle_failure and self.handle_failure(failed)["action"] != "retry"
                    ):
                        break
        except BaseException as problem:
            self._stop.set()
            if not isinstance(problem, KeyboardInterrupt):  # the runner itself may raise one
                raise
        return rows

    def _attempt(self, order: dict[str, Any], attempt: int) -> dict[str, Any]:
        """Make one attempt and record it."""
        given, where = deepcopy(order), f"at attempt {attempt} of task {order['task_id']!r}"
        started = time.perf_counter()
        try:
            result = self.runner(given, attempt)
        except (TypeError, SystemExit) as problem:
            raise UsageError(f"runner: expected a result {where}, found {_text(problem)}") from problem
        except Exception as problem:  # noqa: BLE001 - any other exception is the agent's
            _check_order(given, order, where)
            result = LiveResult(is_success=False, error_message=_text(problem))
        ended, duration_ms = datetime.now(UTC), round((time.perf_counter() - started) * 1e6) / 1e3
        made = {
            "task_id": order["task_id"],
            "attempt": attempt,
            "duration_ms": duration_ms,
            "timestamp": ended,
            **_checked(result, where),
        }
        if self.record is not None:
            row = pl.DataFrame([{**made, "agent_id": order["agent_id"], "wave": order["wave"]}], schema=_RECORDED)
            self.record(attempt_log(row, is_simulated=False))
        _check_order(given, order, where)
        return made


def _checked(result: object, where: str) -> dict[str, Any]:
    """Return the fields of a runner's result, with an error message that UTF-8 can express."""
    if isinstance(result, bool):
        result = LiveResult(is_success=result)
    if not isinstance(result, LiveResult):
        raise UsageError(f"runner: expected it to return a LiveResult or a bool {where}, found {result!r:.100}")
    try:
        found = msgspec.structs.asdict(msgspec.convert(msgspec.structs.asdict(result), LiveResult))
    except msgspec.ValidationError as problem:
        raise UsageError(f"runner: expected a valid LiveResult {where}, found {result!r:.200}: {problem}") from problem
    message = found["error_message"]
    return {**found, "error_message": message and message.encode("utf-8", "backslashreplace").decode()}


def _check_order(given: dict[str, Any], order: dict[str, Any], where: str) -> None:
    if repr(given) != repr(order):  # equality would fail on arrays
        raise UsageError(f"runner: expected it to leave its order as it is {where}, found it changed: {given!r:.100}")


def _text(problem: BaseException) -> str:
    return "".join(format_exception_only(problem)).strip()

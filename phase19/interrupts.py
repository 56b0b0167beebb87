"""End the process on SIGINT, SIGTERM or SIGHUP with exit code 128 + signal, without traceback or unfinished files.

The handler ends the process itself: an exception raised in it would reach users as an error of the library that was
running, such as DuckDB, or be lost in a callback. This module imports almost nothing, so that the command can handle
signals from its first milliseconds on: `_signal` is built into Python, while `signal` and `contextlib` import more.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS = {_signal.SIGHUP: "SIGHUP", _signal.SIGINT: "SIGINT", _signal.SIGTERM: "SIGTERM"}
_CLEAR_LINE, _SHOW_CURSOR = b"\r\x1b[K", b"\x1b[?25h"  # where a progress bar was
_actions: list[Callable[[], object]] = []


def end_on_signals() -> None:
    """Handle these signals, except those that the caller ignores, as nohup does."""
    for number in _SIGNALS:
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, _end)


class cleaning_up:  # noqa: N801 - a context manager
    """Call `action` when the body ends, and also if a signal ends the process during the body."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def __enter__(self) -> None:
        _actions.append(self._action)

    def __exit__(self, *_raised: object) -> None:
        try:
            self._action()
        finally:
            _actions.remove(self._action)


def _end(number: int, _frame: object) -> None:
    for other in _SIGNALS:
        _signal.signal(other, _signal.SIG_IGN)
    for action in reversed(_actions):
        _ignore_errors(action)
    terminal = _CLEAR_LINE + _SHOW_CURSOR if os.isatty(2) else b""
    _ignore_errors(lambda: os.write(2, terminal + f"ended by {_SIGNALS[number]}\n".encode()))
    os._exit(128 + number)


def _ignore_errors(action: Callable[[], object]) -> None:
    try:  # noqa: SIM105 - contextlib imports more
        action()
    except OSError:
        pass

"""End the process on SIGINT, SIGTERM or SIGHUP with exit code 128 + signal, without traceback or unfinished files.

The handler ends the process itself: an exception raised in it would reach users as an error of the library that was
running, such as DuckDB, or be lost in a callback. This module imports little, so that the command can handle signals
from its first milliseconds on.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_CLEAR_LINE, _SHOW_CURSOR = b"\r\x1b[K", b"\x1b[?25h"  # where a progress bar was
_actions: list[Callable[[], object]] = []


def end_on_signals() -> None:
    """Handle these signals, except those that the caller ignores, as nohup does."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


@contextmanager
def cleaning_up(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` when the body ends, and also if a signal ends the process during the body."""
    _actions.append(action)
    try:
        yield
    finally:
        action()
        _actions.remove(action)


def _end(number: int, _frame: object) -> None:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    for action in reversed(_actions):
        with suppress(OSError):
            action()
    with suppress(OSError):
        terminal = _CLEAR_LINE + _SHOW_CURSOR if os.isatty(2) else b""
        os.write(2, terminal + f"ended by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)

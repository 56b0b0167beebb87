"""What names a run: a hash of what decides it, and its moment, both known before anything runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from phase19.errors import InputError
from phase19.moments import parse_moment

if TYPE_CHECKING:
    from pathlib import Path

    from phase19.inputs.history import Previous
    from phase19.inputs.loading import Inputs
    from phase19.inputs.thresholds_file import Thresholds
    from phase19.options import RunOptions

__all__ = ["SCHEMA_VERSION", "RunIdentity", "identify"]

SCHEMA_VERSION = "1.0"
_DECIDING = (
    "strategy",
    "weights",
    "waves",
    "agents",
    "capacity",
    "allow_unassigned",
    "max_load_factor",
    "max_retries",
    "explore",
    "censored_errors",
    "executor",
    "require_approval",
    "seed",
)


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run's id, and the moment it carries: the one given, else when it began."""

    run_id: str
    moment: datetime


def identify(
    options: RunOptions, inputs: Inputs, previous: Previous | None, thresholds: Thresholds | None = None
) -> RunIdentity:
    """Name a run by the contents of its files, not their places, and every option but the clock.

    A live run is evidence of its own each time, so its moment counts too.

    Raises
    ------
    InputError
        A file of the options cannot be read.
    """
    moment = datetime.now(UTC) if options.timestamp is None else parse_moment(options.timestamp, "--timestamp")
    decided = {
        "schema_version": SCHEMA_VERSION,
        "inputs": inputs.digest,
        "files": [_digest(path) for path in (options.executions, options.approve) if path is not None],
        "previous": previous.run_id if previous is not None else None,
        **{name: getattr(options, name) for name in _DECIDING},
    }
    if thresholds is not None and thresholds.changed:
        decided["thresholds"] = dict(thresholds.changed)
    if options.executor == "live":
        decided["timestamp"] = moment.isoformat()
    text = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    return RunIdentity(f"p19-{hashlib.sha256(text.encode()).hexdigest()[:16]}", moment)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as problem:
        raise InputError(str(path), expected="a file that can be read", found=str(problem.strerror)) from problem

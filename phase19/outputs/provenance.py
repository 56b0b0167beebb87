"""Where a run comes from: its id and timestamp, the earlier run it continues, and the thresholds that were changed."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from phase19.errors import InputError
from phase19.inputs.history import Previous
from phase19.inputs.loading import Inputs
from phase19.inputs.thresholds import Thresholds
from phase19.options import RunOptions

SCHEMA_VERSION = "1.0"


class RunIdentity(NamedTuple):
    """A run's id, and its timestamp: the one given, else when it began."""

    run_id: str
    moment: datetime


def identify(options: RunOptions, inputs: Inputs, previous: Previous | None, thresholds: Thresholds) -> RunIdentity:
    """Derive a run's id from the contents of its files and from its options, without paths and timestamp.

    The id of a live run depends on its timestamp too, because each live run is new evidence.

    Raises
    ------
    InputError
        A file of the options cannot be read.
    """
    moment = options.timestamp or datetime.now(UTC)
    decided = {
        "schema_version": SCHEMA_VERSION,
        "inputs": inputs.digest,
        "files": [_digest(path) for path in (options.executions, options.approve) if path is not None],
        "previous": previous.run_id if previous is not None else None,
        **options.deciding(),
    }
    if thresholds.changed:
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


def lineage(previous: Previous | None, thresholds: Thresholds) -> dict[str, Any]:
    """Return the keys `previous` (null without `--previous`) and `thresholds` of a run's summary."""
    taken = previous and {
        "run_id": previous.run_id,
        "simulated": previous.is_simulated,
        "attempt_count": previous.attempts.height,
        "weight_count": len(previous.weights),
        "convergence_row_count": previous.convergence.height,
    }
    return {"previous": taken, "thresholds": {"file": thresholds.file, "changed": dict(thresholds.changed)}}

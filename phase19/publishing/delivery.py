"""Deliver a run's feedback to Phases 16 and 18, once per run."""

import errno
import fcntl
import json
import os
from pathlib import Path

from phase19.publishing.files import write_errors

FEEDBACK_FILE = "phase19_feedback.jsonl"


def deliver_feedback(run_dir: Path, phase: str, phase_dir: Path) -> list[Path]:
    """Append a run's feedback for a phase to `phase19_feedback.jsonl` in that phase's directory, once per run id.

    An incomplete last line, which a crash leaves, is removed first. A complete last line without a newline gets one.

    Parameters
    ----------
    run_dir
        A published run.
    phase
        `phase16` or `phase18`.
    phase_dir
        The directory of that phase.

    Returns
    -------
    list of Path
        The file, if it grew.

    Raises
    ------
    OutputError
        The file cannot be written; its complete lines are kept and none is added.
    """
    path, lines = phase_dir / FEEDBACK_FILE, (run_dir / "feedback" / f"{phase}_feedback.jsonl").read_bytes()
    with write_errors(path), path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        present = file.read()
        if _run_ids(lines) <= _run_ids(present):
            return []
        tail = present[present.rfind(b"\n") + 1 :]
        is_complete = _parsed(tail) is not None
        kept = len(present) if is_complete else len(present) - len(tail)
        file.truncate(kept)
        text = (b"\n" if is_complete else b"") + lines
        # A single write in append mode: readers see no partial line, and writers do not interleave.
        if file.write(text) < len(text):
            file.truncate(kept)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    return [path]


def _run_ids(lines: bytes) -> set[object]:
    """Run ids of the complete lines."""
    rows = (_parsed(line) for line in lines.splitlines())
    return {row["run_id"] for row in rows if isinstance(row, dict) and isinstance(row.get("run_id"), str)}


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None

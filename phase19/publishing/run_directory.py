"""Publishing a run directory: the whole of it at once, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phase19.errors import OutputError
from phase19.publishing.delivery import deliver_feedback
from phase19.publishing.run_files import SUMMARY_FILE, agent_directories, write_agent_rows, write_files, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "agent_directories",
    "check_target",
    "deliver_feedback",
    "publish",
    "write_agent_rows",
    "write_files",
    "write_json",
]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_target(target: Path) -> None:
    """Refuse to put a run where something else stands.

    Raises
    ------
    OutputError
        `target` is a file, or a directory that holds something other than a Phase 19 run.
    """
    with _as_output_error(target):
        if target.is_dir():
            if any(target.iterdir()) and not (target / SUMMARY_FILE).is_file():
                raise OutputError(
                    f"{target}: expected a Phase 19 run, an empty directory or none, "
                    f"found a directory without {SUMMARY_FILE}; it was left as it is"
                )
        elif target.exists():
            raise OutputError(f"{target}: expected a directory to write the run to, found a file")


@contextmanager
def publish(target: Path) -> Iterator[Path]:
    """Publish what the body writes: the whole of it appears at `target`, or nothing does.

    The body writes to a hidden directory beside `target`. When it is done, that is synced to disk and takes the
    place of the last run by renaming. Where the body raises, or is interrupted, the last run stays untouched. Of
    two runs at a time the later to end stands. What killed runs left behind is cleared away, and a run that was
    moved aside by one of them is put back.

    Parameters
    ----------
    target
        The run directory; its parents are made. A symbolic link stays one.

    Yields
    ------
    Path
        The directory to write to, on the same file system as `target`.

    Raises
    ------
    OutputError
        `target` holds something that is no Phase 19 run (before the body starts), or cannot be written.
    """
    target = target.resolve()
    check_target(target)
    with _as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            _clear_leftovers(target)
            staging = _beside(target, "staging")
            staging.mkdir()
            # Held while this process lives: the next run can tell a staging directory in use from one left behind.
            in_use = os.open(staging, os.O_RDONLY)
            fcntl.flock(in_use, fcntl.LOCK_EX)
    try:
        with _as_output_error(target, only=NO_ROOM):
            yield staging
        with _as_output_error(target):
            _sync_tree(staging)
            with _locked(target.parent):
                check_target(target)
                _swap(staging, target)
    finally:
        os.close(in_use)
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _as_output_error(target: Path, only: Sequence[int] = ()) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if only and problem.errno not in only:
            raise
        raise OutputError(f"{target}: cannot be written: {problem.strerror or problem}") from problem


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _beside(target: Path, purpose: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.{purpose}")


def _clear_leftovers(target: Path) -> None:
    """Put back a run that a killed one had moved aside, and remove what else it left; the parent is locked."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.\d+-[0-9a-f]{{8}}\.(staging|aside)")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or (match[1] == "staging" and _is_in_use(path)):
            continue
        if match[1] == "aside" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_in_use(staging: Path) -> bool:
    descriptor = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` in the place of `target`; the parent is locked."""
    aside = _beside(target, "aside")
    is_replacing = target.exists()
    if is_replacing:
        target.rename(aside)
    try:
        staging.rename(target)
    except BaseException:
        if is_replacing and not target.exists():
            aside.rename(target)
        raise
    _sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(top: Path) -> None:
    for directory, _, files in os.walk(top, topdown=False):
        for name in files:
            _sync(Path(directory, name))
        _sync(directory)


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

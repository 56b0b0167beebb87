"""Publishing a run directory: stage it, swap it in by renaming, and clean up after killed runs."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from phase19.errors import OutputError
from phase19.publishing.files import SUMMARY_FILE, hidden_path, locked, sync, write_errors

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_target(target: Path) -> None:
    """Check that a run may be written to `target`.

    Raises
    ------
    OutputError
        `target` is a file, or a directory that holds something other than a Phase 19 run.
    """
    with write_errors(target):
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
    """Publish the run that the body writes: all of it appears at `target`, or nothing does.

    The body writes to a hidden directory beside `target`. At its end that directory is synced to disk and replaces
    the last run by renaming. If the body raises or is interrupted, the last run stays untouched. Of two concurrent
    runs the one that ends later stays. What killed runs left behind is removed, and a run that one of them had moved
    aside is put back.

    Parameters
    ----------
    target
        The run directory; its parents are created. A symbolic link stays one.

    Yields
    ------
    Path
        The directory to write to, on the same file system as `target`.

    Raises
    ------
    OutputError
        `target` holds something other than a Phase 19 run (before the body starts), or cannot be written.
    """
    target = target.resolve()
    check_target(target)
    with ExitStack() as held:
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target.parent):
                _clear_leftovers(target)
                staging = hidden_path(target, "staging")
                staging.mkdir()
                held.callback(shutil.rmtree, staging, ignore_errors=True)
                # Locked while this process lives, so that the next run leaves a staging directory in use alone.
                held.enter_context(locked(staging))
        with write_errors(target, only=NO_SPACE):
            yield staging
        with write_errors(target):
            _sync_tree(staging)
            with locked(target.parent):
                check_target(target)
                _swap(staging, target)


def _clear_leftovers(target: Path) -> None:
    """Put back a run that a killed one had moved aside, and remove what else it left; the parent is locked."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.\d+-[0-9a-f]{{8}}\.(staging|aside)")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and match[1] == "aside" and not target.exists():
            path.rename(target)
        elif match:
            with suppress(BlockingIOError), locked(path, wait=False):  # a staging directory may be in use
                shutil.rmtree(path, ignore_errors=True)


def _swap(staging: Path, target: Path) -> None:
    """Replace `target` by `staging`; the parent is locked."""
    aside = hidden_path(target, "aside")
    if target.exists():
        target.rename(aside)
    try:
        staging.rename(target)
    except BaseException:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise
    sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(top: Path) -> None:
    for directory, _, files in os.walk(top, topdown=False):
        for name in files:
            sync(Path(directory, name))
        sync(directory)

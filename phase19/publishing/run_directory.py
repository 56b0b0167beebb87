"""Publish a run directory: stage it, exchange it with the previous run atomically, and clean up after killed runs."""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import polars as pl

from phase19.errors import OutputError, plural
from phase19.interrupts import cleaning_up
from phase19.publishing.files import SUMMARY_FILE, hidden_path, locked, real_path, sync, write_errors, write_json

ATTEMPTS_FILE = "attempts.jsonl"  # every attempt of a run, one row each
MANIFEST_FILE = "manifest.json"  # the hash of every other file of a run, by its path in the run directory
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RUN_TIME = re.compile(
    rb'"execution_time_ms": [^,}\s]+'
)  # the only text of the summary that differs between identical runs
_MANY_FILES = 1000  # to sync one by one
_NAMED = 3  # most files named in an error message
_EXCHANGE = 2  # the flag has this value on Linux and on macOS


class _Manifest(msgspec.Struct):
    files: dict[str, str]


def open_run(run_dir: Path) -> Path:
    """Check that a directory contains a run, and remove staging directories that killed runs left beside it.

    Raises
    ------
    OutputError
        The directory contains no run.
    """
    with suppress(OSError, ValueError), locked(real_path(run_dir).parent):  # a name with NUL has no directory
        _clear_leftovers(real_path(run_dir))
    if not (run_dir / SUMMARY_FILE).is_file():
        found = f"no {SUMMARY_FILE} in it" if run_dir.exists() else "no such directory"
        raise OutputError(f"{run_dir}: expected a Phase 19 run, found {found}")
    return run_dir


def holds_live_run(target: Path) -> bool:
    """Whether a directory contains a run that executed tasks live."""
    try:
        return bool(json.loads((target / SUMMARY_FILE).read_bytes())["executor"] == "live")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_target(target: Path, *, is_same_run: bool = False) -> None:
    """Check that writing a run to `target` would destroy neither a live run nor files that no run wrote.

    Raises
    ------
    OutputError
        `target` is a file, contains a live run, or contains anything but the unchanged files of one run. With
        `is_same_run`, the run may be live, and files of it may be missing.
    """
    advice = "move it away, or choose another --output"
    with write_errors(target):
        if target.exists() and not target.is_dir():
            raise OutputError(f"{target}: expected a directory to write the run to, found a file")
        if real_path(target).is_symlink():
            raise OutputError(f"{target}: expected a directory to write the run to, found a link that leads nowhere")
        found = _entries(target) if target.is_dir() else {}
        stated = _manifest(target)
        names = found if is_same_run else {*found, *(stated or ())}
        wrong = sorted(name for name in names if stated is None or found.get(name) != stated.get(name))
        if stated is None or (stated == {} and os.path.lexists(target / MANIFEST_FILE)):
            wrong.append(MANIFEST_FILE)
    if wrong:
        named = ", ".join(wrong[:_NAMED]) + (f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else "")
        raise OutputError(
            f"{target}: expected an empty directory, or exactly the files of a run as its {MANIFEST_FILE} lists them, "
            f"found {plural(len(wrong), 'file')} added, changed or missing ({named}); {advice}"
        )
    if not is_same_run and holds_live_run(target):
        raise OutputError(f"{target}: contains a live run, which is never replaced; {advice}")


def _manifest(target: Path) -> dict[str, str] | None:
    """The files that a run's manifest lists; empty without a manifest, None if no run wrote it."""
    path = target / MANIFEST_FILE
    if not os.path.lexists(path):
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Manifest).files if not path.is_symlink() else None
    except (OSError, msgspec.MsgspecError):
        return None


@contextmanager
def publish(target: Path, *, is_same_run: bool = False) -> Iterator[Path]:
    """Publish the run that the body writes: `target` gets the complete run or stays unchanged.

    The body writes to a hidden staging directory beside `target`. At the end, the staging directory gets a manifest,
    is synced to disk, and is exchanged with the previous run in one atomic step. Readers always see a complete run: the
    previous or the new one. If the body raises or is interrupted, the previous run is unchanged. If `target` can no
    longer be replaced at the end, the new run stays beside it, and the error says where. If two runs overlap,
    the one that ends later remains. Staging directories of killed runs are removed.

    Parameters
    ----------
    target
        The run directory; its parents are created. A symbolic link is kept.
    is_same_run
        Whether the body rewrites the run in `target`, for example with a new report.

    Yields
    ------
    Path
        The directory to write to, on the same file system as `target`.

    Raises
    ------
    OutputError
        :func:`check_target` refuses `target` (before the body starts), or `target` cannot be written.
    """
    target = real_path(target)
    check_target(target, is_same_run=is_same_run)
    with ExitStack() as held:
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target.parent):
                _clear_leftovers(target)
                staging = hidden_path(target, "staging")
                held.enter_context(cleaning_up(lambda: shutil.rmtree(staging, ignore_errors=True)))
                staging.mkdir()
                # The lock tells other commands that this staging directory is in use.
                held.enter_context(locked(staging))
        with write_errors(target, only=NO_SPACE):
            yield staging
        with write_errors(target):
            entries = _entries(staging)
            write_json(staging / MANIFEST_FILE, {"files": entries})
            _sync_tree(staging, len(entries))
            with locked(target.parent):
                try:
                    check_target(target, is_same_run=is_same_run)
                    _exchange(staging, target) if target.exists() else staging.rename(target)
                except (OSError, OutputError) as problem:
                    kept = staging.rename(staging.with_name(staging.stem.removeprefix(".")))
                    raise OutputError(f"{problem}; the new run is complete in {kept}") from problem
                sync(target.parent)


@contextmanager
def journal(directory: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Keep the attempts of a live run on disk until the run is published.

    If the body raises, the directory stays, and a note on the exception says where it is; without any attempt it is
    removed, as it is at the end. No command removes a journal that a killed run left.

    Parameters
    ----------
    directory
        A new directory for `attempts.jsonl`; its parents are created.

    Yields
    ------
    callable
        Appends rows; they are on disk when it returns. Any thread may call it.

    Raises
    ------
    OutputError
        `directory` exists or cannot be written. If an attempt cannot be written, the message has its row.
    """
    path = directory / ATTEMPTS_FILE
    if directory.exists():
        raise OutputError(f"{directory}: contains the attempts of a live run that did not end; move it away")

    def record(attempts: pl.DataFrame) -> None:
        lines = attempts.write_ndjson().encode()
        try:
            with path.open("ab", buffering=0) as file:
                if file.write(lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
        except OSError as problem:
            raise OutputError(
                f"{path}: cannot be written: {problem.strerror}; not in it: {lines.decode()}"
            ) from problem

    with write_errors(directory):
        directory.mkdir(parents=True)
        path.touch()
        sync(directory)
        sync(directory.parent)
    try:
        yield record
    except BaseException as problem:
        if path.stat().st_size:
            problem.add_note(f"The attempts that ended are in {path}")
        else:
            shutil.rmtree(directory)
        raise
    shutil.rmtree(directory)


def _entries(top: Path) -> dict[str, str]:
    """SHA-256 of every file of a run, by path; empty text for links and empty directories."""
    found: dict[str, str] = {}

    def read(directory: str, prefix: str) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    before = len(found)
                    read(entry.path, f"{name}/")
                    if len(found) == before:
                        found[name] = ""
                elif entry.is_file(follow_symlinks=False):
                    with open(entry.path, "rb") as file:  # noqa: PTH123 - Path is slow where there are thousands of agents
                        content = file.read()
                    content = _RUN_TIME.sub(b"", content) if entry.name == SUMMARY_FILE else content
                    found[name] = hashlib.sha256(content).hexdigest()
                else:
                    found[name] = ""

    read(str(top), "")
    return {name: found[name] for name in sorted(found) if name != MANIFEST_FILE}


def _clear_leftovers(target: Path) -> None:
    """Remove the staging directories that killed runs left beside `target`; the caller has locked the parent."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.\d+-[0-9a-f]{{8}}\.staging")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name):
            with suppress(OSError), locked(path, wait=False):  # skip one in use
                shutil.rmtree(path, ignore_errors=True)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two directories in one atomic step."""
    library, names = ctypes.CDLL(None, use_errno=True), (os.fsencode(one), os.fsencode(other))
    if sys.platform == "darwin":
        failed = library.renamex_np(*names, _EXCHANGE)
    else:
        failed = library.renameat2(0, names[0], 0, names[1], _EXCHANGE)  # absolute paths need no directory
    if failed:
        problem = os.strerror(ctypes.get_errno())
        raise OSError(ctypes.get_errno(), f"its file system cannot exchange two directories ({problem})")


def _sync_tree(top: Path, count: int) -> None:
    """Flush a directory with all it contains to disk, `count` files: a large one with its whole file system (Linux)."""
    sync_file_system = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if count < _MANY_FILES or sync_file_system is None:
        for directory, _, files in os.walk(top, topdown=False):
            for name in files:
                sync(Path(directory, name))
            sync(directory)
        return
    descriptor = os.open(top, os.O_RDONLY)
    try:
        if sync_file_system(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)

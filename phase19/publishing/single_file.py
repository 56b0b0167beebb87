"""Publishing one file: the whole of it, or none."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phase19.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["check_file_target", "publish_file"]


def check_file_target(target: Path, sources: Iterable[Path | None]) -> None:
    """Refuse to write a file where something else is, before any work is done for it.

    Parameters
    ----------
    target
        The file to write.
    sources
        Directories and files that are read.

    Raises
    ------
    UsageError
        `target` is one of the sources, or lies in one.
    OutputError
        `target` is there and no file.
    """
    place = target.resolve()
    for source in sources:
        if source is not None and source.resolve() in (place, *place.parents):
            raise UsageError(f"--output: {target} is or lies in the input {source}")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target}: expected a file to write or nothing, found a directory")


@contextmanager
def publish_file(target: Path) -> Iterator[Path]:
    """Publish what the body writes to the path it is given: the whole of it appears at `target`, or nothing does.

    Parameters
    ----------
    target
        The file; its parents are made. A symbolic link stays one.

    Yields
    ------
    Path
        A hidden path beside `target`, which takes its place by renaming; removed where the body raises.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    place = target.resolve()
    partial = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            _sync(partial)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as problem:
        raise OutputError(f"{target}: cannot be written: {problem.strerror or problem}") from problem


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

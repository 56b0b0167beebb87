"""List an input directory, and warn of what in it looks like records but is not read."""

import errno
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from phase19.errors import InputError, plural

_WAVE = "wave_"  # start of the names of wave directories
_DEPTH = 3  # levels of directories below the top: waves/wave_1/agent_0
_ALIKE = 0.8  # similarity (0 to 1) from which a name looks like another
_NAMED = 10  # files that get a warning each; further ones are counted
_WRONG_KIND = {errno.ENOENT: "nothing; the commands sample, init and import make one", errno.ENOTDIR: "a file"}


@dataclass(frozen=True, slots=True)
class Directory:
    """What an input directory contains.

    Attributes
    ----------
    path
        The directory.
    entries
        Names of everything at its top.
    files
        Paths of everything below it but the wave directories, relative to it, with `/`, sorted.
    warnings
        One text for each directory that cannot be read and each link that leads nowhere.
    """

    path: Path
    entries: frozenset[str]
    files: tuple[str, ...]
    warnings: tuple[str, ...]


def is_dangling(path: Path) -> bool:
    """Whether a path is a link that leads nowhere; False if nobody may look."""
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114 - pathlib raises if nobody may look


def list_directory(path: Path) -> Directory:
    """List an input directory, three levels deep.

    Raises
    ------
    InputError
        It is not a directory, or it or one of its wave directories cannot be read.
    """
    entries: set[str] = set()
    files: list[str] = []
    warnings: list[str] = []

    def refuse(problem: OSError) -> None:
        place = Path(problem.filename)
        if place == path or place.relative_to(path).parts[0].startswith(_WAVE):
            found = _WRONG_KIND.get(problem.errno or 0, problem.strerror or str(problem))
            found = "a link that leads nowhere" if is_dangling(place) else found
            expected = "a directory" if problem.errno in _WRONG_KIND else "a readable directory"
            raise InputError(str(place), expected=expected, found=found) from problem
        warnings.append(f"{place}: this directory cannot be read: {problem.strerror}")

    for place, below, names in os.walk(path, onerror=refuse, followlinks=True):
        inside = Path(place).relative_to(path)
        is_top = not inside.parts
        if is_top:
            entries.update(below, names)
        others = [name for name in below if not (is_top and name.startswith(_WAVE))]
        files += [(inside / name).as_posix() for name in (*names, *others)]
        if len(inside.parts) == _DEPTH:
            below.clear()
        warnings += [f"{link}: this link leads nowhere" for name in names if is_dangling(link := Path(place, name))]
    return Directory(path, frozenset(entries), tuple(sorted(files)), tuple(warnings))


def unread_records(directory: Directory, read: Collection[str], names: Collection[str], below: str) -> list[str]:
    """Warn of files that look like input files but are not read.

    Parameters
    ----------
    directory
        The directory.
    read
        Paths in it that were read or are ignored with a warning of their own.
    names
        Names of all input files at the top of a directory.
    below
        Pattern of the paths that are read below the top.
    """
    known = {_stem(name): name for name in names} | {"wave": below}
    deep = {_stem(below.rpartition("/")[2])}
    done = {os.path.realpath(directory.path / name) for name in read}
    found = []
    for path in directory.files:
        close = get_close_matches(_stem(path.rpartition("/")[2]), deep if "/" in path else known, 1, _ALIKE)
        if close and os.path.realpath(directory.path / path) not in done:
            expected = below if "/" in path else known[close[0]]
            found.append(
                f"{directory.path / path} looks like records but is not read; its name would have to be {expected}"
            )
    more = [f"{directory.path}: {plural(len(found) - _NAMED, 'more file')} of this kind"] if len(found) > _NAMED else []
    return [*directory.warnings, *found[:_NAMED], *more]


def _stem(name: str) -> str:
    """The letters of a file name before its first dot, in lower case."""
    return re.sub(r"[^a-z]", "", name.partition(".")[0].lower())

"""The files of a run directory: name them, and write each completely or not at all."""

import fcntl
import hashlib
import io
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl
from polars import selectors

from phase19.errors import OutputError, UsageError
from phase19.interrupts import cleaning_up

SUMMARY_FILE = "optimization_summary.json"  # a directory with this file is a Phase 19 run
MAX_NAME_BYTES = 120  # file systems allow 255
HASHED_NAME_BYTES = 100
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # text that percent-encoding keeps


def agent_directories(agent_ids: Sequence[str]) -> dict[str, str]:
    """Name each agent's directory so that no id leaves the run directory and no two ids share one.

    Parameters
    ----------
    agent_ids
        Distinct ids, any text.

    Returns
    -------
    dict
        Id to directory name, in the order given: the id percent-encoded outside `A-Z a-z 0-9 . _ -`. A name of
        more than 120 bytes, or one that differs from another only in case, becomes its first 100 bytes, `~` and the
        first 8 hex digits of the id's SHA-256. A name does not depend on the order of the ids.

    Raises
    ------
    OutputError
        Two ids still have one name because their hashes collide.

    Examples
    --------
    >>> agent_directories(["openai/gpt-5", ".."])
    {'openai/gpt-5': 'openai%2Fgpt-5', '..': '%2E%2E'}
    """
    names = {agent: _percent_encoded(agent) for agent in agent_ids}
    sharers = Counter(name.lower() for name in names.values())
    for agent, name in names.items():
        if len(name) > MAX_NAME_BYTES or sharers[name.lower()] > 1:
            digest = hashlib.sha256(agent.encode()).hexdigest()
            names[agent] = f"{name[:HASHED_NAME_BYTES]}~{digest[:8]}"
    if len({name.lower() for name in names.values()}) < len(names):
        raise OutputError("agent ids: expected ids whose directory names differ, found two with the same hash")
    return names


def _percent_encoded(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    encoded = quote(text, safe="").replace("~", "%7E")
    return encoded.replace(".", "%2E") if text in {".", ".."} else encoded


def real_path(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, a link that leads to itself is no error."""
    return Path(os.path.realpath(path))


def check_file_target(target: Path, sources: Iterable[Path | None]) -> None:
    """Check before a long computation that a file may be written to `target`.

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
        `target` exists and is not a file.
    """
    place = real_path(target)
    for source in sources:
        if source is not None and real_path(source) in (place, *place.parents):
            raise UsageError(f"--output: {target} is or lies in the input {source}")
    if target.exists() and not target.is_file():
        raise OutputError(f"{target}: expected a file or nothing, found a directory")


@contextmanager
def publish_file(target: Path) -> Iterator[Path]:
    """Publish the file that the body writes: `target` gets the complete file or stays unchanged.

    Parameters
    ----------
    target
        The file; its parents are created. A symbolic link is kept.

    Yields
    ------
    Path
        A hidden path beside `target`, renamed to it at the end and removed if the body raises.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    place = real_path(target)
    partial = hidden_path(place, "partial")
    with write_errors(target):
        place.parent.mkdir(parents=True, exist_ok=True)
        with cleaning_up(lambda: partial.unlink(missing_ok=True)):
            yield partial
            sync(partial)
            partial.replace(place)


@contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a directory; raise BlockingIOError if another process holds the lock and `wait` is False."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def write_errors(target: Path, only: Sequence[int] = ()) -> Iterator[None]:
    """Convert an OSError of the body to an :class:`OutputError`; with `only`, just these error numbers."""
    try:
        yield
    except OSError as problem:
        if only and problem.errno not in only:
            raise
        raise OutputError(f"{target}: cannot be written: {problem.strerror or problem}") from problem


def hidden_path(target: Path, purpose: str) -> Path:
    """Name a new hidden file or directory beside `target`."""
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.{purpose}")


def sync(path: str | Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def output_directory(directory: Path | str | None, default: Path | str | None) -> Path:
    """The directory to write to: `directory`, or `default` if it is None.

    Raises
    ------
    UsageError
        Neither is given, or it is not a path.
    """
    place = default if directory is None else directory
    if not isinstance(place, str | Path) or not str(place) or "\0" in str(place):
        raise UsageError(f"expected a directory to write to, found {place!r}")
    return Path(place)


def write_json(path: Path, document: object) -> None:
    """Write one JSON document: UTF-8, indented, keys in their order, a newline at the end.

    Raises
    ------
    ValueError
        The document holds NaN or Infinity, which are not JSON.
    """
    # The standard library's encoder refuses NaN, which msgspec writes as null. msgspec's formatter is faster.
    compact = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.write_bytes(msgspec.json.format(compact.encode(), indent=2) + b"\n")


def write_files(directory: Path, files: Mapping[str, pl.DataFrame | Mapping[str, Any] | Sequence[Any]]) -> list[Path]:
    """Write frames as JSONL, CSV or Parquet, lists of records as JSONL and mappings as JSON, each file atomically.

    Returns
    -------
    list of Path
        The files, in the order given.
    """
    for name, content in files.items():
        with publish_file(directory / name) as partial:
            if isinstance(content, pl.DataFrame):
                if name.endswith(".csv"):
                    content.write_csv(partial)
                elif name.endswith(".parquet"):
                    _write_parquet(content, partial)
                else:
                    content.write_ndjson(partial)
            elif isinstance(content, Mapping):
                write_json(partial, content)
            else:
                partial.write_bytes(msgspec.json.Encoder().encode_lines(content))
    return [directory / name for name in files]


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file; unlike Polars, raise OSError if that fails."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())


def write_agent_rows(
    frame: pl.DataFrame, staging: Path, file_name: str, *, waves: Sequence[int], directories: Mapping[str, str]
) -> None:
    """Write `wave_N/AGENT/<file_name>`: one JSONL file per wave and agent, empty if the agent has no rows.

    A name that ends in .parquet makes one file per wave, `wave_N/<file_name>`, with the rows of all agents.

    Parameters
    ----------
    frame
        Rows with at least the columns `wave` and `agent_id`. The files keep the order of rows and columns.
    staging
        The run directory, or the one that :func:`phase19.publishing.run_directory.publish` yields.
    file_name
        Name of every file; its suffix is the format.
    waves
        The run's waves.
    directories
        Agent id to directory name, for every agent of the run.

    Raises
    ------
    ValueError
        A number is NaN or infinite, which JSON cannot express, or a row has an unknown wave or agent.
    """
    not_finite = [column.name for column in frame.select(selectors.float()) if not column.is_finite().all()]
    if not_finite:
        raise ValueError(f"{file_name}: columns {not_finite} hold NaN or Infinity")
    keys = frame.select("wave", "agent_id").unique().rows()
    if unknown := [(wave, agent) for wave, agent in keys if wave not in waves or agent not in directories]:
        raise ValueError(f"{file_name}: rows of an unknown wave and agent {min(unknown)}")
    rows = frame.partition_by("wave", as_dict=True)
    with write_errors(staging):
        for wave in waves:
            (staging / f"wave_{wave}").mkdir(parents=True, exist_ok=True)
            if file_name.endswith(".parquet"):
                _write_parquet(rows.get((wave,), frame.clear()), staging / f"wave_{wave}" / file_name)
                continue
            lines = _lines_by_agent(rows[wave,]) if (wave,) in rows else {}
            for agent, name in directories.items():
                # There may be thousands of idle agents, and Path takes longer than the system for an empty file.
                directory = f"{staging}/wave_{wave}/{name}"
                with suppress(FileExistsError):
                    os.mkdir(directory)  # noqa: PTH102
                with open(f"{directory}/{file_name}", "wb") as file:  # noqa: PTH123
                    file.write(lines.get(agent, b""))


def _lines_by_agent(rows: pl.DataFrame) -> dict[str, memoryview]:
    """Encode rows as JSON lines, all at once, and return each agent's lines."""
    ordered, buffer = rows.sort("agent_id", maintain_order=True), io.BytesIO()
    ordered.write_ndjson(buffer)
    text = buffer.getbuffer()
    line_ends = np.append(0, np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1)
    runs = ordered["agent_id"].rle().struct.unnest()
    ends = line_ends[np.append(0, runs["len"].cum_sum())].tolist()
    return {agent: text[start:end] for agent, (start, end) in zip(runs["value"], pairwise(ends), strict=True)}

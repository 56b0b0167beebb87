"""Strict decoding of JSON documents, and of JSON lines into Polars frames, with bounded memory.

Lines are decoded in blocks. Patterns read the plain lines of a large block. msgspec decodes each of the others into a
typed Struct, and the Structs become columns. This module also checks what msgspec does not: UTF-8 in the whole file,
repeated keys and undeclared keys.
"""

import hashlib
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import polars as pl

from phase19.errors import InputError, Report, raise_error
from phase19.inputs.patterns import TEXT, PatternReader
from phase19.inputs.refusals import explained
from phase19.inputs.wire import Rows

LINE = "line"  # added column: number of the line in its file, from 1
TEXT_HASH = "text_hash"  # added column: the same for lines with equal fields, in any order and spacing
BLOCK_BYTES = 4 << 20  # bytes decoded at once: about 12,000 task outcomes
PATTERN_BYTES = 64 << 10  # a smaller block takes less time one line at a time
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass(slots=True)
class Decoded:
    """The content of a file.

    Attributes
    ----------
    value
        The document, or the frame of the lines.
    digest
        SHA-256 of the file's bytes.
    unknown
        Number of occurrences of each undeclared field.
    naive_count
        Number of timestamps without an offset.
    """

    value: Any
    digest: bytes
    unknown: Counter[str] = field(default_factory=Counter)
    naive_count: int = 0


def decode_text(path: Path) -> str:
    """Read a UTF-8 text file without its byte order mark; raise :class:`InputError` if it is not UTF-8."""
    with _open_lines(path) as stream:
        return _text(path, stream.read().removeprefix(_BYTE_ORDER_MARK), first_line=1)


def decode_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a TOML file: its text and its content; raise :class:`InputError` if it is not TOML."""
    text = decode_text(path).replace("\r\n", "\n")  # TOML refuses a part that ends with a carriage return
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as problem:  # includes huge integers and very deep nesting
        at = re.search(r" \(at line (\d+), column \d+\)$", str(problem))
        last = int(at[1]) if at else text.count("\n") + 1
        raise InputError(str(path), line=last, expected="TOML", found=f"an error ({problem})") from problem


def decode_document(path: Path, shape: Any) -> Decoded:
    """Decode a JSON document strictly.

    Parameters
    ----------
    path
        A ``.json`` file, UTF-8 with or without byte order mark.
    shape
        Type that msgspec decodes the document into.

    Returns
    -------
    Decoded
        Its `value` has the type `shape`.

    Raises
    ------
    InputError
        The file cannot be read, is not JSON, repeats a key, or does not match `shape`.
    """
    with open_file(path) as stream:
        data = stream.read()
    text = _text(path, data.removeprefix(_BYTE_ORDER_MARK), first_line=1)
    try:
        # Also decode to dicts and lists, which keep undeclared fields.
        value, members = msgspec.json.decode(text, type=shape), json.loads(text, object_pairs_hook=_unique)
    except _REFUSED as problem:
        raise explained(path, text, shape, problem) from problem
    return Decoded(value, hashlib.sha256(data).digest(), Counter(_unknown_fields(members, value)))


def decode_lines(path: Path, rows: Rows, select: Sequence[pl.Expr] = (), report: Report = raise_error) -> Decoded:
    """Decode a JSONL file strictly into one frame.

    Parameters
    ----------
    path
        A ``.jsonl`` file, UTF-8 with or without byte order mark, CRLF, blank lines or a final newline.
    rows
        Format of every line.
    select
        Expressions for the frame's columns, over the columns of `rows`, ``line`` and
        ``text_hash``; by default all. They must keep the key columns of `rows`.
    report
        Called with the error of each bad line; if it returns, the line is left out.

    Returns
    -------
    Decoded
        Its `value` is a frame with one row per line, in file order. Absent fields are null. Timestamps are in UTC;
        those without an offset count as UTC. Fields that accept any JSON, or numbers by name, are JSON text.

    Raises
    ------
    InputError
        The file cannot be read; a line is not UTF-8, is not JSON, repeats a key or does not match `rows`; or two lines
        have the same values in the key columns.

    Notes
    -----
    Time is linear in the size of the file. Peak memory is about twice the frame plus ten blocks of 4 MiB.
    """
    digest, reader = hashlib.sha256(), _BlockReader(path, rows, report)
    chunks: list[pl.DataFrame] = []
    with _open_lines(path) as stream:
        # An empty file counts as one empty block, which gives an empty frame.
        while (block := stream.read(BLOCK_BYTES)) or not chunks:
            block += stream.readline()
            digest.update(block)
            frame = reader.read(block if chunks else block.removeprefix(_BYTE_ORDER_MARK))
            chunks.append(frame.select(select) if select else frame)
    whole = pl.concat(chunks, rechunk=True)
    if rows.key:
        check_unique(path, whole, rows.key, report)
    return Decoded(whole, digest.digest(), reader.unknown, reader.naive_count)


def key_names(path: Path) -> list[str]:
    """Sorted names of the keys in a JSONL file; lines that are no objects have none."""
    names, decode = set[str](), msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    with _open_lines(path) as stream:
        for line in stream:
            with suppress(*_REFUSED):
                names.update(decode(line.removeprefix(_BYTE_ORDER_MARK)))
    return sorted(names)


def check_unique(path: Path, frame: pl.DataFrame, keys: Sequence[str], report: Report = raise_error) -> None:
    """Report each row that repeats the `keys` of another; `frame` has a column ``line``."""
    rows = frame.select(*keys, LINE, first=pl.col(LINE).min().over(keys)).filter(pl.col(LINE) > pl.col("first"))
    for *key, line, first in rows.iter_rows():
        found = f"{', '.join(map(repr, key))} again (first on line {first})"
        report(InputError(str(path), line=line, field=", ".join(keys), expected="no repeated key", found=found))


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file; raise :class:`InputError` if opening or reading fails."""
    try:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "something else" if path.exists() else "nothing"
            found = "a link that leads nowhere" if found == "nothing" and path.is_symlink() else found
            raise InputError(str(path), expected="a file", found=found)
        with path.open("rb") as stream:
            yield stream
    except OSError as problem:
        raise InputError(str(path), expected="a readable file", found=problem.strerror or str(problem)) from problem


@contextmanager
def _open_lines(path: Path) -> Iterator[BinaryIO]:
    """Open a file of JSON lines, or a Parquet file as JSON lines."""
    with open_file(path) as stream:
        yield _json_lines(path, stream) if path.suffix == ".parquet" else stream


def _json_lines(path: Path, stream: BinaryIO) -> BinaryIO:
    """The rows of a Parquet file as JSON lines."""
    lines = io.BytesIO()
    try:
        pl.read_parquet(stream).write_ndjson(lines)
    except pl.exceptions.PolarsError as problem:
        raise InputError(str(path), expected="a Parquet file", found=str(problem)) from problem
    lines.seek(0)
    return lines


def _text(path: Path, data: bytes, first_line: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        line = first_line + data.count(b"\n", 0, problem.start)
        found = f"byte 0x{data[problem.start]:02x} ({problem.reason})"
        raise InputError(str(path), line=line, expected="UTF-8 text", found=found) from problem


def _utf8_lines(path: Path, block: bytes, first_line: int, report: Report) -> list[bytes]:
    """Split a block into lines, and empty those that are not UTF-8."""
    lines = block.split(b"\n")
    try:
        block.decode()
    except UnicodeDecodeError:
        for position, line in enumerate(lines):
            try:
                _text(path, line, first_line + position)
            except InputError as problem:
                report(problem)
                lines[position] = b""
    return lines


def _split(block: bytes) -> pl.Series | None:
    """The lines of a block; None if it is not UTF-8."""
    try:
        return pl.Series(TEXT, [block]).cast(pl.String).str.split("\n").explode()
    except pl.exceptions.PolarsError:
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("repeated key")
    return members


def _unknown_fields(found: Any, value: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of fields in `found` that the decoded `value` does not have, one per occurrence."""
    if isinstance(value, msgspec.Struct):
        attributes = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        for name, member in found.items():
            if name in attributes:
                yield from _unknown_fields(member, getattr(value, attributes[name]), f"{prefix}{name}.")
            else:
                yield prefix + name
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _unknown_fields(found[name], member, f"{prefix}*.")
    elif isinstance(value, list):
        for item, member in zip(found, value, strict=True):
            yield from _unknown_fields(item, member, prefix)


class _BlockReader:
    """Reads blocks of lines: plain lines by patterns, all others one by one with the strict decoder."""

    def __init__(self, path: Path, rows: Rows, report: Report) -> None:
        self.unknown, self.naive_count = Counter[str](), 0
        self._path, self._rows, self._report = path, rows, report
        self._decoder = msgspec.json.Decoder(rows.struct)
        self._patterns: PatternReader | None = None
        self._first_line = 1

    def read(self, block: bytes) -> pl.DataFrame:
        """The rows of the next block in order: the columns of the format, ``line`` and ``text_hash``."""
        plain: list[pl.DataFrame] = []
        block, first_line = block.removesuffix(b"\n"), self._first_line
        if len(block) >= PATTERN_BYTES and (lines := _split(block)) is not None:
            self._patterns = self._patterns or PatternReader(self._rows, self.unknown)
            plain, others = self._patterns.read(lines.to_frame().with_row_index(LINE, first_line))
            numbers, texts = others[LINE].to_list(), others[TEXT].cast(pl.Binary).to_list()
            self._first_line += lines.len()
        else:
            texts = _utf8_lines(self._path, block, first_line, self._report)
            numbers = list(range(first_line, first_line + len(texts)))
            self._first_line += len(texts)
        frames = [*plain, self._decoded(texts, numbers)]
        filled = [frame for frame in frames if frame.height] or frames[:1]
        frame = pl.concat(filled).sort(LINE) if len(filled) > 1 else filled[0]
        text, rows = frame.get_column(TEXT), frame.select(self._rows.dtypes.keys())
        hashes = text.hash().zip_with(text.is_not_null(), rows.hash_rows()).alias(TEXT_HASH)
        return rows.with_columns(frame.get_column(LINE), hashes)

    def _decoded(self, lines: list[bytes], numbers: list[int]) -> pl.DataFrame:
        """The rows of lines, each decoded by itself; ``text`` is null unless there are undeclared fields."""
        numbers = [number for number, line in zip(numbers, lines, strict=True) if line and not line.isspace()]
        lines = [line for line in lines if line and not line.isspace()]
        decoded: list[msgspec.Struct] = []
        while len(decoded) < len(lines):
            try:
                decoded.extend(map(self._decoder.decode, lines[len(decoded) :]))  # stops at the first bad line
            except _REFUSED as problem:
                bad = len(decoded)
                self._report(
                    explained(self._path, lines.pop(bad).decode(), self._rows.struct, problem, numbers.pop(bad))
                )
        texts = self._undeclared_keys(lines, numbers, decoded)
        self.naive_count += _naive_count(decoded, self._rows)
        dtypes = self._rows.dtypes.items()
        columns = [_series(name, map(attrgetter(name), decoded), dtype) for name, dtype in dtypes]
        return pl.DataFrame([pl.Series(LINE, numbers, dtype=pl.UInt32), pl.Series(TEXT, texts, pl.Binary), *columns])

    def _undeclared_keys(
        self, lines: list[bytes], numbers: list[int], decoded: list[msgspec.Struct]
    ) -> list[bytes | None]:
        """Count undeclared keys, report repeated keys, and return the lines with undeclared keys, None for others.

        Re-encoded rows have as many quotation marks as their lines, unless a key is undeclared or repeated or a mark is
        written as an escape. Comparing the counts is a fast test for a whole block.
        """
        encoded, block = msgspec.json.Encoder().encode_lines(decoded), b"".join(lines)
        texts: list[bytes | None] = [None] * len(lines)
        is_flat = pl.Binary not in self._rows.dtypes.values()
        if is_flat and block.count(b'"') == encoded.count(b'"') and b"\\u0022" not in block:
            return texts
        known = set(self._rows.struct.__struct_encode_fields__)
        for position, (number, line) in enumerate(zip(numbers, lines, strict=True)):
            try:
                if others := json.loads(line, object_pairs_hook=_unique).keys() - known:
                    self.unknown.update(others)
                    texts[position] = line
            except ValueError as problem:
                self._report(explained(self._path, line.decode(), self._rows.struct, problem, number))
        return texts


def _naive_count(decoded: list[msgspec.Struct], rows: Rows) -> int:
    """Number of timestamps without an offset."""
    names = [name for name, dtype in rows.dtypes.items() if isinstance(dtype, pl.Datetime)]
    moments = (getattr(row, name) for row in decoded for name in names)
    return sum(1 for moment in moments if moment and moment.tzinfo is None)


def _series(name: str, values: Iterator[Any], dtype: Any) -> pl.Series:
    present = [None if value is msgspec.UNSET else value for value in values]
    if dtype == pl.List:
        # A file has few distinct lists: gathering them is 50 times as fast as building every list.
        places: dict[Any, int] = {}
        rows = [None if v is None else places.setdefault(tuple(v), len(places)) for v in present]
        return pl.Series(name, list(map(list, places)), dtype=dtype).gather(pl.Series(rows, dtype=pl.UInt32))
    if isinstance(dtype, pl.Datetime):
        present = [v if v is None or v.tzinfo else v.replace(tzinfo=UTC) for v in present]
    if dtype == pl.Object:
        present, dtype = [None if v is None else msgspec.json.encode(v).decode() for v in present], pl.String
    if dtype == pl.Binary:
        present = [None if v is None or bytes(v) == b"null" else bytes(v) for v in present]
        return pl.Series(name, present, dtype=dtype).cast(pl.String)
    return pl.Series(name, present, dtype=dtype)

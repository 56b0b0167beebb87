"""Strict decoding of JSON documents, and of JSON lines into Polars frames, with bounded memory.

Lines are decoded a block at a time: every line by msgspec into a typed Struct, the block's Structs into one
chunk of columns, after which they are gone. What msgspec does not check (UTF-8 throughout, keys that stand
twice, keys nobody declared) is checked here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, Union, get_args, get_origin

import msgspec
import polars as pl

from phase19.errors import InputError
from phase19.inputs.diagnose import diagnose, load_unique, unknown_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["LINE", "Decoded", "decode_document", "decode_json", "decode_lines", "decode_text"]

LINE = "line"  # column beside a shape's own: the number of the line in its file, from 1
BLOCK_BYTES = 4 << 20  # about 12,000 task outcomes: the rows decoded at once
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
DTYPES = {
    str: pl.String,
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    datetime: pl.Datetime("us", "UTC"),
    msgspec.Raw: pl.Binary,  # becomes JSON text
}


@dataclass(slots=True)
class Decoded:
    """What a file holds, and what was noticed on the way.

    Attributes
    ----------
    value
        The document, or the frame of the lines.
    digest
        SHA-256 of the file's bytes.
    unknown
        How often each field the contract does not know stands in it.
    """

    value: Any
    digest: bytes
    unknown: Counter[str] = field(default_factory=Counter)


def decode_text(path: Path) -> str:
    """The text of a file, without byte order mark; an :class:`InputError` where it is not UTF-8."""
    with _open(path) as stream:
        return _text(path, stream.read().removeprefix(BYTE_ORDER_MARK), first_line=1)


def decode_json(path: Path, text: str, shape: Any, *, line: int | None = None) -> tuple[Any, Any]:
    """Decode one JSON text strictly: as a `shape`, and as dicts and lists with the fields no shape declares."""
    try:
        return msgspec.json.decode(text, type=shape), load_unique(text)
    except REFUSED as problem:
        raise diagnose(str(path), text, shape, line=line) from problem


def decode_document(path: Path, shape: Any) -> Decoded:
    """Decode a JSON document strictly.

    Parameters
    ----------
    path
        A ``.json`` file, UTF-8 with or without byte order mark.
    shape
        What msgspec decodes it into.

    Returns
    -------
    Decoded
        Its value is a `shape`.

    Raises
    ------
    InputError
        The file cannot be read, is not JSON, repeats a key, or is not of `shape`.
    """
    with _open(path) as stream:
        data = stream.read()
    value, members = decode_json(path, _text(path, data.removeprefix(BYTE_ORDER_MARK), first_line=1), shape)
    return Decoded(value, hashlib.sha256(data).digest(), Counter(unknown_fields(members, shape)))


def decode_lines(path: Path, shape: type[msgspec.Struct], select: Sequence[pl.Expr] = ()) -> Decoded:
    """Decode a JSONL file strictly into one frame.

    Parameters
    ----------
    path
        A ``.jsonl`` file, UTF-8 with or without byte order mark, CRLF, blank lines or a final newline.
    shape
        A flat Struct: every line is one.
    select
        Expressions over the shape's columns and ``line`` that make the frame's columns; all columns if left out.

    Returns
    -------
    Decoded
        Its value is a frame, one row a line in file order, columns by the shape's field names; absent and null
        fields are null, timestamps are in UTC (naive ones are taken for UTC), Raw fields are JSON text.

    Raises
    ------
    InputError
        The file cannot be read, or a line is not UTF-8, not JSON, repeats a key, or is not of `shape`.

    Notes
    -----
    Linear in the bytes; peak memory is the frame plus one column plus some ten blocks of 4 MiB.
    """
    digest, unknown = hashlib.sha256(), Counter[str]()
    decoder = msgspec.json.Decoder(shape)
    dtypes = {name: _dtype(info.type) for name, info in zip(shape.__struct_fields__, _fields(shape), strict=True)}
    chunks: list[pl.DataFrame] = []
    first_line = 1
    with _open(path) as stream:
        # An empty file is one empty block, so that it makes an empty frame like any other.
        while (block := stream.read(BLOCK_BYTES)) or not chunks:
            block += stream.readline()
            digest.update(block)
            if first_line == 1:
                block = block.removeprefix(BYTE_ORDER_MARK)
            _text(path, block, first_line)
            lines = block.split(b"\n")
            numbers = [number for number, line in enumerate(lines, first_line) if line and not line.isspace()]
            first_line += len(lines) - 1
            if len(numbers) < len(lines):
                lines = [line for line in lines if line and not line.isspace()]
            try:
                rows = [decoder.decode(line) for line in lines]
            except REFUSED as problem:
                raise _first_error(path, lines, numbers, decoder, shape) from problem
            unknown += _unknown_keys(path, lines, numbers, rows, shape)
            frame = _frame(rows, dtypes).with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))
            chunks.append(frame.select(select) if select else frame)
    return Decoded(_concat(chunks), digest.digest(), unknown)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The file, open; an :class:`InputError` where opening or reading fails."""
    try:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "something else" if path.exists() else "nothing"
            raise InputError(str(path), expected="a file", found=found)
        with path.open("rb") as stream:
            yield stream
    except OSError as problem:
        raise InputError(str(path), expected="a readable file", found=problem.strerror or str(problem)) from problem


def _text(path: Path, data: bytes, first_line: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        line = first_line + data.count(b"\n", 0, problem.start)
        found = f"byte 0x{data[problem.start]:02x} ({problem.reason})"
        raise InputError(str(path), line=line, expected="UTF-8 text", found=found) from problem


def _first_error(path: Path, lines: Sequence[bytes], numbers: Sequence[int], decoder: Any, shape: Any) -> InputError:
    def is_refused(line: bytes) -> bool:
        try:
            decoder.decode(line)
        except REFUSED:
            return True
        return False

    first = next(i for i, line in enumerate(lines) if is_refused(line))
    return diagnose(str(path), lines[first].decode(), shape, line=numbers[first])


def _unknown_keys(
    path: Path, lines: Sequence[bytes], numbers: Sequence[int], rows: list[Any], shape: Any
) -> Counter[str]:
    """Count the keys no field has, and refuse keys that stand twice.

    A row re-encoded has as many quotation marks as its line, unless a key was unknown or stood twice (or a mark
    was written as its escape): counting them clears whole blocks at memory speed, and whole lines after that.
    """
    unknown: Counter[str] = Counter()
    infos = _fields(shape)
    is_flat = all(msgspec.Raw not in get_args(info.type) for info in infos)
    encoded = msgspec.json.Encoder().encode_lines(rows)
    block = b"".join(lines)
    if is_flat and block.count(b'"') == encoded.count(b'"') and b"\\u0022" not in block:
        return unknown
    known = {info.encode_name for info in infos}
    members = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for number, line, twin in zip(numbers, lines, encoded.split(b"\n"), strict=False):
        marks = line.count(b'"') - twin.count(b'"')
        is_clear = is_flat and b"\\u0022" not in line
        if is_clear and not marks:
            continue
        for name, raw in members.decode(line).items():
            if name not in known:
                value = bytes(raw)
                unknown[name] += 1
                marks -= 2 + value.count(b'"')
                is_clear = is_clear and b"{" not in value
        if marks or not is_clear:
            decode_json(path, line.decode(), shape, line=number)
    return unknown


def _frame(rows: list[Any], dtypes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([_series(name, list(map(attrgetter(name), rows)), dtype) for name, dtype in dtypes.items()])


def _series(name: str, values: list[Any], dtype: Any) -> pl.Series:
    present = [None if value is msgspec.UNSET else value for value in values]
    if dtype == pl.List:
        # Polars builds lists slowly; a file holds few distinct ones.
        places: dict[Any, int] = {}
        rows = [None if v is None else places.setdefault(tuple(v), len(places)) for v in present]
        return pl.Series(name, list(map(list, places)), dtype=dtype).gather(pl.Series(rows, dtype=pl.UInt32))
    if isinstance(dtype, pl.Datetime):
        # Polars takes four times as long over datetimes as this does.
        aware = (v if v is None or v.tzinfo else v.replace(tzinfo=UTC) for v in present)
        present = [None if v is None else (v - EPOCH) // MICROSECOND for v in aware]
        return pl.Series(name, present, dtype=pl.Int64).cast(dtype)
    if dtype == pl.Binary:
        present = [None if v is None or bytes(v) == b"null" else bytes(v) for v in present]
        return pl.Series(name, present, dtype=dtype).cast(pl.String)
    return pl.Series(name, present, dtype=dtype)


def _concat(chunks: list[pl.DataFrame]) -> pl.DataFrame:
    """One contiguous frame; column by column, so that never more than one column exists twice."""
    if len(chunks) == 1:
        return chunks[0]
    columns = [chunk.get_columns() for chunk in chunks]
    chunks.clear()
    return pl.DataFrame([pl.concat([chunk.pop(0) for chunk in columns], rechunk=True) for _ in columns[0].copy()])


def _fields(shape: type[msgspec.Struct]) -> tuple[Any, ...]:
    return msgspec.structs.fields(shape)


def _dtype(hint: Any) -> Any:
    """The dtype a field's column has."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _dtype(get_args(hint)[0])
    if origin is Annotated:
        return _dtype(get_args(hint)[0])
    if origin is Literal:
        return pl.String
    if origin is list:
        return pl.List(_dtype(get_args(hint)[0]))
    return DTYPES[hint]

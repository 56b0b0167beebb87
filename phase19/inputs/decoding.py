"""Strict decoding of JSON documents, and of JSON lines into Polars frames, with bounded memory.

Lines are decoded in blocks: msgspec decodes each line into a typed Struct, and the Structs of a block become one chunk
of columns. This module also checks what msgspec does not: UTF-8 in the whole file, repeated keys and undeclared keys.
"""

import hashlib
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, get_args

import msgspec
import polars as pl

from phase19.errors import InputError, Report, printable, raise_error, suggestion
from phase19.inputs.wire import Rows

LINE = "line"  # added column: number of the line in its file, from 1
TEXT_HASH = "text_hash"  # added column: the same for lines with equal fields, in any order and spacing
BLOCK_BYTES = 4 << 20  # bytes decoded at once: about 12,000 task outcomes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
_FOUND_LENGTH = 60


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
    with open_file(path) as stream:
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
        raise _explained(path, text, shape, problem) from problem
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
    digest, unknown = hashlib.sha256(), Counter[str]()
    decoder = msgspec.json.Decoder(rows.struct)
    chunks: list[pl.DataFrame] = []
    first_line, naive_count = 1, 0
    with open_file(path) as stream:
        # An empty file counts as one empty block, which gives an empty frame.
        while (block := stream.read(BLOCK_BYTES)) or not chunks:
            block += stream.readline()
            digest.update(block)
            if first_line == 1:
                block = block.removeprefix(_BYTE_ORDER_MARK)
            lines = _utf8_lines(path, block, first_line, report)
            numbers = [number for number, line in enumerate(lines, first_line) if line and not line.isspace()]
            first_line += len(lines) - 1
            lines = [line for line in lines if line and not line.isspace()]
            decoded: list[msgspec.Struct] = []
            while len(decoded) < len(lines):
                try:
                    decoded.extend(map(decoder.decode, lines[len(decoded) :]))  # stops at the first bad line
                except _REFUSED as problem:
                    bad = len(decoded)
                    report(_explained(path, lines.pop(bad).decode(), rows.struct, problem, numbers.pop(bad)))
            undeclared, texts = _undeclared_keys(path, lines, numbers, decoded, rows, report=report)
            unknown += undeclared
            naive_count += _naive_count(decoded, rows)
            columns = [_series(name, map(attrgetter(name), decoded), dtype) for name, dtype in rows.dtypes.items()]
            frame = pl.DataFrame(columns)
            text = pl.Series(texts, dtype=pl.Binary)
            hashes = text.hash().zip_with(text.is_not_null(), frame.hash_rows()).alias(TEXT_HASH)
            frame = frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32), hashes)
            chunks.append(frame.select(select) if select else frame)
    whole = pl.concat(chunks, rechunk=True)
    if rows.key:
        check_unique(path, whole, rows.key, report)
    return Decoded(whole, digest.digest(), unknown, naive_count)


def key_names(path: Path) -> list[str]:
    """Sorted names of the keys in a JSONL file; lines that are no objects have none."""
    names, decode = set[str](), msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    with open_file(path) as stream:
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


def _undeclared_keys(
    path: Path, lines: list[bytes], numbers: list[int], decoded: list[msgspec.Struct], rows: Rows, *, report: Report
) -> tuple[Counter[str], list[bytes | None]]:
    """Count undeclared keys, report repeated keys, and return the lines with undeclared keys, None for others.

    Re-encoded rows have as many quotation marks as their lines, unless a key is undeclared or repeated or a mark is
    written as an escape. Comparing the counts is a fast test for a whole block.
    """
    encoded, block = msgspec.json.Encoder().encode_lines(decoded), b"".join(lines)
    texts: list[bytes | None] = [None] * len(lines)
    is_flat = pl.Binary not in rows.dtypes.values()
    if is_flat and block.count(b'"') == encoded.count(b'"') and b"\\u0022" not in block:
        return Counter(), texts
    undeclared, known = Counter[str](), set(rows.struct.__struct_encode_fields__)
    for position, (number, line) in enumerate(zip(numbers, lines, strict=True)):
        try:
            if others := json.loads(line, object_pairs_hook=_unique).keys() - known:
                undeclared.update(others)
                texts[position] = line
        except ValueError as problem:
            report(_explained(path, line.decode(), rows.struct, problem, number))
    return undeclared, texts


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


# Explain why a text was refused. This runs only on errors, so it may be slow.

_Place = tuple[str | int, ...]  # the keys and indices that lead to a value
_WORDS = {
    "int": "an integer", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "an object", "datetime": "an ISO 8601 timestamp",
}  # fmt: skip
_REASONS = {
    "Expected `str` matching regex": "text of one or more characters, without control characters",
    "Invalid RFC3339": "an ISO 8601 timestamp",
    "Number out of range": "a number nearer to zero",
    "Integer value out of range": "an integer nearer to zero",
}
_NOT_REPEATED = "each key only once"


def shorten(text: str) -> str:
    """At most 60 printable characters of a text, for a message."""
    text = printable(text.strip()[: _FOUND_LENGTH + 1])
    return text if len(text) <= _FOUND_LENGTH else text[:_FOUND_LENGTH] + "..."


def line_of(text: str, place: _Place, key_form: str = r'"{}"\s*:') -> int:
    """Line number of a place in a document: search for each key after the previous one, as `key_form` writes it."""
    at, skip_space = 0, re.compile(r"\s*").match
    for step in place:
        if isinstance(step, str):
            key = re.compile(key_form.format(re.escape(step))).search(text, at)
            at = key.end() if key else at
        else:
            at = text.find("[", at) + 1
            for _ in range(step):
                _, end = json.JSONDecoder().raw_decode(text, skip_space(text, at).end())  # type: ignore[union-attr]
                at = text.find(",", end) + 1
    return text.count("\n", 0, at) + 1


def _explained(path: Path, text: str, shape: Any, problem: Exception, line: int | None = None) -> InputError:
    """Make the error that names the place and value of `problem`; a field is a dotted path like `agents.a.tasks`."""
    expected, found = "one complete JSON object per line" if line else "a complete JSON document", "nothing"
    place: _Place = ()
    try:
        if text.strip():
            flaw = next(_flaws(json.loads(text, object_pairs_hook=_Members)), None)
            if flaw is None and isinstance(problem, msgspec.ValidationError):
                flaw = _mismatch(json.loads(text), shape, str(problem))
            # Without a flaw, msgspec refuses what Python accepts, such as half a surrogate pair.
            expected, found, place = flaw or (expected, f"{shorten(text)} ({problem})", ())
            repeated = place[-1:] if expected == _NOT_REPEATED else ()  # find the second one
            line = line or line_of(text, (*place, *repeated))
    except (ValueError, RecursionError) as broken:  # includes huge integers and very deep nesting
        found = f"{shorten(text)} ({getattr(broken, 'msg', broken)})"
        line = line or getattr(broken, "lineno", 1)
    field = ".".join(map(str, place)) or None
    return InputError(str(path), line=line, field=field, expected=expected, found=found)


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object, including repeated names."""


def _flaws(node: Any, place: _Place = ()) -> Iterator[tuple[str, str, _Place]]:
    """Find repeated keys and non-finite numbers: yield what was expected, what was found and where."""
    if isinstance(node, _Members):
        names: set[str] = set()
        for name, member in node:
            if name in names:
                yield _NOT_REPEATED, "it again", (*place, name)
            names.add(name)
            yield from _flaws(member, (*place, name))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _flaws(item, (*place, index))
    elif isinstance(node, float) and not math.isfinite(node):
        yield "a finite number", str(node), place


def _mismatch(document: Any, shape: Any, problem: str) -> tuple[str, str, _Place]:
    """Parse msgspec's message about a document that does not match `shape`: expected, found and place."""
    reason, _, place = problem.rpartition(" - at `") if " - at `" in problem else (problem, "", "")
    is_key = place.startswith("key` in ")
    node, field = document, tuple[str | int, ...]()
    steps = re.findall(r"\.([^.[`]+)|\[(\d+|\.\.\.)\]", place + "[...]" * is_key)
    # A name at the top may contain any character.
    names = getattr(shape, "__struct_encode_fields__", ())
    steps = next(([(own, "")] for own in names if place == f"$.{own}`"), steps)
    for name, index in steps:
        step = name if not index else int(index) if index != "..." else _refused_member(document, node, shape, problem)
        node, field = node[step], (*field, step)
    if missing := re.fullmatch("Object missing required field `(.*)`", reason):
        others = [name for name in node if name not in getattr(shape, "__struct_encode_fields__", ())]
        return "this required field", f"nothing{suggestion(missing[1], others)}", (*field, missing[1])
    found = shorten(json.dumps(field[-1] if is_key else node, ensure_ascii=False))
    if reason.startswith("Invalid enum value"):
        kinds = [info.type for info in msgspec.structs.fields(shape) if info.encode_name == field[-1]]
        while any(map(get_args, kinds)):
            kinds = [part for kind in kinds for part in get_args(kind) or (kind,)]
        choices = [value for value in kinds if isinstance(value, str)]
        return " or ".join(choices), found + suggestion(node, choices), field
    expected = re.sub(r"`([^`]*)`", lambda kinds: " or ".join(_WORDS.get(k, k) for k in kinds[1].split(" | ")), reason)
    expected = next((words for start, words in _REASONS.items() if reason.startswith(start)), expected)
    expected = expected.removeprefix("Expected ").partition(", got ")[0]
    return f"a name that is {expected}" if is_key else expected, found, field


def _refused_member(document: Any, members: dict[str, Any], shape: Any, problem: str) -> str:
    """The key of `members`, a dict inside the document, for which msgspec reports `problem`."""
    everything = members.copy()
    for name, value in everything.items():
        members.clear()
        members[name] = value
        try:
            msgspec.json.decode(json.dumps(document), type=shape)
        except msgspec.MsgspecError as refused:
            if str(refused) == problem:
                break
    members.update(everything)
    return name

"""What is wrong with a JSON text that msgspec refused: the field, what was expected there, what stands there.

Runs on errors only, so it may be slow; it walks the text again and never trusts the wording of another library.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from phase19.errors import InputError, printable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["diagnose", "load_unique", "unknown_fields"]

Path = tuple[str | int, ...]
FOUND_LENGTH = 60
PLAIN = {str: "text", float: "a number", int: "an integer", bool: "true or false", datetime: "an ISO 8601 timestamp"}


def diagnose(file: str, text: str, shape: Any, *, line: int | None = None) -> InputError:
    """Explain why `text` is not of `shape`.

    Parameters
    ----------
    file
        Path of the file, as the user gave it.
    text
        One line of a JSONL file, or a whole JSON document.
    shape
        The type msgspec decoded into.
    line
        Number of the line, from 1; left out for a document, where it is found from the field.

    Returns
    -------
    InputError
        For the caller to raise; the field is a dotted path such as ``agent_performance.agent_0.success_rate``.
    """
    kind = "one complete JSON object a line" if line else "a complete JSON document"
    if not text.strip():
        return InputError(file, line=line, expected=kind, found="nothing")
    try:
        return _diagnose_valid(file, text, shape, line, kind)
    except json.JSONDecodeError as problem:
        found = f"{_shorten(text)} ({problem.msg} at column {problem.colno})"
        return InputError(file, line=line or problem.lineno, expected=kind, found=found)
    except (ValueError, RecursionError) as problem:  # integers of thousands of digits, nesting of thousands of levels
        return InputError(file, line=line, expected=kind, found=f"{_shorten(text)} ({problem})")


def _diagnose_valid(file: str, text: str, shape: Any, line: int | None, kind: str) -> InputError:
    value = json.loads(text)
    seen: dict[Path, int] = {}
    for path, offset in _members(text):
        here = line or text.count("\n", 0, offset) + 1
        if path in seen:
            found = f"it again (first on line {seen[path]})" if line is None else "it again"
            return InputError(file, line=here, field=_dotted(path), expected="each key once", found=found)
        seen[path] = here
    path, expected, found = _unsound(value, ()) or _mismatch(value, shape, ()) or ((), kind, _shorten(text))
    # The value of a missing field has no place: point at the object it is missing from.
    place = next((seen[path[:end]] for end in range(len(path), 0, -1) if path[:end] in seen), line or 1)
    return InputError(file, line=place, field=_dotted(path), expected=expected, found=found)


def load_unique(text: str) -> Any:
    """Decode JSON text, or raise ValueError where a key stands twice in an object at any depth."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise ValueError("duplicate key")
        return members

    return json.loads(text, object_pairs_hook=once)


def unknown_fields(value: Any, shape: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields of `value` that `shape` does not declare, once for each time they stand there."""
    shape = _strip(shape, value)
    if isinstance(value, dict) and _is_struct(shape):
        known = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
        for name, member in value.items():
            if name in known:
                yield from unknown_fields(member, known[name], f"{prefix}{name}.")
            else:
                yield prefix + name
    elif isinstance(value, dict) and get_origin(shape) is dict:
        for member in value.values():
            yield from unknown_fields(member, get_args(shape)[1], f"{prefix}*.")
    elif isinstance(value, list) and get_origin(shape) is list:
        for member in value:
            yield from unknown_fields(member, get_args(shape)[0], prefix)


def _members(text: str) -> Iterator[tuple[Path, int]]:
    """Path and offset of every member of valid JSON text, in order, duplicates included."""
    decoder = json.JSONDecoder()

    def skip(position: int) -> int:
        while text[position] in " \t\r\n,:":
            position += 1
        return position

    def walk(position: int, path: Path) -> Generator[tuple[Path, int], None, int]:
        is_object = text[position] == "{"
        if not is_object and text[position] != "[":
            return decoder.raw_decode(text, position)[1]
        position, index = skip(position + 1), 0
        while text[position] not in "}]":
            step: str | int = index
            start = position
            if is_object:
                step, position = decoder.raw_decode(text, position)
                position = skip(position)
            yield (*path, step), start
            position = skip((yield from walk(position, (*path, step))))
            index += 1
        return position + 1

    yield from walk(skip(0), ())


def _unsound(value: Any, path: Path) -> tuple[Path, str, str] | None:
    """The first number that is not finite, or text with half a surrogate pair, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return path, "a finite number", str(value)
    if isinstance(value, str) and not _is_unicode(value):
        return path, "Unicode text", ascii(value)
    if isinstance(value, dict):
        bad_key = next((key for key in value if not _is_unicode(key)), None)
        if bad_key is not None:
            return path, "Unicode field names", ascii(bad_key)
        return next((bad for key, member in value.items() if (bad := _unsound(member, (*path, key)))), None)
    if isinstance(value, list):
        return next((bad for i, member in enumerate(value) if (bad := _unsound(member, (*path, i)))), None)
    return None


def _mismatch(value: Any, shape: Any, path: Path) -> tuple[Path, str, str] | None:
    """The innermost place where `value` is not of `shape`."""
    if shape is msgspec.Raw or _fits(value, shape):
        return None
    inner = _strip(shape, value)
    if isinstance(value, dict) and _is_struct(inner):
        for field in msgspec.structs.fields(inner):
            here = (*path, field.encode_name)
            if field.encode_name not in value:
                if field.required:
                    return here, _describe(field.type) + " (a required field)", "nothing"
            elif bad := _mismatch(value[field.encode_name], field.type, here):
                return bad
    elif isinstance(value, dict) and get_origin(inner) is dict:
        key_shape, member_shape = get_args(inner)
        for key, member in value.items():
            if not _fits(key, key_shape):
                return (*path, key), "a name that is " + _describe(key_shape), _shorten(json.dumps(key))
            if bad := _mismatch(member, member_shape, (*path, key)):
                return bad
    elif isinstance(value, list) and get_origin(inner) is list:
        for i, member in enumerate(value):
            if bad := _mismatch(member, get_args(inner)[0], (*path, i)):
                return bad
    return path, _describe(shape), _shorten(json.dumps(value, ensure_ascii=False))


def _fits(value: Any, shape: Any) -> bool:
    try:
        msgspec.json.decode(json.dumps(value), type=shape)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _strip(shape: Any, value: Any) -> Any:
    """The member of a union that `value` was meant to be: the container of its kind, else the first."""
    if get_origin(shape) not in (Union, UnionType):
        return shape
    members = [member for member in get_args(shape) if member not in (type(None), msgspec.UnsetType)]
    is_list = isinstance(value, list)
    return next((member for member in members if (get_origin(member) is list) == is_list), members[0])


def _describe(shape: Any) -> str:
    origin = get_origin(shape)
    if origin is Annotated:
        return str(next(meta.description for meta in shape.__metadata__ if meta.description))
    if origin is Literal:
        return " or ".join(get_args(shape))
    if origin in (Union, UnionType):
        return " or ".join(_describe(member) for member in get_args(shape) if member is not msgspec.UnsetType)
    if origin is list:
        return f"a list of {_describe(get_args(shape)[0])}"
    if shape is type(None):
        return "null"
    return PLAIN.get(shape, "an object")


def _is_struct(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _dotted(path: Path) -> str | None:
    return ".".join(str(step) for step in path) or None


def _shorten(text: str) -> str:
    text = printable(text.strip()[: FOUND_LENGTH + 1])
    return text if len(text) <= FOUND_LENGTH else text[:FOUND_LENGTH] + "..."

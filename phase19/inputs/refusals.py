"""Explain why the strict decoder refused a text: the place, what was expected and what was found.

This runs only on errors, so it may be slow.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from phase19.errors import InputError, printable, suggestion

_FOUND_LENGTH = 60
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


def explained(path: Path, text: str, shape: Any, problem: Exception, line: int | None = None) -> InputError:
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

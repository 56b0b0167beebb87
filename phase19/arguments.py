"""Check and convert arguments by their declared types; errors say what was expected and what was found."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import EnumType
from functools import cache, wraps
from inspect import isfunction, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from phase19.errors import UsageError, suggestion

Owner = TypeVar("Owner", bound=type)
_LONGEST_SHOWN = 10**30  # Python refuses to print numbers of 5,000 digits
WaveNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
_NAMES: dict[Any, str] = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "text",
    Path: "a path",
    Callable: "a function",
    Sequence[str]: "a list of texts",
    tuple[str, ...]: "a name or a list of names",
    Sequence[Mapping[str, Any]]: "a list of dicts",
    "DataFrame": "a frame",  # by name, so that `--help` need not import Polars
    "Series": "a series",
}
_CONVERTED = (int, float, bool, tuple)  # checked by msgspec, which does not accept True as an int


def checked(owner: Owner) -> Owner:
    """Decorate a class so that calls of its constructor and methods check arguments against their annotations.

    Raises
    ------
    UsageError
        In such a call: an argument has the wrong type or is out of bounds.
    """
    for name, member in list(vars(owner).items()):
        if isfunction(member) and (name == "__init__" or not name.startswith("__")):
            setattr(owner, name, _checking(member))
    return owner


def _checking(function: Callable[..., Any]) -> Callable[..., Any]:
    parameters = signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kinds = _kinds(function)
        for name, value in parameters.bind_partial(*args, **kwargs).arguments.items():
            if name in kinds and not _fits(value, kinds[name]):
                raise _refusal(name, kinds[name], value)
        return function(*args, **kwargs)

    return call


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Declared type by parameter."""
    return get_type_hints(function, include_extras=True)


def _fits(value: object, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if get_origin(kind) is Callable:
        return callable(value)
    if isinstance(kind, type) and kind not in _CONVERTED:
        return isinstance(value, kind)
    base = get_args(kind)[0] if get_origin(kind) is Annotated else get_origin(kind)
    if isinstance(base, type) and not isinstance(value, (base, int) if base is float else base):
        return False
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def converted(name: str, kind: Any, value: Any, reader: Callable[[Any], Any] | None = None) -> Any:
    """Convert a value to its declared type, through `reader` if given; numbers and choices may be text.

    Raises
    ------
    UsageError
        The value does not fit the type.
    """
    try:
        plain = value.item() if hasattr(value, "item") else value  # a numpy scalar
        read = plain if reader is None or plain is None else reader(plain)
        return msgspec.convert(read, kind, strict=False, dec_hook=_read_path)
    except (AttributeError, OverflowError, TypeError, ValueError):  # includes msgspec's errors
        raise _refusal(name, kind, value) from None


def converted_paths(name: str, value: Any) -> list[Path]:
    """Convert one path or a list of paths, which may be text; errors as :func:`converted`."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if is_list and not value:
        raise UsageError(f"{name}: expected at least one path, found none")
    return [converted(name, Path, each) for each in (value if is_list else [value])]


def _read_path(_: type, value: Any) -> Path:
    # An empty text would mean the current directory; no file system takes NUL, and few take half a surrogate pair.
    if value == "" or b"\0" in bytes(Path(value)):
        raise ValueError
    return Path(value)


def _refusal(name: str, kind: Any, value: object) -> UsageError:
    expected, found = mismatch(kind, value)
    return UsageError(f"{name}: expected {expected}, found {found}")


def mismatch(kind: Any, value: object) -> tuple[str, str]:
    """Describe what a declared type expects, and a value that does not fit it with the nearest choice."""
    is_long = isinstance(value, int) and abs(value) > _LONGEST_SHOWN
    found = "a number too long to print" if is_long else f"{value!r:.100}"
    return in_words(kind), f"{found}{suggestion(value, _choices(kind))}"


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) in (Union, UnionType):
        return tuple(choice for each in get_args(kind) for choice in _choices(each))
    return get_args(kind) if get_origin(kind) is Literal else tuple(kind) if isinstance(kind, EnumType) else ()


def in_words(kind: Any) -> str:
    """Describe a declared type in words, such as `a whole number from 1 to 100`; None is not mentioned."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(in_words(each) for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)
        upper = "" if meta.le is None else f" to {meta.le:,}"
        return meta.description or f"{in_words(base)} from {meta.ge:,}{upper}"
    if choices := _choices(kind):
        return f"one of {', '.join(choices)}"
    plain = kind.__name__ if isinstance(kind, type) else re.sub(r"[a-z.]+\.", "", str(kind))
    return _NAMES.get(kind) or _NAMES.get(get_origin(kind)) or _NAMES.get(plain, plain)

"""Arguments of the public classes: checked against the types their methods declare, before a method runs."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from inspect import isfunction, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import polars as pl

from phase19.errors import UsageError

Owner = TypeVar("Owner", bound=type)
WaveNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
_NAMES: dict[Any, str] = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "text",
    NoneType: "None",
    Path: "a path",
    pl.DataFrame: "a frame",
    pl.Series: "a series",
    Callable: "a function",
    Sequence[str]: "a list of texts",
    Sequence[Mapping[str, Any]]: "a list of dicts",
}
_CONVERTED = (int, float, bool, tuple)  # types that msgspec checks more strictly than isinstance: True is no int


def checked(owner: Owner) -> Owner:
    """Check the arguments of a class's constructor and of its methods, private ones too, against their annotations.

    Raises
    ------
    UsageError
        From the call: an argument has another type, or is out of the bounds that the type states.
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
                raise UsageError(f"{name}: expected {_words(kinds[name])}, found {value!r:.100}")
        return function(*args, **kwargs)

    return call


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Declared type by parameter; `**settings` are checked by the options' own class."""
    kinds = get_type_hints(function, include_extras=True)
    return {name: kind for name, kind in kinds.items() if name in signature(function).parameters and name != "settings"}


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


def _words(kind: Any) -> str:
    """A declared type as a message names it, such as `a whole number from 1 or None`."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if get_origin(kind) is Annotated:
        base, meta = get_args(kind)
        return f"{_words(base)} from {meta.ge:,}" + ("" if meta.le is None else f" to {meta.le:,}")
    plain = kind.__name__ if isinstance(kind, type) else re.sub(r"[a-z.]+\.", "", str(kind))
    return _NAMES.get(kind) or _NAMES.get(get_origin(kind), plain)

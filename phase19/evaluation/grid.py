"""Read the grid of a sweep, a TOML file: the options of every run, and the values of the options that vary."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from phase19.arguments import converted, mismatch
from phase19.errors import InputError, UsageError, suggestion
from phase19.inputs.decoding import decode_toml
from phase19.inputs.refusals import line_of, shorten
from phase19.options import READERS, SweepOptions

MOST_RUNS = 100_000
ALWAYS_SHOWN = ("input", "strategy", "seed")
_TABLES = ("options", "vary")
_RANGE = ("from", "to")
_LIST = "a list of at least one value, or {from = 0, to = 9} for whole numbers"


@dataclass(frozen=True, slots=True)
class Grid:
    """The runs of a sweep.

    Attributes
    ----------
    options, vary
        Value of each fixed option, and values of each option that varies, as numbers and texts.
    runs
        Options of each run. The option that `vary` names last changes fastest.
    labels
        One row per run: its number from 1, its setting (the options that vary, but the seed), its input, strategy and
        seed, and the other options that vary.
    """

    options: Mapping[str, Any]
    vary: Mapping[str, Sequence[Any]]
    runs: tuple[SweepOptions, ...]
    labels: pl.DataFrame


class _Reader(NamedTuple):
    """Reads the values of options; errors name the file and the line."""

    path: Path
    text: str

    def error(self, keys: tuple[str, ...], expected: str, found: str) -> InputError:
        line = line_of(re.sub("#.*", "", self.text), keys, key_form=r"\b{}\b")
        return InputError(str(self.path), line=line, field=".".join(keys), expected=expected, found=found)

    def table(self, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """A table of the file, empty by default, of which each key is an option."""
        content, known = document.get(name, {}), SweepOptions.taken()
        if not isinstance(content, dict):
            raise self.error((name,), "a table", shorten(repr(content)))
        for key in content:
            if key not in known:
                raise self.error((name, key), "an option of a run", f"{key!r}{suggestion(key, known)}")
        return content

    def value(self, keys: tuple[str, str], value: Any) -> Any:
        """Convert a value to the declared type of its option."""
        kind = SweepOptions.taken()[keys[1]].type
        try:
            return converted(keys[1], kind, value, READERS.get(kind))
        except UsageError:
            raise self.error(keys, *mismatch(kind, value)) from None

    def values(self, name: str, given: Any) -> list[Any]:
        """Convert a list of different values, or a range of whole numbers."""
        keys = ("vary", name)
        if isinstance(given, dict) and sorted(given) == sorted(_RANGE):
            first, last = (self.value(keys, given[end]) for end in _RANGE)
            is_range = isinstance(first, int) and isinstance(last, int) and first <= last
            if is_range and last - first >= MOST_RUNS:
                raise self.error(keys, f"at most {MOST_RUNS:,} values", f"{last - first + 1:,}")
            given = range(first, last + 1) if is_range else given
        if not isinstance(given, list | range) or not given:
            raise self.error(keys, _LIST, shorten(repr(given)))
        values = [self.value(keys, each) for each in given]
        texts = sorted(str(plain(value)) for value in values)
        repeated = next((text for text, other in pairwise(texts) if text == other), None)
        if repeated is not None:
            raise self.error(keys, "different values", f"{repeated} more than once")
        return values


def read_grid(path: Path) -> Grid:
    """Read a grid.

    Parameters
    ----------
    path
        TOML with the tables `options` and `vary`. Each key is an option of :class:`SweepOptions`.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML, names an unknown option, or has a value that does not fit its option.
    UsageError
        Two options of a run contradict each other.
    """
    text, document = decode_toml(path)
    reader = _Reader(path, text)
    for name in document:
        if name not in _TABLES:
            raise reader.error((name,), f"the tables {' and '.join(_TABLES)}", f"{name!r}{suggestion(name, _TABLES)}")
    options, vary = (reader.table(document, name) for name in _TABLES)
    for name in options.keys() & vary.keys():
        raise reader.error(("vary", name), "an option that is not in the table options", f"{name!r} in both")
    options = {name: reader.value(("options", name), value) for name, value in options.items()}
    vary = {name: reader.values(name, given) for name, given in vary.items()}
    count = math.prod(map(len, vary.values()))
    if count > MOST_RUNS:
        raise reader.error(("vary",), f"at most {MOST_RUNS:,} runs", f"{count:,}")
    runs, labels = _combined(path, options, vary)
    fixed = {name: plain(value) for name, value in options.items()}
    return Grid(fixed, {name: list(map(plain, values)) for name, values in vary.items()}, runs, labels)


def _combined(
    path: Path, options: Mapping[str, Any], vary: Mapping[str, Sequence[Any]]
) -> tuple[tuple[SweepOptions, ...], pl.DataFrame]:
    """Combine the values that vary: the options of each run, and its labels."""
    runs, settings = [], []
    for values in product(*vary.values()):
        own = dict(zip(vary, values, strict=True))
        named = (f"{name}={plain(value)}" for name, value in own.items() if name != "seed")
        settings.append(", ".join(named) or "all runs")
        try:
            runs.append(SweepOptions(**options, **own))
        except UsageError as problem:
            raise UsageError(f"{path}: run {len(settings):,} ({settings[-1]}): {problem}") from problem
    shown = dict.fromkeys((*ALWAYS_SHOWN, *vary))
    columns = {name: _column([plain(getattr(run, name)) for run in runs]) for name in shown}
    return tuple(runs), pl.DataFrame({"run": range(1, len(runs) + 1), "setting": settings, **columns})


def plain(value: Any) -> Any:
    """The value of an option as a number, a text or None."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each:g}" for name, each in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return value if isinstance(value, int | float | None) else str(value)


def _column(values: list[Any]) -> list[Any]:
    """The values of an option, as texts if their types differ."""
    return values if len(set(map(type, values))) == 1 else [None if each is None else str(each) for each in values]

"""Read plain JSON lines with regular expressions, a column at a time: five times as fast as line by line.

An expression is made from one line. It accepts lines that have the same keys in the same order and, in each field,
values of its type without escapes. Every line that it accepts, the strict decoder accepts with the same values. Other
lines may be valid too; the strict decoder reads them.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import msgspec.inspect as kinds
import polars as pl

from phase19.frames import STRINGS
from phase19.inputs import wire

TEXT = "text"  # column: the line
_JSON = (pl.Object, pl.Binary)  # declared dtypes of fields that become JSON text
_MOST_SHAPES = 16  # orders of keys in one file; lines of others are read by the strict decoder
_EXAMPLES = 16  # lines of a block that may show a new order of keys
_SPACE = r"[ \t]*"
_CHARACTER = r'[^"\\\x00-\x1f]'
_ID = r'[^"\\\x00-\x1f\x7f-\x9f]+'
_INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_MOMENT = r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?"
_UNDECLARED = rf'(?:"{_CHARACTER}*"|{_INTEGER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'


class _Field(NamedTuple):
    """How to read one field: an expression with one group, the values from the group's text, and which are valid."""

    regex: str
    values: Callable[[pl.Expr], pl.Expr]
    is_valid: Callable[[pl.Expr], pl.Expr] | None = None


class _Shape(NamedTuple):
    """The lines with certain keys in a certain order; `columns` and `is_valid` are over the groups of `regex`."""

    regex: str
    columns: list[pl.Expr]
    is_valid: pl.Expr
    undeclared: list[str]


class PatternReader:
    """Reads lines of one format, and remembers the orders of keys that it has seen.

    Parameters
    ----------
    rows
        The format.
    unknown
        Gets the number of occurrences of each undeclared field.
    """

    def __init__(self, rows: wire.Rows, unknown: Counter[str]) -> None:
        self._dtypes, self._unknown = rows.dtypes, unknown
        fields = getattr(kinds.type_info(rows.struct), "fields", ())
        self._fields = {field.encode_name: (field.name, _field(field.type)) for field in fields}
        self._required = [field.encode_name for field in fields if field.required]
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def read(self, lines: pl.DataFrame) -> tuple[list[pl.DataFrame], pl.DataFrame]:
        """Read the lines that an expression accepts.

        Parameters
        ----------
        lines
            Column ``text``, and others to keep.

        Returns
        -------
        tuple
            Frames of the lines read, in the order of `lines`: the columns of `rows` after those of `lines`; the text is
            null unless the line has undeclared fields. Then the lines that are left.
        """
        found: list[pl.DataFrame] = []
        tried = 0
        while lines.height:
            if tried == len(self._shapes):
                self._learn(lines)
            if tried == len(self._shapes):
                break
            shape = list(self._shapes.values())[tried]
            tried += 1
            if shape is None:
                continue
            groups = lines.select(pl.col(TEXT).str.extract_groups(shape.regex)).to_series().struct.unnest()
            values = groups.with_columns(shape.columns)
            is_read = values.select(shape.is_valid).to_series()
            text = pl.col(TEXT) if shape.undeclared else pl.lit(None).alias(TEXT)
            read = lines.with_columns(text.cast(pl.Binary)).with_columns(values.select(self._dtypes.keys()))
            # Filtering copies all columns; most blocks have plain lines only.
            read, lines = (read, lines.clear()) if is_read.all() else (read.filter(is_read), lines.filter(~is_read))
            self._unknown.update(dict.fromkeys(shape.undeclared, read.height))
            found.append(read)
        return [read for read in found if read.height], lines

    def _learn(self, lines: pl.DataFrame) -> None:
        """Add the shapes of the first lines."""
        for line in lines[TEXT].head(_EXAMPLES):
            keys = _keys(line)
            if keys and keys not in self._shapes and len(self._shapes) < _MOST_SHAPES:
                self._shapes[keys] = self._shape(keys)

    def _shape(self, keys: tuple[str, ...]) -> _Shape | None:
        """The shape of lines with these keys; None if one occurs twice, is missing or has no expression."""
        if len(set(keys)) < len(keys) or not set(self._required) <= set(keys):
            return None
        members, columns, checks = list[str](), dict[str, pl.Expr](), list[pl.Expr]()
        for key in keys:
            name, field = self._fields.get(key, (None, None))
            if name and field is None:
                return None
            if field is None or name is None:
                regex = _UNDECLARED
            else:
                regex, group = field.regex, pl.col(f"{len(columns) + 1}")
                columns[name] = field.values(group).alias(name)
                # Of the required fields, the first is text and never null, so its group tells whether the line matches.
                if field.is_valid:
                    checks.append(field.is_valid(pl.col(name)).fill_null(value=False) | group.is_null())
                if key == self._required[0]:
                    checks.insert(0, group.is_not_null())
            members.append(f'"{pl.escape_regex(key)}"{_SPACE}:{_SPACE}{regex}{_SPACE}')
        regex = rf"^{_SPACE}\{{{_SPACE}{f',{_SPACE}'.join(members)}\}}[ \t\r]*$"
        absent = {name: pl.lit(None, pl.String if dtype in _JSON else dtype) for name, dtype in self._dtypes.items()}
        filled = [columns.get(name, null).alias(name) for name, null in absent.items()]
        return _Shape(regex, filled, pl.all_horizontal(checks), [key for key in keys if key not in self._fields])


def _keys(line: str) -> tuple[str, ...]:
    """The keys of the object on a line, in order; none if there is no object or a key has an unusual character."""
    try:
        pairs = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return ()
    is_object = isinstance(pairs, tuple) and line.lstrip().startswith("{")
    keys = tuple(key for key, _ in pairs) if is_object else ()
    return keys if all(re.fullmatch(r"[\w .:/-]+", key, re.ASCII) for key in keys) else ()


def _field(kind: Any) -> _Field | None:
    """How to read a field of this type; None if only the strict decoder can."""
    parts = list(_parts(kind))
    null = "null" if any(isinstance(part, kinds.NoneType) for part in parts) else ""
    match [part for part in parts if not isinstance(part, kinds.NoneType)]:
        case [kinds.StrType(pattern=None)]:
            field = _Field(f'"({_CHARACTER}*)"', _same)
        case [kinds.StrType(pattern=wire.ID_PATTERN)]:
            field = _Field(f'"({_ID})"', _same)
        case [kinds.LiteralType(values=values)]:
            field = _Field(f'"({_CHARACTER}*)"', _same, lambda value: value.is_in(list(values)))
        case [kinds.BoolType()]:
            field = _Field("(true|false)", lambda text: text == "true")
        case [kinds.IntType() as number]:
            field = _Field(f"({_INTEGER})", lambda text: text.cast(pl.Int64, strict=False), _within(number))
        case [kinds.FloatType() as number]:
            field = _Field(f"({_NUMBER})", lambda text: text.cast(pl.Float64, strict=False), _within(number))
        case [kinds.DateTimeType()]:
            field = _Field(rf'"({_MOMENT})(?:Z|\+00:00)"', _moments, lambda value: value.is_not_null())
        case [kinds.ListType(item_type=kinds.StrType(pattern=wire.ID_PATTERN))]:
            items = rf'\[((?:"{_ID}"(?:,{_SPACE}"{_ID}")*)?)\]'
            field = _Field(items, lambda text: text.map_batches(_lists, STRINGS))
        case _:
            return None
    return field._replace(regex=f"(?:{field.regex}|null)") if null else field


def _parts(kind: Any) -> Iterator[Any]:
    """The types of a union, without their metadata."""
    if isinstance(kind, kinds.Metadata):
        yield from _parts(kind.type)
    elif isinstance(kind, kinds.UnionType):
        for part in kind.types:
            yield from _parts(part)
    else:
        yield kind


def _same(text: pl.Expr) -> pl.Expr:
    return text


def _moments(text: pl.Expr) -> pl.Expr:
    moments = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False, cache=False)
    return moments.dt.replace_time_zone("UTC")


def _lists(texts: pl.Series) -> pl.Series:
    """The lists of ids in texts such as ``"a","b"``. A file has few distinct lists, so split each of them once."""
    distinct = texts.unique().alias("text").to_frame()
    lists = distinct.with_columns(lists=pl.col("text").str.split('"').list.gather_every(2, 1))
    found = texts.alias("text").to_frame().join(lists, on="text", how="left", maintain_order="left")
    return found.get_column("lists")


def _within(number: kinds.IntType | kinds.FloatType) -> Callable[[pl.Expr], pl.Expr]:
    """Whether numbers are finite and within the bounds of their type."""

    def is_within(value: pl.Expr) -> pl.Expr:
        checks = [value.is_finite()]
        checks += [] if number.ge is None else [value >= number.ge]
        checks += [] if number.le is None else [value <= number.le]
        return reduce(pl.Expr.__and__, checks)

    return is_within

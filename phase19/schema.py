"""Schemas: declare the columns, units and bounds of a frame, and check frames against them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import polars as pl

from phase19.errors import Phase19Error


@dataclass(frozen=True, slots=True)
class Column:
    """One column: dtype, meaning, unit, inclusive bounds, default for null, and whether it is part of the key."""

    dtype: Any
    doc: str
    unit: str = ""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    default: Any = None
    key: bool = False


class Schema:
    """A frame's columns in order, and its grain: the columns whose values together identify a row."""

    def __init__(self, name: str, /, **columns: Column) -> None:
        self.name, self.columns = name, columns
        self.grain = tuple(column for column, declared in columns.items() if declared.key)

    def select(self, name: str, names: str, /, **more: Column) -> Self:
        """A schema of the columns in `names`, separated by spaces; `more` declares new columns."""
        known = self.columns | more
        return type(self)(name, **{column: known[column] for column in names.split()})

    def without(self, name: str, names: str, /) -> Self:
        """A schema of all columns except those in `names`, separated by spaces."""
        return self.select(name, " ".join(column for column in self.columns if column not in names.split()))

    @property
    def dtypes(self) -> dict[str, Any]:
        """Column names and Polars dtypes, in order."""
        return {name: column.dtype for name, column in self.columns.items()}

    def empty(self) -> pl.DataFrame:
        """A frame of this schema without rows."""
        return pl.DataFrame(schema=self.dtypes)

    @cached_property
    def _bad_values(self) -> dict[str, pl.Expr]:
        """Whether a value breaks the declaration of its column, for each column that has limits; null for false."""
        rules: dict[str, list[pl.Expr]] = {}
        for name, column in self.columns.items():
            value, broken = pl.col(name), rules.setdefault(name, [])
            if not column.nullable:
                broken.append(value.is_null())
            if column.dtype == pl.Float64:
                broken.append(~value.is_finite())
            if column.low is not None:
                broken.append(value < column.low)
            if column.high is not None:
                broken.append(value > column.high)
            if column.values:
                broken.append(~value.is_in(list(column.values)))
        return {name: pl.any_horizontal(broken) for name, broken in rules.items() if broken}

    def fill(self, known: Iterable[str], /, **made: pl.Expr) -> list[pl.Expr]:
        """Expressions for the schema's columns: from `made`, else from `known`, else null; defaults replace null."""
        exprs = {name: pl.col(name) for name in known} | made
        return [
            self._filled(exprs[name], name) if name in exprs else self._defaults[name].alias(name)
            for name in self.columns
        ]

    def _filled(self, expr: pl.Expr, name: str) -> pl.Expr:
        converted = expr.cast(self.columns[name].dtype)
        is_filled = self.columns[name].default is not None
        return (converted.fill_null(self._defaults[name]) if is_filled else converted).alias(name)

    @cached_property
    def _defaults(self) -> dict[str, pl.Expr]:
        return {name: pl.lit(column.default, dtype=column.dtype) for name, column in self.columns.items()}

    def conform(self, data: pl.DataFrame | Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Bring a frame or a list of dicts into this schema, and check it.

        Missing columns and nulls get the column's default. Unknown columns are dropped.

        Parameters
        ----------
        data
            Rows in any order; list-of-dict keys are column names.

        Returns
        -------
        polars.DataFrame
            Exactly the schema's columns, in its order, rows in the order given.

        Raises
        ------
        Phase19Error
            A value has the wrong type, is null where null is not allowed, or is out of bounds; or a key is repeated.
        """
        try:
            frame = data if isinstance(data, pl.DataFrame) else pl.DataFrame(list(data), infer_schema_length=None)
            for name, found in frame.schema.items():
                if name in self.columns and not _converts(found, expected := self.columns[name].dtype):
                    raise Phase19Error(f"{self.name}: column {name!r}: expected {expected}, found {found}")
            frame = frame.select(self.fill(frame.columns)) if frame.height else self.empty()
        except (pl.exceptions.PolarsError, TypeError) as problem:
            raise Phase19Error(f"{self.name}: {problem}") from problem
        self.validate(frame)
        return frame

    def validate(self, frame: pl.DataFrame) -> None:
        """Check dtypes, nulls, bounds and the key; raise :class:`Phase19Error` naming the column and the row."""
        if frame.schema != pl.Schema(self.dtypes):
            raise Phase19Error(f"{self.name}: expected columns {self.dtypes}, found {dict(frame.schema)}")
        # One select for all columns: a series at a time takes ten times longer.
        broken = frame.select(bad.any().alias(name) for name, bad in self._bad_values.items())
        for name, is_broken in zip(broken.columns, broken.row(0) if broken.width else (), strict=True):
            if is_broken:
                row = frame.select(self._bad_values[name].fill_null(value=False).arg_max()).item()
                found, doc = frame.get_column(name)[row], self.columns[name].doc
                raise Phase19Error(f"{self.name}: row {row + 1}, column {name!r}: found {found!r} ({doc})")
        if self.grain and (repeated := frame.select(self.grain).is_duplicated()).any():
            key = frame.select(self.grain).row(repeated.arg_max() or 0, named=True)
            raise Phase19Error(f"{self.name}: the key {key} occurs twice")


def _converts(found: Any, wanted: Any) -> bool:
    """Whether a cast preserves values: it does not parse text, format text or truncate to whole numbers."""
    is_number = found.is_numeric() and wanted.is_numeric() and (found.is_integer() or wanted.is_float())
    is_alike = (found.is_nested() and wanted.is_nested()) or (found.is_temporal() and wanted.is_temporal())
    return bool(found in (wanted, pl.Null) or is_number or is_alike or (wanted == pl.String and found == pl.Enum))


class ArrowStream:
    """Expose only the Arrow C stream of a Polars frame or a DuckDB relation.

    Each library requires pyarrow if it recognises the other's class; with this class it uses the protocol alone.
    Modules do not import duckdb at their top: Polars caches the types it has seen, and a cached DuckDB type outlives
    the interpreter's clean-up.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the source's stream; zero-copy where both sides allow it."""
        return self._source.__arrow_c_stream__(requested_schema)

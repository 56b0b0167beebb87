"""Schemas: a frame's columns, their units and bounds, and the check that a frame keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from phase19.errors import Phase19Error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Column", "Schema"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its dtype, unit, bounds and meaning."""

    dtype: Any
    doc: str
    unit: str = ""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    default: Any = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A frame's columns in order, and its grain: the key that is unique in it."""

    name: str
    grain: tuple[str, ...]
    columns: dict[str, Column]

    @property
    def dtypes(self) -> dict[str, Any]:
        """Column names and Polars dtypes, in order."""
        return {name: column.dtype for name, column in self.columns.items()}

    def empty(self) -> pl.DataFrame:
        """A frame of this schema without rows."""
        return pl.DataFrame(schema=self.dtypes)

    def conform(self, data: pl.DataFrame | Sequence[dict[str, Any]]) -> pl.DataFrame:
        """Bring a frame or a list of dicts into this schema, and check it.

        Missing columns and nulls get the column's default; columns the schema does not know are left out.

        Parameters
        ----------
        data
            Rows of any order; list-of-dict keys are column names.

        Returns
        -------
        polars.DataFrame
            Exactly the schema's columns, in its order, rows in the order given.

        Raises
        ------
        Phase19Error
            A value is of the wrong type, null where it may not be, out of bounds, or a key stands twice.
        """
        try:
            frame = data if isinstance(data, pl.DataFrame) else pl.DataFrame(list(data), infer_schema_length=None)
            for name in frame.columns:
                if name in self.columns and not _converts(frame.schema[name], self.columns[name].dtype):
                    expected, found = self.columns[name].dtype, frame.schema[name]
                    raise Phase19Error(f"{self.name}: column {name!r}: expected {expected}, found {found}")
            exprs = [
                (pl.col(name) if name in frame.columns else pl.lit(None)).cast(column.dtype).alias(name)
                if column.default is None
                else (pl.col(name) if name in frame.columns else pl.lit(None))
                .cast(column.dtype)
                .fill_null(pl.lit(column.default, dtype=column.dtype))
                .alias(name)
                for name, column in self.columns.items()
            ]
            frame = frame.select(exprs) if frame.height else self.empty()
        except (pl.exceptions.PolarsError, TypeError) as problem:
            raise Phase19Error(f"{self.name}: {problem}") from problem
        self.validate(frame)
        return frame

    def validate(self, frame: pl.DataFrame) -> None:
        """Check dtypes, nulls, bounds and the key; raise :class:`Phase19Error` naming the column and the row."""
        if frame.schema != pl.Schema(self.dtypes):
            raise Phase19Error(f"{self.name}: expected columns {self.dtypes}, found {dict(frame.schema)}")
        for name, column in self.columns.items():
            values = frame.get_column(name)
            bad = values.is_null() if not column.nullable else pl.repeat(False, frame.height, eager=True)
            if column.dtype == pl.Float64:
                bad = bad | values.is_not_null() & ~values.is_finite()
            if column.low is not None:
                bad = bad | (values < column.low).fill_null(False)
            if column.high is not None:
                bad = bad | (values > column.high).fill_null(False)
            if column.values:
                bad = bad | values.is_not_null() & ~values.is_in(list(column.values))
            row = bad.arg_max() if bad.any() else None
            if row is not None:
                raise Phase19Error(f"{self.name}: row {row + 1}, column {name!r}: found {values[row]!r}, {column.doc}")
        if self.grain and frame.select(pl.struct(*self.grain).is_duplicated().any()).item():
            row = frame.select(pl.struct(*self.grain).is_duplicated().arg_max()).item()
            key = frame.select(self.grain).row(row)
            raise Phase19Error(f"{self.name}: the key {dict(zip(self.grain, key, strict=True))} stands twice")


def _converts(found: Any, wanted: Any) -> bool:
    """Whether a cast keeps the meaning: nothing is parsed from text, written as text or cut to whole numbers."""
    is_number = found.is_numeric() and wanted.is_numeric() and (found.is_integer() or wanted.is_float())
    is_alike = (found.is_nested() and wanted.is_nested()) or (found.is_temporal() and wanted.is_temporal())
    return bool(found in (wanted, pl.Null) or is_number or is_alike or (wanted == pl.String and found == pl.Enum))

"""Frames cross between Polars and DuckDB as Arrow streams, without pyarrow.

This module never imports duckdb: Polars caches the types it has met, and a cached DuckDB type outlives the
interpreter's clean-up.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["ArrowStream", "SupportsArrowStream"]


class SupportsArrowStream(Protocol):
    """Anything that hands out its rows as an Arrow C stream: a Polars frame, a DuckDB relation."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule of an `ArrowArrayStream`."""
        ...


class ArrowStream:
    """Nothing of an object but its Arrow C stream.

    Both libraries ask for pyarrow when they recognise the other's class; of this one they know only the protocol.
    """

    __slots__ = ("_source",)

    def __init__(self, source: SupportsArrowStream) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Forward to the wrapped object; zero-copy where both sides allow it."""
        return self._source.__arrow_c_stream__(requested_schema)

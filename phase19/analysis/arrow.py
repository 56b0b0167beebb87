"""Frames cross between Polars and DuckDB as Arrow streams, without pyarrow.

This module never imports duckdb: Polars caches the types it has met, and a cached DuckDB type outlives the
interpreter's clean-up.
"""

from typing import Any


class ArrowStream:
    """Show nothing of a Polars frame or a DuckDB relation but its Arrow C stream.

    Both libraries ask for pyarrow when they recognise the other's class; of this one they know only the protocol.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the source's stream; zero-copy where both sides allow it."""
        return self._source.__arrow_c_stream__(requested_schema)

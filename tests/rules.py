"""The rules of a run by name, for tests that change some of them or compute with them."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl

from phase19.inputs.thresholds import Thresholds


class Rules(SimpleNamespace):
    """The default rules, some of them replaced."""

    def __init__(self, **changed: float) -> None:
        super().__init__(**{**Thresholds().rules, **changed})

    def frame(self) -> pl.DataFrame:
        """The rules as the SQL reads them."""
        return pl.DataFrame([vars(self)])

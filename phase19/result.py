"""What a run came to, for whoever called it from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

__all__ = ["RunResult"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Attributes
    ----------
    summary
        The content of optimization_summary.json.
    run_dir
        Where the run directory is.
    tables
        Frames by name: `executions`, `decisions`, and every table the SQL made but those with a row a task.
    warnings
        What was not used: unknown fields, a simulated run before this one, feedback that stands there already.
    stage_seconds
        Seconds by stage.
    """

    summary: dict[str, Any]
    run_dir: Path
    tables: Mapping[str, pl.DataFrame]
    warnings: tuple[str, ...]
    stage_seconds: Mapping[str, float]
    is_interrupted: bool

    @property
    def executions(self) -> pl.DataFrame:
        """Every task of the run, planned and actual side by side (`frames.EXECUTIONS`)."""
        return self.tables["executions"]

    def _repr_html_(self) -> str:
        """The waves, planned and actual, as Jupyter shows them."""
        return str(self.tables["schedule_comparisons"]._repr_html_())

"""Safety gates (Phase 13): decide which tasks of a wave a live run may start."""

from dataclasses import dataclass, replace

import polars as pl

from phase19 import frames
from phase19.arguments import checked
from phase19.inputs.heuristics import Heuristics, append_heuristic
from phase19.wave import Wave


@checked
@dataclass(frozen=True, slots=True)
class SafetyGate:
    """Decides which tasks may start, by risk level and recorded confidence (before any boost).

    Parameters
    ----------
    low, medium, high, unknown
        Lowest confidence that passes at each risk level, fraction.
    medium_relaxed
        Lowest MEDIUM threshold that a heuristic may set (H16_004), fraction. The other thresholds are fixed.
    is_live
        Whether decisions apply. A dry run or replay approves every task, and records what a live run would decide.
    is_approval_required
        Whether MEDIUM risk needs an approval too (`--require-approval`).

    References
    ----------
    Phase 13's rules; H16_004 (dynamic threshold relaxation).
    """

    low: float = 0.5
    medium: float = 0.75
    medium_relaxed: float = 0.70
    high: float = 0.9
    unknown: float = 0.7
    is_live: bool = False
    is_approval_required: bool = False

    def approve(
        self,
        wave: Wave,
        approvals: pl.Series | None = None,
        *,
        heuristics: Heuristics | None = None,
        rate_before: float | None = None,
    ) -> Wave:
        """Add the decisions to a wave, and keep only its approved tasks; parameters as in :meth:`decide`."""
        decisions = self.decide(wave.tasks, approvals, heuristics=heuristics, rate_before=rate_before)
        tasks = wave.tasks.with_columns(heuristics_applied=append_heuristic(decisions["relaxed_by"]))
        return replace(wave, decisions=decisions, tasks=tasks.filter(decisions["decision"] == "approved"))

    def decide(
        self,
        tasks: pl.DataFrame,
        approvals: pl.Series | None = None,
        *,
        heuristics: Heuristics | None = None,
        rate_before: float | None = None,
    ) -> pl.DataFrame:
        """Decide for every task whether it may start.

        Parameters
        ----------
        tasks
            `frames.TASKS` with their wave.
        approvals
            Ids of the approved tasks; by default none is approved.
        heuristics, rate_before
            The rules in force, and the success rate of the previous wave (None if unknown).

        Returns
        -------
        polars.DataFrame
            `frames.DECISIONS`, rows in the order given.
        """
        medium, relaxed_by = (heuristics or Heuristics()).relaxation(rate_before, self.medium, self.medium_relaxed)
        least = {"LOW": self.low, "MEDIUM": medium, "HIGH": self.high, "UNKNOWN": self.unknown}
        gated = ["HIGH", "UNKNOWN", *(["MEDIUM"] if self.is_approval_required else [])]
        threshold = pl.col("risk_level").replace_strict(least, return_dtype=pl.Float64)
        approved = pl.col("task_id").is_in(approvals.implode()) if approvals is not None else pl.lit(value=False)
        is_confident = (pl.col("confidence") >= threshold).fill_null(value=False)
        needs_approval = pl.col("risk_level").is_in(gated)
        passes = is_confident & (~needs_approval | approved)
        live = pl.when(passes).then(pl.lit("approved")).otherwise(pl.lit("deferred"))
        rule = pl.format(
            "{} needs confidence >= {}{}: {}{}",
            "risk_level",
            threshold,
            pl.when(needs_approval).then(pl.lit(" and an approval")).otherwise(pl.lit("")),
            pl.coalesce(pl.col("confidence").cast(pl.String), pl.lit("none recorded")),
            pl.when(needs_approval & approved)
            .then(pl.lit(", approved"))
            .when(needs_approval)
            .then(pl.lit(", not approved"))
            .otherwise(pl.lit("")),
        )
        return tasks.select(
            "task_id",
            "wave",
            "risk_level",
            "confidence",
            decision=live if self.is_live else pl.lit("approved"),
            live_decision=live,
            reason=rule,
            relaxed_by=pl.when(
                (pl.col("risk_level") == "MEDIUM") & pl.col("confidence").is_between(medium, self.medium, closed="left")
            ).then(pl.lit(relaxed_by, dtype=pl.String)),
        ).select(*frames.DECISIONS.columns)

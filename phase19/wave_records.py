"""What a wave leaves behind for the analysis of the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from phase19 import frames
from phase19.analysis.evidence import agent_evidence, risk_evidence
from phase19.timelines import largest, mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phase19.inputs.history import Previous
    from phase19.waves import PlayedWave

__all__ = ["WaveRecord", "analysis_frames", "record_wave"]


@dataclass(frozen=True, slots=True)
class WaveRecord:
    """One wave's frames, kept for the analysis; a wave never planned has its decisions alone.

    `solo_success` is the planned success summed over the wave's tasks, were each agent to do them all, shape (m,).
    """

    decisions: pl.DataFrame
    executions: pl.DataFrame = field(default_factory=frames.EXECUTIONS.empty)
    draws: pl.DataFrame = field(default_factory=frames.WAVE_DRAWS.empty)
    plan: dict[str, Any] | None = None
    agent_evidence: pl.DataFrame = field(default_factory=frames.AGENT_EVIDENCE.empty)
    risk_evidence: pl.DataFrame = field(default_factory=frames.RISK_EVIDENCE.empty)
    solo_success: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    unassigned: pl.DataFrame = field(default_factory=frames.UNASSIGNED.empty)


def record_wave(played: PlayedWave) -> WaveRecord:
    """Gather what the analysis needs of a wave that was planned and carried out."""
    executions, solved = played.executions, played.plan.assigned
    wave = int(played.decisions["wave"][0])
    summary = played.draws.summary(wave, executions)
    # Where nothing ran the plan still promised something: over all its tasks.
    counted = summary
    if not summary.height:
        counted = played.draws.summary(wave, executions.with_columns(status=pl.lit("completed")))
    objective = played.plan.objective
    return WaveRecord(
        decisions=played.decisions,
        executions=executions,
        draws=summary,
        plan={
            "wave": wave,
            "strategy": str(solved.strategy),
            "planned_makespan_ms": mean(counted["makespan_ms"]),
            "planned_busy_ms": mean(counted["busy_ms"]),
            "timeline_end_ms": largest(executions["scheduled_end_time"]) or 0.0,
            "solver": solved.algorithm,
            "objective": objective,
            "upper_bound": solved.upper_bound,
            "gap": max(0.0, solved.upper_bound - objective),
            "moved_count": played.plan.moved_count,
            "is_load_limit_met": played.plan.is_limit_met,
            "unassigned_count": played.assigned.unassigned.height,
            "learned_attempt_count": played.learned_attempt_count,
        },
        agent_evidence=agent_evidence(played),
        risk_evidence=risk_evidence(played),
        solo_success=solved.terms.success.sum(axis=0),
        unassigned=played.assigned.unassigned,
    )


def analysis_frames(
    records: Sequence[WaveRecord],
    run: pl.DataFrame,
    agents: pl.DataFrame,
    heuristics: pl.DataFrame,
    previous: Previous | None,
) -> dict[str, pl.DataFrame]:
    """Frames by the names under which the SQL reads them."""
    weights = previous.weights if previous is not None else {}
    convergence = previous.convergence if previous is not None else frames.CONVERGENCE.empty()
    return {
        "executions": pl.concat([record.executions for record in records]),
        "agents": agents,
        "wave_plans": pl.DataFrame(
            [record.plan for record in records if record.plan is not None], schema=frames.WAVE_PLANS.dtypes
        ),
        "wave_draws": pl.concat([record.draws for record in records]),
        "agent_evidence": pl.concat([record.agent_evidence for record in records]),
        "risk_evidence": pl.concat([record.risk_evidence for record in records]),
        "decisions": pl.concat([record.decisions for record in records]).sort("wave", "task_id"),
        "unassigned": pl.concat([record.unassigned for record in records]).sort("wave", "task_id"),
        "heuristics": heuristics,
        "previous_weights": pl.DataFrame(
            {"heuristic_id": list(weights), "weight": list(weights.values())},
            schema={"heuristic_id": pl.String, "weight": pl.Float64},
        ),
        "previous_convergence": convergence,
        "run": run,
    }

"""Everything a run knows before it plans: Phase 16, 17 and 18 directories -> validated frames.

What each file's rows mean is in readers.py, what earlier runs, replays and operators add in history.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from phase19.errors import InputError
from phase19.frames import AGENTS
from phase19.inputs import readers, wire
from phase19.inputs.history import Previous, read_approvals, read_executions, read_previous
from phase19.inputs.natural import natural_order
from phase19.inputs.readers import given

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "Inputs",
    "Population",
    "Previous",
    "load_inputs",
    "natural_order",
    "read_approvals",
    "read_executions",
    "read_previous",
]


@dataclass(frozen=True, slots=True)
class Population:
    """What multi_agent_summary.json says of all agents together.

    Attributes
    ----------
    success_rate
        Fraction in [0, 1].
    duration_ms, confidence_delta
        Means over attempts; None where not given.
    agent_count, task_count, wave_count
        Totals; `wave_count` is None where not given.
    """

    success_rate: float
    duration_ms: float | None
    confidence_delta: float | None
    agent_count: int
    task_count: int
    wave_count: int | None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a run knows before it plans, in the frames of frames.py.

    Attributes
    ----------
    tasks
        TASKS, in file order; `wave` and `confidence` as recorded, null where they are not.
    attempts
        ATTEMPTS: Phase 17's rows (source ``phase17``), then Phase 18's (source ``phase18``), each in file order.
    agents
        AGENTS in natural order: all named anywhere, then ``agent_i`` up to total_agents.
    heuristics, patterns, signals, sources
        HEURISTICS, PATTERNS, SIGNALS, SOURCES, in file order.
    population
        The summary's own figures.
    task_source
        ``tasks.jsonl``, ``planned_tasks.jsonl`` or ``synthetic``.
    warnings
        One text a file with fields the contract does not know, and one for each file passed over.
    digest
        SHA-256 over the names and bytes of everything read, wherever the directories lie.
    """

    tasks: pl.DataFrame
    attempts: pl.DataFrame
    agents: pl.DataFrame
    heuristics: pl.DataFrame
    patterns: pl.DataFrame
    signals: pl.DataFrame
    sources: pl.DataFrame
    population: Population
    task_source: str
    warnings: tuple[str, ...]
    digest: str


def load_inputs(
    phase18: Path,
    phase16: Path | None = None,
    phase17: Path | None = None,
    censored_errors: Sequence[str] = (),
    *,
    allow_unassigned: bool = False,
) -> Inputs:
    """Read and check every input of a run.

    Parameters
    ----------
    phase18
        Directory with the four required Phase 18 files.
    phase16, phase17
        Directories of the earlier phases; None where there is none.
    censored_errors
        Error messages of attempts that a limit stopped: their times are survival times.
    allow_unassigned
        Take tasks that exclude all the agents they require, which no plan can place.

    Returns
    -------
    Inputs
        The same for the same bytes.

    Raises
    ------
    InputError
        A directory or required file is missing, or a file breaks the contract; it names the file, line and field.
    """
    for directory in filter(None, (phase18, phase16, phase17)):
        if not directory.is_dir():
            found = "a file" if directory.exists() else "nothing"
            raise InputError(str(directory), expected="a directory", found=found)
    log = readers.SourceLog()
    summary_path = phase18 / "multi_agent_summary.json"
    summary: wire.MultiAgentSummary = readers.read_document(log, summary_path, wire.MultiAgentSummary)
    patterns, pattern_agents = readers.read_patterns(log, phase18)
    readers.read_document(log, phase18 / "system_health.json", wire.SystemHealth)
    signals = readers.read_signals(log, phase18)
    heuristics = readers.read_heuristics(log, phase16)
    attempts = pl.concat([readers.read_phase17_attempts(log, phase17), readers.read_phase18_attempts(log, phase18)])
    attempts = readers.mark_censored(attempts, censored_errors)
    tasks, task_source = readers.read_tasks(
        log, phase18, phase16, attempts, summary.total_tasks, allow_unassigned=allow_unassigned
    )
    capacity = readers.read_agents(log, phase18)
    choices = tasks["required_agents"].append(tasks["excluded_agents"]).explode().drop_nulls()
    named = pattern_agents | capacity.keys() | set(choices)
    return Inputs(
        tasks=tasks,
        attempts=attempts,
        agents=_agents(summary_path, summary, attempts, named, capacity),
        heuristics=heuristics,
        patterns=patterns,
        signals=signals,
        sources=log.frame(),
        population=Population(
            success_rate=summary.success_rate,
            duration_ms=given(summary.avg_execution_time_ms),
            confidence_delta=given(summary.avg_confidence_delta),
            agent_count=summary.total_agents,
            task_count=summary.total_tasks,
            wave_count=given(summary.total_waves),
        ),
        task_source=task_source,
        warnings=tuple(log.warnings),
        digest=log.digest.hexdigest(),
    )


def _agents(
    path: Path,
    summary: wire.MultiAgentSummary,
    attempts: pl.DataFrame,
    named: set[str],
    capacity: Mapping[str, int | None],
) -> pl.DataFrame:
    """All agents, and what each is judged by: its records, else its summary, else nothing."""
    counted = attempts.get_column("agent_id").drop_nulls().value_counts(name="record_count")
    performance: dict[str, wire.AgentPerformance] = given(summary.agent_performance) or {}
    names = named | set(counted["agent_id"]) | performance.keys()
    spare = (name for i in range(summary.total_agents) if (name := f"agent_{i}") not in names)
    agents = [*names, *(next(spare) for _ in range(summary.total_agents - len(names)))]
    if not agents:
        expected = "at least one agent, here or in the records"
        raise InputError(str(path), field="total_agents", expected=expected, found="0")
    order = natural_order(agents)
    entries = [performance.get(name, wire.AgentPerformance()) for name in order]
    records = dict(zip(*counted, strict=True))
    frame = pl.DataFrame(
        {
            "agent_id": order,
            "record_count": [records.get(name, 0) for name in order],
            "summary_task_count": [given(entry.tasks) for entry in entries],
            "summary_success_rate": [given(entry.success_rate) for entry in entries],
            "summary_duration_ms": [given(entry.avg_execution_time_ms) for entry in entries],
            "summary_confidence_delta": [given(entry.avg_confidence_delta) for entry in entries],
            "capacity": [capacity.get(name) for name in order],
        },
        schema={name: dtype for name, dtype in AGENTS.dtypes.items() if name != "evidence"},
    )
    has_summary = (pl.col("summary_task_count") > 0) & pl.col("summary_success_rate").is_not_null()
    return frame.with_columns(
        evidence=pl.when(pl.col("record_count") > 0)
        .then(pl.lit("records"))
        .when(has_summary)
        .then(pl.lit("summary"))
        .otherwise(pl.lit("none"))
    )

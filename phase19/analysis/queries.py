"""The files of `sql/` that a run's analysis is made of, in the order they run, and the output each fills."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUERIES", "Query"]

# DuckDB's own formats: rows as JSON lines, or one pretty JSON text written as it is.
_ROWS = "copy (select * from {table}) to $path (format json)"
_OBJECT = "copy (select encode(json_pretty(to_json(row)) || chr(10)) from {table} as row) to $path (format blob)"
_DOCUMENT = "copy (select encode(json_pretty(to_json(document)) || chr(10)) from {table}) to $path (format blob)"
_BY_STRATEGY = (
    "copy (select encode(json_pretty(to_json(map_from_entries(coalesce("
    "list({{'key': strategy, 'value': row}} order by strategy), [])))) || chr(10)) from {table} as row)"
    " to $path (format blob)"
)
_EACH_WAVE = (
    "copy (select encode(json_pretty(to_json(row)) || chr(10)) from {table} as row where wave = $wave)"
    " to $path (format blob)"
)


@dataclass(frozen=True, slots=True)
class Query:
    """One file of `sql/`: the table it makes, the output file it fills and how, and the copy of that file.

    One with a row a task is as long as the run: what it finds is not given back as a frame, and one that has a file is
    computed straight into it, so that no later query can read it.
    """

    stem: str
    output: str | None = None
    copy: str = _ROWS
    twin: str | None = None
    is_per_task: bool = False


# In the order they run: a query reads the frames and the tables above it.
QUERIES = (
    Query("task_results", is_per_task=True),
    Query("wave_totals"),
    Query("schedule_comparisons", "schedule_comparisons.jsonl"),
    Query("run_draws"),
    Query("optimization_metrics", "optimization_metrics.jsonl", twin="metrics.jsonl"),
    Query("agent_waves"),
    Query("evidence", "evidence.jsonl"),
    Query("schedule_drift_tests", "schedule_drift_tests.jsonl"),
    Query("performance_degradation_tests", "performance_degradation_tests.jsonl"),
    Query("optimization_failure_tests"),
    Query("prediction_error_tests"),
    Query("anomaly_tests", "anomaly_tests.jsonl"),
    Query("scheduling_anomalies", "scheduling_anomalies.jsonl", twin="anomalies.jsonl"),
    Query("alerts", "alerts.jsonl"),
    Query("convergence", "convergence.jsonl"),
    Query("convergence_trend"),
    Query("system_health", "system_health.json", _OBJECT),
    Query("overall"),
    Query("heuristic_lifts"),
    Query("heuristic_weights", "heuristic_weights.json", _DOCUMENT),
    Query("heuristic_updates", "heuristic_updates.jsonl"),
    Query("strategy_effectiveness", "strategy_effectiveness.json", _BY_STRATEGY),
    Query("agent_leads"),
    Query("learning_signals", "learning_signals.jsonl"),
    Query("optimization_feedback", "optimization_feedback.jsonl"),
    Query("coordination_patterns", "coordination_patterns.json", _DOCUMENT),
    Query("safety_gate_decisions", "safety_gate_decisions.jsonl", is_per_task=True),
    Query("phase16_feedback", "feedback/phase16_feedback.jsonl"),
    Query("phase18_feedback", "feedback/phase18_feedback.jsonl"),
    Query("agent_feedback"),
    Query("wave_summary", "wave_{wave}/wave_summary.json", _EACH_WAVE),
)

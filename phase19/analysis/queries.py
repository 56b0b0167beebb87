"""The SQL files of a run's analysis, in the order they run, and the output files that each fills."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """One file of `sql/`: the table it makes, and the output files it fills.

    Attributes
    ----------
    stem
        Name of the SQL file and of its table, which later queries may read.
    outputs
        Files to write, all with the same content; `{wave}` in a name stands for the number of each wave.
    document
        SQL aggregate over the table's rows that makes one JSON document. None writes one JSON object per row.
    is_per_task
        Whether the table has one row per task. Such a table is not returned as a frame, and its files, named .jsonl,
        may be Parquet files instead.
    condition
        SQL that selects a row if the table can have rows; otherwise the file is not run, which saves the time to bind
        it. None runs it always.
    columns
        Columns and types of the table that then stays empty; needed with a condition.
    """

    stem: str
    outputs: tuple[str, ...] = ()
    document: str | None = None
    is_per_task: bool = False
    condition: str | None = None
    columns: str = ""


QUERIES = (
    Query("task_results", is_per_task=True),
    Query("wave_totals"),
    Query("schedule_comparisons", ("schedule_comparisons.jsonl",)),
    Query("run_draws"),
    Query("optimization_metrics", ("optimization_metrics.jsonl", "metrics.jsonl")),
    Query("agent_waves"),
    Query("schedule_drift_tests", ("schedule_drift_tests.jsonl",)),
    Query("performance_degradation_tests", ("performance_degradation_tests.jsonl",)),
    Query("optimization_failure_tests"),
    Query("prediction_error_tests"),
    Query("anomaly_tests", ("anomaly_tests.jsonl",)),
    Query(
        "scheduling_anomalies",
        ("scheduling_anomalies.jsonl", "anomalies.jsonl"),
        condition="from anomaly_tests where status = 'found'",
        columns=(
            "anomaly_id varchar, anomaly_type varchar, severity varchar, description varchar, affected_waves bigint[], "
            "affected_agents varchar[], recommendation varchar, timestamp varchar, effect double, statistic double, "
            "threshold double, effect_low double, effect_high double, evidence varchar[]"
        ),
    ),
    Query("alerts", ("alerts.jsonl",)),
    Query("convergence", ("convergence.jsonl",)),
    Query("convergence_trend"),
    Query("system_health", ("system_health.json",), "any_value(system_health)"),
    Query("overall"),
    Query("heuristic_lifts"),
    Query("heuristic_weights", ("heuristic_weights.json",), "any_value(document)"),
    Query("heuristic_updates", ("heuristic_updates.jsonl",)),
    Query(
        "strategy_effectiveness",
        ("strategy_effectiveness.json",),
        "coalesce(map(list(strategy order by strategy), list(strategy_effectiveness order by strategy)), map([], []))",
    ),
    Query("agent_leads"),
    Query("learning_signals", ("learning_signals.jsonl",)),
    Query("optimization_feedback", ("optimization_feedback.jsonl",)),
    Query("coordination_patterns", ("coordination_patterns.json",), "any_value(document)"),
    Query("safety_gate_decisions", ("safety_gate_decisions.jsonl",), is_per_task=True),
    Query("phase16_feedback", ("feedback/phase16_feedback.jsonl",)),
    Query("phase18_feedback", ("feedback/phase18_feedback.jsonl",)),
    Query("agent_feedback"),
    Query("wave_summary", ("wave_{wave}/wave_summary.json",), "any_value(wave_summary) filter (where wave = {wave})"),
)

"""OptimizationMonitor: a run's metrics, anomalies, health and alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from phase19.analysis.session import Analysis

__all__ = ["OptimizationMonitor"]

_FILES = (
    "optimization_metrics.jsonl",
    "metrics.jsonl",
    "scheduling_anomalies.jsonl",
    "anomalies.jsonl",
    "anomaly_tests.jsonl",
    "evidence.jsonl",
    "system_health.json",
    "alerts.jsonl",
    "convergence.jsonl",
)


class OptimizationMonitor:
    """Watches whether a run's plan holds and its system is healthy.

    Parameters
    ----------
    analysis
        The run's tables; an :class:`OptimizationFeedbackLoop` may share it.

    Examples
    --------
    >>> from phase19.analysis.session import Analysis
    >>> OptimizationMonitor(Analysis(frames)).generate_system_health()  # doctest: +SKIP
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def calculate_metrics(self) -> pl.DataFrame:
        """The five metrics with bounds, status and chance interval, one row each, in order of the bounds."""
        return self.analysis.tables["optimization_metrics"]

    def detect_anomalies(self) -> pl.DataFrame:
        """The departures from the plan that are beyond chance and matter, at most one row a type."""
        return self.analysis.tables["scheduling_anomalies"]

    def generate_system_health(self) -> pl.DataFrame:
        """The health score, its status and components [points], one row, with what they are made of.

        Beside the scores stand their weights, what each anomaly cost, the agents' utilisation, the trend of the
        forecast error, and the alerts counted by severity.
        """
        return self.analysis.tables["system_health"]

    def monitor_agent_utilization(self) -> pl.DataFrame:
        """Tasks, busy time [ms] and utilisation [fraction of the run's makespans], a row an agent, idle ones too."""
        return self.analysis.tables["agent_utilization"]

    def detect_prediction_errors(self) -> pl.DataFrame:
        """The test for over-promised success, fired or not, one row."""
        return self.analysis.tables["prediction_error_tests"]

    def detect_schedule_drift(self) -> pl.DataFrame:
        """The tests for tasks slower than forecast, fired or not: a row an agent, the pooled one last."""
        return self.analysis.tables["schedule_drift_tests"]

    def monitor_optimization_convergence(self) -> pl.DataFrame:
        """How far forecasts and outcomes lay apart, a row a wave of this run and of those before it, oldest first.

        Whether the error shrinks is `convergence` of :meth:`generate_system_health`.
        """
        return self.analysis.tables["convergence"]

    def generate_alerts(self) -> pl.DataFrame:
        """What an operator should look at now, with severity and action: metrics out of bounds, then anomalies."""
        return self.analysis.tables["alerts"]

    def write_monitoring_outputs(self, output_dir: Path) -> list[Path]:
        """Write the metrics, anomalies, health and alerts files; return their paths.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        return self.analysis.write(output_dir, _FILES)

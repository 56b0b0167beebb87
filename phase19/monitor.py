"""OptimizationMonitor: the metrics, anomalies, health and alerts of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from phase19.analysis.results import AnomalyTest, Results
from phase19.arguments import checked
from phase19.errors import OutputError

_FILES = (
    "optimization_metrics.jsonl",
    "metrics.jsonl",
    "scheduling_anomalies.jsonl",
    "anomalies.jsonl",
    "anomaly_tests.jsonl",
    "system_health.json",
    "alerts.jsonl",
    "convergence.jsonl",
)


@dataclass(frozen=True, slots=True)
class OptimizationMetric:
    """One of the five metrics with its bounds; a line of optimization_metrics.jsonl.

    `status` is normal, warning, critical or insufficient_data. `chance_low` and `chance_high` are the 90 % interval
    of the value under the plan.
    """

    metric_name: str
    value: float | None
    unit: str
    target_value: float
    threshold_min: float
    threshold_max: float
    status: str
    timestamp: str
    chance_low: float | None = None
    chance_high: float | None = None


@dataclass(frozen=True, slots=True)
class SchedulingAnomaly:
    """A departure from the plan that is not normal variation; a line of scheduling_anomalies.jsonl."""

    anomaly_id: str
    anomaly_type: str
    severity: str
    description: str
    affected_waves: list[int]
    affected_agents: list[str]
    recommendation: str
    timestamp: str


class _AgentUtilization(Struct):
    agent_id: str
    utilization: float | None


class _Utilization(Struct):
    agent_utilization: list[_AgentUtilization]


@checked
class OptimizationMonitor:
    """Reports whether a run kept to its plan and whether the system is healthy.

    Parameters
    ----------
    source
        A run directory, a `RunResult`, or the `Analysis` of a run in progress; `phase19_output_dir` by default.
    phase19_output_dir
        The run directory.

    Examples
    --------
    >>> OptimizationMonitor("outputs/phase19").generate_system_health()["health_status"]
    'EXCELLENT'
    """

    def __init__(self, source: Any = None, *, phase19_output_dir: Path | str | None = None) -> None:
        self.results = Results(phase19_output_dir if source is None else source)

    def calculate_metrics(self) -> list[OptimizationMetric]:
        """The five metrics, in the order of the contract."""
        return self.results.records("optimization_metrics.jsonl", OptimizationMetric)

    def detect_anomalies(self) -> list[SchedulingAnomaly]:
        """The anomalies of the run, at most one of each type."""
        return self.results.records("scheduling_anomalies.jsonl", SchedulingAnomaly)

    def run_checks(self) -> list[AnomalyTest]:
        """The four checks behind the anomalies, including those that passed or need more data."""
        others = (self._test(kind) for kind in ("performance_degradation", "optimization_failure"))
        return [self.detect_prediction_errors(), self.detect_schedule_drift(), *others]

    def generate_system_health(self) -> dict[str, Any]:
        """The health score, its status, and its components [0 to 100] with the figures behind them."""
        return self.results.document("system_health.json", dict[str, Any])

    def monitor_agent_utilization(self) -> dict[str, float | None]:
        """Busy share of the run's makespans by agent, fraction; 0 for idle agents, None if nothing ran."""
        health = self.results.document("system_health.json", _Utilization)
        return {row.agent_id: row.utilization for row in health.agent_utilization}

    def detect_prediction_errors(self) -> AnomalyTest:
        """The check for forecasts of success that were too high."""
        return self._test("prediction_error")

    def detect_schedule_drift(self) -> AnomalyTest:
        """The check for tasks that took longer than forecast."""
        return self._test("schedule_drift")

    def monitor_optimization_convergence(self) -> pl.DataFrame:
        """Error of the success forecasts, one row per wave of the run."""
        return self.results.frame("convergence.jsonl")

    def generate_alerts(self) -> list[dict[str, Any]]:
        """Alerts for the operator, each with severity, message and action."""
        return self.results.records("alerts.jsonl", dict[str, Any])

    def write_monitoring_outputs(self, output_dir: Path | str | None = None) -> list[Path]:
        """Write the metrics, anomalies, health and alerts; return the paths.

        Parameters
        ----------
        output_dir
            Directory to write to; the run's own by default.
        """
        return self.results.copy(_FILES, output_dir)

    def _test(self, anomaly_type: str) -> AnomalyTest:
        tests = {test.anomaly_type: test for test in self.results.records("anomaly_tests.jsonl", AnomalyTest)}
        if anomaly_type not in tests:
            raise OutputError(f"{self.results.directory / 'anomaly_tests.jsonl'}: found no check for {anomaly_type}")
        return tests[anomaly_type]

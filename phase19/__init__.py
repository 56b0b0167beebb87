"""Forecasts, assigns, schedules and learns: Phase 19 of a multi-agent system.

Examples
--------
>>> import phase19
>>> result = phase19.run(input="outputs/phase18")  # doctest: +SKIP
>>> result.summary["system_health_score"]  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phase19.analysis.results import AnomalyTest
    from phase19.errors import Phase19Error
    from phase19.evaluation.backtest import BacktestResult, backtest
    from phase19.evaluation.compare import Comparison, compare
    from phase19.execution.live import LiveResult
    from phase19.feedback_loop import OptimizationFeedback, OptimizationFeedbackLoop, ScheduleComparison
    from phase19.harness import Phase19Harness, RunResult, run
    from phase19.inputs.loading import load_inputs
    from phase19.monitor import OptimizationMetric, OptimizationMonitor, SchedulingAnomaly
    from phase19.optimizer import AdaptiveOptimizer, OptimizationResult, ScheduleRecommendation
    from phase19.options import OptimizationStrategy, PlanOptions, PriorityStrategy, RunOptions
    from phase19.safety import SafetyGate
    from phase19.scheduler import AdaptiveScheduler, ScheduledTask, ScheduleExecution, ScheduleStatus

__version__ = "0.1.0"

# Public names by module. Each is imported on first use, so that `--help` does not pay for all of them.
_PUBLIC = {
    "analysis.results": "AnomalyTest",
    "errors": "Phase19Error",
    "evaluation.backtest": "BacktestResult backtest",
    "evaluation.compare": "Comparison compare",
    "execution.live": "LiveResult",
    "feedback_loop": "OptimizationFeedback OptimizationFeedbackLoop ScheduleComparison",
    "harness": "Phase19Harness RunResult run",
    "inputs.loading": "load_inputs",
    "monitor": "OptimizationMetric OptimizationMonitor SchedulingAnomaly",
    "optimizer": "AdaptiveOptimizer OptimizationResult ScheduleRecommendation",
    "options": "OptimizationStrategy PlanOptions PriorityStrategy RunOptions",
    "safety": "SafetyGate",
    "scheduler": "AdaptiveScheduler ScheduleExecution ScheduleStatus ScheduledTask",
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = [
    "AdaptiveOptimizer",
    "AdaptiveScheduler",
    "AnomalyTest",
    "BacktestResult",
    "Comparison",
    "LiveResult",
    "OptimizationFeedback",
    "OptimizationFeedbackLoop",
    "OptimizationMetric",
    "OptimizationMonitor",
    "OptimizationResult",
    "OptimizationStrategy",
    "Phase19Error",
    "Phase19Harness",
    "PlanOptions",
    "PriorityStrategy",
    "RunOptions",
    "RunResult",
    "SafetyGate",
    "ScheduleComparison",
    "ScheduleExecution",
    "ScheduleRecommendation",
    "ScheduleStatus",
    "ScheduledTask",
    "SchedulingAnomaly",
    "__version__",
    "backtest",
    "compare",
    "load_inputs",
    "run",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"phase19.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

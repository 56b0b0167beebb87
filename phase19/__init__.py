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
    from phase19.errors import Phase19Error
    from phase19.evaluation.backtest import BacktestResult, backtest
    from phase19.evaluation.compare import Comparison, compare
    from phase19.feedback_loop import OptimizationFeedbackLoop
    from phase19.harness import Phase19Harness, RunResult, run
    from phase19.inputs.loading import load_inputs
    from phase19.monitor import OptimizationMonitor
    from phase19.optimizer import AdaptiveOptimizer
    from phase19.options import OptimizationStrategy, RunOptions
    from phase19.safety import SafetyGate
    from phase19.scheduler import AdaptiveScheduler

__version__ = "0.1.0"

__all__ = [
    "AdaptiveOptimizer",
    "AdaptiveScheduler",
    "BacktestResult",
    "Comparison",
    "OptimizationFeedbackLoop",
    "OptimizationMonitor",
    "OptimizationStrategy",
    "Phase19Error",
    "Phase19Harness",
    "RunOptions",
    "RunResult",
    "SafetyGate",
    "__version__",
    "backtest",
    "compare",
    "load_inputs",
    "run",
]

# Each name is imported on first use, so that `--help` and a single stage do not pay for all of them.
_HOMES = {
    "AdaptiveOptimizer": "phase19.optimizer",
    "AdaptiveScheduler": "phase19.scheduler",
    "BacktestResult": "phase19.evaluation.backtest",
    "Comparison": "phase19.evaluation.compare",
    "OptimizationFeedbackLoop": "phase19.feedback_loop",
    "OptimizationMonitor": "phase19.monitor",
    "OptimizationStrategy": "phase19.options",
    "Phase19Error": "phase19.errors",
    "Phase19Harness": "phase19.harness",
    "RunOptions": "phase19.options",
    "RunResult": "phase19.harness",
    "SafetyGate": "phase19.safety",
    "backtest": "phase19.evaluation.backtest",
    "compare": "phase19.evaluation.compare",
    "load_inputs": "phase19.inputs.loading",
    "run": "phase19.harness",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

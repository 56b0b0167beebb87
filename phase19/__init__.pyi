from .analysis.results import AnomalyTest as AnomalyTest
from .errors import Phase19Error as Phase19Error
from .evaluation.backtest import BacktestResult as BacktestResult, backtest as backtest
from .evaluation.compare import Comparison as Comparison, compare as compare
from .execution.live import LiveResult as LiveResult
from .feedback_loop import (
    OptimizationFeedback as OptimizationFeedback,
    OptimizationFeedbackLoop as OptimizationFeedbackLoop,
    ScheduleComparison as ScheduleComparison,
)
from .harness import Phase19Harness as Phase19Harness, run as run
from .inputs.importers.importing import ImportResult as ImportResult, import_records as import_records
from .inputs.loading import Inputs as Inputs, load_inputs as load_inputs
from .monitor import (
    OptimizationMetric as OptimizationMetric,
    OptimizationMonitor as OptimizationMonitor,
    SchedulingAnomaly as SchedulingAnomaly,
)
from .optimizer import (
    AdaptiveOptimizer as AdaptiveOptimizer,
    OptimizationResult as OptimizationResult,
    ScheduleRecommendation as ScheduleRecommendation,
)
from .options import (
    OptimizationStrategy as OptimizationStrategy,
    PlanOptions as PlanOptions,
    PriorityStrategy as PriorityStrategy,
    RunOptions as RunOptions,
)
from .planning import (
    Plan as Plan,
    WhatIf as WhatIf,
    forecast as forecast,
    plan as plan,
    validate as validate,
)
from .run_result import RunResult as RunResult, explain as explain, open_run as open_run, query as query
from .safety import SafetyGate as SafetyGate
from .scheduler import (
    AdaptiveScheduler as AdaptiveScheduler,
    ScheduledTask as ScheduledTask,
    ScheduleExecution as ScheduleExecution,
    ScheduleStatus as ScheduleStatus,
)

__version__: str

"""Phase 19 of a multi-agent system: forecast outcomes, assign tasks to agents, schedule, execute and learn.

Plan and run
    run             Plan, execute and analyse the next waves, and write the run directory.
    plan            Plan tasks from records in memory: no directory is read or written.
    compare         Compare all strategies on one input.
    backtest        Plan on the records known at a moment, replay the later ones, and measure the plan.
    forecast        Forecast the first attempt of every task by every agent.
    validate        Check every input, and that every wave can be planned.
    import_records  Import logs: write an input directory.
    load_inputs     Read and check every input of a run.

Finished runs
    open_run        Open a finished run.
    explain         Say why a task was assigned to its agent, by what margin, and how it ended.
    query           Query finished runs in SQL, using the views of sql/views.sql; runs are not changed.

Results
    RunResult (charts: RunResult.plot), Plan, WhatIf, Comparison, BacktestResult, Inputs, ImportResult

Options
    RunOptions, PlanOptions, OptimizationStrategy, PriorityStrategy

The five classes of a run, and what they return
    Phase19Harness
    AdaptiveOptimizer: OptimizationResult, ScheduleRecommendation
    AdaptiveScheduler: ScheduledTask, ScheduleExecution, ScheduleStatus, SafetyGate, LiveResult
    OptimizationFeedbackLoop: ScheduleComparison, OptimizationFeedback
    OptimizationMonitor: OptimizationMetric, SchedulingAnomaly, AnomalyTest

Every error that a user can mend is a Phase19Error.

Examples
--------
>>> import phase19
>>> result = phase19.run("outputs/phase18", seed=7)
>>> result
The plan held in the dry run: 11 of 12 tasks succeeded (11.5 expected, normal range 10 to 12); round robin would expect
11.3: a tie, since chance explains the difference.
Results are in outputs/phase19
>>> result.explain("task_3").splitlines()[0]
'task_3 was assigned to agent_3 (wave 1, priority 1 of 4).'
"""

__version__ = "0.1.0"


# __init__.pyi lists the public names. Each is imported on first use, so that the command starts fast. There is no
# `__all__`, because with one `help` prints the whole reference after the table of contents above.
def _modules() -> dict[str, str]:
    import ast
    from pathlib import Path

    lines = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    return {name.name: str(line.module) for line in lines if isinstance(line, ast.ImportFrom) for name in line.names}


def __getattr__(name: str) -> object:
    modules = _modules()
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{modules[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*_modules(), "__version__"])

"""The names that other code and the specification rely on: public names, the five classes' methods, agreed tests."""

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import phase19

METHODS = {
    "AdaptiveOptimizer": [
        "load_phase18_data",
        "calculate_optimal_schedule",
        "optimize_for_success",
        "optimize_for_throughput",
        "optimize_for_minimize_retries",
        "optimize_for_confidence",
        "simulate_schedule",
        "update_confidence_estimates",
        "generate_schedule_recommendations",
        "calculate_optimization_metrics",
        "write_optimization_outputs",
    ],
    "AdaptiveScheduler": [
        "assign_tasks_to_agents",
        "prioritize_tasks",
        "adjust_for_agent_load",
        "execute_schedule",
        "simulate_task_execution",
        "calculate_schedule_adherence",
        "handle_task_failure",
        "optimize_task_ordering",
        "get_agent_utilization",
        "write_schedule_outputs",
    ],
    "OptimizationFeedbackLoop": [
        "evaluate_schedule_outcome",
        "generate_feedback_events",
        "generate_learning_signals",
        "update_heuristic_weights",
        "evaluate_strategy_effectiveness",
        "identify_optimization_failures",
        "recommend_strategy_adjustments",
        "update_phase16_heuristics",
        "update_phase18_coordination",
        "write_feedback_outputs",
    ],
    "OptimizationMonitor": [
        "calculate_metrics",
        "detect_anomalies",
        "generate_system_health",
        "monitor_agent_utilization",
        "detect_prediction_errors",
        "detect_schedule_drift",
        "monitor_optimization_convergence",
        "generate_alerts",
        "write_monitoring_outputs",
    ],
    "Phase19Harness": ["run_phase19"],
}
TESTS = {
    "TestAdaptiveOptimizer": [
        "test_load_phase18_data",
        "test_calculate_optimal_schedule_maximize_success",
        "test_calculate_optimal_schedule_maximize_throughput",
        "test_optimize_for_confidence",
        "test_simulate_schedule",
        "test_update_confidence_estimates",
        "test_generate_schedule_recommendations",
        "test_write_optimization_outputs",
    ],
    "TestAdaptiveScheduler": [
        "test_assign_tasks_to_agents",
        "test_prioritize_tasks_risk_confidence",
        "test_adjust_for_agent_load",
        "test_execute_schedule_dry_run",
        "test_simulate_task_execution",
        "test_calculate_schedule_adherence",
        "test_handle_task_failure_retry",
        "test_write_schedule_outputs",
    ],
    "TestOptimizationFeedbackLoop": [
        "test_evaluate_schedule_outcome",
        "test_generate_feedback_events",
        "test_generate_learning_signals",
        "test_update_heuristic_weights",
        "test_evaluate_strategy_effectiveness",
        "test_write_feedback_outputs",
    ],
    "TestOptimizationMonitor": [
        "test_calculate_metrics",
        "test_detect_anomalies_prediction_error",
        "test_detect_anomalies_schedule_drift",
        "test_generate_system_health",
        "test_write_monitoring_outputs",
    ],
    "TestPhase19Harness": [
        "test_harness_initialization",
        "test_load_phase18_data",
        "test_optimize_wave",
        "test_execute_wave_dry_run",
        "test_generate_feedback",
        "test_monitor_optimization",
        "test_run_phase19_complete_pipeline",
        "test_output_files_generated",
    ],
    "TestPhase19Integration": ["test_end_to_end_optimization", "test_feedback_loop_integration"],
}


@pytest.mark.parametrize("name", METHODS)
def test_a_class_has_its_methods(name):
    assert [method for method in METHODS[name] if not callable(getattr(getattr(phase19, name), method, None))] == []


@pytest.mark.parametrize("name", TESTS)
def test_the_agreed_tests_exist(name):
    classes = [
        node
        for path in Path(__file__).parent.rglob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    found = {node.name for cls in classes for node in cls.body if isinstance(node, ast.FunctionDef)}
    assert set(TESTS[name]) - found == set()


def test_every_public_name_is_found_on_first_use_and_no_other():
    assert {"run", "plan", "RunResult", "Phase19Error", "__version__"} <= set(dir(phase19))
    for name in dir(phase19):
        assert getattr(phase19, name) is not None
    with pytest.raises(AttributeError, match="module 'phase19' has no attribute 'nothing'"):
        _ = phase19.nothing


def test_help_is_a_table_of_contents():
    shown = pydoc.render_doc(phase19, renderer=pydoc.plaintext)
    assert len(shown.splitlines()) < 100
    names = set(dir(phase19)) - {"__version__"}
    assert names - set(re.findall(r"\w+", phase19.__doc__)) == set()
    for name in names:
        if inspect.isfunction(function := getattr(phase19, name)):
            summary = function.__doc__.splitlines()[0]
            assert re.search(rf"^    {name} +{re.escape(summary)}$", phase19.__doc__, re.MULTILINE), name


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, phase19; print(*sorted({'polars', 'numpy', 'scipy', 'duckdb', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"

"""The command runs on the five classes: what they return is what a run writes, and a run calls each method."""

import inspect
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

import phase19
from phase19 import (
    AdaptiveOptimizer,
    AdaptiveScheduler,
    OptimizationFeedbackLoop,
    OptimizationMonitor,
    Phase19Harness,
    SafetyGate,
)
from phase19.errors import OutputError, Phase19Error, UsageError
from phase19.execution.live import LiveExecutor
from phase19.execution.simulate import SimulateExecutor
from phase19.options import BacktestOptions, CompareOptions

ROOT = Path(__file__).parent.parent
OUTPUTS = ROOT / "outputs"
FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 7}


@pytest.fixture
def result(sample_run):
    return sample_run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_called_by_hand_the_optimizer_and_the_scheduler_give_the_figures_of_the_run(result):
    directories = {"phase16_dir": OUTPUTS / "phase16", "phase17_dir": OUTPUTS / "phase17"}
    optimizer = AdaptiveOptimizer(OUTPUTS / "phase18", seed=7, **directories)
    optimizer.load_phase18_data()
    model = optimizer.model
    executor = SimulateExecutor(model.world(7), model.tasks["task_id"], model.agents["agent_id"])
    scheduler = AdaptiveScheduler(executor=executor, heuristics=optimizer.heuristics)
    gate, success_rate = SafetyGate(), None
    for before, written in zip(optimizer.waves, result.comparisons, strict=True):
        wave = gate.approve(before, heuristics=optimizer.heuristics, rate_before=success_rate)
        planned = optimizer.calculate_optimal_schedule(wave.tasks)
        rows = scheduler.assign_tasks_to_agents(wave.tasks, planned.agent_assignments, wave.number, plans=planned.plans)
        done = scheduler.execute_schedule(wave.number, rows)
        assert done.executions.equals(result.executions.filter(pl.col("wave") == wave.number))
        assert planned.expected_success_rate == pytest.approx(written.planned_success_rate, rel=1e-9)
        assert planned.expected_throughput == pytest.approx(written.planned_throughput, rel=1e-9)
        assert planned.expected_confidence_delta == pytest.approx(written.planned_confidence_delta, rel=1e-9)
        assert done.success_rate == written.actual_success_rate
        assert done.executions.height / done.makespan_ms * 1000 == pytest.approx(written.actual_throughput)
        assert planned.task_priorities == dict(rows.select("task_id", "priority").rows())
        assert optimizer.generate_schedule_recommendations(wave.number) == [
            line for line in result.recommendations if line.wave == wave.number
        ]
        assignments = result["optimization_results"][wave.number - 1]["agent_assignments"]
        assert {agent: sorted(tasks) for agent, tasks in planned.agent_assignments.items()} == {
            agent: sorted(tasks) for agent, tasks in assignments.items()
        }
        if wave.number == 1:  # the world of a dry run is drawn before the first outcome is learned
            simulated = optimizer.simulate_schedule(planned)
            assert simulated["simulated_success_rate"] == done.success_rate
            assert simulated["simulated_completion_time_ms"] == pytest.approx(done.makespan_ms)
        optimizer.observe(done.attempts)
        success_rate = done.success_rate
    promises = optimizer.calculate_optimization_metrics()
    yardsticks = result["yardsticks"]
    assert promises["expected_success_rate"] == pytest.approx(yardsticks["planned_success_rate"], rel=1e-9)
    assert promises["round_robin_success_rate"] == pytest.approx(yardsticks["round_robin_success_rate"], rel=1e-9)
    assert promises["best_single_agent_success_rate"] == pytest.approx(yardsticks["best_single_agent_success_rate"])


@pytest.mark.parametrize("source", ["directory", "text", "result"])
def test_a_finished_run_can_be_opened_and_gives_what_it_wrote(result, tmp_path, source):
    opened = {"directory": result.run_dir, "text": str(result.run_dir), "result": result}[source]
    monitor, loop = OptimizationMonitor(opened), OptimizationFeedbackLoop(opened)
    assert monitor.calculate_metrics() == result.metrics
    assert monitor.detect_anomalies() == result.anomalies
    assert monitor.run_checks() == result.checks
    assert monitor.generate_system_health() == result.health
    assert monitor.monitor_agent_utilization() == result.utilization
    assert monitor.generate_alerts() == result.alerts
    assert monitor.monitor_optimization_convergence().equals(result.convergence)
    assert [loop.evaluate_schedule_outcome(wave) for wave in (1, 2, 3)] == result.comparisons
    assert loop.generate_learning_signals() == result.signals
    assert loop.recommend_strategy_adjustments() == result.advice
    assert loop.identify_optimization_failures() == result.failures
    assert loop.evaluate_strategy_effectiveness() == result.strategies
    assert loop.update_heuristic_weights() == result.heuristic_weights
    events = loop.generate_feedback_events()
    assert events.height == 3 * 4
    assert events["completed_count"].sum() == result["task_counts"]["completed"]
    for path in (*monitor.write_monitoring_outputs(tmp_path), *loop.write_feedback_outputs(tmp_path)):
        assert path.read_bytes() == (result.run_dir / path.relative_to(tmp_path)).read_bytes()
    for path in sorted(tmp_path.glob("wave_*/*/optimization_feedback.json")):
        assert lines(path) == lines(result.run_dir / path.relative_to(tmp_path))


def test_the_records_are_the_lines_of_the_files(result):
    files = {
        "schedule_comparisons.jsonl": result.comparisons,
        "optimization_metrics.jsonl": result.metrics,
        "scheduling_anomalies.jsonl": result.anomalies,
        "anomaly_tests.jsonl": result.checks,
        "learning_signals.jsonl": result.signals,
        "schedule_recommendations.jsonl": result.recommendations,
    }
    for name, records in files.items():
        written = lines(result.run_dir / name)
        assert len(written) == len(records)
        for line, record in zip(written, records, strict=True):
            assert {key: getattr(record, key) for key in type(record).__dataclass_fields__}.items() <= line.items()


# Every public method that the command calls, and the options with which it does.
COMMAND = {
    AdaptiveOptimizer: {
        "check_waves": {},
        "restarted": {},
        "load_phase18_data": {},
        "calculate_optimal_schedule": {},
        "optimize_for_success": {},
        "optimize_for_throughput": {"strategy": "maximize_throughput"},
        "optimize_for_minimize_retries": {"strategy": "minimize_retries"},
        "optimize_for_confidence": {"strategy": "confidence_optimization"},
        "reassign": {"max_load_factor": 1.5, "deliver_feedback": True},
        "observe": {},
        "update_confidence_estimates": {},
        "generate_schedule_recommendations": {},
        "calculate_optimization_metrics": {},
        "write_optimization_outputs": {},
    },
    AdaptiveScheduler: {
        "assign_tasks_to_agents": {},
        "prioritize_tasks": {},
        "optimize_task_ordering": {},
        "adjust_for_agent_load": {"max_load_factor": 1.5, "deliver_feedback": True},
        "execute_schedule": {},
        "simulate_task_execution": {},
        "calculate_schedule_adherence": {},
        "get_agent_utilization": {},
        "write_schedule_outputs": {},
    },
    OptimizationFeedbackLoop: {
        "evaluate_schedule_outcome": {},
        "generate_feedback_events": {},
        "generate_learning_signals": {},
        "update_heuristic_weights": {},
        "evaluate_strategy_effectiveness": {},
        "identify_optimization_failures": {},
        "recommend_strategy_adjustments": {},
        "update_phase16_heuristics": {"max_load_factor": 1.5, "deliver_feedback": True},
        "update_phase18_coordination": {"max_load_factor": 1.5, "deliver_feedback": True},
        "write_feedback_outputs": {},
    },
    OptimizationMonitor: {
        "calculate_metrics": {},
        "detect_anomalies": {},
        "run_checks": {},
        "generate_system_health": {},
        "monitor_agent_utilization": {},
        "detect_prediction_errors": {},
        "detect_schedule_drift": {},
        "monitor_optimization_convergence": {},
        "generate_alerts": {},
        "write_monitoring_outputs": {},
    },
    Phase19Harness: {"run_phase19": {}, "prepare_waves": {}, "run_waves": {}},
    SafetyGate: {"approve": {}, "decide": {}},
}
# What no run needs: a call by name does.
BY_NAME = {
    AdaptiveOptimizer: {"simulate_schedule"},
    AdaptiveScheduler: {"handle_task_failure"},
    Phase19Harness: {"run_in_memory"},  # of sweeps
}


class ReplacedError(Exception):
    """Raised by a method that a test replaced."""


def raises(*_args, **_kwargs):
    raise ReplacedError


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """One wave of two tasks and two agents; the input directory."""
    root = tmp_path_factory.mktemp("few")
    (root / "phase16").mkdir()
    shutil.copytree(OUTPUTS / "phase18", root / "phase18")
    rows = ({"task_id": f"t{i}", "wave": 1, "risk_level": "LOW", "confidence": 0.8} for i in range(2))
    (root / "phase18" / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root / "phase18"


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("owner", "method", "options"),
    [
        pytest.param(owner, method, options, id=f"{owner.__name__}.{method}")
        for owner, methods in COMMAND.items()
        for method, options in methods.items()
    ],
)
def test_the_command_fails_where_a_method_raises(few, owner, method, options, tmp_path, monkeypatch):
    monkeypatch.setattr(owner, method, raises)
    with pytest.raises(ReplacedError):
        phase19.run(input=few, output=tmp_path / "run", agents=2, **options, **FIXED)


@pytest.mark.parametrize("owner", COMMAND, ids=lambda owner: owner.__name__)
def test_every_public_method_is_named_here(owner):
    public = {
        name for name, value in vars(owner).items() if not name.startswith("_") and callable(value)
    }  # properties and attributes are none
    assert public == COMMAND[owner].keys() | BY_NAME.get(owner, set())


def test_a_live_run_asks_the_scheduler_what_follows_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(AdaptiveScheduler, "handle_task_failure", raises)
    with pytest.raises(ReplacedError):
        phase19.run(
            input=OUTPUTS / "phase18",
            output=tmp_path / "run",
            executor="live",
            runner=lambda *_: phase19.LiveResult(is_success=False),
        )


LOOP, MONITOR = OptimizationFeedbackLoop, OptimizationMonitor


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"weight": "much"}', '{"auto": 5, "agent_utilization": [1]}\n'])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("heuristic_weights.json", lambda run: LOOP(run).update_heuristic_weights()),
        ("strategy_effectiveness.json", lambda run: LOOP(run).evaluate_strategy_effectiveness()),
        ("feedback/phase16_feedback.jsonl", lambda run: LOOP(run).update_phase16_heuristics(run)),
        ("wave_1/agent_0/optimization_feedback.json", lambda run: LOOP(run).generate_feedback_events()),
        ("system_health.json", lambda run: MONITOR(run).monitor_agent_utilization()),
        ("anomaly_tests.jsonl", lambda run: MONITOR(run).detect_schedule_drift()),
        ("convergence.jsonl", lambda run: MONITOR(run).monitor_optimization_convergence()),
    ],
)
def test_a_damaged_file_of_a_run_is_named(result, tmp_path, name, call, text):
    run = tmp_path / "run"
    shutil.copytree(result.run_dir, run)
    (run / name).write_text(text)
    with pytest.raises(OutputError, match=re.escape(str(run))):
        call(run)


def parameters():
    for owner, methods in COMMAND.items():
        for method in ("__init__", *methods, *sorted(BY_NAME.get(owner, ()))):
            for name, parameter in inspect.signature(getattr(owner, method)).parameters.items():
                if name not in {"self", "source"} and parameter.kind is not parameter.VAR_KEYWORD:
                    yield owner, method, name


@pytest.mark.parametrize(
    ("owner", "method", "name"), list(parameters()), ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_argument_of_another_type_is_refused_by_name(owner, method, name):
    with pytest.raises(UsageError, match=rf"^{name}: expected .+, found <object object"):
        getattr(owner.__new__(owner), method)(**{name: object()})


@pytest.mark.parametrize("opened", [OptimizationMonitor, OptimizationFeedbackLoop])
def test_what_is_no_run_has_a_clear_answer(opened, tmp_path):
    with pytest.raises(OutputError, match=r"expected a Phase 19 run, found no optimization_summary\.json"):
        opened(tmp_path)
    with pytest.raises(UsageError, match="expected a run directory, a RunResult or an Analysis, found int"):
        opened(3)
    with pytest.raises(UsageError, match="found NoneType"):
        opened()
    (tmp_path / "optimization_summary.json").write_text("{}")
    for method in ("calculate_metrics", "generate_learning_signals"):
        if hasattr(opened, method):
            with pytest.raises(Phase19Error, match="cannot be read"):
                getattr(opened(tmp_path), method)()


TASKS = [{"task_id": "a", "confidence": 0.8}, {"task_id": "b", "confidence": 0.6}]


def scheduled_rows(scheduler):
    return scheduler.assign_tasks_to_agents(TASKS, {"x": ["a", "b"], "y": []})


def test_the_scheduler_takes_its_own_rows_as_dicts():
    scheduler = AdaptiveScheduler()
    rows = scheduled_rows(scheduler)
    assert scheduler.adjust_for_agent_load(rows.to_dicts()).height == 2
    assert scheduler.optimize_task_ordering(rows.to_dicts(), TASKS)["task_id"].to_list() == rows["task_id"].to_list()
    done = scheduler.execute_schedule(1, rows.to_dicts())
    assert scheduler.calculate_schedule_adherence(done.executions.to_dicts()) == done.schedule_adherence
    assert scheduler.get_agent_utilization(done.executions.to_dicts()) == done.agent_utilization


@pytest.mark.parametrize("rows", [None, [], 5, "task_1", [1], pl.DataFrame({"task_id": ["a"]})])
def test_rows_that_are_none_are_refused(rows):
    scheduler = AdaptiveScheduler()
    calls = [
        lambda: scheduler.execute_schedule(1, rows),
        lambda: scheduler.adjust_for_agent_load(rows),
        lambda: scheduler.optimize_task_ordering(rows, TASKS),
        lambda: scheduler.calculate_schedule_adherence(rows),
        lambda: scheduler.get_agent_utilization(rows),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="expected"):
            call()


@pytest.mark.parametrize("agents", ["agent_0", 5, [], [1], pl.DataFrame()])
def test_agents_are_a_list_of_ids_and_never_one_text(agents):
    with pytest.raises(UsageError, match=r"agents: expected (a frame|at least one agent id)"):
        AdaptiveOptimizer().calculate_optimal_schedule(TASKS, agents)


@pytest.mark.parametrize(
    "setting", [{"waves": 0}, {"waves": 1.5}, {"agents": 0}, {"agents": -1}, {"seed": -1}, {"timestamp": "soon"}]
)
def test_the_optimizer_refuses_what_the_command_refuses(setting):
    with pytest.raises(UsageError, match="expected"):
        AdaptiveOptimizer(OUTPUTS / "phase18", **setting)


def test_a_wave_of_an_empty_frame_has_no_figures():
    planned = AdaptiveOptimizer().calculate_optimal_schedule(pl.DataFrame(schema={"task_id": pl.String}), ["x"])
    assert planned.plans.is_empty()
    assert planned.expected_success_rate is None


def test_the_harness_takes_the_input_directory_or_options():
    assert Phase19Harness(str(OUTPUTS / "phase18")).options.input == OUTPUTS / "phase18"
    with pytest.raises(UsageError, match="options: expected RunOptions or a path or text, found"):
        Phase19Harness({"input": OUTPUTS})
    with pytest.raises(UsageError, match="runner: expected a function, found"):
        Phase19Harness(OUTPUTS / "phase18", executor="live", runner="python")


@pytest.mark.parametrize("place", ["", 5, "a\0b"])
def test_a_place_that_is_no_directory_is_refused(place):
    optimizer = AdaptiveOptimizer()
    optimizer.calculate_optimal_schedule(TASKS, ["x"])
    with pytest.raises(UsageError, match=r"expected a (directory to write to|path)"):
        optimizer.write_optimization_outputs(place)


def test_a_place_below_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    optimizer = AdaptiveOptimizer()
    optimizer.calculate_optimal_schedule(TASKS, ["x"])
    with pytest.raises(OutputError, match="cannot be written"):
        optimizer.write_optimization_outputs(tmp_path / "file")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, rows: s.execute_schedule(7, rows), "scheduled: expected rows of wave 7, found one of wave 1"),
        (lambda s, rows: s.execute_schedule(0, rows), "wave: expected a whole number from 1"),
        (lambda s, rows: s.execute_schedule(1, rows, confidence_changes=(0.1,)), "confidence_changes: expected"),
        (lambda s, rows: s.optimize_task_ordering(rows, TASKS[:1]), "task_id: found 'b', which is not known"),
        (lambda s, _: s.assign_tasks_to_agents(TASKS, {"x": "ab"}), "agent_assignments: expected"),
        (lambda s, _: s.assign_tasks_to_agents(TASKS, {"x": None}), "agent_assignments: expected"),
        (lambda s, _: s.assign_tasks_to_agents(TASKS, {"x": ["a", "a"]}), "every task exactly once, found 'a'"),
        (
            lambda s, rows: s.assign_tasks_to_agents([{"task_id": "q"}], {"x": ["q"]}, plans=rows),
            "plans: expected updated_confidence",
        ),
        (
            lambda s, _: s.prioritize_tasks([{"task_id": "a", "advantage": "x"}], "agent_specialization"),
            "a column 'advantage' of numbers",
        ),
        (lambda s, _: s.simulate_task_execution({"task_id": "a"}), "expected planned_duration_ms|orders"),
    ],
)
def test_the_scheduler_refuses_what_does_not_fit_together(call, message):
    scheduler = AdaptiveScheduler()
    rows = scheduled_rows(scheduler)
    with pytest.raises(Phase19Error, match=message):
        call(scheduler, rows)


def test_the_scheduler_remembers_the_agents_of_earlier_waves(tmp_path):
    scheduler = AdaptiveScheduler(phase19_output_dir=tmp_path)
    scheduler.execute_schedule(1, scheduled_rows(scheduler))
    scheduler.assign_tasks_to_agents([{"task_id": "c"}], {"z": ["c"]}, 2)
    assert sorted(path.name for path in scheduler.write_schedule_outputs(1).iterdir()) == ["x", "y", "z"]


def test_the_capacities_of_given_agents_count():
    optimizer = AdaptiveOptimizer(OUTPUTS / "phase18")
    optimizer.load_phase18_data()
    team = optimizer.model.agents.with_columns(capacity=pl.Series([4, 0, 0, 0]))
    tasks = [{"task_id": f"task_{i}"} for i in range(4)]
    planned = optimizer.calculate_optimal_schedule(tasks, team)
    assert [len(own) for own in planned.agent_assignments.values()] == [4, 0, 0, 0]


def test_records_that_are_loaded_after_a_plan_count_from_then_on():
    optimizer = AdaptiveOptimizer(OUTPUTS / "phase18", phase16_dir=OUTPUTS / "phase16")
    optimizer.calculate_optimal_schedule(TASKS, ["x"])
    optimizer.load_phase18_data()
    assert "H16_001" in optimizer.heuristics.rules


@pytest.mark.parametrize("command", [phase19.compare, phase19.backtest])
def test_options_and_single_settings_exclude_each_other(command):
    options = {phase19.compare: CompareOptions, phase19.backtest: BacktestOptions}[command]
    settings = {"split_at": "2026-01-31"} if options is BacktestOptions else {}
    with pytest.raises(UsageError, match="found both: seed"):
        command(options.of(input=OUTPUTS / "phase18", **settings), seed=5)
    with pytest.raises(UsageError, match=f"options: expected {options.__name__}, found 5"):
        command(5)


def test_a_plan_goes_to_known_agents_alone():
    optimizer = AdaptiveOptimizer()
    planned = optimizer.calculate_optimal_schedule(TASKS, ["x", "y"])
    with pytest.raises(UsageError, match="agent_ids: found 'q', which is not known"):
        optimizer.reassign(planned.wave, ["x", "q"])
    with pytest.raises(UsageError, match="agent_ids: expected one for each of 2 tasks, found 1"):
        optimizer.reassign(planned.wave, ["x"])
    assert optimizer.reassign(planned.wave, ["y", "y"]).agent_assignments == {"x": [], "y": ["a", "b"]}


@pytest.mark.parametrize(
    ("planned", "actual", "message"),
    [
        ({"success_rate": "high"}, {}, "planned_metrics: expected"),
        ({"success_rate": 0.5}, {"success_rate": 1.5}, r"actual_metrics: expected success_rate in \[0, 1\], found 1.5"),
        ({"speed": 1.0}, {}, "planned_metrics: expected success_rate, throughput, confidence_delta, found 'speed'"),
    ],
)
def test_the_feedback_loop_refuses_figures_that_are_none(result, planned, actual, message):
    with pytest.raises(UsageError, match=message):
        OptimizationFeedbackLoop(result).evaluate_schedule_outcome(1, planned, actual)


def test_the_feedback_loop_needs_a_directory_to_deliver_to(result, tmp_path):
    loop = OptimizationFeedbackLoop(phase19_output_dir=result.run_dir, phase16_dir=tmp_path)
    assert loop.update_phase16_heuristics() == [tmp_path / "phase19_feedback.jsonl"]
    with pytest.raises(UsageError, match="phase18_dir: expected a directory that exists, found None"):
        loop.update_phase18_coordination()
    with pytest.raises(UsageError, match="no more successes than applications of 'H'"):
        loop.update_heuristic_weights({"H": {"applications": 1, "successes": 2}})


def test_a_step_of_the_harness_says_what_has_to_come_before():
    harness = Phase19Harness(OUTPUTS / "phase18")
    wave = AdaptiveOptimizer().calculate_optimal_schedule(TASKS, ["x"]).wave
    for step in (harness._apply_safety_gates, harness._optimize_wave, harness._apply_scheduler, harness._execute_wave):
        with pytest.raises(UsageError, match=r"_load_phase18_data|wave: expected ExecutedWave"):
            step(wave)


def test_a_dry_run_refuses_a_live_executor():
    with pytest.raises(UsageError, match="dry_run=False"):
        AdaptiveScheduler(executor=LiveExecutor(lambda *_: None))


def test_a_result_reads_like_its_summary(result):
    assert dict(result) == dict(result.summary)
    assert "total_tasks" in result
    assert result.get("no such key") is None

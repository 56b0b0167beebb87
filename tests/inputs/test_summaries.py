"""What each input file is used for: the words of the summary, held to what a changed file changes."""

from __future__ import annotations

import json

import polars as pl
import pytest

import phase19
from phase19.cli.screen import print_run
from phase19.errors import InputError
from phase19.inputs.history import Previous
from phase19.inputs.loading import load_inputs
from phase19.optimizer import AdaptiveOptimizer
from tests.builders import all_pairs, attempts, center

SUMMARY = {
    "total_agents": 3,
    "total_tasks": 4,
    "success_rate": 0.9,
    "retry_rate": 0.1,
    "agent_performance": {"ada": {"success_rate": 0.95, "tasks": 5}, "bob": {"success_rate": 0.85, "tasks": 5}},
}
PATTERN = {
    "pattern_type": "pairs",
    "agent_assignments": {"ada": ["t1", "t2"], "bob": ["t3"]},
    "success_rate": 0.8,
    "confidence": 0.9,
}
SIGNAL = {
    "signal_id": "LS_1",
    "type": "agent_specialization",
    "confidence": 0.9,
    "description": "bob fails at docs",
    "agent_id": "bob",
    "success_rate": 0.2,
    "risk_level": "LOW",
    "category": "docs",
}
TASKS = [{"task_id": f"t{i}", "risk_level": "LOW", "category": "docs" if i % 2 else "code"} for i in range(1, 5)]
OUTCOMES = [
    {"task_id": task["task_id"], "agent_id": agent, "status": "success" if agent == "ada" else "failed"}
    for task in TASKS
    for agent in ("ada", "bob", "cy")
]
METRIC = {"metric_name": "Success Rate", "value": 0.9, "unit": "ratio"}
BOOST = {"condition": {"risk_level": "LOW", "confidence_range": [0, 1]}, "action": "boost_confidence_by", "amount": 0.1}

# Only what is required, in summaries; and with records of every pair, signals of free text, and the files of Phase 17.
FOUR_FILES = {
    "phase18/multi_agent_summary.json": SUMMARY,
    "phase18/coordination_patterns.json": [PATTERN],
    "phase18/system_health.json": {"overall_health_score": 80.0},
    "phase18/learning_signals.jsonl": [SIGNAL],
    "phase18/tasks.jsonl": TASKS,
}
ALL_FILES = FOUR_FILES | {
    "phase18/learning_signals.jsonl": [{"signal_id": "LS_1", "description": "bob fails", "confidence": 0.9}],
    "phase18/task_outcomes.jsonl": OUTCOMES,
    "phase18/agents.jsonl": [{"agent_id": "ada", "capacity": 1}],
    "phase16/planned_tasks.jsonl": TASKS,
    "phase16/heuristics.jsonl": [{"heuristic_id": "H1", "rule": BOOST}],
    "phase17/execution_outcomes.jsonl": [{"task_id": "t1", "status": "void"}],
    "phase17/realtime_metrics.jsonl": [METRIC, METRIC | {"value": 0.7}],
    "phase17/system_health.json": {"overall_health_score": 70.0},
    "phase17/heuristic_performance.json": {"H1": {"applications": 8, "successes": 6}},
    "phase17/learning_signals.jsonl": [{"signal_id": "x"}],
}
# What is known of each pair of the other set: words that differ between the two sets of files.
OTHER = FOUR_FILES | {
    "phase18/coordination_patterns.json": [PATTERN | {"success_rate": None}],
    "phase18/system_health.json": {"health_status": "GOOD"},
    "phase18/learning_signals.jsonl": [{key: SIGNAL[key] for key in SIGNAL if key != "success_rate"}],
    "phase16/heuristics.jsonl": [{"heuristic_id": "H1", "rule": {"action": "sing"}}],
    "phase17/execution_outcomes.jsonl": [{"task_id": "t1", "status": "success"}],
    "phase17/realtime_metrics.jsonl": [],
}


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = content if name.endswith(".jsonl") else [content]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [root / phase if (root / phase).is_dir() else None for phase in ("phase18", "phase16", "phase17")]


def inverted(value, key=""):
    """The content with every figure turned round: rates, scores, outcomes, capacities, texts and tasks."""
    if isinstance(value, dict):
        return {key: inverted(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [inverted(part, key) for part in value]
    match key:
        case "successes" | "amount" | "capacity":
            return 1 if key == "successes" else 2 if key == "capacity" else -0.3
        case "overall_health_score":
            return 100.0 - value
        case "status":
            return {"success": "failed", "failed": "success"}.get(value, value)
        case "description" | "health_status" | "action":
            return value if value == "boost_confidence_by" else f"not {value}"
        case "risk_level":
            return "HIGH"
    return round(1.0 - value, 9) if isinstance(value, float) and value <= 1.0 else value


def seen(root, files):
    """What a set of files leads to: the plan, what a run is compared with, and what is shown."""
    directories = write(root, files)
    inputs = load_inputs(*directories)
    optimizer = AdaptiveOptimizer(inputs=inputs)
    plans = pl.concat([optimizer.calculate_optimal_schedule().plans for _ in optimizer.waves])
    forecast = plans.select("task_id", "agent_id", "planned_success", "success_probability", "priority").rows()
    return inputs.sources, (forecast, inputs.baselines.rows(), (inputs.statements.rows(), inputs.heuristics.rows()))


@pytest.mark.parametrize("files", [FOUR_FILES, ALL_FILES, OTHER], ids=["four files", "all files", "others"])
def test_the_summary_says_of_each_file_what_changes_with_it(tmp_path, files):
    sources, before = seen(tmp_path / "before", files)
    words = {(f"phase{phase}/{file}"): word for phase, file, word in sources.select("phase", "file", "used_for").rows()}
    found = {}
    for name, content in files.items():
        _, after = seen(tmp_path / name.replace("/", "_"), files | {name: inverted(content)})
        differs = [one != two for one, two in zip(before, after, strict=True)]
        found[name] = "forecast" if differs[0] else "baseline" if differs[1] else "shown" if differs[2] else "nothing"
    assert {name: words[name] for name in files} == found
    assert {word for name, word in words.items() if name not in files} <= {"nothing"}
    if files is FOUR_FILES:
        assert found["phase18/coordination_patterns.json"] == found["phase18/learning_signals.jsonl"] == "forecast"


def test_void_attempts_decide_which_tasks_there_are_where_no_file_lists_them(tmp_path):
    void = [{"task_id": "t1", "status": "void"}]
    files = ALL_FILES | {"phase17/execution_outcomes.jsonl": void, "phase18/task_outcomes.jsonl": []}
    bare = {name: rows for name, rows in files.items() if not name.endswith("tasks.jsonl")}
    named = files | {"phase17/execution_outcomes.jsonl": [void[0] | {"agent_id": "dee"}]}
    words = []
    for name, content in (("files", files), ("bare", bare), ("named", named)):
        sources = load_inputs(*write(tmp_path / name, content)).sources
        words.append(sources.filter(file="execution_outcomes.jsonl")["used_for"].item())
    assert words == ["nothing", "forecast", "forecast"]


def test_a_pattern_counts_where_no_record_does_and_a_signal_once(tmp_path):
    files = FOUR_FILES | {"phase18/task_outcomes.jsonl": OUTCOMES[:1]}  # t1 by ada
    inputs = load_inputs(*write(tmp_path, files))
    assert inputs.evidence.select("agent_id", "risk_level", "category", "success_rate", "confidence").rows() == [
        ("ada", None, None, 0.8, 0.9),
        ("bob", None, None, 0.8, 0.9),
        ("bob", "LOW", "docs", 0.2, 0.9),
    ]
    assert inputs.evidence["task_id"].to_list()[:2] == ["t2", "t3"]
    assert inputs.statements.select("type", "description", "used_for").rows() == [
        ("pairs", None, "forecast"),
        ("agent_specialization", "bob fails at docs", "forecast"),
    ]
    # Records of an earlier run come before a pattern, and before the summary of their agent.
    optimizer = AdaptiveOptimizer(inputs=inputs)
    bob = [{"task_id": "t3", "agent_id": "bob", "source": "previous"}]
    later = AdaptiveOptimizer(inputs=inputs, previous=Previous("r", {}, attempts(*bob), is_simulated=False))
    assert (optimizer.model.evidence.height, later.model.evidence.height) == (3, 2)
    evidence = [dict(each.model.agents.select("agent_id", "evidence").rows()) for each in (optimizer, later)]
    assert [row["bob"] for row in evidence] == ["summary", "records"]


def test_weak_evidence_moves_a_forecast_by_less_than_an_attempt(tmp_path):
    """The forecast of t2 by ada: with nothing, with a pattern of certain failure at 0.9, and with a failed attempt."""
    nothing = FOUR_FILES | {"phase18/coordination_patterns.json": [], "phase18/learning_signals.jsonl": []}
    pattern = PATTERN | {"agent_assignments": {"ada": ["t2"]}, "success_rate": 0.0}
    failed = {"task_id": "t2", "agent_id": "ada", "is_success": False, "source": "run"}
    found = []
    for name, change in (("none", []), ("pattern", [pattern]), ("attempt", [])):
        files = nothing | {"phase18/coordination_patterns.json": change}
        optimizer = AdaptiveOptimizer(inputs=load_inputs(*write(tmp_path / name, files)))
        if name == "attempt":
            optimizer.observe([failed])
        model = optimizer.model
        task, agent = model.tasks["task_id"].to_list().index("t2"), model.agents["agent_id"].to_list().index("ada")
        found.append(center(model.success)[task, agent])
        assert all_pairs(model).record_count[task, agent] == (name == "attempt")
    assert found[0] > found[1] > found[2]
    assert found[0] - found[1] == pytest.approx(0.9 * (found[0] - found[2]), rel=0.25)


def test_a_run_stands_beside_the_figures_of_earlier_phases(tmp_path, capsys):
    """Every attempt of t1 ... t4 succeeds at 10 ms but one of two of t4, which fails first."""
    outcome = {"agent_id": "ada", "status": "success", "execution_time_ms": 10}
    rows = [outcome | {"task_id": f"t{i}", "attempts": 1} for i in (1, 2, 3)]
    rows += [outcome | {"task_id": "t4", "attempts": i, "status": s} for i, s in ((1, "failed"), (2, "success"))]
    metrics = [
        METRIC,
        {"metric_name": "Average Execution Time", "value": 12, "unit": "ms"},
        {"metric_name": "Retry Rate", "value": 0.1, "unit": "ratio"},
        {"metric_name": "Average Execution Time", "value": 12, "unit": "s"},
        {"metric_name": "Mood", "value": 1, "unit": "ratio"},
    ]
    own = {"overall_health_score": 12.3}
    directories = write(
        tmp_path,
        ALL_FILES
        | {"phase18/agents.jsonl": [], "phase17/realtime_metrics.jsonl": metrics, "phase18/system_health.json": own}
        | {"phase18/executions.jsonl": rows},
    )
    result = phase19.run(
        input=directories[0],
        executor="replay",
        executions=directories[0] / "executions.jsonl",
        capacity=4,
        output=tmp_path / "out",
    )
    assert result.executions["agent_id"].unique().to_list() == ["ada"]
    found = {(row["phase"], row["figure"], row["unit"]): row["this_run"] for row in result.summary["baselines"]}
    health = result.summary["system_health_score"]
    assert found == {
        (18, "overall_health_score", "points"): health,
        (17, "overall_health_score", "points"): health,
        (17, "Success Rate", "ratio"): pytest.approx(4 / 5),
        (17, "Retry Rate", "ratio"): pytest.approx(1 / 5),
        (17, "Average Execution Time", "s"): None,
        (17, "Mood", "ratio"): None,
        (17, "success rate with H1", "ratio"): 1.0,
    }
    report = (tmp_path / "out" / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text()
    assert ", 12.3 in Phase 18; " in report
    assert "bob fails" in report
    print_run(tmp_path / "out")
    assert ", 12.3 in Phase 18; " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("phase18/multi_agent_summary.json", SUMMARY | {"retry_rate": 1.5}, "retry_rate"),
        ("phase17/realtime_metrics.jsonl", [{"metric_name": "x"}], "value"),
        ("phase17/heuristic_performance.json", {"H1": {"applications": 2, "successes": 3}}, "H1"),
        ("phase18/learning_signals.jsonl", [SIGNAL | {"success_rate": 2}], "success_rate"),
        ("phase17/system_health.json", {"overall_health_score": 101}, "overall_health_score"),
    ],
)
def test_figures_out_of_bounds_are_refused(tmp_path, name, content, field):
    directories = write(tmp_path, ALL_FILES | {name: content})
    with pytest.raises(InputError) as caught:
        load_inputs(*directories)
    assert (caught.value.file, caught.value.field) == (str(tmp_path / name), field)

"""Phase 20's published reader, played on what the command writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from phase19.inputs.loading import load_inputs

ROOT = Path(__file__).parent.parent
AT = ("--timestamp", "2026-02-05T12:00:00Z", "--quiet")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_as_phase20(run_dir: Path, directories: list[str]) -> dict[str, Any]:
    """What Phase 20 makes of a run: the three files of its name, and each agent's tasks of waves 1 to 3."""
    signals = rows(run_dir / "learning_signals.jsonl")
    validations = [signal for signal in signals if signal["feedback_type"] == "strategy_validation"]
    tasks = [
        task
        for wave in (1, 2, 3)
        for directory in directories
        for task in rows(run_dir / f"wave_{wave}" / directory / "scheduled_tasks.jsonl")
    ]
    return {
        "metrics": {row["metric_name"]: row["value"] for row in rows(run_dir / "metrics.jsonl")},
        "anomalies": rows(run_dir / "anomalies.jsonl"),
        "model_accuracies": [signal["confidence"] for signal in validations],
        "task_count": len(tasks),
        "completed": sum(task["status"] == "completed" for task in tasks),
        "agents": {task["agent_id"] for task in tasks},
    }


def agrees(found: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """The reader's figures are the run's own; its summary."""
    summary = json.loads((run_dir / "optimization_summary.json").read_text("utf-8"))
    assert found["task_count"] == summary["total_tasks"] == summary["task_counts"]["total"]
    assert found["completed"] == summary["task_counts"]["completed"] > 0
    assert found["completed"] / found["task_count"] == pytest.approx(summary["overall_metrics"]["actual_success_rate"])
    assert found["model_accuracies"] == [found["metrics"]["schedule_accuracy"]]
    assert 0 <= found["model_accuracies"][0] <= 1
    assert len(found["metrics"]) == 5
    assert found["metrics"]["schedule_adherence"] == summary["overall_metrics"]["schedule_adherence"]
    health = json.loads((run_dir / "system_health.json").read_text("utf-8"))
    assert len(found["anomalies"]) == health["detected_anomalies"]
    return summary


def test_the_sample_is_read_whole(run_cli, tmp_path):
    done = run_cli("--input", "outputs/phase18", "--output", tmp_path / "out", *AT)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_as_phase20(tmp_path / "out", [f"agent_{i}" for i in range(4)])
    summary = agrees(found, tmp_path / "out")
    assert (found["task_count"], summary["total_agents"], summary["total_waves_optimized"]) == (12, 4, 3)
    assert found["anomalies"] == []
    assert (tmp_path / "out" / "anomalies.jsonl").read_bytes() == b""


@pytest.mark.no_cover
def test_anomalies_are_read_with_the_keys_it_knows(run_cli, tmp_path):
    # Recorded success is promised, and nothing succeeds.
    inputs = load_inputs(ROOT / "data" / "phase18")
    tasks, agents = inputs.tasks["task_id"].to_list(), inputs.agents["agent_id"].to_list()
    executions = tmp_path / "executions.jsonl"
    with executions.open("w") as file:
        for task in tasks:
            for agent in agents:
                file.write(json.dumps({"task_id": task, "agent_id": agent, "status": "failed"}) + "\n")
    replay = ("--executor", "replay", "--executions", executions, "--waves", "3")
    done = run_cli("--input", "data/phase18", "--output", tmp_path / "out", *AT, *replay)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_as_phase20(tmp_path / "out", agents)
    assert (found["completed"], found["task_count"]) == (0, len(tasks))
    assert "prediction_error" in {row["anomaly_type"] for row in found["anomalies"]}
    keys = ["anomaly_id", "anomaly_type", "severity", "description", "affected_waves", "affected_agents"]
    assert all(list(row)[:8] == [*keys, "recommendation", "timestamp"] for row in found["anomalies"])


def test_an_agent_without_tasks_has_an_empty_file_in_every_wave(run_cli, tmp_path):
    done = run_cli(
        "--input", "outputs/phase18", "--output", tmp_path / "out", *AT, "--agents", "6", "--capacity", "even"
    )
    assert (done.returncode, done.stderr) == (0, "")
    directories = [f"agent_{i}" for i in range(6)]
    found = read_as_phase20(tmp_path / "out", directories)
    agrees(found, tmp_path / "out")
    sizes = [
        (tmp_path / "out" / f"wave_{w}" / d / "scheduled_tasks.jsonl").stat().st_size
        for w in (1, 2, 3)
        for d in directories
    ]
    assert sizes.count(0) == 3 * 2  # four tasks a wave


def test_agents_of_any_name_are_found_below_their_wave(run_cli, tmp_path):
    inputs = tmp_path / "phase18"
    inputs.mkdir()
    names = ["openai/gpt-5", "Llama 3", "..", "agent_7"]
    summary = {
        "total_agents": 4,
        "total_tasks": 12,
        "total_waves": 3,
        "success_rate": 0.9,
        "agent_performance": {name: {"success_rate": 0.95, "tasks": 20} for name in names},
    }
    (inputs / "multi_agent_summary.json").write_text(json.dumps(summary))
    (inputs / "coordination_patterns.json").write_text("[]")
    (inputs / "system_health.json").write_text("{}")
    (inputs / "learning_signals.jsonl").write_text("")
    done = run_cli("--input", inputs, "--output", tmp_path / "out", *AT)
    assert (done.returncode, done.stderr) == (0, "")
    below = {path.name for path in (tmp_path / "out" / "wave_1").iterdir() if path.is_dir()}
    assert below == {"openai%2Fgpt-5", "Llama%203", "%2E%2E", "agent_7"}
    found = read_as_phase20(tmp_path / "out", sorted(below))
    agrees(found, tmp_path / "out")
    assert found["agents"] == {unquote(name) for name in below} == set(names)

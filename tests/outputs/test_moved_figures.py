"""No figure in any output is a constant that no evidence moved: each differs within a run or between runs."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import phase19
from phase19.inputs.sample import write_sample

SAMPLE = Path(__file__).parents[2] / "outputs" / "phase18"
FIXED = {"timestamp": "2026-02-05T12:00:00Z"}
# Keys that are data: of maps by agent, heuristic and strategy.
NAMES = r"agent_\d+|H16_\d+|maximize_\w+|balance_load|minimize_retries|confidence_optimization|weighted|round_robin"
# What a rule sets moves where the rule does.
RULES = {f"weight_{name}": 2.5 for name in ("optimization_accuracy", "schedule_adherence", "system_stability")}
RULES |= {"weight_throughput_efficiency": 2.0, "schedule_drift_medium": 50.0, "schedule_drift_high": 50.0}
CONSTANTS = {
    "optimization_summary.json .phase": "the number of this phase, by contract",
    "optimization_summary.json .baselines[].phase": "the samples have figures of Phase 18 alone to compare with",
    "optimization_summary.json .task_counts.deferred": "only a live run defers",
    "optimization_summary.json .task_counts.interrupted": "only a live run can be interrupted",
    "wave_N/wave_summary.json .task_states.interrupted": "only a live run can be interrupted",
}


def recorded(tasks: list[str], *, late: float = 1.0, falling: float = 0.1, first: float = 1.0) -> list[dict]:
    """Attempts at random: agent_1 succeeds seldom, agent_2 is late; `first` of agent_0 has none of some tasks."""
    rng = np.random.default_rng(5)
    return [
        {
            "task_id": task,
            "agent_id": f"agent_{agent}",
            "attempt": attempt,
            "status": "success" if rng.random() < (falling if agent == 1 else 0.8) else "failed",
            "execution_time_ms": float(rng.lognormal(3.3, 0.4) * (late if agent == 2 else 1.0)),
            "is_censored": bool(rng.random() < 0.05),
        }
        for task in tasks
        for agent in range(5)
        for attempt in (1, 2)
        if agent > 0 or rng.random() < first
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two dry runs of other sizes, and replays of other histories with features, the later two after the one before."""
    place = tmp_path_factory.mktemp("moved")
    write_sample(place, tasks=160, agents=5, waves=4, seed=3)
    planned = [json.loads(line) for line in (place / "phase16/planned_tasks.jsonl").read_text().splitlines()]
    (place / "phase16/planned_tasks.jsonl").write_text(
        "".join(json.dumps(task | {"deadline_ms": 20.0 * i}) + "\n" for i, task in enumerate(planned))
    )
    large = {"input": place / "phase18", **FIXED}
    phase19.run(input=SAMPLE, output=place / "small", seed=7, **FIXED)
    dry = phase19.run(**large, output=place / "dry", seed=1, max_load_factor=1.1, previous=place / "small")
    rules = place / "thresholds.toml"
    rules.write_text("[rules]\n" + "".join(f"{name} = {value}\n" for name, value in RULES.items()))
    names = dry.executions["task_id"].to_list()
    rows = (place / "phase18/task_outcomes.jsonl").read_text().splitlines()
    described = sorted({*names[:40], *(json.loads(row)["task_id"] for row in rows[:30]), "another"})
    features = [json.dumps({"task_id": name, "size": i}) + "\n" for i, name in enumerate(described)]
    (place / "phase18/features.jsonl").write_text("".join(features))
    histories = {
        "steady": {"falling": 0.8},
        "mild": {"late": 1.3, "falling": 0.5, "first": 0.5},
        "bad": {"late": 3.0, "falling": 0.05},
    }
    options = {
        "steady": {},
        "mild": {"previous": place / "steady", "strategy": "balance_load", "explore": True, "max_retries": 0},
        "bad": {"previous": place / "mild", "capacity": 7, "allow_unassigned": True, "thresholds": rules},
    }
    for name, history in histories.items():
        file = place / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in recorded(names, **history)))
        phase19.run(**large, output=place / name, executor="replay", executions=file, **options[name])
    return [place / name for name in ("small", "dry", *histories)]


def figures(directory: Path) -> dict[str, set[float]]:
    """Every number of a run directory, by file and key."""
    found: dict[str, set[float]] = defaultdict(set)

    def read(value, key: str) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                read(part, f"{key}.{'*' if re.fullmatch(NAMES, name) else name}")
        elif isinstance(value, list):
            for part in value:
                read(part, f"{key}[]")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key].add(value)

    for path in sorted(directory.rglob("*.json*")):
        name = re.sub(r"agent_\d+", "AGENT", re.sub(r"wave_\d+", "wave_N", path.relative_to(directory).as_posix()))
        text = path.read_text("utf-8")
        for part in [text] if path.suffix == ".json" else text.splitlines():
            read(json.loads(part), f"{name} ")
    return found


def test_every_figure_differs_somewhere_but_those_that_are_constants_for_a_reason(runs):
    seen: dict[str, set[float]] = defaultdict(set)
    for run in runs:
        for key, values in figures(run).items():
            if ".thresholds.changed." not in key:  # the options, told back
                seen[key] |= values
    assert len(seen) > 250
    assert {key: values for key, values in seen.items() if len(values) == 1 and key not in CONSTANTS} == {}
    assert {key for key in CONSTANTS if len(seen[key]) != 1} == set()


def test_shares_and_utilizations_of_whole_runs_lie_in_0_to_1(runs):
    shares = r".*(utilization|_share|success_rate|_probability|p_value|confidence|accuracy\w*|adherence)"
    for run in runs:
        for key, values in figures(run).items():
            if re.fullmatch(shares, key) and "component" not in key and "thresholds" not in key:
                assert min(values) >= 0 and max(values) <= 1 + 1e-12, (run.name, key)


@pytest.mark.parametrize("name", ["small", "dry", "steady", "mild", "bad"])
def test_the_summary_repeats_what_the_tables_say(runs, name):
    run = next(path for path in runs if path.name == name)
    summary = json.loads((run / "optimization_summary.json").read_text())
    health = json.loads((run / "system_health.json").read_text())
    metrics = [json.loads(line) for line in (run / "optimization_metrics.jsonl").read_text().splitlines()]
    by_name = {row["metric_name"]: row["value"] for row in metrics}
    assert summary["system_health_score"] == health["overall_health_score"]
    assert summary["overall_metrics"]["schedule_adherence"] == by_name["schedule_adherence"]
    assert {row["metric_name"]: row["value"] for row in health["optimization_metrics"]} == by_name
    rows = [
        json.loads(line)
        for path in run.glob("wave_*/*/scheduled_tasks.jsonl")
        for line in path.read_text().splitlines()
    ]
    counts = summary["task_counts"]
    states = [row["status"] for row in rows]
    for state in ("completed", "failed", "unobserved", "interrupted"):
        assert counts[state] == states.count(state)
    assert counts["total"] == sum(counts.values()) - counts["total"]
    ran = counts["completed"] + counts["failed"]
    assert summary["overall_metrics"]["actual_success_rate"] == pytest.approx(counts["completed"] / ran)

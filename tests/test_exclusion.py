"""Excluded agents get no task, and excluded tasks are no tasks of the run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import phase19
from phase19.options import RunOptions

ROOT = Path(__file__).parent.parent
TIME = "2026-02-05T12:00:00Z"


@pytest.fixture
def inputs(tmp_path):
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def test_a_run_leaves_out_agents_and_tasks_and_says_so(inputs):
    result = phase19.run(input=inputs, exclude_agent=["agent_2", "agent_0"], exclude_task="task_3", timestamp=TIME)
    assert set(result.executions["agent_id"]) == {"agent_1", "agent_3"}
    assert "task_3" not in set(result.executions["task_id"])
    assert result["excluded"] == {"agents": ["agent_0", "agent_2"], "tasks": ["task_3"]}
    assert (result["total_tasks"], result["total_agents"]) == (11, 2)
    counts = dict(result["task_counts"])
    assert counts.pop("total") == sum(counts.values()) == 11


def test_records_of_what_is_left_out_still_teach(inputs):
    """The forecast of agent_1 knows how hard each task was for the other agents, so it stays the same."""
    whole, less = (
        phase19.AdaptiveOptimizer(inputs=phase19.load_inputs(inputs), options=phase19.PlanOptions(exclude_agent=names))
        for names in ((), ("agent_0", "agent_2", "agent_3"))
    )
    first = whole.model.success.mean(np.array([0]), np.array([1]))
    assert less.model.agents["agent_id"].to_list() == ["agent_1"]
    assert less.model.attempts.height == whole.model.attempts.height
    assert less.model.success.mean(np.array([0]), np.array([0])) == pytest.approx(first, abs=0.1)


def test_what_is_excluded_decides_the_run_whatever_its_order(inputs):
    names = [("agent_1", "agent_2"), ("agent_2", "agent_1"), ("agent_2", "agent_1", "agent_1"), ()]
    ids = [phase19.run(input=inputs, exclude_agent=given, timestamp=TIME)["run_id"] for given in names]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert RunOptions(input="a", exclude_agent="agent_2").exclude_agent == ("agent_2",)


def test_the_command_takes_an_option_for_each_name(inputs, run_cli):
    names = ("--exclude-agent", "agent_0", "--exclude-agent", "agent_2", "--exclude-task", "task_3")
    done = run_cli("run", "--input", inputs, *names)
    assert (done.returncode, "11 tasks, 2 agents" in done.stdout) == (0, True)
    for command in (("compare",), ("backtest", "--executions", inputs.parent / "phase17" / "execution_outcomes.jsonl")):
        done = run_cli(*command, "--input", inputs, "--exclude-agent", "agent_3")
        assert (done.returncode, "3 agents" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exclude_agent": "agnt_2"}, "--exclude-agent: expected agents that are known, found 'agnt_2'; .* agent_2"),
        (
            {"exclude_task": ["task_1", "tsk_3"]},
            "--exclude-task: expected tasks that are known, found 'tsk_3'",
        ),
        ({"exclude_agent": [f"agent_{i}" for i in range(4)]}, "--exclude-agent: expected to keep at least one agent"),
        ({"exclude_task": [f"task_{i}" for i in range(12)]}, "--exclude-task: expected to keep at least one task"),
        ({"exclude_agent": 5}, "--exclude-agent: expected a name or a list of names, found 5"),
        ({"exclude_agent": [5]}, "--exclude-agent: expected a name or a list of names, found "),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value)[:30],
)
def test_a_name_that_is_not_known_is_an_error(inputs, settings, message):
    with pytest.raises(phase19.Phase19Error, match=message):
        phase19.run(input=inputs, **settings)

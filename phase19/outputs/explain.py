"""Explanation of one task of a run: which agent it was assigned to, why, by how much, and what happened."""

import json
import math
from pathlib import Path
from typing import Any

from phase19.analysis.querying import json_lines
from phase19.errors import UsageError, plural
from phase19.outputs.text import percent, significant

_QUESTION = """
select
    * exclude (run, run_id, tasks.risk_level, tasks.confidence, unassigned.reason),
    unassigned.reason as unassigned_reason,
from decisions
left join tasks using (run, run_id, wave, task_id)
left join plans using (run, run_id, wave, task_id, agent_id)
left join unassigned using (run, run_id, wave, task_id)
where task_id = $task_id
"""
_SLIGHT = 0.01  # a smaller difference of two scores is called slight
_SMALLEST = 0.001  # a smaller amount of score is written as "less than" this


def explain(run_dir: Path, task_id: str) -> dict[str, Any]:
    """Return the columns of the views `decisions`, `tasks`, `plans` and `unassigned` for one task.

    Raises
    ------
    OutputError
        `run_dir` is not a run directory.
    UsageError
        The run has no such task.
    """
    found = json_lines(run_dir, _QUESTION, task_id=task_id)
    if not found:
        raise UsageError(f"explain: expected a task of {run_dir}, found {task_id!r}")
    return dict(json.loads(found))


def sentences(task: dict[str, Any]) -> list[str]:
    """Say which agent the task was assigned to, why, and what happened."""
    name, agent = task["task_id"], task["agent_id"]
    if agent is None:
        why = task["unassigned_reason"] or f"its safety gate {task['decision']} it ({task['reason']})"
        return [f"{name} was not assigned: {why}."]
    place = f"{name} was assigned to {agent} in wave {task['wave']}, with priority {task['priority']}"
    said = [f"{place} and {percent(task['planned_success'])} planned success.", _runner_up_sentence(task)]
    if task["agent_price"] > 0:
        said.append(f"Room for one more task at {agent} would add {_worth(task, task['agent_price'])}.")
    if "status" not in task:  # a plan that nobody executed
        return said
    if task["status"] in {"completed", "failed"}:
        retries = f" after {plural(task['retry_count'], 'retry', 'retries')}" if task["retry_count"] else ""
        error = f": {task['error_message']}" if task["error_message"] else "."
        said.append(f"It {task['status']}{retries}{error}")
    else:
        said.append(f"It did not run ({task['status']}).")
    return said


def _runner_up_sentence(task: dict[str, Any]) -> str:
    runner_up, margin = task["runner_up_agent_id"], task["score_margin"]
    if runner_up is None:
        return "No other agent can take it without leaving another task unassigned."
    gain = task["runner_up_score"] - task["score"]
    scores = f"({_score(task, 'runner_up_score')} against {_score(task, 'score')})"
    if margin < 0:
        return f"{runner_up} would be better {scores}, but the task was moved to balance the load."
    if gain > 0:
        return (
            f"{runner_up} would be {'slightly ' if gain < _SLIGHT else ''}better {scores}, but it is full: moving "
            f"another task off it would cost more than this gains, by {_worth(task, margin)}."
        )
    return f"{runner_up} is next best {scores}; it would cost the wave {_worth(task, margin)}."


def _is_success(task: dict[str, Any]) -> bool:
    """Whether the score is the planned success, as under maximize_success."""
    return math.isclose(task["score"], task["planned_success"], rel_tol=1e-9)


def _score(task: dict[str, Any], key: str) -> str:
    """Write a score, in percent if it is the planned success, with enough digits to show how the agents differ."""
    if not _is_success(task):
        return significant(task[key])
    gap = 100 * abs(task["runner_up_score"] - task["score"])
    return f"{task[key] * 100:.{min(4, math.ceil(-math.log10(gap))) if 0 < gap < 1 else 1}f} %"


def _worth(task: dict[str, Any], value: float) -> str:
    """Write an amount of the wave's total score, as expected successes if the score is the planned success."""
    size = significant(value, 2) if value >= _SMALLEST else f"less than {_SMALLEST}"
    return f"{size} {'expected successes' if _is_success(task) else 'of its total score'}"

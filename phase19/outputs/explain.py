"""Explanation of one task of a run: which agent it was assigned to, why, what others would cost, and how it ended."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from phase19.analysis.querying import json_lines, select
from phase19.errors import UsageError, plural, suggestion
from phase19.frames import RAN
from phase19.outputs.text import duration, percent, significant

# What the scores of a strategy measure, where they are not the chance of success.
_MEASURES = {
    "minimize_retries": "from 0 to 1, higher for fewer expected retries",
    "confidence_optimization": "from 0 to 1, higher for a larger expected gain of confidence",
    "weighted": "the weighted mean of chance of success, speed and gain of confidence",
}
_NOT_RUN = {
    "unobserved": "the records that were replayed have no attempt of it by this agent",
    "interrupted": "the run was interrupted",
}
_SMALLEST = 0.001  # a smaller amount of score is written as "less than" this
_EQUAL = 1e-6  # scores that differ by less are called the same
_MANY = 0.5  # tasks per wave; fewer are written as one task in so many waves


def explain(run_dir: Path, task_id: str) -> dict[str, Any]:
    """Return what a run knows about one task.

    Returns
    -------
    dict
        The columns of the view `explanations`.

    Raises
    ------
    OutputError
        `run_dir` is not a run directory.
    UsageError
        The run has no such task.
    """
    found = json_lines(run_dir, "from explanations where task_id = $task_id", task_id=task_id)
    if not found:
        known = select(run_dir, "select task_id from decisions")["task_id"].to_list()
        hint = suggestion(task_id, known) or f"; its first tasks are {', '.join(known[:3])}"
        raise UsageError(f"explain: expected a task of {run_dir}, found {task_id!r}{hint}")
    return dict(json.loads(found))


def task_rows(tables: Mapping[str, pl.DataFrame], *, is_simulated: bool) -> pl.DataFrame:
    """Return the rows of the view `explanations` that :func:`sentences` needs, from the tables of a run.

    Parameters
    ----------
    tables
        The frames `decisions`, `executions` and `unassigned` of :mod:`phase19.frames`, by name.
    is_simulated
        Whether the run is a dry run.
    """
    executions = tables["executions"].drop("wave", "risk_level", "confidence")
    rows = (
        tables["decisions"]
        .join(executions, on="task_id", how="left", maintain_order="left")
        .join(tables["unassigned"].select("task_id", unassigned_reason="reason"), on="task_id", how="left")
    )
    loads = rows.group_by("wave", best_agent_id="agent_id").agg(best_agent_task_count=pl.len())
    return rows.join(loads, on=("wave", "best_agent_id"), how="left").with_columns(
        wave_task_count=pl.col("agent_id").count().over("wave"), simulated=pl.lit(is_simulated)
    )


def sentences(task: Mapping[str, Any]) -> list[str]:
    """Say which agent a task was assigned to, why, and what happened.

    Parameters
    ----------
    task
        As :func:`explain` returns it; of a plan, without its decision and outcome.
    """
    name, agent = task["task_id"], task["agent_id"]
    if agent is None:
        why = task["unassigned_reason"] or f"its safety gate {task['decision']} it ({task['reason']})"
        return [f"{name} was not assigned: {why}."]
    place = f"wave {task['wave']}, priority {task['priority']} of {task['wave_task_count']}"
    chance = f"{percent(task['planned_success'])}{', retries included' if task['max_attempts'] > 1 else ''}"
    records = f"{agent} has {plural(task['record_count'], 'recorded attempt')} at this task"
    return [
        f"{name} was assigned to {agent} ({place}).",
        f"Its chance of success there is {chance}; {records}.",
        *_of_features(task),
        *_reasons(task),
        *([_outcome(task)] if "status" in task else []),  # a plan has none
    ]


def _of_features(task: Mapping[str, Any]) -> list[str]:
    """Say what the features of the task change, and which of them change most."""
    without, names = task["success_without_features"], task["main_features"]
    if without is None or not names:
        return []
    change = task["success_probability"] - without
    verb = "raise" if change > 0 else "lower"
    changed = f"from {percent(without)} to {percent(task['success_probability'])}"
    return [f"The features of the task {verb} the chance of its first attempt {changed}; main: {', '.join(names)}."]


def _reasons(task: Mapping[str, Any]) -> list[str]:
    """Say why no agent is better, or why the task did not go to an agent that is, and what moving it would cost."""
    name, agent, strategy = task["task_id"], task["agent_id"], task["wave_strategy"]
    if strategy == "maximize_throughput":
        time = f"{agent} is planned to need {duration(task['planned_duration_ms'])} for {name}"
        return [f"{strategy} looks for a plan whose last agent ends early, not for each task's best agent; {time}."]
    thing, said = "chance of success", []
    if not _is_success(task):
        thing, measure = (
            "score",
            _MEASURES.get(strategy, "the chance of success plus a bonus for agents with few records"),
        )
        said.append(f"{strategy} scores each task with each agent ({measure}) and maximises the sum over the wave.")
    if task["runner_up_agent_id"] is None:
        return [*said, "No other agent may do it without leaving another task without an agent."]
    is_moved = task["score_margin"] < 0
    is_best = task["best_agent_id"] == agent and not is_moved
    kind, margin = ("runner_up", task["score_margin"]) if is_best or is_moved else ("best", task["best_margin"])
    other, gap = task[f"{kind}_agent_id"], task[f"{kind}_score"] - task["score"]
    scores = f"({_score(task, task[f'{kind}_score'], gap)} against {_score(task, task['score'], gap)})"
    better = f"{other} has the same {thing}" if abs(gap) < _EQUAL else f"{other} has a higher {thing} {scores}"
    if is_best:
        said.append(f"No agent has a higher {thing}. The best other choice is {other} {scores}: with {name} there, ")
    elif is_moved or not task["is_best_agent_full"]:
        return [*said, f"{better}, but the plan also keeps the load of the agents even."]
    else:
        full = f"already has the {plural(task['best_agent_task_count'], 'task')} that it may take in this wave"
        said.append(f"{better}, but it {full}, and they need it more: ")
        said[-1] += f"with {name} there, even if others moved to make room, "
    said[-1] += "another task would have no agent." if margin is None else _worth(task, margin, "fail", "fall")
    if task["agent_price"] >= _SMALLEST:
        said.append(f"If {agent} could take one more task, {_worth(task, task['agent_price'], 'succeed', 'rise')}")
    return said


def _outcome(task: Mapping[str, Any]) -> str:
    if task["status"] not in RAN:
        return f"It did not run: {_NOT_RUN[task['status']]}."
    ended = "succeeded" if task["status"] == "completed" else "failed"
    retries = f" after {plural(task['retry_count'], 'retry', 'retries')}" if task["retry_count"] else ""
    error = f": {task['error_message']}" if task["error_message"] else "."
    return f"{'In the dry run, it' if task['simulated'] else 'It'} {ended}{retries}{error}"


def _is_success(task: Mapping[str, Any]) -> bool:
    """Whether the score is the planned success."""
    is_close = math.isclose(task["score"], task["planned_success"], rel_tol=1e-9)
    return task["wave_strategy"] not in _MEASURES and is_close


def _score(task: Mapping[str, Any], score: float, gap: float) -> str:
    """Write a score, in percent if it is the planned success, with enough digits to show the gap to another one."""
    scale, unit = (100, " %") if _is_success(task) else (1, "")
    gap = abs(scale * gap)
    return f"{scale * score:.{min(6, max(1, math.ceil(-math.log10(gap)))) if gap > 0 else 1}f}{unit}"


def _worth(task: Mapping[str, Any], value: float, ending: str, change: str) -> str:
    """Say what an amount of score means: how many tasks end differently, or how the wave's sum of scores changes."""
    if not _is_success(task):
        size = significant(value, 2) if value >= _SMALLEST else f"less than {_SMALLEST}"
        return f"the sum over the wave would {change} by {size}."
    if value >= _MANY:
        return f"about {significant(value, 2)} more tasks of the wave would {ending}."
    if value >= _SMALLEST:
        return f"about one more task would {ending} in {float(f'{1 / value:.1e}'):,.0f} waves like this."
    return f"less than one more task would {ending} in {1 / _SMALLEST:,.0f} waves like this."

"""Join the numbers that describe tasks: those of features.jsonl and those on the lines of the tasks."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from phase19.errors import InputError, Report, plural
from phase19.inputs.decoding import LINE

FILE = "features.jsonl"
COLUMN = "features"  # of the tasks: an object of numbers, as JSON text


def join_features(separate: pl.DataFrame, tasks: pl.DataFrame, path: Path | None, report: Report) -> pl.DataFrame:
    """Join the features of both places.

    Parameters
    ----------
    separate
        task_id, unique, and one column per feature: the rows of features.jsonl.
    tasks
        task_id, `line` and `features` of the tasks to plan.
    path
        The file of these tasks, for errors; None if no file lists them.
    report
        Called with an error for each feature that the two places contradict each other about.

    Returns
    -------
    polars.DataFrame
        `frames.FEATURES` sorted by task id; features and tasks without any number are left out.
    """
    listed = tasks.drop_nulls(COLUMN)
    decoded = listed[COLUMN].str.json_decode(infer_schema_length=None)
    objects = decoded.struct.unnest().cast(pl.Float64) if listed.height else listed.select()
    known = listed.select("task_id").join(separate, on="task_id", how="left", maintain_order="left")
    for name in sorted(set(objects.columns) & set(known.columns)):
        is_id = name == "task_id"  # a feature cannot have this name
        differs = objects[name].is_not_null() if is_id else (objects[name] != known[name]).fill_null(value=False)
        if differs.any():
            row = differs.arg_max() or 0
            expected = "another name" if is_id else f"{known[name][row]}, as in {FILE}"
            found, line = str(objects[name][row]), listed[LINE][row]
            report(InputError(str(path), line=line, field=f"{COLUMN}.{name}", expected=expected, found=found))
    own = listed.select("task_id").hstack(objects.drop("task_id", strict=False))
    both = pl.concat([separate, own], how="diagonal").group_by("task_id").max()
    names = sorted(name for name in both.columns if name != "task_id" and both[name].count())
    return both[["task_id", *names]].filter(pl.any_horizontal(pl.exclude("task_id").is_not_null())).sort("task_id")


def check_joined(features: pl.DataFrame, tasks: pl.DataFrame, attempts: pl.DataFrame) -> list[str]:
    """A warning if tasks have features and none of these tasks is planned or recorded; else nothing."""
    known = pl.concat([tasks["task_id"], attempts["task_id"]])
    if features.is_empty() or features["task_id"].is_in(known.implode()).any():
        return []
    found = f"none of its {plural(features.height, 'task')}, such as {features['task_id'][0]!r}, is planned or recorded"
    return [f"{FILE}: {found}; if these are the same tasks, make the names equal"]


def sentence(joins: Mapping[str, int | None]) -> str:
    """Say how many tasks have features, given the counts of `tasks.joined_counts`; empty if there are no features."""
    if not joins["features"]:
        return ""
    nouns = {"tasks": "task", "recorded_tasks": "recorded task"}
    kinds = {noun: (joins[f"{kind}_with_features"], joins[kind]) for kind, noun in nouns.items()}
    counts = [f"{described} of {plural(count, noun)}" for noun, (described, count) in kinds.items() if count]
    if other := joins["other_tasks_with_features"]:
        counts.append(plural(other, "other task"))
    listed = f"{', '.join(counts[:-1])} and {counts[-1]}".removeprefix(" and ")
    return f" {listed} have features (number of features: {joins['features']:,})."

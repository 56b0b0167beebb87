"""Import results of SWE-bench: run reports, reports of instances, and the folders of its experiments."""

from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import number_trials
from phase19.inputs.importers.documents import Documents, refuse_nothing

# The outcome of each list of a run's report; None is void. The first list that names an instance counts.
REPORT = {
    "infra_failure_ids": None,
    "error_ids": None,
    "resolved_ids": True,
    "empty_patch_ids": False,
    "unresolved_ids": False,
}
_SUBMISSION = {"no_logs": None, "no_generation": False, "resolved": True}  # the same for results.json of an experiment
_OF_INSTANCE = {"report.json", "results.json", "per_instance_details.json"}
_NAME = "model_name_or_path"  # of the agent, in predictions
_NAMES = {"one": f"$.{_NAME}", "listed": f"$[*].{_NAME}", "by_id": f"$.*.{_NAME}"}
_REFERENCE = "gold"


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read evaluations of SWE-bench.

    Parameters
    ----------
    paths
        Reports of runs, folders of logs, submissions of the experiments, or folders that contain them; predictions, if
        there are any, give the exact names of agents.
    drop_torn_lines
        Leave out, and count, what is not JSON.
    """
    documents = Documents(paths, drop_torn_lines)
    names = _agent_names(documents)
    reports = documents.read(
        [file for file in documents.files("*.json") if file.name not in _OF_INSTANCE],
        list_paths(REPORT | {"incomplete_ids": None}),
    )
    agents = {file: _agent_and_run(Path(file).stem, names) for file in reports["file"]}
    place = pl.col("file").str.split("/").list
    of_runs = outcomes_of_lists(reports, REPORT).with_columns(
        agent_id=pl.col("file").replace_strict(
            {file: agent for file, (agent, _) in agents.items()}, return_dtype=pl.String
        ),
        run=pl.col("file").replace_strict({file: run for file, (_, run) in agents.items()}, return_dtype=pl.String),
    )
    # logs/run_evaluation/RUN/AGENT/INSTANCE/report.json
    folder = place.get(-3, null_on_oob=True)
    of_instances = documents.read(documents.files("report.json"), {"resolved": "$.resolved"}, each="$.*").select(
        "key",
        is_success=pl.col("resolved") == "true",
        agent_id=folder.replace_strict(names, default=folder.str.replace_all("__", "/", literal=True)),
        run=place.get(-4, null_on_oob=True),
    )
    of_experiments, unlisted_count = _experiments(documents)
    found = pl.concat([of_runs, of_instances, of_experiments], how="diagonal_relaxed").rename({"key": "task_id"})
    refuse_nothing(found, documents, "reports (.json with resolved_ids, report.json, results.json)")
    once = found.unique(["agent_id", "run", "task_id"], keep="first", maintain_order=True)
    rows = once.filter(pl.col("agent_id").ne_missing(_REFERENCE)).with_columns(
        is_void=pl.col("is_success").is_null(), category=_repository()
    )
    open_tasks = reports.select(task_id=pl.col("incomplete_ids").explode()).drop_nulls().unique(maintain_order=True)
    counts = documents.counts(found.height - unlisted_count, kept=once.height - unlisted_count) | {
        "of the reference solution": once.height - rows.height,
        "not listed, so failed": unlisted_count,
    }
    tasks = open_tasks.join(rows, on="task_id", how="anti", maintain_order="left").with_columns(category=_repository())
    return Imported(number_trials(rows, "run"), counts, tasks=tasks)


def _agent_names(documents: Documents) -> dict[str, str]:
    """The agents that predictions and log folders name, by their form in file names."""
    files = documents.files("*pred*.json", "*pred*.jsonl", beside=True)
    parts = [
        documents.read([file for file in files if (file.suffix == ".jsonl") == lines], _NAMES, lines=lines)
        for lines in (False, True)
    ]
    names = pl.concat(parts).select(pl.concat_list("one", "listed", "by_id").list.explode()).to_series().drop_nulls()
    folders = {file.parent.parent.name for file in documents.files("report.json")}
    return {folder: folder.replace("__", "/") for folder in sorted(folders)} | {
        name.replace("/", "__"): name for name in names.unique().sort()
    }


def _agent_and_run(stem: str, names: dict[str, str]) -> tuple[str, str]:
    """Agent and run from the name AGENT.RUN of a report; either may contain dots."""
    known = max((name for name in names if stem.startswith(f"{name}.")), key=len, default=stem.rpartition(".")[0])
    return names.get(known, known.replace("__", "/")), stem[len(known) + 1 :]


def list_paths(names: Collection[str]) -> dict[str, str]:
    """JSON paths to the members of lists, by name."""
    return {name: f"$.{name}[*]" for name in names}


def outcomes_of_lists(lists: pl.DataFrame, outcomes: dict[str, bool | None]) -> pl.DataFrame:
    """One row per file and instance, from columns that list instances."""
    long = (
        lists.drop("key").unpivot(list(outcomes), index="file", variable_name="list", value_name="key").explode("key")
    )
    return (
        long.drop_nulls("key")
        .unique(["file", "key"], keep="first", maintain_order=True)
        .select("file", "key", is_success=pl.col("list").replace_strict(outcomes, return_dtype=pl.Boolean))
    )


def _experiments(documents: Documents) -> tuple[pl.DataFrame, int]:
    """Instances of submissions, SPLIT/SUBMISSION/[results/]FILE, and the number that only other submissions list."""
    details = documents.read(
        documents.files("per_instance_details.json"), {"is_resolved": "$.resolved", "cost": "$.cost"}, each="$.*"
    ).select(
        "file", "key", is_success=pl.col("is_resolved") == "true", cost=pl.col("cost").cast(pl.Float64, strict=False)
    )
    results = outcomes_of_lists(documents.read(documents.files("results.json"), list_paths(_SUBMISSION)), _SUBMISSION)
    end = r"/(?:results/)?[^/]+\.json$"
    listed = pl.concat([details, results], how="diagonal").with_columns(
        agent_id=pl.col("file").str.extract(f"([^/]+){end}"), split=pl.col("file").str.extract(f"([^/]*)/[^/]+{end}")
    )
    # Submissions list what they resolved. They failed at what only others of their split list.
    instances = listed.select("split", "key").unique(maintain_order=True)
    submissions = listed.select("split", "agent_id").unique(maintain_order=True)
    unlisted = submissions.join(instances, on="split", maintain_order="left_right").join(
        listed, on=["split", "agent_id", "key"], how="anti", maintain_order="left"
    )
    rows = pl.concat([listed, unlisted.with_columns(is_success=False)], how="diagonal")
    return rows.select("key", "agent_id", "is_success", "cost", run=pl.lit("")), unlisted.height


def _repository() -> pl.Expr:
    return pl.col("task_id").str.extract(r"^(.+)-\d+$").str.replace("__", "/", literal=True)

"""Import results of Terminal-Bench: run folders, or folders of its leaderboard."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import agent, elapsed_ms, moment, number_trials
from phase19.inputs.importers.documents import Documents, nearest_folder, refuse_nothing

_TRIAL = {
    "id": "$.id",
    "uuid": "$.uuid",  # older versions
    "task_id": "$.task_id",
    "trial_name": "$.trial_name",
    "is_resolved": "$.is_resolved",
    "failure_mode": "$.failure_mode",
    "start": "$.agent_started_at",
    "end": "$.agent_ended_at",
    "trial_end": "$.trial_ended_at",
}
_RUN = {"name": "$.agent_name", "model": "$.model_name", "dataset": "$.dataset_name"}
# results/DATASET@VERSION/DATE_AGENT_MODEL/, with : in place of @ too
_SUBMISSION = r"(?:^|/)results/([^/@:]+)[@:][^/]+/([^/]+)/"


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read runs of Terminal-Bench.

    Parameters
    ----------
    paths
        Run folders, folders that contain them, or results files.
    drop_torn_lines
        Leave out, and count, files that are not JSON.
    """
    documents = Documents(paths, drop_torn_lines)
    files = documents.files("*results.json")
    # A trial's row stands in its own file, in its run's results, or in both.
    of_runs = documents.read(files, _TRIAL, each="$.results[*]").with_columns(is_own_file=False)
    of_trials = documents.read(files, _TRIAL).drop_nulls("task_id").with_columns(is_own_file=True)
    found = pl.concat([of_runs, of_trials])
    refuse_nothing(found, documents, "results.json files with trials")
    runs = documents.read(documents.files("run_metadata.json", beside=True), _RUN).with_columns(
        run=_folder(1), agent=agent(pl.col("name"), pl.col("model"))
    )
    row = pl.format("row {}", pl.int_range(pl.len()))
    once = found.group_by(pl.coalesce("id", "uuid", row).alias("id"), maintain_order=True).agg(
        pl.exclude("id", "uuid").drop_nulls().first()
    )
    above = pl.when("is_own_file").then(_folder(3)).otherwise(_folder(1))
    named = (
        once.with_columns(
            run=pl.coalesce(nearest_folder(pl.col("file"), once["file"], set(runs["run"])), above),
            folder_dataset=pl.col("file").str.extract(_SUBMISSION, 1),
            submission=pl.col("file").str.extract(_SUBMISSION, 2),
        )
        .join(runs.select("run", "agent", "dataset"), on="run", how="left", maintain_order="left")
        .with_columns(k=pl.col("trial_name").str.extract(r"\.(\d+)-of-\d+").cast(pl.Int64))
    )
    # Runs without metadata belong to the agent that the other runs of their submission name.
    of_submission = pl.when(pl.col("submission").is_not_null()).then(
        pl.col("agent").drop_nulls().first().over("submission")
    )
    rows = named.select(
        "task_id",
        "run",
        "k",
        agent_id=pl.coalesce("agent", of_submission, "submission", pl.col("run").str.extract(r"([^/]+)$")),
        is_success=pl.col("is_resolved") == "true",
        is_void=pl.col("is_resolved").is_null(),
        is_censored=pl.col("failure_mode") == "agent_timeout",
        duration_ms=elapsed_ms(pl.col("start"), pl.col("end")),
        category=pl.coalesce("dataset", "folder_dataset"),
        timestamp=pl.coalesce(moment(pl.col("end")), moment(pl.col("trial_end"))),
        error_message=pl.when(pl.col("failure_mode") != "unset").then("failure_mode"),
    )
    return Imported(number_trials(rows, "run", "k"), documents.counts(found.height, kept=once.height))


def _folder(levels: int) -> pl.Expr:
    return pl.col("file").str.replace(f"(?:/?[^/]+){{{levels}}}$", "")

"""Import results of OpenHands: folders of evaluations, or the index of results."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import agent, check_outcomes, elapsed_ms, moment, outcome
from phase19.inputs.importers.documents import Documents, nearest_folder, refuse_nothing
from phase19.inputs.importers.swebench import REPORT, list_paths, outcomes_of_lists

_ROW = {
    "instance": "$.instance_id",
    "attempt": "$.attempt",
    "error_message": "$.error",
    "score": "$.test_result.score",
    "passed": "$.test_result.passed",
    "resolved": "$.test_result.resolved",
    "passed_share": "$.test_result.eval_result.passed",
    "times": "$.history[*].timestamp",
    "cost": "$.metrics.accumulated_cost",
    "older_cost": "$.metrics.total_cost_usd",
}
_RUN = {"model": "$.llm.model", "agent_type": "$.agent_type", "dataset": "$.dataset"}
# What a later kind of file says of an attempt replaces what an earlier one says.
_FILES = ("output_errors.jsonl", "output.critic_attempt_*.jsonl", "output.jsonl")
_KEY = ["folder", "instance", "attempt"]
# results/MODEL/instance_results/BENCHMARK.json, or alternative_agents/AGENT/MODEL/instance_results/BENCHMARK.json
_INDEX = r"(?:alternative_agents/(?<agent>[^/]+)/)?(?<model>[^/]+)/instance_results/(?<benchmark>[^/]+)\.json$"


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read evaluations of OpenHands, or the index of its results.

    Parameters
    ----------
    paths
        Folders of evaluations or of the index, or folders that contain them.
    drop_torn_lines
        Leave out, and count, what is not JSON.
    """
    documents = Documents(paths, drop_torn_lines)
    files = [file for pattern in _FILES for file in documents.files(pattern)]
    found = documents.read(files, _ROW, lines=True)
    index = documents.read(
        [file for file in documents.files("*.json") if file.parent.name == "instance_results"],
        {"resolved": "$.resolved", "cost": "$.cost"},
        each="$.*",
    )
    refuse_nothing([*found["file"], *index["file"]], documents, "output.jsonl or instance_results/*.json")
    attempts, unmapped_counts, unmapped = _attempts(found, documents)
    place = pl.col("file").str.extract_groups(_INDEX).struct
    rows = pl.concat(
        [
            attempts,
            index.select(
                task_id=pl.concat_str(place["benchmark"], "key", separator="/"),
                agent_id=agent(place["agent"], place["model"]),
                category=place["benchmark"],
                is_success=pl.col("resolved") == "true",
                is_void=pl.col("resolved").is_null(),
                cost=pl.col("cost").cast(pl.Float64, strict=False),
            ),
        ],
        how="diagonal",
    )
    counts = documents.counts(found.height + index.height, kept=rows.height)
    return Imported(rows, counts | unmapped_counts, unmapped)


def _attempts(found: pl.DataFrame, documents: Documents) -> tuple[pl.DataFrame, dict[str, int], dict[str, list[str]]]:
    folder = pl.col("file").str.replace("/?[^/]*$", "").alias("folder")
    of_file = pl.col("file").str.extract(r"critic_attempt_(\d+)\.jsonl$")
    numbered = found.with_columns(folder, attempt=pl.coalesce("attempt", of_file).cast(pl.Int64, strict=False))
    is_final = pl.col("file").str.ends_with("output.jsonl")
    # The attempt that the final output shows; older versions do not number it.
    shown = pl.coalesce(pl.col("attempt").filter(is_final).max(), pl.col("attempt").max(), 1).over("folder", "instance")
    rows = numbered.with_columns(pl.coalesce("attempt", shown)).unique(_KEY, keep="last", maintain_order=True)
    reports = documents.read(documents.files("output.report.json", beside=True), list_paths(REPORT))
    reported = outcomes_of_lists(reports, REPORT).select(folder, instance="key", reported="is_success")
    runs = documents.read(documents.files("metadata.json", beside=True), _RUN).with_columns(run=folder)
    score = pl.coalesce("score", "passed", "resolved")
    passed_share = pl.col("passed_share").cast(pl.Float64, strict=False) >= 1
    is_success = pl.coalesce(outcome(score), passed_share, "reported")
    times = pl.col("times").list.drop_nulls().list.sort()
    dataset = pl.col("dataset").str.extract(r"([^/]+)/?$")
    made = (
        rows.with_columns(run=nearest_folder(pl.col("file"), rows["file"], set(runs["run"])))
        .join(runs.select("run", *_RUN), on="run", how="left", maintain_order="left")
        # Reports are about the final output only.
        .join(reported, on=["folder", "instance"], how="left", maintain_order="left")
        .with_columns(pl.when(is_final).then("reported"))
        .select(
            "attempt",
            "folder",
            "error_message",
            score=score,
            task_id=pl.concat_str(dataset, "instance", separator="/", ignore_nulls=True),
            agent_id=pl.coalesce(
                agent(pl.col("agent_type"), pl.col("model")), pl.col("folder").str.extract("([^/]*)$")
            ),
            category=dataset,
            is_success=is_success,
            is_void=pl.col("error_message").is_not_null() | is_success.is_null(),
            duration_ms=pl.when(times.list.len() > 1).then(elapsed_ms(times.list.first(), times.list.last())),
            timestamp=moment(times.list.last()),
            cost=pl.coalesce("cost", "older_cost").cast(pl.Float64, strict=False),
        )
        .with_columns(trial=pl.col("folder").rank("dense").over("task_id", "agent_id").cast(pl.Int64))
    )
    return made.drop("folder", "score"), *check_outcomes("test_result", made["score"], made["is_success"])

"""Import samples of the lm-evaluation-harness."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import check_outcomes, moment, number_trials, outcome
from phase19.inputs.importers.documents import Documents, refuse_nothing

_SAMPLE = {"doc_id": "$.doc_id", "filter": "$.filter", "metric": "$.metrics[0]"}
_RESULTS = {"model_name": "$.model_name", "model": "$.config.model", "date": "$.date"}
_SAMPLES_NAME = r"(?<folder>.*?)/?samples_(?<task>[^/]+?)(?:_(?<time>\d{4}-\d\d-\d\dT[^/_]+))?\.jsonl$"
_RESULTS_NAME = r"(?<folder>.*?)/?results(?:_(?<time>[^/]+))?\.json$"
_EVALUATION = ["folder", "time"]
_VALUE = "value of "  # start of the names of columns, so that no metric has the name of another column


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read samples of the lm-evaluation-harness.

    Parameters
    ----------
    paths
        Output folders, or folders that contain them, or files of samples.
    drop_torn_lines
        Leave out, and count, what is not JSON.
    """
    documents = Documents(paths, drop_torn_lines)
    files, results = documents.files("samples_*.jsonl"), documents.files("results*.json", beside=True)
    sampled = documents.read(files, _SAMPLE, lines=True)
    refuse_nothing(sampled, documents, "samples_*.jsonl")
    name = pl.col("file").str.extract_groups(_RESULTS_NAME).struct.unnest()
    evaluations = documents.read(results, _RESULTS).with_columns(name).unique(_EVALUATION, keep="last")
    # Older samples do not name their metrics: the results do, as `METRIC,FILTER`, and say which of them is best low.
    of_task = documents.read(results, {"scores": "$"}, each="$.results.*").select(
        name, task="key", first_metric=pl.col("scores").str.extract(r'"([^",]+),[^"]*":')
    )
    found = (
        sampled.with_columns(pl.col("file").str.extract_groups(_SAMPLES_NAME).struct.unnest())
        .join(
            evaluations.drop("file", "line", "key"), on=_EVALUATION, how="left", nulls_equal=True, maintain_order="left"
        )
        .join(of_task, on=[*_EVALUATION, "task"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.coalesce("metric", "first_metric"))
    )
    metrics = [metric for metric in found["metric"].drop_nulls().unique(maintain_order=True) if '"' not in metric]
    values = {f"{_VALUE}{metric}": f'$."{metric}"' for metric in metrics}
    directions = (
        documents.read(results, values, each="$.higher_is_better.*")
        .select(name, pl.col(list(values)), task="key")
        .unpivot(list(values), index=[*_EVALUATION, "task"], variable_name="metric", value_name="is_higher_better")
        .with_columns(pl.col("metric").str.strip_prefix(_VALUE))
        .unique([*_EVALUATION, "task", "metric"])
    )
    scores = documents.read(files, values, lines=True).select(
        score=pl.coalesce(
            pl.lit(None, pl.String), *(pl.when(found["metric"] == each).then(_VALUE + each) for each in metrics)
        )
    )
    # A sample has a row for each filter of its answer: the first filter counts.
    first = found.with_columns(scores).filter(pl.col("filter").eq_missing(pl.col("filter").first().over("file")))
    rows = first.join(
        directions, on=[*_EVALUATION, "task", "metric"], how="left", nulls_equal=True, maintain_order="left"
    ).unique([*_EVALUATION, "task", "doc_id"], keep="first", maintain_order=True)
    number = pl.col("score").cast(pl.Float64, strict=False)
    is_low_best = (pl.col("is_higher_better") == "false") & number.is_between(0, 1)
    started = pl.col("time").str.replace(r"T(\d\d)-(\d\d)-(\d\d)", "T$1:$2:$3")
    is_success = pl.when(is_low_best).then(number == 0).otherwise(outcome(pl.col("score")))
    made = rows.select(
        "score",
        "time",
        task_id=pl.concat_str("task", "doc_id", separator="/"),
        agent_id=pl.coalesce("model_name", "model", pl.col("folder").str.extract("([^/]*)$")),
        category="task",
        is_success=is_success,
        is_void=is_success.is_null(),
        timestamp=pl.coalesce(moment(pl.col("date")), moment(started)),
    )
    unmapped_counts, unmapped = check_outcomes("metric", made["score"], made["is_success"])
    counts = documents.counts(first.height, kept=rows.height) | {"of further filters": found.height - first.height}
    return Imported(number_trials(made, "time"), counts | unmapped_counts, unmapped)

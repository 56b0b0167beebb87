"""Import logs of Inspect AI: .json files, and .eval files through its own reader."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import polars as pl

from phase19.errors import InputError, UsageError
from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import agent, check_outcomes, moment, number_trials, outcome
from phase19.inputs.importers.documents import Documents, refuse_nothing

_LOG = {
    "version": "$.version",
    "task": "$.eval.task",
    "run": "$.eval.task_id",
    "model": "$.eval.model",
    "solver": "$.eval.solver",
    "created": "$.eval.created",
}
_SAMPLE = {
    "id": "$.id",
    "epoch": "$.epoch",
    "values": "$.scores.*.value",
    "value": "$.score.value",  # older versions
    "error": "$.error.message",
    "error_text": "$.error",  # in summaries
    "invalidation": "$.invalidation",
    "limit": "$.limit.type",
    "limit_text": "$.limit",  # in summaries
    "working_time": "$.working_time",
    "total_time": "$.total_time",
    "end": "$.completed_at",
    "costs": "$.model_usage.*.total_cost",
}
_LATEST_VERSION = 2
_NAME = re.compile(r"\d{4}-\d\d-\d\dT.*\.json$")  # other .json files in a folder of logs list the logs


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read logs of Inspect AI.

    Parameters
    ----------
    paths
        Logs (.json, or .eval if inspect_ai is installed), or folders that contain them.
    drop_torn_lines
        Leave out, and count, logs that cannot be read.
    """
    documents = Documents(paths, drop_torn_lines)
    files = [file for file in documents.files("*.json") if _NAME.match(file.name) or file in documents.paths]
    zipped = documents.files("*.eval")
    refuse_nothing([*files, *zipped], documents, "logs (.eval, or .json with a name that starts with a time)")
    samples = pl.concat(
        [
            documents.read(files, _SAMPLE, each="$.samples[*]", shared=_LOG),
            documents.read(zipped, _SAMPLE, each="$.samples[*]", shared=_LOG, reader=_summaries),
        ]
    )
    newer = samples.filter(pl.col("version").cast(pl.Int64, strict=False) > _LATEST_VERSION)
    for file, version in newer.select("file", "version").head(1).rows():
        raise InputError(file, field="version", expected=f"at most {_LATEST_VERSION}", found=version)
    # A retry writes a new log with the samples that were finished: the newest counts.
    rows = (
        samples.with_columns(
            pl.coalesce("run", "file"),
            created=moment(pl.col("created")),
            epoch=pl.col("epoch").cast(pl.Int64, strict=False),
        )
        .sort("created", maintain_order=True)
        .unique(["run", "id", "epoch"], keep="last", maintain_order=True)
    )
    # C, I, P, N: correct, incorrect, partly correct, no answer
    value = pl.coalesce(pl.col("values").list.first(), "value").replace("P", "0.5")
    is_success = outcome(value)
    error, limit = pl.coalesce("error", "error_text"), pl.coalesce("limit", "limit_text")
    seconds = pl.coalesce("working_time", "total_time").cast(pl.Float64, strict=False)
    costs = pl.col("costs").list.eval(pl.element().cast(pl.Float64, strict=False)).list.drop_nulls()
    made = rows.select(
        "created",
        "epoch",
        value=value,
        task_id=pl.concat_str("task", "id", separator="/"),
        agent_id=agent(pl.col("solver"), pl.col("model")),
        category="task",
        is_success=is_success,
        is_void=error.is_not_null() | pl.col("invalidation").is_not_null() | is_success.is_null(),
        is_censored=limit.is_in(["time", "working"]).fill_null(value=False),
        duration_ms=seconds * 1e3,
        timestamp=pl.coalesce(moment(pl.col("end")), "created"),
        cost=pl.when(costs.list.len() > 0).then(costs.list.sum()),
        error_message=pl.coalesce(error, limit),
    )
    several_count = int((rows["values"].list.len() > 1).sum())
    unmapped_counts, unmapped = check_outcomes("score", made["value"], made["is_success"])
    counts = documents.counts(samples.height, kept=rows.height) | {
        "with several scores, the first counts": several_count
    }
    return Imported(number_trials(made, "created", "epoch"), counts | unmapped_counts, unmapped)


def _summaries(file: Path) -> str:
    """A log as JSON, with summaries in place of samples; the reason if it cannot be read."""
    try:
        from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries
    except ImportError as missing:
        hint = "install phase19[inspect], or convert the log to .json"
        raise UsageError(f"{file}: .eval files are read by inspect_ai, which is not installed; {hint}") from missing
    try:
        header = read_eval_log(str(file), header_only=True)
        # Summaries are quicker to read, but do not say which samples somebody invalidated.
        is_summarised = not getattr(header, "invalidated", False)
        samples = read_eval_log_sample_summaries(str(file)) if is_summarised else read_eval_log(str(file)).samples or []
    except (BadZipFile, KeyError, OSError, RuntimeError, ValueError) as problem:
        return f"{problem}"
    return json.dumps(header.model_dump(mode="json") | {"samples": [each.model_dump(mode="json") for each in samples]})

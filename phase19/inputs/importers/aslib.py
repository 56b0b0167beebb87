"""Import scenarios of ASlib: runs of algorithms on instances, and the instances' features."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from phase19.errors import InputError, suggestion
from phase19.inputs.importers.attempts import Imported
from phase19.inputs.importers.conversions import not_understood, number_trials
from phase19.inputs.importers.documents import Documents, read_text, refuse_nothing

_OUTCOMES = {"ok": True, "timeout": False, "memout": False, "crash": False}
_VOID = ("not_applicable", "other")
_TIMED = "runtime"
_VALUE = r"""'[^']*'|"[^"]*"|[^,\s][^,]*"""
_RUN = ("instance_id", "repetition", "algorithm", "runstatus")


def read(paths: Sequence[Path], *, drop_torn_lines: bool = False) -> Imported:
    """Read scenarios of ASlib whose performance is a run time.

    Parameters
    ----------
    paths
        Folders of scenarios, or folders that contain them.
    drop_torn_lines
        Leave out, and count, lines with too few or too many values.
    """
    documents = Documents(paths, drop_torn_lines)
    files = documents.files("algorithm_runs.arff")
    refuse_nothing(files, documents, "algorithm_runs.arff")
    found = pl.concat([_runs(file, documents) for file in files])
    rows = found.unique(maintain_order=True)  # a scenario may repeat runs of another
    status = rows["status"]
    is_bad = ~status.is_in([*_OUTCOMES, *_VOID])
    unmapped = {"runstatus": not_understood(status, is_bad)} if is_bad.any() else {}
    features = [_features(file, documents) for file in documents.files("feature_values.arff")]
    counts = documents.counts(found.height, kept=rows.height)
    by_task = pl.concat(features, how="diagonal").group_by("task_id", maintain_order=True).mean() if features else None
    return Imported(number_trials(rows, "trial"), counts, unmapped, features=by_task)


def _runs(file: Path, documents: Documents) -> pl.DataFrame:
    description = file.with_name("description.txt")
    text = read_text(description)
    if (kind := _setting(text, "performance_type")) != _TIMED:
        # Such a run is ok if it ended, whatever the quality of its solution.
        raise InputError(str(description), field="performance_type", expected=_TIMED, found=kind or "nothing")
    measure = _setting(text, "performance_measures")
    rows = _arff(file, documents, (*_RUN, measure))
    try:
        limit_ms = float(_setting(text, "algorithm_cutoff_time")) * 1e3 or None
    except ValueError:
        limit_ms = None
    status = pl.col("runstatus").str.to_lowercase()
    time_ms = pl.col(measure).cast(pl.Float64, strict=False) * 1e3
    is_below = (time_ms > 0) & (time_ms < (limit_ms or float("inf")))
    # Runs that failed hold the limit, a multiple of it as a penalty, or 0: only a time below the limit was measured.
    measured = pl.when((status == "ok") | is_below).then(time_ms)
    is_censored = status == "timeout"
    return rows.select(
        task_id="instance_id",
        agent_id="algorithm",
        trial=pl.col("repetition").cast(pl.Float64, strict=False).cast(pl.Int64),
        status=status,
        is_success=status.replace_strict(_OUTCOMES, default=None, return_dtype=pl.Boolean),
        is_censored=is_censored,
        duration_ms=pl.when(is_censored).then(pl.coalesce(pl.lit(limit_ms, pl.Float64), time_ms)).otherwise(measured),
        error_message=pl.when(status != "ok").then(status),
    )


def _features(file: Path, documents: Documents) -> pl.DataFrame:
    rows = _arff(file, documents, ("instance_id", "repetition"))
    names = [name for name in rows.columns if name not in {"instance_id", "repetition"}]
    numbers = pl.col(names).cast(pl.Float64, strict=False)
    return rows.select(task_id="instance_id").with_columns(rows.select(pl.when(numbers.is_finite()).then(numbers)))


def _setting(text: str, name: str) -> str:
    """First value of a setting in YAML: a scalar, a list in brackets or a list of lines; empty if there is none."""
    found = re.search(rf"^{name}[ \t]*:(.*(?:\n[ \t]*-[ \t].*)*)", re.sub("#.*", "", text), re.MULTILINE)
    values = re.findall(r"[^\s\[\],'\"-][^\s\[\],'\"]*", found[1]) if found else []
    return values[0] if values else ""


def _arff(file: Path, documents: Documents, needed: Sequence[str]) -> pl.DataFrame:
    """Read a table as text, one column per attribute; null for `?`."""
    text = pl.col("text").str.strip_chars()
    is_header = text.str.contains("(?i)^@")
    lines = (
        pl.DataFrame({"text": read_text(file).split("\n")})
        .with_row_index("line", offset=1)
        .filter(text.str.contains("^[^%]"))
    )
    values = lines.filter(~is_header).select("line", "text", values=text.str.extract_all(_VALUE))
    name = text.str.extract(r"""(?i)^@attribute\s+('[^']*'|"[^"]*"|\S+)""")
    names = lines.select(_unquoted(name)).to_series().drop_nulls().to_list()
    if missing := [name for name in needed if name not in names]:
        found = f"{', '.join(names)}{suggestion(missing[0], names)}"
        raise InputError(str(file), expected=f"an attribute {missing[0]}", found=found)
    is_whole = pl.col("values").list.len() == len(names)
    documents.leave_out(values.filter(~is_whole).with_columns(file=pl.lit(file.as_posix())), f"{len(names)} values")
    cells = [
        _unquoted(pl.col("values").list.get(place).str.strip_chars()).alias(name) for place, name in enumerate(names)
    ]
    return values.filter(is_whole).select(cells).with_columns(pl.all().replace("?", None))


def _unquoted(text: pl.Expr) -> pl.Expr:
    return text.str.replace("""^'(.*)'$|^"(.*)"$""", "$1$2")

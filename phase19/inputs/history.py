"""Read recorded attempts, approvals, and the weights and outcomes of an earlier run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phase19.errors import InputError, plural
from phase19.frames import ATTEMPTS, has_run
from phase19.inputs import wire
from phase19.inputs.decoding import LINE, TEXT_HASH, check_unique, decode_document, decode_lines, decode_text
from phase19.inputs.tasks import natural_order
from phase19.inputs.thresholds import Thresholds

_IS_NUMBERED = "is_numbered"  # column: the line has a timestamp or a trial
_MANY_ALIKE = 0.1  # share of all lines
_CLOCK_MS = 0.001  # a shorter time is below the resolution of any clock that times a task


@dataclass(frozen=True, slots=True)
class Previous:
    """Weights and outcomes of an earlier run.

    Attributes
    ----------
    run_id
        The earlier run's id.
    weights
        Its final heuristic weights, by id; empty for a simulated run.
    attempts
        ATTEMPTS with source ``previous``; empty for a simulated run.
    is_simulated
        Whether it was a dry run.
    """

    run_id: str
    weights: dict[str, float]
    attempts: pl.DataFrame
    is_simulated: bool


def attempt_columns(rows: wire.Rows, source: str) -> list[pl.Expr]:
    """Expressions that convert decoded rows of any file to ATTEMPTS, and the columns that `judged_attempts` drops."""
    judged = pl.col("status").replace_strict(wire.STATUSES, return_dtype=pl.Boolean)
    is_numbered = pl.col("timestamp").is_not_null() | pl.col("trial").is_not_null()
    attempts = ATTEMPTS.fill(
        rows.dtypes,
        is_success=pl.when(~pl.col("simulated").fill_null(value=False)).then(judged),
        is_censored=pl.col("is_censored").fill_null(value=False) | (pl.col("status") == "timeout"),
        confidence_delta=pl.coalesce("confidence_delta", pl.col("confidence_after") - pl.col("confidence_before")),
        duration_ms=pl.col("execution_time_ms"),
        attempt=pl.coalesce("attempt", "attempts"),
        source=pl.lit(source),
    )
    return [*attempts, pl.col(TEXT_HASH, LINE), is_numbered.alias(_IS_NUMBERED)]


def judged_attempts(attempts: pl.DataFrame, place: str, warnings: list[str]) -> pl.DataFrame:
    """Leave out void attempts and repeated lines, add missing earlier attempts, and give times of 0 a length.

    Parameters
    ----------
    attempts
        As :func:`attempt_columns` makes them; `is_success` is null for a void or simulated attempt.
    place
        The file or directory to name in warnings.
    warnings
        Gets a text for each kind of row that was found, with their number.

    Returns
    -------
    polars.DataFrame
        ATTEMPTS.

    Notes
    -----
    Equal lines with a timestamp or a trial number are one attempt. Others may be several, so all of them count. A time
    below a microsecond, such as 0, is below the resolution of the clock: it becomes half the smallest longer time, and
    unknown where there is none. Where attempt k of a pair has more lines than attempt k - 1, the missing lines were
    failures.
    """
    is_repeated, duration_ms = ~attempts[TEXT_HASH].is_first_distinct(), pl.col("duration_ms")
    is_too_short = duration_ms < _CLOCK_MS
    again, alike = (is_repeated & attempts[_IS_NUMBERED]), (is_repeated & ~attempts[_IS_NUMBERED])
    # A filter copies all columns even if it keeps every row.
    once = (attempts.filter(~again) if again.any() else attempts).drop(TEXT_HASH, LINE, _IS_NUMBERED)
    missing = _missing_attempts(once)
    judged = once.drop_nulls("is_success") if once["is_success"].null_count() else once
    judged = pl.concat([judged, missing]) if missing.height else judged
    smallest = judged.select(duration_ms.filter(~is_too_short).min() / 2).item()
    is_much = int(alike.sum()) > _MANY_ALIKE * attempts.height
    taken = "unknown" if smallest is None else f"{smallest:g} ms, half the smallest longer time"
    found = {
        f"left out that repeat another with its timestamp or trial{_first(attempts, again)}": again.sum(),
        f"that repeat another without timestamp or trial; all count{_first(attempts, alike)}": alike.sum() * is_much,
        "left out that nobody could judge (void, error, cancelled, skipped, simulated)": once[
            "is_success"
        ].null_count(),
        "missing before later attempts of the same pair; they count as failures of unknown time": missing.height,
        f"with a time of 0 or below a microsecond; it is taken as {taken}": judged.select(is_too_short.sum()).item(),
    }
    warnings += [f"{place}: {plural(int(count), 'attempt')} {what}" for what, count in found.items() if count]
    return judged.with_columns(pl.when(is_too_short).then(smallest).otherwise(duration_ms).alias("duration_ms"))


def _first(attempts: pl.DataFrame, is_repeated: pl.Series) -> str:
    """The lines of the first repeated attempt and of the attempt that it repeats."""
    repeat = is_repeated.arg_max() or 0
    same = attempts.head(repeat + 1).filter(pl.col(TEXT_HASH) == pl.col(TEXT_HASH).last())[LINE]
    return f"; line {same[-1]} repeats line {same[0]}" if same.len() else ""


def _missing_attempts(attempts: pl.DataFrame) -> pl.DataFrame:
    """The failed attempts that later attempts of the same source, task and agent imply and no row records."""
    pair = ["source", "task_id", "agent_id"]
    later = attempts.filter(pl.col("attempt") > 1).select(pair).unique()
    attempts = attempts.join(later, on=pair, how="semi", nulls_equal=True, maintain_order="left")
    counts = attempts.group_by(*pair, "attempt").len()
    numbers = counts.group_by(pair).agg(attempt=pl.int_range(1, pl.col("attempt").max() + 1)).explode("attempt")
    gaps = (
        numbers.join(counts, on=[*pair, "attempt"], how="left", nulls_equal=True)
        .sort(*pair, "attempt")
        .with_columns(pl.col("len").fill_null(0))
        .with_columns(missing=pl.col("len").cum_max(reverse=True).over(pair) - pl.col("len"))
        .filter(pl.col("missing") > 0)
    )
    # The earliest recorded attempt of the pair says when it was, and with which risk level and category.
    first = attempts.sort("attempt", maintain_order=True).unique(pair, keep="first", maintain_order=True)
    known = first.select(*pair, "wave", "risk_level", "category", "heuristics_applied", "timestamp")
    added = gaps.select(*pair, pl.col("attempt").repeat_by("missing")).explode("attempt")
    added = added.join(known, on=pair, nulls_equal=True, maintain_order="left")
    return added.select(ATTEMPTS.fill(added.columns, is_success=pl.lit(False)))


def population_of(attempts: pl.DataFrame, *, agent_count: int = 0, wave_count: int | None = None) -> wire.Population:
    """Return the figures of Phase 18's summary as records give them: success per attempt, 0.5 without records."""
    means = attempts.select(
        pl.col("is_success").mean().fill_null(0.5),
        # Sorted: the order of records changes no digit.
        pl.col("duration_ms", "confidence_delta").sort().mean(),
    )
    success_rate, duration_ms, confidence_delta = means.row(0)
    return wire.Population(
        success_rate=success_rate,
        agent_count=agent_count,
        task_count=attempts["task_id"].n_unique(),
        wave_count=wave_count,
        retry_rate=0.0,  # the rate is over attempts, so it has no retries in it
        duration_ms=duration_ms,
        confidence_delta=confidence_delta,
    )


def read_executions(path: Path, warnings: list[str]) -> pl.DataFrame:
    """Read an ``--executions`` file: one row per attempt. Of several trials of a pair, the first one counts.

    Parameters
    ----------
    path
        JSONL or Parquet with task_id, agent_id, attempt (default: ``attempts``, else 1), status, execution_time_ms and
        the other fields of task_outcomes.jsonl.
    warnings
        As in :func:`judged_attempts`.

    Returns
    -------
    polars.DataFrame
        ATTEMPTS in file order, source ``run``.

    Raises
    ------
    InputError
        The file breaks the contract, or a (task, agent, attempt) is repeated without a timestamp or a trial number.
    """
    columns = attempt_columns(wire.EXECUTIONS, "run")
    frame: pl.DataFrame = decode_lines(path, wire.EXECUTIONS, columns).value
    key = ("task_id", "agent_id", "attempt")
    check_unique(path, frame.filter(~pl.col(_IS_NUMBERED)), key)
    attempts = judged_attempts(frame, path.name, warnings)
    first = attempts.unique(key, keep="first", maintain_order=True)
    if left_out := attempts.height - first.height:
        warnings.append(f"{path.name}: {plural(left_out, 'attempt')} left out, since a replay takes the first trial")
    return first


def read_approvals(path: Path) -> pl.Series:
    """Read an ``--approve`` file: ids of the tasks that an operator approves.

    Parameters
    ----------
    path
        One task id per line; surrounding spaces are ignored.

    Returns
    -------
    polars.Series
        Distinct ids, named ``task_id``, in file order.

    Raises
    ------
    InputError
        The file cannot be read, or a line is a JSON object.
    """
    lines = pl.Series("task_id", decode_text(path).split("\n")).str.strip_chars()
    if (is_object := lines.str.contains(r'^\{\s*"')).any():
        line = (is_object.arg_max() or 0) + 1
        raise InputError(str(path), line=line, expected="one task id, without JSON", found="a JSON object")
    return lines.filter(lines != "").unique(maintain_order=True)


def read_previous(run_dir: Path, rules: Mapping[str, float] | None = None) -> Previous:
    """Read the weights and outcomes of an earlier run (``--previous``).

    Parameters
    ----------
    run_dir
        The earlier run's output directory.
    rules
        Thresholds in force, which bound the weights; by default those of thresholds.toml.

    Returns
    -------
    Previous
        Its weights and outcomes; both are empty if the run was simulated. A task that ran gives `retry_count` failed
        attempts of unknown duration and one last attempt. If the task's time was measured, the last attempt gets an
        equal share of it.

    Raises
    ------
    InputError
        The directory contains no run, a file in it breaks the contract, or a weight is out of bounds.
    """
    path = run_dir / "optimization_summary.json"
    summary: wire.OptimizationSummary = decode_document(path, wire.OptimizationSummary).value
    if summary.simulated:
        return Previous(summary.run_id, {}, ATTEMPTS.empty(), is_simulated=True)
    weights = _weights(run_dir / "heuristic_weights.json", rules or Thresholds().rules)
    patterns = ("wave_*/*/scheduled_tasks.jsonl", "wave_*/scheduled_tasks.parquet")
    attempts = [_previous_attempts(path) for pattern in patterns for path in natural_paths(run_dir, pattern)]
    records = pl.concat([ATTEMPTS.empty(), *attempts])
    return Previous(summary.run_id, weights, records, is_simulated=False)


def natural_paths(directory: Path, pattern: str) -> list[Path]:
    """The files below a directory that match a pattern, in natural order."""
    below: Iterable[str] = (path.relative_to(directory).as_posix() for path in directory.glob(pattern))
    return [directory / name for name in natural_order(below)]


def _weights(path: Path, rules: Mapping[str, float]) -> dict[str, float]:
    """Weight by heuristic id; each must be within the rules' bounds, widened to include 1."""
    low, high = min(rules["heuristic_weight_min"], 1.0), max(rules["heuristic_weight_max"], 1.0)
    weights: dict[str, float | str] = decode_document(path, dict[wire.Id, wire.Weight | str]).value
    weights.pop("updated_at", None)
    for name, weight in weights.items():
        if isinstance(weight, str) or not low <= weight <= high:
            raise InputError(str(path), field=name, expected=f"a number in [{low:g}, {high:g}]", found=repr(weight))
    return {name: float(weight) for name, weight in weights.items()}


def _previous_attempts(path: Path) -> pl.DataFrame:
    """Attempts of the tasks that ran: each row becomes retry_count + 1 attempts."""
    rows: pl.DataFrame = decode_lines(path, wire.PREVIOUS_TASKS).value
    backwards = rows.filter(pl.col("actual_end_time") < pl.col("actual_start_time"))
    if backwards.height:
        line, start, end = backwards.select(LINE, "actual_start_time", "actual_end_time").row(0)
        expected = f"a number >= actual_start_time, {start}"
        raise InputError(str(path), line=line, field="actual_end_time", expected=expected, found=str(end))
    count = pl.col("retry_count").fill_null(0) + 1
    is_last = pl.col("attempt") == count
    attempts = rows.filter(has_run()).with_columns(attempt=pl.int_ranges(1, count + 1)).explode("attempt")
    return attempts.select(
        ATTEMPTS.fill(
            attempts.columns,
            is_success=is_last & (pl.col("status") == "completed"),
            # Older versions did not write the duration, or filled in unknown ones in a replay.
            duration_ms=pl.when(is_last & pl.col("is_duration_measured").fill_null(True)).then(
                pl.coalesce("actual_duration_ms", pl.col("actual_end_time") - pl.col("actual_start_time")) / count
            ),
            is_censored=is_last & pl.col("is_censored"),
            source=pl.lit("previous"),
        )
    )

"""What stands beside the inputs: outcomes to replay, approvals, and what an earlier run left."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from phase19.errors import InputError
from phase19.frames import ATTEMPTS, CONVERGENCE, STRINGS, has_run
from phase19.inputs import wire
from phase19.inputs.decoding import LINE, decode_document, decode_json, decode_lines, decode_text
from phase19.inputs.natural import natural_order
from phase19.inputs.readers import attempt_columns, check_unique, mark_censored
from phase19.inputs.thresholds import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Previous", "read_approvals", "read_executions", "read_previous"]


@dataclass(frozen=True, slots=True)
class Previous:
    """What an earlier run hands on; a simulated one teaches nothing.

    Attributes
    ----------
    run_id
        The earlier run's id.
    weights
        Heuristic weights it ended with.
    attempts
        ATTEMPTS with source ``previous``.
    is_simulated
        Whether it was a dry run.
    convergence
        How forecasts and outcomes lay apart in it and its predecessors, `frames.CONVERGENCE`: for show, of
        dry runs too, each row marked as what it is.
    """

    run_id: str
    weights: dict[str, float]
    attempts: pl.DataFrame
    is_simulated: bool
    convergence: pl.DataFrame = field(default_factory=CONVERGENCE.empty)


def read_executions(path: Path, censored_errors: Sequence[str] = ()) -> pl.DataFrame:
    """Read an ``--executions`` file: one row an attempt.

    Parameters
    ----------
    path
        JSONL of task_id, agent_id, attempt (default: ``attempts``, else 1), status, execution_time_ms and the
        other fields of task_outcomes.jsonl.
    censored_errors
        Error messages of attempts that a limit stopped.

    Returns
    -------
    polars.DataFrame
        ATTEMPTS in file order, source ``run``.

    Raises
    ------
    InputError
        The file breaks the contract, or a (task, agent, attempt) stands twice.
    """
    attempt = pl.coalesce("attempt", "attempts", pl.lit(1))
    frame: pl.DataFrame = decode_lines(path, wire.Execution, [*attempt_columns("run", attempt), pl.col(LINE)]).value
    check_unique(path, frame, ("task_id", "agent_id", "attempt"))
    return mark_censored(frame.drop(LINE), censored_errors)


def read_approvals(path: Path) -> pl.Series:
    """Read an ``--approve`` file: the ids of the tasks an operator approves.

    Parameters
    ----------
    path
        One task id a line, or one JSON object with task_id a line; the forms may be mixed.

    Returns
    -------
    polars.Series
        Strings named ``task_id``, each once, in file order.

    Raises
    ------
    InputError
        The file cannot be read, an object has no task_id, or an id holds control characters.
    """
    ids: dict[str, None] = {}
    for number, line in enumerate(decode_text(path).split("\n"), 1):
        text = line.strip()
        if text.startswith("{"):
            ids[decode_json(path, text, wire.Approval, line=number)[0].task_id] = None
        elif text.isprintable() or not any(unicodedata.category(character) == "Cc" for character in text):
            ids[text] = None
        else:
            expected = "a task id without control characters"
            raise InputError(str(path), line=number, field="task_id", expected=expected, found=ascii(text))
    ids.pop("", None)
    return pl.Series("task_id", list(ids), dtype=pl.String)


def read_previous(run_dir: Path, rules: Rules | None = None) -> Previous:
    """Read what an earlier run may teach this one (``--previous``).

    Parameters
    ----------
    run_dir
        The earlier run's output directory.
    rules
        The rules in force, which bound the weights; the defaults if left out.

    Returns
    -------
    Previous
        Its weights and outcomes: for each task that ran, `retry_count` failed attempts of unknown duration and the
        last one, which takes an equal share of the task's time where that was measured. None of them where the run
        was simulated; its convergence in any case.

    Raises
    ------
    InputError
        The directory is not a run's, a file in it breaks the contract, or a weight is out of bounds.
    """
    summary: wire.OptimizationSummary = decode_document(
        run_dir / "optimization_summary.json", wire.OptimizationSummary
    ).value
    convergence = _convergence(run_dir / "convergence.jsonl")
    if summary.simulated:
        return Previous(summary.run_id, {}, ATTEMPTS.empty(), is_simulated=True, convergence=convergence)
    weights = _weights(run_dir / "heuristic_weights.json", Rules() if rules is None else rules)
    below = {path.relative_to(run_dir).as_posix(): path for path in run_dir.glob("wave_*/*/scheduled_tasks.jsonl")}
    attempts = [_previous_attempts(below[name]) for name in natural_order(below)]
    taught = pl.concat([ATTEMPTS.empty(), *attempts])
    return Previous(summary.run_id, weights, taught, is_simulated=False, convergence=convergence)


def _convergence(path: Path) -> pl.DataFrame:
    """The rows of a run and its predecessors; none where the run is of before they were written."""
    if not (path.exists() or path.is_symlink()):
        return CONVERGENCE.empty()
    frame: pl.DataFrame = decode_lines(path, wire.ConvergenceRow).value
    check_unique(path, frame, CONVERGENCE.grain)
    return frame.select(*CONVERGENCE.columns)


def _weights(path: Path, rules: Rules) -> dict[str, float]:
    """One weight a heuristic, between the rules' bounds or the 1 they all start from; no time of writing."""
    low, high = min(rules.heuristic_weight_min, 1.0), max(rules.heuristic_weight_max, 1.0)
    members: dict[str, float | str] = decode_document(path, wire.HeuristicWeights).value
    members.pop("updated_at", None)
    weights = {name: weight for name, weight in members.items() if isinstance(weight, float)}
    wrong = next((name for name in members if name not in weights or not low <= weights[name] <= high), None)
    if wrong is not None:
        raise InputError(
            str(path), field=wrong, expected=f"a number in [{low:g}, {high:g}]", found=repr(members[wrong])
        )
    return weights


def _previous_attempts(path: Path) -> pl.DataFrame:
    """Every attempt of the tasks that ran: one row a task becomes retry_count + 1."""
    rows: pl.DataFrame = decode_lines(path, wire.ScheduledTask).value
    backwards = rows.filter(pl.col("actual_end_time") < pl.col("actual_start_time"))
    if backwards.height:
        line, start, end = backwards.select(LINE, "actual_start_time", "actual_end_time").row(0)
        expected = f"a number >= actual_start_time, {start}"
        raise InputError(str(path), line=line, field="actual_end_time", expected=expected, found=str(end))
    count = pl.col("retry_count").fill_null(0) + 1
    is_last = pl.col("attempt") == count
    made = {
        "is_success": is_last & (pl.col("status") == "completed"),
        # A replay fills in times that were not recorded; runs of before that was marked are taken at their word.
        "duration_ms": pl.when(is_last & pl.col("is_duration_measured").fill_null(True)).then(
            (pl.col("actual_end_time") - pl.col("actual_start_time")) / count
        ),
        "confidence_boost": pl.lit(0.0),
        "is_censored": is_last & pl.col("is_censored").fill_null(False),
        "heuristics_applied": pl.col("heuristics_applied").fill_null(pl.lit([], dtype=STRINGS)),
        "source": pl.lit("previous"),
    }
    attempts = rows.filter(has_run()).with_columns(attempt=pl.int_ranges(1, count + 1)).explode("attempt")
    made |= {name: pl.col(name) for name in attempts.columns if name not in made}
    return attempts.select(
        made.get(name, pl.lit(None, dtype=column.dtype)).alias(name) for name, column in ATTEMPTS.columns.items()
    )

"""The content of backtest.json, and the tables a reader sees of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phase19.errors import UsageError, plural
from phase19.evaluation.replay_plan import rehearse
from phase19.evaluation.time_split import split_inputs
from phase19.execution.replay import ReplayExecutor
from phase19.inputs.history import read_executions
from phase19.inputs.loading import load_inputs
from phase19.inputs.preparation import prepare
from phase19.options import BacktestOptions
from phase19.outputs.forecast_table import forecast_table
from phase19.outputs.rendering import Table
from phase19.outputs.summary import agent_assignments
from phase19.outputs.text import interval, number, percent
from phase19.planning import PlanParameters
from phase19.publishing.files import check_file_target, publish_file, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from phase19.forecasting.model import ForecastModel

__all__ = ["BacktestResult", "backtest", "backtest_tables", "headline", "run_backtest"]

SCHEMA_VERSION = "1.0"
_ORACLE_NOTE = (
    "The oracle knew every outcome before it assigned the same tasks under the same capacity: what hindsight with "
    "luck could reach, and no forecast can promise."
)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest came to.

    Attributes
    ----------
    document
        The content of backtest.json.
    executions
        Every task, planned and recorded side by side (`frames.EXECUTIONS`).
    model
        What was known before the first wave.
    warnings
        What the inputs held that was not used.
    """

    document: dict[str, Any]
    executions: pl.DataFrame
    model: ForecastModel
    warnings: tuple[str, ...]

    @property
    def forecasts(self) -> pl.DataFrame:
        """The forecast of every pair before the first wave: :func:`phase19.outputs.forecast_table.forecast_table`."""
        return forecast_table(self.model)


def backtest(
    *,
    executions: Path | str | None = None,
    split_at: str | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    **settings: Any,
) -> BacktestResult:
    """Plan on what was known, replay what happened, and measure the plan; nothing is written.

    Parameters
    ----------
    executions, split_at
        What happened: a file of recorded outcomes, or the inputs' records from a moment (ISO 8601) on; one of them.
    progress
        Called as `progress(stage, done, total)`.
    settings
        The fields of :class:`phase19.options.BacktestOptions`, as the command `backtest` takes them.

    Raises
    ------
    Phase19Error
        An input breaks the contract, a moment is none, or there is nothing to replay.

    Examples
    --------
    >>> import phase19
    >>> found = phase19.backtest(input="data/phase18", split_at="2026-01-31")  # doctest: +SKIP
    >>> found.document["success"]["gap_closed"]  # doctest: +SKIP
    """
    return _backtest(BacktestOptions.of(executions=executions, split_at=split_at, **settings), progress)


def run_backtest(
    options: BacktestOptions,
    target: Path,
    *,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> BacktestResult:
    """Backtest a plan and write what came of it.

    Parameters
    ----------
    options
        Inputs, and what the plans are asked for.
    target
        The JSON file to write, whole or not at all.
    progress
        As of :func:`backtest`.
    """
    check_file_target(target, (options.input, options.phase16_dir, options.phase17_dir, options.executions))
    result = _backtest(options, progress)
    with publish_file(target) as path:
        write_json(path, result.document)
    return result


def _backtest(
    options: BacktestOptions,
    progress: Callable[[str, int, int], None],
) -> BacktestResult:
    made_at = options.timestamp or datetime.now(UTC)
    moment = options.split_at
    inputs = load_inputs(options.input, options.phase16_dir, options.phase17_dir, options.censored_errors)
    if options.executions is not None:
        replayed = read_executions(options.executions, options.censored_errors)
    elif moment is not None:
        inputs, replayed = split_inputs(inputs, moment)
    model, heuristics = prepare(inputs, waves=options.waves, agents=options.agents)
    parameters = PlanParameters.of(options, heuristics).within(ReplayExecutor(replayed).most_attempts)
    rehearsal = rehearse(model, replayed, parameters, seed=options.seed, progress=progress)
    if not rehearsal.found.scores.pair_count:
        raise UsageError(
            f"{options.executions or '--split-at'}: expected records of the run's tasks and agents, found none"
        )
    document = {
        "phase": 19,
        "timestamp": _iso(made_at),
        "schema_version": SCHEMA_VERSION,
        "optimization_strategy": str(options.strategy),
        "max_retries": parameters.max_retries,
        "seed": options.seed,
        "split_at": None if moment is None else moment.isoformat().replace("+00:00", "Z"),
        "total_tasks": model.tasks.height,
        "total_agents": model.agents.height,
        "total_waves": len(rehearsal.found.waves),
        "history_record_count": inputs.attempts.height,
        "replayed_record_count": replayed.height,
        "pair_count": model.tasks.height * model.agents.height,
        **asdict(rehearsal.found),
        "plan": [
            {"wave": wave, "agent_assignments": agent_assignments(rehearsal.executions, wave, model.agents["agent_id"])}
            for wave in range(1, len(rehearsal.found.waves) + 1)
        ],
        "notes": {"oracle": _ORACLE_NOTE},
    }
    return BacktestResult(document, rehearsal.executions, model, inputs.warnings)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def headline(document: dict[str, Any]) -> str:
    """What was tested, in one line."""
    sizes = ", ".join(plural(document[f"total_{noun}s"], noun) for noun in ("task", "agent", "wave"))
    return (
        f"Backtest: {sizes}, {document['optimization_strategy']}; the records answer "
        f"{percent(document['observed_share'])} of the plan, {document['scores']['pair_count']:,} of "
        f"{plural(document['pair_count'], 'pair')}"
    )


def backtest_tables(document: dict[str, Any]) -> tuple[Table, ...]:
    """What was found, as tables: yardsticks, losses, waves, scores, reliability."""
    success, overall, scores = (document[key] for key in ("success", "overall", "scores"))
    single = success["best_single_agent_id"]
    yardsticks = (
        ("round robin, mean of rotations", "round_robin", number(document["round_robin_makespan_ms"], 0)),
        ("plan", "plan", number(overall["makespan_ms"], 0)),
        ("best single agent, uncapped" + (f" ({single})" if single else ""), "best_single_agent", ""),
        ("oracle, hindsight with luck", "oracle", ""),
        ("share of the gap closed", "gap_closed", ""),
    )
    reliability = [row for row in scores["reliability"] if row["count"]]
    return (
        Table(
            ("realised success", "rate", "makespan ms"),
            tuple((name, percent(success[key]), makespan) for name, key, makespan in yardsticks),
        ),
        Table(
            ("lost against the oracle", "rate"),
            tuple(
                (key.replace("_", " "), percent(document["losses"][key]))
                for key in ("forecast_error", "constraints", "luck", "total")
            ),
        ),
        Table(
            ("wave", "planned success", "actual success", "90 % interval", "covers", "observed"),
            tuple(map(_wave_row, (*document["waves"], overall))),
        ),
        Table(
            ("forecasts of recorded pairs", "value"),
            tuple(
                (key.replace("_", " "), number(scores[key]))
                for key in ("brier_score", "log_loss", "skill", "base_rate")
            ),
        ),
        Table(
            ("forecast", "mean forecast", "mean outcome", "pairs"),
            tuple(
                (
                    interval(row["low"], row["high"]),
                    number(row["mean_forecast"]),
                    number(row["mean_outcome"]),
                    number(row["count"], 0),
                )
                for row in reliability
            ),
        ),
    )


def _wave_row(wave: dict[str, Any]) -> tuple[str, ...]:
    return (
        "all" if wave["wave"] is None else str(wave["wave"]),
        percent(wave["planned_success_rate"]),
        percent(wave["actual_success_rate"]),
        interval(wave["success_rate_low"], wave["success_rate_high"]),
        {True: "yes", False: "no", None: ""}[wave["is_covered"]],
        f"{wave['observed_count']:,} of {wave['task_count']:,}",
    )

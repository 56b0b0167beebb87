"""Commands that evaluate forecasts and plans. Each imports what it needs when it runs."""

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from msgspec import Meta

from phase19.arguments import converted
from phase19.cli import screen
from phase19.cli.parsing import Count, OutputFile, takes_options, warn
from phase19.cli.rows import Format, Limit, print_rows
from phase19.errors import OutputError, UsageError
from phase19.options import BacktestOptions, CompareOptions, InputOptions

if TYPE_CHECKING:
    import polars as pl

    from phase19.outputs.rendering import Table


@takes_options
def forecast(
    options: InputOptions, *, output: OutputFile = None, format: Format = "table", limit: Limit = None
) -> None:
    """Forecast the first attempt of every task by every agent.

    Parameters
    ----------
    output
        Write all columns to this file, which ends in .csv, .jsonl or .parquet; print nothing.
    format
        Print a table, comma-separated values or one JSON object per line.
    limit
        Print at most this many rows, 0 for all; by default 100 in a table, all otherwise.
    """
    if output is not None and output.suffix not in {".csv", ".jsonl", ".parquet"}:
        raise UsageError(f"--output: expected a file that ends in .csv, .jsonl or .parquet, found {output}")
    if output is not None and (format != "table" or limit is not None):
        raise UsageError("--output cannot be combined with --format or --limit")
    from phase19.forecasting.model import forecast_table
    from phase19.inputs.loading import load_inputs
    from phase19.optimizer import AdaptiveOptimizer
    from phase19.publishing.files import check_file_target, write_files

    if output is not None:
        check_file_target(output, options.sources)
    inputs = load_inputs(*options.sources)
    warn(inputs.warnings)
    table = forecast_table(AdaptiveOptimizer(inputs=inputs).model)
    if output is None:
        print_rows(table, format, limit, as_table=_readable_forecasts)
    else:
        write_files(output.parent, {output.name: table})


def _readable_forecasts(forecasts: "pl.DataFrame") -> "Table":
    """A table of forecasts in units that people use; the confidence gain is left out."""
    from phase19.outputs.rendering import Table, records_table

    keys = "task_id agent_id wave success_probability success_low success_high duration_ms_p50 duration_ms_p90"
    success = ("success of\nfirst attempt", "likely\nfrom", "likely\nto")
    header = ("task", "agent", "wave", *success, "typical\ntime", "90 % end\nwithin", "recorded\nattempts")
    return Table(header, records_table(forecasts.to_dicts(), f"{keys} record_count").rows, labels=2)


@takes_options
def backtest(options: BacktestOptions, *, output: OutputFile = None) -> None:
    """Plan from earlier records, replay later ones, and measure the plan.

    Parameters
    ----------
    output
        The file to write; backtest.json beside the input by default.
    """
    from phase19.evaluation.backtest import backtest as evaluate

    target = _target(options, output, "backtest.json", "phase", options.executions)
    with screen.wave_progress(sys.stderr) as progress:
        result = evaluate(options, progress=progress)
    _publish_evaluation(result, result.document, target)


@takes_options
def compare(options: CompareOptions, *, output: OutputFile = None) -> None:
    """Compare all strategies, with the same random numbers, and recommend one.

    Parameters
    ----------
    output
        The file to write; strategy_comparison.jsonl beside the input by default.
    """
    from phase19.evaluation.compare import compare as evaluate

    target = _target(options, output, "strategy_comparison.jsonl", "strategy")
    result = evaluate(options)
    _publish_evaluation(result, result.table, target)


def sweep(
    grid: Path,
    /,
    *,
    engine: Literal["local", "dask"] = "local",
    workers: Annotated[Count | None, Parameter(show_default=False)] = None,
    scheduler: Annotated[str | None, Parameter(show_default=False)] = None,
    output: OutputFile = None,
) -> None:
    """Run every combination of inputs, options and seeds of a grid, and summarise each setting.

    Parameters
    ----------
    grid
        A TOML file with the options of all runs in [options], and lists of values in [vary].
    engine
        Use processes of this machine, or a Dask cluster.
    workers
        Number of processes; by default one per processor.
    scheduler
        Address of the scheduler of a Dask cluster that runs, such as tcp://host:8786.
    output
        The directory to write; NAME-sweep beside NAME.toml by default. A second start skips finished runs.
    """
    if scheduler is not None and (engine != "dask" or workers is not None):
        raise UsageError("--scheduler needs --engine dask, and cannot be combined with --workers")
    wanted = (os.cpu_count() or 1) if workers is None else workers
    count = converted("--workers", Annotated[int, Meta(ge=1, le=1_000)], wanted)
    from phase19.evaluation.engines import run_locally, run_on_dask
    from phase19.evaluation.sweep import sweep as evaluate

    chosen = partial(run_on_dask, scheduler=scheduler) if engine == "dask" else run_locally
    with screen.wave_progress(sys.stderr) as progress:
        result = evaluate(grid, partial(chosen, workers=count), output=output, progress=progress)
    warn(result.warnings)
    screen.show(result.section.blocks, title=result.section.title, results=str(result.directory))


def _target(options: InputOptions, output: Path | None, name: str, first_key: str, *sources: Path | None) -> Path:
    """The file to write: `output`, or else `name` beside the input, if no file but an earlier result is there."""
    from phase19.publishing.files import check_file_target, write_errors

    target = output or options.beside_input(name)
    check_file_target(target, (*options.sources, *sources))
    if output is None and target.exists():
        with write_errors(target), target.open(encoding="utf-8", errors="replace") as file:
            is_ours = re.match(rf'\{{\s*"{first_key}":', file.read(100))
        if not is_ours:
            raise OutputError(f"{target}: found a file of yours, which is not replaced; choose another with --output")
    return target


def _publish_evaluation(result: Any, content: Any, target: Path) -> None:
    from phase19.publishing.files import write_files

    write_files(target.parent, {target.name: content})
    warn(result.warnings)
    screen.show(result.section.blocks, title=result.section.title, results=str(target))

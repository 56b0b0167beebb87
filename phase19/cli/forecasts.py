"""The commands that show what is forecast and judge it: `forecast` and `backtest`."""

# The parser reads the annotations of a command when it is made, so they are not postponed in this module.
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from phase19.cli.options import (
    DONE,
    EXECUTING,
    INPUTS,
    OUTPUT,
    PLANNING,
    WEIGHTS,
    CensoredErrors,
    Factor,
    Flag,
    InputDir,
    InputPath,
    Limit,
    Strategy,
    Whole,
    tell,
)
from phase19.errors import UsageError
from phase19.options import OptimizationStrategy, RunOptions

__all__ = ["backtest", "forecast"]

OutputFile = Annotated[Path | None, Parameter(group=OUTPUT)]


def forecast(
    *,
    input: InputDir,
    phase16: InputPath = None,
    phase17: InputPath = None,
    censored_errors: CensoredErrors = None,
    output: OutputFile = None,
) -> int:
    """Forecast the first attempt of every task by every agent.

    Parameters
    ----------
    input
        Phase 18's directory.
    phase16
        Phase 16's directory; phase16 beside the input by default.
    phase17
        Phase 17's directory; phase17 beside the input by default.
    censored_errors
        Error messages of attempts that a limit stopped, parted by commas.
    output
        A file that ends in .jsonl or .parquet; JSONL on stdout by default.
    """
    options = RunOptions.of(input=input, phase16=phase16, phase17=phase17, censored_errors=censored_errors)
    if output is not None and output.suffix not in {".jsonl", ".parquet"}:
        raise UsageError(f"--output: expected a file that ends in .jsonl or .parquet, found {output}")
    from phase19.inputs.loading import load_inputs
    from phase19.inputs.preparation import first_model
    from phase19.outputs.forecast_table import forecast_table
    from phase19.publishing.files import check_file_target, publish_file

    if output is not None:
        check_file_target(output, (input, options.phase16_dir, options.phase17_dir))
    inputs = load_inputs(input, options.phase16_dir, options.phase17_dir, options.censored_errors)
    tell(f"warning: {warning}" for warning in inputs.warnings)
    table = forecast_table(first_model(inputs))
    if output is None:
        print(table.write_ndjson(), end="")
        return DONE
    with publish_file(output) as path:
        if output.suffix == ".parquet":
            table.write_parquet(path)
        else:
            table.write_ndjson(path)
    return DONE


def backtest(
    *,
    input: InputDir,
    phase16: InputPath = None,
    phase17: InputPath = None,
    executions: InputPath = None,
    split_at: Annotated[str | None, Parameter(group=INPUTS)] = None,
    censored_errors: CensoredErrors = None,
    strategy: Strategy = OptimizationStrategy.MAXIMIZE_SUCCESS,
    weights: Annotated[str, Parameter(group=PLANNING)] = WEIGHTS,
    waves: Limit = None,
    agents: Limit = None,
    capacity: Limit = None,
    max_load_factor: Factor = None,
    max_retries: Annotated[int, Whole, Parameter(group=PLANNING)] = 0,
    seed: Annotated[int, Whole, Parameter(group=EXECUTING)] = 0,
    timestamp: Annotated[str | None, Parameter(group=EXECUTING)] = None,
    output: OutputFile = None,
    json: Flag = False,
) -> int:
    """Plan on what was known, replay what happened, and measure the plan.

    Parameters
    ----------
    input
        Phase 18's directory.
    phase16
        Phase 16's directory; phase16 beside the input by default.
    phase17
        Phase 17's directory; phase17 beside the input by default.
    executions
        What happened, as recorded outcomes; all the inputs' records are history.
    split_at
        What happened, as the inputs' records from this moment on; those before it alone are history.
    censored_errors
        Error messages of attempts that a limit stopped, parted by commas.
    strategy
        What the assignment maximises.
    weights
        Weights of the score's terms, for the weighted strategy.
    waves
        Deal the tasks into this many even waves.
    agents
        Use the first N agents.
    capacity
        Tasks an agent may get in a wave.
    max_load_factor
        Longest planned time of an agent, in means over the agents.
    max_retries
        Retries of a task of LOW or MEDIUM risk.
    seed
        Fixes every draw.
    timestamp
        Fixes the timestamp, as 2026-02-05T12:00:00Z.
    output
        The file to write; backtest.json beside the input by default.
    json
        Print what is written instead of tables.
    """
    settings = dict(locals())
    for name in ("executions", "split_at", "json"):
        del settings[name]
    options = RunOptions.of(**settings)
    from phase19.cli.screen import WaveProgress, print_backtest
    from phase19.evaluation.backtest import run_backtest

    target = output if output is not None else options.output_dir.with_name("backtest.json")
    with WaveProgress() as progress:
        result = run_backtest(options, target, executions=executions, split_at=split_at, progress=progress)
    tell(f"warning: {warning}" for warning in result.warnings)
    if json:
        print(target.read_text("utf-8"), end="")
    else:
        print_backtest(result.document, target, sys.stdout)
    return DONE

"""Commands that evaluate forecasts and plans. Each imports what it needs when it runs."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, takes_options, warn
from phase19.errors import OutputError, UsageError
from phase19.options import BacktestOptions, CompareOptions, InputOptions

OutputFile = Annotated[Path | None, OUTPUT]


@takes_options
def forecast(options: InputOptions, *, output: OutputFile = None) -> None:
    """Forecast the first attempt of every task by every agent.

    Parameters
    ----------
    output
        A file that ends in .jsonl or .parquet; JSONL on stdout by default.
    """
    if output is not None and output.suffix not in {".jsonl", ".parquet"}:
        raise UsageError(f"--output: expected a file that ends in .jsonl or .parquet, found {output}")
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
        print(table.write_ndjson(), end="")
    else:
        write_files(output.parent, {output.name: table})


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

"""The command that sets strategies side by side: `compare`."""

# The parser reads the annotations of a command when it is made, so they are not postponed in this module.
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from phase19.cli.options import (
    DONE,
    EXECUTING,
    OUTPUT,
    PLANNING,
    WEIGHTS,
    CensoredErrors,
    Factor,
    Flag,
    InputDir,
    InputPath,
    Limit,
    Switch,
    Whole,
    tell,
)
from phase19.options import RunOptions

__all__ = ["compare"]


def compare(
    *,
    input: InputDir,
    phase16: InputPath = None,
    phase17: InputPath = None,
    censored_errors: CensoredErrors = None,
    weights: Annotated[str, Parameter(group=PLANNING)] = WEIGHTS,
    waves: Limit = None,
    agents: Limit = None,
    capacity: Limit = None,
    max_load_factor: Factor = None,
    max_retries: Annotated[int, Whole, Parameter(group=PLANNING)] = 2,
    explore: Annotated[bool, Switch, Parameter(group=PLANNING)] = False,
    executor: Annotated[Literal["simulate", "replay"], Parameter(group=EXECUTING)] = "simulate",
    executions: Annotated[Path | None, Parameter(group=EXECUTING)] = None,
    seed: Annotated[int, Whole, Parameter(group=EXECUTING)] = 0,
    timestamp: Annotated[str | None, Parameter(group=EXECUTING)] = None,
    output: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    json: Flag = False,
) -> int:
    """Set every strategy side by side, with the same luck, and recommend one.

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
    explore
        Favour agents of whom little is known.
    executor
        Dry run, or recorded outcomes.
    executions
        Recorded outcomes to replay.
    seed
        Fixes every draw.
    timestamp
        Fixes the timestamp, as 2026-02-05T12:00:00Z.
    output
        The file to write; strategy_comparison.jsonl beside the input by default.
    json
        Print what is written instead of tables.
    """
    settings = dict(locals())
    del settings["json"]
    options = RunOptions.of(**settings)
    from phase19.cli.screen import WaveProgress, print_comparison
    from phase19.evaluation.compare import run_comparison

    target = output if output is not None else options.output_dir.with_name("strategy_comparison.jsonl")
    with WaveProgress() as progress:
        comparison = run_comparison(options, target, progress=progress)
    tell(f"warning: {warning}" for warning in comparison.warnings)
    if json:
        print(target.read_text("utf-8"), end="")
    else:
        print_comparison(comparison, target, sys.stdout)
    return DONE

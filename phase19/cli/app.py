"""The command line: options in, exit codes out; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import gc
import os
import sys
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from phase19 import __version__
from phase19.cli import compare as cli_compare
from phase19.cli import forecasts as cli_forecasts
from phase19.cli import runs as cli_runs
from phase19.cli.options import (
    DONE,
    EXECUTING,
    OUTPUT,
    PLANNING,
    WEIGHTS,
    CensoredErrors,
    Count,
    Factor,
    Flag,
    InputDir,
    InputPath,
    Limit,
    Strategy,
    Switch,
    Whole,
    discard,
    refuse_empty,
    tell,
)
from phase19.errors import Phase19Error, UsageError
from phase19.options import OptimizationStrategy, RunOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

__all__ = ["app", "main"]

BAD_INPUT, INTERRUPTED = 2, 130
OPTION_NAMES = RunOptions.__dataclass_fields__.keys()

app = App(
    name="phase19",
    help="Forecast, assign, schedule and learn: the optimisation phase of a multi-agent system.",
    version=__version__,
    default_parameter=Parameter(negative=(), show_choices=True),
    help_format="plaintext",
    help_formatter="plain",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)


@app.default
@app.command(sort_key=1)
def run(
    *,
    input: InputDir,
    phase16: InputPath = None,
    phase17: InputPath = None,
    previous: InputPath = None,
    thresholds: InputPath = None,
    censored_errors: CensoredErrors = None,
    strategy: Strategy = OptimizationStrategy.MAXIMIZE_SUCCESS,
    weights: Annotated[str, Parameter(group=PLANNING)] = WEIGHTS,
    waves: Limit = None,
    agents: Limit = None,
    capacity: Limit = None,
    allow_unassigned: Annotated[bool, Switch, Parameter(group=PLANNING)] = False,
    max_load_factor: Factor = None,
    max_retries: Annotated[int, Whole, Parameter(group=PLANNING)] = 2,
    explore: Annotated[bool, Switch, Parameter(group=PLANNING)] = False,
    executor: Annotated[Literal["simulate", "replay", "live"], Parameter(group=EXECUTING)] = "simulate",
    executions: Annotated[Path | None, Parameter(group=EXECUTING)] = None,
    approve: Annotated[Path | None, Parameter(group=EXECUTING)] = None,
    require_approval: Annotated[bool, Switch, Parameter(group=EXECUTING)] = False,
    seed: Annotated[int, Whole, Parameter(group=EXECUTING)] = 0,
    timestamp: Annotated[str | None, Parameter(group=EXECUTING)] = None,
    output: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    deliver_feedback: Flag = False,
    json: Flag = False,
    quiet: Flag = False,
    verbose: Flag = False,
) -> int:
    """Plan, execute and compare the next waves; the default command.

    Parameters
    ----------
    input
        Phase 18's directory.
    phase16
        Phase 16's directory; phase16 beside the input by default.
    phase17
        Phase 17's directory; phase17 beside the input by default.
    previous
        An earlier run to carry weights, outcomes and convergence forward from.
    thresholds
        TOML that replaces thresholds; docs/thresholds.toml lists them with their defaults.
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
    allow_unassigned
        Leave out tasks that no agent has room for, and say why.
    max_load_factor
        Longest planned time of an agent, in means over the agents.
    max_retries
        Retries of a task of LOW or MEDIUM risk.
    explore
        Favour agents of whom little is known.
    executor
        Dry run, recorded outcomes, or real executions (from Python only).
    executions
        Recorded outcomes to replay.
    approve
        Ids of approved tasks, one a line.
    require_approval
        Ask an approval for tasks of MEDIUM risk too.
    seed
        Fixes every draw.
    timestamp
        Fixes every timestamp, as 2026-02-05T12:00:00Z.
    output
        The run directory; phase19 beside the input by default.
    deliver_feedback
        Append the feedback to Phase 16's and Phase 18's directories.
    json
        Print the summary as one JSON object.
    quiet
        Print nothing.
    verbose
        Print how long each stage took.
    """
    if quiet and (json or verbose):
        raise UsageError("--quiet goes with neither --json nor --verbose, found both")
    options = RunOptions.of(**{name: value for name, value in locals().items() if name in OPTION_NAMES})
    from phase19 import harness
    from phase19.cli.screen import WaveProgress, print_run
    from phase19.publishing.files import SUMMARY_FILE, read_run

    with WaveProgress() as progress:
        result = harness.run(options, progress=progress)
    if not quiet:
        tell(f"warning: {warning}" for warning in result.warnings)
        if verbose:
            tell(f"{stage}: {seconds * 1000:.0f} ms" for stage, seconds in result.stage_seconds.items())
        if json:
            print((result.run_dir / SUMMARY_FILE).read_text("utf-8"), end="")
        else:
            print_run(read_run(result.run_dir), result.run_dir, sys.stdout)
    return INTERRUPTED if result.is_interrupted else DONE


@app.command(sort_key=2)
def validate(*, input: InputDir, phase16: InputPath = None, phase17: InputPath = None, json: Flag = False) -> int:
    """Read and check every input, and write nothing.

    Parameters
    ----------
    input
        Phase 18's directory.
    phase16
        Phase 16's directory; phase16 beside the input by default.
    phase17
        Phase 17's directory; phase17 beside the input by default.
    json
        Print what was found as one JSON object.
    """
    import msgspec

    from phase19.cli.screen import print_inputs
    from phase19.inputs.loading import load_inputs

    options = RunOptions(input=input, phase16=phase16, phase17=phase17)
    inputs = load_inputs(input, options.phase16_dir, options.phase17_dir)
    tell(f"warning: {warning}" for warning in inputs.warnings)
    if json:
        found = {
            "task_count": inputs.tasks.height,
            "task_source": inputs.task_source,
            "agent_count": inputs.agents.height,
            "attempt_count": inputs.attempts.height,
            "sources": inputs.sources.to_dicts(),
            "warnings": inputs.warnings,
        }
        print(msgspec.json.encode(found).decode())
    else:
        print_inputs(inputs, sys.stdout)
    return DONE


app.command(cli_forecasts.forecast, sort_key=3)
app.command(cli_forecasts.backtest, sort_key=4)
app.command(cli_compare.compare, sort_key=5)
app.command(cli_runs.query, sort_key=6)
app.command(cli_runs.explain, sort_key=7)
app.command(cli_runs.report, sort_key=8)


@app.command(sort_key=9)
def sample(directory: Path, /, *, tasks: Count = 1000, agents: Count = 20, waves: Count = 5, seed: Count = 0) -> int:
    """Generate Phase 16, 17 and 18 inputs of any size.

    Parameters
    ----------
    directory
        Where the directories phase16, phase17 and phase18 appear.
    tasks
        Number of tasks.
    agents
        Number of agents.
    waves
        Number of waves.
    seed
        Fixes every draw.
    """
    from phase19.inputs.sample import write_sample

    write_sample(directory, tasks=tasks, agents=agents, waves=waves, seed=seed)
    print(directory)
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 2 bad usage, input or output, 130 interrupted. A bug raises."""
    # Where the caller closed a stream there is none.
    sys.stdout, sys.stderr = (stream or TextIOWrapper(FileIO(os.devnull, "w")) for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # ids are any text, a terminal's encoding may not be
    given = sys.argv[1:] if arguments is None else list(arguments)
    # The same last digits on every machine, and no threads that wait for one another over small matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Half of a short run is imports, which make many objects and no cycles worth looking for.
    gc.set_threshold(200_000, 20, 20)
    try:
        refuse_empty(given)
        if given and not given[0].startswith("-") and given[0] not in app:
            raise UsageError(f"expected a command or an option, found {given[0]!r}; see --help")
        code: int | None = app(given, console=_console(given))  # None after --help and --version
        sys.stdout.flush()
    except (CycloptsError, Phase19Error) as problem:
        tell([f"error: {problem}"])
        return BAD_INPUT
    except KeyboardInterrupt:
        tell(["interrupted: nothing was written"])
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)  # the reader left
        return DONE
    except OSError as problem:
        if problem.filename is not None:  # a stream has no name
            raise
        discard(sys.stdout)
        tell([f"error: the output cannot be written: {problem.strerror}"])
        return BAD_INPUT
    return code or DONE


def _console(arguments: Sequence[str]) -> Console | None:
    """The console for help, of the terminal's or a fixed width; commands make their own when they print."""
    if not {"--help", "-h", "--version"}.intersection(arguments):
        return None
    from phase19.cli.screen import console_for

    return console_for(sys.stdout)

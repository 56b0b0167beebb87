"""The commands. Each imports what it needs when it runs, so that the others start fast."""

import ctypes
import gc
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from io import FileIO, TextIOWrapper
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from phase19 import __version__
from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, Count, Flag, discard, print_errors, takes_options
from phase19.errors import InvalidInputsError, Phase19Error, UsageError, printable, suggestion
from phase19.options import BacktestOptions, CompareOptions, InputOptions, RunOptions

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
_TABLE_OPTIONS = (
    *("task", "agent", "success", "duration", "category", "timestamp", "attempt", "trial", "void", "error"),
    "threshold",
)
DEFAULT_RUN = Path("outputs/phase19")
OutputFile = Annotated[Path | None, OUTPUT]

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
@takes_options
def run(options: RunOptions, *, json: Flag = False, quiet: Flag = False, verbose: Flag = False) -> int:
    """Plan, execute and compare the next waves; the default command.

    Parameters
    ----------
    json
        Print the summary as one JSON object.
    quiet
        Print nothing.
    verbose
        Also print the five metrics.
    """
    if quiet and (json or verbose):
        raise UsageError("--quiet cannot be combined with --json or --verbose")
    from phase19 import harness
    from phase19.publishing.files import SUMMARY_FILE

    with screen.wave_progress(sys.stderr) as progress:
        result = harness.run(options, progress=progress)
    if not quiet:
        _warn(result.warnings)
        if json:
            print((result.run_dir / SUMMARY_FILE).read_text("utf-8"), end="")
        else:
            screen.print_run(result.run_dir, is_verbose=verbose)
    return INTERRUPTED if result.is_interrupted else DONE


@app.command(sort_key=2)
@takes_options
def validate(options: InputOptions) -> None:
    """Check every input, and that every wave can be planned; write nothing."""
    from phase19.inputs.loading import load_inputs
    from phase19.optimizer import AdaptiveOptimizer

    inputs = load_inputs(*options.sources, most_errors=20)
    _warn(inputs.warnings)
    AdaptiveOptimizer(inputs=inputs).check_waves()
    screen.print_inputs(inputs)


@app.command(sort_key=3)
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
    _warn(inputs.warnings)
    table = forecast_table(AdaptiveOptimizer(inputs=inputs).model)
    if output is None:
        print(table.write_ndjson(), end="")
    else:
        write_files(output.parent, {output.name: table})


@app.command(sort_key=4)
@takes_options
def backtest(options: BacktestOptions, *, output: OutputFile = None) -> None:
    """Plan from earlier records, replay later ones, and measure the plan.

    Parameters
    ----------
    output
        The file to write; backtest.json beside the input by default.
    """
    from phase19.evaluation.backtest import backtest as evaluate
    from phase19.publishing.files import check_file_target

    target = output or options.beside_input("backtest.json")
    check_file_target(target, (*options.sources, options.executions))
    with screen.wave_progress(sys.stderr) as progress:
        result = evaluate(options, progress=progress)
    _publish_evaluation(result, result.document, target)


@app.command(sort_key=5)
@takes_options
def compare(options: CompareOptions, *, output: OutputFile = None) -> None:
    """Compare all strategies, with the same random numbers, and recommend one.

    Parameters
    ----------
    output
        The file to write; strategy_comparison.jsonl beside the input by default.
    """
    from phase19.evaluation.compare import compare as evaluate
    from phase19.publishing.files import check_file_target

    target = output or options.beside_input("strategy_comparison.jsonl")
    check_file_target(target, options.sources)
    result = evaluate(options)
    _publish_evaluation(result, result.table, target)


@app.command(sort_key=6)
def query(
    sql: str | None = None,
    /,
    *,
    run: Annotated[tuple[Path, ...], Parameter(show_default=lambda runs: " ".join(map(str, runs)))] = (DEFAULT_RUN,),
    format: Literal["table", "csv", "jsonl"] = "table",
) -> None:
    """Query runs in SQL, using the views of sql/views.sql; runs are not changed.

    Parameters
    ----------
    sql
        One select statement; by default, list the views and their columns.
    run
        A run directory; may be given several times.
    format
        Print a table, comma-separated values or one JSON object per line.
    """
    from phase19.analysis.querying import json_lines, select

    question = "from view_columns" if sql is None else sql
    if format == "csv":
        print(select(run, question).write_csv(), end="")
    elif format == "jsonl":
        print(json_lines(run, question), end="")
    else:
        screen.print_frame(select(run, question))


@app.command(sort_key=7)
def explain(task: str, /, *, run: Path = DEFAULT_RUN, json: Flag = False) -> None:
    """Explain why a task was assigned to its agent, by what margin, and how it ended.

    Parameters
    ----------
    task
        The task's id.
    run
        The run directory.
    json
        Print all figures of the task as one JSON object instead.
    """
    from phase19.outputs import explain as explaining

    found = explaining.explain(run, task)
    if json:
        print(dumps(found))
    else:
        screen.show(explaining.sentences(found))


@app.command(sort_key=8)
def report(*, run: Path = DEFAULT_RUN) -> None:
    """Rebuild a run's report, as Markdown and HTML.

    Parameters
    ----------
    run
        The run directory.
    """
    from phase19.outputs.report import rebuild_report

    print(*(printable(str(path)) for path in rebuild_report(run)), sep="\n")


@app.command(name="import", sort_key=3)
def import_(
    format: Literal["table", "terminal-bench", "harbor", "swebench", "aslib", "openhands", "lm-eval", "inspect"],
    *paths: Path,
    output: Annotated[Path, Parameter(group=OUTPUT.group, required=True)],
    task: str | None = None,
    agent: str | None = None,
    success: str | None = None,
    duration: str | None = None,
    category: str | None = None,
    timestamp: str | None = None,
    attempt: str | None = None,
    trial: str | None = None,
    void: str | None = None,
    error: str | None = None,
    threshold: float | None = None,
    drop_torn_lines: bool = False,
) -> None:
    """Import the logs of your own agents: write an input directory for the other commands.

    Parameters
    ----------
    format
        Format of the logs.
    paths
        Files or folders to import. A table is a .csv, .tsv, .jsonl, .json or .parquet file.
    output
        The input directory to write; it must not exist, or be empty.
    task
        Column with the task. Without --task, --agent and --success, the command proposes columns.
    agent
        Column with the agent that tried it.
    success
        Column that says whether it succeeded.
    duration
        Column and unit of the time, such as seconds:s (units ms, s, min, h), or two columns of times: START,END.
    category
        Column with the kind of task.
    timestamp
        Column with the time of the attempt.
    attempt
        Column with the number of the attempt among retries: 1, 2, ...
    trial
        Column with the number of the independent trial.
    void
        Column that marks attempts which nobody could judge.
    error
        Column with the error message.
    threshold
        Count a success column of numbers as success from this value on.
    drop_torn_lines
        Leave out lines that are no rows, and count them.
    """
    from phase19.inputs.importers import attempts as importing

    given = {name: value for name, value in locals().items() if name in _TABLE_OPTIONS and value is not None}
    if not paths:
        raise UsageError("expected at least one file or folder to import, found none")
    if format == "table":
        imported = _import_table(paths, output, given, drop_torn_lines=drop_torn_lines)
    else:
        if given:
            raise UsageError(f"--{', --'.join(given)}: only for `import table`, found {format}")
        module = "inspect_ai" if format == "inspect" else format.replace("-", "_")
        importer = import_module(f"phase19.inputs.importers.{module}")
        imported = importer.read(paths, drop_torn_lines=drop_torn_lines)
    counts = importing.write_inputs(imported, output)
    screen.print_import(counts, imported.unmapped, output)


def _import_table(paths: Sequence[Path], output: Path, given: dict[str, Any], *, drop_torn_lines: bool) -> Any:
    from phase19.inputs.importers import table

    if not {"task", "agent", "success"} <= given.keys():
        proposed = table.propose(paths[0]) | {role: name for role, name in given.items() if role != "threshold"}
        options = " ".join(f"--{role} {shlex.quote(str(column))}" for role, column in proposed.items())
        if missing := [f"--{role}" for role in ("task", "agent", "success") if role not in proposed]:
            raise UsageError(f"{paths[0]}: name the columns: no column looks like one for {', '.join(missing)}")
        files = " ".join(shlex.quote(str(path)) for path in (*paths, "--output", output))
        raise UsageError(f"name the columns, for example: python -m phase19 import table {files} {options}")
    return table.read_table(paths, table.TableColumns(**given), drop_torn_lines=drop_torn_lines)


@app.command(sort_key=9)
def sample(directory: Path, /, *, tasks: Count = 1000, agents: Count = 20, waves: Count = 5, seed: Count = 0) -> None:
    """Generate Phase 16, 17 and 18 inputs of any size.

    Parameters
    ----------
    directory
        Directory in which phase16, phase17 and phase18 are created.
    tasks
        Number of tasks.
    agents
        Number of agents.
    waves
        Number of waves.
    seed
        Seed of the random numbers: the same seed gives the same files.
    """
    from phase19.inputs.sample import write_sample

    write_sample(directory, tasks=tasks, agents=agents, waves=waves, seed=seed)
    print(printable(str(directory)))


def _publish_evaluation(result: Any, content: Any, target: Path) -> None:
    from phase19.publishing.files import write_files

    write_files(target.parent, {target.name: content})
    _warn(result.warnings)
    screen.show(result.section.blocks, title=result.section.title, results=str(target))


def _warn(warnings: Iterable[str]) -> None:
    print_errors(f"warning: {warning}" for warning in warnings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if done, 2 after bad usage, input or output, 130 if interrupted. Bugs raise.

    The entry point handles signals; this function only sees a KeyboardInterrupt that other code raises.
    """
    # Python sets a stream that the caller closed to None.
    sys.stdout, sys.stderr = (stream or TextIOWrapper(FileIO(os.devnull, "w")) for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # ids may contain any character
    given = sys.argv[1:] if arguments is None else list(arguments)
    # One thread: sums round alike for any number of cores, and small matrices are faster.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports take half of a short run. They make many objects but no garbage, so collect less often.
    gc.set_threshold(200_000, 20, 20)
    # Let glibc keep the memory of freed arrays, because fetching it again from the system takes longer than using it.
    if adjust := getattr(ctypes.CDLL(None), "mallopt", None):
        adjust(-1, 2**30)  # M_TRIM_THRESHOLD
        adjust(-3, 2**30)  # M_MMAP_THRESHOLD
    try:
        if "" in given:  # from an unset shell variable; as a path, it would mean the current directory
            before = ["command", *given][given.index("")]
            raise UsageError(f"{before}: expected a value, found nothing")
        if given and not given[0].startswith("-") and given[0] not in app:
            hint = suggestion(given[0], app) or "; see --help"
            raise UsageError(f"expected a command or an option, found {given[0]!r}{hint}")
        is_help = not {"--help", "-h", "--version"}.isdisjoint(given)
        code: int | None = app(given, console=screen.console_for(sys.stdout) if is_help else None)
        sys.stdout.flush()
    except (CycloptsError, Phase19Error) as problem:
        problems = problem.errors if isinstance(problem, InvalidInputsError) else [problem]
        for each in problems:
            print_errors([f"error: {each}", *getattr(each, "__notes__", ())])
        return BAD_INPUT
    except KeyboardInterrupt:
        print_errors(["interrupted"])
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)  # the reader closed the pipe
        return DONE
    except OSError as problem:
        if problem.filename is not None:  # not about stdout or stderr, which have no name
            raise
        discard(sys.stdout)
        print_errors([f"error: the output cannot be written: {problem.strerror}"])
        return BAD_INPUT
    return code or DONE

"""Commands that make input directories or check them. Each imports what it needs when it runs."""

import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, Count, takes_options, warn
from phase19.errors import UsageError, printable
from phase19.options import InputOptions

_TABLE_OPTIONS = (
    *("task", "agent", "success", "duration", "category", "timestamp", "attempt", "trial", "void", "error"),
    "threshold",
)


@takes_options
def validate(options: InputOptions) -> None:
    """Check every input, and that every wave can be planned; write nothing."""
    from phase19.inputs.loading import load_inputs
    from phase19.optimizer import AdaptiveOptimizer

    inputs = load_inputs(*options.sources, most_errors=20)
    warn(inputs.warnings)
    AdaptiveOptimizer(inputs=inputs).check_waves()
    screen.print_inputs(inputs)


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

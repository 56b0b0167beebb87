"""Commands that make input directories or check them. Each imports what it needs when it runs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from phase19.cli import screen
from phase19.cli.parsing import OUTPUT, Count, takes_options, warn
from phase19.inputs.importers.columns import TableColumns
from phase19.inputs.importers.importing import Format
from phase19.options import InputOptions


@takes_options
def validate(options: InputOptions) -> None:
    """Check every input, and that every wave can be planned; write nothing."""
    from phase19 import planning

    inputs = planning.validate(options)
    warn(inputs.warnings)
    screen.print_inputs(inputs)


def import_(
    format: Format,
    *paths: Path,
    output: Annotated[Path, Parameter(group=OUTPUT.group)] = Path("outputs/phase18"),
    columns: Annotated[TableColumns | None, Parameter(name="*", group="Columns of a table")] = None,
    map: Path | None = None,
    tasks: Path | None = None,
    drop_torn_lines: bool = False,
) -> None:
    """Import the logs of your own agents: write an input directory for the other commands.

    Without --task, --agent and --success, the command proposes the columns of a table. Dots name fields inside JSON
    objects, as in --agent model.name.

    Parameters
    ----------
    format
        Format of the logs.
    paths
        Files or folders to import. A table is a .csv, .tsv, .jsonl, .json or .parquet file.
    output
        The input directory to write; it must not exist, or be empty.
    map
        A TOML file with columns, such as task = "instance_id"; options replace what it says.
    tasks
        A table of tasks to do; by default, these are the rows that say nothing else.
    drop_torn_lines
        Leave out lines that are no rows, and count them.
    """
    from phase19.inputs.importers.importing import import_records

    named = columns.given if columns else {}
    result = import_records(format, paths, output, map=map, tasks=tasks, drop_torn_lines=drop_torn_lines, **named)
    screen.print_import(result)


def init(directory: Path, /) -> None:
    """Write a minimal example of an input directory, to run and to edit, with a README that explains it.

    Parameters
    ----------
    directory
        The directory to write; it must not exist, or be empty.
    """
    from phase19.inputs.sample import write_example

    write_example(directory)
    screen.print_next("run", "--input", directory)


def sample(
    directory: Path = Path("outputs"), /, *, tasks: Count = 1000, agents: Count = 20, waves: Count = 5, seed: Count = 0
) -> None:
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
    screen.print_next("run", "--input", directory / "phase18")

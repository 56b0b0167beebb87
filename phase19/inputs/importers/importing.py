"""Import logs of any format into an input directory."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from phase19.arguments import converted, converted_paths
from phase19.errors import UsageError, plural, program
from phase19.inputs.importers.columns import TableColumns, propose, read_map, unit_of
from phase19.options import takes_settings

if TYPE_CHECKING:
    from phase19.settings import TableSettings

Format = Literal["table", "terminal-bench", "harbor", "swebench", "aslib", "openhands", "lm-eval", "inspect"]
_NEEDED = ("task", "agent", "success")
_MANY_AGENTS = 2  # times the tasks: more is unusual


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import read, and where it wrote it.

    Attributes
    ----------
    directory
        The input directory that was written.
    counts
        Numbers of rows, agents and tasks by what they are, to show.
    unmapped
        Examples of values that no rule converts, by column.
    unused
        Names of a table's columns that were not used.
    notes
        Sentences about what the user should check.
    """

    directory: Path
    counts: dict[str, int]
    unmapped: dict[str, list[str]]
    unused: list[str]
    notes: list[str]


@takes_settings(TableColumns)
def import_records(
    format: Format,
    paths: Path | str | Sequence[Path | str],
    output: Path | str = "outputs/phase18",
    *,
    map: Path | str | None = None,
    tasks: Path | str | None = None,
    drop_torn_lines: bool = False,
    **settings: "Unpack[TableSettings]",
) -> ImportResult:
    r"""Import logs: write an input directory.

    Parameters
    ----------
    format
        Format of the logs.
    paths
        Files or folders to import.
    output
        The directory to write; it must not exist, or be empty.
    map
        A TOML file with further keywords of a table, such as `task = "instance_id"`.
    tasks
        A table of tasks to do. Rows of a table without an outcome are then void.
    drop_torn_lines
        Leave out, and count, lines that are no rows; by default the first one is an error.
    **settings
        Fields of :class:`TableColumns`, for a table.

    Returns
    -------
    ImportResult
        What was read.

    Raises
    ------
    UsageError
        Nothing is given or found to import; columns are not named (the message proposes some), do not exist or do not
        suit the format.
    InputError
        A file cannot be read.
    OutputError
        `output` is not empty, or cannot be written.

    Examples
    --------
    >>> import phase19
    >>> _ = Path("log.csv").write_text("case,model,passed,seconds\na,red,yes,12\nb,blue,no,50\nc,,,\n")
    >>> columns = {"task": "case", "agent": "model", "success": "passed", "duration": "seconds:s"}
    >>> found = phase19.import_records("table", "log.csv", "mine", **columns)
    >>> found.counts["attempts"], found.counts["tasks to do"]
    (2, 1)
    """
    from phase19.inputs.importers import table
    from phase19.inputs.importers.attempts import write_inputs

    kind, target = converted("format", Format, format), converted("--output", Path, output)
    map_file, task_file = converted("--map", Path | None, map), converted("--tasks", Path | None, tasks)
    places, given = converted_paths("paths", paths), TableColumns.of(**settings).given
    if kind == "table":
        named = TableColumns(**((read_map(map_file) if map_file else {}) | given))
        _check_named(places, target, named)
        imported = table.read_table(places, named, has_tasks=task_file is not None, drop_torn_lines=drop_torn_lines)
    elif misplaced := [*given, *(["map"] if map_file else [])]:
        raise UsageError(f"--{', --'.join(misplaced)}: only for `import table`, found {kind}")
    else:
        named = TableColumns()
        module = "inspect_ai" if kind == "inspect" else kind.replace("-", "_")
        importer = import_module(f"phase19.inputs.importers.{module}")
        imported = importer.read(places, drop_torn_lines=drop_torn_lines)
    if task_file is not None:
        listed, unmapped, unused = table.read_tasks(task_file, named)
        imported.unused.extend(unused)
        imported = replace(imported, tasks=listed, unmapped=imported.unmapped | unmapped)
    counts, notes = write_inputs(imported, target), imported.notes
    if 0 in (counts["succeeded"], counts["failed"]):
        alike = "failed" if counts["failed"] else "succeeded"
        notes = [f"All attempts with an outcome {alike}: check that this is right.", *notes]
    if kind == "table" and counts["agents"] > _MANY_AGENTS * counts["tasks"]:
        found = f"{plural(counts['agents'], 'agent')}, but {plural(counts['tasks'], 'task')}"
        notes = [f"Found {found}: check that --task and --agent are not exchanged.", *notes]
    return ImportResult(target, counts, imported.unmapped, imported.unused, notes)


def _check_named(paths: Sequence[Path], output: Path, columns: TableColumns) -> None:
    """Raise UsageError with a proposal if columns are not named."""
    if columns.given.keys() >= set(_NEEDED):
        return
    from phase19.inputs.importers.table import column_names, date_columns, examples

    names = column_names(paths[0], is_nested=True)
    proposed = dict.fromkeys(_NEEDED, "COLUMN") | propose(names) | columns.given
    if "timestamp" not in proposed:
        others = [name for name in names if name not in proposed.values()]
        proposed |= dict(zip(["timestamp"], date_columns(paths[0], others), strict=False))
    unlike = [f"--{role}" for role in _NEEDED if proposed[role] == "COLUMN"]
    hint = "if these are right, type:"
    if unlike:
        hint = f"no column looks like one for {', '.join(unlike)}: put its name in place of COLUMN in"
    command = (program(), "import table", *(shlex.quote(str(path)) for path in (*paths, "--output", output)))
    options = (f"--{role} {shlex.quote(str(column))}" for role, column in proposed.items())
    found = ", ".join(names) or "none"
    message = f"{paths[0]}: name the columns (found {found}); {hint}\n{' '.join((*command, *options))}"
    duration = proposed.get("duration", "").rpartition(":")[0]
    if duration and not unit_of(duration) and "duration" not in columns.given:
        few = examples(paths[0], duration)
        message += f"\nThe unit is a guess. {duration} holds {few}: if these are ms, write {duration}:ms."
    raise UsageError(message)

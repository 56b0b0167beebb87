"""The report of a run: one HTML page, and the same figures as Markdown."""

import shutil
from pathlib import Path

import polars as pl

from phase19.analysis.querying import select
from phase19.errors import OutputError
from phase19.outputs.html.page import to_html
from phase19.outputs.rendering import to_markdown
from phase19.outputs.tables import read_run, report_sections
from phase19.publishing.files import write_errors
from phase19.publishing.run_directory import open_run, publish

TITLE = "Phase 19: autonomous optimisation"
MARKDOWN_FILE = "PHASE_19_AUTONOMOUS_OPTIMIZATION.md"
HTML_FILE = "report.html"


def write_report(run_dir: Path, tasks: pl.DataFrame | None = None, attempts: pl.DataFrame | None = None) -> list[Path]:
    """Write the report of a run into its directory, as one self-contained HTML page and as Markdown.

    Parameters
    ----------
    run_dir
        A run directory, or a staging directory that has all other files of a run.
    tasks, attempts
        As :func:`phase19.outputs.explain.task_rows` returns them, and the rows of attempts.jsonl; read from the files
        of the run if None.

    Returns
    -------
    list of Path
        The two files written.

    Raises
    ------
    OutputError
        `run_dir` is not a Phase 19 run, or cannot be read or written.

    Notes
    -----
    The same files give the same report, byte for byte.
    """
    run = read_run(run_dir)
    tasks = select(run_dir, "from explanations") if tasks is None else tasks
    attempts = select(run_dir, "from attempts") if attempts is None else attempts
    try:
        texts = {
            run_dir / MARKDOWN_FILE: to_markdown(TITLE, report_sections(run)),
            run_dir / HTML_FILE: to_html(run, tasks, attempts),
        }
    except KeyError as problem:
        raise OutputError(
            f"{run_dir}: expected the files of a Phase 19 run, found no key {problem} in one of them"
        ) from problem
    for path, text in texts.items():
        with write_errors(path):
            path.write_text(text, "utf-8")
    return list(texts)


def rebuild_report(run_dir: Path) -> list[Path]:
    """Write the report of a finished run again, publish the run, and return the two files.

    Raises
    ------
    OutputError
        `run_dir` is not a Phase 19 run with exactly the files of its manifest, or cannot be read or written.
    """
    with publish(open_run(run_dir), is_same_run=True) as staging:
        shutil.copytree(run_dir, staging, dirs_exist_ok=True)
        return [run_dir / path.name for path in write_report(staging)]

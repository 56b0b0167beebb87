"""The report of a run as one HTML page and as Markdown, and a page that sets two runs side by side."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from phase19.analysis.querying import select
from phase19.errors import OutputError, UsageError
from phase19.options import beside
from phase19.outputs.comparison import paired_tasks, verdict
from phase19.outputs.html import comparison
from phase19.outputs.html.page import to_html
from phase19.outputs.rendering import to_markdown
from phase19.outputs.tables import read_run, report_sections
from phase19.publishing.files import check_file_target, publish_file, real_path, write_errors
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
    with _known_keys(run_dir):
        texts = {
            run_dir / MARKDOWN_FILE: to_markdown(TITLE, report_sections(run)),
            run_dir / HTML_FILE: to_html(run, tasks, attempts),
        }
    for path, text in texts.items():
        with write_errors(path):
            path.write_text(text, "utf-8")
    return list(texts)


@contextmanager
def _known_keys(*run_dirs: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as problem:
        places = " and ".join(map(str, run_dirs))
        raise OutputError(
            f"{places}: expected the files of a Phase 19 run, found no key {problem} in one of them"
        ) from problem


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


def compare_runs(first: Path, second: Path, target: Path | None = None) -> tuple[str, Path]:
    """Write a page that sets two runs, A and B, side by side.

    Parameters
    ----------
    first, second
        The run directories.
    target
        The file to write; by default comparison-A-B.html beside the directory of run B, with the names of their
        directories.

    Returns
    -------
    str, Path
        The verdict: which run did better, and whether chance explains it; and the file.

    Raises
    ------
    OutputError
        A directory is not a Phase 19 run or cannot be read, or the file cannot be written. Without `target`, only an
        earlier comparison of these directories is replaced.
    UsageError
        Both are the same directory, or `target` lies in one of the runs.
    """
    places = real_path(first), real_path(second)
    if places[0] == places[1]:
        raise UsageError(f"--compare: expected two runs, found {first} twice")
    place = beside(second, f"comparison-{places[0].name}-{places[1].name}.html") if target is None else target
    check_file_target(place, (first, second))
    links = [os.path.relpath(run_dir / HTML_FILE, real_path(place).parent) for run_dir in places]
    if target is None and place.exists():
        with write_errors(place):
            earlier = place.read_bytes()
        if not all(comparison.link_to(link).encode() in earlier for link in links):
            raise OutputError(f"{place}: expected a comparison of these runs or no file, found another; use --output")
    runs, tasks = [], []
    for run_dir in (first, second):
        runs.append(read_run(run_dir))
        tasks.append(select(run_dir, "from explanations"))
    names = (str(first), str(second))
    with _known_keys(first, second):
        page = comparison.to_html(runs, tasks, names, links)
        said = verdict(runs[0], runs[1], paired_tasks(*tasks))
    with publish_file(place) as partial:
        partial.write_text(page, "utf-8")
    return said, place

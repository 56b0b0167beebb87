"""Every code block of the docs is executed, and its output must be the output that the page shows."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phase19.cli.app import main
from tests.pages.markdown import anchor

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = "python -m phase19 "
CHECKOUT = ("Makefile", "pyproject.toml", "sql", "data", *(path.name for path in ROOT.glob("requirements*.lock")))


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def checkout(tmp_path):
    """A fresh checkout with this environment as its `.venv`; examples change no file of the real one."""
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / "outputs" / phase)
    for name in CHECKOUT:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        (tmp_path / ".venv" / entry.name).symlink_to(entry)
    for stamp in (".run", ".dev"):  # the environment counts as installed
        (tmp_path / ".venv" / stamp).unlink(missing_ok=True)
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def run_shell(text, checkout, code=0):
    """Run a script in bash; return what a terminal would show of it, and check its exit code if one is given."""
    # Targets that run these tests are only shown, not run.
    text = re.sub(r"^make (?!run\b)", "make -n ", text, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-eu", "-c", text],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert code in (None, done.returncode), f"{text}\n{done.stdout}"
    return done.stdout, done.returncode


def run_command(words, checkout):
    """Run a phase19 command in this process, which is quicker; return what a terminal would show, and its exit code."""
    with io.StringIO() as shown, contextlib.chdir(checkout):
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            code = main(words)
        return shown.getvalue(), code


def commands_of(text):
    """Yield the commands of a console block: lines that begin with `$ `, or more lines where quotes are open."""
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while True:
                try:
                    yield command, shlex.split(command)
                    break
                except ValueError:  # no closing quotation
                    command += next(lines)


def run_console(text, checkout):
    """Run the commands of a console block; a command may only fail if the next one is `echo $?`."""
    found, code = "", 0
    for command, words in commands_of(text):
        if command == "echo $?\n":
            shown, code = f"{code}\n", 0
        else:
            assert code == 0, found
            is_ours = words[:3] == COMMAND.split() and not {"|", ">", "||", "&&"} & set(words)
            shown, code = run_command(words[3:], checkout) if is_ours else run_shell(command, checkout, None)
        found += f"$ {command}{shown}"
    assert found and code == 0, found
    return found


def run_block(kind, text, checkout):
    """Run a block; return its text with the output that it should show."""
    if kind == "console":
        return run_console(text, checkout)
    lines = text.splitlines()
    if kind == "sh" and all(line.startswith(COMMAND) and ">" not in line for line in lines):
        for line in lines:
            shown, code = run_command(shlex.split(line.removeprefix(COMMAND)), checkout)
            assert code == 0, f"{line}\n{shown}"
    elif kind == "python":
        with contextlib.chdir(checkout), contextlib.redirect_stdout(io.StringIO()):
            exec(compile(text, "example", "exec"), {})  # noqa: S102 (it is our own)
    elif kind == "pycon":  # an example of a docstring, which test_examples runs
        assert text.startswith(">>> ")
    elif kind == "yaml":  # of a CI service: the commands that it would run
        steps = re.findall(r"^ *- run: (.*\n)", text, re.MULTILINE)
        assert steps, text
        run_shell("".join(steps), checkout)
    else:
        assert kind == "sh", f"expected a block of kind console, python, sh or yaml, found {kind!r}"
        run_shell(text, checkout)
    return text


@pytest.mark.no_cover
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs_and_prints_what_the_page_says(page, checkout, golden):
    text = page.read_text("utf-8")
    assert not re.search(r"^ +```", text, re.MULTILINE), "an indented block would not be run"
    found = BLOCK.sub(lambda block: f"```{block[1]}\n{run_block(block[1], block[2], checkout)}```", text)
    if golden.is_updating:
        page.write_text(found, "utf-8")
    assert found == page.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_have_targets(page):
    def has_target(link):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        return target.exists() and (not anchor or anchor in anchors(target))

    links = re.findall(r"\]\((?!https?://)([^)]+)", BLOCK.sub("", page.read_text("utf-8")))
    assert [link for link in links if not has_target(link)] == []


def anchors(page):
    return set(map(anchor, re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)))


def shown(book):
    """What a saved notebook shows below each cell: text and tables, and of a chart the words in it."""
    found = {}
    for cell in book["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text")})
            chart = data.get("image/svg+xml")
            text = re.findall(r"<text[^>]*>([^<]+)</text>", "".join(chart)) if chart else "".join(data["text/plain"])
            found.setdefault(cell["id"], []).append(text)
    return found


EXECUTE = """
import nbclient, nbformat, sys
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=120, record_timing=False).execute()
book.metadata.pop("language_info", None)
nbformat.write(book, sys.argv[1])
"""


@pytest.mark.no_cover
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs_and_shows_what_it_showed(notebook, tmp_path, golden):
    copy = shutil.copy(notebook, tmp_path)
    done = subprocess.run([sys.executable, "-c", EXECUTE, copy], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if golden.is_updating:
        shutil.copy(copy, notebook)
    saved, found = (json.loads(Path(path).read_text("utf-8")) for path in (notebook, copy))
    assert shown(found) == shown(saved)
    assert sum("image/svg+xml" in json.dumps(cell.get("outputs", "")) for cell in saved["cells"]) >= 1
    text = notebook.read_text("utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/tmp|/home|/root|>(undefined|NaN|null)<", text)  # noqa: S108 (a place on the machine that made it)

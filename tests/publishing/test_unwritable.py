"""What is printed where it cannot be: on a full disk, and to a reader that has left."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import phase19
from phase19.cli.app import main
from phase19.inputs.sample import write_sample

# One command for each way to print: a table, one JSON text, many lines, a message, a help page.
PRINTING = ["run", "forecast", "query", "query --format jsonl", "explain --json", "report", "--help"]
ROWS = "select * from range(3000)"  # more text than a stream holds back


def run_into(stdout, *args):
    """Run a command in this process; its exit code and the lines of stderr."""
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(io.StringIO()) as stderr:
        code = main(list(map(str, args)))
    return code, stderr.getvalue().splitlines()


def run_process_into(stdout, *args):
    """Run a command in a process of its own, which also writes out its streams when it ends."""
    command = [sys.executable, "-W", "error", "-m", "phase19", *map(str, args)]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, encoding="utf-8", timeout=120, check=False)
    return done.returncode, done.stderr.splitlines()


@pytest.fixture(scope="module")
def printing(tmp_path_factory):
    """Commands that print, by what they are."""
    place = tmp_path_factory.mktemp("printing")
    write_sample(place, tasks=12, agents=3, waves=2, seed=1)
    given, asked = ("--input", place / "phase18"), ("--run", place / "phase19")
    phase19.run(input=place / "phase18", output=place / "phase19")
    return {
        "run": (*given, "--output", place / "again"),
        "forecast": ("forecast", *given),
        "query": ("query", ROWS, *asked, "--limit", "0"),
        "query --format jsonl": ("query", ROWS, *asked, "--format", "jsonl"),
        "explain --json": ("explain", "task_0", *asked, "--json"),
        "report": ("report", *asked),
        "--help": ("--help",),
    }


def without_warnings(lines):
    return [line for line in lines if not line.startswith("warning: ")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux'")
@pytest.mark.parametrize(
    ("run", "name"), [*((run_into, name) for name in PRINTING), (run_process_into, "query --format jsonl")]
)
def test_what_a_full_disk_does_not_take_is_one_clear_line(printing, run, name):
    with Path("/dev/full").open("w") as full:
        code, lines = run(full, *printing[name])
    assert without_warnings(lines) == ["error: the output cannot be written: No space left on device"]
    assert "No space left" in lines[-1]
    assert code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux'")
@pytest.mark.parametrize(("arguments", "code"), [(("query", "select x"), 2), (("run", "--verbose"), 0)])
def test_the_exit_code_says_what_stderr_does_not_take(printing, arguments, code):
    given = printing["query"][2:] if arguments[0] == "query" else printing["run"] if "--verbose" in arguments else ()
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-W", "error", "-m", "phase19", *arguments, *map(str, given)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=120, check=False)
    assert done.returncode == code


@pytest.mark.parametrize(
    ("run", "name"),
    [(run_into, "run"), (run_into, "query --format jsonl"), (run_into, "--help"), (run_process_into, "forecast")],
)
def test_a_reader_that_left_ends_the_command_in_silence(printing, run, name):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        code, lines = run(stdout, *printing[name])
    assert (code, without_warnings(lines)) == (0, [])


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes it")
@pytest.mark.parametrize("name", ["run", "query"])
def test_a_command_whose_output_is_closed_does_its_work(printing, name):
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-W", "error", "-m", "phase19"]
    done = subprocess.run([*shell, *map(str, printing[name])], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, without_warnings(done.stderr.splitlines())) == (0, [])


def test_a_fault_with_a_file_is_no_fault_of_the_output(monkeypatch):
    monkeypatch.setattr("phase19.planning.load_inputs", lambda *_, **_options: Path("/nowhere").read_text())
    with pytest.raises(FileNotFoundError):
        main(["validate", "--input", "."])

"""What is printed where it cannot be: on a full disk, and to a reader that has left."""

from __future__ import annotations

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


def run_into(stdout, *args):
    command = [sys.executable, "-W", "error", "-m", "phase19", *map(str, args)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, encoding="utf-8", timeout=120, check=False)


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
        "query": ("query", "select * from range(20000)", *asked),
        "query --format jsonl": ("query", "select * from range(20000)", *asked, "--format", "jsonl"),
        "explain --json": ("explain", "task_0", *asked, "--json"),
        "report": ("report", *asked),
        "--help": ("--help",),
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux'")
@pytest.mark.parametrize("name", PRINTING)
def test_what_a_full_disk_does_not_take_is_one_clear_line(printing, name):
    with Path("/dev/full").open("w") as full:
        done = run_into(full, *printing[name])
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert done.stderr.splitlines() == [*warnings, "error: the output cannot be written: No space left on device"]
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux'")
@pytest.mark.parametrize(("arguments", "code"), [(("query", "select x"), 2), (("run", "--verbose"), 0)])
def test_the_exit_code_says_what_stderr_does_not_take(printing, arguments, code):
    given = printing["query"][2:] if arguments[0] == "query" else printing["run"] if "--verbose" in arguments else ()
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-W", "error", "-m", "phase19", *arguments, *map(str, given)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=120, check=False)
    assert done.returncode == code


@pytest.mark.parametrize("name", ["run", "query --format jsonl", "--help"])
def test_a_reader_that_left_ends_the_command_in_silence(printing, name):
    reader, writer = os.pipe()
    os.close(reader)
    done = run_into(writer, *printing[name])
    os.close(writer)
    assert (done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]) == (0, [])


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes it")
@pytest.mark.parametrize("name", ["run", "query"])
def test_a_command_whose_output_is_closed_does_its_work(printing, name):
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-W", "error", "-m", "phase19"]
    done = subprocess.run([*shell, *map(str, printing[name])], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]) == (0, [])


def test_a_fault_with_a_file_is_no_fault_of_the_output(monkeypatch):
    monkeypatch.setattr("phase19.inputs.loading.load_inputs", lambda *_: Path("/nowhere").read_text())
    with pytest.raises(FileNotFoundError):
        main(["validate", "--input", "."])

"""Signals end the command with 128 + their number, without traceback or unfinished files."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
import scipy.special

import phase19
from phase19 import harness, interrupts
from phase19.analysis import querying
from phase19.cli import app as cli
from phase19.cli import screen
from phase19.forecasting import success
from phase19.inputs import sample
from phase19.publishing import files, run_directory
from phase19.publishing.run_directory import check_target

ROOT = Path(__file__).parents[2]
PHASE18 = ROOT / "outputs" / "phase18"


class EndedError(BaseException):
    """What os._exit raises here."""


@pytest.fixture
def ended(monkeypatch, tmp_path):
    """The exit codes that the handler gave to os._exit, each with the names in `tmp_path` at that moment."""
    seen = []

    def leave(code):
        seen.append((code, sorted(path.name for path in tmp_path.iterdir())))
        raise EndedError

    before = {number: signal.getsignal(number) for number in interrupts._SIGNALS}
    monkeypatch.setattr(os, "_exit", leave)
    interrupts.end_on_signals()
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def raise_in_call(monkeypatch, owner, name, number, call=1):
    """Make a function raise a signal when it is called for the `call`th time, before it does its work."""
    function, calls = getattr(owner, name), []

    def interrupted(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(number)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    place = tmp_path_factory.mktemp("published") / "run"
    return phase19.run(input=PHASE18, output=place, timestamp="2026-02-05T12:00:00Z").run_dir


STAGES = {
    "reading": (harness.Phase19Harness, "_load_phase18_data"),
    "in a callback of scipy": (success, "fit_cells", 2),
    "planning": (harness.Phase19Harness, "_optimize_wave"),
    "in a callback of DuckDB": (scipy.special, "ndtr", 50),
    "writing": (files, "sync"),
    "reporting": (harness, "write_report"),
    "hashing": (run_directory, "_entries", 2),
    "exchanging": (run_directory, "_exchange"),
    "removing the last run": (shutil, "rmtree"),
    "printing": (screen, "print_run"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_in_any_stage_ends_the_run_and_leaves_one_whole_run(
    stage, published, tmp_path, monkeypatch, capfd, ended
):
    shutil.copytree(published, tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    owner, name, *call = STAGES[stage]
    raise_in_call(monkeypatch, owner, name, signal.SIGINT, *call)
    with suppress(EndedError, RuntimeError):
        cli.main(["--input", str(PHASE18), "--output", str(tmp_path / "run"), "--seed", "1"])
    assert ended == [(130, ["run"])]
    assert capfd.readouterr().err.startswith("ended by SIGINT\n")
    check_target(tmp_path / "run")
    is_old = (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert is_old == (stage not in {"removing the last run", "printing"})


def test_a_signal_in_the_clean_up_after_an_error_or_interrupt_leaves_nothing(tmp_path, monkeypatch, ended):
    raise_in_call(monkeypatch, shutil, "rmtree", signal.SIGTERM)
    with suppress(EndedError), run_directory.publish(tmp_path / "run") as staging:
        (staging / "half").write_text("x")
        raise KeyboardInterrupt
    assert ended == [(143, [])]


def test_a_file_that_is_written_when_a_signal_comes_is_removed(tmp_path, ended):
    with suppress(EndedError), files.publish_file(tmp_path / "file") as partial:
        partial.write_text("half")
        signal.raise_signal(signal.SIGHUP)
    assert ended == [(129, [])]


def test_a_sample_that_is_written_when_a_signal_comes_is_removed(tmp_path, monkeypatch, ended):
    raise_in_call(monkeypatch, sample, "_summaries", signal.SIGINT)
    with suppress(EndedError):
        cli.main(["sample", str(tmp_path)])
    assert ended == [(130, [])]


def test_inputs_that_are_imported_when_a_signal_comes_are_removed(tmp_path, monkeypatch, ended):
    (tmp_path / "log.csv").write_text("task,agent,ok\na,x,1\nb,y,0\n")
    raise_in_call(monkeypatch, pl.DataFrame, "write_ndjson", signal.SIGINT)
    with suppress(EndedError):
        roles = ["--task", "task", "--agent", "agent", "--success", "ok"]
        cli.main(["import", "table", str(tmp_path / "log.csv"), "--output", str(tmp_path / "made"), *roles])
    assert ended == [(130, ["log.csv"])]


def test_a_query_ends_at_a_signal(published, monkeypatch, ended, capfd):
    def connect():
        connection = querying.duckdb.connect()
        connection.create_function("interrupt", lambda n: signal.raise_signal(signal.SIGINT) or n, ["BIGINT"], "BIGINT")
        return connection

    monkeypatch.setattr(querying, "connect", connect)
    with suppress(EndedError, RuntimeError):
        cli.main(["query", "select sum(interrupt(range)) from range(10)", "--run", str(published)])
    assert [code for code, _ in ended][:1] == [130]
    assert capfd.readouterr().err.startswith("ended by SIGINT\n")


# Processes

SENDER = """
import os, sys
class Sender:
    def find_spec(self, name, *_):
        if name == os.environ["SEND_AT"]:
            os.kill(os.getpid(), int(os.environ["SEND"]))
sys.meta_path.insert(0, Sender())
"""


def run_until(tmp_path, module, number, **options):
    """Run a command that gets a signal when it imports a module."""
    (tmp_path / "sitecustomize.py").write_text(SENDER)
    path = os.pathsep.join(map(str, (tmp_path, ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "phase19", "validate", "--input", PHASE18],
        env={**os.environ, "PYTHONPATH": path, "SEND_AT": module, "SEND": str(int(number))},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    ("module", "number"),
    [("phase19.cli", signal.SIGHUP), ("cyclopts", signal.SIGTERM), ("polars", signal.SIGINT)],
    ids=["first", "parser", "polars"],
)
def test_a_signal_during_the_imports_ends_the_command(tmp_path, module, number):
    done = run_until(tmp_path, module, number, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"ended by {number.name}\n")


def test_a_signal_that_the_caller_ignores_is_ignored(tmp_path):
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    done = run_until(tmp_path, "polars", signal.SIGHUP, preexec_fn=ignore)
    assert (done.returncode, done.stderr) == (0, "")

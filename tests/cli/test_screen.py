"""What the command shows after a run, and while it works."""

import io
import json
import re
from contextlib import redirect_stdout

import pytest

from phase19.cli.screen import PIPED_WIDTH, print_run, show, wave_progress
from phase19.inputs.sample import write_sample
from phase19.outputs.rendering import Table

ESCAPE = "\x1b"


@pytest.fixture
def run_dir(sample_run):
    return sample_run.run_dir


def shown(run_dir, **options):
    stream = io.StringIO()
    with redirect_stdout(stream):
        print_run(run_dir, **options)
    return stream.getvalue()


def test_the_screen_of_the_sample_is_short_and_says_first_whether_the_plan_held(run_dir):
    text = shown(run_dir)
    lines = text.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines[:-1])) <= PIPED_WIDTH  # the last line holds paths
    assert re.match(
        r"The (plan|run) .*: \d+ of 12 tasks succeeded \(\d+\.\d expected, normal range \d+ to 12\); round", lines[0]
    )
    order = [text.index(part) for part in ("Dry run", "normal range   planned time", "prediction error", "Health")]
    assert order == sorted(order)
    assert re.search(r"checks run: \d of 4\.\nResults are in ", text)
    assert not re.search("[\u2013\u2014\u2212]", text)  # normal minus signs and no dashes


def test_no_effect_is_printed_beside_a_check_that_needs_more_data(run_dir):
    rows = [line for line in shown(run_dir).splitlines() if "needs more data" in line]
    assert rows
    assert all(re.fullmatch(r"[a-z ]+ needs more data +(none|[\d.]+ (points|x|%))", row) for row in rows)


def test_the_five_metrics_are_shown_when_asked_for(run_dir):
    metrics = ["schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory"]
    plain, verbose = shown(run_dir), shown(run_dir, is_verbose=True)
    assert [name for name in metrics if re.search(rf"^{name} ", plain, re.MULTILINE)] == []
    assert [name for name in metrics if re.search(rf"^{name} ", verbose, re.MULTILINE)] == metrics


# What a terminal would interpret: an escape sequence, its one-character form, a line back, and changes of direction.
HOSTILE = "\x1b[31m", "\x9b31m", "\r", "\b", "\u202e", "\u2066", "\u200f", "\u061c", "\u2028"
DIRECTIONS = "\u202e", "\u2066", "\u200f", "\u061c"  # the inputs refuse control characters


def is_harmless(text):
    return all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_of_the_data_reaches_the_terminal_as_a_command(text):
    stream = io.StringIO()
    name = f"a{text}b"
    with redirect_stdout(stream):
        show([name, Table((name, "x"), ((name, "1"),))], title=name, results=name)
    shown = stream.getvalue()
    assert is_harmless(shown)
    assert shown.count(f"a{repr(text)[1:-1]}b") == 5


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Inputs whose ids change the direction of writing, and a run of them."""
    place = tmp_path_factory.mktemp("hostile")
    write_sample(place, tasks=4, agents=2, waves=1, seed=1)
    tasks = [{"task_id": f"task{mark}", "required_agents": [f"agent{mark}"]} for mark in DIRECTIONS]
    (place / "phase18" / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    agents = [{"agent_id": f"agent{mark}"} for mark in DIRECTIONS]
    (place / "phase18" / "agents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in agents))
    return place


def test_no_command_prints_a_hostile_id_as_it_is_but_as_json_and_csv(hostile, run_cli):
    task, run = f"task{DIRECTIONS[0]}", hostile / "phase19"
    commands = [
        ["run", "--input", hostile / "phase18", "--verbose"],
        ["run", "--input", hostile / "phase18", "--capacity", "1", "--agents", "2"],
        ["validate", "--input", hostile / "phase18"],
        ["explain", task, "--run", run],
        ["explain", f"{task}x", "--run", run],
        ["query", "select task_id, agent_id, chr(27) || '[31m' as escape from tasks", "--run", run],
        ["query", f"select {task}", "--run", run],
        ["compare", "--input", hostile / "phase18", "--output", hostile / f"{task}.jsonl"],
        ["report", "--run", hostile / f"none{task}"],
    ]
    for command in commands:
        done = run_cli(*command)
        assert done.stdout + done.stderr
        assert is_harmless(done.stdout + done.stderr), command
    assert "task\\u202e" in run_cli(*commands[3]).stdout
    assert "\\x1b[31m" in run_cli(*commands[5]).stdout
    machine = ["query", "select task_id from tasks order by all", "--run", run, "--format"]
    names = sorted(f"task{mark}" for mark in DIRECTIONS)
    assert sorted(run_cli(*machine, "csv").stdout.splitlines()[1:]) == names
    assert sorted(json.loads(line)["task_id"] for line in run_cli(*machine, "jsonl").stdout.splitlines()) == names
    assert json.loads(run_cli(*commands[3], "--json").stdout)["task_id"] == task


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_work_shows_its_progress_on_a_terminal_and_takes_it_away():
    terminal = Terminal()
    with wave_progress(terminal) as progress:
        progress("waves", 2, 5)
    assert "waves" in terminal.getvalue()
    assert "40%" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"{ESCAPE}[2K")  # the line is erased at the end


def test_piped_work_shows_nothing():
    pipe = io.StringIO()
    with wave_progress(pipe) as progress:
        progress("waves", 1, 3)
    assert pipe.getvalue() == ""

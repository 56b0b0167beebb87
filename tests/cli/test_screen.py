"""What the command shows after a run, and while it works."""

import io
import json
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from phase19.cli import screen
from phase19.cli.screen import print_run, show, wave_progress
from phase19.inputs.sample import write_sample
from phase19.outputs.rendering import Table

ESCAPE = "\x1b"


ROOT = Path(__file__).parents[2]
FIXED = ["--seed", "7", "--timestamp", "2026-02-05T12:00:00Z"]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run_dir(sample_run):
    return sample_run.run_dir


def shown(run_dir, **options):
    stream = io.StringIO()
    with redirect_stdout(stream):
        print_run(run_dir, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """60 tasks, 4 agents and 3 waves, and outcomes to replay: `phase18`, and a file for each of three screens."""
    place = tmp_path_factory.mktemp("records")
    write_sample(place, tasks=60, agents=4, waves=3, seed=1)
    for name, source in (("sample", ROOT / "outputs"), ("thousand", ROOT / "data")):
        for phase in ("phase16", "phase17", "phase18"):
            shutil.copytree(source / phase, place / name / phase)
    pairs = [{"task_id": f"task_{i}", "agent_id": f"agent_{j}"} for i in range(60) for j in range(4)]
    replays = {
        "failed": [{**pair, "status": "failed", "execution_time_ms": 20.0} for pair in pairs],
        "elsewhere": [{"task_id": "job", "agent_id": "agent_0", "status": "success", "execution_time_ms": 20.0}],
        # All succeed, but agent_1 takes 500 ms.
        "slow": [
            {**pair, "status": "success", "execution_time_ms": 500.0 if pair["agent_id"] == "agent_3" else 20.0}
            for pair in pairs
        ],
    }
    for name, rows in replays.items():
        (place / f"{name}.jsonl").write_text(jsonl(rows))
    # Nothing tells the agents of `alike` apart.
    write_sample(place / "made", tasks=20, agents=3, waves=1, seed=1)
    (place / "alike" / "phase18").mkdir(parents=True)
    for name in ("coordination_patterns.json", "system_health.json", "learning_signals.jsonl"):
        shutil.copy(place / "made" / "phase18" / name, place / "alike" / "phase18")
    (place / "alike" / "phase18" / "multi_agent_summary.json").write_text(
        json.dumps({"total_agents": 3, "total_tasks": 20, "success_rate": 0.8})
    )
    return place


SCREENS = {
    "sample": ["--input", "sample/phase18"],
    "a_thousand_tasks": ["--input", "thousand/phase18"],
    "all_failed": ["--input", "phase18", "--executor", "replay", "--executions", "failed.jsonl"],
    "nothing_observed": ["--input", "phase18", "--executor", "replay", "--executions", "elsewhere.jsonl"],
    "an_anomaly": ["--input", "phase18", "--executor", "replay", "--executions", "slow.jsonl"],
    "a_tie_with_round_robin": ["--input", "alike/phase18"],
}


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen_is_as_agreed_and_readable_in_a_narrow_terminal(name, records, golden, run_cli, monkeypatch):
    done = run_cli("run", *SCREENS[name], "--output", "my runs/last", *FIXED, cwd=records)
    golden.text(f"screens/{name}.txt", done.stdout)
    assert len(done.stdout.splitlines()) <= 25
    monkeypatch.setattr(screen, "PIPED_WIDTH", 60)
    narrow = shown(records / "my runs" / "last")
    body = narrow[: narrow.index("Results are in")].splitlines()  # commands and paths are not wrapped
    assert max(map(len, body)) <= 60
    words = set(re.findall(r"[a-z]{5,}", done.stdout[: done.stdout.index("Results are in")]))
    assert words <= set(re.findall(r"[a-z]{5,}", narrow))  # no word is broken


def test_the_screen_answers_three_questions_in_order(run_dir):
    text = shown(run_dir, input_dir=Path("my inputs"))
    lines = text.splitlines()
    assert re.match(
        r"The (plan|run) .*: \d+ of 12 tasks succeeded \(\d+\.\d expected, normal range \d+ to 12\); round", lines[0]
    )
    order = [
        text.index(part)
        for part in ("Dry run", "normal range   planned time", "attention", "Checks: ", "Health", "Results")
    ]
    assert order == sorted(order)
    assert lines[-1] == "  python -m phase19 compare --input 'my inputs'"
    assert not re.search("[\u2013\u2014\u2212]", text)  # normal minus signs and no dashes


def test_the_commands_that_the_screen_suggests_run(records, run_cli):
    commands = []
    for name in ("a_tie_with_round_robin", "an_anomaly", "sample"):
        done = run_cli("run", *SCREENS[name], "--output", "my runs/it's", *FIXED, cwd=records)
        commands += re.findall("^  python -m phase19 (.*)$", done.stdout, re.MULTILINE)
        for command in re.findall("^  python -m phase19 (.*)$", done.stdout, re.MULTILINE):
            assert run_cli(*shlex.split(command), cwd=records).returncode == 0, command
    assert {command.split()[0] for command in commands} == {"backtest", "explain", "validate", "query", "compare"}


def test_many_waves_are_summarised_unless_asked_for(tmp_path, run_cli):
    write_sample(tmp_path, tasks=24, agents=2, waves=6, seed=1)
    command = ["run", "--input", tmp_path / "phase18", *FIXED]
    plain, verbose = run_cli(*command).stdout, run_cli(*command, "--verbose").stdout
    rows = list(map(json.loads, (tmp_path / "phase19" / "schedule_comparisons.jsonl").read_text().splitlines()))
    inside = sum(row["success_rate_low"] <= row["actual_success_rate"] <= row["success_rate_high"] for row in rows)
    worst = min(rows, key=lambda row: row["actual_success_rate"] - row["planned_success_rate"])
    said = f"{inside} of 6 waves ended in their normal range. Wave {worst['wave']} was furthest below its plan: "
    assert f"{said}{worst['actual_success_rate'] * 4:.0f} of 4 tasks succeeded, " in " ".join(plain.split())
    assert "planned time" not in plain
    assert len(re.findall(r"^\d +\d\d", verbose, re.MULTILINE)) == 6


def test_a_table_too_wide_for_the_terminal_is_written_row_by_row(monkeypatch):
    monkeypatch.setattr(screen, "PIPED_WIDTH", 25)
    stream = io.StringIO()
    with redirect_stdout(stream):
        show([Table(("agent", "first column", "second"), (("agent_0", "12 of 14", "123,456"), ("agent_1", "", "7")))])
    assert [line.split() for line in stream.getvalue().splitlines() if line.strip(" \u2500")] == [
        ["row", "1"],
        ["agent", "agent_0"],
        ["first", "column", "12", "of", "14"],
        ["second", "123,456"],
        ["row", "2"],
        ["agent", "agent_1"],
        ["first", "column"],
        ["second", "7"],
    ]


def test_metrics_and_the_table_of_checks_are_shown_when_asked_for(run_dir):
    metrics = ["schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory"]
    plain, verbose = shown(run_dir), shown(run_dir, is_verbose=True)
    assert [name for name in metrics if re.search(rf"^{name} ", plain, re.MULTILINE)] == []
    assert [name for name in metrics if re.search(rf"^{name} ", verbose, re.MULTILINE)] == metrics
    # No effect stands beside a check that needs more data.
    assert re.search(r"^prediction error +needs more data +\d+ points$", verbose, re.MULTILINE)


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


def test_an_alert_does_not_reach_the_terminal_as_a_command(run_dir, tmp_path):
    place = shutil.copytree(run_dir, tmp_path / "run")
    alert = {"severity": "critical", "source": "is_late", "message": "a\u202eb is late.", "action": "\x1b[31m"}
    (place / "alerts.jsonl").write_text(jsonl([alert]))
    text = shown(place)
    assert is_harmless(text)
    assert "critical: a\\u202eb is late. \\x1b[31m\n" in text


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

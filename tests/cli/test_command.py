"""The command: exit codes, what is printed on stdout and stderr, and what is written."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from phase19 import harness
from phase19.cli import app as cli
from phase19.cli import runs
from phase19.cli.screen import PIPED_WIDTH
from phase19.errors import UsageError

ROOT = Path(__file__).parents[2]
HEAVY = {"polars", "numpy", "scipy", "duckdb"}
ESCAPE = "\x1b"


@pytest.fixture
def inputs(tmp_path):
    """A copy of the committed sample: its directories are siblings, as the defaults expect."""
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# Help


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "validate",
        "forecast",
        "backtest",
        "compare",
        "sweep",
        "query",
        "explain",
        "report",
        "import",
        "init",
        "sample",
    ],
)
def test_help_is_as_agreed(run_cli, golden, command):
    done = run_cli(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= PIPED_WIDTH
    golden.text(f"help/{command or 'phase19'}.txt", done.stdout)


def test_piped_help_has_the_same_width_in_every_window(run_cli):
    assert run_cli("run", "--help", COLUMNS="40").stdout == run_cli("run", "--help").stdout


def test_help_and_bad_usage_import_nothing_heavy():
    for arguments in (["--help"], ["run", "--input", "x", "--waves", "0"]):
        command = [sys.executable, "-X", "importtime", "-m", "phase19", *arguments]
        report = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stderr
        imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in report.splitlines() if "|" in line}
        assert "cyclopts" in imported
        assert not imported & HEAVY


def test_version_is_the_package_version(run_cli):
    import phase19

    assert run_cli("--version").stdout == f"{phase19.__version__}\n"


# Running


def test_a_run_is_written_beside_its_input_and_summarised(run_cli, inputs):
    done = run_cli("--input", inputs)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(("The plan ", "The run "))
    assert "12 tasks, 4 agents, 3 waves, strategy maximize_success, " in lines[2]
    assert [line.split()[0] for line in lines if line[:1].isdigit()] == ["1", "2", "3"]
    run_dir = inputs.parent / "phase19"
    assert f"Results are in {run_dir}; the report is {run_dir / 'report.html'}" in lines
    assert json.loads((run_dir / "optimization_summary.json").read_text())["phase"] == 19
    assert ESCAPE not in done.stdout


def test_json_prints_the_summary_and_nothing_else(run_cli, inputs, tmp_path):
    done = run_cli("--input", inputs, "--output", tmp_path / "run", "--json")
    assert done.stdout == (tmp_path / "run" / "optimization_summary.json").read_text()
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("limit", "arguments", "is_advised"),
    [(11, [], True), (12, [], False), (11, ["--format", "parquet"], False), (11, ["--json"], False)],
    ids=["more tasks", "as many tasks", "parquet", "json"],
)
def test_a_run_of_many_tasks_advises_parquet(run_cli, inputs, monkeypatch, limit, arguments, is_advised):
    monkeypatch.setattr(runs, "MANY_TASKS", limit)  # there are 12
    done = run_cli("--input", inputs, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("Hint: with so many tasks, --format parquet" in done.stdout) == is_advised


def test_quiet_prints_nothing_and_verbose_prints_the_five_metrics(run_cli, inputs, tmp_path):
    quiet = run_cli("--input", inputs, "--output", tmp_path / "run", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = run_cli("--input", inputs, "--output", tmp_path / "run", "--verbose")
    assert re.search(r"^schedule_accuracy +(within bounds|warning|critical) ", verbose.stdout, re.MULTILINE)


def test_warnings_go_to_stderr(run_cli, inputs, tmp_path):
    summary = json.loads((inputs / "multi_agent_summary.json").read_text())
    (inputs / "multi_agent_summary.json").write_text(json.dumps({**summary, "novelty": 1}))
    done = run_cli("--input", inputs, "--output", tmp_path / "run")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")
    assert "novelty" in done.stderr
    assert "warning:" not in done.stdout


def test_a_terminal_gets_colour_and_its_own_width(inputs):
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "phase19", "--input", inputs]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "140"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=child, stderr=child, stdin=subprocess.DEVNULL, env=environment) as process:
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 65536):
                shown += piece
        except OSError:  # Linux reports the closed terminal this way
            os.close(parent)
    assert process.returncode == 0
    assert f"{ESCAPE}[".encode() in shown
    assert b"prediction error" in shown


def test_a_closed_pipe_is_not_an_error(inputs):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "phase19", "validate", "--input", inputs]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_with_markup_or_outside_the_encoding_are_printed(run_cli, inputs, tmp_path):
    rows = [{"task_id": "tâche 1"}, {"task_id": "tâche 2"}]
    (inputs / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_dir = tmp_path / "[b]résultat"
    done = run_cli("--input", inputs, "--output", run_dir, PYTHONIOENCODING="ascii")
    assert (done.returncode, "such as 't\\xe2che 1' (the records name 'task_0'), so" in done.stderr) == (0, True)
    assert "[b]r\\xe9sultat" in done.stdout


# Refusing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["frobnicate"], "command or an option, found 'frobnicate'; see --help", id="command"),
        pytest.param(["repotr"], "found 'repotr'; did you mean report?", id="near command"),
        pytest.param(["--inputt", "x"], "Did you mean --input?", id="option"),
        pytest.param(
            ["--input", "{inputs}", "--strategy", "best"],
            "--strategy: expected one of max",
            id="choice",
        ),
        pytest.param(
            ["--input", "{inputs}", "--waves", "0"],
            "--waves: expected a whole number",
            id="bound",
        ),
        pytest.param(["--input", "{inputs}", "--format", "csv"], "--format: expected one of jsonl, pa", id="format"),
        pytest.param(["--input", "{inputs}", "--waves", "1.5"], "--waves: expected a whole number", id="whole"),
        pytest.param(
            ["--input", "{inputs}", "--weights", "luck=1"], "error: --weights: expected weights", id="weights"
        ),
        pytest.param(["--input", "{inputs}", "--quiet", "--json"], "error: --quiet cannot be combined", id="quiet"),
        pytest.param(["--input", "{inputs}", "--executor", "live"], "--executor live and a runner", id="live"),
        pytest.param(["--input", "{inputs}/none"], "phase18/none", id="no input"),
        pytest.param(["--input", "{inputs}", "--phase16", "{inputs}/none"], "phase18/none", id="no phase 16"),
        pytest.param(["--input", "{inputs}", "--output", "{inputs}"], "is or contains the input", id="output is input"),
        pytest.param(
            ["--input", "{inputs}", "--output", "{inputs}/../x"], "x: expected a directory", id="output is file"
        ),
        pytest.param(["--input", "{inputs}", "--output", ""], "--output: expected a value, found nothing", id="empty"),
        pytest.param(["--input="], "--input: expected a path, found ''", id="joined empty"),
        pytest.param(["--input", "{inputs}", "--output", "{inputs}/a"], "is inside the input", id="output in input"),
        pytest.param(["--input", "{inputs}", "--seed", str(2**63)], "--seed: expected a whole number", id="seed"),
        pytest.param(["--input", "{inputs}/\x1b[31m\u2028b"], "\\x1b[31m\\u2028b: expected a directory", id="controls"),
        pytest.param(["report", "../run"], "expected the name of an option before '../run', such as --", id="no name"),
        pytest.param(["report", "--compare", "a"], "--compare: expected 2 values, found 1", id="one of two values"),
        pytest.param(["explain"], "TASK: expected 1 value, found none", id="no task"),
        pytest.param(["run", "--input"], "--input: expected 1 value, found none", id="no value"),
        pytest.param(["run", "--seed", "1", "--seed", "2"], "--seed: expected it once, found it several", id="twice"),
        pytest.param(["report", "--run", "{inputs}"], "expected a Phase 19 run, found no optimization", id="no run"),
    ],
)
def test_bad_usage_is_one_message_and_changes_no_file(run_cli, inputs, arguments, message):
    (inputs.parent / "x").write_text("a file")
    before = tree(inputs.parent)
    done = run_cli(*(argument.format(inputs=inputs) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree(inputs.parent) == before


def test_a_bad_input_names_file_line_and_field(run_cli, inputs):
    (inputs / "tasks.jsonl").write_text('{"task_id": "a"}\n{"task_id": 7}\n')
    done = run_cli("--input", inputs)
    assert done.returncode == 2
    assert re.search(r"^error: .*tasks\.jsonl, line 2: field 'task_id': expected .*, found ", done.stderr)
    assert not (inputs.parent / "phase19").exists()


# Ending


def run_main(monkeypatch, result, *arguments):
    def ended(*_, **__):
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(harness, "run", ended)
    return cli.main(["--input", "x", *arguments])


def test_a_keyboard_interrupt_exits_with_130(monkeypatch, capsys):
    assert run_main(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_the_notes_of_an_error_are_printed(monkeypatch, capsys):
    problem = UsageError("runner: expected a result")
    problem.add_note("The attempts that ended are in x")
    assert run_main(monkeypatch, problem) == 2
    assert capsys.readouterr().err == "error: runner: expected a result\nThe attempts that ended are in x\n"


def test_an_interrupted_run_that_was_published_exits_with_130(monkeypatch):
    result = SimpleNamespace(is_interrupted=True, warnings=(), run_dir=Path())
    assert run_main(monkeypatch, result, "--quiet") == 130


def test_a_bug_raises(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run_main(monkeypatch, ZeroDivisionError())


# --fail-on


def ended(*anomalies, alerts=()):
    """A run with anomalies of these severities and descriptions, and alerts of these severities."""
    return SimpleNamespace(
        is_interrupted=False,
        warnings=(),
        run_dir=Path(),
        anomalies=[SimpleNamespace(severity=severity, description=text) for severity, text in anomalies],
        alerts=[{"severity": name, "message": f"Alert {name}."} for name in alerts],
    )


@pytest.mark.parametrize(
    ("condition", "result", "found"),
    [
        ("anomaly", ended(), None),
        ("anomaly", ended(alerts=["critical"]), None),
        ("anomaly", ended(("low", "Too slow."), ("medium", "Too bad.")), "Too slow. Too bad."),
        ("critical", ended(("low", "Too slow."), ("medium", "Too bad.")), None),
        ("critical", ended(alerts=["critical"]), None),  # of a metric
        ("critical", ended(("low", "Too slow."), ("high", "Too bad.")), "Too bad."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_fails_with_code_3_only_if_the_condition_holds(monkeypatch, capsys, condition, result, found):
    code = run_main(monkeypatch, result, "--quiet", "--fail-on", condition)
    line = f"exit code 3, because of --fail-on {condition}: {found}\n" if found else ""
    assert (code, capsys.readouterr()) == (3 if found else 0, ("", line))
    assert run_main(monkeypatch, result, "--quiet") == 0


def test_a_run_that_fails_its_condition_is_written_all_the_same(run_cli, inputs, tmp_path):
    outcomes = tmp_path / "outcomes.jsonl"
    pairs = ((task, agent) for task in range(12) for agent in range(4))
    rows = [{"task_id": f"task_{task}", "agent_id": f"agent_{agent}", "status": "failed"} for task, agent in pairs]
    outcomes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replay = ("--input", inputs, "--executor", "replay", "--executions", outcomes, "--json")
    done = run_cli(*replay, "--fail-on", "critical")
    assert done.returncode == 3
    (said,) = (line for line in done.stderr.splitlines() if not line.startswith("warning: "))
    assert said.startswith("exit code 3, because of --fail-on critical: ")
    assert "Success was planned too high: " in said
    assert done.stdout == (inputs.parent / "phase19" / "optimization_summary.json").read_text()


# The other commands


@pytest.mark.parametrize("command", ["compare", "backtest"])
def test_a_default_output_replaces_only_an_earlier_result(run_cli, inputs, command):
    arguments = [command, "--input", inputs]
    name = "strategy_comparison.jsonl"
    if command == "backtest":
        arguments += ["--executions", inputs.parent / "phase17" / "execution_outcomes.jsonl"]
        name = "backtest.json"
    place = inputs.parent / name
    place.write_text("my notes")
    refused = run_cli(*arguments)
    assert (refused.returncode, place.read_text()) == (2, "my notes")
    assert (
        refused.stderr
        == f"error: {place}: found a file of yours, which is not replaced; choose another with --output\n"
    )
    assert run_cli(*arguments, "--output", place).returncode == 0
    written = place.read_text()
    assert len(written) > len("my notes")
    assert run_cli(*arguments).returncode == 0


def test_a_shell_completes_commands_options_and_choices(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run_cli("--install-completion", "bash")
    script = tmp_path / ".local" / "share" / "bash-completion" / "completions" / "phase19"
    assert (done.returncode, done.stdout) == (0, f"Written to {script}; it takes effect in new shells\n")
    asked = f"""
        . {tmp_path / ".bashrc"}
        for words in 'phase19 expl' 'phase19 query --form' 'phase19 run --strategy bal'; do
            COMP_WORDS=($words); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _phase19; echo "${{COMPREPLY[@]}}"
        done
    """
    shown = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout
    assert shown.split("\n")[:-1] == ["explain", "--format", "balance_load"]
    for shell in ("zsh", "fish"):
        assert run_cli("--install-completion", shell).returncode == 0
        assert list(tmp_path.rglob("*phase19*" if shell == "zsh" else "phase19.fish"))


def test_validate_prints_what_it_found_and_writes_nothing(run_cli, inputs):
    before = tree(inputs.parent)
    done = run_cli("validate", "--input", inputs)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^16 +planned_tasks\.jsonl +used +forecast +none +12$", done.stdout, re.MULTILINE)
    assert "The inputs are valid: 12 tasks (planned_tasks.jsonl), 4 agents, 13 recorded attempts." in done.stdout
    assert "12 of 12 tasks and 4 of 4 agents have records." in " ".join(done.stdout.split())
    assert tree(inputs.parent) == before


def test_validate_prints_an_error_a_line_where_run_prints_the_first(run_cli, inputs):
    (inputs / "task_outcomes.jsonl").write_text('{"task_id": 1}\n\n{"task_id": "a\\n"}\n')
    (inputs / "system_health.json").unlink()
    done = run_cli("validate", "--input", inputs)
    assert (done.returncode, done.stdout) == (2, "")
    places = [line.partition(": ")[2].partition(": ")[0] for line in done.stderr.splitlines()]
    outcomes = inputs / "task_outcomes.jsonl"
    assert places == [f"{inputs / 'system_health.json'}", f"{outcomes}, line 1", f"{outcomes}, line 3"]
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    stopped = run_cli("run", "--input", inputs)
    assert (stopped.returncode, stopped.stderr) == (2, done.stderr.splitlines(keepends=True)[0])


def test_import_says_that_directories_beside_its_output_are_read_too(run_cli, tmp_path):
    (tmp_path / "log.csv").write_text("task,agent,passed\na,x,1\n")
    roles = ("--task", "task", "--agent", "agent", "--success", "passed")
    (tmp_path / "phase17").mkdir()
    done = run_cli("import", "table", "log.csv", "--output", "mine", *roles, cwd=tmp_path)
    assert "A run also reads phase17: if these are not yours, import elsewhere." in done.stdout


def test_sample_makes_inputs_of_the_size_asked_for(run_cli, tmp_path):
    done = run_cli("sample", tmp_path / "s", "--tasks", "30", "--agents", "5", "--waves", "2", "--seed", "3")
    assert (done.returncode, done.stderr) == (0, "")
    found = run_cli("validate", "--input", tmp_path / "s" / "phase18").stdout
    assert "The inputs are valid: 30 tasks (planned_tasks.jsonl), 5 agents, " in found


def test_report_writes_the_same_files_as_the_run(run_cli, inputs):
    run_cli("--input", inputs, "--quiet")
    run_dir = inputs.parent / "phase19"
    before = tree(run_dir)
    for name in ("report.html", "PHASE_19_AUTONOMOUS_OPTIMIZATION.md"):
        (run_dir / name).unlink()
    done = run_cli("report", "--run", run_dir)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(Path, done.stdout.splitlines())) == sorted(
        run_dir / name for name in ("report.html", "PHASE_19_AUTONOMOUS_OPTIMIZATION.md")
    )
    assert tree(run_dir) == before


def test_a_sample_is_made_and_run_in_an_empty_directory_without_options(run_cli, tmp_path):
    lost = run_cli("run", cwd=tmp_path)
    assert (lost.returncode, lost.stdout) == (2, "")
    found = "nothing; the commands sample, init and import make one"
    assert lost.stderr == f"error: outputs/phase18: expected a directory, found {found}\n"
    made = run_cli("sample", "--tasks", "12", "--agents", "3", "--waves", "2", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "Next: python -m phase19 run --input outputs/phase18\n")
    assert run_cli("run", cwd=tmp_path).returncode == 0
    assert (tmp_path / "outputs" / "phase19" / "report.html").is_file()


def test_from_a_table_to_a_plan_in_two_commands(run_cli, tmp_path):
    (tmp_path / "my log.csv").write_text(
        "task,agent,passed,seconds,started\n"
        + "".join(f"t{i},{agent},{i % 3 > 0},{i + 1},2026-01-02T03:0{i}:00Z\n" for i in range(6) for agent in "xy")
        + "open 1,,,,\nopen 2,,,,\n"
    )
    source = ("import", "table", tmp_path / "my log.csv", "--output", tmp_path / "mine")
    proposal = run_cli(*source)
    assert (proposal.returncode, proposal.stdout) == (2, "")
    options = ("--task", "task", "--agent", "agent", "--success", "passed", "--duration", "seconds:s")
    assert proposal.stderr == (
        f"error: {tmp_path}/my log.csv: name the columns (found task, agent, passed, seconds, started); "
        f"if these are right, type:\npython -m phase19 import table '{tmp_path}/my log.csv' "
        f"--output {tmp_path}/mine {' '.join(options)} --timestamp started\n"
    )
    (tmp_path / "empty.csv").write_text("x\n")
    unlike = run_cli("import", "table", tmp_path / "empty.csv", "--output", tmp_path / "mine", "--task", "t")
    assert (unlike.returncode, unlike.stdout) == (2, "")
    assert unlike.stderr == (
        f"error: {tmp_path}/empty.csv: name the columns (found x); no column looks like one for --agent, --success: "
        f"put its name in place of COLUMN in\npython -m phase19 import table {tmp_path}/empty.csv "
        f"--output {tmp_path}/mine --task t --agent COLUMN --success COLUMN\n"
    )
    done = run_cli(*source, *options, "--timestamp", "started")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^attempts +12$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"Next: python -m phase19 run --input {tmp_path}/mine\n")
    planned = run_cli("run", "--input", tmp_path / "mine", "--json")
    assert planned.returncode == 0
    assert json.loads(planned.stdout)["total_tasks"] == 2

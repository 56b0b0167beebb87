"""Logs of known formats become input directories: a sample and its golden each, and the traps of the format."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

from phase19.errors import InputError, UsageError
from phase19.inputs.importers.attempts import write_inputs

SAMPLES = Path(__file__).parent.parent / "data" / "imports"
FORMATS = ("terminal-bench", "harbor")


def read(name, *paths, **options):
    return import_module(f"phase19.inputs.importers.{name.replace('-', '_')}").read(paths, **options)


def write(place, files):
    """Write files: a list is written as JSON lines, text as it is, anything else as one JSON document."""
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = content if isinstance(content, list) else [content]
        path.write_text(content if isinstance(content, str) else "".join(json.dumps(line) + "\n" for line in lines))
    return place


def columns(found, *names):
    return found.rows.select(names).rows()


@pytest.mark.parametrize("name", FORMATS)
def test_the_sample_of_a_format_is_imported_as_agreed_and_can_be_planned(name, tmp_path, golden, run_cli):
    place = tmp_path / "mine"
    done = run_cli("import", name, SAMPLES / name, "--output", place)
    assert (done.returncode, done.stderr) == (0, "")
    golden.text(f"imports/{name}.txt", done.stdout.replace(str(place), "mine"))
    for path in sorted(place.iterdir()):
        text = path.read_text("utf-8")
        rows = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
        if rows not in ([], [{}], [[]]):
            golden.rows(f"imports/{name}/{path.stem}", rows)
    planned = run_cli("run", "--input", place, "--output", tmp_path / "run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["total_tasks"] > 0


@pytest.mark.parametrize("name", FORMATS)
def test_an_import_does_not_depend_on_the_order_or_repetition_of_paths(name):
    once, folder = read(name, SAMPLES / name), SAMPLES / name
    twice = read(name, *sorted(folder.iterdir(), reverse=True), folder)
    assert twice.rows.equals(once.rows)
    assert twice.counts == once.counts


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_without_such_files_and_options_of_tables_are_refused(name, tmp_path, run_cli):
    with pytest.raises(UsageError, match=r"expected .* in .*, found none"):
        read(name, tmp_path)
    with pytest.raises(InputError, match="expected a file or a folder, found nothing"):
        read(name, tmp_path / "absent")
    done = run_cli("import", name, SAMPLES / name, "--output", tmp_path / "x", "--task", "id", "--threshold", "0.5")
    assert (done.returncode, done.stderr) == (2, f"error: --task, --threshold: only for `import table`, found {name}\n")


@pytest.mark.parametrize(
    ("name", "path", "line"),
    [("terminal-bench", "run/results.json", None), ("harbor", "job/walk__abcdefh/result.json", None)],
)
def test_what_is_not_json_is_an_error_unless_it_may_be_dropped(name, path, line, tmp_path):
    torn = write(tmp_path, {path: '{"task_id": "a", "res'}) / path
    with pytest.raises(InputError, match=rf"{torn}, line {line or 1}: expected JSON \(--drop-torn-lines .*\), found"):
        read(name, SAMPLES / name, torn)
    found = read(name, SAMPLES / name, torn, drop_torn_lines=True)
    assert found.counts["unreadable"] == 1
    assert found.rows.equals(read(name, SAMPLES / name).rows)


# Terminal-Bench


def trial(**fields):
    return {
        "id": "u1",
        "task_id": "a",
        "trial_name": "a.1-of-1.r",
        "is_resolved": True,
        "failure_mode": "unset",
    } | fields


def test_terminal_bench_rows_stand_in_the_results_of_runs_and_of_trials(tmp_path):
    nested = {"results": [trial(), trial(id="u2", task_id="b.c")]}
    files = {
        "r/results.json": nested,
        "r/r/results.json": nested,  # a copy of the run inside it
        "r/a/a.1-of-1.r/results.json": trial(agent_started_at="2026-01-02", agent_ended_at="2026-01-02T00:00:02"),
        "r/run_metadata.json": {"agent_name": "pilot", "model_name": None, "dataset_name": "d"},
    }
    found = read("terminal-bench", write(tmp_path, files))
    # The time of u1 is only in the file of the trial.
    assert columns(found, "task_id", "agent_id", "duration_ms", "category", "trial") == [
        ("a", "pilot", 2000.0, "d", 1),
        ("b.c", "pilot", None, "d", 1),
    ]
    assert found.counts == {"rows": 5, "unreadable": 0, "repeated": 3}


def test_terminal_bench_trials_of_several_runs_are_numbered_on(tmp_path):
    runs = {f"{run}/results.json": {"results": [trial(id=run, is_resolved=run == "s")]} for run in "rs"}
    agents = {f"{run}/run_metadata.json": {"agent_name": "x", "model_name": "m"} for run in "rs"}
    found = read("terminal-bench", write(tmp_path, runs | agents))
    assert columns(found, "agent_id", "is_success", "trial") == [("x+m", False, 1), ("x+m", True, 2)]


def test_terminal_bench_submissions_are_named_by_metadata_or_folder(tmp_path):
    place = "results/drills:0.1/2026_x_m"
    files = {
        f"{place}/one/results.json": {"results": [trial()]},
        f"{place}/two_results.json": {"results": [trial(id="u2")]},
        f"{place}/one/run_metadata.json": {"agent_name": "x", "model_name": "m"},
        "results/drills@0.1/2026_y/results.json": {"results": [trial(id="u3")]},
    }
    found = read("terminal-bench", write(tmp_path, files))
    assert columns(found, "agent_id", "category") == [("2026_y", "drills"), ("x+m", "drills"), ("x+m", "drills")]
    # A file that was given has its metadata beside it.
    alone = read("terminal-bench", tmp_path / place / "one" / "results.json")
    assert columns(alone, "agent_id") == [("x+m",)]


@pytest.mark.parametrize(
    ("resolved", "failure", "expected"),
    [
        (True, "unset", (True, False, False, None)),
        (True, "agent_timeout", (True, False, True, "agent_timeout")),  # tested all the same
        (False, "agent_timeout", (False, False, True, "agent_timeout")),
        (None, "test_timeout", (None, True, False, "test_timeout")),
    ],
)
def test_terminal_bench_outcomes(resolved, failure, expected, tmp_path):
    files = {"r/results.json": {"results": [trial(is_resolved=resolved, failure_mode=failure)]}}
    found = read("terminal-bench", write(tmp_path, files))
    assert columns(found, "is_success", "is_void", "is_censored", "error_message") == [expected]


# Harbor


def result(**fields):
    return {"task_name": "a", "agent_info": {"name": "x"}, "verifier_result": {"rewards": {"reward": 1.0}}} | fields


def error(kind):
    return {"exception_type": kind, "exception_message": "why"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (True, False)),
        ({"verifier_result": {"rewards": {"reward": 0.99}}}, (False, False)),
        ({"verifier_result": {"rewards": {"tests": 1}}}, (True, False)),
        ({"verifier_result": {"rewards": {"reward": 0, "style": 1}}}, (False, False)),
        ({"verifier_result": {"rewards": {}}}, (None, False)),
        ({"verifier_result": {"rewards": None}}, (None, False)),
        ({"verifier_result": None}, (None, False)),
        ({"exception_info": error("NonZeroAgentExitCodeError")}, (True, False)),
        ({"exception_info": error("SomethingNewError")}, (True, False)),
        ({"exception_info": error("ApiRateLimitError")}, (True, True)),
        ({"exception_info": error("ApiRateLimitError"), "reward_valid": True}, (True, False)),
        ({"exception_info": error("SomethingNewError"), "reward_valid": False}, (True, True)),
        ({"step_results": [{"exception_info": error("CancelledError")}]}, (True, True)),
    ],
)
def test_harbor_outcomes(fields, expected, tmp_path):
    found = read("harbor", write(tmp_path, {"j/a__1234567/result.json": result(**fields)}))
    assert columns(found, "is_success", "is_void") == [expected]
    assert found.unmapped == {}


def test_harbor_rewards_that_are_no_outcome_are_shown(tmp_path):
    rewards = ({"speed": 0.5, "style": 1.0}, {"reward": 37})
    files = {f"j/a__{i}/result.json": result(verifier_result={"rewards": each}) for i, each in enumerate(rewards)}
    found = read("harbor", write(tmp_path, files))
    assert found.unmapped == {"reward": ["0.5, 1.0", "37"]}
    assert found.counts["with a reward that is not understood"] == 2
    with pytest.raises(UsageError, match="expected at least one attempt with a task, an agent and an outcome"):
        write_inputs(found, tmp_path / "inputs")

"""What a run takes over from the one that `--previous` names: real outcomes and weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import phase19
from phase19 import frames
from phase19.errors import InputError
from phase19.inputs.history import read_approvals, read_executions, read_previous
from tests.rules import Rules

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "outputs" / "phase18"
FIXED: dict[str, Any] = {"input": SAMPLE, "seed": 7, "timestamp": "2026-02-05T12:00:00Z"}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def document(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def planned(run_dir: Path) -> dict[str, bytes]:
    """The bytes of every forecast of a run, and of its weights."""
    files = [*run_dir.glob("wave_*/*/planned_tasks.jsonl"), run_dir / "heuristic_weights.json"]
    return {path.relative_to(run_dir).as_posix(): path.read_bytes() for path in files}


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def edit(root: Path, name: str, **members: Any) -> None:
    members = document(root / name) | members
    (root / name).write_text(json.dumps({key: value for key, value in members.items() if value is not ...}))


def test_executions_are_attempts_of_a_run(tmp_path):
    path = write(
        tmp_path,
        "executions.jsonl",
        '{"task_id": "a", "agent_id": "x", "attempt": 1, "status": "failed", "execution_time_ms": null}\n'
        '{"task_id": "a", "agent_id": "x", "attempt": 2, "status": "success", "execution_time_ms": 9, "wave": 1}\n'
        '{"task_id": "b", "agent_id": "x", "attempts": 3, "status": "success"}\n'
        '{"task_id": "c", "agent_id": "x", "status": "success", "confidence_before": 0.5, "confidence_after": 0.25}\n',
    )
    attempts = read_executions(path, [])
    frames.ATTEMPTS.validate(attempts)
    assert attempts["attempt"].to_list() == [1, 2, 3, 1, 1, 2]  # b's attempts 1 and 2 are missing: they failed
    assert attempts["duration_ms"].to_list() == [None, 9.0, *[None] * 4]
    assert attempts["source"].unique().to_list() == ["run"]
    assert attempts["confidence_delta"].to_list() == [None, None, None, -0.25, None, None]


def test_executions_say_whether_a_limit_stopped_them(tmp_path):
    row = '{"task_id": "a", "agent_id": "x", "attempt": %d, "status": "failed", "is_censored": %s}'
    lines = "\n".join(row % marked for marked in enumerate(("false", "true", "null"), 1))
    assert read_executions(write(tmp_path, "executions.jsonl", lines), [])["is_censored"].to_list() == [
        False,
        True,
        False,
    ]


def test_executions_stand_once(tmp_path):
    row = '{"task_id": "a", "agent_id": "x", "attempt": 2, "status": "failed"}'
    path = write(tmp_path, "executions.jsonl", f"{row}\n\n{row.replace('2', '1')}\n{row}\n")
    with pytest.raises(InputError) as caught:
        read_executions(path, [])
    assert (caught.value.line, caught.value.field) == (4, "task_id, agent_id, attempt")
    assert caught.value.found == "'a', 'x', 2 again (first on line 1)"


def test_a_replay_takes_the_first_judged_trial_of_a_pair(tmp_path):
    row = '{"task_id": "a", "agent_id": "x", "trial": %d, "status": "%s", "execution_time_ms": %d}'
    rows = [row % each for each in ((1, "error", 1), (2, "failed", 2), (3, "success", 3))]
    rows += ['{"task_id": "a", "agent_id": "x", "status": "success", "timestamp": "2026-02-05T12:00:00Z"}']
    warnings: list[str] = []
    attempts = read_executions(write(tmp_path, "trials.jsonl", "\n".join(rows)), warnings)
    assert attempts.select("task_id", "is_success", "duration_ms").rows() == [("a", False, 2.0)]
    assert warnings[-1] == "trials.jsonl: 2 attempts left out, since a replay takes the first trial"


def test_a_time_below_a_microsecond_counts_as_half_the_smallest_longer_one(tmp_path):
    row = '{"task_id": "%s", "agent_id": "x", "status": "success", "execution_time_ms": %s}'
    lines = "\n".join(row % each for each in (("a", "1e-300"), ("b", "0"), ("c", "0.001"), ("d", "5")))
    warnings: list[str] = []
    attempts = read_executions(write(tmp_path, "e.jsonl", lines), warnings)
    assert attempts["duration_ms"].to_list() == [0.0005, 0.0005, 0.001, 5.0]
    taken = "it is taken as 0.0005 ms, half the smallest longer time"
    assert warnings == [f"e.jsonl: 2 attempts with a time of 0 or below a microsecond; {taken}"]


def test_executions_need_an_agent(tmp_path):
    path = write(tmp_path, "executions.jsonl", '{"task_id": "a", "status": "failed"}')
    with pytest.raises(InputError, match="line 1: field 'agent_id'"):
        read_executions(path, [])


def test_an_approval_as_a_json_object_is_refused_and_not_taken_as_an_id(tmp_path):
    path = write(tmp_path, "approved.txt", 'a\n\n{"task_id": "b"}\n')
    with pytest.raises(InputError, match=r"approved\.txt, line 3: expected one task id, without JSON"):
        read_approvals(path)


def test_approvals_are_ids_one_per_line(tmp_path):
    path = write(tmp_path, "approve", b"\xef\xbb\xbfa task\r\n\n  b \n{c}\na task\n")
    assert read_approvals(path).to_list() == ["a task", "b", "{c}"]
    empty = read_approvals(write(tmp_path, "nobody", ""))
    assert (empty.dtype, empty.len()) == (pl.String, 0)


@pytest.fixture
def run_dir(tmp_path):
    write(tmp_path, "optimization_summary.json", '{"phase": 19, "run_id": "r1", "simulated": false}')
    write(tmp_path, "heuristic_weights.json", '{"H16_001": 1.05, "H16_002": 1, "updated_at": "2026-02-05T12:00:00Z"}')
    rows = [
        {"task_id": "a", "agent_id": "x", "wave": 2, "scheduled_start_time": 0, "actual_start_time": 10,
         "actual_end_time": 100, "status": "completed", "retry_count": 2, "risk_level": "LOW"},
        {"task_id": "b", "agent_id": "x", "wave": 2, "actual_start_time": 100, "actual_end_time": 130,
         "status": "failed", "retry_count": 0},
        {"task_id": "c", "agent_id": "x", "wave": 2, "actual_start_time": None, "actual_end_time": None,
         "status": "unobserved", "retry_count": 0},
    ]  # fmt: skip
    write(tmp_path, "wave_2/x/scheduled_tasks.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path, "wave_2/idle/scheduled_tasks.jsonl", "")
    return tmp_path


def test_an_earlier_run_hands_on_weights_and_every_attempt(run_dir):
    previous = read_previous(run_dir)
    assert (previous.run_id, previous.is_simulated) == ("r1", False)
    assert previous.weights == {"H16_001": 1.05, "H16_002": 1.0}
    frames.ATTEMPTS.validate(previous.attempts)
    # a took (100 - 10) ms over 3 attempts, of which the last succeeded; c did not run.
    assert previous.attempts.select("task_id", "attempt", "is_success", "duration_ms", "risk_level").rows() == [
        ("a", 1, False, None, "LOW"),
        ("a", 2, False, None, "LOW"),
        ("a", 3, True, 30.0, "LOW"),
        ("b", 1, False, 30.0, None),
    ]
    assert previous.attempts["source"].unique().to_list() == ["previous"]


def test_a_simulated_run_teaches_nothing(run_dir):
    edit(run_dir, "optimization_summary.json", simulated=True)
    previous = read_previous(run_dir)
    assert previous.is_simulated and previous.weights == {} and previous.attempts.equals(frames.ATTEMPTS.empty())


@pytest.mark.parametrize(
    ("name", "members", "field"),
    [
        ("optimization_summary.json", {"simulated": ...}, "simulated"),
        ("optimization_summary.json", {"run_id": ""}, "run_id"),
        ("heuristic_weights.json", {"H16_002": "much"}, "H16_002"),
        ("heuristic_weights.json", {"H16_002": -1}, "H16_002"),
    ],
)
def test_a_bad_file_of_an_earlier_run_is_named(run_dir, name, members, field):
    edit(run_dir, name, **members)
    with pytest.raises(InputError) as caught:
        read_previous(run_dir)
    assert (caught.value.file, caught.value.field) == (str(run_dir / name), field)


@pytest.mark.parametrize(("field", "value"), [("actual_end_time", 5), ("retry_count", 10**9)])
def test_a_bad_row_of_an_earlier_run_is_named(run_dir, field, value):
    path = run_dir / "wave_2/x/scheduled_tasks.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([*others, json.dumps(json.loads(first) | {field: value})]))
    with pytest.raises(InputError) as caught:
        read_previous(run_dir)
    assert (caught.value.line, caught.value.field) == (3, field)


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"optimization_summary.json: expected a file, found nothing"):
        read_previous(tmp_path)


@pytest.fixture(scope="module")
def places(sample_run, tmp_path_factory):
    """A dry run, a replay that knows some of the times, and a replay that names it."""
    place = tmp_path_factory.mktemp("chain")
    shutil.copytree(sample_run.run_dir, place / "dry")
    executions = place / "executions.jsonl"
    records = [
        {"task_id": task, "agent_id": f"agent_{i}", "attempt": 1, "status": "failed" if i == 0 else "success"}
        | ({"execution_time_ms": 20.0 + i, "is_censored": i == 2} if i > 1 else {})
        for task in sample_run.executions["task_id"]
        for i in range(4)
    ]
    executions.write_text("".join(json.dumps(row) + "\n" for row in records))
    replay: dict[str, Any] = {"executor": "replay", "executions": executions, **FIXED}
    phase19.run(output=place / "replayed", **replay)
    phase19.run(output=place / "second", previous=place / "replayed", **replay)
    return place


class TestWhatWasSimulatedNeverTeaches:
    @pytest.mark.no_cover
    def test_a_dry_run_changes_no_forecast_and_no_weight(self, run_cli, places, tmp_path):
        options = ("--input", SAMPLE, "--seed", "7", "--timestamp", "2026-02-05T12:00:00Z")
        done = run_cli(*options, "--output", tmp_path / "after", "--previous", places / "dry")
        assert done.returncode == 0
        said = f"{places / 'dry'} is a simulated run, so nothing is learned from it"
        assert done.stderr == f"warning: --previous: {said}\n"
        before = document(places / "dry" / "optimization_summary.json")["run_id"]
        report = (tmp_path / "after" / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text()
        assert f"| run id | {before} |\n| simulated | True |\n| attempt count | 0 |" in report
        forecasts = planned(places / "dry")
        assert len(forecasts) > 12
        assert planned(tmp_path / "after") == forecasts
        summary = document(tmp_path / "after" / "optimization_summary.json")
        assert summary["previous"] == {
            "run_id": before,
            "simulated": True,
            "attempt_count": 0,
            "weight_count": 0,
        }
        assert document(places / "dry" / "optimization_summary.json")["previous"] is None

    def test_its_weights_are_marked_and_stay_behind(self, places):
        updates = rows(places / "dry" / "heuristic_updates.jsonl")
        assert any(row["weight"] != 1.0 for row in updates)
        assert all(row["simulated"] and "no later run uses this weight" in row["reason"] for row in updates)
        assert read_previous(places / "dry").weights == {}


class TestWhatWasRealTeaches:
    def test_the_summary_and_the_report_say_what_was_taken(self, places):
        replayed = document(places / "replayed" / "optimization_summary.json")
        taken = document(places / "second" / "optimization_summary.json")["previous"]
        assert taken["run_id"] == replayed["run_id"]
        weights = document(places / "replayed" / "heuristic_weights.json")
        attempts = sum(
            row["retry_count"] + 1
            for path in (places / "replayed").glob("wave_*/*/scheduled_tasks.jsonl")
            for row in rows(path)
        )
        assert (taken["simulated"], taken["attempt_count"]) == (False, attempts)
        assert taken["weight_count"] == len(weights) - 1
        report = (places / "second" / "PHASE_19_AUTONOMOUS_OPTIMIZATION.md").read_text()
        assert f"| run id | {taken['run_id']} |\n| simulated | False |\n| attempt count | {attempts} |" in report
        updates = {
            row["heuristic_id"]: row["previous_weight"] for row in rows(places / "second" / "heuristic_updates.jsonl")
        }
        assert updates == {name: weight for name, weight in weights.items() if name != "updated_at"}
        assert planned(places / "second") != planned(places / "replayed")

    def test_a_time_that_nobody_measured_is_marked_and_teaches_no_duration(self, places):
        tasks = [row for path in (places / "replayed").glob("wave_*/*/scheduled_tasks.jsonl") for row in rows(path)]
        marks = {(row["agent_id"], row["is_duration_measured"], row["is_censored"]) for row in tasks}
        assert marks == {
            ("agent_0", False, False), ("agent_1", False, False), ("agent_2", True, True), ("agent_3", True, False),
        }  # fmt: skip
        times = ("actual_duration_ms", "actual_start_time", "actual_end_time")
        assert all((row[name] is not None) == row["is_duration_measured"] for row in tasks for name in times)
        attempts = read_previous(places / "replayed").attempts
        frames.ATTEMPTS.validate(attempts)
        measured = attempts.group_by("agent_id").agg(
            pl.col("duration_ms").is_not_null().any(), pl.col("is_censored").any()
        )
        assert measured.sort("agent_id").rows() == [
            ("agent_0", False, False), ("agent_1", False, False), ("agent_2", True, True), ("agent_3", True, False),
        ]  # fmt: skip

    def test_a_dry_run_measures_every_time(self, places):
        tasks = [row for path in (places / "dry").glob("wave_*/*/scheduled_tasks.jsonl") for row in rows(path)]
        assert {(row["is_duration_measured"], row["is_censored"]) for row in tasks} == {(True, False)}


@pytest.fixture
def copy(places, tmp_path):
    """The replay's run directory, to be spoilt."""
    for path in (places / "replayed").rglob("*"):
        if path.is_file():
            target = tmp_path / "run" / path.relative_to(places / "replayed")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "run"


class TestWhatIsRefused:
    @pytest.mark.parametrize("weight", [0.49, 1.51, 1e300])
    def test_a_weight_out_of_bounds_ends_the_command_with_2(self, run_cli, copy, tmp_path, weight):
        path = copy / "heuristic_weights.json"
        path.write_text(json.dumps(document(path) | {"H16_002": weight}))
        done = run_cli("--input", SAMPLE, "--output", tmp_path / "out", "--previous", copy)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {path}: field 'H16_002': expected a number in [0.5, 1.5], found {weight!r}\n"
        assert not (tmp_path / "out").exists()

    def test_the_bounds_of_a_weight_are_those_of_the_rules(self, copy):
        path = copy / "heuristic_weights.json"
        path.write_text(json.dumps(document(path) | {"H16_002": 1.8}))
        assert read_previous(copy, vars(Rules(heuristic_weight_max=2.0))).weights["H16_002"] == 1.8
        with pytest.raises(InputError, match=r"expected a number in \[0.5, 1.7\], found 1.8"):
            read_previous(copy, vars(Rules(heuristic_weight_max=1.7)))

    @pytest.mark.parametrize("rules", [Rules(heuristic_weight_min=1.1), Rules(heuristic_weight_max=0.9)])
    def test_a_weight_on_its_way_from_1_into_the_bounds_is_taken_over(self, copy, rules):
        path = copy / "heuristic_weights.json"
        path.write_text(json.dumps({"H16_002": 1.0, "updated_at": document(path)["updated_at"]}))
        assert read_previous(copy, vars(rules)).weights == {"H16_002": 1.0}

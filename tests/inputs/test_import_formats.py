"""Logs of known formats become input directories: a sample and its golden each, and the traps of the format."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from phase19.errors import InputError, UsageError
from phase19.inputs.importers.attempts import write_inputs
from phase19.inputs.importers.importing import import_records
from phase19.inputs.loading import load_inputs

SAMPLES = Path(__file__).parent.parent / "data" / "imports"
FORMATS = ("terminal-bench", "harbor", "swebench", "aslib", "openhands", "lm-eval", "inspect")


def read(name, *paths, **options):
    module = "inspect_ai" if name == "inspect" else name.replace("-", "_")
    return import_module(f"phase19.inputs.importers.{module}").read(paths, **options)


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
    counts = {name: int(count) for name, count in re.findall(r"^(.*?) +(\d+)$", done.stdout, re.MULTILINE)}
    counts["added"] = -counts.get("not listed, so failed", 0)
    of_rows = ("unreadable", "repeated", "succeeded", "failed", "void", "not tried yet", "without a task or an agent")
    assert counts["rows"] == sum(counts.get(name, 0) for name in (*of_rows, "of the reference solution", "added"))
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
    ("name", "path"),
    [
        ("terminal-bench", "run/results.json"),
        ("harbor", "job/walk__abcdefh/result.json"),
        ("swebench", "x.y.json"),
        ("openhands", "run/output.jsonl"),
        ("inspect", "2026-01-02T03-04-05_a_x.json"),
        ("lm-eval", "m/samples_a_2026-01-02T03-04-05.jsonl"),
    ],
)
def test_what_is_not_json_is_an_error_unless_it_may_be_dropped(name, path, tmp_path):
    torn = write(tmp_path, {path: '{"task_id": "a", "res'}) / path
    with pytest.raises(InputError, match=rf"{torn}, line 1: expected JSON \(--drop-torn-lines .*\), found"):
        read(name, SAMPLES / name, torn)
    found = read(name, SAMPLES / name, torn, drop_torn_lines=True)
    assert found.counts["unreadable"] == 1
    assert found.rows.equals(read(name, SAMPLES / name).rows)


def test_times_and_costs_that_cannot_be_are_left_out_and_counted(tmp_path):
    samples = (scored(working_time=-1.0), scored(id=8, working_time=float("nan")), scored(id=9, working_time=2.0))
    usage = {"m": {"total_cost": -1.0}}
    found = read("inspect", write(tmp_path, {NAME: log(*(each | {"model_usage": usage} for each in samples))}))
    counts = write_inputs(found, tmp_path / "inputs")
    assert (counts["with an impossible time"], counts["without a time"]) == (2, 2)
    rows = [json.loads(line) for line in (tmp_path / "inputs" / "task_outcomes.jsonl").read_text().splitlines()]
    assert [(row["execution_time_ms"], row["cost"]) for row in rows] == [(None, None), (None, None), (2000.0, None)]


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


def test_terminal_bench_older_rows_have_another_id_or_none(tmp_path):
    old = {name: value for name, value in trial(uuid="u1").items() if name != "id"}
    none = {name: value for name, value in trial().items() if name != "id"}
    files = {"r/results.json": {"results": [old, none, none]}, "r/a/a.1-of-1.r/results.json": old}
    found = read("terminal-bench", write(tmp_path, files))
    assert found.counts == {"rows": 4, "unreadable": 0, "repeated": 1}


def test_text_with_a_byte_order_mark_or_bytes_that_are_not_utf_8(tmp_path):
    path = tmp_path / "r" / "results.json"
    write(tmp_path, {"r/results.json": {"results": [trial(failure_mode="caf_")]}})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"caf_", b"caf\xe9"))
    assert columns(read("terminal-bench", path), "error_message") == [("caf\ufffd",)]


def test_a_run_folder_may_be_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "pilot", {"results.json": {"results": [trial()]}}))
    assert columns(read("terminal-bench", Path()), "agent_id") == [("pilot",)]


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
        ({"verifier_result": {"rewards": {}}}, (None, True)),
        ({"verifier_result": {"rewards": None}}, (None, True)),
        ({"verifier_result": None}, (None, True)),
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
    rewards = ({"speed": 0.5, "style": 1.0}, {"reward": 37}, {"reward": 0.5}, {"reward": 0}, {"reward": 1})
    files = {f"j/a__{i}/result.json": result(verifier_result={"rewards": each}) for i, each in enumerate(rewards)}
    found = read("harbor", write(tmp_path, files))
    assert found.unmapped == {"reward": ["0.5, 1.0", "37"]}
    assert found.counts["reward not understood"] == 2
    assert found.counts["reward between 0 and 1, no success"] == 1
    found = read("harbor", *(tmp_path / f"j/a__{number}" for number in range(2)))
    with pytest.raises(UsageError, match="expected at least one attempt with a task, an agent and an outcome"):
        write_inputs(found, tmp_path / "inputs")


# SWE-bench


def test_swebench_reports_name_agent_and_run_with_dots(tmp_path):
    report = {"resolved_ids": ["r__r-1"], "unresolved_ids": []}
    files = {"acme__m1.2.v1.0.json": report, "other__m.r.json": report}  # the first may be a run of acme/m1, too
    plain = read("swebench", write(tmp_path, files))
    assert columns(plain, "agent_id") == [("acme/m1.2.v1",), ("other/m",)]
    # Predictions give exact names, as lines, as a list or by instance.
    for predictions in (
        [{"model_name_or_path": "acme/m1.2"}],
        "[[1]]",
        {"r__r-1": {"model_name_or_path": "acme/m1.2"}},
    ):
        name = "preds.jsonl" if isinstance(predictions, list) else "preds.json"
        found = read("swebench", write(tmp_path, {name: predictions}))
        assert columns(found, "agent_id") == [("acme/m1.2",), ("other/m",)]


def test_swebench_lists_of_a_report(tmp_path):
    report = {
        "resolved_ids": ["r__a-1"],
        "unresolved_ids": ["r__b-2", "r__c-3", "r__d-4"],
        "empty_patch_ids": ["r__d-4"],
        "error_ids": ["r__e-5"],
        "infra_failure_ids": ["r__c-3", "r__e-5"],
        "incomplete_ids": ["r__f-6", "r__a-1"],
    }
    found = read("swebench", write(tmp_path, {"m.r.json": report}))
    assert columns(found, "task_id", "category", "is_success", "is_void") == [
        ("r__a-1", "r/a", True, False),
        ("r__b-2", "r/b", False, False),
        ("r__c-3", "r/c", None, True),
        ("r__d-4", "r/d", False, False),
        ("r__e-5", "r/e", None, True),
    ]
    assert found.tasks.rows() == [("r__f-6", "r/f")]


def test_swebench_runs_are_trials_and_reports_of_instances_repeat_those_of_runs(tmp_path):
    of_instance = {"r__a-1": {"patch_exists": True, "resolved": True}}
    files = {
        "acme__m.one.json": {"resolved_ids": [], "error_ids": ["r__a-1"]},  # says more than the report of the instance
        "logs/run_evaluation/one/acme__m/r__a-1/report.json": of_instance,
        "logs/run_evaluation/two/acme__m/r__a-1/report.json": of_instance,
        "logs/run_evaluation/two/gold/r__a-1/report.json": of_instance,
    }
    found = read("swebench", write(tmp_path, files))
    assert columns(found, "agent_id", "trial", "is_void") == [("acme/m", 1, True), ("acme/m", 2, False)]
    assert (found.counts["repeated"], found.counts["of the reference solution"]) == (1, 1)


def test_swebench_submissions_failed_at_what_only_others_of_their_split_list(tmp_path):
    files = {
        "evaluation/lite/a/results/results.json": {"resolved": ["r__a-1"], "no_generation": [], "no_logs": ["r__b-2"]},
        "evaluation/lite/b/results/results.json": {"resolved": ["r__c-3"], "no_generation": ["r__b-2"]},
        "evaluation/full/a/results/results.json": {"resolved": ["r__z-9"]},
    }
    found = read("swebench", write(tmp_path, files))
    assert columns(found, "agent_id", "task_id", "is_success") == [
        ("a", "r__a-1", True),
        ("b", "r__a-1", False),
        ("a", "r__b-2", None),
        ("b", "r__b-2", False),
        ("a", "r__c-3", False),
        ("b", "r__c-3", True),
        ("a", "r__z-9", True),
    ]
    assert found.counts["not listed, so failed"] == 2


# ASlib


def scenario(description, runs, measure="runtime", **files):
    attributes = ("instance_id", "repetition", "algorithm", measure, "runstatus")
    header = "".join(f"@attribute {name} string\n" for name in attributes)
    return {"S/description.txt": description, "S/algorithm_runs.arff": f"{header}@data\n{runs}", **files}


TIMED = "performance_measures: runtime\nperformance_type: runtime\nalgorithm_cutoff_time: 100\n"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("99.5,ok", (True, False, 99500.0)),
        ("130,ok", (True, False, 130000.0)),
        ("0,ok", (True, False, 0.0)),
        ("100,timeout", (False, True, 100000.0)),
        ("1000,timeout", (False, True, 100000.0)),  # PAR10
        ("0,TIMEOUT", (False, True, 100000.0)),
        ("5,memout", (False, False, 5000.0)),
        ("1000,memout", (False, False, None)),
        ("0,crash", (False, False, None)),
        ("100,not_applicable", (None, False, None)),
        ("?,other", (None, False, None)),
    ],
)
def test_aslib_runs(run, expected, tmp_path):
    found = read("aslib", write(tmp_path, scenario(TIMED, f"i,1,x,{run}\n")))
    assert columns(found, "is_success", "is_censored", "duration_ms") == [expected]
    assert found.unmapped == {}


@pytest.mark.parametrize(
    ("settings", "duration_ms"),
    [
        (
            "performance_measures:\n  - PAR10\nperformance_type:\n  - runtime\nalgorithm_cutoff_time: 100 # s\n",
            100000.0,
        ),
        ("performance_measures: [PAR10, x]\nperformance_type: [runtime]\nalgorithm_cutoff_time: 0\n", 5000.0),
        ("performance_measures: 'PAR10'\nperformance_type: \"runtime\"\nalgorithm_cutoff_time: ?\n", 5000.0),
    ],
)
def test_aslib_descriptions(settings, duration_ms, tmp_path):
    found = read("aslib", write(tmp_path, scenario(settings, "i,1,x,5,timeout\n", "PAR10")))
    assert columns(found, "duration_ms") == [(duration_ms,)]


def test_aslib_scenarios_of_quality_are_refused(tmp_path):
    description = TIMED.replace("type: runtime", "type: [solution_quality, runtime]")
    with pytest.raises(
        InputError, match=r"description.txt: field 'performance_type': expected runtime, found solution_q"
    ):
        read("aslib", write(tmp_path, scenario(description, "i,1,x,5,ok\n")))
    with pytest.raises(InputError, match=r"expected an attribute PAR10, found instance_id, repetition, .*"):
        read("aslib", write(tmp_path, scenario(TIMED.replace("res: runtime", "res: PAR10"), "i,1,x,5,ok\n")))


def test_aslib_repetitions_are_trials_and_repeated_scenarios_count_once(tmp_path):
    files = scenario(TIMED, "i,2,x,5,ok\ni,1,x,6,ok\n\n")
    again = {name.replace("S/", "S-ALGO/"): text for name, text in files.items()}
    found = read("aslib", write(tmp_path, files | again))
    assert columns(found, "trial", "duration_ms") == [(1, 6000.0), (2, 5000.0)]
    assert found.counts == {"rows": 4, "unreadable": 0, "repeated": 2}


def test_aslib_lines_without_all_values(tmp_path):
    place = write(tmp_path, scenario(TIMED, "i,1,x,5,ok\ni,1\nj,1,x,5,unheard\n"))
    with pytest.raises(InputError, match=r"algorithm_runs.arff, line 8: expected 5 values \(--drop.*\), found i,1"):
        read("aslib", place)
    found = read("aslib", place, drop_torn_lines=True)
    assert (found.counts["unreadable"], found.unmapped) == (1, {"runstatus": ["unheard"]})
    assert columns(found, "is_success") == [(True,), (None,)]


# OpenHands


def output(**fields):
    return {"instance_id": "i", "test_result": {"passed": True}, "history": [], "metrics": None, "error": None} | fields


@pytest.mark.parametrize(
    ("result", "success"),
    [
        ({"score": True}, True),
        ({"passed": False}, False),
        ({"resolved": True}, True),
        ({"eval_result": {"passed": 1.0}}, True),
        ({"eval_result": {"passed": 0.99}}, False),
        ({"git_patch": "x"}, None),
    ],
)
def test_openhands_outcomes(result, success, tmp_path):
    found = read("openhands", write(tmp_path, {"r/output.jsonl": [output(test_result=result)]}))
    assert columns(found, "task_id", "agent_id", "is_success", "attempt", "trial") == [("i", "r", success, 1, 1)]


def test_openhands_reports_judge_the_final_attempt_only(tmp_path):
    plain = output(test_result={})
    files = {
        "r/output.critic_attempt_1.jsonl": [plain, output(test_result={}, error="again", instance_id="j")],
        "r/output.critic_attempt_2.jsonl": [plain, output(test_result={}, error="again"), plain],  # appended
        "r/output.jsonl": [plain],
        "r/output_errors.jsonl": [output(instance_id="j", error="gave up")],
        "r/output.report.json": {"resolved_ids": ["i", "k"]},
    }
    found = read("openhands", write(tmp_path, files))
    assert columns(found, "task_id", "attempt", "is_success", "is_void") == [
        ("i", 1, None, True),
        ("j", 1, None, True),
        ("i", 2, True, False),
    ]
    assert found.counts == {"rows": 7, "unreadable": 0, "repeated": 4}


def test_openhands_times_are_between_the_first_and_last_event(tmp_path):
    events = [{"timestamp": f"2026-01-02T00:00:{second}"} for second in ("02.5", "01", "03")] + [{"kind": "no time"}]
    files = {"r/output.jsonl": [output(history=events), output(instance_id="j", history=events[:1])]}
    found = read("openhands", write(tmp_path, files))
    assert columns(found, "duration_ms") == [(2000.0,), (None,)]


def test_openhands_benchmarks_share_ids_and_runs_are_trials(tmp_path):
    run = {"llm": {"model": "acme/m"}, "dataset": "org/Swt"}
    one = {f"{place}/output.jsonl": [output()] for place in "rs"}
    files = one | {"r/metadata.json": run, "s/metadata.json": run | {"agent_type": None}}
    index = {
        "results/m/instance_results/swe.json": {"i": {"resolved": False, "cost": 0.5}},
        "results/m/instance_results/swt.json": {"i": {"resolved": None, "cost": None}},
        "results/alternative_agents/a/m/instance_results/swt.json": {"i": {"resolved": True}},
    }
    found = read("openhands", write(tmp_path, files | index))
    assert columns(found, "task_id", "agent_id", "is_success", "trial", "cost", "category") == [
        ("Swt/i", "acme/m", True, 1, None, "Swt"),
        ("Swt/i", "acme/m", True, 2, None, "Swt"),
        ("swt/i", "a+m", True, None, None, "swt"),
        ("swe/i", "m", False, None, 0.5, "swe"),
        ("swt/i", "m", None, None, None, "swt"),
    ]


# lm-evaluation-harness


def sample(doc, score, **fields):
    return {"doc_id": doc, "filter": "none", "metrics": ["acc", "f1"], "acc": score, "f1": 0.5} | fields


@pytest.mark.parametrize(
    ("score", "higher", "success"),
    [
        (1, True, True), (0.0, True, False), (0.4, True, False), (True, True, True), (37.5, True, None),
        (0, False, True), (1, False, False), (0.4, False, False), (37.5, False, None),
        ([1, 2], True, None), (float("nan"), True, None),
    ],
)  # fmt: skip
def test_lm_eval_scores(score, higher, success, tmp_path):
    files = {
        "m/samples_a_b_2026-01-02T03-04-05.5.jsonl": [sample(0, score)],
        "m/results_2026-01-02T03-04-05.5.json": {"higher_is_better": {"a_b": {"acc": higher, "f1": True}}},
    }
    found = read("lm-eval", write(tmp_path, files))
    assert columns(found, "task_id", "category", "agent_id", "is_success") == [("a_b/0", "a_b", "m", success)]
    assert found.rows["timestamp"].dt.to_string().to_list() == ["2026-01-02 03:04:05.500000+00:00"]
    assert bool(found.unmapped) == (success is None and score == score)  # noqa: PLR0124 - NaN means not scored


def test_lm_eval_metrics_may_have_any_name_and_need_one(tmp_path):
    files = {"m/samples_a.jsonl": [{"doc_id": 0, "metrics": ["task"], "task": 1.0}, {"doc_id": 1, "filter": "none"}]}
    found = read("lm-eval", write(tmp_path, files))
    assert columns(found, "task_id", "is_success", "timestamp") == [("a/0", True, None)]
    files = {"m/samples_a.jsonl": [{"doc_id": 1}], "m/results.json": {"results": {}}}
    assert columns(read("lm-eval", write(tmp_path, files)), "is_void") == [(True,)]


def test_lm_eval_filters_reruns_and_older_samples(tmp_path):
    old, new = "2024-01-02T00-00-00", "2026-01-02T00-00-00"
    files = {
        f"m/samples_a_{new}.jsonl": [sample(0, 1), sample(0, 0, filter="other"), sample(0, 1)],
        f"m/samples_a_{old}.jsonl": [{"doc_id": 0, "acc": 0, "f1": 1}],
        f"m/results_{old}.json": {"results": {"a": {"alias": "a", "f1,none": 0, "acc,x": 0}}, "model_name": "x/m"},
        f"m/results_{new}.json": {"results": {"a": {}}, "model_name": "x/m", "date": 1767323045.0},
    }  # fmt: skip
    found = read("lm-eval", write(tmp_path, files))
    assert columns(found, "agent_id", "is_success", "trial") == [("x/m", True, 1), ("x/m", True, 2)]
    assert found.counts == {"rows": 3, "unreadable": 0, "repeated": 1, "of further filters": 1}
    assert found.rows["timestamp"][1].isoformat() == "2026-01-02T03:04:05+00:00"


# Inspect AI

NAME = "2026-01-02T03-04-05+00-00_a_x.json"


def log(*samples, created="2026-01-02T03:04:05+00:00", run="r", **fields):
    header = {"task": "a", "task_id": run, "created": created, "model": "acme/m", "solver": None}
    return {"version": 2, "status": "success", "eval": header, "samples": list(samples)} | fields


def scored(value="C", **fields):
    return {"id": 7, "epoch": 1, "scores": {"match": {"value": value}}, "error": None, "limit": None} | fields


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (scored("C"), (True, False, False)),
        (scored("I"), (False, False, False)),
        (scored("P"), (False, False, False)),
        (scored("N"), (False, False, False)),
        (scored("yes"), (True, False, False)),
        (scored(value=False), (False, False, False)),
        (scored(0.5), (False, False, False)),
        (scored(1), (True, False, False)),
        (scored(float("nan")), (None, True, False)),
        (scored(None), (None, True, False)),
        (scored(scores={}), (None, True, False)),
        (scored(scores=None, score={"value": "C"}), (True, False, False)),  # an older log
        (scored(scores={"z": {"value": "C"}, "a": {"value": "I"}}), (True, False, False)),
        (scored(error={"message": "why"}), (True, True, False)),
        (scored(invalidation={"author": "me"}), (True, True, False)),
        (scored("I", limit={"type": "time", "limit": 5}), (False, False, True)),
        (scored(limit={"type": "token", "limit": 5}), (True, False, False)),
        (scored(limit="working"), (True, False, True)),  # a summary
    ],
)
def test_inspect_outcomes(sample, expected, tmp_path):
    found = read("inspect", write(tmp_path, {NAME: log(sample)}))
    assert columns(found, "task_id", "agent_id", "category") == [("a/7", "acme/m", "a")]
    assert columns(found, "is_success", "is_void", "is_censored") == [expected]
    assert found.unmapped == {}
    assert found.counts["with several scores, the first counts"] == int("z" in (sample["scores"] or ()))


def test_inspect_scores_of_several_numbers_are_shown(tmp_path):
    found = read("inspect", write(tmp_path, {NAME: log(scored({"a": 1}), scored(7, id=8))}))
    assert found.unmapped == {"score": ['{"a":1}', "7"]}
    assert found.rows["is_void"].all()


def test_inspect_retries_replace_samples_and_other_runs_are_trials(tmp_path):
    files = {
        "b/" + NAME: log(scored("I"), scored("C", id="x", error={"message": "why"})),
        "a/" + NAME: log(scored("I"), scored("C", id="x"), created="2026-01-02T03:04:05-01:00"),  # an hour later
        "c/" + NAME: log(scored("C"), scored("I", epoch=2), run="s"),
    }
    found = read("inspect", write(tmp_path, files))
    assert columns(found, "task_id", "trial", "is_success", "is_void") == [
        ("a/7", 1, True, False),
        ("a/7", 2, False, False),
        ("a/7", 3, False, False),
        ("a/x", 1, True, False),
    ]
    assert found.counts["repeated"] == 2


def test_inspect_times_and_costs(tmp_path):
    usage = {"m": {"total_cost": 0.5}, "n": {"total_cost": 0.25}, "o": {"total_cost": None}}
    samples = (
        scored(working_time=1.5, total_time=9.0, completed_at="2026-01-02T05:00:00+01:00", model_usage=usage),
        scored(id=8, total_time=2.0, model_usage={"m": {"total_cost": None}}),
    )
    found = read("inspect", write(tmp_path, {NAME: log(*samples)}))
    assert columns(found, "duration_ms", "cost") == [(1500.0, 0.75), (2000.0, None)]
    assert [moment.isoformat() for moment in found.rows["timestamp"]] == [
        "2026-01-02T04:00:00+00:00",
        "2026-01-02T03:04:05+00:00",
    ]


def test_inspect_newer_logs_and_lists_of_logs(tmp_path):
    write(tmp_path, {"eval-set.json": log(scored()), "logs.json": log(scored())})
    with pytest.raises(UsageError, match="found none"):
        read("inspect", tmp_path)
    assert read("inspect", tmp_path / "logs.json").rows.height == 1  # named by the user
    with pytest.raises(InputError, match="field 'version': expected at most 2, found 3"):
        read("inspect", write(tmp_path, {NAME: log(scored(), version=3)}))


def test_inspect_eval_files_are_read_by_its_own_reader(tmp_path, monkeypatch):
    write(tmp_path, {"one.eval": "a zip", "two.eval": "a zip", "torn.eval": "half a zip"})
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(
        UsageError, match=r"one\.eval: .* inspect_ai, which is not installed; install phase19\[inspect\]"
    ):
        read("inspect", tmp_path / "one.eval")

    class Model(SimpleNamespace):
        def model_dump(self, *, mode):
            assert mode == "json"
            return self.content

    def read_eval_log(file, *, header_only=False):
        if "torn" in file:
            raise ValueError("no directory")
        full = [Model(content=scored(invalidation={"author": "me"}))]
        header = {name: content for name, content in log(run=file).items() if name != "samples"}
        return Model(content=header, invalidated="two" in file, samples=None if header_only else full)

    def read_eval_log_sample_summaries(_file):
        return [Model(content=scored(float("nan"))), Model(content=scored(id=8, error="why", limit=None))]

    package, reader = ModuleType("inspect_ai"), ModuleType("inspect_ai.log")
    package.log, reader.read_eval_log = reader, read_eval_log
    reader.read_eval_log_sample_summaries = read_eval_log_sample_summaries
    monkeypatch.setitem(sys.modules, "inspect_ai", package)
    monkeypatch.setitem(sys.modules, "inspect_ai.log", reader)
    with pytest.raises(InputError, match=r"torn\.eval, line 1: expected JSON .*, found no directory"):
        read("inspect", tmp_path)
    found = read("inspect", tmp_path, drop_torn_lines=True)
    assert columns(found, "task_id", "is_success", "is_void", "error_message") == [
        ("a/7", None, True, None),
        ("a/7", True, True, None),
        ("a/8", True, True, "why"),
    ]
    assert found.counts["unreadable"] == 1


def test_logs_of_any_format_may_come_with_a_table_of_tasks(tmp_path):
    tasks = write(tmp_path, {"tasks.csv": "task,risk\nknot,HIGH\nnew,\n"}) / "tasks.csv"
    for name in ("terminal-bench", "aslib"):
        found = import_records(name, SAMPLES / name, tmp_path / name, tasks=tasks)
        assert found.counts["tasks to do"] == 2
        assert load_inputs(tmp_path / name).tasks.select("task_id", "risk_level").rows() == [
            ("knot", "HIGH"),
            ("new", "MEDIUM"),
        ]

"""Every rule of the input contract: what good files become, and what the error says of each kind of bad one."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from phase19 import frames
from phase19.errors import InputError, InvalidInputsError
from phase19.inputs.loading import load_inputs
from phase19.inputs.tasks import natural_order
from phase19.inputs.wire import Population
from phase19.options import InputOptions

SMALL = Path(__file__).parents[1] / "data" / "small"
STATUS_WORDS = "success or completed or passed or failed or failure or timeout or void or error or cancelled or skipped"
OUTCOMES_FILE, IN_WAVES = "task_outcomes.jsonl", "wave_*/*/task_outcomes.jsonl"
OUTCOME = '{"task_id": "a", "agent_id": "x", "status": "success"}'


@pytest.fixture
def root(tmp_path):
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    return tmp_path


def load(root):
    return load_inputs(root / "phase18", root / "phase16", root / "phase17")


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def edit(root, name, **members):
    path = root / name
    document = json.loads(path.read_text())
    document.update(members)
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))


def fails(root, name):
    """The error of loading, checked to name the file."""
    with pytest.raises(InputError) as caught:
        load(root)
    assert caught.value.file == str(root / name)
    assert str(caught.value).startswith(str(root / name))
    return caught.value


# What good files become


def test_every_frame_keeps_its_schema():
    inputs = load(SMALL)
    frames.TASKS.validate(inputs.tasks)
    frames.ATTEMPTS.validate(inputs.attempts)
    frames.AGENTS.validate(inputs.agents)
    frames.HEURISTICS.validate(inputs.heuristics)
    frames.STATEMENTS.validate(inputs.statements)
    frames.EVIDENCE.validate(inputs.evidence)
    frames.SOURCES.validate(inputs.sources)


def test_tasks_keep_what_is_recorded_and_get_defaults_for_the_rest():
    tasks = load(SMALL).tasks
    first, second, third = tasks.to_dicts()
    assert first == {
        "task_id": "a", "wave": 1, "risk_level": "LOW", "category": "coding", "confidence": 0.9, "priority": 1,
        "confidence_boost": 0.0, "heuristics_applied": ["H16_001"],
        "predicted_success_rate": 0.9, "predicted_confidence_delta": 0.05,
        "approval_status": "APPROVED", "reason": "planned", "deadline_ms": 500.0, "estimated_duration_ms": 25.0,
        "required_agents": ["agent_2", "reviewer"], "excluded_agents": None,
    }  # fmt: skip
    given_of_second = {name: value for name, value in second.items() if value is not None}
    assert given_of_second == {
        "task_id": "b",
        "risk_level": "MEDIUM",
        "confidence_boost": 0.0,
        "heuristics_applied": [],
    }
    assert (third["wave"], third["risk_level"], third["confidence"]) == (3, "HIGH", None)


def test_attempts_are_phase_17_then_phase_18_in_file_order():
    attempts = load(SMALL).attempts
    columns = ["source", "task_id", "agent_id", "is_success", "duration_ms", "is_censored", "attempt"]
    assert attempts.select(columns).rows() == [
        ("phase17", "a", None, False, 31.5, False, 1),
        ("phase17", "b", "agent_2", True, 12.0, False, 1),
        ("phase18", "a", "agent_2", True, 20.0, False, 1),
        ("phase18", "b", "agent_2", False, None, True, 1),
        ("phase18", "b", "Llama 3", True, None, False, 1),
    ]
    assert attempts["risk_level"].to_list() == [None, None, "LOW", None, None]
    assert attempts["heuristics_applied"].to_list() == [[], [], ["H16_001"], [], []]
    assert attempts["error_message"][0] == "too hard"


def test_confidence_delta_is_recorded_else_after_less_before_else_unknown():
    attempts = load(SMALL).attempts
    assert attempts["confidence_delta"].to_list() == [-0.1, pytest.approx(0.05), 0.125, -0.02, None]
    assert attempts["confidence_before"].to_list() == [0.5, 0.5, 0.5, None, None]


def test_timestamps_are_in_utc():
    stamps = load(SMALL).attempts["timestamp"].to_list()
    assert stamps[0] == datetime(2026, 2, 1, tzinfo=UTC)
    assert stamps[2] == datetime(2026, 2, 5, 12, 0, 0, 500_000, tzinfo=UTC)
    assert stamps[3] is None


def test_agents_are_all_named_anywhere_then_numbered_ones_up_to_the_total():
    # Named: agent_10 and agent_2 (summary), openai/gpt-5 and reviewer (patterns), Llama 3 (records).
    assert load(SMALL).agents["agent_id"].to_list() == ["Llama 3", "agent_2", "agent_10", "openai/gpt-5", "reviewer"]


def test_agents_are_numbered_from_zero_skipping_names_taken(root):
    edit(root, "phase18/multi_agent_summary.json", total_agents=8, agent_performance={"agent_0": {}, "agent_10": {}})
    agents = load(root).agents["agent_id"].to_list()
    assert agents == natural_order(
        ["agent_0", "agent_10", "agent_2", "openai/gpt-5", "Llama 3", "reviewer", "agent_1", "agent_3"]
    )


def test_records_come_before_summaries():
    agents = {row["agent_id"]: row for row in load(SMALL).agents.to_dicts()}
    assert agents["agent_2"]["evidence"] == "records"  # its summary counts for nothing
    assert agents["agent_2"]["record_count"] == 3
    assert agents["agent_10"] == {
        "agent_id": "agent_10", "record_count": 0, "summary_task_count": 10, "summary_success_rate": 0.9,
        "summary_retry_rate": None, "summary_duration_ms": 20.0, "summary_confidence_delta": 0.05, "capacity": None,
        "evidence": "summary",
    }  # fmt: skip
    assert agents["reviewer"]["evidence"] == "none"
    assert agents["reviewer"]["summary_task_count"] is None


@pytest.mark.parametrize("entry", [{"success_rate": 0.9}, {"tasks": 4}, {"success_rate": 0.9, "tasks": 0}, {}])
def test_a_summary_that_counts_no_attempts_is_no_evidence(root, entry):
    edit(root, "phase18/multi_agent_summary.json", agent_performance={"newcomer": entry})
    assert load(root).agents.filter(agent_id="newcomer")["evidence"].item() == "none"


def test_population_heuristics_patterns_and_signals():
    inputs = load(SMALL)
    population = inputs.population
    assert (population.success_rate, population.duration_ms, population.confidence_delta) == (0.75, 30.0, 0.04)
    assert (population.agent_count, population.task_count, population.wave_count) == (5, 4, 2)
    rule = '{"priority_order": [{"risk_level": "LOW", "confidence_min": 0.85}]}'
    assert inputs.heuristics.rows() == [
        ("H16_001", "task_prioritization", rule, 0.92, 0.08),
        ("H16_009", None, None, None, None),
    ]
    assert inputs.statements.select("type", "description", "success_rate", "confidence").rows() == [
        ("load_balanced", None, 0.95, 0.88),
        ("coordination_improvement", "Balance helps", None, 0.92),
        ("agent_specialization", "agent_2 is good at LOW", None, 0.85),
    ]
    assert {"agent_2", "openai/gpt-5", "reviewer"} <= {*inputs.agents["agent_id"]}


def test_optional_parts_of_the_summary_may_be_missing(root):
    write(root, "phase18/multi_agent_summary.json", '{"total_agents": 1, "total_tasks": 1, "success_rate": 1}')
    assert load(root).population == Population(success_rate=1.0, agent_count=1, task_count=1)


def test_one_pattern_may_stand_without_an_array(root):
    write(root, "phase18/coordination_patterns.json", '{"pattern_type": "solo"}')
    write(root, "phase18/agents.jsonl", '{"agent_id": "reviewer"}\n')
    pattern = load(root).statements.row(0, named=True)
    assert (pattern["type"], pattern["success_rate"], pattern["used_for"]) == ("solo", None, "shown")


def test_tasks_jsonl_comes_before_planned_tasks(root):
    write(root, "phase18/tasks.jsonl", '{"task_id": "urgent", "priority": -1}\n')
    inputs = load(root)
    assert (inputs.task_source, inputs.tasks["task_id"].to_list()) == ("tasks.jsonl", ["urgent"])


def test_without_tasks_those_of_the_records_are_planned_with_their_last_recorded_risk_and_category(root):
    write(
        root,
        OUTCOMES,
        "".join(
            json.dumps({"task_id": task, "agent_id": "x", **more}) + "\n"
            for task, more in [
                ("t10", {"status": "success", "risk_level": "HIGH", "category": "code"}),
                ("t2", {"status": "void"}),
                ("t10", {"status": "failed", "risk_level": "LOW", "confidence_before": 0.9}),
            ]
        ),
    )
    inputs = load_inputs(root / "phase18")
    assert inputs.task_source == "records"
    found = inputs.tasks.select("task_id", "risk_level", "category", "confidence", "wave").rows()
    assert found == [("t2", "MEDIUM", None, None, None), ("t10", "LOW", "code", None, None)]
    frames.TASKS.validate(inputs.tasks)


def test_without_tasks_and_records_there_are_as_many_as_the_summary_states(root):
    (root / OUTCOMES).unlink()
    inputs = load_inputs(root / "phase18")
    assert inputs.task_source == "synthetic"
    assert inputs.tasks["task_id"].to_list() == ["task_0", "task_1", "task_2", "task_3"]
    assert inputs.tasks["risk_level"].unique().to_list() == ["MEDIUM"]
    assert inputs.tasks["confidence"].null_count() == inputs.tasks["wave"].null_count() == 4
    frames.TASKS.validate(inputs.tasks)


STATUSES = {
    True: ("success", "completed", "passed"),
    False: ("failed", "failure", "timeout"),
    None: ("void", "error", "cancelled", "skipped"),
}


def outcomes(root, *rows):
    """Load with these rows as all outcomes, each of task a by agent_2."""
    (root / "phase17/execution_outcomes.jsonl").unlink()
    lines = (json.dumps({"task_id": "a", "agent_id": "agent_2", "status": "success"} | row) for row in rows)
    write(root, OUTCOMES, "".join(f"{line}\n" for line in lines))
    return load(root)


def test_each_word_for_an_end_counts_as_what_it_means_and_a_void_attempt_as_nothing(root):
    inputs = outcomes(root, *({"status": word} for words in STATUSES.values() for word in words))
    assert inputs.attempts["is_success"].to_list() == [True] * 3 + [False] * 3
    assert inputs.attempts["is_censored"].to_list() == [False] * 5 + [True]  # a timeout
    assert inputs.agents.filter(agent_id="agent_2")["record_count"].item() == 6
    assert inputs.warnings == (
        "records: 4 attempts left out that nobody could judge (void, error, cancelled, skipped, simulated)",
    )


def test_lines_delivered_again_with_their_timestamp_or_trial_are_one_attempt(root):
    stamped, numbered, bare = {"timestamp": "2026-02-05T12:00:00Z"}, {"trial": 3}, {"confidence_before": 0.5}
    inputs = outcomes(root, *[stamped, numbered] * 5, {"trial": 4}, bare, bare)
    assert inputs.attempts.height == 5
    assert inputs.warnings == (
        "records: 8 attempts left out that repeat another with its timestamp or trial; line 3 repeats line 1",
    )


def test_a_line_delivered_again_in_another_form_is_the_same_attempt(root):
    (root / "phase17/execution_outcomes.jsonl").unlink()
    write(
        root,
        OUTCOMES,
        '{"task_id": "a", "agent_id": "agent_2", "status": "success", "trial": 1}\n'
        '{"trial":1,"status":"success","agent_id":"agent_2","task_id":"a"}\n'
        # A field that is not read tells two attempts apart.
        '{"task_id": "a", "agent_id": "agent_2", "status": "success", "trial": 1, "seed": 1}\n'
        '{"task_id": "a", "agent_id": "agent_2", "status": "success", "trial": 1, "seed": 2}\n',
    )
    assert load(root).attempts.height == 3


def test_equal_rows_in_other_words_of_json_are_one_attempt(root):
    stamps = ("2026-02-05T12:00:00Z", "2026-02-05T13:00:00+01:00", "2026-02-05T12:00:00.000")
    rows = [{"timestamp": stamp, "execution_time_ms": time} for stamp in stamps for time in (5, 5.0)]
    inputs = outcomes(root, *rows, rows[0] | {"category": None}, rows[0] | {"heuristics_applied": None})
    assert inputs.attempts.height == 1


def test_attempt_is_another_word_for_attempts(root):
    inputs = outcomes(root, {"attempt": 2})
    assert inputs.attempts.select("attempt", "is_success").rows() == [(2, True), (1, False)]


def test_attempts_missing_before_later_ones_were_failures(root):
    inputs = outcomes(
        root,
        # Attempt 3 twice, attempt 2 once and attempt 1 never: attempt 2 is missing once, attempt 1 twice.
        {"attempts": 3, "trial": 1},
        {"attempts": 3, "trial": 2, "execution_time_ms": 5},
        {"attempts": 2, "trial": 1, "status": "failed", "category": "docs"},
        # All are there: a void attempt counts as one, and a first attempt may be repeated.
        {"agent_id": "x", "status": "error"},
        {"agent_id": "x", "attempts": 2},
        {"agent_id": "y", "trial": 1},
        {"agent_id": "y", "trial": 2},
    )
    added = inputs.attempts.tail(3)
    assert added.select("task_id", "agent_id", "attempt", "is_success", "duration_ms", "category").rows() == [
        ("a", "agent_2", 1, False, None, "docs"),
        ("a", "agent_2", 1, False, None, "docs"),
        ("a", "agent_2", 2, False, None, "docs"),
    ]
    assert inputs.attempts.height == 6 + 3
    assert inputs.warnings[-1] == (
        "records: 3 attempts missing before later attempts of the same pair; they count as failures of unknown time"
    )


def test_many_equal_lines_without_timestamp_or_trial_all_count_with_a_warning(root):
    inputs = outcomes(root, *[{}] * 4, *({"execution_time_ms": i} for i in range(1, 9)))
    assert inputs.attempts.height == 12
    assert inputs.warnings == (
        "records: 3 attempts that repeat another without timestamp or trial; all count; line 2 repeats line 1",
    )


@pytest.mark.parametrize(("times", "taken"), [((0, 4.0, None, 6.0), 2.0), ((0, 0, None, None), None)])
def test_a_time_of_0_is_below_the_resolution_of_the_clock(root, times, taken):
    inputs = outcomes(root, *({"execution_time_ms": time, "trial": i} for i, time in enumerate(times)))
    assert inputs.attempts["duration_ms"].to_list() == [taken if time == 0 else time for time in times]
    assert (
        [warning for warning in inputs.warnings if "with a time of 0 or below a microsecond; it is taken as" in warning]
        == [*inputs.warnings]
        != []
    )


def test_records_of_other_names_than_the_plan_has_are_said(root):
    assert outcomes(root, {"task_id": "suite/a", "category": "web"}).warnings == (
        (
            "records: no record names one of the 3 tasks to plan, such as 'a' (the records name 'suite/a'), so "
            "forecasts rest on agents and risk levels alone, since tasks and records share no category; if these are "
            "the same tasks, make the names equal"
        ),
    )
    write(root, "phase18/tasks.jsonl", '{"task_id": "b"}\n{"task_id": "c", "category": "web"}\n')
    assert ", so forecasts rest on agents and categories; if these are the same tasks" in load(root).warnings[0]


def test_a_required_agent_that_nothing_else_names_is_refused_beside_the_nearest_name(root):
    write(root, "phase16/planned_tasks.jsonl", '{"task_id": "a", "required_agents": ["Agent_2"]}\n')
    error = fails(root, "phase16/planned_tasks.jsonl")
    assert (error.line, error.field, error.found) == (1, "required_agents", "'Agent_2'; did you mean agent_2?")
    write(root, "phase18/agents.jsonl", '{"agent_id": "Agent_2"}\n')
    assert "Agent_2" in load(root).agents["agent_id"]


def test_an_excluded_agent_that_nothing_names_is_no_agent_and_is_said(root):
    before = load(root).agents["agent_id"].to_list()
    write(root, "phase16/planned_tasks.jsonl", '{"task_id": "a", "excluded_agents": ["Agent_2", "agent_10"]}\n')
    inputs = load(root)
    assert inputs.agents["agent_id"].to_list() == before
    assert [warning.partition("field ")[2] for warning in inputs.warnings] == [
        (
            "'excluded_agents': expected an agent of the records, the summary, the coordination patterns or "
            "agents.jsonl, found 'Agent_2'; did you mean agent_2?; the exclusion has no effect"
        )
    ]


def test_agents_that_no_record_names_are_said(root):
    write(root, "phase18/agents.jsonl", '{"agent_id": "AGENT_1"}\n{"agent_id": "AGENT_2"}\n')
    assert load(root).warnings == (
        (
            "records: no record names one of the 2 agents to plan, such as 'AGENT_1' (the records name 'Llama 3'); if "
            "these are the same agents, make the names equal"
        ),
    )


# What is there and cannot be read


@contextmanager
def as_user(root):
    """Act as an ordinary user: root may read everything."""
    for place in (root, *root.parents):
        if place.stat().st_mode & 0o055 != 0o055:
            place.chmod(0o755)
    load(SMALL)  # imports everything
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("phase17", 0o000), ("phase18", 0o000), ("phase18", 0o311), ("phase18", 0o644), ("phase18/wave_1", 0o000)],
)
def test_a_directory_that_cannot_be_read_is_an_error(root, name, mode):
    write(root, "phase18/wave_1/x/task_outcomes.jsonl", OUTCOME)
    (root / name).chmod(mode)
    with as_user(root), pytest.raises(InputError, match="Permission denied"):
        load(root)
    (root / name).chmod(0o755)


def test_an_unreadable_directory_of_others_is_a_warning(root):
    (root / "phase18/backup").mkdir(mode=0)
    with as_user(root):
        assert load(root).warnings == (f"{root}/phase18/backup: this directory cannot be read: Permission denied",)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("phase18/task_outcomes.jsonl.gz", OUTCOMES_FILE),
        ("phase18/task_outcomes.json", OUTCOMES_FILE),
        ("phase18/Task-Outcomes (1).JSONL", OUTCOMES_FILE),
        ("phase18/outcomes.csv", OUTCOMES_FILE),
        ("phase17/execution_outcome.jsonl", "execution_outcomes.jsonl"),
        ("phase18/planned_tasks.jsonl", "planned_tasks.jsonl"),
        ("phase18/task.jsonl", "tasks.jsonl"),
        ("phase18/wave1/x/task_outcomes.jsonl", IN_WAVES),
        ("phase18/wave_1/task_outcomes.jsonl", IN_WAVES),
        ("phase18/wave_2.jsonl", IN_WAVES),
        ("phase18/runs/wave_1/x/task_outcomes.jsonl", IN_WAVES),
    ],
)
def test_what_looks_like_records_and_is_not_read_is_said(root, name, instead):
    write(root, name, OUTCOME)
    said = [warning for warning in load(root).warnings if name in warning]
    assert said == [f"{root}/{name} looks like records but is not read; its name would have to be {instead}"]


def test_other_files_are_not_taken_for_records(root):
    for name in ("README.md", "notes.txt", "phase19_feedback.jsonl", ".tasks.jsonl.swp", "metrics.jsonl"):
        write(root, f"phase18/{name}", "x")
    write(root, "phase18/wave_1/x/tasks.jsonl", "x")
    assert load(root).warnings == ()


def test_many_files_that_look_like_records_are_counted(root):
    for i in range(12):
        write(root, f"phase18/wave{i}/x/task_outcomes.jsonl", OUTCOME)
    warnings = load(root).warnings
    assert len(warnings) == 11
    assert warnings[-1] == f"{root}/phase18: 14 more files of this kind"  # 12 directories, and 12 files in them


@pytest.mark.parametrize("target", ["nowhere", "loop"])
@pytest.mark.parametrize("name", ["wave_1", "wave_1/x", "other"])
def test_a_link_that_leads_nowhere_is_said(root, name, target):
    path = root / "phase18" / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path if target == "loop" else root / target)
    assert f"{path}: this link leads nowhere" in load(root).warnings


@pytest.mark.parametrize("name", ["phase16", "phase18"])
def test_a_directory_that_is_a_link_to_nowhere_is_an_error(root, name):
    shutil.rmtree(root / name)
    (root / name).symlink_to(root / "nowhere")
    assert fails(root, name).found == "a link that leads nowhere"
    with pytest.raises(InputError, match="a link that leads nowhere"):
        load_inputs(*InputOptions(input=root / "phase18").sources)


def test_a_link_to_records_is_followed(root):
    (root / "phase18/task_outcomes.jsonl").unlink()
    write(root, "elsewhere/x/task_outcomes.jsonl", OUTCOME)
    (root / "phase18/wave_1").symlink_to(root / "elsewhere")
    (root / "phase18/self").symlink_to(root / "phase18")
    inputs = load(root)
    assert inputs.sources.filter(file=IN_WAVES).row(0)[2:4] == (1, "used")
    assert inputs.warnings == ()


def test_a_fifo_is_never_opened(root):
    os.mkfifo(root / "phase18/tasks.jsonl")
    assert fails(root, TASKS).found == "something else"
    os.mkfifo(root / "phase18/task_outcomes.fifo")
    (root / TASKS).unlink()
    assert load(root).warnings[0].startswith(f"{root}/phase18/task_outcomes.fifo looks like records")


def test_a_directory_in_place_of_a_wave_s_file_is_an_error(root):
    (root / "phase18/task_outcomes.jsonl").unlink()
    (root / "phase18/wave_1/x/task_outcomes.jsonl").mkdir(parents=True)
    assert fails(root, "phase18/wave_1/x/task_outcomes.jsonl").found == "a directory"


def test_timestamps_without_an_offset_are_said(root):
    inputs = outcomes(root, *({"timestamp": f"2026-02-05T12:00:0{i}{zone}"} for i, zone in enumerate(("", "Z", ""))))
    assert inputs.attempts["timestamp"].to_list() == [datetime(2026, 2, 5, 12, 0, i, tzinfo=UTC) for i in range(3)]
    assert inputs.warnings == ("task_outcomes.jsonl: 2 timestamps without an offset taken as UTC",)


# Many errors at once


def test_up_to_20_errors_are_found_at_once(root):
    edit(root, SUMMARY, success_rate=2)
    write(root, "phase18/system_health.json", "{")
    write(root, OUTCOMES, f'{OUTCOME}\n{{"task_id": 1}}\n\xff\n{OUTCOME}\n{{"a": 1, "a": 2}}\n'.encode("latin-1"))
    write(root, "phase18/agents.jsonl", '{"agent_id": "x"}\n' * 3)
    (root / "phase16/heuristics.jsonl").unlink()
    (root / "phase16/heuristics.jsonl").mkdir()
    with pytest.raises(InvalidInputsError) as caught:
        load_inputs(root / "phase18", root / "phase16", root / "phase17", most_errors=20)
    found = [(Path(error.file).name, error.line) for error in caught.value.errors]
    assert sorted(found, key=str) == sorted(
        [
            ("multi_agent_summary.json", 1),
            ("system_health.json", 1),
            ("task_outcomes.jsonl", 2),
            ("task_outcomes.jsonl", 3),
            ("task_outcomes.jsonl", 5),
            ("agents.jsonl", 2),
            ("agents.jsonl", 3),
            ("heuristics.jsonl", None),
        ],
        key=str,
    )
    assert str(caught.value).count("\n") == len(found) - 1


def test_no_more_errors_are_sought_than_asked_for(root):
    write(root, OUTCOMES, "{}\n" * 50)
    with pytest.raises(InvalidInputsError) as caught:
        load_inputs(root / "phase18", most_errors=20)
    assert [error.line for error in caught.value.errors] == [*range(1, 21)]


def test_an_empty_tasks_file_is_said_and_passed_over(root):
    write(root, "phase18/tasks.jsonl", "\n")
    inputs = load(root)
    assert inputs.task_source == "planned_tasks.jsonl"
    assert inputs.warnings == ("tasks.jsonl is empty; the next source of tasks is used",)


def test_outcomes_of_waves_are_read_in_natural_order(root):
    (root / "phase18/task_outcomes.jsonl").unlink()
    for place, task in (("wave_10/agent_1", "c"), ("wave_2/agent_10", "b"), ("wave_2/agent_9", "a")):
        write(root, f"phase18/{place}/task_outcomes.jsonl", OUTCOME.replace('"a"', f'"{task}"'))
    inputs = load(root)
    assert inputs.attempts.filter(source="phase18")["task_id"].to_list() == ["a", "b", "c"]
    assert inputs.sources.filter(file="wave_*/*/task_outcomes.jsonl").row(0)[2:4] == (3, "used")


def test_an_error_below_a_wave_names_that_file(root):
    (root / "phase18/task_outcomes.jsonl").unlink()
    write(root, "phase18/wave_1/x/task_outcomes.jsonl", OUTCOME + "\n\n{}")
    assert fails(root, "phase18/wave_1/x/task_outcomes.jsonl").line == 3


def test_the_outcomes_file_at_the_top_is_the_whole(root):
    write(root, "phase18/wave_1/x/task_outcomes.jsonl", OUTCOME)
    inputs = load(root)
    assert inputs.attempts.filter(source="phase18").height == 3
    assert inputs.warnings == ("task_outcomes.jsonl is used, wave_*/*/task_outcomes.jsonl is ignored (1 file)",)


def test_sources_say_what_was_read(root):
    (root / "phase16/heuristics.jsonl").unlink()
    write(root, "phase17/execution_outcomes.jsonl", "")
    assert load(root).sources.select("file", "row_count", "status").rows() == [
        ("multi_agent_summary.json", 1, "used"),
        ("coordination_patterns.json", 1, "used"),
        ("system_health.json", 1, "used"),
        ("learning_signals.jsonl", 2, "used"),
        ("heuristics.jsonl", 0, "absent"),
        ("execution_outcomes.jsonl", 0, "empty"),
        ("task_outcomes.jsonl", 3, "used"),
        ("realtime_metrics.jsonl", 0, "absent"),
        ("system_health.json", 0, "absent"),
        ("heuristic_performance.json", 0, "absent"),
        ("learning_signals.jsonl", 0, "absent"),
        ("agents.jsonl", 0, "absent"),
        ("tasks.jsonl", 0, "absent"),
        ("planned_tasks.jsonl", 3, "used"),
        ("features.jsonl", 0, "absent"),
    ]


@pytest.mark.parametrize("name", ["phase18/learning_signals.jsonl", "phase18/task_outcomes.jsonl"])
def test_a_file_may_be_empty_where_rows_are_optional(root, name):
    write(root, name, "")
    assert load(root).sources.filter(phase=int(name[5:7]), file=Path(name).name)["status"].item() == "empty"


def test_earlier_phases_may_be_absent():
    inputs = load_inputs(SMALL / "phase18")
    assert inputs.heuristics.is_empty()
    assert inputs.attempts["source"].unique().to_list() == ["phase18"]
    assert inputs.sources.filter(status="absent").height == 10


def test_unknown_fields_are_left_out_and_counted_once_a_file(root):
    path = root / "phase18/task_outcomes.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    text = "\n".join(
        json.dumps({**row, "mood": {"a": ['"x"']}} | ({"z": 1} if i else {})) for i, row in enumerate(rows)
    )
    path.write_text(text)
    edit(root, "phase18/multi_agent_summary.json", colour="red", agent_performance={"p": {"tasks": 1, "shoe": 44}})
    inputs = load(root)
    assert inputs.warnings == (
        "multi_agent_summary.json: 2 values of unknown fields ignored: 'agent_performance.*.shoe' (1), 'colour' (1)",
        "task_outcomes.jsonl: 5 values of unknown fields ignored: 'mood' (3), 'z' (2)",
    )
    assert inputs.sources.filter(file="task_outcomes.jsonl")["ignored_fields"].item().to_list() == ["mood", "z"]
    assert inputs.attempts.equals(load(SMALL).attempts)


def test_only_the_first_ten_unknown_fields_are_named(root):
    write(root, "phase18/tasks.jsonl", json.dumps({"task_id": "a"} | {f"u{i:02}": i for i in range(12)}))
    warning = load(root).warnings[0]
    assert "'u09' (1) and 2 more" in warning and "u10" not in warning


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda data: b"\n  \n" + data.replace(b"\n", b"\n\t\n\r\n"), id="blank lines"),
        pytest.param(lambda data: data.rstrip(b"\n"), id="no final newline"),
    ],
)
def test_the_form_of_lines_does_not_matter(root, change):
    for name in ("phase18/task_outcomes.jsonl", "phase18/learning_signals.jsonl", "phase16/planned_tasks.jsonl"):
        (root / name).write_bytes(change((SMALL / name).read_bytes()))
    for name in ("phase18/multi_agent_summary.json", "phase18/coordination_patterns.json"):
        (root / name).write_bytes(change((SMALL / name).read_bytes()))
    inputs, plain = load(root), load(SMALL)
    assert inputs.attempts.equals(plain.attempts) and inputs.tasks.equals(plain.tasks)
    assert inputs.statements.equals(plain.statements) and inputs.agents.equals(plain.agents)


def test_the_digest_follows_bytes_and_not_places(root):
    digest = load(root).digest
    assert digest == load(SMALL).digest
    assert len(digest) == 64
    assert digest != load_inputs(root / "phase18").digest
    with (root / "phase18/system_health.json").open("a") as stream:
        stream.write(" ")
    assert load(root).digest != digest


def test_the_digest_tells_whose_bytes_they_are(root):
    """The same bytes as tasks.jsonl and as planned_tasks.jsonl are different inputs."""
    shutil.copy(root / "phase16/planned_tasks.jsonl", root / "phase18/tasks.jsonl")
    moved = load(root)
    assert moved.tasks.equals(load(SMALL).tasks)
    assert moved.digest != load(SMALL).digest


# What the error says of bad ones


@pytest.mark.parametrize("phase", ["phase16", "phase17", "phase18"])
def test_a_directory_that_was_named_must_exist(root, phase):
    shutil.rmtree(root / phase)
    error = fails(root, phase)
    found = "nothing; the commands sample, init and import make one"
    assert (error.expected, error.found) == ("a directory", found)
    write(root, phase, "")
    assert fails(root, phase).found == "a file"


@pytest.mark.parametrize(
    "name",
    ["multi_agent_summary.json", "coordination_patterns.json", "system_health.json", "learning_signals.jsonl"],
)
def test_the_four_files_of_phase_18_are_required(root, name):
    path = root / "phase18" / name
    path.unlink()
    assert fails(root, f"phase18/{name}").found == "nothing"
    path.mkdir()
    assert fails(root, f"phase18/{name}").found == "a directory"


SUMMARY = "phase18/multi_agent_summary.json"
REQUIRED, ID = "this required field", "text of one or more characters, without control characters"


@pytest.mark.parametrize(
    ("name", "member", "value", "field", "expected", "found"),
    [
        (SUMMARY, "total_agents", ..., "total_agents", REQUIRED, "nothing"),
        (SUMMARY, "total_agents", 100_001, "total_agents", "an integer <= 100000", "100001"),
        (SUMMARY, "total_agents", "4", "total_agents", "an integer", '"4"'),
        (SUMMARY, "total_tasks", ..., "total_tasks", REQUIRED, "nothing"),
        (SUMMARY, "total_tasks", 10**30, "total_tasks", "an integer <= 10000000", str(10**30)),
        (SUMMARY, "total_tasks", -1, "total_tasks", "an integer >= 0", "-1"),
        (SUMMARY, "total_tasks", 1.5, "total_tasks", "an integer", "1.5"),
        (SUMMARY, "success_rate", ..., "success_rate", REQUIRED, "nothing"),
        (SUMMARY, "success_rate", 1.01, "success_rate", "a number <= 1.0", "1.01"),
        (SUMMARY, "success_rate", None, "success_rate", "a number", "null"),
        (SUMMARY, "success_rate", float("nan"), "success_rate", "a finite number", "nan"),
        (SUMMARY, "avg_execution_time_ms", -1, "avg_execution_time_ms", "a number >= 0.0", "-1"),
        (SUMMARY, "timestamp", "yesterday", "timestamp", "an ISO 8601 timestamp", '"yesterday"'),
        (SUMMARY, "agent_performance", [], "agent_performance", "an object or null", "[]"),
        (SUMMARY, "agent_performance", {"a": {}, "agent_0": {"success_rate": 2}},
         "agent_performance.agent_0.success_rate", "a number <= 1.0", "2"),
        (SUMMARY, "agent_performance", {"agent_0": {"tasks": -3}}, "agent_performance.agent_0.tasks",
         "an integer >= 0", "-3"),
        (SUMMARY, "agent_performance", {"": {}}, "agent_performance.", f"a name that is {ID}", '""'),
        ("phase18/system_health.json", "overall_health_score", "high", "overall_health_score", "a number or null",
         '"high"'),
        ("phase18/system_health.json", "component_scores", {"execution": "ok"}, "component_scores.execution",
         "a number or null", '"ok"'),
    ],
)  # fmt: skip
def test_a_bad_member_of_a_document_is_named(root, name, member, value, field, expected, found):
    edit(root, name, **{member: value})
    error = fails(root, name)
    assert (error.line, error.field, error.expected, error.found) == (1, field, expected, found)
    assert str(error) == f"{root / name}, line 1: field {field!r}: expected {expected}, found {found}"


OUTCOMES, EXECUTED = "phase18/task_outcomes.jsonl", "phase17/execution_outcomes.jsonl"
PLANNED, TASKS, SIGNALS = "phase16/planned_tasks.jsonl", "phase18/tasks.jsonl", "phase18/learning_signals.jsonl"


@pytest.mark.parametrize(
    ("name", "row", "field", "expected", "found"),
    [
        (OUTCOMES, '{"agent_id": "x", "status": "success"}', "task_id", REQUIRED, "nothing"),
        (OUTCOMES, '{"task_id": "a", "status": "success"}', "agent_id", REQUIRED, "nothing"),
        (OUTCOMES, '{"task_id": "a", "agent_id": "x"}', "status", REQUIRED, "nothing"),
        (OUTCOMES, OUTCOME.replace("success", "done"), "status", STATUS_WORDS, '"done"'),
        (OUTCOMES, OUTCOME.replace('"a"', '""'), "task_id", ID, '""'),
        (OUTCOMES, OUTCOME.replace('"a"', '"a\\n"'), "task_id", ID, '"a\\n"'),
        (OUTCOMES, OUTCOME.replace('"x"', '"\x7f"'), "agent_id", ID, r'"\x7f"'),
        (OUTCOMES, OUTCOME.replace('"x"', "7"), "agent_id", "text", "7"),
        (OUTCOMES, OUTCOME.replace("}", ', "wave": -1}'), "wave", "an integer >= 0", "-1"),
        (OUTCOMES, OUTCOME.replace("}", ', "wave": 1.0}'), "wave", "an integer or null", "1.0"),
        (OUTCOMES, OUTCOME.replace("}", f', "wave": {2**63}}}'), "wave",
         "an integer <= 9223372036854775807", str(2**63)),
        (OUTCOMES, OUTCOME.replace("}", ', "attempts": 0}'), "attempts", "an integer >= 1", "0"),
        (OUTCOMES, OUTCOME.replace("}", ', "risk_level": "low"}'), "risk_level",
         "LOW or MEDIUM or HIGH or UNKNOWN", '"low"'),
        (OUTCOMES, OUTCOME.replace("}", ', "confidence_after": 1.2}'), "confidence_after", "a number <= 1.0", "1.2"),
        (OUTCOMES, OUTCOME.replace("}", ', "confidence_before": NaN}'), "confidence_before", "a finite number", "nan"),
        (OUTCOMES, OUTCOME.replace("}", ', "confidence_delta": -Infinity}'), "confidence_delta", "a finite number",
         "-inf"),
        (OUTCOMES, OUTCOME.replace("}", ', "confidence_delta": 1.5}'), "confidence_delta",
         "a number <= 1.0", "1.5"),
        (OUTCOMES, OUTCOME.replace("}", ', "execution_time_ms": -0.1}'), "execution_time_ms", "a number >= 0.0",
         "-0.1"),
        (OUTCOMES, OUTCOME.replace("}", ', "execution_time_ms": 1e400}'), "execution_time_ms", "a finite number",
         "inf"),
        (OUTCOMES, OUTCOME.replace("}", ', "execution_time_ms": "12"}'), "execution_time_ms", "a number or null",
         '"12"'),
        (OUTCOMES, OUTCOME.replace("}", ', "is_censored": 1}'), "is_censored", "true or false or null", "1"),
        (OUTCOMES, OUTCOME.replace("}", ', "heuristics_applied": ["H", 3]}'), "heuristics_applied.1", "text", "3"),
        (OUTCOMES, OUTCOME.replace("}", ', "timestamp": "2026-02-30T00:00:00Z"}'), "timestamp",
         "an ISO 8601 timestamp", '"2026-02-30T00:00:00Z"'),
        (OUTCOMES, OUTCOME.replace("}", ', "timestamp": 1770000000}'), "timestamp", "an ISO 8601 timestamp or null",
         "1770000000"),
        (OUTCOMES, OUTCOME.replace("}", ', "status": "success"}'), "status", "each key only once", "it again"),
        (OUTCOMES, OUTCOME.replace("}", ', "sta\\u0074us": "success"}'), "status", "each key only once", "it again"),
        (OUTCOMES, OUTCOME.replace("}", ', "x": 1, "x": 1}'), "x", "each key only once", "it again"),
        (OUTCOMES, OUTCOME.replace("}", ', "x": {"y": 1, "y": 1}}'), "x.y", "each key only once", "it again"),
        (OUTCOMES, OUTCOME.replace("}", ', "error_message": "\\u0022\\u0022", "wave": 1, "wave": 1}'), "wave",
         "each key only once", "it again"),
        (EXECUTED, '{"task_id": "a"}', "status", REQUIRED, "nothing"),
        (EXECUTED, '{"task_id": "a", "status": "failed", "initial_confidence": -1}', "initial_confidence",
         "a number >= 0.0", "-1"),
        (EXECUTED, '{"task_id": "a", "status": "failed", "agent_id": ""}', "agent_id", ID, '""'),
        (PLANNED, "{}", "task_id", REQUIRED, "nothing"),
        (PLANNED, '{"task_id": "z", "confidence": 75}', "confidence", "a number <= 1.0", "75"),
        (PLANNED, '{"task_id": "z", "predicted_success_rate": 1.1}', "predicted_success_rate", "a number <= 1.0",
         "1.1"),
        (PLANNED, '{"task_id": "z", "estimated_duration_ms": -5}', "estimated_duration_ms", "a number >= 0.0", "-5"),
        (PLANNED, '{"task_id": "z", "predicted_confidence_delta": -1.5}', "predicted_confidence_delta",
         "a number >= -1.0", "-1.5"),
        (TASKS, '{"task_id": "z", "deadline_ms": -5}', "deadline_ms", "a number >= 0.0", "-5"),
        (TASKS, '{"task_id": "z", "priority": "first"}', "priority", "an integer or null", '"first"'),
        (TASKS, '{"task_id": "z", "required_agents": "agent_1"}', "required_agents", "a list or null",
         '"agent_1"'),
        (TASKS, '{"task_id": "z", "risk_level": "EXTREME"}', "risk_level", "LOW or MEDIUM or HIGH or UNKNOWN",
         '"EXTREME"'),
        ("phase16/heuristics.jsonl", '{"category": "c"}', "heuristic_id", REQUIRED, "nothing"),
        ("phase16/heuristics.jsonl", '{"heuristic_id": "h", "confidence": 2}', "confidence", "a number <= 1.0", "2"),
        ("phase16/heuristics.jsonl", '{"heuristic_id": "h", "rule": {"a": 1, "a": 2}}', "rule.a", "each key only once",
         "it again"),
        (SIGNALS, '{"type": "t"}', "signal_id", REQUIRED, "nothing"),
        (SIGNALS, '{"signal_id": "s", "confidence": -0.5}', "confidence", "a number >= 0.0", "-0.5"),
        (SIGNALS, "[]", None, "an object", "[]"),
    ],
)  # fmt: skip
def test_a_bad_field_of_a_line_is_named(root, name, row, field, expected, found):
    before = (root / name).read_text().rstrip("\n") + "\n\n" if (root / name).exists() else "\n\n"
    write(root, name, before + row + "\n")
    error = fails(root, name)
    line = before.count("\n") + 1
    assert (error.line, error.field, error.expected, error.found) == (line, field, expected, found)
    where = f"{root / name}, line {line}: "
    assert str(error) == where + (f"field {field!r}: " if field else "") + f"expected {expected}, found {found}"


@pytest.mark.parametrize(
    ("name", "key"),
    [(PLANNED, "task_id"), (TASKS, "task_id"), ("phase16/heuristics.jsonl", "heuristic_id"), (SIGNALS, "signal_id")],
)
def test_an_id_may_stand_once_a_file(root, name, key):
    write(root, name, f'{{"{key}": "t"}}\n\n{{"{key}": "u"}}\n{{"{key}": "t"}}\n')
    error = fails(root, name)
    assert (error.line, error.field, error.found) == (4, key, "'t' again (first on line 1)")


@pytest.mark.parametrize(
    ("row", "found"),
    [
        pytest.param('{"task_id": "a", "agent', "Unterminated string", id="truncated"),
        pytest.param('{"task_id": "a"', "Expecting ',' delimiter", id="truncated between members"),
        pytest.param(OUTCOME + " x", "Extra data", id="text after the object"),
        pytest.param(OUTCOME + OUTCOME, "Extra data", id="two objects"),
        pytest.param(OUTCOME.replace("}", ",}"), "Expecting property name|trailing comma", id="trailing comma"),
        pytest.param("[" * 5000, "recursion|Expecting value", id="nested beyond all bounds"),
        pytest.param(OUTCOME.replace("}", ', "wave": ' + "9" * 5000 + "}"), "digits", id="thousands of digits"),
    ],
)
def test_a_line_that_is_no_json_object_is_shown(root, row, found):
    write(root, OUTCOMES, OUTCOME + "\n" + row)
    error = fails(root, OUTCOMES)
    assert (error.line, error.expected) == (2, "one complete JSON object per line")
    assert any(words in error.found for words in found.split("|"))  # those of Python 3.11 and of 3.13
    assert error.found.startswith(row[:20])


def test_an_object_over_several_lines_is_truncated_lines(root):
    write(root, OUTCOMES, OUTCOME.replace(", ", ",\n"))
    assert fails(root, OUTCOMES).line == 1


@pytest.mark.parametrize("name", [OUTCOMES, PLANNED, SIGNALS, SUMMARY])
def test_invalid_utf_8_is_named_with_its_line(root, name):
    data = (root / name).read_bytes().rstrip(b"\n").replace(b"\n", b"\n\n", 1)
    write(root, name, data + b'\n"caf\xe9"')
    error = fails(root, name)
    assert error.line == data.count(b"\n") + 2
    assert (error.expected, error.found[:9]) == ("UTF-8 text", "byte 0xe9")


@pytest.mark.parametrize(
    ("text", "line", "field", "expected"),
    [
        ("", None, None, "a complete JSON document"),
        ('{"total_agents": 1,\n"total_tasks": 2', 2, None, "a complete JSON document"),
        ("[1]", 1, None, "an object"),
        ('{"total_agents": 1,\n\n"total_agents": 1}', 3, "total_agents", "each key only once"),
        ('{"a": {},\n"agent_performance": {\n"x": {"tasks": 1,\n"tasks": 1}}}', 4, "agent_performance.x.tasks",
         "each key only once"),
        ('{"total_agents": 1, "total_tasks": 1, "success_rate": 1,\n"agent_performance": {"y": {"tasks": -1}}}',
         2, "agent_performance.y.tasks", "an integer >= 0"),
    ],
)  # fmt: skip
def test_an_error_in_a_document_has_its_line(root, text, line, field, expected):
    write(root, SUMMARY, text)
    error = fails(root, SUMMARY)
    assert (error.line, error.field, error.expected) == (line, field, expected)


def test_bad_assignments_of_a_pattern_are_named(root):
    write(
        root,
        "phase18/coordination_patterns.json",
        '[{"pattern_type": "p"}, {"pattern_type": "q", "agent_assignments": {"a": ["t", ""]}}]',
    )
    assert fails(root, "phase18/coordination_patterns.json").field == "1.agent_assignments.a.1"


def test_there_must_be_an_agent(root):
    write(root, SUMMARY, '{"total_agents": 0, "total_tasks": 1, "success_rate": 1}')
    write(root, "phase18/coordination_patterns.json", "[]")
    write(root, OUTCOMES, "")
    with pytest.raises(InputError, match=r"total_agents.*expected at least one agent"):
        load_inputs(root / "phase18")


def test_an_optional_file_that_is_there_must_be_readable(root):
    path = root / TASKS
    path.symlink_to(root / "moved.jsonl")
    assert fails(root, TASKS).found == "a link that leads nowhere"
    path.unlink()
    path.mkdir()
    assert fails(root, TASKS).found == "a directory"

"""Tables of any kind become input directories: every rule of conversion, and what is said of what no rule converts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from phase19.errors import InputError, OutputError, UsageError
from phase19.inputs.importers.attempts import Imported, write_inputs
from phase19.inputs.importers.table import TableColumns, propose, read_table
from phase19.inputs.loading import load_inputs

PLAIN = TableColumns(task="task", agent="agent", success="passed")


def write(tmp_path, text, name="log.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def read(tmp_path, text, columns=PLAIN, name="log.csv", **options):
    return read_table([write(tmp_path, text, name)], columns, **options)


def column(tmp_path, name, values, **columns):
    """A column of the imported rows, of a table with one further column."""
    text = "task,agent,passed,more\n" + "".join(f'a,x,1,"{value}"\n' for value in values)
    return (
        read(tmp_path, text, TableColumns(task="task", agent="agent", success="passed", **columns)).rows[name].to_list()
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.csv", 'task,agent,passed\na,"x, y",true\nb,"the ""best""",false\n'),
        ("log.csv", 'task;agent;passed\na;x, y;true\nb;"the ""best""";false\n'),
        ("log.tsv", 'task\tagent\tpassed\r\na\tx, y\ttrue\r\nb\t"the ""best"""\tfalse\r\n'),
        (
            "log.jsonl",
            '{"task": "a", "agent": "x, y", "passed": true}\n\n{"passed": 0, "task": "b", "agent": "the \\"best\\""}\n',
        ),
        (
            "log.json",
            '[{"task": "a", "agent": "x, y", "passed": 1}, {"task": "b", "agent": "the \\"best\\"", "passed": 0}]',
        ),
    ],
    ids=["csv", "semicolons", "tsv", "jsonl", "json"],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, text):
    found = read(tmp_path, text, name=name)
    assert found.rows.select("task_id", "agent_id", "is_success").rows() == [
        ("a", "x, y", True),
        ("b", 'the "best"', False),
    ]
    assert (found.counts, found.unmapped) == ({"rows": 2}, {})


def test_parquet_and_several_files(tmp_path):
    frame = pl.DataFrame({"task": [1, 2], "agent": ["x", "y"], "passed": [True, None], "s": [0.5, 2.0]})
    paths = [tmp_path / "a.parquet", tmp_path / "b.PARQUET"]
    for path in paths:
        frame.write_parquet(path)
    columns = TableColumns(task="task", agent="agent", success="passed", duration="s:s")
    rows = read_table(paths, columns).rows
    assert rows["task_id"].to_list() == ["1", "2", "1", "2"]
    assert rows["duration_ms"].to_list() == [500.0, 2000.0, 500.0, 2000.0]
    assert rows["is_void"].to_list() == [False, True, False, True]


def test_fields_inside_json_objects_are_named_with_dots(tmp_path):
    text = '{"t": {"id": "a"}, "by.whom": "x", "v": {"ok": "PASSED"}}\n'
    columns = TableColumns(task="t.id", agent="by.whom", success="v.ok")
    assert read(tmp_path, text, columns, "log.jsonl").rows.row(0)[:3] == ("a", "x", True)


@pytest.mark.parametrize(
    ("word", "success", "is_void"),
    [
        ("TRUE", True, False), ("Passed", True, False), (" resolved ", True, False), ("1.0", True, False),
        ("no", False, False), ("0", False, False), ("Failed", False, False), ("timeout", False, False),
        ("error", None, True), ("NaN", None, True), ("skipped", None, True), ("", None, False),
    ],
)  # fmt: skip
def test_words_of_success(tmp_path, word, success, is_void):
    found = read(tmp_path, f"task,agent,passed\na,x,yes\nb,x,{word}\n").rows
    assert found.select("is_success", "is_void", "is_censored").row(1) == (success, is_void, word == "timeout")


def test_a_score_is_a_success_from_the_threshold_on(tmp_path):
    text = "task,agent,passed\n" + "".join(f"a,x,{score}\n" for score in ("0.5", "0.49", "1e0", "nan", "high"))
    columns = TableColumns(task="task", agent="agent", success="passed", threshold=0.5)
    found = read(tmp_path, text, columns)
    assert found.rows["is_success"].to_list() == [True, False, True, None, None]
    assert found.unmapped == {"passed": ["high"]}
    assert found.counts["with a success that is not understood"] == 1
    with pytest.raises(
        UsageError, match=r"passed: expected words such as passed, failed, found '0\.5'; a score needs --threshold"
    ):
        read(tmp_path, "task,agent,passed\na,x,0.5\n")


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("s", 1e3), ("min", 6e4), ("h", 3.6e6)])
def test_units_of_durations(tmp_path, unit, factor):
    values = ["2", "1.5e0", "", "-1", "inf", "soon"]
    assert column(tmp_path, "duration_ms", values, duration=f"more:{unit}") == [2 * factor, 1.5 * factor, *[None] * 4]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05.25", datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-0530", datetime(2026, 1, 2, 8, 34, 5, tzinfo=UTC)),
        ("2026-01-02T03:04", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("1767323045", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045500", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("12", None),
        ("yesterday", None),
    ],
)
def test_times(tmp_path, text, moment):
    assert column(tmp_path, "timestamp", [text], timestamp="more") == [moment]


def test_a_duration_between_two_times(tmp_path):
    text = "task,agent,passed,from,to\na,x,1,2026-01-02T03:00:00Z,2026-01-02T03:00:01.5Z\nb,x,1,2026-01-02,\n"
    rows = read(tmp_path, text, TableColumns(task="task", agent="agent", success="passed", duration="from,to")).rows
    assert rows["duration_ms"].to_list() == [1500.0, None]
    assert rows["timestamp"][0] == datetime(2026, 1, 2, 3, 0, 1, 500_000, tzinfo=UTC)


def test_rows_delivered_again_count_once_if_they_say_when_or_which_trial(tmp_path):
    text = "task,agent,passed,n\n" + "a,x,1,1\n" * 3 + "b,x,1,\n" * 2
    found = read(tmp_path, text, TableColumns(task="task", agent="agent", success="passed", trial="n"))
    assert found.rows["task_id"].to_list() == ["a", "b", "b"]
    assert found.counts == {"rows": 5, "repeated": 2}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "task,agent,passed\na,x,1\nb,x\nc,x,1,2\n", "line 3"),
        ("log.jsonl", '{"task": "a", "agent": "x", "passed": 1}\n{"task": \n', "a line is not JSON"),
    ],
)
def test_a_torn_line_is_an_error_unless_it_may_be_dropped(tmp_path, name, text, message):
    with pytest.raises(UsageError, match=rf"{message}.*--drop-torn-lines"):
        read(tmp_path, text, name=name)
    found = read(tmp_path, text, name=name, drop_torn_lines=True)
    assert found.rows["task_id"].to_list() == ["a"]
    assert found.counts["unreadable"] == found.counts["rows"] - 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"agent": "agnet"}, r"expected a column 'agnet'; did you mean agent\?, found task, agent, passed"),
        ({"duration": "passed"}, r"--duration: expected NAME:UNIT with a unit of ms, s, min, h, found passed"),
        ({"duration": "passed:days"}, r"--duration: .* found passed:days"),
    ],
)
def test_bad_columns_are_named(tmp_path, columns, message):
    names = {"task": "task", "agent": "agent", "success": "passed"} | columns
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "task,agent,passed\na,x,1\n", TableColumns(**names))


def test_a_file_that_is_no_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected a readable table"):
        read(tmp_path, "no parquet", name="log.parquet")
    for read_it in (propose, lambda path: read_table([path], PLAIN)):
        with pytest.raises(InputError, match=r"none.csv: expected a file, found nothing"):
            read_it(tmp_path / "none.csv")
        with pytest.raises(InputError, match="expected a file, found a directory"):
            read_it(tmp_path)
    with pytest.raises(UsageError, match="expected a name that ends in"):
        read(tmp_path, "x", name="log.xlsx")


def test_columns_are_proposed_from_their_names(tmp_path):
    path = write(tmp_path, "instance_id,Model Name,is_resolved,runtime_s,repo,Started At,try\n")
    assert propose(path) == {
        "task": "instance_id",
        "agent": "Model Name",
        "success": "is_resolved",
        "duration": "runtime_s:s",
        "category": "repo",
        "timestamp": "Started At",
        "attempt": "try",
    }


# The input directory


def test_the_directory_has_the_attempts_the_tasks_to_do_and_derived_figures(tmp_path):
    text = (
        "task,agent,passed,seconds,try,why\n"
        "a,x,0,1,1,\na,x,1,2,2,\nb,x,0,4,1,wrong\na,y,1,8,1,\n"
        "b,y,,16,1,the grader crashed\n"  # no outcome, but a time: void
        "c,,,,,\nd,x,,,,\n"  # nobody has tried these
    )  # fmt: skip
    columns = TableColumns(
        task="task", agent="agent", success="passed", duration="seconds:s", attempt="try", error="why"
    )
    counts = write_inputs(read(tmp_path, text, columns), tmp_path / "inputs")
    assert counts == {
        "rows": 7, "attempts": 5, "void": 1, "stopped by a limit": 0, "without a time": 0,
        "without a task or an agent": 0, "agents": 2, "tasks": 2, "tasks to do": 2,
    }  # fmt: skip
    inputs = load_inputs(tmp_path / "inputs")
    assert inputs.tasks["task_id"].to_list() == ["c", "d"]
    assert inputs.attempts.select("task_id", "agent_id", "is_success", "duration_ms", "attempt").rows() == [
        ("a", "x", False, 1000.0, 1),
        ("a", "x", True, 2000.0, 2),
        ("b", "x", False, 4000.0, 1),
        ("a", "y", True, 8000.0, 1),
    ]
    summary = json.loads((tmp_path / "inputs/multi_agent_summary.json").read_text())
    # x did 1 of its 2 tasks, one with a retry; y did its one task. (1 + 2 + 4 + 8) / 4 = 3.75 s.
    assert summary == {
        "total_agents": 2,
        "total_tasks": 2,
        "success_rate": pytest.approx(2 / 3),
        "retry_rate": pytest.approx(1 / 3),
        "avg_execution_time_ms": 3750.0,
        "agent_performance": {
            "x": {"tasks": 2, "success_rate": 0.5, "retry_rate": 0.5, "avg_execution_time_ms": pytest.approx(7000 / 3)},
            "y": {"tasks": 1, "success_rate": 1.0, "retry_rate": 0.0, "avg_execution_time_ms": 8000.0},
        },
    }


def test_rows_that_name_no_task_or_agent_are_counted(tmp_path):
    rows = pl.DataFrame({"task_id": ["a", None, "a\n"], "agent_id": ["x", "x", "x"], "is_success": [True] * 3})
    assert write_inputs(Imported(rows), tmp_path / "inputs")["without a task or an agent"] == 2
    with pytest.raises(UsageError, match="expected at least one attempt"):
        write_inputs(Imported(rows.tail(2)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_is_there_is_kept(tmp_path):
    rows = pl.DataFrame({"task_id": ["a"], "agent_id": ["x"], "is_success": [True]})
    place = tmp_path / "inputs"
    place.mkdir()
    write_inputs(Imported(rows), place)  # an empty directory may be filled
    before = {path: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(OutputError, match="expected nothing there, found something; nothing was written"):
        write_inputs(Imported(rows), place)
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    assert list(tmp_path.iterdir()) == [place]

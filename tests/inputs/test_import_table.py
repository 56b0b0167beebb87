"""Tables of any kind become input directories: every rule of conversion, and what is said of what no rule converts."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phase19.errors import InputError, OutputError, UsageError
from phase19.inputs.importers.attempts import Imported, write_inputs
from phase19.inputs.importers.columns import TableColumns, propose
from phase19.inputs.importers.importing import import_records
from phase19.inputs.importers.table import read_table
from phase19.inputs.loading import load_inputs

PLAIN = TableColumns(task="task", agent="agent", success="passed")
ROW_COUNTS = ("unreadable", "repeated", "succeeded", "failed", "void", "not tried yet", "without a task or an agent")


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
    assert (found.counts, found.unmapped) == ({"rows": 2, "unreadable": 0, "repeated": 0}, {})


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
        ("Timed-Out", False, False), ("timed out", False, False),
        ("error", None, True), ("NaN", None, True), ("skipped", None, True),
        ("", None, False), ("NULL", None, False), ("None", None, False), ("\\N", None, False),
    ],
)  # fmt: skip
def test_words_of_success(tmp_path, word, success, is_void):
    found = read(tmp_path, f"task,agent,passed\na,x,yes\nb,x,{word}\n").rows
    assert found.select("is_success", "is_void", "is_censored").row(1) == (
        success,
        is_void,
        word.lower().startswith("time"),
    )


def test_a_score_is_a_success_from_the_threshold_on(tmp_path):
    scores = ("0.5", "0.49", "1e0", "nan", "high", "timeout", "-1")
    text = "task,agent,passed\n" + "".join(f"a,x,{score}\n" for score in scores)
    columns = TableColumns(task="task", agent="agent", success="passed", threshold=0.5)
    found = read(tmp_path, text, columns)
    assert found.rows["is_success"].to_list() == [True, False, True, None, None, False, False]
    assert found.unmapped == {"passed": ["high"]}
    assert found.counts["success not understood"] == 1


@pytest.mark.parametrize(
    ("values", "found"), [("1 0.5 0", "'0.5'"), ("passed 2", "'2'"), ("high", "'high'"), ("", "nothing")]
)
def test_scores_need_a_threshold_and_some_value_must_say_success_or_failure(tmp_path, values, found):
    text = "task,agent,passed\n" + "".join(f"a,x,{value}\n" for value in values.split(" "))
    hint = "; a score needs --threshold, the least value that counts as success" if found in {"'0.5'", "'2'"} else ""
    with pytest.raises(UsageError, match=rf"^passed: expected words such as passed, failed, found {found}{hint}$"):
        read(tmp_path, text)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_is_a_finite_number(tmp_path, threshold):
    with pytest.raises(UsageError, match=f"--threshold: expected a number, found {threshold}"):
        read(tmp_path, "task,agent,passed\na,x,1\n", replace(PLAIN, threshold=threshold))


def test_numbers_have_decimal_commas_only_between_semicolons(tmp_path):
    columns = TableColumns(task="task", agent="agent", success="passed", duration="took:s", threshold=0.5)
    text = "task;agent;passed;took\na;x;0,75;1,5\nb;x;0,25;-2\n"
    rows = read(tmp_path, text, columns).rows
    assert rows.select("is_success", "duration_ms").rows() == [(True, 1500.0), (False, -2000.0)]
    found = read(tmp_path, 'task,agent,passed,took\na,x,1,"1,500"\nb,x,1,2\n', columns)  # 1.5 or 1500?
    assert found.unmapped == {"took": ["1,500"]}


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1), ("s", 1e3), ("min", 6e4), ("h", 3.6e6)])
def test_units_of_durations(tmp_path, unit, factor):
    values = ["2", "1.5e0", "", "NA", "soon", "1:00:02.5", "0:61"]
    found = column(tmp_path, "duration_ms", values, duration=f"more:{unit}")
    assert found == [2 * factor, 1.5 * factor, None, None, None, 3_602_500.0, None]


def test_durations_that_cannot_be_are_left_out_and_counted(tmp_path):
    text = "task,agent,passed,s\n" + "".join(f"a,x,1,{value}\n" for value in ("2", "-1", "inf", "nan", "1e99"))
    counts = write_inputs(read(tmp_path, text, replace(PLAIN, duration="s:s")), tmp_path / "inputs")
    assert (counts["with an impossible time"], counts["without a time"]) == (3, 4)  # nan is an empty cell


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
        ("2026-01-02T03:04:05+01", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05,25", datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026/01/02 03:04", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("02.01.2026", datetime(2026, 1, 2, tzinfo=UTC)),
        ("02.01.2026 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1767323045500", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("1767323045500000", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("1767323045500000000", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("01/02/2026", None),  # January or February?
        ("20260102030405", None),
        ("0001-01-01T00:00:00Z", None),
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


@pytest.mark.parametrize(
    ("duration", "roles"),
    [
        ("time, s:s", ({"duration": "time, s"}, "s")),
        ("a:b,c:d", ({"start": "a:b", "end": "c:d"}, "ms")),
        ("wait:ms:h", ({"duration": "wait:ms"}, "h")),
        ("runtime_min", ({"duration": "runtime_min"}, "min")),
    ],
)
def test_durations_have_a_unit_or_two_columns(duration, roles):
    assert TableColumns(duration=duration).roles() == roles


@pytest.mark.parametrize(
    ("values", "attempts"),
    [("1 2 3", [1, 2, 3]), ("0 1 0", [1, 2, 1]), ("2.0 1.5 1000 1001 -1", [2, None, 1000, None, None])],
)
def test_attempts_count_from_1(tmp_path, values, attempts):
    assert column(tmp_path, "attempt", values.split(), attempt="more") == attempts


@pytest.mark.parametrize(("values", "trials"), [("7 0 9", [7, 0, 9]), ("r2 r1", [2, 1]), ("-1 3 0.5", [1, 3, 2])])
def test_trials_have_numbers_or_names(tmp_path, values, trials):
    assert column(tmp_path, "trial", values.split(), trial="more") == trials


def test_ids_stay_what_they_are_but_for_control_characters_which_are_shown_and_counted(tmp_path):
    text = 'task,agent,passed\n"new\nline",NULL,1\nnew line,nan,0\n\x1b[1m\U0001f41b,None,1\nn,a,\n'
    counts = write_inputs(read(tmp_path, text), tmp_path / "inputs")
    rows = load_inputs(tmp_path / "inputs").attempts.select("task_id", "agent_id").rows()
    assert rows == [(r"new\nline", "NULL"), ("new line", "nan"), ("\\x1b[1m\U0001f41b", "None")]
    assert counts["with control characters in a name"] == 2


def test_rows_delivered_again_count_once_if_they_say_when_or_which_trial(tmp_path):
    text = "task,agent,passed,n\n" + "a,x,1,1\n" * 3 + "b,x,1,\n" * 2
    found = read(tmp_path, text, TableColumns(task="task", agent="agent", success="passed", trial="n"))
    assert found.rows["task_id"].to_list() == ["a", "b", "b"]
    assert found.counts == {"rows": 5, "unreadable": 0, "repeated": 2}


TIMED = replace(PLAIN, timestamp="at")


@pytest.mark.parametrize(
    ("other", "kept"),
    [("2026-01-05", 4), ("2026-01-06 11:30", 4), ("2026-01-06 11:30:01", 2), ("1767323045", 2), ("", 4)],
)
def test_equal_rows_are_copies_only_if_the_times_of_the_log_have_seconds(tmp_path, other, kept):
    found = read(tmp_path, "task,agent,passed,at\n" + "a,x,0,2026-01-05\n" * 3 + f"b,x,1,{other}\n", TIMED)
    assert (found.rows.height, found.counts["repeated"]) == (kept, 4 - kept)
    assert [note[:6] for note in found.notes] == ["2 rows"] * (kept == 4)


def test_rows_at_the_same_time_stay_attempts_of_their_own(tmp_path):
    # The rows of c differ in a column that is not imported; the second one of d repeats the first.
    text = (
        "task,agent,passed,at,n,note\na,x,1,2026-01-05,1,\na,x,0,2026-01-05,1,\na,x,0,2026-01-05,1,\n"
        "b,x,0,2026-01-05,1,\nb,x,1,2026-01-05,2,\nc,x,1,2026-01-05,1,p\nc,x,1,2026-01-05,1,q\n"
    )
    write_inputs(read(tmp_path, text, replace(TIMED, attempt="n")), tmp_path / "inputs")
    rows = pl.read_ndjson(tmp_path / "inputs/task_outcomes.jsonl")
    assert rows["trial"].to_list() == [0, 1, 2, None, None, 0, 1]
    inputs = load_inputs(tmp_path / "inputs")
    assert inputs.attempts["is_success"].to_list() == [True, False, False, False, True, True, True]
    assert not [warning for warning in inputs.warnings if "repeat" in warning]


def test_equal_numbers_of_trials_do_not_merge_rows(tmp_path):
    text = "task,agent,passed,at,n,note\n" + "".join(
        f"a,x,1,{at},{n},{note}\n" for note, (at, n) in enumerate([("2026-01-05", 0)] * 2 + [("2026-01-05", "")] * 2)
    )
    write_inputs(read(tmp_path, text, replace(TIMED, trial="n")), tmp_path / "inputs")
    assert load_inputs(tmp_path / "inputs").attempts.height == 4


def test_a_row_without_an_outcome_is_to_do_unless_it_says_that_an_agent_started(tmp_path):
    rows = {
        "not tried yet": [
            *(",open,,,", "x,To do,2026-03-01,0,", "x,-,2026-03-01,,", ",n/a,,0.0,", ",NEW,,,", ",\u2014,,-,", ",,,,"),
            *(",,2026-03-01,,", "x,,,0,", "NULL,NULL,NULL,NULL,"),
        ],
        "void": ["x,,2026-03-01,,", "x,open,,12,", "x,pending,,,crashed", "x,nan,,,"],
        "without a task or an agent": [",,,12,", ",pass,,,"],
    }
    lines = [f"{what[0]}{number},{row}" for what, found in rows.items() for number, row in enumerate(found)]
    text = "\n".join(["task,agent,passed,at,s,why", "a,x,yes,,,", *lines])
    imported = read(tmp_path, text, replace(TIMED, duration="s:s", error="why"))
    counts = write_inputs(imported, tmp_path / "inputs")
    assert ({name: counts[name] for name in rows}, imported.unmapped) == ({k: len(v) for k, v in rows.items()}, {})
    assert load_inputs(tmp_path / "inputs").tasks["task_id"].to_list() == [f"n{number}" for number in range(10)]


ODD = st.sampled_from(["", "a", "b\n", " ", "NULL", "1", "0", "0.5", "open", "-", "error", "2026-01-05", "\x00", "x"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(ODD, min_size=5, max_size=5)), junk=st.sampled_from(["", "[1]", "null", "{", '"x"', "5"]))
def test_every_row_is_in_exactly_one_count(tmp_path, rows, junk):
    names = ("task", "agent", "passed", "at", "s")
    sound = [["a", "x", "1", f"2026-01-05T00:00:{second:02}Z", "3"] for second in range(1, len(rows) + 2)]
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in (*sound, *rows)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*lines, lines[0], junk]))
    columns = replace(TIMED, duration="s:s", threshold=0.5)
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    counts = write_inputs(read_table([path], columns, drop_torn_lines=True), place)
    assert counts["rows"] == 2 * len(rows) + 2 + bool(junk)
    assert counts["rows"] == sum(counts[name] for name in ROW_COUNTS)
    assert load_inputs(place).attempts.height == counts["succeeded"] + counts["failed"]


def test_empty_rows_are_counted(tmp_path):
    counts = write_inputs(read(tmp_path, "task,agent,passed\na,x,1\n,,\n,,\n"), tmp_path / "inputs")
    assert (counts["rows"], counts["without a task or an agent"]) == (3, 2)


def test_many_agents_of_few_tasks_are_pointed_out(tmp_path):
    rows = [f"t{i},x,{'pass' if i else 'fail'}" for i in range(3)]
    (tmp_path / "log.csv").write_text("\n".join(["task,agent,ok", *rows]))
    columns = {"task": "task", "agent": "agent", "success": "ok"}
    assert import_records("table", tmp_path / "log.csv", tmp_path / "a", **columns).notes == []
    columns |= {"task": "agent", "agent": "task"}
    found = import_records("table", tmp_path / "log.csv", tmp_path / "b", **columns)
    assert found.notes == ["Found 3 agents, but 1 task: check that --task and --agent are not exchanged."]


@pytest.mark.parametrize(
    ("scores", "threshold", "notes"),
    [
        ("0.2 1", 50, ["All attempts with an outcome failed: check that this is right.",
                       "The scores are from 0.2 to 1, --threshold is 50."]),
        ("1 1", None, ["All attempts with an outcome succeeded: check that this is right."]),
        ("0.2 1", 0.5, []),
    ],
)  # fmt: skip
def test_outcomes_that_are_all_alike_are_pointed_out(tmp_path, scores, threshold, notes):
    log = write(tmp_path, "task,agent,passed\n" + "".join(f"a,x,{score}\n" for score in scores.split()))
    result = import_records("table", log, tmp_path / "inputs", **replace(PLAIN, threshold=threshold).given)
    assert result.notes == notes
    assert result.counts["succeeded"] + result.counts["failed"] == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", "task,agent,passed\na,x,1\nb,x\nc,x,1,2\n", "2 such lines"),
        ("log.csv", "task,agent,passed\na,x,1\nb\n", "1 such line"),  # it lacks two values
        ("log.jsonl", '{"task": "a", "agent": "x", "passed": 1}\n\n{"task": \n', "1 such line"),
        ("log.jsonl", '{"task": "a", "agent": "x", "passed": 1}\n\n[1]\nnull\n"x"\n', "3 such lines"),
    ],
)
def test_a_torn_line_is_an_error_unless_it_may_be_dropped(tmp_path, name, text, message):
    with pytest.raises(
        InputError, match=rf"line 3: expected a row \(--drop-torn-lines leaves out {message}\), found an error"
    ):
        read(tmp_path, text, name=name)
    found = read(tmp_path, text, name=name, drop_torn_lines=True)
    assert found.rows["task_id"].to_list() == ["a"]
    assert found.counts["unreadable"] == found.counts["rows"] - 1


@pytest.mark.parametrize(
    ("text", "line"), [('a,"x\ny",1\nb,x,0\nc,"x,1\n', 5), ("a,x,1\n" * 2500 + 'b,"x,0\n' + "c,x,1\n" * 9, 2502)]
)
def test_a_quote_that_is_not_closed_is_named_and_never_swallows_rows(tmp_path, text, line):
    for options in ({}, {"drop_torn_lines": True}):
        with pytest.raises(
            InputError, match=rf'log.csv, line {line}: expected a readable table, found a " that is not'
        ):
            read(tmp_path, "task,agent,passed\n" + text, **options)


def test_the_separator_may_be_declared_as_excel_does(tmp_path):
    assert read(tmp_path, "sep=;\ntask;agent;passed\n1,2,3;x;1\n").rows["task_id"].to_list() == ["1,2,3"]


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
    for columns in (TableColumns(), PLAIN):
        with pytest.raises(InputError, match=r"none.csv: expected a file, found nothing"):
            import_records("table", [tmp_path / "none.csv"], tmp_path / "out", **columns.given)
        with pytest.raises(InputError, match="expected a file, found a directory"):
            import_records("table", [tmp_path], tmp_path / "out", **columns.given)
    for encoding in ("utf-16", "latin-1"):
        (tmp_path / "log.csv").write_bytes("täsk,agent,passed\n".encode(encoding))
        with pytest.raises(
            InputError, match=r"log.csv, line 1: expected text in UTF-8 \(.*iconv.*\), found another encoding"
        ):
            read_table([tmp_path / "log.csv"], PLAIN)
    (tmp_path / "log.csv").write_bytes(gzip.compress(b"task,agent,passed\n"))
    with pytest.raises(
        InputError, match=r"line 1: expected text in UTF-8 \(unpack it with gunzip\), found a gzip file"
    ):
        read_table([tmp_path / "log.csv"], PLAIN)
    with pytest.raises(InputError, match="expected a table, found an empty file"):
        read(tmp_path, "")
    for name, text in (("log.csv", "task,agent,passed\n"), ("log.json", "[]")):
        with pytest.raises(UsageError, match="found no rows"):
            read(tmp_path, text, name=name)
    with pytest.raises(UsageError, match="expected a name that ends in"):
        read(tmp_path, "x", name="log.xlsx")


@pytest.mark.parametrize(
    ("names", "proposed"),
    [
        (
            "instance_id,Model Name,passed,runtime_s,repo,Started",
            "task=instance_id agent=Model Name success=passed duration=runtime_s:s category=repo timestamp=Started",
        ),
        ("model,agent,Task", "task=Task agent=agent"),
        ("Time (min)", "duration=Time (min):min"),
        ("latencyMs", "duration=latencyMs:ms"),
        ("time_to_fix_secs", "duration=time_to_fix_secs:s"),
        ("duration", "duration=duration:s"),
        ("started,ended", "duration=started,ended timestamp=started"),
        ("problems,admins,params", ""),  # no units
        ("job,bot,Outcome,when", "task=job agent=bot success=Outcome timestamp=when"),
        ("Ticket,Area,Begin,Verdict", "task=Ticket success=Verdict category=Area timestamp=Begin"),
        ("agent.model,run.task.id,task,x.score", "task=task agent=agent.model success=x.score"),
        ("task.name,agent.model,model", "task=task.name agent=model"),
    ],
)
def test_columns_are_proposed_from_their_names(names, proposed):
    assert " ".join(f"{role}={name}" for role, name in propose(names.split(",")).items()) == proposed


def test_fields_inside_json_objects_are_proposed_and_a_guessed_unit_is_shown(tmp_path):
    line = {"task_id": "a", "agent": {"model": "x"}, "end": {"result": "ok"}, "duration": 12000, "tags": ["kind"]}
    log = write(tmp_path, f"{json.dumps(line)}\n{json.dumps(line | {'duration': 50000})}\n", "log.jsonl")
    options = r"--task task_id --agent agent.model --success end.result --duration duration:s"
    guess = r"The unit is a guess. duration holds 12000, 50000: if these are ms, write duration:ms."
    known = r"\(found agent.model, duration, end.result, task_id\)"
    with pytest.raises(UsageError, match=rf"{known}; if these are right, type:\n.* {options}\n{guess}$"):
        import_records("table", log, tmp_path / "out")
    with pytest.raises(UsageError, match=r"--duration duration:ms$"):
        import_records("table", log, tmp_path / "out", duration="duration:ms")


def test_a_column_of_dates_is_proposed_whatever_its_name(tmp_path):
    # Numbers may be Unix times, but may also be anything else; half of the values of `note` would have to be dates.
    log = write(
        tmp_path, "job,who,number,note,moment\na,x,1767600000,2026-01-05,05.01.2026 10:00\nb,x,7,late,\nc,x,8,-,\n"
    )
    with pytest.raises(UsageError, match=r"--task job --agent COLUMN --success COLUMN --timestamp moment$"):
        import_records("table", log, tmp_path / "out")
    lines = write(tmp_path, '{"job": "a", "run": {"moment": "2026-01-05T10:00:00Z"}}\n', "log.jsonl")
    with pytest.raises(UsageError, match=r"--success COLUMN --timestamp run.moment$"):
        import_records("table", lines, tmp_path / "out")
    with pytest.raises(UsageError, match=r"--success COLUMN --timestamp note$"):
        import_records("table", log, tmp_path / "out", timestamp="note")


@pytest.mark.parametrize(
    ("duration", "message"),
    [
        (
            "kind:s",
            r"expected numbers, or times such as 0:01:30 in the column kind, found 'ui', 'db'; 2 of 3 val",
        ),
        (
            "kind,at",
            r"expected dates such as 2026-12-31 23:59 in the column kind, found 'ui', 'db'; 2 of 3 val",
        ),
    ],
)
def test_a_wrong_column_of_durations_is_an_error(tmp_path, duration, message):
    text = (
        "task,agent,passed,kind,at\na,x,1,ui,2026-01-05\nb,x,0,db,2026-01-05\nc,x,0,{},2026-01-05\nd,x,0,,2026-01-05\n"
    )
    text = text.format("2026-01-05" if "," in duration else 9)
    with pytest.raises(UsageError, match=f"^--duration: {message}ues not understood$"):
        read(tmp_path, text, replace(PLAIN, duration=duration))
    half = read(tmp_path, text.replace(",db,", ",,"), replace(PLAIN, duration=duration))
    assert half.unmapped == {"kind": ["ui"]}


@pytest.mark.parametrize(("duration", "notes"), [("secs", 1), ("secs:s", 0)])
def test_a_unit_taken_from_the_name_of_a_column_is_stated(tmp_path, duration, notes):
    found = read(tmp_path, "task,agent,passed,secs\na,x,1,2\n", replace(PLAIN, duration=duration))
    assert found.rows["duration_ms"].to_list() == [2000.0]
    assert found.notes == ["secs is read in s, as its name says; if that is wrong, write NAME:UNIT."] * notes


def test_times_that_are_not_understood_come_with_the_forms_that_are(tmp_path):
    found = read(tmp_path, "task,agent,passed,at\na,x,1,03/04/2026\n", TIMED)
    assert (found.unmapped, found.notes[0][:18]) == ({"at": ["03/04/2026"]}, "Times are read as ")


# Files that name columns, or tasks to do


def test_a_map_names_columns_and_options_replace_them(tmp_path):
    log = write(tmp_path, "id,who,ok,score,note\na,x,1,0.2,\nb,y,0,0.9,\n")
    (tmp_path / "map.toml").write_text('task = "id" # ours\nagent = "who"\nsuccess = "score"\nthreshold = 0.5\n')
    options = {"map": tmp_path / "map.toml"}
    result = import_records("table", [log], tmp_path / "one", **options)
    assert (result.counts["attempts"], result.unmapped, result.unused) == (2, {}, ["ok", "note"])
    for columns, statuses in (
        (TableColumns(), ["failed", "success"]),
        (TableColumns(threshold=0.1), ["success", "success"]),
    ):
        result = import_records("table", [log], tmp_path / str(columns), **columns.given, **options)
        rows = pl.read_ndjson(result.directory / "task_outcomes.jsonl")
        assert rows["status"].to_list() == statuses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('task = "t"\nagnet = "a"', r"map.toml, line 2: field 'agnet': expected one of task, .*; did you mean agent\?"),
        ("task = 3", "map.toml, line 1: field 'task': expected the name of a column, found 3"),
        ('task = ""', "map.toml, line 1: field 'task': expected the name of a column, found ''"),
        ("threshold = true", "map.toml, line 1: field 'threshold': expected a number, found True"),
        ("task = ", "map.toml, line 1: expected TOML"),
    ],
)
def test_a_bad_map_is_an_error(tmp_path, text, message):
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        import_records("table", [tmp_path / "log.csv"], tmp_path / "out", map=tmp_path / "map.toml")


LOG = "id,agent,passed,repo\na,x,1,r\nb,y,0,r\nc,,,\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "tasks.csv",
            'id,repo,risk,wave,priority,required_agents\nn1,q,low,2,-1,"x, y"\nn2,,MEDIUM,1,,\nn1,q,HIGH,,,\n,q,,,,\n',
        ),
        (
            "tasks.json",
            """[{"id": "n1", "repo": "q", "risk": "LOW", "wave": 2, "priority": -1, "required_agents": ["x", "y"]},
            {"id": "n2", "risk": "MEDIUM", "wave": 1}]""",
        ),
    ],
    ids=["csv", "json"],
)
def test_tasks_to_do_may_come_from_a_table_of_their_own(tmp_path, name, text):
    columns = TableColumns(task="id", agent="agent", success="passed", category="repo")
    logs, tasks = [write(tmp_path, LOG)], write(tmp_path, text, name)
    result = import_records("table", logs, tmp_path / "inputs", **columns.given, tasks=tasks)
    assert (result.counts["tasks to do"], result.unmapped) == (2, {})
    assert result.counts["without a task or an agent"] == 1  # c is no task to do here
    found = load_inputs(tmp_path / "inputs").tasks
    names = ("task_id", "category", "risk_level", "wave", "priority", "required_agents")
    assert found.select(names).rows() == [("n1", "q", "LOW", 2, -1, ["x", "y"]), ("n2", None, "MEDIUM", 1, None, None)]


def test_values_of_tasks_that_cannot_be_are_left_out_and_shown(tmp_path):
    tasks = write(tmp_path, "task,risk,wave,deadline_ms,confidence\nn,dire,1.5,-1,2\nm,HIGH,1,5,0.5\n", "tasks.csv")
    columns = TableColumns(task="id", agent="agent", success="passed")
    result = import_records("table", [write(tmp_path, LOG)], tmp_path / "inputs", **columns.given, tasks=tasks)
    shown = {"risk": ["dire"], "wave": ["1.5"], "confidence": ["2"], "deadline_ms": ["-1"]}
    assert result.unmapped == {f"{name} of tasks.csv": values for name, values in shown.items()}
    found = load_inputs(tmp_path / "inputs").tasks
    assert found.select("task_id", "risk_level", "wave", "deadline_ms", "confidence").rows() == [
        ("n", "MEDIUM", None, None, None),
        ("m", "HIGH", 1, 5.0, 0.5),
    ]


def test_with_a_table_of_tasks_a_row_without_an_outcome_is_void(tmp_path):
    log = write(tmp_path, "task,agent,passed\na,x,1\nb,x,\n")
    tasks = write(tmp_path, "task\nn\n", "tasks.csv")
    counts = import_records("table", [log], tmp_path / "with", **PLAIN.given, tasks=tasks).counts
    assert (counts["void"], counts["tasks to do"]) == (1, 1)
    counts = import_records("table", [log], tmp_path / "without", **PLAIN.given).counts
    assert (counts["void"], counts["tasks to do"]) == (0, 1)


def test_a_table_of_tasks_needs_a_column_of_tasks(tmp_path):
    tasks = write(tmp_path, "name,risk\nn,LOW\n", "tasks.csv")
    with pytest.raises(UsageError, match=r"tasks.csv: .* named one of id, task, taskid, .*; found name, risk"):
        import_records(
            "table", [write(tmp_path, LOG)], tmp_path / "out", **replace(PLAIN, task="id").given, tasks=tasks
        )


def test_columns_of_tasks_that_are_not_used_are_listed(tmp_path):
    tasks = write(tmp_path, "task,owner\nn,me\n", "tasks.csv")
    log = write(tmp_path, "task,agent,passed,note\na,x,1,\n")
    found = import_records("table", [log], tmp_path / "out", **PLAIN.given, tasks=tasks)
    assert found.unused == ["note", "owner of tasks.csv"]


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
        "rows": 7, "unreadable": 0, "repeated": 0, "attempts": 5, "succeeded": 2, "failed": 2, "void": 1,
        "not tried yet": 2, "without a task or an agent": 0, "cut off by a limit": 0, "without a time": 0,
        "agents": 2, "tasks": 2, "tasks to do": 2,
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
    rows = pl.DataFrame({"task_id": ["a", None, "a"], "agent_id": ["x", "x", ""], "is_success": [True] * 3})
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
    with pytest.raises(
        OutputError,
        match=r"expected nothing there, .*; nothing was written: remove .*inputs, or choose another --output",
    ):
        write_inputs(Imported(rows), place)
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    assert list(tmp_path.iterdir()) == [place]

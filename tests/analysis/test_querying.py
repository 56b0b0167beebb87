"""`query` over one run or several: what it reads and refuses, and that every figure of a run can be queried."""

import csv
import json
import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

import phase19
from phase19 import frames
from phase19.analysis import querying
from phase19.analysis.querying import select
from phase19.errors import OutputError, UsageError
from phase19.inputs.sample import write_sample
from phase19.schema import ArrowStream

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "query-with-duckdb.md"
STRATEGIES = {"first": "maximize_success", "second": "balance_load"}
TASKS = 60
FILES = {
    "tasks": "wave_*/*/scheduled_tasks.jsonl",
    "attempts": "attempts.jsonl",
    "executions": "wave_*/*/planned_tasks.jsonl",
    "comparisons": "schedule_comparisons.jsonl",
    "metrics": "optimization_metrics.jsonl",
    "anomaly_tests": "anomaly_tests.jsonl",
    "signals": "learning_signals.jsonl",
    "heuristic_updates": "heuristic_updates.jsonl",
    "convergence": "convergence.jsonl",
    "decisions": "safety_gate_decisions.jsonl",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same inputs, each with its own strategy."""
    place = tmp_path_factory.mktemp("runs")
    write_sample(place, tasks=TASKS, agents=4, waves=2, seed=11)
    for name, strategy in STRATEGIES.items():
        output = place / name
        phase19.run(input=place / "phase18", output=output, strategy=strategy, seed=8, timestamp="2026-02-05T12:00:00Z")
    return place


def rows_of(run_dir, pattern):
    """The rows of a run's files as Polars reads them, in the order of their task ids."""
    return pl.read_ndjson(sorted(run_dir.glob(pattern)), infer_schema_length=None).sort("task_id")


def test_rows_of_several_runs_name_their_run_directory(runs, monkeypatch):
    monkeypatch.chdir(runs)
    shutil.copytree("first", "again")
    question = (
        "select run, run_id, strategy, count(*) as tasks from runs join executions using (run, run_id) group by all"
    )
    found = select([Path("first"), runs / "second", Path("again"), Path("first")], question).sort("run")
    assert found["run"].to_list() == [str(runs / "second"), "again", "first"]
    assert found["strategy"].to_list() == ["balance_load", "maximize_success", "maximize_success"]
    assert found["tasks"].to_list() == [TASKS] * 3
    assert found["run_id"][1] == found["run_id"][2] != found["run_id"][0]


@pytest.mark.parametrize("name", ["run [1]*?", "it's", "run;--", "ü 1"])
def test_special_characters_in_a_directory_name_match_no_other_directory(runs, tmp_path, name):
    shutil.copytree(runs / "first", tmp_path / name)
    shutil.copytree(runs / "second", tmp_path / "run 1xy")
    found = select(tmp_path / name, "select run, strategy, count(*) from runs join tasks using (run) group by all")
    assert found.rows() == [(str(tmp_path / name), "maximize_success", TASKS)]
    with pytest.raises(UsageError, match="Permission Error"):
        select(tmp_path / name, f"from read_text('{tmp_path}/run 1xy/optimization_summary.json')")


def test_every_key_of_a_file_is_a_column_of_its_view(runs):
    """A new key of a file needs a column in its view, and a column of a view needs a key."""
    run_dir = runs / "first"
    columns = dict(
        select(run_dir, "select table_name, string_agg(column_name, ' ') from duckdb_columns() group by all").rows()
    )
    for view, pattern in FILES.items():
        lines = [line for path in run_dir.glob(pattern) for line in path.read_text().splitlines()]
        assert lines, pattern
        keys = set(json.loads(lines[0]))
        assert keys <= set(columns[view].split()), pattern
        if view != "executions":  # it holds the outcomes of the tasks too
            assert set(columns[view].split()) - keys <= {"run", "run_id"}, pattern


def test_every_view_and_column_says_what_it_is_and_which_run_it_is_of(runs):
    places = [runs / "first", runs / "second"]
    views = dict(select(places, "from views").rows())
    assert [*views][:2] == ["runs", "tasks"]
    assert {*FILES, "runs", "plans", "anomalies", "health"} <= views.keys()
    assert all(grain.startswith("one row per ") for grain in views.values())
    columns = select(places, "from view_columns")
    assert columns["view"].unique(maintain_order=True).to_list() == [*views]
    assert columns.filter(pl.col("meaning").is_null() | (pl.col("meaning") == "")).rows() == []
    for view in views:
        assert {"run", "run_id"} <= set(columns.filter(view=view)["name"]), view
        found = select(places, f"select column_name, column_type from (describe {view})")  # noqa: S608 (our views)
        described = columns.filter(view=view).select("name", pl.col("type").str.to_uppercase())
        assert found.rows() == described.rows(), view


def test_columns_of_frames_mean_in_a_view_what_their_schema_says(runs):
    columns = select(runs / "first", "from view_columns")
    schemas = {
        "tasks": frames.SCHEDULED_TASKS,
        "attempts": frames.ATTEMPT_LOG,
        "plans": frames.PLANNED_TASKS,
        "decisions": frames.DECISIONS,
        "unassigned": frames.UNASSIGNED,
    }
    checked = 0
    for view, name, _, unit, meaning in columns.rows():
        if declared := view in schemas and schemas[view].columns.get(name):
            declared_unit = None if declared.unit in {"", "count"} else declared.unit
            assert (view, name, meaning, unit) == (view, name, declared.doc, declared_unit)
            checked += 1
    assert checked == sum(columns["view"].is_in(list(schemas))) - 2 * len(schemas)  # all but run and run_id
    of_executions = columns.filter(view="executions").select("name", "unit", "meaning")
    others = columns.filter(pl.col("view").is_in(["tasks", "plans"])).select("name", "unit", "meaning")
    assert {row[0] for row in of_executions.rows() if row not in others.rows()} == {"is_completed"}


def test_comments_are_read_with_nothing_but_duckdb(runs):
    with duckdb.connect() as connection:
        connection.execute("set variable run = $run", {"run": str(runs / "first")})
        connection.execute((Path(__file__).parents[2] / "sql" / "views.sql").read_text())
        question = "select comment from duckdb_columns() where table_name = 'plans' and column_name = 'duration_ms_p50'"
        assert connection.execute(question).fetchall() == [
            ("median duration of one attempt; null if no time is known [ms]",)
        ]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("from taks", 'Did you mean "tasks"'),
        ("select agent from tasks", 'Candidate bindings: "agent_id"'),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(runs, sql, message):
    with pytest.raises(UsageError, match=message) as refused:
        select(runs / "first", sql)
    assert str(refused.value).endswith("A query without SQL lists the views, and --describe VIEW the columns of one.")


def test_a_sum_of_integers_is_an_integer_of_64_bits_or_refused(runs, run_cli):
    sql = "select sum(retry_count) as s, -sum(9223372036854775807) as low, null::hugeint as n from executions"
    asked = run_cli("query", sql + " limit 1", "--run", "first", "--format", "jsonl", cwd=runs)
    retries = rows_of(runs / "first", "wave_*/*/scheduled_tasks.jsonl")["retry_count"].sum()
    assert json.loads(asked.stdout) == {"s": retries, "low": -TASKS * (2**63 - 1), "n": None}
    sql = "select sum(retry_count) as s, -9223372036854775808::hugeint as least from executions"
    edge = select(runs / "first", sql)
    assert edge.row(0) == (retries, -(2**63)) and edge.dtypes == [pl.Int64, pl.Int64]
    with pytest.raises(UsageError, match=r"^query: Conversion Error: Type INT128 with value 9223372036854775808 can't"):
        select(runs / "first", "select 9223372036854775808::hugeint as wide")


@pytest.mark.parametrize(
    "sql",
    [
        "select range from range(10000000)",  # the result is too large
        "select count(*) as n from (select range, count(*) from range(10000000) group by all)",  # the work is
    ],
    ids=["result", "work"],
)
def test_a_query_that_needs_too_much_memory_says_how_to_go_on_and_leaves_no_file(runs, run_cli, monkeypatch, sql):
    monkeypatch.setattr(querying, "MEMORY_LIMIT", "50 MB")
    before = sorted(path.name for path in runs.iterdir())
    asked = run_cli("query", sql, "--run", "first", "--format", "csv", cwd=runs)
    advice = "select fewer rows or columns, or use DuckDB itself with sql/views.sql"
    assert (asked.returncode, asked.stderr) == (2, f"error: query: needs more than 50 MB of memory; {advice}\n")
    assert sorted(path.name for path in runs.iterdir()) == before


def test_a_table_shows_100_rows_unless_more_are_asked_for(runs, run_cli):
    def lines(sql, *more):
        asked = run_cli("query", sql, "--run", "first", *more, cwd=runs)
        return asked.stdout.splitlines() or asked.stderr.splitlines()

    header = 2
    assert len(lines("select range from range(100)")) == header + 100
    shown = lines("select range from range(10001)")
    assert shown[-3].strip() == "99"
    assert shown[-2:] == ["", "100 of 10,001 rows. --limit N shows more; --format csv or jsonl prints all."]
    assert len(lines("select range from range(101)", "--limit", "0")) == header + 101
    assert lines("select range from range(101)", "--limit", "1")[2:] == [
        *("    0", "", "1 of 101 rows. --limit N shows more; --format csv or jsonl prints all.")
    ]
    assert lines("select range from range(10001)", "--limit", "0") == [
        "error: --limit: a table has at most 10,000 rows, found 10,001; use --format csv or jsonl"
    ]
    assert lines("select 1", "--limit", "-1") == ["error: --limit: expected a whole number from 0, found '-1'"]


@pytest.mark.parametrize(("form", "header"), [("csv", 1), ("jsonl", 0)])
def test_formats_for_other_programs_have_all_rows_unless_fewer_are_asked_for(runs, run_cli, form, header):
    asked = "query", "select range from range(10001)", "--run", runs / "first", "--format", form
    assert len(run_cli(*asked).stdout.splitlines()) == header + 10_001
    assert run_cli(*asked, "--limit", "2").stdout.splitlines() == run_cli(*asked).stdout.splitlines()[: header + 2]
    assert run_cli(*asked, "--limit", "0").stdout == run_cli(*asked).stdout


def test_a_table_wider_than_the_console_becomes_one_record_below_the_other(runs, run_cli):
    def lines(sql):
        return [line.rstrip() for line in run_cli("query", sql, "--run", "first", cwd=runs).stdout.splitlines()]

    # Ten columns of 7 characters and nine gaps of 3 take 97 of 100 characters; one more digit in four takes 101.
    fitting = "select " + ", ".join(f"1234567 as c{i}" for i in range(10))
    assert len(lines(fitting)[0].split()) == 10
    wide = "select " + ", ".join(f"{12345678 if i < 4 else 1234567} + range as c{i}" for i in range(10))
    shown = lines(f"{wide} from range(2)")
    assert [shown[0], shown[2], shown[11], shown[12], shown[13]] == [
        "row 1",
        "c0      12345678",
        "c9      1234567",
        "",
        "row 2",
    ]
    assert len(shown) == 2 * 12 + 1
    # A long text wraps as long as 30 characters of it stay on a line.
    assert lines("select repeat('word ', 50) as a, repeat('word ', 50) as b")[0].split() == ["a", "b"]


def test_views_and_columns_are_listed_and_a_misspelt_view_is_answered_with_the_nearest(runs, run_cli):
    listed = run_cli("query", "--run", runs / "first").stdout
    assert re.search(r"^executions +one row per task that ran: all columns of tasks and plans *$", listed, re.MULTILINE)
    assert listed.endswith("\n\n`phase19 query --describe VIEW` lists the columns of a view.\n")
    described = run_cli("query", "--describe", "executions", "--run", runs / "first").stdout
    assert described.split("\n")[0].split() == ["name", "type", "unit", "meaning"]
    assert re.search(r"^planned_success +double +fraction +probability that the task ", described, re.MULTILINE)
    asked = run_cli("query", "--describe", "executoins", "--run", runs / "first")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith("error: --describe: expected one of runs, tasks, ")
    assert asked.stderr.endswith(", found 'executoins'; did you mean executions?\n")
    both = run_cli("query", "from tasks", "--describe", "tasks", "--run", runs / "first")
    assert (both.returncode, both.stderr) == (2, "error: expected SQL or --describe, found both\n")


NUMBERS = """
select
    1.50 as price,
    [sum(wave), null] as waves,
    {'total': sum(wave), 'prices': [0.10, 2.25]} as told,
    map {'k': sum(wave)} as by_name,
    [array_value({'n': sum(wave)})] as deep,
    170141183460469231731687303715884105727::hugeint as widest,
    'nan'::double as nothing,
    [] as none
from tasks
"""


def test_numbers_are_numbers_in_json_as_duckdb_writes_them(runs, tmp_path, run_cli):
    asked = json.loads(run_cli("query", NUMBERS, "--run", "first", "--format", "jsonl", cwd=runs).stdout)
    waves = rows_of(runs / "first", "wave_*/*/scheduled_tasks.jsonl").select("wave")
    with duckdb.connect() as connection:
        connection.register("tasks", ArrowStream(waves))
        connection.sql(f"copy ({NUMBERS}) to '{tmp_path / 'rows.json'}' (format json)")
    written = json.loads((tmp_path / "rows.json").read_text("utf-8"), parse_constant=lambda _: None)
    assert asked == written and list(asked) == list(written)
    total = waves["wave"].sum()
    assert (asked["price"], asked["waves"], asked["deep"]) == (1.5, [total, None], [[{"n": total}]])


def test_numbers_keep_their_digits_in_comma_separated_values_and_tables(runs, run_cli):
    sql = "select 1.50 as price, [sum(wave)] as waves, {'a': [0.10], 'b': sum(wave)} as told from tasks where wave = 1"
    asked = run_cli("query", sql, "--run", "first", "--format", "csv", cwd=runs)
    total = rows_of(runs / "first", "wave_1/*/scheduled_tasks.jsonl").height
    assert list(csv.reader(asked.stdout.splitlines()))[1] == ["1.50", f"[{total}]", f'{{"a":[0.1],"b":{total}}}']
    table = run_cli("query", sql, "--run", "first", cwd=runs).stdout
    assert table.splitlines()[-1].split() == ["1.50", f"[{total}]", f'{{"a":[0.1],"b":{total}}}']


ODD = {
    "interval 1 day": "1 day",
    "'x'::blob": "x",
    "'10'::bit": "10",
    "1::bignum": "1",
    "1::uhugeint": "1",
    "time '12:00'": "12:00:00.000000000",
    "union_value(a := 1)": '{"a":1}',
    "map {1: 2}": '{"1":2}',
    "[{'a': interval 1 day}]": '[{"a":"1 day"}]',
    "['x'::blob]::blob[1]": '["x"]',
    "timestamptz '2026-01-01'": "2026-01-01T00:00:00.000000+0000",
    "timestamp_ns '2026-01-01'": "2026-01-01 00:00:00",
    "null": "",
}


def test_what_has_no_form_in_a_file_is_written_as_text(runs, run_cli):
    sql = "select " + ", ".join(f"{column} as c{number}" for number, column in enumerate(ODD))
    done = run_cli("query", sql, "--run", runs / "first", "--format", "csv")
    assert next(iter(csv.reader(done.stdout.splitlines()[1:]))) == list(ODD.values())
    assert run_cli("query", sql, "--run", runs / "first").returncode == 0
    assert json.loads(run_cli("query", sql, "--run", runs / "first", "--format", "jsonl").stdout)["c0"] == "1 day"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rows_stay_in_the_order_that_the_question_asks_for(runs, run_cli, form):
    sql = "select planned_success, task_id from executions order by planned_success desc, task_id"
    shown = run_cli("query", sql, "--run", runs / "first", "--format", form).stdout.splitlines()
    rows = rows_of(runs / "first", "wave_*/*/planned_tasks.jsonl").sort(
        "planned_success", "task_id", descending=[True, False]
    )
    found = (
        [json.loads(line)["task_id"] for line in shown] if form == "jsonl" else [row.split(",")[1] for row in shown[1:]]
    )
    assert found == rows["task_id"].to_list()


def test_two_columns_of_one_name_are_refused(runs):
    joined = "select * from tasks join plans on tasks.task_id = plans.task_id"
    with pytest.raises(UsageError, match=r"^query: 2 columns are called \w+; rename them with `as`$"):
        select(runs / "first", joined)


def test_names_of_columns_and_fields_may_hold_any_character(runs, run_cli):
    sql = """select {'BLOB': 1} as "x\\y", ['"'] as "a""b.c" """
    done = run_cli("query", sql, "--run", runs / "first", "--format", "csv")
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert {name: json.loads(value) for name, value in row.items()} == {"x\\y": {"BLOB": 1}, 'a"b.c': ['"']}


def test_a_run_that_cannot_be_read_is_named(runs, tmp_path):
    with pytest.raises(OutputError, match=f"^{tmp_path}: expected a Phase 19 run"):
        select([runs / "first", tmp_path], "select 1")
    (tmp_path / "optimization_summary.json").write_text("{")
    with pytest.raises(OutputError, match=f"^{tmp_path}: cannot be read as Phase 19 runs: .*Malformed JSON"):
        select(tmp_path, "select 1")


def test_the_command_reads_several_runs_and_lists_the_views_without_a_question(runs, run_cli):
    places = [part for name in STRATEGIES for part in ("--run", name)]
    sql = "select run, any_value(strategy) as strategy, list(wave order by wave) as waves from runs"
    sql += " join comparisons using (run) group by run order by run"
    asked = run_cli("query", sql, *places, "--format", "jsonl", cwd=runs)
    assert [json.loads(line) for line in asked.stdout.splitlines()] == [
        {"run": name, "strategy": strategy, "waves": [1, 2]} for name, strategy in STRATEGIES.items()
    ]
    listed = run_cli("query", *places, "--format", "csv", cwd=runs)
    assert listed.stdout.splitlines()[1].startswith('runs,"one row per run: ')
    assert (asked.returncode, listed.returncode) == (0, 0)


# The questions of docs/how-to/query-with-duckdb.md, recomputed from the files. test_docs checks what the page shows.


@pytest.fixture(scope="module")
def answers(runs):
    """The answers to the document's questions, in its order."""
    document = DOCUMENT.read_text("utf-8").replace("outputs/phase19", "first").replace("outputs/throughput", "second")
    questions = re.findall(r'phase19 query[^"\n]* "\n(.*?)\n"$', document, re.MULTILINE | re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(runs)
        both = [Path(name) for name in STRATEGIES]
        return [select(both if "first" in sql else both[0], sql) for sql in questions]


@pytest.fixture(scope="module")
def outcomes(runs):
    """Each run's tasks with their forecasts, in the order of their ids."""
    return [
        rows_of(runs / name, "wave_*/*/scheduled_tasks.jsonl").with_columns(
            rows_of(runs / name, "wave_*/*/planned_tasks.jsonl")["planned_success"],
            completed=pl.col("status") == "completed",
        )
        for name in STRATEGIES
    ]


def test_the_cells_furthest_from_plan_are_those_with_the_least_likely_failures(answers, outcomes):
    found, tasks = answers[0], outcomes[0]
    assert found["cells"][0] == tasks.select("agent_id", "risk_level").n_unique()
    chances = []
    for (agent, risk), cell in tasks.group_by("agent_id", "risk_level"):
        expected, failed = (1 - cell["planned_success"]).sum(), (~cell["completed"]).sum()
        if failed > expected:
            chances.append(
                (np.exp(failed - expected) * (expected / failed) ** failed, agent, risk, cell.height, failed)
            )
    wanted = sorted(chances)[:5]
    assert [(row[1], row[2], row[3], row[4]) for row in wanted] == found.select(
        "agent_id", "risk", "tasks", "failed"
    ).rows()
    assert found["chance"].to_list() == pytest.approx([row[0] for row in wanted], abs=6e-4)


def test_tasks_are_counted_per_heuristic(answers, outcomes):
    applied = outcomes[0]["heuristics_applied"].list.unique().explode().value_counts()
    wanted = dict(applied.rows())
    assert {name: count for name, count in answers[1].select("heuristic_id", "with_it").rows() if count} == wanted


def test_all_of_a_waves_time_is_accounted_for(answers, outcomes):
    found, tasks = answers[2], outcomes[0]
    assert found["tasks"].sum() == TASKS
    assert (found["completed"] + found["failed"] + found["idle"]).to_list() == pytest.approx([100.0] * 2, abs=0.2)
    first = tasks.filter(pl.col("wave") == 1)
    span = first["actual_end_time"].max() * 4
    assert found["idle"][0] == pytest.approx(100 - 100 * first["actual_duration_ms"].sum() / span, abs=0.06)
    assert found["last_agent"][0] == first.sort("actual_end_time")["agent_id"][-1]


def test_reliability_counts_each_task_once_in_the_order_of_planned_success(answers, outcomes):
    found, tasks = answers[3], outcomes[0].sort("planned_success", "task_id")
    count, z = TASKS // 10, 1.645
    actual = tasks["completed"].to_numpy().reshape(10, count).mean(axis=1)
    centre = (actual + z**2 / (2 * count)) / (1 + z**2 / count)
    width = z * np.sqrt(actual * (1 - actual) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    wanted = (
        tasks["planned_success"].to_numpy().reshape(10, count).mean(axis=1),
        actual,
        centre - width,
        centre + width,
    )
    for name, values in zip(("planned", "actual", "low", "high"), wanted, strict=True):
        assert found[name].to_list() == pytest.approx(values.tolist(), abs=6e-4), name


def test_two_runs_are_compared_task_by_task(answers, outcomes):
    found = answers[4].row(-1, named=True)
    before, after = (tasks["completed"].to_numpy().astype(int) for tasks in outcomes)
    gained, lost = int((after > before).sum()), int((after < before).sum())
    assert (found["risk"], found["tasks"], found["gained"], found["lost"]) == ("all", TASKS, gained, lost)
    assert gained + lost > 0
    assert found["moved"] == (outcomes[0]["agent_id"] != outcomes[1]["agent_id"]).sum() > 0
    # Half a task more in each of the four cells: shares of TASKS + 2, whose difference has this variance.
    share = np.array([gained + 0.5, lost + 0.5]) / (TASKS + 2)
    deviation = np.sqrt((share.sum() - (share[0] - share[1]) ** 2) / (TASKS + 2))
    interval = [100 * (share[0] - share[1] + sign * 1.645 * deviation) for sign in (-1, 1)]
    assert [found["low"], found["high"]] == pytest.approx(interval, abs=0.06)
    assert sum(answers[4]["tasks"]) == 2 * TASKS

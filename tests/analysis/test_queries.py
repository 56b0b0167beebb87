"""Each SQL file: a golden, hand-worked cases, and an independent numpy recomputation."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from phase19.analysis.queries import QUERIES
from phase19.analysis.session import analyse, sql_directory
from tests.rules import Rules
from tests.synthetic import (
    empty_frames,
    every_table,
    execution,
    hand_frames,
    synthetic_run,
    tables_of,
    wave_plan,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "sql"
STEMS = [query.stem for query in QUERIES]
SUPPORT = {"macros", "views", "sweep_summary"}


def json_rows(table: pl.DataFrame) -> list[dict]:
    return json.loads(table.write_json())


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    run = synthetic_run(seed=3, success_bias=0.35, slowdown=2.5, tasks_a_wave=12, wave_count=4)
    return every_table(run, tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("stem", STEMS)
def test_query_gives_its_golden_rows(stem, tables, golden):
    golden.rows(f"sql/{stem}", json_rows(tables[stem]))


def test_a_query_is_not_run_where_nothing_was_found_and_its_table_keeps_its_columns(tables, tmp_path):
    quiet = every_table(synthetic_run(seed=3), tmp_path)
    conditional = [query.stem for query in QUERIES if query.condition]
    assert conditional == ["scheduling_anomalies"]
    for stem in conditional:
        assert quiet[stem].is_empty()
        assert tables[stem].height
        assert quiet[stem].schema == tables[stem].schema
    assert (tmp_path / "scheduling_anomalies.jsonl").read_bytes() == (tmp_path / "anomalies.jsonl").read_bytes() == b""


def test_every_sql_file_is_run_and_has_a_golden_and_no_golden_is_an_orphan():
    files = {path.stem for path in sql_directory().glob("*.sql")}
    assert files == set(STEMS) | SUPPORT
    assert {path.stem for path in GOLDEN.glob("*")} == files


def test_macros_give_their_golden_rows(golden):
    with duckdb.connect() as connection:
        connection.execute((sql_directory() / "macros.sql").read_text())
        names = (
            "ratio",
            "ratio_by_zero",
            "ratio_by_tiny",
            "accuracy",
            "accuracy_zero",
            "clip",
            "id",
            "severity",
            "width",
            "sensitivity",
        )
        row = connection.execute(
            "select ratio(1, 4), ratio(1, 0), ratio(1e300, 1e-300), accuracy(0.925, 0.917), accuracy(0, 0.1),"
            " clip(2, 0, 1), row_id('AN', 7), severity_of(0.2, 0.1, 0.3), wilson_width(0.5, 100, 1.96),"
            " attempt_sensitivity(0.992, 3)"
        ).fetchone()
    # By hand: accuracy is 1 - 0.008 / 0.925
    # sensitivity 3 x 0.2^2, since a task of 3 attempts fails with 0.2^3
    # and width 2 * 1.96 * sqrt(0.0025 + 1.96^2 / 40000) / (1 + 1.96^2 / 100) = 0.1923
    assert float(row[3]) == pytest.approx(0.991, abs=5e-4)
    assert float(row[8]) == pytest.approx(0.1923, abs=1e-4)
    golden.rows("sql/macros", [dict(zip(names, [float(v) if hasattr(v, "as_tuple") else v for v in row], strict=True))])


def test_no_file_holds_nan_and_every_line_is_json(tmp_path):
    analyse(synthetic_run(), tmp_path)
    for path in tmp_path.rglob("*.json*"):
        text = path.read_text("utf-8")
        for part in [text] if path.suffix == ".json" else text.splitlines():
            json.loads(part, parse_constant=lambda token: pytest.fail(f"{token} in {path.name}"))  # noqa: B023


def test_hand_worked_wave(tmp_path):
    # planned 0.925 and 0.917 actual, 1,000 tasks: accuracy 1 - 0.008 / 0.925 = 0.99135
    # timeline and makespan: planned 1000 / 42.0 s, actual 1000 / 40.5 s -> throughput 42.0 and 40.5, ratio 0.964
    end = 1000 / 40.5 * 1000
    rows = [
        execution(
            f"t{i}",
            planned_success=0.925,
            status="completed" if i < 917 else "failed",
            actual_end_time=end,
            scheduled_end_time=end,
        )
        for i in range(1000)
    ]
    plan = wave_plan(1, planned_makespan_ms=1000 / 42.0 * 1000, timeline_end_ms=end)
    row = tables_of(hand_frames(rows, [plan]), tmp_path, "schedule_comparisons")["schedule_comparisons"].row(
        0, named=True
    )
    assert row["accuracy_score"] == pytest.approx(0.991, abs=5e-4)
    assert (row["planned_throughput"], row["actual_throughput"]) == pytest.approx((42.0, 40.5))
    assert row["throughput_efficiency"] == pytest.approx(0.964, abs=5e-4)
    assert row["schedule_adherence"] == 1.0


def test_heuristic_weight_moves_by_the_shrunk_lift(tmp_path):
    # H_1 on 4 of 8 tasks at p 0.5: 3 of 4 succeed (+0.25), of the others 1 of 4 (-0.25): lift 0.5.
    # n = 4 * 4 / 8 = 2, k = 20: 0.5 * 2 / 22 = 0.04545; weight 1.04545. With k = 2 it is 0.25, held to a step of 0.05.
    rows = [
        execution(
            f"t{i}",
            planned_success=0.5,
            heuristics_applied=["H_1"] if i < 4 else [],
            status="completed" if i in {0, 1, 2, 4} else "failed",
        )
        for i in range(8)
    ]
    run = hand_frames(rows, [wave_plan(1)])
    row = tables_of(run, tmp_path, "heuristic_lifts")["heuristic_lifts"].row(0, named=True)
    assert (row["lift"], row["weight"]) == pytest.approx((0.5, 1 + 0.5 * 2 / 22))
    run["rules"] = Rules(heuristic_shrinkage=2).frame()
    assert tables_of(run, tmp_path, "heuristic_lifts")["heuristic_lifts"]["weight"].to_list() == pytest.approx([1.05])
    run["previous_weights"] = pl.DataFrame({"heuristic_id": ["H_1"], "weight": [1.48]})
    assert tables_of(run, tmp_path, "heuristic_lifts")["heuristic_lifts"]["weight"].to_list() == [1.5]


def test_a_wave_where_nothing_ran_has_null_figures_and_the_others_keep_theirs(tmp_path):
    rows = [
        execution("a"),
        execution("b", wave=2, status="unobserved", planned_success=0.7, planned_confidence_delta=0.02),
        execution("c", wave=2, status="unobserved", planned_success=0.4, planned_confidence_delta=0.04),
    ]
    without_tasks = wave_plan(3, planned_makespan_ms=None, planned_busy_ms=None)
    found = analyse(hand_frames(rows, [wave_plan(1), wave_plan(2, planned_makespan_ms=500.0), without_tasks]), tmp_path)
    comparisons = found["schedule_comparisons"]
    assert comparisons["wave"].to_list() == [1, 2, 3]
    assert comparisons["accuracy_score"].to_list() == [pytest.approx(0.888888888), None, None]
    assert comparisons["actual_throughput"].to_list() == [1.0, None, None]
    # What wave 2 promised is over all its tasks: (0.7 + 0.4) / 2, 2 tasks in 0.5 s, (0.02 + 0.04) / 2.
    assert comparisons["planned_success_rate"].to_list() == [0.9, pytest.approx(0.55), None]
    assert comparisons["planned_throughput"].to_list() == [1.0, 4.0, None]
    assert comparisons["planned_confidence_delta"].to_list() == [0.05, pytest.approx(0.03), None]
    assert found["overall"]["expected_success_rate"].item() == 0.9
    assert found["overall"]["ran_count"].item() == 1
    assert json.loads((tmp_path / "wave_3" / "wave_summary.json").read_text())["task_count"] == 0


@pytest.mark.parametrize("rows", [[], [execution("a", status="interrupted")]], ids=["no task", "nothing ran"])
def test_a_run_where_nothing_ran_says_insufficient_data(rows, tmp_path):
    run = hand_frames(rows, [wave_plan(1)]) if rows else empty_frames()
    found = analyse(run, tmp_path)
    assert found["optimization_metrics"]["status"].to_list() == ["insufficient_data"] * 5
    assert found["optimization_metrics"]["value"].to_list() == [None] * 5
    health = found["system_health"].row(0, named=True)
    assert health["overall_health_score"] is None
    assert set(health["component_scores"].values()) == {None}
    signal = found["learning_signals"].row(0, named=True)
    assert (signal["type"], signal["confidence"]) == ("strategy_validation", 0.0)
    assert found["scheduling_anomalies"].height == 0
    assert json.loads((tmp_path / "system_health.json").read_text())["health_status"] is None


def views(*directories: Path) -> dict[str, list[dict]]:
    """Every row of every view over these directories, each of which becomes a run by a summary."""
    for directory in directories:
        summary = {"run_id": f"id of {directory.name}", "seed": 19, "overall_metrics": {"actual_success_rate": 0.5}}
        (directory / "optimization_summary.json").write_text(json.dumps(summary))
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set variable runs = $runs", {"runs": [str(directory) for directory in directories]})
        connection.execute((sql_directory() / "views.sql").read_text())
        names = connection.execute("select view from views")
        found = {}
        for (name,) in names.fetchall():
            result = connection.execute(f"from {name} order by all")
            found[name] = [dict(zip([c[0] for c in result.description], row, strict=True)) for row in result.fetchall()]
        return found


def write_rows(directory: Path, executions: pl.DataFrame) -> None:
    """The files of the agents, here all tasks in those of one."""
    place = directory / "wave_1" / "agent_0"
    place.mkdir(parents=True)
    for file in ("scheduled_tasks.jsonl", "planned_tasks.jsonl"):
        executions.write_ndjson(place / file)


def test_views_give_typed_tables_where_every_file_is_empty(tmp_path):
    analyse(empty_frames(), tmp_path)
    found = views(tmp_path)
    assert not any(found[name] for name in ("tasks", "plans", "executions", "comparisons", "anomalies", "decisions"))
    assert [len(found[name]) for name in ("runs", "metrics", "signals", "health")] == [1, 5, 1, 1]
    write_rows(tmp_path, empty_frames()["executions"])
    (tmp_path / "learning_signals.jsonl").write_text("")
    found = views(tmp_path)
    assert found["tasks"] == found["signals"] == []


def test_a_file_that_an_older_run_lacks_is_an_empty_table(tmp_path):
    analyse(synthetic_run(), tmp_path)
    before = views(tmp_path)
    (tmp_path / "alerts.jsonl").unlink()
    (tmp_path / "schedule_comparisons.jsonl").unlink()
    (tmp_path / "safety_gate_decisions.jsonl").unlink()
    found = views(tmp_path)
    gone = ["comparisons", "decisions", "explanations"]
    assert [name for name, rows in before.items() if rows and not found[name]] == gone


def test_views_give_their_golden_rows(tmp_path, golden):
    run = synthetic_run(wave_count=1, tasks_a_wave=3)
    place = tmp_path / "run"
    place.mkdir()
    analyse(run, place)
    write_rows(place, run["executions"])
    found = views(place)
    assert [row["is_completed"] for row in found["executions"]] == (
        run["executions"]["status"] == "completed"
    ).to_list()
    rows = [{"view": name, "row": row | {"run": "run"}} for name, part in found.items() for row in part]
    golden.rows("sql/views", json.loads(json.dumps(rows, default=str)))


def test_views_tell_the_rows_of_several_runs_apart_where_their_paths_look_like_patterns_or_nest(tmp_path):
    """Tasks have the same ids in each run: a join that forgot the run would multiply them."""
    counts = {"run [1]*?": 1, "run 1xy": 2, "run [1]*?/inner": 3, "it's": 1}
    for name, wave_count in counts.items():
        (tmp_path / name).mkdir()
        run = synthetic_run(wave_count=wave_count, tasks_a_wave=3)
        analyse(run, tmp_path / name)
        write_rows(tmp_path / name, run["executions"])
    found = views(*(tmp_path / name for name in counts))
    for name in ("tasks", "plans", "executions"):
        rows = [(row["run"], row["run_id"]) for row in found[name]]
        wanted = {(str(tmp_path / run), f"id of {Path(run).name}"): 3 * count for run, count in counts.items()}
        assert {key: rows.count(key) for key in rows} == wanted
    assert len(found["comparisons"]) == sum(counts.values())
    alone = views(tmp_path / "run [1]*?")
    assert (len(alone["tasks"]), len(alone["comparisons"]), len(alone["executions"])) == (3, 1, 3)


def test_a_run_may_be_named_twice_in_any_spelling_and_what_is_no_run_is_named(tmp_path, monkeypatch):
    tables_of(synthetic_run(), tmp_path, "optimization_metrics")
    views(tmp_path)
    monkeypatch.chdir(tmp_path)
    sql = (sql_directory() / "views.sql").read_text()
    (tmp_path / "none").mkdir()
    with duckdb.connect() as connection:
        connection.execute("set variable run = $run", {"run": f"{tmp_path}/"})
        connection.execute(sql)
        assert connection.sql("select distinct run from metrics").fetchall() == [(str(tmp_path),)]
        connection.execute("set variable runs = ['.', './', './none/..']")
        connection.execute(sql)
        assert connection.sql("select run, count(*) from metrics group by run").fetchall() == [(".", 5)]
        connection.execute("set variable runs = ['.', 'none']")
        with pytest.raises(duckdb.Error, match=r"no optimization_summary\.json in none$"):
            connection.execute(sql)


def test_rows_and_their_order_do_not_depend_on_the_order_of_the_executions(tmp_path):
    run = synthetic_run()
    first = every_table(run, tmp_path)
    shuffled = every_table(run | {"executions": run["executions"].sample(fraction=1, shuffle=True, seed=1)}, tmp_path)
    for stem in ("task_results", "schedule_comparisons", "optimization_metrics", "agent_feedback", "heuristic_lifts"):
        assert_frame_equal(shuffled[stem], first[stem], rel_tol=1e-9)

"""The session: what it writes, what it refuses, and the same bytes each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from phase19.analysis.queries import QUERIES
from phase19.analysis.results import Results
from phase19.analysis.session import analyse, connect, define_functions, lock, sql_directory
from phase19.errors import OutputError
from tests.random_run import random_run
from tests.rules import Rules
from tests.synthetic import analysis_of, empty_frames, synthetic_run


def test_every_output_is_written_and_the_twins_are_copies(tmp_path):
    analyse(synthetic_run(wave_count=2), tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    named = {output for query in QUERIES for output in query.outputs if "{" not in output}
    assert written == named | {"wave_1/wave_summary.json", "wave_2/wave_summary.json"}
    assert (tmp_path / "metrics.jsonl").read_bytes() == (tmp_path / "optimization_metrics.jsonl").read_bytes()
    assert all(
        path.read_bytes().endswith(b"\n") for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size
    )


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        analyse(synthetic_run(seed=5), tmp_path / name)
    for path in (tmp_path / "a").rglob("*.json*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "feedback").write_text("in the way")
    with pytest.raises(OutputError, match="feedback"):
        analyse(synthetic_run(), tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{outside}/x.json' (format json)",
        "copy (select 1) to '{staging}/../x.json' (format json)",
        "select * from read_csv('{outside}/secret.csv')",
        "attach '{outside}/x.db'",
        "install httpfs",
        "set threads = 2",
        "set enable_external_access = true",
    ],
)
def test_the_session_reaches_nothing_but_its_directory(statement, tmp_path):
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with connect() as connection, pytest.raises(duckdb.Error):
        lock(connection, [str(staging)])
        connection.execute(statement.format(outside=tmp_path, staging=staging))
    assert {path.name for path in tmp_path.iterdir()} == {"staging", "secret.csv"}


def test_the_session_is_single_threaded_in_utc():
    with connect() as connection:
        found = connection.execute("select current_setting('threads'), current_setting('TimeZone')").fetchone()
    assert found == (1, "UTC")


def test_normal_tail_and_quantile_are_inverse_and_known():
    with connect() as connection:
        define_functions(connection)
        row = connection.execute("select upper_tail(1.959964), upper_quantile(0.0125), upper_tail(null)").fetchone()
    assert row == (pytest.approx(0.025, rel=1e-6), pytest.approx(2.2414, rel=1e-4), None)


def test_sql_is_found_beside_and_inside_the_package(tmp_path, monkeypatch):
    assert sql_directory() == Path(__file__).parents[2] / "sql"
    package = tmp_path / "phase19"
    (package / "sql").mkdir(parents=True)
    (package / "sql" / "macros.sql").touch()
    monkeypatch.setattr("phase19.analysis.session.__file__", str(package / "analysis" / "session.py"))
    assert sql_directory() == package / "sql"


def test_nothing_is_leaked_at_exit_and_the_stream_module_knows_no_duckdb(tmp_path):
    code = (
        "import sys; import phase19.analysis.session; assert 'duckdb' not in sys.modules\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pathlib import Path; from tests.synthetic import synthetic_run\n"
        "from phase19.analysis.session import analyse\n"
        f"print(analyse(synthetic_run(), Path({str(tmp_path)!r}))['overall'].height)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_results_that_cannot_be_written_say_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        Results(analysis_of(empty_frames())).copy(["alerts.jsonl"], tmp_path / "file")


SMALLEST = {"alarm_probability": 1e-9, "log_loss_floor": 1e-9, "signal_probability": 1e-9}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(
            {
                **dict.fromkeys(vars(Rules()), 1000000.0),
                **SMALLEST,
                "detection_power": 1 - 1e-9,
                "schedule_drift_margin": 10.0,
            },
            id="all large",
        ),
        pytest.param(
            {
                **dict.fromkeys(vars(Rules()), 0.0),
                **dict.fromkeys(SMALLEST, 0.5),
                "detection_power": 0.5,
                "weight_system_stability": 1e-300,
            },
            id="all small",
        ),
        pytest.param(SMALLEST, id="least probabilities"),
    ],
)
def test_rules_at_their_bounds_give_figures_that_json_has(tmp_path, rules):
    analyse(random_run(seed=6, task_count=1000, late=0.5) | {"rules": Rules(**rules).frame()}, tmp_path)

    def refuse(text):
        raise AssertionError(text)

    files = [path for path in tmp_path.rglob("*") if path.suffix in {".json", ".jsonl"}]
    assert len(files) > 10
    for path in files:
        text = path.read_text()
        for document in text.splitlines() if path.suffix == ".jsonl" else [text]:
            json.loads(document, parse_constant=refuse)


def test_a_row_a_task_is_written_and_not_given_back(tmp_path):
    run = synthetic_run()
    tables = analyse(run, tmp_path)
    assert not {"task_results", "safety_gate_decisions"} & set(tables)
    lines = (tmp_path / "safety_gate_decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["task_id"] for line in lines] == run["decisions"].sort("wave", "task_id")[
        "task_id"
    ].to_list()

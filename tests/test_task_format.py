"""`--format parquet`: the same run as in JSON lines, read by the same commands and functions."""

import io
import re
import shutil

import polars as pl
import pytest

import phase19
from phase19.analysis.querying import select
from phase19.errors import InputError
from phase19.inputs.history import read_executions, read_previous
from phase19.inputs.sample import write_sample
from phase19.outputs.explain import explain
from phase19.outputs.report import compare_runs, rebuild_report

FORMATS = ("jsonl", "parquet")
OPTIONS = {"seed": 8, "timestamp": "2026-02-05T12:00:00Z"}
RUN_TIME = re.compile(rb'"execution_time_ms": [^,}\s]+')
AGENT_FILES, OTHER_FILES = ("planned_tasks", "scheduled_tasks"), ("attempts", "safety_gate_decisions")


def contents(run_dir):
    """The bytes of every file of a run but the manifest, without the time that the run took."""
    files = {path.relative_to(run_dir).as_posix(): path for path in run_dir.rglob("*") if path.is_file()}
    return {name: RUN_TIME.sub(b"", path.read_bytes()) for name, path in files.items() if name != "manifest.json"}


def json_lines(rows):
    lines = io.BytesIO()
    rows.write_ndjson(lines)
    return lines.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dry run in each format, and a run in each format that replays outcomes from a file of this format."""
    place = tmp_path_factory.mktemp("formats")
    write_sample(place, tasks=60, agents=12, waves=2, seed=11)
    recorded = pl.read_ndjson(place / "phase17" / "execution_outcomes.jsonl")
    recorded.write_ndjson(place / "recorded.jsonl")
    recorded.write_parquet(place / "recorded.parquet")
    for name in FORMATS:
        phase19.run(place / "phase18", output=place / name, format=name, **OPTIONS)
        replay = {"executor": "replay", "executions": place / f"recorded.{name}"}
        phase19.run(place / "phase18", output=place / f"replay-{name}", format=name, **replay, **OPTIONS)
    return place


@pytest.mark.parametrize("kind", ["", "replay-"], ids=["dry run", "replay"])
def test_only_files_with_a_row_per_task_or_attempt_differ(place, kind):
    lines, parquet = (contents(place / f"{kind}{name}") for name in FORMATS)
    expected = {f"{name}.parquet" for name in OTHER_FILES}
    expected |= {f"wave_{wave}/{name}.parquet" for wave in (1, 2) for name in AGENT_FILES}
    assert parquet.keys() - lines.keys() == expected
    stems = {name.rpartition("/")[2] for name in lines.keys() - parquet.keys()}
    assert stems == {f"{name}.jsonl" for name in (*AGENT_FILES, *OTHER_FILES)}
    shared = lines.keys() & parquet.keys()
    assert "report.html" in shared
    assert [name for name in shared if lines[name] != parquet[name]] == []


def test_parquet_files_have_the_columns_and_values_of_the_lines(place):
    for name in OTHER_FILES:
        rows = pl.read_parquet(place / "parquet" / f"{name}.parquet")
        assert json_lines(rows) == (place / "jsonl" / f"{name}.jsonl").read_bytes()
    for name in AGENT_FILES:
        for wave in ("wave_1", "wave_2"):
            rows = pl.read_parquet(place / "parquet" / wave / f"{name}.parquet")
            for (agent,), own in rows.partition_by("agent_id", as_dict=True).items():
                assert json_lines(own) == (place / "jsonl" / wave / agent / f"{name}.jsonl").read_bytes()
            assert rows.height == 30


@pytest.mark.parametrize("view", ["tasks", "attempts", "plans", "decisions", "explanations"])
def test_a_view_has_the_rows_of_runs_of_both_formats(place, view):
    places = [str(place / name) for name in FORMATS]
    rows = select([place / name for name in FORMATS], f"from {view}").sort(pl.all())
    lines, parquet = (rows.filter(run=name).drop("run") for name in places)
    assert lines.height + parquet.height == rows.height > 0
    assert lines.equals(parquet)


def test_views_have_the_same_types_for_either(place):
    described = [select(place / name, "from view_columns") for name in FORMATS]
    assert described[0].equals(described[1])


def test_an_opened_run_and_its_explanations_are_the_same(place):
    lines, parquet = (phase19.open_run(place / name) for name in FORMATS)
    assert lines.executions.equals(parquet.executions) and lines.files.keys() == parquet.files.keys()
    assert lines.recommendations == parquet.recommendations
    said = [explain(place / name, "task_3") | {"run": ""} for name in FORMATS]
    assert said[0] == said[1]


def test_a_report_is_rebuilt_and_runs_are_compared(place, tmp_path):
    before = contents(place / "parquet")
    rebuild_report(place / "parquet")
    assert contents(place / "parquet") == before
    other = place / "replay-parquet"
    said = [compare_runs(place / name, other, tmp_path / f"{name}.html")[0] for name in FORMATS]
    assert said[0] == said[1]


def test_the_same_run_has_the_same_bytes_and_replaces_one_of_the_other_format(place, tmp_path):
    shutil.copytree(place / "jsonl", tmp_path / "run")
    phase19.run(place / "phase18", output=tmp_path / "run", format="parquet", **OPTIONS)
    assert contents(tmp_path / "run") == contents(place / "parquet")


def test_a_later_run_learns_the_same_from_either(place):
    lines, parquet = (read_previous(place / f"replay-{name}") for name in FORMATS)
    assert lines.attempts.height > 0 and lines.attempts.equals(parquet.attempts)
    assert (lines.run_id, lines.weights) == (parquet.run_id, parquet.weights)


def test_the_attempts_of_a_run_are_read_from_either(place):
    lines, parquet = (read_executions(place / f"replay-{name}" / f"attempts.{name}", []) for name in FORMATS)
    assert lines.height > 0 and lines.equals(parquet)


def test_what_is_not_parquet_is_refused(tmp_path):
    path = tmp_path / "attempts.parquet"
    path.write_text('{"task_id": "a"}\n')
    with pytest.raises(InputError, match=r"attempts\.parquet: expected a Parquet file, found "):
        read_executions(path, [])

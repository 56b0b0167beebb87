"""The forecast table: every pair once, in order, as the model says; and the command that writes it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phase19.forecasting import model as module
from phase19.forecasting.model import forecast_table
from phase19.inputs.tasks import deal_waves
from tests.builders import all_pairs, model, random_attempts

ROOT = Path(__file__).parents[2]
COLUMNS = [
    "task_id", "agent_id", "wave", "success_probability", "success_low", "success_high",
    "duration_ms_p50", "duration_ms_p90", "confidence_delta", "record_count",
]  # fmt: skip


@pytest.fixture
def fitted():
    return model(random_attempts(2, 40), task_count=6, agent_count=3)


@pytest.mark.parametrize("chunk_pairs", [1, 7, 10**6])
def test_every_pair_has_one_row_with_the_forecast_of_its_first_attempt(fitted, monkeypatch, chunk_pairs):
    monkeypatch.setattr(module, "_CHUNK_PAIRS", chunk_pairs)
    table = forecast_table(fitted)
    assert table.columns == COLUMNS
    wanted = all_pairs(fitted, allowed=1)
    for name in ("success_probability", "success_low", "success_high", "duration_ms_p50", "duration_ms_p90"):
        assert np.allclose(table[name].to_numpy().reshape(6, 3), getattr(wanted, name), rtol=1e-12)
    assert np.allclose(table["confidence_delta"].to_numpy().reshape(6, 3), wanted.planned_confidence_delta)
    assert table["record_count"].to_list() == wanted.record_count.ravel().tolist()
    assert table["record_count"].sum() == 40
    assert table["task_id"].to_list() == [f"t{i}" for i in range(6) for _ in range(3)]
    assert table["agent_id"].to_list() == ["a0", "a1", "a2"] * 6


@pytest.fixture
def inputs(tmp_path):
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, tmp_path / phase)
    return tmp_path / "phase18"


def test_forecast_prints_jsonl_or_writes_the_same_rows_to_a_file(run_cli, inputs, tmp_path):
    done = run_cli("forecast", "--input", inputs, "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(rows[0]) == COLUMNS
    assert len(rows) == 12 * 4
    assert [row["task_id"] for row in rows[::4]] == [f"task_{i}" for i in range(12)]
    assert [row["agent_id"] for row in rows[:4]] == ["agent_0", "agent_1", "agent_2", "agent_3"]
    assert all(0 < row["success_low"] < row["success_probability"] < row["success_high"] < 1 for row in rows)
    assert {row["wave"] for row in rows} == {1, 2, 3}
    for name in ("table.jsonl", "table.parquet", "table.csv"):
        written = run_cli("forecast", "--input", inputs, "--output", tmp_path / "new" / name)
        assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert (tmp_path / "new" / "table.jsonl").read_text() == done.stdout
    assert pl.read_parquet(tmp_path / "new" / "table.parquet").to_dicts() == rows
    assert (tmp_path / "new" / "table.csv").read_text() == run_cli(
        "forecast", "--input", inputs, "--format", "csv"
    ).stdout
    assert pl.read_csv(tmp_path / "new" / "table.csv").to_dicts() == rows
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_forecast_prints_a_table_in_units_of_people_and_says_what_it_leaves_out(run_cli, inputs):
    done = run_cli("forecast", "--input", inputs)
    (first,) = [json.loads(run_cli("forecast", "--input", inputs, "--format", "jsonl", "--limit", "1").stdout)]
    shown = done.stdout.splitlines()
    assert re.match(r"task_0 +agent_0 +1 +(\d+(\.\d)? % +){3}\d+ ms +\d+ ms +1$", shown[3])
    assert f"{first['success_probability']:.1%}".replace("%", " %") in shown[3]
    assert f" {first['duration_ms_p50']:.0f} ms " in shown[3]
    assert (len(shown), max(map(len, shown)) <= 100) == (3 + 12 * 4, True)
    few = run_cli("forecast", "--input", inputs, "--limit", "5").stdout.splitlines()
    assert [line.split() for line in few[3:8]] == [line.split() for line in shown[3:8]]
    assert few[8:] == ["", "5 of 48 rows. --limit N shows more; --format csv or jsonl prints all."]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param("table.json", "expected a file that ends in .csv, .jsonl or .parquet", id="ending"),
        pytest.param("phase18/tasks.jsonl", "is or lies in the input", id="inside an input"),
    ],
)
def test_forecast_refuses_a_place_it_should_not_write_to(run_cli, inputs, tmp_path, output, message):
    done = run_cli("forecast", "--input", inputs, "--output", tmp_path / output)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --output: ")
    assert message in done.stderr
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize("more", [("--format", "csv"), ("--limit", "3")], ids=" ".join)
def test_forecast_writes_a_file_or_prints_and_not_both(run_cli, inputs, tmp_path, more):
    done = run_cli("forecast", "--input", inputs, "--output", tmp_path / "table.csv", *more)
    assert (done.returncode, done.stderr) == (2, "error: --output cannot be combined with --format or --limit\n")


def test_waves_of_the_table_are_those_of_a_run():
    fitted = model(task_count=5)
    dealt = deal_waves(fitted.tasks, 2)
    table = forecast_table(replace(fitted, tasks=dealt))
    assert table["wave"].to_list() == dealt["wave"].gather(np.repeat(np.arange(5), 3)).to_list()

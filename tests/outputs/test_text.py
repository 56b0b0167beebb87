"""Figures for people: units people use, at most three significant digits, 1 task and 2 tasks."""

from __future__ import annotations

import re

import duckdb
import pytest

import phase19
from phase19.analysis.session import sql_directory
from phase19.inputs.sample import write_sample
from phase19.outputs.explain import explain, sentences
from phase19.outputs.text import cell, count_range, duration, interval, percent, significant, throughput

NOUNS = "agents|anomalies|attempts|heuristics|pairs|records|retries|runs|tasks|values|waves|weights"
MANY_OF_ONE = re.compile(rf"(?<![\w.,-])1 (?:\w+ )?(?:{NOUNS})\b")


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (significant, None, "no data"),
        (significant, 0.0, "0"),
        (significant, 42.0, "42.0"),
        (significant, 0.012345, "0.0123"),
        (significant, 9.999, "10.0"),
        (significant, 0.9996, "1.00"),
        (significant, -0.5, "-0.500"),
        (significant, 12345.6, "12,300"),
        (significant, 0.00001234, "0.0000123"),
        (significant, 4.44e-16, "4.44e-16"),
        (percent, 0.9351, "93.5 %"),
        (percent, 0.9996, "100 %"),
        (percent, None, "no data"),
        (duration, 0.0, "0 ms"),
        (duration, 41.026, "41 ms"),
        (duration, 999.0, "999 ms"),
        (duration, 1_000.0, "1.0 s"),
        (duration, 1999.0, "2.0 s"),
        (duration, 2_345.0, "2.3 s"),
        (duration, 119_000.0, "119 s"),
        (duration, 37 * 60_000.0, "37 min"),
        (duration, 2.53 * 3_600_000, "2.5 h"),
        (duration, 3 * 86_400_000.0, "3.0 days"),
        (duration, None, "no data"),
        (throughput, 79.66, "80 tasks/s"),
        (throughput, 0.02, "1.2 tasks/min"),
        (throughput, 0.001, "3.6 tasks/h"),
        (throughput, 0.0001, "8.6 tasks/day"),
        (throughput, 1e-6, "0.086 tasks/day"),
        (throughput, None, "no data"),
    ],
)
def test_a_figure_has_a_unit_that_people_use_and_three_digits_at_most(write, value, text):
    assert write(value) == text


def test_a_range_is_written_with_to_and_a_normal_minus_sign():
    assert interval(-0.0628, 0.2816) == "-0.06 to 0.28"
    assert interval(None, 1.0) == "no data"
    assert count_range(0.75, 1.0, 4) == "3 to 4"
    assert count_range(0.9, 0.95, 2000) == "1,800 to 1,900"
    assert count_range(0.99, 1.0, 12) == "12"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("busy_ms", 112.1, "112 ms"),
        ("duration_ms_p90", 65_000.0, "65 s"),
        ("actual_end_time", 18.34, "18 ms"),
        ("planned_throughput", 0.02, "1.2 tasks/min"),
        ("throughput_efficiency", 1.154, "1.15"),
        ("success_probability", 0.9785, "97.9 %"),
        ("success_low", 0.907, "90.7 %"),
        ("planned_confidence_delta", 0.0355, "0.0355"),
        ("previous_weight", 1.0042, "1.004"),
        ("task_count", 1200, "1,200"),
        ("heuristics_applied", ["H1", "H2"], "H1, H2"),
        ("ignored_fields", [], "none"),
        ("is_load_limit_met", True, "True"),
        ("agent_id", "1.0", "1.0"),
        ("gap", None, "no data"),
    ],
)
def test_a_value_of_a_file_is_written_in_the_unit_of_its_key(key, value, text):
    assert cell(key, value) == text


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of one task by one agent."""
    directory = tmp_path_factory.mktemp("one")
    write_sample(directory, tasks=1, agents=1, waves=1, seed=0)
    phase19.run(input=directory / "phase18", output=directory / "phase19", max_retries=0, seed=1)
    return directory


def test_what_is_looked_for_is_found():
    assert MANY_OF_ONE.findall("over 1 tasks, 1 timed attempts") == ["1 tasks", "1 timed attempts"]
    assert not MANY_OF_ONE.findall("1 task, 11 tasks, 0.1 tasks, wave_1 tasks")


def test_no_file_of_a_run_says_one_tasks(place):
    texts = {path: path.read_text("utf-8") for path in (place / "phase19").rglob("*") if path.is_file()}
    assert any("1 task ran" in text for text in texts.values())
    assert {path.name: found for path, text in texts.items() if (found := MANY_OF_ONE.findall(text))} == {}


def test_an_explanation_does_not(place):
    told = explain(place / "phase19", "task_0")
    assert not MANY_OF_ONE.findall(" ".join(sentences(told)))
    assert "after 1 retry." in " ".join(sentences({**told, "retry_count": 1}))


def test_the_command_does_not(place, run_cli):
    done = run_cli("validate", "--input", place / "phase18")
    assert "1 task (planned_tasks.jsonl), 1 agent, " in done.stdout and not MANY_OF_ONE.findall(done.stdout)


def test_a_count_in_sql_is_of_one_or_of_many():
    with duckdb.connect() as connection:
        connection.execute((sql_directory() / "macros.sql").read_text("utf-8"))
        told = connection.sql("select [counted(n, 'timed attempt') for n in [0::hugeint, 1, 2, null]]").fetchall()
    assert told == [(["0 timed attempts", "1 timed attempt", "2 timed attempts", None],)]

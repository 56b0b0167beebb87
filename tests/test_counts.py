"""Texts that count say 1 task and 2 tasks."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

import phase19
from phase19.analysis.session import sql_directory
from phase19.inputs.sample import write_sample
from phase19.outputs.explain import explain, explanation_tables, sentences

ROOT = Path(__file__).parent.parent
NOUNS = "agents|anomalies|attempts|heuristics|pairs|records|retries|runs|tasks|values|waves|weights"
MANY_OF_ONE = re.compile(rf"(?<![\w.,-])1 (?:\w+ )?(?:{NOUNS})\b")


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
    cells = [cell for table in explanation_tables(told) for row in table.rows for cell in row]
    text = "\n".join([*sentences(told), *cells])
    assert "succeeds within 1 attempt\n" in text and not MANY_OF_ONE.findall(text)
    assert "after 1 retry." in " ".join(sentences({**told, "retry_count": 1}))


def test_the_command_does_not(place, run_cli):
    done = run_cli("validate", "--input", place / "phase18")
    assert "1 task (planned_tasks.jsonl), 1 agent, " in done.stdout and not MANY_OF_ONE.findall(done.stdout)


def test_a_count_in_sql_is_of_one_or_of_many():
    with duckdb.connect() as connection:
        connection.execute((sql_directory() / "macros.sql").read_text("utf-8"))
        told = connection.sql("select [counted(n, 'timed attempt') for n in [0::hugeint, 1, 2, null]]").fetchall()
    assert told == [(["0 timed attempts", "1 timed attempt", "2 timed attempts", None],)]


FILES = [*sorted(sql_directory().glob("*.sql")), *sorted((ROOT / "phase19").rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_text_leaves_counts_to_the_functions_for_them(path):
    """`counted` in SQL, `plural` in Python."""
    assert re.findall(rf"(?:%d|\}}) (?!more )(?:[a-z]+ )?(?:{NOUNS})\b", path.read_text("utf-8")) == []

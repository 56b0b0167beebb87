"""The report as a page: every task and agent has its place, and what it shows is what the run's files hold."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pytest

import phase19
from phase19.outputs.html import rows
from phase19.outputs.report import HTML_FILE, rebuild_report

SAMPLE = Path(__file__).parent.parent.parent / "outputs" / "phase18"
# How far an outcome is from its forecast; failures come first.
SURPRISE = pl.when(status="completed").then(1 - pl.col("planned_success")).otherwise(1 + pl.col("planned_success"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the sample in which a task fails."""
    run = phase19.run(SAMPLE, output=tmp_path_factory.mktemp("page") / "run", seed=0)
    assert "failed" in run.executions["status"]
    return run


@pytest.fixture(scope="module")
def page(run):
    return (run.run_dir / HTML_FILE).read_text("utf-8")


class Cells(HTMLParser):
    """Collects the cells of the tables of a page by the id of the table, row by row."""

    def __init__(self):
        super().__init__()
        self.tables, self.rows, self.is_cell = {}, None, False

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes).get("id"), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
            self.is_cell = True

    def handle_endtag(self, tag):
        self.is_cell = self.is_cell and tag not in {"td", "th"}

    def handle_data(self, data):
        if self.is_cell:
            self.rows[-1][-1] += data


def tables(page):
    parser = Cells()
    parser.feed(page)
    return parser.tables


def test_a_report_rebuilt_from_the_files_is_the_report_of_the_run(run, page):
    rebuild_report(run.run_dir)
    assert (run.run_dir / HTML_FILE).read_text("utf-8") == page


def test_every_agent_and_every_task_has_a_row_and_an_address(page, run):
    found = tables(page)
    agents, tasks = ({row[0] for row in found[f"{name}-table"][1:] if len(row) > 1} for name in ("agents", "tasks"))
    assert agents == set(run.agents["agent_id"])
    assert tasks == set(run.executions["task_id"])
    for kind, names in (("agent", agents), ("task", tasks)):
        assert all(page.count(f'id="{kind}-{quote(name, safe="")}"') == 1 for name in names)


def test_figures_of_a_task_are_those_of_the_run(page, run):
    header, *found = (row for row in tables(page)["tasks-table"] if len(row) > 1)
    assert header == ["task", "outcome", "agent", "planned success", "wave", "risk", "category", "time", "planned time"]
    ended = {"completed": "succeeded", "failed": "failed"}
    known = run.executions.select("task_id", "wave", "agent_id", "risk_level", "category", "status")
    assert {(row[0], int(row[4]), row[2], *row[5:7], row[1]) for row in found} == {
        (*row[:5], ended[row[5]]) for row in known.iter_rows()
    }
    first = run.executions.sort(SURPRISE, descending=True).row(0, named=True)
    assert found[0][0] == first["task_id"]
    assert found[0][3] == f"{first['planned_success']:.1%}".replace("%", " %")


def test_a_task_opens_to_the_reasons_that_explain_gives(page, run):
    found = [row for row in tables(page)["tasks-table"] if row]
    reasons = dict(zip((row[0] for row in found[1::2]), (row[0] for row in found[2::2]), strict=True))
    for name, said in reasons.items():
        _, chance, *why = run.explain(name).split("\n")
        assert said.startswith(" ".join([chance, *why[:-1]]))


def test_every_assigned_task_has_a_bar_and_every_failure_another_colour(page, run):
    bars = re.findall(r'<a href="#task-[^"]*"><title>([^<]*)</title>(.*?)</a>', page)
    assert sorted(unescape(title).split(",")[0] for title, _ in bars) == sorted(run.executions["task_id"])
    for title, bar in bars:
        assert (": failed" in title) == ('class="f"' in bar)
        assert bar.count("<rect") == 1
    plans = "".join(re.findall(r'<g class="p">(.*?)</g>', page))
    assert plans.count("<rect x=") == len(bars)  # the plan behind


def test_only_the_script_of_the_page_may_run(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:" in page


def test_of_many_tasks_the_most_surprising_are_shown_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MOST_TASKS", 5)
    run = phase19.run(SAMPLE, output=tmp_path / "run", seed=7)
    page = (run.run_dir / HTML_FILE).read_text("utf-8")
    shown = [row[0] for row in tables(page)["tasks-table"][1:] if len(row) > 1]
    assert shown == run.executions.sort(SURPRISE, descending=True)["task_id"].head(5).to_list()
    assert "These are 5 of 12 tasks" in page
    assert page.partition('id="timeline"')[2].count('<a href="#task-') == 5
    assert page.count('class="b"') > 0  # times of the other tasks

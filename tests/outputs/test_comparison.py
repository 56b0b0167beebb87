"""Two runs side by side: hand-worked verdicts, and a page that says what the files of both runs say."""

from __future__ import annotations

import json
import re
import shutil

import polars as pl
import pytest

import phase19
from phase19.cli.app import main
from phase19.errors import OutputError, UsageError
from phase19.outputs.comparison import chance, figures_table, paired_tasks, verdict
from phase19.outputs.report import compare_runs
from phase19.outputs.tables import read_run

FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 7}
SCHEMA = {"task_id": pl.String, "agent_id": pl.String, "status": pl.String, "planned_success": pl.Float64}


def tasks(**statuses):
    """Tasks of one agent by id and status."""
    rows = [(task, "agent_0", status, 0.5) for task, status in statuses.items()]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def outcomes(only_a, only_b, both=0, neither=0):
    """Two runs of the same tasks, of which so many succeeded only in A, only in B, in both and in neither."""
    ends = [("completed", "failed")] * only_a + [("failed", "completed")] * only_b
    ends += [("completed", "completed")] * both + [("failed", "failed")] * neither
    return paired_tasks(*(tasks(**{f"task_{i}": end[of] for i, end in enumerate(ends)}) for of in (0, 1)))


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("other") / "phase19"
    return phase19.run(input="outputs/phase18", output=place, strategy="balance_load", **FIXED)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [
        (0, 0, 1.0),  # nothing differs
        (0, 5, 2 / 32),  # five heads in five throws, on either side
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
        (4, 0, 2 / 16),
    ],
)
def test_chance_is_that_of_throwing_a_coin_for_each_task_that_ended_differently(only_a, only_b, expected):
    assert chance(only_a, only_b) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pairs", "head", "counts", "share"),
    [
        (outcomes(1, 2, 3, 1), "Run B did better, but chance may explain it", "5 of the 7 4", "100 %"),
        (outcomes(5, 0, 1), "Run A did better, by more than chance explains", "1 of the 6 6", "6.2 %"),
        (outcomes(0, 20), "Run B did better, by more than chance explains", "20 of the 20 0", "less than 0.1 %"),
    ],
)
def test_the_verdict_counts_tasks_and_says_how_often_chance_does_that(pairs, head, counts, share):
    in_b, in_a = counts.rsplit(" ", 1)
    assert verdict(pairs) == (
        f"{head}: {in_b} tasks that ran in both succeeded in B, {in_a} in A; "
        f"equally good runs differ at least as much in {share} of comparisons."
    )


def test_equal_runs_and_runs_without_a_common_task_have_verdicts_of_their_own():
    counts = "7 of the 9 tasks that ran in both succeeded in B, 7 in A"
    assert verdict(outcomes(2, 2, 5)) == f"Both runs did equally well: {counts}."
    assert verdict(outcomes(0, 0)) == "The runs cannot be compared: no task ran in both."


def test_tasks_that_did_not_run_in_both_runs_do_not_count():
    a = tasks(task_2="completed", task_10="failed", task_3="deferred", task_4="completed")
    b = tasks(task_2="failed", task_10="failed", task_3="completed", task_5="completed")
    pairs = paired_tasks(a, b)
    assert pairs["task_id"].to_list() == ["task_2", "task_3", "task_4", "task_5", "task_10"]
    assert pairs["status_b"].to_list() == ["failed", "completed", None, "completed", "failed"]
    assert "0 of the 2 tasks that ran in both succeeded in B, 1 in A" in verdict(pairs)


def test_the_figures_and_differences_are_those_of_the_files(sample_run, other_run):
    a, b = (read_run(run.run_dir) for run in (sample_run, other_run))
    table = figures_table(a, b, [(1000.0, 2000.0), (3000.0, None)])
    rows = {row[0]: row[1:] for row in table.rows}
    rates = [run["optimization_summary"]["overall_metrics"]["expected_success_rate"] for run in (a, b)]
    assert rows["planned success"][2] == f"{100 * (rates[1] - rates[0]):+.1f} points"
    assert [float(cell.removesuffix(" %")) / 100 for cell in rows["planned success"][:2]] == pytest.approx(
        rates, abs=0.0005
    )
    assert rows["time"] == ("1.0 s", "3.0 s", "+2.0 s")
    assert rows["planned time"] == ("2.0 s", "no data", "")
    utilization = [
        row["value"] for run in (a, b) for row in run["optimization_metrics"] if "util" in row["metric_name"]
    ]
    assert float(rows["agent utilization"][2]) == pytest.approx(utilization[1] - utilization[0], rel=0.01)


def test_the_page_lists_each_task_that_differs_once(sample_run, other_run, tmp_path):
    said, page = compare_runs(sample_run.run_dir, other_run.run_dir, tmp_path / "page.html")
    text = page.read_text("utf-8")
    a, b = (run.executions.select("task_id", "agent_id", "status").sort("task_id") for run in (sample_run, other_run))
    differing = a.filter((a["agent_id"] != b["agent_id"]) | (a["status"] != b["status"]))["task_id"]
    body = text.partition('id="tasks-table"')[2]
    assert sorted(re.findall(r'<th scope="row">(task_\d+)', body)) == sorted(differing)
    assert 0 < len(differing) < a.height
    head, _, rest = said.partition(": ")
    assert f"<h1>{head}</h1>" in text
    assert rest[1:] in text


def test_a_run_does_as_well_as_itself(sample_run, tmp_path):
    said, page = compare_runs(sample_run.run_dir, sample_run.run_dir, tmp_path / "page.html")
    assert said.startswith("Both runs did equally well")
    assert "0 ended differently, and 0 had another agent" in page.read_text("utf-8")


def test_links_lead_from_the_page_to_both_reports(sample_run, other_run, tmp_path):
    _, page = compare_runs(sample_run.run_dir, other_run.run_dir, tmp_path / "page.html")
    links = re.findall(r'<p>[AB]: <a href="([^"]+)"', page.read_text("utf-8"))
    assert [(tmp_path / link).resolve() for link in links] == [
        (run.run_dir / "report.html").resolve() for run in (sample_run, other_run)
    ]


def test_the_command_says_who_did_better_and_writes_beside_run_b(sample_run, other_run, capsys):
    pair = str(sample_run.run_dir), str(other_run.run_dir)
    for _ in range(2):  # an earlier comparison is replaced
        assert main(["report", "--compare", *pair]) == 0
    page = other_run.run_dir.with_name("comparison.html")
    said, _ = compare_runs(sample_run.run_dir, other_run.run_dir)
    assert capsys.readouterr().out.splitlines() == 2 * [said, str(page)]
    page.write_text("mine")
    assert main(["report", "--compare", *pair]) == 2
    assert "found a file of yours" in capsys.readouterr().err
    assert page.read_text() == "mine"
    page.unlink()


def test_what_cannot_be_compared_is_an_error(sample_run, tmp_path, capsys):
    run = str(sample_run.run_dir)
    for arguments, problem in (
        (["--compare", run, str(tmp_path)], "Phase 19 run"),
        (["--compare", run, run, "--run", run], "--run cannot be combined with --compare"),
        (["--output", str(tmp_path / "page.html")], "--output needs --compare"),
        (["--compare", run], "--compare"),
    ):
        assert main(["report", *arguments]) == 2, arguments
        assert problem in capsys.readouterr().err
    with pytest.raises(UsageError, match="lies in the input"):
        compare_runs(sample_run.run_dir, sample_run.run_dir, sample_run.run_dir / "page.html")


def test_a_summary_without_a_figure_is_an_error(sample_run, tmp_path):
    broken = shutil.copytree(sample_run.run_dir, tmp_path / "broken")
    summary = json.loads((broken / "optimization_summary.json").read_text())
    del summary["forecast_scores"]
    (broken / "optimization_summary.json").write_text(json.dumps(summary))
    with pytest.raises(OutputError, match="found no key 'forecast_scores'"):
        compare_runs(sample_run.run_dir, broken, tmp_path / "page.html")

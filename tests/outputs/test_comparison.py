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
from phase19.outputs.comparison import chance, figures_table, outcomes, paired_tasks, verdict
from phase19.outputs.report import compare_runs
from phase19.outputs.tables import read_run

FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 7}
SCHEMA = {"task_id": pl.String, "agent_id": pl.String, "status": pl.String, "planned_success": pl.Float64}


def tasks(**statuses):
    """Tasks of one agent by id and status."""
    rows = [(task, "agent_0", status, 0.5) for task, status in statuses.items()]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def pairs_of(only_a, only_b, both=0, neither=0):
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
        (pairs_of(1, 2, 3, 1), "Run B did better, but chance may explain it", "4 of the 7 5", "100 %"),
        (pairs_of(5, 0, 1), "Run A did better, by more than chance explains", "6 of the 6 1", "6.2 %"),
        (pairs_of(0, 20), "Run B did better, by more than chance explains", "0 of the 20 20", "less than 0.1 %"),
    ],
)
def test_the_verdict_counts_tasks_and_says_how_often_chance_does_that(pairs, head, counts, share):
    in_a, in_b = counts.rsplit(" ", 1)
    assert outcomes(pairs) == (
        f"{head}: {in_a} tasks that ran in both succeeded in A, {in_b} in B; "
        f"equally good runs differ at least as much in {share} of comparisons."
    )


def test_equal_runs_and_runs_without_a_common_task_have_verdicts_of_their_own():
    counts = "7 of the 9 tasks that ran in both succeeded in A, 7 in B"
    assert outcomes(pairs_of(2, 2, 5)) == f"Both runs did equally well: {counts}."
    assert outcomes(pairs_of(0, 0)) == "The runs cannot be compared: no task ran in both."


def test_tasks_that_did_not_run_in_both_runs_do_not_count():
    a = tasks(task_2="completed", task_10="failed", task_3="deferred", task_4="completed")
    b = tasks(task_2="failed", task_10="failed", task_3="completed", task_5="completed")
    pairs = paired_tasks(a, b)
    assert pairs["task_id"].to_list() == ["task_2", "task_3", "task_4", "task_5", "task_10"]
    assert pairs["status_b"].to_list() == ["failed", "completed", None, "completed", "failed"]
    said = outcomes(pairs)
    assert "1 of the 2 tasks that ran in both succeeded in A, 0 in B; " in said
    assert said.endswith("; only one run has 2 of the tasks.")


def test_the_figures_and_differences_are_those_of_the_files(sample_run, other_run):
    a, b = (read_run(run.run_dir) for run in (sample_run, other_run))
    rows = {row[0]: row[1:] for row in figures_table(a, b).rows}
    rates = [run["optimization_summary"]["overall_metrics"]["expected_success_rate"] for run in (a, b)]
    assert rows["planned success"][2] == f"{100 * (rates[1] - rates[0]):+.1f} points"
    assert [float(cell.removesuffix(" %")) / 100 for cell in rows["planned success"][:2]] == pytest.approx(
        rates, abs=0.0005
    )
    for row in a["schedule_comparisons"]:  # 100 tasks at 50 and 25 per second
        row |= {"ran_count": 100, "planned_throughput": 50.0, "actual_throughput": 25.0}
    for row in b["schedule_comparisons"]:  # nothing is known of the actual times
        row["actual_throughput"] = None
    rows |= {row[0]: row[1:] for row in figures_table(a, b).rows}
    assert rows["time"] == ("12 s", "no data", "")
    assert rows["planned time"] == ("6.0 s", "no data", "")
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


def files(simulated=True, planned_ms=1000.0):
    """The files of a run of one wave, as far as its verdict needs them."""
    wave = {"wave": 1, "ran_count": 100, "planned_throughput": 1e5 / planned_ms, "actual_throughput": 100.0}
    return {
        "optimization_summary": {
            "simulated": simulated,
            "optimization_results": [{"wave": 1, "agent_assignments": {}}],
        },
        "schedule_comparisons": [wave],
    }


@pytest.mark.parametrize(
    ("planned", "time", "head"),
    [
        (0.508, 1000.0, "B plans 0.8 points more success and both plan the same time"),
        (0.492, 420.0, "A plans 0.8 points more success and B plans 58 % less time"),
        (0.5, 2000.0, "Both plan the same success and A plans 50 % less time"),
    ],
)
def test_of_two_dry_runs_the_plans_are_compared_first(planned, time, head):
    a = tasks(task_1="completed", task_2="failed")
    b = a.with_columns(planned_success=pl.lit(planned))
    said = verdict(files(), files(planned_ms=time), paired_tasks(a, b))
    assert said.startswith(
        f"{head}: 50.0 % success in A and {100 * planned:.1f} % in B over 2 tasks, and 1.0 s in A and "
    )
    assert said.endswith(
        ". Outcomes drawn: Both runs did equally well: 1 of the 2 tasks that ran in both succeeded in A, 1 in B."
    )
    assert verdict(files(), files(simulated=False), paired_tasks(a, b)) == outcomes(paired_tasks(a, b))
    more = tasks(task_1="completed", task_3="failed")  # the times of other tasks cannot be compared
    said = verdict(files(), files(planned_ms=time), paired_tasks(a, more))
    assert said.startswith("Both plan the same success: 50.0 % success in A and 50.0 % in B over 1 task. ")
    assert said.endswith("; only one run has 2 of the tasks.")


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
    names = [run.run_dir.name for run in (sample_run, other_run)]
    page = other_run.run_dir.with_name(f"comparison-{names[0]}-{names[1]}.html")
    said, _ = compare_runs(sample_run.run_dir, other_run.run_dir)
    assert capsys.readouterr().out.splitlines() == 2 * [said, str(page)]
    for text in ("mine", page.read_text().replace("report.html", "another.html", 1)):
        page.write_text(text)
        assert main(["report", "--compare", *pair]) == 2
        assert "expected a comparison of these runs or no file, found another" in capsys.readouterr().err
        assert page.read_text() == text
    page.unlink()


def test_what_cannot_be_compared_is_an_error(sample_run, other_run, tmp_path, capsys):
    run = str(sample_run.run_dir)
    for arguments, problem in (
        (["--compare", run, str(tmp_path)], "Phase 19 run"),
        (["--compare", run, run, "--run", run], "--run cannot be combined with --compare"),
        (["--output", str(tmp_path / "page.html")], "--output needs --compare"),
        (["--compare", run], "--compare"),
        (["--compare", run, f"{run}/."], "--compare: expected two runs, found"),
    ):
        assert main(["report", *arguments]) == 2, arguments
        assert problem in capsys.readouterr().err
    with pytest.raises(UsageError, match="lies in the input"):
        compare_runs(sample_run.run_dir, other_run.run_dir, sample_run.run_dir / "page.html")


def test_a_summary_without_a_figure_is_an_error(sample_run, tmp_path):
    broken = shutil.copytree(sample_run.run_dir, tmp_path / "broken")
    summary = json.loads((broken / "optimization_summary.json").read_text())
    del summary["forecast_scores"]
    (broken / "optimization_summary.json").write_text(json.dumps(summary))
    with pytest.raises(OutputError, match="found no key 'forecast_scores'"):
        compare_runs(sample_run.run_dir, broken, tmp_path / "page.html")

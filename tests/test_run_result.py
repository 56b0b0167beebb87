"""What a result offers, right after a run and when a finished run is opened."""

import shutil
from dataclasses import replace

import pytest

import phase19


@pytest.fixture(scope="module")
def opened(sample_run):
    return phase19.open_run(sample_run.run_dir)


def test_an_opened_run_is_the_run(sample_run, opened):
    for name in ("summary", "metrics", "anomalies", "alerts", "checks", "signals", "advice", "failures", "health"):
        assert getattr(opened, name) == getattr(sample_run, name), name
    for name in ("comparisons", "recommendations", "strategies", "heuristic_weights", "utilization", "is_interrupted"):
        assert getattr(opened, name) == getattr(sample_run, name), name
    hidden = "planned_success_variance"  # no file has it
    for name in ("executions", "plans"):
        frames = [getattr(result, name).drop(hidden) for result in (opened, sample_run)]
        assert frames[0].equals(frames[1]), name
    assert opened.agents.equals(sample_run.agents)
    assert repr(opened) == repr(sample_run)


def test_an_opened_run_was_interrupted_if_a_task_was(sample_run, opened, tmp_path):
    copy = shutil.copytree(sample_run.run_dir, tmp_path / "copy")
    path = copy / "wave_1" / "agent_0" / "scheduled_tasks.jsonl"
    path.write_text(path.read_text("utf-8").replace('"completed"', '"interrupted"'), "utf-8")
    assert [phase19.open_run(copy).is_interrupted, opened.is_interrupted] == [True, False]


def test_agents_are_summed_up(sample_run):
    agents = sample_run.agents
    assert agents["agent_id"].to_list() == [f"agent_{i}" for i in range(4)]
    assert agents["task_count"].sum() == sample_run["total_tasks"]
    assert agents["completed_count"].sum() == sample_run["task_counts"]["completed"]
    assert agents["expected_count"].sum() == pytest.approx(sample_run.plans["planned_success"].sum())
    assert dict(agents.select("agent_id", "utilization").rows()) == sample_run.utilization


def test_a_result_is_shown_by_its_verdict(sample_run):
    lines = repr(sample_run).splitlines()
    assert lines[0].startswith("The plan held in the dry run: 11 of 12 tasks succeeded")
    assert lines[-1] == f"Results are in {sample_run.run_dir}"
    assert len(lines) <= 10
    html = sample_run._repr_html_()
    assert html.startswith("<p>The plan held in the dry run: 11 of 12 tasks succeeded")
    assert "<table>" in html


def test_many_alerts_are_counted(sample_run):
    alert = {"severity": "high", "source": "x", "message": "m.", "action": "a."}
    shown = repr(replace(sample_run, files={**sample_run.files, "alerts": [alert] * 20})).splitlines()
    assert len(shown) == 10
    assert shown[1] == "high: m. a."
    assert shown[-2] == "... and 13 more; see .alerts"


def test_a_task_is_explained_as_the_command_explains_it(sample_run, run_cli):
    done = run_cli("explain", "task_3", "--run", sample_run.run_dir)
    assert " ".join(sample_run.explain("task_3").split()) == " ".join(done.stdout.split())
    with pytest.raises(phase19.Phase19Error, match="task_99"):
        sample_run.explain("task_99")


def test_a_result_does_not_explain_another_run_in_its_place(tmp_path):
    first, second = (phase19.run("outputs/phase18", output=tmp_path / "out", seed=seed) for seed in (1, 2))
    assert second.explain("task_3").startswith("task_3 was assigned to ")
    with pytest.raises(phase19.Phase19Error, match="found another run in its place"):
        first.explain("task_3")


def test_other_options_are_planned_and_nothing_is_written(sample_run):
    before = sorted(sample_run.run_dir.rglob("*"))
    other = sample_run.what_if(exclude=["agent_0"], capacity="none")
    assert other.changed == {"capacity": "none", "exclude_agent": ("agent_0",)}
    assert "agent_0" not in set(other.plan.assignments["agent_id"])
    assert other.before.assignments["task_id"].sort().equals(sample_run.plans["task_id"].sort())
    # Wave 1 is planned before anything is learned, as in the run.
    first = [
        frame.filter(wave=1).sort("task_id").select("agent_id")
        for frame in (other.before.assignments, sample_run.plans)
    ]
    assert first[0].equals(first[1])
    assert sorted(sample_run.run_dir.rglob("*")) == before
    assert sample_run.forecasts.height == 48
    with pytest.raises(phase19.Phase19Error, match="found 'agent_O'; did you mean agent_"):
        sample_run.what_if(exclude="agent_O")


def test_an_opened_run_says_what_it_cannot_plan(opened):
    with pytest.raises(phase19.Phase19Error, match=r"^what_if: needs the inputs of the run"):
        opened.what_if(exclude="agent_0")
    with pytest.raises(phase19.Phase19Error, match=r"^forecasts: needs the inputs of the run"):
        _ = opened.forecasts


def test_runs_are_queried_by_path_or_text(sample_run, tmp_path):
    copy = shutil.copytree(sample_run.run_dir, tmp_path / "copy")
    assert phase19.query("select count(*) from tasks", run=str(copy)).item() == 12
    assert phase19.query("select count(*) from tasks", run=[copy, str(sample_run.run_dir)]).item() == 24
    assert phase19.query(run=copy)["view"].to_list()[0] == "runs"
    assert phase19.query("select count(*) from tasks", run=sample_run).item() == 12
    assert phase19.query("select count(*) from tasks", run=[copy, sample_run]).item() == 24
    assert phase19.explain("task_3", run=sample_run) == sample_run.explain("task_3")
    assert phase19.open_run(sample_run)["run_id"] == sample_run["run_id"]
    with pytest.raises(phase19.Phase19Error, match="nowhere: expected a Phase 19 run"):
        phase19.query("from tasks", run="nowhere")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: phase19.query(5), "^sql: expected text, found 5"),
        (lambda: phase19.query("from tasks", run=5), "^run: expected a path, found 5"),
        (lambda: phase19.query("from tasks", run=[]), "^run: expected at least one path, found none"),
        (lambda: phase19.explain(5), "^task: expected text, found 5"),
        (lambda: phase19.explain("a", run=None), "^run: expected a path, found None"),
        (lambda: phase19.open_run(5), "^run_dir: expected a path, found 5"),
        (lambda: phase19.import_records("tabel", "a", "b"), "^format: .* did you mean table"),
        (lambda: phase19.import_records("table", "a.csv", "b", task=5), "^--task: expected text, found 5"),
        (lambda: phase19.import_records("table", "a.csv", None), "^--output: expected a path, found None"),
        (lambda: phase19.validate(5), "^options: expected InputOptions, found 5"),
    ],
)
def test_a_wrong_argument_is_named(ask, message):
    with pytest.raises(phase19.Phase19Error, match=message):
        ask()

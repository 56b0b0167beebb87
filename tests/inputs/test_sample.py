"""Generated inputs: deterministic, valid, and as rich as the model they are drawn from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from phase19 import frames
from phase19.errors import OutputError, UsageError
from phase19.inputs import wire
from phase19.inputs.loading import load_inputs
from phase19.inputs.sample import write_example, write_sample

ROOT = Path(__file__).parents[2]


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def load(root):
    return load_inputs(root / "phase18", root / "phase16", root / "phase17")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    write_sample(root, tasks=600, agents=12, waves=4, seed=7)
    return root


def test_a_sample_is_read_back_without_a_warning(sample):
    inputs = load(sample)
    assert inputs.warnings == ()
    assert inputs.task_source == "planned_tasks.jsonl"
    assert inputs.tasks["task_id"].to_list() == [f"task_{i}" for i in range(600)]
    assert inputs.agents["agent_id"].to_list() == [f"agent_{i}" for i in range(12)]
    assert inputs.agents["evidence"].unique().to_list() == ["records"]
    assert inputs.heuristics["heuristic_id"].to_list() == ["H16_001", "H16_002", "H16_003", "H16_004"]
    frames.TASKS.validate(inputs.tasks)
    frames.ATTEMPTS.validate(inputs.attempts)


def test_summaries_are_computed_from_the_records(sample):
    inputs = load(sample)
    records = inputs.attempts.filter(source="phase18")
    assert inputs.population.success_rate == pytest.approx(records["is_success"].sum() / 600, abs=5e-5)
    assert inputs.population.retry_rate == pytest.approx(records.filter(attempt=2).height / 600, abs=5e-5)
    assert inputs.population.duration_ms == pytest.approx(records["duration_ms"].mean(), abs=5e-4)
    assert inputs.population.wave_count == 4
    by_agent = records.group_by("agent_id").agg(
        summary_task_count=pl.col("task_id").n_unique().cast(pl.Int64),
        rate=(pl.col("is_success").sum() / pl.col("task_id").n_unique()).round(4),
        delta=pl.col("confidence_delta").mean().round(4),
    )
    joined = inputs.agents.join(by_agent, on=["agent_id", "summary_task_count"], how="inner")
    assert joined.height == 12
    assert (joined["summary_success_rate"] - joined["rate"]).abs().max() < 1e-9
    assert (joined["summary_confidence_delta"] - joined["delta"]).abs().max() < 1e-9


def test_the_same_seed_makes_the_same_bytes(sample, tmp_path):
    write_sample(tmp_path / "again", tasks=600, agents=12, waves=4, seed=7)
    assert files(tmp_path / "again") == files(sample)
    write_sample(tmp_path / "other", tasks=600, agents=12, waves=4, seed=8)
    assert files(tmp_path / "other") != files(sample)


def test_both_phases_execute_every_task_once_and_retry_as_h16_003_says(sample):
    for source in ("phase17", "phase18"):
        records = load(sample).attempts.filter(source=source)
        assert records.filter(attempt=1)["task_id"].n_unique() == records["task_id"].n_unique() == 600
        last = records.sort("attempt").group_by("task_id", maintain_order=True).last()
        stopped = last.filter(~pl.col("is_success"))
        assert (stopped["risk_level"].eq("HIGH") | stopped["attempt"].eq(3)).all()
        assert records.filter(pl.col("risk_level") == "HIGH")["attempt"].max() == 1
        retries = records.filter(pl.col("attempt") > 1)
        assert retries.height > 20
        assert retries["heuristics_applied"].list.contains("H16_003").all()
        assert records["timestamp"].n_unique() > 500


def test_the_two_phases_give_tasks_to_different_agents(sample):
    attempts = load(sample).attempts.filter(attempt=1)
    pairs = attempts.group_by("task_id").agg(pl.col("agent_id").n_unique())
    assert pairs["agent_id"].unique().to_list() == [2]


def test_waves_are_even_blocks_and_priorities_their_ranks(sample):
    tasks = load(sample).tasks
    assert tasks.group_by("wave").len().sort("wave").rows() == [(wave, 150) for wave in (1, 2, 3, 4)]
    for _, wave in tasks.group_by("wave"):
        assert sorted(wave["priority"]) == list(range(1, 151))


def generated(directory):
    write_sample(directory, tasks=1000, agents=20, waves=5, seed=19)
    return directory


@pytest.mark.parametrize("make", [generated, lambda _: ROOT / "data"], ids=["generated", "committed"])
def test_risk_tells_difficulty_and_agents_differ_by_category(tmp_path, make):
    attempts = load(make(tmp_path)).attempts.filter(attempt=1)
    assert 0.80 < attempts["is_success"].mean() < 0.90
    by_risk = dict(attempts.group_by("risk_level").agg(pl.col("is_success").mean()).iter_rows())
    assert by_risk["LOW"] > by_risk["MEDIUM"] > by_risk["HIGH"]
    assert attempts.select(pl.corr("confidence_before", pl.col("is_success").cast(pl.Float64))).item() > 0.2
    for keys in (["agent_id"], ["agent_id", "category"]):  # ability, then skill too
        rates = attempts.group_by(keys).agg(pl.col("is_success").mean(), pl.len())
        chance = (0.85 * 0.15 / rates["len"]).mean() ** 0.5  # standard deviation if all agents were alike
        assert rates["is_success"].std() > 1.15 * chance
    assert 25 < attempts["duration_ms"].median() < 32
    by_status = dict(attempts.group_by("is_success").agg(pl.col("duration_ms").median()).iter_rows())
    assert 1.3 < by_status[False] / by_status[True] < 1.8


def test_data_and_outputs_hold_samples_of_the_stated_sizes():
    """A sample is committed once, and stays as it is when the generator changes."""
    for name, tasks, agents, waves in (("data", 1000, 20, 5), ("outputs", 12, 4, 3)):
        inputs = load(ROOT / name)
        assert inputs.warnings == ()
        assert (inputs.tasks.height, inputs.agents.height, inputs.tasks["wave"].n_unique()) == (tasks, agents, waves)
    assert inputs.attempts["is_success"].mean() == pytest.approx(12 / 13)
    assert inputs.attempts["duration_ms"].mean() == pytest.approx(28.2, abs=0.1)
    assert inputs.population.success_rate == 0.917


@pytest.mark.parametrize(("tasks", "agents", "waves"), [(1, 1, 1), (3, 5, 3), (5, 1, 2)])
def test_the_smallest_samples_are_whole(tmp_path, tasks, agents, waves):
    write_sample(tmp_path, tasks=tasks, agents=agents, waves=waves, seed=0)
    inputs = load(tmp_path)
    assert (inputs.tasks.height, inputs.agents.height, inputs.tasks["wave"].n_unique()) == (tasks, agents, waves)
    summary = json.loads((tmp_path / "phase18" / "multi_agent_summary.json").read_text())
    assert (summary["total_agents"], summary["total_tasks"]) == (agents, tasks)


@pytest.mark.parametrize("taken", ["phase16", "phase17", "phase18"])
def test_an_earlier_sample_is_left_as_it_is(tmp_path, taken):
    (tmp_path / taken).mkdir()
    with pytest.raises(OutputError, match=f"{taken}: expected nothing there"):
        write_sample(tmp_path, tasks=4, agents=2, waves=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_sample(tmp_path / "file", tasks=4, agents=2, waves=1, seed=0)


def test_equal_tasks_have_priority_in_their_order(tmp_path):
    write_sample(tmp_path, tasks=300, agents=3, waves=2, seed=5)
    planned = pl.read_ndjson(tmp_path / "phase16" / "planned_tasks.jsonl").with_row_index("place")
    level = pl.col("risk_level").cast(pl.Enum(["LOW", "MEDIUM", "HIGH"]))
    for _, wave in planned.group_by("wave"):
        assert wave.sort(level, -pl.col("confidence"), "place")["priority"].to_list() == [*range(1, wave.height + 1)]
        assert wave.select("risk_level", "confidence").is_duplicated().any()


def test_a_sample_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    written = []

    def full_disk(_frame, path):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_ndjson", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        write_sample(tmp_path, tasks=4, agents=2, waves=1, seed=0)
    assert len(written) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "bounds"),
    [
        ("tasks", 0, "1 to 10,000,000"),
        ("agents", 0, "1 to 100,000"),
        ("waves", 5, "1 to 4"),
        ("seed", -1, "0 to 9,223,372,036,854,775,807"),
        ("tasks", "1.5", "1 to 10,000,000"),
    ],
)
def test_sizes_out_of_bounds_are_refused(tmp_path, option, value, bounds):
    sizes = {"tasks": 4, "agents": 2, "waves": 1, "seed": 0} | {option: value}
    with pytest.raises(UsageError, match=f"--{option}: expected a whole number from {bounds}, found {value!r}"):
        write_sample(tmp_path, **sizes)
    assert not list(tmp_path.iterdir())


def test_the_example_is_read_without_a_warning_and_its_readme_names_real_files_and_fields(tmp_path):
    place = tmp_path / "example"
    write_example(place)
    inputs = load_inputs(place)
    assert inputs.warnings == ()
    assert (inputs.tasks.height, inputs.agents["agent_id"].to_list()) == (4, ["ann", "bob"])
    named = set(re.findall(r"`([a-z_.]+)`", (place / "README.md").read_text()))
    known = [*wire.TASK_ROWS.dtypes, *wire.TASK_OUTCOMES.dtypes, *wire.AGENT_ROWS.dtypes]
    known += wire.Population.__struct_encode_fields__
    files = {path.name for path in place.iterdir() if path.name != "README.md"}
    assert files <= named
    assert named <= {*files, *known, "import", ".jsonl"}


def test_the_example_replaces_nothing(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="expected nothing there, found something; nothing was written"):
        write_example(tmp_path)
    assert files(tmp_path) == {"mine.txt": b"mine"}

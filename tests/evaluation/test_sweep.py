"""Sweeps: the grid, the same results from every engine, lost workers, second starts, and what is refused."""

import json
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from distributed import LocalCluster

import phase19
from phase19.errors import OutputError, UsageError
from phase19.evaluation.engines import MOST_LOSSES, run_locally, run_on_dask
from phase19.evaluation.grid import MOST_RUNS, read_grid
from phase19.evaluation.sweep import MOST_SHARDS, make_shards, summarize, sweep

ROOT = Path(__file__).parents[2]
INPUT = ROOT / "outputs" / "phase18"
GRID = f"""
[options]
input = "{INPUT}"
waves = 1

[vary]
strategy = ["maximize_success", "balance_load"]
seed = {{from = 7, to = 8}}
"""


def write(place, text=GRID, name="grid.toml"):
    place.mkdir(exist_ok=True, parents=True)
    (place / name).write_text(text, "utf-8")
    return place / name


def in_this_process(task, items):
    return map(task, items)


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def rows(directory, level):
    return pl.read_parquet(directory / "results" / level / "*.parquet")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The result of the grid, computed without any engine."""
    place = tmp_path_factory.mktemp("sweep")
    return sweep(write(place), in_this_process)


# Results


def test_the_runs_are_those_of_the_command_run(expected, tmp_path):
    found = rows(expected.directory, "runs")
    assert found["run"].to_list() == [1, 2, 3, 4]
    assert found.select("strategy", "seed").rows() == [
        (strategy, seed) for strategy in ("maximize_success", "balance_load") for seed in (7, 8)
    ]
    assert found["setting"].unique(maintain_order=True).to_list() == [
        "strategy=maximize_success",
        "strategy=balance_load",
    ]
    run = phase19.run(INPUT, strategy="balance_load", seed=8, waves=1, output=tmp_path / "run")
    (row,) = found.filter(strategy="balance_load", seed=8).to_dicts()
    assert row["run_id"] == run["run_id"]
    assert row["error"] is None
    for name, value in run["overall_metrics"].items():
        assert row[name] == value, name
    own = rows(expected.directory, "waves").filter(run=row["run"])
    assert own["actual_success_rate"].to_list() == [wave.actual_success_rate for wave in run.comparisons]
    agents = rows(expected.directory, "agents").filter(run=row["run"])
    assert agents["completed_count"].sum() == run["task_counts"]["completed"] == row["completed_count"]
    assert agents.height == run["total_agents"] * run["total_waves_optimized"]


def test_a_run_leaves_no_files_but_its_results(expected):
    names = {"sweep.json", "summary.jsonl"} | {
        f"results/{level}/{number:05}.parquet" for level in ("runs", "waves", "agents") for number in range(1, 5)
    }
    assert tree(expected.directory).keys() == names


def test_the_summary_has_a_row_per_setting(expected, golden):
    found = rows(expected.directory, "runs")
    lines = [json.loads(line) for line in (expected.directory / "summary.jsonl").read_text().splitlines()]
    golden.rows("sql/sweep_summary", lines)
    for line in lines:
        own = found.filter(setting=line["setting"])
        assert (line["run_count"], line["failed_count"]) == (2, 0)
        assert line["actual_success_rate"] == pytest.approx(own["actual_success_rate"].mean(), rel=1e-12)
        assert line["actual_success_rate_low"] == pytest.approx(
            own["actual_success_rate"].quantile(0.05, "linear"), rel=1e-12
        )
        assert line["actual_makespan_ms"] == pytest.approx(own["actual_makespan_ms"].mean(), rel=1e-12)
        assert line["anomaly_rate"] == (own["anomaly_count"] > 0).mean()


def test_a_summary_by_hand():
    """Three runs of one setting, of which one failed and one ended outside its range, and one run of another."""
    rows = {
        "run": [1, 2, 3, 4],
        "setting": ["a", "a", "a", "b"],
        "error": [None, None, "no room", None],
        "expected_success_rate": [0.5, 0.7, None, 0.9],
        "actual_success_rate": [0.4, 0.8, None, 1.0],
        "success_rate_low": [0.3, 0.5, None, 0.8],
        "success_rate_high": [0.6, 0.75, None, 1.0],
        "baseline_success_rate": [0.2, 0.4, None, 0.5],
        "planned_makespan_ms": [100.0, 300.0, None, None],
        "actual_makespan_ms": [150.0, 250.0, None, None],
        "retry_count": [2, 4, None, 0],
        "anomaly_count": [0, 3, None, 0],
    }
    of_a, of_b = summarize(pl.DataFrame(rows)).to_dicts()
    assert of_a == pytest.approx(
        {
            "setting": "a",
            "run_count": 3,
            "failed_count": 1,
            "planned_success_rate": 0.6,
            "actual_success_rate": 0.6,
            "actual_success_rate_low": 0.42,
            "actual_success_rate_high": 0.78,
            "interval_coverage": 0.5,
            "baseline_success_rate": 0.3,
            "planned_makespan_ms": 200.0,
            "actual_makespan_ms": 200.0,
            "retry_count": 3.0,
            "anomaly_rate": 0.5,
        }
    )
    assert (of_b["setting"], of_b["run_count"], of_b["failed_count"], of_b["planned_makespan_ms"]) == ("b", 1, 0, None)


def test_the_number_of_shards_is_limited_and_each_run_is_in_one(tmp_path):
    grid = read_grid(write(tmp_path, GRID.replace("8}", "506}")))
    shards = make_shards(grid, tmp_path)
    assert [options.seed for shard in shards for options in shard.runs] == [*range(7, 507)] * 2
    assert pl.concat([shard.labels for shard in shards]).equals(grid.labels)
    assert len(shards) <= MOST_SHARDS
    assert {len(shard.runs) for shard in shards} == {4}


# Engines


def test_one_process_gives_the_same_bytes(expected, run_cli, tmp_path):
    done = run_cli("sweep", write(tmp_path), "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Sweep: 4 runs, 2 settings\n")
    assert "strategy=balance_load" in done.stdout
    assert done.stdout.endswith(f"Results are in {tmp_path / 'grid-sweep'}\n")
    assert tree(tmp_path / "grid-sweep") == tree(expected.directory)


def test_two_processes_give_the_same_bytes_though_one_is_killed(expected, tmp_path):
    killed, steps = [], []

    def kill_one(*step):
        steps.append(step)
        if len(steps) == 2:  # after the first run
            killed.append(multiprocessing.active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    result = sweep(write(tmp_path), partial(run_locally, workers=2), progress=kill_one)
    assert len(killed) == 1
    assert steps == [("runs", done, 4) for done in range(5)]
    assert tree(result.directory) == tree(expected.directory)


@pytest.fixture(scope="module")
def cluster():
    place = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, threads_per_worker=1, silence_logs=50, **place) as running:
        yield running


def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(expected, tmp_path, cluster):
    killed = []

    def kill_one(_stage, done, _total):
        if done == 1:
            killed.append(cluster.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    engine = partial(run_on_dask, workers=1, scheduler=cluster.scheduler_address)
    result = sweep(write(tmp_path), engine, progress=kill_one)
    assert len(killed) == 1
    assert tree(result.directory) == tree(expected.directory)


def test_dask_starts_a_cluster_of_its_own():
    assert sorted(run_on_dask(int, ["1", "2"], 1, None)) == [1, 2]


def test_work_that_always_loses_its_worker_ends():
    with pytest.raises(OutputError, match="workers were lost again and again"):
        list(run_locally(os._exit, [1], workers=1))
    assert MOST_LOSSES > 1


def test_an_error_of_the_work_is_raised():
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_locally(int, ["1", "x"], workers=1))


def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(UsageError, match=r"--scheduler: expected the address of a Dask scheduler .* found nowhere://x"):
        list(run_on_dask(int, ["1"], 1, "nowhere://x"))


def test_dask_is_named_if_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UsageError, match=r"distributed is missing; pip install \"phase19\[dask\]\""):
        list(run_on_dask(int, ["1"], 1, None))


# Second starts


def test_a_second_start_computes_only_what_is_missing(expected, tmp_path):
    path, computed = write(tmp_path), []

    def stopping(task, items):
        yield from map(task, items[:2])
        raise KeyboardInterrupt

    def counting(task, items):
        computed.extend(items)
        return map(task, items)

    with pytest.raises(KeyboardInterrupt):
        sweep(path, stopping)
    assert not (tmp_path / "grid-sweep" / "summary.jsonl").exists()
    (tmp_path / "grid-sweep" / "results" / "runs" / ".00003.parquet.1-00000000.partial").touch()  # of a killed worker
    result = sweep(path, counting)
    assert [shard.number for shard in computed] == [3, 4]
    assert result.section.title == "Sweep: 4 runs, 2 settings; 2 of the runs finished in an earlier start"
    assert tree(result.directory) == tree(expected.directory)


def test_a_shard_is_finished_only_if_all_its_files_are_written(tmp_path):
    path, results = write(tmp_path), tmp_path / "grid-sweep" / "results"

    def hindered(task, items):
        (results / "waves" / "00001.parquet" / "in the way").mkdir(parents=True)
        return map(task, items)

    with pytest.raises(OutputError, match=r"00001.parquet: cannot be written"):
        sweep(path, hindered)
    assert not list(results.glob("runs/*"))


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("to = 8", "to = 9", "vary.seed"),
        ("waves = 1", "waves = 2", "options.waves"),
    ],
)
def test_another_grid_is_refused(expected, run_cli, tmp_path, old, new, part):
    path = write(tmp_path, GRID.replace(old, new))
    before = tree(expected.directory)
    done = run_cli("sweep", path, "--output", expected.directory)
    assert done.returncode == 2
    assert (
        done.stderr == f"error: {expected.directory}: expected results of this grid, found those of another ({part} "
        "differs); remove it, or choose another --output\n"
    )
    assert tree(expected.directory) == before


def test_results_of_other_inputs_are_refused(tmp_path):
    phase18 = tmp_path / "phase18"
    phase18.mkdir()
    for file in INPUT.iterdir():
        if file.is_file():
            (phase18 / file.name).write_bytes(file.read_bytes())
    path = write(tmp_path, f'[options]\ninput = "{phase18}"\nwaves = 1')
    sweep(path, in_this_process)
    with (phase18 / "learning_signals.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(OutputError, match=rf"\(files.{phase18} differs\)"):
        sweep(path, in_this_process)


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputError, match="expected an empty directory or results of this grid, found other files"):
        sweep(write(tmp_path), in_this_process, output=tmp_path / "mine")
    with pytest.raises(UsageError, match="is or lies in the input"):
        sweep(write(tmp_path), in_this_process, output=INPUT / "sweep")
    assert not (INPUT / "sweep").exists()


def test_two_sweeps_never_write_to_one_directory(tmp_path):
    path = write(tmp_path)

    def starting_another(_task, _items):
        with pytest.raises(OutputError, match="another process is writing to it"):
            sweep(path, in_this_process)
        raise KeyboardInterrupt
        yield 0

    with pytest.raises(KeyboardInterrupt):
        sweep(path, starting_another)


def test_results_that_workers_wrote_elsewhere_are_missed(tmp_path):
    with pytest.raises(OutputError, match="expected a file system that all workers share, found results of 0 of 4"):
        sweep(write(tmp_path), lambda _task, items: (len(shard.runs) for shard in items))


# Runs that fail


def test_a_run_that_cannot_be_planned_is_a_row_with_its_error(tmp_path):
    path = write(
        tmp_path,
        f'[options]\ninput = "{INPUT}"\n[vary]\ncapacity = [1, "even"]\nexclude_agent = [["agent_0", "agent_1"]]',
    )
    result = sweep(path, in_this_process)
    found = rows_of_any_shape(result.directory)
    assert found.select("run", "capacity", "exclude_agent").rows() == [
        (1, "1", "agent_0, agent_1"),
        (2, "even", "agent_0, agent_1"),
    ]
    assert found["error"].is_null().to_list() == [False, True]
    assert found["task_count"].to_list() == [None, 12]
    assert result.warnings == (f"1 of 2 runs failed; the first: {found['error'][0]}",)
    assert summarize(found).select("run_count", "failed_count", "actual_success_rate").row(0) == (1, 1, None)


def rows_of_any_shape(directory):
    files = sorted((directory / "results" / "runs").iterdir())
    return pl.concat(map(pl.read_parquet, files), how="diagonal")


def test_if_every_run_fails_the_command_fails(run_cli, tmp_path):
    path = write(tmp_path, f'[options]\ninput = "{INPUT}"\nwaves = 1\ncapacity = 1')
    done = run_cli("sweep", path, "--workers", "1")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'grid-sweep'}: every run failed; the first: ")


# Grids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vary\n", "line 1: expected TOML, found an error (Expected ']' at the end of a table declaration"),
        (
            "[varied]\n",
            "line 1: field 'varied': expected the tables options and vary, found 'varied'; did you mean vary?",
        ),
        ("vary = 1", "line 1: field 'vary': expected a table, found 1"),
        (
            "[options]\ninput = 'x'\nstrategi = 1",
            "line 3: field 'options.strategi': expected an option of a run, found 'strategi'; did you mean strategy?",
        ),
        ("[options]\noutput = 'x'", "line 2: field 'options.output': expected an option of a run, found 'output'"),
        (
            "[vary]\n# seed\nstrategy = ['auto', 'balance']",
            "weighted, auto, found 'balance'; did you mean balance_load?",
        ),
        ("[options]\nwaves = 0", "line 2: field 'options.waves': expected a whole number from 1 to 1,000,000, found 0"),
        (
            "[options]\nexecutor = 'live'",
            "line 2: field 'options.executor': expected one of simulate, replay, found 'live'",
        ),
        (
            "[vary]\nseed = 3",
            "line 2: field 'vary.seed': expected a list of at least one value, or {from = 0, to = 9} for whole numbers",
        ),
        ("[vary]\nseed = []", "or {from = 0, to = 9} for whole numbers, found []"),
        ("[vary]\nseed = {from = 2, to = 1}", "or {from = 0, to = 9} for whole numbers, found {'from': 2, 'to': 1}"),
        (
            "[vary]\nseed = {from = 0, to = 'x'}",
            "expected a whole number from 0 to 9,223,372,036,854,775,807, found 'x'",
        ),
        ("[vary]\nseed = {from = 1, to = 999999}", "field 'vary.seed': expected at most 100,000 values, found 999,999"),
        ("[vary]\nseed = [1, 2, 1]", "field 'vary.seed': expected different values, found 1 more than once"),
        (
            "[vary]\nseed = {from = 1, to = 1000}\nwaves = {from = 1, to = 1000}",
            "line 1: field 'vary': expected at most 100,000 runs, found 1,000,000",
        ),
        (
            "[options]\nseed = 1\n[vary]\nseed = [2]",
            "field 'vary.seed': expected an option that is not in the table options, found 'seed' in both",
        ),
        (
            "[vary]\nexecutor = ['simulate', 'replay']",
            "run 2 (executor=replay): expected both --executor replay and --executions FILE, or neither",
        ),
        ("[options]\ninput = 'none'", "none: expected a file or directory to read, found nothing"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(run_cli, tmp_path, text, message):
    done = run_cli("sweep", write(tmp_path, text), "--output", tmp_path / "sweep")
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "grid.toml"]


def test_a_missing_grid_is_refused(run_cli, tmp_path):
    done = run_cli("sweep", tmp_path / "grid.toml")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path / 'grid.toml'}: expected a file, found nothing\n",
    )


@pytest.mark.parametrize("options", [["--engine", "local"], ["--engine", "dask", "--workers", "1"]])
def test_a_scheduler_needs_dask_and_has_its_own_workers(run_cli, tmp_path, options):
    done = run_cli("sweep", write(tmp_path), "--scheduler", "tcp://x:1", *options)
    assert (done.returncode, done.stderr) == (
        2,
        "error: --scheduler needs --engine dask, and cannot be combined with --workers\n",
    )


def test_a_grid_without_anything_to_vary_is_one_run(tmp_path):
    grid = read_grid(write(tmp_path, "[options]\nweights = {success = 1}"))
    assert [run.weights["success"] for run in grid.runs] == [1.0]
    assert grid.labels.rows() == [(1, "all runs", "outputs/phase18", "maximize_success", 0)]
    assert MOST_RUNS >= 10_000

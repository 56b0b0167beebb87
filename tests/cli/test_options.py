"""Options: defaults, bounds, and messages that name the option."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from phase19.errors import UsageError
from phase19.options import (
    DEFAULT_WEIGHTS,
    BacktestOptions,
    CompareOptions,
    OptimizationStrategy,
    PlanOptions,
    RunOptions,
)


def test_defaults_follow_the_input(tmp_path):
    (tmp_path / "phase17").mkdir()
    options = RunOptions(input=tmp_path / "phase18")
    assert options.output_dir == tmp_path / "phase19"
    assert options.sources == (tmp_path / "phase18", None, tmp_path / "phase17")
    assert (options.strategy, options.executor, options.max_retries) == ("maximize_success", "simulate", 2)
    assert options.weights == DEFAULT_WEIGHTS


def test_directories_beside_an_input_of_dots_are_found(tmp_path, monkeypatch):
    for name in ("phase16", "phase18/deep"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "phase18")
    assert RunOptions(input=Path()).sources[1] == tmp_path.resolve() / "phase16"
    monkeypatch.chdir(tmp_path / "phase18/deep")
    assert RunOptions(input=Path("..")).output_dir == tmp_path.resolve() / "phase19"


def test_paths_given_are_kept():
    options = RunOptions.of(input="a", output="o", phase16="p", phase17="q")
    assert (options.output_dir, *options.sources) == (Path("o"), Path("a"), Path("p"), Path("q"))


def test_settings_are_read_as_a_user_writes_them():
    options = RunOptions.of(input="a", strategy="balance_load", weights="success=1", previous=None, waves=3)
    assert options.input == Path("a")
    assert options.strategy is OptimizationStrategy.BALANCE_LOAD
    assert options.weights == {"success": 1.0, "throughput": 0.0, "confidence": 0.0}
    assert (options.previous, options.waves) == (None, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"waves": 0}, "--waves: expected a whole number from 1 to 1,000,000, found 0"),
        ({"agents": 0}, "--agents: expected a whole number from 1 to 100,000, found 0"),
        ({"capacity": -1}, "--capacity: expected a whole number from 1 to 2,147,483,648 or one of even, none"),
        ({"capacity": "evn"}, "--capacity: .* found 'evn'; did you mean even"),
        ({"max_retries": -1}, "--max-retries: expected a whole number from 0 to 100, found -1"),
        ({"seed": -1}, "--seed: expected a whole number from 0 to 9,223,372,036,854,775,807, found -1"),
        ({"max_load_factor": 0.99}, "--max-load-factor: expected a number from 1 to 1,000,000, found 0.99"),
        ({"max_load_factor": float("nan")}, "--max-load-factor: .* found nan"),
        ({"max_load_factor": float("inf")}, "--max-load-factor: .* found inf"),
        ({"executor": "dream"}, "--executor: expected one of simulate, replay, live, found 'dream'"),
        ({"executor": "replay"}, "expected both --executor replay and --executions FILE"),
        ({"executions": "x.jsonl"}, "expected both --executor replay and --executions FILE"),
        ({"strategy": "best"}, "--strategy: expected one of maximize_success, .*, found 'best'"),
        ({"wave": 3}, r"expected an option of the command, found wave; did you mean waves\?$"),
        ({"waves": 1_000_001}, "--waves: .* found 1000001"),
        ({"agents": 100_001}, "--agents: .* found 100001"),
        ({"capacity": 2**31 + 1}, "--capacity: .* found 2147483649"),
        ({"max_retries": 101}, "--max-retries: .* found 101"),
        ({"seed": 2**63}, "--seed: .* found 9223372036854775808"),
        ({"waves": 2.5}, "--waves: expected a whole number .* found 2.5"),
        ({"waves": "2.5"}, "--waves: expected a whole number .* found '2.5'"),
        ({"agents": "x"}, "--agents: expected a whole number .* found 'x'"),
        ({"max_retries": True}, "--max-retries: expected a whole number .* found True"),
        ({"max_load_factor": "x"}, "--max-load-factor: expected a number from 1 to 1,000,000, found 'x'"),
        (
            {"max_load_factor": 10**400},
            "--max-load-factor: expected a number from 1 to 1,000,000, found a number too long",
        ),
        ({"explore": "yes"}, "--explore: expected True or False, found 'yes'"),
        ({"input": 5}, "--input: expected a path, found 5"),
        ({"strategy": "balance_laod"}, r"found 'balance_laod'; did you mean balance_load\?$"),
        ({"timestamp": "yesterday"}, "--timestamp: expected ISO 8601 such as .*, found 'yesterday'"),
        ({"timestamp": 5}, "--timestamp: expected ISO 8601 such as .*, found 5"),
        ({"timestamp": "0001-01-01T00:00:00+05:00"}, "--timestamp: expected ISO 8601 .*, in the years 1000 to 9999"),
        ({"timestamp": "9999-12-31T23:00:00-05:00"}, "--timestamp: expected ISO 8601 .*, in the years 1000 to 9999"),
        ({"timestamp": "0999-12-31T23:00:00Z"}, "--timestamp: expected ISO 8601 .*, in the years 1000 to 9999"),
        ({"output": ""}, "--output: expected a path, found ''"),
        ({"format": "parqet"}, r"--format: expected one of jsonl, parquet, found 'parqet'; did you mean parquet\?$"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_out_of_bounds(settings, message):
    with pytest.raises(UsageError, match=message):
        RunOptions.of(**{"input": "a", **settings})


def test_the_default_input_is_where_a_sample_is_made():
    assert RunOptions.of(waves=3).input == Path("outputs/phase18")


@pytest.mark.parametrize("least", [{"max_retries": 0}, {"seed": 0}, {"max_load_factor": 1.0}, {"waves": 1}], ids=str)
def test_bounds_are_inclusive(least):
    assert RunOptions.of(input="a", **least)


@pytest.mark.parametrize(
    "largest",
    [
        {"waves": 1_000_000},
        {"agents": 100_000},
        {"capacity": 2**31},
        {"max_retries": 100},
        {"seed": 2**63 - 1},
        {"weights": "success=1000000"},
        {"timestamp": "9999-12-31T23:59:59Z"},
        {"timestamp": "1000-01-01"},
    ],
    ids=str,
)
def test_upper_bounds_are_inclusive(largest):
    assert RunOptions.of(input="a", **largest)


def test_a_number_that_is_too_long_to_print_is_refused():
    with pytest.raises(UsageError, match=r"--seed: .* found a number too long to print"):
        RunOptions.of(input="a", seed=10**5000)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("success=0.6,throughput=0.3,confidence=0.1", DEFAULT_WEIGHTS),
        ("throughput=2", {"success": 0.0, "throughput": 2.0, "confidence": 0.0}),
        (" success = 1 , confidence = 1e-3", {"success": 1.0, "throughput": 0.0, "confidence": 0.001}),
        ({"success": 2}, {"success": 2.0, "throughput": 0.0, "confidence": 0.0}),
    ],
)
def test_weights_are_text_or_a_mapping_and_missing_terms_are_zero(weights, expected):
    assert PlanOptions(weights=weights).weights == expected


@pytest.mark.parametrize(
    "weights",
    [
        *("", "success", "success=", "success=much", "success=-1", "success=nan", "success=inf", "success=1000001"),
        *("success=0,throughput=0", "Success=1", "speed=1", "success=1,success=0", 5, ["success"], {"speed": 1.0}),
        *({"success": -1.0, "throughput": 2.0}, {"success": None}, {"success": 10**400}),
        dict.fromkeys(DEFAULT_WEIGHTS, 0.0),
    ],
)
def test_bad_weights_are_refused_with_an_example(weights):
    with pytest.raises(UsageError, match=r"^--weights: expected weights .*, such as success=1, found ."):
        PlanOptions(weights=weights)


@pytest.mark.parametrize("name", ["strategy", "weights", "seed", "timestamp", "capacity"])
def test_none_leaves_an_option_at_its_default(name):
    assert RunOptions.of(input="a", **{name: None}) == RunOptions.of(input="a")


def test_text_is_converted_as_the_command_line_writes_it():
    options = RunOptions.of(input="a", waves="3", max_load_factor="1.5", timestamp="2026-02-05T13:00:00+01:00")
    assert (options.waves, options.max_load_factor) == (3, 1.5)
    assert options.timestamp == datetime(2026, 2, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", ["input", "output", "phase16"])
@pytest.mark.parametrize("path", ["", "a\0b", "a\ud800"], ids=ascii)
def test_what_no_file_system_takes_is_no_path(name, path):
    with pytest.raises(UsageError, match=f"--{name}: expected a path, found "):
        RunOptions.of(**{"input": "a", name: path})


def test_numbers_of_numpy_are_numbers():
    options = RunOptions.of(input="a", seed=np.int64(3), max_load_factor=np.float64(1.5), explore=np.bool_(True))
    assert (options.seed, options.max_load_factor, options.explore) == (3, 1.5, True)


def test_a_plan_can_be_asked_for_alone_and_is_part_of_a_run():
    assert PlanOptions(strategy="auto", capacity=3) == PlanOptions.of(strategy=OptimizationStrategy.AUTO, capacity="3")
    assert [PlanOptions(capacity=text).capacity for text in ("even", "none")] == ["even", "none"]
    assert isinstance(RunOptions(input="a"), PlanOptions)
    with pytest.raises(UsageError, match="--capacity"):
        PlanOptions(capacity=0)


def test_what_decides_a_run_is_every_option_but_paths_time_and_output():
    other = dict.fromkeys(("output", "previous", "thresholds", "phase16", "approve"), "p")
    options = RunOptions.of(input="a", **other, timestamp="2026-01-01", deliver_feedback=True, format="parquet")
    assert options.deciding() == RunOptions.of(input="b").deciding()
    others = {*other, "input", "phase17", "executions", "timestamp", "deliver_feedback", "format"}
    assert options.deciding().keys() == RunOptions.__dataclass_fields__.keys() - others


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (BacktestOptions, {"explore": True}),
        (BacktestOptions, {"allow_unassigned": True}),
        (BacktestOptions, {"previous": "p"}),
        (CompareOptions, {"strategy": "auto"}),
        (CompareOptions, {"executor": "live"}),
    ],
    ids=str,
)
def test_what_a_command_does_not_take_is_refused(options, setting):
    (name,) = setting
    with pytest.raises(UsageError, match=f"expected an option of the command, found {name}"):
        options.of(input="a", **setting)


def test_a_backtest_does_not_retry():
    assert BacktestOptions.of(input="a", executions="e").max_retries == 0


def test_a_backtest_replays_one_source():
    assert BacktestOptions.of(input="a").split_at is None
    with pytest.raises(UsageError, match="expected one source of outcomes to replay, found --executions and --spl"):
        BacktestOptions.of(input="a", executions="e", split_at="2026-01-01")
    with pytest.raises(UsageError, match="found --split-at and --leave-out"):
        BacktestOptions.of(input="a", leave_out="tasks", split_at="2026-01-01")

"""Numbers that describe tasks: what features.jsonl and the lines of the tasks become, and how they are joined."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phase19
from phase19 import frames
from phase19.errors import InputError, InvalidInputsError
from phase19.evaluation.backtest import leave_out_records
from phase19.forecasting.model import ForecastModel
from phase19.inputs.loading import Inputs, load_inputs
from phase19.optimizer import AdaptiveOptimizer
from phase19.scheduler import AdaptiveScheduler

SMALL = Path(__file__).parents[1] / "data" / "small"  # plans a, b and c; the records are of a and b
FILE, TASKS = "features.jsonl", "tasks.jsonl"


@pytest.fixture
def root(tmp_path):
    shutil.copytree(SMALL, tmp_path, dirs_exist_ok=True)
    return tmp_path


def load(root: Path, most_errors: int = 1, **files: str) -> Inputs:
    """The inputs with these files of Phase 18, by the name before their suffix."""
    for name, text in files.items():
        (root / "phase18" / f"{name}.jsonl").write_text(text, "utf-8")
    return load_inputs(root / "phase18", root / "phase16", root / "phase17", most_errors=most_errors)


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# What good files become


def test_without_features_the_frame_has_no_rows(root):
    assert load(root).features.equals(frames.FEATURES.empty())
    assert load(root, features="").features.equals(frames.FEATURES.empty())


def test_each_feature_is_a_column_of_numbers_in_sorted_order(root):
    found = load(root, features=lines({"task_id": "b", "size": 3, "depth": -0.5}, {"task_id": "a", "size": 1e300}))
    expected = {"task_id": ["a", "b"], "depth": [None, -0.5], "size": [1e300, 3.0]}
    assert found.features.equals(pl.DataFrame(expected))
    assert found.features.schema == pl.Schema({"task_id": pl.String, "depth": pl.Float64, "size": pl.Float64})
    assert found.sources.filter(file=FILE)["row_count", "status"].rows() == [(2, "used")]


def test_tasks_may_be_planned_recorded_or_unknown(root):
    found = load(root, features=lines(*({"task_id": name, "x": 1} for name in ("c", "a", "elsewhere"))))
    assert found.features["task_id"].to_list() == ["a", "c", "elsewhere"]


def test_null_means_the_same_as_a_missing_field(root):
    rows = ({"task_id": "a", "x": None, "y": 1}, {"task_id": "b", "x": None}, {"task_id": "c"})
    assert load(root, features=lines(*rows)).features.to_dicts() == [{"task_id": "a", "y": 1.0}]


def test_a_feature_may_have_any_name_but_task_id(root):
    names = ["line", "text_hash", "^.*$", "a.b", "x[0]", "", "feature_0", "größe"]
    row = {name: number for number, name in enumerate(names)}
    tasks = lines({"task_id": "b", "features": row})
    found = load(root, features=lines({"task_id": "a", **row}), tasks=tasks).features
    assert found.columns == ["task_id", *sorted(names)]
    assert found.drop("task_id").to_dicts() == [row, row]


def test_blank_lines_and_a_byte_order_mark_are_allowed(root):
    text = "\ufeff" + '{"task_id": "a", "x": 1}\r\n\n{"task_id": "b", "y": 2}'
    assert load(root, features=text).features["x", "y"].rows() == [(1.0, None), (None, 2.0)]


_NAMES = st.sampled_from(["size", "depth", "line", "x.y"])
_VALUES = st.none() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
_TABLES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.dictionaries(_NAMES, _VALUES, max_size=3), min_size=1
)


@given(_TABLES, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_lines_and_fields_and_the_place_change_nothing(table, random, is_split):
    """Each value is stated in features.jsonl, in tasks.jsonl, or in both."""

    def shuffled(values):
        values = list(values)
        random.shuffle(values)
        return values

    def written(rows, wrapped):
        rows = [(task, dict(shuffled(row.items()))) for task, row in shuffled(rows.items())]
        return lines(*({"task_id": task, **({"features": row} if wrapped else row)} for task, row in rows))

    place = {(task, name): random.choice("ftb") if is_split else "f" for task in table for name in table[task]}
    parts = {
        kind: {task: {name: v for name, v in row.items() if place[task, name] in kinds} for task, row in table.items()}
        for kind, kinds in (("features", "fb"), ("tasks", "tb"))
    }
    known = {task: {n: float(v) for n, v in row.items() if v is not None} for task, row in table.items()}
    names = sorted({name for row in known.values() for name in row})
    with tempfile.TemporaryDirectory() as directory:
        root = Path(shutil.copytree(SMALL, directory, dirs_exist_ok=True))
        texts = {kind: written(rows, kind == "tasks") for kind, rows in parts.items()}
        found = load(root, **texts).features
    rows = [
        {"task_id": task} | {name: known[task].get(name) for name in names} for task in sorted(known) if known[task]
    ]
    assert (found.columns, found.to_dicts()) == (["task_id", *names], rows)


# Errors


@pytest.mark.parametrize(
    ("line", "field", "expected", "found"),
    [
        ('{"x": 1}', "task_id", "this required field", "nothing"),
        ('{"task_id": 7}', "task_id", "text", "7"),
        ('{"task_id": null}', "task_id", "text", "null"),
        ('{"task_id": "a", "x": "3"}', "x", "a number or null", '"3"'),
        ('{"task_id": "a", "x": true}', "x", "a number or null", "true"),
        ('{"task_id": "a", "x": [1, 2]}', "x", "a number or null", "[1, 2]"),
        ('{"task_id": "a", "x": {"y": 1}}', "x", "a number or null", '{"y": 1}'),
        ('{"task_id": "a", "x": NaN}', "x", "a finite number", "nan"),
        ('{"task_id": "a", "x": -Infinity}', "x", "a finite number", "-inf"),
        ('{"task_id": "a", "x": 1e999}', "x", "a finite number", "inf"),
        ('{"task_id": "a", "x.y[0]": "1"}', "x.y[0]", "a number or null", '"1"'),
        ('{"task_id": "a", "x": 1, "x": 2}', "x", "each key only once", "it again"),
        ('{"task_id": "b", "x": 2}', "task_id", "no repeated key", "'b' again (first on line 1)"),
        ("[1]", None, "an object", "[1]"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(root, line, field, expected, found):
    with pytest.raises(InputError) as caught:
        load(root, features=lines({"task_id": "b", "x": 1}) + line)
    error = caught.value
    assert (error.file, error.line, error.field) == (str(root / "phase18" / FILE), 2, field)
    assert (error.expected, error.found) == (expected, found)


@pytest.mark.parametrize(
    ("value", "field", "expected", "found"),
    [
        ("3", "features", "an object or null", "3"),
        ("[1]", "features", "an object or null", "[1]"),
        ('{"x": "3"}', "features.x", "a number or null", '"3"'),
        ('{"x": 1, "y": false}', "features.y", "a number or null", "false"),
        ('{"x": Infinity}', "features.x", "a finite number", "inf"),
        ('{"x": 1, "x": 1}', "features.x", "each key only once", "it again"),
        ('{"task_id": 1}', "features.task_id", "another name", "1.0"),
    ],
)
def test_the_features_of_a_task_are_as_strict(root, value, field, expected, found):
    with pytest.raises(InputError) as caught:
        load(root, tasks=f'{{"task_id": "b"}}\n{{"task_id": "a", "features": {value}}}\n')
    error = caught.value
    assert (error.file, error.line, error.field) == (str(root / "phase18" / TASKS), 2, field)
    assert (error.expected, error.found) == (expected, found)


def test_several_errors_are_found_at_once(root):
    tasks = lines({"task_id": "a"}, {"task_id": "b", "features": {"x": 1, "y": 2}})
    with pytest.raises(InvalidInputsError) as caught:
        load(root, 20, features=lines({"task_id": "a", "x": "?"}, {"task_id": "b", "x": 3, "y": 4}, {}), tasks=tasks)
    places = [(Path(error.file).name, error.line, error.field) for error in caught.value.errors]
    assert places == [(FILE, 1, "x"), (FILE, 3, "task_id"), (TASKS, 2, "features.x"), (TASKS, 2, "features.y")]


def test_a_file_that_cannot_be_read_is_one_error(root):
    (root / "phase18" / FILE).mkdir()
    with pytest.raises(InvalidInputsError, match=r"features\.jsonl: expected a file, found a directory$"):
        load(root, 20)


def test_too_many_features_are_refused(root):
    with pytest.raises(InputError, match="expected at most 4,096 features, found 4,097, such as 'x0'"):
        load(root, features=lines({"task_id": "a", **{f"x{i}": i for i in range(4097)}}))


# Features in both places


def test_features_of_a_task_in_both_places_are_joined(root):
    tasks = lines({"task_id": "a", "features": {"size": 12, "depth": None}}, {"task_id": "b"})
    found = load(root, features=lines({"task_id": "a", "size": 12.0, "depth": 2, "age": 1}), tasks=tasks)
    assert found.features.to_dicts() == [{"task_id": "a", "age": 1.0, "depth": 2.0, "size": 12.0}]
    assert found.warnings == load(root, features="", tasks=tasks).warnings
    frames.TASKS.validate(found.tasks)


def test_planned_tasks_of_phase_16_may_have_features(root):
    path = root / "phase16/planned_tasks.jsonl"
    path.write_text(lines({"task_id": "a", "features": {"size": 12}}), "utf-8")
    assert load(root).features.to_dicts() == [{"task_id": "a", "size": 12.0}]


def test_two_values_of_one_feature_are_an_error(root):
    tasks = lines({"task_id": "b"}, {"task_id": "a", "features": {"depth": 1, "size": 12}})
    message = r"tasks\.jsonl, line 2: field 'features\.size': expected 13\.0, as in features\.jsonl, found 12\.0$"
    with pytest.raises(InputError, match=message):
        load(root, features=lines({"task_id": "a", "size": 13, "depth": 1}), tasks=tasks)


# Where they go


def test_the_model_gets_and_keeps_the_features(root):
    inputs = load(root, features=lines({"task_id": "a", "size": 12}))
    optimizer = AdaptiveOptimizer(inputs=inputs)
    assert optimizer.model.features is not None and optimizer.model.features.equals(inputs.features)
    observed = optimizer.model.observe(inputs.attempts)
    assert observed.features is not None and observed.features.equals(inputs.features)


def test_a_scheduler_without_a_plan_simulates_with_the_features(root, monkeypatch):
    inputs = load(root, features=lines({"task_id": "a", "size": 12}))
    fit, given_features = ForecastModel.fit, []

    def watched(*args, features=None, **settings):
        given_features.append(features)
        return fit(*args, features=features, **settings)

    monkeypatch.setattr(ForecastModel, "fit", watched)
    scheduler = AdaptiveScheduler(inputs=inputs)
    rows = scheduler.assign_tasks_to_agents([{"task_id": "a", "confidence": 0.5}], {"agent_2": ["a"]}, 1)
    scheduler.execute_schedule(1, rows)
    assert [frame.equals(inputs.features) for frame in given_features] == [True]


def test_a_backtest_knows_the_features(root):
    inputs = load(root, features=lines({"task_id": "a", "size": 12}))
    known, _ = leave_out_records(inputs, "tasks")
    assert known.features.equals(inputs.features)


def test_a_run_with_other_features_has_another_id(root):
    digests = [load(root, features=lines({"task_id": "a", "size": size})).digest for size in (1, 2, 1)]
    assert digests[0] == digests[2] != digests[1]


# What `validate` says of them

DESCRIBED = lines({"task_id": "a", "x": 1, "y": 2}, {"task_id": "c", "x": 3}, {"task_id": "b", "x": None})


def test_validate_counts_the_tasks_with_features(root):
    load(root, features=DESCRIBED + lines(*({"task_id": task, "x": 1} for task in "def")))
    found = phase19.validate(root / "phase18")
    text = "2 of 3 tasks, 1 of 2 recorded tasks and 3 other tasks have features (number of features: 2)."
    assert repr(found).endswith(f"have records. {text}")
    assert {name: count for name, count in found.joins.items() if "features" in name or "recorded" in name} == {
        "tasks_with_features": 2, "recorded_tasks": 2, "recorded_tasks_with_features": 1,
        "other_tasks_with_features": 3, "features": 2,
    }  # fmt: skip


def test_validate_counts_no_recorded_tasks_where_there_are_none():
    plan = phase19.plan(["new", "other"], ["red"], features=[{"task_id": "new", "size": 1}])
    assert repr(plan.optimizer.inputs).endswith("records. 1 of 2 tasks have features (number of features: 1).")


@pytest.mark.parametrize("text", ["", lines({"task_id": "a"}, {"task_id": "b", "x": None})])
def test_validate_says_nothing_where_no_task_has_features(root, text):
    assert "feature" not in repr(load(root, features=text))
    assert load(root, features=text).sources.filter(file=FILE)["used_for"].item() == "nothing"


def test_features_of_other_tasks_alone_are_pointed_out(root):
    found = load(root, features=lines({"task_id": "A", "x": 1}, {"task_id": "B", "x": 1}))
    assert found.warnings[-1] == (
        "features.jsonl: none of its 2 tasks, such as 'A', is planned or recorded; if these are the same tasks, make "
        "the names equal"
    )
    assert found.sources.filter(file=FILE)["used_for"].item() == "nothing"
    for known in ("b", "c"):  # recorded, planned
        found = load(root, features=lines({"task_id": "A", "x": 1}, {"task_id": known, "x": 1}))
        assert not [text for text in found.warnings if "features.jsonl" in text]
        assert found.sources.filter(file=FILE)["used_for"].item() == "forecast"


def test_a_name_like_the_file_is_pointed_out(root):
    (root / "phase18/Feature.jsonl").write_text("", "utf-8")
    assert any("Feature.jsonl looks like records but is not read" in text for text in load(root).warnings)


# From Python

HISTORY = [{"task_id": f"old_{i}", "agent_id": "red", "success": True} for i in range(2)]
ROWS = [{"task_id": "new", "size": 12, "success": 1.0}, {"task_id": "old_1", "size": None, "success": 0.5}]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        pl.DataFrame(ROWS),
        pl.DataFrame(ROWS).with_columns(pl.col("size").cast(pl.Float64).fill_null(float("nan"))),
        [{name: np.float64(v) if isinstance(v, float) else v for name, v in row.items()} for row in ROWS],
    ],
    ids=["dicts", "frame", "NaN", "numpy"],
)
def test_plan_takes_features_of_new_and_recorded_tasks(rows):
    tasks = [{"task_id": "new", "features": {"depth": 3}}]
    plan = phase19.plan(tasks, history=HISTORY, features=rows)
    expected = {"task_id": ["new", "old_1"], "depth": [3.0, None], "size": [12.0, None], "success": [1.0, 0.5]}
    found = plan.optimizer.model.features
    assert found is not None and found.equals(pl.DataFrame(expected))


def test_ids_may_be_whole_numbers():
    history = pl.DataFrame({"task_id": [1, 2], "agent_id": "red", "success": True})
    for rows in ([{"task_id": 1, "x": 2}], pl.DataFrame({"task_id": [1], "x": [2]})):
        plan = phase19.plan([3], history=history, features=rows)
        assert plan.optimizer.inputs.features.to_dicts() == [{"task_id": "1", "x": 2.0}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"task_id": "new", "x": "3"}], "^features, row 1: field 'x': expected a number or null, found \"3\"$"),
        ([{"x": 3}], "^features, row 1: field 'task_id': expected this required field, found nothing"),
        ([{"task_id": "new", "x": 3}] * 2, "^features, row 2: field 'task_id': expected no repeated key"),
        (pl.DataFrame({"task_id": ["new"], "x": [[1.0]]}), r"^features, row 1: field 'x': .* found \[1\.0\]$"),
        ([{"task_id": "new", "x": float("inf")}], "^features, row 1: expected values that JSON can hold.* infinity$"),
        (pl.DataFrame({"task_id": "new", "x": [float("-inf")]}), "^features: .* others: infinity$"),
        (["new"], "^features: expected a Polars or pandas frame or a list of dicts"),
        ([], "^features: expected a Polars or pandas frame or a list of dicts"),
        (
            [{"task_id": "new", "size": 1}],
            r"^tasks, row 1: field 'features\.size': expected 1\.0, as in features, .* 2",
        ),
    ],
)
def test_bad_features_are_named_by_argument_and_row(rows, message):
    tasks = [{"task_id": "new", "features": {"size": 2}}]
    with pytest.raises(phase19.Phase19Error, match=message):
        phase19.plan(tasks, history=HISTORY, features=rows)


def test_infinite_numbers_of_pandas_are_refused():
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame({"task_id": ["new", "old_1"], "x": [1.0, float("nan")]})
    found = phase19.plan(["new"], history=HISTORY, features=rows).optimizer.inputs.features
    assert found.to_dicts() == [{"task_id": "new", "x": 1.0}]
    with pytest.raises(phase19.Phase19Error, match=r"^features: .* infinity$"):
        phase19.plan(["new"], history=HISTORY, features=rows.fillna(float("inf")))

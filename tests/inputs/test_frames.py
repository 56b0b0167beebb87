"""Frames: what conforms, and what is refused by name."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from phase19 import frames
from phase19.errors import Phase19Error
from phase19.schema import Schema

SCHEMAS = [value for value in vars(frames).values() if isinstance(value, Schema)]


def test_missing_columns_and_nulls_get_their_defaults():
    frame = frames.TASKS.conform([{"task_id": "a"}, {"task_id": "b", "risk_level": None, "heuristics_applied": ["h"]}])
    assert frame.schema == pl.Schema(frames.TASKS.dtypes)
    assert frame["risk_level"].to_list() == ["MEDIUM", "MEDIUM"]
    assert frame["heuristics_applied"].to_list() == [[], ["h"]]
    assert frame["confidence"].to_list() == [None, None]


def test_columns_come_in_the_schemas_order_rows_in_the_order_given_and_unknown_ones_are_left_out():
    frame = frames.TASKS.conform([{"mood": "calm", "wave": 2, "task_id": "z"}, {"task_id": "a", "wave": 1}])
    assert frame.columns == list(frames.TASKS.columns)
    assert frame["task_id"].to_list() == ["z", "a"]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_no_rows_conform(schema):
    for nothing in ([], pl.DataFrame(), schema.empty()):
        assert schema.conform(nothing).equals(schema.empty())
        assert schema.conform(nothing).schema == pl.Schema(schema.dtypes)


def test_no_rows_of_unknown_columns_conform():
    assert frames.TASKS.conform(pl.DataFrame({"mood": []})).equals(frames.TASKS.empty())


def test_whole_numbers_stand_for_fractions_and_small_integers_for_large():
    frame = frames.TASKS.conform(
        pl.DataFrame({"task_id": ["a"], "confidence": [1], "wave": pl.Series([3], dtype=pl.UInt8)})
    )
    assert (frame["confidence"].to_list(), frame["wave"].to_list()) == ([1.0], [3])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"confidence": 1.01}, r"column 'confidence': found 1.01"),
        ({"confidence": -0.01}, r"column 'confidence': found -0.01"),
        ({"confidence": float("nan")}, r"column 'confidence': found nan"),
        ({"predicted_confidence_delta": float("inf")}, r"column 'predicted_confidence_delta': found inf"),
        ({"deadline_ms": -1.0}, r"column 'deadline_ms': found -1.0"),
        ({"wave": -1}, r"column 'wave': found -1"),
        ({"risk_level": "SEVERE"}, r"column 'risk_level': found 'SEVERE' \(LOW, MEDIUM, HIGH or UNKNOWN\)"),
        ({"task_id": None}, r"column 'task_id': found None"),
        ({"task_id": "ok"}, r"the key {'task_id': 'ok'} occurs twice"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_bad_values_are_named_with_their_row(row, message):
    with pytest.raises(Phase19Error, match=rf"^tasks: .*{message}") as caught:
        frames.TASKS.conform([{"task_id": "ok"}, {"task_id": "bad", **row}])
    assert "row 2" in str(caught.value) or "twice" in str(caught.value)


@pytest.mark.parametrize("row", [{"confidence": 0.0}, {"confidence": 1.0}, {"deadline_ms": 0.0}, {"wave": 0}], ids=str)
def test_bounds_are_inclusive(row):
    assert frames.TASKS.conform([{"task_id": "a", **row}]).height == 1


@pytest.mark.parametrize(
    "row",
    [
        {"confidence": "high"},
        {"confidence": "0.5"},
        {"confidence": [0.5]},
        {"wave": 1.7},
        {"wave": "2"},
        {"wave": True},
        {"task_id": 5},
        {"required_agents": "a0"},
        {"category": ["x"]},
    ],
    ids=str,
)
def test_a_wrong_type_is_refused_not_converted(row):
    with pytest.raises(Phase19Error, match="tasks: "):
        frames.TASKS.conform([{"task_id": "a", **row}])


def test_types_that_differ_between_rows_are_refused():
    with pytest.raises(Phase19Error, match="tasks: "):
        frames.TASKS.conform([{"task_id": "a", "wave": 1}, {"task_id": "b", "wave": "two"}])
    with pytest.raises(Phase19Error, match="tasks: "):
        frames.TASKS.conform(["a"])


def test_a_key_of_several_columns_may_repeat_in_part():
    rows = [{"wave": wave, "agent_id": agent} for wave in (1, 2) for agent in ("a", "b")]
    figures = [name for name in frames.AGENT_EVIDENCE.columns if name not in {"wave", "agent_id"}]
    plain = dict.fromkeys(figures, 0)
    assert frames.AGENT_EVIDENCE.conform([{**row, **plain} for row in rows]).height == 4
    with pytest.raises(Phase19Error, match=r"the key {'wave': 1, 'agent_id': 'b'} occurs twice"):
        frames.AGENT_EVIDENCE.conform([{**row, **plain} for row in [*rows, {"wave": 1, "agent_id": "b"}]])


def test_a_frame_without_a_key_may_repeat_rows():
    row = {"task_id": "a", "is_success": True, "source": "run", "timestamp": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}
    assert frames.ATTEMPTS.conform([row, row]).height == 2


def test_validate_wants_the_exact_columns():
    with pytest.raises(Phase19Error, match="tasks: expected columns"):
        frames.TASKS.validate(pl.DataFrame({"task_id": ["a"]}))
    frames.TASKS.validate(frames.TASKS.empty())


def test_conforming_changes_nothing_that_conforms():
    frame = frames.TASKS.conform([{"task_id": "a", "wave": 1, "required_agents": ["x"]}])
    assert frames.TASKS.conform(frame).equals(frame)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_schemas_are_documented_and_their_keys_exist(schema):
    assert set(schema.grain) <= schema.columns.keys()
    for column in schema.columns.values():
        assert column.doc
        assert not column.values or column.default is None or column.default in column.values

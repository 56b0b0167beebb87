"""A golden fails on every difference that matters and on no other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

WANTED = [{"a": 1, "b": [0.1, None], "c": {"d": "x"}}]


@pytest.fixture
def local(golden, tmp_path):
    """Goldens in a directory of this test's own, with `WANTED` recorded."""
    replace(golden, is_updating=True, directory=tmp_path).rows("deep/rows", WANTED)
    return replace(golden, is_updating=False, directory=tmp_path)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        pytest.param([{"b": [0.1, None], "a": 1, "c": {"d": "x"}}], "expected keys", id="order of keys"),
        pytest.param([{"a": 1, "b": [0.1, None]}], "expected keys", id="missing key"),
        pytest.param([{"a": 1.0, "b": [0.1, None], "c": {"d": "x"}}], r"\[0\].a: expected 1, found 1.0", id="type"),
        pytest.param([{"a": True, "b": [0.1, None], "c": {"d": "x"}}], r"\[0\].a: expected 1, found True", id="bool"),
        pytest.param([{"a": 1, "b": [0.1001, None], "c": {"d": "x"}}], r"\[0\].b\[0\]: expected 0.1", id="float"),
        pytest.param([{"a": 1, "b": [0.1], "c": {"d": "x"}}], r"\[0\].b: expected 2 items, found 1", id="length"),
        pytest.param([{"a": 1, "b": [0.1, None], "c": {"d": "y"}}], r"\[0\].c.d: expected 'x'", id="nested text"),
        pytest.param([], "expected 1 items, found 0", id="rows"),
    ],
)
def test_a_difference_is_told_with_its_place(local, found, message):
    with pytest.raises(AssertionError, match=message):
        local.rows("deep/rows", found)


def test_floats_may_differ_by_the_stated_tolerance(local):
    local.rows("deep/rows", [{"a": 1, "b": [0.1 + 1e-12, None], "c": {"d": "x"}}])
    local.rows("deep/rows", [{"a": 1, "b": [0.1001, None], "c": {"d": "x"}}], rel_tol=1e-2)


def test_text_is_compared_byte_for_byte_and_a_missing_golden_fails(local, tmp_path):
    (tmp_path / "a.txt").write_text("x\n")
    local.text("a.txt", "x\n")
    with pytest.raises(AssertionError):
        local.text("a.txt", "x")
    with pytest.raises(pytest.fail.Exception, match=r"b\.txt is missing"):
        local.text("b.txt", "x")


def test_updating_goldens_is_refused_where_ci_is_set():
    command = [sys.executable, "-m", "pytest", "--update-golden", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, env={"CI": "true"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--update-golden is refused if CI is set" in done.stderr

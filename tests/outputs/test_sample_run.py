"""Every file of the sample run, figure by figure, against the goldens in tests/golden/run."""

import json
import re
from collections import defaultdict

import pytest

from tests.conftest import GOLDEN


def parsed(path):
    text = path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


@pytest.fixture(scope="module")
def outputs(sample_run):
    """Rows by golden: those of a file of the run, or one a file for the files of waves and agents."""
    run_dir = sample_run.run_dir
    found = defaultdict(list)
    listed = json.loads((run_dir / "manifest.json").read_text())["files"]
    assert {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()} == {
        *listed,
        "manifest.json",
    }
    for name in (name for name in listed if ".json" in name):
        path = run_dir / name
        shared = re.sub(r"/agent_\d+/", "/AGENT/", re.sub(r"wave_\d+", "wave_N", name))
        content = parsed(path)
        if shared != name:
            content = [{"file": name, "content": content}]
        elif path.suffix == ".json":
            content = [content]
        found[f"run/{shared.rpartition('.')[0]}"] += content
    summary = found["run/optimization_summary"][0]
    assert summary.pop("execution_time_ms") > 0  # the one figure that differs from run to run
    return found


NAMES = sorted(path.relative_to(GOLDEN).with_suffix("").as_posix() for path in (GOLDEN / "run").rglob("*.jsonl"))


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_a_file_is_golden(name, outputs, golden):
    golden.rows(name, outputs[name])


def test_every_file_has_a_golden_and_every_golden_a_file(outputs, golden):
    for name in outputs.keys() - NAMES if golden.is_updating else ():
        golden.rows(name, outputs[name])
    assert golden.is_updating or sorted(outputs) == NAMES

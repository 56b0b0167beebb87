"""The times of the benchmarks are compared with committed ones."""

import json

import pytest

from benchmarks._figures import record


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"startup": {"run": 4.0, "import": 2.0}, "sweep": {"run": 1.0}}))
    return file


def test_only_a_loss_of_more_than_a_quarter_is_reported_and_nothing_committed_changes(file):
    lost = record(file, "startup", {"run": 5.04, "import": 2.5}, is_replacing=False)
    assert lost == ["run: 1.26 times the committed figure, aim 1.25"]
    assert json.loads(file.read_text()) == {"startup": {"run": 4.0, "import": 2.0}, "sweep": {"run": 1.0}}


def test_a_figure_without_a_committed_value_is_no_loss_and_is_added(file, capsys):
    assert record(file, "inputs", {"1,000,000 lines": 12.3456}, is_replacing=False) == []
    assert record(file, "startup", {"report": 3.0}, is_replacing=False) == []
    assert "report: 3 times the calibration loop (new)" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["inputs"] == {"1,000,000 lines": 12.3}
    assert found["startup"] == {"run": 4.0, "import": 2.0, "report": 3.0}


def test_committing_replaces_the_measured_figures_and_accepts_losses(file):
    assert record(file, "startup", {"run": 8.0}, is_replacing=True) == []
    assert json.loads(file.read_text()) == {"startup": {"run": 8.0, "import": 2.0}, "sweep": {"run": 1.0}}


def test_the_first_figures_start_the_file(tmp_path):
    assert record(tmp_path / "new.json", "startup", {"run": 4.0}, is_replacing=False) == []
    assert json.loads((tmp_path / "new.json").read_text()) == {"startup": {"run": 4.0}}

"""A thresholds file replaces what it names, or is refused by line and field; thresholds.toml lists them all."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from phase19.errors import InputError, Phase19Error
from phase19.inputs import thresholds
from phase19.inputs.thresholds import Thresholds, read_thresholds

DOCUMENT = Path(thresholds.__file__).with_name("thresholds.toml")
RULES, METRICS = tomllib.loads(DOCUMENT.read_text("utf-8")).values()


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "thresholds.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_the_file_of_defaults_changes_nothing():
    found = read_thresholds(DOCUMENT)
    assert (found.rules, found.metrics, found.changed) == (RULES, METRICS, {})
    assert Thresholds().frames()["metric_bounds"]["unit"].to_list() == ["ratio"] * 5


def test_what_a_file_names_is_replaced_and_the_rest_keeps_its_default(file):
    found = read_thresholds(
        file(
            b"\xef\xbb\xbf[rules]\r\nalarm_probability = 0.02\r\npenalty_low = 7\r\npenalty_high = 30.0\r\n"
            b"[metrics.schedule_accuracy]\r\nmin = 0.5\r\nmax = 1\r\n"
        )
    )
    assert found.rules == RULES | {"alarm_probability": 0.02, "penalty_low": 7.0}
    assert isinstance(found.rules["penalty_low"], float)
    assert dict(found.changed) == {
        "rules.alarm_probability": 0.02,
        "rules.penalty_low": 7,
        "metrics.schedule_accuracy.min": 0.5,
    }
    assert found.metrics == METRICS | {"schedule_accuracy": {"target": 0.9, "min": 0.5, "max": 1.0}}
    assert found.frames()["metric_bounds"].schema == Thresholds().frames()["metric_bounds"].schema
    assert found.file == "thresholds.toml"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[rules]\n[metrics]\n[metrics.schedule_accuracy]\n"])
def test_a_file_that_names_nothing_changes_nothing(file, text):
    found = read_thresholds(file(text))
    assert (found.rules, found.metrics, found.changed) == (RULES, METRICS, {})


@pytest.mark.parametrize(
    ("text", "line", "field", "expected", "found"),
    [
        ("[rules]\nalarm_probability = \n", 2, None, "TOML", "Invalid value"),
        ("[rules]\r\npenalty_low = -1\r\n# so\r\n", 2, "rules.penalty_low", "a number from 0 to 1000000", "-1"),
        ("[rules\n", 1, None, "TOML", "Expected ']'"),
        ("[rules]\na = '", 2, None, "TOML", "an error"),
        ("[rules]\npenalty_low = 1\npenalty_low = 2\n", 3, None, "TOML", "Cannot overwrite a value"),
        ("[rules]\npenalty_low = 1.0\n\n# so\nalarm = 0.02\n", 5, "rules.alarm", "one of critical_margin", "'alarm'"),
        ("rules.penalty_low = true\n", 1, "rules.penalty_low", "a number", "True"),
        ('[rules]\npenalty_low = """\n9\n"""\n', 2, "rules.penalty_low", "a number", "'9\\n'"),
        ("[rules]\npenalty_low = 2026-01-01\n", 2, "rules.penalty_low", "a number", "date(2026, 1, 1)"),
        ("[rules]\npenalty_low = 1" + "0" * 400, 2, "rules.penalty_low", "a number from 0 to 1000000", "1000"),
        ("[rules]\npenalty_low = 1" + "0" * 5000, 2, None, "TOML", "an error ("),
        ("[rules]\npenalty_low = " + "[" * 9000, 2, None, "TOML", "an error ("),
        ("rules = 3\n", 1, "rules", "a table", "3"),
        ("metrics = []\n", 1, "metrics", "a table", "[]"),
        ("alarm_probability = 0.02\n", 1, "alarm_probability", "one of rules, metrics", "'alarm_probability'"),
        ("[metrics.speed]\nmin = 1\n", 1, "metrics.speed", "one of schedule_accuracy", "'speed'"),
        ("[metrics]\nschedule_accuracy = 0.9\n", 2, "metrics.schedule_accuracy", "a table", "0.9"),
        ("[metrics.schedule_accuracy]\nlow = 1\n", 2, "metrics.schedule_accuracy.low", "one of target", "'low'"),
        ("[metrics]\nagent_utilization = {min = '0.5'}\n", 2, "metrics.agent_utilization.min", "a number", "'0.5'"),
        ("[metrics.schedule_accuracy]\nmax = 1.1\n", 2, "metrics.schedule_accuracy.max", "a number from 0 to 1", "1.1"),
        ("[metrics.schedule_accuracy]\nmin = nan\n", 2, "metrics.schedule_accuracy.min", "a number from 0 to 1", "nan"),
        ("[metrics.throughput_efficiency]\nmax = inf", 2, "metrics.throughput_efficiency.max", "to 1000000", "inf"),
        ("metrics.throughput_efficiency.min = -1\n", 1, "metrics.throughput_efficiency.min", "from 0 to 1000000", "-1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_and_field(file, text, line, field, expected, found):
    with pytest.raises(InputError) as caught:
        read_thresholds(file(text))
    problem = caught.value
    assert (problem.line, problem.field) == (line, field)
    assert expected in problem.expected and found in problem.found
    assert str(problem).startswith(f"{file(text)}, line {line}: ")


@pytest.mark.parametrize(
    ("text", "line", "rule", "expected", "found"),
    [
        ("alarm_probability = 0.6", 2, "alarm_probability", "a number from 1e-09 to 0.5", "0.6"),
        ("alarm_probability = 5e-324", 2, "alarm_probability", "a number from 1e-09 to 0.5", "5e-324"),
        ("penalty_low = -1", 2, "penalty_low", "a number from 0 to 1000000", "-1"),
        ("penalty_low = nan", 2, "penalty_low", "a number from 0 to 1000000", "nan"),
        ("detection_power = 0.9999999999", 2, "detection_power", "a number from 0.5 to 0.999999999", "0.9999999999"),
        (
            "penalty_low = 1\nschedule_drift_margin = 1e6",
            3,
            "schedule_drift_margin",
            "a number from 0 to 10",
            "1000000.0",
        ),
    ],
)
def test_a_rule_out_of_bounds_is_named_with_its_line(file, text, line, rule, expected, found):
    with pytest.raises(InputError) as caught:
        read_thresholds(file(f"[rules]\n{text}\n"))
    problem = caught.value
    assert (problem.line, problem.field, problem.expected, problem.found) == (line, f"rules.{rule}", expected, found)


def test_a_misspelt_key_is_named_beside_the_nearest_valid_one(file):
    with pytest.raises(InputError, match=r"line 2: field 'rules.penalty_lo': .*; did you mean penalty_low\?"):
        read_thresholds(file("[rules]\npenalty_lo = 1\n"))
    with pytest.raises(InputError, match=r"field 'metrics.agent_utilisation': .*; did you mean agent_utilization\?"):
        read_thresholds(file("[metrics.agent_utilisation]\nmin = 0.5\n"))


@pytest.mark.parametrize(
    ("text", "line", "field", "expected", "found"),
    [
        (
            "\n[rules]\nschedule_drift_medium = 9\n", 2, "rules",
            "schedule_drift_medium <= schedule_drift_high", "9 and 1.5",
        ),
        (
            "[rules]\n" + "".join(f"{rule} = 0\n" for rule in RULES if rule.startswith("weight_")),
            1, "rules", "at least one weight_* above 0", "none",
        ),
        (
            "\n[metrics.schedule_accuracy]\nmin = 0.95\n", 2, "metrics.schedule_accuracy",
            "min <= target <= max", "0.95, 0.9 and 1",
        ),
    ],
    ids=["order", "weights", "bounds"],
)  # fmt: skip
def test_values_that_contradict_each_other_are_named_with_their_table(file, text, line, field, expected, found):
    with pytest.raises(InputError) as caught:
        read_thresholds(file(text))
    problem = caught.value
    assert (problem.line, problem.field, problem.expected, problem.found) == (line, field, expected, found)


def test_a_file_that_is_not_there_or_not_text_is_named(file, tmp_path):
    with pytest.raises(InputError, match="expected a file, found nothing"):
        read_thresholds(tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match="line 2: expected UTF-8 text"):
        read_thresholds(file(b"[rules]\n# \xff\n"))
    with pytest.raises(Phase19Error, match="expected a file, found a directory"):
        read_thresholds(tmp_path)


@pytest.mark.no_cover
def test_a_run_is_judged_by_the_file_and_named_by_what_it_changes(run_cli, file, tmp_path):
    def run(name: str, *more: str | Path) -> dict:
        options = ("--input", "outputs/phase18", "--output", tmp_path / name, "--quiet")
        done = run_cli(*options, "--timestamp", "2026-02-05T12:00:00Z", *more)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads((tmp_path / name / "optimization_summary.json").read_text())

    plain, same = run("plain"), run("same", "--thresholds", DOCUMENT)
    strict = file(
        "[rules]\npenalty_low = 6.0\nweight_system_stability = 0.0\n"
        "[metrics.schedule_accuracy]\ntarget = 1.0\nmin = 1.0\nmax = 1.0\n"
    )
    judged = run("judged", "--thresholds", strict)
    assert plain["thresholds"] == {"file": None, "changed": {}}
    assert same["thresholds"] == {"file": "thresholds.toml", "changed": {}}
    assert same["run_id"] == plain["run_id"] != judged["run_id"]
    assert judged["thresholds"]["changed"] == {
        "rules.penalty_low": 6.0,
        "rules.weight_system_stability": 0.0,
        "metrics.schedule_accuracy.target": 1.0,
        "metrics.schedule_accuracy.min": 1.0,
    }
    metric = json.loads((tmp_path / "judged" / "metrics.jsonl").read_text().splitlines()[0])
    assert (metric["target_value"], metric["threshold_min"], metric["status"] == "normal") == (1.0, 1.0, False)
    health = json.loads((tmp_path / "judged" / "system_health.json").read_text())
    scores = list(health["component_scores"].values())
    assert health["component_weights"]["system_stability"] == 0.0
    assert health["overall_health_score"] == pytest.approx(sum(scores[:3]) / 3)


def test_a_bad_file_ends_the_command_with_2_and_nothing_written(run_cli, file, tmp_path):
    path = file("[rules]\nalarm = 1\n")
    done = run_cli("--input", "outputs/phase18", "--output", tmp_path / "out", "--thresholds", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {path}, line 2: field 'rules.alarm': expected one of critical_margin, ")
    assert not (tmp_path / "out").exists()

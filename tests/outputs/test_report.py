"""The report says what the files say, escapes what they hold, and shows gaps as gaps."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from phase19 import frames
from phase19.errors import OutputError
from phase19.outputs.answers import attention, next_steps, verdict
from phase19.outputs.explain import task_rows
from phase19.outputs.report import HTML_FILE, MARKDOWN_FILE, write_report
from phase19.outputs.tables import attention_table, checks_table, opening, read_run, waves_table
from tests.synthetic import execution

NASTY = "<b>|`*_x_*` [a](b) & agent_1"

NONE_IDLE = dict.fromkeys(("unobserved", "interrupted", "deferred", "unassigned"), 0)
COMPARISON_KEYS = [
    "wave",
    *("planned_success_rate", "actual_success_rate", "planned_throughput", "actual_throughput"),
    *("accuracy_score", "success_rate_low", "success_rate_high", "ran_count"),
]
METRIC_KEYS = [
    *("metric_name", "value", "target_value", "threshold_min", "threshold_max"),
    *("status", "chance_low", "chance_high"),
]


TEST_KEYS = [
    *("anomaly_type", "status", "effect", "effect_low", "effect_high"),
    *("detectable_effect", "largest_effect", "missing_task_count", "reason"),
]


def keyed(keys, rows):
    return [dict(zip(keys, row, strict=True)) for row in rows]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run_dir(tmp_path):
    """A run of two waves, the second of which did not run, with one agent whose id is hostile."""
    summary = {
        "timestamp": "2026-02-05T12:00:00Z",
        "total_waves_optimized": 2,
        "total_agents": 2,
        "total_tasks": 1200,
        "optimization_strategy": "balance_load",
        "overall_metrics": {
            "expected_success_rate": 0.925,
            "actual_success_rate": 0.75,
            "prediction_accuracy": 0.811,
            "expected_throughput": 42.0,
            "actual_throughput": None,
            "schedule_adherence": None,
            "success_rate_low": 0.9,
            "success_rate_high": 0.95,
            "baseline_success_rate": 0.9,
            "baseline_success_rate_low": 0.88,
            "baseline_success_rate_high": 0.92,
        },
        "optimization_results": [
            {"wave": 1, "agent_assignments": {"agent_0": ["a", "b"], NASTY: ["c"]}},
            {"wave": 2, "agent_assignments": {"agent_0": ["d"]}},
        ],
        "run_id": "r-1",
        "seed": 3,
        "executor": "simulate",
        "simulated": True,
        "max_retries": 0,
        "inputs": [
            {
                "phase": 18,
                "file": "tasks.jsonl",
                "rows": 4,
                "status": "used",
                "used_for": "forecast",
                "ignored_fields": ["x", "y"],
            }
        ],
        "baselines": [
            {"phase": 18, "figure": "overall_health_score", "unit": "points", "recorded": 88.3, "this_run": 81.25},
            {"phase": 17, "figure": "Retry Rate", "unit": "ratio", "recorded": 0.1, "this_run": None},
        ],
        "statements": [
            {
                "file": "learning_signals.jsonl",
                "number": 1,
                "type": "advice",
                "description": NASTY,
                "used_for": "shown",
                "success_rate": None,
                "confidence": 0.9,
            }
        ],
        "task_counts": NONE_IDLE | {"total": 1200, "completed": 900, "failed": 300},
        "forecast_scores": {"brier_score": 0.0592, "log_loss": None},
        "yardsticks": {"planned_success_rate": 0.925, "round_robin_success_rate": 0.9}
        | {"best_single_agent_success_rate": 0.91, "capacity_cost": None},
        "solver": [{"wave": 1, "algorithm": "dual", "objective": 3.5, "upper_bound": 3.5, "gap": 0.0}],
        "joins": {"agents": 2, "agents_with_records": 2, "replayed_rows": None, "replayed_rows_in_plan": None},
        "previous": None,
        "least_expected": {"task_id": "c", "agent_id": NASTY, "status": "failed", "planned_success": 0.9},
        "thresholds": {"file": None, "changed": {}},
    }
    health = {
        "overall_health_score": 81.25,
        "health_status": "GOOD",
        "component_scores": {"optimization_accuracy": 81.1, "schedule_adherence": None},
        "component_weights": {"optimization_accuracy": 1.0, "schedule_adherence": 2.5},
        "anomaly_costs": [
            {"anomaly_id": "AN_001", "anomaly_type": "schedule_drift", "severity": "low", "points": 10.0}
        ],
        "convergence": {
            "verdict": "improving",
            "wave_count": 4,
            "slope": -0.1,
            "slope_low": -0.15,
            "slope_high": -0.05,
            "simulated": True,
        },
        "agent_utilization": [
            {"agent_id": NASTY, "task_count": 1200, "busy_ms": 5_400_000.0, "utilization": 0.5}
            | {"success_rate_low": 0.5, "success_rate_high": 1.0},
            {"agent_id": "agent_0", "task_count": 2, "busy_ms": 1500.0, "utilization": 0.25}
            | {"success_rate_low": 0.5, "success_rate_high": 1.0},
        ],
    }
    # 1,200 tasks at 42 a second are 28.6 s, and 4 at 0.0004 a second 2.8 hours.
    comparisons = [[1, 0.925, 0.75, 42.0, 40.5, 0.811, 0.8, 1.0, 1200], [2, 0.9, None, 0.0001, *[None] * 4, 0]]
    metrics = [["schedule_accuracy", 0.811, 0.9, 0.85, 1.0, "warning", 0.85, 0.99]]
    metrics += [["confidence_trajectory", None, 1.0, 0.9, 1.1, "insufficient_data", None, None]]
    anomaly = {"anomaly_type": "schedule_drift", "severity": "low", "description": NASTY, "recommendation": "a\nb"}
    anomaly["affected_agents"] = [NASTY]
    signal = {"type": "strategy_validation", "description": "d", "recommendation": "r", "confidence": 0.811}
    tests = [
        ["prediction_error", "not_testable", 0.1, -0.05, 0.25, 0.41, 0.925, 1234, "Few."],
        ["schedule_drift", "found", 1.52, 1.2, 1.9, 1.3, None, None, "Late."],
        ["performance_degradation", "clear", 0.034, -0.01, 0.08, 0.25, 1.0, None, "<b>x</b> is low."],
        ["optimization_failure", "explained", 1.2, 0.3, 2.1, 1.5, 1.0, None, "Explained."],
    ]
    alerts = [
        ["warning", "optimization_metrics: schedule_accuracy", "It is low.", "Look."],
        ["info", "scheduling_anomalies: AN_001 schedule_drift", "Tasks are late.", "Compare the times."],
    ]
    update = {"heuristic_id": "H16_001", "reason": "a lift", "previous_weight": 1.0, "weight": 1.004}
    decisions = [{"decision": "approved", "live_decision": "deferred"}] * 2
    rows = {
        "schedule_comparisons": keyed(COMPARISON_KEYS, comparisons),
        "optimization_metrics": keyed(METRIC_KEYS, metrics),
        "scheduling_anomalies": [anomaly],
        "anomaly_tests": keyed(TEST_KEYS, tests),
        "alerts": keyed(["severity", "source", "message", "action"], alerts),
        "learning_signals": [signal],
        "heuristic_updates": [update],
        "safety_gate_decisions": decisions,
        "unassigned_tasks": [],
    }
    files = {f"{name}.jsonl": jsonl(lines) for name, lines in rows.items()}
    files |= {"optimization_summary.json": json.dumps(summary), "system_health.json": json.dumps(health)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def tasks_and_attempts():
    """Four tasks: one of a hostile agent failed with a hostile message, and one has no agent."""
    rows = [
        execution("a", agent_id="agent_0"),
        execution("b", agent_id="agent_0", actual_end_time=2500.0, actual_duration_ms=1500.0),
        execution("c", agent_id=NASTY, status="failed", error_message=NASTY),
    ]
    decisions = [
        {"task_id": name, "wave": 1, "risk_level": "LOW", "confidence": 0.9, "live_decision": "deferred"}
        | {"decision": "approved", "reason": "low_risk", "relaxed_by": None}
        for name in "abcd"
    ]
    unassigned = [{"task_id": "d", "wave": 1, "reason": "no agent has room"}]
    tables = {
        "executions": frames.EXECUTIONS.conform(rows),
        "decisions": frames.DECISIONS.conform(decisions),
        "unassigned": frames.UNASSIGNED.conform(unassigned),
    }
    attempts = [
        {"task_id": name, "agent_id": agent, "wave": 1, "attempt": number, "status": status, "simulated": True}
        | {"execution_time_ms": 500.0, "confidence_delta": 0.1, "error_message": message}
        for name, agent, number, status, message in (
            ("a", "agent_0", 1, "success", None),
            ("b", "agent_0", 1, "failed", "timed out"),
            ("b", "agent_0", 2, "success", None),
            ("c", NASTY, 1, "failed", NASTY),
        )
    ]
    return task_rows(tables, is_simulated=True), frames.ATTEMPT_LOG.conform(attempts)


def written(run_dir):
    return write_report(run_dir, *tasks_and_attempts())


class Tags(HTMLParser):
    """Checks that tags nest, and collects text and the addresses a page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.data = [], [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """Leave out a tag without content."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)


def change(run_dir, name="optimization_summary.json", **fields):
    """Replace fields of a document, or of every row of a file."""
    path = run_dir / name
    if path.suffix == ".jsonl":
        path.write_text(jsonl({**json.loads(line), **fields} for line in path.read_text().splitlines()))
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_report_is_as_agreed_in_both_forms(run_dir, golden):
    assert written(run_dir) == [run_dir / MARKDOWN_FILE, run_dir / HTML_FILE]
    golden.text("report/report.md", (run_dir / MARKDOWN_FILE).read_text())
    golden.text("report/report.html", (run_dir / HTML_FILE).read_text())


def test_the_same_files_give_the_same_bytes(run_dir):
    before = [path.read_bytes() for path in written(run_dir)]
    assert [path.read_bytes() for path in written(run_dir)] == before


def test_the_page_nests_refers_to_nothing_outside_and_shows_hostile_text_as_text(run_dir):
    written(run_dir)
    html = (run_dir / HTML_FILE).read_text()
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert all(address.startswith(("#", "data:,")) for address in tags.addresses)
    assert not re.search(r"url\(|@import|https?:", html)
    assert tags.data.count(NASTY) == 6
    assert "<b>" not in html


def test_hostile_text_is_no_markup_in_markdown(run_dir):
    written(run_dir)
    markdown = (run_dir / MARKDOWN_FILE).read_text()
    assert r"\<b\>\|\`\*\_x\_\*\` \[a\](b) \& agent_1 | 1,200 | 90 min | 50.0 % |" in markdown
    widths = {
        line.count("|") - line.count(r"\|") for line in markdown.splitlines() if line.startswith("| schedule_drift")
    }
    assert widths == {5}


def test_characters_that_change_the_direction_of_writing_are_escaped(run_dir):
    change(run_dir, "scheduling_anomalies.jsonl", description="agent\u202e1")
    for path in written(run_dir):
        text = path.read_text()
        assert "\u202e" not in text
        assert "u202e1" in text


def report_of(run_dir):
    written(run_dir)
    return (run_dir / MARKDOWN_FILE).read_text()


def test_only_a_dry_run_is_called_simulated(run_dir):
    assert "Dry run: every actual figure is simulated." in report_of(run_dir)
    change(run_dir, executor="replay", simulated=False)
    replayed = report_of(run_dir)
    assert "Dry run" not in replayed
    assert "Replay of recorded outcomes." in replayed


def test_missing_figures_are_called_no_data(run_dir):
    markdown = report_of(run_dir)
    assert "| 2 | 90.0 % | no data | no data | 2.8 h | no data |" in markdown
    assert "| confidence_trajectory | insufficient data | no data | 1.00 | 0.90 to 1.10 | no data |" in markdown


@pytest.mark.parametrize(
    ("section", "name"),
    [("Anomalies", "scheduling_anomalies"), ("Heuristic weights", "heuristic_updates"), ("Unassigned tasks", None)],
)
def test_a_section_without_rows_is_left_out(run_dir, section, name):
    if name:
        assert f"## {section}\n" in report_of(run_dir)
        (run_dir / f"{name}.jsonl").write_text("")
    assert f"## {section}\n" not in report_of(run_dir)


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (
            2e-6,
            "Proved best: no assignment of a wave has an objective more than a millionth higher.",
        ),
        (0.25, "Not proved best, but no assignment of a wave has an objective more than 0.250 higher."),
        (None, "Of a wave without a gap, nothing is known about better assignments."),
    ],
)
def test_a_sentence_says_how_far_the_assignment_may_be_from_the_best(run_dir, gap, said):
    change(run_dir, solver=[{"wave": 1, "objective": 3.5, "gap": gap}])
    assert f"## Solver\n\n{said}" in report_of(run_dir)


def test_after_a_dry_run_the_forecasts_are_tested_first_if_there_are_records(run_dir):
    def actions():
        written(run_dir)
        return re.findall("<li>(.*?)</li>", (run_dir / HTML_FILE).read_text("utf-8").partition('id="actions"')[2])

    assert "backtest --input INPUT" in actions()[0]
    change(run_dir, joins={"agents": 2, "agents_with_records": 0, "replayed_rows": None, "replayed_rows_in_plan": None})
    assert "backtest" not in actions()[0]


@pytest.mark.parametrize(
    ("simulated", "completed", "big"),
    [(True, 900, "+2.5 points"), (False, 900, "-15.0 points"), (False, 1080, "A tie"), (False, 1200, "+10.0 points")],
)
def test_the_gain_is_the_planned_one_in_a_dry_run_and_a_tie_if_chance_explains_it(run_dir, simulated, completed, big):
    # 92.5 % are planned, and round robin expects 90 %, from 88 to 92 %.
    change(
        run_dir,
        simulated=simulated,
        task_counts=NONE_IDLE | {"total": 1200, "completed": completed} | {"failed": 1200 - completed},
    )
    written(run_dir)
    assert f'gain over round robin</h2><p class="big">{big}</p>' in (run_dir / HTML_FILE).read_text("utf-8").replace(
        "Gain", "gain"
    )


def test_an_earlier_run_and_changed_thresholds_are_shown(run_dir):
    previous = {"run_id": "r-0", "simulated": True, "attempt_count": 0}
    change(run_dir, previous=previous, thresholds={"file": "t.toml", "changed": {"rules.alpha": 0.01}})
    markdown = report_of(run_dir)
    assert "## Earlier run\n\n| figure | value |\n| --- | ---: |\n| run id | r-0 |\n| simulated | True |" in markdown
    assert "| rules.alpha | 0.0100 |" in markdown


def test_of_many_agents_the_first_fifty_are_shown_and_the_rest_counted(run_dir):
    figures = {"task_count": 1, "busy_ms": 20.0, "utilization": 0.5, "success_rate_low": 0.0, "success_rate_high": 1.0}
    names = [*(f"a{number}" for number in range(51)), "agent_0", NASTY]
    change(run_dir, "system_health.json", agent_utilization=[{"agent_id": name, **figures} for name in names])
    markdown = report_of(run_dir)
    assert "| a49 | 1 | 20 ms | 50.0 % |" in markdown
    assert "| a50 |" not in markdown
    assert "3 more in the files of the run." in markdown


# Whether the plan held


@pytest.mark.parametrize(
    ("completed", "start"),
    [
        # 90 to 95 % of 1,200 tasks are 1,080 to 1,140; 92.5 % are 1,110.
        (
            1080,
            "The plan held in the dry run: 1,080 of 1,200 tasks succeeded (1,110 expected, normal range 1,080 to 1,140",
        ),
        (1079, "The plan fell short in the dry run: 1,079 of 1,200 tasks succeeded (1,110 expected, "),
        (1140, "The plan held in the dry run: 1,140 of 1,200"),
        (1141, "The dry run did better than planned: 1,141 of 1,200"),
    ],
)
def test_the_first_sentence_says_whether_the_plan_held(run_dir, completed, start):
    change(run_dir, "anomaly_tests.jsonl", status="clear")
    change(run_dir, task_counts=NONE_IDLE | {"total": 1200, "completed": completed, "failed": 1200 - completed})
    sentence, kind = opening(read_run(run_dir))
    assert sentence.startswith(start)
    assert kind == "Dry run: every actual figure is simulated. 1,200 tasks, 2 agents, 2 waves, strategy balance_load."
    change(run_dir, simulated=False, executor="replay")
    assert verdict(read_run(run_dir)) == sentence.replace(" in the dry run", "").replace("The dry run", "The run")


@pytest.mark.parametrize(
    ("retries", "end"),
    [
        (0, "strategy balance_load."),
        (1, "strategy balance_load, up to 1 retry of LOW and MEDIUM risk tasks."),
        (2, "strategy balance_load, up to 2 retries of LOW and MEDIUM risk tasks."),
    ],
)
def test_the_kind_of_run_says_how_many_retries_the_plan_counts_on(run_dir, retries, end):
    change(run_dir, max_retries=retries)
    assert opening(read_run(run_dir))[1].endswith(f" 2 waves, {end}")


@pytest.mark.parametrize(
    ("completed", "end"),
    [
        # Round robin: 90 % are 1,080 tasks, 88 to 92 % are 1,056 to 1,104.
        (1055, "round robin would expect 1,080: the loss of 2.1 points is more than chance explains."),
        (1056, "round robin would expect 1,080: a tie, since chance explains the difference."),
        (1104, "round robin would expect 1,080: a tie, since chance explains the difference."),
        (1105, "round robin would expect 1,080: the gain of 2.1 points is more than chance explains."),
    ],
)
def test_the_first_sentence_compares_with_round_robin(run_dir, completed, end):
    change(run_dir, task_counts=NONE_IDLE | {"total": 1200, "completed": completed, "failed": 1200 - completed})
    assert verdict(read_run(run_dir)).endswith(f"); {end}")


def test_without_a_normal_range_the_first_sentence_does_not_judge_the_gain(run_dir):
    overall = json.loads((run_dir / "optimization_summary.json").read_text())["overall_metrics"]
    change(run_dir, overall_metrics=overall | {"baseline_success_rate_low": None})
    end = "round robin would expect 1,080, and nothing says how far chance may move that."
    assert verdict(read_run(run_dir)).endswith(end)


def test_a_visible_cost_of_the_capacities_is_named(run_dir):
    for cost, sentences in ((0.0004, []), (0.0234, ["The agents' capacities cost 2.3 points of planned success."])):
        change(run_dir, yardsticks={"capacity_cost": cost})
        assert opening(read_run(run_dir))[2:] == sentences


def test_the_first_sentence_counts_failed_checks(run_dir):
    assert opening(read_run(run_dir))[0].startswith("The plan fell short in the dry run, and 1 check failed: 900 of")
    change(run_dir, task_counts=NONE_IDLE | {"total": 1200, "completed": 1100, "failed": 100})
    assert opening(read_run(run_dir))[0].startswith("The plan held in the dry run, but 1 check failed: 1,100 of")


def test_tasks_that_did_not_run_need_attention(run_dir):
    counts = NONE_IDLE | {"total": 12, "completed": 1, "failed": 0, "unobserved": 9, "unassigned": 2}
    change(run_dir, task_counts=counts, executor="replay", simulated=False)
    change(run_dir, "anomaly_tests.jsonl", status="not_testable")
    (run_dir / "alerts.jsonl").write_text("")
    run = read_run(run_dir)
    said = (
        "The plan held: 1 of 1 task that ran succeeded (0.9 expected, normal range 1); round robin would expect 0.9: a"
    )
    assert verdict(run).startswith(said)
    assert [row.message for row in attention(run)] == [
        "Tasks without an outcome to replay: 9 of 12.",
        "Tasks without an agent: 2 of 12.",
    ]
    assert "unassigned_tasks.jsonl" in attention(run)[1].action
    change(run_dir, task_counts=NONE_IDLE | {"total": 2, "completed": 0, "failed": 0, "deferred": 2})
    assert verdict(read_run(run_dir)) == "No task ran, so the plan could not be checked."
    assert attention(read_run(run_dir))[0].action == "See safety_gate_decisions."


def test_inputs_that_did_not_join_need_attention(run_dir):
    (run_dir / "alerts.jsonl").write_text("")
    change(run_dir, joins={"agents": 4, "agents_with_records": 1, "replayed_rows": 9, "replayed_rows_in_plan": 7})
    assert [row[:2] for row in attention(read_run(run_dir))] == [
        ("info", "Agents without records: 3 of 4."),
        ("info", "Recorded outcomes outside the plan: 2 of 9."),
    ]


def test_waves_have_counts_and_times_that_people_use(run_dir):
    table = waves_table(read_run(run_dir))
    assert table.header == ("wave", "planned success", "succeeded", "normal range", "planned time", "actual time")
    assert table.rows == (
        ("1", "92.5 %", "900 of 1,200", "960 to 1,200, below", "29 s", "30 s"),
        ("2", "90.0 %", "no data", "no data", "2.8 h", "no data"),
    )


def test_no_effect_stands_beside_a_check_that_needs_more_data(run_dir):
    # The promised success of 92.5 % can fall by 41 points; no more than all of an advantage can be lost.
    assert checks_table(read_run(run_dir)).rows == (
        ("prediction error", "needs more data", "", "", "41 points"),
        ("schedule drift", "failed", "1.52 x forecast time", "1.20 to 1.90", "1.3 x"),
        ("performance degradation", "passed", "3.4 points below peers", "-1.0 to 8.0", "25 points"),
        ("optimization failure", "explained by another check", "120 % of gain lost", "30 to 210", "none"),
    )


def test_a_negative_effect_is_the_opposite(run_dir):
    change(run_dir, "anomaly_tests.jsonl", status="clear", effect=-0.25, effect_low=-0.5, effect_high=0.125)
    rows = {row[0]: row[2:4] for row in checks_table(read_run(run_dir)).rows}
    assert rows["prediction error"] == ("25 points above plan", "-12 to 50")
    assert rows["performance degradation"] == ("25 points above peers", "-12 to 50")
    assert rows["optimization failure"] == ("25 % more gain", "-12 to 50")


def test_attention_is_asked_for_failed_checks_and_for_metrics_beyond_their_normal_range(run_dir):
    rows = [
        ("info", "Tasks are late.", "Compare the times."),
        ("warning", "It is low.", "Look."),
    ]
    assert attention(read_run(run_dir)) == rows[:1]  # in a dry run, only chance moves a metric
    change(run_dir, simulated=False, executor="replay")
    assert attention(read_run(run_dir)) == rows
    change(run_dir, "optimization_metrics.jsonl", chance_low=0.8)  # 0.811 is in the normal range now
    assert attention(read_run(run_dir)) == rows[:1]
    assert attention_table(read_run(run_dir)).rows == tuple(rows[:1])
    (run_dir / "alerts.jsonl").write_text("")
    assert attention_table(read_run(run_dir)).startswith("Nothing needs attention: ")


# What to do next


def test_commands_are_quoted_so_that_they_can_be_pasted(run_dir):
    told = {"task_id": "fix it", "agent_id": "a", "status": "failed", "planned_success": 0.9}
    change(run_dir, least_expected=told)
    for name in ("scheduling_anomalies", "alerts"):
        (run_dir / f"{name}.jsonl").write_text("")
    assert next_steps(read_run(run_dir), Path("my runs"), Path("my inputs")) == [
        (
            "Test the forecasts on recorded outcomes before you trust the plan:",
            "python -m phase19 backtest --input 'my inputs'",
        ),
        (
            "See why fix it was given to a (failed; planned success 90.0 %):",
            "python -m phase19 explain 'fix it' --run 'my runs'",
        ),
        ("Compare all strategies:", "python -m phase19 compare --input 'my inputs'"),
    ]


@pytest.mark.parametrize("agent", ["agent_1", "it's", "$(ls)", "`ls`", '$(ls) `ls` "x" !! \\'])
def test_the_query_of_an_agent_survives_shell_and_sql(run_dir, agent):
    change(run_dir, "scheduling_anomalies.jsonl", affected_agents=[agent, "b"])
    ((why, command),) = next_steps(read_run(run_dir), Path("run"), None)
    assert why == f"See the attempts of {agent}:"
    *start, sql, option, place = shlex.split(command)
    assert (start, option, place) == (["python", "-m", "phase19", "query"], "--run", "run")
    where = sql.removeprefix("select * from attempts where agent_id = ")
    assert duckdb.execute(f"select {where}").fetchone() == (agent,)
    done = subprocess.run(
        ["bash", "-c", f"printf %s {command.split(' query ')[1]}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(sql)


# Files that cannot be read or written


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("optimization_summary.json", None, r"expected a Phase 19 run, found no optimization_summary\.json in it"),
        ("system_health.json", None, r"system_health\.json: cannot be read: No such file"),
        ("learning_signals.jsonl", "{", r"learning_signals\.jsonl: expected the output of a Phase 19 run, found "),
        ("system_health.json", b"\xff", r"system_health\.json: expected .* found JSON is malformed"),
        (
            "optimization_summary.json",
            "{}",
            "expected the files of a Phase 19 run, found no key 'yardsticks' in one of them",
        ),
        ("system_health.json", "[]", r"health\.json: expected .* found Expected `object`, got `array`"),
        ("learning_signals.jsonl", "7", r"signals\.jsonl: expected .* found Expected `object`, got `int`"),
        ("system_health.json", '{"health_status": "GOOD"}', "found no key 'overall_health_score' in one"),
        ("learning_signals.jsonl", '{"type": "a"}', "found no key 'description' in one"),
    ],
)
def test_a_run_that_cannot_be_read_is_named(run_dir, name, text, message):
    (run_dir / name).unlink()
    if text is not None:
        (run_dir / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OutputError, match=message):
        written(run_dir)
    assert not (run_dir / HTML_FILE).exists()


def test_a_summary_without_a_figure_is_named(run_dir):
    summary = json.loads((run_dir / "optimization_summary.json").read_text())
    del summary["overall_metrics"]["expected_success_rate"]
    (run_dir / "optimization_summary.json").write_text(json.dumps(summary))
    with pytest.raises(OutputError, match="found no key 'expected_success_rate' in one of them"):
        written(run_dir)


def test_a_report_that_cannot_be_written_is_named(run_dir):
    (run_dir / HTML_FILE).mkdir()
    with pytest.raises(OutputError, match=r"report\.html: cannot be written: Is a directory"):
        written(run_dir)

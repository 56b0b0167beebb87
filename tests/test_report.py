"""The report says what the files say, escapes what they hold, and shows gaps as gaps."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from phase19.errors import OutputError
from phase19.outputs.rendering import Chart, Page, Section, Table, WavePoint, to_html, to_markdown
from phase19.outputs.report import HTML_FILE, MARKDOWN_FILE, write_report
from phase19.outputs.text import significant

NASTY = "<b>|`*_x_*` [a](b) & agent_1"

COMPARISON_KEYS = [
    "wave",
    *("planned_success_rate", "actual_success_rate", "planned_throughput", "actual_throughput"),
    *("accuracy_score", "success_rate_low", "success_rate_high"),
]
METRIC_KEYS = [
    *("metric_name", "value", "target_value", "threshold_min", "threshold_max"),
    *("status", "chance_low", "chance_high"),
]


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
        },
        "optimization_results": [
            {"wave": 1, "agent_assignments": {"agent_0": ["a", "b"], NASTY: ["c"]}},
            {"wave": 2, "agent_assignments": {"agent_0": ["d"]}},
        ],
        "run_id": "r-1",
        "seed": 3,
        "executor": "simulate",
        "simulated": True,
        "inputs": [{"file": "tasks.jsonl", "rows": 4, "status": "used", "ignored_fields": ["x", "y"]}],
        "task_counts": {"total": 1200, "completed": 900, "failed": 300, "deferred": 0},
        "forecast_scores": {"brier_score": 0.0592, "log_loss": None},
        "yardsticks": {"round_robin_success_rate": 0.9},
        "solver": [{"wave": 1, "algorithm": "dual", "objective": 3.5, "upper_bound": 3.5, "gap": 0.0}],
    }
    health = {
        "overall_health_score": 81.25,
        "health_status": "GOOD",
        "component_scores": {"optimization_accuracy": 81.1, "schedule_adherence": None},
    }
    comparisons = [[1, 0.925, 0.75, 42.0, 40.5, 0.811, 0.8, 1.0], [2, 0.9, None, None, None, None, None, None]]
    metrics = [["schedule_accuracy", 0.811, 0.9, 0.85, 1.0, "warning", 0.85, 0.99]]
    metrics += [["confidence_trajectory", None, 1.0, 0.9, 1.1, "insufficient_data", None, None]]
    anomaly = {"anomaly_type": "schedule_drift", "severity": "low", "description": NASTY, "recommendation": "a\nb"}
    signal = {"type": "strategy_validation", "description": "d", "recommendation": "r", "confidence": 0.811}
    decisions = [{"decision": "approved", "live_decision": "deferred"}] * 2
    files = {
        "optimization_summary.json": json.dumps(summary),
        "system_health.json": json.dumps(health),
        "heuristic_weights.json": json.dumps({"H16_001": 1.004, "updated_at": "2026-02-05T12:00:00Z"}),
        "schedule_comparisons.jsonl": jsonl(dict(zip(COMPARISON_KEYS, row, strict=True)) for row in comparisons),
        "optimization_metrics.jsonl": jsonl(dict(zip(METRIC_KEYS, row, strict=True)) for row in metrics),
        "scheduling_anomalies.jsonl": jsonl([anomaly]),
        "learning_signals.jsonl": jsonl([signal]),
        "safety_gate_decisions.jsonl": jsonl(decisions),
        "unassigned_tasks.jsonl": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


class Tags(HTMLParser):
    """Checks that tags nest, and collects text and the addresses a page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.data = [], [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in {"src", "href"}]
        if tag not in {"meta", "line", "rect", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)


def change(run_dir, **fields):
    path = run_dir / "optimization_summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_report_is_as_agreed_in_both_forms(run_dir, golden):
    assert write_report(run_dir) == [run_dir / MARKDOWN_FILE, run_dir / HTML_FILE]
    golden.text("report/report.md", (run_dir / MARKDOWN_FILE).read_text())
    golden.text("report/report.html", (run_dir / HTML_FILE).read_text())


def test_the_same_files_give_the_same_bytes(run_dir):
    before = [path.read_bytes() for path in write_report(run_dir)]
    assert [path.read_bytes() for path in write_report(run_dir)] == before


def test_the_page_nests_refers_to_nothing_outside_and_shows_hostile_text_as_text(run_dir):
    write_report(run_dir)
    html = (run_dir / HTML_FILE).read_text()
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert tags.addresses == []
    assert not re.search(r"url\(|@import|<script|https?:", html)
    assert tags.data.count(NASTY) == 2
    assert "<b>" not in html


def test_hostile_text_is_no_markup_in_markdown(run_dir):
    write_report(run_dir)
    markdown = (run_dir / MARKDOWN_FILE).read_text()
    assert r"\<b\>\|\`\*\_x\_\*\` \[a\](b) \& agent_1 | 1 | 0 |" in markdown
    widths = {
        line.count("|") - line.count(r"\|") for line in markdown.splitlines() if line.startswith("| schedule_drift")
    }
    assert widths == {5}


def test_what_is_simulated_is_called_so_and_nothing_else_is(run_dir):
    write_report(run_dir)
    assert "every actual figure is simulated" in (run_dir / MARKDOWN_FILE).read_text()
    change(run_dir, executor="replay", simulated=False)
    write_report(run_dir)
    replayed = (run_dir / MARKDOWN_FILE).read_text()
    assert "simulated" not in replayed
    assert "recorded outcomes, replayed" in replayed


def test_what_is_missing_is_called_no_data(run_dir):
    write_report(run_dir)
    markdown = (run_dir / MARKDOWN_FILE).read_text()
    assert "| 2 | 90.0 % | no data | no data | no data | no data |" in markdown
    assert "| confidence_trajectory | insufficient data | no data | 1.000 | 0.90–1.10 | no data |" in markdown


def test_without_anomalies_or_heuristics_it_says_so(run_dir):
    (run_dir / "scheduling_anomalies.jsonl").write_text("")
    (run_dir / "heuristic_weights.json").write_text('{"updated_at": "2026-02-05T12:00:00Z"}')
    write_report(run_dir)
    markdown = (run_dir / MARKDOWN_FILE).read_text()
    assert "no anomalies" in markdown
    assert "None beyond what chance explains." in markdown
    assert "No heuristics were given" in markdown


def test_a_run_of_before_a_file_was_written_has_its_report(run_dir):
    write_report(run_dir)
    before = (run_dir / MARKDOWN_FILE).read_text()
    (run_dir / "unassigned_tasks.jsonl").unlink()
    write_report(run_dir)
    assert (run_dir / MARKDOWN_FILE).read_text() == before


def test_of_many_agents_the_first_fifty_are_shown_and_the_rest_counted(run_dir):
    agents = {f"a{i}": ["t"] for i in range(53)}
    change(run_dir, optimization_results=[{"wave": 1, "agent_assignments": agents}])
    write_report(run_dir)
    markdown = (run_dir / MARKDOWN_FILE).read_text()
    assert "| a49 | 1 |" in markdown
    assert "| a50 |" not in markdown
    assert "And 3 more agents in optimization_summary.json." in markdown


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("optimization_summary.json", None, r"expected a Phase 19 run, found no optimization_summary\.json in it"),
        ("system_health.json", None, r"system_health\.json: cannot be read: No such file"),
        ("learning_signals.jsonl", "{", r"learning_signals\.jsonl: expected JSON, found "),
        ("system_health.json", b"\xff", r"system_health\.json: expected JSON, found .*decode"),
        ("optimization_summary.json", "{}", r"summary\.json: expected the output of .* found no timestamp, "),
        ("heuristic_weights.json", "[]", r"weights\.json: expected the output of .* found no object in it"),
        ("system_health.json", '{"health_status": "GOOD"}', "found no overall_health_score, component_scores in it"),
        ("learning_signals.jsonl", '{"type": "a"}', "found no description, recommendation, confidence in it"),
    ],
)
def test_a_run_that_cannot_be_read_is_named(run_dir, name, text, message):
    (run_dir / name).unlink()
    if text is not None:
        (run_dir / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OutputError, match=message):
        write_report(run_dir)
    assert not (run_dir / HTML_FILE).exists()


def test_a_summary_without_a_figure_is_named(run_dir):
    summary = json.loads((run_dir / "optimization_summary.json").read_text())
    del summary["overall_metrics"]["actual_throughput"]
    (run_dir / "optimization_summary.json").write_text(json.dumps(summary))
    with pytest.raises(OutputError, match=r"optimization_summary\.json: .* found no actual_throughput in it"):
        write_report(run_dir)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "no data"),
        (0.0, "0"),
        (42.0, "42.0"),
        (0.012345, "0.0123"),
        (9.999, "10.0"),
        (0.9996, "1.00"),
        (-0.5, "-0.500"),
        (12345.6, "12,346"),
        (0.00001234, "1.23e-05"),
    ],
)
def test_significant_digits_suit_any_size(value, text):
    assert significant(value) == text


def test_a_report_that_cannot_be_written_is_named(run_dir):
    (run_dir / HTML_FILE).mkdir()
    with pytest.raises(OutputError, match="the report cannot be written: Is a directory"):
        write_report(run_dir)


def drawing(points):
    html = to_html(Page("t", (Section("s", (Chart("c", tuple(points)),)),)))
    return ET.fromstring(re.search(r"<svg.*</svg>", html, re.DOTALL)[0])


def test_the_chart_puts_rates_where_they_belong():
    # 220 units high, from 12 (100 %) to 232 (0 %): 75 % lies at 12 + 0.25 x 220 = 67, 50 % at 122.
    svg = drawing([WavePoint(4, planned=0.75, actual=0.5, low=0.5, high=1.0)])
    assert svg.find("circle").get("cy") == "122.0"
    assert svg.find("line[@class='planned']").get("y1") == "67.0"
    assert (svg.find("rect").get("y"), svg.find("rect").get("height")) == ("12.0", "110.0")
    assert svg.findall("text")[-1].text == "4"


def test_the_chart_leaves_out_what_is_missing_and_thins_its_labels():
    svg = drawing([WavePoint(1, planned=0.5, actual=None, low=None, high=None)])
    assert (svg.find("circle"), svg.find("rect")) == (None, None)
    labels = drawing(WavePoint(i + 1, 0.5, 0.5, 0.4, 0.6) for i in range(100)).findall("text[@text-anchor='middle']")
    assert [label.text for label in labels] == [str(1 + 5 * i) for i in range(20)]
    assert drawing([]).findall("circle") == []


def test_markdown_leaves_the_chart_to_its_table():
    page = Page("t", (Section("s", (Chart("c", ()), Table(("a", "b"), (("1", "2"),)))),))
    assert to_markdown(page) == "# t\n\n## s\n\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n"

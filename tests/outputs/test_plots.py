"""The charts of a run show its data, draw as SVG at every size, and say what they leave out."""

from __future__ import annotations

import re
import sys

import altair as alt
import polars as pl
import pytest
import vl_convert

import phase19
from phase19 import frames
from phase19.outputs import chart_data
from phase19.outputs.plots import Plots
from tests.synthetic import execution

CHARTS = ("timeline", "waves", "reliability", "agents", "strategies")


def words(chart):
    """The text in the picture of a chart."""
    return re.findall(r"<text[^>]*>([^<]+)</text>", vl_convert.vegalite_to_svg(chart.to_dict()))


def rows(chart):
    specification = chart.to_dict()
    return specification["datasets"][specification["data"]["name"]]


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_titled_by_a_sentence_and_drawn(sample_run, name):
    chart = getattr(sample_run.plot, name)()
    said = " ".join(words(chart))
    assert {
        "timeline": "11 of 12 tasks succeeded: outlines show the plan",
        "waves": "3 of 3 waves ended in the normal range",
        "reliability": "2 of 2 groups of tasks succeeded as often as planned",
        "agents": "4 of 4 agents ended in the normal range",
        "strategies": "Planned success: this plan 95.4 %, round robin 94.4 %, best single agent 94.9 %",
    }[name] in said
    assert said.count("NaN") == said.count("undefined") == 0


def test_charts_have_the_data_of_the_report(sample_run):
    plot, executions = sample_run.plot, sample_run.executions
    timeline = pl.DataFrame(rows(plot.timeline()))
    assert timeline.select(wanted := chart_data.timeline(executions).columns).equals(chart_data.timeline(executions))
    assert len(wanted) == 10
    assert [row["wave"] for row in rows(plot.timeline(2))] == [2] * 4


def test_times_have_a_unit_that_people_use():
    tasks = [execution(f"t{i}", actual_start_time=0.0, actual_end_time=3_600_000.0 * 3) for i in range(2)]
    chart = Plots({}, frames.EXECUTIONS.conform(tasks)).timeline()
    assert "time from the start of the wave [h]" in words(chart)
    assert [row["actual_end"] for row in rows(chart)] == [3.0, 3.0]


def test_a_failed_task_has_a_sign_of_its_own_and_one_that_did_not_run_has_no_bar():
    idle = dict.fromkeys(("actual_start_time", "actual_end_time", "actual_duration_ms", "actual_confidence_delta"))
    tasks = [execution("a", status="failed"), execution("b", status="unobserved", **idle)]
    chart = Plots({}, frames.EXECUTIONS.conform(tasks)).timeline()
    assert {"failed", "not run"} <= set(words(chart))
    assert [row["middle"] for row in rows(chart)] == [500.0, 500.0]


def test_more_tasks_and_agents_than_there_is_room_for_are_counted():
    tasks = [
        execution(f"t{wave}_{i}", wave=wave, agent_id=f"agent_{min(i, 59)}") for wave in range(1, 9) for i in range(800)
    ]
    plot = Plots({}, frames.EXECUTIONS.conform(tasks))
    chart = plot.timeline()
    shown = rows(chart)
    assert len(shown) == 800 - 20
    assert {row["wave"] for row in shown} == {1}
    assert len({row["agent_id"] for row in shown}) == 40
    assert "780 of 6,400 tasks are shown." in words(chart)
    assert [row["wave"] for row in rows(plot.timeline(8))] == [8] * 780
    assert words(plot.reliability())


def test_a_wave_that_the_run_lacks_is_refused(sample_run):
    with pytest.raises(phase19.Phase19Error, match=r"^wave: expected a wave of the run that has tasks, found 9$"):
        sample_run.plot.timeline(9)
    with pytest.raises(phase19.Phase19Error, match=r"^wave: expected .*, found 'x'"):
        sample_run.plot.timeline("x")


def test_without_altair_the_extra_is_named(sample_run, monkeypatch):
    monkeypatch.delitem(sys.modules, "phase19.outputs.plots")
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(phase19.Phase19Error, match=r'^plot: altair is missing; pip install "phase19\[notebook\]"$'):
        _ = sample_run.plot


def test_a_chart_can_be_combined_with_others(sample_run):
    both = alt.vconcat(sample_run.plot.waves(), sample_run.plot.strategies())
    assert "wave" in words(both)

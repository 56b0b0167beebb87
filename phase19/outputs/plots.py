"""Charts of a run for notebooks, drawn by altair from the data of the report's charts; this module needs the extra."""

import math
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl

from phase19.arguments import converted
from phase19.errors import UsageError, plural
from phase19.frames import has_run
from phase19.inputs.tasks import natural_order
from phase19.outputs import chart_data, text
from phase19.outputs.answers import Run

_MOST_TASKS, _MOST_AGENTS, _MOST_WAVES = 1_000, 40, 6  # in one chart; waves in a timeline only
_WIDTH, _LANE, _WAVE = 640, 20, 60  # width of a chart, height of an agent's lane, width of a wave [px]
# Colours that colour-blind people can tell apart (Okabe and Ito, 2008). Every series has a shape of its own too.
_BLUE, _RED, _INK, _GREY = "#0072B2", "#D55E00", "#333333", "#C3CDD6"
_OUTCOMES = {"succeeded": (_BLUE, "square"), "failed": (_RED, "M-1,-1L1,1M1,-1L-1,1"), "not run": (_INK, "circle")}
_RATES = {  # fill, outline and shape
    "normal range": (_GREY, _GREY, "square"),
    "planned": ("white", _INK, "diamond"),
    "actual": (_BLUE, _BLUE, "circle"),
}
_NOTE = "If the plan is correct, an actual rate is in its normal range 90 % of the time."
_PERCENT = alt.Axis(format="%")
_DASHES = [4, 4]


@dataclass(frozen=True, slots=True)
class Plots:
    """Charts of a run, with planned and actual figures side by side.

    A notebook shows details on hover. After `altair.renderers.enable("svg")` it shows pictures that need no network.

    Parameters
    ----------
    files
        The files of the run by name, as `RunResult.files` has them.
    executions
        `frames.EXECUTIONS`.
    """

    files: Run
    executions: pl.DataFrame

    def timeline(self, wave: int | None = None) -> alt.FacetChart:
        """Draw when each task was planned (outline) and when it ran (bar), by wave and agent.

        Parameters
        ----------
        wave
            The wave to draw; by default the first waves, as many as there is room for.

        Returns
        -------
        altair.FacetChart
            At most 6 waves, 40 agents (those with the most tasks) and 1,000 tasks; the subtitle counts the others.

        Raises
        ------
        UsageError
            The run has no such wave.
        """
        every = chart_data.timeline(self.executions)
        rows = every if wave is None else every.filter(wave=converted("wave", int, wave))
        if wave is not None and rows.is_empty():
            raise UsageError(f"wave: expected a wave of the run that has tasks, found {wave}")
        sizes = rows.group_by("wave", maintain_order=True).len()
        is_first = pl.int_range(pl.len()) == 0
        sizes = sizes.filter((pl.col("len").cum_sum() <= _MOST_TASKS) | is_first).head(_MOST_WAVES)
        rows = _of_largest(rows.join(sizes, on="wave", how="semi", maintain_order="left"), pl.len()).head(_MOST_TASKS)
        longest = rows.select(pl.max_horizontal("planned_end_ms", "actual_end_ms").max()).item() or 0.0
        unit = next((name for name, size in text.DURATIONS_MS.items() if longest >= 2 * size), "ms")
        ends = [f"{of}_{end}" for of in ("planned", "actual") for end in ("start", "end")]
        rows = rows.with_columns(pl.col(f"{name}_ms").truediv(text.DURATIONS_MS[unit]).alias(name) for name in ends)
        middle = pl.coalesce(*((pl.col(f"{of}_start") + pl.col(f"{of}_end")) / 2 for of in ("actual", "planned")))
        rows = rows.with_columns(middle=middle)
        times = [alt.Tooltip(f"{name}:Q", title=f"{text.words(name)} [{unit}]", format=",.3~r") for name in ends]
        base = alt.Chart().encode(
            alt.Y("agent_id:N", title=None, sort=natural_order(rows["agent_id"].unique())),
            tooltip=["task_id:N", "agent_id:N", "outcome:N", *_percents("planned_success"), *times],
        )
        color, shape = (
            channel("outcome:N", title=None).scale(domain=list(_OUTCOMES), range=list(looks))
            for channel, looks in zip((alt.Color, alt.Shape), zip(*_OUTCOMES.values(), strict=True), strict=True)
        )
        start = alt.X("planned_start:Q", title=f"time from the start of the wave [{unit}]")
        planned = base.mark_bar(height={"band": 0.9}, fillOpacity=0, stroke=_INK).encode(start, x2="planned_end:Q")
        actual = base.mark_bar(height={"band": 0.5}).encode(x="actual_start:Q", x2="actual_end:Q", color=color)
        signs = base.mark_point(size=50, opacity=1).encode(alt.X("middle:Q"), shape=shape, color=alt.value(_INK))
        ran, won = every.filter(has_run()).height, every.filter(outcome="succeeded").height
        return (
            alt.layer(planned, actual, signs.transform_filter("datum.outcome != 'succeeded'"))
            .properties(width=_WIDTH // max(1, rows["wave"].n_unique()), height=alt.Step(_LANE))
            .facet(column=alt.Column("wave:O", title=None).header(labelExpr="'wave ' + datum.value"), data=_data(rows))
            .properties(
                title=_title(
                    f"{won:,} of {plural(ran, 'task')} succeeded: outlines show the plan, bars what happened",
                    _shown(rows, every, "task"),
                )
            )
        )

    def waves(self) -> alt.LayerChart:
        """Draw the planned and the actual success rate of each wave, with its normal range."""
        rows = chart_data.wave_success(self.files)
        size = {"width": min(_WIDTH, _WAVE * max(3, rows.height)), "height": 240}
        return _rates(rows, "wave", alt.X, alt.Y).properties(title=_title(_held(rows, "wave"), _NOTE), **size)

    def reliability(self) -> alt.LayerChart:
        """Draw how often tasks succeeded against how often they were planned to, by groups with about equal forecasts.

        There are at most 10 groups, of about equal size. The vertical lines are 90 % intervals.
        """
        rows = chart_data.reliability(self.executions)
        met = rows.filter(pl.col("planned").is_between("low", "high")).height
        scale = _scale(rows)
        base = alt.Chart(_data(rows)).encode(
            alt.X("planned:Q", title="planned success rate", scale=scale, axis=_PERCENT),
            tooltip=[alt.Tooltip("count:Q", title="tasks"), *_percents("planned", "actual", "low", "high")],
        )
        y = alt.Y("actual:Q", title="actual success rate", scale=scale, axis=_PERCENT)
        ends = _data(pl.DataFrame({"planned": scale.domain, "actual": scale.domain}))
        line = alt.Chart(ends).mark_line(color=_INK, strokeDash=_DASHES).encode(alt.X("planned:Q", scale=scale), y)
        intervals = base.mark_rule(color=_BLUE).encode(
            alt.Y("low:Q", scale=scale, axis=_PERCENT, title="actual success rate"), alt.Y2("high:Q")
        )
        points = base.mark_point(filled=True, opacity=1, color=_BLUE, size=70).encode(y)
        title = _title(
            f"{met} of {plural(rows.height, 'group')} of tasks succeeded as often as planned, within chance",
            "On the line: as often as planned. Below it: less often. Vertical lines: 90 % intervals.",
        )
        return alt.LayerChart(layer=[line, intervals, points]).properties(title=title, width=320, height=320)

    def agents(self) -> alt.HConcatChart:
        """Draw each agent's planned and actual success rate, its time compared with the plan, and its busy share.

        Returns
        -------
        altair.HConcatChart
            At most 40 agents, those with the most tasks; the subtitle counts the others.
        """
        every = chart_data.agent_success(self.files, self.executions)
        rows = _of_largest(every, pl.col("task_count").sum())
        base = alt.Chart(_data(rows), width=130, height=alt.Step(_LANE)).encode(
            alt.Y("agent_id:N", sort=rows["agent_id"].to_list(), axis=None)
        )
        time = base.mark_point(filled=True, size=60, opacity=1, color=_BLUE).encode(
            alt.X("time_ratio:Q", title="actual / planned time", scale=alt.Scale(zero=True))
        )
        one = alt.Chart(_data(pl.DataFrame({"time_ratio": [1.0]})))
        plan = one.mark_rule(color=_INK, strokeDash=_DASHES).encode(x="time_ratio:Q")
        share = alt.X("utilization:Q", title="busy share of the run", scale=alt.Scale(domain=[0, 1]), axis=_PERCENT)
        panels = (
            _rates(rows, "agent_id", alt.Y, alt.X).properties(width=300),
            alt.layer(plan, time),
            base.mark_bar(color=_BLUE).encode(share),
        )
        return alt.hconcat(*panels).properties(title=_title(_held(every, "agent"), _NOTE, _shown(rows, every, "agent")))

    def strategies(self) -> alt.LayerChart:
        """Draw the planned success rate beside those of round robin and of the best single agent."""
        rows = chart_data.strategies(self.files)
        said = ", ".join(f"{name} {text.percent(rate)}" for name, rate in rows.select("name", "planned").rows())
        return _rates(rows, "name", alt.Y, alt.X).properties(title=_title(f"Planned success: {said}", _NOTE), width=440)


def _rates(rows: pl.DataFrame, name: str, place: Any, rate: Any) -> alt.LayerChart:
    """Draw normal range, planned and actual rate of each row; `place` is the axis of their names, `rate` the other."""
    is_across = place is alt.X
    axis = alt.Axis(title=name if is_across else None, labelAngle=0, labelOverlap=is_across)
    base = alt.Chart(_data(rows)).encode(
        place(f"{name}:O", sort=rows[name].to_list(), axis=axis),
        tooltip=[f"{name}:O", *_percents("planned", "actual", "low", "high")],
    )
    fill, outline, shape = (
        channel("series:N", title=None).scale(domain=list(_RATES), range=list(looks))
        for channel, looks in zip((alt.Fill, alt.Stroke, alt.Shape), zip(*_RATES.values(), strict=True), strict=True)
    )

    def layer(series: str, start: str, **more: Any) -> alt.Chart:
        along = rate(f"{start}:Q", title="success rate", scale=_scale(rows), axis=_PERCENT)
        return base.transform_calculate(series=f"'{series}'").encode(along, fill, outline, **more)

    band = layer("normal range", "low", **{"y2" if is_across else "x2": "high:Q"}).mark_bar(size=12)
    points = (layer(of, of, shape=shape).mark_point(size=80, opacity=1) for of in ("planned", "actual"))
    return alt.LayerChart(layer=[band, *points])


def _data(rows: pl.DataFrame) -> alt.InlineData:
    """Rows in a form that altair takes in any number; it refuses frames of more than 5,000 rows."""
    return alt.InlineData(values=rows.to_dicts())


def _of_largest(rows: pl.DataFrame, size: pl.Expr) -> pl.DataFrame:
    """Keep the rows of the largest agents, as many as a chart has room for."""
    sizes = rows.group_by("agent_id", maintain_order=True).agg(size.alias("size"))
    kept = sizes.sort("size", descending=True, maintain_order=True).head(_MOST_AGENTS)
    return rows.join(kept, on="agent_id", how="semi", maintain_order="left")


def _percents(*fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{field}:Q", title=text.words(field), format=".1%") for field in fields]


def _scale(rows: pl.DataFrame) -> alt.Scale:
    """Axis of success rates up to 100 %, from the tenth below the smallest one, and at most from 90 %."""
    lowest = rows.select(pl.min_horizontal("planned", "actual", "low").min()).item()
    return alt.Scale(domain=[min(9, math.floor(10 * (1.0 if lowest is None else lowest))) / 10, 1.0])


def _held(rows: pl.DataFrame, noun: str) -> str:
    """Say how many of the waves or agents that ran have a success rate in the normal range."""
    ran = rows.drop_nulls(("actual", "low"))
    actual, low, high = ((pl.col(name) * pl.col("ran_count")).round() for name in ("actual", "low", "high"))
    held = ran.filter(actual.is_between(low, high)).height
    if not ran.height:
        return f"Planned and actual success by {noun}; no normal range is known"
    return f"{held:,} of {plural(ran.height, noun)} ended in the normal range of success"


def _shown(rows: pl.DataFrame, every: pl.DataFrame, noun: str) -> str:
    return "" if rows.height == every.height else f"{rows.height:,} of {plural(every.height, noun)} are shown."


def _title(sentence: str, *notes: str) -> alt.Title:
    return alt.Title(sentence, subtitle=[note for note in notes if note], anchor="start")

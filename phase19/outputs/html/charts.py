"""Charts of the report as SVG that needs no script: horizontal positions in percent, so that text keeps its size."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from phase19.errors import plural
from phase19.outputs.html.markup import anchor, escaped, scrolling
from phase19.outputs.text import duration, percent

_LANE = 22  # height of an agent's lane [px]
_AXIS = 22  # height of the labels of an axis [px]
_HEIGHT = 220  # of the charts other than timelines [px]
_LEFT, _WIDTH = 13.0, 84.0  # the part of a chart between its axes, in percent of its width
_NARROWEST = 0.15  # width of the shortest bar, in percent of the chart's width
_BAR = 10  # width that a bar of the fullest lane gets [px]; wider charts scroll
_WIDEST = 6_000  # width of the widest chart [px]
_TICKS = 5
_MARKS = {"succeeded": "s", "failed": "f", "not run": "n"}
Row = Mapping[str, Any]


def figure(name: str, title: str, svg: str, note: str = "", table: str = "") -> str:
    """Put a chart into the page: its title, how to read it, and the table of its figures."""
    figures = f"<details><summary>The figures as a table</summary>{table}</details>" if table else ""
    said = f" <span>{escaped(note)}</span>" if note else ""
    caption = f"<figcaption><strong>{escaped(title)}</strong>{said}</figcaption>"
    return f'<figure id="{name}">{caption}{svg}{figures}</figure>'


def _svg(label: str, height: int, content: str, width: int = 0) -> str:
    style = f' style="min-width:{width}px"' if width else ""
    return f'<svg role="group" aria-label="{escaped(label)}" width="100%" height="{height}"{style}>{content}</svg>'


def timeline(
    wave: int, lanes: Mapping[str, Sequence[Row]], busy: Mapping[str, Sequence[Row]], order: Mapping[str, int]
) -> str:
    """Draw a wave: a lane per agent, a bar per task coloured by outcome, and behind it the outline of its plan.

    Parameters
    ----------
    wave
        Number of the wave.
    lanes
        The tasks of each agent, as `chart_data.timeline` returns them, with `said`, what the bar shows on hover.
    busy
        Times in which each agent did tasks that have no bar.
    order
        Position of each agent in the table of agents.
    """
    everything = [row for rows in lanes.values() for row in rows] + [row for rows in busy.values() for row in rows]
    ends = (row[key] for row in everything for key in ("planned_end_ms", "actual_end_ms"))
    longest = max((end for end in ends if end is not None), default=0.0) or 1.0
    height = _LANE * len(lanes)
    grid = "".join(
        f'<line class="grid" x1="{_x(tick, longest)}" x2="{_x(tick, longest)}" y2="{height}"/>'
        f'<text x="{_x(tick, longest)}" y="{height + 15}"{_anchored(tick, longest)}>'
        f"{duration(tick) if tick else 0}</text>"
        for tick in ticks(longest)
    )
    drawn = (
        f'<g data-of="{order[agent]}" transform="translate(0 {_LANE * lane})">'
        f"{''.join(_bars(rows, busy.get(agent, ()), longest))}</g>"
        for lane, (agent, rows) in enumerate(lanes.items())
    )
    names = "".join(f'<li><a href="#{anchor("agent", agent)}">{escaped(agent)}</a></li>' for agent in lanes)
    most = max(map(len, lanes.values()), default=0)
    label = f"Tasks of wave {wave} by agent and time"
    chart = _svg(label, height + _AXIS, grid + "".join(drawn), min(_BAR * most, _WIDEST))
    return f'<div class="lanes"><ul>{names}</ul>{scrolling(chart, f"Timeline of wave {wave}, scrolls sideways")}</div>'


def _x(value: float, longest: float) -> str:
    return f"{99.0 * value / longest:.2f}%"


def _anchored(tick: float, longest: float) -> str:
    """Keep the labels at both ends of an axis inside the chart."""
    return "" if 0 < tick < 0.95 * longest else f' style="text-anchor:{"start" if tick == 0 else "end"}"'


def _bars(rows: Sequence[Row], busy: Sequence[Row], longest: float) -> Iterator[str]:
    """Draw a lane; the style sheet gives each kind of bar its height."""

    def span(row: Row, kind: str, mark: str) -> str:
        start, end = row[f"{kind}_start_ms"], row[f"{kind}_end_ms"]
        width = max(_NARROWEST, 99.0 * (end - start) / longest)
        return f'<rect{mark} x="{_x(start, longest)}" width="{width:.2f}%"/>'

    yield from (span(row, "actual", ' class="b"') for row in busy)
    yield f'<g class="p">{"".join(span(row, "planned", "") for row in rows)}</g>'
    for row in rows:
        mark = _MARKS[row["outcome"]]
        known = "planned" if row["actual_start_ms"] is None or row["actual_end_ms"] is None else "actual"
        bar = span(row, known, f' class="{mark}"')
        yield f'<a href="#{anchor("task", row["task_id"])}"><title>{escaped(row["said"])}</title>{bar}</a>'


def ticks(longest: float) -> list[float]:
    """Return about five round numbers from 0 to at most `longest`."""
    rough = longest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * number for number in range(int(longest / step + 1e-9) + 1)]


class Rates:
    """Axis of success rates up to 100 %; it starts at the tenth below the smallest rate of `rates`."""

    def __init__(self, *rates: float | None) -> None:
        tenths = [math.floor(10 * rate) for rate in rates if rate is not None]
        self.low = min(9, *tenths, 9) / 10
        self.step = next(step for step in (0.02, 0.05, 0.1, 0.2) if step * _TICKS >= 0.999 * (1.0 - self.low))

    def share(self, rate: float) -> float:
        """Position of a rate along the axis, from 0 to 1."""
        return max(0.0, (rate - self.low) / (1.0 - self.low))

    def y(self, rate: float) -> str:
        """Vertical position of a rate."""
        return f"{10 + (1.0 - self.share(rate)) * (_HEIGHT - 20):.1f}"

    def x(self, rate: float) -> str:
        """Horizontal position of a rate."""
        return f"{_LEFT + _WIDTH * self.share(rate):.2f}%"

    def ticks(self) -> list[float]:
        """Return the rates that the axis names."""
        count = int((1.0 - self.low) / self.step + 1e-9)
        return [1.0 - self.step * tick for tick in range(count + 1)]

    def rows(self) -> str:
        """Draw the axis vertically."""
        right = _LEFT + _WIDTH
        return "".join(
            f'<line class="grid" x1="{_LEFT}%" x2="{right}%" y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
            f'<text class="r" x="{_LEFT - 1}%" y="{self.y(tick)}" dy="4">{_short(tick)}</text>'
            for tick in self.ticks()
        )

    def columns(self, height: int) -> str:
        """Draw the axis horizontally, at the bottom."""
        return "".join(
            f'<line class="grid" x1="{self.x(tick)}" x2="{self.x(tick)}" y1="10" y2="{height}"/>'
            f'<text x="{self.x(tick)}" y="{height + 17}">{_short(tick)}</text>'
            for tick in self.ticks()
        )


def _short(rate: float) -> str:
    return f"{100 * rate:.3g} %"


def _range(x: str, low: str, high: str) -> str:
    return f'<line class="range" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'


def _planned(x: str, y: str) -> str:
    return f'<svg x="{x}" y="{y}"><path class="plan" d="M-9 0H9"/></svg>'


def _dot(x: str, y: str, said: str, mark: str = "s") -> str:
    return f'<circle class="{mark}" cx="{x}" cy="{y}" r="4.5"><title>{escaped(said)}</title></circle>'


def wave_success(waves: Sequence[Row], of_agents: Mapping[int, Sequence[Row]], *, beside: Sequence[Row] = ()) -> str:
    """Draw planned and actual success by wave with the normal range; those of single agents are hidden at first.

    The axis also holds the rates of `beside`, the waves of a chart that stands beside this one.
    """
    places = {row["wave"]: f"{_LEFT + _WIDTH * (at + 0.5) / len(waves):.2f}%" for at, row in enumerate(waves)}
    axis = Rates(*(row[key] for row in (*waves, *beside) for key in ("planned", "actual", "low")))
    every = math.ceil(len(waves) / 12)
    labels = "".join(
        f'<text x="{places[row["wave"]]}" y="{_HEIGHT + 12}">{row["wave"]}</text>' for row in waves[::every]
    )

    def marks(rows: Sequence[Row]) -> Iterator[str]:
        for row in rows:
            x = places[row["wave"]]
            if row.get("low") is not None:
                yield _range(x, axis.y(row["low"]), axis.y(row["high"]))
            if row["planned"] is not None:
                yield _planned(x, axis.y(row["planned"]))
            if row["actual"] is not None:
                said = f"Wave {row['wave']}: {percent(row['actual'])} of {row['ran_count']:,} succeeded"
                yield _dot(x, axis.y(row["actual"]), f"{said}, {percent(row['planned'])} planned")

    return _svg("Success by wave", _HEIGHT + _AXIS, axis.rows() + labels + _layers(marks, waves, of_agents))


def reliability(bins: Sequence[Row], of_agents: Mapping[int, Sequence[Row]]) -> str:
    """Draw the actual success of tasks with about the same planned success; those of agents are hidden at first."""
    axis = Rates(*(row[key] for row in bins for key in ("planned", "actual", "low")))
    ideal = f'<line class="ideal" x1="{axis.x(axis.low)}" y1="{axis.y(axis.low)}" x2="{axis.x(1)}" y2="{axis.y(1)}"/>'

    def marks(rows: Sequence[Row]) -> Iterator[str]:
        for row in rows:
            x = axis.x(row["planned"])
            said = (
                f"{plural(row['count'], 'task')}: {percent(row['planned'])} planned, {percent(row['actual'])} succeeded"
            )
            yield _range(x, axis.y(row["low"]), axis.y(row["high"])) + _dot(x, axis.y(row["actual"]), said)

    content = axis.rows() + axis.columns(_HEIGHT - 10) + ideal + _layers(marks, bins, of_agents)
    return _svg("Actual by planned success", _HEIGHT + _AXIS, content)


def _layers(
    marks: Callable[[Sequence[Row]], Iterator[str]], rows: Sequence[Row], of_agents: Mapping[int, Sequence[Row]]
) -> str:
    """Draw the marks of all agents, and of each agent in a group that a script shows."""
    agents = (f'<g data-agent="{number}">{"".join(marks(own))}</g>' for number, own in of_agents.items())
    return f'<g class="all">{"".join(marks(rows))}</g>{"".join(agents)}'


def durations(tasks: pl.DataFrame, order: Mapping[str, int]) -> str:
    """Draw the actual against the planned time of tasks, both on logarithmic axes."""
    rows = tasks.filter(pl.col("planned_ms") > 0, pl.col("actual_ms") > 0)
    logs = rows.select(pl.col("planned_ms", "actual_ms").log(10))
    ends = [log for log in (*logs.min().row(0), *logs.max().row(0)) if log is not None] or [0.0]
    low, high = min(ends) - 0.05, max(*ends, min(ends) + 0.2) + 0.05

    def x(log: float) -> str:
        return f"{_LEFT + _WIDTH * (log - low) / (high - low):.1f}%"

    def y(log: float) -> str:
        return f"{10 + (_HEIGHT - 20) * (1 - (log - low) / (high - low)):.0f}"

    steps = [
        power + part for power in range(math.floor(low), math.ceil(high)) for part in (0, *map(math.log10, (2, 5)))
    ]
    known = [step for step in steps if low <= step <= high]
    named = known[:: math.ceil(len(known) / 6)] if known else [min(ends), max(ends)]
    axes = "".join(
        f'<line class="grid" x1="{_LEFT}%" x2="{_LEFT + _WIDTH}%" y1="{y(step)}" y2="{y(step)}"/>'
        f'<line class="grid" x1="{x(step)}" x2="{x(step)}" y1="10" y2="{_HEIGHT - 10}"/>'
        f'<text class="r" x="{_LEFT - 1}%" y="{y(step)}" dy="4">{duration(10**step)}</text>'
        f'<text x="{x(step)}" y="{_HEIGHT + 5}">{duration(10**step)}</text>'
        for step in named
    )
    ideal = f'<line class="ideal" x1="{x(low)}" y1="{y(low)}" x2="{x(high)}" y2="{y(high)}"/>'
    marks: dict[str, list[str]] = {}
    for agent, status, planned, actual in rows.select("agent_id", "status", *logs.get_columns()).iter_rows():
        mark = "s" if status == "completed" else "f"
        marks.setdefault(agent, []).append(f'<circle class="{mark}" r="3" cx="{x(planned)}" cy="{y(actual)}"/>')
    dots = "".join(f'<g data-of="{order[agent]}">{"".join(own)}</g>' for agent, own in marks.items())
    return _svg("Actual by planned time", _HEIGHT + _AXIS, axes + ideal + dots)


def strategies(rows: Sequence[Row]) -> str:
    """Draw the success that this plan and other ways to assign the tasks expect, and the plan's actual success."""
    axis = Rates(*(row[key] for row in rows for key in ("planned", "actual", "low")))
    height = 44 * len(rows) + 10
    parts = [axis.columns(height)]
    for at, row in enumerate(rows):
        y = 44 * at + 38
        parts.append(f'<text class="l" x="{_LEFT}%" y="{y - 12}">{escaped(row["name"])}</text>')
        if row["low"] is not None:
            parts.append(
                f'<line class="range" x1="{axis.x(row["low"])}" x2="{axis.x(row["high"])}" y1="{y}" y2="{y}"/>'
            )
        if row["planned"] is not None:
            parts.append(f'<svg x="{axis.x(row["planned"])}" y="{y}"><path class="plan" d="M0 -9V9"/></svg>')
        if row["actual"] is not None:
            said = f"{row['name']}: {percent(row['actual'])} succeeded, {percent(row['planned'])} planned"
            parts.append(_dot(axis.x(row["actual"]), str(y), said))
    return _svg("Success by way of assigning", height + _AXIS, "".join(parts))

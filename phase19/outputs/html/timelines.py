"""The timelines of the report: when each task was planned and done, by wave and agent."""

from collections.abc import Mapping

import polars as pl

from phase19.errors import plural
from phase19.outputs import chart_data, text
from phase19.outputs.answers import Run
from phase19.outputs.html import charts
from phase19.outputs.html.charts import Row
from phase19.outputs.html.markup import paragraph, section

_MOST_LANES = 40  # of a timeline
_OPEN_WAVES = 6  # whose timelines are open
_NARROW = 0.001  # gaps of an agent's time that are too short to see, as a share of the wave
_LEGEND = (
    '<p class="legend"><span class="s">succeeded</span> <span class="f">failed</span> '
    '<span class="p">as scheduled</span> The planned time of a wave is a mean over simulated runs, in which slow '
    "attempts and retries delay the end: usually later than the schedule ends.</p>"
)


def timelines(run: Run, assigned: pl.DataFrame, shown: pl.DataFrame, order: Mapping[str, int]) -> str:
    """Draw each wave.

    Parameters
    ----------
    run
        The files of the run, as `tables.read_run` returns them.
    assigned
        The tasks with an agent (`frames.EXECUTIONS`).
    shown
        The tasks that get a bar; of the others, only the times are drawn.
    order
        Position of each agent in the table of agents.
    """
    rows = chart_data.timeline(assigned).with_columns(is_shown=pl.col("task_id").is_in(shown["task_id"].implode()))
    times = {wave: text.duration(planned) for wave, planned, _ in chart_data.wave_times(run).iter_rows()}
    waves = rows.group_by("wave", maintain_order=True)
    figures = [_wave(tasks, order, times[wave]) for (wave,), tasks in waves]
    first, others = figures[:_OPEN_WAVES], figures[_OPEN_WAVES:]
    more = (
        f"<details><summary>{plural(len(others), 'more wave')}</summary>{''.join(others)}</details>" if others else ""
    )
    note = f"Bars are the {shown.height:,} tasks of the table below; thin grey lines are the times of the others."
    sample = "" if rows["is_shown"].all() else paragraph(note)
    return section("timeline", "Timeline", _LEGEND, sample, *first, more)


def _wave(tasks: pl.DataFrame, order: Mapping[str, int], planned: str) -> str:
    sizes = tasks.group_by("agent_id", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    kept = tasks.join(sizes.head(_MOST_LANES), on="agent_id", how="semi", maintain_order="left")
    lanes = {agent: _rows(own.filter("is_shown"), is_told=True) for agent, own in _by_agent(kept)}
    busy = {} if kept["is_shown"].all() else {agent: _rows(own) for agent, own in _by_agent(_busy(kept))}
    wave, actual = tasks.select(pl.col("wave").first(), pl.col("actual_end_ms").max()).row(0)
    took = f"took {text.duration(actual)}; " if actual is not None else ""
    note = f"{took}{planned} planned; {plural(tasks.height, 'task')}."
    if sizes.height > _MOST_LANES:
        note += f" Of {sizes.height:,} agents, the {_MOST_LANES} with the most tasks are shown."
    return charts.figure(f"timeline-{wave}", f"Wave {wave}", charts.timeline(wave, lanes, busy, order), note)


def _by_agent(tasks: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(str(agent), own) for (agent,), own in tasks.group_by("agent_id", maintain_order=True)]


def _rows(tasks: pl.DataFrame, *, is_told: bool = False) -> list[Row]:
    rows = tasks.iter_rows(named=True)
    return [row | {"said": _said(row)} for row in rows] if is_told else list(rows)


def _said(row: Row) -> str:
    """Say what a bar shows."""
    took = ""
    if row["actual_start_ms"] is not None and row["actual_end_ms"] is not None:
        took = f" in {text.duration(row['actual_end_ms'] - row['actual_start_ms'])}"
    planned = text.duration(row["planned_end_ms"] - row["planned_start_ms"])
    chance = text.percent(row["planned_success"])
    return f"{row['task_id']}, {row['agent_id']}: {row['outcome']}{took} ({chance}, {planned} planned)"


def _busy(tasks: pl.DataFrame) -> pl.DataFrame:
    """Join the times of an agent's tasks that follow each other without a visible gap."""
    start, end = pl.col("actual_start_ms"), pl.col("actual_end_ms")
    known = tasks.filter(start.is_not_null(), end.is_not_null()).sort("agent_id", start, maintain_order=True)
    has_gap = start > end.shift(1).cum_max().over("agent_id") + _NARROW * end.max()
    spans = known.with_columns(span=has_gap.fill_null(True).cum_sum().over("agent_id"))
    return spans.group_by("agent_id", "span", maintain_order=True).agg(
        start.min(), end.max(), planned_end_ms=pl.lit(None, pl.Float64)
    )

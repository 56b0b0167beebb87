"""The part of the report that compares the plan with what happened."""

from collections.abc import Mapping

import polars as pl

from phase19.outputs import answers, chart_data, tables, text
from phase19.outputs.html import charts
from phase19.outputs.html.charts import Row
from phase19.outputs.html.markup import blocks_html, section
from phase19.outputs.rendering import records_table

_DRY_RUN = " This dry run cannot say whether they are: its outcomes are drawn from them."
_MOST_DOTS = 500  # of the chart of times
_MOST_MARKS = 3_000  # of single agents in the charts


def plan_section(run: answers.Run, assigned: pl.DataFrame, order: Mapping[str, int]) -> str:
    """Draw success by wave, the reliability of the forecasts, times, and the gain over other ways to assign.

    Parameters
    ----------
    run
        The files of the run, as `tables.read_run` returns them.
    assigned
        The tasks with an agent (`frames.EXECUTIONS`).
    order
        Position of each agent in the table of agents.
    """
    waves, ways = chart_data.wave_success(run).to_dicts(), chart_data.strategies(run).to_dicts()
    bins, times = chart_data.reliability(assigned).to_dicts(), chart_data.durations(assigned)
    singles = chart_data.agent_wave_success(assigned), chart_data.reliability(assigned, ("agent_id",))
    is_small = sum(single.height for single in singles) <= _MOST_MARKS
    of_waves, of_bins = (_by_agent(single if is_small else single.clear(), order) for single in singles)
    step = max(1, -(-times.height // _MOST_DOTS))
    sampled = f" One in {step} tasks is drawn." if step > 1 else ""
    summary = run["optimization_summary"]
    cost = text.number(100 * (summary["yardsticks"]["capacity_cost"] or 0.0), 1)
    figures = (
        charts.figure(
            "wave-success",
            "Success of each wave",
            charts.wave_success(waves, of_waves),
            "Dots: share of tasks that succeeded; dashes: planned; bars: normal range, if the plan is correct.",
            blocks_html(tables.waves_table(run), label="Waves"),
        ),
        charts.figure(
            "reliability",
            "Are the forecasts right?",
            charts.reliability(bins, of_bins),
            "Across: planned success; up: share that succeeded, with a 90 % interval. Right forecasts are on the line."
            + (_DRY_RUN if summary["simulated"] else ""),
            blocks_html(records_table(bins), label="Forecasts") if bins else "",
        ),
        charts.figure(
            "durations",
            "Time against plan",
            charts.durations(times.gather_every(step), order),
            "Across: planned time; up: actual time. Tasks above the line took longer than planned; the table of tasks "
            f"has the figures.{sampled}",
        ),
        charts.figure(
            "strategies",
            "Success of other ways to assign",
            charts.strategies(ways),
            "Dashes: expected success; bars: normal range; dot: what happened. The best single agent would do all "
            f"tasks, beyond its capacity; the capacities cost this plan {cost} points.",
            blocks_html(records_table(ways), label="Ways to assign"),
        ),
    )
    return section("plan", "Did the plan hold?", f'<div class="grid">{"".join(figures)}</div>')


def _by_agent(rows: pl.DataFrame, order: Mapping[str, int]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(order[row["agent_id"]], []).append(row)
    return found

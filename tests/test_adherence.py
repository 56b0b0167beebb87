"""How closely a run kept its schedule, where a wave was planned to take no time at all."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from phase19 import frames
from phase19.analysis.session import sql_directory
from phase19.scheduler import AdaptiveScheduler
from tests.recomputation import adherence as recomputed
from tests.synthetic import every_table, execution, hand_frames, wave_plan

NO_TIME = dict.fromkeys(("planned_makespan_ms", "planned_busy_ms", "timeline_end_ms"), 0.0)


def outcome(wave, scheduled_end, actual_end):
    names = ("scheduled_end_time", "actual_end_time", "actual_duration_ms")
    return execution(f"t{wave}", wave=wave, **dict(zip(names, (scheduled_end, actual_end, actual_end), strict=True)))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A wave 500 ms late of 1,000; two planned to take no time, one on time and one 300 ms late; one that never ran."""
    rows = [outcome(1, 1000.0, 1500.0), outcome(2, 0.0, 0.0), outcome(3, 0.0, 300.0)]
    rows.append(execution("t4", wave=4, status="unobserved"))
    names = ("draw", "deviation_ms", "makespan_ms", "busy_ms", "success_rate", "confidence_delta")
    zeros = {"expected_success_sum": 1.0, "expected_advantage_sum": 0.0, "ran_count": 1}
    drawn = [(wave, 0, 0.0) for wave in (1, 2, 3)] + [(1, 1, 1000.0), (2, 1, 7.0), (3, 1, 0.0)]
    draws = [
        zeros | {"wave": wave} | dict(zip(names, (draw, late, 1.0, 1.0, 1.0, 0.1), strict=True))
        for wave, draw, late in drawn
    ]
    plans = [wave_plan(1), wave_plan(2, **NO_TIME), wave_plan(3, **NO_TIME), wave_plan(4)]
    run = hand_frames(rows, plans, wave_draws=frames.WAVE_DRAWS.conform(draws))
    return every_table(run, tmp_path_factory.mktemp("adherence"))


def test_a_wave_of_no_time_is_kept_or_missed(tables):
    # Starts on time, ends 500 and 300 ms late: a mean of 250 of 1,000, and of 150 of 0.
    assert tables["schedule_comparisons"]["schedule_adherence"].to_list() == [0.75, 1.0, 0.0, None]


def test_each_wave_that_ran_counts_in_the_metric(tables):
    # (0.75 + 1 + 0) / 3; the first draw is on time, the second late by all of 1,000 ms, by 7 of 0 and not at all.
    metric = tables["optimization_metrics"].filter(pl.col("metric_name") == "schedule_adherence").row(0, named=True)
    assert metric["value"] == pytest.approx(1.75 / 3)
    assert tables["run_draws"]["schedule_adherence"].to_list() == pytest.approx([1.0, 1 / 3])


@pytest.mark.parametrize(
    ("late_ms", "end_ms", "wanted"),
    [(0.0, 0.0, 1.0), (5.0, 0.0, 0.0), (0.0, 8.0, 1.0), (2.0, 8.0, 0.75), (9.0, 8.0, 0.0), (None, 8.0, None)],
)
def test_sql_python_and_the_oracle_say_the_same(late_ms, end_ms, wanted):
    with duckdb.connect() as connection:
        connection.execute((sql_directory() / "macros.sql").read_text("utf-8"))
        (row,) = connection.execute("select adherence($late, $end)", {"late": late_ms, "end": end_ms}).fetchall()
    # A task that starts and ends as late as that.
    actual = pl.Series([late_ms, None if late_ms is None else end_ms + late_ms], dtype=pl.Float64)
    rows = pl.DataFrame({"scheduled_start_time": [0.0], "scheduled_end_time": [end_ms]})
    rows = rows.with_columns(actual_start_time=actual[0], actual_end_time=actual[1])
    rows = rows.cast({"actual_start_time": pl.Float64, "actual_end_time": pl.Float64})
    assert row == (wanted,)
    assert AdaptiveScheduler().calculate_schedule_adherence(rows) == recomputed(late_ms, end_ms) == wanted

"""Every file of `sql/` against an independent recomputation of thousands of random executions, to 1e-9."""

from __future__ import annotations

import polars as pl
import pytest

from phase19.analysis.queries import QUERIES
from tests import (  # noqa: F401 (they say what they recompute)
    recomputed_agents,
    recomputed_anomalies,
    recomputed_monitoring,
    recomputed_signals,
    recomputed_strategies,
    recomputed_tests,
    recomputed_waves,
)
from tests.random_run import random_run
from tests.recomputation import RECOMPUTED, World, problems
from tests.rules import Rules
from tests.synthetic import every_table

STEMS = [query.stem for query in QUERIES]
RUNS = {
    "calibrated": {"seed": 1},
    "over-promised and late": {"seed": 2, "task_count": 4000, "over_promise": 0.1, "late": 0.2, "is_simulated": False},
    "two agents fall": {"seed": 3, "task_count": 4000, "fallen_agents": (2, 7), "late": 1.0},
    "no advantage": {"seed": 4, "task_count": 4000, "is_advantage_real": False},
    "unknown times": {"seed": 6, "task_count": 4000, "has_unknown_times": True},
    "no advantage, and less": {"seed": 5, "task_count": 4000, "is_advantage_real": False, "over_promise": 0.2},
}
# A rule that is not at its default shows where it is read.
RULES = {
    "two agents fall": Rules(
        critical_margin=0.02,
        prediction_error_margin=0.012,
        weight_optimization_accuracy=1.5,
        weight_schedule_adherence=0.5,
        weight_throughput_efficiency=2.0,
        weight_system_stability=0.25,
        performance_degradation_high=0.9,
        penalty_high=40.0,
        health_excellent=99.0,
        health_good=98.0,
        health_fair=97.0,
        specialization_count=30.0,
        heuristic_step=0.001,
        signal_probability=0.5,
    ),
    "no advantage": Rules(health_excellent=99.0, health_good=50.0, optimization_failure_high=0.9, detection_power=0.8),
    "no advantage, and less": Rules(heuristic_weight_min=0.95, heuristic_weight_max=1.2),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each run's tables by DuckDB, and its oracle."""
    drawn = {name: random_run(**options) for name, options in RUNS.items()}
    told = {name: RULES.get(name, Rules()) for name in drawn}
    return {
        name: (
            every_table(frames | {"rules": told[name].frame()}, tmp_path_factory.mktemp("run")),
            World(frames, told[name]),
        )
        for name, frames in drawn.items()
    }


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("stem", STEMS)
def test_a_table_is_what_its_definition_gives(runs, name, stem):
    tables, world = runs[name]
    assert problems(tables[stem], world[stem]) == []


def test_every_query_is_recomputed():
    assert set(RECOMPUTED) == set(STEMS)


def test_the_runs_reach_what_the_definitions_tell_apart(runs):
    def told(stem: str, column: str) -> set:
        return {value for tables, _ in runs.values() for value in tables[stem][column]}

    types = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")
    assert told("scheduling_anomalies", "anomaly_type") == set(types)
    assert told("anomaly_tests", "status") >= {"found", "clear", "explained"}
    assert len(told("learning_signals", "type")) == 5
    assert told("heuristic_updates", "weight_bound") >= {None, "maximum"}
    assert told("optimization_metrics", "status") >= {"normal", "warning"}
    for tables, world in runs.values():
        assert len(world.tasks) >= 4000
        assert tables["wave_totals"].filter(ran_count=0)["task_count"].to_list().count(0) == 1
        assert tables["wave_totals"].filter(pl.col("ran_count") == 0).height == 2
        assert tables["system_health"]["agent_utilization"][0][-1]["task_count"] == 0


def test_an_oracle_that_disagrees_is_heard(runs):
    tables, world = runs["calibrated"]
    table = tables["wave_totals"]
    off = table.with_columns(pl.col("residual_sum") * (1 + 1e-8))
    assert "residual_sum" in problems(off, world["wave_totals"])[0]
    assert problems(table.head(3), world["wave_totals"]) == ["3 rows, expected 20"]
    assert problems(table.reverse(), world["wave_totals"])
    text = tables["heuristic_updates"].with_columns(pl.col("reason").str.replace(r"\d\.\d{4}", "1.2345"))
    assert "does not say" in problems(text, world["heuristic_updates"])[0]

"""What adds up, whatever the run: sums and identities over random small runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.random_run import random_run
from tests.rules import Rules
from tests.synthetic import every_table

RUNS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "task_count": st.sampled_from([0, 1, 2, 7, 60, 400]),
        "agent_count": st.integers(1, 6),
        "wave_count": st.integers(1, 7),
        "draw_count": st.sampled_from([2, 20]),
        "over_promise": st.sampled_from([0.0, 0.3]),
        "late": st.sampled_from([0.0, 0.5]),
        "is_advantage_real": st.booleans(),
        "is_simulated": st.booleans(),
    }
)
WEIGHTS = st.sampled_from([{}, {"weight_system_stability": 0.0, "weight_schedule_adherence": 3.0}])
PROBABILITIES = ("p_value", "confidence", "success_p_value", "busy_p_value", "own_p_value")
RATES = ("success_rate", "accuracy_score", "schedule_adherence", "interval_coverage", "brier_score")


class Outcome:
    """A run's tables, and its files as they lie in the directory."""

    def __init__(self, options, rules):
        frames = random_run(**options)
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            self.tables = every_table(frames | {"rules": Rules(**rules).frame()}, place)
            self.bytes = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.json*")}
        self.frames, self.rules = frames, Rules(**rules)

    def __getitem__(self, stem):
        return self.tables[stem]

    def one(self, stem):
        return self.tables[stem].row(0, named=True)

    def lines(self, name):
        return [json.loads(line) for line in self.bytes[name].decode().splitlines()]

    def document(self, name):
        return json.loads(self.bytes[name])


CHECKS = []


def holds(check):
    """Keep a check of an outcome: it is to hold whatever the run."""
    CHECKS.append(check)
    return check


def total(table, name):
    """A column's sum, 0 where there is nothing."""
    return table[name].drop_nulls().cast(pl.Float64).sum()


@holds
def tasks_agents_waves_strategies_and_the_run_add_up(run):
    results, waves, agents, overall = run["task_results"], run["wave_totals"], run["agent_waves"], run.one("overall")
    assert results.height == waves["ran_count"].sum() == agents["ran_count"].sum() == overall["ran_count"]
    assert waves["task_count"].sum() == agents["task_count"].sum() == run.frames["executions"].height
    utilizations = pl.DataFrame(run.one("system_health")["agent_utilization"])
    assert utilizations["task_count"].sum() == run.frames["executions"].height
    for name in ("completed_count", "retry_count"):
        assert waves[name].sum() == agents[name].sum() == overall[name] or results.is_empty()
    shared = [name for name in agents.columns if name in waves.columns and name.endswith("_sum")]
    assert len(shared) >= 10
    for name in (*shared, "actual_busy_ms"):
        assert total(agents, name) == pytest.approx(total(waves, name), abs=1e-9)
        by_wave = agents.group_by("wave").agg(pl.col(name).sum()).sort("wave")[name].to_list()
        assert by_wave == pytest.approx([value or 0.0 for value in waves[name]], abs=1e-9)
    for name in ("task_count", "ran_count", "retry_count"):
        assert run["strategy_effectiveness"][name].sum() == waves[name].sum()
    assert sorted(w for part in run["strategy_effectiveness"]["waves"] for w in part) == waves["wave"].to_list()


@holds
def states_of_tasks_are_a_partition(run):
    waves = run["wave_totals"]
    states = waves.select(pl.sum_horizontal("completed_count", "failed_count", "unobserved_count", "interrupted_count"))
    assert states.to_series().to_list() == waves["task_count"].to_list()
    assert (waves["completed_count"] + waves["failed_count"]).to_list() == waves["ran_count"].to_list()
    for row in run.frames["executions"].group_by("wave", "status").len().rows():
        assert waves.filter(wave=row[0])[f"{row[1]}_count"].item() == row[2]


@holds
def health_is_the_mean_of_its_components_and_stability_what_anomalies_leave(run):
    health, document = run.one("system_health"), run.document("system_health.json")
    assert document["component_scores"] == health["component_scores"]
    scores, weights = health["component_scores"], health["component_weights"]
    known = [name for name, value in scores.items() if value is not None]
    assert all(0 <= scores[name] <= 100 for name in known)
    if known:
        mean = np.average([scores[name] for name in known], weights=[weights[name] for name in known])
        assert health["overall_health_score"] == pytest.approx(mean)
    else:
        assert health["overall_health_score"] is health["health_status"] is None
    cost = {"low": run.rules.penalty_low, "medium": run.rules.penalty_medium, "high": run.rules.penalty_high}
    anomalies = run["scheduling_anomalies"]
    points = [cost[severity] for severity in anomalies["severity"]]
    assert [row["points"] for row in health["anomaly_costs"]] == points
    assert [row["anomaly_id"] for row in health["anomaly_costs"]] == anomalies["anomaly_id"].to_list()
    if scores["system_stability"] is not None:
        assert scores["system_stability"] == max(0, 100 - sum(points))
    severities = run["alerts"]["severity"].to_list()
    assert health["alert_counts"] == {name: severities.count(name) for name in ("info", "warning", "critical")}
    out = run["optimization_metrics"]["status"].is_in(["warning", "critical"]).sum()
    assert len(severities) == out + anomalies.height


@holds
def a_metric_has_one_value_wherever_it_stands(run):
    metrics = dict(run["optimization_metrics"].select("metric_name", "value").iter_rows())
    overall, health = run.one("overall"), run.one("system_health")
    assert {name: overall[name] for name in metrics} == metrics
    assert {row["metric_name"]: row["value"] for row in health["optimization_metrics"]} == metrics
    assert {row["metric_name"]: row["value"] for row in run.lines("optimization_metrics.jsonl")} == metrics
    scores = health["component_scores"]
    for part, name in (("optimization_accuracy", "schedule_accuracy"), ("schedule_adherence", "schedule_adherence")):
        assert scores[part] == (None if metrics[name] is None else pytest.approx(100 * metrics[name]))
    assert overall["system_health_score"] == health["overall_health_score"]
    assert overall["anomaly_count"] == health["detected_anomalies"] == run["scheduling_anomalies"].height
    (validation,) = run["learning_signals"].filter(type="strategy_validation").rows(named=True)
    assert validation["confidence"] == (metrics["schedule_accuracy"] or 0.0)
    utilizations = pl.DataFrame(run.one("system_health")["agent_utilization"])["utilization"].drop_nulls()
    if metrics["agent_utilization"] is not None:
        assert utilizations.mean() == pytest.approx(metrics["agent_utilization"])


@holds
def what_is_written_twice_says_the_same(run):
    assert run.bytes["metrics.jsonl"] == run.bytes["optimization_metrics.jsonl"]
    assert run.bytes["anomalies.jsonl"] == run.bytes["scheduling_anomalies.jsonl"]
    signals, told = run.lines("learning_signals.jsonl"), run.lines("optimization_feedback.jsonl")
    assert [{name: row[name] for name in told[0]} for row in signals] == told
    weights = run.document("heuristic_weights.json")
    assert weights.pop("updated_at") == run["system_health"]["timestamp"].item()
    (line,) = run.lines("feedback/phase16_feedback.jsonl")
    updates = {row["heuristic_id"]: row["weight"] for row in run.lines("heuristic_updates.jsonl")}
    assert line["heuristic_weights"] == updates
    assert weights == {name: value for name, value in updates.items() if name != "updated_at"}
    (line,) = run.lines("feedback/phase18_feedback.jsonl")
    assert line["strategy_effectiveness"] == run.document("strategy_effectiveness.json")
    rows = {row["wave"]: row for row in run.lines("schedule_comparisons.jsonl")}
    for wave, row in rows.items():
        summary = run.document(f"wave_{wave}/wave_summary.json")
        assert {name: summary[name] for name in row if name in summary} == {n: row[n] for n in row if n in summary}
    errors = run.lines("convergence.jsonl")
    shared = [name for name in errors[0] if name in rows[1]]
    assert [{name: row[name] for name in shared} for row in errors] == [
        {name: row[name] for name in shared} for row in rows.values()
    ]


@holds
def anomalies_are_those_tests_that_found_something_and_their_severity_follows_from_their_effect(run):
    tests, rows = run["anomaly_tests"], run["scheduling_anomalies"].rows(named=True)
    assert [row["anomaly_type"] for row in rows] == tests.filter(status="found")["anomaly_type"].to_list()
    for row in rows:
        (test,) = tests.filter(anomaly_type=row["anomaly_type"]).rows(named=True)
        keys = ("effect", "effect_low", "effect_high", "statistic", "threshold")
        assert [row[key] for key in keys] == [test[key] for key in keys]
        assert row["statistic"] > row["threshold"] > 0
        medium, high = (getattr(run.rules, f"{row['anomaly_type']}_{level}") for level in ("medium", "high"))
        effect = row["effect"]
        assert row["severity"] == ("high" if effect >= high else "medium" if effect >= medium else "low")
        assert set(row["affected_waves"]) <= set(run["wave_totals"].filter(pl.col("ran_count") > 0)["wave"])
        assert set(row["affected_agents"]) <= set(run["task_results"]["agent_id"])
        assert row["affected_waves"] and row["affected_agents"] and all(row["evidence"])


@holds
def intervals_hold_their_estimates_and_probabilities_lie_in_0_to_1(run):
    for stem, table in run.tables.items():
        for name in table.columns:
            if not table[name].dtype.is_numeric():
                continue
            if name in PROBABILITIES or name.endswith(RATES):
                assert table[name].drop_nulls().is_between(0, 1 + 1e-12).all(), (stem, name)
            if not name.endswith("_low"):
                continue
            base = name.removesuffix("_low")
            pair = table.select(low=name, high=f"{base}_high").drop_nulls()
            assert (pair["low"] <= pair["high"]).all(), (stem, name)
            assert table[name].is_null().to_list() == table[f"{base}_high"].is_null().to_list()
            estimate = {"lead": "success_lead", "slope": "realised_advantage_slope"}.get(base, base)
            estimate = estimate if estimate in table.columns else base
            if base in {"effect", "lift", "lead", "slope", "success_lead"}:
                held = table.select(low=name, value=estimate, high=f"{base}_high").drop_nulls()
                assert (held["low"] - 1e-9 <= held["value"]).all() and (held["value"] <= held["high"] + 1e-9).all()


@holds
def weights_move_towards_their_lift_by_a_step_at_most_and_stay_in_bounds(run):
    table, rules = run["heuristic_lifts"], run.rules
    for row in table.rows(named=True):
        step, lift = row["weight"] - row["previous_weight"], row["lift"]
        assert abs(step) <= rules.heuristic_step + 1e-12
        assert rules.heuristic_weight_min <= row["weight"] or step >= 0
        assert row["weight"] <= rules.heuristic_weight_max or step <= 0
        assert step == 0 if lift is None else step * lift >= 0
        assert abs(row["shrunk_lift"]) <= abs(lift or 0)
        assert row["applied_count"] + row["other_count"] == run.one("overall")["ran_count"]


# Two agents, of whom one falls as far as the other rises: the fall against peers is beyond 1.
@example(
    options={
        "seed": 65535,
        "task_count": 7,
        "agent_count": 2,
        "wave_count": 4,
        "draw_count": 2,
        "over_promise": 0.0,
        "late": 0.0,
        "is_advantage_real": True,
        "is_simulated": True,
    },
    rules={},
)
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])  # each takes its time: no shrinking
@given(options=RUNS, rules=WEIGHTS)
def test_every_identity_holds(options, rules):
    run = Outcome(options, rules)
    for check in CHECKS:
        check(run)


def test_random_runs_reach_what_the_identities_are_about():
    options = {"task_count": 400, "agent_count": 4, "wave_count": 6, "over_promise": 0.3, "late": 0.5}
    run = Outcome(options, {})
    assert len(CHECKS) == 8
    assert run["scheduling_anomalies"].height >= 2
    assert run["wave_totals"]["ran_count"].to_list().count(0) == 2
    assert {"schedule_adjustment", "strategy_validation"} <= set(run["learning_signals"]["type"])
    assert run["agent_waves"].filter(task_count=0).height > 0

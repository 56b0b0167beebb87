"""Phase 16's heuristics: applied by their rules, scaled by their weights, and never against safety or the records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19 import frames
from phase19.errors import InputError
from phase19.forecasting.model import ForecastModel
from phase19.inputs.heuristics import Heuristics, read_heuristics
from phase19.inputs.loading import load_inputs
from phase19.inputs.sample import write_sample
from phase19.inputs.tasks import by_priority
from phase19.optimizer import AdaptiveOptimizer
from phase19.safety import SafetyGate
from tests.builders import POPULATION, agents, all_pairs, attempts, model, optimizer, random_attempts, tasks

ROOT = Path(__file__).parents[2]
HEURISTICS = [json.loads(line) for line in (ROOT / "outputs/phase16/heuristics.jsonl").read_text("utf-8").splitlines()]
RULES = frames.HEURISTICS.conform([{**row, "rule": json.dumps(row["rule"])} for row in HEURISTICS])
SHIPPED = read_heuristics(RULES)
LEVELS = ("LOW", "MEDIUM", "HIGH")


def read(weights: dict[str, float] | None = None, /, **stated: object) -> Heuristics:
    rows = [{"heuristic_id": name, "rule": json.dumps(rule)} for name, rule in stated.items()]
    return read_heuristics(frames.HEURISTICS.conform(rows), weights)


def rules(*stated: object) -> Heuristics:
    return read(**{f"H{i}": rule for i, rule in enumerate(stated)})


def boost(amount: float, *levels: str, within: tuple[float, float] = (0.0, 1.0)) -> dict:
    condition = {"risk_level": levels, "confidence_range": within}
    return {"action": "boost_confidence_by", "condition": condition, "amount": amount}


def relaxed_after(success_rate: float, threshold: float) -> dict:
    condition = {"success_rate_previous_wave": success_rate}
    return {"action": "adjust_policy", "condition": condition, "parameters": {"high_risk_threshold": threshold}}


BOOST = read(H16_002=boost(0.05, "MEDIUM", within=(0.7, 0.75)))


def boosted(confidence: float | None, risk: str = "MEDIUM", weight: float = 1.0) -> dict:
    frame = tasks({"task_id": "t", "risk_level": risk}).with_columns(confidence=pl.lit(confidence, dtype=pl.Float64))
    return replace(BOOST, weights={"H16_002": weight}).boosted(frame).row(0, named=True)


# Reading


def every_task() -> pl.DataFrame:
    rows = ({"task_id": f"{r}{c}", "risk_level": r, "confidence": c / 20} for r in LEVELS for c in range(21))
    return tasks(*rows)


def places(heuristics: Heuristics) -> list[int]:
    """The places of tasks of every risk level and confidence in the order of priority."""
    return every_task().select(place=heuristics.bucket())["place"].to_list()


def retrying(heuristics: Heuristics) -> list[str]:
    return heuristics.retried(tasks({"task_id": "t"}), pl.Series([True]))["heuristics_applied"][0].to_list()


def test_the_rules_as_phase_16_ships_them():
    order = SHIPPED.ordered(tasks({"task_id": "t", "risk_level": "LOW", "confidence": 0.7}))
    assert order["heuristics_applied"].to_list() == [["H16_001"]]
    assert places(SHIPPED) == places(Heuristics())
    assert SHIPPED.boosted(every_task()).equals(BOOST.boosted(every_task()))
    assert SHIPPED.relaxation(0.95, 0.75, 0.7) == (pytest.approx(0.7), "H16_004")
    assert retrying(SHIPPED) == ["H16_003"]


@pytest.mark.parametrize(
    "rule",
    [None, "in words", 3, [1], {}, {"action": "call_a_friend"}, {"action": ["a"]}, {"condition": {"risk_level": 4}}],
    ids=repr,
)
def test_a_rule_of_another_kind_is_left_to_others(rule):
    assert rules(rule) == Heuristics()


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "adjust_policy", "parameters": {"high_risk_threshold": 0.1}},
        {"action": "adjust_policy", "condition": {"success_rate_previous_wave": 0.1}, "parameters": {"retries": 3}},
        {"action": "adjust_policy", "condition": {"failures": 3}},
    ],
    ids=["no condition", "another parameter", "another condition"],
)
def test_a_policy_that_this_phase_does_not_have_changes_no_gate(rule):
    assert rules(rule).relaxation(1.0, 0.75, 0.7) == (0.75, None)


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "boost_confidence_by", "condition": {"confidence_range": [0.7]}},
        {"action": "boost_confidence_by", "amount": "much"},
        {"action": "adjust_policy", "parameters": {"high_risk_threshold": "low"}},
        {"priority_order": [{"confidence_min": 0.2}]},
        {"action": "boost_confidence_by", "condition": {"confidence_range": [0.8, 0.7]}},
        {"action": "boost_confidence_by", "condition": {"risk_level": "medium"}},
        {"action": "boost_confidence_by", "amount": -5},
    ],
    ids=[
        "half a range",
        "amount in words",
        "threshold in words",
        "no risk level",
        "range reversed",
        "no such level",
        "amount no change of a confidence",
    ],
)
def test_a_rule_of_a_known_kind_that_breaks_it_is_refused(rule):
    with pytest.raises(InputError, match=r"heuristics.jsonl.*rule of H0"):
        rules(rule)


def test_a_rule_with_a_number_that_no_float_holds_is_refused():
    frame = frames.HEURISTICS.conform([{"heuristic_id": "H", "rule": '{"note": 1e400}'}])
    with pytest.raises(InputError, match=r"heuristics.jsonl: field 'rule of H': .*Number out of range"):
        read_heuristics(frame)


def test_a_rule_is_known_by_what_it_states_and_of_two_orders_the_first_holds():
    found = rules(
        {"priority_order": [{"risk_level": "HIGH"}]},
        {"priority_order": [{"risk_level": "LOW"}]},
        boost(0.1, "LOW", "HIGH"),
    )
    assert places(found) == [0 if level == "HIGH" else 1 for level in LEVELS for _ in range(21)]
    raised = found.boosted(tasks(*({"task_id": level, "risk_level": level} for level in LEVELS)))
    applied = raised.select("task_id", pl.col("heuristics_applied").list.join(" "), "confidence_boost").rows()
    assert applied == [("LOW", "H2", 0.1), ("MEDIUM", "", 0.0), ("HIGH", "H2", 0.1)]
    assert found.ordered(raised)["heuristics_applied"].to_list() == [["H2"], [], ["H2", "H0"]]


def test_a_broken_rule_is_named_by_file_and_line_whoever_reads_it(tmp_path):
    write_sample(tmp_path, tasks=3, agents=2, waves=1, seed=1)
    path = tmp_path / "phase16" / "heuristics.jsonl"
    lines = path.read_text().splitlines()
    broken = {**json.loads(lines[1]), "rule": {"action": "boost_confidence_by", "amount": "much"}}
    path.write_text("\n".join([lines[0], json.dumps(broken)]))
    with pytest.raises(InputError, match=r"phase16/heuristics.jsonl.*line 2.*rule of H16_002.*boost_confidence_by"):
        load_inputs(tmp_path / "phase18", tmp_path / "phase16", tmp_path / "phase17")


@pytest.mark.parametrize(
    "change", [{"condition": {"risk_level": ["LOW"]}}, {"confidence_penalty": -0.5}], ids=["levels", "penalty"]
)
def test_a_retry_rule_that_this_phase_does_not_follow_is_not_said_to_be_applied(change):
    shipped = next(row["rule"] for row in HEURISTICS if row["heuristic_id"] == "H16_003")
    assert retrying(rules(shipped)) == ["H0"]
    assert retrying(rules({**shipped, **change})) == []


def test_of_two_boosts_the_first_holds_for_tasks_and_for_records():
    two = read(A=boost(0.01, "LOW"), B=boost(0.2, "LOW"))
    task = two.boosted(tasks({"task_id": "t", "risk_level": "LOW"}))
    record = two.claims(attempts({"task_id": "t", "heuristics_applied": ["B", "A"]}))
    assert task["confidence_boost"][0] == record["confidence_boost"][0] == 0.01


# H16_002


@pytest.mark.parametrize(
    ("confidence", "risk", "boost"),
    [
        (0.7, "MEDIUM", 0.05),
        (0.75, "MEDIUM", 0.05),
        (0.6999, "MEDIUM", 0.0),
        (0.7501, "MEDIUM", 0.0),
        (0.72, "LOW", 0.0),
        (0.72, "HIGH", 0.0),
        (None, "MEDIUM", 0.0),
    ],
)
def test_a_boost_is_for_medium_tasks_that_fall_just_short(confidence, risk, boost):
    row = boosted(confidence, risk)
    assert row["confidence_boost"] == pytest.approx(boost)
    assert row["heuristics_applied"] == (["H16_002"] if boost else [])
    assert row["confidence"] == confidence  # what is recorded stays: gates read it


def test_a_boost_is_scaled_by_its_weight():
    assert boosted(0.72, weight=0.5)["confidence_boost"] == pytest.approx(0.025)
    assert boosted(0.72, weight=1.5)["confidence_boost"] == pytest.approx(0.075)


@given(st.floats(0.0, 1.0), st.floats(-1.0, 1.0), st.floats(0.5, 1.5))
def test_a_boosted_confidence_is_one(confidence, amount, weight):
    wide = read({"B": weight}, B=boost(amount, "LOW"))
    frame = wide.boosted(tasks({"task_id": "t", "risk_level": "LOW", "confidence": confidence}))
    assert 0.0 <= (frame["confidence"] + frame["confidence_boost"])[0] <= 1.0 + 1e-15


def test_a_boost_moves_a_task_up_the_order_of_priority():
    two = tasks(
        {"task_id": "a", "risk_level": "HIGH", "confidence": 0.95},
        {"task_id": "b", "risk_level": "MEDIUM", "confidence": 0.74},
    )
    assert by_priority(two)["task_id"].to_list() == ["a", "b"]
    assert by_priority(BOOST.boosted(two))["task_id"].to_list() == ["b", "a"]  # MEDIUM from 0.75 on comes before HIGH


def forecast_of_boosted(*records: dict) -> tuple[float, float]:
    """Success forecast of a task without records of its own, without and with the boost of its confidence."""
    plain = tasks({"task_id": "new", "risk_level": "MEDIUM", "confidence": 0.72}).with_columns(wave=pl.lit(1))
    known = BOOST.claims(attempts(*records))
    both = (ForecastModel.fit(frame, agents("a0"), known, POPULATION) for frame in (plain, BOOST.boosted(plain)))
    without, with_boost = (float(all_pairs(fitted).success_probability[0, 0]) for fitted in both)
    return without, with_boost


def records_of(count: int, *, boosted_wins: float, other_wins: float) -> list[dict]:
    """Medium tasks of 0.72, each tried once: half of them boosted, of which that share succeeded."""
    return [
        {
            "task_id": f"{'b' if is_boosted else 'o'}{i}",
            "risk_level": "MEDIUM",
            "confidence_before": 0.72,
            "is_success": i < count * (boosted_wins if is_boosted else other_wins),
            "heuristics_applied": ["H16_002"] if is_boosted else [],
        }
        for is_boosted in (True, False)
        for i in range(count)
    ]


def test_a_boost_raises_a_forecast_where_no_record_says_otherwise():
    without, with_boost = forecast_of_boosted()
    # Half of the claim is believed: half of 0.05 of confidence, a little less on the scale of pairs.
    assert 0.005 < with_boost - without < 0.03


def test_where_the_records_show_that_a_boost_is_not_true_the_forecast_wins():
    without, with_boost = forecast_of_boosted(*records_of(400, boosted_wins=0.55, other_wins=0.72))
    assert with_boost < without
    true = forecast_of_boosted(*records_of(400, boosted_wins=0.80, other_wins=0.72))
    assert true[1] > true[0] + 0.01


# H16_004


def test_relaxation_follows_its_rule_and_its_weight_and_never_goes_below_the_gate():
    rules = read(H16_004=relaxed_after(0.9, 0.7))
    assert rules.relaxation(0.95, 0.75, 0.7) == (pytest.approx(0.7), "H16_004")
    assert rules.relaxation(0.9, 0.75, 0.7) == (0.75, None)  # above, not at
    assert rules.relaxation(None, 0.75, 0.7) == (0.75, None)
    half = replace(rules, weights={"H16_004": 0.5})
    assert half.relaxation(1.0, 0.75, 0.7) == (pytest.approx(0.725), "H16_004")  # 0.75 - 0.5 x 0.05
    eager = replace(rules, weights={"H16_004": 1.5})
    assert eager.relaxation(1.0, 0.75, 0.7) == (0.7, "H16_004")  # 0.675 is below what the gate allows
    tighter = read(H=relaxed_after(0.9, 0.8))
    assert tighter.relaxation(1.0, 0.75, 0.7) == (0.75, None)


def test_who_relaxed_a_gate_is_recorded_with_the_tasks_it_let_through():
    frame = tasks(
        {"task_id": "a", "wave": 2, "risk_level": "MEDIUM", "confidence": 0.72},
        {"task_id": "b", "wave": 2, "risk_level": "MEDIUM", "confidence": 0.8},
        {"task_id": "c", "wave": 2, "risk_level": "LOW", "confidence": 0.72},
    )
    decided = SafetyGate().decide(frame, heuristics=SHIPPED, rate_before=1.0)
    assert decided["relaxed_by"].to_list() == ["H16_004", None, None]
    assert decided["live_decision"].to_list() == ["approved"] * 3


@given(
    st.floats(0.0, 0.899),
    st.floats(0.0, 1.0),
    st.floats(-1.0, 1.0),
    st.dictionaries(st.sampled_from(["B", "R"]), st.floats(0.5, 1.5)),
)
def test_no_heuristic_ever_loosens_a_high_gate(confidence, rate, amount, weights):
    loose = read(weights, B=boost(amount, *frames.RISK_LEVELS), R=relaxed_after(0.0, 0.0))
    high = tasks({"task_id": "t", "wave": 2, "risk_level": "HIGH", "confidence": confidence})
    approvals = pl.Series(["t"])
    decided = SafetyGate(is_live=True).decide(loose.boosted(high), approvals, heuristics=loose, rate_before=rate)
    assert decided["decision"].to_list() == ["deferred"]
    assert decided["relaxed_by"].to_list() == [None]


# What is recorded


def test_every_planned_task_names_what_was_applied_to_it_once():
    fitted = model(random_attempts(1, 20), task_count=6)  # LOW, MEDIUM, HIGH in turn, all at 0.7
    raised = SHIPPED.ordered(SHIPPED.boosted(fitted.tasks.with_columns(wave=pl.lit(1))))
    again = SHIPPED.ordered(SHIPPED.boosted(raised))
    assert again["heuristics_applied"].to_list() == raised["heuristics_applied"].to_list()
    planner = AdaptiveOptimizer(
        inputs=replace(optimizer(random_attempts(1, 20), task_count=6).inputs, heuristics=RULES)
    )
    plans = planner.calculate_optimal_schedule().plans
    named = dict(zip(plans["task_id"], plans["heuristics_applied"].to_list(), strict=True))
    assert named["t0"] == ["H16_001", "H16_003"]  # LOW from 0.7 on has its place, and is tried again
    assert named["t1"] == ["H16_002", "H16_001", "H16_003"]  # raised to 0.75
    assert named["t2"] == []  # HIGH below 0.9 has no place, and one attempt
    assert plans["updated_confidence"].to_list() == pytest.approx([0.7, 0.75, 0.7] * 2)


def test_updated_confidence_moves_as_far_as_the_tasks_forecast_does():
    fitted = model(task_count=3)
    won = attempts(*({"task_id": "t0", "agent_id": f"a{i % 3}", "is_success": True} for i in range(9)))
    lost = attempts(*({"task_id": "t0", "agent_id": f"a{i % 3}", "is_success": False} for i in range(9)))
    better, worse = (
        fitted.observe(won).updated_confidence(np.arange(3)),
        fitted.observe(lost).updated_confidence(np.arange(3)),
    )
    assert fitted.updated_confidence(np.arange(3)) == pytest.approx([0.7, 0.7, 0.7])
    assert np.all(better > 0.7)  # the others too: the agents, and tasks in general, do better than was thought
    assert np.all(worse < 0.7)
    assert better[0] > better[1]
    assert worse[0] < worse[1]
    again = fitted.observe(won).observe(lost).updated_confidence(np.arange(3))
    assert worse[0] < again[0] < better[0]

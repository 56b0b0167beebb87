"""Every row of the gate's table, thresholds included."""

from __future__ import annotations

import polars as pl
import pytest
from msgspec import convert

from phase19 import frames
from phase19.inputs.heuristics import Heuristics, Rule
from phase19.safety import SafetyGate
from tests.builders import tasks

YES, NO = "approved", "deferred"


def decide(risk, confidence, *, approved=False, relaxed=False, **gate):
    frame = tasks({"task_id": "t", "wave": 2, "risk_level": risk}).with_columns(
        confidence=pl.lit(confidence, dtype=pl.Float64)
    )
    approvals = pl.Series(["other", *(["t"] if approved else [])])
    condition, parameters = {"success_rate_previous_wave": 0.9}, {"high_risk_threshold": 0.7}
    rule = convert({"action": "adjust_policy", "condition": condition, "parameters": parameters}, Rule)
    rules = Heuristics({"H16_004": rule})
    rate = 0.95 if relaxed else 0.9
    return SafetyGate(**gate).decide(frame, approvals, heuristics=rules, rate_before=rate).row(0, named=True)


@pytest.mark.parametrize("approved", [False, True], ids=["no approval", "approval"])
@pytest.mark.parametrize("required", [False, True], ids=["not required", "required"])
@pytest.mark.parametrize("relaxed", [False, True], ids=["strict", "relaxed"])
@pytest.mark.parametrize(
    ("risk", "least", "least_relaxed", "gated", "gated_when_required"),
    [
        ("LOW", 0.5, 0.5, False, False),
        ("MEDIUM", 0.75, 0.70, False, True),
        ("HIGH", 0.9, 0.9, True, True),
        ("UNKNOWN", 0.7, 0.7, True, True),
    ],
)
def test_the_table(risk, least, least_relaxed, gated, gated_when_required, relaxed, required, approved):
    threshold = least_relaxed if relaxed else least
    needs = gated_when_required if required else gated
    for confidence in (0.0, threshold - 1e-9, threshold, threshold + 1e-9, 1.0):
        row = decide(risk, confidence, approved=approved, relaxed=relaxed, is_live=True, is_approval_required=required)
        expected = YES if confidence >= threshold and (approved or not needs) else NO
        assert (row["decision"], row["live_decision"]) == (expected, expected), confidence


@pytest.mark.parametrize("risk", frames.RISK_LEVELS)
def test_no_recorded_confidence_is_never_confident(risk):
    row = decide(risk, None, approved=True, is_live=True)
    assert row["decision"] == NO
    assert "none recorded" in row["reason"]


@pytest.mark.parametrize(("risk", "confidence", "live"), [("HIGH", 0.2, NO), ("LOW", 0.9, YES), ("MEDIUM", None, NO)])
def test_a_dry_run_approves_and_records_what_live_would_say(risk, confidence, live):
    row = decide(risk, confidence)
    assert (row["decision"], row["live_decision"]) == (YES, live)


@pytest.mark.parametrize(
    ("risk", "confidence", "approved", "reason"),
    [
        ("LOW", 0.4, False, "LOW needs confidence >= 0.5: 0.4"),
        ("HIGH", 0.95, False, "HIGH needs confidence >= 0.9 and an approval: 0.95, not approved"),
        ("HIGH", 0.95, True, "HIGH needs confidence >= 0.9 and an approval: 0.95, approved"),
        ("MEDIUM", 0.8, False, "MEDIUM needs confidence >= 0.75: 0.8"),
    ],
)
def test_the_reason_is_the_rule_and_the_finding(risk, confidence, approved, reason):
    assert decide(risk, confidence, approved=approved, is_live=True)["reason"] == reason


def test_phase_16s_own_status_is_no_approval():
    frame = tasks({"task_id": "t", "wave": 1, "risk_level": "HIGH", "confidence": 0.99, "approval_status": "approved"})
    assert SafetyGate(is_live=True).decide(frame)["decision"].to_list() == [NO]


@pytest.mark.parametrize("approvals", [None, pl.Series([], dtype=pl.String)], ids=["no file", "empty file"])
def test_all_tasks_are_decided_in_the_order_given(approvals):
    frame = tasks(
        {"task_id": "b", "wave": 1, "risk_level": "HIGH", "confidence": 1.0},
        {"task_id": "a", "wave": 1, "risk_level": "LOW", "confidence": 1.0},
    )
    decided = SafetyGate(is_live=True).decide(frame, approvals)
    frames.DECISIONS.validate(decided)
    assert decided.select("task_id", "decision").rows() == [("b", NO), ("a", YES)]
    assert SafetyGate(is_live=True).decide(frame.clear(), approvals).height == 0


def test_thresholds_can_be_set():
    assert decide("LOW", 0.55, is_live=True, low=0.6)["decision"] == NO
    assert decide("HIGH", 0.55, approved=True, is_live=True, high=0.5)["decision"] == YES

"""Recomputed: learning signals, and what the neighbours are told."""

from __future__ import annotations

from typing import Any

from scipy import stats

from tests.recomputation import STAMP, Json, Rows, Says, World, natural, recomputes
from tests.recomputed_anomalies import late_tests


def weights(world: World) -> dict[str, float]:
    return {row["heuristic_id"]: row["weight"] for row in world["heuristic_lifts"]}


@recomputes("heuristic_weights")
def heuristic_weights(world: World) -> Rows:
    # The contract's own key wins over a heuristic of that name. Values are JSON texts.
    document: dict[str, Any] = {name: Json(value) for name, value in weights(world).items() if name != "updated_at"}
    return [{"document": document | {"updated_at": f'"{STAMP}"'}}]


@recomputes("phase16_feedback")
def phase16_feedback(world: World) -> Rows:
    said = {"simulated": world.is_simulated, "run_id": world.run["run_id"], "timestamp": STAMP}
    return [{"type": "phase19_heuristic_update", "heuristic_weights": weights(world), **said}]


@recomputes("phase18_feedback")
def phase18_feedback(world: World) -> Rows:
    said = {"simulated": world.is_simulated, "run_id": world.run["run_id"], "timestamp": STAMP}
    document = {row["strategy"]: row for row in world["strategy_effectiveness"]}
    return [{"type": "phase19_coordination_feedback", "strategy_effectiveness": document, **said}]


@recomputes("learning_signals")
def learning_signals(world: World) -> Rows:
    kinds = (_validation, _updates, _adjustments, _improvements, _specializations)
    rows = [row for kind in kinds for row in sorted(kind(world), key=lambda row: natural(row["subject"]))]
    return [
        {
            "signal_id": f"P19_LS_{i:03d}",
            "type": row["type"],
            "confidence": row["confidence"],
            "description": Says(row["description"]),
            "recommendation": Says(row["recommendation"]),
            "feedback_id": f"FB_{i:03d}",
            "feedback_type": row["type"],
            "supporting_evidence": [Says(line) for line in row["evidence"]],
            "timestamp": STAMP,
            "simulated": world.is_simulated,
        }
        for i, row in enumerate(rows, 1)
    ]


def _validation(world: World) -> Rows:
    run, n = world.one("overall"), world.one("overall")["ran_count"]
    names = [row["strategy"] for row in world["strategy_effectiveness"]]
    said = {"subject": "", "type": "strategy_validation", "confidence": run["schedule_accuracy"] or 0.0}
    advice, description = "Run the plan before relying", ["Insufficient data"]
    evidence = [[f"{run['completed_count']} of {n} tasks"]]
    if n:
        is_failure = world.one("optimization_failure_tests")["is_anomaly"]
        is_error = world.one("prediction_error_tests")["is_anomaly"]
        advice = "Do not assign" if is_failure else "expect less success" if is_error else "Keep the strategy."
        rates = [f"{run[name] * 100:.1f} %" for name in ("expected_success_rate", "actual_success_rate")]
        description = [", ".join(names), *rates, f"over {n} tasks"]
    for name, text in (("brier_score", ".4f"), ("log_loss", ".4f"), ("skill", ".3f")):
        evidence += [[format(run[name], text)]] if run[name] is not None else []
    if run["interval_coverage"] is not None:
        evidence += [[f"{run['interval_coverage'] * 100:.0f} % of waves"]]
    return [{**said, "description": description, "recommendation": [advice], "evidence": evidence}]


def _updates(world: World) -> Rows:
    rows = []
    told = [row for row in world["heuristic_lifts"] if row["lift"] is not None]
    for row in told:
        step, p_value = row["weight"] - row["previous_weight"], min(1.0, len(told) * row["p_value"])
        if abs(step) < world.rules.heuristic_signal_step or p_value >= world.rules.signal_probability:
            continue
        figures = [f"{row['previous_weight']:.4f} to {row['weight']:.4f}", f"{row['lift'] * 100:.1f} points"]
        rows.append(
            {
                "subject": row["heuristic_id"],
                "type": "heuristic_update",
                "confidence": 1 - p_value,
                "description": [row["heuristic_id"], *figures],
                "recommendation": ["more often" if row["lift"] > 0 else "less often"],
                "evidence": [
                    [f"{row['applied_count']} tasks", f"{row['other_count']} without"],
                    [f"{row['lift_low'] * 100:.1f} to {row['lift_high'] * 100:.1f}"],
                    [f"{row['shrunk_lift'] * 100:.2f} points"],
                ],
            }
        )
    return rows


def _adjustments(world: World) -> Rows:
    late = late_tests(world)
    pooled_high = late[None]["effect_high"] if None in late else -1.0
    rows = []
    for agent, row in late.items():
        if agent and row["effect_low"] <= pooled_high:
            continue
        since = "before the run" if row["baseline"] == "start" else f"wave {row['first_wave']}"
        rows.append(
            {
                "subject": agent or "",
                "type": "schedule_adjustment",
                # Each test has its share of the chance of a false alarm.
                "confidence": 1 - min(1.0, row["p_value"] / row["alarm_share"]),
                "description": [agent or "all agents", f"{row['effect']:.2f} times", since],
                "recommendation": [agent or "all agents", f"by {row['effect']:.2f}"],
                "evidence": [
                    [f"{row['duration_count']} timed"],
                    [f"{row['effect_low']:.2f}", f"{row['effect_high']:.2f}"],
                    [f"{row['statistic']:.2f}", f"{row['threshold']:.2f}"],
                ],
            }
        )
    return rows


def _improvements(world: World) -> Rows:
    told = [row for row in world["strategy_effectiveness"] if row["realised_advantage_slope"] is not None]
    rows = []
    for row in told:
        slope, promised = row["realised_advantage_slope"], row["promised_advantage"]
        p_value = min(1.0, len(told) * stats.norm.sf(slope * row["information"]))
        is_failure = world.one("optimization_failure_tests")["is_anomaly"]
        if p_value >= world.rules.signal_probability or promised <= 0 or is_failure:
            continue
        rows.append(
            {
                "subject": row["strategy"],
                "type": "coordination_improvement",
                "confidence": 1 - p_value,
                "description": [row["strategy"], f"{promised * 100:.1f} points", f"{slope * 100:.0f} %"],
                "recommendation": ["Keep"],
                "evidence": [
                    [f"{row['ran_count']} tasks"],
                    [f"{row['slope_low'] * 100:.0f} to {row['slope_high'] * 100:.0f}"],
                    [f"{row['realised_advantage'] * 100:.1f} points"],
                ],
            }
        )
    return rows


def _specializations(world: World) -> Rows:
    return [
        {
            "subject": f"{row['agent_id']} {row['risk_level']}",
            "type": "agent_specialization",
            "confidence": 1 - row["p_value"],
            "description": [row["agent_id"], f"{row['success_lead'] * 100:.1f} points", row["risk_level"]],
            "recommendation": [row["agent_id"], row["risk_level"]],
            "evidence": [
                [
                    f"{row['success_rate'] * 100:.1f} %",
                    f"{row['task_count']} tasks",
                    f"{row['expected_rate'] * 100:.1f} %",
                ],
                [
                    f"{row['peer_success_rate'] * 100:.1f} %",
                    f"{row['peer_task_count']}",
                    f"{row['peer_expected_rate'] * 100:.1f} %",
                ],
                [f"{row['lead_low'] * 100:.1f} to {row['lead_high'] * 100:.1f}"],
                [f"{row['statistic']:.2f}"],
            ],
        }
        for row in world["agent_leads"]
        if row["p_value"] < world.rules.signal_probability
    ]


@recomputes("optimization_feedback")
def optimization_feedback(world: World) -> Rows:
    names = [
        "feedback_id",
        "feedback_type",
        "confidence",
        "description",
        "recommendation",
        "supporting_evidence",
        "timestamp",
        "simulated",
    ]
    return [{name: row[name] for name in names} for row in world["learning_signals"]]

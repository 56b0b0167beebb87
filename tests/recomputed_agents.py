"""Recomputed: what each agent was to do, and what came of it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tests.recomputation import STAMP, Z90, Rows, World, accuracy, natural, over, recomputes
from tests.recomputed_waves import sums


@recomputes("agent_waves")
def agent_waves(world: World) -> Rows:
    names = [
        "planned_success_sum",
        "residual_sum",
        "outcome_variance_sum",
        "shortfall_skew_sum",
        "baseline_residual_sum",
        "baseline_variance_sum",
        "advantage_sum",
        "advantage_square_sum",
        "advantage_residual_sum",
        "advantage_noise_sum",
        "advantage_variance_sum",
        "advantage_skew_sum",
        "planned_confidence_sum",
        "actual_confidence_sum",
        "planned_busy_ms",
        "actual_busy_ms",
        "deviation_ms",
    ]
    told = [
        "capacity",
        "slot_worth",
        "success_variance",
        "advantage_variance",
        "first_planned_success_sum",
        *(f"first_success_{name}" for name in ("noise", "skew", "agent_sd", "shared_sd")),
        "log_duration_sum",
        "duration_count",
        "first_duration_count",
        *(
            f"{prefix}log_duration_{name}"
            for prefix in ("", "first_")
            for name in ("residual_sum", "noise", "agent_sd", "shared_sd")
        ),
    ]
    assigned: dict[tuple[int, str], int] = defaultdict(int)
    for task in world.tasks:
        assigned[task["wave"], task["agent_id"]] += 1
    rows = []
    for plan in world.plans:
        for position, agent in enumerate(world.agents, 1):
            key = plan["wave"], agent
            mask = (world.results["wave"] == key[0]) & (world.results["agent_id"] == agent)
            total, evidence = sums(world, mask), world.evidence.get(key, dict.fromkeys(told))
            rows.append(
                {
                    "wave": key[0],
                    "agent_id": agent,
                    "agent_position": position,
                    "task_count": assigned[key],
                    **{name: total[name] for name in ("ran_count", "completed_count", "retry_count")},
                    **{name: total[name] for name in names},
                    **{name: evidence[name] for name in told},
                    "duration_count": evidence["duration_count"] or 0,
                }
            )
    return [{name: row[name] for name in (*(n for n in row if n not in told), *told)} for row in rows]


@recomputes("agent_feedback")
def agent_feedback(world: World) -> Rows:
    makespan = {row["wave"]: row["actual_makespan_ms"] for row in world["wave_totals"]}
    rows = []
    for row in world["agent_waves"]:
        n = row["ran_count"]
        planned, actual = over(row["planned_success_sum"], n), over(row["completed_count"], n)
        rows.append(
            {
                **{name: row[name] for name in ("wave", "agent_id", "task_count", "ran_count", "completed_count")},
                "retry_count": row["retry_count"],
                "planned_success_rate": planned,
                "actual_success_rate": actual,
                "accuracy_score": accuracy(planned, actual),
                "planned_busy_ms": row["planned_busy_ms"],
                "actual_busy_ms": row["actual_busy_ms"],
                "duration_ratio": over(row["actual_busy_ms"], row["planned_busy_ms"]),
                "utilization": over(row["actual_busy_ms"], makespan[row["wave"]]),
                "deviation_ms": row["deviation_ms"],
                "planned_confidence_delta": over(row["planned_confidence_sum"], n),
                "actual_confidence_delta": over(row["actual_confidence_sum"], n),
                "capacity": row["capacity"],
                "slot_worth": row["slot_worth"],
                "timestamp": STAMP,
                "simulated": world.is_simulated,
            }
        )
    return rows


@recomputes("coordination_patterns")
def coordination_patterns(world: World) -> Rows:
    patterns = []
    for strategy in world["strategy_effectiveness"]:
        shares: dict[str, list[str]] = defaultdict(list)
        for task in sorted(
            world.tasks, key=lambda task: (task["wave"], task["scheduled_start_time"], natural(task["task_id"]))
        ):
            if task["wave"] in strategy["waves"]:
                shares[task["agent_id"]].append(task["task_id"])
        n, rate = strategy["ran_count"], strategy["actual_success_rate"]
        confidence = 0.0
        if n:
            # Wilson's interval: the rates p whose test against the one seen, (rate - p)^2 = z^2 p (1 - p) / n, is Z90.
            low, high = np.roots([1 + Z90**2 / n, -(2 * rate + Z90**2 / n), rate**2])
            confidence = 1 - abs(float(high) - float(low))
        patterns.append(
            {
                "pattern_type": strategy["strategy"],
                "agent_assignments": {agent: shares[agent] for agent in sorted(shares, key=natural)},
                "success_rate": rate,
                "confidence": confidence,
                "waves": strategy["waves"],
                "task_count": strategy["task_count"],
                "simulated": world.is_simulated,
            }
        )
    return [{"document": patterns}]

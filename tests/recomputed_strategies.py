"""Recomputed: strategies, leads of agents, and heuristics."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from scipy import stats

from tests.recomputation import STAMP, Z90, Rows, Says, World, accuracy, over, over_known, recomputes


def clipped(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


@recomputes("strategy_effectiveness")
def strategy_effectiveness(world: World) -> Rows:
    rows = []
    for strategy in sorted({plan["strategy"] for plan in world.plans}):
        waves = [row for row in world["wave_totals"] if row["strategy"] == strategy]
        ran = [row for row in waves if row["ran_count"]]
        n = sum(row["ran_count"] for row in waves)

        def pooled(name: str, ran: Rows = ran) -> float:
            return math.fsum(row[name] for row in ran)

        planned, actual = over(pooled("planned_success_sum"), n), over(pooled("completed_count"), n)
        baseline = over(pooled("baseline_success_sum"), n)
        # Each wave's forecasts knew the waves before: what they do not know is new in each.
        told = [world.draws(row["wave"], "expected_advantage_sum") for row in ran]
        square, information = pooled("advantage_square_sum"), None
        if ran and min(len(draws) for draws in told) > 1:
            information = square / math.sqrt(
                pooled("advantage_variance_sum") + math.fsum(draws.var(ddof=1) for draws in told)
            )
        slope = low = high = None
        if information is not None and information >= world.rules.optimization_failure_information:
            slope = 1 + pooled("advantage_residual_sum") / square
            low, high = slope - Z90 / information, slope + Z90 / information
        rows.append(
            {
                "strategy": strategy,
                "waves": [row["wave"] for row in waves],
                "task_count": sum(row["task_count"] for row in waves),
                "ran_count": n,
                "retry_count": sum(row["retry_count"] for row in waves),
                "planned_success_rate": planned,
                "actual_success_rate": actual,
                "prediction_accuracy": accuracy(planned, actual),
                "baseline_success_rate": baseline,
                "promised_advantage": planned - baseline if n else None,
                "realised_advantage": actual - baseline if n else None,
                "information": information,
                "realised_advantage_slope": slope,
                "slope_low": low,
                "slope_high": high,
                "planned_throughput": over(1000 * n, pooled("planned_makespan_ms")),
                "actual_throughput": over(1000, over_known(ran, "actual_makespan_ms", "ran_count")),
                "planned_confidence_delta": over(pooled("planned_confidence_sum"), n),
                "actual_confidence_delta": over(pooled("actual_confidence_sum"), n),
                "simulated": world.is_simulated,
                "other_strategies": Says(("Not evaluated", "compare")),
            }
        )
    return rows


@recomputes("agent_leads")
def agent_leads(world: World) -> Rows:
    ran, least = world.results, max(1, world.rules.specialization_count)
    rows: Rows = []
    for agent in sorted(set(ran.get("agent_id", []))):
        for risk in sorted(set(ran["risk_level"])):
            at_level, own = ran["risk_level"] == risk, ran["agent_id"] == agent
            sides = [at_level & own, at_level & ~own]
            if min(side.sum() for side in sides) < least:
                continue
            count = [int(side.sum()) for side in sides]
            rate = [ran["is_completed"][side].mean() for side in sides]
            base = [ran["baseline_success"][side] for side in sides]
            lead = (rate[0] - base[0].mean()) - (rate[1] - base[1].mean())
            error = math.sqrt(sum((b * (1 - b)).sum() / len(b) ** 2 for b in base))
            rows.append(
                {
                    "agent_id": agent,
                    "risk_level": risk,
                    "task_count": count[0],
                    "peer_task_count": count[1],
                    "success_rate": float(rate[0]),
                    "expected_rate": float(base[0].mean()),
                    "peer_success_rate": float(rate[1]),
                    "peer_expected_rate": float(base[1].mean()),
                    "success_lead": float(lead),
                    "lead_low": float(lead - Z90 * error),
                    "lead_high": float(lead + Z90 * error),
                    "statistic": float(lead / error),
                }
            )
    return [row | {"p_value": min(1.0, len(rows) * stats.norm.sf(row["statistic"]))} for row in rows]


@recomputes("heuristic_lifts")
def heuristic_lifts(world: World) -> Rows:
    ran, rules = world["task_results"], world.rules
    before = dict(world.frames["previous_weights"].rows())
    known = {*world.frames["heuristics"]["heuristic_id"], *before}
    known |= {name for task in world.tasks for name in task["heuristics_applied"]}
    p = np.array([task["planned_success"] for task in ran])
    residual, noise = (np.array([task[name] for task in ran]) for name in ("residual", "outcome_variance"))
    places = defaultdict(list)
    for position, task in enumerate(ran):
        places[task["wave"], task["agent_id"]].append(position)
    shared = {}
    for key, members in places.items():
        n, evidence = len(members), world.evidence.get(key)
        doubt = (p * (1 - p) - noise)[members].sum()
        is_known = evidence is not None and n > 1
        shared[key] = (evidence["success_variance"] - doubt) / (n * (n - 1)) if is_known else 0.0
    rows = []
    for name in sorted(known):
        has = np.array([name in task["heuristics_applied"] for task in ran], dtype=bool)
        count, others = int(has.sum()), int((~has).sum())
        lift = error = statistic = p_value = None
        shrunk = 0.0
        if count and others:
            weight = np.where(has, 1 / count, -1 / others)
            lift = float(weight @ residual)
            variance = weight**2 @ (p * (1 - p))
            for key, members in places.items():
                own = weight[members]
                variance += shared[key] * (own.sum() ** 2 - (own**2).sum())
            error = math.sqrt(max(weight**2 @ noise, variance))
            worth = count * others / (count + others)
            shrunk = lift * worth / (worth + rules.heuristic_shrinkage)
            statistic = lift / error
            p_value = float(2 * stats.norm.sf(abs(statistic)))
        old = before.get(name, 1.0)
        moved = old + clipped(shrunk, -rules.heuristic_step, rules.heuristic_step)
        rows.append(
            {
                "heuristic_id": name,
                "applied_count": count,
                "other_count": others,
                "lift": lift,
                "lift_low": None if lift is None else lift - Z90 * error,
                "lift_high": None if lift is None else lift + Z90 * error,
                "shrunk_lift": shrunk,
                "statistic": statistic,
                "p_value": p_value,
                "previous_weight": old,
                "weight": clipped(moved, min(rules.heuristic_weight_min, old), max(rules.heuristic_weight_max, old)),
            }
        )
    return rows


@recomputes("heuristic_updates")
def heuristic_updates(world: World) -> Rows:
    rules, rows = world.rules, []
    for row in world["heuristic_lifts"]:
        lift, shrunk, bound = row["lift"], row["shrunk_lift"], None
        moved = row["previous_weight"] + clipped(shrunk, -rules.heuristic_step, rules.heuristic_step)
        if lift is not None and moved != row["weight"]:
            bound = "minimum" if moved < row["weight"] else "maximum"
        is_bounded = abs(shrunk) > rules.heuristic_step
        said: list[str] = []
        if lift is None:
            said = ["No task" if row["applied_count"] == 0 else "Every task", "its weight stays"]
        else:
            said = [f" {row['applied_count']} task", f"{abs(lift) * 100:.1f} points", "worse" if lift < 0 else "better"]
            said += [f"{row['other_count']} without", f"{row['lift_low'] * 100:.1f} to {row['lift_high'] * 100:.1f}"]
            said += ["not significant"] * (row["lift_low"] <= 0 <= row["lift_high"]) + [f"{shrunk * 100:.2f} points"]
            said += [f"at most {rules.heuristic_step:.2f}"] * is_bounded + ([bound] if bound else [])
            said += [f"{row['previous_weight']:.4f} to {row['weight']:.4f}"]
        rows.append(
            {
                **{name: row[name] for name in ("heuristic_id", "previous_weight", "weight")},
                **{name: row[name] for name in ("lift", "lift_low", "lift_high", "shrunk_lift")},
                **{name: row[name] for name in ("applied_count", "other_count")},
                "is_step_bounded": is_bounded,
                "weight_bound": bound,
                "reason": Says((*said, *(["simulated"] if world.is_simulated else []))),
                "simulated": world.is_simulated,
                "timestamp": STAMP,
            }
        )
    return rows

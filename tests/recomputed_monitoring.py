"""Recomputed: the run's five metrics under chance, convergence, health, alerts and the run's figures."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from phase19.inputs.thresholds import Thresholds
from tests.recomputation import STAMP, Rows, Says, World, accuracy, adherence, chance, over, over_known, recomputes


@recomputes("run_draws")
def run_draws(world: World) -> Rows:
    waves = world.waves_that_ran()
    planned = {row["wave"]: row["planned_success_sum"] / row["ran_count"] for row in waves}
    trusted = math.fsum(row["planned_confidence_sum"] for row in waves)
    rows = []
    for draw, number in enumerate(world.draws(waves[0]["wave"], "draw") if waves else []):
        told = [
            {
                **{name: float(world.draws(row["wave"], name)[draw]) for name in world.frames["wave_draws"].columns},
                "n": row["ran_count"],
                "end": row["timeline_end_ms"],
                "promised_ms": row["planned_makespan_ms"],
                "is_timed": row["actual_makespan_ms"] is not None,
                "is_dated": row["deviation_ms"] is not None,
                "planned": planned[row["wave"]],
            }
            for row in waves
        ]
        n, timed = sum(row["n"] for row in told), [row for row in told if row["is_timed"]]
        makespan, dated = math.fsum(row["makespan_ms"] for row in timed), [row for row in told if row["is_dated"]]
        right = math.fsum(row["n"] * accuracy(row["planned"], row["success_rate"]) for row in told)
        kept = math.fsum(row["n"] * adherence(row["deviation_ms"], row["end"]) for row in dated)
        rows.append(
            {
                "draw": int(number),
                "success_rate": math.fsum(row["n"] * row["success_rate"] for row in told) / n,
                "schedule_accuracy": right / n,
                "throughput_efficiency": over(math.fsum(row["promised_ms"] for row in timed), makespan),
                "agent_utilization": over(math.fsum(row["busy_ms"] for row in timed), makespan * len(world.agents)),
                "confidence_trajectory": over(math.fsum(row["n"] * row["confidence_delta"] for row in told), trusted),
                "schedule_adherence": over(kept, sum(row["n"] for row in dated)),
            }
        )
    return rows


def values(world: World) -> dict[str, float | None]:
    """The five metrics over the run, as section 5 pools them."""
    waves = world.waves_that_ran()
    compared = {row["wave"]: row for row in world["schedule_comparisons"]}
    n = sum(row["ran_count"] for row in waves)

    def averaged(name: str) -> float | None:
        known = [row for row in waves if compared[row["wave"]][name] is not None]
        weighted = math.fsum(row["ran_count"] * compared[row["wave"]][name] for row in known)
        return over(weighted, sum(row["ran_count"] for row in known))

    def pooled(name: str) -> float:
        return math.fsum(row[name] for row in waves)

    promised = pooled("planned_confidence_sum")
    has_promise = n and abs(promised / n) >= world.rules.negligible_confidence_delta
    return {
        "schedule_accuracy": averaged("accuracy_score"),
        "throughput_efficiency": over_known(waves, "planned_makespan_ms", "actual_makespan_ms"),
        "agent_utilization": over(over_known(waves, "actual_busy_ms", "actual_makespan_ms"), len(world.agents)),
        "confidence_trajectory": pooled("actual_confidence_sum") / promised if has_promise else None,
        "schedule_adherence": averaged("schedule_adherence"),
    }


@recomputes("optimization_metrics")
def optimization_metrics(world: World) -> Rows:
    rows = []
    for bounds in Thresholds().frames()["metric_bounds"].to_dicts():
        name, least, most = bounds["metric_name"], bounds["threshold_min"], bounds["threshold_max"]
        value = values(world)[name]
        low, high = chance(np.array([row[name] for row in world["run_draws"]]))
        if value is None:
            status, low, high = "insufficient_data", None, None
        elif least <= value <= most:
            status = "normal"
        else:
            margin = world.rules.critical_margin
            is_far = value < least * (1 - margin) or value > most * (1 + margin)
            is_chance = low is None or high is None or low <= value <= high
            is_capped = value > most == 1.0
            status = "critical" if is_far and not is_chance and not is_capped else "warning"
        rows.append(
            {
                "metric_name": name,
                "value": value,
                "unit": bounds["unit"],
                "target_value": bounds["target_value"],
                "threshold_min": least,
                "threshold_max": most,
                "status": status,
                "timestamp": STAMP,
                "chance_low": low,
                "chance_high": high,
            }
        )
    return rows


@recomputes("convergence")
def convergence(world: World) -> Rows:
    rows = []
    for compared in world["schedule_comparisons"]:
        p, y, n = compared["planned_success_rate"], compared["actual_success_rate"], compared["ran_count"]
        floor = world.rules.log_loss_floor
        told = [row["planned_success"] for row in world["task_results"] if row["wave"] == compared["wave"]]
        chances = np.clip(np.array(told), floor, 1 - floor)
        chance = math.sqrt(float((chances * (1 - chances)).sum())) / n if n else None
        rows.append(
            {
                "wave": compared["wave"],
                "planned_success_rate": p,
                "actual_success_rate": y,
                "success_rate_error": None if p is None or y is None else abs(p - y),
                "chance_error": chance,
                "standardized_error": None if chance is None else abs(p - y) / chance,
                "accuracy_score": compared["accuracy_score"],
                "brier_score": compared["brier_score"],
                "log_loss": compared["log_loss"],
                "ran_count": n,
                "simulated": world.is_simulated,
                "timestamp": STAMP,
            }
        )
    return rows


@recomputes("convergence_trend")
def convergence_trend(world: World) -> Rows:
    kept = [row for row in world["convergence"] if row["standardized_error"] is not None]
    count, slope, margin, verdict = len(kept), None, None, "insufficient_data"
    if count > 2:
        design = np.column_stack([np.ones(count), np.arange(count)])
        told = np.array([row["standardized_error"] for row in kept])
        coefficients, _, _, _ = np.linalg.lstsq(design, told, rcond=None)
        scatter = ((told - design @ coefficients) ** 2).sum() / (count - 2)
        slope = float(coefficients[1])
        margin = float(stats.t.ppf(0.95, count - 2) * math.sqrt(scatter * np.linalg.inv(design.T @ design)[1, 1]))
        if slope + margin < 0:
            verdict = "improving"
        elif slope - margin > 0:
            verdict = "worsening"
        elif max(abs(slope - margin), abs(slope + margin)) * (count - 1) <= world.rules.convergence_margin:
            verdict = "steady"
    return [
        {
            "wave_count": count,
            "slope": slope,
            "slope_low": None if slope is None else slope - margin,
            "slope_high": None if slope is None else slope + margin,
            "change": None if slope is None else slope * (count - 1),
            "verdict": verdict,
            "simulated": world.is_simulated,
        }
    ]


@recomputes("alerts")
def alerts(world: World) -> Rows:
    rows, advice = [], {"agent_utilization": "idle time", "confidence_trajectory": "confidence"}
    for metric in world["optimization_metrics"]:
        if metric["status"] in {"warning", "critical"}:
            bounds = [f"{metric[name] * 100:g} %" for name in ("threshold_min", "threshold_max")]
            figures = [f"{metric['value'] * 100:.1f} %", *bounds]
            chances = [
                f"{metric[name] * 100:.1f} %" for name in ("chance_low", "chance_high") if metric[name] is not None
            ]
            is_chance = bool(chances) and metric["chance_low"] <= metric["value"] <= metric["chance_high"]
            rows.append(
                {
                    "severity": metric["status"],
                    "source": f"optimization_metrics: {metric['metric_name']}",
                    "message": Says((*figures, *chances)),
                    "action": Says(
                        ["No action needed"] if is_chance else [advice.get(metric["metric_name"], "--previous")]
                    ),
                }
            )
    level = {"high": "critical", "medium": "warning", "low": "info"}
    rows += [
        {
            "severity": level[anomaly["severity"]],
            "source": f"scheduling_anomalies: {anomaly['anomaly_id']} {anomaly['anomaly_type']}",
            "message": anomaly["description"],
            "action": anomaly["recommendation"],
        }
        for anomaly in world["scheduling_anomalies"]
    ]
    return [{"alert_id": f"AL_{i:03d}", **row, "timestamp": STAMP} for i, row in enumerate(rows, 1)]


def success_range(world: World, agent: str) -> dict[str, float | None]:
    """The whole numbers of successes that a normal distribution, half a task wider, gives the agent in the middle."""
    ran = [task for task in world["task_results"] if task["agent_id"] == agent]
    chances = [task["planned_success"] for task in ran]
    doubts = (world.evidence[wave, agent]["success_variance"] for wave in {task["wave"] for task in ran})
    variance = math.fsum(task["outcome_variance"] for task in ran) + math.fsum(doubts)
    reach = 0.5 + stats.norm.ppf(0.95) * math.sqrt(variance)
    low, high = math.ceil(math.fsum(chances) - reach), math.floor(math.fsum(chances) + reach)
    ends = {"low": max(low, 0), "high": min(high, len(ran))}
    return {f"success_rate_{name}": over(float(end), len(ran)) for name, end in ends.items()}


@recomputes("system_health")
def system_health(world: World) -> Rows:
    spans = {row["wave"]: row["actual_makespan_ms"] for row in world.waves_that_ran()}
    known_spans = {wave: span for wave, span in spans.items() if span is not None}
    busy = {agent: [0.0] for agent in world.agents}
    known_busy = {agent: [0.0] for agent in world.agents}
    for task in world.tasks:
        if task["status"] in {"completed", "failed"}:
            busy[task["agent_id"]].append(task["actual_duration_ms"])
            if task["wave"] in known_spans:
                known_busy[task["agent_id"]].append(task["actual_duration_ms"])
    rules, found = world.rules, values(world)
    points = {"low": rules.penalty_low, "medium": rules.penalty_medium, "high": rules.penalty_high}
    costs = [
        {
            **{name: row[name] for name in ("anomaly_id", "anomaly_type", "severity")},
            "points": points[row["severity"]],
        }
        for row in world["scheduling_anomalies"]
    ]
    has_run = found["schedule_accuracy"] is not None
    parts = {
        name: None if found[metric] is None else min(100.0, 100 * found[metric])
        for name, metric in (
            ("optimization_accuracy", "schedule_accuracy"),
            ("schedule_adherence", "schedule_adherence"),
            ("throughput_efficiency", "throughput_efficiency"),
        )
    }
    parts["system_stability"] = max(0.0, 100.0 - sum(cost["points"] for cost in costs)) if has_run else None
    weights = {name: getattr(rules, f"weight_{name}") for name in parts}
    known = [name for name in parts if parts[name] is not None]
    score = over(math.fsum(parts[name] * weights[name] for name in known), sum(weights[name] for name in known))
    statuses = (("EXCELLENT", rules.health_excellent), ("GOOD", rules.health_good), ("FAIR", rules.health_fair))
    status = None if score is None else next((name for name, least in statuses if score >= least), "POOR")
    severities = [row["severity"] for row in world["alerts"]]
    trend = world.one("convergence_trend")
    return [
        {
            "overall_health_score": score,
            "health_status": status,
            "component_scores": parts,
            "optimization_metrics": [
                {name: row[name] for name in ("metric_name", "value", "status")}
                for row in world["optimization_metrics"]
            ],
            "detected_anomalies": len(costs),
            "timestamp": STAMP,
            "component_weights": weights,
            "anomaly_costs": costs,
            "agent_utilization": [
                {
                    "agent_id": agent,
                    "task_count": sum(task["agent_id"] == agent for task in world.tasks),
                    "busy_ms": None if None in busy[agent] else math.fsum(busy[agent]),
                    "utilization": over(math.fsum(known_busy[agent]), math.fsum(known_spans.values())),
                    **success_range(world, agent),
                }
                for agent in world.agents
            ],
            "convergence": {
                **{name: trend[name] for name in ("verdict", "wave_count")},
                "slope": trend["slope"],
                "slope_low": trend["slope_low"],
                "slope_high": trend["slope_high"],
                "change": trend["change"],
                "simulated": trend["simulated"],
            },
            "alert_counts": {name: severities.count(name) for name in ("info", "warning", "critical")},
        }
    ]


@recomputes("overall")
def overall(world: World) -> Rows:
    waves, metrics, health = world.waves_that_ran(), values(world), world.one("system_health")
    n, y = sum(row["ran_count"] for row in waves), sum(row["completed_count"] for row in waves)

    def pooled(name: str) -> float:
        return math.fsum(row[name] for row in waves)

    planned, actual = over(pooled("planned_success_sum"), n), over(y, n)
    brier = over(pooled("squared_error_sum"), n)
    low, high = chance(np.array([row["success_rate"] for row in world["run_draws"]]))
    base = over(pooled("baseline_success_sum"), n)
    noise = float((world.results["baseline_success"] * (1 - world.results["baseline_success"])).sum())
    unknown = math.fsum(float(world.draws(wave, "expected_success_sum").var(ddof=1)) for wave in world.ran_waves)
    reach = over(float(stats.norm.isf(0.05)) * math.sqrt(noise + unknown), n)
    known = [row for row in world["schedule_comparisons"] if row["ran_count"] and row["success_rate_low"] is not None]
    inside = [row["success_rate_low"] <= row["actual_success_rate"] <= row["success_rate_high"] for row in known]
    return [
        {
            "expected_success_rate": planned,
            "actual_success_rate": actual,
            "prediction_accuracy": accuracy(planned, actual),
            "expected_throughput": over(1000 * n, pooled("planned_makespan_ms")),
            "actual_throughput": over(1000, over_known(waves, "latest_end_ms", "ran_count")),
            "schedule_adherence": metrics["schedule_adherence"],
            **{name: value for name, value in metrics.items() if name != "schedule_adherence"},
            "expected_confidence_delta": over(pooled("planned_confidence_sum"), n),
            "actual_confidence_delta": over(pooled("actual_confidence_sum"), n),
            "baseline_success_rate": base,
            "baseline_success_rate_low": max(0.0, base - reach) if n else None,
            "baseline_success_rate_high": min(1.0, base + reach) if n else None,
            "brier_score": brier,
            "log_loss": over(pooled("log_loss_sum"), n),
            "skill": 1 - brier / (actual * (1 - actual)) if n and 0 < actual < 1 else None,
            "interval_coverage": sum(inside) / len(inside) if inside else None,
            "success_rate_low": low,
            "success_rate_high": high,
            "ran_count": n,
            "completed_count": y,
            "retry_count": sum(row["retry_count"] for row in waves),
            "anomaly_count": health["detected_anomalies"],
            "system_health_score": health["overall_health_score"],
            "health_status": health["health_status"],
        }
    ]

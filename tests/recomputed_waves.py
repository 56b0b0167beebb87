"""Recomputed: tasks and waves, from section 5's measures."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.recomputation import STAMP, Rows, World, accuracy, adherence, chance, natural, over, recomputes

if TYPE_CHECKING:
    from collections.abc import Callable

STATES = ("completed", "failed", "unobserved", "interrupted")


def sensitivity(task: dict[str, Any]) -> float:
    """d / dx of prod (f + x) over the attempts at x = 0, each failing with the same f."""
    count = task["max_attempts"]
    failure = (1 - task["planned_success"]) ** (1 / count)
    return count * failure ** (count - 1)


def wave_means(tasks: Rows, value: Callable[[dict[str, Any]], float]) -> dict[int, float]:
    by_wave = defaultdict(list)
    for task in tasks:
        by_wave[task["wave"]].append(value(task))
    return {wave: math.fsum(values) / len(values) for wave, values in by_wave.items()}


@recomputes("task_results")
def task_results(world: World) -> Rows:
    ran = [task for task in world.tasks if task["status"] in {"completed", "failed"}]
    mean = wave_means(ran, lambda task: task["planned_success"] - task["baseline_success"])
    mean_sensitivity = wave_means(ran, sensitivity)
    rows = []
    for task in sorted(ran, key=lambda task: (task["wave"], task["task_id"])):
        p, y = task["planned_success"], 1.0 if task["status"] == "completed" else 0.0
        late_ms = None
        if task["actual_end_time"] is not None:
            edges = [abs(task[f"actual_{edge}_time"] - task[f"scheduled_{edge}_time"]) for edge in ("start", "end")]
            late_ms = sum(edges) / 2
        rows.append(
            {
                **{name: task[name] for name in ("wave", "task_id", "agent_id", "risk_level", "heuristics_applied")},
                "is_completed": y == 1.0,
                "attempt_count": 1 + task["retry_count"],
                "planned_success": p,
                "baseline_success": task["baseline_success"],
                "residual": y - p,
                "baseline_residual": y - task["baseline_success"],
                "outcome_variance": max(0.0, p * (1 - p) - task["planned_success_variance"]),
                # E (y - p)^3 = p (1 - p)^3 - (1 - p) p^3
                "outcome_third_moment": p * (1 - p) ** 3 - (1 - p) * p**3,
                "centred_advantage": p - task["baseline_success"] - mean[task["wave"]],
                "centred_sensitivity": sensitivity(task) - mean_sensitivity[task["wave"]],
                "planned_confidence_delta": task["planned_confidence_delta"],
                "actual_confidence_delta": task["actual_confidence_delta"],
                "planned_duration_ms": task["planned_duration_ms"],
                "actual_duration_ms": task["actual_duration_ms"],
                "actual_end_time": task["actual_end_time"],
                "deviation_ms": late_ms,
            }
        )
    return rows


def sums(world: World, mask: np.ndarray) -> dict[str, Any]:
    """Sums over some of the tasks that ran, each as its name says; None where there are none."""
    ran = {name: values[mask] for name, values in world.results.items()}
    p, residual, lead = ran["planned_success"], ran["residual"], ran["centred_advantage"]
    noise, base = ran["outcome_variance"], ran["baseline_success"]
    floor = world.rules.log_loss_floor
    ends, late_ms = ([x for x in ran[name] if x is not None] for name in ("actual_end_time", "deviation_ms"))
    happened = np.clip(np.where(ran["is_completed"], p, 1 - p), floor, 1 - floor)
    return {
        "ran_count": len(p),
        "completed_count": int(ran["is_completed"].sum()),
        "retry_count": int((ran["attempt_count"] - 1).sum()),
        **{
            name: float(values.sum()) if len(p) else None
            for name, values in {
                "planned_success_sum": p,
                "baseline_success_sum": base,
                "residual_sum": residual,
                "squared_error_sum": residual**2,
                "log_loss_sum": -np.log(happened),
                "outcome_variance_sum": noise,
                # What falls short is -e: its third moment, where that lengthens the tail, task by task.
                "shortfall_skew_sum": np.maximum(0, -ran["outcome_third_moment"]),
                "advantage_sum": lead,
                "advantage_square_sum": lead**2,
                "advantage_residual_sum": lead * residual,
                "advantage_noise_sum": lead * noise,
                "advantage_variance_sum": lead**2 * noise,
                "sensitivity_square_sum": ran["centred_sensitivity"] ** 2,
                "sensitivity_residual_sum": ran["centred_sensitivity"] * residual,
                "advantage_sensitivity_sum": lead * ran["centred_sensitivity"],
                "advantage_skew_sum": np.maximum(0, -(lead**3) * ran["outcome_third_moment"]),
                "baseline_residual_sum": ran["is_completed"] - base,
                "baseline_variance_sum": base * (1 - base),
                "planned_confidence_sum": ran["planned_confidence_delta"],
                "actual_confidence_sum": ran["actual_confidence_delta"],
                "planned_busy_ms": ran["planned_duration_ms"],
            }.items()
        },
        "actual_busy_ms": None
        if not len(p) or None in ran["actual_duration_ms"]
        else math.fsum(ran["actual_duration_ms"]),
        "deviation_ms": float(np.mean(late_ms)) if late_ms else None,
        "actual_makespan_ms": float(max(ends)) if len(p) and len(ends) == len(p) else None,
        "latest_end_ms": float(max(ends)) if len(p) and len(ends) else None,
    }


def _doubt(world: World, wave: int, column: str) -> float | None:
    """Variance over a wave's draws, where something of it ran."""
    draws = world.draws(wave, column)
    return float(draws.var(ddof=1)) if len(draws) > 1 and (world.results["wave"] == wave).any() else None


@recomputes("wave_totals")
def wave_totals(world: World) -> Rows:
    names = [
        "planned_success_sum",
        "baseline_success_sum",
        "residual_sum",
        "squared_error_sum",
        "log_loss_sum",
        "outcome_variance_sum",
        "advantage_square_sum",
        "advantage_residual_sum",
        "advantage_variance_sum",
        "sensitivity_square_sum",
        "sensitivity_residual_sum",
        "advantage_sensitivity_sum",
        "baseline_residual_sum",
        "baseline_variance_sum",
        "planned_confidence_sum",
        "actual_confidence_sum",
        "deviation_ms",
    ]
    rows = []
    for plan in world.plans:
        tasks = [task for task in world.tasks if task["wave"] == plan["wave"]]
        total = sums(world, world.results["wave"] == plan["wave"])
        planned = ("planned_makespan_ms", "planned_busy_ms", "timeline_end_ms")
        rows.append(
            {
                "wave": plan["wave"],
                "strategy": plan["strategy"],
                "task_count": len(tasks),
                "ran_count": total["ran_count"],
                **{f"{state}_count": sum(task["status"] == state for task in tasks) for state in STATES},
                "retry_count": total["retry_count"],
                **{name: total[name] for name in names[: names.index("baseline_residual_sum")]},
                "success_forecast_variance": _doubt(world, plan["wave"], "expected_success_sum"),
                "advantage_forecast_variance": _doubt(world, plan["wave"], "expected_advantage_sum"),
                **{name: total[name] for name in names[names.index("baseline_residual_sum") :]},
                **{name: plan[name] if total["ran_count"] else None for name in planned},
                "actual_makespan_ms": total["actual_makespan_ms"],
                "latest_end_ms": total["latest_end_ms"],
                "actual_busy_ms": total["actual_busy_ms"],
            }
        )
    return rows


@recomputes("schedule_comparisons")
def schedule_comparisons(world: World) -> Rows:
    rows = []
    for plan, total in zip(world.plans, world["wave_totals"], strict=True):
        wave, n = plan["wave"], total["ran_count"]
        tasks = [task for task in world.tasks if task["wave"] == wave]
        of = [task for task in tasks if task["status"] in {"completed", "failed"}] or tasks
        planned = {
            name: float(np.mean([task[name] for task in of])) if of else None
            for name in ("planned_success", "planned_confidence_delta")
        }
        success = chance(world.draws(wave, "success_rate")) if n else (None, None)
        rate = chance(n / world.draws(wave, "makespan_ms") * 1000) if n else (None, None)
        actual = over(total["completed_count"], n)
        rows.append(
            {
                "wave": wave,
                "planned_success_rate": planned["planned_success"],
                "actual_success_rate": actual,
                "planned_throughput": over(len(of) * 1000, plan["planned_makespan_ms"]),
                "actual_throughput": over(n * 1000, total["latest_end_ms"]),
                "planned_confidence_delta": planned["planned_confidence_delta"],
                "actual_confidence_delta": over(total["actual_confidence_sum"], n),
                "accuracy_score": accuracy(planned["planned_success"], actual) if n else None,
                "ran_count": n,
                "success_rate_low": success[0],
                "success_rate_high": success[1],
                "throughput_low": rate[0],
                "throughput_high": rate[1],
                "throughput_efficiency": over(total["planned_makespan_ms"], total["actual_makespan_ms"]),
                "schedule_adherence": adherence(total["deviation_ms"], total["timeline_end_ms"]),
                "agent_utilization": over(
                    total["actual_busy_ms"], len(world.agents) * (total["actual_makespan_ms"] or 0.0)
                ),
                "brier_score": over(total["squared_error_sum"], n),
                "log_loss": over(total["log_loss_sum"], n),
            }
        )
    return rows


@recomputes("wave_summary")
def wave_summary(world: World) -> Rows:
    agent_names = [
        "agent_id",
        "task_count",
        "completed_count",
        "planned_success_rate",
        "actual_success_rate",
        "utilization",
        "capacity",
        "slot_worth",
    ]
    compared_names = [
        "planned_success_rate",
        "actual_success_rate",
        "planned_throughput",
        "actual_throughput",
        "planned_confidence_delta",
        "actual_confidence_delta",
        "accuracy_score",
        "throughput_efficiency",
        "schedule_adherence",
        "agent_utilization",
    ]
    rows = []
    for plan, total, compared in zip(world.plans, world["wave_totals"], world["schedule_comparisons"], strict=True):
        rows.append(
            {
                "wave": plan["wave"],
                "strategy": plan["strategy"],
                "task_count": total["task_count"],
                "task_states": {state: total[f"{state}_count"] for state in STATES},
                "retry_count": total["retry_count"],
                **{name: compared[name] for name in compared_names},
                "planned_makespan_ms": total["planned_makespan_ms"],
                "actual_makespan_ms": total["actual_makespan_ms"],
                "timeline_end_ms": plan["timeline_end_ms"],
                "solver": {
                    "algorithm": plan["solver"],
                    **{name: plan[name] for name in ("objective", "upper_bound", "gap")},
                },
                "unassigned_count": plan["unassigned_count"],
                "agents": [
                    {name: row[name] for name in agent_names}
                    for row in world["agent_feedback"]
                    if row["wave"] == plan["wave"]
                ],
                "timestamp": STAMP,
                "simulated": world.is_simulated,
            }
        )
    return rows


@recomputes("safety_gate_decisions")
def safety_gate_decisions(world: World) -> Rows:
    names = ("task_id", "wave", "risk_level", "confidence", "decision", "live_decision", "reason")
    rows = world.frames["decisions"].to_dicts()

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["wave"], natural(row["task_id"])

    return [{name: row[name] for name in names} for row in sorted(rows, key=place)]

"""What a run says of itself: the frames its analysis reads, its files by agent, and its summary."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from phase19 import frames
from phase19.forecasting.model import ForecastModel
from phase19.inputs.loading import Inputs
from phase19.options import RunOptions
from phase19.outputs.provenance import SCHEMA_VERSION, RunIdentity
from phase19.wave import agent_assignments, mean


def run_row(options: RunOptions, identity: RunIdentity, model: ForecastModel, waves: int) -> pl.DataFrame:
    """One row that names the run: id, time, strategy, executor and sizes."""
    return pl.DataFrame(
        {
            "run_id": identity.run_id,
            "timestamp": identity.moment.replace(microsecond=0),
            "strategy": str(options.strategy),
            "executor": options.executor,
            "is_simulated": options.executor == "simulate",
            "seed": options.seed,
            "agent_count": model.agents.height,
            "task_count": model.tasks.height,
            "wave_count": waves,
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )


def summary_document(
    inputs: Inputs,
    model: ForecastModel,
    promises: Mapping[str, float | None],
    tables: Mapping[str, pl.DataFrame],
    execution_time_ms: float,
) -> dict[str, Any]:
    """The content of optimization_summary.json; `execution_time_ms` is the run's own, and alone not fixed."""
    run, overall = tables["run"].row(0, named=True), tables["overall"].row(0, named=True)
    plans, comparisons = tables["wave_plans"], tables["schedule_comparisons"]
    planned = dict(zip(comparisons["wave"], comparisons["planned_success_rate"], strict=True))
    metrics = (
        "expected_success_rate",
        "actual_success_rate",
        "prediction_accuracy",
        "expected_throughput",
        "actual_throughput",
        "schedule_adherence",
        "success_rate_low",
        "success_rate_high",
    )
    scores = ("brier_score", "log_loss", "skill", "interval_coverage")
    return {
        "phase": 19,
        "timestamp": run["timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total_waves_optimized": plans.height,
        "total_agents": run["agent_count"],
        "total_tasks": run["task_count"],
        "optimization_strategy": run["strategy"],
        "overall_metrics": {name: overall[name] for name in metrics},
        "optimization_results": [
            {
                "wave": plan["wave"],
                "strategy": plan["strategy"],
                "expected_success_rate": planned[plan["wave"]],
                "agent_assignments": agent_assignments(
                    tables["executions"].filter(pl.col("wave") == plan["wave"]), model.agents["agent_id"]
                ),
            }
            for plan in plans.to_dicts()
        ],
        "system_health_score": tables["system_health"]["overall_health_score"][0],
        "execution_time_ms": round(execution_time_ms, 3),
        "schema_version": SCHEMA_VERSION,
        "run_id": run["run_id"],
        "seed": run["seed"],
        "executor": run["executor"],
        "simulated": run["is_simulated"],
        "inputs": inputs.sources.select(
            "file", pl.col("row_count").alias("rows"), "status", "ignored_fields"
        ).to_dicts(),
        "task_counts": _task_counts(tables, run["task_count"]),
        "forecast_scores": {name: overall[name] for name in scores},
        "tasks_from": inputs.task_source,
        "agents_judged_by": _evidence_counts(model.agents["evidence"]),
        "yardsticks": {
            "planned_success_rate": promises["expected_success_rate"],
            "round_robin_success_rate": promises["round_robin_success_rate"],
            "best_single_agent_success_rate": promises["best_single_agent_success_rate"],
        },
        "observed_share": _observed_share(tables["executions"]["status"]),
        "solver": plans.select(
            "wave",
            pl.col("solver").alias("algorithm"),
            "objective",
            "upper_bound",
            "gap",
            "moved_count",
            "is_load_limit_met",
        ).to_dicts(),
        "learning": plans.filter(pl.col("learned_attempt_count").is_not_null())
        .select("wave", attempt_count="learned_attempt_count")
        .to_dicts(),
        "heuristics": _heuristics(tables),
        "boost_slope": model.boost_slope()._asdict(),
    }


def _evidence_counts(evidence: pl.Series) -> dict[str, int]:
    """Agents by what they are judged by."""
    counts = evidence.value_counts().sort("evidence")
    return dict(zip(counts["evidence"].to_list(), counts["count"].to_list(), strict=True))


def _heuristics(tables: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """The run's heuristics: the weight each was applied with, and the tasks planned under it."""
    applied = tables["executions"]["heuristics_applied"].explode().drop_nulls().value_counts(name="task_count")
    return (
        tables["heuristics"]
        .select("heuristic_id")
        .join(tables["previous_weights"], on="heuristic_id", how="left", maintain_order="left")
        .join(applied, left_on="heuristic_id", right_on="heuristics_applied", how="left", maintain_order="left")
        .select("heuristic_id", pl.col("weight").fill_null(1.0), pl.col("task_count").fill_null(0))
        .to_dicts()
    )


def _task_counts(tables: Mapping[str, pl.DataFrame], total: int) -> dict[str, int]:
    status = tables["executions"]["status"]
    counts = {state: int((status == state).sum()) for state in ("completed", "failed", "unobserved", "interrupted")}
    counts["deferred"] = int((tables["decisions"]["decision"] == "deferred").sum())
    counts["unassigned"] = tables["unassigned"].height
    return {"total": total, **counts}


def _observed_share(status: pl.Series) -> float | None:
    """Share of the assigned tasks that ran: in a replay, what the records could answer of the plan."""
    return mean(status.is_in(frames.RAN))

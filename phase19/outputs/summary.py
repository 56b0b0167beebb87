"""A run's id, its one-row table `run`, and the content of optimization_summary.json."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from phase19 import frames
from phase19.forecasting.model import ForecastModel
from phase19.inputs.decoding import decode_text
from phase19.inputs.history import Previous
from phase19.inputs.loading import Inputs
from phase19.inputs.summaries import HEALTH_SCORE, success_with
from phase19.inputs.thresholds import Thresholds
from phase19.options import RunOptions
from phase19.wave import agent_assignments

SCHEMA_VERSION = "1.0"
# Columns of the tables `overall` and `wave_plans` that the summary repeats.
_METRICS = (
    "expected_success_rate actual_success_rate prediction_accuracy expected_throughput actual_throughput "
    "schedule_adherence success_rate_low success_rate_high "
    "baseline_success_rate baseline_success_rate_low baseline_success_rate_high"
)
_OUTCOME = "task_id agent_id status planned_success"
_SCORES = "brier_score log_loss skill interval_coverage"
_SOLVER = "objective upper_bound gap capacity_cost moved_count is_load_limit_met"


def derive_run_id(
    options: RunOptions, inputs: Inputs, previous: Previous | None, thresholds: Thresholds, moment: datetime
) -> str:
    """Derive a run's id from the contents of its files and from its options, without paths and timestamp.

    The id of a live run depends on its `moment` too, because each live run is new evidence.

    Raises
    ------
    InputError
        A file of the options cannot be read.
    """
    files = [decode_text(path) for path in (options.executions, options.approve) if path is not None]
    decided = {
        "schema_version": SCHEMA_VERSION,
        "inputs": inputs.digest,
        "files": [hashlib.sha256(text.encode()).hexdigest() for text in files],
        "previous": previous and previous.run_id,
        "thresholds": dict(thresholds.changed),
        "moment": moment.isoformat() if options.executor == "live" else None,
        **options.deciding(),
    }
    known = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    return f"p19-{hashlib.sha256(known.encode()).hexdigest()[:16]}"


def run_row(options: RunOptions, run_id: str, moment: datetime, model: ForecastModel, waves: int) -> pl.DataFrame:
    """Return the one-row table of the run: id, time, strategy, executor and sizes."""
    return pl.DataFrame(
        {
            "run_id": run_id,
            "timestamp": moment.replace(microsecond=0),
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
    options: RunOptions,
    inputs: Inputs,
    model: ForecastModel,
    yardsticks: Mapping[str, float | None],
    tables: Mapping[str, pl.DataFrame],
    *,
    joins: Mapping[str, int | None],
    previous: Previous | None,
    thresholds: Thresholds,
    execution_time_ms: float,
) -> dict[str, Any]:
    """Return the content of optimization_summary.json; only `execution_time_ms` differs between equal runs."""
    run, overall = tables["run"].row(0, named=True), tables["overall"].row(0, named=True)
    plans, executions = tables["wave_plans"], tables["executions"]
    compared = plans.join(tables["schedule_comparisons"], on="wave", maintain_order="left")
    surprise = ((pl.col("status") == "completed").cast(pl.Float64) - pl.col("planned_success")).abs()
    least_expected = executions.filter(frames.has_run()).filter(surprise == surprise.max()).head(1)
    states = dict(executions["status"].value_counts().rows())
    late = executions.filter(pl.col("deadline_ms").is_not_null())["is_late"]
    solver = plans.select("wave", pl.col("solver").alias("algorithm"), *_SOLVER.split())
    return {
        "phase": 19,
        "timestamp": run["timestamp"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total_waves_optimized": plans.height,
        "total_agents": run["agent_count"],
        "total_tasks": run["task_count"],
        "optimization_strategy": run["strategy"],
        "overall_metrics": {name: overall[name] for name in _METRICS.split()},
        "optimization_results": [
            {
                "wave": wave,
                "strategy": strategy,
                "expected_success_rate": planned,
                "agent_assignments": agent_assignments(
                    executions.filter(pl.col("wave") == wave), model.agents["agent_id"]
                ),
            }
            for wave, strategy, planned in compared.select("wave", "strategy", "planned_success_rate").rows()
        ],
        "system_health_score": tables["system_health"]["overall_health_score"][0],
        "execution_time_ms": round(execution_time_ms, 3),
        "schema_version": SCHEMA_VERSION,
        "run_id": run["run_id"],
        "seed": run["seed"],
        "executor": run["executor"],
        "simulated": run["is_simulated"],
        "inputs": inputs.sources.select(
            "phase", "file", pl.col("row_count").alias("rows"), "status", "used_for", "ignored_fields"
        ).to_dicts(),
        "baselines": compared_baselines(inputs.baselines, tables),
        "statements": inputs.statements.to_dicts(),
        "task_counts": {
            "total": run["task_count"],
            **{state: states.get(state, 0) for state in frames.OUTCOMES.columns["status"].values},
            "deferred": tables["decisions"].filter(pl.col("decision") == "deferred").height,
            "unassigned": tables["unassigned"].height,
        },
        "excluded": {"agents": list(options.exclude_agent), "tasks": list(options.exclude_task)},
        "deadlines": {
            "tasks": executions["deadline_ms"].count(),
            "planned_late": int(executions["is_planned_late"].sum()),
            # Unknown where no task with a deadline has a known end.
            "actual_late": int(late.sum()) if late.is_empty() or late.is_not_null().any() else None,
        },
        # Retries that the plans count on, at most.
        "max_retries": executions.select(pl.col("max_attempts").max() - 1).item() or 0,
        # The task whose outcome was planned to be the least likely; null if nothing ran.
        "least_expected": next(iter(least_expected.select(*_OUTCOME.split()).to_dicts()), None),
        "forecast_scores": {name: overall[name] for name in _SCORES.split()},
        "tasks_from": inputs.task_source,
        "joins": joins,
        "yardsticks": {
            "planned_success_rate": yardsticks["expected_success_rate"],
            "round_robin_success_rate": yardsticks["round_robin_success_rate"],
            "best_single_agent_success_rate": yardsticks["best_single_agent_success_rate"],
            "capacity_cost": yardsticks["capacity_cost"],
        },
        "solver": solver.to_dicts(),
        "previous": previous
        and {
            "run_id": previous.run_id,
            "simulated": previous.is_simulated,
            "attempt_count": previous.attempts.height,
            "weight_count": len(previous.weights),
        },
        "thresholds": {"file": thresholds.file, "changed": dict(thresholds.changed)},
    }


def compared_baselines(baselines: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """Put the run's own figures beside recorded ones.

    Parameters
    ----------
    baselines
        `frames.BASELINES`.
    tables
        Tables of the run.

    Returns
    -------
    list of dict
        The rows with `this_run`, null for a figure or unit that a run does not measure.

    Notes
    -----
    Phase 17 counts attempts, so success and retry rates are over attempts, and the average time is that of an attempt.
    """
    ran = tables["executions"].filter(frames.has_run()).with_columns(attempts=pl.col("retry_count") + 1)
    is_completed, duration_ms = pl.col("status") == "completed", pl.col("actual_duration_ms")
    timed = ran.drop_nulls("actual_duration_ms")
    count, applied = ran["attempts"].sum(), ran.explode("heuristics_applied").group_by("heuristics_applied")
    own: dict[str, dict[str, float | None]] = {
        "points": {HEALTH_SCORE: tables["system_health"][HEALTH_SCORE][0]},
        "ms": {
            "average_execution_time": timed.select(duration_ms.sum() / pl.col("attempts").sum()).fill_nan(None).item()
        },
        "tasks/sec": {"task_throughput": tables["overall"]["actual_throughput"][0]},
        "ratio": {
            **ran.select(
                success_rate=is_completed.sum() / count,
                retry_rate=pl.col("retry_count").sum() / count,
                average_confidence_delta=pl.col("actual_confidence_delta").mean(),
            )
            .fill_nan(None)
            .row(0, named=True),
            **{_key(success_with(name)): rate for name, rate in applied.agg(is_completed.mean()).rows() if name},
        },
    }
    rows = baselines.to_dicts()
    return [{**row, "this_run": own.get(row["unit"], {}).get(_key(row["figure"]))} for row in rows]


def _key(figure: str) -> str:
    return figure.lower().replace(" ", "_")

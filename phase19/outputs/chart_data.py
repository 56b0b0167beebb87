"""The data of the charts of a run, as small frames made from its executions and its files."""

from collections.abc import Sequence

import polars as pl

from phase19.frames import has_run
from phase19.inputs.tasks import natural_key
from phase19.outputs.answers import Run

_OUTCOMES = {"completed": "succeeded", "failed": "failed"}  # other tasks did not run
_MOST_BINS = 10
_TASKS_PER_BIN = 5
_TAIL = 0.05  # on each side of a 90 % interval
_PLANNED, _COMPLETED = pl.col("planned_success"), pl.col("status") == "completed"
# Success rates of a wave, by their names in schedule_comparisons.
_RANGE = {"low": "success_rate_low", "high": "success_rate_high"}
_RATES = {"planned": "planned_success_rate", "actual": "actual_success_rate"} | _RANGE
# Success of a group of tasks. If none ran, `planned` covers all of them, as in schedule_comparisons.
_SUCCESS = {
    "ran_count": has_run().sum().cast(pl.Int64),
    "planned": pl.coalesce(_PLANNED.filter(has_run()).mean(), _PLANNED.mean()),
    "actual": _COMPLETED.filter(has_run()).mean(),
}


def timeline(executions: pl.DataFrame) -> pl.DataFrame:
    """Return when each task was planned and when it was done.

    Parameters
    ----------
    executions
        `frames.EXECUTIONS`.

    Returns
    -------
    polars.DataFrame
        One row per assigned task, by wave, agent (natural order) and planned start: wave, agent_id, task_id, status,
        outcome (succeeded, failed or not run), planned_start_ms, planned_end_ms, actual_start_ms, actual_end_ms [ms
        from the start of the wave; null if unknown], planned_success [fraction].
    """
    order = ("wave", natural_key("agent_id"), "agent_id", "scheduled_start_time", natural_key("task_id"), "task_id")
    return executions.sort(order).select(
        *("wave", "agent_id", "task_id", "status"),
        pl.col("status").replace_strict(_OUTCOMES, default="not run").alias("outcome"),
        pl.col("scheduled_start_time").alias("planned_start_ms"),
        pl.col("scheduled_end_time").alias("planned_end_ms"),
        pl.col("actual_start_time").alias("actual_start_ms"),
        pl.col("actual_end_time").alias("actual_end_ms"),
        "planned_success",
    )


def wave_success(files: Run) -> pl.DataFrame:
    """Return the planned and the actual success rate of each wave.

    Parameters
    ----------
    files
        The files of the run, as `tables.read_run` returns them.

    Returns
    -------
    polars.DataFrame
        One row per wave: wave, ran_count [tasks], planned, actual, low, high [fraction]. low and high are the normal
        range: if the plan is correct, actual lies in it 90 % of the time. If nothing ran, planned covers all tasks
        and the other rates are null.
    """
    columns = {"wave": pl.Int64, "ran_count": pl.Int64} | dict.fromkeys(_RATES.values(), pl.Float64)
    return pl.DataFrame(files["schedule_comparisons"], columns).select("wave", "ran_count", **_RATES)


def agent_wave_success(executions: pl.DataFrame) -> pl.DataFrame:
    """Return the planned and the actual success rate of each agent in each wave.

    Parameters
    ----------
    executions
        `frames.EXECUTIONS`.

    Returns
    -------
    polars.DataFrame
        One row per wave and agent with tasks, by wave and agent (natural order): wave, agent_id, ran_count [tasks],
        planned, actual [fraction]. If nothing ran, planned covers all tasks and actual is null.
    """
    found = executions.group_by("wave", "agent_id").agg(**_SUCCESS)
    return found.sort("wave", natural_key("agent_id"), "agent_id")


def reliability(executions: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """Compare planned with actual success of tasks that had about the same planned success.

    Parameters
    ----------
    executions
        `frames.EXECUTIONS`.
    by
        Columns of `executions` by which the tasks of a bin are divided further, such as `("agent_id",)`.

    Returns
    -------
    polars.DataFrame
        One row per bin, by the columns of `by` and planned success: these columns, then count [tasks], planned (mean
        planned success), actual, low, high [fraction]. low and high are the 90 % interval of the rate behind actual.

    Notes
    -----
    The bins hold equal numbers of tasks that ran, at least 5, and there are at most 10. Equal forecasts stay in one
    bin, so a bin beside many equal forecasts can be smaller. The interval is that of Jeffreys: the 5 % and 95 %
    quantiles of Beta(k + 1/2, n - k + 1/2) for k successes among n tasks, except that it starts at 0 if k = 0 and ends
    at 1 if k = n.

    References
    ----------
    Brown, Cai and DasGupta, Interval estimation for a binomial proportion, 2001.
    """
    from scipy.special import betaincinv

    ran = executions.filter(has_run())
    bin_count = min(_MOST_BINS, max(1, ran.height // _TASKS_PER_BIN))
    place = (_PLANNED.rank() - 0.5) * bin_count / ran.height
    bins = ran.group_by(*by, place.floor().cast(pl.Int64).alias("bin")).agg(
        count=pl.len().cast(pl.Int64), planned=_PLANNED.mean(), actual=_COMPLETED.mean(), won=_COMPLETED.sum()
    )
    won, lost = bins["won"].to_numpy(), (bins["count"] - bins["won"]).to_numpy()
    low, high = (betaincinv(won + 0.5, lost + 0.5, tail) for tail in (_TAIL, 1 - _TAIL))
    is_text = [bins.schema[name] == pl.String for name in by]
    keys = [natural_key(name) if text else pl.col(name) for name, text in zip(by, is_text, strict=True)]
    ends = {"low": low * (won > 0), "high": 1 - (1 - high) * (lost > 0)}
    return (
        bins.with_columns(**{name: pl.Series(end, dtype=pl.Float64) for name, end in ends.items()})
        .sort(*keys, *by, "bin")
        .drop("bin", "won")
    )


def durations(executions: pl.DataFrame) -> pl.DataFrame:
    """Return the planned and the actual time of every task whose actual time is known.

    Parameters
    ----------
    executions
        `frames.EXECUTIONS`.

    Returns
    -------
    polars.DataFrame
        One row per task, in the order given: task_id, agent_id, status, planned_ms, actual_ms (all its attempts) [ms],
        is_censored (an attempt timed out, so that actual_ms is a lower bound), is_duration_measured (the time of every
        attempt is known).
    """
    return executions.filter(has_run(), pl.col("actual_duration_ms").is_not_null()).select(
        *("task_id", "agent_id", "status"),
        pl.col("planned_duration_ms").alias("planned_ms"),
        pl.col("actual_duration_ms").alias("actual_ms"),
        *("is_censored", "is_duration_measured"),
    )


def wave_times(files: Run) -> pl.DataFrame:
    """Return how long each wave was planned to take, and how long it took until the last task of known time ended.

    Parameters
    ----------
    files
        The files of the run, as `tables.read_run` returns them.

    Returns
    -------
    polars.DataFrame
        One row per wave: wave, planned_ms (mean over the simulated runs of the plan), actual_ms [ms; null if unknown].
    """
    rates = ("planned_throughput", "actual_throughput")
    columns = {"wave": pl.Int64, "ran_count": pl.Int64} | dict.fromkeys(rates, pl.Float64)
    results = files["optimization_summary"]["optimization_results"]
    planned = {result["wave"]: sum(map(len, result["agent_assignments"].values())) for result in results}
    ran = pl.col("ran_count")
    count = pl.when(ran > 0).then(ran).otherwise(pl.col("wave").replace_strict(planned, default=0))
    times = {
        rate.replace("throughput", "ms"): pl.when(pl.col(rate) > 0).then(1e3 * count / pl.col(rate)) for rate in rates
    }
    return pl.DataFrame(files["schedule_comparisons"], columns).select("wave", **times)


def run_time(files: Run) -> tuple[float | None, float | None]:
    """Return the actual and the planned time of a run [ms]: the sums over the waves whose actual time is known.

    Parameters
    ----------
    files
        The files of the run, as `tables.read_run` returns them. If no time is known, both are None.
    """
    timed = wave_times(files).drop_nulls("actual_ms")
    return (None, None) if timed.is_empty() else timed.select(pl.col("actual_ms", "planned_ms").sum()).row(0)


def agent_success(files: Run, executions: pl.DataFrame) -> pl.DataFrame:
    """Return what each agent was planned to achieve in the run, and what it achieved.

    Parameters
    ----------
    files
        The files of the run, as `tables.read_run` returns them.
    executions
        `frames.EXECUTIONS`.

    Returns
    -------
    polars.DataFrame
        One row per agent in natural order, idle ones included: agent_id, task_count, ran_count [tasks], planned,
        actual, low, high (success rates), utilization (busy share of the makespans) [fraction], time_ratio (actual over
        planned time of the tasks whose actual time is known) [ratio]. What is unknown is null.

    Notes
    -----
    low and high are the normal range of the agent's success rate, from the plan: the agent lies in it about 90 % of the
    time if the plan is correct. It is computed by sql/system_health.sql, which knows how far the forecasts of an
    agent's tasks may be wrong together.
    """
    known = pl.col("actual_duration_ms").is_not_null() & has_run()
    actual, planned = (pl.col(f"{name}_duration_ms").filter(known).sum() for name in ("actual", "planned"))
    found = executions.group_by("agent_id").agg(**_SUCCESS, time_ratio=pl.when(known.any()).then(actual / planned))
    columns = {"agent_id": pl.String, "task_count": pl.Int64, "utilization": pl.Float64}
    columns |= dict.fromkeys(_RANGE.values(), pl.Float64)
    agents = pl.DataFrame(files["system_health"]["agent_utilization"], columns)
    rows = agents.join(found, on="agent_id", how="left", maintain_order="left").rename(
        {v: k for k, v in _RANGE.items()}
    )
    ran_count = pl.col("ran_count").fill_null(0)
    return rows.select("agent_id", "task_count", ran_count, *(*_RATES, "utilization", "time_ratio"))


def strategies(files: Run) -> pl.DataFrame:
    """Compare the planned success rate with those of round robin and of the best single agent.

    Parameters
    ----------
    files
        The files of the run, as `tables.read_run` returns them.

    Returns
    -------
    polars.DataFrame
        Three rows: name (this plan, round robin, best single agent), planned, low, high, actual [fraction]. low and
        high are the 90 % interval of the success rate that is forecast. actual is known only for the plan. The first
        two rows cover the tasks that ran, or all tasks if none ran; the best single agent does all tasks.
    """
    metrics, yardsticks = (files["optimization_summary"][key] for key in ("overall_metrics", "yardsticks"))
    ran = metrics["expected_success_rate"] is not None
    plan = metrics["expected_success_rate"] if ran else yardsticks["planned_success_rate"]
    other = metrics["baseline_success_rate"] if ran else yardsticks["round_robin_success_rate"]
    ends, other_ends = ([metrics[f"{of}success_rate_{end}"] for end in ("low", "high")] for of in ("", "baseline_"))
    rows = [
        ["this plan", plan, *ends, metrics["actual_success_rate"]],
        ["round robin", other, *other_ends, None],
        ["best single agent", yardsticks["best_single_agent_success_rate"], None, None, None],
    ]
    columns = {"name": pl.String} | dict.fromkeys(("planned", "low", "high", "actual"), pl.Float64)
    return pl.DataFrame(rows, columns, orient="row")

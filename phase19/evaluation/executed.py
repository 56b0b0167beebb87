"""What came of each line: all in one world, or by the same records, each with its own loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19 import frames
from phase19.balancing.recommendation import load_imbalance
from phase19.evaluation.candidates import BEST_AGENT, LINES, ROUND_ROBIN
from phase19.evaluation.simulated import MEASURES
from phase19.execution.protocol import execute_orders
from phase19.options import OptimizationStrategy
from phase19.safety import SafetyGate
from phase19.timelines import mean
from phase19.waves import WaveLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from phase19.evaluation.candidates import ComparedWave
    from phase19.execution.protocol import Executor
    from phase19.forecasting.model import ForecastModel
    from phase19.planning import PlanParameters

__all__ = ["OBSERVED", "measure", "try_out"]

OBSERVED = "observed_share"
_COLUMNS = ("wave", "task_id", "agent_id", "status", "retry_count", "actual_duration_ms", "actual_confidence_delta")


def try_out(
    model: ForecastModel,
    executor: Executor,
    waves: Sequence[ComparedWave],
    parameters: PlanParameters,
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> list[dict[str, float | None]]:
    """Carry every line out, from the same first model, by the same executor.

    Parameters
    ----------
    model
        What is known before the first wave.
    executor
        Gives the same outcome to the same (task, agent, attempt) whoever asks.
    waves
        Every line's plan; of these the baselines' are carried out.
    parameters
        What the strategies' plans are asked for; each plans wave by wave and learns from its own outcomes.
    progress
        Called as `progress(stage, done, total)`.

    Returns
    -------
    list of dict
        By line, the measures by name and the share of tasks that ran; round robin's are means over its rotations.
    """
    agents = model.agents["agent_id"]
    found = []
    for done, strategy in enumerate(OptimizationStrategy):
        progress("strategies", done, len(LINES))
        own = replace(parameters, strategy=strategy)
        loop = WaveLoop(executor, own, lambda tasks, _: SafetyGate().decide(tasks), seed)
        found.append(measure(pl.concat([wave.executions for wave in loop.play(model)]), agents))
    rotations = [
        measure(_carried_out(model, executor, waves, [wave.rotated(r)[ROUND_ROBIN] for wave in waves]), agents)
        for r in range(agents.len())
    ]
    found.append({name: mean(pl.Series([own[name] for own in rotations])) for name in rotations[0]})
    fixed = [wave.agent[BEST_AGENT] for wave in waves]
    return [*found, measure(_carried_out(model, executor, waves, fixed), agents)]


def measure(rows: pl.DataFrame, agents: pl.Series) -> dict[str, float | None]:
    """Measure what was carried out.

    Parameters
    ----------
    rows
        wave, agent_id, status, retry_count, actual_duration_ms and actual_confidence_delta of every task.
    agents
        Ids of all agents, those that did nothing too.

    Returns
    -------
    dict
        The measures over the tasks that ran, None where none did, and the share of tasks that ran.
    """
    ran = rows.filter(frames.has_run())
    share = mean(rows["status"].is_in(frames.RAN))
    if ran.is_empty():
        return {**dict.fromkeys(MEASURES), OBSERVED: share}
    time = pl.col("actual_duration_ms")
    busy = ran.group_by("wave", "agent_id", maintain_order=True).agg(time.sum())
    makespan_ms = float(busy.group_by("wave", maintain_order=True).agg(time.max())["actual_duration_ms"].sum())
    totals = busy.group_by("agent_id", maintain_order=True).agg(time.sum())
    by_agent = agents.to_frame("agent_id").join(totals, on="agent_id", how="left", maintain_order="left")
    busy_ms = by_agent["actual_duration_ms"].fill_null(0.0).to_numpy()
    found = (
        mean(ran["status"] == "completed"),
        ran.height * 1000.0 / makespan_ms if makespan_ms > 0 else None,
        makespan_ms,
        float(load_imbalance(busy_ms)),
        float(ran["retry_count"].sum()),
        mean(ran["actual_confidence_delta"]),
    )
    return {**dict(zip(MEASURES, found, strict=True)), OBSERVED: share}


def _carried_out(
    model: ForecastModel, executor: Executor, waves: Sequence[ComparedWave], agent: Sequence[NDArray[np.int64]]
) -> pl.DataFrame:
    """What became of plans that learn nothing, wave by wave."""
    mean_change = (model.gains.population_failure, model.gains.population_success)
    settled = []
    for wave, own in zip(waves, agent, strict=True):
        orders = (
            wave.tasks.with_columns(
                model.agents["agent_id"].gather(own).alias("agent_id"),
                pl.Series("agent", own),
                pl.Series("max_attempts", wave.allowed),
                pl.Series("priority", np.arange(1, own.size + 1)),
            )
            .sort("agent", "priority")
            .select(*frames.ORDERS.columns)
        )
        came, _ = execute_orders(executor, orders, mean_change)
        retries = (pl.col("attempt_count") - 1).clip(0).alias("retry_count")
        settled.append(came.with_columns(orders["wave"], retries).select(_COLUMNS))
    return pl.concat(settled)

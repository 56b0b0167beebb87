"""What the other strategies would have given a wave, in the world it was played in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from phase19 import frames
from phase19.options import OptimizationStrategy
from phase19.planning import CANDIDATES, reassign

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phase19.execution.protocol import Executor
    from phase19.planning import PlanParameters
    from phase19.waves import PlayedWave

__all__ = ["ROUND_ROBIN", "alternatives"]

ROUND_ROBIN = "round_robin"
# These search for a plan, which takes a second a wave from a thousand tasks on; the others are one assignment.
_SEARCHED = (OptimizationStrategy.MAXIMIZE_THROUGHPUT, OptimizationStrategy.BALANCE_LOAD)
_SEARCHED_TASKS = 300
_ASKED_PAIRS = 1_000_000  # up to this many the world is asked about all, as round robin needs


def alternatives(played: PlayedWave, parameters: PlanParameters, executor: Executor) -> pl.DataFrame:
    """Plan a wave by every other strategy, on the same forecast, and ask its world what would have come of it.

    Parameters
    ----------
    played
        The wave.
    parameters
        What plans are asked for; each strategy in place of their own.
    executor
        The wave's.

    Returns
    -------
    polars.DataFrame
        `frames.ALTERNATIVES`: a row a strategy, round robin last. Nothing ran where the world cannot be asked.
        Waves of more than 300 tasks leave out the strategies that search for their plan, of more than 1,000,000
        pairs round robin.
    """
    wave = played.assigned
    n, m = wave.forecast.planned_success.shape
    if n == 0:
        return frames.ALTERNATIVES.empty()
    own = wave.assigned.strategy
    skipped = {own, *(_SEARCHED if n > _SEARCHED_TASKS else ())}
    others = reassign(played.model, wave, parameters, [each for each in CANDIDATES if each not in skipped])
    agent = np.array([other.agent_index for other in others])
    names = [str(other.assigned.strategy) for other in others]
    row, has_all = np.arange(n), n * m <= _ASKED_PAIRS
    asked = np.arange(n * m) if has_all else np.unique(row * m + agent)
    world = _ask(played, executor, *np.divmod(asked, m))
    executions = wave.tasks.select("task_id").join(played.executions, on="task_id", maintain_order="left")
    did = executions["status"].replace_strict({"completed": 1.0, "failed": 0.0}, default=np.nan).to_numpy()
    own_agent = executions["agent_id"]
    rows = []
    for name, chosen in zip(names, agent, strict=True):
        at = np.searchsorted(asked, row * m + chosen)
        rows.append(
            {
                "strategy": name,
                "reassigned_count": int((played.model.agents["agent_id"].gather(chosen) != own_agent).sum()),
                **_sums(world[:, at], wave.forecast.planned_success[row, chosen], did),
                "makespan_ms": float(np.bincount(chosen, np.nan_to_num(world[2, at]), m).max()),
            }
        )
    if has_all:
        grid, planned = world.reshape(-1, n, m), wave.forecast.planned_success
        seen = _mean(np.where(np.isnan(grid[0]), np.nan, planned))  # of the agents whose outcome is known
        sums = _sums(np.array([_mean(part) for part in grid]), seen, did)
        rows.append({"strategy": ROUND_ROBIN, **sums, "promised_success_sum": float(planned.mean(axis=1).sum())})
    fixed = {"wave": int(played.tasks["wave"][0]), "chosen_strategy": str(own), "task_count": n}
    return pl.DataFrame([fixed | each for each in rows], schema=frames.ALTERNATIVES.dtypes)


def _ask(
    played: PlayedWave, executor: Executor, task: NDArray[np.int64], agent: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Success, retries, time in ms and confidence change of pairs, shape (4, p); NaN where the world is silent."""
    wave = played.assigned
    answer = executor.what_if(
        pl.DataFrame(
            {
                "task_id": wave.tasks["task_id"].gather(task),
                "agent_id": played.model.agents["agent_id"].gather(agent),
                "confidence": wave.tasks["confidence"].gather(task),
                "max_attempts": wave.allowed[task],
            }
        )
    )
    if answer is None:
        return np.full((4, task.size), np.nan)
    gains, won = played.model.gains, pl.col("is_success")
    mean_change = pl.when(won).then(gains.population_success).when(~won).then(gains.population_failure)
    known = answer.select(
        won.cast(pl.Float64),
        pl.when(won.is_not_null()).then(pl.col("attempt_count").cast(pl.Float64) - 1.0).alias("retries"),
        pl.when(won.is_not_null()).then("spent_ms").alias("spent_ms"),
        pl.coalesce("confidence_delta", mean_change).alias("change"),
    )
    return known.to_numpy().astype(np.float64).T


def _sums(world: NDArray[np.float64], planned: NDArray[np.float64], did: NDArray[np.float64]) -> dict[str, float]:
    """Sums over a wave's tasks of one alternative, by name.

    Parameters
    ----------
    world
        As `_ask` gives it, of each task, shape (4, n).
    planned
        Forecast success, shape (n,).
    did
        What came of the plan that was carried out: 1 for completed, 0 for failed, NaN where it did not run; shape (n,).
    """
    ran = ~np.isnan(world[0])
    lead = (did - world[0])[ran & ~np.isnan(did)]
    succeeded, retries, _, change = world[:, ran].sum(axis=1)
    return {
        "ran_count": int(ran.sum()),
        "promised_success_sum": float(planned.sum()),
        "planned_success_sum": float(planned[ran].sum()),
        "success_sum": float(succeeded),
        "retry_sum": float(retries),
        "confidence_sum": float(change),
        "paired_count": lead.size,
        "lead_sum": float(lead.sum()),
        "lead_square_sum": float(lead @ lead),
    }


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is known, NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan)

"""Executors carry out orders: simulated, replayed from records, or live. One protocol, three executors."""

from collections.abc import Callable
from typing import Any

import polars as pl

from phase19.execution.live import LiveExecutor, LiveResult
from phase19.execution.protocol import Executor
from phase19.execution.replay import ReplayExecutor
from phase19.execution.simulate import SimulateExecutor, World
from phase19.inputs.history import read_executions
from phase19.options import RunOptions


def make_executor(
    options: RunOptions,
    draw_world: Callable[[int], World],
    task_ids: pl.Series,
    agent_ids: pl.Series,
    runner: Callable[[dict[str, Any], int], LiveResult] | None = None,
) -> Executor:
    """Make the executor that a run's options name; a live one needs a runner.

    Parameters
    ----------
    options
        `executor`, `executions`, `censored_errors` and `seed` are used.
    draw_world
        Draws the world of a dry run from a seed.
    task_ids, agent_ids
        Ids in the order of the world's indices.
    runner
        Makes one attempt of a live run: `runner(order, attempt)`.

    Raises
    ------
    InputError
        The file of executions breaks the contract.
    """
    if runner is not None:
        return LiveExecutor(runner, options.censored_errors)
    if options.executions is not None:
        return ReplayExecutor(read_executions(options.executions, options.censored_errors))
    return SimulateExecutor(draw_world(options.seed), task_ids, agent_ids)

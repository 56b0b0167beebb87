"""The lines of strategy_comparison.jsonl: promised, carried out, dominated, recommended."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phase19.balancing.recommendation import Promises, dominators, recommend
from phase19.evaluation.candidates import BASELINES, LINES, line_up
from phase19.evaluation.compare_report import rationale
from phase19.evaluation.executed import OBSERVED, try_out
from phase19.evaluation.simulated import MEASURES, look_ahead
from phase19.execution import make_executor
from phase19.inputs.loading import load_inputs
from phase19.inputs.preparation import prepare
from phase19.planning import CANDIDATES, PlanParameters
from phase19.publishing.files import check_file_target, publish_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from phase19.evaluation.simulated import Outlook
    from phase19.options import CompareOptions

__all__ = ["Comparison", "judge", "run_comparison"]

_CHOOSABLE = slice(0, len(CANDIDATES))
_SAME_PROMISE = 1e-9  # two sums of forecasts that differ by less promise the same


class Comparison(NamedTuple):
    """What was compared.

    Attributes
    ----------
    rows
        The lines of strategy_comparison.jsonl.
    task_count, agent_count, wave_count
        Of the run that was planned.
    warnings
        What the inputs held that was not used.
    """

    rows: list[dict[str, Any]]
    task_count: int
    agent_count: int
    wave_count: int
    warnings: tuple[str, ...]


def run_comparison(
    options: CompareOptions,
    target: Path,
    *,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> Comparison:
    """Compare all strategies on one input and write what came of it.

    Parameters
    ----------
    options
        Inputs, what the plans are asked for, and the executor; its strategy does not matter.
    target
        The JSONL file to write, whole or not at all.
    progress
        Called as `progress(stage, done, total)`.

    Raises
    ------
    Phase19Error
        An input breaks the contract, or a wave has no assignment that keeps to its limits; nothing is written.
    """
    sources = (options.input, options.phase16_dir, options.phase17_dir)
    check_file_target(target, (*sources, options.executions))
    made_at = options.timestamp or datetime.now(UTC)
    inputs = load_inputs(*sources, options.censored_errors)
    model, heuristics = prepare(inputs, waves=options.waves, agents=options.agents)
    executor = make_executor(options, model.world, model.tasks["task_id"], model.agents["agent_id"])
    parameters = PlanParameters.of(options, heuristics).within(executor.most_attempts)
    waves = line_up(model, parameters)
    outlook = look_ahead(model, waves, options.seed)
    actual = try_out(model, executor, waves, parameters, seed=options.seed, progress=progress)
    stamp = {
        "executor": options.executor,
        "simulated": executor.is_simulated,
        "seed": options.seed,
        "timestamp": made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    verdicts = judge(outlook, model.tasks.height)
    judged = [
        {"strategy": name, "is_baseline": name in BASELINES, **figures, **verdict}
        for name, figures, verdict in zip(LINES, _figures(outlook, actual), verdicts, strict=True)
    ]
    rows = [{**row, "rationale": rationale(row, judged), **stamp} for row in judged]
    with publish_file(target) as path:
        path.write_text("".join(map(_line, rows)), "utf-8", newline="\n")
    return Comparison(rows, model.tasks.height, model.agents.height, len(waves), inputs.warnings)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _figures(outlook: Outlook, actual: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    """Each line's measures: planned, the bounds of chance, and actual; then the share that ran."""
    rows: list[dict[str, float | None]] = [{} for _ in LINES]
    for name in MEASURES:
        low, high = outlook.interval(name)
        for line, row in enumerate(rows):
            row[f"planned_{name}"] = float(getattr(outlook.planned, name)[line])
            row[f"{name}_low"], row[f"{name}_high"] = float(low[line]), float(high[line])
            row[f"actual_{name}"] = actual[line][name]
    return [{**row, OBSERVED: came[OBSERVED]} for row, came in zip(rows, actual, strict=True)]


def judge(outlook: Outlook, task_count: int) -> list[dict[str, Any]]:
    """Say of each line who dominates it, whether it is recommended, and how far it is from whom.

    Returns
    -------
    list of dict
        By line. `success_margin` is its planned success rate less that of the line it is `compared_with`: the
        recommended strategy with the runner-up, who promises most of the other candidates; all others with the
        recommended one. Its interval is that of the difference in the same worlds.
    """
    rate, promises = outlook.planned.success_rate, outlook.promises(task_count)
    counts = outlook.draws.success_rate[_CHOOSABLE] * task_count

    def least_shortfall(best: int) -> NDArray[np.float64]:
        return np.asarray(np.quantile(counts[best] - counts, 0.05, axis=1))

    floor = max(promises.success_count[LINES.index(name)] for name in BASELINES)
    candidates = Promises(*(part[_CHOOSABLE] for part in promises))
    chosen = recommend(candidates, task_count, least_shortfall, floor=float(floor))
    others = np.where(np.arange(len(CANDIDATES)) == chosen, -np.inf, rate[_CHOOSABLE])
    runner_up = int(np.argmax(others))
    dominated = dominators(promises)
    verdicts = []
    for line in range(len(LINES)):
        other = runner_up if line == chosen else chosen
        low, high = outlook.margin_interval(line, other)
        verdicts.append(
            {
                "is_recommended": line == chosen,
                "compared_with": LINES[other],
                "success_margin": float(rate[line] - rate[other]),
                "success_margin_low": low,
                "success_margin_high": high,
                "dominated_by": [LINES[j] for j in np.flatnonzero(dominated[line])],
                "promises_less_than": [
                    name
                    for name in BASELINES
                    if LINES[line] not in BASELINES and rate[LINES.index(name)] > rate[line] + _SAME_PROMISE
                ],
            }
        )
    return verdicts

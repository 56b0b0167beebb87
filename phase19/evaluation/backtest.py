"""Backtest a plan: plan on earlier records, replay later outcomes, and measure the plan and its forecasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from phase19 import frames
from phase19.assignment.solver import solve
from phase19.balancing.local_search import busy_time
from phase19.errors import UsageError, plural
from phase19.execution.protocol import sum_if_known
from phase19.execution.replay import ReplayExecutor
from phase19.forecasting.model import ForecastModel, first_attempts, forecast_table
from phase19.forecasting.retries import attempts_allowed
from phase19.harness import Phase19Harness
from phase19.inputs.history import population_of, read_executions
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.tasks import check_records, check_replayed, recorded_tasks, sorted_by_id
from phase19.inputs.thresholds import Thresholds
from phase19.optimizer import AdaptiveOptimizer
from phase19.options import BacktestOptions, RunOptions, WaveOptions, takes_settings
from phase19.outputs.answers import outcome as compared_outcome
from phase19.outputs.html.markup import blocks_html
from phase19.outputs.rendering import Section, Table, records_table
from phase19.outputs.summary import SCHEMA_VERSION
from phase19.outputs.text import cell, duration, interval, percent, words
from phase19.wave import ExecutedWave, largest, mean, positions

if TYPE_CHECKING:
    from phase19.settings import BacktestSettings

_BINS = 10  # in the reliability table
_SCORES = {
    "brier_score": "mean squared error; 0 is perfect",
    "log_loss": "cost of confident mistakes; 0 is perfect, a coin toss has 0.693",
    "base_rate": "success rate of the history: the guess to beat",
    "skill": "share of that guess's squared error that is avoided; 1 is all",
}
_LEFT_OUT = {
    "trials": "of the last trial of each task and agent with several",
    "tasks": "of half of the tasks, of which the forecasts know no record",
}
_NO_RETRIES = (
    "Each task is tried once here. A run retries failed tasks and so promises more; what retries add is not tested."
)
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, repr=False)
class BacktestResult:
    """Result of a backtest.

    Attributes
    ----------
    document
        The content of backtest.json.
    executions
        Planned and recorded figures of every task (`frames.EXECUTIONS`).
    model
        The forecast before the first wave.
    warnings
        Parts of the inputs that were not used.
    """

    document: dict[str, Any]
    executions: pl.DataFrame
    model: ForecastModel
    warnings: tuple[str, ...]

    @property
    def forecasts(self) -> pl.DataFrame:
        """The forecast of every pair before the first wave: :func:`phase19.forecasting.model.forecast_table`."""
        return forecast_table(self.model)

    @property
    def section(self) -> Section:
        """The backtest as text and tables: rates, makespans, waves, scores and reliability."""
        document = self.document
        success, overall, scores = (document[key] for key in ("success", "overall", "scores"))
        sizes = ", ".join(plural(document[f"total_{noun}s"], noun) for noun in ("task", "agent", "wave"))
        pairs = f"{scores['pair_count']:,} of {plural(document['pair_count'], 'pair')}"
        recorded = f"{percent(document['observed_share'])} of the plan and {pairs} have records"
        names = {
            "round_robin": "round robin, mean of its rotations",
            "plan": "plan",
            "best_single_agent": f"{success['best_single_agent_id'] or 'best agent'} alone, without a capacity limit",
            "oracle": "oracle, which knows every outcome",
            "gap_closed": "share of the gap between round robin and oracle that the plan closes",
        }
        rates = tuple((text, percent(success[name])) for name, text in names.items())
        spans = document["round_robin_makespan_ms"], overall["makespan_ms"]
        cause = ", since some records have no time" if None in spans else ""
        makespans = f"Makespan: {duration(spans[0])} by round robin, {duration(spans[1])} by the plan{cause}."
        meanings = tuple((words(key), text, cell(key, scores[key])) for key, text in _SCORES.items())
        skill = ("", "90 % interval of the skill", interval(scores["skill_low"], scores["skill_high"]))
        part, moment = document["left_out"], document["split_at"]
        chosen = f"from {moment} on" if moment else _LEFT_OUT.get(part, "")
        known = f"{document['history_record_count']:,} {'before it' if moment else 'others'}"
        replayed = f"{plural(document['replayed_record_count'], 'record')} {chosen}; forecasts use the {known}."
        return Section(
            _verdict(document),
            (
                f"Backtest: {sizes}, {document['optimization_strategy']}; {recorded}.",
                *([f"Replayed: {replayed}"] if chosen else []),
                *([_NO_RETRIES] if not document["max_retries"] else []),
                Table(("actual success", "rate"), rates),
                *([] if spans == (None, None) else [makespans]),
                records_table([*document["waves"], overall | {"wave": "all"}]),
                Table(("forecasts of recorded pairs", "meaning", "value"), (*meanings, skill), labels=2),
                "Forecasts by size: where they are right, the mean outcome is close to the mean forecast.",
                records_table([row for row in scores["reliability"] if row["count"]]),
            ),
        )

    def __repr__(self) -> str:
        names, success = ("plan", "round_robin", "oracle"), self.document["success"]
        rates = (f"{words(name)} {percent(success[name])}" for name in names)
        return f"{self.section.title}\n{self.section.blocks[0]}\nActual success: {', '.join(rates)}."

    def _repr_html_(self) -> str:
        return blocks_html(self.section.title, *self.section.blocks)


def _verdict(document: Mapping[str, Any]) -> str:
    """Say in one sentence whether the forecasts held, and whether they are better than the mean rate."""
    overall, scores = document["overall"], document["scores"]
    low, high, ran = scores["skill_low"], scores["skill_high"], overall["observed_count"]
    kind = "not clearly better" if low is None or low <= 0 <= high else "better" if low > 0 else "worse"
    mean_rate = f"{kind} than always guessing the mean rate, {percent(scores['base_rate'])}"
    pairs = plural(scores["pair_count"], "recorded pair")
    if not ran:
        return f"No planned pair has a record to check the plan with; over {pairs} the forecasts are {mean_rate}."
    planned, completed = overall["planned_success_rate"], round(overall["actual_success_rate"] * ran)
    side, counted = compared_outcome(completed, ran, plural(ran, "task"), overall, planned)
    answer = ("held", "were too low", "were too high")[side]
    return f"The forecasts {answer}: {counted}; over {pairs} they are {mean_rate}."


@takes_settings(BacktestOptions)
def backtest(
    input: BacktestOptions | Path | str | None = None,
    *,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    **settings: "Unpack[BacktestSettings]",
) -> BacktestResult:
    """Plan on the records known at a moment, replay the later ones, and measure the plan.

    Parameters
    ----------
    input
        The input directory, outputs/phase18 by default; or a :class:`phase19.options.BacktestOptions`.
    progress
        Called as `progress(stage, done, total)`.
    **settings
        Fields of :class:`phase19.options.BacktestOptions`. Without `executions`, `split_at` and `leave_out`, the last
        20 % of the inputs' records are replayed.

    Returns
    -------
    BacktestResult
        Rates and scores, planned and recorded figures of every task, and the forecast.

    Raises
    ------
    Phase19Error
        An input breaks the contract, or there is nothing to replay.

    Examples
    --------
    >>> import phase19
    >>> phase19.backtest("outputs/phase18", executions="outputs/phase17/execution_outcomes.jsonl")  # doctest: +ELLIPSIS
    The forecasts held: 11 of 11 tasks succeeded (...
    Backtest: 12 tasks, 4 agents, 3 waves, maximize_success; 91.7 % of the plan and 12 of 48 pairs have records.
    Actual success: plan 100 %, round robin 100 %, oracle 100 %.
    """
    options = BacktestOptions.of(input, **settings)
    inputs = load_inputs(*options.sources)
    if options.executions is not None:
        found: list[str] = []
        replayed = read_executions(options.executions, found)
        inputs = replace(inputs, warnings=(*inputs.warnings, *found))
    elif options.leave_out is not None:
        inputs, replayed = leave_out_records(inputs, options.leave_out, options.seed)
    else:
        moment = options.split_at or default_split(inputs.attempts)
        options = replace(options, split_at=moment)
        inputs, replayed = split_inputs(inputs, moment)
    return replay_plan(inputs, replayed, options, progress)


def replay_plan(
    inputs: Inputs,
    replayed: pl.DataFrame,
    options: BacktestOptions,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> BacktestResult:
    """Plan every wave, replay it, and measure the plan.

    Parameters
    ----------
    inputs
        Everything known before the first wave.
    replayed
        Recorded outcomes, `frames.ATTEMPTS`.
    options
        Options of the plan. A task is retried only as far as the records go.
    progress
        Called as `progress(stage, done, total)`.

    Returns
    -------
    BacktestResult
        Rates and scores, planned and recorded figures of every task, and the forecast.

    Raises
    ------
    UsageError
        There are no records of the run's tasks and agents.

    Notes
    -----
    A wave's planned figures are fixed before it is replayed, and forecasts learn only from attempts of planned pairs.
    The scores cover all recorded pairs: they compare the forecast before the first wave with each pair's first attempt.
    """
    optimizer = AdaptiveOptimizer(
        inputs=inputs, options=options, waves=options.waves, agents=options.agents, seed=options.seed
    )
    model = optimizer.model
    own_options = {option.name: getattr(options, option.name) for option in fields(WaveOptions)}
    run = Phase19Harness(RunOptions(**own_options), progress=progress)
    run.prepare_waves(optimizer, ReplayExecutor(replayed))
    max_attempts = attempts_allowed(model.tasks["risk_level"], optimizer.options.max_retries)
    pairs = replay_pairs(model, replayed, max_attempts)
    if not pairs.is_observed.any():
        found = "expected records of the run's tasks and agents to replay, found none"
        raise UsageError("; ".join((found, *check_replayed(model.tasks, model.agents, replayed, "replay"))))
    waves, rows, drawn, others = [], [], [], []
    for wave in run.run_waves(optimizer):
        if not isinstance(wave, ExecutedWave):  # a replay is never interrupted
            continue
        ran = wave.executions.select(frames.has_run()).to_series().to_numpy()
        rows.append(wave.executions)
        drawn.append(wave.scheduled_draws.succeeded[:, ran].sum(axis=1))
        waves.append(_measures(wave.number, rows[-1], drawn[-1]))
        task = positions(wave.tasks["task_id"], model.tasks["task_id"])
        by_id = np.argsort(task)
        allowed = None if wave.allowed is None else wave.allowed[by_id]
        others.append(count_successes(task[by_id], wave.agent_index[by_id], pairs, wave.assignment.capacity, allowed))
    executions = pl.concat(rows)
    overall = _measures(None, executions, np.sum(drawn, axis=0))
    spans_ms = [wave["makespan_ms"] for wave in waves if wave["observed_count"]]
    overall["makespan_ms"] = None if None in spans_ms else sum(spans_ms)
    total = {name: sum(wave[name] for wave in others) for name in others[0]}
    round_robin, oracle, best = total["round_robin"], total["oracle"], int(total["single_agent"].argmax())
    count, plan = overall["observed_count"], (executions["status"] == "completed").sum()
    successes = {
        "plan": plan,
        "round_robin": round_robin,
        "best_single_agent": float(total["single_agent"][best]),
        "oracle": oracle,
        "regret": oracle - plan,
    }
    base_rate = mean(model.attempts["is_success"])
    started = options.timestamp or datetime.now(UTC)
    document = {
        "phase": 19,
        "timestamp": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "schema_version": SCHEMA_VERSION,
        "optimization_strategy": str(options.strategy),
        "max_retries": optimizer.options.max_retries,
        "seed": options.seed,
        "split_at": options.split_at and options.split_at.isoformat().replace("+00:00", "Z"),
        "left_out": options.leave_out,
        "total_tasks": model.tasks.height,
        "total_agents": model.agents.height,
        "total_waves": len(waves),
        "history_record_count": inputs.attempts.height,
        "replayed_record_count": replayed.height,
        "pair_count": pairs.is_observed.size,
        "observed_share": _ratio(count, overall["task_count"]),
        "success": {
            **{name: _ratio(value, count) for name, value in successes.items()},
            "best_single_agent_id": model.agents["agent_id"][best] if count else None,
            "gap_closed": _ratio(plan - round_robin, oracle - round_robin),
        },
        "overall": overall,
        "round_robin_makespan_ms": None if np.isnan(span := total["round_robin_makespan_ms"]) else span,
        "waves": waves,
        "scores": score_forecasts(
            first_attempts(model).success_probability[pairs.is_observed],
            pairs.first_success[pairs.is_observed],
            model.population.success_rate if base_rate is None else base_rate,
        ),
    }
    return BacktestResult(document, executions, model, inputs.warnings)


def _measures(wave: int | None, executions: pl.DataFrame, drawn_successes: NDArray[np.int64]) -> dict[str, Any]:
    """Compare planned with actual success of the tasks that ran; `wave` is None for the whole run."""
    ran = executions.filter(frames.has_run())
    low, high = np.quantile(drawn_successes, [0.05, 0.95]).tolist()
    return {
        "wave": wave,
        "task_count": executions.height,
        "observed_count": ran.height,
        "planned_success_rate": mean(ran["planned_success"]),
        "actual_success_rate": mean(ran["status"] == "completed"),
        "success_rate_low": _ratio(low, ran.height),
        "success_rate_high": _ratio(high, ran.height),
        "makespan_ms": None if ran["actual_end_time"].null_count() else largest(ran["actual_end_time"]),
    }


class PairOutcomes(NamedTuple):
    """Recorded outcomes of n x m pairs; arrays of shape (n, m), zero where `is_observed` is false.

    Attributes
    ----------
    is_observed
        Whether the pair has a record to replay.
    first_success, success
        1 if the first attempt succeeded; 1 if any of the allowed attempts succeeded.
    duration_ms
        Busy time of all attempts made [ms]; NaN if the time of one is unknown.
    """

    is_observed: NDArray[np.bool_]
    first_success: NDArray[np.float64]
    success: NDArray[np.float64]
    duration_ms: NDArray[np.float64]


def replay_pairs(model: ForecastModel, records: pl.DataFrame, max_attempts: NDArray[np.int64]) -> PairOutcomes:
    """Replay every pair by itself, as :class:`phase19.execution.replay.ReplayExecutor` does.

    Parameters
    ----------
    model
        Its tasks and agents are the rows and columns.
    records
        `frames.ATTEMPTS` to replay; records of other tasks and agents are ignored.
    max_attempts
        Attempts each task may have, shape (n,).

    Returns
    -------
    PairOutcomes
        Outcomes of all pairs, in the order of the model's tasks and agents.
    """
    tasks = model.tasks.select("task_id", max_attempts=pl.Series(max_attempts)).with_row_index("task")
    agents = model.agents.select("agent_id").with_row_index("agent")
    is_success = pl.col("is_success")
    pairs = records.select("task_id", "agent_id").unique().join(tasks, on="task_id").join(agents, on="agent_id")
    replayed = (
        ReplayExecutor(records)
        .attempts(pairs)
        .group_by("task", "agent")
        .agg(
            is_observed=pl.lit(1.0),
            first_success=is_success.first().cast(pl.Float64),
            success=is_success.any().cast(pl.Float64),
            duration_ms=sum_if_known("duration_ms"),
        )
    )
    values = np.zeros((len(PairOutcomes._fields), tasks.height, agents.height))
    values[:, replayed["task"], replayed["agent"]] = replayed.select(PairOutcomes._fields).to_numpy().T
    return PairOutcomes(values[0] > 0, *values[1:])


def count_successes(
    task: NDArray[np.int64],
    agent: NDArray[np.int64],
    pairs: PairOutcomes,
    capacity: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Count how many of a wave's tasks would succeed under other assignments, by the records.

    Parameters
    ----------
    task, agent
        Indices of the wave's tasks, sorted by task id, and of their planned agents, shape (n,).
    pairs
        Outcomes of all pairs. Tasks whose planned pair has no record are left out.
    capacity
        Tasks each agent may take, shape (m,).
    allowed
        Pairs that the tasks allow, shape (n, m); all if None.

    Returns
    -------
    dict
        `oracle`: successes of the best assignment under the same limits if all outcomes were known. `round_robin`: mean
        successes over all m rotations r, where task i of the wave goes to agent (i + r) mod m, with the mean
        `round_robin_makespan_ms` (NaN if that is unknown). `single_agent`: successes of each agent if it did all tasks,
        shape (m,). In the last three, a pair without a record counts as the mean of the task's recorded pairs.
    """
    row, m = np.flatnonzero(pairs.is_observed[task, agent]), capacity.size
    free = capacity - np.bincount(np.delete(agent, row), minlength=m)  # the other tasks keep their agents
    task, agent = task[row], agent[row]
    seen, success = pairs.is_observed[task], pairs.success[task]
    usable = (seen if allowed is None else seen & allowed[row]) | (np.arange(m) == agent[:, None])
    each = np.arange(row.size)
    best = solve(np.where(usable, success, 0.0), free, usable).agent_index
    success_of_all, duration_ms = (
        np.where(seen, values, values.sum(axis=1, keepdims=True) / seen.sum(axis=1, keepdims=True))
        for values in (success, pairs.duration_ms[task])
    )
    makespans_ms = [busy_time(duration_ms, (row + rotation) % m).max() for rotation in range(m)]
    return {
        "oracle": float(success[each, best].sum()),
        "round_robin": float(success_of_all.mean(axis=1).sum()),
        "round_robin_makespan_ms": float(np.mean(makespans_ms)),
        "single_agent": success_of_all.sum(axis=0),
    }


def score_forecasts(forecast: NDArray[np.float64], outcome: NDArray[np.float64], base_rate: float) -> dict[str, Any]:
    """Score the success forecasts of p >= 1 pairs.

    Parameters
    ----------
    forecast, outcome
        Probability of success, and 1 or 0, shape (p,).
    base_rate
        Success rate of the history [fraction], the forecast that `skill` compares with.

    Returns
    -------
    dict
        `pair_count`, `brier_score`, `log_loss`, `base_rate`, `skill` (None if `base_rate` has no error) with its 90 %
        interval `skill_low` to `skill_high` (None for one pair too) and the rows of the `reliability` table.

    Notes
    -----
    Brier score: mean (forecast - outcome)^2. Skill: 1 - Brier score / Brier score of always forecasting `base_rate`.
    Its interval is that of Student's t for the mean difference of the squared errors, as if pairs were independent.
    Log loss: mean of -log(probability forecast for the outcome); the rule `log_loss_floor` keeps probabilities away
    from 0 and 1. Reliability bins are tenths of [0, 1]: low <= forecast < high, and 1.0 is in the last.
    """
    floor, edge = Thresholds().rules["log_loss_floor"], np.arange(_BINS + 1) / _BINS
    likelihood = np.clip(np.where(outcome > 0, forecast, 1.0 - forecast), floor, 1.0 - floor)
    errors, base_errors = ((guess - outcome) ** 2 for guess in (forecast, base_rate))
    skill = low = high = None
    if base_errors.any():
        saved, freedom = (base_errors - errors) / base_errors.mean(), forecast.size - 1
        skill = float(saved.mean())
        if freedom:
            margin = float(stdtrit(freedom, 0.95) * saved.std() / np.sqrt(freedom))
            low, high = skill - margin, skill + margin
    bins = np.minimum((forecast * _BINS).astype(np.int64), _BINS - 1)
    count, forecasts, outcomes = (np.bincount(bins, weights, _BINS) for weights in (None, forecast, outcome))
    sums = {"low": edge[:-1], "high": edge[1:], "count": count, "mean_forecast": forecasts, "mean_outcome": outcomes}
    means = (pl.col("mean_forecast", "mean_outcome") / pl.col("count")).fill_nan(None)
    return {
        "pair_count": forecast.size,
        "brier_score": float(errors.mean()),
        "log_loss": -float(np.log(likelihood).mean()),
        "base_rate": base_rate,
        "skill": skill,
        "skill_low": low,
        "skill_high": high,
        "reliability": pl.DataFrame(sums).with_columns(means).to_dicts(),
    }


def _ratio(part: float, whole: float) -> float | None:
    """Divide `part` by `whole`; None if `whole` is zero within rounding."""
    return part / whole if abs(whole) > _ROUNDING else None


def default_split(attempts: pl.DataFrame) -> datetime:
    """Return the moment of a record before which 80 % of the records with a timestamp and an agent were made.

    Records of one moment stay together. There are always earlier and later ones.

    Raises
    ------
    UsageError
        The records do not have two timestamps.
    """
    times = attempts.drop_nulls(["timestamp", "agent_id"])["timestamp"].sort()
    moments = times.unique().sort()
    if moments.len() < 2:  # noqa: PLR2004 (an earlier and a later one)
        found = f"{moments.len()} in {plural(attempts.height, 'record')}"
        raise UsageError(
            f"expected records with at least two timestamps, found {found}; leave out records by another rule "
            "(--leave-out trials or --leave-out tasks), or import the log again with --timestamp COLUMN"
        )
    moment: datetime = max(times[times.len() * 4 // 5], moments[1])
    return moment


def split_inputs(inputs: Inputs, moment: datetime) -> tuple[Inputs, pl.DataFrame]:
    """Split the inputs' records at a moment.

    Parameters
    ----------
    inputs
        Inputs with all records, before and after the moment.
    moment
        Moment with a time zone; a record at exactly this moment counts as later.

    Returns
    -------
    inputs
        Inputs as known at the moment: the earlier records, and agents and population derived from them alone. The list
        of agents stays. The tasks are those of `executions`, with their fields as listed, or else risk and category as
        recorded. Nothing else depends on later records.
    executions
        `frames.ATTEMPTS` at or after the moment that name an agent; a pair's attempts are numbered in time order.

    Raises
    ------
    UsageError
        No record with an agent is at or after the moment.
    """
    attempts = inputs.attempts
    undated = attempts["timestamp"].null_count()
    lost = f"records: {plural(undated, 'attempt')} of {attempts.height:,} left out, since no timestamp says when"
    history = attempts.filter(pl.col("timestamp") < moment)
    later = attempts.filter((pl.col("timestamp") >= moment) & pl.col("agent_id").is_not_null())
    if later.is_empty():
        raise UsageError(f"--split-at: expected records with an agent at or after {moment.isoformat()}, found none")
    known, replayed = _without(inputs, history, later.sort("timestamp", "attempt", "is_success", "duration_ms"))
    return replace(known, warnings=(*known.warnings, *([lost] if undated else []))), replayed


def leave_out_records(inputs: Inputs, part: Literal["trials", "tasks"], seed: int = 0) -> tuple[Inputs, pl.DataFrame]:
    """Split the inputs' records without regard to a moment, as :func:`split_inputs` does at one.

    Parameters
    ----------
    inputs
        Inputs with all records.
    part
        `trials` leaves out the last trial of each task and agent with several, `tasks` all records of half of the
        tasks. Trials are in the order of their timestamps, else of their numbers, else as recorded; a new one begins
        with each first attempt.
    seed
        Decides which tasks are left out.

    Returns
    -------
    inputs
        Inputs as known without the records that are left out.
    executions
        The records left out, `frames.ATTEMPTS`; a pair's attempts are numbered in their order.

    Raises
    ------
    UsageError
        No agent has several trials of a task, or there are fewer than two tasks.
    """
    attempts = inputs.attempts.sort("timestamp", "trial", maintain_order=True)
    has_agent, pair = pl.col("agent_id").is_not_null(), ("task_id", "agent_id")
    if part == "tasks":
        names = sorted_by_id(attempts.filter(has_agent).select("task_id").unique())["task_id"]
        is_left_out = pl.col("task_id").is_in(names.sample(names.len() // 2, seed=seed).implode())
    else:
        trial = (pl.col("attempt") == 1).cum_sum().over(pair)
        is_left_out = has_agent & (trial > 1) & (trial == trial.max().over(pair))
    history, later = attempts.filter(~is_left_out), attempts.filter(is_left_out & has_agent)
    if later.is_empty():
        needed = {"tasks": "records of at least two tasks", "trials": "an agent with several trials of a task"}[part]
        other = "; --leave-out tasks needs no repeats" if part == "trials" else ""
        raise UsageError(f"--leave-out {part}: expected {needed}, found none{other}")
    return _without(inputs, history, later)


def _without(inputs: Inputs, history: pl.DataFrame, later: pl.DataFrame) -> tuple[Inputs, pl.DataFrame]:
    """Inputs that know only `history`, to plan the tasks of `later`; and `later`, with attempts numbered by pair."""
    unjoined = check_records(inputs.tasks, inputs.attempts, inputs.features)  # of tasks left out here
    tasks = recorded_tasks(inputs.attempts.join(later, on="task_id", how="semi"))
    listed = inputs.tasks.join(tasks, on="task_id", how="semi", maintain_order="left")
    counts, count = history.group_by("agent_id").agg(record_count=pl.len()), pl.col("record_count").fill_null(0)
    agents = (
        inputs.agents.select("agent_id", "capacity")
        .join(counts, on="agent_id", how="left", maintain_order="left")
        .with_columns(count, evidence=pl.when(count > 0).then(pl.lit("records")).otherwise(pl.lit("none")))
    )
    known = replace(
        inputs,
        tasks=pl.concat([listed, tasks.join(listed, on="task_id", how="anti", maintain_order="left")]),
        attempts=history,
        warnings=tuple(text for text in inputs.warnings if text not in unjoined),
        agents=frames.AGENTS.conform(agents),  # the agents' summaries include later records
        evidence=frames.EVIDENCE.empty(),  # patterns and signals may include them too
        population=population_of(  # computed without those summaries
            history, agent_count=inputs.population.agent_count, wave_count=inputs.population.wave_count
        ),
    )
    numbered = pl.int_range(1, pl.len() + 1).over("task_id", "agent_id").cast(pl.Int64)
    ordered = later.sort("task_id", "agent_id", maintain_order=True)
    return known, ordered.with_columns(attempt=numbered, source=pl.lit("run"))

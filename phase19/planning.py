"""Plans and forecasts without executing anything, and checks of inputs."""

import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import msgspec
import polars as pl
from polars import selectors

from phase19.arguments import converted
from phase19.errors import InputError, UsageError, plural, suggestion
from phase19.forecasting.model import forecast_table
from phase19.inputs.history import population_of
from phase19.inputs.loading import Inputs, load_inputs
from phase19.inputs.tasks import sorted_by_id
from phase19.inputs.wire import AGENT_ROWS, TASK_OUTCOMES, TASK_ROWS, Rows, feature_rows
from phase19.optimizer import AdaptiveOptimizer
from phase19.options import InputOptions, PlanOptions, takes_settings
from phase19.outputs.explain import sentences
from phase19.outputs.html.markup import blocks_html
from phase19.outputs.rendering import records_table
from phase19.outputs.text import duration, number, percent

if TYPE_CHECKING:
    from phase19.settings import InputSettings, PlanSettings

Table = pl.DataFrame | Sequence[Mapping[str, Any]] | Any  # Any: a pandas frame
_FIRST = (
    *("task_id", "agent_id", "wave", "priority", "planned_success", "success_low", "success_high"),
    *("planned_duration_ms", "duration_ms_p50", "duration_ms_p90", "score", "runner_up_agent_id", "runner_up_score"),
)
_MOST_ROWS = 10  # of a table in a notebook
_FILES = {
    "history": "task_outcomes.jsonl",
    "tasks": "tasks.jsonl",
    "agents": "agents.jsonl",
    "features": "features.jsonl",
}
_NAMES = {file: name for name, file in _FILES.items()}
_IDS = {"task_id", "agent_id"}
# What `success` means, by its text.
_FLAGS = dict.fromkeys(("True", "true", "1", "1.0"), "success") | dict.fromkeys(
    ("False", "false", "0", "0.0"), "failed"
)
_FORMATS = {"history": TASK_OUTCOMES, "tasks": TASK_ROWS, "agents": AGENT_ROWS, "features": feature_rows(())}
# The other files of an input directory, which say nothing.
_EMPTY = {
    "multi_agent_summary.json": b'{"total_agents": 0, "total_tasks": 0, "success_rate": 0.5}',
    "coordination_patterns.json": b"[]",
    "system_health.json": b"{}",
    "learning_signals.jsonl": b"",
}


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """Which agent does which task, and what is expected of it.

    Attributes
    ----------
    assignments
        One row per task: its agent, planned success with the 90 % interval of the first attempt, times [ms], score, the
        next best agent, and the other columns of `frames.PLANS` but the scheduled times.
    unassigned
        Tasks that no agent has room for, and why.
    strategy
        What the plan maximises.
    expected_success_rate, round_robin_success_rate
        Mean planned success of the plan, and that of round robin, fraction; None without tasks.
    makespan_ms
        Expected time of all waves together; None where no time is known.
    warnings
        What the records leave open, for example names that do not match.
    optimizer
        The optimizer that made the plan.
    """

    assignments: pl.DataFrame
    unassigned: pl.DataFrame
    strategy: str
    expected_success_rate: float | None
    round_robin_success_rate: float | None
    makespan_ms: float | None
    warnings: tuple[str, ...]
    optimizer: AdaptiveOptimizer = field(compare=False)

    @property
    def forecasts(self) -> pl.DataFrame:
        """The forecast of every (task, agent) pair, as :func:`phase19.forecast` returns it."""
        return forecast_table(self.optimizer.model)

    @property
    def agents(self) -> pl.DataFrame:
        """One row per agent: number of tasks, expected successes and planned time [ms]."""
        planned_ms = {} if self.makespan_ms is None else {"planned_duration_ms": pl.col("planned_duration_ms").sum()}
        return by_agent(self.optimizer.model.agents.select("agent_id"), self.assignments, **planned_ms)

    def explain(self, task: str) -> str:
        """Say why a task is assigned to its agent, and by what margin."""
        rows = pl.concat(
            [self.assignments, self.unassigned.select("task_id", "wave", unassigned_reason="reason")], how="diagonal"
        )
        found = rows.filter(task_id=converted("task", str, task))
        if found.is_empty():
            raise UsageError(f"explain: expected a task of the plan, found {task!r}{suggestion(task, rows['task_id'])}")
        row = found.row(0, named=True)
        agents = self.assignments.filter(wave=row["wave"])["agent_id"].to_list()
        counts = {"wave_task_count": len(agents), "best_agent_task_count": agents.count(row["best_agent_id"])}
        return "\n".join(sentences(row | counts))

    @takes_settings(PlanOptions, has_defaults=False)
    def what_if(self, exclude: Sequence[str] | str = (), **settings: "Unpack[PlanSettings]") -> "WhatIf":
        """Plan the same tasks with other options.

        Parameters
        ----------
        exclude
            Agents that get no task, besides those already excluded.
        **settings
            Fields of :class:`PlanOptions` in place of those of this plan.
        """
        own = {name: getattr(self.optimizer.options, name) for name in PlanOptions.taken()}
        given = own | {name: value for name, value in settings.items() if value is not None}
        excluded = [PlanOptions.of(exclude_agent=names).exclude_agent for names in (given["exclude_agent"], exclude)]
        other = PlanOptions.of(**given | {"exclude_agent": sum(excluded, ())})
        changed = {name: getattr(other, name) for name in own if getattr(other, name) != own[name]}
        return WhatIf(self, plan_waves(self.optimizer.restarted(other)), changed)

    def __repr__(self) -> str:
        return "\n".join(self._sentences())

    def _repr_html_(self) -> str:
        """The same with a table of the agents, for notebooks."""
        return blocks_html(*self._sentences(), records_table(self.agents.to_dicts()))

    def _sentences(self) -> list[str]:
        count, expected = self.assignments.height, self.expected_success_rate
        tasks, agents = plural(count, "task"), plural(self.optimizer.model.agents.height, "agent")
        said = [f"Plan: {tasks} for {agents}, strategy {self.strategy}."]
        if expected is not None and (other := self.round_robin_success_rate) is not None:
            amounts = f"{number(expected * count, 1)} of {tasks} ({percent(expected)})"
            said.append(f"Expected to succeed: {amounts}; round robin would expect {number(other * count, 1)}.")
        said.append(f"Planned time: {'unknown' if self.makespan_ms is None else duration(self.makespan_ms)}.")
        if self.unassigned.height:
            said.append(f"Without an agent: {plural(self.unassigned.height, 'task')}; .unassigned says why.")
        return said + ([f"{plural(len(self.warnings), 'warning')}; see .warnings."] if self.warnings else [])


@dataclass(frozen=True, slots=True, repr=False)
class WhatIf:
    """A plan beside another with different options.

    Attributes
    ----------
    before, plan
        The plan to compare with, and the other one.
    changed
        The options that differ, with their values for the other plan.
    """

    before: Plan
    plan: Plan
    changed: dict[str, Any]

    @property
    def moved(self) -> pl.DataFrame:
        """Tasks with another agent: task_id, and agent_id and planned_success before and after; null if unassigned."""
        columns = ("task_id", "agent_id", "planned_success")
        both = self.before.assignments.select(columns).join(
            self.plan.assignments.select(columns), on="task_id", how="full", coalesce=True, suffix="_after"
        )
        return sorted_by_id(both.filter(pl.col("agent_id").ne_missing(pl.col("agent_id_after"))))

    def __repr__(self) -> str:
        changed = ", ".join(f"{name}={_shown(value)}" for name, value in self.changed.items()) or "nothing changed"
        plans = (self.before, self.plan)
        success = " -> ".join(percent(plan.expected_success_rate) for plan in plans)
        counts = " -> ".join(number(float(plan.assignments["planned_success"].sum()), 1) for plan in plans)
        time = " -> ".join(duration(plan.makespan_ms) for plan in plans)
        return (
            f"What if: {changed}\nPlanned success: {success} ({counts} tasks)\nPlanned time: {time}\n"
            f"{plural(self.moved.height, 'task')} of {self.before.assignments.height:,} would move."
        )

    def _repr_html_(self) -> str:
        """The same with a table of the first tasks that move, for notebooks."""
        rows = self.moved.head(_MOST_ROWS).to_dicts()
        return blocks_html(*repr(self).split("\n"), *([records_table(rows)] if rows else []))


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def by_agent(agents: pl.DataFrame, rows: pl.DataFrame, **sums: pl.Expr) -> pl.DataFrame:
    """Sum up rows of tasks: one row per agent with its number of tasks, expected successes and `sums`."""
    found = rows.group_by("agent_id").agg(task_count=pl.len(), expected_count=pl.col("planned_success").sum(), **sums)
    everyone = agents.join(found, on="agent_id", how="left", maintain_order="left")
    return everyone.with_columns(pl.col(found.columns[1:]).fill_null(0))


def plan_waves(optimizer: AdaptiveOptimizer) -> Plan:
    """Plan every wave with the forecast before the first one."""
    optimizer.check_waves()
    waves, limit = [], optimizer.options.max_load_factor
    for wave in optimizer.waves:
        planned = optimizer.calculate_optimal_schedule(wave).wave
        if limit is not None:
            moved = planned.limited(limit).agent_index
            planned = optimizer.reassign(planned, planned.model.agents["agent_id"].gather(moved))
        waves.append(planned)
    expected = optimizer.calculate_optimization_metrics()
    rows = sorted_by_id(pl.concat([wave.plans for wave in waves])).sort("wave", maintain_order=True)
    throughput = expected["expected_throughput"]
    return Plan(
        assignments=rows.select(*_FIRST, pl.exclude(_FIRST)),
        unassigned=pl.concat([wave.unassigned for wave in waves]),
        strategy=str(optimizer.options.strategy),
        expected_success_rate=expected["expected_success_rate"],
        round_robin_success_rate=expected["round_robin_success_rate"],
        makespan_ms=None if throughput is None else rows.height * 1000.0 / throughput,
        warnings=optimizer.inputs.warnings,
        optimizer=optimizer,
    )


@takes_settings(PlanOptions)
def plan(
    tasks: Table | None = None,
    agents: Table | None = None,
    history: Table | None = None,
    *,
    features: Table | None = None,
    waves: int | None = None,
    seed: int = 0,
    **settings: "Unpack[PlanSettings]",
) -> Plan:
    """Plan tasks from records in memory: no directory is read or written.

    Parameters
    ----------
    tasks
        Task ids, or a Polars or pandas frame or a list of dicts with `task_id` and any other field of tasks.jsonl, such
        as `category`, `deadline_ms` or `required_agents`; by default the tasks of `history`.
    agents
        Agent ids, or rows with `agent_id` and perhaps `capacity`; by default the agents of `history`.
    history
        Rows with `task_id`, `agent_id` and `status` (or `success`: True, False, 1, 0 or a word of `status`), and any
        other field of task_outcomes.jsonl, such as `execution_time_ms`, `category` or `timestamp`; without it, nothing
        is known of the agents. Ids that are whole numbers become text.
    features
        Rows with `task_id` and any number of columns of numbers that describe the task, such as its size or an
        embedding of its text; for tasks to plan and tasks of `history`. None, null and NaN are unknown.
    waves
        Split the tasks into this many waves of about equal size.
    seed
        Seed of the random numbers: the same seed gives the same result.
    **settings
        Fields of :class:`PlanOptions`.

    Returns
    -------
    Plan
        Assignments, expected success and time, and forecasts.

    Raises
    ------
    InputError
        A row breaks the contract; the error names the row and the field.
    UsageError
        An option is out of bounds, or there are no tasks or no agents.
    InfeasibleError
        The tasks do not fit the agents' capacities.

    Examples
    --------
    >>> import phase19
    >>> history = [
    ...     {"task_id": f"old_{i}", "agent_id": agent, "success": agent == "red", "category": "web"}
    ...     for i in range(20)
    ...     for agent in ("red", "blue")
    ... ]
    >>> plan = phase19.plan([{"task_id": "new", "category": "web"}], history=history)
    >>> plan.assignments["agent_id"].to_list()
    ['red']
    """
    options = PlanOptions.of(**settings)
    parts = {"history": history, "tasks": tasks, "agents": agents, "features": features}
    given = {name: _lines(name, rows) for name, rows in parts.items() if rows is not None}
    first_row = history[0] if isinstance(history, Sequence) else getattr(history, "columns", ())
    inputs = _load(given, is_flag="success" in first_row and "status" not in first_row)
    if "agents" in given:  # the other agents of the history only teach
        others = set(inputs.agents["agent_id"]) - set(pl.read_ndjson(given["agents"])["agent_id"])
        options = replace(options, exclude_agent=(*options.exclude_agent, *others))
    return plan_waves(AdaptiveOptimizer(inputs=inputs, options=options, waves=waves, seed=seed))


def _lines(name: str, rows: Any) -> bytes:
    """JSON lines of ids, dicts or a frame."""
    if listed := getattr(rows, "tolist", getattr(rows, "to_list", None)):  # a series or an array of ids
        rows = listed()
    is_list, place = isinstance(rows, Sequence) and not isinstance(rows, str), name
    try:
        if is_list and rows and name in {"tasks", "agents"} and all(isinstance(row, str | int) for row in rows):
            rows = pl.DataFrame({f"{name.removesuffix('s')}_id": map(str, rows)})
        elif hasattr(rows, "to_json") and len(rows):  # a pandas frame
            _refuse_infinite(rows.isin([math.inf, -math.inf]).to_numpy().any())
            text = rows.to_json(orient="records", lines=True, date_format="iso", date_unit="us", double_precision=15)
            rows = pl.read_ndjson(text.encode(), infer_schema_length=None)
        if isinstance(rows, pl.DataFrame) and rows.height:
            _refuse_infinite(rows.select(pl.any_horizontal(selectors.float().is_infinite().any())).item())
            return _standard(rows, _FORMATS[name]).write_ndjson().encode()
        if not is_list or not rows or not all(isinstance(row, Mapping) for row in rows):
            raise UsageError(f"{name}: expected a Polars or pandas frame or a list of dicts, found {rows!r:.100}")
        lines = []
        for position, row in enumerate(rows, 1):
            place = f"{name}, row {position}"
            plain = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}  # of numpy
            _refuse_infinite(any(isinstance(value, float) and math.isinf(value) for value in plain.values()))
            if name == "history" and "success" in plain and "status" not in plain:
                success = plain.pop("success")
                plain["status"] = _FLAGS.get(str(success), success)
            plain |= {key: str(plain[key]) for key in plain.keys() & _IDS if isinstance(plain[key], int)}
            lines.append(msgspec.json.encode(plain))
        return b"\n".join(lines)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as problem:
        raise UsageError(f"{place}: expected values that JSON can hold, found others: {problem}") from problem


def _refuse_infinite(is_infinite: bool) -> None:
    """Raise ValueError if there is an infinite number, which JSON would write as null."""
    if is_infinite:
        raise ValueError("infinity")


def _standard(rows: pl.DataFrame, format: Rows) -> pl.DataFrame:
    """Write success as status, ids as text, and whole numbers as such: pandas keeps them as fractions with a gap."""
    if format is TASK_OUTCOMES and "success" in rows.columns and "status" not in rows.columns:
        status = pl.col("success").cast(pl.String).replace(_FLAGS)
        rows = rows.with_columns(status.alias("status")).drop("success")
    rows = rows.with_columns((selectors.integer() & selectors.by_name(_IDS, require_all=False)).cast(pl.String))
    fractions = (name for name, dtype in format.dtypes.items() if dtype == pl.Int64 and name in rows.columns)
    whole = [rows[name].cast(pl.Int64, strict=False) for name in fractions if rows[name].dtype.is_float()]
    return rows.with_columns(each for each in whole if (each == rows[each.name]).all())


def _load(given: Mapping[str, bytes], *, is_flag: bool) -> Inputs:
    """Read JSON lines as the files of an input directory; errors and warnings name the argument and the row."""
    with tempfile.TemporaryDirectory() as place:
        for name, lines in (_EMPTY | {_FILES[name]: lines for name, lines in given.items()}).items():
            (Path(place) / name).write_bytes(lines)
        try:
            inputs = load_inputs(Path(place))
        except InputError as problem:
            name = _NAMES.get(Path(problem.file).name, "")
            if not name:
                raise UsageError("agents: expected at least one agent, here or in history, found none") from None
            where, field, expected = (
                f"{name}, row {problem.line}" if problem.line else name,
                problem.field,
                _with_arguments(problem.expected),
            )
            if is_flag and field == "status":
                field, expected = "success", "True, False, 1, 0 or a word of status such as passed, failed or void"
            raise InputError(where, field=field, expected=expected, found=problem.found) from None
    if inputs.tasks.is_empty():
        raise UsageError("tasks: expected at least one task, here or in history, found none")
    warnings = tuple(map(_with_arguments, inputs.warnings))
    return replace(inputs, warnings=warnings, population=population_of(inputs.attempts))


def _with_arguments(text: str) -> str:
    """Name the arguments in place of their files."""
    return re.sub("|".join(_NAMES), lambda name: _NAMES[name[0]], text)


@takes_settings(InputOptions)
def validate(input: InputOptions | Path | str | None = None, **settings: "Unpack[InputSettings]") -> Inputs:
    """Check every input, and that every wave can be planned.

    Parameters
    ----------
    input
        The input directory, outputs/phase18 by default; or an :class:`phase19.options.InputOptions`.
    **settings
        Fields of :class:`phase19.options.InputOptions`.

    Returns
    -------
    Inputs
        The tasks, agents, records and files as frames, and the warnings.

    Raises
    ------
    InvalidInputsError
        Files break the contract; `errors` lists at most 20 places.
    InfeasibleError
        A wave has no feasible plan.

    Examples
    --------
    >>> import phase19
    >>> phase19.validate("outputs/phase18")
    The inputs are valid: 12 tasks (planned_tasks.jsonl), 4 agents, 13 recorded attempts. 12 of 12 tasks and 4 of 4
    agents have records.
    """
    inputs = load_inputs(*InputOptions.of(input, **settings).sources, most_errors=20)
    AdaptiveOptimizer(inputs=inputs).check_waves()
    return inputs


@takes_settings(InputOptions)
def forecast(input: InputOptions | Path | str | None = None, **settings: "Unpack[InputSettings]") -> pl.DataFrame:
    """Forecast the first attempt of every task by every agent.

    Parameters
    ----------
    input
        The input directory, outputs/phase18 by default; or an :class:`phase19.options.InputOptions`.
    **settings
        Fields of :class:`phase19.options.InputOptions`.

    Returns
    -------
    polars.DataFrame
        One row per pair: task_id, agent_id, wave, success_probability with its 90 % interval (success_low,
        success_high), duration_ms_p50, duration_ms_p90, confidence_delta and record_count.

    Raises
    ------
    InputError
        An input breaks the contract.

    Examples
    --------
    >>> import phase19
    >>> phase19.forecast("outputs/phase18").shape
    (48, 10)
    """
    return forecast_table(AdaptiveOptimizer(inputs=load_inputs(*InputOptions.of(input, **settings).sources)).model)

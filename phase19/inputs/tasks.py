"""Tasks and agents: convert arguments to frames, sort tasks by priority, and split them into waves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from phase19 import frames
from phase19.errors import UsageError, plural, suggestion
from phase19.inputs.heuristics import Heuristics
from phase19.options import PriorityStrategy

Rows = pl.DataFrame | Sequence[Mapping[str, Any]]

_DIGITS, _FEW_DIGITS = 40, 8  # longest number that counts in ids, and one that takes a quarter of the time
_FEW = 100  # names
_NAMED = 3  # most categories named in a warning


def by_priority(
    tasks: pl.DataFrame,
    strategy: PriorityStrategy = PriorityStrategy.RISK_CONFIDENCE,
    heuristics: Heuristics | None = None,
) -> pl.DataFrame:
    """Sort tasks by priority, the first task to do first.

    Parameters
    ----------
    tasks
        `frames.TASKS`. `agent_specialization` also needs the column `advantage`: the success forecast of the task's
        agent minus the mean over all agents (fraction).
    strategy
        `risk_confidence` sorts by the priority order of the heuristics (H16_001), then by Phase 16's priority, then by
        confidence (highest first), then by task id. `deadline` sorts by deadline before these (tasks without one last),
        `agent_specialization` by advantage (largest first).
    heuristics
        The rules in force; by default the default priority order.
    """
    keys = [(heuristics or Heuristics()).bucket(), pl.col("priority"), -pl.col("confidence")]
    keys += [natural_key("task_id"), pl.col("task_id")]
    if strategy is PriorityStrategy.DEADLINE:
        keys.insert(0, pl.col("deadline_ms"))
    elif strategy is PriorityStrategy.AGENT_SPECIALIZATION:
        keys.insert(0, -pl.col("advantage"))
    return tasks.sort(keys, nulls_last=True)


def recorded_tasks(attempts: pl.DataFrame) -> pl.DataFrame:
    """The tasks of attempts, as `frames.TASKS` sorted by id: each with the last risk level and category recorded."""
    last = attempts.group_by("task_id").agg(pl.col("risk_level", "category").drop_nulls().last())
    return sorted_by_id(last).select(frames.TASKS.fill(last.columns))


def check_any(tasks: pl.DataFrame) -> None:
    """Refuse a run without tasks; the error names the files that tasks come from."""
    if tasks.is_empty():
        raise UsageError(
            "no tasks to schedule: expected some in Phase 18's tasks.jsonl, in Phase 16's planned_tasks.jsonl, or as "
            "total_tasks of multi_agent_summary.json"
        )


def deal_waves(
    tasks: pl.DataFrame, waves: int | None, recorded_waves: int | None = None, heuristics: Heuristics | None = None
) -> pl.DataFrame:
    """Give every task a wave, numbered 1, 2, ... without gaps.

    Parameters
    ----------
    tasks
        `frames.TASKS`, `wave` as recorded or null.
    waves
        Split all tasks into this many waves and ignore recorded waves; None keeps recorded waves.
    recorded_waves
        Number of waves in Phase 18's summary, used if no task has a wave.
    heuristics
        The rules in force.

    Returns
    -------
    polars.DataFrame
        `frames.TASKS` sorted by task id. Tasks without a wave are split in priority order, into equal blocks.
    """
    loose = tasks if waves is not None else tasks.filter(pl.col("wave").is_null())
    fixed = tasks.clear() if waves is not None else tasks.filter(pl.col("wave").is_not_null())
    count = waves or (fixed["wave"].n_unique() if fixed.height else None) or recorded_waves or 1
    fixed = fixed.with_columns(wave=pl.col("wave").rank("dense").cast(pl.Int64))
    dealt = by_priority(loose, heuristics=heuristics).with_columns(
        wave=(pl.int_range(pl.len()) * count // pl.len() + 1).cast(pl.Int64)
    )
    whole = pl.concat([fixed, dealt]).with_columns(wave=pl.col("wave").rank("dense").cast(pl.Int64))
    return sorted_by_id(whole)


def fill_confidence(tasks: pl.DataFrame, attempts: pl.DataFrame, success_rate: float) -> pl.DataFrame:
    """Fill in missing confidences with the mean over the tasks, else over the attempts, else the success rate."""
    # Sort, so that the order of the rows does not change the rounding of the mean.
    stated = (tasks["confidence"].sort().mean(), attempts["confidence_before"].sort().mean(), success_rate)
    default = next(value for value in stated if value is not None)
    return tasks.with_columns(pl.col("confidence").fill_null(pl.lit(default, dtype=pl.Float64)))


def check_names(noun: str, planned: pl.Series, recorded: pl.Series, place: str, effect: str = "") -> list[str]:
    """A warning where records are there and none has one of the planned names, with its effect; else nothing."""
    few = planned.head(_FEW)  # mostly one of them is recorded, which takes little time to find
    if planned.is_empty() or recorded.is_in(few.implode()).any():
        return []
    known = recorded.drop_nulls().unique()
    if known.is_empty() or planned.is_in(known.implode()).any():
        return []
    names = f"such as {planned[0]!r} (the records name {known.min()!r}){effect}"
    same = f"if these are the same {noun}s, make the names equal"
    return [f"{place}: no record names one of the {plural(planned.len(), noun)} to plan, {names}; {same}"]


def check_records(tasks: pl.DataFrame, attempts: pl.DataFrame, features: pl.DataFrame) -> list[str]:
    """Warn where no record names a planned task or its category, and say what the forecasts then rest on."""
    known = attempts["category"].drop_nulls().unique().sort()
    is_known = tasks["category"].is_in(known.implode())
    basis = "categories" if is_known.any() else "risk levels alone, since tasks and records share no category"
    agents = "agents, features" if tasks["task_id"].is_in(features["task_id"].implode()).any() else "agents"
    effect = f", so forecasts rest on {agents} and {basis}"
    found = check_names("task", tasks["task_id"], attempts["task_id"], "records", effect)
    others = tasks.filter(~is_known)
    unknown = others.filter(~others["task_id"].is_in(attempts["task_id"].implode()))["category"]
    if unknown.len() and known.len() and (is_known.any() or not found):
        such = f"such as {unknown[0]!r} (the records have {', '.join(map(repr, known.head(_NAMED)))})"
        whose = f"the category of {plural(unknown.len(), 'task')} to plan"
        found.append(f"records: no record has {whose}, {such}; forecasts of these rest on {agents} and risk levels")
    return found


def check_replayed(tasks: pl.DataFrame, agents: pl.DataFrame, rows: pl.DataFrame, place: str) -> list[str]:
    """Warn where rows of an earlier or recorded run name no task or no agent of this one."""
    names = (("task", tasks["task_id"], rows["task_id"]), ("agent", agents["agent_id"], rows["agent_id"]))
    return [text for noun, planned, recorded in names for text in check_names(noun, planned, recorded, place)]


def joined_counts(
    tasks: pl.DataFrame,
    agents: pl.DataFrame,
    attempts: pl.DataFrame,
    features: pl.DataFrame,
    replayed: pl.DataFrame | None = None,
) -> dict[str, int | None]:
    """Count the tasks and agents with records, those with features, and the replayed rows that the plan has."""

    def is_known(rows: pl.DataFrame, known: pl.DataFrame, name: str) -> pl.Series:
        return rows[name].is_in(known[name].drop_nulls().unique().implode())

    recorded = attempts.unique("task_id")
    is_featured = is_known(features, pl.concat([tasks["task_id"], recorded["task_id"]]).to_frame(), "task_id")
    rows = None if replayed is None else is_known(replayed, tasks, "task_id") & is_known(replayed, agents, "agent_id")
    return {
        "tasks": tasks.height,
        "tasks_with_records": int(is_known(tasks, attempts, "task_id").sum()),
        "tasks_with_features": int(is_known(tasks, features, "task_id").sum()),
        "recorded_tasks": recorded.height,
        "recorded_tasks_with_features": int(is_known(recorded, features, "task_id").sum()),
        "other_tasks_with_features": int((~is_featured).sum()),
        "features": features.width - 1,
        "agents": agents.height,
        "agents_with_records": int(is_known(agents, attempts, "agent_id").sum()),
        "replayed_rows": None if replayed is None else replayed.height,
        "replayed_rows_in_plan": None if rows is None else int(rows.sum()),
    }


def select_agents(agents: pl.DataFrame, count: int | None) -> pl.DataFrame:
    """Take the first `count` agents in natural order; if there are fewer, add `agent_0`, `agent_1`, ..."""
    if count is None or count <= agents.height:
        return agents if count is None else agents.head(count)
    taken = set(agents["agent_id"])
    added = [name for i in range(count) if (name := f"agent_{i}") not in taken][: count - agents.height]
    new = frames.AGENTS.conform([{"agent_id": name, "record_count": 0, "evidence": "none"} for name in added])
    everyone = pl.concat([agents, new])
    order = pl.DataFrame({"agent_id": natural_order(everyone["agent_id"].to_list())})
    return order.join(everyone, on="agent_id", maintain_order="left")


def leave_out(rows: pl.DataFrame, noun: str, names: Sequence[str]) -> pl.DataFrame:
    """Leave out the tasks or agents with these ids.

    Raises
    ------
    UsageError
        An id is unknown, or no row is left.
    """
    known = rows[f"{noun}_id"]
    for name in names:
        if name not in known:
            found = f"{name!r}{suggestion(name, known)}"
            raise UsageError(f"--exclude-{noun}: expected {noun}s that are known, found {found}")
    left = rows.filter(~known.is_in(list(names)))
    if names and left.is_empty():
        raise UsageError(f"--exclude-{noun}: expected to keep at least one {noun}, found all {rows.height} excluded")
    return left


def natural_order(ids: Iterable[str]) -> list[str]:
    """Sort ids, with numbers in them in numeric order: ``agent_2`` before ``agent_10``.

    Ids that differ only in leading zeros are sorted as text.

    Examples
    --------
    >>> natural_order(["agent_10", "agent_2", "agent_02"])
    ['agent_02', 'agent_2', 'agent_10']
    """
    return sorted_by_id(pl.DataFrame({"id": list(ids)}, schema={"id": pl.String}), "id")["id"].to_list()


def sorted_by_id(rows: pl.DataFrame, name: str = "task_id") -> pl.DataFrame:
    """Sort rows by an id column in natural order."""
    return rows.sort(natural_key(name), name)


def natural_key(name: str) -> pl.Expr:
    """Text by which ids sort in natural order: in one column, every number has the same count of digits, up to 40."""
    return pl.col(name).map_batches(_padded, pl.String)


def _padded(ids: pl.Series) -> pl.Series:
    parts = ids.str.extract_groups(r"^([^0-9]*)([0-9]{1,40})([^0-9]*)$").struct.unnest()
    head, number, tail = (parts[name] for name in parts.columns)
    if number.null_count() == 0:  # ids with one number each; this is 20 times as fast as what follows
        longest = pl.lit(number.str.len_bytes().max())
        return pl.select(pl.concat_str(head, pl.lit(number).str.zfill(longest), tail)).to_series()
    digits = _DIGITS if ids.str.contains(f"[0-9]{{{_FEW_DIGITS + 1}}}").any() else _FEW_DIGITS
    padded = ids.str.replace_all(r"([0-9]+)", f"{'0' * digits}${{1}}")
    return padded.str.replace_all(rf"[0-9]*([0-9]{{{digits}}})", "${1}")


def task_rows(tasks: Rows, known: pl.DataFrame | None = None) -> pl.DataFrame:
    """Convert tasks to `frames.TASKS`, in the order given.

    Parameters
    ----------
    tasks
        A frame or dicts with task_id and any other field of `frames.TASKS`. A frame may be empty, a list may not.
    known
        `frames.TASKS` that supply the missing fields.

    Raises
    ------
    UsageError
        There is no task, or no task_id.
    Phase19Error
        A value breaks the schema, or a task is given twice.
    """
    given = rows_of(tasks, "tasks", "task_id")
    missing = [name for name in frames.TASKS.columns if name not in given.columns]
    if known is not None and missing:
        given = given.join(known.select("task_id", *missing), on="task_id", how="left", maintain_order="left")
    return frames.TASKS.conform(given)


def agent_rows(agents: pl.DataFrame | pl.Series | Sequence[str], known: pl.DataFrame) -> pl.DataFrame:
    """Convert agents to `frames.AGENTS`, in the order given.

    Parameters
    ----------
    agents
        `frames.AGENTS`, or ids.
    known
        `frames.AGENTS` of the records, which supply the figures of agents given by id.

    Raises
    ------
    UsageError
        There is no agent.
    """
    if isinstance(agents, pl.DataFrame) and agents.height:
        return frames.AGENTS.conform(agents)
    if not len(agents) or not all(isinstance(name, str) for name in agents):
        raise UsageError(f"agents: expected at least one agent id, found {agents!r:.100}")
    named = frames.AGENTS.conform([{"agent_id": name, "record_count": 0, "evidence": "none"} for name in agents])
    return named.update(known, on="agent_id", how="left")


def rows_of(rows: object, name: str, *columns: str) -> pl.DataFrame:
    """Convert rows to a frame, or raise :class:`UsageError` if a column is missing; only a frame may be empty."""
    if not isinstance(rows, pl.DataFrame):
        if not isinstance(rows, Sequence) or not len(rows) or not all(isinstance(row, Mapping) for row in rows):
            raise UsageError(f"{name}: expected a frame or at least one dict, found {rows!r:.100}")
        try:
            rows = pl.DataFrame(list(rows), infer_schema_length=None)
        except (pl.exceptions.PolarsError, TypeError, UnicodeEncodeError) as problem:
            raise UsageError(f"{name}: expected values of one type in every field, found {problem}") from problem
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise UsageError(f"{name}: expected {', '.join(missing)} in every row, found only {', '.join(rows.columns)}")
    return rows

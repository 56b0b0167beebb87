"""Two runs, A and B, compared: their tasks side by side, whether chance explains the difference, and their figures."""

from collections.abc import Callable, Sequence

import polars as pl

from phase19.errors import plural
from phase19.frames import RAN
from phase19.inputs.tasks import natural_key
from phase19.outputs import chart_data, text
from phase19.outputs.answers import Run
from phase19.outputs.rendering import Table

_CHANCE = 0.1  # a difference that chance makes more seldom is more than chance explains: the level of normal ranges
# Title, part of the summary, key, and how its values are written.
_FIGURES = (
    ("success", "overall_metrics", "actual_success_rate", text.percent),
    ("planned success", "overall_metrics", "expected_success_rate", text.percent),
    ("success that round robin would expect", "overall_metrics", "baseline_success_rate", text.percent),
    ("Brier score", "forecast_scores", "brier_score", text.significant),
    ("skill of the forecasts", "forecast_scores", "skill", text.significant),
)
_SETTINGS = ("executor", "optimization_strategy", "seed", "max_retries", "tasks_from", "timestamp", "run_id")
_SIZES = ("total_tasks", "total_agents", "total_waves_optimized")


def paired_tasks(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Set the tasks of two runs side by side.

    Parameters
    ----------
    a, b
        The tasks of the runs, as :func:`phase19.outputs.explain.task_rows` returns them.

    Returns
    -------
    polars.DataFrame
        One row per task of either run, by id in natural order: task_id; agent_id_a, status_a and planned_success_a
        [fraction]; in_a (true); the same of b. What a run does not have is null.
    """
    first, second = (
        tasks.select(
            "task_id",
            pl.col("agent_id", "status", "planned_success").name.suffix(f"_{name}"),
            pl.lit(value=True).alias(f"in_{name}"),
        )
        for tasks, name in ((a, "a"), (b, "b"))
    )
    return first.join(second, on="task_id", how="full", coalesce=True).sort(natural_key("task_id"), "task_id")


def chance(only_a: int, only_b: int) -> float:
    """Compute how often chance alone makes a difference as large, if both runs are equally good.

    Parameters
    ----------
    only_a, only_b
        Number of tasks that succeeded only in A, and only in B.

    Returns
    -------
    float
        The two-sided p-value, from 0 to 1.

    Notes
    -----
    McNemar's exact test (1947): under the hypothesis, `only_a` is binomial with probability 1/2 among the tasks whose
    outcomes differ. Tasks that ended alike say nothing of the difference.
    """
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def verdict(a: Run, b: Run, tasks: pl.DataFrame) -> str:
    """Say which run did better; of two dry runs, first which plan is better, since their outcomes are drawn.

    Parameters
    ----------
    a, b
        The files of the runs, as `tables.read_run` returns them.
    tasks
        Their tasks, as :func:`paired_tasks` returns them.
    """
    shared = tasks.drop_nulls(("planned_success_a", "planned_success_b"))
    if shared.is_empty() or not all(run["optimization_summary"]["simulated"] for run in (a, b)):
        return outcomes(tasks)
    rate_a, rate_b = shared.select("planned_success_a", "planned_success_b").mean().row(0)
    said = f"{text.percent(rate_a)} success in A and {text.percent(rate_b)} in B over {plural(shared.height, 'task')}"
    points = f"{100 * abs(rate_a - rate_b):.1f}"
    found = [("AB"[rate_b > rate_a] if float(points) else "", f"{points} points more success", "the same success")]
    time_a, time_b = (chart_data.run_time(run)[1] for run in (a, b))
    if shared.height == tasks.height and time_a and time_b:
        saved = f"{100 - 100 * min(time_a, time_b) / max(time_a, time_b):.0f}"
        found.append(("AB"[time_b < time_a] if float(saved) else "", f"{saved} % less time", "the same time"))
        said += f", and {text.duration(time_a)} in A and {text.duration(time_b)} in B"
    phrases = [f"{side} plans {more}" if side else f"both plan {same}" for side, more, same in found]
    head = " and ".join(phrases)
    return f"{head[0].upper()}{head[1:]}: {said}. Outcomes drawn: {outcomes(tasks)}"


def outcomes(tasks: pl.DataFrame) -> str:
    """Say in which run more of the tasks that ran in both succeeded, and whether chance explains it.

    Parameters
    ----------
    tasks
        As :func:`paired_tasks` returns them.
    """
    ran = tasks.filter(pl.col("status_a").is_in(RAN), pl.col("status_b").is_in(RAN))
    if ran.is_empty():
        return "The runs cannot be compared: no task ran in both."
    in_a, in_b = (ran[f"status_{of}"] == "completed" for of in "ab")
    won_a, won_b = int(in_a.sum()), int(in_b.sum())
    only_a, only_b = int((in_a & ~in_b).sum()), int((in_b & ~in_a).sum())
    said = f"{won_a:,} of the {plural(ran.height, 'task')} that ran in both succeeded in A, {won_b:,} in B"
    head = "Both runs did equally well"
    if won_a != won_b:
        share = chance(only_a, only_b)
        explained = "but chance may explain it" if share > _CHANCE else "by more than chance explains"
        head = f"Run {'AB'[won_b > won_a]} did better, {explained}"
        said += f"; equally good runs differ at least as much in {_share(share)} of comparisons"
    alone = tasks.height - tasks.drop_nulls(("in_a", "in_b")).height
    return f"{head}: {said}{f'; only one run has {alone:,} of the tasks' if alone else ''}."


def _share(share: float) -> str:
    least = 0.001
    return f"less than {text.percent(least)}" if share < least else text.percent(share)


def settings_table(a: Run, b: Run, names: Sequence[str]) -> Table:
    """List how each of two runs was made; `names` are their directories."""
    summaries = [run["optimization_summary"] for run in (a, b)]
    rows = [("directory", *names)]
    rows += [(text.words(key), *(text.cell(key, one[key]) for one in summaries)) for key in (*_SETTINGS, *_SIZES)]
    return Table(("setting", "A", "B"), tuple(rows), labels=3)


def figures_table(a: Run, b: Run) -> Table:
    """List the figures of two runs and their difference, B less A."""
    first, second = _figures(a), _figures(b)
    rows = [_figure(title, *first[title], second[title][0]) for title in first]
    failed = [sum(row["status"] == "found" for row in run["anomaly_tests"]) for run in (a, b)]
    rows.append(("checks failed", *map(str, failed), str(failed[1] - failed[0])))
    return Table(("figure", "A", "B", "B less A"), tuple(rows))


Write = Callable[[float | None], str]


def _figures(run: Run) -> dict[str, tuple[float | None, Write]]:
    """Return the figures of a run by title, and how they are written."""
    summary, health = run["optimization_summary"], run["system_health"]["overall_health_score"]
    found: dict[str, tuple[float | None, Write]] = {
        title: (summary[part][key], write) for title, part, key, write in _FIGURES
    }
    found |= {
        name: (ms, text.duration) for name, ms in zip(("time", "planned time"), chart_data.run_time(run), strict=True)
    }
    for row in run["optimization_metrics"]:
        found[text.words(row["metric_name"])] = row["value"], text.significant
    return found | {"health": (health, text.significant)}


def _figure(title: str, a: float | None, write: Write, b: float | None) -> tuple[str, ...]:
    if a is None or b is None:
        change = ""
    elif write is text.percent:
        change = f"{100 * (b - a):+.1f} points"
    else:
        change = f"{'-' if b < a else '+' if b > a else ''}{write(abs(b - a))}"
    return title, write(a), write(b), change

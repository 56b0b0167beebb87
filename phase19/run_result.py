"""RunResult: the results of a run, right after it or read from its directory; and questions about finished runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import polars as pl

from phase19.analysis.querying import select
from phase19.analysis.results import AnomalyTest, Results
from phase19.arguments import converted, converted_paths
from phase19.errors import OutputError, UsageError
from phase19.feedback_loop import OptimizationFeedback, OptimizationFeedbackLoop, ScheduleComparison
from phase19.forecasting.model import forecast_table
from phase19.frames import EXECUTIONS, PLANS, STRINGS
from phase19.inputs.tasks import natural_key
from phase19.monitor import OptimizationMetric, OptimizationMonitor, SchedulingAnomaly
from phase19.optimizer import AdaptiveOptimizer, ScheduleRecommendation
from phase19.options import DEFAULT_RUN, PlanOptions, takes_settings
from phase19.outputs import explain as explaining
from phase19.outputs.answers import attention, verdict
from phase19.outputs.html.markup import blocks_html
from phase19.outputs.tables import attention_table, read_run, waves_table
from phase19.planning import WhatIf, by_agent, plan_waves
from phase19.publishing.files import SUMMARY_FILE

if TYPE_CHECKING:
    from phase19.outputs.plots import Plots
    from phase19.settings import PlanSettings

_MOST_LINES = 10  # of a repr
_EXECUTIONS = """
select * exclude (run, run_id, category, deadline_ms), category, deadline_ms
from tasks left join plans using (run, run_id, wave, task_id, agent_id)
"""


@dataclass(frozen=True, slots=True, repr=False)
class RunResult(Mapping[str, Any]):
    """The results of a run; indexing reads its summary, as in `result["total_tasks"]`.

    Attributes
    ----------
    files
        The summary, the health and the short files of the run directory by name, as the report shows them.
    run_dir
        The run directory.
    comparisons
        Planned and actual figures of each wave.
    metrics, anomalies, checks, failures
        The five metrics; the anomalies; the four checks behind them; the failed checks of the plan.
    signals, advice, recommendations
        Learning signals; those that advise on strategy and schedule; the tasks recommended to each agent, by wave.
    strategies, heuristic_weights
        The content of strategy_effectiveness.json, and the new weights by heuristic.
    health, utilization, alerts
        The content of system_health.json; busy share by agent, fraction; what an operator should look at.
    convergence
        Error of the success forecasts, by wave.
    tables
        Frames by name: the inputs of the analysis, such as `executions` and `decisions`, and the results of the SQL
        queries that have fewer rows than tasks. An opened run has only `executions`; :func:`phase19.query` reads the
        rest.
    warnings
        Texts for the user, for example about ignored fields or about feedback that was delivered before.
    is_interrupted
        Whether the run was stopped before its end.
    planner
        The optimizer of the run before its first wave; None for an opened run.
    """

    files: Mapping[str, Any]
    run_dir: Path
    comparisons: list[ScheduleComparison]
    metrics: list[OptimizationMetric]
    anomalies: list[SchedulingAnomaly]
    checks: list[AnomalyTest]
    failures: list[AnomalyTest]
    signals: list[OptimizationFeedback]
    advice: list[OptimizationFeedback]
    recommendations: list[ScheduleRecommendation]
    strategies: dict[str, Any]
    heuristic_weights: dict[str, float]
    health: dict[str, Any]
    utilization: dict[str, float | None]
    alerts: list[dict[str, Any]]
    convergence: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    warnings: tuple[str, ...] = ()
    is_interrupted: bool = False
    planner: AdaptiveOptimizer | None = field(default=None, compare=False)

    @classmethod
    def read(cls, source: Any, **more: Any) -> Self:
        """Read the results of a run from its directory, or from the `Analysis` of a run in progress."""
        results, loop, monitor = Results(source), OptimizationFeedbackLoop(source), OptimizationMonitor(source)
        files = read_run(results.directory)
        return cls(
            files=files,
            comparisons=[loop.evaluate_schedule_outcome(row["wave"]) for row in files["schedule_comparisons"]],
            signals=loop.generate_learning_signals(),
            advice=loop.recommend_strategy_adjustments(),
            failures=loop.identify_optimization_failures(),
            strategies=loop.evaluate_strategy_effectiveness(),
            heuristic_weights=loop.update_heuristic_weights(),
            metrics=monitor.calculate_metrics(),
            anomalies=monitor.detect_anomalies(),
            checks=monitor.run_checks(),
            health=monitor.generate_system_health(),
            alerts=monitor.generate_alerts(),
            utilization=monitor.monitor_agent_utilization(),
            convergence=monitor.monitor_optimization_convergence(),
            recommendations=results.records("schedule_recommendations.jsonl", ScheduleRecommendation),
            **more,
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The content of optimization_summary.json."""
        return dict(self.files["optimization_summary"])

    @property
    def executions(self) -> pl.DataFrame:
        """Every assigned task of the run, planned and actual figures side by side (`frames.EXECUTIONS`)."""
        return self.tables["executions"]

    @property
    def plans(self) -> pl.DataFrame:
        """Every assigned task of the run with the forecast it was planned on (`frames.PLANS`)."""
        return self.executions.select(*PLANS.columns)

    @property
    def plot(self) -> "Plots":
        """Charts of the run, which altair draws: timeline(), waves(), reliability(), agents() and strategies()."""
        try:
            from phase19.outputs.plots import Plots
        except ModuleNotFoundError as missing:
            raise UsageError(f'plot: {missing.name} is missing; pip install "phase19[notebook]"') from None
        return Plots(self.files, self.executions)

    @property
    def agents(self) -> pl.DataFrame:
        """One row per agent: number of tasks, expected and actual successes, and busy share of the makespans."""
        columns = {"agent_id": pl.String, "utilization": pl.Float64}
        everyone = pl.DataFrame(list(self.utilization.items()), columns, orient="row")
        return by_agent(everyone, self.executions, completed_count=(pl.col("status") == "completed").sum())

    @property
    def forecasts(self) -> pl.DataFrame:
        """The forecast of every pair before the first wave, as :func:`phase19.forecast` returns it."""
        return forecast_table(self._planner("forecasts").model)

    def explain(self, task: str) -> str:
        """Say why a task was assigned to its agent, by what margin, and how it ended."""
        if Results(self.run_dir).document(SUMMARY_FILE, dict[str, Any])["run_id"] != self["run_id"]:
            raise OutputError(f"{self.run_dir}: expected run {self['run_id']}, found another run in its place")
        return explain(task, run=self.run_dir)

    @takes_settings(PlanOptions, has_defaults=False)
    def what_if(self, exclude: Sequence[str] | str = (), **settings: "Unpack[PlanSettings]") -> WhatIf:
        """Plan the same inputs with other options; execute and write nothing.

        Parameters
        ----------
        exclude
            Agents that get no task, besides those that the run excluded.
        **settings
            Fields of :class:`PlanOptions` in place of those of the run.

        Returns
        -------
        WhatIf
            Both plans, made before the first wave, and the tasks that move.
        """
        return plan_waves(self._planner("what_if")).what_if(exclude, **settings)

    def _planner(self, name: str) -> AdaptiveOptimizer:
        if self.planner is None:
            raise UsageError(f"{name}: needs the inputs of the run, which an opened run lacks; use phase19.run")
        return self.planner

    def __fspath__(self) -> str:
        """The run directory, so that a result stands for it wherever a path is wanted."""
        return str(self.run_dir)

    def __getitem__(self, key: str) -> Any:
        return self.files["optimization_summary"][key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.summary)

    def __len__(self) -> int:
        return len(self.summary)

    def __repr__(self) -> str:
        found = [f"{each.severity}: {each.message} {each.action}" for each in attention(self.files)]
        room = _MOST_LINES - 3
        more = [f"... and {len(found) - room} more; see .alerts"] if len(found) > room else []
        return "\n".join([verdict(self.files), *found[:room], *more, f"Results are in {self.run_dir}"])

    def _repr_html_(self) -> str:
        """The verdict, the waves and what needs attention, for notebooks."""
        blocks = (verdict(self.files), waves_table(self.files), attention_table(self.files))
        return blocks_html(*blocks, f"Results are in {self.run_dir}")


def open_run(run_dir: Path | str = DEFAULT_RUN) -> RunResult:
    """Open a finished run.

    Parameters
    ----------
    run_dir
        The run directory.

    Returns
    -------
    RunResult
        As :func:`phase19.run` returned it, without `forecasts` and `what_if`, which need the inputs.

    Raises
    ------
    OutputError
        `run_dir` is not a run directory.

    Examples
    --------
    >>> import phase19
    >>> phase19.open_run("outputs/phase19").executions.height
    12
    """
    place = converted("run_dir", Path, run_dir)
    rows = select(place, _EXECUTIONS).with_columns(
        pl.col("heuristics_applied", "main_features").str.json_decode(STRINGS)
    )
    order = ("wave", natural_key("agent_id"), "scheduled_start_time", natural_key("task_id"))
    executions = rows.select(EXECUTIONS.fill(rows.columns)).sort(order)
    is_interrupted = executions.filter(status="interrupted").height > 0
    return RunResult.read(place, run_dir=place, tables={"executions": executions}, is_interrupted=is_interrupted)


def query(
    sql: str = "from view_columns", *, run: PathLike[str] | str | Sequence[PathLike[str] | str] = DEFAULT_RUN
) -> pl.DataFrame:
    """Query finished runs in SQL, using the views of sql/views.sql; runs are not changed.

    Parameters
    ----------
    sql
        One select statement; by default, list the views and their columns.
    run
        A run directory or :class:`RunResult`, or several.

    Returns
    -------
    polars.DataFrame
        All rows, one plain value per cell; lists and structs are JSON text.

    Raises
    ------
    OutputError
        One of `run` is not a run directory.
    UsageError
        `sql` is not exactly one select, or fails.

    Examples
    --------
    >>> import phase19
    >>> phase19.query("select count(*) as tasks from executions", run="outputs/phase19").item()
    12
    """
    return select(converted_paths("run", run), converted("sql", str, sql))


def explain(task: str, *, run: PathLike[str] | str = DEFAULT_RUN) -> str:
    """Say why a task was assigned to its agent, by what margin, and how it ended.

    Parameters
    ----------
    task
        The task's id.
    run
        The run directory, or a :class:`RunResult`.

    Returns
    -------
    str
        One sentence a line.

    Raises
    ------
    OutputError
        `run` is not a run directory.
    UsageError
        The run has no such task.

    Examples
    --------
    >>> import phase19
    >>> print(phase19.explain("task_3", run="outputs/phase19"))  # doctest: +ELLIPSIS
    task_3 was assigned to ...
    """
    found = explaining.explain(converted("run", Path, run), converted("task", str, task))
    return "\n".join(explaining.sentences(found))

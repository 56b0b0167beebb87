"""The run from end to end: the only place that knows the order."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phase19.analysis.session import analyse
from phase19.balancing.placement import never_planned
from phase19.errors import UsageError, plural
from phase19.execution import make_executor
from phase19.inputs.history import read_approvals, read_previous
from phase19.inputs.loading import load_inputs
from phase19.inputs.preparation import prepare
from phase19.inputs.thresholds_file import Thresholds, read_thresholds
from phase19.options import RunOptions
from phase19.outputs.provenance import identify, lineage
from phase19.outputs.report import write_report
from phase19.outputs.summary import agent_files, run_row, summary_document, unassigned_rows
from phase19.planning import PlanParameters
from phase19.publishing.delivery import FEEDBACK_FILE, deliver_feedback
from phase19.publishing.files import agent_directories, write_agent_rows, write_files, write_json
from phase19.publishing.run_directory import check_target, publish
from phase19.result import RunResult
from phase19.safety import SafetyGate
from phase19.wave_records import WaveRecord, analysis_frames, record_wave
from phase19.waves import WaveLoop, waves_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from phase19.execution.live import LiveResult
    from phase19.execution.protocol import Executor
    from phase19.forecasting.model import ForecastModel
    from phase19.inputs.history import Previous
    from phase19.inputs.loading import Inputs
    from phase19.inputs.preparation import Preparation
    from phase19.inputs.thresholds import Rules

__all__ = ["Phase19Harness", "RunResult", "run"]


class Phase19Harness:
    """Loads, plans, executes, compares and writes a run.

    Parameters
    ----------
    options
        What to do.
    runner
        For a live run: does one attempt, `runner(order, attempt)`.
    progress
        Called as `progress(stage, done, total)`.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        runner: Callable[[dict[str, Any], int], LiveResult] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        if (options.executor == "live") != (runner is not None):
            raise UsageError(
                "--executor live and a runner go together (from Python: phase19.run(..., runner=...)), "
                "found only one of them"
            )
        self.options = options
        self.runner = runner
        self.progress = progress or (lambda _stage, _done, _total: None)
        self.stage_seconds: dict[str, float] = defaultdict(float)
        self._started = time.perf_counter()
        self._warnings: list[str] = []

    def run_phase19(self, waves: int | None = None, agents: int | None = None) -> RunResult:
        """Run everything.

        Parameters
        ----------
        waves, agents
            Override the options' number of waves and agents.

        Returns
        -------
        RunResult
            The run directory is complete when this returns; where it raises, nothing was written.
        """
        if waves is not None or agents is not None:
            waves, agents = (
                own if given is None else given
                for given, own in ((waves, self.options.waves), (agents, self.options.agents))
            )
            options = replace(self.options, waves=waves, agents=agents)
            return Phase19Harness(options, runner=self.runner, progress=self.progress).run_phase19()
        self._started = time.perf_counter()
        self._warnings.clear()
        self._check_output()
        thresholds = read_thresholds(self.options.thresholds) if self.options.thresholds else Thresholds()
        inputs, previous = self._load(thresholds.rules)
        # Whatever can be wrong with the options shows here: a live run cannot be done again.
        identity = identify(self.options, inputs, previous, thresholds)
        prepared = self._initialise(inputs, previous)
        model = prepared.model
        directories = agent_directories(model.agents["agent_id"].to_list())
        records, is_interrupted = self._run_waves(self._loop(prepared), model)
        run = run_row(self.options, identity, model, sum(record.plan is not None for record in records))
        tables = analysis_frames(records, run, model.agents, inputs.heuristics, previous) | thresholds.frames()
        told = lineage(previous, thresholds)
        return self._publish(inputs, model, records, tables, directories, told=told, is_interrupted=is_interrupted)

    def _check_output(self) -> None:
        options = self.options
        target = options.output_dir.resolve()
        files = (options.executions, options.approve, options.thresholds)
        sources = (options.input, options.phase16_dir, options.phase17_dir, *files)
        for source in sources:
            if source is not None and target in (source.resolve(), *source.resolve().parents):
                raise UsageError(f"--output: {options.output_dir} is or holds the input {source}")
        if options.input.resolve() in target.parents:
            raise UsageError(f"--output: {options.output_dir} is inside the input {options.input}")
        check_target(target)

    def _load(self, rules: Rules | None = None) -> tuple[Inputs, Previous | None]:
        with self._stage("load"):
            options = self.options
            sources = (options.input, options.phase16_dir, options.phase17_dir)
            inputs = load_inputs(*sources, options.censored_errors, allow_unassigned=options.allow_unassigned)
            previous = read_previous(options.previous, rules) if options.previous else None
            if previous is not None and previous.is_simulated:
                self._warnings.append(f"--previous: {options.previous} is a simulated run and teaches nothing")
            return inputs, previous

    def _initialise(self, inputs: Inputs, previous: Previous | None) -> Preparation:
        with self._stage("forecast"):
            return prepare(inputs, previous, waves=self.options.waves, agents=self.options.agents)

    def _executor(self, model: ForecastModel) -> Executor:
        ids = (model.tasks["task_id"], model.agents["agent_id"])
        return make_executor(self.options, model.world, *ids, self.runner)

    def _loop(self, prepared: Preparation) -> WaveLoop:
        options = self.options
        approvals = read_approvals(options.approve) if options.approve else None
        gate = SafetyGate(is_live=options.executor == "live", is_approval_required=options.require_approval)

        def decide(tasks: pl.DataFrame, rate_before: float | None) -> pl.DataFrame:
            return gate.decide(tasks, approvals, heuristics=prepared.heuristics, rate_before=rate_before)

        executor = self._executor(prepared.model)
        asked = PlanParameters.of(options, prepared.heuristics, allow_unassigned=options.allow_unassigned)
        parameters = asked.within(executor.most_attempts)
        if parameters.max_retries < asked.max_retries:
            most = plural(parameters.max_retries + 1, "attempt")
            known = f"{options.executions} holds at most {most} of a pair"
            self._warnings.append(f"--max-retries: {known}, so plans count on no more")
        return WaveLoop(executor, parameters, decide, options.seed, self._stage, self.progress)

    def _run_waves(self, loop: WaveLoop, model: ForecastModel) -> tuple[list[WaveRecord], bool]:
        records, is_interrupted = [], False
        for wave in loop.play(model):
            with self._stage("draw"):
                records.append(record_wave(wave))
            is_interrupted = wave.execution.is_interrupted
        missed = (loop.gate(tasks, None) for tasks in waves_of(model.tasks)[len(records) :])
        records += [WaveRecord(decisions, unassigned=never_planned(decisions)) for decisions in missed]
        return records, is_interrupted

    def _publish(
        self,
        inputs: Inputs,
        model: ForecastModel,
        records: list[WaveRecord],
        tables: dict[str, pl.DataFrame],
        directories: dict[str, str],
        *,
        told: dict[str, Any],
        is_interrupted: bool,
    ) -> RunResult:
        options, waves = self.options, range(1, tables["run"]["wave_count"][0] + 1)
        with publish(options.output_dir) as staging:
            for wave in waves:
                for directory in directories.values():
                    (staging / f"wave_{wave}" / directory).mkdir(parents=True)
            with self._stage("analyse"):
                tables |= analyse(tables, staging)
            with self._stage("write"):
                for file_name, rows in agent_files(tables).items():
                    write_agent_rows(rows, staging, file_name, waves=waves, directories=directories)
                elapsed_ms = (time.perf_counter() - self._started) * 1000.0
                write_files(staging, {"unassigned_tasks.jsonl": unassigned_rows(tables)})
                summary = summary_document(inputs, model, records, tables, elapsed_ms) | told
                write_json(staging / "optimization_summary.json", summary)
                write_report(staging)
        warnings = (*inputs.warnings, *self._warnings, *self._deliver(summary["run_id"]))
        return RunResult(summary, options.output_dir, tables, warnings, dict(self.stage_seconds), is_interrupted)

    def _deliver(self, run_id: str) -> list[str]:
        """Deliver the feedback where that is asked for; a warning for each neighbour that has it already."""
        options = self.options
        if not options.deliver_feedback:
            return []
        grown = deliver_feedback(options.output_dir, options.phase16_dir, options.input)
        files = [place / FEEDBACK_FILE for place in (options.phase16_dir, options.input) if place is not None]
        known = f"feedback of run {run_id} stands there already, nothing was added"
        return [f"{file}: {known}" for file in files if file not in grown]

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.stage_seconds[name] += time.perf_counter() - started


def run(
    options: RunOptions | None = None,
    /,
    *,
    runner: Callable[[dict[str, Any], int], LiveResult] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **settings: Any,
) -> RunResult:
    """Run Phase 19.

    Parameters
    ----------
    options
        What to do; or leave it out and name the fields of :class:`RunOptions` as keywords, paths and the
        strategy as text where that is handier.
    runner
        For a live run: does one attempt, `runner(order, attempt)`.
    progress
        Called as `progress(stage, done, total)`.

    Returns
    -------
    RunResult
        The summary, the frames, and where the run directory is.

    Examples
    --------
    >>> import phase19
    >>> result = phase19.run(input="outputs/phase18", seed=7)  # doctest: +SKIP
    >>> result.executions  # doctest: +SKIP
    """
    return Phase19Harness(options or RunOptions.of(**settings), runner=runner, progress=progress).run_phase19()

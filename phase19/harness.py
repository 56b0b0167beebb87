"""Phase19Harness: one run, from loading the inputs to writing the reports."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import polars as pl

from phase19.analysis.evidence import analysis_frames, wave_frames
from phase19.analysis.session import Analysis, analyse
from phase19.arguments import checked
from phase19.balancing.capacity import never_planned
from phase19.errors import OutputError, UsageError, plural, suggestion
from phase19.execution.live import LiveExecutor, LiveResult
from phase19.execution.protocol import Executor, attempt_log
from phase19.execution.replay import ReplayExecutor
from phase19.execution.simulate import SimulateExecutor
from phase19.feedback_loop import OptimizationFeedbackLoop
from phase19.inputs.directories import list_directory
from phase19.inputs.history import read_approvals, read_executions, read_previous
from phase19.inputs.loading import Inputs
from phase19.inputs.tasks import check_replayed, joined_counts
from phase19.inputs.thresholds import Thresholds, read_thresholds
from phase19.monitor import OptimizationMonitor
from phase19.optimizer import AdaptiveOptimizer
from phase19.options import RunOptions, takes_settings
from phase19.outputs.explain import task_rows
from phase19.outputs.report import write_report
from phase19.outputs.summary import derive_run_id, run_row, summary_document
from phase19.publishing.delivery import FEEDBACK_FILE
from phase19.publishing.files import SUMMARY_FILE, real_path, write_files, write_json
from phase19.publishing.run_directory import check_target, holds_live_run, journal, publish
from phase19.run_result import RunResult
from phase19.safety import SafetyGate
from phase19.scheduler import AdaptiveScheduler
from phase19.wave import ExecutedWave, PlannedWave, Wave

if TYPE_CHECKING:
    from phase19.settings import RunSettings


@checked
class Phase19Harness:
    """Loads, plans, executes, compares and writes a run.

    Parameters
    ----------
    options
        A :class:`RunOptions`, or the input directory. Without it, pass the directories and other fields of
        :class:`RunOptions` by name.
    phase18_dir, phase19_output_dir
        The same as the options `input` and `output`.
    runner
        Makes one attempt of a live run: `runner(order, attempt)` returns a :class:`LiveResult` or a bool.
    progress
        Called as `progress(stage, done, total)`.
    """

    def __init__(
        self,
        options: RunOptions | Path | str | None = None,
        *,
        phase18_dir: Path | str | None = None,
        phase19_output_dir: Path | str | None = None,
        runner: Callable[[dict[str, Any], int], LiveResult | bool] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        **settings: Any,
    ) -> None:
        named = {"input": phase18_dir, "output": phase19_output_dir}
        settings |= {name: place for name, place in named.items() if place is not None}
        self.options = RunOptions.of(options, **settings)
        self.runner = runner
        self.progress = progress or (lambda _stage, _done, _total: None)
        self._started = time.perf_counter()
        self._warnings: list[str] = []
        self._enforce_dry_run()

    def __getattr__(self, name: str) -> Any:
        """Raise UsageError if a step is called before the steps it depends on."""
        if name in {"optimizer", "scheduler", "gate", "model", "run_id", "thresholds", "approvals", "previous"}:
            raise UsageError("call _load_phase18_data and _initialize_optimizer before this step")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def run_phase19(self, waves: int | None = None, agents: int | None = None) -> RunResult:
        """Run everything.

        Parameters
        ----------
        waves, agents
            Number of waves and of agents; those of the options by default.

        Returns
        -------
        RunResult
            The run directory is complete when this returns. If the run fails earlier, no run directory is written.
        """
        self._started = time.perf_counter()
        self._warnings.clear()
        self._check_output()
        inputs = self._load_phase18_data()
        optimizer = self._initialize_optimizer(inputs, waves, agents)
        self._avoid_live_run()
        with ExitStack() as held:
            if isinstance(executor := self.scheduler.executor, LiveExecutor):
                place = real_path(self.output_dir)
                executor.record = held.enter_context(journal(place.with_name(f"{place.name}-{self.run_id}.journal")))
            staging = held.enter_context(publish(self.output_dir))
            finished = list(map(self._frames, self.run_waves(optimizer)))
            analysis = self._analyse(finished, inputs, staging)
            self._generate_feedback(analysis)
            self._monitor_optimization(analysis)
            result = self._generate_reports(analysis)
        return self._deliver_feedback(result)

    def run_in_memory(self) -> dict[str, pl.DataFrame]:
        """Run everything but write nothing, and return the tables of the run by name, as `RunResult.tables` has them.

        The options `output` and `deliver_feedback` have no effect.
        """
        inputs = self._load_phase18_data()
        optimizer = self._initialize_optimizer(inputs)
        finished = list(map(self._frames, self.run_waves(optimizer)))
        return self._tables(finished, inputs, None)

    def _frames(self, wave: Wave) -> dict[str, pl.DataFrame]:
        """The frames of a finished wave; the caller keeps no reference to it while the next one is planned."""
        return wave_frames(wave, self.model)

    def run_waves(self, optimizer: AdaptiveOptimizer) -> Iterator[Wave]:
        """Run the waves in order, each planned with the outcomes of earlier ones.

        After an interrupt, the remaining waves follow without a plan.
        """
        success_rate, self._is_interrupted = None, False
        waves = optimizer.waves
        for done, wave in enumerate(waves):
            self.progress("waves", done, len(waves))
            approved = self._apply_safety_gates(wave, success_rate)
            if self._is_interrupted:
                yield replace(approved, unassigned=never_planned(approved.decisions))
                continue
            planned = self._optimize_wave(approved)
            scheduled = self._apply_scheduler(planned)
            executed = self._execute_wave(scheduled)
            optimizer.observe(executed)
            success_rate = self.scheduler.executed[wave.number].success_rate
            self._is_interrupted = executed.is_interrupted
            yield executed
            del planned, scheduled, executed  # free the pair matrices before the next wave is planned
        self.progress("waves", len(waves), len(waves))

    def _enforce_dry_run(self) -> None:
        """Refuse a live run without a runner, and a runner without a live run: a dry run never reaches real agents."""
        if (self.options.executor == "live") != (self.runner is not None):
            raise UsageError(
                "expected both --executor live and a runner (in Python: phase19.run(..., runner=...)), "
                "or neither, found only one of them"
            )

    def _check_output(self) -> None:
        """Refuse an output directory that contains inputs or anything but an earlier run."""
        options = self.options
        target = real_path(options.output_dir)
        directories = [list_directory(source) for source in options.sources if source is not None]
        files = (options.executions, options.approve, options.thresholds)
        sources = [source for source in (*options.sources, *files) if source is not None]
        sources += [directory.path / name for directory in directories for name in directory.files]
        for source in sources:
            if target in ((place := real_path(source)), *place.parents):
                raise UsageError(f"--output: {options.output_dir} is or contains the input {source}")
        for place in {options.input, *(path.parent for path in sources if options.input in path.parents)}:
            if real_path(place) in target.parents:
                raise UsageError(f"--output: {options.output_dir} is inside the input {place}")
        self.output_dir = options.output_dir
        if options.output is not None or not holds_live_run(target):
            check_target(target)

    def _avoid_live_run(self) -> None:
        """Write beside the default output directory if it contains a live run."""
        if self.options.output is None and holds_live_run(self.output_dir):
            self._warnings.append(f"{self.output_dir} contains a live run, which is never replaced")
            self.output_dir = self.output_dir.with_name(f"{self.output_dir.name}-{self.run_id}")
            check_target(self.output_dir)

    def _load_phase18_data(self) -> Inputs:
        """Read the records, the thresholds and the earlier run."""
        options = self.options
        self.thresholds = read_thresholds(options.thresholds) if options.thresholds else Thresholds()
        phase18, phase16, phase17 = options.sources
        self.optimizer = AdaptiveOptimizer(
            phase18, phase16_dir=phase16, phase17_dir=phase17, options=options, seed=options.seed
        )
        self.optimizer.load_phase18_data()
        self.previous = read_previous(options.previous, self.thresholds.rules) if options.previous else None
        if self.previous is not None and self.previous.is_simulated:
            self._warnings.append(f"--previous: {options.previous} is a simulated run, so nothing is learned from it")
        return self.optimizer.inputs

    def _initialize_optimizer(
        self, inputs: Inputs, waves: int | None = None, agents: int | None = None
    ) -> AdaptiveOptimizer:
        """Derive the run id, fit the forecast model, and prepare the gate, the scheduler and its executor."""
        options = self.options
        options = self.options = replace(
            options,
            waves=options.waves if waves is None else waves,
            agents=options.agents if agents is None else agents,
        )
        optimizer = self.optimizer
        optimizer.previous, optimizer.timestamp = self.previous, options.timestamp or optimizer.timestamp
        # This reads every file of the options: an unreadable file must stop a live run before it starts.
        self.run_id = derive_run_id(options, inputs, self.previous, self.thresholds, optimizer.timestamp)
        optimizer.wave_count, optimizer.agent_count = options.waves, options.agents
        optimizer.check_waves()
        model = self.model = optimizer.model
        if self.previous is not None:
            self._warnings += check_replayed(model.tasks, model.agents, self.previous.attempts, str(options.previous))
        executor: Executor
        replayed = None
        if self.runner is not None:
            executor = LiveExecutor(self.runner)
        elif options.executions is not None:
            replayed = read_executions(options.executions, self._warnings)
            self._warnings += check_replayed(model.tasks, model.agents, replayed, options.executions.name)
            executor = ReplayExecutor(replayed)
        else:
            executor = SimulateExecutor(model.world(options.seed), model.tasks["task_id"], model.agents["agent_id"])
        self.joins = joined_counts(model.tasks, model.agents, inputs.attempts, inputs.features, replayed)
        self.prepare_waves(optimizer, executor)
        return optimizer

    def prepare_waves(self, optimizer: AdaptiveOptimizer, executor: Executor) -> None:
        """Make :meth:`run_waves` plan with this optimizer and execute with this executor."""
        options, self.optimizer = self.options, optimizer
        self.approvals = read_approvals(options.approve) if options.approve else None
        if self.approvals is not None:
            known = optimizer.model.tasks["task_id"]
            for name in self.approvals.filter(~self.approvals.is_in(known.implode())).head(10):
                self._warnings.append(f"{options.approve}: no task is named {name!r}{suggestion(name, known)}")
        self.gate = SafetyGate(is_live=options.executor == "live", is_approval_required=options.require_approval)
        if executor.most_attempts is not None and executor.most_attempts <= options.max_retries:
            optimizer.options = replace(options, max_retries=executor.most_attempts - 1)
            most = plural(executor.most_attempts, "attempt")
            self._warnings.append(
                f"--max-retries: {options.executions} has at most {most} per pair, so plans allow no more"
            )
        self.scheduler = AdaptiveScheduler(
            dry_run=self.runner is None,
            executor=executor,
            inputs=optimizer.inputs,
            heuristics=optimizer.heuristics,
            priority=options.priority,
            max_retries=optimizer.options.max_retries,
            max_load_factor=options.max_load_factor,
        )

    def _apply_safety_gates(self, wave: Wave, success_rate: float | None = None) -> Wave:
        """Decide which tasks may start, given the success rate of the previous wave (None if unknown)."""
        heuristics = self.optimizer.heuristics
        return self.gate.approve(wave, self.approvals, heuristics=heuristics, rate_before=success_rate)

    def _optimize_wave(self, wave: Wave) -> PlannedWave:
        """Plan a wave, and apply the load limit if there is one."""
        result = self.optimizer.calculate_optimal_schedule(wave)
        planned = replace(result.wave, max_load_factor=self.options.max_load_factor)
        if self.options.max_load_factor is None:
            return planned
        moved = self.scheduler.adjust_for_agent_load(planned.plans, planned)
        return self.optimizer.reassign(planned, moved["agent_id"])

    def _apply_scheduler(self, wave: PlannedWave) -> PlannedWave:
        """Put a planned wave on the agents' timelines."""
        rows = self.scheduler.assign_tasks_to_agents(wave.tasks, wave.agent_assignments, wave.number, plans=wave.plans)
        return replace(wave, plans=rows)

    def _execute_wave(self, wave: PlannedWave) -> ExecutedWave:
        """Execute a scheduled wave; the executor sees no forecast."""
        gains = wave.model.gains
        changes = (gains.population_failure, gains.population_success)
        done = self.scheduler.execute_schedule(wave.number, wave.plans, confidence_changes=changes)
        return ExecutedWave.grown_from(
            wave, executions=done.executions, attempts=done.attempts, is_interrupted=done.is_interrupted
        )

    def _analyse(self, waves: list[dict[str, pl.DataFrame]], inputs: Inputs, staging: Path) -> Analysis:
        """Compute the tables of the run; the SQL writes its files to the staging directory."""
        return Analysis(staging, self._tables(waves, inputs, staging))

    def _tables(
        self, waves: list[dict[str, pl.DataFrame]], inputs: Inputs, staging: Path | None
    ) -> dict[str, pl.DataFrame]:
        """Compute the tables of the run by name; without a staging directory, the SQL writes no files."""
        tables = analysis_frames(waves, inputs.heuristics, self.previous)
        run = run_row(self.options, self.run_id, self.optimizer.timestamp, self.model, tables["wave_plans"].height)
        made = pl.concat([done.attempts for done in self.scheduler.executed.values()])
        attempts = attempt_log(made, is_simulated=run["is_simulated"].item())
        tables |= {"agents": self.model.agents, "attempts": attempts, "run": run, **self.thresholds.frames()}
        return {**tables, **analyse(tables, staging, task_format=self.options.format)}

    def _generate_feedback(self, analysis: Analysis) -> None:
        """Write the feedback files."""
        OptimizationFeedbackLoop(analysis).write_feedback_outputs(analysis.directory)

    def _monitor_optimization(self, analysis: Analysis) -> None:
        """Write the monitoring files."""
        OptimizationMonitor(analysis).write_monitoring_outputs(analysis.directory)

    def _generate_reports(self, analysis: Analysis) -> RunResult:
        """Write the plans, the schedules, the summary and the report."""
        staging, tables, task_format = analysis.directory, analysis.tables, self.options.format
        self.optimizer.write_optimization_outputs(
            staging, scheduled=tables["executions"], unassigned=tables["unassigned"], task_format=task_format
        )
        for wave in tables["wave_plans"]["wave"].to_list():
            self.scheduler.write_schedule_outputs(wave, staging, task_format=task_format)
        write_files(staging, {f"attempts.{task_format}": tables["attempts"]})
        self._warn_of_errors(tables["attempts"])
        baselines = self.optimizer.calculate_optimization_metrics()
        summary = summary_document(
            self.options,
            self.optimizer.inputs,
            self.model,
            baselines,
            tables,
            joins=self.joins,
            previous=self.previous,
            thresholds=self.thresholds,
            execution_time_ms=(time.perf_counter() - self._started) * 1000.0,
        )
        write_json(staging / SUMMARY_FILE, summary)
        tasks = task_rows(tables, is_simulated=tables["run"]["is_simulated"].item())
        write_report(staging, tasks, tables["attempts"])
        return RunResult.read(
            analysis,
            run_dir=self.output_dir,
            tables=tables,
            warnings=(*self.optimizer.inputs.warnings, *self._warnings),
            is_interrupted=self._is_interrupted,
            planner=self.optimizer.restarted(),
        )

    def _warn_of_errors(self, attempts: pl.DataFrame) -> None:
        """Warn of the attempts of a live run that ended with an error message."""
        errors = attempts.filter(pl.col("error_message").is_not_null())
        if self.runner is not None and errors.height:
            first = "attempt {attempt} of {task_id} by {agent_id}: {error_message}".format(**errors.row(0, named=True))
            self._warnings.append(
                f"{plural(errors.height, 'attempt')} of {attempts.height:,} ended with an error; {first}"
            )

    def _deliver_feedback(self, result: RunResult) -> RunResult:
        """Append the feedback to the files of Phases 16 and 18 if the options say so."""
        options = self.options
        if not options.deliver_feedback:
            return result
        loop, (phase18, phase16, _) = OptimizationFeedbackLoop(result), options.sources
        try:
            grown = [] if phase16 is None else loop.update_phase16_heuristics(phase16)
            grown += loop.update_phase18_coordination(phase18)
        except OutputError as problem:
            done = f"the run is complete in {result.run_dir}, but not all of its feedback was delivered"
            raise OutputError(f"{done}: {problem}") from problem
        places = [place / FEEDBACK_FILE for place in (phase16, phase18) if place is not None]
        known = f"the feedback of run {result['run_id']} was delivered before; nothing was added"
        more = [f"{place}: {known}" for place in places if place not in grown]
        return replace(result, warnings=(*result.warnings, *more))


@takes_settings(RunOptions)
def run(
    input: RunOptions | Path | str | None = None,
    *,
    runner: Callable[[dict[str, Any], int], LiveResult | bool] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **settings: "Unpack[RunSettings]",
) -> RunResult:
    """Plan, execute and analyse the next waves, and write the run directory.

    Parameters
    ----------
    input
        The input directory, outputs/phase18 by default; or a :class:`RunOptions`.
    runner
        Makes one attempt of a live run: `runner(order, attempt)` returns a :class:`LiveResult` or a bool.
    progress
        Called as `progress(stage, done, total)`.
    **settings
        Fields of :class:`RunOptions`; paths and choices may be text.

    Returns
    -------
    RunResult
        The summary, the figures, the frames, and the run directory.

    Raises
    ------
    Phase19Error
        An option or input is invalid, a wave cannot be planned, or the output cannot be written.

    Examples
    --------
    >>> import phase19
    >>> result = phase19.run("outputs/phase18", strategy="balance_load", seed=7)
    >>> result["total_tasks"]
    12
    """
    return Phase19Harness(input, runner=runner, progress=progress, **settings).run_phase19()

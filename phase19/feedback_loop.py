"""OptimizationFeedbackLoop: comparisons, learning signals and heuristic weights from planned and actual figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from msgspec import Meta, Struct

from phase19.analysis.results import FEEDBACK_FILE, AnomalyTest, Results
from phase19.arguments import WaveNumber, checked
from phase19.errors import OutputError, UsageError
from phase19.inputs.thresholds import Thresholds
from phase19.publishing.delivery import deliver_feedback
from phase19.publishing.files import agent_directories, write_agent_rows

_FILES = (
    "schedule_comparisons.jsonl",
    "learning_signals.jsonl",
    "optimization_feedback.jsonl",
    "heuristic_weights.json",
    "heuristic_updates.jsonl",
    "strategy_effectiveness.json",
    "feedback/phase16_feedback.jsonl",
    "feedback/phase18_feedback.jsonl",
)
# The figures of a wave, and their bounds.
_MEASURES = {"success_rate": (0.0, 1.0), "throughput": (0.0, math.inf), "confidence_delta": (-1.0, 1.0)}
_ADVICE = ("strategy_validation", "schedule_adjustment", "coordination_improvement")


@dataclass(frozen=True, slots=True)
class ScheduleComparison:
    """Planned and actual figures of a wave; None where nothing ran. A line of schedule_comparisons.jsonl."""

    wave: int
    planned_success_rate: float | None
    actual_success_rate: float | None
    planned_throughput: float | None
    actual_throughput: float | None
    planned_confidence_delta: float | None
    actual_confidence_delta: float | None
    accuracy_score: float | None


@dataclass(frozen=True, slots=True)
class OptimizationFeedback:
    """A learning signal with its evidence; a line of learning_signals.jsonl."""

    signal_id: str
    feedback_id: str
    feedback_type: str
    confidence: float
    description: str
    recommendation: str
    supporting_evidence: list[str]
    timestamp: str


class _Delivered(Struct):
    """The required field of a feedback line: the run id prevents a second delivery."""

    run_id: str


@checked
class OptimizationFeedbackLoop:
    """Compares planned with actual results, and derives learning signals, heuristic weights and advice.

    Parameters
    ----------
    source
        A run directory, a `RunResult`, or the `Analysis` of a run in progress; `phase19_output_dir` by default.
    phase16_dir, phase18_dir
        Directories of Phases 16 and 18, which receive feedback.
    phase19_output_dir
        The run directory.

    Examples
    --------
    >>> OptimizationFeedbackLoop("outputs/phase19").generate_learning_signals()[0].feedback_type
    'strategy_validation'
    """

    def __init__(
        self,
        source: Any = None,
        *,
        phase16_dir: Path | str | None = None,
        phase18_dir: Path | str | None = None,
        phase19_output_dir: Path | str | None = None,
    ) -> None:
        self.results = Results(phase19_output_dir if source is None else source)
        self.phase16_dir, self.phase18_dir = phase16_dir, phase18_dir

    def evaluate_schedule_outcome(
        self,
        wave: WaveNumber,
        planned_metrics: Mapping[str, float | None] | None = None,
        actual_metrics: Mapping[str, float | None] | None = None,
    ) -> ScheduleComparison:
        """Compare the planned figures of a wave with the actual ones.

        Parameters
        ----------
        wave
            Number of the wave.
        planned_metrics, actual_metrics
            `success_rate` [fraction], `throughput` [tasks/s] and `confidence_delta` [fraction], any of them. Give both
            arguments or neither; by default the run's own figures are compared.

        Raises
        ------
        UsageError
            Only one argument is given, a figure is unknown or out of bounds, or the run has no such wave.

        Notes
        -----
        accuracy_score is 1 - |planned - actual| / planned of the success rates, clipped to [0, 1]. If planned is 0, it
        is 1 if actual is 0 and 0 otherwise.
        """
        if (planned_metrics is None) != (actual_metrics is None):
            raise UsageError("planned_metrics and actual_metrics: expected both or neither, found only one of them")
        if planned_metrics is not None and actual_metrics is not None:
            planned, actual = _figures("planned", planned_metrics), _figures("actual", actual_metrics)
            accuracy = _accuracy(planned["planned_success_rate"], actual["actual_success_rate"])
            return ScheduleComparison(wave, **planned, **actual, accuracy_score=accuracy)
        known = {each.wave: each for each in self.results.records("schedule_comparisons.jsonl", ScheduleComparison)}
        if wave not in known:
            raise UsageError(f"wave {wave}: expected one of the run's waves, {sorted(known)}")
        return known[wave]

    def generate_feedback_events(self) -> pl.DataFrame:
        """Planned and actual figures, one row per wave and agent, idle agents included."""
        return self.results.agent_feedback()

    def generate_learning_signals(self) -> list[OptimizationFeedback]:
        """The run's learning signals: the validation of its strategy, and effects beyond normal variation."""
        return self.results.records("learning_signals.jsonl", OptimizationFeedback)

    def update_heuristic_weights(
        self, heuristic_performance: Mapping[str, Mapping[str, Annotated[int, Meta(ge=0)]]] | None = None
    ) -> dict[str, float]:
        """Weight of each heuristic after the run, by id.

        Parameters
        ----------
        heuristic_performance
            Additional evidence: by heuristic id its `applications` and `successes`. These heuristics' weights then move
            from the run's weights, or from 1.0 if the run has none.

        Raises
        ------
        UsageError
            A heuristic has more successes than applications.

        Notes
        -----
        The lift is the success rate of a heuristic minus that of the others, shrunk if it has few applications. The
        weight moves by the lift, at most 0.05, and stays in [0.5, 1.5].
        """
        stated = self.results.document("heuristic_weights.json", dict[str, float | str])
        stated.pop("updated_at", None)
        weights = {name: weight for name, weight in stated.items() if isinstance(weight, float)}
        if len(weights) < len(stated):
            raise OutputError(f"{self.results.directory / 'heuristic_weights.json'}: expected numbers, found text")
        if heuristic_performance is None:
            return weights
        for name, figures in heuristic_performance.items():
            if figures.get("successes", 0) > figures.get("applications", 0):
                raise UsageError(f"heuristic_performance: expected no more successes than applications of {name!r}")
        return {
            name: _moved(weights.get(name, 1.0), _lift(name, heuristic_performance)) for name in heuristic_performance
        }

    def evaluate_strategy_effectiveness(self, strategy: str | None = None) -> dict[str, Any]:
        """Compare a strategy's plan with round robin and with the outcome.

        Parameters
        ----------
        strategy
            Name of a strategy that the run used; by default all of them, keyed by name.
        """
        found = self.results.document("strategy_effectiveness.json", dict[str, dict[str, Any]])
        if strategy is None:
            return found
        if strategy not in found:
            raise UsageError(f"strategy {str(strategy)!r}: expected one that the run used, {sorted(found)}")
        return found[strategy]

    def identify_optimization_failures(self) -> list[AnomalyTest]:
        """Failed checks of the plan: its promised success, or its advantage over round robin, was not reached."""
        tests = self.results.records("anomaly_tests.jsonl", AnomalyTest)
        kinds = ("prediction_error", "optimization_failure")
        return [test for test in tests if test.anomaly_type in kinds and test.status == "found"]

    def recommend_strategy_adjustments(self) -> list[OptimizationFeedback]:
        """The learning signals that advise on strategy, schedule and coordination."""
        return [signal for signal in self.generate_learning_signals() if signal.feedback_type in _ADVICE]

    def update_phase16_heuristics(self, phase16_dir: Path | str | None = None) -> list[Path]:
        """Append the run's heuristic weights to Phase 16's feedback, once per run; return the file if it grew."""
        return self._deliver("phase16", self.phase16_dir if phase16_dir is None else phase16_dir)

    def update_phase18_coordination(self, phase18_dir: Path | str | None = None) -> list[Path]:
        """Append the run's strategy figures to Phase 18's feedback, once per run; return the file if it grew."""
        return self._deliver("phase18", self.phase18_dir if phase18_dir is None else phase18_dir)

    def write_feedback_outputs(self, output_dir: Path | str | None = None) -> list[Path]:
        """Write comparisons, signals, weights and the feedback for Phases 16 and 18; return the paths.

        Parameters
        ----------
        output_dir
            Directory to write to; the run's own by default.
        """
        paths = self.results.copy(_FILES, output_dir)
        rows = self.generate_feedback_events()
        directories = agent_directories(rows["agent_id"].unique().to_list())
        waves = rows["wave"].unique().sort().to_list()
        write_agent_rows(rows, paths[0].parent, FEEDBACK_FILE, waves=waves, directories=directories)
        return paths

    def _deliver(self, phase: str, directory: Path | str | None) -> list[Path]:
        """Deliver feedback; refuse a missing directory and a run without feedback."""
        if directory is None or not Path(directory).is_dir():
            raise UsageError(f"{phase}_dir: expected a directory that exists, found {directory!r}")
        name = f"feedback/{phase}_feedback.jsonl"
        if not self.results.records(name, _Delivered):
            raise OutputError(f"{self.results.directory / name}: expected feedback to deliver, found none")
        return deliver_feedback(self.results.directory, phase, Path(directory))


def _figures(kind: str, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Check a wave's figures, and prefix their names with `planned_` or `actual_`."""
    for name, value in metrics.items():
        if name not in _MEASURES:
            raise UsageError(f"{kind}_metrics: expected {', '.join(_MEASURES)}, found {name!r}")
        low, high = _MEASURES[name]
        if value is not None and not low <= value <= high:
            raise UsageError(f"{kind}_metrics: expected {name} in [{low:g}, {high:g}], found {value}")
    return {f"{kind}_{name}": metrics.get(name) for name in _MEASURES}


def _accuracy(planned: float | None, actual: float | None) -> float | None:
    if planned is None or actual is None:
        return None
    if planned == 0:
        return float(actual == 0)
    return min(1.0, max(0.0, 1.0 - abs(planned - actual) / planned))


def _lift(name: str, performance: Mapping[str, Mapping[str, int]]) -> float:
    """Success rate of a heuristic minus that of all others, shrunk if it has few applications."""
    keys = ("successes", "applications")
    won, used = (performance[name].get(key, 0) for key in keys)
    all_won, all_used = (sum(figures.get(key, 0) for figures in performance.values()) for key in keys)
    if not used or used == all_used:
        return 0.0
    lift = won / used - (all_won - won) / (all_used - used)
    return lift * used / (used + Thresholds().rules["heuristic_shrinkage"])


def _moved(weight: float, lift: float) -> float:
    rules = Thresholds().rules
    step = min(max(lift, -rules["heuristic_step"]), rules["heuristic_step"])
    return min(max(weight + step, rules["heuristic_weight_min"]), rules["heuristic_weight_max"])

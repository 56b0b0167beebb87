"""OptimizationFeedbackLoop: what a run teaches this system and its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from phase19.publishing.delivery import deliver_feedback

if TYPE_CHECKING:
    from pathlib import Path

    from phase19.analysis.session import Analysis

__all__ = ["OptimizationFeedbackLoop"]

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


class OptimizationFeedbackLoop:
    """Compares planned with actual, and turns the difference into signals, weights and advice.

    Parameters
    ----------
    analysis
        The run's tables; an :class:`OptimizationMonitor` may share it.
    """

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis

    def evaluate_schedule_outcome(self) -> pl.DataFrame:
        """Planned against actual figures, one row a wave."""
        return self.analysis.tables["schedule_comparisons"]

    def generate_feedback_events(self) -> pl.DataFrame:
        """What came of each agent's tasks in each wave, against their plan; idle agents too."""
        return self.analysis.tables["agent_feedback"]

    def generate_learning_signals(self) -> pl.DataFrame:
        """The strategy's validation, and every other signal the evidence carries, one row each."""
        return self.analysis.tables["learning_signals"]

    def update_heuristic_weights(self) -> pl.DataFrame:
        """Each heuristic's previous weight and its new one, its lift with an interval, and the reason in words."""
        return self.analysis.tables["heuristic_updates"]

    def evaluate_strategy_effectiveness(self) -> pl.DataFrame:
        """What each strategy promised, what round robin would have given, and what came."""
        return self.analysis.tables["strategy_effectiveness"]

    def identify_optimization_failures(self) -> pl.DataFrame:
        """The test whether the promised advantage over round robin came, fired or not, one row."""
        return self.analysis.tables["optimization_failure_tests"]

    def recommend_strategy_adjustments(self) -> pl.DataFrame:
        """Advice on strategy and schedule with its confidence and evidence, one row a signal of these kinds."""
        kinds = ("strategy_validation", "schedule_adjustment", "coordination_improvement")
        return (
            self.generate_learning_signals()
            .filter(pl.col("type").is_in(kinds))
            .select("type", "recommendation", "confidence", "supporting_evidence")
        )

    def update_phase16_heuristics(self, run_dir: Path, phase16: Path) -> list[Path]:
        """Append a published run's heuristic weights to Phase 16's feedback, once a run; return the file if it grew."""
        return deliver_feedback(run_dir, phase16, None)

    def update_phase18_coordination(self, run_dir: Path, phase18: Path) -> list[Path]:
        """Append a published run's strategy figures to Phase 18's feedback, once a run; return the file if it grew."""
        return deliver_feedback(run_dir, None, phase18)

    def write_feedback_outputs(self, output_dir: Path) -> list[Path]:
        """Write the comparisons, signals, weights and the neighbours' feedback; return their paths.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        return self.analysis.write(output_dir, _FILES)

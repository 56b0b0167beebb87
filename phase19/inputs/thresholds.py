"""Metric bounds and rule thresholds: every number the SQL compares with, its default and its source."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import polars as pl

from phase19.errors import UsageError

__all__ = ["LARGEST_THRESHOLD", "Rules", "metric_bounds"]

LARGEST_THRESHOLD = 1e6  # far above any that means something, and far from overflow
_LARGEST_LOG = 10.0  # of a margin on the log scale: 22,000 times as long
_SMALLEST_PROBABILITY = 1e-9  # shared among a run's tests it still has a quantile

# Phase 19 definition of the five metrics: name, unit, target, min, max.
_METRIC_BOUNDS = (
    ("schedule_accuracy", "fraction", 0.90, 0.85, 1.0),
    ("throughput_efficiency", "ratio", 0.95, 0.90, 1.0),
    ("agent_utilization", "fraction", 0.80, 0.60, 1.0),
    ("confidence_trajectory", "ratio", 1.0, 0.90, 1.1),
    ("schedule_adherence", "fraction", 0.90, 0.85, 1.0),
)


def metric_bounds() -> pl.DataFrame:
    """Target and bounds of the five metrics, one row each, in the order they are reported.

    Returns
    -------
    polars.DataFrame
        position (from 1), metric_name, unit, target_value, threshold_min, threshold_max.

    References
    ----------
    Phase 19 definition, "Bounds".
    """
    return pl.DataFrame(
        [(position, *bounds) for position, bounds in enumerate(_METRIC_BOUNDS, 1)],
        schema={
            "position": pl.Int64,
            "metric_name": pl.String,
            "unit": pl.String,
            "target_value": pl.Float64,
            "threshold_min": pl.Float64,
            "threshold_max": pl.Float64,
        },
        orient="row",
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of metrics, anomalies, health, weights and signals.

    Severities compare an anomaly's effect with `<type>_medium` and `<type>_high`; below medium it is low.

    Parameters
    ----------
    critical_margin
        Part of a bound a metric must lie beyond it to be critical (Phase 19 definition).
    negligible_confidence_delta
        Planned confidence change below which the trajectory has no meaning (Phase 19 definition).
    log_loss_floor
        Forecasts are kept this far from 0 and 1 in the log-loss, which is infinite there.
    alarm_probability
        False-alarm probability of each anomaly type in a calibrated run, one-sided.
    prediction_error_margin
        Over-promise a task that does not matter, however sure.
    prediction_error_medium, prediction_error_high
        Over-promised success rate.
    detection_power
        Probability with which a fault of the size that a test calls detectable is found.
    schedule_drift_margin
        Lateness that does not matter, on the log scale: log(1.05) is 5 % longer than forecast.
    schedule_drift_medium, schedule_drift_high
        Duration as a multiple of its forecast.
    performance_degradation_medium, performance_degradation_high
        Drop of an agent's success rate against its peers.
    performance_degradation_margin
        Drop that does not matter, however sure.
    optimization_failure_information
        Information about the promised advantage below which its slope is not reported.
    optimization_failure_margin
        Part of the promised advantage whose loss does not matter: choosing the best of many forecasts over-promises.
    optimization_failure_medium, optimization_failure_high
        Part of the promised advantage that did not come; 1 where all of it is gone.
    prediction_error_limit, schedule_drift_limit, performance_degradation_limit, optimization_failure_limit
        Detectable effect beyond which a type is not testable: a run that misses a fifth of all tasks failing, times
        doubled, half of an agent's tasks failing or the loss of the whole advantage cannot say that nothing is wrong.
    penalty_low, penalty_medium, penalty_high
        Points an anomaly takes from system stability (Phase 19 definition).
    health_excellent, health_good, health_fair
        Least health score of each status; below fair it is poor (Phase 19 definition).
    weight_optimization_accuracy, weight_schedule_adherence, weight_throughput_efficiency, weight_system_stability
        Weights of the health components; those without data are left out of the mean.
    convergence_margin
        Change of a wave's error over all waves, in standard deviations of chance, that does not matter: within it
        forecasts are said to hold steady.
    heuristic_shrinkage
        Tasks of evidence at which a lift counts half: outcome variance over the variance of true lifts,
        0.2 / 0.1^2 where lifts of 10 points are typical.
    heuristic_step
        Furthest a weight moves in a run (Phase 19 definition).
    heuristic_weight_min, heuristic_weight_max
        Bounds of a weight (Phase 19 definition).
    heuristic_signal_step
        Least move of a weight that is worth a learning signal.
    signal_probability
        Chance of one false lead among all signals of one kind.
    specialization_count
        Tasks an agent and its peers must each have at a risk level before they are compared.

    Raises
    ------
    UsageError
        A value is outside [0, 1e6] (10 for `schedule_drift_margin`), a tail probability outside [1e-9, 0.5], the
        power outside [0.5, 1 - 1e-9], or a pair is in the wrong order.
    """

    critical_margin: float = 0.10
    negligible_confidence_delta: float = 1e-6
    log_loss_floor: float = 1e-6
    alarm_probability: float = 0.0125
    detection_power: float = 0.90
    prediction_error_margin: float = 0.01
    prediction_error_medium: float = 0.05
    prediction_error_high: float = 0.15
    schedule_drift_margin: float = math.log(1.05)
    schedule_drift_medium: float = 1.25
    schedule_drift_high: float = 1.5
    performance_degradation_medium: float = 0.10
    performance_degradation_high: float = 0.25
    performance_degradation_margin: float = 0.02
    optimization_failure_information: float = 3.0
    optimization_failure_margin: float = 0.10
    optimization_failure_medium: float = 0.5
    optimization_failure_high: float = 1.0
    prediction_error_limit: float = 0.20
    schedule_drift_limit: float = 2.0
    performance_degradation_limit: float = 0.5
    optimization_failure_limit: float = 1.0
    penalty_low: float = 5.0
    penalty_medium: float = 15.0
    penalty_high: float = 30.0
    health_excellent: float = 85.0
    health_good: float = 70.0
    health_fair: float = 50.0
    weight_optimization_accuracy: float = 1.0
    weight_schedule_adherence: float = 1.0
    weight_throughput_efficiency: float = 1.0
    weight_system_stability: float = 1.0
    convergence_margin: float = 1.0
    heuristic_shrinkage: float = 20.0
    heuristic_step: float = 0.05
    heuristic_weight_min: float = 0.5
    heuristic_weight_max: float = 1.5
    heuristic_signal_step: float = 0.01
    signal_probability: float = 0.05
    specialization_count: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            largest = _LARGEST_LOG if field.name == "schedule_drift_margin" else LARGEST_THRESHOLD
            if not 0 <= value <= largest:
                raise UsageError(f"rule {field.name}: expected a number in [0, {largest:,.0f}], found {value}")
        for name in ("log_loss_floor", "alarm_probability", "signal_probability"):
            if not _SMALLEST_PROBABILITY <= getattr(self, name) <= 0.5:  # noqa: PLR2004 (beyond one half it is no tail)
                raise UsageError(f"rule {name}: expected a probability in [1e-09, 0.5], found {getattr(self, name)}")
        for low, high in (
            *((f"{kind}_medium", f"{kind}_high") for kind in _ANOMALY_TYPES),
            ("heuristic_weight_min", "heuristic_weight_max"),
            ("health_fair", "health_good"),
            ("health_good", "health_excellent"),
        ):
            if getattr(self, low) > getattr(self, high):
                found = f"{getattr(self, low)} and {getattr(self, high)}"
                raise UsageError(f"rules {low} and {high}: expected {low} <= {high}, found {found}")
        if not 0.5 <= self.detection_power <= 1 - _SMALLEST_PROBABILITY:  # noqa: PLR2004 (a coin finds half)
            raise UsageError(
                f"rule detection_power: expected a probability in [0.5, 1 - 1e-09], found {self.detection_power}"
            )
        if not any(getattr(self, field.name) > 0 for field in fields(self) if field.name.startswith("weight_")):
            raise UsageError("rules weight_*: expected at least one health weight above 0")

    def frame(self) -> pl.DataFrame:
        """The rules as one row, a column a rule, the way the SQL reads them."""
        return pl.DataFrame([asdict(self)])


_ANOMALY_TYPES = ("prediction_error", "schedule_drift", "performance_degradation", "optimization_failure")

"""Phase 16's heuristics as this run applies them: each by its rule, scaled by its weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from phase19.forecasting.retries import RETRIED_RISKS, RETRY_PENALTY
from phase19.inputs.rules import ADJUST, BOOST, RETRY, decode_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phase19.inputs.rules import Rule

__all__ = ["PRIORITY_ORDER", "Boost", "Heuristics", "Relaxation", "also", "read_heuristics"]

# H16_001, as Phase 16 ships it: risk level and least confidence, in the order of priority.
PRIORITY_ORDER: tuple[tuple[str, float], ...] = (
    ("LOW", 0.85),
    ("LOW", 0.7),
    ("MEDIUM", 0.85),
    ("MEDIUM", 0.75),
    ("HIGH", 0.9),
)


@dataclass(frozen=True, slots=True)
class Boost:
    """Raises the confidence of tasks of some risk levels within [low, high] by `amount` (H16_002)."""

    heuristic_id: str
    risk_levels: tuple[str, ...]
    low: float
    high: float
    amount: float


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Lets MEDIUM tasks through from `threshold` after a wave of more than `least_success_rate` success (H16_004)."""

    heuristic_id: str
    least_success_rate: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Heuristics:
    """The rules in force, by what they do.

    Attributes
    ----------
    weights
        What each heuristic's size is multiplied by, 1 where none is known. An order and a retry have no size.
    priority_id, priority_order
        Who states the order of priority, None where it is the default; risk levels and least confidences.
    boosts, relaxations
        In the order Phase 16 gives them; of several that fit a task the first holds.
    retry_id
        Who states that failed tasks are tried again as this phase does it.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    priority_id: str | None = None
    priority_order: tuple[tuple[str, float], ...] = PRIORITY_ORDER
    boosts: tuple[Boost, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    retry_id: str | None = None

    def boosted(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Tasks (`frames.TASKS`) with what their confidence is raised by, and the heuristics that did it."""
        amount, who = pl.lit(0.0), pl.lit(None, dtype=pl.String)
        for boost in reversed(self.boosts):
            fits = pl.col("risk_level").is_in(boost.risk_levels) & pl.col("confidence").is_between(
                boost.low, boost.high
            )
            size = boost.amount * self.weights.get(boost.heuristic_id, 1.0)
            amount = pl.when(fits).then(size).otherwise(amount)
            who = pl.when(fits).then(pl.lit(boost.heuristic_id)).otherwise(who)
        room = pl.col("confidence")
        return tasks.with_columns(
            confidence_boost=amount.clip(-room, 1.0 - room).fill_null(0.0), heuristics_applied=also(who)
        )

    def ordered(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Tasks with the order of priority recorded where one of its rules speaks of them."""
        if self.priority_id is None:
            return tasks
        return tasks.with_columns(
            heuristics_applied=also(pl.when(self.bucket() < len(self.priority_order)).then(pl.lit(self.priority_id)))
        )

    def retried(self, tasks: pl.DataFrame, is_retried: pl.Series) -> pl.DataFrame:
        """Tasks with the retry recorded where one is allowed."""
        if self.retry_id is None:
            return tasks
        return tasks.with_columns(heuristics_applied=also(pl.when(is_retried).then(pl.lit(self.retry_id))))

    def bucket(self) -> pl.Expr:
        """Place of a task in the order of priority, its confidence raised as it is; past the last where none fits."""
        confidence = pl.col("confidence") + pl.col("confidence_boost")
        place = pl.lit(len(self.priority_order))
        for at, (risk_level, least) in reversed(list(enumerate(self.priority_order))):
            fits = (pl.col("risk_level") == risk_level) & (confidence >= least)
            place = pl.when(fits).then(at).otherwise(place)
        return place

    def claims(self, attempts: pl.DataFrame) -> pl.DataFrame:
        """Records (`frames.ATTEMPTS`) with what their confidence was raised by, as their heuristics claim."""
        claimed = pl.lit(0.0)
        for boost in reversed(self.boosts):
            applied = pl.col("heuristics_applied").list.contains(boost.heuristic_id)
            claimed = pl.when(applied).then(boost.amount).otherwise(claimed)
        return attempts.with_columns(confidence_boost=claimed)

    def relaxation(self, rate_before: float | None, threshold: float, least: float) -> tuple[float, str | None]:
        """Threshold of MEDIUM risk after a wave of that success rate, and the heuristic that lowered it.

        Parameters
        ----------
        rate_before
            None before the first wave, or where nothing ran.
        threshold, least
            The gate's own, and the lowest it allows.
        """
        for rule in self.relaxations:
            if rate_before is not None and rate_before > rule.least_success_rate:
                lowered = threshold - (threshold - rule.threshold) * self.weights.get(rule.heuristic_id, 1.0)
                if lowered < threshold:
                    return max(least, lowered), rule.heuristic_id
        return threshold, None


def also(heuristic_id: pl.Expr | pl.Series) -> pl.Expr:
    """Heuristics applied so far and one more where it is not null, each once, in the order they came."""
    lists = pl.col("heuristics_applied")
    return pl.concat_list(lists, heuristic_id).list.drop_nulls().list.unique(maintain_order=True)


def read_heuristics(heuristics: pl.DataFrame, weights: Mapping[str, float] | None = None) -> Heuristics:
    """Read Phase 16's rules.

    Parameters
    ----------
    heuristics
        `frames.HEURISTICS`. A rule is known by what it states, whatever its id; of two that order tasks the first
        holds, and rules that state nothing this phase can do are left to others.
    weights
        Of an earlier run.
    """
    priority_id, retry_id, order = None, None, PRIORITY_ORDER
    boosts, relaxations = [], []
    for name, text in zip(heuristics["heuristic_id"].to_list(), heuristics["rule"].to_list(), strict=True):
        rule = decode_rule(name, text)
        if rule is None:
            continue
        condition = rule.condition
        if rule.priority_order and priority_id is None:
            priority_id, order = name, tuple((at.risk_level, at.confidence_min) for at in rule.priority_order)
        elif rule.action == BOOST and condition.confidence_range is not None:
            boosts.append(Boost(name, condition.levels(), *condition.confidence_range, rule.amount))
        elif rule.action == ADJUST and condition.success_rate_previous_wave is not None:
            # Phase 16 names the threshold after high risk and describes it, rightly, as that of MEDIUM.
            threshold = rule.parameters.high_risk_threshold
            if threshold is not None:
                relaxations.append(Relaxation(name, condition.success_rate_previous_wave, threshold))
        elif rule.action == RETRY and retry_id is None and _is_ours(rule):
            retry_id = name
    return Heuristics(weights or {}, priority_id, order, tuple(boosts), tuple(relaxations), retry_id)


def _is_ours(rule: Rule) -> bool:
    """Whether a rule retries as this phase does, which is fixed: another one is not claimed to have been applied."""
    levels, penalty = rule.condition.levels(), rule.confidence_penalty
    return set(levels) == set(RETRIED_RISKS) and penalty in {None, -RETRY_PENALTY}

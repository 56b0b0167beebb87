"""Phase 16's heuristics as this run applies them: each by its rule, scaled by its weight.

Rules that this phase can follow are read strictly; all others are ignored, whatever their shape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec
import polars as pl

from phase19.errors import InputError
from phase19.frames import RiskLevel
from phase19.inputs.wire import Change, Rate

_BOOST, _ADJUST, _RETRY = "boost_confidence_by", "adjust_policy", "retry_with_confidence_recalibration"
# How this phase retries failed tasks, as H16_003 states it.
RETRIED_RISKS = ("LOW", "MEDIUM")
RETRY_PENALTY = 0.05
# H16_001, as Phase 16 ships it: risk level and lowest confidence, in the order of priority.
_Order = tuple[tuple[str, float], ...]
_ORDER: _Order = (("LOW", 0.85), ("LOW", 0.7), ("MEDIUM", 0.85), ("MEDIUM", 0.75), ("HIGH", 0.9))


class Boost(NamedTuple):
    """Raises the confidence of tasks of some risk levels within [low, high] by `amount` (H16_002)."""

    heuristic_id: str
    risk_levels: tuple[str, ...]
    low: float
    high: float
    amount: float


class Relaxation(NamedTuple):
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
        The heuristic that states the order of priority, None for the default; risk levels and lowest confidences.
    boosts, relaxations
        In the order Phase 16 gives them; the first that fits a task applies.
    retry_id
        The heuristic that states retries as this phase does them.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    priority_id: str | None = None
    priority_order: _Order = _ORDER
    boosts: tuple[Boost, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    retry_id: str | None = None

    def boosted(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Add the boost of their confidence to tasks (`frames.TASKS`), and the heuristic that gives it."""
        confidence = pl.col("confidence")
        fits = [
            (pl.col("risk_level").is_in(boost.risk_levels) & confidence.is_between(boost.low, boost.high), boost)
            for boost in self.boosts
        ]
        scaled = ((fit, boost.amount * self.weights.get(boost.heuristic_id, 1.0)) for fit, boost in fits)
        amount = _first(scaled, 0.0).clip(-confidence, 1.0 - confidence).fill_null(0.0)
        who = _first(((fit, boost.heuristic_id) for fit, boost in fits), pl.lit(None, dtype=pl.String))
        return tasks.with_columns(confidence_boost=amount, heuristics_applied=append_heuristic(who))

    def ordered(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Record the heuristic that orders priorities on the tasks that one of its rules matches."""
        who = pl.when(self.bucket() < len(self.priority_order)).then(pl.lit(self.priority_id, dtype=pl.String))
        return tasks.with_columns(heuristics_applied=append_heuristic(who))

    def retried(self, tasks: pl.DataFrame, is_retried: pl.Series) -> pl.DataFrame:
        """Record the retry heuristic on the tasks that may be retried."""
        who = pl.when(is_retried).then(pl.lit(self.retry_id, dtype=pl.String))
        return tasks.with_columns(heuristics_applied=append_heuristic(who))

    def bucket(self) -> pl.Expr:
        """Rank of a task in the order of priority, by its boosted confidence; one past the last if no rule matches."""
        confidence = pl.col("confidence") + pl.col("confidence_boost")
        order = enumerate(self.priority_order)
        fits = (((pl.col("risk_level") == level) & (confidence >= least), place) for place, (level, least) in order)
        return _first(fits, len(self.priority_order))

    def claims(self, attempts: pl.DataFrame) -> pl.DataFrame:
        """Add the boost that their recorded heuristics claim to attempts (`frames.ATTEMPTS`)."""
        applied = pl.col("heuristics_applied")
        claimed = _first(((applied.list.contains(boost.heuristic_id), boost.amount) for boost in self.boosts), 0.0)
        return attempts.with_columns(confidence_boost=claimed)

    def relaxation(self, rate_before: float | None, threshold: float, least: float) -> tuple[float, str | None]:
        """Threshold of MEDIUM risk after a wave with this success rate, and the heuristic that lowered it.

        Parameters
        ----------
        rate_before
            Success rate of the wave before; None before the first wave, or if nothing ran.
        threshold, least
            The gate's own, and the lowest it allows.
        """
        for rule in self.relaxations:
            if rate_before is not None and rate_before > rule.least_success_rate:
                lowered = threshold - (threshold - rule.threshold) * self.weights.get(rule.heuristic_id, 1.0)
                if lowered < threshold:
                    return max(least, lowered), rule.heuristic_id
        return threshold, None


class _Bucket(msgspec.Struct):
    risk_level: RiskLevel
    confidence_min: Rate = 0.0


class _Condition(msgspec.Struct):
    risk_level: RiskLevel | list[RiskLevel] = msgspec.field(default_factory=list)
    confidence_range: tuple[Rate, Rate] | None = None
    success_rate_previous_wave: Rate | None = None

    def __post_init__(self) -> None:
        low, high = self.confidence_range or (0.0, 1.0)
        if low > high:
            raise ValueError(f"confidence_range is not from low to high: {low} to {high}")


class _Parameters(msgspec.Struct):
    high_risk_threshold: Rate | None = None


class _Rule(msgspec.Struct):
    """A rule that orders tasks, or one of the three actions that this phase can take."""

    priority_order: list[_Bucket] = msgspec.field(default_factory=list)
    condition: _Condition = msgspec.field(default_factory=_Condition)
    action: str | None = None
    amount: Change = 0.0
    max_retries: Annotated[int, msgspec.Meta(ge=0)] | None = None
    confidence_penalty: Change | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


def _first(cases: Iterable[tuple[pl.Expr, float | str]], otherwise: float | pl.Expr) -> pl.Expr:
    """The value of the first case that holds."""
    return pl.coalesce(*(pl.when(holds).then(pl.lit(value)) for holds, value in cases), otherwise)


def append_heuristic(heuristic_id: pl.Expr | pl.Series) -> pl.Expr:
    """Heuristics applied so far and one more where it is not null, each once, in order."""
    lists = pl.col("heuristics_applied")
    return pl.concat_list(lists, heuristic_id).list.drop_nulls().list.unique(maintain_order=True)


def read_heuristics(
    heuristics: pl.DataFrame, weights: Mapping[str, float] | None = None, path: str = "heuristics.jsonl"
) -> Heuristics:
    """Read Phase 16's rules.

    Parameters
    ----------
    heuristics
        `frames.HEURISTICS`, with the column `line` where the rows are lines of a file. The content of a rule decides
        what it does, whatever its id; of two that order tasks the first applies. Rules that this phase cannot follow
        are ignored, whatever their shape.
    weights
        Weights that an earlier run ended with.
    path
        The file to name in errors.

    Raises
    ------
    InputError
        A rule of a known kind breaks its format.
    """
    priority_id, retry_id, order = None, None, _ORDER
    boosts, relaxations = [], []
    for row in heuristics.to_dicts():
        name, rule = row["heuristic_id"], _decoded(row, path)
        if rule is None:
            continue
        condition, threshold = rule.condition, rule.parameters.high_risk_threshold
        levels = (condition.risk_level,) if isinstance(condition.risk_level, str) else tuple(condition.risk_level)
        if rule.priority_order and priority_id is None:
            priority_id, order = name, tuple((at.risk_level, at.confidence_min) for at in rule.priority_order)
        elif rule.action == _BOOST and condition.confidence_range is not None:
            boosts.append(Boost(name, levels, *condition.confidence_range, rule.amount))
        elif rule.action == _ADJUST and condition.success_rate_previous_wave is not None and threshold is not None:
            # Phase 16 names the threshold after high risk, and describes it correctly as that of MEDIUM.
            relaxations.append(Relaxation(name, condition.success_rate_previous_wave, threshold))
        elif rule.action == _RETRY and retry_id is None and set(levels) == set(RETRIED_RISKS):
            # Retries are fixed here: a rule with another penalty is not recorded as applied.
            retry_id = name if rule.confidence_penalty in {None, -RETRY_PENALTY} else None
    return Heuristics(weights or {}, priority_id, order, tuple(boosts), tuple(relaxations), retry_id)


def _decoded(row: Mapping[str, Any], path: str) -> _Rule | None:
    """Decode a rule from its JSON text; None for a rule of another kind."""
    known, expected = [_BOOST, _ADJUST, _RETRY], "a rule in JSON"
    try:
        stated = msgspec.json.decode(row["rule"] or "null")
        if not isinstance(stated, dict) or not ("priority_order" in stated or stated.get("action") in known):
            return None
        expected = f"a rule that {stated.get('action', 'orders priorities')!s:.40} can follow"
        return msgspec.convert(stated, _Rule)
    except msgspec.MsgspecError as problem:
        place = f"rule of {row['heuristic_id']}"
        raise InputError(path, line=row.get("line"), field=place, expected=expected, found=str(problem)) from problem

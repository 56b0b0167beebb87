"""The rules of Phase 16's heuristics: what this phase can do is read strictly, all else is left to others."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from phase19.errors import InputError

__all__ = ["ADJUST", "BOOST", "RETRY", "Rule", "decode_rule"]

BOOST, ADJUST, RETRY = "boost_confidence_by", "adjust_policy", "retry_with_confidence_recalibration"
_ACTIONS = (BOOST, ADJUST, RETRY)

_Level = Literal["LOW", "MEDIUM", "HIGH", "UNKNOWN"]
_Rate = Annotated[float, Meta(ge=0.0, le=1.0)]
_Change = Annotated[float, Meta(ge=-1.0, le=1.0)]


class _Bucket(msgspec.Struct):
    risk_level: _Level
    confidence_min: _Rate = 0.0


class _Condition(msgspec.Struct):
    risk_level: _Level | list[_Level] = msgspec.field(default_factory=list)
    confidence_range: tuple[_Rate, _Rate] | None = None
    success_rate_previous_wave: _Rate | None = None

    def levels(self) -> tuple[str, ...]:
        """The risk levels it speaks of."""
        return (self.risk_level,) if isinstance(self.risk_level, str) else tuple(self.risk_level)


class _Parameters(msgspec.Struct):
    high_risk_threshold: _Rate | None = None


class Rule(msgspec.Struct):
    """A rule that orders tasks, or one of the three actions that this phase takes."""

    priority_order: list[_Bucket] = msgspec.field(default_factory=list)
    condition: _Condition = msgspec.field(default_factory=_Condition)
    action: str | None = None
    amount: _Change = 0.0
    max_retries: Annotated[int, Meta(ge=0)] | None = None
    confidence_penalty: _Change | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


def decode_rule(
    heuristic_id: str, text: str | None, path: str = "heuristics.jsonl", line: int | None = None
) -> Rule | None:
    """Read a rule from its JSON text.

    Returns
    -------
    Rule or None
        None for a rule of another kind, which may have any shape.

    Raises
    ------
    InputError
        A rule of a kind known here breaks it.
    """
    stated = msgspec.json.decode(text or "null")
    if not isinstance(stated, dict) or not ("priority_order" in stated or _is_action(stated.get("action"))):
        return None
    expected, found = "", ""
    try:
        rule = msgspec.convert(stated, Rule)
        low, high = rule.condition.confidence_range or (0.0, 1.0)
        if low <= high:
            return rule
        expected, found = "a confidence_range from low to high", f"{low} to {high}"
    except msgspec.ValidationError as problem:
        expected, found = f"a rule that {stated.get('action', 'orders priorities')!s:.40} can follow", str(problem)
    raise InputError(path, line=line, field=f"rule of {heuristic_id}", expected=expected, found=found)


def _is_action(action: object) -> bool:
    return isinstance(action, str) and action in _ACTIONS

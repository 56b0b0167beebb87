"""Apply Phase 16's heuristics: each follows its rule, scaled by its weight.

Rules of a known kind are checked strictly. Other rules are ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from msgspec import MsgspecError, Struct, convert, json

from phase19.errors import InputError
from phase19.frames import STRINGS, RiskLevel
from phase19.inputs.wire import Change, Rate

_BOOST, _RELAX, _RETRY = "boost_confidence_by", "adjust_policy", "retry_with_confidence_recalibration"
# How this phase retries failed tasks; H16_003 states the same rule.
RETRIED_RISKS = ("LOW", "MEDIUM")
RETRY_PENALTY = 0.05


class _Place(Struct, frozen=True):
    """A rank in the priority order: tasks of a risk level with at least this confidence."""

    risk_level: RiskLevel
    confidence_min: Rate = 0.0


# The default priority order: H16_001 as Phase 16 ships it.
_ORDER = (_Place("LOW", 0.85), _Place("LOW", 0.7), _Place("MEDIUM", 0.85), _Place("MEDIUM", 0.75), _Place("HIGH", 0.9))


class _Condition(Struct, frozen=True):
    risk_level: RiskLevel | tuple[RiskLevel, ...] = ()
    confidence_range: tuple[Rate, Rate] = (0.0, 1.0)
    success_rate_previous_wave: Rate = 1.0  # no success rate is above 1

    def __post_init__(self) -> None:
        low, high = self.confidence_range
        if low > high:
            raise ValueError(f"confidence_range: expected low <= high, found {low} and {high}")


class _Parameters(Struct, frozen=True):
    # Despite the name that Phase 16 gave it, this is the threshold of MEDIUM risk.
    high_risk_threshold: Rate = 1.0


class Rule(Struct, frozen=True):
    """A rule that orders tasks or takes one of three actions; fields that it leaves out have no effect."""

    priority_order: tuple[_Place, ...] = ()
    condition: _Condition = _Condition()
    action: str | None = None
    amount: Change = 0.0
    confidence_penalty: Change = -RETRY_PENALTY
    parameters: _Parameters = _Parameters()

    @property
    def risk_levels(self) -> tuple[str, ...]:
        """The risk levels in the rule's condition."""
        levels = self.condition.risk_level
        return (levels,) if isinstance(levels, str) else levels

    def fits(self) -> pl.Expr:
        """Whether a task meets the rule's condition for a boost."""
        in_range = pl.col("confidence").is_between(*self.condition.confidence_range)
        return pl.col("risk_level").is_in(self.risk_levels) & in_range


@dataclass(frozen=True, slots=True)
class Heuristics:
    """The rules in force.

    Attributes
    ----------
    rules
        By heuristic id, in Phase 16's order. If several fit, the first applies.
    weights
        Factor on the effect of each heuristic, by id; 1 if missing. It does not change priority orders and retries.
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    def _by_action(self, action: str) -> list[tuple[str, Rule]]:
        return [(name, rule) for name, rule in self.rules.items() if rule.action == action]

    def _priority(self) -> tuple[str | None, tuple[_Place, ...]]:
        """The heuristic that orders priorities, and its order; None and the default order if there is none."""
        orders = [(name, rule.priority_order) for name, rule in self.rules.items() if rule.priority_order]
        return orders[0] if orders else (None, _ORDER)

    def boosted(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Set the confidence boost of tasks (`frames.TASKS`), and record its heuristic (H16_002)."""
        boosts, confidence = self._by_action(_BOOST), pl.col("confidence")
        amount = _first(((rule.fits(), rule.amount * self.weights.get(name, 1.0)) for name, rule in boosts), 0.0)
        who = _first(((rule.fits(), name) for name, rule in boosts), pl.lit(None, dtype=pl.String))
        return tasks.with_columns(
            confidence_boost=amount.clip(-confidence, 1.0 - confidence).fill_null(0.0),
            heuristics_applied=append_heuristic(who),
        )

    def ordered(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Record the priority heuristic on the tasks that have a rank in its order."""
        name, order = self._priority()
        who = pl.when(self.bucket() < len(order)).then(pl.lit(name, dtype=pl.String))
        return tasks.with_columns(heuristics_applied=append_heuristic(who))

    def retried(self, tasks: pl.DataFrame, is_retried: pl.Series) -> pl.DataFrame:
        """Record the retry heuristic on tasks that may be retried, if its rule is the rule of this phase."""
        names = [
            name
            for name, rule in self._by_action(_RETRY)
            if set(rule.risk_levels) == set(RETRIED_RISKS) and rule.confidence_penalty == -RETRY_PENALTY
        ]
        who = pl.when(is_retried).then(pl.lit(names[0] if names else None, dtype=pl.String))
        return tasks.with_columns(heuristics_applied=append_heuristic(who))

    def bucket(self) -> pl.Expr:
        """Rank of a task in the priority order, by boosted confidence; tasks without a rank come last."""
        _, order = self._priority()
        confidence = pl.col("confidence") + pl.col("confidence_boost")
        fits = [(pl.col("risk_level") == place.risk_level) & (confidence >= place.confidence_min) for place in order]
        return _first(zip(fits, range(len(order)), strict=True), len(order))

    def claims(self, attempts: pl.DataFrame) -> pl.DataFrame:
        """Set the confidence boost of attempts (`frames.ATTEMPTS`) from the heuristics recorded on them."""
        applied = pl.col("heuristics_applied").list
        claimed = _first(((applied.contains(name), rule.amount) for name, rule in self._by_action(_BOOST)), 0.0)
        return attempts.with_columns(confidence_boost=claimed)

    def relaxation(self, rate_before: float | None, threshold: float, least: float) -> tuple[float, str | None]:
        """Threshold of MEDIUM risk after a wave with this success rate, and the heuristic that lowered it (H16_004).

        Parameters
        ----------
        rate_before
            Success rate of the wave before; None before the first wave, or if nothing ran.
        threshold, least
            The gate's default threshold, and the lowest that it allows.
        """
        for name, rule in self._by_action(_RELAX):
            reduction = (threshold - rule.parameters.high_risk_threshold) * self.weights.get(name, 1.0)
            if rate_before is not None and rate_before > rule.condition.success_rate_previous_wave and reduction > 0:
                return max(least, threshold - reduction), name
        return threshold, None


def _first(cases: Iterable[tuple[pl.Expr, float | str]], otherwise: float | pl.Expr) -> pl.Expr:
    """The value of the first case that is true."""
    return pl.coalesce(*(pl.when(holds).then(pl.lit(value)) for holds, value in cases), otherwise)


def append_heuristic(heuristic_id: pl.Expr | pl.Series) -> pl.Expr:
    """Append a heuristic id to `heuristics_applied`, unless it is null or already in the list."""
    ids = pl.lit(heuristic_id) if isinstance(heuristic_id, pl.Series) else heuristic_id
    return pl.map_batches(["heuristics_applied", ids], _appended, return_dtype=STRINGS)


def _appended(lists_and_ids: Sequence[pl.Series]) -> pl.Series:
    """Each list with its id. Tasks have few different lists, so build each of them once."""
    lists, ids = lists_and_ids
    ids = ids if ids.len() == lists.len() else ids.new_from_index(0, lists.len())  # a literal
    rows = pl.DataFrame({"lists": lists, "id": ids})
    rows = rows.with_columns(
        text=pl.concat_str(pl.col("lists").list.join("\0"), pl.col("id").fill_null(""), separator="\1")
    )
    longer = pl.concat_list("lists", "id").list.drop_nulls().list.unique(maintain_order=True)
    made = rows.unique("text").select("text", made=longer)
    return rows.join(made, on="text", how="left", maintain_order="left", nulls_equal=True).get_column("made")


def read_heuristics(
    heuristics: pl.DataFrame, weights: Mapping[str, float] | None = None, path: str = "heuristics.jsonl"
) -> Heuristics:
    """Read Phase 16's rules.

    Parameters
    ----------
    heuristics
        `frames.HEURISTICS`, with a column `line` if the rows come from a file. The content of a rule decides what it
        does, not its id. Rules of unknown kinds are ignored.
    weights
        Final weights of an earlier run.
    path
        File that errors name.

    Raises
    ------
    InputError
        A rule of a known kind breaks its format.
    """
    rules = {row["heuristic_id"]: _decoded(row, path) for row in heuristics.to_dicts()}
    return Heuristics({name: rule for name, rule in rules.items() if rule is not None}, weights or {})


def _decoded(row: Mapping[str, Any], path: str) -> Rule | None:
    """Decode a rule from its JSON text; None for a rule of another kind."""
    expected = "a rule in JSON"
    try:
        stated = json.decode(row["rule"] or "null")
        known = [_BOOST, _RELAX, _RETRY]
        if not isinstance(stated, dict) or not ("priority_order" in stated or stated.get("action") in known):
            return None
        expected = f"a valid rule of kind {stated.get('action', 'priority_order')!s:.40}"
        return convert(stated, Rule)
    except MsgspecError as problem:
        place = f"rule of {row['heuristic_id']}"
        raise InputError(path, line=row.get("line"), field=place, expected=expected, found=str(problem)) from problem

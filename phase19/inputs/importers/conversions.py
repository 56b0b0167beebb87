"""Conversions from text that importers share: outcomes, times, names of agents, numbers of trials."""

import polars as pl

from phase19.frames import TIMESTAMP

_SUCCESS = (
    "true t yes y 1 pass passed success succeeded successful completed complete resolved solved ok done correct c"
)
_FAILURE = "false f no n 0 fail failed failure unresolved unsolved incorrect wrong timeout timedout i"
WORDS = dict.fromkeys(_SUCCESS.split(), True) | dict.fromkeys(_FAILURE.split(), False)
_SCALES = (1.0, 1e3, 1e6, 1e9)  # of Unix times: units per second
_FIRST, _LAST = 1e8, 4e9  # Unix times of the years 1973 to 2096, so that the scales do not overlap
_ISO_8601 = (
    r"^(?<date>(?:19[7-9]|20\d)\d-\d\d-\d\d)(?:[T ]+(?<clock>\d\d:\d\d)(?<seconds>:\d\d(?:[.,]\d+)?)?\s*"
    r"(?:Z|UTC|GMT|(?<hours>[+-]\d\d):?(?<minutes>\d\d)?)?)?$"
)
_SHOWN = 5


def outcome(text: pl.Expr) -> pl.Expr:
    """Whether a word says success, or a score from 0 to 1 is 1; null for anything else, such as 37.2 or NaN."""
    words = text.str.to_lowercase().replace_strict(WORDS, default=None, return_dtype=pl.Boolean)
    score = text.cast(pl.Float64, strict=False)
    return pl.coalesce(words, pl.when(score.is_between(0, 1)).then(score == 1))


def elapsed_ms(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Milliseconds between two moments as text."""
    return (moment(end) - moment(start)).dt.total_microseconds() / 1e3


def agent(*parts: pl.Expr) -> pl.Expr:
    """Name of an agent from its parts, such as scaffold and model, joined by `+`; null if no part is known."""
    return pl.concat_str(*parts, separator="+", ignore_nulls=True).replace("", None)


def number_trials(rows: pl.DataFrame, *order: str) -> pl.DataFrame:
    """Sort rows by task, agent and `order`, and number the trials of each pair."""
    pair = ["task_id", "agent_id"]
    return rows.sort(*pair, *order, maintain_order=True).with_columns(trial=pl.int_range(1, pl.len() + 1).over(pair))


def not_understood(text: pl.Series, is_bad: pl.Series) -> list[str]:
    """Examples of values that no rule converts."""
    return text.filter(is_bad).unique(maintain_order=True).head(_SHOWN).to_list()


def moment(text: pl.Expr) -> pl.Expr:
    """Moment in UTC from ISO 8601 text or 31.12.2026 23:59 (without an offset: UTC), or from a Unix time.

    Unix times are in s, ms, us or ns, by their size. Null for anything else, and outside the years 1970 to 2099.
    """
    return text.map_batches(_moments, return_dtype=TIMESTAMP)  # so that every step is computed once


def _moments(text: pl.Series) -> pl.Series:
    if text.null_count() == text.len():
        return text.cast(TIMESTAMP)
    plain = text.str.replace(r"^(\d\d)\.(\d\d)\.(\d{4})\b", "$3-$2-$1").str.replace(r"^(\d{4})/(\d\d)/", "$1-$2-")
    parts = plain.str.extract_groups(_ISO_8601).struct.unnest()
    clock = pl.col("clock").fill_null("00:00") + pl.col("seconds").str.replace(",", ".", literal=True).fill_null(":00")
    minutes = pl.col("hours").str.head(1) + pl.col("minutes")
    hours, minutes = (part.cast(pl.Int64).fill_null(0) for part in (pl.col("hours"), minutes))
    at = (pl.col("date") + "T" + clock).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    number = pl.lit(text.cast(pl.Float64, strict=False))
    is_of = {scale: number.is_between(_FIRST * scale, _LAST * scale) for scale in _SCALES}
    seconds = pl.coalesce(pl.when(is_it).then(number / scale) for scale, is_it in is_of.items())
    unix = pl.from_epoch((seconds * 1e6).cast(pl.Int64, strict=False), "us")
    found = pl.coalesce(at - pl.duration(hours=hours, minutes=minutes), unix)
    return parts.select(found.dt.replace_time_zone("UTC").alias(text.name)).to_series()


def check_outcomes(name: str, text: pl.Series, is_success: pl.Series) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Count scores in a field `name` between 0 and 1, and count and show those that `outcome` does not convert.

    NaN means not scored.
    """
    is_bad = text.is_not_null() & (text.str.to_lowercase() != "nan").fill_null(value=True) & is_success.is_null()
    is_partial = text.cast(pl.Float64, strict=False).is_between(0, 1, closed="none")
    counts = {f"{name} between 0 and 1, no success": int(is_partial.sum()), f"{name} not understood": int(is_bad.sum())}
    unmapped = {name: not_understood(text, is_bad)} if is_bad.any() else {}
    return {what: count for what, count in counts.items() if count}, unmapped

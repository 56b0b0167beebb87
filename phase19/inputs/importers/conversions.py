"""Conversions from text that importers share: outcomes, times, names of agents, numbers of trials."""

import polars as pl

_SUCCESS = (
    "true t yes y 1 pass passed success succeeded successful completed complete resolved solved ok done correct c"
)
_FAILURE = "false f no n 0 fail failed failure unresolved unsolved incorrect wrong timeout timedout i"
WORDS = dict.fromkeys(_SUCCESS.split(), True) | dict.fromkeys(_FAILURE.split(), False)
_SCALES = (1.0, 1e3, 1e6, 1e9)  # of Unix times: units per second
_FIRST, _LAST = 1e8, 4e9  # Unix times of the years 1973 to 2096, so that the scales do not overlap
_CLOCK, _OFFSET = r"(:[\d:.,]+)", r"[+-]\d\d:?(?:\d\d)?"
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
    number = text.cast(pl.Float64, strict=False)
    plain = text.str.replace(r"^(\d\d)\.(\d\d)\.(\d{4})\b", "$3-$2-$1").str.replace(r"^(\d{4})/(\d\d)/", "$1-$2-")
    bare = plain.str.replace(rf"{_CLOCK}\s*(?:Z|UTC|GMT|{_OFFSET})$", "$1").str.replace(r" +", "T")
    forms = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
    dotted = bare.str.replace(",", ".", literal=True)
    parsed = pl.coalesce(dotted.str.to_datetime(form, time_unit="us", strict=False) for form in forms)
    zone = text.str.extract(rf"{_CLOCK}\s*({_OFFSET})$", 2)
    hours, minutes = (zone.str.extract(form).cast(pl.Int64) for form in (r"^(...)", r"^...:?(\d\d)$"))
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    offset = pl.duration(minutes=(hours * 60 + sign * minutes.fill_null(0)).fill_null(0))
    is_of = {scale: number.is_between(_FIRST * scale, _LAST * scale) for scale in _SCALES}
    seconds = pl.coalesce(pl.when(is_it).then(number / scale) for scale, is_it in is_of.items())
    unix = pl.from_epoch((seconds * 1e6).cast(pl.Int64, strict=False), "us")
    found = pl.coalesce(parsed - offset, unix)
    return pl.when(found.dt.year().is_between(1970, 2099)).then(found.dt.replace_time_zone("UTC"))


def check_outcomes(name: str, text: pl.Series, is_success: pl.Series) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Count, and show examples of, scores in a field `name` that `outcome` does not convert; NaN means not scored."""
    is_bad = text.is_not_null() & (text.str.to_lowercase() != "nan").fill_null(value=True) & is_success.is_null()
    if not is_bad.any():
        return {}, {}
    return {f"{name} not understood": int(is_bad.sum())}, {name: not_understood(text, is_bad)}

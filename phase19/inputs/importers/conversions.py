"""Conversions from text that importers share: outcomes, times, names of agents, numbers of trials."""

import polars as pl

_SUCCESS = (
    "true t yes y 1 pass passed success succeeded successful completed complete resolved solved ok done correct c"
)
_FAILURE = "false f no n 0 fail failed failure unresolved unsolved incorrect wrong timeout timedout i"
WORDS = dict.fromkeys(_SUCCESS.split(), True) | dict.fromkeys(_FAILURE.split(), False)
_SECONDS, _MILLISECONDS = 1e8, 1e11  # Unix times from 1973 on, in seconds or milliseconds
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
    """Moment in UTC from ISO 8601 text (without an offset: UTC) or from a Unix time in seconds or milliseconds."""
    number = text.cast(pl.Float64, strict=False)
    bare = text.str.replace(r"\s*(Z|UTC|[+-]\d\d:?\d\d)$", "").str.replace(" ", "T", literal=True)
    forms = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
    parsed = pl.coalesce(bare.str.to_datetime(form, time_unit="us", strict=False) for form in forms)
    zone = text.str.extract(r"T.*([+-]\d\d:?\d\d)$|\s.*([+-]\d\d:?\d\d)$")
    hours, minutes = zone.str.slice(0, 3).cast(pl.Int64, strict=False), zone.str.slice(-2).cast(pl.Int64, strict=False)
    offset = pl.duration(
        minutes=(hours * 60 + pl.when(zone.str.starts_with("-")).then(-minutes).otherwise(minutes)).fill_null(0)
    )
    seconds = pl.when(number >= _MILLISECONDS).then(number / 1e3).otherwise(number)
    unix = pl.from_epoch(pl.when(seconds >= _SECONDS).then(seconds * 1e6).cast(pl.Int64, strict=False), "us")
    return pl.coalesce(parsed - offset, unix).dt.replace_time_zone("UTC")


def check_outcomes(name: str, text: pl.Series, is_success: pl.Series) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Count, and show examples of, scores in a field `name` that `outcome` does not convert; NaN means not scored."""
    is_bad = text.is_not_null() & (text.str.to_lowercase() != "nan").fill_null(value=True) & is_success.is_null()
    if not is_bad.any():
        return {}, {}
    return {f"with a {name} that is not understood": int(is_bad.sum())}, {name: not_understood(text, is_bad)}

"""Import a table: CSV, TSV, JSON lines, a JSON array or Parquet, with columns named by the user."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phase19.errors import InputError, UsageError, suggestion
from phase19.inputs.decoding import open_file
from phase19.inputs.importers.attempts import ROWS, Imported
from phase19.inputs.importers.conversions import WORDS, moment, not_understood
from phase19.schema import ArrowStream

_MS = {"ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6}
_VOID = ["void", "error", "cancelled", "canceled", "skipped", "nan", "n/a", "na", "none", "null"]
_NOT = ["false", "no", "0"]
_TIMEOUT = ["timeout", "timedout"]
_ROLES = (
    *("task", "agent", "success", "duration", "start", "end"),
    *("category", "timestamp", "attempt", "trial", "void", "error"),
)
_CONVERTED = {"success": "is_success", "duration": "duration_ms", "start": "start", "end": "end",
              "timestamp": "timestamp", "attempt": "attempt", "trial": "trial"}  # fmt: skip
_ROW = "row_hash"
# Names that a column of each kind often has, best first; compared in lower case without punctuation.
_USUAL = {
    "task": "task taskid instanceid instance problem issue case question promptid sampleid testcase",
    "agent": "agent agentid model modelid modelname solver algorithm system worker",
    "success": "success passed issuccess resolved isresolved solved correct pass outcome status result score",
    "duration": "durationms executiontimems timems latencyms duration seconds durations runtime elapsed time latency",
    "category": "category repo repository dataset domain kind type benchmark",
    "timestamp": "timestamp started startedat starttime createdat finishedat endtime date",
    "attempt": "attempt try retry attemptnumber",
    "trial": "trial run repetition epoch seed",
    "error": "error errormessage exception",
}


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """Names of a table's columns; None where the table has no such column.

    `duration` is `NAME:UNIT` (ms, s, min or h), or `START,END`. `void` marks attempts that nobody could judge: any text
    but false, no or 0. A `success` of numbers is a success from `threshold` on.
    """

    task: str
    agent: str
    success: str
    duration: str | None = None
    category: str | None = None
    timestamp: str | None = None
    attempt: str | None = None
    trial: str | None = None
    void: str | None = None
    error: str | None = None
    threshold: float | None = None


def read_table(paths: Sequence[Path], columns: TableColumns, *, drop_torn_lines: bool = False) -> Imported:
    """Read tables with the same columns.

    Parameters
    ----------
    paths
        Files that end in .csv, .tsv, .jsonl, .ndjson, .json or .parquet.
    columns
        Which column is which.
    drop_torn_lines
        Leave out, and count, lines that are no rows; by default the first one is an error.

    Raises
    ------
    InputError
        A file cannot be read, or a line is no row.
    UsageError
        A column is missing, a duration has no unit, or no value says whether an attempt succeeded.
    """
    named, unit = _named(columns)
    parts = [_read(path, named) for path in paths]
    torn = [f"{path}: {problem}" for path, (_, problems) in zip(paths, parts, strict=True) for problem in problems]
    if torn and not drop_torn_lines:
        raise UsageError(f"{torn[0]}; leave such lines out with --drop-torn-lines ({len(torn)} found)")
    rows = pl.concat([part for part, _ in parts])
    # Equal rows that say when they were, or which trial they were, are one row delivered again.
    numbered = [pl.col(role).is_not_null() for role in ("timestamp", "end", "trial") if role in named]
    again = ~pl.col(_ROW).is_first_distinct() & pl.any_horizontal(pl.lit(value=False), *numbered)
    kept = rows.filter(~again)
    text = kept.select(pl.col(named).str.strip_chars().replace("", None)).with_columns(
        pl.lit(None, dtype=pl.String).alias(role) for role in _ROLES if role not in named
    )
    success, is_void = _judged(columns.threshold)
    is_told = pl.any_horizontal(pl.col("success", "duration", "start", "end", "timestamp", "error").is_not_null())
    made = text.select(
        task_id="task",
        agent_id="agent",
        is_success=success,
        is_void=is_void
        | (is_told & success.is_null())
        | ~pl.col("void").str.to_lowercase().is_in(_NOT).fill_null(value=True),
        is_timeout=pl.col("success").str.to_lowercase().is_in(_TIMEOUT),
        duration_ms=pl.col("duration").cast(pl.Float64, strict=False) * _MS.get(unit, 1.0),
        category="category",
        timestamp=moment(pl.col("timestamp")),
        start=moment(pl.col("start")),
        end=moment(pl.col("end")),
        attempt=_whole("attempt"),
        trial=_whole("trial"),
        error_message="error",
    )
    counts = {"rows": rows.height + len(torn), "unreadable": len(torn), "repeated": rows.height - kept.height}
    unmapped: dict[str, list[str]] = {}
    for role, column in _CONVERTED.items():
        is_bad = text[role].is_not_null() & made[column].is_null()
        if role == "success":
            is_bad &= ~text.select(is_void).to_series()
        if is_bad.any():
            unmapped[named[role]] = not_understood(text[role], is_bad)
            counts[f"with a {role} that is not understood"] = int(is_bad.sum())
    if not made["is_success"].is_not_null().any():
        found = ", ".join(map(repr, unmapped.get(columns.success, ())))
        is_number = text["success"].cast(pl.Float64, strict=False).is_not_null().any()
        hint = "; a score needs --threshold" if is_number else ""
        raise UsageError(f"{columns.success}: expected words such as passed, failed, found {found or 'nothing'}{hint}")
    between = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e3
    duration_ms = pl.coalesce("duration_ms", between)
    is_time = ((duration_ms >= 0) & duration_ms.is_finite()).fill_null(value=True)
    counts["with an impossible time"] = int((~made.select(is_time).to_series()).sum())
    made = made.with_columns(
        duration_ms=pl.when(is_time).then(duration_ms),
        timestamp=pl.coalesce("timestamp", "end"),
        is_censored=pl.col("is_timeout").fill_null(value=False),
    )
    shown = {name: count for name, count in counts.items() if count or name == "rows"}
    return Imported(made.select(name for name in ROWS if name in made.columns), shown, unmapped)


def _named(columns: TableColumns) -> tuple[dict[str, str], str]:
    """The column of each role, and the unit of durations."""
    named = {role: name for role, name in vars(columns).items() if name is not None and role != "threshold"}
    duration = named.pop("duration", None)
    if duration is None:
        return named, ""
    start, comma, end = duration.partition(",")
    if comma:
        return named | {"start": start, "end": end}, ""
    name, colon, unit = duration.rpartition(":")
    name, unit = (name, unit) if colon else (duration, _unit_of(duration))
    if unit not in _MS:
        raise UsageError(f"--duration: expected NAME:UNIT with a unit of {', '.join(_MS)}, found {duration}")
    return named | {"duration": name}, unit


def _judged(threshold: float | None) -> tuple[pl.Expr, pl.Expr]:
    """Whether an attempt succeeded, and whether its value says that nobody could judge it."""
    number, words = pl.col("success").cast(pl.Float64, strict=False), pl.col("success").str.to_lowercase()
    if threshold is not None:
        return pl.when(~number.is_nan()).then(number >= threshold), number.is_nan().fill_null(value=False)
    known = words.replace_strict(WORDS, default=None, return_dtype=pl.Boolean)
    return pl.coalesce(known, pl.when(number.is_in([0.0, 1.0])).then(number == 1.0)), words.is_in(_VOID).fill_null(
        value=False
    )


def _whole(role: str) -> pl.Expr:
    return pl.col(role).cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)


def propose(path: Path) -> dict[str, str]:
    """Guess which column is which from their names: column by option."""
    names = _columns(path)
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in names}
    found = {
        role: next((plain[usual] for usual in words.split() if usual in plain), None) for role, words in _USUAL.items()
    }
    if found["duration"] is None:  # a time that is named by its unit, such as runtime_s
        found["duration"] = next((name for name in names if _unit_of(name)), None)
    if found["duration"] is not None:
        found["duration"] += f":{_unit_of(found['duration']) or 's'}"
    return {role: name for role, name in found.items() if name is not None}


def _unit_of(name: str) -> str:
    """The unit that the name of a column of times ends with; empty if none."""
    word = name.lower()
    endings = {"ms": "ms", "msec": "ms", "milliseconds": "ms", "seconds": "s", "secs": "s", "_s": "s", "sec": "s",
               "minutes": "min", "_min": "min", "hours": "h"}  # fmt: skip
    return next((unit for ending, unit in endings.items() if word.endswith(ending)), "")


def _read(path: Path, named: Mapping[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """Read the named columns as text, with a hash of each row; also say which lines are no rows."""
    import duckdb

    source, is_json = _source(path)
    known = _columns(path)
    for name in named.values():
        if name not in known and not (is_json and name.partition(".")[0] in known):
            raise UsageError(f"{path}: expected a column {name!r}{suggestion(name, known)}, found {', '.join(known)}")
    if is_json:
        places = {role: f'$."{name}"' if name in known else f"$.{name}" for role, name in named.items()}
        cells, row = {role: f"json ->> ${role}" for role in places}, "json"
    else:
        places = {}
        cells = {role: f'cast("{name.replace(chr(34), chr(34) * 2)}" as varchar)' for role, name in named.items()}
        row = "entry"
    columns = ", ".join(f"{cell} as {role}" for role, cell in cells.items())
    question = f"select {columns}, hash({row}) as {_ROW}, {row} is null as is_torn from {source} as entry"  # noqa: S608
    with duckdb.connect() as connection, _explained(path):
        rows = pl.DataFrame(ArrowStream(connection.sql(question, params=places)))
        problems = ["a line is not JSON"] * int(rows["is_torn"].sum())
        if "store_rejects" in source:
            rejects = connection.execute("select line, error_message from reject_errors order by line").fetchall()
            problems = [f"line {line}: {message}" for line, message in rejects]
    rows = rows.filter(~pl.col("is_torn")).drop("is_torn")
    return rows, problems


def _columns(path: Path) -> list[str]:
    """Names of a file's columns, or of the fields of its objects."""
    import duckdb

    source, is_json = _source(path)
    keys = "select distinct unnest(json_keys(json)) as name from {} order by name"
    with duckdb.connect() as connection, _explained(path):
        question = keys.format(source) if is_json else f"describe select * from {source}"  # noqa: S608
        return [row[0] for row in connection.execute(question).fetchall()]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as problem:
        raise InputError(str(path), expected="a readable table", found=str(problem).splitlines()[0]) from problem


def _source(path: Path) -> tuple[str, bool]:
    """SQL that reads a file, and whether its rows are JSON."""
    with open_file(path) as stream:
        header = stream.readline(1 << 16).decode("utf-8", "replace")
    name = str(path).replace("'", "''")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return f"read_parquet('{name}')", False
    if suffix in {".jsonl", ".ndjson", ".json"}:
        form = "array" if suffix == ".json" else "newline_delimited"
        return f"read_json_objects('{name}', format='{form}', ignore_errors=true)", True
    if suffix in {".csv", ".tsv", ".txt"}:
        mark = max(",;\t|", key=header.count)
        return (
            f"read_csv('{name}', all_varchar=true, header=true, delim='{mark}', quote='\"', escape='\"', "
            "store_rejects=true, null_padding=false)"
        ), False
    raise UsageError(f"{path}: expected a name that ends in .csv, .tsv, .jsonl, .json or .parquet")

"""Import a table: CSV, TSV, JSON lines, a JSON array or Parquet, with columns named by the user."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from math import isfinite
from pathlib import Path

import polars as pl

from phase19.errors import InputError, UsageError, plural, suggestion
from phase19.frames import TASKS
from phase19.inputs.decoding import open_file
from phase19.inputs.importers.attempts import ROWS, Imported
from phase19.inputs.importers.columns import UNITS_MS, USUAL, TableColumns, usual
from phase19.inputs.importers.conversions import WORDS, moment, not_understood
from phase19.inputs.wire import MAX_DURATION_MS
from phase19.schema import ArrowStream

# Texts that mean that a cell is empty, as databases, R and Python write it; in a column of outcomes, NaN means void.
_EMPTY = ["", "NULL", "Null", "null", "None", "NA", "<NA>", "NaT", "\\N"]
_NOT_A_NUMBER = ["NaN", "nan", "N/A", "n/a", "-", "\u2013", "\u2014"]
_VOID = ["void", "error", "cancelled", "canceled", "skipped", "nan"]
# Outcomes of tasks to do, without spaces and - _ /; a dash alone is one too
_OPEN = ["", "open", "todo", "pending", "new", "planned", "queued", "scheduled", "notstarted", "backlog", "tbd", "na"]
_NOT = ["false", "no", "0"]
_TIMEOUT = ["timeout", "timedout"]
_ROLES = (*(field.name for field in fields(TableColumns)), "start", "end")
# Usual names of columns of tasks to do, by the column of `frames.TASKS`.
_TASK = {"task_id": USUAL["task"], "category": USUAL["category"], "risk_level": "risklevel risk"} | {
    name: name.replace("_", "")
    for name in (
        *("wave", "priority", "confidence", "deadline_ms", "estimated_duration_ms", "required_agents"),
        "excluded_agents",
    )
}
_IDS = ("task", "agent", "task_id")  # any text may be an id
_UNCLOSED = 'a " that is not closed'
_SEPARATED = {".csv", ".tsv", ".txt"}
_HIGHEST_ATTEMPT = 1000
_ROW = "row_hash"


def read_table(
    paths: Sequence[Path], columns: TableColumns, *, has_tasks: bool = False, drop_torn_lines: bool = False
) -> Imported:
    """Read tables with the same columns.

    Parameters
    ----------
    paths
        Files that end in .csv, .tsv, .txt, .jsonl, .ndjson, .json or .parquet.
    columns
        Which column is which; task, agent and success are needed.
    has_tasks
        The tasks to do are listed elsewhere: a row without an outcome is void, whatever else it says.
    drop_torn_lines
        Leave out, and count, lines that are no rows; by default the first one is an error.

    Raises
    ------
    InputError
        A file cannot be read, or a line is no row.
    UsageError
        A column is missing, a duration has no unit, no value says whether an attempt succeeded, or numbers that are
        neither 0 nor 1 need a threshold.
    """
    named, unit = columns.roles()
    parts = [_read(path, named, drop_torn_lines=drop_torn_lines) for path in paths]
    torn_count = sum(count for _, count in parts)
    rows = pl.concat([part for part, _ in parts])
    if rows.is_empty():
        raise UsageError(f"{', '.join(map(str, paths))}: expected rows of attempts, found no rows")
    text = _cells(rows, named).with_columns(
        pl.lit(None, dtype=pl.String).alias(role) for role in _ROLES if role not in named
    )
    # Equal rows that say which trial they were, or when to the second, are one row delivered again.
    alike = ~rows[_ROW].is_first_distinct()
    exact = [role for role in ("timestamp", "end") if alike.any() and _has_seconds(text[role])]
    again = alike & text.select(pl.any_horizontal(pl.col("trial", *exact).is_not_null())).to_series()
    inexact_count = int((alike & ~again & text["timestamp"].is_not_null()).sum())
    text = text.filter(~again)
    judged = _judged(text["success"].unique(), columns)
    text = text.join(judged, on="success", how="left", nulls_equal=True, maintain_order="left")
    # A task to do may have a planned date, but no time, error or outcome: whatever the date if the outcome says so.
    has_date = pl.any_horizontal(pl.col("start", "end", "timestamp").is_not_null()) & pl.col("agent").is_not_null()
    has_time = pl.col("duration").is_not_null() & pl.col("duration").cast(pl.Float64, strict=False).ne_missing(0)
    has_outcome = pl.col("success").is_not_null()
    is_tried = has_time | pl.col("error").is_not_null() | (has_outcome | has_date) & ~pl.col("is_open")
    text = text.with_columns(is_tried=is_tried | has_tasks).with_columns(
        pl.when("is_tried").then(role).alias(role) for role in ("duration", "start", "end", "timestamp")
    )
    made = text.select(
        *("is_success", "category"),
        task_id="task",
        agent_id="agent",
        is_void=pl.col("is_void")
        | (pl.col("is_tried") & pl.col("is_success").is_null())
        | ~pl.col("void").str.to_lowercase().is_in(_NOT).fill_null(value=True),
        is_censored="is_timeout",
        duration_ms=pl.coalesce(pl.col("duration").cast(pl.Float64, strict=False) * UNITS_MS[unit], _clock_ms()),
        timestamp=moment(pl.col("timestamp")),
        start=moment(pl.col("start")),
        end=moment(pl.col("end")),
        attempt=_attempt(),
        trial=_trial(text["trial"]),
        error_message="error",
    )
    counts = {"rows": rows.height + torn_count, "unreadable": torn_count, "repeated": int(again.sum())}
    unmapped: dict[str, list[str]] = {}
    found = made.with_columns(duration="duration_ms")
    bad = {"success": text["is_unknown"]}
    for role in ("duration", "start", "end", "timestamp", "attempt"):
        bad[role] = text[role].is_not_null() & found[role].is_null()
    for role, is_bad in bad.items():
        if is_bad.any():
            unmapped[named[role]] = not_understood(text[role], is_bad)
            counts[f"{role} not understood"] = count = int(is_bad.sum())
            if role in ("duration", "start", "end"):
                _check_most_understood(named[role], text[role], count, unmapped[named[role]])
    between = (pl.col("end") - pl.col("start")).dt.total_microseconds() / 1e3
    made = made.with_columns(duration_ms=pl.coalesce("duration_ms", between), timestamp=pl.coalesce("timestamp", "end"))
    used = {name.partition(".")[0] for name in named.values()} | {*named.values()}
    unused = [name for name in column_names(paths[0]) if name not in used]
    notes = []
    if columns.duration and columns.duration == named.get("duration"):
        notes.append(f"{columns.duration} is read in {unit}, as its name says; if that is wrong, write NAME:UNIT.")
    if unmapped.keys() & {named.get(role) for role in ("timestamp", "start", "end")}:
        notes.append("Times are read as 2026-12-31 23:59:59, 31.12.2026 23:59 or Unix times.")
    if inexact_count:
        equal = f"{plural(inexact_count, 'row')} equal to another count, since the times of the log have no seconds"
        notes.append(f"{equal}. If some are copies, name the column that numbers the attempts: --trial COLUMN.")
    score = pl.col("success").cast(pl.Float64, strict=False).fill_nan(None)
    low, high = text.select(low=score.min(), high=score.max()).row(0)
    if columns.threshold is not None and low is not None and not low < columns.threshold <= high:
        notes.append(f"The scores are from {low:g} to {high:g}, --threshold is {columns.threshold:g}.")
    kept = made.select(name for name in ROWS if name in made.columns)
    return Imported(kept, counts, unmapped, unused=unused, notes=notes)


def read_tasks(path: Path, columns: TableColumns) -> tuple[pl.DataFrame, dict[str, list[str]], list[str]]:
    """Read a table of tasks to do.

    Parameters
    ----------
    path
        A table of any kind. Its columns have the names of `frames.TASKS`, such as risk_level, or usual ones; task and
        category may also have those of `columns`.
    columns
        Which column of the log is which.

    Returns
    -------
    polars.DataFrame, dict, list
        task_id and what else of `frames.TASKS` the table has; examples of values that no rule converts, by column; the
        columns that are not used.

    Raises
    ------
    InputError
        The file cannot be read.
    UsageError
        No column has the tasks.
    """
    known = column_names(path)
    named = {name: found for name, words in _TASK.items() if (found := usual(known, words))}
    of_log = {"task_id": columns.task, "category": columns.category}
    named |= {name: found for name, found in of_log.items() if found in known}
    if "task_id" not in named:
        names = ", ".join(dict.fromkeys([*([columns.task] if columns.task else []), *USUAL["task"].split()]))
        raise UsageError(f"{path}: expected a column of tasks, named one of {names}; found {', '.join(known)}")
    rows, _ = _read(path, named, drop_torn_lines=False)
    text = _cells(rows, named)
    made = text.select(_task_value(name) for name in named)
    bad = {name: text[name].is_not_null() & made[name].is_null() for name in named}
    unmapped = {named[name]: not_understood(text[name], is_bad) for name, is_bad in bad.items() if is_bad.any()}
    unused = [name for name in known if name not in named.values()]
    of_file = {f"{name} of {path.name}": values for name, values in unmapped.items()}
    return made.drop_nulls("task_id"), of_file, [f"{name} of {path.name}" for name in unused]


def _task_value(name: str) -> pl.Expr:
    """The values of a column of `frames.TASKS` from text; null if there is none, or it is out of bounds."""
    column, cell = TASKS.columns[name], pl.col(name)
    if column.values:
        return pl.when(cell.str.to_uppercase().is_in(column.values)).then(cell.str.to_uppercase()).alias(name)
    if column.dtype == pl.String:
        return cell
    if isinstance(column.dtype, pl.List):  # as JSON, or separated by commas
        names = cell.str.strip_chars("[]").str.split(",")
        return names.list.eval(pl.element().str.strip_chars(' "')).alias(name)
    number = cell.cast(pl.Float64, strict=False)
    is_whole = column.dtype == pl.Float64 or number == number.floor()
    low = -MAX_DURATION_MS if column.low is None else column.low
    high = MAX_DURATION_MS if column.high is None else column.high
    return pl.when(is_whole & number.is_between(low, high)).then(number).cast(column.dtype).alias(name)


def _cells(rows: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """Columns of text without spaces around it; null for a text that means empty."""
    means_empty = {name: [""] if name in _IDS else _EMPTY + _NOT_A_NUMBER * (name != "success") for name in names}
    stripped = rows.select(pl.col(names).str.strip_chars())
    return stripped.select(
        pl.when(~pl.col(name).is_in(empty)).then(name).alias(name) for name, empty in means_empty.items()
    )


def _check_most_understood(column: str, text: pl.Series, bad_count: int, few: Sequence[str]) -> None:
    """Raise UsageError if more than half of the times in a column are not understood."""
    if 2 * bad_count > (count := text.count()):
        found = f"{', '.join(map(repr, few))}; {bad_count:,} of {plural(count, 'value')} not understood"
        expected = "numbers, or times such as 0:01:30" if text.name == "duration" else "dates such as 2026-12-31 23:59"
        raise UsageError(f"--duration: expected {expected} in the column {column}, found {found}")


def _has_seconds(text: pl.Series) -> bool:
    """Whether some moment is not on the whole minute."""
    at = text.to_frame("at").select(moment(pl.col("at")))["at"]
    return bool((at.dt.truncate("1m") != at).any())


def _judged(values: pl.Series, columns: TableColumns) -> pl.DataFrame:
    """For each value of `success`: is_success, is_void (nobody could judge it), is_timeout, and is_unknown."""
    threshold = columns.threshold
    if threshold is not None and not isfinite(threshold):
        raise UsageError(f"--threshold: expected a number, found {threshold}")
    number = pl.col("success").cast(pl.Float64, strict=False).fill_nan(None)
    words = pl.col("success").str.to_lowercase().str.replace_all(r"[\s_/\x{2013}\x{2014}-]", "")
    scored = number >= threshold if threshold is not None else pl.when(number.is_in([0.0, 1.0])).then(number == 1.0)
    known = words.replace_strict(WORDS, default=None, return_dtype=pl.Boolean)
    judged = pl.select(success=values.sort(nulls_last=True)).with_columns(
        is_success=pl.coalesce(scored, pl.when(number.is_null()).then(known)),
        is_void=words.is_in(_VOID).fill_null(value=False),
        is_open=words.is_in(_OPEN).fill_null(value=False),
        is_timeout=words.is_in(_TIMEOUT).fill_null(value=False),
        is_score=number.is_not_null(),
    )
    bad = judged.with_columns(
        is_unknown=pl.all_horizontal(
            pl.col("success").is_not_null(), pl.col("is_success").is_null(), ~pl.col("is_void", "is_open")
        )
    )
    scores = bad.filter("is_unknown", "is_score")
    if scores.height or not bad["is_success"].is_not_null().any():
        found = ", ".join(map(repr, (scores if scores.height else bad.filter("is_unknown"))["success"].head(5)))
        hint = "; a score needs --threshold, the least value that counts as success" if scores.height else ""
        raise UsageError(f"{columns.success}: expected words such as passed, failed, found {found or 'nothing'}{hint}")
    return bad.drop("is_score")


def _whole(role: str) -> pl.Expr:
    number = pl.col(role).cast(pl.Float64, strict=False)
    return pl.when(number == number.floor()).then(number).cast(pl.Int64, strict=False)


def _clock_ms() -> pl.Expr:
    """Durations such as 0:01:30.5."""
    hours, minutes, seconds = (
        pl.col("duration").str.extract(r"^(\d+):(\d\d):(\d\d(?:\.\d+)?)$", part).cast(pl.Float64) for part in (1, 2, 3)
    )
    return ((hours * 60 + minutes) * 60 + seconds) * 1e3


def _attempt() -> pl.Expr:
    """Numbers from 1; a column that starts at 0 counts from there."""
    number = _whole("attempt") + (_whole("attempt").min() == 0)
    return pl.when(number.is_between(1, _HIGHEST_ATTEMPT)).then(number)


def _trial(text: pl.Series) -> pl.Series:
    """Numbers of trials; names, such as ids of runs, are numbered."""
    number = text.to_frame("trial").select(_whole("trial")).to_series()
    is_number = (number >= 0).fill_null(value=False) | text.is_null()
    return number if is_number.all() else text.rank("dense").cast(pl.Int64)


def _read(path: Path, named: Mapping[str, str], *, drop_torn_lines: bool) -> tuple[pl.DataFrame, int]:
    """Read the named columns as text, with a hash of each row; also count the lines that are no rows."""
    import duckdb

    source, is_json, has_decimal_commas = _source(path)
    known = column_names(path)
    for name in named.values():
        if name not in known and not (is_json and name.partition(".")[0] in known):
            found = ", ".join(known) or "no rows"
            raise UsageError(f"{path}: expected a column {name!r}{suggestion(name, known)}, found {found}")
    if is_json:
        places = {role: f'$."{name}"' if name in known else f"$.{name}" for role, name in named.items()}
        cells = {role: f"json ->> ${role}" for role in places}
        row, is_torn = "json", "json_type(json) is distinct from 'OBJECT'"
    else:
        places = {}
        cells = {role: f'cast("{name.replace(chr(34), chr(34) * 2)}" as varchar)' for role, name in named.items()}
        row, is_torn = "entry", "false"
    columns = ", ".join(f"{cell} as {role}" for role, cell in cells.items())
    question = f"select {columns}, hash({row}) as {_ROW}, {is_torn} as is_torn from {source} as entry"  # noqa: S608
    with duckdb.connect() as connection, _explained(path):
        rows = pl.DataFrame(ArrowStream(connection.sql(question, params=places)))
        torn: list[tuple[int | None, str]] = [(None, "no JSON object")] * int(rows["is_torn"].sum())
        if "store_rejects" in source:
            rejects = "select line, min(error_message) from reject_errors group by line order by line"
            torn = connection.execute(rejects).fetchall()
            if unclosed := [line for line, message in torn if "unterminated quote" in message]:
                raise InputError(str(path), line=unclosed[0], expected="a readable table", found=_UNCLOSED)
    if torn and not drop_torn_lines:
        line, message = torn[0]
        line = line or (_torn_line(path) if "newline_delimited" in source else None)
        expected = f"a row (--drop-torn-lines leaves out {plural(len(torn), 'such line')})"
        raise InputError(str(path), line=line, expected=expected, found=f"an error ({message})")
    rows = rows.filter(~pl.col("is_torn")).drop("is_torn")
    if has_decimal_commas:
        rows = rows.with_columns(
            pl.col(role).str.replace(r"^\s*([+-]?\d+),(\d+)\s*$", "$1.$2")
            for role in ("success", "duration")
            if role in named
        )
    return rows, len(torn)


def _torn_line(path: Path) -> int | None:
    """Number of the first line that is no JSON object."""
    with open_file(path) as stream:
        for number, line in enumerate(stream, 1):
            with suppress(ValueError):
                if isinstance(json.loads(line.strip() or "{}"), dict):
                    continue
            return number
    return None


def date_columns(path: Path, names: Sequence[str]) -> list[str]:
    """The columns of which at least half of the values are dates; plain numbers are none."""
    text = _read(path, {f"column_{i}": name for i, name in enumerate(names)}, drop_torn_lines=True)[0]
    cells = [text[f"column_{i}"].str.strip_chars().replace("", None) for i in range(len(names))]
    dated = [cell.filter(cell.cast(pl.Float64, strict=False).is_null()) for cell in cells]
    dates = [each.to_frame("at").select(moment(pl.col("at")).count()).item() for each in dated]
    return [name for name, cell, count in zip(names, cells, dates, strict=True) if count and 2 * count >= cell.count()]


def examples(path: Path, name: str) -> str:
    """The first few values of a column."""
    values = _read(path, {"value": name}, drop_torn_lines=True)[0]["value"]
    return ", ".join(values.drop_nulls().unique(maintain_order=True).head(3)) or "nothing"


def column_names(path: Path, *, is_nested: bool = False) -> list[str]:
    """Names of a file's columns, or of the fields of its objects; with dots inside the first thousand objects."""
    import duckdb

    source, is_json, _ = _source(path)
    keys = "select distinct unnest(json_keys(json)) as name from {} order by name"
    if is_nested:
        keys = (
            "select distinct replace(fullkey[3:], '\"', '') as name from (select json from {} limit 1000) as entry, "
            "json_tree(entry.json) as tree "
            "where tree.type not in ('OBJECT', 'ARRAY') and '[' not in fullkey order by name"
        )
    with duckdb.connect() as connection, _explained(path):
        question = keys.format(source) if is_json else f"describe select * from {source}"  # noqa: S608
        return [row[0] for row in connection.execute(question).fetchall()]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as problem:
        line = _unclosed_quote(path)
        found = _UNCLOSED if line else str(problem).splitlines()[0]
        raise InputError(str(path), line=line, expected="a readable table", found=found) from problem


def _unclosed_quote(path: Path) -> int | None:
    """Number of the line with the last quotation mark that opens and is not closed; None for a file that has none."""
    opened = None
    with open_file(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.count(b'"') % 2:
                opened = None if opened else number
    return opened if path.suffix.lower() in _SEPARATED else None


def _source(path: Path) -> tuple[str, bool, bool]:
    """SQL that reads a file, whether its rows are JSON, and whether its numbers may have decimal commas."""
    with open_file(path) as stream:
        head = stream.readline(1 << 16)
    if not head:
        raise InputError(str(path), expected="a table", found="an empty file")
    name = str(path).replace("'", "''")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return f"read_parquet('{name}')", False, False
    header = head.decode("utf-8-sig", "replace")
    if "\0" in header or "\ufffd" in header[:-1]:
        remedy, found = "save it as UTF-8, or convert it with iconv -f UTF-16 -t UTF-8", "another encoding"
        if head.startswith(b"\x1f\x8b"):
            remedy, found = "unpack it with gunzip", "a gzip file"
        raise InputError(str(path), line=1, expected=f"text in UTF-8 ({remedy})", found=found)
    if suffix in {".jsonl", ".ndjson", ".json"}:
        form = "array" if header.lstrip().startswith("[") else "newline_delimited"
        return f"read_json_objects('{name}', format='{form}', ignore_errors={form != 'array'})", True, False
    if suffix in _SEPARATED:
        is_declared = header.startswith("sep=")  # a line that Excel writes
        mark = header[4] if is_declared else max(",;\t|", key=header.count)
        return (
            (
                f"read_csv('{name}', all_varchar=true, header=true, delim='{mark}', quote='\"', escape='\"', "
                f"store_rejects=true, null_padding=false, skip={int(is_declared)})"
            ),
            False,
            mark == ";",
        )
    raise UsageError(f"{path}: expected a name that ends in .csv, .tsv, .jsonl, .json or .parquet")

"""Which column of a table is which: named by options, by a TOML map, or guessed from the names of the columns."""

import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from phase19.errors import InputError, UsageError, suggestion
from phase19.options import Options

UNITS_MS = {"ms": 1.0, "s": 1e3, "min": 6e4, "h": 3.6e6}
# Ends of names that say the unit, in lower case with spaces for anything but letters.
_UNIT_ENDS = {
    "ms": r"\bms|\bmsec|(?:duration|latency|time)ms|millis|milliseconds",
    "s": r"\bs|\bsecs?|seconds",
    "min": r"\bmins?|minutes",
    "h": r"\bh|\bhrs?|hours",
}
# Names that a column of each kind often has, best first; compared in lower case without punctuation.
USUAL = {
    "task": "task taskid taskname instanceid instance problem problemid issue case question promptid sampleid ticket "
    "job",
    "agent": "agent agentid agentname model modelid modelname solver algorithm system worker bot",
    "success": "success passed issuccess resolved isresolved solved correct pass ok outcome status verdict result "
    "score",
    "duration": "durationms executiontimems timems latencyms duration seconds durations runtime elapsed time latency",
    "category": "category repo repository dataset domain area component kind type benchmark",
    "timestamp": "timestamp ts started startedat starttime start begin createdat finishedat endtime datetime date when",
    "attempt": "attempt try retry attemptnumber",
    "trial": "trial run repetition epoch seed",
    "error": "error errormessage exception",
}
_STARTS = "startedat starttime started start begin"
_ENDS = "finishedat endedat completedat endtime finished ended completed end stop"


@dataclass(frozen=True, kw_only=True)
class TableColumns(Options):
    """Names of a table's columns; None where the table has no such column."""

    task: str | None = None
    """Column with the task."""
    agent: str | None = None
    """Column with the agent that tried it."""
    success: str | None = None
    """Column that says whether it succeeded: true, passed, 0, failed, ... or a score."""
    duration: str | None = None
    """Column and unit of the time, NAME:s (or ms, min, h), or two columns, START,END."""
    category: str | None = None
    """Column with the kind of task."""
    timestamp: str | None = None
    """Column with the time of the attempt."""
    attempt: str | None = None
    """Column with the number of the attempt among retries, from 1 or 0."""
    trial: str | None = None
    """Column with the number or name of the independent trial."""
    void: str | None = None
    """Column that marks what nobody could judge, by any text but false, no or 0."""
    error: str | None = None
    """Column with the error message."""
    threshold: float | None = None
    """Count a score as success from this value on."""

    @property
    def given(self) -> dict[str, Any]:
        """What is not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def roles(self) -> tuple[dict[str, str], str]:
        """The column of each role, with `start` and `end` for two times, and the unit of durations.

        Raises
        ------
        UsageError
            The duration has no unit.
        """
        named = {role: name for role, name in self.given.items() if role != "threshold"}
        duration = named.pop("duration", None)
        if duration is None:
            return named, "ms"
        name, colon, unit = duration.rpartition(":")
        name, unit = (name, unit) if colon else (duration, unit_of(duration))
        if unit in UNITS_MS:
            return named | {"duration": name}, unit
        start, comma, end = duration.partition(",")
        if not comma:
            raise UsageError(f"--duration: expected NAME:UNIT with a unit of {', '.join(UNITS_MS)}, found {duration}")
        return named | {"start": start, "end": end}, "ms"


def read_map(path: Path) -> dict[str, Any]:
    """Read a TOML file with the fields of `TableColumns`, such as `task = "instance_id"`.

    Raises
    ------
    InputError
        The file cannot be read or is not TOML, a key is unknown, or a value is no name.
    """
    from phase19.inputs.decoding import decode_toml
    from phase19.inputs.refusals import line_of, shorten

    text, document = decode_toml(path)
    known = [field.name for field in fields(TableColumns)]
    for key, value in document.items():
        kinds, expected = ((int, float), "a number") if key == "threshold" else ((str,), "the name of a column")
        is_right = isinstance(value, kinds) and not isinstance(value, bool) and value != ""
        if key not in known or not is_right:
            found = shorten(repr(value)) if key in known else f"{key!r}{suggestion(key, known)}"
            expected = expected if key in known else f"one of {', '.join(known)}"
            line = line_of(re.sub("#.*", "", text), (key,), key_form=r"\b{}\b")
            raise InputError(str(path), line=line, field=key, expected=expected, found=found)
    return document


def propose(names: Collection[str]) -> dict[str, str]:
    """Guess which column is which: the fields of `TableColumns` that have a column with a usual name."""
    found = {role: name for role, words in USUAL.items() if (name := usual(names, words))}
    start, end = usual(names, _STARTS), usual(names, _ENDS)
    # A time may also be named by its unit, such as time_to_fix_min.
    duration = found.pop("duration", None) or next((name for name in names if unit_of(name)), None)
    if duration is not None:
        found["duration"] = f"{duration}:{unit_of(duration) or 's'}"
    elif start and end:
        found["duration"] = f"{start},{end}"
    return {role: found[role] for role in USUAL if role in found}


def usual(names: Collection[str], words: str) -> str | None:
    """The column with the first of the names in `words`, which are in lower case without punctuation.

    The last part of a field inside a JSON object, such as agent.model, counts if no name as a whole does.
    """
    ends = [(end, name) for name in reversed([*names]) for end in (name.rpartition(".")[2], name)]
    plain = {
        re.sub(r"[^a-z0-9]", "", end.lower()): name for end, name in sorted(ends, key=lambda pair: pair[0] == pair[1])
    }
    return next((plain[word] for word in words.split() if word in plain), None)


def unit_of(name: str) -> str:
    """The unit that the name of a column of times ends with, such as latency_ms or Time (min); empty if none."""
    plain = re.sub(r"[^a-z]+", " ", name.lower()).strip()
    return next((unit for unit, ends in _UNIT_ENDS.items() if re.search(f"(?:{ends})$", plain)), "")

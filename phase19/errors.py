"""The package's exception tree: every error a user can cause derives from :class:`Phase19Error`."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def printable(text: str) -> str:
    """Escape unprintable characters, as `repr` does, so that no terminal interprets them as commands."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun: no task, 1 task, 2 tasks."""
    noun = one if count == 1 else many or f"{one}s"
    return f"{count:,} {noun}" if count else f"no {noun}"


def program() -> str:
    """How the user calls the command: `phase19` if that was typed, otherwise `python -m phase19`."""
    return "phase19" if Path(sys.argv[0]).name == "phase19" else "python -m phase19"


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean NAME?` if a known name is close to `name`, otherwise an empty text."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return f"; did you mean {close[0]}?" if close else ""


class Phase19Error(Exception):
    """Base class of all errors that a user can fix; the command line prints them and exits with code 2."""


class InputError(Phase19Error):
    """An input file breaks the contract.

    Parameters
    ----------
    file
        Path of the file as the user gave it.
    expected, found
        What the contract requires, and what the file contains.
    line
        Line number from 1; None if the error concerns the whole file.
    field
        Name of the wrong field, with dots if it is nested, such as `agents.a.tasks`.
    """

    def __init__(
        self, file: str, *, expected: str, found: str, line: int | None = None, field: str | None = None
    ) -> None:
        self.file, self.line, self.field, self.expected, self.found = file, line, field, expected, found
        place = file if line is None else f"{file}, line {line}"
        subject = "" if field is None else f"field {field!r}: "
        super().__init__(printable(f"{place}: {subject}expected {expected}, found {found}"))


class InvalidInputsError(Phase19Error):
    """Several places in the input files break the contract; `errors` lists them."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(map(str, errors)))


Report = Callable[[InputError], None]  # receives an error; may raise it, or keep it and return


def raise_error(error: InputError) -> None:
    """Raise an error at once: the usual :data:`Report`."""
    raise error


class UsageError(Phase19Error):
    """An option or argument is out of bounds, or two of them contradict each other."""


class InfeasibleError(Phase19Error):
    """No assignment satisfies all capacities and allowed agents.

    Parameters
    ----------
    message
        Text of the error.
    rows, columns
        Positions of tasks that cannot all be placed, and of the agents they allow; empty if unknown.
    """

    def __init__(self, message: str, rows: tuple[int, ...] = (), columns: tuple[int, ...] = ()) -> None:
        self.rows, self.columns = rows, columns
        super().__init__(message)


class OutputError(Phase19Error):
    """A run directory or output file cannot be written or read."""

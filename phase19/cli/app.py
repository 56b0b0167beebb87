"""The command line: its commands, and what they have in common."""

import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import MissingArgumentError, RepeatArgumentError, UnusedCliTokensError

from phase19 import __version__
from phase19.cli import evaluations, records, runs, screen
from phase19.cli.parsing import discard, print_errors
from phase19.cli.runs import DONE, INTERRUPTED
from phase19.errors import InvalidInputsError, Phase19Error, UsageError, plural, printable, suggestion

BAD_INPUT = 2

app = App(
    name="phase19",
    help="Forecast, assign, schedule and learn: the optimisation phase of a multi-agent system.",
    version=__version__,
    default_parameter=Parameter(negative=(), show_choices=True),
    help_format="plaintext",
    help_formatter="plain",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
app.default(runs.run)
for position, command in enumerate(
    (
        runs.run,
        records.import_,
        records.validate,
        evaluations.forecast,
        evaluations.backtest,
        evaluations.compare,
        evaluations.sweep,
        runs.query,
        runs.explain,
        runs.report,
        records.init,
        records.sample,
    )
):
    app.command(command, sort_key=position)


@app.command(name="--install-completion", sort_key=len(list(app)))
def install_completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Let a shell complete commands, options and choices with the Tab key.

    Parameters
    ----------
    shell
        The shell whose start-up files are changed.
    """
    from phase19.publishing.files import write_errors

    with write_errors(Path.home()):
        path = app.install_completion(shell=shell)
    print(f"Written to {printable(str(path))}; it takes effect in new shells")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if done, 2 after bad usage, input or output, 130 if interrupted. Bugs raise.

    The entry point handles signals; this function only sees a KeyboardInterrupt that other code raises.
    """
    # Python sets a stream that the caller closed to None.
    sys.stdout, sys.stderr = (stream or TextIOWrapper(FileIO(os.devnull, "w")) for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # ids may contain any character
    given = sys.argv[1:] if arguments is None else list(arguments)
    # One thread: sums round alike for any number of cores, and small matrices are faster.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports take half of a short run. They make many objects but no garbage, so collect less often.
    gc.set_threshold(200_000, 20, 20)
    # Let glibc keep the memory of freed arrays, because fetching it again from the system takes longer than using it.
    if adjust := getattr(ctypes.CDLL(None), "mallopt", None):
        adjust(-1, 2**30)  # M_TRIM_THRESHOLD
        adjust(-3, 2**30)  # M_MMAP_THRESHOLD
    try:
        if "" in given:  # from an unset shell variable; as a path, it would mean the current directory
            before = ["command", *given][given.index("")]
            raise UsageError(f"{before}: expected a value, found nothing")
        if given and not given[0].startswith("-") and given[0] not in app:
            hint = suggestion(given[0], app) or "; see --help"
            raise UsageError(f"expected a command or an option, found {given[0]!r}{hint}")
        is_help = not {"--help", "-h", "--version"}.isdisjoint(given)
        code: int | None = app(given, console=screen.console_for(sys.stdout) if is_help else None)
        sys.stdout.flush()
    except (CycloptsError, Phase19Error) as problem:
        problems = problem.errors if isinstance(problem, InvalidInputsError) else [problem]
        for each in problems:
            print_errors([f"error: {_message(each)}", *getattr(each, "__notes__", ())])
        return BAD_INPUT
    except KeyboardInterrupt:
        print_errors(["interrupted"])
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)  # the reader closed the pipe
        return DONE
    except OSError as problem:
        if problem.filename is not None:  # not about stdout or stderr, which have no name
            raise
        discard(sys.stdout)
        print_errors([f"error: the output cannot be written: {problem.strerror}"])
        return BAD_INPUT
    return code or DONE


def _message(problem: Exception) -> str:
    """The text of an error; the parser's errors about the number of values are put in our words."""
    if isinstance(problem, UnusedCliTokensError) and problem.unused_tokens:
        extra, command = problem.unused_tokens[0], " ".join([*(problem.command_chain or ()), "--help"])
        return f"expected the name of an option before {extra!r}, such as --input or --run; see {command}"
    if isinstance(problem, MissingArgumentError) and problem.argument is not None:
        count = max(problem.argument.token_count()[0], 1)
        found = len(problem.tokens_so_far) % count or "none"
        return f"{problem.keyword or problem.argument.name}: expected {plural(count, 'value')}, found {found}"
    if isinstance(problem, RepeatArgumentError):
        return f"{problem.token.keyword}: expected it once, found it several times"
    return str(problem)

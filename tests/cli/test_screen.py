"""What the command shows after a run, and while it works."""

import io
import re
from contextlib import redirect_stdout

import pytest

from phase19.cli.screen import PIPED_WIDTH, print_run, wave_progress

ESCAPE = "\x1b"


@pytest.fixture
def run_dir(sample_run):
    return sample_run.run_dir


def shown(run_dir, **options):
    stream = io.StringIO()
    with redirect_stdout(stream):
        print_run(run_dir, **options)
    return stream.getvalue()


def test_the_screen_of_the_sample_is_short_and_says_first_whether_the_plan_held(run_dir):
    text = shown(run_dir)
    lines = text.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines[:-1])) <= PIPED_WIDTH  # the last line holds paths
    assert re.match(r"The (plan|run) .*: \d+ of 12 tasks succeeded; \d+\.\d were expected, and \d+ to 12 is", lines[0])
    order = [text.index(part) for part in ("Dry run", "normal range   planned time", "prediction error", "Health")]
    assert order == sorted(order)
    assert re.search(r"checks run: \d of 4\.\nResults are in ", text)
    assert not re.search("[\u2013\u2014\u2212]", text)  # normal minus signs and no dashes


def test_no_effect_is_printed_beside_a_check_that_needs_more_data(run_dir):
    rows = [line for line in shown(run_dir).splitlines() if "needs more data" in line]
    assert rows
    assert all(re.fullmatch(r"[a-z ]+ needs more data +(none|[\d.]+ (points|x|%))", row) for row in rows)


def test_the_five_metrics_are_shown_when_asked_for(run_dir):
    metrics = ["schedule_accuracy", "throughput_efficiency", "agent_utilization", "confidence_trajectory"]
    plain, verbose = shown(run_dir), shown(run_dir, is_verbose=True)
    assert [name for name in metrics if re.search(rf"^{name} ", plain, re.MULTILINE)] == []
    assert [name for name in metrics if re.search(rf"^{name} ", verbose, re.MULTILINE)] == metrics


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_work_shows_its_progress_on_a_terminal_and_takes_it_away():
    terminal = Terminal()
    with wave_progress(terminal) as progress:
        progress("waves", 2, 5)
    assert "waves" in terminal.getvalue()
    assert "40%" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"{ESCAPE}[2K")  # the line is erased at the end


def test_piped_work_shows_nothing():
    pipe = io.StringIO()
    with wave_progress(pipe) as progress:
        progress("waves", 1, 3)
    assert pipe.getvalue() == ""

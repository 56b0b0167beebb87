"""Time to write a report, its size, and time until its page answers a filter: `python -m benchmarks report`.

Each report is of a dry run of a generated sample with 20 agents and 5 waves. `written` is the time of `write_report`,
which reads the files of the run. `answered` is the time in headless Chromium from the start of the page's loading until
the count of tasks has changed after a letter was typed into the search; the browser itself is already running. Times
are medians of five. The table goes to docs/benchmarks.md. Exits with 1 if an aim is missed.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import phase19
from benchmarks._document import machine, missed_aims, replace_section, table
from benchmarks._figures import calibrate, compare
from phase19.inputs.sample import write_sample
from phase19.outputs.report import HTML_FILE, write_report

AIMS = {1_000: {"bytes": 1e6}, 10_000: {"written s": 5.0, "bytes": 3e6, "answered s": 2.0}}  # by number of tasks
REPEATS = 5


def seconds_to_write(run_dir: Path) -> tuple[float, float]:
    """Wall and CPU seconds."""
    started, spent = time.perf_counter(), time.process_time()
    write_report(run_dir)
    return time.perf_counter() - started, time.process_time() - spent


def seconds_to_answer(browser: Browser, page_file: Path) -> float:
    with browser.new_context() as context:
        page = context.new_page()
        started = time.perf_counter()
        page.goto(page_file.as_uri())
        said = page.locator("#filters output")
        before = said.inner_text()
        page.locator("#filters [name=search]").fill("task_12")
        while said.inner_text() == before:
            pass
        return time.perf_counter() - started


MEANING = (
    "How long it takes to write report.html from the files of a run, how large it is, and how long a browser needs "
    "from opening it to the first answered filter. Less is better; a page that answers within 2 s does not feel slow."
)


def main() -> int:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    rows, missed, spent, before = [], [], {}, calibrate()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        for tasks, aims in AIMS.items():
            place = Path(scratch, str(tasks))
            write_sample(place, tasks=tasks, agents=20, waves=5, seed=19)
            phase19.run(input=place / "phase18", output=place / "phase19", timestamp="2026-02-05T12:00:00Z")
            page_file = place / "phase19" / HTML_FILE
            times = [seconds_to_write(page_file.parent) for _ in range(REPEATS)]
            written, spent[f"{tasks:,} tasks"] = map(statistics.median, zip(*times, strict=True))
            found = {
                "written s": written,
                "bytes": page_file.stat().st_size,
                "answered s": statistics.median(seconds_to_answer(browser, page_file) for _ in range(REPEATS)),
            }
            missed += [f"{tasks:,} tasks: {name} below {aim:,.0f}" for name, aim in aims.items() if found[name] >= aim]
            rows.append(
                [f"{tasks:,}", f"{found['written s']:.2f}", f"{found['bytes']:,}", f"{found['answered s']:.2f}"]
            )
            print("  ".join(rows[-1]), flush=True)
        about = f"Chromium {browser.version}"
        browser.close()
    missed += compare("report", spent, before)
    lines = [
        f"{machine('polars', 'duckdb', threads=os.cpu_count() or 1)} {about}.",
        "",
        *table(["tasks", "written s", "bytes", "answered s"], rows),
        "",
        missed_aims(missed),
    ]
    replace_section("Report", "report", MEANING, lines)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

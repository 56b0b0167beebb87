"""Reports of four runs, opened in headless Chromium; every page is checked for errors and network requests."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

import phase19
from phase19.outputs.report import compare_runs

ROOT = Path(__file__).parent.parent.parent
BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
MISSING = "Chromium is missing: apt-get install chromium, or set CHROMIUM to the path of Chromium or Chrome"
FIXED = {"timestamp": "2026-02-05T12:00:00Z", "seed": 7}

# What a page could take for markup, script, an address, a property or a direction of writing.
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    "<!-- <svg onload=window.hacked=1> ]]>",
    "javascript:window.hacked=1",
    "${window.hacked = 1} {{7*7}}",
    "&lt;b&gt; &amp; &",
    "a/b?c#d%20e\\f",
    "\u202egnirts\u202c",
    "Z" + "\u0300\u0323" * 30,
    "w" * 300,
    "👩‍👩‍👧‍👦 🏳️‍🌈",
    "__proto__",
    "constructor",
    '=1+1,"a";b',
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Skip these tests without a browser, in one line of the summary; in CI they fail."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)


@pytest.fixture(scope="module")
def browser():
    """One browser a module: while it is open, other tests of this process cannot start an event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a network, so that a request would fail besides being noticed.
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--host-resolver-rules=MAP * ~NOTFOUND"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a report: `visit(run, fragment="", **context)`; at the end, no page may have met an error or the network.

    `run` is a run, or the path of a page.
    """
    contexts, problems = [], []

    def listen(page, address):
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("websocket", lambda socket: problems.append(f"socket: {socket.url}"))
        page.on("request", lambda request: request.url.partition("#")[0] == address or problems.append(request.url))

    def opened(run, fragment="", **context):
        address = (run if isinstance(run, Path) else Path(run) / "report.html").as_uri()
        contexts.append(browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        listen(page, address)
        page.goto(address + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def write_rows(path: Path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="session")
def thousand_tasks(tmp_path_factory):
    place = tmp_path_factory.mktemp("thousand_tasks") / "phase19"
    return phase19.run(input=ROOT / "data" / "phase18", output=place, timestamp=FIXED["timestamp"])


@pytest.fixture(scope="session")
def all_failed(tmp_path_factory, sample_run):
    """A replay of the sample in which whatever agent got a task, it failed."""
    place = tmp_path_factory.mktemp("all_failed")
    pairs = [(task, agent) for task in sample_run.plans["task_id"] for agent in sample_run.agents["agent_id"]]
    failure = {"status": "failed", "execution_time_ms": 40, "error_message": "disk full"}
    write_rows(place / "failures.jsonl", [{"task_id": t, "agent_id": a, **failure} for t, a in pairs])
    replay = {"executor": "replay", "executions": place / "failures.jsonl"}
    return phase19.run(input=ROOT / "outputs" / "phase18", output=place / "phase19", **replay, **FIXED)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A replay in which ids, categories, error messages, patterns, signals and heuristics are hostile text."""
    place = tmp_path_factory.mktemp("hostile")
    inputs = shutil.copytree(ROOT / "outputs" / "phase18", place / "phase18")
    (place / "phase16").mkdir()
    tasks, outcomes, signals, heuristics = [], [], [], []
    for i, text in enumerate(HOSTILE):
        named = {"task_id": text, "category": text, "risk_level": ("LOW", "HIGH")[i % 2]}
        tasks.append({**named, "wave": i % 2 + 1, "confidence": 0.7, "required_agents": [text]})
        outcome = {"status": ("failed", "completed")[i % 3 == 0], "execution_time_ms": 20 + i}
        outcomes.append({**named, "agent_id": text, **outcome, "error_message": None if i % 3 == 0 else text})
        signals.append({"signal_id": text, "type": text, "description": text, "agent_id": text, "success_rate": 0.8})
        heuristics.append({"heuristic_id": text, "category": text, "rule": {text: text}})
    write_rows(inputs / "tasks.jsonl", tasks)
    write_rows(inputs / "learning_signals.jsonl", signals)
    write_rows(place / "phase16" / "heuristics.jsonl", heuristics)
    write_rows(place / "outcomes.jsonl", outcomes)
    patterns = [{"pattern_type": text, "agent_assignments": {text: [text]}, "success_rate": 0.9} for text in HOSTILE]
    (inputs / "coordination_patterns.json").write_text(json.dumps(patterns), "utf-8")
    replay = {"executor": "replay", "executions": place / "outcomes.jsonl"}
    return phase19.run(input=inputs, output=place / "phase19", **replay, **FIXED)


@pytest.fixture(params=("sample_run", "thousand_tasks", "all_failed", "hostile"))
def run(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=("sample_run", "hostile"))
def comparison(request, thousand_tasks, tmp_path):
    """The page that sets a run beside the run of 1,000 tasks."""
    return compare_runs(request.getfixturevalue(request.param).run_dir, thousand_tasks.run_dir, tmp_path / "c.html")[1]

"""Live execution: attempts, errors of agents and of the caller, interrupts, and the journal of attempts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import phase19
from phase19 import LiveResult, frames, harness
from phase19.errors import OutputError, UsageError
from phase19.execution.live import LiveExecutor
from phase19.execution.protocol import task_outcomes
from phase19.inputs.sample import write_sample
from phase19.publishing import run_directory
from tests.builders import orders

CHANGES = (-0.02, 0.05)


def run_live(ordered, runner):
    """The execution, and the outcomes by task as (status, attempts, duration, change)."""
    execution = LiveExecutor(runner).execute(ordered)
    frame = task_outcomes(ordered, execution, CHANGES)
    frames.OUTCOMES.validate(frame)
    frames.ATTEMPTS.validate(execution.attempts)
    assert frame["task_id"].to_list() == ordered["task_id"].to_list()
    rows = frame.drop("is_duration_measured", "is_censored", "error_message").rows()
    return execution, {task: tuple(rest) for task, _, *rest in rows}


# Attempts


def test_live_retries_until_success_or_no_more_are_allowed():
    seen = []

    def runner(order, attempt):
        seen.append((order["task_id"], attempt))
        return LiveResult(
            is_success=(order["task_id"], attempt) == ("a", 2), confidence_delta=0.5 if attempt == 2 else None
        )

    execution, found = run_live(
        orders({"task_id": "a"}, {"task_id": "b", "max_attempts": 1}, {"task_id": "c", "max_attempts": 2}), runner
    )
    assert seen == [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("c", 2)]
    assert {task: (status, count) for task, (status, count, *_) in found.items()} == {
        "a": ("completed", 2),
        "b": ("failed", 1),
        "c": ("failed", 2),
    }
    assert (found["a"][3], found["b"][3]) == (0.5, -0.02)
    assert not execution.is_interrupted


def test_live_attempts_are_censored_where_the_runner_says_so():
    runner = lambda order, _: LiveResult(is_success=False, is_censored=order["task_id"] == "a")  # noqa: E731
    ordered = orders(*({"task_id": task, "max_attempts": 1} for task in "ab"))
    made = LiveExecutor(runner).execute(ordered).attempts
    assert dict(made.select("task_id", "is_censored").rows()) == {"a": True, "b": False}


def test_live_orders_are_rows_of_the_schema_and_hold_no_forecast():
    keys = []
    run_live(orders({"task_id": "a"}), lambda order, _: keys.extend(order) or LiveResult(is_success=True))
    assert keys == list(frames.ORDERS.columns)


@pytest.mark.parametrize("is_success", [True, False])
def test_a_runner_may_return_a_bool(is_success):
    assert run_live(orders({"task_id": "a", "max_attempts": 1}), lambda *_: is_success)[1]["a"][0] == (
        "completed" if is_success else "failed"
    )


def test_the_cost_of_an_attempt_is_kept():
    execution, _ = run_live(orders({"task_id": "a"}), lambda *_: LiveResult(is_success=True, cost=0.25))
    assert execution.attempts["cost"].to_list() == [0.25]


# Errors of the agent and of the caller


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError


def test_an_exception_of_an_agent_is_a_failed_attempt():
    def runner(_, attempt):
        if attempt == 1:
            raise ValueError("no such tool")
        return LiveResult(is_success=True)

    execution, found = run_live(orders({"task_id": "a"}), runner)
    assert found["a"][:2] == ("completed", 2)
    assert execution.attempts["error_message"].to_list() == ["ValueError: no such tool", None]
    assert (execution.attempts["duration_ms"] >= 0).all()


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (OSError("half a pair \udc80"), "OSError: half a pair \\udc80"),
        (OSError("nul \0 escape \x1b[31m"), "OSError: nul \0 escape \x1b[31m"),
        (OSError("two\nlines"), "OSError: two\nlines"),
        (OSError(), "OSError"),
        (KeyError("task"), "KeyError: 'task'"),
        (UnprintableError(), "UnprintableError: <exception str() failed>"),
    ],
    ids=["surrogate", "control", "lines", "empty", "key", "no text"],
)
def test_the_text_of_any_exception_is_recorded(problem, message):
    def runner(*_):
        raise problem

    execution, found = run_live(orders({"task_id": "a", "max_attempts": 1}), runner)
    assert found["a"][0] == "failed"
    assert execution.attempts["error_message"][0].endswith(message)


def test_the_text_of_a_result_may_have_any_characters():
    execution, _ = run_live(orders({"task_id": "a"}), lambda *_: LiveResult(is_success=True, error_message="\udc80"))
    assert execution.attempts["error_message"].to_list() == ["\\udc80"]


def returns(result):
    return lambda order, _: result if order["task_id"] == "a" else True


def clears(order, _):
    order.clear()
    return order["task_id"]  # a KeyError


def appends(order, _):
    order["heuristics_applied"].append("H16_001")
    return True


def adds(order, _):
    order["answer"] = np.zeros(2)
    return LiveResult(is_success=True)


def leaves(*_):
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        (returns(None), "a LiveResult or a bool at attempt 1 of task 'a', found None"),
        (returns("yes"), "a LiveResult or a bool at attempt 1 of task 'a', found 'yes'"),
        (returns(1), "a LiveResult or a bool at attempt 1 of task 'a', found 1"),
        (returns(LiveResult("yes")), r"Expected `bool`, got `str` - at `\$.is_success`"),
        (returns(LiveResult(True, float("nan"))), r"Expected `float` >= -1.0 - at `\$.confidence_delta`"),
        (returns(LiveResult(True, 5.0)), r"Expected `float` <= 1.0 - at `\$.confidence_delta`"),
        (returns(LiveResult(True, "x")), r"Expected `float \| null`, got `str` - at `\$.confidence_delta`"),
        (returns(LiveResult(True, None, 7)), r"Expected `str \| null`, got `int` - at `\$.error_message`"),
        (returns(LiveResult(True, cost=-1.0)), r"Expected `float` >= 0.0 - at `\$.cost`"),
        (lambda _order: True, r"found TypeError: .* takes 1 positional argument but 2 were given"),
        (lambda order, _attempt: order + 1, "at attempt 1 of task 'a', found TypeError: unsupported operand"),
        (leaves, "found SystemExit: 3"),
        (clears, r"leave its order as it is at attempt 1 of task 'a', found it changed: \{\}"),
        (appends, "leave its order as it is"),
        (adds, "leave its order as it is"),
    ],
    ids=[
        *("nothing", "text", "number", "no bool", "NaN", "too large", "text for a number", "number for a text", "cost"),
        *("signature", "type error", "exit", "clears", "appends", "adds"),
    ],
)
def test_a_mistake_of_the_caller_stops_the_run_and_is_no_failure_of_the_agent(runner, message):
    recorded = []
    executor = LiveExecutor(runner)
    executor.record = recorded.append
    with pytest.raises(UsageError, match=f"^runner: expected .*{message}"):
        executor.execute(orders({"task_id": "a"}, {"task_id": "b"}))
    assert not [row for attempts in recorded for row in attempts.rows(named=True) if row["status"] == "failed"]


def test_after_a_mistake_other_agents_end_their_attempt_and_start_no_other():
    both, seen = threading.Barrier(2, timeout=20), []

    def runner(order, _):
        seen.append(order["task_id"])
        both.wait()
        if order["agent_id"] == "a0":
            return None
        while not executor._stop.is_set():
            pass
        return True

    executor, recorded = LiveExecutor(runner), []
    executor.record = recorded.append
    ordered = orders(*({"task_id": f"{agent}{k}", "agent_id": agent} for agent in ("a0", "a1") for k in range(2)))
    with pytest.raises(UsageError, match="found None"):
        executor.execute(ordered)
    assert sorted(seen) == ["a00", "a10"]
    assert [attempts["task_id"].item() for attempts in recorded] == ["a10"]


# Agents side by side, and interrupts


def test_agents_work_side_by_side_each_one_task_at_a_time():
    both = threading.Barrier(2, timeout=20)
    busy = {"a0": 0, "a1": 0}

    def runner(order, _):
        busy[order["agent_id"]] += 1
        assert busy[order["agent_id"]] == 1
        both.wait()  # passes only where the two agents are at work at once
        busy[order["agent_id"]] -= 1
        return LiveResult(is_success=True)

    ordered = orders(*({"task_id": f"{agent}{k}", "agent_id": agent} for agent in busy for k in range(3)))
    _, found = run_live(ordered, runner)
    assert {status for status, *_ in found.values()} == {"completed"}


def test_a_runner_that_is_interrupted_leaves_the_rest_interrupted():
    def runner(order, _):
        if order["task_id"] == "b":
            raise KeyboardInterrupt
        return LiveResult(is_success=True)

    execution, found = run_live(orders({"task_id": "a"}, {"task_id": "b"}, {"task_id": "c"}), runner)
    assert execution.is_interrupted
    assert {task: row[:3] for task, row in found.items() if task != "a"} == {
        "b": ("interrupted", 0, None),
        "c": ("interrupted", 0, None),
    }
    assert found["a"][0] == "completed"


def test_any_number_of_interrupts_of_the_program_let_attempts_under_way_end(monkeypatch):
    from phase19.execution import live

    started, release, interrupts = threading.Event(), threading.Event(), iter([KeyboardInterrupt, KeyboardInterrupt])
    wait = live.wait

    def interrupted(running):
        assert started.wait(20)
        if problem := next(interrupts, None):
            raise problem
        release.set()
        return wait(running)

    def runner(*_):
        started.set()
        assert release.wait(20)
        return LiveResult(is_success=True)

    monkeypatch.setattr(live, "wait", interrupted)
    executor = LiveExecutor(runner)
    ordered = orders({"task_id": "a"}, {"task_id": "b"})
    execution = executor.execute(ordered)
    found = task_outcomes(ordered, execution, CHANGES)
    assert execution.is_interrupted
    assert found["status"].to_list() == ["completed", "interrupted"]
    # A run that was stopped starts nothing in later waves either.
    assert executor.execute(ordered).is_interrupted


def test_an_interrupt_while_agents_are_started_stops_them(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    submit, seen = ThreadPoolExecutor.submit, []

    def interrupted(pool, work, queue):
        if queue[0]["agent_id"] == "a1":
            raise KeyboardInterrupt
        return submit(pool, work, queue)

    def runner(order, _):
        while not executor._stop.is_set():
            pass
        return not seen.append(order["task_id"])

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    executor = LiveExecutor(runner)
    with pytest.raises(KeyboardInterrupt):
        executor.execute(orders({"task_id": "a"}, {"task_id": "b"}, {"task_id": "c", "agent_id": "a1"}))
    assert seen == ["a"]


def test_live_without_orders():
    execution, found = run_live(orders(), lambda *_: LiveResult(is_success=True))
    assert (execution.attempts.height, found) == (0, {})


# The journal


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    place = tmp_path_factory.mktemp("live")
    write_sample(place, tasks=6, agents=2, waves=2, seed=5)
    rows = [{"task_id": f"t{k}", "wave": 1 + k // 3, "risk_level": "LOW", "confidence": 0.9} for k in range(6)]
    (place / "phase18" / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place / "phase18"


def journals(directory):
    return sorted(directory.glob("*.journal/attempts.jsonl"))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_attempt(rows):
    return sorted(rows, key=lambda row: (row["task_id"], row["attempt"]))


def live(inputs, output, runner):
    return phase19.run(input=inputs, output=output, executor="live", runner=runner, timestamp="2026-02-05T12:00:00Z")


def some_fail(order, attempt):
    if attempt == 1 and order["task_id"] in {"t1", "t2"}:
        raise OSError("no \udc80 answer\x1b[31m")
    return LiveResult(is_success=True, cost=1.5)


def test_every_attempt_is_on_disk_before_the_next_starts_and_in_the_run_at_the_end(inputs, tmp_path):
    seen = []

    def runner(order, attempt):
        (journal,) = journals(tmp_path)
        seen.append(({(row["task_id"], row["attempt"]) for row in lines(journal)}, order["agent_id"]))
        ended.setdefault(order["agent_id"], set())
        assert ended[order["agent_id"]] <= seen[-1][0]
        ended[order["agent_id"]].add((order["task_id"], attempt))
        kept.append(journal.read_text())
        return some_fail(order, attempt)

    ended, kept = {}, []
    run = live(inputs, tmp_path / "run", runner)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    rows = lines(run.run_dir / "attempts.jsonl")
    assert list(rows[0]) == list(frames.ATTEMPT_LOG.columns)
    assert {(row["task_id"], row["attempt"]) for row in rows} == set().union(*ended.values())
    assert {row["cost"] for row in rows if row["status"] == "success"} == {1.5}
    assert {row["error_message"] for row in rows if row["status"] == "failed"} == {"OSError: no \\udc80 answer\x1b[31m"}
    assert all(row["started_at"] <= row["timestamp"] and not row["simulated"] for row in rows)
    longest = max(kept, key=len).splitlines()
    assert [json.loads(line) for line in longest if json.loads(line) not in rows] == []
    told = [warning for warning in run.warnings if "ended with an error" in warning]
    assert len(told) == 1 and told[0].startswith("2 attempts of 8 ended with an error; attempt 1 of t")


def test_a_live_run_can_be_replayed_from_its_attempts(inputs, tmp_path):
    options = {"input": inputs, "max_retries": 1, "waves": 1, "timestamp": "2026-02-05T12:00:00Z"}
    first = phase19.run(**options, output=tmp_path / "run", executor="live", runner=some_fail)
    attempts = first.run_dir / "attempts.jsonl"
    again = phase19.run(**options, output=tmp_path / "again", executor="replay", executions=attempts)
    columns = ["task_id", "agent_id", "status", "retry_count", "error_message", "actual_duration_ms"]
    assert again.executions.select(columns).equals(first.executions.select(columns))
    assert by_attempt(lines(again.run_dir / "attempts.jsonl")) == by_attempt(lines(attempts))


def test_an_attempt_is_synced_to_disk_before_record_returns(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with run_directory.journal(tmp_path / "deep" / "run.journal") as record:
        for length in (8, 16):
            record(pl.DataFrame({"a": [1]}))
            assert sizes[-1] == length
        assert (tmp_path / "deep" / "run.journal" / "attempts.jsonl").read_text() == '{"a":1}\n' * 2
    assert list((tmp_path / "deep").iterdir()) == []


def test_the_attempts_of_a_dry_run_teach_nothing(inputs, tmp_path):
    options = {"input": inputs, "timestamp": "2026-02-05T12:00:00Z"}
    dry = phase19.run(**options, output=tmp_path / "dry")
    rows = lines(dry.run_dir / "attempts.jsonl")
    assert all(row["simulated"] and row["started_at"] is None for row in rows)
    again = phase19.run(
        **options, output=tmp_path / "again", executor="replay", executions=dry.run_dir / "attempts.jsonl"
    )
    assert set(again.executions["status"]) == {"unobserved"}
    told = f"attempts.jsonl: {len(rows)} attempts left out that nobody could judge"
    assert any(warning.startswith(told) for warning in again.warnings)


@pytest.mark.parametrize("problem", [ZeroDivisionError("a bug"), KeyboardInterrupt(), OutputError("disk")], ids=type)
def test_a_run_that_dies_after_its_last_wave_leaves_its_attempts_and_says_where(inputs, tmp_path, monkeypatch, problem):
    def fail(*_):
        raise problem

    monkeypatch.setattr(harness, "write_report", fail)
    with pytest.raises(type(problem)) as caught:
        live(inputs, tmp_path / "run", some_fail)
    (journal,) = journals(tmp_path)
    assert caught.value.__notes__ == [f"The attempts that ended are in {journal}"]
    assert [path for path in tmp_path.iterdir() if path != journal.parent] == []
    assert len(lines(journal)) == 8


def test_no_command_removes_a_journal_or_adds_to_it(inputs, tmp_path):
    with pytest.raises(UsageError, match="found None"):
        live(inputs, tmp_path / "run", lambda order, _: True if order["wave"] == 1 else None)
    (journal,) = journals(tmp_path)
    kept = journal.read_bytes()
    assert phase19.run(input=inputs, output=tmp_path / "run", timestamp="2026-02-05T12:00:00Z").run_dir.is_dir()
    again = r"\.journal: contains the attempts of a live run that did not end; move it away"
    with pytest.raises(OutputError, match=again):
        live(inputs, tmp_path / "run", some_fail)
    assert journal.read_bytes() == kept


KILLED = """
import os, signal, sys
import phase19

def runner(order, attempt):
    ran.append(order["task_id"])
    if len(ran) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return True

ran = []
phase19.run(input=sys.argv[1], output=sys.argv[2], executor="live", runner=runner, agents=1)
"""


def test_a_run_that_is_killed_leaves_the_attempts_that_ended(inputs, tmp_path):
    command = [sys.executable, "-c", KILLED, inputs, tmp_path / "run"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (journal,) = journals(tmp_path)
    assert [(row["task_id"], row["status"]) for row in lines(journal)] == [("t0", "success"), ("t1", "success")]
    phase19.run(input=inputs, output=tmp_path / "run", timestamp="2026-02-05T12:00:00Z")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["run", journal.parent.name])


def test_a_mistake_of_the_caller_leaves_the_attempts_before_it(inputs, tmp_path):
    with pytest.raises(UsageError, match="found None") as caught:
        live(inputs, tmp_path / "run", lambda order, _: True if order["wave"] == 1 else None)
    (journal,) = journals(tmp_path)
    assert [row["wave"] for row in lines(journal)] == [1, 1, 1]
    assert str(journal) in caught.value.__notes__[0]


def test_a_run_that_stops_before_any_attempt_leaves_no_journal(inputs, tmp_path):
    with pytest.raises(UsageError, match="found None"):
        live(inputs, tmp_path / "run", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_that_cannot_be_written_is_in_the_message(inputs, tmp_path):
    def runner(*_):
        (journal,) = journals(tmp_path)
        journal.unlink()
        journal.mkdir()
        return True

    with pytest.raises(OutputError, match=r"cannot be written: Is a directory; not in it: \{.task_id") as caught:
        phase19.run(input=inputs, output=tmp_path / "run", executor="live", runner=runner, agents=1)
    assert Path(tmp_path / "run").exists() is False
    assert '"status":"success"' in str(caught.value)

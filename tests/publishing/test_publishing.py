"""Publishing is whole or not at all, names stay inside, files hold exactly their rows, feedback arrives once."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phase19.errors import OutputError
from phase19.publishing import run_directory
from phase19.publishing.delivery import deliver_feedback
from phase19.publishing.files import SUMMARY_FILE, agent_directories, publish_file, write_agent_rows, write_json
from phase19.publishing.run_directory import MANIFEST_FILE, check_target, publish

IDS = st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=60), unique=True, max_size=12)


def fill(directory: Path, text: str) -> None:
    (directory / SUMMARY_FILE).write_text(text)
    (directory / "wave_1").mkdir()
    (directory / "wave_1" / "rows.jsonl").write_text(text)


def tree(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


def own(directory: Path) -> dict[str, str]:
    """The files of a run besides its manifest."""
    return {name: text for name, text in tree(directory).items() if name != MANIFEST_FILE}


# Names


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("agent_0", "agent_0"),
        ("openai/gpt-5", "openai%2Fgpt-5"),
        ("Llama 3", "Llama%203"),
        ("a~b", "a%7Eb"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("../../etc", "..%2F..%2Fetc"),
        ("é", "%C3%A9"),
        ("%2F", "%252F"),
    ],
)
def test_an_id_is_percent_encoded(agent, name):
    assert agent_directories([agent]) == {agent: name}


def test_a_name_over_120_bytes_is_cut_and_hashed():
    longest, longer = "x" * 120, "x" * 121
    digest = hashlib.sha256(longer.encode()).hexdigest()[:8]
    assert agent_directories([longest, longer]) == {longest: longest, longer: "x" * 100 + "~" + digest}


def test_every_member_of_a_group_that_meets_without_case_is_hashed_whatever_the_order():
    names = agent_directories(["Alpha", "beta", "alpha"])
    assert names == {
        "Alpha": "Alpha~" + hashlib.sha256(b"Alpha").hexdigest()[:8],
        "beta": "beta",
        "alpha": "alpha~" + hashlib.sha256(b"alpha").hexdigest()[:8],
    }
    assert agent_directories(["alpha", "Alpha", "beta"]) == names


def test_ids_whose_hashes_collide_are_refused(monkeypatch):
    monkeypatch.setattr("hashlib.sha256", lambda _: hashlib.md5(b"", usedforsecurity=False))
    with pytest.raises(OutputError, match="same hash"):
        agent_directories(["y" * 120 + "ab", "y" * 120 + "cd"])


@given(IDS)
def test_names_are_distinct_single_path_components(agents):
    names = list(agent_directories(agents).values())
    assert len({name.lower() for name in names}) == len(agents)
    for name in names:
        assert Path("run", name).name == name
        assert name not in {".", ".."}
        assert len(name.encode()) <= 120
        assert not set(name) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-%~")


# Publishing


def test_a_run_appears_whole_with_its_parents_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "a" / "b" / "phase19"
    with publish(target) as staging:
        assert staging.parent == target.parent
        fill(staging, "new")
        assert not target.exists()
    assert own(target) == {SUMMARY_FILE: "new", "wave_1/rows.jsonl": "new"}
    assert [p.name for p in target.parent.iterdir()] == ["phase19"]


def test_a_new_run_takes_the_place_of_the_last_with_no_file_of_it_left(tmp_path):
    target = tmp_path / "phase19"
    with publish(target) as staging:
        fill(staging, "old")
        (staging / "gone.json").write_text("{}")
    with publish(target) as staging:
        fill(staging, "new")
        assert tree(target)[SUMMARY_FILE] == "old"
    assert own(target) == {SUMMARY_FILE: "new", "wave_1/rows.jsonl": "new"}
    assert [p.name for p in tmp_path.iterdir()] == ["phase19"]


@pytest.mark.parametrize("problem", [RuntimeError("x"), KeyboardInterrupt(), OSError(5, "bad disk")], ids=type)
def test_a_run_that_fails_leaves_the_last_one_untouched(tmp_path, problem):
    target = tmp_path / "phase19"
    with publish(target) as staging:
        fill(staging, "old")
    with pytest.raises(type(problem)), publish(target) as staging:
        fill(staging, "half")
        raise problem
    assert own(target) == {SUMMARY_FILE: "old", "wave_1/rows.jsonl": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["phase19"]


def test_a_run_that_cannot_be_exchanged_stays_beside_the_last_one(tmp_path, monkeypatch):
    target = tmp_path / "phase19"
    run_at(target)

    def fail(*_):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(run_directory, "_exchange", fail)
    with pytest.raises(OutputError, match=r"Device or resource busy; the new run is complete in ") as caught:
        with publish(target) as staging:
            fill(staging, "new")
    kept = Path(str(caught.value).rpartition(" in ")[2])
    assert own(kept)[SUMMARY_FILE] == "new"
    assert own(target)[SUMMARY_FILE] == "{}"
    assert sorted(tmp_path.iterdir()) == [target, kept]


def test_a_full_disk_is_told_as_an_error_of_the_output(tmp_path):
    with pytest.raises(OutputError, match="No space left on device"), publish(tmp_path / "phase19"):
        raise OSError(28, "No space left on device")


def test_everything_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def record(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    target = tmp_path / "phase19"
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("names of open files need /proc")
    monkeypatch.setattr(os, "fsync", record)
    with publish(target) as staging:
        fill(staging, "x")
        name = staging.name
    assert sorted(synced[:5]) == sorted([MANIFEST_FILE, SUMMARY_FILE, "rows.jsonl", "wave_1", name])
    assert synced[5:] == [tmp_path.name]


def test_a_run_of_many_files_is_synced_with_its_file_system(tmp_path, monkeypatch):
    if not hasattr(ctypes.CDLL(None), "syncfs"):
        pytest.skip("only Linux syncs a file system")
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor)))
    target = tmp_path / "phase19"
    with publish(target) as staging:
        fill(staging, "x")
        for number in range(1000):
            (staging / f"{number}.json").write_text("{}")
    assert len(synced) == 1  # the parent directory
    check_target(target)
    assert len(json.loads((target / MANIFEST_FILE).read_bytes())["files"]) == 1002


FOREIGN = {
    "a file in its place": (lambda p: p.write_text("mine"), "found a file"),
    "no run": (lambda p: (p.mkdir(), (p / "f").write_text("mine")), r"1 file added, changed or missing \(f\)"),
    "a note in a run": (lambda p: (run_at(p), (p / "note.txt").write_text("mine")), r"\(note.txt\)"),
    "a changed file": (
        lambda p: (run_at(p), (p / "wave_1" / "rows.jsonl").write_text("mine")),
        r"\(wave_1/rows.jsonl\)",
    ),
    "a missing file": (lambda p: (run_at(p), (p / "wave_1" / "rows.jsonl").unlink()), "wave_1/rows.jsonl"),
    "a link": (lambda p: (run_at(p), (p / "link").symlink_to("..")), r"\(link\)"),
    "an empty directory": (lambda p: (run_at(p), (p / "mine").mkdir()), r"\(mine\)"),
    "a pipe": (lambda p: (run_at(p), os.mkfifo(p / "pipe")), r"\(pipe\)"),
    "a run without its manifest": (lambda p: (run_at(p), (p / MANIFEST_FILE).unlink()), "2 files added"),
    "a broken manifest": (lambda p: (run_at(p), (p / MANIFEST_FILE).write_text("{}")), "3 files added"),
    "a live run": (lambda p: run_at(p, '{"executor": "live"}'), "contains a live run"),
}


def run_at(target, summary="{}"):
    with publish(target) as staging:
        fill(staging, summary)


@pytest.mark.parametrize(("make", "found"), FOREIGN.values(), ids=FOREIGN)
def test_what_a_run_did_not_write_is_refused_before_the_work_begins_and_left_alone(tmp_path, make, found):
    target = tmp_path / "phase19"
    make(target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=rf"phase19: .*{found}"):
        with publish(target):
            pytest.fail("the work began")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_note_written_while_a_run_works_is_kept_and_so_is_the_run(tmp_path):
    target = tmp_path / "phase19"
    run_at(target)
    with pytest.raises(OutputError, match=r"\(note.txt\).*; the new run is complete in .*/phase19\.") as caught:
        with publish(target) as staging:
            fill(staging, "new")
            (target / "note.txt").write_text("mine")
    kept = Path(str(caught.value).rpartition(" in ")[2])
    assert own(kept) == {SUMMARY_FILE: "new", "wave_1/rows.jsonl": "new"}
    assert own(target) == {SUMMARY_FILE: "{}", "wave_1/rows.jsonl": "{}", "note.txt": "mine"}
    assert sorted(tmp_path.iterdir()) == [target, kept]


def test_the_manifest_lists_every_file_and_not_how_long_the_run_took(tmp_path):
    def listed(summary):
        run_at(tmp_path / "run", summary)
        return json.loads((tmp_path / "run" / MANIFEST_FILE).read_text())["files"]

    assert listed("text") == dict.fromkeys((SUMMARY_FILE, "wave_1/rows.jsonl"), hashlib.sha256(b"text").hexdigest())
    timed = ['{\n  "seed": 0,\n  "execution_time_ms": 12.5\n}', '{\n  "seed": 0,\n  "execution_time_ms": 9\n}']
    assert listed(timed[0])[SUMMARY_FILE] == listed(timed[1])[SUMMARY_FILE]


def test_an_empty_directory_is_taken_and_a_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "phase19"
    link.symlink_to("elsewhere")
    with publish(link) as staging:
        fill(staging, "new")
    assert link.is_symlink()
    assert tree(tmp_path / "elsewhere")[SUMMARY_FILE] == "new"


@pytest.mark.parametrize("name", ["none", "a\0b"])
def test_a_directory_that_holds_no_run_is_not_opened(tmp_path, name):
    with pytest.raises(OutputError, match="expected a Phase 19 run, found no such directory"):
        run_directory.open_run(tmp_path / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/phase19: cannot be written: "), publish(tmp_path / "file" / "phase19"):
        pytest.fail("the work began")


KILLED = """
import os, signal, sys
from pathlib import Path
from phase19.interrupts import end_on_signals
from phase19.publishing.run_directory import open_run, publish

place, number = Path(sys.argv[1]), getattr(signal, sys.argv[2])
target = place / "phase19"

def write(text, fault=0):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if fault and str(arguments).find(str(place)) >= 0 or event.startswith("ctypes.call"):
            seen += 1
            if seen >= fault:  # further signals must not disturb the clean-up after the first
                os.kill(os.getpid(), number)
    if fault:
        sys.addaudithook(hook)
    with publish(target) as staging:
        for name in ("optimization_summary.json", "rows.jsonl"):
            (staging / name).write_text(text)

def content():
    files = [path for path in target.iterdir() if path.name != "manifest.json"]
    return sorted((path.name, path.read_text()) for path in files)

write("0")
for fault in range(1, 1000):
    before = content()
    child = os.fork()
    if not child:
        end_on_signals()
        write(str(fault), fault)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -number if number == signal.SIGKILL else 128 + number)
    whole = [("optimization_summary.json", str(fault)), ("rows.jsonl", str(fault))]
    assert content() in (before, whole), (fault, content())
    if number == signal.SIGKILL:
        open_run(target)
    assert [path.name for path in place.iterdir()] == ["phase19"], fault
    print(fault, content() == whole)
    if code == 0:
        break
"""


@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_run_killed_at_any_step_leaves_one_whole_run_and_after_sigkill_the_next_command_clears_up(tmp_path, number):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, tmp_path, number]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    is_new = [line.split()[1] == "True" for line in done.stdout.splitlines()]
    assert len(is_new) > 20
    assert is_new == sorted(is_new)  # the last run up to one step, the new one from then on
    assert 1 < sum(is_new) < len(is_new)


def test_of_two_runs_at_a_time_both_end_and_the_later_stands(tmp_path):
    target = tmp_path / "phase19"
    (tmp_path / ".phase19.notes.staging").mkdir()  # not ours
    with publish(target) as first:
        fill(first, "first")
        with publish(target) as second:
            fill(second, "second")
        assert tree(target)[SUMMARY_FILE] == "second"
        assert tree(first)[SUMMARY_FILE] == "first"
    assert tree(target)[SUMMARY_FILE] == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".phase19.notes.staging", "phase19"]


# Files


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "file.json"
    with pytest.raises(ZeroDivisionError), publish_file(target) as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert list(target.parent.iterdir()) == []
    with publish_file(target) as path:
        path.write_text("whole")
        assert not target.exists()
    assert [entry.name for entry in target.parent.iterdir()] == ["file.json"]
    assert target.read_text() == "whole"
    with pytest.raises(OutputError, match="cannot be written"), publish_file(target / "below"):
        pass


def test_json_is_indented_utf8_in_key_order_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 0.1, "a": ["é", None], "n": {}})
    text = (tmp_path / "a.json").read_text("utf-8")
    assert text.startswith('{\n  "b": 0.1,\n  "a": [\n    "é",') and text.endswith("}\n")
    assert list(json.loads(text)) == ["b", "a", "n"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


ROWS = pl.DataFrame(
    {
        "task_id": ["t3", "t1", "t2"],
        "agent_id": ["a/b", "é", "a/b"],
        "wave": [1, 2, 1],
        "score": [0.25, None, 1.0],
        "notes": [["x\n"], [], ["\u2028"]],
    }
)


def test_every_agent_of_every_wave_has_a_file_with_its_rows_in_order(tmp_path):
    directories = agent_directories(["a/b", "é", "idle"])
    write_agent_rows(ROWS, tmp_path, "rows.jsonl", waves=[1, 2], directories=directories)
    found = {k: [json.loads(line) for line in v.split("\n")[:-1]] for k, v in tree(tmp_path).items()}
    assert found == {
        "wave_1/a%2Fb/rows.jsonl": [
            {"task_id": "t3", "agent_id": "a/b", "wave": 1, "score": 0.25, "notes": ["x\n"]},
            {"task_id": "t2", "agent_id": "a/b", "wave": 1, "score": 1.0, "notes": ["\u2028"]},
        ],
        "wave_1/%C3%A9/rows.jsonl": [],
        "wave_1/idle/rows.jsonl": [],
        "wave_2/a%2Fb/rows.jsonl": [],
        "wave_2/%C3%A9/rows.jsonl": [{"task_id": "t1", "agent_id": "é", "wave": 2, "score": None, "notes": []}],
        "wave_2/idle/rows.jsonl": [],
    }
    assert list(found["wave_1/a%2Fb/rows.jsonl"][0]) == ROWS.columns


def test_no_rows_make_empty_files(tmp_path):
    write_agent_rows(ROWS.clear(), tmp_path, "rows.jsonl", waves=[1], directories={"a": "a", "b": "b"})
    assert tree(tmp_path) == {"wave_1/a/rows.jsonl": "", "wave_1/b/rows.jsonl": ""}


def test_a_parquet_file_of_a_wave_has_the_rows_of_all_agents_in_order(tmp_path):
    write_agent_rows(ROWS, tmp_path, "rows.parquet", waves=[1, 2, 3], directories={"a/b": "x", "é": "y"})
    found = {path.relative_to(tmp_path).as_posix(): pl.read_parquet(path) for path in tmp_path.rglob("*.*")}
    assert found.keys() == {f"wave_{wave}/rows.parquet" for wave in (1, 2, 3)}
    for wave in (1, 2, 3):
        assert found[f"wave_{wave}/rows.parquet"].equals(ROWS.filter(pl.col("wave") == wave))
        assert found[f"wave_{wave}/rows.parquet"].schema == ROWS.schema


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_parquet_file_that_does_not_fit_is_an_error_of_the_output(tmp_path):
    (tmp_path / "wave_1").mkdir()
    (tmp_path / "wave_1" / "rows.parquet").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device$"):
        write_agent_rows(ROWS, tmp_path, "rows.parquet", waves=[1, 2], directories={"a/b": "x", "é": "y"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_no_json_is_refused(tmp_path, value):
    frame = ROWS.with_columns(score=pl.lit(value))
    with pytest.raises(ValueError, match=r"rows.jsonl: columns \['score'\] hold NaN or Infinity"):
        write_agent_rows(frame, tmp_path, "rows.jsonl", waves=[1, 2], directories={"a/b": "x", "é": "y"})
    assert tree(tmp_path) == {}


def test_a_row_of_an_unknown_agent_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown wave and agent \(2, 'é'\)"):
        write_agent_rows(ROWS, tmp_path, "rows.jsonl", waves=[1, 2], directories={"a/b": "x"})


@given(pairs=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=40))
def test_the_files_together_hold_each_row_once_in_its_place(tmp_path_factory, pairs):
    top = tmp_path_factory.mktemp("rows")
    frame = pl.DataFrame(
        {"row": range(len(pairs)), "wave": [w for w, _ in pairs], "agent_id": [f"a{a}" for _, a in pairs]},
        schema={"row": pl.Int64, "wave": pl.Int64, "agent_id": pl.String},
    )
    write_agent_rows(frame, top, "r.jsonl", waves=[1, 2, 3], directories={f"a{a}": f"a{a}" for a in range(4)})
    for wave in (1, 2, 3):
        for agent in range(4):
            lines = (top / f"wave_{wave}" / f"a{agent}" / "r.jsonl").read_text().splitlines()
            expected = [i for i, pair in enumerate(pairs) if pair == (wave, agent)]
            assert [json.loads(line)["row"] for line in lines] == expected


def test_no_row_of_a_large_run_is_lost(tmp_path):
    """So many rows for so many files are more than one pass may keep open or in memory."""
    count, agents = 150_000, 300
    agent = np.random.default_rng(0).integers(agents, size=count)
    names = [f"a{number}" for number in range(agents)]
    frame = pl.DataFrame({"row": np.arange(count), "wave": 1, "agent_id": np.array(names)[agent]})
    write_agent_rows(frame, tmp_path, "r.jsonl", waves=[1], directories=dict(zip(names, names, strict=True)))
    for number in (0, 7, agents - 1):
        lines = (tmp_path / "wave_1" / names[number] / "r.jsonl").read_text().splitlines()
        assert [json.loads(line)["row"] for line in lines] == np.flatnonzero(agent == number).tolist()
    assert sum(path.read_bytes().count(b"\n") for path in tmp_path.rglob("r.jsonl")) == count


# Feedback


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "run" / "feedback").mkdir(parents=True)
    for phase in (16, 18):
        line = json.dumps({"type": f"for {phase}", "run_id": "r1"}) + "\n"
        (tmp_path / "run" / "feedback" / f"phase{phase}_feedback.jsonl").write_text(line)
        (tmp_path / f"phase{phase}").mkdir()
    return tmp_path / "run"


@pytest.mark.parametrize("phase", ["phase16", "phase18"])
def test_feedback_is_appended_to_a_neighbour_once_per_run(tmp_path, run_dir, phase):
    place = tmp_path / phase / "phase19_feedback.jsonl"
    assert deliver_feedback(run_dir, phase, tmp_path / phase) == [place]
    assert deliver_feedback(run_dir, phase, tmp_path / phase) == []
    assert json.loads(place.read_text()) == {"type": f"for {phase[-2:]}", "run_id": "r1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"run_id": "r0"}', '{"run_id": "r0"}\n'),
        ('{"run_id": "r0"}\n{"run_id": "r1", "ty', '{"run_id": "r0"}\n'),
        ('{"run_id": "r1', ""),
        ('torn long ago\n{"run_id": "r0"}\n', 'torn long ago\n{"run_id": "r0"}\n'),
        ('{"run_id": ["r1"]}\n"r1"\n', '{"run_id": ["r1"]}\n"r1"\n'),
    ],
    ids=["no final newline", "torn last line", "nothing but a torn line", "torn line in between", "not our lines"],
)
def test_a_line_torn_by_a_crash_is_cut_off_and_a_missing_newline_added(tmp_path, run_dir, before, after):
    place = tmp_path / "phase18" / "phase19_feedback.jsonl"
    place.write_text(before)
    assert deliver_feedback(run_dir, "phase18", tmp_path / "phase18") == [place]
    assert place.read_text() == after + '{"type": "for 18", "run_id": "r1"}\n'


@pytest.mark.usefixtures("run_dir")
def test_processes_that_deliver_at_once_tear_no_line_and_deliver_each_run_once(tmp_path):
    line = {"type": "for 18", "weights": dict.fromkeys(map(str, range(2_000)), 1.0)}
    for i in range(20):
        (tmp_path / f"run_{i}" / "feedback").mkdir(parents=True)
        text = json.dumps(line | {"run_id": f"r{i}"}) + "\n"
        (tmp_path / f"run_{i}" / "feedback" / "phase18_feedback.jsonl").write_text(text)
    code = (
        "import sys; from pathlib import Path; from phase19.publishing.delivery import deliver_feedback\n"
        "place = Path(sys.argv[1]); sys.stdin.read()\n"
        "for i in range(20): deliver_feedback(place / f'run_{i}', 'phase18', place / 'phase18')"
    )
    command = [sys.executable, "-c", code, tmp_path]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for process in started:
        process.stdin.close()  # all are off at once, but for their imports
    assert [process.wait(60) for process in started] == [0] * 4
    rows = [json.loads(text) for text in (tmp_path / "phase18" / "phase19_feedback.jsonl").read_text().splitlines()]
    assert sorted(row["run_id"] for row in rows) == sorted(f"r{i}" for i in range(20))
    assert all(row["weights"] == line["weights"] for row in rows)


@pytest.mark.parametrize(("room", "reason"), [(5, "No space left on device"), (0, "File too large")])
def test_feedback_that_does_not_fit_leaves_the_file_as_long_as_before(tmp_path, run_dir, room, reason):
    resource = pytest.importorskip("resource")
    place = tmp_path / "phase18" / "phase19_feedback.jsonl"
    place.write_text('{"run_id": "r0"}\n')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (place.stat().st_size + room, limits[1]))
        with pytest.raises(OutputError, match=f"phase19_feedback.jsonl: cannot be written: {reason}"):
            deliver_feedback(run_dir, "phase18", tmp_path / "phase18")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert place.read_text() == '{"run_id": "r0"}\n'

"""Golden files, commands run in this process, and reproducible hypothesis tests in CI."""

import contextlib
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from phase19.cli import app as cli

# As the command does, before numpy is imported: for small fits, threads cost more than they gain.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parent.parent

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, print_blob=True, max_examples=40
)
hypothesis.settings.register_profile("dev", deadline=None, max_examples=40)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden; refused if CI is set")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is refused if CI is set: people update expected outputs")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave property tests out of the coverage: tracing slows them most, and other tests run the same lines."""
    for item in items:
        if item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")


@dataclass(frozen=True)
class Golden:
    """Compare with a file in `tests/golden`, or rewrite it under `--update-golden`."""

    is_updating: bool
    directory: Path = field(default=GOLDEN)

    def rows(self, name: str, rows: Sequence[dict[str, Any]], rel_tol: float = 1e-9) -> None:
        """Compare JSONL rows: keys, order and types exactly, floats to a relative tolerance."""
        path = self.directory / f"{name}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        if self._update(path, text):
            return
        wanted = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        found = [json.loads(line) for line in text.splitlines()]
        problems = list(differences(wanted, found, rel_tol))
        assert not problems, "\n".join([f"{path.relative_to(self.directory)} differs:", *problems[:20]])

    def text(self, name: str, text: str) -> None:
        """Compare text byte for byte."""
        path = self.directory / name
        if not self._update(path, text):
            assert text == path.read_text("utf-8")

    def _update(self, path: Path, text: str) -> bool:
        if self.is_updating:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8", newline="\n")
        elif not path.is_file():
            pytest.fail(f"{path} is missing: run `make golden` and read what it wrote")
        return self.is_updating


def differences(wanted: Any, found: Any, rel_tol: float, where: str = "") -> list[str]:
    """Describe each difference between two parsed JSON values in a line."""
    if type(wanted) is not type(found):
        return [f"{where or 'value'}: expected {wanted!r}, found {found!r}"]
    if isinstance(wanted, dict):
        if list(wanted) != list(found):
            return [f"{where or 'value'}: expected keys {list(wanted)}, found {list(found)}"]
        return [line for key in wanted for line in differences(wanted[key], found[key], rel_tol, f"{where}.{key}")]
    if isinstance(wanted, list):
        if len(wanted) != len(found):
            return [f"{where or 'value'}: expected {len(wanted)} items, found {len(found)}"]
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, rel_tol, f"{where}[{i}]")]
    is_float = isinstance(wanted, float)
    is_same = math.isclose(wanted, found, rel_tol=rel_tol, abs_tol=rel_tol) if is_float else wanted == found
    return [] if is_same else [f"{where or 'value'}: expected {wanted!r}, found {found!r}"]


@pytest.fixture(autouse=True, scope="session")
def skip_waiting_for_the_disk():
    """Leave out the waiting for the disk; what must be synced before what is a test of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """The result of a run of the committed sample; tests read it and change nothing in its directory."""
    import phase19

    place = tmp_path_factory.mktemp("sample_run") / "phase19"
    return phase19.run(input=ROOT / "outputs" / "phase18", output=place, timestamp="2026-02-05T12:00:00Z", seed=7)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(is_updating=request.config.getoption("--update-golden"))


@pytest.fixture
def run_cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in this process, or in a new one if environment variables are given: `run_cli(*args, cwd=None)`."""

    def run(*args: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        arguments = [str(argument) for argument in args]
        if env:
            return run_process(*arguments, cwd=cwd, env=env)
        with (
            contextlib.redirect_stdout(io.StringIO()) as stdout,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
            contextlib.chdir(cwd or ROOT),
        ):
            code = cli.main(arguments)
        return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())

    return run


def run_process(*args: str, cwd: Path | None = None, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m phase19` in a new process."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "phase19", *args],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **env},
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )

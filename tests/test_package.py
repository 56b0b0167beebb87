"""The wheel contains its data and SQL and runs outside the checkout; the lock files pin everything by hash."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", directory]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = directory.iterdir()
    return path


def test_the_wheel_holds_the_package_and_its_sql_and_nothing_else(wheel):
    package = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "phase19").rglob("*.*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.suffix for path in files} == {".py", ".pyi", ".typed", ".html", ".css", ".js", ".json", ".jsonl"} | {
        ".md",
        ".toml",
    }
    assert package == {str(path.relative_to(ROOT)) for path in files} | {
        f"phase19/sql/{path.name}" for path in (ROOT / "sql").iterdir()
    }


def test_the_wheel_makes_and_runs_a_sample_in_an_empty_directory(wheel, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import phase19; print(phase19.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(site)
    printed = []
    for arguments in ("sample --tasks 12 --agents 4 --waves 3", "run --json", "init mine"):
        job = [site / "bin" / "phase19", *arguments.split()]
        done = subprocess.run(job, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(done.stdout)
    assert printed[0] == "Next: phase19 run --input outputs/phase18\n"
    assert json.loads(printed[1])["total_tasks"] == 12
    assert printed[2] == "Next: phase19 run --input mine\n"
    assert (tmp_path / "outputs" / "phase19" / "report.html").is_file()


def test_the_command_is_installed_under_its_own_name():
    module, function = PROJECT["project"]["scripts"]["phase19"].split(":")
    assert callable(getattr(import_module(module), function))


LOCKS = {
    "requirements-installer.lock": PROJECT["dependency-groups"]["installer"],
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-dev.lock": [
        *PROJECT["project"]["dependencies"],
        *(line for line in PROJECT["dependency-groups"]["dev"] if isinstance(line, str)),
        *PROJECT["dependency-groups"]["notebook"],
    ],
}


def locked(name):
    """Each entry of a lock file by the package it pins."""
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text())
    return {entry.partition("==")[0]: entry for entry in entries}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_requirement_with_hashes_and_holds_no_addresses(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"://|^--(?!hash)|@", text, re.MULTILINE)
    entries = locked(name)
    assert all(re.match(r"[a-z0-9.-]+==\S+ ", entry) and "--hash=sha256:" in entry for entry in entries.values())
    assert {re.match(r"[a-z0-9-]+", line)[0] for line in LOCKS[name]} <= entries.keys()


def test_a_run_and_the_tests_use_the_same_versions():
    def pins(name):
        return {package: re.match(r"\S+", entry)[0] for package, entry in locked(name).items()}

    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()

"""Every example of a docstring runs, in a directory like a fresh checkout after one run."""

import contextlib
import doctest
import importlib
import inspect
import pkgutil
import shutil
from pathlib import Path

import pytest

import phase19

ROOT = Path(__file__).parent.parent


def modules():
    names = (each.name for each in pkgutil.walk_packages(phase19.__path__, "phase19."))
    return [phase19, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for module in modules() for test in finder.find(module) if test.examples]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, sample_run):
    place = tmp_path_factory.mktemp("checkout")
    for phase in ("phase16", "phase17", "phase18"):
        shutil.copytree(ROOT / "outputs" / phase, place / "outputs" / phase)
    shutil.copytree(sample_run.run_dir, place / "outputs" / "phase19")
    return place


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name.removeprefix("phase19."))
def test_an_example_prints_what_its_docstring_says(test, checkout):
    with contextlib.chdir(checkout):
        failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed
    assert failed == 0


def test_no_example_is_skipped():
    assert [test.name for test in examples() for each in test.examples if each.options.get(doctest.SKIP)] == []


def test_every_public_function_has_an_example():
    functions = [each for name in dir(phase19) if inspect.isfunction(each := getattr(phase19, name))]
    assert functions
    assert [each.__name__ for each in functions if ">>>" not in each.__doc__] == []

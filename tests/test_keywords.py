"""The public functions show every option as a typed keyword, at run time and to type checkers."""

import ast
import inspect
from dataclasses import MISSING
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

import pytest

import phase19
from phase19.options import BacktestOptions, CompareOptions, InputOptions, PlanOptions, RunOptions, accepted

STUB = Path(phase19.__file__).with_name("settings.pyi")
CLASSES = (InputOptions, PlanOptions, CompareOptions, BacktestOptions, RunOptions)
FUNCTIONS = {"run": RunOptions, "compare": CompareOptions, "backtest": BacktestOptions}
HEADER = """\
# Keywords of the public functions, for type checkers; `make golden` writes this file from options.py.

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypedDict

from .options import OptimizationStrategy, PriorityStrategy
"""


def written(kind):
    """A type as annotations are written, the same for every version of Python."""
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(map(written, get_args(kind)))
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(ascii, get_args(kind)))}]".replace("'", '"')
    if get_args(kind):
        return f"{get_origin(kind).__name__}[{', '.join(map(written, get_args(kind)))}]"
    return "None" if kind is NoneType else kind.__name__


def test_the_stub_of_settings_is_what_the_options_declare(golden):
    parts = [HEADER]
    for options in CLASSES:
        parts.append(f"\nclass {options.__name__.replace('Options', 'Settings')}(TypedDict, total=False):\n")
        for name, option in options.taken().items():
            if option.default is not MISSING:  # `input` is a parameter of its own
                parts.append(f"    {name}: {written(accepted(option.type))}\n")
    stub = "".join(parts)
    if golden.is_updating:
        STUB.write_text(stub, "utf-8")
    assert stub == STUB.read_text("utf-8")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_and_docstring_list_every_option(name):
    function, options = getattr(phase19, name), FUNCTIONS[name]
    shown = inspect.signature(function).parameters
    assert [each for each in shown.values() if each.kind is each.VAR_KEYWORD] == []
    assert options.taken().keys() <= shown.keys()
    for parameter in shown:
        assert f"\n    {parameter}\n        " in function.__doc__, parameter
    assert shown["seed"].default == 0
    assert "settings" not in function.__doc__
    assert "Seed of the random numbers: the same seed gives the same result." in function.__doc__


def test_type_checkers_see_the_settings_of_the_same_options():
    for name, options in FUNCTIONS.items():
        source = ast.parse(inspect.getsource(inspect.unwrap(getattr(phase19, name)))).body[0]
        assert f"Unpack[{options.__name__.replace('Options', 'Settings')}]" in source.args.kwarg.annotation.value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_misspelt_keyword_names_the_nearest(name):
    with pytest.raises(phase19.Phase19Error, match="found sede; did you mean seed"):
        getattr(phase19, name)("outputs/phase18", sede=3)

"""The public functions show every option as a typed keyword, at run time and to type checkers."""

import ast
import inspect
import re
from datetime import datetime
from enum import EnumType
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest

import phase19
from phase19.inputs.importers.columns import TableColumns
from phase19.options import BacktestOptions, CompareOptions, InputOptions, PlanOptions, RunOptions

STUB = Path(phase19.__file__).with_name("settings.pyi")
CLASSES = (InputOptions, PlanOptions, CompareOptions, BacktestOptions, RunOptions, TableColumns)
FUNCTIONS = {
    "run": RunOptions,
    "compare": CompareOptions,
    "backtest": BacktestOptions,
    "forecast": InputOptions,
    "validate": InputOptions,
    "plan": PlanOptions,
    "import_records": TableColumns,
}
ACCEPTED = {
    Path: "Path | str",
    datetime: "datetime | str",
    tuple[str, ...]: "Sequence[str] | str",
    PlanOptions.taken()["weights"].type: "Mapping[str, float] | str",
}
HEADER = """\
# Keywords of the public functions, for type checkers; `make golden` writes this file from options.py.

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, TypedDict

from .options import OptimizationStrategy, PriorityStrategy
"""


def settings(options):
    return re.sub("Options|Columns", "Settings", options.__name__)


def written(kind):
    """The annotation of the values that a caller may give for an option of type `kind`."""
    if kind in ACCEPTED:
        return ACCEPTED[kind]
    if isinstance(kind, EnumType):
        return f"{kind.__name__} | str"
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(map(written, get_args(kind)))
    if get_origin(kind) is Annotated:
        return written(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return f"Literal[{', '.join(map(ascii, get_args(kind)))}]".replace("'", '"')
    return "None" if kind is NoneType else kind.__name__


def test_the_stub_of_settings_is_what_the_options_declare(golden):
    parts = [HEADER]
    for options in CLASSES:
        parts.append(f"\nclass {settings(options)}(TypedDict, total=False):\n")
        for name, option in options.taken().items():
            if name != "input":  # it is a parameter of its own
                parts.append(f"    {name}: {written(option.type)}\n")
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
        assert re.search(rf"\n    {parameter}( : .+)?\n        ", function.__doc__), parameter
    assert "settings" not in function.__doc__


def test_options_are_described_by_their_types_and_texts():
    assert inspect.signature(phase19.run).parameters["max_retries"].default == 2
    assert inspect.signature(phase19.backtest).parameters["max_retries"].default == 0
    text = "\n    agents : a whole number from 1 to 100,000\n        Use the first N agents; if fewer"
    assert text in phase19.compare.__doc__
    assert "\n    error : text\n        Column with the error message.\n" in phase19.import_records.__doc__


@pytest.mark.parametrize("owner", [phase19.Plan, phase19.RunResult])
def test_other_options_of_a_plan_are_listed_without_defaults(owner):
    shown = inspect.signature(owner.what_if).parameters
    assert list(shown) == ["self", "exclude", *PlanOptions.taken()]
    assert "\n\nParameters\n" in inspect.getdoc(owner.what_if)
    assert "\ncapacity : a whole number from 1 to" in inspect.getdoc(owner.what_if)
    assert {each.default for name, each in shown.items() if name in PlanOptions.taken()} == {None}


def test_type_checkers_see_the_settings_of_the_same_options():
    for name, options in FUNCTIONS.items():
        source = ast.parse(inspect.getsource(inspect.unwrap(getattr(phase19, name)))).body[0]
        assert f"Unpack[{settings(options)}]" in source.args.kwarg.annotation.value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_misspelt_keyword_names_the_nearest(name, tmp_path):
    options = [option for option in FUNCTIONS[name].taken() if option != "input"]
    arguments = ("table", [tmp_path], tmp_path) if name == "import_records" else ()
    with pytest.raises(phase19.Phase19Error, match=f"found {options[0]}x; did you mean {options[0]}"):
        getattr(phase19, name)(*arguments, **{f"{options[0]}x": 3})

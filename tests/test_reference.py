"""The pages of the reference describe every command, option, file and key, as the program declares them."""

import inspect
import json
import re
import shutil
from enum import Enum
from pathlib import Path

import pytest

import phase19
from phase19.cli.app import app
from phase19.errors import InputError
from phase19.inputs.loading import load_inputs
from tests.pages import inputs, layers, options, outputs, python
from tests.pages.markdown import anchor

ROOT = Path(__file__).parent.parent
GENERATED = {
    "reference/commands.md": options.page,
    "reference/inputs.md": inputs.page,
    "reference/python.md": python.page,
    "assets/layers.svg": layers.picture,
}


@pytest.mark.parametrize("name", GENERATED)
def test_a_page_is_as_the_program_declares(name, golden):
    path = ROOT / "docs" / name
    shown = path.read_text("utf-8")
    if golden.is_updating:
        path.write_text(GENERATED[name](shown), "utf-8")
    else:
        assert shown == GENERATED[name](shown)


def test_the_page_of_inputs_lists_the_files_that_are_read():
    sources = load_inputs(ROOT / "outputs" / "phase18").sources
    assert sorted((file.phase, file.name) for file in inputs.FILES) == sorted(sources.select("phase", "file").rows())


def test_the_page_of_inputs_says_which_files_are_needed(tmp_path):
    for file in inputs.FILES:
        place = tmp_path / f"{file.phase}-{file.name}"
        shutil.copytree(ROOT / "outputs", place)
        (place / f"phase{file.phase}" / file.name).unlink(missing_ok=True)
        sources = (place / f"phase{phase}" for phase in (18, 16, 17))
        if file.need == inputs.NEEDED:
            with pytest.raises(InputError, match=f"{file.name}: expected a file, found nothing"):
                load_inputs(*sources)
        else:
            load_inputs(*sources)


def test_every_public_name_and_member_has_an_anchor_of_its_own():
    text = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    titles = [anchor(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    assert sorted(titles) == sorted(set(titles))
    names = [name for name in dir(phase19) if name != "__version__"]
    methods = [
        f"{name}.{method}"
        for name in names
        if inspect.isclass(value := getattr(phase19, name)) and not issubclass(value, Enum)
        for method, member in vars(value).items()
        if not method.startswith("_") and (isinstance(member, property) or inspect.isroutine(member))
    ]
    assert [name for name in [*map(python.title, names), *methods] if anchor(name) not in titles] == []


def test_every_command_and_option_is_documented():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    commands = [name for name in app if not name.startswith("-")]
    assert commands
    for name in commands:
        section = re.search(rf"^## phase19 {name}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, name
        for argument in app[name].assemble_argument_collection():
            assert f"`{argument.name}`" in section[0] or argument.name == "*"


@pytest.fixture(scope="module")
def failed_run(tmp_path_factory, sample_run):
    """A run in which all tasks fail and take long, and some find no agent: it fills the files that are mostly empty."""
    place = tmp_path_factory.mktemp("failed_run")
    rows = [
        {"task_id": f"task_{task}", "agent_id": f"agent_{agent}", "status": "failed", "execution_time_ms": 10_000}
        for task in range(12)
        for agent in range(4)
    ]
    (place / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return phase19.run(
        input=ROOT / "outputs" / "phase18",
        output=place / "phase19",
        executor="replay",
        executions=place / "outcomes.jsonl",
        previous=sample_run.run_dir,
        capacity=1,
        exclude_agent=["agent_1"],
        allow_unassigned=True,
    )


def test_the_page_of_outputs_is_as_the_program_declares(golden, sample_run):
    path = ROOT / "docs" / "reference" / "outputs.md"
    columns, views = (phase19.query(f"from {name}", run=sample_run.run_dir) for name in ("view_columns", "views"))
    made = outputs.page(columns, views)
    if golden.is_updating:
        path.write_text(made, "utf-8")
    else:
        assert path.read_text("utf-8") == made


def test_the_page_of_outputs_lists_the_files_and_keys_of_a_run(sample_run, failed_run):
    text = (ROOT / "docs" / "reference" / "outputs.md").read_text("utf-8")
    named = dict.fromkeys(re.findall(r"^\| \[?`([^`]+)`.* \|$", text.partition("\n## ")[0], re.MULTILINE))
    files = {}
    for run in (sample_run.run_dir, failed_run.run_dir):
        for path in (path for path in run.rglob("*") if path.is_file()):
            name = re.sub(r"^wave_\d+/(agent_\d+/)?", _place, path.relative_to(run).as_posix())
            files.setdefault(name, []).append(path.read_text("utf-8"))
    assert sorted(files) == sorted(named)
    for name, texts in files.items():
        if same := re.search(rf"^\| `{re.escape(name)}` \| the same as `(.+)` \|$", text, re.MULTILINE):
            assert texts == files[same[1]]
        elif name.endswith((".json", ".jsonl")):
            section = re.search(rf"^### {re.escape(name)}\n.*?(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)[0]
            kinds = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", section, re.MULTILINE))
            assert (name, set(kinds)) == (name, _keys(name, texts, kinds))


def _place(found):
    return f"wave_N/{'AGENT/' if found[1] else ''}"


def _keys(name, texts, kinds):
    """The keys of a file of one or more runs, as the page names them."""
    documents = [json.loads(line) for text in texts for line in (text.splitlines() if name[-1] == "l" else [text])]
    if name == "strategy_effectiveness.json":
        documents = [value for document in documents for value in document.values()]
    found = {key for document in documents for key in outputs.keys_in(document, kinds)}
    return {"HEURISTIC" if re.fullmatch(r"H16_\d+", key) else key for key in found}

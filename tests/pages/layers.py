"""Draw docs/assets/layers.svg: the layers of pyproject.toml, with the first sentence of each module's docstring."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH, LINE, PAD, GAP = 1000, 24, 8, 8
STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1f2328 }
    .name { font: bold 14px ui-monospace, monospace }
"""


def layers() -> list[list[str]]:
    """The modules of each layer; each layer may import from those below it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return [row.split(" | ") for row in settings["contracts"][0]["layers"] if row != "__main__"]


def picture(_shown: str) -> str:
    """Return the picture as the layers are now."""
    bands, top = [], GAP
    for modules in layers():
        height = LINE * len(modules) + 2 * PAD
        bands += band(modules, top, height)
        top += height + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-labelledby="title">',
        '  <title id="title">The layers of phase19. Each imports only from those below it.</title>',
        f"  <style>{STYLE}  </style>",
        f'  <rect width="{WIDTH}" height="{top}" rx="8" fill="#ffffff"/>',
        *bands,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def band(modules: list[str], top: int, height: int) -> Iterator[str]:
    yield f'  <rect x="{GAP}" y="{top}" width="{WIDTH - 2 * GAP}" height="{height}" rx="6" fill="#e7ecf5"/>'
    for number, module in enumerate(modules):
        baseline = top + PAD + LINE * number + 17
        yield f'  <text class="name" x="{2 * GAP}" y="{baseline}">{module}</text>'
        yield f'  <text x="150" y="{baseline}">{escape(what_it_does(module))}</text>'


def what_it_does(module: str) -> str:
    """The first line of a module's docstring, without its own name and the markup."""
    line = (importlib.import_module(f"phase19.{module}").__doc__ or "").splitlines()[0]
    text = re.sub(r":\w+:|`", "", line).removesuffix(".")
    name, _, rest = text.partition(": ")
    text = rest if rest and " " not in name and name.lower() != module else text  # the name of a class
    return text[0].upper() + text[1:]

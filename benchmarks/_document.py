"""What the benchmarks write into docs/benchmarks.md: a section each, the others' left as they are."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from pathlib import Path

__all__ = ["machine", "replace_section", "table", "told_of"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = "# Benchmarks\n\nWritten by `python -m benchmarks`; what is measured and how stands at the top of each script.\n"


def machine(*libraries: str, threads: int = 1) -> str:
    """The processor, Python and the versions of numpy, scipy and whatever else is installed of `libraries`."""
    about = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in about if line.startswith("model name")), platform.machine())
    found = [
        f"{library} {importlib.metadata.version(library)}"
        for library in ("numpy", "scipy", *libraries)
        if importlib.util.find_spec({"lapx": "lap"}.get(library, library))
    ]
    used = "One thread" if threads == 1 else f"{threads} threads"
    return f"{used} of {name}, Python {platform.python_version()}, {', '.join(found)}."


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def replace_section(title: str, benchmark: str, lines: list[str]) -> None:
    """Put a section of this title in place of the one there is, or at the document's end."""
    parts = (DOCUMENT.read_text("utf-8") if DOCUMENT.is_file() else HEAD).split("\n## ")
    section = "\n".join([title, "", f"By `python -m benchmarks {benchmark}`.", "", *lines, ""])
    place = next((at for at, part in enumerate(parts) if part.split("\n", 1)[0] == title), len(parts))
    parts[place : place + 1] = [section]
    DOCUMENT.write_text("\n## ".join([HEAD, *parts[1:]]), "utf-8")


def told_of(missed: list[str]) -> str:
    """The sentence that says which aims were missed."""
    return f"Aims missed: {'; '.join(missed) or 'none'}."

"""Sections of docs/benchmarks.md: each benchmark rewrites its own section and keeps the others."""

import importlib.metadata
import importlib.util
import platform
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = "# Benchmarks\n\n`python -m benchmarks` writes this page. Each script says at its top what it measures.\n"


def machine(*libraries: str, threads: int = 1) -> str:
    """Describe the processor, Python, and the versions of numpy, scipy and those of `libraries` that are installed."""
    about = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in about if line.startswith("model name")), platform.machine())
    found = [
        f"{library} {importlib.metadata.version(library)}"
        for library in ("numpy", "scipy", *libraries)
        if importlib.util.find_spec({"lapx": "lap", "pot": "ot"}.get(library, library))
    ]
    used = "One thread" if threads == 1 else f"{threads} threads"
    return f"{used} of {name}, Python {platform.python_version()}, {', '.join(found)}."


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Format a Markdown table as lines."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def replace_section(title: str, benchmark: str, meaning: str, lines: list[str]) -> None:
    """Replace the section with this title, or append it; it starts with what its table means and what is good."""
    parts = (DOCUMENT.read_text("utf-8") if DOCUMENT.is_file() else HEAD).split("\n## ")
    section = "\n".join([title, "", meaning, "", f"By `python -m benchmarks {benchmark}`.", "", *lines, ""])
    place = next((at for at, part in enumerate(parts) if part.split("\n", 1)[0] == title), len(parts))
    parts[place : place + 1] = [section]
    DOCUMENT.write_text("\n## ".join([HEAD, *parts[1:]]), "utf-8")


def missed_aims(missed: list[str]) -> str:
    """Write the sentence that names the missed aims."""
    return f"Aims missed: {'; '.join(missed) or 'none'}."

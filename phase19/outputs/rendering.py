"""Text and tables, and their rendering as Markdown."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phase19.errors import printable
from phase19.outputs.text import cell, words


@dataclass(frozen=True, slots=True)
class Table:
    """Table of plain text. The first `labels` columns align left; the others, figures, align right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


Block = str | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the paragraphs and tables below it."""

    title: str
    blocks: Sequence[Block]


def records_table(rows: Sequence[Mapping[str, Any]], keys: str = "") -> Table:
    """Make a table of records with one column per key, all by default. Columns up to the last text align left."""
    columns = keys.split() or list(rows[0])
    texts = [position for position, key in enumerate(columns, 1) if isinstance(rows[0][key], str | list)]
    cells = tuple(tuple(cell(key, row[key]) for key in columns) for row in rows)
    return Table(tuple(map(words, columns)), cells, max(texts, default=1))


def figures_table(title: str, record: Mapping[str, Any]) -> Table:
    """Make a table of one record with one row per key."""
    return Table((title, "value"), tuple((words(key), cell(key, record[key])) for key in record))


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render a page as GitHub-flavoured Markdown; its texts are escaped."""
    parts = [f"# {_markdown_text(title)}"]
    for section in sections:
        parts.append(f"## {_markdown_text(section.title)}")
        parts += [
            _markdown_table(block) if isinstance(block, Table) else _markdown_text(block) for block in section.blocks
        ]
    return "\n\n".join(parts) + "\n"


# An underscore inside a word is not markup; the other characters may always be.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def _markdown_text(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", plain(text))


def plain(text: str) -> str:
    """Return text on one line, without characters that change its direction or its order."""
    return printable(" ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rules = ["---" if column < table.labels else "---:" for column in range(len(table.header))]
    lines = [table.header, *table.rows]
    cells = [" | ".join(_markdown_text(cell) for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in [cells[0], " | ".join(rules), *cells[1:]])

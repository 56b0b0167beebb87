"""HTML of text, tables and anchors; every text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from phase19.outputs.rendering import Block, Table, plain


def escaped(text: str) -> str:
    """Escape a text for HTML, on one line and without characters that change its direction or its order."""
    return escape(plain(text))


def anchor(kind: str, name: str) -> str:
    """Return the id of the part of the page about a task or an agent: 'task-' or 'agent-' and its quoted name."""
    return f"{kind}-{quote(name, safe='')}"


def cell(text: str, value: float | None = None, *, is_figure: bool = True) -> str:
    """Make a table cell, a figure by default; it sorts by `value` if that is given."""
    mark = f' data-v="{value:.6g}"' if value is not None else ' class="n"' if is_figure else ""
    return f"<td{mark}>{escaped(text)}</td>"


def table(head: Iterable[tuple[str, bool]], bodies: str, name: str = "") -> str:
    """Make a table from its header (text, and whether the column has figures) and its bodies."""
    heads = "".join(
        f'<th scope="col"{" class=n" if is_figure else ""}>{escaped(text)}</th>' for text, is_figure in head
    )
    marks = f' id="{name}"' if name else ""
    return f"<table{marks}><thead><tr>{heads}</tr></thead>{bodies}</table>"


def section(name: str, title: str, *parts: str) -> str:
    """Make a section of the page with a heading; `name` is its anchor."""
    return f'<section id="{name}"><h2>{escaped(title)}</h2>{"".join(parts)}</section>'


def paragraph(text: str, kind: str = "") -> str:
    """Make a paragraph; `kind` is its class in the style sheet."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def scrolling(content: str, label: str) -> str:
    """Wrap content that may be wider than a narrow screen."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{escaped(label)}">{content}</div>'


def blocks_html(*blocks: Block, label: str = "Table") -> str:
    """Render paragraphs and tables as a part of an HTML page."""
    parts = (
        scrolling(_plain_table(each), f"{label}, scrolls sideways") if isinstance(each, Table) else paragraph(each)
        for each in blocks
    )
    return "\n".join(parts)


def _plain_table(source: Table) -> str:
    def row(cells: Sequence[str]) -> str:
        first, *rest = cells
        others = (cell(text, is_figure=column >= source.labels) for column, text in enumerate(rest, 1))
        return f'<tr><th scope="row">{escaped(first)}</th>{"".join(others)}</tr>'

    head = ((text, column >= source.labels) for column, text in enumerate(source.header))
    return table(head, f"<tbody>{''.join(map(row, source.rows))}</tbody>")

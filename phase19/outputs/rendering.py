"""Rendering of text, tables and one chart as Markdown and as one self-contained HTML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from phase19.outputs.text import cell, words


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of plain text; the first `labels` columns are text, the others figures, aligned to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


@dataclass(frozen=True, slots=True)
class Chart:
    """Planned and actual success by wave, of rows of schedule_comparisons; Markdown leaves it out."""

    title: str
    waves: Sequence[Mapping[str, Any]]


Block = str | Table | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the paragraphs, tables and charts below it."""

    title: str
    blocks: Sequence[Block]


def records_table(rows: Sequence[Mapping[str, Any]], keys: str = "") -> Table:
    """Make a table of records, a column for each key (all by default); texts are aligned to the left."""
    columns = keys.split() or list(rows[0])
    labels = [position for position, key in enumerate(columns, 1) if rows and not isinstance(rows[0][key], float | int)]
    cells = tuple(tuple(cell(key, row[key]) for key in columns) for row in rows)
    return Table(tuple(map(words, columns)), cells, max(labels, default=1))


def figures_table(title: str, record: Mapping[str, Any], keys: str = "") -> Table:
    """Make a table of one record, a row for each key (all by default)."""
    return Table((title, "value"), tuple((words(key), cell(key, record[key])) for key in keys.split() or record))


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """Render a page as GitHub-flavoured Markdown; its texts are escaped."""
    parts = [f"# {_markdown_text(title)}"]
    for section in sections:
        parts.append(f"## {_markdown_text(section.title)}")
        parts += [
            _markdown_table(block) if isinstance(block, Table) else _markdown_text(block)
            for block in section.blocks
            if not isinstance(block, Chart)
        ]
    return "\n\n".join(parts) + "\n"


# An underscore inside a word is no markup; the other characters always may be.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def _markdown_text(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rules = ["---" if column < table.labels else "---:" for column in range(len(table.header))]
    lines = [table.header, *table.rows]
    cells = [" | ".join(_markdown_text(cell) for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in [cells[0], " | ".join(rules), *cells[1:]])


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Render a page as one HTML file without external assets, light or dark as the reader's system is."""
    body = [f"<h1>{escape(title)}</h1>"]
    for section in sections:
        body += [f"<h2>{escape(section.title)}</h2>", *map(_html_block, section.blocks)]
    page = Path(__file__).with_name("page.html").read_text("utf-8")
    return page.replace("{title}", escape(title)).replace("{body}", "\n".join(body))


def _html_block(block: Block) -> str:
    if isinstance(block, Table):
        return _html_table(block)
    return _svg(block) if isinstance(block, Chart) else f"<p>{escape(block)}</p>"


def _html_table(table: Table) -> str:
    def cells(line: Sequence[str], tag: str) -> str:
        kinds = zip_longest([""] * table.labels, line, fillvalue=' class="n"')
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in kinds)

    head = f"<thead><tr>{cells(table.header, 'th')}</tr></thead>"
    rows = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 260, 44, 12, 12, 28  # of the chart, in its own units
MAX_LABELS = 24  # wave numbers that fit side by side


def _svg(chart: Chart) -> str:
    step = (WIDTH - LEFT - RIGHT) / max(len(chart.waves), 1)
    band = min(step * 0.5, 28)
    every = -(-len(chart.waves) // MAX_LABELS)

    def y(rate: float) -> str:
        return f"{TOP + (1 - rate) * (HEIGHT - TOP - BOTTOM):.1f}"

    marks = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(rate)}" y2="{y(rate)}"/>'
        f'<text x="{LEFT - 6}" y="{y(rate)}" dy="4" text-anchor="end">{rate:.0%}</text>'
        for rate in (0, 0.25, 0.5, 0.75, 1)
    ]
    for position, wave in enumerate(chart.waves):
        x = LEFT + step * (position + 0.5)
        ends = f'x1="{x - band / 2:.1f}" x2="{x + band / 2:.1f}"'
        planned, actual, low, high = (
            wave[key]
            for key in ("planned_success_rate", "actual_success_rate", "success_rate_low", "success_rate_high")
        )
        if low is not None:
            size = f'width="{band:.1f}" height="{(high - low) * (HEIGHT - TOP - BOTTOM):.1f}"'
            marks.append(f'<rect class="normal" x="{x - band / 2:.1f}" y="{y(high)}" {size}/>')
        if planned is not None:
            marks.append(f'<line class="planned" {ends} y1="{y(planned)}" y2="{y(planned)}"/>')
        if actual is not None:
            marks.append(f'<circle class="actual" cx="{x:.1f}" cy="{y(actual)}" r="{min(band / 3, 5):.1f}"/>')
        if position % every == 0:
            marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{wave["wave"]}</text>')
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">\n'
        + "\n".join(marks)
        + f'\n</svg><figcaption>{escape(chart.title)}: <span class="key planned"></span>planned '
        + '<span class="key actual"></span>actual <span class="key normal"></span>'
        + "normal range of the actual rate (90 %)</figcaption></figure>"
    )

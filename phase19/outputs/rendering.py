"""Pages of text, tables and one chart, rendered as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Chart", "Page", "Section", "Table", "WavePoint", "to_html", "to_markdown"]


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of plain text; columns from the `labels`-th on are figures, aligned to the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


@dataclass(frozen=True, slots=True)
class WavePoint:
    """One wave's success rates as fractions; `low` and `high` bound what chance alone gives."""

    wave: int
    planned: float | None
    actual: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Chart:
    """Planned against actual success, a wave a position; Markdown leaves it to the table beside it."""

    title: str
    points: tuple[WavePoint, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, paragraphs being plain strings."""

    title: str
    blocks: tuple[str | Table | Chart, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A title and its sections."""

    title: str
    sections: tuple[Section, ...]


def to_markdown(page: Page) -> str:
    """Render a page as GitHub-flavoured Markdown; no text of it can act as markup."""
    parts = [f"# {_markdown_text(page.title)}"]
    for section in page.sections:
        parts.append(f"## {_markdown_text(section.title)}")
        parts += [
            _markdown_table(block) if isinstance(block, Table) else _markdown_text(block)
            for block in section.blocks
            if not isinstance(block, Chart)
        ]
    return "\n\n".join(parts) + "\n"


# Underscores inside words are no markup; the rest of the set always may be.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def _markdown_text(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rules = ["---" if column < table.labels else "---:" for column in range(len(table.header))]
    lines = [table.header, *table.rows]
    cells = [" | ".join(_markdown_text(cell) for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in [cells[0], " | ".join(rules), *cells[1:]])


def to_html(page: Page) -> str:
    """Render a page as one HTML file without outside assets, light or dark as the reader's system is."""
    body = [f"<h1>{escape(page.title)}</h1>"]
    for section in page.sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        body += [_html_block(block) for block in section.blocks]
    return _PAGE.replace("{title}", escape(page.title)).replace("{body}", "\n".join(body))


def _html_block(block: str | Table | Chart) -> str:
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
    step = (WIDTH - LEFT - RIGHT) / max(len(chart.points), 1)
    band = min(step * 0.5, 28)
    every = -(-len(chart.points) // MAX_LABELS)

    def y(rate: float) -> str:
        return f"{TOP + (1 - rate) * (HEIGHT - TOP - BOTTOM):.1f}"

    marks = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(rate)}" y2="{y(rate)}"/>'
        f'<text x="{LEFT - 6}" y="{y(rate)}" dy="4" text-anchor="end">{rate:.0%}</text>'
        for rate in (0, 0.25, 0.5, 0.75, 1)
    ]
    for position, point in enumerate(chart.points):
        x = LEFT + step * (position + 0.5)
        if point.low is not None and point.high is not None:
            height = (point.high - point.low) * (HEIGHT - TOP - BOTTOM)
            marks.append(
                f'<rect class="chance" x="{x - band / 2:.1f}" y="{y(point.high)}" '
                f'width="{band:.1f}" height="{height:.1f}"/>'
            )
        if point.planned is not None:
            marks.append(
                f'<line class="planned" x1="{x - band / 2:.1f}" x2="{x + band / 2:.1f}" '
                f'y1="{y(point.planned)}" y2="{y(point.planned)}"/>'
            )
        if point.actual is not None:
            marks.append(f'<circle class="actual" cx="{x:.1f}" cy="{y(point.actual)}" r="{min(band / 3, 5):.1f}"/>')
        if position % every == 0:
            marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{point.wave}</text>')
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">\n'
        + "\n".join(marks)
        + f'\n</svg><figcaption>{escape(chart.title)}: <span class="key planned"></span>planned '
        + '<span class="key actual"></span>actual <span class="key chance"></span>'
        + "where chance alone puts the actual rate, 90 % of the time</figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fff;
  --plan: #8a5a00; --real: #0b63ce; --band: #e7edf5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #333c48; --paper: #14181e;
  --plan: #e0a83a; --real: #6db0ff; --band: #232c38; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } .n { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } rect.chance { fill: var(--band); }
line.planned { stroke: var(--plan); stroke-width: 3; } circle.actual { fill: var(--real); }
.key { display: inline-block; width: .9rem; margin: 0 .35rem 0 .9rem; vertical-align: middle; }
.key.planned { border-top: 3px solid var(--plan); } .key.chance { height: .9rem; background: var(--band); }
.key.actual { width: .6rem; height: .6rem; border-radius: 50%; background: var(--real); }
</style>
</head>
<body>
{body}
</body>
</html>
"""

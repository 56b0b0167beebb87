"""The report of any run opens offline, is accessible, fits a telephone and needs no script."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from phase19.outputs.answers import verdict
from phase19.outputs.tables import read_run

TELEPHONE = {"width": 390, "height": 844}

# Rows and marks that are like those before them: axe takes 20 s for a thousand.
MANY = "#tasks-table > tbody:nth-of-type(n + 20), figure a:nth-of-type(n + 5), circle:nth-of-type(n + 9)"

# Tables and charts that are cut off: wider than the page, and in nothing that scrolls.
CUT = """() => [...document.querySelectorAll("table, svg, pre, img, form")].filter(element => {
  for (let box = element; box; box = box.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  const box = element.getBoundingClientRect();
  return box.width > 0 && (box.left < 0 || box.right > document.documentElement.clientWidth + 0.5);
}).map(element => element.outerHTML.slice(0, 100))"""

# Words of up to 12 characters that stand on more than one line; the first 3,000 words are looked at.
BROKEN_WORDS = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  const broken = [];
  for (let count = 0, node; count < 3000 && (node = walker.nextNode());)
    for (const word of node.data.matchAll(/[\\w.]+/g)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      count += lines.size > 0;
      if (word[0].length <= 12 && lines.size > 1) broken.push(word[0]);
    }
  return broken;
}"""


def accessibility_problems(page):
    """What axe finds, a line for each element."""
    page.evaluate("many => document.querySelectorAll(many).forEach(element => element.remove())", MANY)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    for task in page.locator("#tasks-table tbody button").all()[:1]:
        task.click(timeout=2_000)
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['failureSummary']} {node['html'][:200]}" for rule in found for node in rule["nodes"]]


def escaped(text):
    """The text with what is not printable, such as marks that change the direction of writing, as on the screen."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def none(problems):
    """Check that the list is empty; otherwise show its first entries."""
    assert not problems, "\n".join([f"{len(problems)} problems:", *problems[:10]])
    return True


def test_the_verdict_every_table_and_every_chart_are_there_without_scripts(run, visit):
    plain, scripted = visit(run, java_script_enabled=False), visit(run)
    for part in verdict(read_run(run.run_dir)).split(": ", 1):
        assert plain.get_by_text(part).first.is_visible()
    for kind in ("table", "svg", "h1", "h2"):
        shown = [page.locator(kind).filter(visible=True).count() for page in (plain, scripted)]
        assert shown[0] >= shown[1], kind
    assert plain.locator("table").filter(visible=True).count() >= 3


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_axe_finds_no_violation(run, visit, width, scheme):
    assert none(accessibility_problems(visit(run, viewport={"width": width, "height": 900}, color_scheme=scheme)))


def test_a_telephone_shows_the_page_without_sideways_scrolling_or_broken_words(run, visit):
    page = visit(run, viewport=TELEPHONE)
    root = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert root[0] <= root[1] == TELEPHONE["width"]
    assert none(page.evaluate(CUT) + page.evaluate(BROKEN_WORDS))
    page.locator("#tasks-table tbody button").first.click(timeout=2_000)
    said = page.locator("tr.more p").first.bounding_box()
    assert said["x"] + said["width"] <= TELEPHONE["width"]


def test_hostile_text_is_shown_as_text(hostile, visit):
    page = visit(hostile)
    shown = page.evaluate("document.body.textContent")
    assert none([text for text in hostile.agents["agent_id"] if text not in shown and escaped(text) not in shown])
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, [onerror], [onload], a[href^='javascript:' i]").count() == 0


def test_two_runs_side_by_side_are_as_readable_as_one(comparison, visit):
    page = visit(comparison, viewport=TELEPHONE, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == TELEPHONE["width"]
    assert none(page.evaluate(CUT) + page.evaluate(BROKEN_WORDS))
    assert page.evaluate("window.hacked") is None
    assert page.locator("figure svg circle").count() >= 4
    page.locator("#tasks-table th button", has_text="task").first.click()
    shown = page.locator("#tasks-table tbody th").all_text_contents()
    assert shown != sorted(shown, reverse=True)
    page.locator("#tasks-table th button", has_text="task").first.click()
    assert page.locator("#tasks-table tbody th").all_text_contents() == shown[::-1]
    assert none(accessibility_problems(page))

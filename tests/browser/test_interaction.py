"""The report's charts are drawn; its tables sort, filter, open and download; its bars explain themselves."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from urllib.parse import quote

import polars as pl
import pytest
from playwright.sync_api import expect

BARS = "figure[id^=timeline-] a[href^='#task-']"
# Ids of the tasks in the table, in its order, without those that a filter hides.
SHOWN = """() => [...document.querySelectorAll("#tasks-table > tbody")].filter(body => body.checkVisibility())
  .map(body => body.rows[0].cells[0].textContent)"""
# Column of the tasks' table, and the column of the run's frame that decides the order.
TASK_COLUMNS = {
    "task": "task_id",
    "wave": "wave",
    "agent": "agent_id",
    "risk": "risk_level",
    "category": "category",
    "planned success": "planned_success",
    "time": "actual_duration_ms",
    "planned time": "planned_duration_ms",
}
# Boxes that hide a part of what is in them, which paper cannot scroll; the names of lanes end in an ellipsis.
SCROLLING = """() => [...document.querySelectorAll("main *")].filter(box =>
  ["Width", "Height"].some(size => box[`scroll${size}`] > box[`client${size}`] + 1)
  && getComputedStyle(box).overflow !== "visible" && getComputedStyle(box).textOverflow !== "ellipsis"
  && box.checkVisibility()).map(box => box.outerHTML.slice(0, 100))"""
# Widths and heights of the marks, which a chart that was not drawn does not have.
SIZES = """marks => marks.map(mark => mark.getBoundingClientRect()).map(box => Math.min(box.width, box.height))"""
FOCUSED = 'document.activeElement.closest("a")?.getAttribute("href")'


def frame(run):
    """The tasks of a run, by task."""
    return run.executions.sort("task_id")


def natural(name):
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def choose(page, **fields):
    """Fill in the form above the tasks."""
    for name, value in fields.items():
        field = page.locator(f"#filters [name={name}]")
        (field.fill if name == "search" else field.select_option)(value)


def test_every_chart_is_drawn(run, visit):
    page = visit(run)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    tasks = frame(run)
    marks = {"timeline": f"{BARS} rect", "wave-success": "", "reliability": "", "durations": "", "strategies": ""}
    for name in ("wave-success", "reliability", "durations", "strategies"):
        marks[name] = f"#{name} circle"
    for name, selector in marks.items():
        sizes = page.locator(selector).filter(visible=True).evaluate_all(SIZES)
        assert sizes, name
        assert min(sizes) > 0, name
    assert page.locator("figure").evaluate_all("figures => figures.map(figure => figure.id)") == [
        *(f"timeline-{wave}" for wave in tasks["wave"].unique().sort()),
        *("wave-success", "reliability", "durations", "strategies"),
    ]
    assert page.locator(BARS).count() == tasks.height
    for wave, own in tasks.group_by("wave"):
        assert page.locator(f"#timeline-{wave[0]} a[href^='#task-']").count() == own.height
    assert page.locator("#wave-success g.all circle").count() == tasks["wave"].n_unique()
    assert page.locator("#durations circle").count() == min(tasks.height, 500)


def test_tasks_are_sorted_by_value_in_both_directions(thousand_tasks, visit):
    page = visit(thousand_tasks)
    tasks = frame(thousand_tasks)
    for title, column in TASK_COLUMNS.items():
        value = dict(zip(tasks["task_id"], tasks[column], strict=True))
        heading = page.locator("#tasks-table thead th").filter(has_text=re.compile(f"^{title}$"))
        for direction, sign in (("ascending", 1), ("descending", -1)):
            heading.get_by_role("button").click()
            expect(heading).to_have_attribute("aria-sort", direction)
            assert page.locator("#tasks-table [aria-sort]").count() == 1
            values = [value[task] for task in page.evaluate(SHOWN)]
            assert len(values) == 1000
            if isinstance(values[0], str):
                assert values == sorted(value.values(), key=natural, reverse=sign < 0), title
            else:  # the page has six digits of each figure
                assert all(sign * (a - b) <= 1e-5 * abs(a) for a, b in pairwise(values)), title


def test_agents_are_sorted_by_value(thousand_tasks, visit):
    page = visit(thousand_tasks)
    heading = page.locator("#agents-table thead th").filter(has_text=re.compile("^busy$"))
    heading.get_by_role("button").click()
    busy = dict(thousand_tasks.agents.select("agent_id", "utilization").iter_rows())
    values = [busy[agent] for agent in page.locator("#agents-table tbody th").all_inner_texts()]
    assert values == pytest.approx(sorted(busy.values()))
    assert heading.get_attribute("aria-sort") == "ascending"


def test_each_filter_shows_the_tasks_it_names(thousand_tasks, visit):
    page = visit(thousand_tasks)
    tasks, said = frame(thousand_tasks), page.locator("#filters output")
    failed, low = pl.col("status") == "failed", pl.col("risk_level") == "LOW"
    for fields, kept in (
        ({"agent": "agent_3"}, pl.col("agent_id") == "agent_3"),
        ({"risk": "HIGH"}, pl.col("risk_level") == "HIGH"),
        ({"category": "testing"}, pl.col("category") == "testing"),
        ({"show": "failed"}, failed),
        ({"risk": "LOW", "show": "failed"}, low & failed),
        ({"search": "TASK_12"}, pl.col("task_id").str.contains("task_12")),
        ({"search": "no such task"}, pl.lit(value=False)),
    ):
        choose(page, **fields)
        named, found = set(tasks.filter(kept)["task_id"]), page.evaluate(SHOWN)
        # A search also finds a task by what its second row says, for example about the runner-up.
        assert named <= set(found) if "search" in fields else named == set(found), fields
        expect(said).to_have_text(f"{len(found):,} of 1,000 tasks")
        page.get_by_role("button", name="Clear").click()
        expect(said).to_have_text(re.compile("^1,000 "))
        assert len(page.evaluate(SHOWN)) == 1000


def test_choosing_an_agent_filters_tasks_and_charts_until_it_is_chosen_again(thousand_tasks, visit):
    page = visit(thousand_tasks)
    button = page.locator("#agents-table").get_by_role("button", name="agent_3", exact=True)
    own = frame(thousand_tasks).filter(pl.col("agent_id") == "agent_3")["task_id"].to_list()
    faded = f"{BARS.partition(' ')[0]} g[data-of]"
    strengths = "lanes => lanes.map(lane => [lane.querySelectorAll('a').length, getComputedStyle(lane).opacity])"

    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert sorted(page.evaluate(SHOWN)) == own
    assert page.locator("#filters [name=agent]").input_value() == "agent_3"
    bars = {"1": 0, "0.15": 0}
    for count, opacity in page.locator(faded).evaluate_all(strengths):
        bars[opacity] += count
    assert bars == {"1": len(own), "0.15": 1000 - len(own)}
    waves = frame(thousand_tasks).filter(pl.col("agent_id") == "agent_3")["wave"].n_unique()
    assert page.locator("#wave-success [data-agent] circle").filter(visible=True).count() == waves

    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert len(page.evaluate(SHOWN)) == 1000


def test_a_row_opens_to_say_why_and_what_went_wrong(all_failed, visit):
    page = visit(all_failed)
    body = page.locator("#tasks-table > tbody").first
    button, more = body.get_by_role("button"), body.locator("tr.more")
    expect(more).to_be_hidden()
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    agent = frame(all_failed).filter(pl.col("task_id") == button.inner_text())["agent_id"].item()
    said = more.inner_text()
    assert "chance of success" in said
    assert "disk full" in said
    assert agent in body.inner_text()
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(more).to_be_hidden()


def downloaded(page, table):
    """The cells of a table, as its button downloads them."""
    with page.expect_download() as download:
        table.locator("xpath=../following-sibling::button[1]").click()
    return list(csv.reader(download.value.path().read_bytes().decode().splitlines()))


def test_each_table_is_downloaded_as_csv_with_the_same_cells(hostile, visit):
    page = visit(hostile)
    assert page.locator("button.csv").count() == page.locator("table").count()
    for table in page.locator("#agents-table, #tasks-table, #checks table").all():  # Chromium stops a page after 10
        cells = table.evaluate(
            "table => [...table.rows].filter(row => !row.matches('.more'))"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert downloaded(page, table) == cells


def test_the_download_of_a_filtered_table_has_the_rows_shown(thousand_tasks, visit):
    page = visit(thousand_tasks)
    choose(page, show="failed")
    _, *rows = downloaded(page, page.locator("#tasks-table"))
    failed = frame(thousand_tasks).filter(pl.col("status") == "failed")["task_id"].to_list()
    assert sorted(row[0] for row in rows) == failed


def test_a_bar_explains_itself_on_hover_and_on_keyboard_focus(sample_run, visit):
    page = visit(sample_run)
    tip, bar = page.locator("#tip"), page.locator(BARS).first
    said = bar.locator("title").text_content()
    task = bar.get_attribute("href").removeprefix("#task-")
    assert task in said
    expect(tip).to_be_hidden()
    bar.locator("rect").last.hover()
    expect(tip).to_have_text(said)
    box = tip.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1400
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()
    bar.focus()
    expect(tip).to_have_text(said)
    assert bar.get_attribute("aria-label") == said or bar.locator("title").text_content() == said
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_arrow_keys_move_between_the_bars_of_a_wave(sample_run, visit):
    page = visit(sample_run)
    lanes = [
        [bar.get_attribute("href") for bar in lane.locator("a").all()]
        for lane in page.locator("#timeline-1 g:has(> a)").all()
    ]
    flat = [bar for lane in lanes for bar in lane]
    assert len(flat) == page.locator("#timeline-1 svg a").count() == 4
    # Tab reaches one bar of each wave; the arrow keys reach the others.
    assert page.locator("#timeline-1 svg a[tabindex='0']").count() == 1
    page.locator("#timeline-1 svg a").first.focus()
    assert page.evaluate(FOCUSED) == lanes[0][0]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(FOCUSED) == lanes[1][0]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expected = lanes[0][1] if len(lanes[0]) > 1 else lanes[0][0]
    assert page.evaluate(FOCUSED) == expected
    page.keyboard.press("Enter")
    opened = page.locator(f"[id='{expected[1:]}'] > tr.more")
    expect(opened).to_be_visible()


def test_the_address_of_a_task_opens_it_whatever_its_id(hostile, visit):
    names = [f"task-{quote(task, safe='')}" for task in hostile.executions["task_id"]]
    page = visit(hostile, f"#{names[0]}")
    for name in names:
        page.locator(f"[id='{name}'] > tr.more").wait_for(state="visible")
        page.evaluate("address => { location.hash = address }", names[min(names.index(name) + 1, len(names) - 1)])


def test_a_link_to_a_task_that_a_filter_hides_shows_it(sample_run, visit):
    page = visit(sample_run)
    choose(page, agent="agent_0")
    other = frame(sample_run).filter(pl.col("agent_id") != "agent_0")["task_id"][0]
    page.evaluate("address => { location.hash = address }", f"task-{other}")
    page.locator(f"#task-{other} > tr.more").wait_for(state="visible")


def test_print_shows_every_table_and_chart_and_nothing_to_click(run, visit):
    page = visit(run, viewport={"width": 718, "height": 1000})  # A4 between margins of 1 cm
    page.emulate_media(media="print")
    for kind in ("nav", "#filters", "button.csv"):
        assert page.locator(kind).filter(visible=True).count() == 0, kind
    assert page.evaluate(SCROLLING) == []
    assert page.locator("#tasks-table > tbody").filter(visible=True).count() == frame(run).height
    assert page.evaluate("document.documentElement.scrollWidth") <= 718

"""The check of the documentation site finds what would break on a page or reach for a network."""

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "build_site.py"))
INDEX = '<a href="reference/inputs.html#tasks">inputs</a> <a href="https://duckdb.org">DuckDB</a>'
INPUTS = '<a href="../index.html">start</a> <h2 id="tasks">Tasks</h2> <img src="data:image/png;base64,AA">'


def found(site, index="", inputs="", style=""):
    (site / "reference").mkdir()
    (site / "index.html").write_text(INDEX + index, "utf-8")
    (site / "reference" / "inputs.html").write_text(INPUTS + inputs, "utf-8")
    (site / "main.css").write_text(style, "utf-8")
    return SCRIPT["problems"](site)


def test_a_site_whose_links_have_targets_is_fine(tmp_path):
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ({"index": '<a href="outputs.html">'}, "index.html: outputs.html has no target"),
        ({"index": '<a href="#missing">'}, "index.html: #missing has no target"),
        (
            {"index": '<a href="reference/inputs.html#agents">'},
            "index.html: reference/inputs.html#agents has no target",
        ),
        ({"inputs": '<img src="chart.svg">'}, "reference/inputs.html: chart.svg has no target"),
        (
            {"inputs": '<script src="https://unpkg.com/x"></script>'},
            "reference/inputs.html: https://unpkg.com/x is loaded from a network",
        ),
        (
            {"inputs": '<link href="//fonts.eg">'},
            "reference/inputs.html: //fonts.eg is loaded from a network",
        ),
        ({"style": "@import url(https://a.b/c.css)"}, "main.css: a style sheet loads from a network"),
    ],
    ids=["page", "anchor", "anchor of another page", "image", "script", "style sheet", "import of a style sheet"],
)
def test_a_broken_link_or_a_network_address_is_named(tmp_path, page, problem):
    assert found(tmp_path, **page) == [problem]


def test_a_page_that_the_navigation_leaves_out_is_named(tmp_path):
    (tmp_path / "lost.html").write_text("", "utf-8")
    assert found(tmp_path) == ["lost.html: the navigation of mkdocs.yml does not list the page"]


def test_a_directory_that_is_no_site_is_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    (problem,) = SCRIPT["build"](tmp_path)
    assert problem.startswith(f"{tmp_path}: expected a site built earlier or nothing")
    assert (tmp_path / "mine.txt").read_text() == "keep"

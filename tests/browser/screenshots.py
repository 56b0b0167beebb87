"""Screenshots for the docs: `make screenshots` writes docs/images anew; `make test` does not collect this file."""

from __future__ import annotations

from pathlib import Path

import pytest

import phase19

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"
HEIGHT = 1400


@pytest.fixture(scope="module")
def reports(tmp_path_factory, thousand_tasks):
    """Runs by the first part of the image's name; that of the sample has the default seed, as in the README."""
    place = tmp_path_factory.mktemp("screenshots") / "phase19"
    sample = phase19.run(input=ROOT / "outputs" / "phase18", output=place, timestamp="2026-02-05T12:00:00Z")
    return {"report": sample, "report-1000-tasks": thousand_tasks}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 800, 390])
@pytest.mark.parametrize("name", ["report", "report-1000-tasks"])
def test_take_screenshot(reports, visit, name, width, scheme):
    page = visit(reports[name], viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    page.screenshot(path=IMAGES / f"{name}-{width}-{scheme}.png")

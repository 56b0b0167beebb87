"""Build the documentation site from docs/, and check it: every link has a target and nothing is loaded from a network.

Usage: python docs/build_site.py [DIR]

Notebooks become pages, and the changelog and the guide for contributors become pages too. DIR is `site` by default.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
OTHER_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LOADED = {("audio", "src"), ("iframe", "src"), ("img", "src"), ("link", "href"), ("script", "src"), ("source", "src")}
SHIM = "https://unpkg.com/iframe-worker/shim"  # we have a copy
NETWORK_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")


def build(site: Path) -> list[str]:
    """Build the site in place of an earlier one; return what is wrong with it, a line each."""
    if site.exists() and not (site / "search.json").is_file():
        return [f"{site}: expected a site built earlier or nothing, found something else, which stays as it is"]
    with tempfile.TemporaryDirectory() as directory:
        stage(Path(directory))
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        done = subprocess.run(command, cwd=directory, env={**os.environ, "NO_COLOR": "1"}, check=False)
        if done.returncode:
            return ["zensical stopped; its warnings are above"]
        built = Path(directory) / "site"
        (built / "404.html").unlink()  # its links start at the root of a server
        for page in built.rglob("*.html"):
            assets = "../" * len(page.parent.relative_to(built).parts) + "assets/"
            page.write_text(page.read_text("utf-8").replace(SHIM, f"{assets}iframe-worker.js"), "utf-8")
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(built, site)
    return problems(site)


def stage(directory: Path) -> None:
    """Copy the sources of the site to a directory, with all pages in Markdown."""
    shutil.copy(ROOT / "mkdocs.yml", directory)
    docs = directory / "docs"
    ignored = shutil.ignore_patterns("*.py", "__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "docs", docs, ignore=ignored)
    for notebook in sorted(docs.rglob("*.ipynb")):
        convert(notebook)
    for source, page in OTHER_PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        (docs / page).write_text(re.sub(r"\]\(docs/", "](", text), "utf-8")
    for page in docs.rglob("*.md"):
        text = page.read_text("utf-8")
        for source, target in OTHER_PAGES.items():
            text = text.replace(f"../{source}", target)
        page.write_text(re.sub(r"(\]\([^)\s]+)\.ipynb(#[^)]*)?\)", r"\1.md\2)", text), "utf-8")


def convert(notebook: Path) -> None:
    """Replace a notebook by a Markdown page with its outputs; images become files beside it."""
    import nbconvert

    text, resources = nbconvert.MarkdownExporter().from_filename(str(notebook))
    for name, data in resources["outputs"].items():
        text = text.replace(f"]({name})", f"]({notebook.stem}_{name})")
        notebook.with_name(f"{notebook.stem}_{name}").write_bytes(data)
    notebook.with_suffix(".md").write_text(text, "utf-8")
    notebook.unlink()


class Page(HTMLParser):
    """What a page contains: the ids of its elements, what it links to and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag, name) == ("a", "name"):
                self.ids.add(value or "")
            elif (tag, name) in LOADED:
                self.loaded.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")


def problems(site: Path) -> list[str]:
    """Return each broken link and anchor of a built site, and each address of a network that a page loads."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site)
        found += [f"{where}: {link} is loaded from a network" for link in page.loaded if is_external(link)]
        for link in [*page.links, *page.loaded]:
            if not is_external(link) and not has_target(link, path, pages):
                found.append(f"{where}: {link} has no target")
    for path in sorted(site.rglob("*.css")):
        if NETWORK_ADDRESS.search(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site)}: a style sheet loads from a network")
    return [*found, *unreachable(site, pages)]


def is_external(link: str) -> bool:
    return bool(urlsplit(link).netloc or urlsplit(link).scheme not in {"", "data"})


def has_target(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    address = urlsplit(link)
    if address.scheme == "data":
        return True
    target = (path.parent / unquote(address.path)).resolve() if address.path else path
    if not target.is_file():
        return False
    return not address.fragment or target not in pages or unquote(address.fragment) in pages[target].ids


def unreachable(site: Path, pages: dict[Path, Page]) -> Iterable[str]:
    """Name the pages that no navigation leads to."""
    start = site / "index.html"
    listed = {(site / unquote(urlsplit(link).path)).resolve() for link in pages[start].links if not is_external(link)}
    for path in pages:
        if path not in {*listed, start}:
            yield f"{path.relative_to(site)}: the navigation of mkdocs.yml does not list the page"


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").resolve()
    wrong = build(place)
    sys.exit("\n".join(wrong) if wrong else print(f"The site is in {place}: open index.html"))

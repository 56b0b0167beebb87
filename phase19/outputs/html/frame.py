"""The frame of a page: its style, its scripts, and the policy that forbids any other."""

import base64
import hashlib
import re
from pathlib import Path

from phase19.outputs.html.markup import escaped


def framed(title: str, body: str, *scripts: str) -> str:
    """Fill the frame of a page.

    Parameters
    ----------
    title
        Title of the window.
    body
        The content, as HTML.
    scripts
        Names of the script files, in their order. The page's policy allows no other script, even if a text were taken
        for markup.
    """
    here = Path(__file__).parent
    script = "".join((here / f"{name}.js").read_text("utf-8") for name in scripts)
    filled = {
        "hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": (here / "page.css").read_text("utf-8"),
        "script": script,
        "title": escaped(title),
        "body": body,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda name: filled[name[1]], (here / "page.html").read_text("utf-8"))

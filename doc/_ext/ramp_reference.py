"""Puts into pages of the documentation what is made from the code.

A line ``<!-- generated: NAME -->`` of a page stands for the Markdown that `PARTS` [NAME] gives. It
is put in when the page is read: no file is written, and none can be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

import config_reference
import error_reference
import state_reference

__all__ = ["PARTS", "fill", "link_files", "setup"]

#: What can be put in, by its name.
PARTS: dict[str, Callable[[], str]] = {
    "event sections": config_reference.event_sections,
    "deployment sections": config_reference.deployment_sections,
    "workers": config_reference.workers,
    "hooks": config_reference.hooks,
    "errors": error_reference.errors,
    "states": state_reference.states,
    "transitions": state_reference.transitions,
    "outcomes": state_reference.outcomes,
}
_PLACE = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)\)")


def fill(text: str) -> str:
    """Put the generated parts of a page in their places.

    Raises
    ------
    KeyError
        There is no part of that name.
    """
    return _PLACE.sub(lambda place: PARTS[place[1]](), text)


def link_files(text: str, page: Path, documentation: Path) -> str:
    """Have links to files outside the documentation give the file itself.

    MyST takes a link to Markdown for one to a page of the site.

    Parameters
    ----------
    text : str
        Markdown.
    page : Path
        Its file, to whose folder links are relative.
    documentation : Path
        The folder of all pages.
    """

    def link(found: re.Match[str]) -> str:
        path = (page.parent / found[1]).resolve()
        is_ours = path.is_relative_to(documentation.resolve()) or not path.is_file()
        return found[0] if is_ours else f"](path:{found[1]})"

    return _LINK.sub(link, text)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Have Sphinx fill each page that it reads."""

    def read(app: Sphinx, docname: str, source: list[str]) -> None:
        page = Path(app.env.doc2path(docname))
        source[0] = link_files(fill(source[0]), page, Path(app.srcdir))

    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Tables and comments of the code, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sphinx.pycode import ModuleAnalyzer

__all__ = ["comments", "inline", "sentence", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table; a bar within a cell stays one."""
    lines = [list(head), ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def comments(module: str, owner: str) -> dict[str, str]:
    """Give the ``#:`` comment of each attribute of a class, as Markdown."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {
        name: inline(" ".join(lines).strip())
        for (parent, name), lines in found.items()
        if parent == owner
    }


def inline(text: str) -> str:
    """Turn the words of a docstring into Markdown: its double backticks, and ``<name>``."""
    pieces = re.sub(r"``(.+?)``", r"`\1`", text).split("`")
    pieces[::2] = [piece.replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces)


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text[-1:] in '.:!?' else '.'}" if text else ""

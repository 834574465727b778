"""The pages of the documentation, and the blocks of code on them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
_FOLDERS = ("doc", "examples")
_NOTE = re.compile(r"\((.*)\)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    page: Path
    line: int  #: of its fence, from 1
    language: str
    note: str  #: what stands in parentheses after the language
    text: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.note.startswith("not run")

    @property
    def file(self) -> str | None:
        """The file that it is the content of, where the page says so."""
        return self.note.removeprefix("file: ") if self.note.startswith("file: ") else None

    @property
    def exit_code(self) -> int:
        return int(self.note.removeprefix("exit ")) if self.note.startswith("exit ") else 0


def pages() -> list[Path]:
    """Give every page: those at the root of the repository, of doc/ and of the examples."""
    found = list(REPOSITORY.glob("*.md"))
    for folder in _FOLDERS:
        found += (REPOSITORY / folder).rglob("*.md")
    return sorted(found)


def name_of(page: Path) -> str:
    return os.path.relpath(page, REPOSITORY)


def blocks(page: Path, *languages: str) -> list[Block]:
    """Give the blocks of a page that are in one of these languages; all without any."""
    found = [_block(page, token) for token in _tokens(page) if token.type == "fence"]
    return [block for block in found if not languages or block.language in languages]


def inline_codes(page: Path) -> Iterator[tuple[int, str]]:
    """Give each piece of code within the text, with its line."""
    for token in _tokens(page):
        for child in token.children or ():
            if child.type == "code_inline" and token.map is not None:
                yield token.map[0] + 1, child.content


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Give where each link and each picture of a page leads to, with its line."""
    for token in _tokens(page):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str) and token.map is not None:
                yield token.map[0] + 1, target


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def _block(page: Path, token: Token) -> Block:
    language, _, rest = token.info.strip().partition(" ")
    note = _NOTE.match(rest.strip())
    assert token.map is not None
    return Block(page, token.map[0] + 1, language, note[1] if note else "", token.content)

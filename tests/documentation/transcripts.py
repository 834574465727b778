"""Whether a program printed what a page says that it prints."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")
_PIECES = re.compile(rf"\.\.\.|{_NUMBER.pattern}")


def matches(expected: str, printed: str) -> bool:
    """Compare them: ``...`` is anything, and any number with a point is any other.

    A line of nothing but ``...`` stands for any number of lines. Blank lines, the width of columns
    and the length of rules do not count.
    """
    pattern = "".join(_line_pattern(line) for line in _lines(expected))
    text = "".join(f"{line}\n" for line in _lines(printed))
    return re.fullmatch(pattern, text) is not None


def _lines(text: str) -> list[str]:
    plain = (re.sub("─+", "─", re.sub(r"\s+", " ", line)).strip() for line in text.splitlines())
    return [line for line in plain if line]


def _line_pattern(line: str) -> str:
    if line == "...":
        return r"(?:.*\n)*"
    pattern, end = "", 0
    for piece in _PIECES.finditer(line):
        pattern += re.escape(line[end : piece.start()])
        pattern += ".*" if piece[0] == "..." else _NUMBER.pattern
        end = piece.end()
    return pattern + re.escape(line[end:]) + r"\n"

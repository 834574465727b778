"""What may go to a terminal: no control character that somebody else wrote."""

from __future__ import annotations

__all__ = ["printable"]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, *, keep: str = "\n\t") -> str:
    """Replace what would drive a terminal, or turn a text around, by U+FFFD.

    Parameters
    ----------
    text : str
        Written by anybody: a name, an error, a log.
    keep : str
        Characters that stay although they are not printable; empty for a text that must not break
        out of its line.
    """
    return "".join(c if c.isprintable() or c in keep else _REPLACEMENT for c in text)

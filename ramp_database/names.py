"""Names that people give: they stand in tables, messages and on terminals, in one line."""

from __future__ import annotations

#: The longest name, in characters.
MAX_LENGTH = 80
#: What a name is, to complete "expected ...".
EXPECTED = f"1 to {MAX_LENGTH} printable characters without blanks at the ends"


def is_name(name: str) -> bool:
    """Tell whether a name can be shown: not empty, not too long, printable, no outer blanks."""
    return bool(name) and name == name.strip() and name.isprintable() and len(name) <= MAX_LENGTH

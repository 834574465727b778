"""What somebody else wrote drives no terminal."""

from __future__ import annotations

import pytest

from ramp_engine.cli.terminal import printable


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "\x9b2J", "\r", "\x08", "\x7f", "\u202e", "\u2028", "\0"]
)
def test_control_characters_are_replaced(text: str) -> None:
    assert not set(text) & {c for c in printable(text) if not c.isprintable()}
    assert "\ufffd" in printable(text)


def test_text_stays_as_it_is_with_its_lines() -> None:
    assert printable("naïve\n\tcafé 数据") == "naïve\n\tcafé 数据"


def test_a_line_stays_one_line() -> None:
    assert "\n" not in printable("a\nb", keep="")

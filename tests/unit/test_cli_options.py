"""What somebody else wrote drives no terminal."""

from __future__ import annotations

import pytest

from ramp_engine.cli.options import visible


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\r", "\x08", "\x7f", "\u202e", "\u2028"])
def test_control_characters_are_replaced(text: str) -> None:
    assert visible(text).isprintable()
    assert "\ufffd" in visible(text)


def test_text_stays_as_it_is_with_its_lines() -> None:
    assert visible("naïve\n\tcafé 数据") == "naïve\n\tcafé 数据"


def test_a_line_stays_one_line() -> None:
    assert "\n" not in visible("a\nb", keep="")

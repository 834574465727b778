"""Whatever the doctor can find has its section in the page that `ramp doctor` names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ramp_engine.doctor import Kind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "doc/howto/recover.md").read_text(encoding="utf-8")
CHECKS = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "ramp_engine/doctor").glob("*.py")
    if path.name != "finding.py"
)


def test_every_finding_has_its_section_and_every_section_its_finding() -> None:
    assert sorted(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == sorted(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_found_by_a_check(kind: Kind) -> None:
    assert f"Kind.{kind.name}," in CHECKS
